//! Forward auth: check and forward.

use hallpass::http::Request;
use serde_json::json;

use crate::test_app::{FORM, NOW, RequestExt, TestApp, body, get, post, refused, request};

const IDENTITY: [&str; 7] = [
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Preferred-Username",
    "Remote-User",
    "Remote-Email",
    "Remote-Name",
    "X-Forwarded-User",
];

/// By default, 127.0.0.1 is a trusted proxy.
fn test() -> TestApp {
    TestApp::with(&["--allow-anyone", "--cookie-domain", "example.com"])
}

fn proxied(target: &str, uri: &str) -> Request {
    let mut request = get(target)
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "app.example.com")
        .header("X-Forwarded-Uri", uri);
    request.peer = Some([127, 0, 0, 1].into());
    request
}

#[test]
fn every_identity_header_is_always_present() {
    #[track_caller]
    fn check(claims: serde_json::Value, expected: [&str; 7]) {
        let test = TestApp::open();
        let answer = test.sign_in(claims);
        let token = answer["session"]["token"].as_str().unwrap();
        for target in ["/auth/check", "/auth/forward"] {
            let response = test.send(get(target).bearer(token));
            assert_eq!((response.status, body(&response).as_str()), (200, ""));
            assert_eq!(IDENTITY.map(|name| response.header(name).unwrap()), expected);
            assert_eq!(response.header("Cache-Control"), Some("no-store"));
        }
    }
    let (sub, email) = ("110169484474386276334", "testuser@gmail.com");
    let username = "testuser_gmail.com";
    check(json!({}), [sub, email, username, email, email, "Test User", email]);
    let own = &format!("g{sub}");
    check(json!({"email": null, "name": null}), [sub, "", own, "", "", "", ""]);
    // An e-mail that is not authoritative is left out.
    check(
        json!({"email": "a@example.com", "name": "Zoë 李"}),
        [sub, "", own, "", "", "Zo%C3%AB %E6%9D%8E", ""],
    );
    check(
        json!({"email": null, "name": "a\r\nX: y%"}),
        [sub, "", own, "", "", "a%0D%0AX: y%25", ""],
    );
}

#[test]
fn without_a_session() {
    let test = test();
    for target in ["/auth/check", "/auth/forward"] {
        let response = test.send(get(target).header("Accept", "application/json"));
        refused(&response, 401, "unauthenticated");
        assert_eq!(response.header("Location"), None);
        assert_eq!(response.header("WWW-Authenticate"), Some("Bearer realm=\"hallpass\""));
    }
}

#[test]
fn a_navigation_gets_the_sign_in_page_with_the_return_address() {
    let test = test();
    let location = "https://auth.example.com/auth/signin?rd=https%3A%2F%2Fapp.example.com%2Fp%3Fa%3D1%26b%3D2%26u%3Dhttps%3A%2F%2Fx%2F";
    let deep = "/p?a=1&b=2&u=https://x/";
    let check = test.send(proxied("/auth/check", deep).browser());
    assert_eq!((check.status, check.header("Location")), (401, Some(location)));
    let forward = test.send(proxied("/auth/forward", deep).browser());
    assert_eq!((forward.status, forward.header("Location")), (302, Some(location)));
}

const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[test]
fn only_navigations_are_redirected() {
    #[track_caller]
    fn check(headers: &[(&str, &str)], is_navigation: bool) {
        let test = TestApp::with(&["--allow-anyone", "--admin-email", "ada@example.com"]);
        for (target, redirect) in [
            ("/auth/forward", 302),
            ("/auth/check", 401),
            ("/auth/account", 303),
            ("/auth/admin", 303),
            ("/auth/admin/users", 303),
        ] {
            let request = headers
                .iter()
                .fold(get(target), |request, (name, value)| request.header(name, value));
            let response = test.send(request);
            assert_eq!(
                response.header("Location").is_some(),
                is_navigation,
                "{target} {headers:?}"
            );
            assert_eq!(response.status, if is_navigation { redirect } else { 401 }, "{target}");
        }
    }
    check(&[("Accept", "text/html")], true);
    check(&[HTML], true);
    check(&[("Accept", "TEXT/HTML; q=0.9")], true);
    check(&[("Accept", "application/xhtml+xml")], true);
    check(&[("Accept", "image/png"), ("Accept", "text/html")], true);
    check(
        &[("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")],
        true,
    );
    check(&[("Accept", "*/*"), ("Sec-Fetch-Mode", "navigate")], true);
    check(&[("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")], true);
    check(&[HTML, ("Authorization", "Bearer of-the-app")], true);
    check(&[], false);
    check(&[("Accept", "*/*")], false);
    check(&[("Accept", "application/json")], false);
    check(&[("Accept", "image/avif,image/*")], false);
    check(&[("Accept", "text/*")], false);
    check(&[("Accept", "text/html-like")], false);
    check(&[("Sec-Fetch-Dest", "document")], false);
    check(&[HTML, ("Sec-Fetch-Mode", "cors")], false);
    check(&[HTML, ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")], false);
    check(&[HTML, ("Sec-Fetch-Dest", "image")], false);
    check(&[HTML, ("X-Requested-With", "XMLHttpRequest")], false);
    check(&[HTML, ("X-Requested-With", "xmlhttprequest")], false);
    check(&[HTML, ("Authorization", "Basic YTpi")], false);
    check(&[HTML, ("Authorization", "basic YTpi")], false);
    check(&[("Sec-Fetch-Mode", "navigate"), ("Authorization", "Basic YTpi")], false);
}

#[test]
fn only_an_original_get_or_head_is_redirected() {
    #[track_caller]
    fn check(headers: &[(&str, &str)], trusted: bool, redirects: bool) {
        let test = test();
        for target in ["/auth/forward", "/auth/check"] {
            let mut request = headers
                .iter()
                .fold(get(target).browser(), |request, (name, value)| request.header(name, value));
            if trusted {
                request.peer = Some([127, 0, 0, 1].into());
            }
            let response = test.send(request);
            assert_eq!(response.header("Location").is_some(), redirects, "{target} {headers:?}");
        }
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "MKCOL", "get"] {
        check(&[("X-Forwarded-Method", method)], true, false);
        check(&[("X-Original-Method", method)], true, false);
        check(&[("X-Forwarded-Method", method)], false, true);
    }
    for method in ["GET", "HEAD", ""] {
        check(&[("X-Forwarded-Method", method)], true, true);
        check(&[("X-Original-Method", method)], true, true);
    }
}

/// Checks the return address after a request with those headers of a proxy.
#[track_caller]
fn comes_back(headers: &[(&str, &str)], expected: Option<&str>) {
    let test = test();
    for target in ["/auth/check", "/auth/forward"] {
        let mut request = headers
            .iter()
            .fold(get(target).browser(), |request, (name, value)| request.header(name, value));
        request.peer = Some([127, 0, 0, 1].into());
        let response = test.send(request);
        let location = url::Url::parse(response.header("Location").unwrap()).unwrap();
        assert!(location.as_str().starts_with("https://auth.example.com/auth/signin"));
        let place = location.query_pairs().find(|(name, _)| name == "rd");
        assert_eq!(place.map(|(_, place)| place.into_owned()).as_deref(), expected, "{headers:?}");
    }
}

#[test]
fn the_return_address_keeps_what_browsers_and_proxies_send() {
    let app = ("X-Forwarded-Host", "app.example.com");
    let https = ("X-Forwarded-Proto", "https");
    let with_uri = |uri: &str, place: &str| {
        comes_back(
            &[https, app, ("X-Forwarded-Uri", uri)],
            Some(&format!("https://app.example.com{place}")),
        );
    };
    with_uri("/x?path=C:\\a\\b", "/x?path=C:%5Ca%5Cb");
    with_uri("/\\evil.example", "/%5Cevil.example");
    with_uri("/a b", "/a%20b");
    with_uri("/caf\u{e9}", "/caf%C3%A9");
    with_uri("/100%?a=<\"'>|^`{}", "/100%?a=<\"'>|^`{}");
    let long = format!("/{}", "x".repeat(7000));
    with_uri(&long, &long);
    comes_back(&[https, app, ("X-Forwarded-Uri", &format!("/{}", "=".repeat(7000)))], None);

    let uri = ("X-Forwarded-Uri", "/p");
    for proto in ["https,http", "https, http", "https ,http,http", "HTTPS"] {
        let place = if proto == "HTTPS" {
            "HTTPS://app.example.com/p"
        } else {
            "https://app.example.com/p"
        };
        comes_back(&[("X-Forwarded-Proto", proto), app, uri], Some(place));
    }
    comes_back(
        &[https, ("X-Forwarded-Proto", "http"), app, uri],
        Some("https://app.example.com/p"),
    );
    comes_back(
        &[https, ("X-Forwarded-Host", "app.example.com, inner"), uri],
        Some("https://app.example.com/p"),
    );
    comes_back(&[("X-Forwarded-Proto", "http,https"), app, uri], None);
    comes_back(&[("X-Forwarded-Proto", ""), app, uri], None);
}

#[test]
fn x_original_url_counts_unless_all_forwarded_headers_are_present() {
    let original = |url| ("X-Original-URL", url);
    let place = "https://app.example.com/p?a=1&b=2";
    comes_back(&[original(place)], Some(place));
    comes_back(&[original(place), ("X-Forwarded-Proto", "https")], Some(place));
    comes_back(
        &[original("https://app.example.com/?a=\\b")],
        Some("https://app.example.com/?a=%5Cb"),
    );
    comes_back(
        &[
            original(place),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "other.example.com"),
            ("X-Forwarded-Uri", "/q"),
        ],
        Some("https://other.example.com/q"),
    );
    for url in [
        "",
        "/p",
        "app.example.com/p",
        "https://evil.example/p",
        "https://evil.example\\@app.example.com/",
        "https://app.example.com\\.evil.example/",
        "https:\\\\app.example.com",
        "https://evil.example, https://app.example.com/",
        "javascript://app.example.com/%0aalert(1)",
    ] {
        comes_back(&[original(url)], None);
    }
    let mut stranger = get("/auth/forward").browser().header("X-Original-URL", place);
    stranger.peer = Some([192, 0, 2, 1].into());
    let response = test().send(stranger);
    assert_eq!(response.header("Location"), Some("https://auth.example.com/auth/signin"));
}

#[test]
fn the_return_address_needs_a_trusted_proxy_and_all_its_headers() {
    let test = test();
    let plain = Some("https://auth.example.com/auth/signin");
    let mut stranger = proxied("/auth/forward", "/p").browser();
    stranger.peer = Some([192, 0, 2, 1].into());
    assert_eq!(test.send(stranger).header("Location"), plain);
    for missing in ["X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Uri"] {
        let mut request = proxied("/auth/forward", "/p").browser();
        request.headers.retain(|(name, _)| name != missing);
        assert_eq!(test.send(request).header("Location"), plain, "{missing}");
    }
    for (host, uri) in [
        ("evil.example", "/p"),
        ("app.example.com@evil.example", "/"),
        ("app.example.com", "evil"),
        ("app.example.com", "@evil.example/"),
    ] {
        let mut request = proxied("/auth/forward", uri).browser();
        request
            .headers
            .iter_mut()
            .filter(|(name, _)| name == "X-Forwarded-Host")
            .for_each(|(_, v)| *v = host.into());
        assert_eq!(test.send(request).header("Location"), plain, "{host} {uri}");
    }
}

#[test]
fn an_apps_allow_list() {
    #[track_caller]
    fn check(query: &str, expected: bool) {
        let test = TestApp::open();
        let answer = test.sign_in(json!({"email": "ada@example.com", "hd": "example.com"}));
        let token = answer["session"]["token"].as_str().unwrap();
        for target in ["/auth/check", "/auth/forward"] {
            let response = test.send(get(&format!("{target}{query}")).bearer(token).browser());
            assert_eq!(response.status, if expected { 200 } else { 403 }, "{query}");
            assert_eq!(response.header("Location"), None, "a 403 never redirects");
        }
    }
    check("", true);
    check("?other=1", true);
    check("?allowed_emails=ada@example.com", true);
    check("?allowed_emails=x@example.com,%20ADA@Example.com", true);
    check("?allowed_emails=x@example.com&allowed_emails=ada@example.com", true);
    check("?allowed_emails=eve@example.com", false);
    check("?allowed_emails=", false);
    check("?allowed_emails", false);
    check("?allowed_emails=,", false);
    check("?allowed_domains=example.com", true);
    check("?allowed_domains=other.net,EXAMPLE.com", true);
    check("?allowed_domains=ample.com", false);
    check("?allowed_domains=", false);
    check("?allowed_emails=&allowed_domains=example.com", true);
    check("?allowed_emails=ada@example.com&allowed_domains=", true);
    check("?allowed_emails=&allowed_domains=", false);
    check("?allowed_groups=admins", false);
    check("?allowed_email_domains=example.com", false);
    check("?allowed_email=ada@example.com", false);
    check("?allowed_=", false);
    check("?Allowed_Emails=ada@example.com", false);
    check("?allowed%5Fgroups=admins", false);
    check("?allowed_domains=example.com&allowed_groups=admins", false);
    check("?allowed_groups=admins&allowed_emails=ada@example.com", false);
    check("?allowed=x&not_allowed_groups=x&allow_groups=x", true);
}

#[test]
fn an_apps_allow_list_matches_authoritative_emails_only() {
    let test = TestApp::open();
    let answer = test.sign_in(json!({"email": "ada@example.com", "email_verified": true}));
    let request = get("/auth/check?allowed_emails=ada@example.com");
    refused(
        &test.send(request.bearer(answer["session"]["token"].as_str().unwrap())),
        403,
        "access_denied",
    );
}

#[test]
fn no_header_lets_anybody_through() {
    let test = test();
    for (name, value) in [
        ("User-Agent", "kube-probe/1.30"),
        ("User-Agent", "GoogleHC/1.0"),
        ("X-Forwarded-User", "ada@example.com"),
        ("Remote-User", "ada@example.com"),
        ("X-Auth-Request-User", "1"),
        ("X-Forwarded-Uri", "/healthz"),
        ("X-Original-URI", "/healthz"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Method", "OPTIONS"),
    ] {
        let mut request = get("/auth/check").header(name, value);
        request.peer = Some([127, 0, 0, 1].into());
        refused(&test.send(request), 401, "unauthenticated");
    }
}

#[test]
fn a_check_of_any_method_is_answered_like_get() {
    let test = TestApp::open();
    let session = test.session();
    for target in ["/auth/check", "/auth/forward"] {
        for method in
            ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get"]
        {
            let known = test.send(request(method, target).bearer(&session));
            assert_eq!(
                (known.status, known.header("Remote-User")),
                (200, Some("testuser@gmail.com"))
            );
            refused(&test.send(request(method, target)), 401, "unauthenticated");
            let browser = test.send(request(method, target).browser());
            assert_eq!(
                browser.header("Location").is_some(),
                matches!(method, "GET" | "HEAD"),
                "{method}"
            );
        }
    }
}

#[test]
fn a_check_with_a_body_needs_the_header_of_a_proxy() {
    let test = TestApp::open();
    let session = test.session();
    let with_body = || post("/auth/check", FORM, "x=1").bearer(&session);
    refused(&test.send(with_body()), 405, "method_not_allowed");
    for name in ["X-Forwarded-Method", "X-Original-Method"] {
        assert_eq!(test.send(with_body().header(name, "POST")).status, 200);
    }
    refused(&test.send(request("POST", "/auth/me").bearer(&session)), 405, "method_not_allowed");
}

/// A proxy that keeps the method would let the request pass on a 204.
#[test]
fn a_preflight_does_not_pass_a_check() {
    let test = TestApp::with(&["--allow-anyone", "--allow-origin", "https://spa.example.com"]);
    for target in ["/auth/check", "/auth/forward"] {
        for origin in ["https://auth.example.com", "https://spa.example.com"] {
            let preflight = request("OPTIONS", target)
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "POST");
            refused(&test.send(preflight), 401, "unauthenticated");
        }
    }
}

#[test]
fn the_clients_address_is_read_from_the_right() {
    #[track_caller]
    fn check(peer: Option<[u8; 4]>, forwarded: &[&str], expected: Option<&str>) {
        let test =
            TestApp::with(&["--allow-anyone", "--trusted-proxy", "127.0.0.1,10.0.0.0/8,unix"]);
        let mut request =
            post("/auth/signin", FORM, &format!("id_token={}", crate::test_app::token(json!({}))));
        request.peer = peer.map(Into::into);
        let request = forwarded
            .iter()
            .fold(request, |request, value| request.header("X-Forwarded-For", value));
        assert_eq!(test.send_at(request, NOW).status, 200);
        assert_eq!(test.text("SELECT client_address FROM sessions").as_deref(), expected);
    }
    let (proxy, stranger) = (Some([127, 0, 0, 1]), Some([192, 0, 2, 9]));
    check(stranger, &[], Some("192.0.2.9"));
    check(stranger, &["198.51.100.1"], Some("192.0.2.9"));
    check(proxy, &[], Some("127.0.0.1"));
    check(proxy, &["198.51.100.1"], Some("198.51.100.1"));
    check(proxy, &["6.6.6.6, 198.51.100.1"], Some("198.51.100.1"));
    check(proxy, &["6.6.6.6, 198.51.100.1, 10.1.2.3"], Some("198.51.100.1"));
    check(proxy, &["6.6.6.6", "198.51.100.1"], Some("198.51.100.1"));
    check(proxy, &["6.6.6.6, 198.51.100.1:51008"], Some("198.51.100.1"));
    check(proxy, &["[2001:db8::7]:51008"], Some("2001:db8::7"));
    check(proxy, &["fe80::1%eth0"], Some("fe80::1"));
    check(proxy, &["198.51.100.1, 10.1.2.3:80"], Some("198.51.100.1"));
    for unreadable in [
        "unknown",
        "6.6.6.6, nonsense",
        "unix:",
        "198.51.100.1,",
        "",
        ",",
        "198.51.100.1, unix:, 10.1.2.3",
    ] {
        check(proxy, &[unreadable], None);
    }
    check(proxy, &["198.51.100.1", ""], None);
    check(stranger, &["unknown"], Some("192.0.2.9"));
    check(proxy, &["2001:db8::1"], Some("2001:db8::1"));
    check(proxy, &["::ffff:198.51.100.1"], Some("198.51.100.1"));
    check(proxy, &["10.0.0.1, 10.0.0.2"], Some("10.0.0.1"));
    check(None, &["198.51.100.1"], Some("198.51.100.1"));
    check(None, &[], None);
}

#[test]
fn a_401_says_whether_a_credential_was_bad() {
    let test = TestApp::open();
    let ended = test.session();
    test.send(request("POST", "/auth/signout").bearer(&ended));
    let (plain, bad) =
        ("Bearer realm=\"hallpass\"", "Bearer realm=\"hallpass\", error=\"invalid_token\"");
    let check = |request: Request, expected: &str| {
        let response = test.send(request);
        refused(&response, 401, "unauthenticated");
        assert_eq!(response.header("WWW-Authenticate"), Some(expected));
    };
    for target in ["/auth/check", "/auth/forward", "/auth/me", "/auth/sessions"] {
        check(get(target), plain);
        check(get(target).cookie(""), plain);
        check(get(target).cookie("hp_nonsense"), plain);
        check(get(target).header("Authorization", "Basic YTpi"), plain);
        check(get(target).bearer("of-the-app"), plain);
        check(get(target).cookie(&ended), bad);
        check(get(target).bearer(&ended), bad);
        check(get(target).bearer("hp_nonsense"), bad);
    }
    let response = test.send(post("/auth/signin", FORM, "id_token=x!"));
    refused(&response, 401, "invalid_token");
    assert_eq!(response.header("WWW-Authenticate"), Some(bad));
}
