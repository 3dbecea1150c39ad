//! Tokens as the password of Basic credentials, for clients that know nothing else.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

use crate::test_app::{RequestExt, TestApp, get, refused};

const TARGETS: [&str; 3] = ["/auth/check", "/auth/forward", "/auth/me"];

#[track_caller]
fn check(test: &TestApp, authorization: &str, status: u16) {
    for target in TARGETS {
        let response = test.send(get(target).header("Authorization", authorization));
        assert_eq!(response.status, status, "{target} {authorization}");
    }
}

#[test]
fn a_token_as_the_password_counts_whatever_the_user_name() {
    let test = TestApp::open();
    let token = test.session();
    for user in
        [&b""[..], b"a", b"ab", b"abc", b"testuser@gmail.com", "Zoë 李".as_bytes(), b"Zo\xeb"]
    {
        let credentials = STANDARD.encode([user, b":", token.as_bytes()].concat());
        check(&test, &format!("Basic {credentials}"), 200);
    }
    let credentials = STANDARD.encode(format!("ada:{token}"));
    check(&test, &format!("basic   {credentials} "), 200);
    check(&test, &format!("BASIC {credentials}"), 200);
}

#[test]
fn other_basic_credentials_belong_to_the_app() {
    let test = TestApp::open();
    let token = test.session();
    let text = format!("a:{token}");
    for credentials in [
        STANDARD.encode(format!("{token}:")),
        STANDARD.encode(&token),
        STANDARD.encode(format!("a:b:{token}")),
        STANDARD.encode(format!("a: {token}")),
        STANDARD.encode(format!("a:{token}x")),
        STANDARD.encode(&text[..text.len() - 1]),
        STANDARD.encode(b"a\xff:b"),
        // The proxy files do not recognise these spellings in base64, so they do not count.
        STANDARD_NO_PAD.encode(format!("ab:{token}")),
        URL_SAFE.encode(format!("\u{3ff}\u{3ff}:{token}")),
        text,
        String::new(),
        "!".into(),
    ] {
        let value = format!("Basic {credentials}");
        check(&test, &value, 401);
        let with_cookie = get("/auth/me").header("Authorization", &value).cookie(&token);
        assert_eq!(test.send(with_cookie).status, 200, "{value}");
    }
}

#[test]
fn a_bad_token_as_the_password_decides_alone() {
    let test = TestApp::open();
    let good = test.session();
    let credentials = STANDARD.encode(format!("ada:hp_{}", "x".repeat(43)));
    let request = get("/auth/me").header("Authorization", &format!("Basic {credentials}"));
    let response = test.send(request.cookie(&good));
    refused(&response, 401, "unauthenticated");
    let challenge = "Bearer realm=\"hallpass\", error=\"invalid_token\"";
    assert_eq!(response.header("WWW-Authenticate"), Some(challenge));
}
