//! The call to tokeninfo: GET with the token as its only parameter.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use super::client::{Answer, Client};
use super::gate::Gate;
use super::refused::RefusedTokens;
use super::verifier::Failure;
use crate::clock;
use crate::metrics::{CallResult, Metrics, Reading};
use crate::token::IdToken;

/// The pause before the one retry where Google names none.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How many exchanges may wait for each that may run.
const WAITING_PER_RUNNING: usize = 2;

/// Where Google is asked, and how patiently.
#[derive(Debug, Clone)]
pub struct TokeninfoSettings {
    /// The endpoint, without a query.
    pub url: Url,
    /// For one exchange from its beginning to its end: waiting for its turn, DNS, connect, TLS, body and retry.
    pub timeout: Duration,
    /// How many calls may be under way at once; twice as many more may wait.
    pub concurrency: usize,
}

const REFUSED: Failure = Failure::Refused("Google refuses this token: it is malformed, altered or expired");

/// Google's tokeninfo endpoint.
pub struct Tokeninfo {
    client: Client,
    gate: Gate,
    refused: RefusedTokens,
    metrics: Arc<Metrics>,
}

impl Tokeninfo {
    /// A client with its pool of connections.
    pub fn new(settings: &TokeninfoSettings, metrics: Arc<Metrics>) -> Tokeninfo {
        Tokeninfo {
            client: Client::new(&settings.url, "tokeninfo", settings.concurrency),
            gate: Gate::new(settings.concurrency, settings.concurrency * WAITING_PER_RUNNING),
            refused: RefusedTokens::default(),
            metrics,
        }
    }

    /// How many exchanges may be under way or wait for their turn; beyond it there is no answer.
    pub fn exchanges_max(&self) -> usize {
        self.gate.capacity()
    }

    /// Asks Google about the token until the deadline, and hands back the body of a 200, unread.
    ///
    /// # Errors
    /// [`Failure::Refused`] on 400, remembered for ten minutes; [`Failure::Unavailable`] on anything else.
    pub fn ask(&self, token: &IdToken, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let start = Instant::now();
        let hash = token.hash();
        if self.refused.contains(&hash, start) {
            return Err(REFUSED);
        }
        let Some(_permit) = self.gate.enter(deadline) else {
            return Err(unavailable("too many exchanges with tokeninfo are under way".into()));
        };
        let answer = self.call(token, deadline).or_else(|attempt| match attempt.retry_pause(deadline) {
            Some(pause) => {
                thread::sleep(pause);
                self.call(token, deadline)
            }
            None => Err(attempt),
        });
        match answer {
            Ok((200, body)) => Ok(body),
            Ok(_) => {
                self.refused.insert(hash, start);
                Err(REFUSED)
            }
            Err(attempt) => Err(Failure::Unavailable {
                cause: attempt.cause,
                retry_after: attempt.retry_after.map(|d| d.as_secs()),
            }),
        }
    }

    /// How many exchanges run and wait just now.
    pub fn readings(&self) -> [Reading; 2] {
        let (running, waiting) = self.gate.occupancy();
        [
            Reading::gauge("hallpass_tokeninfo_running", "Exchanges with Google under way", running as u64),
            Reading::gauge("hallpass_tokeninfo_waiting", "Exchanges that wait for their turn", waiting as u64),
        ]
    }

    fn call(&self, token: &IdToken, deadline: Instant) -> Result<(u16, Vec<u8>), Attempt> {
        let start = Instant::now();
        let answer = self.attempt(token, deadline);
        let result = match &answer {
            Ok((200, _)) => CallResult::Ok,
            Ok(_) => CallResult::Refused,
            Err(_) => CallResult::Failed,
        };
        self.metrics.count_call(result, start.elapsed(), clock::now());
        answer
    }

    /// One attempt. A status of 200 or 400 comes back with its body; anything else is no answer.
    fn attempt(&self, token: &IdToken, deadline: Instant) -> Result<(u16, Vec<u8>), Attempt> {
        let answer = self.client.get(&[("id_token", token.expose())], deadline).map_err(Attempt::broken)?;
        match answer.status {
            200 => Ok((200, answer.body.map_err(Attempt::broken)?)),
            400 => Ok((400, Vec::new())),
            status => Err(Attempt {
                cause: format!("tokeninfo answered with status {status}"),
                retryable: status == 429 || status >= 500,
                retry_after: retry_after(&answer),
            }),
        }
    }
}

/// An attempt that brought no answer.
struct Attempt {
    cause: String,
    retryable: bool,
    retry_after: Option<Duration>,
}

impl Attempt {
    fn broken(cause: String) -> Attempt {
        Attempt { cause, retryable: true, retry_after: None }
    }

    /// How long to wait before the one retry, if it makes sense and ends before the deadline.
    fn retry_pause(&self, deadline: Instant) -> Option<Duration> {
        let pause = self.retry_after.unwrap_or(RETRY_PAUSE);
        (self.retryable && Instant::now() + pause < deadline).then_some(pause)
    }
}

fn unavailable(cause: String) -> Failure {
    Failure::Unavailable { cause, retry_after: None }
}

/// Seconds, as Google's front ends send them; the form with a date is not used there.
fn retry_after(answer: &Answer) -> Option<Duration> {
    answer.fields("Retry-After").next()?.parse().ok().map(Duration::from_secs)
}
