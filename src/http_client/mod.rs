//! Sends requests to one endpoint, within a deadline and a size limit. Errors contain no URL.

mod answer;
mod authorities;
mod connector;
mod freshness;
mod proxy;

use std::fmt;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use rustls::CertificateError;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectProxyConnector, Connector, NextTimeout, RustlsConnector, SocksConnector,
};
use ureq::{Agent, RequestBuilder};
use url::Url;

pub use answer::Answer;
pub use authorities::Authorities;
pub use freshness::fresh_seconds;
pub use proxy::{proxy_for, proxy_variables};

use connector::SideBySide;

/// Real responses have 1 to 4 kB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Each of two buffers of a connection. ureq takes 128 KiB, which many calls at once multiply.
const BUFFER_BYTES: usize = 16 * 1024;
/// Google closes idle connections after minutes. We close ours first.
const IDLE_CONNECTION_AGE: Duration = Duration::from_secs(60);

/// An endpoint and a pool of connections to it.
pub struct Client {
    agent: Agent,
    url: String,
    name: &'static str,
    is_proxied: bool,
    /// The value of `Authorization`.
    authorization: Option<String>,
}

impl Client {
    /// A client that keeps up to `connections` idle connections. `name` is the endpoint's name in
    /// errors. For https, the proxy from the environment and the given authorities are used.
    pub fn new(
        url: &Url,
        authorities: Option<&Authorities>,
        name: &'static str,
        connections: usize,
    ) -> Client {
        let proxy = proxy::proxy(url);
        let is_proxied = proxy.is_some();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .max_idle_age(IDLE_CONNECTION_AGE)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
            .proxy(proxy)
            .tls_config(Authorities::tls_config(authorities))
            .build();
        // ureq's default chain except for the third.
        let connector =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(SideBySide::default())
                .chain(RustlsConnector::default());
        let agent = Agent::with_parts(config, connector, NamingResolver::default());
        Client { agent, url: url.to_string(), name, is_proxied, authorization: None }
    }

    /// Sends this bearer token with every request.
    pub fn with_bearer(self, token: &str) -> Client {
        Client { authorization: Some(format!("Bearer {token}")), ..self }
    }

    /// Sends one request with those query parameters, and returns by the deadline. Does not follow
    /// redirects.
    ///
    /// # Errors
    /// The cause, without URL and parameters.
    pub fn get(&self, parameters: &[(&str, &str)], deadline: Instant) -> Result<Answer, String> {
        let request = self.agent.get(&self.url).query_pairs(parameters.iter().copied());
        self.answer(self.prepared(request, deadline)?.call())
    }

    /// Posts JSON, and returns by the deadline. Does not follow redirects.
    ///
    /// # Errors
    /// The cause, without URL and body.
    pub fn post(&self, json: &str, deadline: Instant) -> Result<Answer, String> {
        let request = self.agent.post(&self.url).content_type("application/json");
        self.answer(self.prepared(request, deadline)?.send(json))
    }

    fn prepared<B>(
        &self,
        mut request: RequestBuilder<B>,
        deadline: Instant,
    ) -> Result<RequestBuilder<B>, String> {
        if let Some(value) = &self.authorization {
            request = request.header("Authorization", value);
        }
        Ok(request.config().timeout_global(Some(self.patience(deadline)?)).build())
    }

    fn answer(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Answer, String> {
        let mut response = response.map_err(|error| self.describe(&error))?;
        // The body is read even if nobody needs it: only then is the connection used again.
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Answer {
            status: response.status().as_u16(),
            body: body.map_err(|error| self.describe(&error)),
            headers: std::mem::take(response.headers_mut()),
        })
    }

    fn patience(&self, deadline: Instant) -> Result<Duration, String> {
        let patience = deadline.saturating_duration_since(Instant::now());
        if patience.is_zero() {
            return Err(format!("{} took too long", self.name));
        }
        Ok(patience)
    }

    /// Describes an error by its kind. Its own text may contain the URL, and so a token.
    fn describe(&self, error: &ureq::Error) -> String {
        let kind = match error {
            ureq::Error::Timeout(_) => "took too long",
            ureq::Error::Other(other) if other.is::<DnsFailure>() => {
                let whose = if self.is_proxied { "the proxy of " } else { "" };
                return format!(
                    "the host name of {whose}{} cannot be resolved: {other}",
                    self.name
                );
            }
            // ureq wraps certificate errors from rustls this way.
            ureq::Error::Io(io) if io.kind() == ErrorKind::InvalidData => {
                let cause = io.get_ref().and_then(|cause| cause.downcast_ref());
                if let Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) =
                    cause
                {
                    "has a certificate from an unknown authority (if a proxy intercepts TLS, name its CA with --ca-file)"
                } else {
                    "has no valid certificate, or TLS failed"
                }
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

/// The system's resolver, wrapped to tell its failures from those of a connection.
#[derive(Debug, Default)]
struct NamingResolver(DefaultResolver);

/// Why a host name has no address, without the name.
#[derive(Debug)]
struct DnsFailure(String);

impl Resolver for NamingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        self.0.resolve(uri, config, timeout).map_err(|error| {
            let why = match error {
                ureq::Error::Io(error) => {
                    let text = error.to_string();
                    let detail = text.strip_prefix("failed to lookup address information: ");
                    detail.unwrap_or(&text).to_owned()
                }
                ureq::Error::Timeout(_) => "no answer in time".to_owned(),
                ureq::Error::HostNotFound => "it has no address".to_owned(),
                other => return other,
            };
            ureq::Error::Other(Box::new(DnsFailure(why)))
        })
    }
}

impl fmt::Display for DnsFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} (DNS)", self.0)
    }
}

impl std::error::Error for DnsFailure {}
