//! `hallpass health`: is a running server alive?

use std::time::Duration;

use crate::config::HealthOptions;

/// A server that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks, and returns if the answer is 200.
///
/// # Errors
/// One sentence that says what came instead.
pub fn health(options: &HealthOptions) -> Result<(), String> {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .build()
        .new_agent();
    match agent.get(options.url.as_str()).call() {
        Ok(answer) if answer.status() == 200 => Ok(()),
        Ok(answer) => Err(format!("{} answers with status {}", options.url, answer.status().as_u16())),
        Err(error) => Err(format!("{} does not answer: {error}", options.url)),
    }
}
