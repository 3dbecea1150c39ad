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
