//! The pages, as far as they can be tested without a browser.

use serde_json::json;

use crate::test_app::{FORM, RequestExt, TestApp, body, get, post, post_token, request, token};

#[test]
fn the_sign_in_page_has_googles_button_and_the_return_address() {
    let test = TestApp::with(&["--allow-anyone", "--site-name", "The <Lab>"]);
    let response = test.send(get("/auth/signin?rd=%2Fdeep%3Fa%3D1%26b%3D%22%3E").browser());
    let page = body(&response);
    assert_eq!(response.status, 200);
    for part in [
        "<script src=\"https://accounts.google.com/gsi/client\" async>",
        "data-login_uri=\"https://auth.example.com/auth/signin\"",
        "data-ux_mode=\"redirect\"",
        "data-client_id=\"1008719970978-hb24.apps.googleusercontent.com\"",
        "<script src=\"/auth/signin.js\"></script><script src=\"https://accounts.google.com",
        "data-state=\"/deep?a=1&amp;b=2&quot;&gt;\"",
        "The &lt;Lab&gt;",
        "<noscript>",
    ] {
        // This return address contains characters that are not allowed, so it is left out.
        assert_eq!(page.contains(part), !part.starts_with("data-state"), "{part}");
    }
    let page = body(&test.send(get("/auth/signin?rd=%2Fdeep%3Fa%3D1%26b%3D2").browser()));
    assert!(page.contains("data-state=\"/deep?a=1&amp;b=2\""));
    assert!(!body(&test.send(get("/auth/signin?rd=//evil.example"))).contains("data-state"));
}

#[test]
fn the_content_security_policy_allows_only_what_google_needs() {
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
fn claims_are_escaped() {
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
    assert_eq!(ids.len(), 2, "every session except this one");

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
fn without_a_session_the_account_page_leads_to_sign_in() {
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
    assert!(page.contains("prompt=select_account"), "{page}");
    let named = |words: &str, page: &str| {
        page.contains(&format!("{words} <strong><bdi>testuser@gmail.com</bdi></strong>."))
    };
    assert!(named("You tried to sign in as", &page), "{page}");
    let needs_session = ["You are signed in as", "Your account"];
    assert!(!needs_session.iter().any(|text| page.contains(text)), "there is no session: {page}");

    let test = TestApp::open();
    let session = test.session();
    let test = test.restarted(&["--allow-domain", "example.com"]);
    let refused = test.send(get("/auth/account").browser().cookie(&session));
    assert!(refused.status == 403 && named("You are signed in as", &body(&refused)));
    let test = TestApp::with(&["--allow-domain", "example.com"]);
    let other = body(&test.send(get("/auth/signin?prompt=select_account")));
    assert!(other.contains("/auth/other-account.js"));
    let script = test.send(get("/auth/other-account.js"));
    assert!(body(&script).contains("disableAutoSelect()"));
}

#[test]
fn errors_are_pages_for_browsers_and_json_for_programs() {
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
fn the_sign_in_page_does_not_redirect_signed_in_users() {
    let test = TestApp::open();
    let session = test.session();
    let response = test.send(get("/auth/signin?rd=/x").browser().cookie(&session));
    assert_eq!(response.status, 200);
    assert!(body(&response).contains("You are signed in as"));
}

#[test]
fn the_logo_is_served_with_its_media_type() {
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

#[test]
fn googles_button_gets_the_domain_hint() {
    #[track_caller]
    fn check(flags: &[&str], expected: Option<&str>) {
        let page = body(&TestApp::with(flags).send(get("/auth/signin")));
        let domain = page.split("data-hd=\"").nth(1).map(|rest| rest.split('"').next().unwrap());
        assert_eq!(domain, expected, "{flags:?}");
    }
    check(&["--allow-domain", "example.com"], Some("example.com"));
    check(&["--allow-domain", "example.com,example.org"], Some("*"));
    check(&["--allow-domain", "example.com", "--allow-email", "ada@gmail.com"], None);
    check(&["--allow-domain", "example.com,example.org", "--allow-email", "ada@gmail.com"], None);
    check(&["--allow-email", "ada@gmail.com"], None);
    check(&["--allow-anyone"], None);
}

#[test]
fn names_cannot_reverse_the_text_around_them() {
    let test =
        TestApp::with(&["--allow-domain", "example.com", "--admin-email", "ada@example.com"]);
    let name = "\u{202e}Ada";
    let claims = json!({"sub": "7", "name": name, "email": "ada@example.com", "email_verified": true, "hd": "example.com"});
    let answer = test.sign_in(claims);
    let session = answer["session"]["token"].as_str().unwrap();
    let isolated = [
        format!("<bdi>{name}</bdi>"),
        "<bdi>ada@example.com</bdi>".to_owned(),
        "<bdi class=\"small quiet\">ada@example.com</bdi>".to_owned(),
        format!("\u{2068}{name}\u{2069}"),
    ];
    for target in [
        "/auth/account",
        "/auth/signin",
        "/auth/signout",
        "/auth/admin",
        "/auth/admin/users",
        "/auth/admin/users/7",
    ] {
        let mut page = body(&test.send(get(target).browser().cookie(session)));
        for part in &isolated {
            page = page.replace(part, "");
        }
        assert!(!page.contains(name) && !page.contains(">ada@example.com<"), "{target}");
    }
}

#[test]
fn go_to_sign_in_keeps_the_return_address() {
    let test = TestApp::with(&["--allow-anyone", "--signin-burst", "1"]);
    let failed = |fields: &str| {
        let request = post("/auth/signin", FORM, &format!("credential=x{fields}")).browser();
        body(&test.send(request))
    };
    let link = "href=\"https://auth.example.com/auth/signin?rd=%2Fdeep%3Fa%3D1%23part\"";
    for _ in 0..2 {
        // A 400 for the missing cookie, and then a 429.
        let page = failed("&state=%2Fdeep%3Fa%3D1%23part");
        assert!(page.contains("Go to sign-in") && page.contains(link), "{page}");
    }
    let foreign = failed("&state=https%3A%2F%2Fevil.example%2F");
    assert!(foreign.contains("href=\"https://auth.example.com/auth/signin\""), "{foreign}");
}

#[test]
fn robots_txt_and_favicon() {
    let test = TestApp::open();
    let robots = test.send(get("/robots.txt"));
    assert_eq!((robots.status, body(&robots).as_str()), (200, "User-agent: *\nDisallow: /\n"));
    let icon = test.send(get("/favicon.ico"));
    assert_eq!((icon.status, icon.header("Content-Type")), (200, Some("image/x-icon")));
    assert_eq!(icon.body[..4], [0, 0, 1, 0]);
    for target in ["/auth/signin", "/auth/check", "/nowhere", "/healthz", "/favicon.ico"] {
        assert_eq!(test.send(get(target)).header("X-Robots-Tag"), Some("noindex"), "{target}");
    }
}

#[test]
fn request_ids_are_unpredictable() {
    let test = TestApp::open();
    let ids: std::collections::HashSet<String> = (0..100)
        .map(|_| test.send(get("/healthz")).header("X-Request-Id").unwrap().to_owned())
        .collect();
    let starts: std::collections::HashSet<&str> = ids.iter().map(|id| &id[..4]).collect();
    assert!(ids.len() == 100 && ids.iter().all(|id| id.len() == 16), "{ids:?}");
    // Three repeats among 100 random starts, of 16 million possible, occur about once in 10^9 runs.
    assert!(starts.len() > 97, "{starts:?}");
}
