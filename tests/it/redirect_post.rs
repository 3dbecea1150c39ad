//! Google's redirect post: a cross-site form with `credential`, protected by g_csrf_token.

use hallpass::http::Request;
use serde_json::json;

use crate::test_app::{FORM, RequestExt, TestApp, post, refused, token};

fn google_post(fields: &str) -> Request {
    post("/auth/signin", FORM, &format!("credential={}{fields}", token(json!({}))))
        .header("Cookie", "a=b; g_csrf_token=secret; c=d")
        .header("Origin", "https://accounts.google.com")
        .header("Sec-Fetch-Site", "cross-site")
}

#[track_caller]
fn lands_on(fields: &str, place: &str) {
    let test = TestApp::with(&["--allow-anyone", "--cookie-domain", "example.com"]);
    let response = test.send(google_post(fields));
    assert_eq!((response.status, response.header("Location")), (303, Some(place)));
    assert!(response.header("Set-Cookie").unwrap().starts_with("__Secure-hallpass=hp_"));
}

#[test]
fn leads_to_state_or_to_the_account_page() {
    let account = "https://auth.example.com/auth/account";
    lands_on("&g_csrf_token=secret", account);
    lands_on("&g_csrf_token=secret&state=", account);
    lands_on(
        "&g_csrf_token=secret&client_id=x&select_by=btn&state=%2Fdeep%3Fa%3D1%26b%3D2",
        "/deep?a=1&b=2",
    );
    lands_on(
        "&g_csrf_token=secret&state=https%3A%2F%2Fapp.example.com%2F%3Fa%3D1%26u%3Dhttps%3A%2F%2Fx%2F",
        "https://app.example.com/?a=1&u=https://x/",
    );
    lands_on("&g_csrf_token=secret&state=https%3A%2F%2Fevil.example%2F", account);
    lands_on("&g_csrf_token=secret&state=%2F%2Fevil.example", account);
}

#[test]
fn g_csrf_token_must_match_its_cookie() {
    let test = TestApp::open();
    let cookieless =
        |fields| post("/auth/signin", FORM, &format!("credential={}{fields}", token(json!({}))));
    for request in [
        google_post(""),
        google_post("&g_csrf_token="),
        google_post("&g_csrf_token=other"),
        google_post("&g_csrf_token=secret&g_csrf_token=secret"),
        cookieless("&g_csrf_token=secret"),
        cookieless("&g_csrf_token=").header("Cookie", "g_csrf_token="),
        cookieless("&g_csrf_token=secret").header("Cookie", "xg_csrf_token=secret"),
    ] {
        refused(&test.send(request), 400, "invalid_request");
    }
    assert_eq!(test.google.calls().len(), 0);
}

#[test]
fn may_come_from_google_or_with_a_hidden_origin() {
    let test = TestApp::open();
    let send = |origin: Option<&str>| {
        let request =
            post("/auth/signin", FORM, &format!("credential={}&g_csrf_token=s", token(json!({}))))
                .header("Cookie", "g_csrf_token=s")
                .header("Sec-Fetch-Site", "cross-site");
        test.send(match origin {
            Some(origin) => request.header("Origin", origin),
            None => request,
        })
    };
    for origin in
        [None, Some("null"), Some("https://accounts.google.com"), Some("https://auth.example.com")]
    {
        assert_eq!(send(origin).status, 303, "{origin:?}");
    }
    for origin in [
        "https://evil.example",
        "http://accounts.google.com",
        "https://accounts.google.com.evil.example",
    ] {
        refused(&send(Some(origin)), 403, "access_denied");
    }
}

#[test]
fn a_sibling_host_cannot_hide_its_origin() {
    let test = TestApp::open();
    let status = |origin: &[&str], site: &str| {
        let post =
            post("/auth/signin", FORM, &format!("credential={}&g_csrf_token=s", token(json!({}))))
                .header("Cookie", "g_csrf_token=s")
                .header("Sec-Fetch-Site", site);
        test.send(origin.iter().fold(post, |post, value| post.header("Origin", value))).status
    };
    for origin in [&[][..], &["null"], &["null", "null"]] {
        assert_eq!(status(origin, "same-site"), 403, "{origin:?}");
        assert_eq!(status(origin, "cross-site"), 303, "{origin:?}");
        assert_eq!(status(origin, "same-origin"), 303, "{origin:?}");
    }
    assert_eq!(status(&["https://accounts.google.com"], "same-site"), 303);
    assert_eq!(status(&["https://sibling.example.com"], "same-site"), 403);
}

#[test]
fn a_foreign_origin_is_refused_first() {
    let test = TestApp::open();
    let request =
        post("/auth/signin", FORM, "credential=x").header("Origin", "https://evil.example");
    refused(&test.send(request), 403, "access_denied");
}

#[test]
fn credential_in_json_is_not_a_redirect_post() {
    let test = TestApp::open();
    let body = json!({"credential": token(json!({}))}).to_string();
    assert_eq!(test.send(post("/auth/signin", "application/json", &body)).status, 200);
}
