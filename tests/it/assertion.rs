//! The signed identity, and the keys that verify it.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::http::{Handler, Request, Response};
use hallpass::store::PrivateKey;
use hallpass::web::App;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::test_app::{
    DAY, HOUR, NOW, RequestExt, TestApp, document, get, near, refused, serve_options,
};

const HEADER: &str = "X-Hallpass-Assertion";
const MINUTE: i64 = 60;

fn test() -> TestApp {
    TestApp::with(&["--allow-anyone", "--assertion"])
}

fn check(session: &str, scheme: &str, host: &str) -> Request {
    let request = near(get("/auth/check").bearer(session));
    request.header("X-Forwarded-Proto", scheme).header("X-Forwarded-Host", host)
}

#[track_caller]
fn assertion(response: &Response) -> String {
    assert_eq!(response.status, 200);
    response.header(HEADER).unwrap().to_owned()
}

fn keys(app: &App, now: i64) -> Vec<Value> {
    let response = app.handle(&get("/auth/jwks"), now);
    assert_eq!(response.status, 200);
    document(&response)["keys"].as_array().unwrap().clone()
}

fn kids(app: &App, now: i64) -> BTreeSet<String> {
    keys(app, now).iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn segment(text: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

fn kid(assertion: &str) -> String {
    segment(assertion.split('.').next().unwrap())["kid"].as_str().unwrap().to_owned()
}

/// The claims, after a check of the signature with the published key.
#[track_caller]
fn verify(assertion: &str, keys: &[Value]) -> Value {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let header = segment(header);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("JWT")));
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let point = [vec![4], number("x"), number("y")].concat();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    segment(claims)
}

#[test]
fn without_the_flag_there_is_neither_header_nor_key() {
    let test = TestApp::open();
    let response = test.send(check(&test.session(), "https", "app.example.com"));
    assert_eq!((response.status, response.header(HEADER)), (200, None));
    refused(&test.send(get("/auth/jwks")), 404, "not_found");
    assert_eq!(test.count("assertion_keys"), 0);
}

#[test]
fn it_names_the_person_the_app_and_five_minutes() {
    #[track_caller]
    fn check_claims(changes: Value, expected: Value) {
        let test = test();
        let answer = test.sign_in(changes);
        let session = answer["session"]["token"].as_str().unwrap();
        let mut all = json!({
            "iss": "https://auth.example.com", "aud": "https://app.example.com",
            "sub": "110169484474386276334", "iat": NOW + 7, "exp": NOW + 7 + 5 * MINUTE,
        });
        let fields = all.as_object_mut().unwrap();
        fields.extend(expected.as_object().unwrap().clone());
        for target in ["/auth/check", "/auth/forward"] {
            let mut request = check(session, "https", "app.example.com");
            request.target = target.to_owned();
            let response = test.send_at(request, NOW + 7);
            let keys = keys(&test.app, NOW + 7);
            assert_eq!(verify(&assertion(&response), &keys), all, "{target}");
        }
    }
    check_claims(
        json!({}),
        json!({"email": "testuser@gmail.com", "name": "Test User", "username": "testuser_gmail.com"}),
    );
    // An e-mail that is not authoritative is left out.
    check_claims(
        json!({"email": "a@example.com", "name": "Zoë \"李\"\r\n"}),
        json!({"name": "Zoë \"李\"\r\n", "username": "g110169484474386276334"}),
    );
    check_claims(
        json!({"email": null, "name": null}),
        json!({"username": "g110169484474386276334"}),
    );
}

#[test]
fn the_audience_is_the_origin_that_a_trusted_proxy_names() {
    let test = test();
    let session = test.session();
    let keys = keys(&test.app, NOW);
    let is = |scheme: &str, host: &str, expected: &str| {
        let sent = assertion(&test.send(check(&session, scheme, host)));
        assert_eq!(verify(&sent, &keys)["aud"], expected, "{scheme} {host}");
    };
    is("https", "app.example.com", "https://app.example.com");
    is("https", "app.example.com:443", "https://app.example.com");
    is("http", "app.example.com:80", "http://app.example.com");
    is("https", "app.example.com:80", "https://app.example.com:80");
    is("http", "app.example.com:443", "http://app.example.com:443");
    is("HTTPS", "App.Example.COM:8443", "https://app.example.com:8443");
    is("https", "[2001:DB8::1]:8443", "https://[2001:db8::1]:8443");
    is("http", "192.0.2.1", "http://192.0.2.1");
    // A WebSocket belongs to the same app.
    is("wss", "app.example.com", "https://app.example.com");
    is("ws", "app.example.com", "http://app.example.com");
    // Of a chain of proxies, the browser reached the first.
    is("https, http", "app.example.com , inner", "https://app.example.com");
}

#[test]
fn without_a_known_app_the_header_is_empty() {
    let test = test();
    let session = test.session();
    let is_empty = |request: Request, what: &str| {
        assert_eq!(assertion(&test.send(request)), "", "{what}");
    };
    let mut untrusted = check(&session, "https", "app.example.com");
    untrusted.peer = Some([192, 0, 2, 1].into());
    is_empty(untrusted, "an untrusted peer");
    let without = |name: &str| {
        let mut request = check(&session, "https", "app.example.com");
        request.headers.retain(|(header, _)| header != name);
        request
    };
    is_empty(without("X-Forwarded-Proto"), "no scheme");
    is_empty(without("X-Forwarded-Host"), "no host");
    let url = near(get("/auth/check").bearer(&session))
        .header("X-Original-URL", "https://app.example.com/x");
    is_empty(url, "only X-Original-URL");
    let long = format!("{}.example", "x".repeat(260));
    for (scheme, host) in [
        ("", "app.example.com"),
        ("https", ""),
        ("ftp", "app.example.com"),
        ("javascript", "app.example.com"),
        ("https", "ada@app.example.com"),
        ("https", "app.example.com/x"),
        ("https", "app.example.com?x"),
        ("https", "app.example.com#x"),
        ("https", "app.example.com\\x"),
        ("https", "app.example.com:x"),
        ("https", "app.example.com:99999"),
        ("https", "[::1"),
        ("https", "a b"),
        ("https", "caf\u{e9}.example"),
        ("https", &long),
    ] {
        is_empty(check(&session, scheme, host), &format!("{scheme} {host}"));
    }
}

#[test]
fn one_signature_serves_a_session_and_an_app_for_two_minutes() {
    let test = test();
    let (session, other) = (test.session(), test.session());
    let ask = |session: &str, host: &str, now: i64| {
        assertion(&test.send_at(check(session, "https", host), now))
    };
    let first = ask(&session, "app.example.com", NOW);
    assert_eq!(ask(&session, "app.example.com", NOW + 2 * MINUTE - 1), first);
    assert_ne!(ask(&session, "other.example.com", NOW), first);
    assert_ne!(ask(&other, "app.example.com", NOW), first);
    let second = ask(&session, "app.example.com", NOW + 2 * MINUTE);
    assert_eq!(segment(second.split('.').nth(1).unwrap())["iat"], NOW + 2 * MINUTE);
    assert_eq!(ask(&session, "app.example.com", NOW + 4 * MINUTE - 1), second);
    // After the clock was set back.
    assert_ne!(ask(&session, "app.example.com", NOW + MINUTE), second);
    test.app.prune_assertions(NOW + DAY);
    assert_ne!(ask(&session, "app.example.com", NOW + 4 * MINUTE - 1), second);
}

#[test]
fn a_changed_profile_shows_after_two_minutes_at_the_latest() {
    let test = test();
    let session = test.session();
    let claims = |now: i64| {
        let sent = assertion(&test.send_at(check(&session, "https", "app.example.com"), now));
        verify(&sent, &keys(&test.app, now))
    };
    assert_eq!(claims(NOW)["username"], "testuser_gmail.com");
    test.sql("UPDATE users SET username = 'new', name = 'New Name', email_authoritative = 0");
    let changed = claims(NOW + 2 * MINUTE);
    assert_eq!((&changed["username"], &changed["name"]), (&json!("new"), &json!("New Name")));
    assert_eq!(changed["email"], Value::Null);
}

#[test]
fn an_ended_session_and_a_blocked_user_get_none() {
    for (sql, status) in
        [("UPDATE sessions SET ended_at = 1", 401), ("UPDATE users SET blocked_at = 1", 403)]
    {
        let test = test();
        let request = check(&test.session(), "https", "app.example.com");
        assertion(&test.send(request.clone()));
        test.sql(sql);
        let response = test.send(request);
        assert_eq!((response.status, response.header(HEADER)), (status, None), "{sql}");
    }
}

#[test]
fn the_key_set_is_public_and_may_be_kept_for_an_hour() {
    let test = test();
    let response = test.send(get("/auth/jwks"));
    assert_eq!(response.header("Cache-Control"), Some("public, max-age=3600"));
    let keys = keys(&test.app, NOW);
    assert_eq!(keys.len(), 2);
    for key in &keys {
        let names: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"], "and no private part");
        let fixed = ["kty", "crv", "alg", "use"].map(|name| key[name].as_str().unwrap());
        assert_eq!(fixed, ["EC", "P-256", "ES256", "sig"]);
    }
}

/// A verifier may have fetched the keys at any time in the last day.
#[test]
fn every_assertion_is_signed_with_a_key_that_is_long_known() {
    let test = test();
    let session = test.sign_in(json!({}))["session"]["token"].as_str().unwrap().to_owned();
    test.sql(&format!("UPDATE sessions SET expires_at = {}", NOW + 200 * DAY));
    let (mut published, mut signers) = (Vec::new(), Vec::new());
    for now in (NOW..NOW + 100 * DAY).step_by(6 * HOUR as usize) {
        test.sql(&format!("UPDATE sessions SET last_seen_at = {now}"));
        let sent = assertion(&test.send_at(check(&session, "https", "app.example.com"), now));
        published.push(kids(&test.app, now));
        verify(&sent, &keys(&test.app, now));
        signers.push(kid(&sent));
    }
    let a_day = (DAY / (6 * HOUR)) as usize;
    for (at, signer) in signers.iter().enumerate() {
        assert_eq!(published[at].len(), 2);
        let around = at.saturating_sub(a_day - 1)..=(at + a_day - 1).min(published.len() - 1);
        assert!(published[around].iter().all(|keys| keys.contains(signer)), "step {at}");
    }
    let mut different = signers.clone();
    different.dedup();
    assert_eq!(different.len(), 4, "each signs for 30 days");
    assert_eq!(signers[119], signers[0], "29 days and 18 hours later");
    assert_ne!(signers[120], signers[0], "30 days later");
    assert_eq!(test.count("assertion_keys"), 2, "expired keys are deleted");
}

/// A key that was never published does not sign, even if the current one is overdue.
#[test]
fn after_a_long_pause_the_next_key_is_first_published() {
    let test = test();
    test.send(get("/auth/jwks"));
    test.sql("DELETE FROM assertion_keys WHERE signs_from > (SELECT min(signs_from) FROM assertion_keys)");
    let late = NOW + 90 * DAY;
    let session = test.sign_in_at(json!({}), late)["session"]["token"].as_str().unwrap().to_owned();
    let signer =
        |now: i64| kid(&assertion(&test.send_at(check(&session, "https", "app.example.com"), now)));
    let old = signer(late);
    assert_eq!(kids(&test.app, late).len(), 2);
    assert_eq!(signer(late + DAY - 1), old);
    let new = signer(late + DAY + 2 * MINUTE);
    assert_ne!(new, old);
    assert!(kids(&test.app, late).contains(&old), "until its last assertion has expired");
}

#[test]
fn a_clock_that_was_ahead_does_not_stop_the_rotation() {
    let test = test();
    let session = test.session();
    let ahead = NOW + 365 * DAY;
    for now in [NOW, ahead, ahead + 2 * DAY] {
        test.send_at(get("/auth/jwks"), now);
    }
    let signer =
        |now: i64| kid(&assertion(&test.send_at(check(&session, "https", "app.example.com"), now)));
    let before = signer(NOW + DAY);
    test.sql(&format!("UPDATE sessions SET last_seen_at = {0}, expires_at = {0}", NOW + 40 * DAY));
    assert_ne!(signer(NOW + 32 * DAY), before);
}

#[test]
fn servers_on_one_database_use_the_same_keys() {
    let test = test();
    let flags = ["--allow-anyone", "--assertion", "--client-id", crate::test_app::CLIENT_ID];
    let settings = serve_options(&flags).settings(Some(8080)).unwrap();
    let other = App::new(settings, test.database.database.open().unwrap());
    let first = kids(&test.app, NOW);
    assert_eq!(kids(&other, NOW), first);
    // Each is the first once.
    let later = NOW + 31 * DAY;
    let rotated = kids(&other, later);
    assert_ne!(rotated, first);
    assert_eq!(kids(&test.app, later), rotated);
    assert_eq!(kids(&test.app, later + 30 * DAY), kids(&other, later + 30 * DAY));
}

/// Of a process that was suspended, the keys may be old.
#[test]
fn the_fast_path_answers_with_keys_that_were_read_lately() {
    let test = test();
    let session = test.session();
    let fast = |host: &str, now: i64| {
        let request = check(&session, "https", host);
        Handler::fast_path(&test.app, &request, now).map(|response| assertion(&response))
    };
    test.send(get("/auth/me").bearer(&session));
    assert_eq!(fast("app.example.com", NOW), None, "the keys are not read yet");
    test.app.refresh_assertion_keys(NOW).unwrap();
    // The rotation was a commit, after which a session is read again.
    test.send(get("/auth/me").bearer(&session));
    let first = fast("app.example.com", NOW);
    assert!(first.as_deref().is_some_and(|assertion| !assertion.is_empty()));
    assert_eq!(fast("app.example.com", NOW), first);
    assert!(fast("new.example.com", NOW + 10 * MINUTE - 1).is_some(), "signs without the store");
    assert_eq!(fast("app.example.com", NOW + 10 * MINUTE), None);
}

#[test]
fn a_private_key_is_not_shown() {
    assert_eq!(format!("{:?}", PrivateKey::new(vec![1, 2, 3])), "PrivateKey(..)");
    let test = test();
    test.send(get("/auth/jwks"));
    test.sql("UPDATE assertion_keys SET private_key = x'736563726574'");
    let error = test.app.refresh_assertion_keys(NOW).unwrap_err().to_string();
    assert!(error.starts_with("database: the key \"") && !error.contains("secret"), "{error}");
    refused(&test.send_at(get("/auth/jwks"), NOW + DAY), 503, "temporarily_unavailable");
}

#[test]
fn readiness_tells_nearby_clients_when_the_keys_change() {
    let test = test();
    let times = |request: Request| document(&test.send(request))["assertion"].clone();
    let expected = json!({"key_since": NOW, "next_key_at": NOW + 30 * DAY});
    assert_eq!(times(near(get("/readyz"))), expected);
    assert_eq!(times(get("/readyz")), Value::Null);
}
