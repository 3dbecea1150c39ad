//! The door through real sockets, in front of a tiny_http server that echoes requests.

mod relay;
mod fast_path;
mod framing;
mod deadlines;
mod eviction;
mod upstream;
mod tls;
mod certificates;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hallpass::http::Sockets;
use hallpass::http::door::{Capacity, Counters, Deadlines, Door, Reason, Settings, TlsFiles};
use tiny_http::{Header, Response, StatusCode};

/// A deadline that tests wait for, and one that they never reach.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

const GET: &str = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";

/// A door on port 0, in front of an echo server.
struct TestDoor {
    address: SocketAddr,
    redirect: SocketAddr,
    door: Option<Door>,
    counters: Arc<Counters>,
    /// Requests that the echo server is working on.
    active: Arc<AtomicUsize>,
    folder: PathBuf,
}

impl Drop for TestDoor {
    fn drop(&mut self) {
        // This fails if the door has panicked.
        if let Some(door) = self.door.take()
            && !thread::panicking()
        {
            door.stop(Duration::ZERO);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn settings() -> Settings {
    Settings {
        sockets: Sockets::default(),
        upstream: std::os::unix::net::SocketAddr::from_pathname("unset").unwrap(),
        tls: None,
        capacity: Capacity { connections: 100, upstream_requests: 50 },
        connections_per_address_max: 64,
        unlimited: Box::new(|_| false),
        headers: None,
        trim: Box::new(|_| ()),
        fast_path: Box::new(|_| None),
        deadlines: Deadlines {
            request: LONG,
            idle: LONG,
            queue: LONG,
            upstream: LONG,
            response: LONG,
            linger: LONG,
        },
    }
}

fn door(change: impl FnOnce(&mut Settings)) -> TestDoor {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let folder = std::env::temp_dir().join(format!(
        "door-{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Relaxed)
    ));
    std::fs::create_dir(&folder).unwrap();
    let server = tiny_http::Server::http_unix(&folder.join("tiny_http")).unwrap();
    let active = Arc::new(AtomicUsize::new(0));
    let mut settings = settings();
    settings.upstream = server.server_addr().to_unix().unwrap();
    {
        let active = active.clone();
        thread::spawn(move || {
            while let Ok(request) = server.recv() {
                let active = active.clone();
                thread::spawn(move || echo(request, &active));
            }
        });
    }
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    change(&mut settings);
    settings.sockets.tcp.push(socket);
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let redirect = socket.local_addr().unwrap();
    settings.sockets.redirect = Some((socket, "https://auth.example.org".to_owned()));
    let door = Door::start(settings).unwrap();
    TestDoor { address, redirect, counters: door.counters(), door: Some(door), active, folder }
}

/// Responds with the request: its first line, its headers in order, and its body.
fn echo(mut request: tiny_http::Request, active: &AtomicUsize) {
    active.fetch_add(1, Relaxed);
    let mut text = format!("{} {}\n", request.method(), request.url());
    for header in request.headers() {
        text += &format!("{}: {}\n", header.field, header.value);
    }
    let mut body = Vec::new();
    request.as_reader().read_to_end(&mut body).unwrap();
    text += &String::from_utf8_lossy(&body);
    let (path, number) = request.url().rsplit_once('/').unwrap_or_default();
    let number: usize = number.parse().unwrap_or_default();
    let response = match path {
        "/status" => {
            Response::from_string("never").with_status_code(StatusCode(number as u16)).boxed()
        }
        "/big" => Response::from_data(vec![b'x'; number]).boxed(),
        "/slow" => {
            thread::sleep(Duration::from_millis(number as u64));
            Response::from_string(format!("slow {number}")).boxed()
        }
        _ => Response::from_string(text)
            .with_header(Header::from_bytes("X-Here", "yes").unwrap())
            .boxed(),
    };
    // A big response counts until it is written; others count only until the client can have them.
    let is_big = path == "/big";
    if !is_big {
        active.fetch_sub(1, Relaxed);
    }
    let _ = request.respond(response);
    if is_big {
        active.fetch_sub(1, Relaxed);
    }
}

impl TestDoor {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Sends `bytes` and returns everything that comes back until the connection is closed.
    fn send(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_ref()).unwrap();
        rest(&mut stream)
    }

    #[track_caller]
    fn counted(&self, reason: Reason, times: u64) {
        eventually(|| self.counters.rejected(reason) == times);
    }
}

#[track_caller]
fn eventually(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < until, "still not true");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Everything until the end of the stream; a reset is a failure.
#[track_caller]
fn rest(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// One response, as long as its Content-Length says.
#[track_caller]
fn answer(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    let mut text = String::from_utf8(text).unwrap();
    let length = header(&text, "content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    text += std::str::from_utf8(&body).unwrap();
    text
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.split("\r\n\r\n").next().unwrap();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|it| it.1)
}

fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").unwrap().1
}

fn status(text: &str) -> u16 {
    text.split(' ').nth(1).unwrap_or("0").parse().unwrap()
}

/// The number of responses in a stream.
fn answers(text: &str) -> usize {
    text.split("HTTP/1.1 ")
        .skip(1)
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        .count()
}
