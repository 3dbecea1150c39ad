//! `hallpass health`: is a running server alive? `doctor` uses its requests too.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::Args;
use ureq::tls::TlsConfig;
use url::Url;

use super::values::url;
use crate::http::ListenAddress;
use crate::web::INSTANCE_HEADER;

/// The head of our response is shorter.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// A server that takes longer is unhealthy.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Flags of `health`.
#[derive(Debug, Clone, Args)]
pub struct HealthOptions {
    /// The URL to check; without a path, /healthz there [default: /healthz at the first address of
    /// --listen]
    #[arg(long, env = "HALLPASS_HEALTH_URL", value_name = "URL", value_parser = url)]
    pub url: Option<Url>,
    /// Where the server listens
    #[arg(
        long,
        env = "HALLPASS_LISTEN",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "127.0.0.1:8080"
    )]
    pub listen: Vec<ListenAddress>,
    /// The server's certificate; if set, its TCP addresses are checked over HTTPS
    #[arg(long, env = "HALLPASS_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
}

/// A response.
pub struct Answer {
    /// The status code; 0 if the response is not HTTP.
    pub status: u16,
    /// The instance of Hallpass that answered, if it was a Hallpass.
    pub instance: Option<String>,
}

/// Why there is no response.
pub enum Silence {
    /// No public authority vouches for its certificate.
    Untrusted,
    /// Anything else, in words.
    Other(String),
}

/// Runs `hallpass health`: checks --url, or else the address that the server listens on.
///
/// # Errors
/// One sentence that says what happened instead.
pub fn health(options: &HealthOptions) -> Result<(), String> {
    let is_tls = options.tls_cert.is_some();
    let mut addresses = options.listen.iter().filter(|address| !address.is_any_port());
    let (place, answer) = match (&options.url, addresses.next()) {
        (Some(url), _) => {
            let mut url = url.clone();
            if url.path() == "/" && url.query().is_none() {
                url.set_path("/healthz");
            }
            (url.to_string(), ask(url.as_str(), true))
        }
        (None, Some(address)) => (address.to_string(), ask_listener(address, is_tls, "/healthz")),
        (None, None) => {
            return Err("--listen has port 0, so the server's port is unknown; give --url".into());
        }
    };
    match answer {
        Ok(Answer { status: 200, .. }) => Ok(()),
        Ok(answer) => Err(format!("{place} answers with status {}", answer.status)),
        Err(Silence::Untrusted) => Err(format!("{place} has a certificate that cannot be trusted")),
        Err(Silence::Other(why)) => Err(format!("{place} does not answer: {why}")),
    }
}

/// Sends a request to the address a server listens on. Its certificate is for its public name, so
/// it is not verified here.
pub fn ask_listener(address: &ListenAddress, is_tls: bool, path: &str) -> Result<Answer, Silence> {
    match address {
        ListenAddress::Unix(socket) => ask_unix(socket, path),
        ListenAddress::Tcp(address) => {
            let scheme = if is_tls { "https" } else { "http" };
            // A server that listens on every address also answers on loopback.
            let address = address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
            ask(&format!("{scheme}://{address}{path}"), false)
        }
    }
}

/// The same for a Unix socket, in a thread, because connecting may block.
fn ask_unix(socket: &Path, path: &str) -> Result<Answer, Silence> {
    let (sender, receiver) = mpsc::channel();
    let (socket, path) = (socket.to_owned(), path.to_owned());
    thread::spawn(move || sender.send(exchange_unix(&socket, &path)));
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Silence::Other(error.to_string())),
        // Something accepted the connection and sent nothing.
        Err(_) => Ok(Answer { status: 0, instance: None }),
    }
}

fn exchange_unix(socket: &Path, path: &str) -> io::Result<Answer> {
    let mut socket = UnixStream::connect(socket)?;
    let mut head = String::new();
    let asked = socket
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())
        .and_then(|()| socket.take(ANSWER_BYTES_MAX).read_to_string(&mut head));
    // Something accepted the connection, whatever happened next.
    if asked.is_err() {
        return Ok(Answer { status: 0, instance: None });
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let value = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case(INSTANCE_HEADER).then(|| value.to_owned())
    };
    Ok(Answer { status, instance: head.lines().find_map(value) })
}

/// Sends a GET without a proxy and without following redirects. Verifies the certificate if
/// `verified`.
pub fn ask(url: &str, verified: bool) -> Result<Answer, Silence> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(PATIENCE))
        .tls_config(TlsConfig::builder().disable_verification(!verified).build())
        .proxy(None)
        .build()
        .new_agent();
    match agent.get(url).call() {
        Ok(answer) => {
            let instance =
                answer.headers().get(INSTANCE_HEADER).and_then(|value| value.to_str().ok());
            Ok(Answer { status: answer.status().as_u16(), instance: instance.map(str::to_owned) })
        }
        // ureq's form of a certificate error from rustls.
        Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            Err(Silence::Untrusted)
        }
        Err(error) => Err(Silence::Other(error.to_string())),
    }
}
