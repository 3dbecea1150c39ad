//! Google's security events: POST /auth/google/events.

mod receiver;
mod effects;
mod shown;
mod registration;

use std::sync::atomic::{AtomicU64, Ordering};

use hallpass::http::{Request, Response};
use serde_json::{Value, json};

use crate::google::Google;
use crate::signing::{FIRST, jwk_set};
use crate::test_app::{CLIENT_ID, NOW, RequestExt, TestApp, document, post};
use crate::verify::published;

const PATH: &str = "/auth/google/events";
const MEDIA_TYPE: &str = "application/secevent+jwt";
/// The `sub` of the usual claims.
const SUBJECT: &str = "110169484474386276334";

/// A test app that accepts events, signed with the first key, and other flags.
fn test_with(flags: &[&str]) -> (TestApp, Google) {
    let certs = Google::start();
    certs.always(published(&jwk_set(&[FIRST.jwk()]), 3600));
    let url = certs.url();
    let all =
        [&["--google-events", "--keys-url", &url, "--tokeninfo-timeout", "3s"], flags].concat();
    (TestApp::with(&all), certs)
}

fn test() -> (TestApp, Google) {
    test_with(&["--allow-anyone"])
}

/// The URL of a type of event.
fn url(name: &str) -> String {
    let profile = if name.starts_with("token") { "oauth" } else { "risc" };
    format!("https://schemas.openid.net/secevent/{profile}/event-type/{name}")
}

/// An event as Google's documentation shows it, about the usual person.
fn event(name: &str, more: Value) -> Value {
    event_about(SUBJECT, name, more)
}

fn event_about(subject: &str, name: &str, more: Value) -> Value {
    let mut event = json!({
        "subject": {"subject_type": "iss-sub", "iss": "https://accounts.google.com/", "sub": subject}
    });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({url(name): event})
}

/// The claims of a new security event token.
fn claims(events: Value) -> Value {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let jti = format!("756E69717565-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    json!({"iss": "https://accounts.google.com/", "aud": CLIENT_ID, "iat": NOW, "jti": jti, "events": events})
}

/// Signed as Google signs events.
fn signed(claims: &Value) -> String {
    FIRST.sign(&json!({"alg": "RS256", "kid": "first"}), &claims.to_string())
}

fn deliver(token: &str) -> Request {
    post(PATH, MEDIA_TYPE, token)
}

impl TestApp {
    /// Delivers an event that must be accepted.
    #[track_caller]
    fn receive(&self, events: Value) {
        self.receive_claims(&claims(events), NOW);
    }

    #[track_caller]
    fn receive_claims(&self, claims: &Value, now: i64) {
        let response = self.send_at(deliver(&signed(claims)), now);
        assert_eq!((response.status, response.body.len()), (202, 0), "{claims}");
    }
}

/// RFC 8935, section 2.3: the form of a refusal.
#[track_caller]
fn refused_event(response: &Response, code: &str, what: &str) {
    let document = document(response);
    assert_eq!((response.status, &document["err"]), (400, &json!(code)), "{what}: {document}");
    let is_short = document["description"].as_str().is_some_and(|text| text.len() < 120);
    assert!(is_short && document.as_object().unwrap().len() == 2, "{what}: {document}");
}

/// From another address each time, so the rate limit does not matter.
fn from(number: usize, mut request: Request) -> Request {
    request.peer = Some([10, 0, (number / 256) as u8, (number % 256) as u8].into());
    request
}

fn near_me(session: &str) -> Request {
    crate::test_app::get("/auth/check").bearer(session)
}
