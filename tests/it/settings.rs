//! Flags and environment: which values are accepted, and the errors about the others.

use clap::CommandFactory;
use hallpass::cli::Options;
use hallpass::web::Settings;

use crate::program::hallpass;
use crate::test_app::try_serve_options;

const ENOUGH: [&str; 4] =
    ["--client-id", "x.apps.googleusercontent.com", "--allow-domain", "example.com"];

fn settings(flags: &[&str]) -> Result<Settings, String> {
    let options = try_serve_options(flags).map_err(|error| error.to_string())?;
    options.settings(Some(8080))
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
fn settings_that_let_nobody_in_are_rejected() {
    let error = settings(&["--allow-anyone"]).err().unwrap();
    assert!(error.contains("--client-id"), "{error}");
    // The list in the database may let in somebody, so the start decides.
    assert!(settings(&["--client-id", "x"]).unwrap().policy.is_empty());
    assert!(!settings(&["--client-id", "x", "--admin-email", "4711"]).unwrap().policy.is_empty());
    assert!(settings(&["--client-id", "", "--allow-anyone"]).is_err());
    assert!(settings(&["--client-id", "x", "--allow-domain", ""]).is_err());
    rejected(&["--allow-anyone"], "not both");
    for (flag, value, is_empty) in [
        ("--allow-domain", "gmail.com,GoogleMail.com", true),
        ("--allow-domain", "gmail.com,example.com", false),
        // It may be an address of a Workspace.
        ("--admin-email", "ada@example.net", false),
        ("--allow-email", "ada@gmail.com", false),
    ] {
        let policy = settings(&["--client-id", "x", flag, value]).unwrap().policy;
        assert_eq!(policy.is_empty(), is_empty, "{value}");
    }
    assert!(!settings(&["--client-id", "x", "--allow-anyone"]).unwrap().policy.is_empty());
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
    let settings = accepted(&["--session-lifetime", "12h", "--session-idle", "120s"]);
    assert_eq!((settings.session_lifetime, settings.session_idle), (43_200, 120));
    rejected(&["--session-idle", "119s"], "--session-idle takes at least 2m, not 119s");
    rejected(&["--session-idle", "3s"], "the last use of a session is recorded once a minute");
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
fn a_duration_without_a_unit_is_told_which_to_write() {
    rejected(&["--session-lifetime", "30"], "expected a unit: write 30d, 30h or 30s");
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
        "https://u:hush@a.example",
        "https://a.example?x",
        "",
    ] {
        rejected(&["--public-url", url], "--public-url");
    }
    rejected(&["--public-url", "https://u:hush@a.example"], "takes no user name and no password");
    rejected(&["--public-url", "\"https://a.example\""], "such as https://auth.example.com");
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
        // Public suffixes.
        ("https://auth.example.co.uk", "co.uk"),
        ("https://me.github.io", "github.io"),
        ("https://me.duckdns.org", "DuckDNS.org"),
    ] {
        assert!(with(url, domain).is_err(), "{url} {domain}");
    }
    let own = [
        ("https://auth.example.co.uk", "example.co.uk"),
        ("https://a.me.github.io", "me.github.io"),
    ];
    for (url, domain) in own {
        assert_eq!(with(url, domain).unwrap().cookie_domain.as_deref(), Some(domain));
    }
    let error = with("https://auth.example.co.uk", "co.uk").err().unwrap();
    assert!(error.ends_with("give it a domain of your own, such as example.co.uk"), "{error}");
}

#[test]
fn malformed_names_are_rejected() {
    rejected(&["--allow-domain", "@example.com"], "--allow-domain");
    rejected(&["--allow-domain", "*.example.com"], "--allow-domain");
    rejected(&["--allow-email", "example.com"], "--allow-email");
    rejected(&["--allow-email", "a@b@example.com"], "--allow-email");
    rejected(&["--admin-email", "example.com"], "--admin-email");
    rejected(&["--admin-email", "ada@example.com,b"], "--admin-email");
    rejected(&["--allow-origin", "app.example.com"], "--allow-origin");
    rejected(&["--allow-origin", "https://app.example.com/x"], "--allow-origin");
    rejected(&["--allow-origin", "*"], "--allow-origin");
    rejected(&["--allow-origin", "https://*.example.com"], "--allow-origin");
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
fn errors_say_what_to_write() {
    rejected(
        &["--public-url", "auth.example.com"],
        "expected a URL with a scheme, such as https://auth.example.com",
    );
    rejected(&["--public-url", "localhost:8080"], "such as https://localhost:8080");
    rejected(
        &["--tokeninfo-url", "oauth2.googleapis.com/tokeninfo"],
        "such as https://oauth2.googleapis.com/tokeninfo",
    );
    rejected(
        &["--listen", "http://0.0.0.0:8080"],
        "expected HOST:PORT such as 127.0.0.1:8080, without a scheme",
    );
    rejected(&["--listen", "8080"], "expected HOST:PORT such as 127.0.0.1:8080");
    rejected(&["--listen", ":8080"], "127.0.0.1:8080, or 0.0.0.0:8080 for every address");
    rejected(&["--listen", "::1:8080"], "expected an IPv6 address in brackets, such as [::1]:8080");
    rejected(&["--listen", "[1]:80"], "expected HOST:PORT");
    rejected(&["--listen", "localhost:65536"], "a port from 0 to 65535");
    rejected(&["--listen", "unix:run/hallpass.sock"], "expected an absolute path after unix:");
    rejected(&["--http-redirect", "80"], "expected HOST:PORT such as 127.0.0.1:80");
    rejected(&["--http-redirect", ""], "expected HOST:PORT");
    rejected(&["--metrics-listen", "http://127.0.0.1:9180/metrics"], "without a scheme or a path");
    rejected(
        &["--trusted-proxy", "caddy"],
        "names are not looked up, so give the proxy's address or its network",
    );
    rejected(&["--allow-email", "*@example.org"], "use --allow-domain example.org");
    rejected(&["--allow-email", "@example.org"], "use --allow-domain example.org");
    rejected(&["--allow-domain", "ada@example.org"], "to let in one account, use --allow-email");
    rejected(
        &["--client-id", "GOCSPX-hush"],
        "a client secret was given as a client ID, and Hallpass needs no secret",
    );
    rejected(
        &["--client-id", "\"GOCSPX-hush\""],
        "a client secret was given as a client ID, and Hallpass needs no secret",
    );
    rejected(&["--site-logo", "/no/such/logo.svg"], "No such file");
    assert!(
        accepted(&["--listen", " 127.0.0.1:1 , [::1]:2,unix:/run/a b.sock"]).site_logo.is_none()
    );
}

/// Runs the program without a client ID, so it ends before it opens anything.
fn started(variables: &[(&str, &str)], flags: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["serve", "--listen", "127.0.0.1:0"], flags].concat();
    let output = hallpass(&arguments).envs(variables.iter().copied()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let mut command = Options::command();
    command.build();
    let serve = command.find_subcommand("serve").unwrap();
    let names: Vec<&str> = serve.get_arguments().filter_map(|it| it.get_env()?.to_str()).collect();
    assert!(names.len() > 30);
    for value in ["", " "] {
        let variables: Vec<_> = names.iter().map(|name| (*name, value)).collect();
        let (code, error) = started(&[&variables[..], &[("RUST_LOG", value)]].concat(), &[]);
        assert_eq!(code, Some(1), "{error}");
        assert!(error.contains("there is no client ID"), "{error}");
    }
    let output = hallpass(&["users", "list"]).env("HALLPASS_DATABASE", "").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("there is no database at hallpass.db"), "{error}");
}

#[test]
fn errors_name_the_variable_of_a_wrong_value() {
    let named = |name, value, flags: &[&str], expected: &str| {
        let (code, error) = started(&[(name, value)], flags);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.contains(expected), "expected {expected:?} in {error}");
        error
    };
    for value in ["\"true\"", "'true'", " \"true\" "] {
        named(
            "HALLPASS_ALLOW_ANYONE",
            value,
            &[],
            "HALLPASS_ALLOW_ANYONE has quotes around its value",
        );
    }
    named(
        "HALLPASS_CLIENT_ID",
        "\"1-a.apps.googleusercontent.com\"",
        &[],
        "HALLPASS_CLIENT_ID has quotes",
    );
    named("HALLPASS_ALLOW_ANYONE", "maybe", &[], "expected true or false");
    let of = |name: &str| format!("the value is from the environment variable {name}");
    named("HALLPASS_ALLOW_ANYONE", "maybe", &[], &of("HALLPASS_ALLOW_ANYONE"));
    named("HALLPASS_SESSION_IDLE", "3 fortnights", &[], &of("HALLPASS_SESSION_IDLE"));
    named("HALLPASS_LOG_FORMAT", "xml", &[], &of("HALLPASS_LOG_FORMAT"));
    named("HALLPASS_METRICS_LISTEN", "8080", &[], "expected HOST:PORT");
    let error = named(
        "HALLPASS_SESSION_IDLE",
        "1h",
        &["--session-idle", "soon"],
        "'--session-idle <DURATION>'",
    );
    assert!(!error.contains("environment variable"), "{error}");
}

#[test]
fn secrets_are_neither_needed_nor_shown() {
    for flags in [&["--client-secret", "GOCSPX-hush"][..], &["--client-secret=GOCSPX-hush"]] {
        let (code, error) = started(&[], flags);
        assert_eq!(code, Some(2));
        assert_eq!(
            error,
            "hallpass: --client-secret is not needed: Hallpass works without a client secret; leave it out\n"
        );
    }
    let key = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----";
    for flags in [&["--tls-key", key][..], &["--tls-cert", key]] {
        let (code, error) = started(&[], flags);
        assert!(
            code == Some(2) && error.contains("take paths of PEM files") && !error.contains("hush"),
            "{error}"
        );
    }
}

#[test]
fn unknown_variables_are_reported_with_the_nearest_setting() {
    let warned = |name: &str, value: &str| {
        let output = hallpass(&["users", "list"]).env(name, value).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let warning = error.lines().find_map(|line| line.strip_prefix("hallpass: warning: "));
        warning.map(str::to_owned)
    };
    let warns = |name: &str, expected: &str| {
        assert_eq!(warned(name, "hush").as_deref(), Some(&*format!("{name} {expected}")));
    };
    warns("HALLPASS_ALLOW_EMAILS", "is not a setting; did you mean HALLPASS_ALLOW_EMAIL?");
    warns("HALLPASS_ALLOWED_DOMAIN", "is not a setting; did you mean HALLPASS_ALLOW_DOMAIN?");
    warns("HALLPASS_CLIENTID", "is not a setting; did you mean HALLPASS_CLIENT_ID?");
    warns("HALLPASS_ZZZ", "is not a setting; `hallpass serve --help` lists all settings");
    warns("HALLPASS_CLIENT_SECRET", "is not needed: Hallpass works without a client secret");
    // Docker and Kubernetes set these for a service called hallpass.
    for name in [
        "HALLPASS_SERVICE_HOST",
        "HALLPASS_SERVICE_PORT",
        "HALLPASS_SERVICE_PORT_HTTP",
        "HALLPASS_PORT",
        "HALLPASS_PORT_8080_TCP_ADDR",
        "HALLPASS_METRICS_SERVICE_HOST",
    ] {
        assert_eq!(warned(name, "10.0.0.1"), None, "{name}");
    }
    assert_eq!(warned("HALLPASS_ALLOW_EMAILS", ""), None);
    assert_eq!(warned("HALLPASS_LISTEN", "127.0.0.1:1"), None);
}

#[test]
fn trusted_proxies() {
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
