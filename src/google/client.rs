//! GET from one of Google's endpoints: within a deadline, up to a size, and with errors that hold no URL.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::HeaderMap;
use url::Url;

use super::freshness::{delta_seconds, http_date};

/// Longest wait that an answer may ask for.
const RETRY_AFTER_SECONDS_MAX: u64 = 60 * 60;
/// Real answers have 1 to 4 kB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Google closes an idle connection after minutes; ours end first.
const IDLE_CONNECTION_AGE: Duration = Duration::from_secs(60);

/// An endpoint and a pool of connections to it.
pub struct Client {
    agent: Agent,
    url: String,
    name: &'static str,
}

/// What came back, whatever the status.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, or why there is none.
    pub body: Result<Vec<u8>, String>,
    headers: HeaderMap,
}

impl Client {
    /// A client that keeps up to so many connections. `name` is what errors call the endpoint. HTTPS_PROXY and NO_PROXY
    /// count where it is https.
    pub fn new(url: &Url, name: &'static str, connections: usize) -> Client {
        let proxy = if url.scheme() == "https" { ureq::Proxy::try_from_env() } else { None };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .max_idle_age(IDLE_CONNECTION_AGE)
            .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .build()
            .new_agent();
        Client { agent, url: url.to_string(), name }
    }

    /// Asks once, with those query parameters, and is done by the deadline. Redirects are not followed.
    ///
    /// # Errors
    /// What happened, without URL and parameters.
    pub fn get(&self, parameters: &[(&str, &str)], deadline: Instant) -> Result<Answer, String> {
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() {
            return Err(format!("{} took too long", self.name));
        }
        let mut response = self
            .agent
            .get(&self.url)
            .query_pairs(parameters.iter().copied())
            .config()
            .timeout_global(Some(patience))
            .build()
            .call()
            .map_err(|error| self.describe(&error))?;
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Answer {
            status: response.status().as_u16(),
            body: body.map_err(|error| self.describe(&error)),
            headers: std::mem::take(response.headers_mut()),
        })
    }

    /// The kind of an error. Its own text may hold the URL, and the URL may hold a token.
    fn describe(&self, error: &ureq::Error) -> String {
        let kind = match error {
            ureq::Error::Timeout(_) => "took too long",
            ureq::Error::HostNotFound => "has no address (DNS)",
            // So ureq hands on what rustls finds wrong.
            ureq::Error::Io(io) if io.kind() == ErrorKind::InvalidData => {
                "has no valid certificate, or TLS failed"
            }
            ureq::Error::Io(io) => {
                return format!("{} could not be reached: {}", self.name, io.kind());
            }
            ureq::Error::BodyExceedsLimit(_) => "sent more than 64 KiB",
            ureq::Error::ConnectProxyFailed(_) => "could not be reached through the proxy",
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => {
                "has no valid certificate, or TLS failed"
            }
            ureq::Error::Protocol(_) => "broke the HTTP protocol",
            _ => "could not be reached",
        };
        format!("{} {kind}", self.name)
    }
}

impl Answer {
    /// The header fields of that name that are text, in their order.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }

    /// `Date`: when it was made, in unix seconds.
    pub fn date(&self) -> Option<i64> {
        self.fields("Date").next().and_then(http_date)
    }

    /// `Retry-After` (RFC 9110, section 10.2.3), at most an hour.
    pub fn retry_after(&self, now: i64) -> Option<Duration> {
        let text = self.fields("Retry-After").next()?;
        let seconds = delta_seconds(text)
            .or_else(|| http_date(text).map(|at| at.saturating_sub(now).max(0).unsigned_abs()))?;
        Some(Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)))
    }
}

/// The proxy through which calls to that endpoint go, as `HOST:PORT` without credentials. The environment names it.
pub fn proxy_for(endpoint: &Url) -> Option<String> {
    let proxy = ureq::Proxy::try_from_env().filter(|_| endpoint.scheme() == "https")?;
    let bypassed = endpoint.as_str().parse().is_ok_and(|uri| proxy.is_no_proxy(&uri));
    (!bypassed).then(|| format!("{}:{}", proxy.host(), proxy.port()))
}
