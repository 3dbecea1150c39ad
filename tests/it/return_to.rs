//! The return address after sign-in, tested through `state`.

use serde_json::json;

use crate::program::{Program, eventually};
use crate::test_app::{FORM, RequestExt, TestApp, post, token};

#[track_caller]
fn leads(flags: &[&str], place: &str, expected: bool) {
    let test = TestApp::with(&[&["--allow-anyone"], flags].concat());
    let fields: String = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("credential", token(json!({})).as_str()),
            ("g_csrf_token", "s"),
            ("state", place),
        ])
        .finish();
    let response =
        test.send(post("/auth/signin", FORM, &fields).header("Cookie", "g_csrf_token=s"));
    assert_eq!(response.status, 303);
    let landed = response.header("Location").unwrap();
    let account = "https://auth.example.com/auth/account";
    assert_eq!(landed, if expected { place } else { account }, "{place:?}");
}

const ALONE: &[&str] = &[];
const SHARED: &[&str] = &["--cookie-domain", "example.com"];

#[test]
fn own_paths() {
    for place in [
        "/",
        "/a/b?c=d&e=https://x/#f",
        "/%2F%2Fevil.example",
        "/a//b",
        "/a@b",
        "/auth/account",
        "/:80",
    ] {
        leads(ALONE, place, true);
    }
}

#[test]
fn own_urls() {
    for place in [
        "https://auth.example.com/",
        "https://auth.example.com",
        "https://AUTH.example.com/x",
        "https://auth.example.com:443/x?y",
    ] {
        leads(ALONE, place, true);
    }
    for place in [
        "http://auth.example.com/",
        "https://auth.example.com:8443/",
        "https://app.example.com/",
        "https://example.com/",
    ] {
        leads(ALONE, place, false);
    }
}

#[test]
fn hosts_under_the_cookie_domain() {
    for place in [
        "https://app.example.com/x",
        "https://a.b.example.com/",
        "https://example.com/",
        "https://app.example.com:443/",
    ] {
        leads(SHARED, place, true);
    }
    for place in [
        "http://app.example.com/",
        "https://app.example.com:8443/",
        "https://evilexample.com/",
        "https://example.com.evil.net/",
        "https://app.example.com.evil.net/",
        "https://app.example.com./",
        "ftp://app.example.com/",
    ] {
        leads(SHARED, place, false);
    }
}

#[test]
fn addresses_may_be_as_long_as_proxies_accept() {
    let place = |length, byte: &str| format!("/{}", byte.repeat(length));
    leads(ALONE, &place(2048, "a"), true);
    // The slash and every equals sign take three bytes when encoded.
    leads(ALONE, &place(7997, "a"), true);
    leads(ALONE, &place(7998, "a"), false);
    leads(ALONE, &place(2665, "="), true);
    leads(ALONE, &place(2666, "="), false);
}

#[test]
fn known_open_redirect_tricks() {
    for place in [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/ /evil.example",
        "\t//evil.example",
        " //evil.example",
        "/..//evil.example",
        "/./\\evil.example",
        "/.//evil.example",
        "/%2e%2e//evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "https:\\\\evil.example",
        "https://evil.example",
        "https://evil.example\\@auth.example.com/",
        "https://auth.example.com@evil.example/",
        "https://auth.example.com:443@evil.example/",
        "https://user@auth.example.com/",
        "https://@auth.example.com/",
        "https://auth.example.com%00.evil.example/",
        "https://auth.example.com\u{3002}evil.example/",
        "https://auth.example.com\\.evil.example/",
        "https://evil.example#auth.example.com",
        "https://evil.example?auth.example.com",
        "https://evil.example/.auth.example.com",
        "HTTPS:auth.example.com",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        "auth.example.com/x",
        "?x",
        "#x",
        "",
        "\u{ff0f}\u{ff0f}evil.example",
        "/\u{0}",
        "/é",
    ] {
        leads(ALONE, place, false);
        leads(SHARED, place, false);
    }
}

#[test]
fn an_http_public_url_allows_http_siblings() {
    let flags = [
        "--client-id",
        "x",
        "--allow-anyone",
        "--public-url",
        "http://auth.house.home.arpa",
        "--cookie-domain",
        "house.home.arpa",
    ];
    let settings = crate::test_app::serve_options(&flags).settings(Some(80)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = hallpass::store::Store::open(&folder.path().join("db")).unwrap();
    let app = hallpass::web::App::new(settings, store);
    let page = |rd: &str| {
        let response = app.handle(
            &crate::test_app::get(&format!("/auth/signin?rd={rd}")).browser(),
            crate::test_app::NOW,
        );
        crate::test_app::body(&response).contains("data-state")
    };
    assert!(page("http://app.house.home.arpa/") && page("https://app.house.home.arpa/"));
    assert!(!page("http://app.house.home.arpa:8080/"));
}

#[test]
fn the_log_says_why_people_do_not_return() {
    let flags = ["--public-url", "https://auth.example.com", "--cookie-domain", "example.com"];
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve_in(folder, &flags, &[("RUST_LOG", "debug")]);
    let visit = |host: &str| {
        let headers = format!(
            "Accept: text/html\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Uri: /\r\nX-Forwarded-Host: {host}\r\n"
        );
        assert!(program.get("/auth/forward", &headers).starts_with("HTTP/1.1 302"));
    };
    visit("wiki.example.com");
    visit("wiki.example.com:8443");
    eventually(|| program.log().contains("people do not return to wiki.example.com:8443: "));
    assert_eq!(program.log().matches("people do not return").count(), 1, "{}", program.log());
}
