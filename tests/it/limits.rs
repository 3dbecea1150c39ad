//! Sign-in attempts of one client address.

use serde_json::json;

use crate::test_app::{FORM, RequestExt, TestApp, get, post, post_token, refused, token};

#[test]
fn a_burst_and_then_429() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "3"]);
    for _ in 0..3 {
        assert_eq!(test.send(post_token(&token(json!({})))).status, 200);
    }
    let calls = test.google.calls().len();
    // On a machine so slow that a second has passed, there is one more.
    let mut attempts = (0..10).map(|_| test.send(post("/auth/signin", FORM, "id_token=1")));
    let response = attempts.find(|response| response.status != 400).unwrap();
    refused(&response, 429, "too_many_requests");
    assert!(response.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(test.google.calls().len(), calls);
}

#[test]
fn nonsense_counts_and_nobody_else_is_held_up() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "3"]);
    let session = {
        let mut request = post_token(&token(json!({})));
        request.peer = Some([192, 0, 2, 77].into());
        crate::test_app::document(&test.send(request))["session"]["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for _ in 0..5 {
        test.send(post("/auth/signin", FORM, "id_token=1"));
    }
    assert_eq!(test.send(post_token(&token(json!({})))).status, 429);
    let mut other = post_token(&token(json!({})));
    other.peer = Some([192, 0, 2, 2].into());
    assert_eq!(test.send(other).status, 200);
    assert_eq!(
        test.send(get("/auth/me").bearer(&session)).status,
        200,
        "a session is never limited"
    );
    assert_eq!(
        test.count("events WHERE reason LIKE 'too many%'"),
        0,
        "a flood does not fill the disk"
    );
}

#[test]
fn zero_is_no_limit() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "0"]);
    for _ in 0..100 {
        assert_eq!(test.send(post("/auth/signin", FORM, "")).status, 400);
    }
}

#[test]
fn clients_that_a_proxy_does_not_name_share_a_limit_of_their_own() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "2"]);
    let status = |forwarded: Option<&str>| {
        let mut request = post("/auth/signin", FORM, "id_token=1");
        request.peer = Some([127, 0, 0, 1].into());
        test.send(forwarded.iter().fold(request, |r, value| r.header("X-Forwarded-For", value)))
            .status
    };
    let unreadable = ["unknown", "unix:", "203.0.113.7,"];
    // On a machine so slow that a second has passed, there is one more.
    let mut attempts = (0..30).map(|number| status(Some(unreadable[number % unreadable.len()])));
    assert_eq!(attempts.find(|status| *status != 400), Some(429));
    for other in [None, Some("127.0.0.1"), Some("203.0.113.7:51008"), Some("::1")] {
        assert_eq!(status(other), 400, "{other:?}");
    }
}
