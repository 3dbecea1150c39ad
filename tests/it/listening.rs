//! Where the program listens: HTTPS, several addresses, and sockets that systemd hands over.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use crate::program::{Program, eventually, hallpass, session_token, sign_in_request, token};

/// A certificate for localhost and its key, in those files; returns what a client has to trust.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    fs::write(folder.join("cert.pem"), certified.cert.pem()).unwrap();
    certified.cert.der().clone()
}

/// One request over TLS, trusting that certificate alone.
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

    // A new certificate is served after SIGHUP; a broken one is refused and the last good one stays.
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
    while !program.log().contains("the certificate stays as it was") {
        assert!(start.elapsed() < Duration::from_secs(10), "{}", program.log());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(ask(program.address, &renewed, HEALTH).is_ok());
}

#[test]
fn a_certificate_of_no_use_is_told_at_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    let output = hallpass(&[
        "serve",
        "--client-id",
        "x",
        "--allow-anyone",
        "--listen",
        "127.0.0.1:0",
        "--database",
    ])
    .arg(folder.path().join("db"))
    .arg("--tls-cert")
    .arg(folder.path().join("cert.pem"))
    .arg("--tls-key")
    .arg(folder.path().join("none.pem"))
    .output()
    .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains(".pem"), "{error}");
}

#[test]
fn plain_http_is_sent_to_the_public_url() {
    let program = Program::serve(&[
        "--http-redirect",
        "127.0.0.1:0",
        "--public-url",
        "https://auth.example.com",
    ]);
    let address = || {
        let log = program.log();
        let (_, rest) = log.split_once("sending plain http on ")?;
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

/// As systemd does: the socket is open before the program and after it, as descriptor 3 of whoever has LISTEN_PID.
#[test]
fn with_a_socket_of_systemds_no_connection_is_refused_during_a_restart() {
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
