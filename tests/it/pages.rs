//! The pages, as far as they can be judged without a browser.

use serde_json::json;

use crate::test_app::{FORM, RequestExt, TestApp, body, get, post, post_token, request, token};

#[test]
fn the_sign_in_page_has_googles_button_and_the_way_back() {
    let test = TestApp::with(&["--allow-anyone", "--site-name", "The <Lab>"]);
    let response = test.send(get("/auth/signin?rd=%2Fdeep%3Fa%3D1%26b%3D%22%3E").browser());
    let page = body(&response);
    assert_eq!(response.status, 200);
    for part in [
        "<script src=\"https://accounts.google.com/gsi/client\" async>",
        "data-login_uri=\"https://auth.example.com/auth/signin\"",
        "data-ux_mode=\"redirect\"",
        "data-client_id=\"1008719970978-hb24.apps.googleusercontent.com\"",
        "data-state=\"/deep?a=1&amp;b=2&quot;&gt;\"",
        "The &lt;Lab&gt;",
        "<noscript>",
    ] {
        // The quoted way back holds characters that no way back may hold, so it is not there.
        assert_eq!(page.contains(part), !part.starts_with("data-state"), "{part}");
    }
    let page = body(&test.send(get("/auth/signin?rd=%2Fdeep%3Fa%3D1%26b%3D2").browser()));
    assert!(page.contains("data-state=\"/deep?a=1&amp;b=2\""));
    assert!(!body(&test.send(get("/auth/signin?rd=//evil.example"))).contains("data-state"));
}

#[test]
fn the_policy_of_a_page_allows_what_google_lists_and_no_more() {
    let test = TestApp::open();
    let response = test.send(get("/auth/signin"));
    let policy = response.header("Content-Security-Policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self' https://accounts.google.com/gsi/client;",
        "frame-src https://accounts.google.com/gsi/;",
        "connect-src https://accounts.google.com/gsi/;",
        "style-src https://auth.example.com https://accounts.google.com/gsi/style;",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(response.header("Cross-Origin-Opener-Policy"), Some("same-origin-allow-popups"));
    assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
}

#[test]
fn whatever_a_claim_contains_is_text() {
    let test = TestApp::open();
    let evil = "<script>alert(1)</script>\"'&";
    let answer = test.sign_in(
        json!({"name": evil, "email": evil, "hd": evil, "picture": "javascript:alert(1)"}),
    );
    let response = test
        .send(get("/auth/account").browser().cookie(answer["session"]["token"].as_str().unwrap()));
    let page = body(&response);
    assert_eq!(response.status, 200);
    assert!(!page.contains("<script") && !page.contains("javascript:"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;"));
}

#[test]
fn the_account_page_ends_sessions_with_plain_forms() {
    let test = TestApp::open();
    let (here, there, third) = (test.session(), test.session(), test.session());
    let page = body(&test.send(get("/auth/account").browser().cookie(&here)));
    let ids: Vec<&str> =
        page.split("name=\"end\" value=\"").skip(1).map(|rest| &rest[..16]).collect();
    assert_eq!(ids.len(), 2, "all but this one");

    let change =
        |fields: &str| test.send(post("/auth/account", FORM, fields).browser().cookie(&here));
    let live = || {
        [&here, &there, &third]
            .iter()
            .filter(|t| test.send(get("/auth/me").cookie(t)).status == 200)
            .count()
    };
    assert_eq!(
        change(&format!("end={}", ids[0])).header("Location"),
        Some("https://auth.example.com/auth/account")
    );
    assert_eq!(live(), 2);
    assert_eq!(change("end=nonsense").status, 303);
    assert_eq!(change("").status, 400);
    assert_eq!(change("end_others=true").status, 303);
    assert_eq!(live(), 1);
    assert_eq!(test.send(get("/auth/me").cookie(&here)).status, 200);

    let foreign = post("/auth/account", FORM, "end_others=true")
        .cookie(&here)
        .header("Origin", "https://evil.example");
    assert_eq!(test.send(foreign).status, 403);
}

#[test]
fn signed_out_the_account_page_leads_to_sign_in() {
    let test = TestApp::open();
    let response = test.send(get("/auth/account").browser());
    assert_eq!(
        (response.status, response.header("Location")),
        (303, Some("https://auth.example.com/auth/signin"))
    );
    assert_eq!(test.send(get("/auth/account")).status, 401);
}

#[test]
fn the_403_page_names_the_account_and_offers_another() {
    let test = TestApp::with(&["--allow-domain", "example.com"]);
    let refused = test.send(post_token(&token(json!({}))).browser());
    let page = body(&refused);
    assert_eq!(refused.status, 403);
    assert!(
        page.contains("testuser@gmail.com") && page.contains("prompt=select_account"),
        "{page}"
    );
    let other = body(&test.send(get("/auth/signin?prompt=select_account")));
    assert!(other.contains("/auth/other-account.js"));
    let script = test.send(get("/auth/other-account.js"));
    assert!(body(&script).contains("disableAutoSelect()"));
}

#[test]
fn errors_are_pages_for_those_who_look_at_them() {
    let test = TestApp::open();
    for (request, status) in [
        (get("/nowhere"), 404),
        (request("PUT", "/auth/me"), 405),
        (post("/auth/signin", FORM, "id_token="), 400),
    ] {
        let page = test.send(request.clone().browser());
        assert_eq!(page.status, status);
        assert!(page.header("Content-Type").unwrap().starts_with("text/html"));
        let json = test.send(request.header("Accept", "*/*"));
        assert!(json.header("Content-Type").unwrap().starts_with("application/json"));
    }
}

#[test]
fn somebody_signed_in_is_not_sent_in_circles() {
    let test = TestApp::open();
    let session = test.session();
    let response = test.send(get("/auth/signin?rd=/x").browser().cookie(&session));
    assert_eq!(response.status, 200);
    assert!(body(&response).contains("You are signed in as"));
}

#[test]
fn a_logo_is_served_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logo.svg");
    std::fs::write(&path, "<svg/>").unwrap();
    let test = TestApp::with(&["--allow-anyone", "--site-logo", path.to_str().unwrap()]);
    let response = test.send(get("/auth/logo"));
    assert_eq!(
        (response.header("Content-Type"), body(&response).as_str()),
        (Some("image/svg+xml"), "<svg/>")
    );
    assert!(
        body(&test.send(get("/auth/signin")))
            .contains("src=\"https://auth.example.com/auth/logo\"")
    );
    assert_eq!(TestApp::open().send(get("/auth/logo")).status, 404);
}
