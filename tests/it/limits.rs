//! Limits sign-in attempts by client address, and shares the calls to Google.

use std::thread;
use std::time::{Duration, Instant};

use hallpass::http::Request;
use serde_json::json;

use crate::google::Answer;
use crate::program::eventually;
use crate::test_app::{
    FORM, RequestExt, TestApp, body, get, near, post, post_token, refused, token,
};

/// The request as a proxy on this machine forwards it.
fn from(address: &str, mut request: Request) -> Request {
    request.peer = Some([127, 0, 0, 1].into());
    request.header("X-Forwarded-For", address)
}

#[test]
fn a_burst_and_then_429() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "3"]);
    for _ in 0..3 {
        assert_eq!(test.send(post_token(&token(json!({})))).status, 200);
    }
    let calls = test.google.calls().len();
    // If a second passes on a slow machine, there is one more.
    let mut attempts = (0..10).map(|_| test.send(post("/auth/signin", FORM, "id_token=1")));
    let response = attempts.find(|response| response.status != 400).unwrap();
    refused(&response, 429, "too_many_requests");
    assert!(response.header("Retry-After").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(test.google.calls().len(), calls);
}

#[test]
fn invalid_attempts_count_and_others_are_not_delayed() {
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
fn a_burst_of_zero_means_no_limit() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "0"]);
    for _ in 0..100 {
        assert_eq!(test.send(post("/auth/signin", FORM, "")).status, 400);
    }
}

#[test]
fn clients_without_a_readable_address_share_a_limit() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "2"]);
    let status = |forwarded: Option<&str>| {
        let mut request = post("/auth/signin", FORM, "id_token=1");
        request.peer = Some([127, 0, 0, 1].into());
        test.send(forwarded.iter().fold(request, |r, value| r.header("X-Forwarded-For", value)))
            .status
    };
    let unreadable = ["unknown", "unix:", "203.0.113.7,"];
    // If a second passes on a slow machine, there is one more.
    let mut attempts = (0..30).map(|number| status(Some(unreadable[number % unreadable.len()])));
    assert_eq!(attempts.find(|status| *status != 400), Some(429));
    for other in [None, Some("127.0.0.1"), Some("203.0.113.7:51008"), Some("::1")] {
        assert_eq!(status(other), 400, "{other:?}");
    }
}

#[test]
fn networks_and_their_addresses_have_limits() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "20"]);
    let start = Instant::now();
    // Checks how many of 256 attempts pass, from addresses that differ at NN.
    let check = |address: &str, limit: usize, multiple: usize| {
        let attempt = |number: usize| {
            let client = address.replace("NN", &format!("{number:02x}"));
            test.send(from(&client, post("/auth/signin", FORM, "id_token=1"))).status
        };
        let passed = (0..256).filter(|number| attempt(*number) == 400).count();
        // A slow machine allows a few more.
        let slack = multiple * (1 + start.elapsed().as_secs() as usize);
        assert!((limit..=limit + slack).contains(&passed), "{address}: {passed}");
    };
    check("198.51.100.7", 20, 1);
    check("2001:db8:1:100::NN", 20, 1);
    check("2001:db8:1:1NN::7", 20, 2);
    check("2001:db8:1:2NN::7", 40, 2);
    check("2001:db8:1:fNN::7", 0, 4);
    check("2001:db8:2:NN00::7", 80, 4);
    check("2001:db8:3:0::7", 20, 1);
    check("198.51.100.8", 20, 1);
}

#[test]
fn refused_attempts_do_not_count_against_neighbours() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "3"]);
    let attempt =
        |address: &str| test.send(from(address, post("/auth/signin", FORM, "id_token=1"))).status;
    for _ in 0..100 {
        attempt("2001:db8:1:100::1");
    }
    let neighbour: Vec<u16> = (0..3).map(|_| attempt("2001:db8:1:1ff::1")).collect();
    assert_eq!(neighbour, [400; 3]);
}

/// Google never answers, so every call that may run is running.
#[test]
fn a_network_on_its_own_uses_nearly_all_calls() {
    #[track_caller]
    fn check(address: &str, running: usize) {
        let flags =
            ["--allow-anyone", "--tokeninfo-concurrency", "16", "--tokeninfo-timeout", "3s"];
        let test = &TestApp::with(&flags);
        test.google.always(Answer::Hang);
        let lines = [
            format!("hallpass_tokeninfo_running {running}\n"),
            format!("hallpass_tokeninfo_waiting {}\n", 24 - running),
        ];
        let are_shown = || {
            let metrics = body(&test.send(near(get("/metrics"))));
            lines.iter().all(|line| metrics.contains(line))
        };
        thread::scope(|scope| {
            for _ in 0..24 {
                let request = from(address, post_token(&token(json!({}))));
                scope.spawn(move || test.send(request).status);
            }
            let start = Instant::now();
            while !are_shown() {
                assert!(start.elapsed() < Duration::from_secs(3), "{address}");
                thread::yield_now();
            }
        });
    }
    check("203.0.113.7", 14);
    check("2001:db8::7", 14);
    check("127.0.0.1", 16);
}

/// One /48 tries to take all calls, and Google does not answer it.
#[test]
fn one_network_cannot_take_all_calls_to_google() {
    let test = TestApp::with(&[
        "--allow-anyone",
        "--tokeninfo-concurrency",
        "4",
        "--tokeninfo-timeout",
        "3s",
    ]);
    test.google.always(Answer::Hang);
    thread::scope(|scope| {
        for number in 0..24 {
            let address = format!("2001:db8:1:{number:x}::1");
            let request = from(&address, post_token(&token(json!({}))));
            let test = &test;
            scope.spawn(move || test.send(request).status);
        }
        eventually(|| test.google.calls().len() == 3);
        test.google.always(Answer::Claims);
        for number in 1..=30 {
            let address = format!("203.0.113.{number}");
            let response = test.send(from(&address, post_token(&token(json!({})))));
            assert_eq!(response.status, 200, "{address}");
        }
        // The same with a bearer.
        let response = test.send(from("2001:db8:2::1", get("/auth/me").bearer(&token(json!({})))));
        assert_eq!(response.status, 200);
    });
}
