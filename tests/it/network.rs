//! Connections to Google: names, certificate authorities and proxies.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::program::{hallpass, run, token};
use crate::test_app::{CLIENT_ID, HOUR, claims, serve_options};

/// A stand-in for tokeninfo that speaks TLS as `localhost`. Returns its port and its certificate in
/// PEM.
fn google_with_tls() -> (u16, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = Arc::new(config);
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let session = ServerConnection::new(config.clone()).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(session, connection));
            let mut line = String::new();
            // A client that does not trust the certificate sends nothing more.
            while line != "\r\n" && stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let now = hallpass::clock::now();
            let body = claims(json!({"iat": now, "exp": now + HOUR})).to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.get_mut().write_all(format!("{head}{body}").as_bytes());
        }
    });
    (port, pair.cert.pem())
}

#[test]
fn the_operator_can_name_the_authorities() {
    let (port, certificate) = google_with_tls();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let right = write("right.pem", certificate.clone());
    let both = write("both.pem", format!("{other}{certificate}"));
    let wrong = write("wrong.pem", other);
    let url = format!("https://localhost:{port}/tokeninfo");
    let check = |flags: &[&str], variable: &str, expected: &str| {
        let mut command = hallpass(&["verify", "--client-id", CLIENT_ID, "--allow-anyone"]);
        command.args(["--tokeninfo-url", &url]).args(flags).env("SSL_CERT_FILE", variable);
        command.arg("--database").arg(folder.path().join("none.db")).env("NO_PROXY", "*");
        let output = command.arg(token(json!({}))).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains(expected), "{flags:?} {variable}: {text}");
    };
    let vouched = "ok\ttokeninfo\tGoogle vouches for it";
    let unknown = "tokeninfo has a certificate from an unknown authority";
    let untrusted = "unknown\ttokeninfo\ttokeninfo has ";
    check(&[], "", unknown);
    check(&["--ca-file", &right], "", vouched);
    check(&["--ca-file", &both], "", vouched);
    check(&["--ca-file", &wrong], "", untrusted);
    check(&[], &right, vouched);
    check(&[], &wrong, untrusted);
    check(&["--ca-file", &right], &wrong, vouched);
}

#[test]
fn a_file_without_authorities_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |text: Option<&str>, expected: &str| {
        let path = folder.path().join("ca.pem");
        text.into_iter().for_each(|text| std::fs::write(&path, text).unwrap());
        let flags = ["--client-id", "x", "--allow-anyone", "--ca-file"];
        let options = serve_options(&[&flags[..], &[path.to_str().unwrap()]].concat());
        let error = options.settings(Some(8080)).err().unwrap();
        assert!(error.starts_with("--ca-file /") && error.ends_with(expected), "{error}");
    };
    check(None, "ca.pem cannot be read: entity not found");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for text in ["", "secret", garbage] {
        check(Some(text), "ca.pem has no certificate in PEM");
    }
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    check(Some(&key), "ca.pem has no certificate in PEM");
}

#[test]
fn a_dns_failure_is_reported_as_such() {
    let flags = ["doctor", "--json", "--client-id", "x", "--allow-anyone", "--tokeninfo-timeout"];
    let flags = [&flags[..], &["2s", "--tokeninfo-url", "https://google.invalid/"]].concat();
    let output = String::from_utf8(run(&flags).stdout).unwrap();
    assert!(output.contains("the host name of tokeninfo cannot be resolved: "), "{output}");
    assert!(output.contains(" (DNS)"), "{output}");
}

/// Checks what doctor says of the proxy with those variables.
#[track_caller]
fn proxy(variables: &[(&str, &str)], expected: &str) {
    let mut command = hallpass(&["doctor", "--json", "--client-id", "x", "--allow-anyone"]);
    command.args(["--tokeninfo-timeout", "1s", "--tokeninfo-url", "https://google.example/"]);
    command.envs(variables.iter().copied()).current_dir(Path::new("/"));
    let output = command.output().unwrap();
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = findings.as_array().unwrap();
    let finding = all.iter().find(|finding| finding["check"] == "proxy").unwrap();
    assert_eq!(finding["detail"], expected, "{variables:?}");
}

#[test]
fn the_environment_names_the_proxy_as_for_curl() {
    let (first, second) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
    proxy(&[("https_proxy", first)], "Google is called through 127.0.0.1:1 (https_proxy)");
    proxy(
        &[("HTTPS_PROXY", second), ("https_proxy", first)],
        "Google is called through 127.0.0.1:1 (https_proxy, HTTPS_PROXY)",
    );
    proxy(
        &[("ALL_PROXY", second), ("HTTPS_PROXY", first)],
        "Google is called through 127.0.0.1:1 (HTTPS_PROXY, ALL_PROXY)",
    );
    proxy(
        &[("ALL_PROXY", "socks5h://127.0.0.1:3")],
        "Google is called through 127.0.0.1:3 (ALL_PROXY)",
    );
    proxy(
        &[("HTTPS_PROXY", ""), ("all_proxy", first)],
        "Google is called through 127.0.0.1:1 (all_proxy)",
    );
    for name in ["HTTP_PROXY", "http_proxy", "NO_PROXY_"] {
        proxy(&[(name, first)], "none: Google is called directly");
    }
}
