//! The one call to Google: GET tokeninfo with the token as its only parameter.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Response;
use ureq::http::header::RETRY_AFTER;
use url::Url;

use super::gate::Gate;
use super::refused::RefusedTokens;
use crate::clock;
use crate::metrics::{Call, CallResult, Metrics, Reading};
use crate::token::IdToken;

/// A real answer has about 1 kB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// The pause before the one retry where Google names none.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How many exchanges may wait for each that may run.
const WAITING_PER_RUNNING: usize = 2;
/// Google closes an idle connection after minutes; ours end first.
const IDLE_CONNECTION_AGE: Duration = Duration::from_secs(60);

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

/// Why there is no answer to read.
#[derive(Debug)]
pub enum Failure {
    /// Google looked at the token and said no. Final.
    Refused,
    /// Google cannot say. Says nothing about the token.
    Unavailable {
        /// What happened, without token and URL.
        cause: String,
        /// Seconds that Google asked us to wait.
        retry_after: Option<u64>,
    },
}

/// Google's tokeninfo endpoint.
pub struct Tokeninfo {
    agent: Agent,
    url: String,
    timeout: Duration,
    gate: Gate,
    refused: RefusedTokens,
    metrics: Arc<Metrics>,
}

impl Tokeninfo {
    /// A client with its pool of connections. HTTPS_PROXY and NO_PROXY count where the endpoint is https.
    pub fn new(settings: &TokeninfoSettings, metrics: Arc<Metrics>) -> Tokeninfo {
        let proxy = if settings.url.scheme() == "https" { ureq::Proxy::try_from_env() } else { None };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(settings.concurrency)
            .max_idle_connections_per_host(settings.concurrency)
            .max_idle_age(IDLE_CONNECTION_AGE)
            .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .build()
            .new_agent();
        Tokeninfo {
            agent,
            url: settings.url.to_string(),
            timeout: settings.timeout,
            gate: Gate::new(settings.concurrency, settings.concurrency * WAITING_PER_RUNNING),
            refused: RefusedTokens::default(),
            metrics,
        }
    }

    /// How many exchanges may be under way or wait for their turn; beyond it there is no answer.
    pub fn exchanges_max(&self) -> usize {
        self.gate.capacity()
    }

    /// Asks Google about the token and hands back the body of a 200, unread.
    ///
    /// # Errors
    /// [`Failure::Refused`] on 400, remembered for ten minutes; [`Failure::Unavailable`] on anything else.
    pub fn ask(&self, token: &IdToken) -> Result<Vec<u8>, Failure> {
        let start = Instant::now();
        let deadline = start + self.timeout;
        let hash = token.hash();
        if self.refused.contains(&hash, start) {
            return Err(Failure::Refused);
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
                Err(Failure::Refused)
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
        let failure = answer.as_ref().err().map(|attempt| attempt.cause.clone()).unwrap_or_default();
        self.metrics.count_call(Call { result, failure, duration: start.elapsed(), at: clock::now() });
        answer
    }

    /// One attempt. A status of 200 or 400 comes back with its body; anything else is no answer.
    fn attempt(&self, token: &IdToken, deadline: Instant) -> Result<(u16, Vec<u8>), Attempt> {
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() {
            return Err(Attempt::broken("tokeninfo took too long".into()));
        }
        let mut response = self
            .agent
            .get(&self.url)
            .query("id_token", token.expose())
            .config()
            .timeout_global(Some(patience))
            .build()
            .call()
            .map_err(|error| Attempt::broken(describe(&error)))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(&response);
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        match status {
            200 => Ok((200, body.map_err(|error| Attempt::broken(describe(&error)))?)),
            400 => Ok((400, Vec::new())),
            _ => Err(Attempt {
                cause: format!("tokeninfo answered with status {status}"),
                retryable: status == 429 || status >= 500,
                retry_after,
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
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The kind of an error. Its own text may hold the URL, and the URL holds the token.
fn describe(error: &ureq::Error) -> String {
    let kind = match error {
        ureq::Error::Timeout(_) => "took too long",
        ureq::Error::HostNotFound => "has no address (DNS)",
        ureq::Error::Io(io) => return format!("tokeninfo could not be reached: {}", io.kind()),
        ureq::Error::BodyExceedsLimit(_) => "sent more than 64 KiB",
        ureq::Error::ConnectProxyFailed(_) => "could not be reached through the proxy",
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => "has no valid certificate, or TLS failed",
        ureq::Error::Protocol(_) => "broke the HTTP protocol",
        _ => "could not be reached",
    };
    format!("tokeninfo {kind}")
}
