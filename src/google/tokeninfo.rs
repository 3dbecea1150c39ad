//! The one call to Google: GET tokeninfo with the token as its only parameter.

use std::io::ErrorKind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Response;
use ureq::http::header::{DATE, RETRY_AFTER};
use url::Url;

use super::gate::Gate;
use super::refused::RefusedTokens;
use crate::clock;
use crate::metrics::{CallResult, Metrics, Reading};
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

/// An exchange with Google, and what it shows beside the answer.
#[derive(Debug)]
pub struct Exchange {
    /// The body of a 200, unread, or why there is none.
    pub outcome: Result<Vec<u8>, Failure>,
    /// The `Date` of the answer, as sent.
    pub date: Option<String>,
    /// From the beginning to the end, waiting and retry included.
    pub took: Duration,
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
        let hash = token.hash();
        if self.refused.contains(&hash, start) {
            return Err(Failure::Refused);
        }
        let outcome = self.exchange(token).outcome;
        if let Err(Failure::Refused) = outcome {
            self.refused.insert(hash, start);
        }
        outcome
    }

    /// The same, whatever is remembered, and without remembering anything.
    pub fn exchange(&self, token: &IdToken) -> Exchange {
        let start = Instant::now();
        let deadline = start + self.timeout;
        let Some(_permit) = self.gate.enter(deadline) else {
            let cause = "too many exchanges with tokeninfo are under way".into();
            let outcome = Err(Failure::Unavailable { cause, retry_after: None });
            return Exchange { outcome, date: None, took: start.elapsed() };
        };
        let answer = self.call(token, deadline).or_else(|attempt| match attempt.retry_pause(deadline) {
            Some(pause) => {
                thread::sleep(pause);
                self.call(token, deadline)
            }
            None => Err(attempt),
        });
        let (outcome, date) = match answer {
            Ok(Answer { body, date }) => (body.ok_or(Failure::Refused), date),
            Err(Attempt { cause, retry_after, .. }) => {
                let retry_after = retry_after.map(|pause| pause.as_secs());
                (Err(Failure::Unavailable { cause, retry_after }), None)
            }
        };
        Exchange { outcome, date, took: start.elapsed() }
    }

    /// How many exchanges run and wait just now.
    pub fn readings(&self) -> [Reading; 2] {
        let (running, waiting) = self.gate.occupancy();
        [
            Reading::gauge("hallpass_tokeninfo_running", "Exchanges with Google under way", running as u64),
            Reading::gauge("hallpass_tokeninfo_waiting", "Exchanges that wait for their turn", waiting as u64),
        ]
    }

    fn call(&self, token: &IdToken, deadline: Instant) -> Result<Answer, Attempt> {
        let start = Instant::now();
        let answer = self.attempt(token, deadline);
        let result = match &answer {
            Ok(Answer { body: Some(_), .. }) => CallResult::Ok,
            Ok(_) => CallResult::Refused,
            Err(_) => CallResult::Failed,
        };
        self.metrics.count_call(result, start.elapsed(), clock::now());
        answer
    }

    /// One attempt. A status other than 200 and 400 is no answer.
    fn attempt(&self, token: &IdToken, deadline: Instant) -> Result<Answer, Attempt> {
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
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        match status {
            200 => Ok(Answer { body: Some(body.map_err(|error| Attempt::broken(describe(&error)))?), date }),
            400 => Ok(Answer { body: None, date }),
            _ => Err(Attempt {
                cause: format!("tokeninfo answered with status {status}"),
                retryable: status == 429 || status >= 500,
                retry_after,
            }),
        }
    }
}

/// An attempt that brought an answer: the body of a 200, or a refusal.
struct Answer {
    body: Option<Vec<u8>>,
    date: Option<String>,
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

/// The proxy through which calls to that endpoint go, as `HOST:PORT` without credentials. The environment names it.
pub fn proxy_for(endpoint: &Url) -> Option<String> {
    let proxy = ureq::Proxy::try_from_env().filter(|_| endpoint.scheme() == "https")?;
    let bypassed = endpoint.as_str().parse().is_ok_and(|uri| proxy.is_no_proxy(&uri));
    (!bypassed).then(|| format!("{}:{}", proxy.host(), proxy.port()))
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
        // So ureq hands on what rustls finds wrong.
        ureq::Error::Io(io) if io.kind() == ErrorKind::InvalidData => "has no valid certificate, or TLS failed",
        ureq::Error::Io(io) => return format!("tokeninfo could not be reached: {}", io.kind()),
        ureq::Error::BodyExceedsLimit(_) => "sent more than 64 KiB",
        ureq::Error::ConnectProxyFailed(_) => "could not be reached through the proxy",
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => "has no valid certificate, or TLS failed",
        ureq::Error::Protocol(_) => "broke the HTTP protocol",
        _ => "could not be reached",
    };
    format!("tokeninfo {kind}")
}
