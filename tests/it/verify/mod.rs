//! The ways to verify a token: tokeninfo, Google's keys, and the keys as a fallback.

pub mod table;
mod keys;
mod published;
mod fallback;
mod shown;

use std::time::Duration;

use crate::google::{Answer, Google};
use crate::signing::{FIRST, jwk_set};
use crate::test_app::TestApp;

/// Short enough for a test to wait for, long enough for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(3);
const SLACK: Duration = Duration::from_millis(700);

/// A test app that verifies in that way. The first key is published for an hour.
pub fn test(way: &str) -> (TestApp, Google) {
    let certs = Google::start();
    certs.always(published(&jwk_set(&[FIRST.jwk()]), 3600));
    (
        TestApp::with(&[
            "--allow-anyone",
            "--verify",
            way,
            "--keys-url",
            &certs.url(),
            "--tokeninfo-timeout",
            "3s",
        ]),
        certs,
    )
}

pub fn published(document: &str, max_age: u32) -> Answer {
    let headers =
        format!("Cache-Control: public, max-age={max_age}, must-revalidate, no-transform\r\n");
    answer(&headers, document)
}

fn answer(headers: &str, document: &str) -> Answer {
    Answer::Status(200, headers.to_owned().leak(), document.as_bytes().to_vec())
}

pub fn status(status: u16) -> Answer {
    Answer::Status(status, "", Vec::new())
}
