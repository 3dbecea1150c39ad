//! Which web pages may make a browser change something here.

use hallpass::http::Request;
use serde_json::json;

use crate::test_app::{RequestExt, TestApp, get, post_token, refused, request, token};

const APP: &str = "https://app.example.com";

fn test() -> TestApp {
    TestApp::with(&["--allow-anyone", "--allow-origin", APP])
}

fn changes() -> [Request; 3] {
    [
        post_token(&token(json!({}))),
        request("POST", "/auth/signout"),
        request("DELETE", "/auth/sessions/x"),
    ]
}

#[test]
fn own_and_allowed_origins_may_change_things() {
    let test = test();
    for origin in ["https://auth.example.com", APP] {
        for change in changes() {
            let response =
                test.send(change.header("Origin", origin).header("Sec-Fetch-Site", "cross-site"));
            assert_ne!(response.status, 403, "{origin}");
        }
    }
}

#[test]
fn other_origins_may_not() {
    let test = test();
    let foreign = [
        "https://evil.example",
        "http://auth.example.com",
        "https://auth.example.com:8443",
        "https://auth.example.com.evil.example",
        "https://xauth.example.com",
        "https://accounts.google.com",
        "null",
        "",
    ];
    for origin in foreign {
        for change in changes() {
            refused(&test.send(change.header("Origin", origin)), 403, "access_denied");
        }
    }
    let doubled = post_token(&token(json!({})))
        .header("Origin", APP)
        .header("Origin", "https://evil.example");
    refused(&test.send(doubled), 403, "access_denied");
    assert_eq!(test.google.calls().len(), 0);
}

#[test]
fn a_cross_site_request_without_an_origin_may_not() {
    let test = test();
    for change in changes() {
        refused(&test.send(change.header("Sec-Fetch-Site", "cross-site")), 403, "access_denied");
    }
    for site in ["same-origin", "same-site", "none"] {
        for change in changes() {
            assert_ne!(test.send(change.header("Sec-Fetch-Site", site)).status, 403, "{site}");
        }
    }
}

#[test]
fn allowed_origins_may_read_responses() {
    let test = test();
    for (origin, expected) in [(APP, Some(APP)), ("https://evil.example", None)] {
        let response = test.send(get("/auth/me").header("Origin", origin));
        assert_eq!(response.status, 401);
        assert_eq!(response.header("Access-Control-Allow-Origin"), expected);
        assert_eq!(response.header("Access-Control-Allow-Credentials"), expected.map(|_| "true"));
        assert_eq!(response.header("Vary"), Some("Origin"));
    }
}

#[test]
fn preflights() {
    let test = test();
    let preflight = |origin| {
        request("OPTIONS", "/auth/me")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
    };
    let response = test.send(preflight(APP));
    assert_eq!((response.status, response.header("Access-Control-Allow-Origin")), (204, Some(APP)));
    assert!(response.header("Access-Control-Allow-Headers").unwrap().contains("Authorization"));
    assert!(response.header("Access-Control-Allow-Methods").unwrap().contains("DELETE"));
    refused(&test.send(preflight("https://evil.example")), 403, "access_denied");
    refused(&test.send(request("OPTIONS", "/auth/me")), 405, "method_not_allowed");
}

#[test]
fn an_own_page_with_a_hidden_origin_may() {
    let test = test();
    let hidden = |request: Request, site: &str| {
        test.send(request.header("Origin", "null").header("Sec-Fetch-Site", site)).status
    };
    for change in changes() {
        assert_ne!(hidden(change, "same-origin"), 403);
    }
    for site in ["same-site", "cross-site", "none", "", "Same-Origin"] {
        for change in changes() {
            assert_eq!(hidden(change, site), 403, "{site}");
        }
    }
    let doubled = post_token(&token(json!({})))
        .header("Origin", "https://evil.example")
        .header("Origin", "null")
        .header("Sec-Fetch-Site", "same-origin");
    refused(&test.send(doubled), 403, "access_denied");
    assert_eq!(hidden(get("/auth/me"), "same-origin"), 401);
    let shared =
        test.send(get("/auth/me").header("Origin", "null").header("Sec-Fetch-Site", "same-origin"));
    assert_eq!(shared.header("Access-Control-Allow-Origin"), None);
}
