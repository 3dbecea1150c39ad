//! POST /auth/signin in every form that clients send.

use hallpass::http::Request;
use serde_json::{Value, json};

use crate::test_app::{
    DAY, FORM, HOUR, NOW, RequestExt, TestApp, body, document, get, post, post_token, refused,
    request, token,
};

const JSON: &str = "application/json";

#[track_caller]
fn accepted(request: Request) {
    let test = TestApp::open();
    let response = test.send(request);
    assert_eq!(response.status, 200, "{}", body(&response));
}

#[track_caller]
fn rejected(request: Request, status: u16, code: &str) {
    let test = TestApp::open();
    refused(&test.send(request), status, code);
    assert_eq!(test.count("sessions"), 0);
    assert_eq!(test.google.calls().len(), 0, "Google was called although this cannot be a token");
}

fn signin(media_type: &str, body: &str) -> Request {
    post("/auth/signin", media_type, body)
}

#[test]
fn every_field_in_every_encoding() {
    for field in ["id_token", "idToken", "idtoken"] {
        accepted(signin(FORM, &format!("{field}={}", token(json!({})))));
    }
    for field in ["id_token", "idToken", "idtoken", "credential"] {
        accepted(signin(JSON, &json!({field: token(json!({}))}).to_string()));
    }
    accepted(signin(
        "application/json; charset=utf-8",
        &json!({"idToken": token(json!({}))}).to_string(),
    ));
    accepted(signin(
        "Application/X-WWW-Form-Urlencoded; charset=UTF-8",
        &format!("idToken={}", token(json!({}))),
    ));
    accepted(signin(FORM, &format!("other=1&id_token={}&nonce=", token(json!({})))));
}

#[test]
fn a_bearer_needs_no_body() {
    accepted(request("POST", "/auth/signin").bearer(&token(json!({}))));
    accepted(
        request("POST", "/auth/signin")
            .header("authorization", &format!("bearer {}", token(json!({})))),
    );
}

#[test]
fn other_authorization_schemes_are_ignored() {
    accepted(post_token(&token(json!({}))).header("Authorization", "Basic YTpi"));
}

#[test]
fn there_must_be_exactly_one_token() {
    let (one, two) = (token(json!({})), token(json!({})));
    rejected(signin(FORM, ""), 400, "invalid_request");
    rejected(signin(FORM, "id_token="), 400, "invalid_request");
    rejected(signin(JSON, "{}"), 400, "invalid_request");
    rejected(request("POST", "/auth/signin"), 400, "invalid_request");
    rejected(signin(FORM, &format!("id_token={one}&id_token={two}")), 400, "invalid_request");
    rejected(signin(FORM, &format!("id_token={one}&idToken={one}")), 400, "invalid_request");
    rejected(
        signin(JSON, &format!(r#"{{"idToken":"{one}","idToken":"{two}"}}"#)),
        400,
        "invalid_request",
    );
    rejected(post_token(&one).bearer(&two), 400, "invalid_request");
}

#[test]
fn plain_user_ids_are_refused_with_the_reason() {
    let cases = [
        signin(FORM, "user_id=110169484474386276334"),
        signin(FORM, "userId=110169484474386276334"),
        signin(FORM, "sub=110169484474386276334"),
        signin(FORM, "id_token=110169484474386276334"),
        signin(JSON, r#"{"idToken":"110169484474386276334"}"#),
        signin(JSON, r#"{"idToken":110169484474386276334}"#),
        signin(JSON, r#"{"id":"110169484474386276334"}"#),
        request("POST", "/auth/signin").bearer("110169484474386276334"),
    ];
    for case in cases {
        let test = TestApp::open();
        let response = test.send(case);
        refused(&response, 400, "invalid_request");
        assert!(body(&response).contains("plain user id"), "{}", body(&response));
        assert_eq!(test.google.calls().len(), 0);
    }
}

#[test]
fn unreadable_bodies() {
    let mut not_utf8 = signin(FORM, "");
    not_utf8.body = vec![b'i', b'd', 0xff, 0xfe];
    rejected(not_utf8, 400, "invalid_request");
    rejected(signin(JSON, "{"), 400, "invalid_request");
    rejected(signin(JSON, "[]"), 400, "invalid_request");
    rejected(signin(JSON, r#"{"idToken":["x"]}"#), 400, "invalid_request");
    rejected(signin("text/plain", "id_token=x"), 415, "unsupported_media_type");
    rejected(signin("multipart/form-data; boundary=x", "--x"), 415, "unsupported_media_type");
    let mut untyped = request("POST", "/auth/signin");
    untyped.body = b"id_token=x".to_vec();
    rejected(untyped, 415, "unsupported_media_type");
}

#[test]
fn tokens_of_impossible_shape_are_never_sent() {
    for shape in
        ["a b", "a%26access_token%3Dx", "a%0d%0ab", "a%3D", "a%2Bb", "t%C3%B6ken", "a/b", "a%00b"]
    {
        rejected(signin(FORM, &format!("id_token={shape}")), 401, "invalid_token");
    }
    rejected(signin(FORM, &format!("id_token={}", "a".repeat(8193))), 401, "invalid_token");
    rejected(signin(FORM, &format!("id_token=hp_{}", "a".repeat(43))), 401, "invalid_token");
}

#[test]
fn tokens_of_possible_shape_reach_google_unchanged() {
    for shape in ["x", "a.b", "-_.", "1a", &"a".repeat(8192), &token(json!({}))] {
        let test = TestApp::open();
        test.send(post_token(shape));
        assert_eq!(test.google.calls(), [format!("/tokeninfo?id_token={shape}")]);
    }
}

#[test]
fn the_response_has_every_field_and_null_for_absent_claims() {
    let test = TestApp::open();
    let answer = test.sign_in(json!({"hd": null, "given_name": null, "email_verified": "true"}));
    assert_eq!(
        answer["user"],
        json!({
            "sub": "110169484474386276334", "username": "testuser_gmail.com",
            "email": "testuser@gmail.com", "email_verified": true,
            "email_authoritative": true, "name": "Test User", "given_name": null, "family_name": "User",
            "picture": "https://lh3.googleusercontent.com/a/x", "hd": null, "locale": "en",
            "created_at": NOW, "last_signin_at": NOW,
        })
    );
    assert_eq!(answer["new_user"], true);
    let session = &answer["session"];
    assert_eq!(
        (&session["created_at"], &session["expires_at"]),
        (&json!(NOW), &json!(NOW + 30 * DAY))
    );
    let token = session["token"].as_str().unwrap();
    assert!(token.starts_with("hp_") && token.len() == 3 + 43, "{token}");
    assert!(session["id"].is_string());
}

#[test]
fn the_cookie_carries_the_same_session() {
    let test = TestApp::open();
    let response = test.send(post_token(&token(json!({}))));
    let session = document(&response)["session"]["token"].as_str().unwrap().to_owned();
    assert_eq!(
        response.header("Set-Cookie"),
        Some(
            format!(
                "__Host-hallpass={session}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax; Secure"
            )
            .as_str()
        )
    );
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    assert_eq!(test.send(get("/auth/me").cookie(&session)).status, 200);
}

#[test]
fn the_cookie_follows_the_public_url() {
    #[track_caller]
    fn check(flags: &[&str], name: &str, ending: &str) {
        let test = TestApp::with(&[&["--allow-anyone"], flags].concat());
        let response = test.send(post_token(&token(json!({}))));
        let cookie = response.header("Set-Cookie").unwrap();
        assert!(cookie.starts_with(&format!("{name}=hp_")) && cookie.ends_with(ending), "{cookie}");
    }
    check(
        &["--cookie-domain", "example.com"],
        "__Secure-hallpass",
        "SameSite=Lax; Secure; Domain=example.com",
    );
    // --public-url is already set by the helper and may not be repeated.
    let options = crate::test_app::serve_options(&["--client-id", "x", "--allow-anyone"]);
    let settings = options.settings(Some(8080)).unwrap();
    assert_eq!(settings.origin(), "http://localhost:8080");
}

#[test]
fn a_second_sign_in_updates_the_same_user() {
    let test = TestApp::open();
    let first = test.sign_in(json!({}));
    let second = test.sign_in_at(json!({"name": "New Name", "picture": null}), NOW + HOUR);
    assert_eq!((&first["new_user"], &second["new_user"]), (&json!(true), &json!(false)));
    assert_eq!(second["user"]["name"], "New Name");
    assert_eq!(second["user"]["picture"], Value::Null);
    assert_eq!(second["user"]["created_at"], NOW);
    assert_eq!(second["user"]["last_signin_at"], NOW + HOUR);
    assert_ne!(first["session"]["token"], second["session"]["token"]);
    assert_eq!(test.count("users"), 1);
    assert_eq!(test.count("sessions"), 2);
}

#[test]
fn a_client_cannot_choose_its_session() {
    let test = TestApp::open();
    let chosen = format!("hp_{}", "A".repeat(43));
    let response = test.send(post_token(&token(json!({}))).cookie(&chosen));
    assert_ne!(document(&response)["session"]["token"], chosen);
    refused(&test.send(get("/auth/me").bearer(&chosen)), 401, "unauthenticated");
}

#[test]
fn users_are_identified_by_sub() {
    let test = TestApp::open();
    test.sign_in(json!({"sub": "1", "email": "a@example.net"}));
    test.sign_in(json!({"sub": "2", "email": "a@example.net"}));
    assert_eq!(test.count("users"), 2);
}

#[test]
fn an_authoritative_email_belongs_to_its_first_sub() {
    let test = TestApp::open();
    test.sign_in(json!({"sub": "1", "email": "a@gmail.com"}));
    let stranger = || post_token(&token(json!({"sub": "2", "email": "A@gmail.com"})));
    refused(&test.send(stranger()), 403, "access_denied");
    assert_eq!(test.count("events WHERE kind = 'refusal' AND sub = '2'"), 1);

    // The user keeps it when signing in without an e-mail, and gives it up with a new one.
    test.sign_in(json!({"sub": "1", "email": null}));
    refused(&test.send(stranger()), 403, "access_denied");
    test.sign_in(json!({"sub": "1", "email": "b@gmail.com"}));
    assert_eq!(test.send(stranger()).status, 200);
    refused(
        &test.send(post_token(&token(json!({"sub": "1", "email": "a@gmail.com"})))),
        403,
        "access_denied",
    );
}

#[test]
fn blocked_people_cannot_sign_in() {
    let test = TestApp::open();
    test.session();
    test.sql("UPDATE users SET blocked_at = 1");
    refused(&test.send(post_token(&token(json!({})))), 403, "access_denied");
    assert_eq!(test.count("sessions"), 1);
}

#[test]
fn the_nonce_must_match_the_token() {
    let test = TestApp::open();
    let send = |nonce: &str, claims| {
        test.send(signin(FORM, &format!("id_token={}{nonce}", token(claims)))).status
    };
    assert_eq!(send("&nonce=n1", json!({"nonce": "n1"})), 200);
    assert_eq!(send("&nonce=", json!({})), 200);
    assert_eq!(send("&nonce=n2", json!({"nonce": "n1"})), 401);
    assert_eq!(send("", json!({"nonce": "n1"})), 401);
    assert_eq!(send("&nonce=n1", json!({})), 401);
    assert_eq!(send("&nonce=n1&nonce=n1", json!({"nonce": "n1"})), 400);
}

#[test]
fn wrong_claims_are_bad_tokens() {
    let test = TestApp::open();
    for claims in [
        json!({"aud": "someone-else"}),
        json!({"iss": "https://evil.example"}),
        json!({"exp": NOW}),
        json!({"iat": NOW + 301}),
        json!({"sub": ""}),
    ] {
        refused(&test.send(post_token(&token(claims))), 401, "invalid_token");
    }
    assert_eq!(test.count("users") + test.count("sessions"), 0);
    assert_eq!(test.count("events WHERE kind = 'refusal' AND reason IS NOT NULL"), 5);
}

#[test]
fn sign_ins_and_refusals_are_recorded() {
    let test = TestApp::open();
    test.send(post_token(&token(json!({}))).header("User-Agent", "test/1"));
    let row = "SELECT at || kind || sub || email || client_address || client_id || user_agent FROM events";
    assert_eq!(
        test.text(row).as_deref(),
        Some(
            "1800000000signin110169484474386276334testuser@gmail.com192.0.2.1\
             1008719970978-hb24.apps.googleusercontent.comtest/1"
        )
    );
}

#[test]
fn other_methods_get_an_allow_header() {
    let test = TestApp::open();
    let response = test.send(request("PUT", "/auth/signin"));
    refused(&response, 405, "method_not_allowed");
    assert_eq!(response.header("Allow"), Some("GET, HEAD, POST, OPTIONS"));
    refused(&test.send(get("/nowhere")), 404, "not_found");
    refused(&test.send(get("/auth/me/")), 404, "not_found");
}
