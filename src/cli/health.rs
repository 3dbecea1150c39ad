//! `hallpass health`: is a running server alive? And whoever else wants to know what an address answers.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ureq::tls::TlsConfig;

use crate::config::HealthOptions;
use crate::http::ListenAddress;
use crate::web::INSTANCE_HEADER;

/// The head of our answer is shorter.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
/// A server that takes longer is not well.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What came back.
pub struct Answer {
    /// The status code; 0 if what came back is not HTTP.
    pub status: u16,
    /// Which Hallpass answered, if it was one.
    pub instance: Option<String>,
}

/// Why nothing came back.
pub enum Silence {
    /// Its certificate is none that public authorities vouch for.
    Untrusted,
    /// Anything else, in words.
    Other(String),
}

/// Runs `hallpass health`: asks --url, or the server where its settings say that it listens.
///
/// # Errors
/// One sentence that says what came instead.
pub fn health(options: &HealthOptions) -> Result<(), String> {
    let is_tls = options.tls_cert.is_some();
    let mut addresses = options.listen.iter().filter(|address| !address.is_any_port());
    let (place, answer) = match (&options.url, addresses.next()) {
        (Some(url), _) => (url.to_string(), ask(url.as_str(), true)),
        (None, Some(address)) => (address.to_string(), ask_listener(address, is_tls, "/healthz")),
        (None, None) => {
            return Err("--listen has port 0, so the server's port is unknown; give --url".into());
        }
    };
    match answer {
        Ok(Answer { status: 200, .. }) => Ok(()),
        Ok(answer) => Err(format!("{place} answers with status {}", answer.status)),
        Err(Silence::Untrusted) => Err(format!("{place} has no certificate that can be trusted")),
        Err(Silence::Other(why)) => Err(format!("{place} does not answer: {why}")),
    }
}

/// Asks a server where it listens. Its certificate is for its public name, so it is not verified here.
pub fn ask_listener(address: &ListenAddress, is_tls: bool, path: &str) -> Result<Answer, Silence> {
    match address {
        ListenAddress::Unix(socket) => ask_unix(socket, path),
        ListenAddress::Tcp(address) => {
            let scheme = if is_tls { "https" } else { "http" };
            // A server that listens on every address is reached at loopback.
            let address = address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
            ask(&format!("{scheme}://{address}{path}"), false)
        }
    }
}

/// The same at a Unix socket, where the kernel itself may keep us waiting.
fn ask_unix(socket: &Path, path: &str) -> Result<Answer, Silence> {
    let (sender, receiver) = mpsc::channel();
    let (socket, path) = (socket.to_owned(), path.to_owned());
    thread::spawn(move || sender.send(exchange_unix(&socket, &path)));
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Silence::Other(error.to_string())),
        // Somebody is there who keeps silent.
        Err(_) => Ok(Answer { status: 0, instance: None }),
    }
}

fn exchange_unix(socket: &Path, path: &str) -> io::Result<Answer> {
    let mut socket = UnixStream::connect(socket)?;
    let mut head = String::new();
    let asked = socket
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())
        .and_then(|()| socket.take(ANSWER_BYTES_MAX).read_to_string(&mut head));
    // Whoever accepts is there, whatever comes then.
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

/// GET, directly and without following redirects; the certificate counts if told so.
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
        // So ureq hands on what rustls finds wrong.
        Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            Err(Silence::Untrusted)
        }
        Err(error) => Err(Silence::Other(error.to_string())),
    }
}
