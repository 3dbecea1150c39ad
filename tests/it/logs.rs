//! The log has a line for each request and never a secret, at any level.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::google::Answer;
use crate::program::{PATIENCE, Program, Started, eventually, hallpass, session_token, token};
use crate::test_app::CLIENT_ID;

/// Sends every kind of request with every kind of secret, and returns the secrets.
fn do_everything(program: &Program) -> Vec<String> {
    let id_tokens: Vec<String> = (0..6).map(|_| token(json!({}))).collect();
    let session = session_token(&program.sign_in(&id_tokens[0]).unwrap());
    let form = |target: &str, headers: &str, body: &str| {
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n");
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        program.send(&format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len())).unwrap()
    };
    for target in
        ["/auth/me", "/auth/check", "/auth/forward", "/auth/sessions", "/auth/account", "/nowhere"]
    {
        program.get(target, &format!("Cookie: hallpass={session}\r\n"));
        program.get(target, &format!("Authorization: Bearer {session}\r\n"));
        program.get(target, &format!("Authorization: Bearer {}\r\n", id_tokens[1]));
    }
    // A token for programs, as a bearer, as a password, and in the wrong place.
    let cookie = format!("Cookie: hallpass={session}\r\n");
    let created = form("/auth/tokens", &cookie, "name=Backup");
    let start = created.find("hp_").unwrap();
    let program_token = created[start..start + 46].to_owned();
    let credentials = STANDARD.encode(format!("me:{program_token}"));
    for value in [format!("Bearer {program_token}"), format!("Basic {credentials}")] {
        program.get("/auth/check", &format!("Authorization: {value}\r\n"));
        form("/auth/tokens", &format!("Authorization: {value}\r\n"), "name=Another");
    }
    form("/auth/account", &cookie, "create=true&id=fU8PGZJz1TYiiB_3&name=Page");
    form("/auth/tokens", &cookie, &format!("name={}", "x".repeat(101)));
    program.get(&format!("/auth/signin?rd=/secret-query&id_token={}", id_tokens[2]), "");
    program.get(&format!("/{}/{session}", id_tokens[2]), "");
    form(
        "/auth/signin",
        "Cookie: g_csrf_token=csrf-secret\r\n",
        &format!("credential={}&g_csrf_token=csrf-secret", id_tokens[3]),
    );
    form("/auth/signin", "", &format!("id_token={0}&idToken={0}", id_tokens[2]));
    for answer in [
        Answer::Status(400, "", vec![]),
        Answer::Status(503, "", vec![]),
        Answer::Reset,
        Answer::Close,
    ] {
        program.google.always(answer);
        program.sign_in(&id_tokens[4]);
        program.sign_in(&id_tokens[5]);
    }
    program.google.always(Answer::Status(
        302,
        "Location: https://elsewhere.example/secret\r\n",
        vec![],
    ));
    program.sign_in(&token(json!({})));
    form("/auth/signout", &format!("Cookie: hallpass={session}\r\n"), "everywhere=true");
    let mut secrets = vec![
        session,
        program_token,
        credentials,
        "secret-query".to_owned(),
        "csrf-secret".to_owned(),
    ];
    for id_token in id_tokens {
        secrets.extend(id_token.split('.').map(str::to_owned));
        secrets.push(id_token);
    }
    secrets.retain(|secret| secret.len() > 10 && secret != "c2lnbmF0dXJl");
    secrets
}

#[test]
fn no_secret_is_logged_at_any_level_in_any_format() {
    for format in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::serve_in(
            folder,
            &["--log-format", format, "--tokeninfo-timeout", "1s"],
            &[("RUST_LOG", "trace")],
        );
        let secrets = do_everything(&program);
        program.signal("-TERM");
        let (_, log) = program.end();
        assert!(log.lines().count() > 30);
        for secret in &secrets {
            assert!(!log.contains(secret.as_str()), "{secret} is in the log");
        }
    }
}

#[test]
fn each_request_is_logged_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::serve_in(folder, &["--log-format", "json"], &[]);
    let answer = program.get("/auth/me?x=secret-query", "X-Forwarded-For: 198.51.100.9\r\n");
    let id = answer.split("X-Request-Id: ").nth(1).unwrap().split("\r\n").next().unwrap();
    program.signal("-TERM");
    let (_, log) = program.end();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(requests.len(), 1, "{log}");
    let line = requests[0];
    assert_eq!(
        (&line["method"], &line["path"], &line["status"]),
        (&json!("GET"), &json!("/auth/me"), &json!(401))
    );
    assert_eq!(
        (&line["client"], &line["id"], &line["level"]),
        (&json!("198.51.100.9"), &json!(id), &json!("info"))
    );
    assert!(line["ms"].is_number() && line["time"].is_string());
}

#[test]
fn checks_log_the_app_and_refusals_the_user_and_reason() {
    let program = Program::serve(&[]);
    let session = session_token(&program.sign_in(&token(json!({}))).unwrap());
    let headers =
        format!("Authorization: Bearer {session}\r\nX-Forwarded-Host: wiki.example.com\r\n");
    program.get("/auth/check?allowed_emails=ada@gmail.com", &headers);
    program.get("/auth/check", &headers);
    program.get("/auth/me?x", &headers);
    program.signal("-TERM");
    let (_, log) = program.end();
    let ends_of = |path: &str| -> Vec<&str> {
        let lines = log.lines().filter(|line| line.contains(&format!("path={path} ")));
        lines
            .map(|line| &line[line.find(" id=").unwrap() + 4..])
            .map(|rest| rest.split_once(' ').map_or("", |(_, end)| end))
            .collect()
    };
    let refused = "host=wiki.example.com sub=110169484474386276334 \
        reason=\"this account is not on the allow-list of this app\"";
    assert_eq!(ends_of("/auth/check"), [refused, "host=wiki.example.com"], "{log}");
    assert_eq!(ends_of("/auth/me"), [""], "{log}");
}

#[test]
fn rejections_at_the_door_are_logged_with_their_reason() {
    let program = Program::serve(&[]);
    let secret = "secret-cookie".repeat(2000);
    let answer =
        program.send(&format!("GET / HTTP/1.1\r\nHost: x\r\nCookie: {secret}\r\n\r\n")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let start = Instant::now();
    for _ in 0..50 {
        program.send("nonsense\r\n\r\n");
    }
    let seconds = start.elapsed().as_secs() as usize;
    program.signal("-TERM");
    let (_, log) = program.end();
    let line = "INFO  rejected 127.0.0.1: the request line and headers are longer than 16384 bytes; \
                the longest is the header Cookie\n";
    assert!(log.contains(line) && !log.contains("secret-cookie"), "{log}");
    let lines = log.matches("rejected 127.0.0.1: the request is not well-formed").count();
    assert!((1..=seconds + 2).contains(&lines), "{lines} lines in {seconds} s");
}

#[test]
fn clients_cannot_forge_log_lines() {
    let program = Program::serve(&[]);
    program.get("/x%0a2026-01-01T00:00:00Z\u{1b}[31m", "");
    program.send("GET /a\u{1b}[2Jb HTTP/1.0\r\n\r\n");
    program.signal("-TERM");
    let (_, log) = program.end();
    assert!(!log.contains('\u{1b}'), "{log:?}");
}

#[test]
fn an_unknown_allow_list_is_logged() {
    let program = Program::serve(&[]);
    let session = session_token(&program.sign_in(&token(json!({}))).unwrap());
    let cookie = format!("Cookie: hallpass={session}\r\n");
    let long = "x".repeat(100);
    program.get("/auth/check?allowed_groups%0a=secret-query", &cookie);
    program.get(&format!("/auth/forward?allowed_{long}=1"), &cookie);
    program.signal("-TERM");
    let (_, log) = program.end();
    assert!(log.contains(r"the proxy asks with allowed_groups\n, but"), "{log}");
    assert!(log.contains("the proxy asks with [long], but"), "{log}");
    assert!(!log.contains("secret-query") && !log.contains(&long), "{log}");
}

/// A server whose log nobody has read so far.
struct Unread {
    server: Started,
    folder: TempDir,
}

impl Unread {
    fn start() -> Unread {
        let folder = tempfile::tempdir().unwrap();
        let listen = format!("unix:{}", folder.path().join("socket").display());
        let mut command = hallpass(&["serve", "--client-id", CLIENT_ID, "--allow-anyone"]);
        command
            .args(["--public-url", "http://localhost", "--listen", &listen, "--database"])
            .arg(folder.path().join("hallpass.db"));
        let server = Started(command.stderr(Stdio::piped()).spawn().unwrap());
        let unread = Unread { server, folder };
        eventually(|| UnixStream::connect(unread.folder.path().join("socket")).is_ok());
        unread
    }

    /// Sends GET requests through one connection and returns the last response.
    fn get(&self, target: &str, times: usize) -> String {
        let mut connection = UnixStream::connect(self.folder.path().join("socket")).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut answers, mut bytes) = (String::new(), [0; 65536]);
        for number in 1..=times {
            let close = if number == times { "Connection: close\r\n" } else { "" };
            write!(connection, "GET {target} HTTP/1.1\r\nHost: x\r\n{close}\r\n").unwrap();
            if number < times {
                let read = connection.read(&mut bytes).unwrap();
                assert!(read > 0, "it closed the connection after {number} requests");
            }
        }
        connection.read_to_string(&mut answers).unwrap();
        answers
    }

    fn stop(mut self) -> Option<i32> {
        let stop = Command::new("kill").args(["-TERM", &self.server.0.id().to_string()]).status();
        assert!(stop.unwrap().success());
        let server = RefCell::new(&mut self.server.0);
        eventually(|| server.borrow_mut().try_wait().unwrap().is_some());
        self.server.0.wait().unwrap().code()
    }
}

fn request_lines(log: &str) -> usize {
    log.lines().filter(|line| line.contains(" request ")).count()
}

#[test]
fn requests_and_shutdown_do_not_wait_for_the_log_reader() {
    let unread = Unread::start();
    unread.get("/auth/check", 5000);
    assert_eq!(unread.stop(), Some(0));
}

#[test]
fn dropped_lines_are_counted_and_reported_when_the_reader_is_back() {
    /// More lines than fit into the queue.
    const REQUESTS: usize = 15_000;
    let mut unread = Unread::start();
    unread.get(&"/longer_than_usual".repeat(20), REQUESTS);
    let metrics = unread.get("/metrics", 1);
    let mut stderr = unread.server.0.stderr.take().unwrap();
    let log = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut bytes = [0; 65536];
            while let Ok(read @ 1..) = stderr.read(&mut bytes) {
                log.lock().unwrap().extend_from_slice(&bytes[..read]);
            }
        });
        eventually(|| String::from_utf8_lossy(&log.lock().unwrap()).contains("were dropped"));
        unread.get("/auth/check", 1);
        assert_eq!(unread.stop(), Some(0));
    });
    let log = String::from_utf8(log.into_inner().unwrap()).unwrap();
    let reports: Vec<&str> = log
        .lines()
        .filter_map(|line| {
            Some(line.split_once(" WARN  ")?.1.split_once(" log lines were dropped")?.0)
        })
        .collect();
    let [reported] = reports[..] else { panic!("{reports:?}") };
    let reported: usize = reported.parse().unwrap();
    assert_eq!(request_lines(&log) + reported, REQUESTS + 2);
    // The request for the metrics is logged after it, and that line may be dropped too.
    let counted = |count| metrics.contains(&format!("hallpass_log_lines_dropped_total {count}\n"));
    assert!(counted(reported) || counted(reported - 1), "{reported}: {metrics}");
    assert!(log.ends_with("stopped\n"), "{log}");
}

#[test]
fn no_line_is_lost_while_the_log_is_read() {
    let program = Program::serve(&[]);
    for _ in 0..300 {
        program.get("/auth/check", "");
    }
    program.signal("-TERM");
    let (_, log) = program.end();
    assert_eq!(request_lines(&log), 300);
    assert!(!log.contains("dropped") && log.ends_with("stopped\n"), "{log}");
}
