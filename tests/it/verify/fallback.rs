//! --verify fallback: tokeninfo first, and the keys if it cannot answer.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{SLACK, TIMEOUT, answer, published, status, test};
use crate::google::{Answer, Google};
use crate::program::{self, Program};
use crate::signing::{FIRST, SECOND, jwk_set};
use crate::test_app::{HOUR, NOW, TestApp, document, get, near, post_token, refused, usual_claims};

/// With that fault, tokeninfo alone leads to 503. With the keys behind it, the sign-in succeeds.
/// Both within the deadline.
#[track_caller]
fn steps_in(fault: &Answer) {
    let alone = TestApp::with(&["--allow-anyone", "--tokeninfo-timeout", "1s"]);
    alone.google.always(fault.clone());
    refused(&alone.send(post_token(&FIRST.token(json!({})))), 503, "temporarily_unavailable");

    let (test, certs) = test("fallback");
    test.google.always(fault.clone());
    let start = Instant::now();
    assert_eq!(test.send(post_token(&FIRST.token(json!({})))).status, 200);
    assert!(start.elapsed() < TIMEOUT + SLACK, "{:?}", start.elapsed());
    assert!(!test.google.calls().is_empty() && certs.calls().len() == 1);
}

#[test]
fn faults_of_tokeninfo() {
    for code in [503, 502, 500, 429, 403, 401, 404, 204, 302, 418] {
        steps_in(&status(code));
    }
    steps_in(&Answer::Status(429, "Retry-After: 30\r\n", Vec::new()));
    for document in ["", "<html></html>", "null", "[]", "{", r#"{"error":"invalid_token"}"#] {
        steps_in(&answer("", document));
    }
    let claims = usual_claims().to_string();
    steps_in(&answer("", &format!("{claims}{}", " ".repeat(1024 * 1024))));
    let mut headless = usual_claims();
    headless["sub"] = json!(null);
    steps_in(&answer("", &headless.to_string()));
    steps_in(&Answer::Reset);
    steps_in(&Answer::Close);
    steps_in(&Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    steps_in(&Answer::Bytes(
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n{}".to_vec(),
    ));
    steps_in(&Answer::Bytes(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
    ));
}

#[test]
fn a_tokeninfo_that_hangs() {
    steps_in(&Answer::Hang);
    steps_in(&Answer::Drip);
    steps_in(&Answer::Late(TIMEOUT + SLACK));
}

#[test]
fn with_both_unavailable_the_deadline_holds() {
    let (test, certs) = test("fallback");
    test.google.always(Answer::Hang);
    certs.always(Answer::Hang);
    let start = Instant::now();
    refused(&test.send(post_token(&FIRST.token(json!({})))), 503, "temporarily_unavailable");
    assert!(start.elapsed() < TIMEOUT + SLACK, "{:?}", start.elapsed());
}

#[test]
fn a_refusal_by_tokeninfo_is_final() {
    let (test, certs) = test("fallback");
    test.google.always(status(400));
    let token = FIRST.token(json!({}));
    refused(&test.send(post_token(&token)), 401, "invalid_token");
    test.google.always(status(503));
    refused(&test.send(post_token(&token)), 401, "invalid_token");
    test.google.always(answer("", &usual_claims().to_string().replace("1008719970978", "2")));
    refused(&test.send(post_token(&FIRST.token(json!({})))), 401, "invalid_token");
    assert_eq!(certs.calls().len(), 0, "nor are the keys asked");
}

#[test]
fn tokeninfo_may_accept_what_the_keys_refused() {
    let (test, _certs) = test("fallback");
    test.google.always(status(503));
    let token = SECOND.token(json!({}));
    refused(&test.send(post_token(&token)), 401, "invalid_token");
    test.google.always(Answer::Claims);
    assert_eq!(test.send(post_token(&token)).status, 200, "no verdict of the keys is remembered");
}

#[test]
fn without_keys_the_503_has_tokeninfos_retry_after() {
    let (test, certs) = test("fallback");
    test.google.always(Answer::Status(429, "Retry-After: 30\r\n", Vec::new()));
    certs.always(status(404));
    let response = test.send(post_token(&FIRST.token(json!({}))));
    refused(&response, 503, "temporarily_unavailable");
    assert_eq!(response.header("Retry-After"), Some("30"));
}

#[test]
fn the_keys_decide_when_too_many_calls_wait() {
    let certs = Google::start();
    certs.always(published(&jwk_set(&[FIRST.jwk()]), 3600));
    let url = certs.url();
    let test = TestApp::with(&[
        "--allow-anyone",
        "--tokeninfo-concurrency",
        "1",
        "--tokeninfo-timeout",
        "8s",
        "--verify",
        "fallback",
        "--keys-url",
        &url,
    ]);
    test.google.always(Answer::Late(Duration::from_millis(500)));
    thread::scope(|scope| {
        for _ in 0..9 {
            scope.spawn(|| assert_eq!(test.send(post_token(&FIRST.token(json!({})))).status, 200));
        }
    });
    let by =
        |way: &str| test.count(&format!("events WHERE kind = 'signin' AND verified_by = '{way}'"));
    let (tokeninfo, keys) = (by("tokeninfo"), by("keys"));
    assert!(tokeninfo >= 3 && keys >= 1 && tokeninfo + keys == 9, "{tokeninfo} {keys}");
}

#[test]
fn each_change_is_logged_once() {
    let certs = Google::start();
    certs.always(published(&jwk_set(&[FIRST.jwk()]), 3600));
    let program = Program::serve(&["--verify", "fallback", "--keys-url", &certs.url()]);
    let sign_in = || {
        let now = hallpass::clock::now();
        let answer = program.sign_in(&FIRST.token(json!({"iat": now, "exp": now + HOUR}))).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    };
    program.google.always(status(403));
    (0..5).for_each(|_| sign_in());
    let lines = |text: &str| program.log().lines().filter(|line| line.contains(text)).count();
    program::eventually(|| lines("\"request\"") + lines("request method") >= 5);
    assert_eq!(
        lines(
            "Google's keys verify sign-ins, as tokeninfo cannot answer: tokeninfo answered with status 403"
        ),
        1
    );
    assert_eq!(lines("tokeninfo verifies sign-ins again"), 0);
}

#[test]
fn tokeninfo_is_back_after_answering_for_a_minute() {
    // The test above checks the log. This one checks that tokeninfo must answer for a minute.
    let (test, _certs) = test("fallback");
    let send = |at: i64| {
        let token = FIRST.token(json!({"iat": at, "exp": at + HOUR}));
        assert_eq!(test.send_at(post_token(&token), at).status, 200);
    };
    let away = || document(&test.send(near(get("/readyz"))))["keys"]["in_use"] == true;
    send(NOW);
    assert!(!away());
    test.google.always(status(403));
    send(NOW);
    assert!(away());
    test.google.always(Answer::Claims);
    send(NOW + 59);
    assert!(away(), "one that fails now and then would fill the log");
    send(NOW + 60);
    assert!(!away());
}
