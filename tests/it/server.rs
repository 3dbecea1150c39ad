//! The program over real sockets: serving, starting and stopping.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hallpass::http::{Handler, Limits, Request, Response, Service, Sockets};
use serde_json::json;

use crate::google::Answer;
use crate::program::{PATIENCE, Program, hallpass, run, session_token, sign_in_request};
use crate::program::{Started, token};
use crate::test_app::CLIENT_ID;

#[test]
fn sign_in_and_me_over_the_wire() {
    let program = Program::serve(&[]);
    let answer = program.sign_in(&token(json!({}))).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let session = session_token(&answer);
    let me = program.get("/auth/me", &format!("Cookie: hallpass={session}\r\n"));
    assert!(me.starts_with("HTTP/1.1 200 ") && me.contains("testuser@gmail.com"), "{me}");
    assert!(me.contains("X-Request-Id: "));
    for target in ["/healthz", "/readyz"] {
        assert!(program.get(target, "").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn keep_alive_and_http_1_0() {
    let program = Program::serve(&[]);
    let mut connection = program.connect();
    for _ in 0..3 {
        connection.write_all(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut head = [0; 512];
        let length = connection.read(&mut head).unwrap();
        assert!(head.starts_with(b"HTTP/1.1 200 OK") && head[..length].ends_with(b"\r\n\r\n"));
    }
    let answer = program.send("GET /auth/check HTTP/1.0\r\n\r\n").unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 401 ") && answer.contains("\r\nConnection: close\r\n"),
        "{answer}"
    );
}

#[test]
fn bodies_have_at_most_16_kib() {
    let program = Program::serve(&[]);
    let sized = |length: usize| {
        let body = format!("x={}", "a".repeat(length - 2));
        let head = "POST /auth/signin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                    Content-Type: application/x-www-form-urlencoded\r\n";
        program.send(&format!("{head}Content-Length: {length}\r\n\r\n{body}")).unwrap()
    };
    assert!(sized(16 * 1024).starts_with("HTTP/1.1 400 "));
    let rejected = sized(16 * 1024 + 1);
    assert!(
        rejected.starts_with("HTTP/1.1 413 ")
            && rejected.contains("\"error\":\"payload_too_large\""),
        "{rejected}"
    );
}

#[test]
fn checks_do_not_wait_for_sign_ins() {
    let program = Program::serve(&["--tokeninfo-timeout", "10s"]);
    let session = session_token(&program.sign_in(&token(json!({}))).unwrap());
    program.google.always(Answer::Hang);
    // Hanging sign-ins, hanging ID tokens, and bodies that never end.
    let hanging: Vec<_> = (0..40)
        .map(|number| {
            let mut connection = program.connect();
            let request = match number % 3 {
                0 => sign_in_request(&token(json!({}))),
                1 => {
                    format!(
                        "GET /auth/check HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
                        token(json!({}))
                    )
                }
                _ => "GET /auth/check HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nx"
                    .to_owned(),
            };
            connection.write_all(request.as_bytes()).unwrap();
            connection
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    for _ in 0..50 {
        let check = program.get("/auth/check", &format!("Cookie: hallpass={session}\r\n"));
        assert!(check.starts_with("HTTP/1.1 200 "), "{check}");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(hanging);
}

#[test]
fn it_serves_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("hallpass.sock");
    let listen = format!("unix:{}", socket.display());
    let database = folder.path().join("db");
    let flags = [
        "serve",
        "--listen",
        &listen,
        "--public-url",
        "https://a.example",
        "--client-id",
        CLIENT_ID,
        "--socket-mode",
        "0600",
    ];
    // Twice, because the socket that a killed server leaves behind is replaced.
    for _ in 0..2 {
        let program = hallpass(&flags)
            .args(["--allow-anyone", "--database"])
            .arg(&database)
            .stderr(Stdio::null())
            .spawn();
        let program = Started(program.unwrap());
        let start = Instant::now();
        let mut connection = loop {
            match UnixStream::connect(&socket) {
                Ok(connection) => break connection,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "{error}"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        // The proxy has no address; the client address that it sends counts.
        connection
            .write_all(b"GET /metrics HTTP/1.0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        // A silent connection does not delay others.
        let _silent = UnixStream::connect(&socket).unwrap();
        let mut connection = UnixStream::connect(&socket).unwrap();
        connection.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        answer.clear();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        drop(program);
    }
}

#[test]
fn signals_stop_it_after_answering_requests_under_way() {
    for signal in ["-TERM", "-INT"] {
        let program = Program::serve(&[]);
        program.google.always(Answer::Late(Duration::from_millis(500)));
        let mut under_way = program.connect();
        under_way.write_all(sign_in_request(&token(json!({}))).as_bytes()).unwrap();
        while program.google.calls().is_empty() {
            thread::sleep(Duration::from_millis(5));
        }
        program.signal(signal);
        let mut answer = String::new();
        under_way.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let (code, log) = program.end();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopping on SIG") && log.contains("stopped"), "{log}");
    }
}

#[test]
fn it_logs_its_settings_at_start() {
    let program = Program::serve(&[]);
    program.signal("-TERM");
    let (_, log) = program.end();
    for part in [
        "listening on 127.0.0.1:",
        "the database is /",
        CLIENT_ID,
        "WARN  who-may-sign-in: anyone with a Google account; ",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    let folder = tempfile::tempdir().unwrap();
    let strict = hallpass(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--client-id",
        CLIENT_ID,
        "--allow-domain",
        "example.com",
    ])
    .args(["--allow-email", "ada@gmail.com", "--database"])
    .arg(folder.path().join("db"))
    .stderr(Stdio::piped())
    .spawn();
    let mut strict = Started(strict.unwrap());
    let lines = BufReader::new(strict.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let log: Vec<String> = lines.take(4).collect();
    let log = log.join("\n");
    assert!(
        log.contains("may sign in: accounts of example.com, ada@gmail.com")
            && !log.contains("WARN"),
        "{log}"
    );
}

#[test]
fn it_does_not_start_with_wrong_settings() {
    for (arguments, reason) in [
        (vec!["serve"], "--client-id"),
        (vec!["serve", "--client-id", "x"], "--allow-domain"),
        (
            vec!["serve", "--client-id", "x", "--allow-anyone", "--listen", "192.0.2.1:80"],
            "cannot listen",
        ),
        (
            vec!["serve", "--client-id", "x", "--allow-anyone", "--database", "/no/such/db"],
            "its folder does not exist",
        ),
    ] {
        let mut arguments = arguments;
        if !arguments.contains(&"--listen") {
            arguments.extend(["--listen", "127.0.0.1:0"]);
        }
        let output = run(&arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        let last = error.lines().last().unwrap();
        assert!(last.starts_with("hallpass: ") && last.contains(reason), "{error}");
    }
}

#[test]
fn settings_come_from_the_environment_too() {
    let folder = tempfile::tempdir().unwrap();
    let output = hallpass(&["serve"])
        .env("HALLPASS_CLIENT_ID", "a,b")
        .env("HALLPASS_LISTEN", "127.0.0.1:0")
        .env("HALLPASS_ALLOW_ANYONE", "true")
        .env("HALLPASS_PUBLIC_URL", "https://a.example/path")
        .env("HALLPASS_DATABASE", folder.path().join("db"))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--public-url takes scheme, host and port"), "{error}");
    let empty = hallpass(&["serve"])
        .env("HALLPASS_CLIENT_ID", "")
        .env("HALLPASS_ALLOW_ANYONE", "1")
        .output()
        .unwrap();
    assert!(!empty.status.success());
}

#[test]
fn it_does_not_start_on_a_read_only_database() {
    // Root may write anywhere, so the program runs as another user.
    const NOBODY: u32 = 65534;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(hallpass::store::Store::open(&path).unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let binary = folder.path().join("hallpass");
    std::fs::copy(env!("CARGO_BIN_EXE_hallpass"), &binary).unwrap();
    let mut command = Command::new(binary);
    command
        .args([
            "serve",
            "--client-id",
            "x",
            "--allow-anyone",
            "--listen",
            "127.0.0.1:0",
            "--database",
        ])
        .arg(&path);
    let root = std::fs::metadata("/proc/self")
        .is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
    let output =
        if root { command.uid(NOBODY).gid(NOBODY).output() } else { command.output() }.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("permission denied") || error.contains("read-only"), "{error}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn calls_to_google_use_the_https_proxy() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let seen = thread::spawn(move || {
        let (mut connection, _) = proxy.accept().unwrap();
        let mut head = String::new();
        BufReader::new(&mut connection).read_line(&mut head).unwrap();
        head
    });
    let folder = tempfile::tempdir().unwrap();
    let mut program = Started(
        hallpass(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--client-id",
            "x",
            "--allow-anyone",
            "--database",
        ])
        .arg(folder.path().join("db"))
        .args([
            "--tokeninfo-url",
            "https://tokeninfo.example/tokeninfo",
            "--tokeninfo-timeout",
            "1s",
        ])
        .env("HTTPS_PROXY", address)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap(),
    );
    let mut log = BufReader::new(program.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let line = log.find(|line| line.contains("listening on ")).unwrap();
    let address = line.split("listening on ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(sign_in_request(&token(json!({}))).as_bytes()).unwrap();
    let head = seen.join().unwrap();
    assert!(head.starts_with("CONNECT tokeninfo.example:443 "), "{head}");
}

#[test]
fn help_and_version() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    for flag in [
        "--listen",
        "--public-url",
        "--database",
        "--client-id",
        "--allow-domain",
        "--allow-email",
        "--allow-anyone",
        "--session-lifetime",
        "--session-idle",
        "--cookie-domain",
        "--allow-origin",
        "--trusted-proxy",
        "--verify",
        "--keys-url",
        "--tokeninfo-url",
        "--tokeninfo-timeout",
        "--tokeninfo-concurrency",
        "--log-format",
        "--signin-burst",
        "--signin-per-second",
    ] {
        assert!(help.contains(flag), "{flag}");
        let variable =
            format!("HALLPASS_{}", flag.trim_start_matches('-').replace('-', "_").to_uppercase());
        assert!(help.contains(&variable), "{variable}");
    }
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    assert_eq!(version.trim(), format!("hallpass {}", env!("CARGO_PKG_VERSION")));
}

/// Answers nothing before its sender is dropped.
struct Stuck {
    entered: mpsc::Sender<()>,
    release: Mutex<mpsc::Receiver<()>>,
}

impl Handler for Stuck {
    fn handle(&self, _request: &Request, _now: i64) -> Response {
        self.entered.send(()).unwrap();
        let _ = self.release.lock().unwrap().recv();
        Response::empty(200)
    }

    fn reject_busy(&self, _request: &Request) -> Response {
        Response::empty(503)
    }
}

#[test]
fn a_stop_ends_at_its_deadline_despite_a_stuck_request() {
    let (entered, is_entered) = mpsc::channel();
    let (release, is_released) = mpsc::channel();
    let handler: Arc<dyn Handler> = Arc::new(Stuck { entered, release: Mutex::new(is_released) });
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let sockets = Sockets { tcp: vec![socket], ..Sockets::default() };
    let limits = Limits {
        connections_max: 10,
        descriptors: 1024,
        unlimited: Box::new(|_| true),
        keep_alive: PATIENCE,
    };
    let service = Service::start(sockets, None, limits, &handler).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").unwrap();
    is_entered.recv().unwrap();
    service.stop(Instant::now());
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "it was closed without a response");
    drop(release);
}

#[test]
fn a_sign_in_page_under_another_host_is_warned_of_once() {
    let warnings = |flags: &[&str], hosts: &[&str]| {
        let public = ["--public-url", "https://auth.example.com"];
        let program = Program::serve(&[&public, flags].concat());
        for host in hosts {
            let answer = program.get("/auth/signin", &format!("X-Forwarded-Host: {host}\r\n"));
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        program.signal("-TERM");
        program.end().1.matches("a proxy serves the sign-in page as app.example.com").count()
    };
    assert_eq!(warnings(&[], &["auth.example.com", "AUTH.example.com:443", "[", ""]), 0);
    assert_eq!(warnings(&[], &["app.example.com", "app.example.com:8443"]), 1);
    assert_eq!(warnings(&["--trusted-proxy", "192.0.2.1"], &["app.example.com"]), 0);
}
