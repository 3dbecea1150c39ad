//! Calls tokeninfo: GET with the token as the only parameter.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use url::Url;

use super::call_limiter::CallLimiter;
use super::failure::Failure;
use super::rejected_tokens::RejectedTokens;
use crate::clock;
use crate::http_client::{Authorities, Client};
use crate::metrics::{Call, CallResult, Metrics, Reading};
use crate::token::IdToken;

/// The pause before the only retry, unless Google names one.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How many exchanges may wait for each that may run.
const WAITING_PER_RUNNING: usize = 2;

/// Where tokeninfo is and how long to wait for it.
#[derive(Debug, Clone)]
pub struct TokeninfoSettings {
    /// The endpoint, without a query.
    pub url: Url,
    /// Certificate authorities that replace the built-in ones, for the key endpoint too.
    pub authorities: Option<Authorities>,
    /// The deadline of an exchange. It includes waiting for a call, DNS, connect, TLS, body and
    /// retry.
    pub timeout: Duration,
    /// How many calls may run at once. Twice as many may wait.
    pub concurrency: usize,
}

/// An exchange with Google and what is known about it.
#[derive(Debug)]
pub struct Exchange {
    /// The unread body of a 200, or why there is none.
    pub outcome: Result<Vec<u8>, Failure>,
    /// The `Date` of the response, in unix seconds.
    pub date: Option<i64>,
    /// The whole duration, including waiting and retry.
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
    /// Creates a client with its pool of connections.
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

    /// How many exchanges may run or wait. Any more fail at once.
    pub fn exchanges_max(&self) -> usize {
        self.limiter.capacity()
    }

    /// Asks Google about a client's token until the deadline, and returns the unread body of a 200.
    ///
    /// # Errors
    /// [`Failure::Refused`] on 400, remembered for ten minutes. [`Failure::Unavailable`] on
    /// anything else.
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

    /// Like [`Tokeninfo::ask`], but neither uses nor changes what is remembered.
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

    /// How many exchanges are running and waiting.
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
                "Exchanges waiting for their turn",
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

    /// Makes one attempt. Any status but 200 and 400 is a failure.
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

/// The outcome of a successful attempt: the body of a 200, or no body for a refusal.
struct Judged {
    body: Option<Vec<u8>>,
    date: Option<i64>,
}

/// A failed attempt.
struct Attempt {
    cause: String,
    retryable: bool,
    retry_after: Option<Duration>,
}

impl Attempt {
    fn broken(cause: String) -> Attempt {
        Attempt { cause, retryable: true, retry_after: None }
    }

    /// The pause before the only retry, if a retry may help and can begin before the deadline.
    fn retry_pause(&self, deadline: Instant) -> Option<Duration> {
        let pause = self.retry_after.unwrap_or(RETRY_PAUSE);
        let left = deadline.saturating_duration_since(Instant::now());
        (self.retryable && pause < left).then_some(pause)
    }
}
