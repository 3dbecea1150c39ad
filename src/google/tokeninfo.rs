//! The call to tokeninfo: GET with the token as its only parameter.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use super::call_limiter::CallLimiter;
use super::client::{Authorities, Client};
use super::rejected_tokens::RejectedTokens;
use super::verifier::Failure;
use crate::clock;
use crate::metrics::{Call, CallResult, Metrics, Reading};
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
    /// The authorities that may vouch for Google's hosts, that of the keys included, in place of the built-in ones.
    pub authorities: Option<Authorities>,
    /// For one exchange from its beginning to its end: waiting for its turn, DNS, connect, TLS, body and retry.
    pub timeout: Duration,
    /// How many calls may be under way at once; twice as many more may wait.
    pub concurrency: usize,
}

/// An exchange with Google, and what it shows beside the answer.
#[derive(Debug)]
pub struct Exchange {
    /// The body of a 200, unread, or why there is none.
    pub outcome: Result<Vec<u8>, Failure>,
    /// The `Date` of the answer, in unix seconds.
    pub date: Option<i64>,
    /// From the beginning to the end, waiting and retry included.
    pub took: Duration,
}

const REFUSED: Failure =
    Failure::Refused("Google refuses this token: it is malformed, altered or expired");

/// Google's tokeninfo endpoint.
pub struct Tokeninfo {
    client: Client,
    limiter: CallLimiter,
    refused: RejectedTokens,
    metrics: Arc<Metrics>,
}

impl Tokeninfo {
    /// A client with its pool of connections.
    pub fn new(settings: &TokeninfoSettings, metrics: Arc<Metrics>) -> Tokeninfo {
        Tokeninfo {
            client: Client::new(
                &settings.url,
                settings.authorities.as_ref(),
                "tokeninfo",
                settings.concurrency,
            ),
            limiter: CallLimiter::new(
                settings.concurrency,
                settings.concurrency * WAITING_PER_RUNNING,
            ),
            refused: RejectedTokens::default(),
            metrics,
        }
    }

    /// How many exchanges may be under way or wait for their turn; beyond it there is no answer.
    pub fn exchanges_max(&self) -> usize {
        self.limiter.capacity()
    }

    /// Asks Google about the client's token until the deadline, and hands back the body of a 200, unread.
    ///
    /// # Errors
    /// [`Failure::Refused`] on 400, remembered for ten minutes; [`Failure::Unavailable`] on anything else.
    pub fn ask(
        &self,
        token: &IdToken,
        client: Option<IpAddr>,
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let start = Instant::now();
        let hash = token.hash();
        if self.refused.contains(&hash, start) {
            return Err(REFUSED);
        }
        let outcome = self.exchange(token, client, deadline).outcome;
        if let Err(Failure::Refused(_)) = outcome {
            self.refused.insert(hash, start);
        }
        outcome
    }

    /// The same, whatever is remembered, and without remembering anything.
    pub fn exchange(&self, token: &IdToken, client: Option<IpAddr>, deadline: Instant) -> Exchange {
        let start = Instant::now();
        let Some(_permit) = self.limiter.enter(client, deadline) else {
            let cause = "too many exchanges with tokeninfo are under way".into();
            let outcome = Err(Failure::Unavailable { cause, retry_after: None });
            return Exchange { outcome, date: None, took: start.elapsed() };
        };
        let answer =
            self.call(token, deadline).or_else(|attempt| match attempt.retry_pause(deadline) {
                Some(pause) => {
                    thread::sleep(pause);
                    self.call(token, deadline)
                }
                None => Err(attempt),
            });
        let (outcome, date) = match answer {
            Ok(Judged { body, date }) => (body.ok_or(REFUSED), date),
            Err(Attempt { cause, retry_after, .. }) => {
                let retry_after = retry_after.map(|pause| pause.as_secs());
                (Err(Failure::Unavailable { cause, retry_after }), None)
            }
        };
        Exchange { outcome, date, took: start.elapsed() }
    }

    /// How many exchanges run and wait just now.
    pub fn readings(&self) -> [Reading; 2] {
        let (running, waiting) = self.limiter.occupancy();
        [
            Reading::gauge(
                "hallpass_tokeninfo_running",
                "Exchanges with Google under way",
                running as u64,
            ),
            Reading::gauge(
                "hallpass_tokeninfo_waiting",
                "Exchanges that wait for their turn",
                waiting as u64,
            ),
        ]
    }

    fn call(&self, token: &IdToken, deadline: Instant) -> Result<Judged, Attempt> {
        let start = Instant::now();
        let answer = self.attempt(token, deadline);
        let result = match &answer {
            Ok(Judged { body: Some(_), .. }) => CallResult::Ok,
            Ok(_) => CallResult::Refused,
            Err(_) => CallResult::Failed,
        };
        let failure =
            answer.as_ref().err().map(|attempt| attempt.cause.clone()).unwrap_or_default();
        self.metrics.count_call(Call {
            result,
            failure,
            duration: start.elapsed(),
            at: clock::now(),
        });
        answer
    }

    /// One attempt. A status other than 200 and 400 is no answer.
    fn attempt(&self, token: &IdToken, deadline: Instant) -> Result<Judged, Attempt> {
        let answer =
            self.client.get(&[("id_token", token.expose())], deadline).map_err(Attempt::broken)?;
        let date = answer.date();
        match answer.status {
            200 => Ok(Judged { body: Some(answer.body.map_err(Attempt::broken)?), date }),
            400 => Ok(Judged { body: None, date }),
            status => Err(Attempt {
                cause: format!("tokeninfo answered with status {status}"),
                retryable: status == 429 || status >= 500,
                retry_after: answer.retry_after(clock::now()),
            }),
        }
    }
}

/// An attempt that brought an answer: the body of a 200, or a refusal.
struct Judged {
    body: Option<Vec<u8>>,
    date: Option<i64>,
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
        let left = deadline.saturating_duration_since(Instant::now());
        (self.retryable && pause < left).then_some(pause)
    }
}
