//! The call to Google and everything that can go wrong with it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::google::Answer;
use crate::test_app::{RequestExt, get};
use crate::test_app::{TestApp, body, post_token, refused, request, token, usual_claims};

/// Short enough for a test to wait for, long enough for a busy machine.
const TIMEOUT: &str = "1s";
const SLACK: Duration = Duration::from_millis(700);

fn impatient() -> TestApp {
    TestApp::with(&["--allow-anyone", "--tokeninfo-timeout", TIMEOUT])
}

/// With that answer from Google, a sign-in gets 503 within the deadline and records nothing. The
/// same token works afterwards.
#[track_caller]
fn cannot_say(answer: Answer) {
    let test = impatient();
    test.google.always(answer);
    let token = token(json!({}));
    let start = Instant::now();
    refused(&test.send(post_token(&token)), 503, "temporarily_unavailable");
    assert!(start.elapsed() < Duration::from_secs(1) + SLACK, "{:?}", start.elapsed());
    assert_eq!(test.count("users") + test.count("sessions"), 0);

    test.google.always(Answer::Claims);
    assert_eq!(
        test.send(post_token(&token)).status,
        200,
        "a transient failure is never remembered"
    );
    let expected = format!("/tokeninfo?id_token={token}");
    assert!(test.google.calls().iter().all(|target| *target == expected));
}

fn status(status: u16, headers: &'static str, body: &str) -> Answer {
    Answer::Status(status, headers, body.as_bytes().to_vec())
}

#[test]
fn statuses_that_say_nothing_about_the_token() {
    let unavailable = r#"{"error":{"code":503,"message":"The service is currently unavailable.","status":"UNAVAILABLE"}}"#;
    cannot_say(status(503, "", unavailable));
    cannot_say(status(502, "", "<html>Please try again in 30 seconds.</html>"));
    cannot_say(status(500, "", ""));
    cannot_say(status(429, "", r#"{"error":{"status":"RESOURCE_EXHAUSTED"}}"#));
    cannot_say(status(429, "Retry-After: 30\r\n", ""));
    cannot_say(status(403, "", "<html>rate limit</html>"));
    cannot_say(status(401, "", r#"{"error":"invalid_token"}"#));
    cannot_say(status(404, "", ""));
    cannot_say(status(204, "", ""));
    cannot_say(status(418, "", &usual_claims().to_string()));
}

#[test]
fn redirects_are_not_followed() {
    let test = impatient();
    let elsewhere = Box::leak(format!("Location: {}\r\n", test.google.url()).into_boxed_str());
    for code in [301, 302, 303, 307, 308] {
        let calls = test.google.calls().len();
        test.google.next(status(code, elsewhere, ""));
        refused(&test.send(post_token(&token(json!({})))), 503, "temporarily_unavailable");
        assert_eq!(test.google.calls().len(), calls + 1);
    }
}

#[test]
fn bodies_that_are_not_answers() {
    for text in
        ["", "<html></html>", "null", "[]", "{", r#"{"error":"invalid_token"}"#, r#"{"iss":"#]
    {
        cannot_say(status(200, "", text));
    }
    let claims = usual_claims().to_string();
    cannot_say(status(200, "", &claims[..claims.len() - 2]));
    cannot_say(status(200, "", &format!("{claims}{}", " ".repeat(1024 * 1024))));
    let mut headless = usual_claims();
    headless["exp"] = json!(null);
    cannot_say(status(200, "", &headless.to_string()));
    let mut undated = usual_claims();
    undated["iat"] = json!(null);
    cannot_say(status(200, "", &undated.to_string()));
}

#[test]
fn an_answer_of_64_kib_is_read_and_one_more_is_not() {
    let test = impatient();
    let claims = usual_claims().to_string();
    let padded =
        |length: usize| status(200, "", &format!("{claims}{}", " ".repeat(length - claims.len())));
    test.google.next(padded(64 * 1024));
    assert_eq!(test.send(post_token(&token(json!({})))).status, 200);
    test.google.always(padded(64 * 1024 + 1));
    refused(&test.send(post_token(&token(json!({})))), 503, "temporarily_unavailable");
}

#[test]
fn connections_that_break() {
    cannot_say(Answer::Reset);
    cannot_say(Answer::Close);
    cannot_say(Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    cannot_say(Answer::Bytes(
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n{}".to_vec(),
    ));
    cannot_say(Answer::Bytes(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
    ));
}

#[test]
fn connections_that_hang() {
    cannot_say(Answer::Hang);
    cannot_say(Answer::Drip);
    cannot_say(Answer::Late(Duration::from_secs(5)));
}

#[test]
fn a_port_where_nobody_listens() {
    let options = crate::test_app::serve_options(&[
        "--client-id",
        "x",
        "--allow-anyone",
        "--tokeninfo-url",
        "http://127.0.0.1:1/tokeninfo",
    ]);
    let settings = options.settings(Some(8080)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = hallpass::store::Store::open(&folder.path().join("db")).unwrap();
    let app = hallpass::web::App::new(settings, store);
    refused(
        &app.handle(&post_token(&token(json!({}))), crate::test_app::NOW),
        503,
        "temporarily_unavailable",
    );
}

#[test]
fn a_call_is_retried_once_if_that_may_help() {
    #[track_caller]
    fn check(first: Answer, expected_status: u16, expected_calls: usize) {
        let test = impatient();
        test.google.next(first);
        let response = test.send(post_token(&token(json!({}))));
        assert_eq!((response.status, test.google.calls().len()), (expected_status, expected_calls));
    }
    check(status(503, "", ""), 200, 2);
    check(status(500, "", ""), 200, 2);
    check(status(429, "", ""), 200, 2);
    check(status(429, "Retry-After: 0\r\n", ""), 200, 2);
    check(Answer::Reset, 200, 2);
    check(Answer::Close, 200, 2);
    check(status(429, "Retry-After: 30\r\n", ""), 503, 1);
    check(status(403, "", ""), 503, 1);
    check(status(400, "", "{}"), 401, 1);
    check(status(302, "", ""), 503, 1);
}

#[test]
fn retry_after_from_google_is_passed_on() {
    let test = impatient();
    test.google.always(status(429, "Retry-After: 30\r\n", ""));
    assert_eq!(test.send(post_token(&token(json!({})))).header("Retry-After"), Some("30"));
}

#[test]
fn retry_after_is_at_most_an_hour() {
    #[track_caller]
    fn check(headers: &'static str, expected: &str) {
        let test = impatient();
        test.google.always(status(503, headers, ""));
        let response = test.send(post_token(&token(json!({}))));
        refused(&response, 503, "temporarily_unavailable");
        assert_eq!(response.header("Retry-After"), Some(expected), "{headers}");
    }
    check("Retry-After: 3600\r\n", "3600");
    check("Retry-After: 3601\r\n", "3600");
    check("Retry-After: 9223372036854775807\r\n", "3600");
    check("Retry-After: 18446744073709551615\r\n", "3600");
    check("Retry-After: 99999999999999999999\r\n", "3600");
    check("Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", "3600");
    check("Retry-After: -1\r\n", "5");
    check("Retry-After: soon\r\n", "5");
}

#[test]
fn a_refused_token_costs_one_call() {
    let test = TestApp::open();
    test.google.always(status(
        400,
        "",
        r#"{"error":"invalid_token","error_description":"Invalid Value"}"#,
    ));
    let bad = token(json!({}));
    for _ in 0..3 {
        refused(&test.send(post_token(&bad)), 401, "invalid_token");
        refused(&test.send(get("/auth/me").bearer(&bad)), 401, "invalid_token");
    }
    assert_eq!(test.google.calls().len(), 1);
    refused(&test.send(post_token(&token(json!({})))), 401, "invalid_token");
    assert_eq!(test.google.calls().len(), 2, "another token is another question");
}

#[test]
fn our_own_refusals_are_not_remembered() {
    let test = TestApp::open();
    let doubled = usual_claims().to_string().replacen('{', "{\"sub\":\"1\",", 1);
    test.google.next(status(200, "", &doubled));
    let token = token(json!({}));
    refused(&test.send(post_token(&token)), 401, "invalid_token");
    assert_eq!(test.send(post_token(&token)).status, 200);
}

#[test]
fn numbers_instead_of_strings_are_read() {
    let test = TestApp::open();
    test.google.next(status(200, "", &usual_claims().to_string()));
    let response = test.send(post_token(&token(json!({}))));
    assert_eq!(response.status, 200, "{}", body(&response));
}

#[test]
fn a_bearer_is_sent_once_and_alone() {
    let test = TestApp::open();
    let token = token(json!({}));
    test.send(request("POST", "/auth/signin").bearer(&token));
    assert_eq!(test.google.calls(), [format!("/tokeninfo?id_token={token}")]);
}

#[test]
fn running_and_waiting_calls_are_limited() {
    let test = TestApp::with(&[
        "--allow-anyone",
        "--tokeninfo-concurrency",
        "2",
        "--tokeninfo-timeout",
        "10s",
    ]);
    test.google.always(Answer::Late(Duration::from_millis(300)));
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..12)
            .map(|_| scope.spawn(|| test.send(post_token(&token(json!({})))).status))
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    // Two run, four wait, and the others fail at once.
    let answered = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 503).count();
    assert!((6..12).contains(&answered) && answered + refused == 12, "{statuses:?}");
}
