//! A Google ID token as the bearer: exchanged once, then a session like any other.

use std::thread;
use std::time::Duration;

use hallpass::http::Handler;
use serde_json::json;

use crate::google::{Answer, token_of};
use crate::test_app::{
    HOUR, NOW, RequestExt, TestApp, document, get, post_token, refused, request, token,
    usual_claims,
};

#[test]
fn google_is_asked_once() {
    let test = TestApp::open();
    let token = token(json!({}));
    for target in ["/auth/me", "/auth/check", "/auth/forward", "/auth/me"] {
        assert_eq!(test.send(get(target).bearer(&token)).status, 200, "{target}");
    }
    assert_eq!(test.google.calls().len(), 1);
    assert_eq!(test.count("sessions WHERE kind = 'id_token'"), 1);
}

#[test]
fn concurrent_requests_ask_google_once() {
    let test = TestApp::open();
    test.google.always(Answer::Late(Duration::from_millis(200)));
    let token = token(json!({}));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(test.send(get("/auth/check").bearer(&token)).status, 200));
        }
    });
    assert_eq!(test.google.calls().len(), 1);
}

#[test]
fn the_session_ends_at_exp_and_has_no_idle_limit() {
    let test = TestApp::with(&["--allow-anyone", "--session-idle", "2m"]);
    let token = token(json!({}));
    let me = document(&test.send(get("/auth/me").bearer(&token)));
    assert_eq!(me["session"]["expires_at"], NOW + HOUR);
    assert_eq!(test.send_at(get("/auth/me").bearer(&token), NOW + HOUR - 1).status, 200);
    refused(&test.send_at(get("/auth/me").bearer(&token), NOW + HOUR), 401, "unauthenticated");
    assert_eq!(test.google.calls().len(), 1);
}

#[test]
fn an_ended_token_cannot_come_back() {
    let test = TestApp::open();
    let token = token(json!({}));
    assert_eq!(test.send(get("/auth/me").bearer(&token)).status, 200);
    assert_eq!(test.send(request("POST", "/auth/signout").bearer(&token)).status, 204);
    refused(&test.send(get("/auth/me").bearer(&token)), 401, "unauthenticated");
    refused(&test.send(post_token(&token)), 401, "invalid_token");
    test.app.store().purge(NOW + HOUR - 1, None).unwrap();
    refused(&test.send(get("/auth/me").bearer(&token)), 401, "unauthenticated");
}

#[test]
fn it_ends_with_its_user_and_stays_ended_until_exp() {
    for ended_before in [false, true] {
        let test = TestApp::open();
        let token = token(json!({}));
        let id = document(&test.send(get("/auth/me").bearer(&token)))["user"]["sub"].clone();
        if ended_before {
            test.send(request("POST", "/auth/signout").bearer(&token));
        }
        assert!(test.app.store().delete_user(id.as_str().unwrap(), NOW).unwrap());
        let stays_ended = || {
            refused(&test.send(get("/auth/me").bearer(&token)), 401, "unauthenticated");
            refused(&test.send(post_token(&token)), 401, "invalid_token");
            assert_eq!(test.count("users"), 0);
        };
        stays_ended();
        test.app.store().purge(NOW + HOUR - 1, None).unwrap();
        stays_ended();
        test.app.store().purge(NOW + HOUR, None).unwrap();
        assert_eq!(test.count("id_tokens"), 0);
    }
}

#[test]
fn it_stays_ended_even_if_its_row_is_deleted() {
    for gone in [
        "DELETE FROM sessions",
        "DELETE FROM users",
        "UPDATE sessions SET token_sha256 = zeroblob(32)",
    ] {
        let test = TestApp::open();
        let token = token(json!({}));
        assert_eq!(test.send(get("/auth/me").bearer(&token)).status, 200);
        test.sql(gone);
        refused(&test.send(get("/auth/me").bearer(&token)), 401, "unauthenticated");
        assert_eq!(test.google.calls().len(), 1);
    }
}

/// Two spellings of a token: the second character of its one-byte signature has four unused bits.
fn two_spellings() -> (String, String) {
    let token = token(json!({}));
    let signed = token.rsplit_once('.').unwrap().0;
    (format!("{signed}.AA"), format!("{signed}.AP"))
}

#[test]
fn another_spelling_is_the_same_token() {
    let test = TestApp::open();
    let (token, other) = two_spellings();
    let me = |token: &str| document(&test.send(get("/auth/me").bearer(token)));
    assert_eq!(me(&token)["session"], me(&other)["session"]);
    assert_eq!(test.google.calls().len(), 1);
    assert_eq!(test.send(request("POST", "/auth/signout").bearer(&other)).status, 204);
    for spelling in [&token, &other] {
        refused(&test.send(get("/auth/me").bearer(spelling)), 401, "unauthenticated");
        refused(&test.send(post_token(spelling)), 401, "invalid_token");
    }
}

#[test]
fn the_row_is_keyed_by_the_signed_part() {
    let test = TestApp::open();
    let token = token(json!({}));
    assert_eq!(test.send(get("/auth/me").bearer(&token)).status, 200);
    let signed = token.rsplit_once('.').unwrap().0;
    let hash: String = ring::digest::digest(&ring::digest::SHA256, signed.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    for table in ["sessions", "id_tokens"] {
        assert_eq!(
            test.count(&format!("{table} WHERE hex(token_sha256) = '{hash}'")),
            1,
            "{table}"
        );
    }
}

#[test]
fn another_signature_must_be_verified() {
    let test = TestApp::open();
    let token = token(json!({}));
    let forged = format!("{}.BBBB", token.rsplit_once('.').unwrap().0);
    let refuse = || test.google.next(Answer::Status(400, "", b"{}".to_vec()));
    refuse();
    refused(&test.send(get("/auth/me").bearer(&forged)), 401, "invalid_token");
    assert_eq!(
        test.send(get("/auth/me").bearer(&token)).status,
        200,
        "the true one is not refused with it"
    );
    for target in ["/auth/me", "/auth/check", "/auth/forward"] {
        refused(&test.send(get(target).bearer(&forged)), 401, "invalid_token");
        assert!(Handler::fast_path(&test.app, &get(target).bearer(&forged), NOW).is_none());
    }
    assert_eq!(test.send(request("POST", "/auth/signout").bearer(&forged)).status, 204);
    assert_eq!(
        test.send(get("/auth/me").bearer(&token)).status,
        200,
        "a forged one signs nobody out"
    );
}

#[test]
fn signing_out_with_a_new_token_does_not_ask_google() {
    let test = TestApp::open();
    assert_eq!(test.send(request("POST", "/auth/signout").bearer(&token(json!({})))).status, 204);
    assert_eq!(test.google.calls().len(), 0);
}

#[test]
fn the_same_rules_apply_as_at_sign_in() {
    let test = TestApp::with(&["--allow-domain", "example.com"]);
    let send = |claims| test.send(get("/auth/check").bearer(&token(claims)));
    refused(&send(json!({})), 403, "access_denied");
    refused(&send(json!({"hd": "example.com", "aud": "other"})), 401, "invalid_token");
    refused(&send(json!({"hd": "example.com", "nonce": "n"})), 401, "invalid_token");
    assert_eq!(send(json!({"hd": "example.com", "email": "a@example.com"})).status, 200);
    test.google.always(Answer::Close);
    refused(&send(json!({"hd": "example.com"})), 503, "temporarily_unavailable");
}

#[test]
fn only_tokens_that_name_google_as_issuer_are_sent_to_google() {
    let test = TestApp::open();
    let session = test.session();
    let other = |claims: serde_json::Value| token_of(&claims.to_string());
    for bearer in [
        other(json!({"iss": "https://other.example", "sub": "1"})),
        other(json!({"sub": "1"})),
        token_of("not json"),
        "a.b".to_owned(),
        "a.b.c.d".to_owned(),
        format!("{}.more", token(json!({}))),
    ] {
        assert_eq!(
            test.send(get("/auth/me").bearer(&bearer).cookie(&session)).status,
            200,
            "{bearer}"
        );
        refused(&test.send(get("/auth/me").bearer(&bearer)), 401, "unauthenticated");
    }
    assert_eq!(test.google.calls().len(), 1, "only the sign-in");
    let google_style = token_of(&usual_claims().to_string());
    assert_eq!(test.send(get("/auth/me").bearer(&google_style).cookie("hp_bad")).status, 200);
}

#[test]
fn exchanges_count_towards_the_rate_limit() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "2"]);
    let known = token(json!({}));
    assert_eq!(test.send(get("/auth/me").bearer(&known)).status, 200);
    assert_eq!(test.send(get("/auth/check").bearer(&token(json!({})))).status, 200);
    refused(&test.send(get("/auth/me").bearer(&token(json!({})))), 429, "too_many_requests");
    for target in ["/auth/check", "/auth/forward"] {
        // A proxy turns any status it does not know into 500.
        refused(&test.send(get(target).bearer(&token(json!({})))), 503, "temporarily_unavailable");
    }
    assert_eq!(
        test.send(get("/auth/check").bearer(&known)).status,
        200,
        "a known one is no attempt"
    );
}
