//! How verification shows in events, metrics and readiness, and its flags.

use std::time::{Duration, Instant};

use hallpass::google::fetch_keys;
use serde_json::{Value, json};

use super::{answer, status, test};
use crate::google::{Answer, Google};
use crate::program::{Program, run};
use crate::signing::{FIRST, SECOND, jwk_set};
use crate::test_app::{
    HOUR, NOW, TestApp, body, document, get, near, post_token, try_serve_options,
};

#[test]
fn events_say_how_a_token_was_verified() {
    let (test, _certs) = test("fallback");
    let last = || {
        test.text(
            "SELECT kind || ' ' || ifnull(verified_by, '-') FROM events ORDER BY id DESC LIMIT 1",
        )
    };
    let sign_in = |claims: Value| test.send(post_token(&FIRST.token(claims))).status;
    assert_eq!((sign_in(json!({})), last().as_deref()), (200, Some("signin tokeninfo")));
    test.google.always(status(403));
    assert_eq!((sign_in(json!({})), last().as_deref()), (200, Some("signin keys")));
    assert_eq!((sign_in(json!({"azp": "1"})), last().as_deref()), (403, Some("refusal keys")));
    assert_eq!((sign_in(json!({"aud": "x"})), last().as_deref()), (401, Some("refusal -")));
    // Here the store refuses.
    assert_eq!((sign_in(json!({"sub": "2"})), last().as_deref()), (403, Some("refusal keys")));
}

#[test]
fn the_operator_sees_how_a_token_was_verified() {
    let program = Program::serve(&[]);
    program.sign_in(&crate::program::token(json!({}))).unwrap();
    let database = program.database().display().to_string();
    run(&["users", "block", "testuser@gmail.com", "--database", &database]);
    let output = run(&["events", "--json", "--database", &database]);
    let events: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&events[0]["verified_by"], &events[1]["verified_by"]),
        (&json!("tokeninfo"), &Value::Null)
    );
}

#[test]
fn metrics_count_verifications_and_fetches() {
    let (test, certs) = test("fallback");
    let metrics = |now| {
        let mut request = get("/metrics");
        request.peer = Some([127, 0, 0, 1].into());
        body(&test.send_at(request, now))
    };
    assert!(!metrics(NOW).contains("hallpass_keys_age_seconds"), "there are none");
    assert_eq!(test.send(post_token(&FIRST.token(json!({})))).status, 200);
    test.google.always(status(403));
    (0..2).for_each(|_| assert_eq!(test.send(post_token(&FIRST.token(json!({})))).status, 200));
    certs.always(status(503));
    test.app.keys().unwrap().refresh(NOW + HOUR);
    let text = metrics(NOW + HOUR);
    for line in [
        r#"hallpass_signins_verified_total{by="tokeninfo"} 1"#,
        r#"hallpass_signins_verified_total{by="keys"} 2"#,
        r#"hallpass_keys_fetches_total{result="ok"} 1"#,
        r#"hallpass_keys_fetches_total{result="failed"} 1"#,
        "hallpass_keys 1",
        "hallpass_keys_age_seconds 3600",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[test]
fn readiness_shows_the_keys_and_fails_only_if_nothing_else_verifies() {
    let keys = |test: &TestApp| document(&test.send(near(get("/readyz"))))["keys"].clone();
    let (fallback, certs) = test("fallback");
    let none = json!({"count": 0, "fetched_at": null, "expires_at": null, "last_fetch": null, "in_use": false});
    assert_eq!(keys(&fallback), none);
    fallback.app.keys().unwrap().refresh(NOW);
    let fresh = json!({"count": 1, "fetched_at": NOW, "expires_at": NOW + HOUR, "last_fetch": "ok", "in_use": false});
    assert_eq!(keys(&fallback), fresh);
    drop(certs);

    let (alone, _certs) = test("keys");
    assert_eq!(alone.send(get("/readyz")).status, 503);
    alone.app.keys().unwrap().refresh(NOW);
    assert_eq!(alone.send(get("/readyz")).status, 200);
    assert_eq!(keys(&alone)["in_use"], true);
    assert_eq!(keys(&TestApp::open()), Value::Null);
}

#[test]
fn keys_can_be_fetched_before_serving() {
    let certs = Google::start();
    certs.always(answer("Cache-Control: max-age=7200\r\n", &jwk_set(&[SECOND.jwk(), FIRST.jwk()])));
    let find = || {
        fetch_keys(
            &certs.url().parse().unwrap(),
            None,
            NOW,
            Instant::now() + Duration::from_secs(2),
        )
    };
    let found = find().unwrap();
    assert_eq!(found.set.sizes(), [("first".to_owned(), 2048), ("second".to_owned(), 2048)]);
    assert_eq!(found.lifetime_seconds, 7200);
    certs.always(Answer::Close);
    assert!(find().unwrap_err().contains("the key endpoint"));
    certs.always(answer("", "{\"keys\":[]}"));
    assert!(find().unwrap_err().contains("no usable key"));
}

#[test]
fn flags() {
    let default = try_serve_options(&[]).unwrap();
    assert_eq!(default.keys_url.as_str(), "https://www.googleapis.com/oauth2/v3/certs");
    assert!(try_serve_options(&["--verify", "both"]).is_err());
    let output = run(&["demo", "--verify", "keys"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("--verify"));
}
