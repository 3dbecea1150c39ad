//! Starts the real program on a free port with its own database and stand-in for Google.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::google::Google;
use crate::test_app::{CLIENT_ID, HOUR};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A child process that is killed at the end of the test.
pub struct Started(pub Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Program {
    child: Started,
    log: Arc<Mutex<String>>,
    log_reader: Option<thread::JoinHandle<()>>,
    pub address: SocketAddr,
    pub google: Google,
    pub folder: TempDir,
}

/// The program with these arguments, without our logging and proxy variables.
pub fn hallpass(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    // They are for the tests, and are not settings.
    for variable in ["HALLPASS_BIN", "HALLPASS_TEST_ENGINE", "HALLPASS_TEST_POSTGRES"] {
        command.env_remove(variable);
    }
    command.args(arguments).env_remove("RUST_LOG");
    for proxy in [
        "ALL_PROXY",
        "all_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "NO_PROXY",
    ] {
        command.env_remove(proxy);
    }
    command.env_remove("no_proxy");
    command.stdin(Stdio::null());
    command
}

/// Runs the program until it exits.
pub fn run(arguments: &[&str]) -> Output {
    hallpass(arguments).output().unwrap()
}

impl Program {
    pub fn serve(flags: &[&str]) -> Program {
        Program::serve_in(tempfile::tempdir().unwrap(), flags, &[])
    }

    /// Serves the database in that folder, and returns once it listens.
    pub fn serve_in(folder: TempDir, flags: &[&str], environment: &[(&str, &str)]) -> Program {
        Program::serve_only(folder, &[&["--allow-anyone"], flags].concat(), environment)
    }

    /// The same, letting in nobody but whom the flags and the database name.
    pub fn serve_only(folder: TempDir, flags: &[&str], environment: &[(&str, &str)]) -> Program {
        let google = Google::start();
        let mut command = hallpass(&["serve", "--listen", "127.0.0.1:0", "--client-id", CLIENT_ID]);
        command.args(["--signin-burst", "0", "--tokeninfo-url", &google.url(), "--database"]);
        command
            .arg(folder.path().join("hallpass.db"))
            .args(flags)
            .envs(environment.iter().copied());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (sink, stderr) = (log.clone(), BufReader::new(child.stderr.take().unwrap()));
        let log_reader = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                sink.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let log_reader = Some(log_reader);
        let mut program = Program {
            child: Started(child),
            log_reader,
            log,
            address: ([127, 0, 0, 1], 0).into(),
            google,
            folder,
        };
        program.address = program.wait_for_address();
        program
    }

    fn wait_for_address(&self) -> SocketAddr {
        let start = Instant::now();
        loop {
            let log = self.log();
            if let Some((_, rest)) = log.split_once("listening on ")
                && let Some(address) =
                    rest.split([',', ' ']).next().and_then(|text| text.parse().ok())
                && TcpStream::connect(address).is_ok()
            {
                return address;
            }
            assert!(start.elapsed() < PATIENCE, "the server did not start: {log}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("hallpass.db")
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    pub fn signal(&self, signal: &str) {
        assert!(
            Command::new("kill").args([signal, &self.id().to_string()]).status().unwrap().success()
        );
    }

    /// Waits until the program exits. Returns the exit code, unless a signal killed it, and the
    /// log.
    pub fn end(mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        while self.child.0.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "the program did not exit");
            thread::sleep(Duration::from_millis(5));
        }
        self.log_reader.take().unwrap().join().unwrap();
        (self.child.0.wait().unwrap().code(), self.log())
    }

    /// Kills the program and returns its folder.
    pub fn kill(self) -> TempDir {
        self.folder
    }

    pub fn connect(&self) -> TcpStream {
        self.try_connect().unwrap()
    }

    fn try_connect(&self) -> std::io::Result<TcpStream> {
        let connection = TcpStream::connect(self.address)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }

    /// Sends one request on a new connection. Returns status line, headers and body as text.
    pub fn send(&self, request: &str) -> Option<String> {
        let mut connection = self.try_connect().ok()?;
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer).filter(|answer| !answer.is_empty())
    }

    pub fn get(&self, target: &str, headers: &str) -> String {
        self.send(&format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"
        ))
        .unwrap()
    }

    pub fn sign_in(&self, token: &str) -> Option<String> {
        self.send(&sign_in_request(token))
    }
}

/// A token that is valid now by the real clock, which the program uses.
pub fn token(mut changes: Value) -> String {
    let now = hallpass::clock::now();
    (changes["iat"], changes["exp"]) = (now.into(), (now + HOUR).into());
    crate::test_app::token(changes)
}

pub fn sign_in_request(token: &str) -> String {
    format!(
        "POST /auth/signin HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\nid_token={token}",
        "id_token=".len() + token.len()
    )
}

/// The session token in a response to sign-in.
pub fn session_token(answer: &str) -> String {
    let (_, rest) =
        answer.split_once("\"token\":\"").unwrap_or_else(|| panic!("no session: {answer}"));
    rest.split('"').next().unwrap().to_owned()
}

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "the condition never held");
        thread::sleep(Duration::from_millis(5));
    }
}
