//! The servers, each in its own process: Hallpass, Hallpass without its door, and a bare tiny_http.

use std::env;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use hallpass::cli::{self, Options};
use hallpass::logging;
use hallpass::store::Store;
use hallpass::web::App;

use super::google::{CLIENT_ID, Google};
use super::load::Connection;
use super::tls::Certificate;

/// The measured binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_hallpass");
/// The argument that makes this program a bare tiny_http.
pub const BARE: &str = "bare-tiny-http";
/// The argument that makes this program Hallpass without the door.
pub const WITHOUT_DOOR: &str = "without-door";
/// More requests than any load here has at once.
const SLOW_MAX: usize = 256;
/// As many as Hallpass has for requests that do not block.
const BARE_THREADS: usize = 4;
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often to try a server that is starting; a fraction of the time it takes.
const POLL_INTERVAL: Duration = Duration::from_micros(200);
/// The unit of /proc/PID/stat on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server, killed when dropped.
pub struct Server {
    pub address: SocketAddr,
    /// From exec to the first answer.
    pub start: Duration,
    process: Child,
}

impl Server {
    pub fn hallpass(database: &Path, google: &Google, flags: &[&str]) -> Server {
        Server::serve(database, google, flags, |address| drop(Connection::open_served(address)))
    }

    pub fn hallpass_over_tls(
        database: &Path,
        google: &Google,
        certificate: &Certificate,
    ) -> Server {
        let served = |address| drop(Connection::open_tls_served(address, certificate));
        Server::serve(database, google, &certificate.flags(), served)
    }

    fn serve(
        database: &Path,
        google: &Google,
        flags: &[&str],
        first: impl Fn(SocketAddr),
    ) -> Server {
        let address = free_address();
        let mut command = hallpass(address, database, google);
        command.args(flags).stderr(Stdio::null());
        Server::start(command, address, first)
    }

    /// Hallpass with that `RUST_LOG`, its log in that file.
    pub fn hallpass_with_log(database: &Path, google: &Google, level: &str, log: &Path) -> Server {
        let address = free_address();
        let mut command = hallpass(address, database, google);
        command.env("RUST_LOG", level).stderr(File::create(log).expect("a log can be written"));
        Server::start(command, address, |address| drop(Connection::open_served(address)))
    }

    /// nginx with one worker that answers 200 with three headers, if it is installed.
    pub fn nginx(folder: &Path) -> Option<Server> {
        Command::new("nginx").arg("-v").stderr(Stdio::null()).status().ok()?;
        let (address, folder) = (free_address(), folder.display());
        let configuration = format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log /dev/null;
             events {{ worker_connections 1024; }}
             http {{
                 access_log off; keepalive_requests 1000000000;
                 client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
                 fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
                 scgi_temp_path {folder}/scgi;
                 server {{
                     listen {address} backlog=4096;
                     add_header Remote-User ada@example.com;
                     add_header Remote-Email ada@example.com;
                     add_header Remote-Name Ada;
                     location / {{ return 200; }}
                 }}
             }}"
        );
        let file = format!("{folder}/nginx.conf");
        fs::write(&file, configuration).expect("a configuration can be written");
        let mut command = Command::new("nginx");
        command.args(["-c", &file, "-e", "/dev/null"]).stderr(Stdio::null());
        Some(Server::start(command, address, |address| drop(Connection::open_served(address))))
    }

    /// A bare tiny_http that answers "ok".
    pub fn bare() -> Server {
        let address = free_address();
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        command.args([BARE, &address.to_string()]).stderr(Stdio::null());
        Server::start(command, address, |address| drop(Connection::open_served(address)))
    }

    /// Hallpass's tiny_http directly on the network, as nobody should run it. The difference is the
    /// cost of the door.
    pub fn without_door(database: &Path) -> Server {
        let address = free_address();
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        command.args([WITHOUT_DOOR, &address.to_string()]).arg(database).stderr(Stdio::null());
        Server::start(command, address, |address| drop(Connection::open_served(address)))
    }

    /// Starts the process and waits for a first answer.
    fn start(mut command: Command, address: SocketAddr, first: impl Fn(SocketAddr)) -> Server {
        let begin = Instant::now();
        let process = command.stdout(Stdio::null()).spawn().expect("the server can be run");
        while TcpStream::connect(address).is_err() {
            assert!(begin.elapsed() < START_TIMEOUT, "the server must start in time");
            thread::sleep(POLL_INTERVAL);
        }
        first(address);
        Server { address, start: begin.elapsed(), process }
    }

    /// The CPU time used so far.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.process.id().to_string())
    }

    pub fn resident_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))
            .expect("the server runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("VmRSS is in the file");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kib * 1024.0 / 1e6
    }
}

/// The command that serves that database.
fn hallpass(address: SocketAddr, database: &Path, google: &Google) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(["serve", "--allow-anyone", "--signin-burst", "0", "--client-id", CLIENT_ID])
        .args(["--listen", &address.to_string()])
        .args(["--tokeninfo-url", &format!("http://{}/tokeninfo", google.address)])
        .args(["--tokeninfo-concurrency", "64"])
        .arg("--database")
        .arg(database);
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        // This fails only if the process has ended already, which a request would have noticed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The CPU time that a process has used. `self` is this one, with the load and the stand-in for
/// Google.
pub fn cpu_seconds(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The second field is a name in parentheses that may contain anything; utime and stime are the
    // 14th and 15th.
    let fields = stat
        .rsplit_once(')')
        .expect("the name ends with a parenthesis")
        .1
        .split_whitespace()
        .skip(11)
        .take(2);
    fields.map(|ticks| ticks.parse::<f64>().expect("a number of ticks")).sum::<f64>()
        / TICKS_PER_SECOND
}

/// Runs the bare tiny_http.
pub fn serve_bare() {
    let address = env::args().nth(2).expect("the first argument is an address");
    let server = Arc::new(tiny_http::Server::http(address).expect("the address is free"));
    let answer = move || {
        while let Ok(request) = server.recv() {
            // An error means that the client left.
            let _ = request.respond(tiny_http::Response::from_string("ok"));
        }
    };
    let threads: Vec<_> = (0..BARE_THREADS).map(|_| thread::spawn(answer.clone())).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a worker does not panic"));
}

/// Runs Hallpass without the door.
pub fn serve_without_door() {
    let address = env::args().nth(2).expect("the first argument is an address");
    let database = env::args().nth(3).expect("the second argument is a database");
    let arguments =
        ["hallpass", "serve", "--allow-anyone", "--signin-burst", "0", "--client-id", CLIENT_ID];
    let Ok(Options { command: cli::Command::Serve(options), .. }) =
        Options::try_parse_from(arguments)
    else {
        panic!("these are flags of serve");
    };
    logging::start(options.log_format);
    let settings = options.settings(Some(0)).expect("the settings are valid");
    let app = App::new(settings, Store::open(Path::new(&database)).expect("the database is there"));
    let socket = TcpListener::bind(address).expect("the address is free");
    let _server =
        hallpass::http::Server::start(socket, Arc::new(app), SLOW_MAX).expect("the server starts");
    loop {
        thread::park();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a listener has an address")
}
