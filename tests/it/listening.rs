//! Listening: HTTPS, several addresses, Unix sockets, and sockets passed by systemd.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use crate::program::{Program, eventually, hallpass, session_token, sign_in_request, token};
use crate::test_app::serve_options;

/// Writes a certificate for localhost and its key; returns the certificate.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("cert.pem"), certified.cert.pem()).unwrap();
    certified.cert.der().clone()
}

/// Sends one request over TLS, and trusts only this certificate.
fn ask(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    request: &str,
) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let session =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap())
            .unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(address)?);
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    match stream.read_to_string(&mut answer) {
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn https_without_a_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = write_certificate(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let program = Program::serve(&["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")]);
    assert!(
        program.log().contains("which browsers reach as https://localhost:"),
        "{}",
        program.log()
    );

    let answer = ask(program.address, &trusted, &sign_in_request(&token(json!({})))).unwrap();
    assert!(
        answer.contains("Set-Cookie: __Host-hallpass=hp_") && answer.contains("; Secure"),
        "{answer}"
    );
    assert!(answer.contains("Strict-Transport-Security: "), "{answer}");
    let me = format!(
        "GET /auth/me HTTP/1.1\r\nHost: x\r\nCookie: __Host-hallpass={}\r\nConnection: close\r\n\r\n",
        session_token(&answer)
    );
    assert!(ask(program.address, &trusted, &me).unwrap().starts_with("HTTP/1.1 200 "));

    // SIGHUP loads a new certificate. If it is unusable, the old one stays in use.
    let renewed = write_certificate(folder.path());
    program.signal("-HUP");
    let start = Instant::now();
    while ask(program.address, &renewed, HEALTH).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "{}", program.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(ask(program.address, &trusted, HEALTH).is_err());
    fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    program.signal("-HUP");
    while !program.log().contains("the old certificate stays in use") {
        assert!(start.elapsed() < Duration::from_secs(10), "{}", program.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(ask(program.address, &renewed, HEALTH).is_ok());
}

/// Adds flags to working settings; returns the errors of the program, which must not start.
fn startup_errors(folder: &Path, flags: &[&str]) -> String {
    let database = folder.join("db").display().to_string();
    let usual = ["serve", "--client-id", "x", "--allow-anyone", "--database", &database];
    let output = hallpass(&[&usual[..], flags].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_unusable_certificate_is_reported_before_listening() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    write_certificate(folder.path());
    let key = fs::read_to_string(file("key.pem")).unwrap();
    fs::write(file("one-line.pem"), key.replace('\n', " ")).unwrap();
    for (certificate, key_file, reason) in [
        ("none.pem", "key.pem", "none.pem (--tls-cert): it cannot be read: No such file"),
        ("cert.pem", "none.pem", "none.pem (--tls-key): it cannot be read: No such file"),
        ("cert.pem", "one-line.pem", "one-line.pem (--tls-key): its PEM is damaged"),
        ("key.pem", "cert.pem", "are --tls-cert and --tls-key swapped?"),
    ] {
        let files = ["--tls-cert", &file(certificate), "--tls-key", &file(key_file)];
        let error =
            startup_errors(folder.path(), &[&files[..], &["--listen", "127.0.0.1:0"]].concat());
        assert!(error.contains(reason), "{error}");
        assert!(!error.contains("listening on") && !error.contains(&key[30..60]), "{error}");
        assert!(!folder.path().join("db").exists());
    }
}

#[test]
fn a_port_in_use_is_reported_with_a_remedy() {
    let (folder, other) = (tempfile::tempdir().unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = other.local_addr().unwrap().to_string();
    let in_use = format!("cannot listen on {address}: another program uses this port; stop");
    for flag in ["--listen", "--http-redirect", "--metrics-listen"] {
        let error = startup_errors(folder.path(), &["--listen", "127.0.0.1:0", flag, &address]);
        assert!(error.contains(&in_use), "{error}");
    }
    let error = startup_errors(folder.path(), &["--listen", "192.0.2.1:1"]);
    assert!(error.contains("this machine does not have that address"), "{error}");
    let error = startup_errors(folder.path(), &["--listen", "name.invalid:1"]);
    assert!(error.contains("the host cannot be looked up"), "{error}");
}

#[test]
fn a_unix_socket_replaces_only_an_abandoned_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let at = |name: &str| format!("unix:{}", path(name).display());
    let url = ["--public-url", "http://localhost:1"];
    let refused = |name: &str, more: &[&str], reason: &str| {
        let error = startup_errors(folder.path(), &[&url, more, &["--listen", &at(name)]].concat());
        assert!(error.contains(reason), "{error}");
    };
    fs::write(path("file"), "kept").unwrap();
    refused("file", &[], "something that is not a socket is there");
    assert_eq!(fs::read(path("file")).unwrap(), b"kept");
    fs::remove_file(path("db")).unwrap();
    refused("db", &[], "something that is not a socket is there");
    assert!(fs::metadata(path("db")).unwrap().is_file());
    symlink(path("file"), path("link")).unwrap();
    refused("link", &[], "something that is not a socket is there");
    assert!(path("link").is_symlink());
    let alive = UnixListener::bind(path("alive")).unwrap();
    refused("alive", &[], "another program listens there");
    alive.set_nonblocking(true).unwrap();
    refused("none/socket", &[], "its folder does not exist");
    refused(&"long".repeat(30), &[], "the path is too long");

    // It is replaced only after all other checks have passed.
    drop(UnixListener::bind(path("dead")).unwrap());
    let changed = || {
        let found = fs::metadata(path("dead")).unwrap();
        (found.ino(), found.ctime(), found.ctime_nsec())
    };
    let before = changed();
    refused("dead", &["--trusted-proxy", "caddy"], "--trusted-proxy");
    refused("dead", &["--tls-cert", "/none", "--tls-key", "/none"], "cannot be read");
    fs::write(path("db"), "no database").unwrap();
    refused("dead", &[], "is not Hallpass's");
    assert_eq!(changed(), before);
    let program = Program::serve(&["--listen", &at("dead")]);
    assert_ne!(changed(), before);
    let mut connection = UnixStream::connect(path("dead")).unwrap();
    connection.write_all(HEALTH.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer} {}", program.log());
}

#[test]
fn it_does_not_start_without_the_backup_folder() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none").display().to_string();
    let error = startup_errors(folder.path(), &["--listen", "127.0.0.1:0", "--backup-dir", &none]);
    assert!(
        error.contains(&format!("there is no folder at --backup-dir {none}; create it first")),
        "{error}"
    );
    assert!(!folder.path().join("none").exists());
}

/// `hallpass health` in the server's environment, as in a container.
#[test]
fn health_asks_where_the_settings_say() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let unix = format!("unix:{}", file("socket"));
    let files = ["--tls-cert", &file("cert.pem"), "--tls-key", &file("key.pem")];
    let program = Program::serve(&[&files[..], &["--listen", &unix]].concat());
    let address = program.address.to_string();
    let every = format!("0.0.0.0:{}", program.address.port());
    let health = |listen: &str, certificate: &str| {
        let mut command = hallpass(&["health"]);
        command.env("HALLPASS_LISTEN", listen).env("HALLPASS_TLS_CERT", certificate);
        let output = command.env("HALLPASS_HEALTH_URL", "").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let well = (Some(0), String::new());
    assert_eq!(health(&address, &file("cert.pem")), well);
    assert_eq!(health(&every, &file("cert.pem")), well);
    assert_eq!(health(&format!("127.0.0.1:0,{unix}"), &file("cert.pem")), well);
    assert_eq!(health(&unix, ""), well);
    let (code, error) = health(&address, "");
    assert!(code == Some(1) && error.contains(&address), "it speaks only HTTPS: {error}");
    let (code, error) = health(&format!("unix:{}", file("none")), "");
    assert!(code == Some(1) && error.contains("does not answer"), "{error}");
    let (code, error) = health("127.0.0.1:0", "");
    assert!(code == Some(1) && error.contains("give --url"), "{error}");
    let plain = Program::serve(&[]);
    assert_eq!(health(&plain.address.to_string(), ""), well);
    let of_url = |path: &str| {
        let url = format!("http://{}{path}", plain.address);
        hallpass(&["health", "--url", &url]).output().unwrap().status.code()
    };
    for (path, code) in [("", 0), ("/", 0), ("/healthz", 0), ("/none", 1)] {
        assert_eq!(of_url(path), Some(code), "{path}");
    }
}

/// The program starts nevertheless.
#[test]
fn suspicious_settings_are_logged() {
    let warned = |flags: &[&str], variables: &[(&str, &str)], expected: &str| {
        let program = Program::serve_in(tempfile::tempdir().unwrap(), flags, variables);
        eventually(|| program.log().contains(expected));
        let log = program.log();
        let line = log.lines().find(|line| line.contains(expected)).unwrap();
        assert!(line.contains(" WARN  "), "{line}");
    };
    warned(
        &["--client-id", "\"1-a.apps.googleusercontent.com\""],
        &[],
        "client-id: \"1-a.apps.googleusercontent.com\" does not look like Google's; copy",
    );
    warned(
        &["--public-url", "http://auth.example.com"],
        &[],
        "public-url: http://auth.example.com is plain http",
    );
    warned(&["--trusted-proxy", "0.0.0.0/0"], &[], "trusted-proxy: everybody is trusted");
    warned(
        &[],
        &[("HALLPASS_ALLOW_EMAILS", "ada@gmail.com")],
        "did you mean HALLPASS_ALLOW_EMAIL?",
    );
    for level in ["blah", "\"info\"", "info,blah", "hallpass=blah"] {
        warned(
            &[],
            &[("RUST_LOG", level)],
            "RUST_LOG takes error, warn, info, debug, trace or off",
        );
    }
}

#[test]
fn valid_log_levels_are_accepted() {
    for level in ["", " ", "INFO", "warn,hallpass=info", "hallpass"] {
        let program = Program::serve_in(tempfile::tempdir().unwrap(), &[], &[("RUST_LOG", level)]);
        assert!(!program.log().contains("RUST_LOG"), "{level}: {}", program.log());
    }
}

#[test]
fn plain_http_is_redirected_to_the_public_url() {
    let program = Program::serve(&[
        "--http-redirect",
        "127.0.0.1:0",
        "--public-url",
        "https://auth.example.com",
    ]);
    let address = || {
        let log = program.log();
        let (_, rest) = log.split_once("redirecting plain http on ")?;
        rest.split_once(' ').and_then(|(address, _)| address.parse::<SocketAddr>().ok())
    };
    eventually(|| address().is_some());
    let mut connection = TcpStream::connect(address().unwrap()).unwrap();
    connection.write_all(b"GET /auth/signin?rd=/x HTTP/1.1\r\nHost: evil.example\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(
        answer.contains("Location: https://auth.example.com/auth/signin?rd=/x\r\n"),
        "{answer}"
    );
}

#[test]
fn several_addresses_and_ipv6() {
    let program = Program::serve(&["--listen", "[::1]:0"]);
    let log = program.log();
    let addresses: Vec<SocketAddr> = log
        .split("listening on ")
        .nth(1)
        .unwrap()
        .split(", ")
        .map_while(|address| address.parse().ok())
        .collect();
    assert_eq!(addresses.len(), 2, "{log}");
    for address in addresses {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(HEALTH.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{address}: {answer}");
    }
}

#[test]
fn a_connection_is_kept_as_long_as_configured() {
    let default = serve_options(&[]).keep_alive;
    assert_eq!((default, default.as_secs()), (hallpass::http::KEEP_ALIVE, 75));
    let program = Program::serve(&["--keep-alive", "200ms"]);
    let mut connection = program.connect();
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
#[cfg(target_os = "linux")]
fn the_temporary_folder_may_be_long_and_may_go() {
    let outer = tempfile::tempdir().unwrap();
    let temporary = outer.path().join("x".repeat(200));
    fs::create_dir(&temporary).unwrap();
    let environment = [("TMPDIR", temporary.to_str().unwrap())];
    let program = Program::serve_in(tempfile::tempdir().unwrap(), &[], &environment);
    assert!(program.send(HEALTH).is_some());
    fs::remove_dir_all(&temporary).unwrap();
    // These need more upstream connections than are open.
    thread::scope(|scope| {
        let sign_in = || program.sign_in(&token(json!({}))).unwrap();
        let answers: Vec<_> = (0..8).map(|_| scope.spawn(sign_in)).collect();
        for answer in answers {
            let answer = answer.join().unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    });
}

#[test]
fn without_a_temporary_folder_it_never_says_that_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["serve", "--listen", "127.0.0.1:0", "--client-id", "x", "--allow-anyone"];
    let output =
        hallpass(&flags).env("TMPDIR", "/no/such/folder").current_dir(&folder).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && log.contains("cannot start serving"), "{log}");
    assert!(!log.contains("listening on"), "{log}");
}

/// As with systemd, the socket is open before and after the program, as descriptor 3 of the process
/// in LISTEN_PID.
#[test]
fn with_systemds_socket_no_connection_is_refused_during_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"
import os, socket, subprocess, sys, time
listener = socket.create_server(("127.0.0.1", 0))
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
command = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\""
def start():
    return subprocess.Popen(["sh", "-c", command, "sh"] + sys.argv[1:], pass_fds=[3], stderr=subprocess.DEVNULL)
def ask():
    with socket.create_connection(listener.getsockname(), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        return connection.recv(100)
server = start()
try:
    for _ in range(3):
        assert ask().startswith(b"HTTP/1.1 200"), "not served"
        server.terminate()
        assert server.wait(15) == 0, "did not end cleanly"
        with socket.create_connection(listener.getsockname(), timeout=10) as waiting:
            waiting.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            server = start()
            assert waiting.recv(100).startswith(b"HTTP/1.1 200"), "not served after the restart"
finally:
    server.kill()
    server.wait()
"#;
    let output = Command::new("python3")
        .args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_hallpass"),
            "serve",
            "--client-id",
            "x",
            "--allow-anyone",
            "--database",
        ])
        .arg(folder.path().join("db"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
