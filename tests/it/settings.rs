//! Flags and environment: what is accepted, and what is said about the rest.

use hallpass::config::Settings;

use crate::test_app::try_serve_options;

const ENOUGH: [&str; 4] =
    ["--client-id", "x.apps.googleusercontent.com", "--allow-domain", "example.com"];

fn settings(flags: &[&str]) -> Result<Settings, String> {
    let options = try_serve_options(flags).map_err(|error| error.to_string())?;
    Settings::new(&options, Some(8080))
}

#[track_caller]
fn accepted(more: &[&str]) -> Settings {
    settings(&[&ENOUGH, more].concat()).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn rejected(more: &[&str], reason: &str) {
    let error = settings(&[&ENOUGH, more].concat())
        .err()
        .unwrap_or_else(|| panic!("{more:?} was accepted"));
    assert!(error.contains(reason), "{error}");
}

#[test]
fn it_fails_closed() {
    let error = settings(&["--allow-anyone"]).err().unwrap();
    assert!(error.contains("--client-id"), "{error}");
    let error = settings(&["--client-id", "x"]).err().unwrap();
    assert!(error.contains("--allow-domain") && error.contains("--allow-anyone"), "{error}");
    assert!(settings(&["--client-id", "", "--allow-anyone"]).is_err());
    assert!(settings(&["--client-id", "x", "--allow-domain", ""]).is_err());
    rejected(&["--allow-anyone"], "not both");
}

#[test]
fn lists_repeat_or_use_commas() {
    let both = accepted(&["--client-id", "b,c", "--client-id", " d "]);
    assert_eq!(both.client_ids, ["x.apps.googleusercontent.com", "b", "c", "d"]);
    let admins = accepted(&[
        "--admin-email",
        "ada@example.com, bob@gmail.com",
        "--admin-email",
        "eve@gmail.com",
    ])
    .admins;
    assert_eq!(admins.emails, ["ada@example.com", "bob@gmail.com", "eve@gmail.com"]);
    for list in ["a,,b", ",", "a,", " "] {
        assert!(settings(&["--client-id", list, "--allow-anyone"]).is_err(), "{list}");
    }
}

#[test]
fn durations() {
    let settings = accepted(&["--session-lifetime", "12h", "--session-idle", "90s"]);
    assert_eq!((settings.session_lifetime, settings.session_idle), (43_200, 90));
    let default = accepted(&[]);
    assert_eq!((default.session_lifetime, default.session_idle), (30 * 86_400, 7 * 86_400));
    assert_eq!(default.events_kept, Some(400 * 86_400));
    assert_eq!(accepted(&["--keep-events", "90d"]).events_kept, Some(90 * 86_400));
    assert_eq!(accepted(&["--keep-events", "forever"]).events_kept, None);
    rejected(&["--keep-events", "0"], "or `forever`");
    for duration in ["0s", "", "30", "-1s", "soon", "11years"] {
        rejected(&[&format!("--session-idle={duration}")], "--session-idle");
    }
}

#[test]
fn public_url() {
    assert_eq!(accepted(&[]).origin(), "http://localhost:8080");
    assert_eq!(
        accepted(&["--public-url", "https://A.example.com/"]).origin(),
        "https://a.example.com"
    );
    for url in [
        "auth.example.com",
        "ftp://a.example",
        "https://a.example/path",
        "https://u@a.example",
        "https://a.example?x",
        "",
    ] {
        rejected(&["--public-url", url], "--public-url");
    }
}

#[test]
fn cookie_domain_is_above_the_public_host() {
    let with = |url, domain| {
        settings(&[&ENOUGH[..], &["--public-url", url, "--cookie-domain", domain]].concat())
    };
    assert_eq!(
        with("https://auth.example.com", ".Example.com").unwrap().cookie_domain.as_deref(),
        Some("example.com")
    );
    for (url, domain) in [
        ("https://auth.example.com", "other.net"),
        ("https://auth.example.com", "ample.com"),
        ("https://auth.example.com", "com"),
        ("https://example.com", "auth.example.com"),
        ("https://192.0.2.1", "0.2.1"),
        ("https://auth.example.com", "exa mple.com"),
    ] {
        assert!(with(url, domain).is_err(), "{url} {domain}");
    }
}

#[test]
fn names_that_cannot_be_right() {
    rejected(&["--allow-domain", "@example.com"], "--allow-domain");
    rejected(&["--allow-domain", "*.example.com"], "--allow-domain");
    rejected(&["--allow-email", "example.com"], "--allow-email");
    rejected(&["--allow-email", "a@b@example.com"], "--allow-email");
    rejected(&["--admin-email", "example.com"], "--admin-email");
    rejected(&["--admin-email", "ada@example.com,b"], "--admin-email");
    rejected(&["--allow-origin", "app.example.com"], "--allow-origin");
    rejected(&["--allow-origin", "https://app.example.com/x"], "--allow-origin");
    rejected(&["--allow-origin", "*"], "--allow-origin");
    rejected(&["--trusted-proxy", "10.0.0.0/33"], "--trusted-proxy");
    rejected(&["--tokeninfo-url", "https://x.example/?a=b"], "--tokeninfo-url");
    rejected(&["--tokeninfo-url", "file:///etc/passwd"], "--tokeninfo-url");
    rejected(&["--tokeninfo-concurrency", "0"], "--tokeninfo-concurrency");
    rejected(&["--listen", "8080"], "--listen");
    rejected(&["--listen", "unix:relative"], "--listen");
    rejected(&["--site-logo", "/no/such/logo.svg"], "cannot be read");
    rejected(&["--site-logo", "logo.bmp"], ".svg");
}

#[test]
fn proxies_that_are_trusted() {
    let trusts = |flags: &[&str], peer: Option<&str>| {
        accepted(flags).trusted_proxies.trusts(peer.map(|address| address.parse().unwrap()))
    };
    for peer in [Some("127.0.0.1"), Some("127.9.9.9"), Some("::1"), Some("::ffff:127.0.0.1"), None]
    {
        assert!(trusts(&[], peer), "{peer:?}");
    }
    assert!(!trusts(&[], Some("10.0.0.1")) && !trusts(&[], Some("::2")));
    let own = ["--trusted-proxy", "10.0.0.0/8,2001:db8::1"];
    assert!(trusts(&own, Some("10.9.9.9")) && trusts(&own, Some("2001:db8::1")));
    assert!(
        !trusts(&own, Some("127.0.0.1"))
            && !trusts(&own, Some("2001:db8::2"))
            && !trusts(&own, None)
    );
}
