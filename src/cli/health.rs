//! `hallpass health`: is a running server alive? And whoever else wants to know what an address answers.

use std::io::ErrorKind;
use std::time::Duration;

use ureq::tls::TlsConfig;

use crate::config::HealthOptions;
use crate::web::INSTANCE_HEADER;

/// A server that takes longer is not well.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What came back.
pub struct Answer {
    /// The status code.
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

/// Runs `hallpass health`.
///
/// # Errors
/// One sentence that says what came instead.
pub fn health(options: &HealthOptions) -> Result<(), String> {
    match ask(options.url.as_str(), true) {
        Ok(Answer { status: 200, .. }) => Ok(()),
        Ok(answer) => Err(format!("{} answers with status {}", options.url, answer.status)),
        Err(Silence::Untrusted) => {
            Err(format!("{} has no certificate that can be trusted", options.url))
        }
        Err(Silence::Other(why)) => Err(format!("{} does not answer: {why}", options.url)),
    }
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
