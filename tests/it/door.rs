//! The door through real sockets, in front of a tiny_http that tells what it got.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hallpass::web::door::{Capacity, Counters, Deadlines, Door, Listener, Reason, Service, Settings, Socket, TlsFiles};
use tiny_http::{Header, Response, StatusCode};

/// Deadlines that let a test end soon, and one that no test waits for.
const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(20);

const GET: &str = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";

/// A door in front of an echo on port 0.
struct Front {
    address: SocketAddr,
    redirect: SocketAddr,
    door: Option<Door>,
    counters: Arc<Counters>,
    /// The most requests that were inside at a time, and those that are now.
    inside: Arc<AtomicUsize>,
    folder: PathBuf,
}

impl Drop for Front {
    fn drop(&mut self) {
        // It would show a panic of the door, unless the test itself has failed.
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
        listeners: Vec::new(),
        inner: std::os::unix::net::SocketAddr::from_pathname("unset").unwrap(),
        tls: None,
        capacity: Capacity { connections: 100, inside: 50 },
        connections_per_address_max: 64,
        unlimited: Box::new(|_| false),
        headers: None,
        deadlines: Deadlines { request: LONG, idle: LONG, queue: LONG, inner: LONG, answer: LONG, linger: LONG },
    }
}

fn front(change: impl FnOnce(&mut Settings)) -> Front {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let folder = std::env::temp_dir().join(format!("door-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed)));
    std::fs::create_dir(&folder).unwrap();
    let server = tiny_http::Server::http_unix(&folder.join("inner")).unwrap();
    let inside = Arc::new(AtomicUsize::new(0));
    let mut settings = settings();
    settings.inner = server.server_addr().to_unix().unwrap();
    {
        let inside = inside.clone();
        thread::spawn(move || {
            while let Ok(request) = server.recv() {
                let inside = inside.clone();
                thread::spawn(move || echo(request, &inside));
            }
        });
    }
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    change(&mut settings);
    let service = if settings.tls.is_some() { Service::Tls } else { Service::Plain };
    settings.listeners.push(Listener { socket: Socket::Tcp(socket), service });
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let redirect = socket.local_addr().unwrap();
    settings.listeners.push(Listener {
        socket: Socket::Tcp(socket),
        service: Service::RedirectTo("https://auth.example.org".to_owned()),
    });
    let door = Door::start(settings).unwrap();
    Front { address, redirect, counters: door.counters(), door: Some(door), inside, folder }
}

/// Answers with what came in: the request line, the headers in order, and the body.
fn echo(mut request: tiny_http::Request, inside: &AtomicUsize) {
    inside.fetch_add(1, Relaxed);
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
        "/status" => Response::from_string("never").with_status_code(StatusCode(number as u16)).boxed(),
        "/big" => Response::from_data(vec![b'x'; number]).boxed(),
        "/slow" => {
            thread::sleep(Duration::from_millis(number as u64));
            Response::from_string(format!("slow {number}")).boxed()
        }
        _ => Response::from_string(text).with_header(Header::from_bytes("X-Here", "yes").unwrap()).boxed(),
    };
    // A big answer is inside until it is taken; others are not any more once the client has them.
    let is_big = path == "/big";
    if !is_big {
        inside.fetch_sub(1, Relaxed);
    }
    let _ = request.respond(response);
    if is_big {
        inside.fetch_sub(1, Relaxed);
    }
}

impl Front {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    /// Sends `bytes` and returns everything that comes back until the connection is closed.
    fn tell(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_ref()).unwrap();
        rest(&mut stream)
    }

    #[track_caller]
    fn counted(&self, reason: Reason, times: u64) {
        eventually(|| self.counters.turned_away(reason) == times);
    }
}

#[track_caller]
fn eventually(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < until, "it never came to hold");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What comes until the end; a reset would fail.
#[track_caller]
fn rest(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// One answer with its head, by its Content-Length.
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
    head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|it| it.1)
}

fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").unwrap().1
}

fn status(text: &str) -> u16 {
    text.split(' ').nth(1).unwrap_or("0").parse().unwrap()
}

/// How many answers a client would see in this.
fn answers(text: &str) -> usize {
    text.split("HTTP/1.1 ").skip(1).filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit())).count()
}

#[test]
fn a_request_goes_through_and_the_connection_stays() {
    let front = front(|_| ());
    let mut stream = front.connect();
    for _ in 0..3 {
        stream.write_all(b"POST /echo?a=b HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nContent-Length: 4\r\n\r\nbody").unwrap();
        let answer = answer(&mut stream);
        assert_eq!(status(&answer), 200);
        assert_eq!(header(&answer, "connection"), Some("keep-alive"));
        assert_eq!(header(&answer, "x-here"), Some("yes"));
        assert_eq!(
            body(&answer),
            "POST /echo?a=b\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\nHost: a\nX-One: 1\nContent-Length: 4\nbody"
        );
    }
    assert_eq!(front.counters.accepted(), 1);
    assert_eq!(front.counters.open(), 1);
    drop(stream);
    eventually(|| front.counters.open() == 0);
}

#[test]
fn the_client_cannot_speak_in_the_doors_name() {
    let front = front(|_| ());
    let answer = front.tell(
        "GET /echo HTTP/1.1\r\nHost: a\r\nX-Hallpass-Peer: 6.6.6.6\r\nx-hallpass-peer: 6.6.6.6\r\n\
         X_Hallpass_Peer: 6.6.6.6\r\nX-Hallpass_Scheme: https\r\nConnection: close, X-Hallpass-Peer\r\n\r\n",
    );
    assert_eq!(body(&answer), "GET /echo\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\nHost: a\n");
}

#[test]
fn headers_of_one_connection_end_at_the_door() {
    let front = front(|_| ());
    let answer = front.tell(
        "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\nTE: trailers\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTrailer: x\r\n\r\n",
    );
    assert_eq!(body(&answer), "GET /echo\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\nHost: a\n");
    assert_eq!(header(&answer, "connection"), Some("close"));
}

#[test]
fn only_the_headers_asked_for_go_inside() {
    let front = front(|settings| settings.headers = Some(&["cookie", "x-hallpass-peer"]));
    let mut stream = front.connect();
    for _ in 0..2 {
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nCOOKIE: a=b\r\nX-Hallpass-Peer: x\r\nUser-Agent: u\r\n";
        stream.write_all(format!("{head}Content-Length: 3\r\n\r\nabc").as_bytes()).unwrap();
        assert_eq!(
            body(&answer(&mut stream)),
            "POST /echo\nConnection: keep-alive\nX-Hallpass-Peer: 127.0.0.1\nCOOKIE: a=b\nContent-Length: 3\nabc"
        );
    }
}

#[test]
fn bytes_that_are_not_ascii_go_inside_escaped() {
    let front = front(|_| ());
    let answer =
        front.tell("GET /echo HTTP/1.1\r\nHost: a\r\nCookie: a=\u{fc}; hallpass=x\r\nConnection: close\r\n\r\n");
    assert!(body(&answer).ends_with("Cookie: a=%C3%BC; hallpass=x\n"), "{answer}");
}

#[test]
fn who_says_close_or_speaks_http_1_0_is_closed() {
    let front = front(|_| ());
    for (head, connection) in [
        ("GET /echo HTTP/1.0\r\n\r\n", "close"),
        ("GET /echo HTTP/1.0\r\nHost: a\r\n\r\n", "close"),
        ("GET /echo HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "close"),
        ("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: CLOSE\r\n\r\n", "close"),
        ("GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /echo HTTP/1.0\r\n\r\n", "keep-alive"),
    ] {
        let answer = front.tell(head);
        assert_eq!(status(&answer), 200, "{head}");
        assert_eq!(header(&answer, "connection"), Some(connection), "{head}");
        assert_eq!(answers(&answer), head.matches("GET").count(), "{head}");
    }
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let front = front(|_| ());
    let mut stream = front.connect();
    for (request, expected) in [
        ("HEAD /big/1000 HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
        ("GET /status/204 HTTP/1.1\r\nHost: a\r\n\r\n", "204"),
        ("GET /status/304 HTTP/1.1\r\nHost: a\r\n\r\n", "304"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
    ] {
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")), "{request} {head}");
        if request.starts_with("OPTIONS") {
            let mut body = vec![0; header(&head, "content-length").unwrap().parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
        }
        stream.write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&answer(&mut stream)), 200, "{request}");
    }
}

#[test]
fn big_answers_arrive_whole() {
    let front = front(|_| ());
    for size in [1023, 1024, 16 * 1024, 32 * 1024, 64 * 1024, 100_000, 3_000_000] {
        let request = format!("GET /big/{size} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = front.tell(request);
        assert_eq!(header(&answer, "transfer-encoding"), None);
        assert_eq!(body(&answer).len(), size);
    }
}

#[test]
fn a_pipelining_client_is_served_one_request_at_a_time() {
    let front = front(|_| ());
    let mut stream = front.connect();
    let requests: String = (0..50).map(|n| format!("GET /echo/{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    stream.write_all(requests.as_bytes()).unwrap();
    for n in 0..50 {
        assert!(body(&answer(&mut stream)).starts_with(&format!("GET /echo/{n}\n")));
        assert!(front.inside.load(Relaxed) <= 1);
    }
}

#[test]
fn endless_pipelining_is_held_back() {
    let front = front(|_| ());
    let mut stream = front.connect();
    stream.write_all(b"GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut sent = 0;
    while let Ok(written) = stream.write(GET.repeat(1000).as_bytes()) {
        sent += written;
        assert!(sent < 50_000_000, "nothing holds it back");
    }
    assert_eq!(body(&answer(&mut stream)), "slow 300");
}

#[test]
fn a_body_that_waits_for_100_continue_is_asked_for() {
    let front = front(|_| ());
    let mut stream = front.connect();
    for _ in 0..2 {
        stream
            .write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-Continue\r\n\r\n")
            .unwrap();
        let mut interim = [0; 25];
        stream.read_exact(&mut interim).unwrap();
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"abc").unwrap();
        let answer = answer(&mut stream);
        assert!(body(&answer).ends_with("Content-Length: 3\nabc"), "{answer}");
        assert!(!answer.to_lowercase().contains("expect"));
    }
    let refused = front.tell("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!((status(&refused), answers(&refused)), (413, 1));
}

/// Each is refused with one answer, and the connection closed; whatever follows is not a request.
#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let front = front(|settings| settings.deadlines.linger = SHORT);
    let smuggled = GET;
    let many: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = "a".repeat(17 * 1024);
    for (expected, request) in [
        (411, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
        (411, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n"),
        (
            411,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=\"\r\n\"\r\nhello\r\n0\r\n\r\n",
        ),
        (411, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
        (411, "POST /echo HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING:\txchunked\r\n\r\n"),
        (411, "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nX: 1\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nX: 1\rTransfer-Encoding: chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\0: chunked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chu\0nked\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3 \u{b}\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n 4\r\n\r\nabc"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc"),
        (413, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\nabc"),
        (413, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 16385\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\nHost: a\n\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\n\n"),
        (400, "GET /echo HTTP/1.1\rHost: a\r\r"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nX: \u{7f}\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nX: \u{1}\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, "GET /echo HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a@b\r\n\r\n"),
        (400, "GET /echo HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        (400, "GET http://a/echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /echo#x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /\u{fc} HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /echo  HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /echo HTTP/1.1 \r\nHost: a\r\n\r\n"),
        (400, "GET /echo a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, " GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "G(T /echo HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /echo\r\n"),
        (400, "GET /echo HTTX/1.1\r\nHost: a\r\n\r\n"),
        (400, "\u{16}\u{3}\u{1}\u{2}"),
        (505, "GET /echo HTTP/0.9\r\nHost: a\r\n\r\n"),
        (505, "GET /echo HTTP/2.0\r\nHost: a\r\n\r\n"),
        (505, "GET /echo HTTP/1.2\r\nHost: a\r\n\r\n"),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (417, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\na"),
        (431, &format!("GET /echo HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        (431, &format!("GET /echo HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
        (431, &format!("GET /{long}")),
    ] {
        for pieces in [1, 3, usize::MAX] {
            let mut stream = front.connect();
            stream.set_nodelay(true).unwrap();
            let whole = format!("{request}{smuggled}");
            let size = (whole.len() / pieces).max(1);
            // Byte by byte only where that does not take long.
            if pieces == usize::MAX && whole.len() > 300 {
                continue;
            }
            for piece in whole.as_bytes().chunks(size) {
                // It may have been refused already, and lingered long enough.
                let _ = stream.write_all(piece);
            }
            let _ = stream.shutdown(Shutdown::Write);
            let answer = rest(&mut stream);
            assert_eq!((status(&answer), answers(&answer)), (expected, 1), "{request:.100?} {answer}");
            assert_eq!(header(&answer, "connection"), Some("close"));
            assert!(body(&answer).starts_with("{\"error\":\""), "{answer}");
        }
    }
    assert_eq!(front.inside.load(Relaxed), 0);
    eventually(|| front.counters.open() == 0);
}

#[test]
fn both_sides_of_every_limit() {
    let front = front(|settings| settings.deadlines.linger = SHORT);
    let close = "Connection: close\r\n";
    let fixed = format!("GET /echo HTTP/1.1\r\nHost: a\r\n{close}X: \r\n\r\n").len();
    for (bytes, expected) in [(16 * 1024 - 1, 200), (16 * 1024, 200), (16 * 1024 + 1, 431)] {
        let value = "v".repeat(bytes - fixed);
        let answer = front.tell(format!("GET /echo HTTP/1.1\r\nHost: a\r\n{close}X: {value}\r\n\r\n"));
        assert_eq!(status(&answer), expected, "{bytes}");
    }
    for (count, expected) in [(98, 200), (99, 431)] {
        let many: String = (0..count).map(|n| format!("X-{n}: 1\r\n")).collect();
        assert_eq!(status(&front.tell(format!("GET /echo HTTP/1.1\r\nHost: a\r\n{close}{many}\r\n"))), expected);
    }
    for (bytes, expected) in [(0, 200), (1024, 200), (1025, 200), (16 * 1024, 200), (16 * 1024 + 1, 413)] {
        let value = "b".repeat(bytes);
        let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\n{close}Content-Length: {bytes}\r\n\r\n");
        let answer = front.tell(format!("{head}{value}"));
        assert_eq!(status(&answer), expected, "{bytes}");
        assert_eq!(body(&answer).ends_with(&value), expected == 200);
    }
}

#[test]
fn a_refusal_is_read_before_the_reset() {
    let front = front(|_| ());
    let mut stream = front.connect();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n").unwrap();
    stream.write_all(&[b'x'; 60000]).unwrap();
    thread::sleep(Duration::from_millis(50));
    let answer = rest(&mut stream);
    assert_eq!(status(&answer), 413);
    assert!(body(&answer).contains("payload_too_large"));
    front.counted(Reason::TooLarge, 1);
}

#[test]
fn half_a_request_has_its_time() {
    let front = front(|settings| {
        settings.deadlines.request = SHORT;
        settings.deadlines.linger = SHORT;
    });
    for half in ["G", "GET /echo HTTP/1.1\r\nHo", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1234"] {
        let began = Instant::now();
        let answer = front.tell(half);
        assert_eq!((status(&answer), answers(&answer)), (408, 1), "{half}");
        assert!(began.elapsed() >= SHORT && began.elapsed() < LONG / 2);
    }
    // Bytes that keep coming do not renew it.
    let mut stream = front.connect();
    let mut reader = stream.try_clone().unwrap();
    let writer = thread::spawn(move || {
        stream.write_all(b"GET /echo HTTP/1.1\r\nX: ").unwrap();
        while stream.write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(status(&answer(&mut reader)), 408);
    drop(reader);
    writer.join().unwrap();
    // Who said nothing is told nothing.
    assert_eq!(front.tell(""), "");
    front.counted(Reason::Timeout, 4);
}

#[test]
fn a_later_request_has_its_time_from_its_first_byte() {
    let front = front(|settings| settings.deadlines.request = SHORT);
    let mut stream = front.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    answer(&mut stream);
    thread::sleep(SHORT * 2);
    stream.write_all(GET.as_bytes()).unwrap();
    answer(&mut stream);
    stream.write_all(b"GET").unwrap();
    assert_eq!(status(&rest(&mut stream)), 408);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let front = front(|settings| settings.deadlines.idle = SHORT);
    let mut stream = front.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    answer(&mut stream);
    assert_eq!(rest(&mut stream), "");
}

#[test]
fn who_does_not_take_the_answer_is_closed_and_nothing_is_mixed_up() {
    let front = front(|settings| settings.deadlines.answer = SHORT);
    let mut stuck: Vec<TcpStream> = (0..10).map(|_| front.connect()).collect();
    for stream in &mut stuck {
        stream.write_all(b"GET /big/20000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    eventually(|| front.counters.open() == 10);
    eventually(|| front.counters.open() == 0);
    let answer = front.tell("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(body(&answer).starts_with("GET /echo\n"));
    // What they asked for is read to the end inside.
    eventually(|| front.inside.load(Relaxed) == 0);
}

#[test]
fn nobody_gets_the_answer_of_one_who_left() {
    let front = front(|_| ());
    for round in 0..20 {
        let mut leaving: Vec<TcpStream> = (0..10).map(|_| front.connect()).collect();
        for stream in &mut leaving {
            stream.write_all(b"GET /slow/30 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        }
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(round));
        }
        drop(leaving);
        for n in 0..10 {
            let answer = front.tell(format!("GET /echo/{round}.{n} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            assert_eq!(answers(&answer), 1);
            assert!(body(&answer).starts_with(&format!("GET /echo/{round}.{n}\n")), "{answer}");
        }
    }
}

#[test]
fn a_client_that_only_closed_its_side_is_answered() {
    let front = front(|_| ());
    let mut stream = front.connect();
    stream.write_all(b"GET /slow/50 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(body(&rest(&mut stream)), "slow 50");
}

#[test]
fn many_at_once_each_get_their_own_answer() {
    let front = front(|settings| settings.unlimited = Box::new(|_| true));
    thread::scope(|scope| {
        for client in 0..32 {
            let front = &front;
            scope.spawn(move || {
                let mut stream = front.connect();
                for n in 0..100 {
                    let size = (client * 97 + n * 31) % 5000;
                    let mark = format!("{client}.{n}.").repeat(size / 10 + 1);
                    let length = mark.len();
                    let request = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{mark}");
                    stream.write_all(request.as_bytes()).unwrap();
                    assert!(body(&answer(&mut stream)).ends_with(&format!("\n{mark}")));
                }
            });
        }
    });
}

#[test]
fn the_longest_without_a_request_makes_room() {
    let front = front(|settings| settings.capacity.connections = 4);
    let mut first = front.connect();
    first.write_all(GET.as_bytes()).unwrap();
    answer(&mut first);
    let mut idle = front.connect();
    eventually(|| front.counters.open() == 2);
    let mut slow = front.connect();
    slow.write_all(b"GET /echo HTTP/1.1\r\nX: ").unwrap();
    eventually(|| front.counters.open() == 3);
    let mut answered = front.connect();
    answered.write_all(b"GET /slow/600 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually(|| front.inside.load(Relaxed) == 1);
    // The first asks again, so that it is the last to go.
    first.write_all(GET.as_bytes()).unwrap();
    answer(&mut first);

    let mut fifth = front.connect();
    assert_eq!(rest(&mut idle), "");
    let mut sixth = front.connect();
    assert_eq!(rest(&mut slow), "");
    let _seventh = front.connect();
    assert_eq!(rest(&mut first), "");
    let _eighth = front.connect();
    assert_eq!(rest(&mut fifth), "");
    assert_eq!(body(&answer(&mut answered)), "slow 600");
    front.counted(Reason::Evicted, 4);
    assert_eq!(front.counters.open(), 4);
    sixth.write_all(GET.as_bytes()).unwrap();
    assert_eq!(status(&answer(&mut sixth)), 200);
}

#[test]
fn who_does_not_take_the_answer_makes_room_too() {
    let front = front(|settings| settings.capacity.connections = 4);
    let mut stuck: Vec<TcpStream> = (0..4).map(|_| front.connect()).collect();
    for stream in &mut stuck {
        stream.write_all("GET /big/60000 HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100).as_bytes()).unwrap();
    }
    eventually(|| front.counters.open() == 4);
    thread::sleep(SHORT);
    for _ in 0..4 {
        assert_eq!(status(&front.tell("GET /echo HTTP/1.0\r\n\r\n")), 200);
    }
}

#[test]
fn one_address_has_its_share() {
    let front = front(|settings| settings.connections_per_address_max = 3);
    let mut three: Vec<TcpStream> = (0..3).map(|_| front.connect()).collect();
    eventually(|| front.counters.open() == 3);
    let mut one_too_many = front.connect();
    assert_eq!(rest(&mut one_too_many), "");
    front.counted(Reason::PerAddress, 1);
    drop(three.pop());
    eventually(|| front.counters.open() == 2);
    assert_eq!(status(&front.tell("GET /echo HTTP/1.0\r\n\r\n")), 200);
}

#[test]
fn a_trusted_proxy_has_more_than_its_share() {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let front = front(|settings| {
        settings.connections_per_address_max = 1;
        settings.unlimited = Box::new(move |address| address == loopback);
    });
    let _many: Vec<TcpStream> = (0..20).map(|_| front.connect()).collect();
    eventually(|| front.counters.open() == 20);
    assert_eq!(front.counters.turned_away(Reason::PerAddress), 0);
}

#[test]
fn when_nothing_is_inside_the_client_is_told_so() {
    let front = front(|settings| {
        settings.inner = std::os::unix::net::SocketAddr::from_pathname("/nowhere/at-all").unwrap();
    });
    let answer = front.tell(GET);
    assert_eq!(status(&answer), 503);
    assert_eq!(header(&answer, "retry-after"), Some("1"));
    assert!(body(&answer).contains("temporarily_unavailable"));
    front.counted(Reason::InnerUnavailable, 1);
}

/// An inside that greets as it should, and then answers every request with these bytes and closes if told to.
fn front_before(script: &'static [&'static str]) -> Front {
    front(|settings| {
        let path = settings.inner.as_pathname().unwrap().with_file_name("scripted");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        settings.inner = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let asked = asked.clone();
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    let _ = stream.read(&mut buffer).unwrap();
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                        let text = script[asked.fetch_add(1, Relaxed) % script.len()];
                        let _ = stream.write_all(text.trim_end_matches('!').as_bytes());
                        if text.ends_with('!') {
                            return;
                        }
                    }
                });
            }
        });
    })
}

#[test]
fn an_answer_that_has_no_certain_end_is_none() {
    for script in [
        &["HTTP/1.1 200 OK\r\n\r\nbody!"],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"],
        &["HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\na"],
        &["HTTP/1.1 100 Continue\r\n\r\n"],
        &["garbage\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\nContent-Len!"],
        &["!"],
    ] {
        let answer = front_before(script).tell(GET);
        assert_eq!((status(&answer), answers(&answer)), (503, 1), "{script:?}");
    }
    for script in
        [&["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"], &["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na!"]]
    {
        let text = front_before(script).tell(GET);
        assert!(!text.contains("ab"), "{script:?} {text}");
    }
}

#[test]
fn a_request_that_found_a_closed_connection_is_asked_again_once() {
    let front = front_before(&["!", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    let mut stream = front.connect();
    for _ in 0..3 {
        stream.write_all(GET.as_bytes()).unwrap();
        assert_eq!(body(&answer(&mut stream)), "ok");
    }
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let front = front(|settings| settings.deadlines.inner = SHORT);
    let answer = front.tell("GET /slow/2000 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status(&answer), 503);
}

#[test]
fn more_requests_than_fit_inside_are_told_to_come_back() {
    let front = front(|settings| {
        settings.capacity.inside = 4;
        settings.deadlines.queue = SHORT;
    });
    let mut busy: Vec<TcpStream> = (0..4).map(|_| front.connect()).collect();
    for stream in &mut busy {
        stream.write_all(b"GET /slow/500 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    eventually(|| front.inside.load(Relaxed) == 4);
    assert_eq!(status(&front.tell(GET)), 503);
    for stream in &mut busy {
        assert_eq!(body(&answer(stream)), "slow 500");
    }
    assert_eq!(status(&front.tell("GET /echo HTTP/1.0\r\n\r\n")), 200);
}

#[test]
fn requests_that_do_not_fit_inside_take_turns() {
    let front = front(|settings| settings.capacity.inside = 4);
    let mut streams: Vec<TcpStream> = (0..40).map(|_| front.connect()).collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        stream.write_all(format!("GET /slow/{} HTTP/1.1\r\nHost: a\r\n\r\n", 10 + n % 7).as_bytes()).unwrap();
    }
    // Some leave while they wait.
    streams.drain(20..25);
    for (n, stream) in streams.iter_mut().enumerate().take(20) {
        assert_eq!(body(&answer(stream)), format!("slow {}", 10 + n % 7));
        assert!(front.inside.load(Relaxed) <= 4);
    }
}

#[test]
fn what_fits_into_the_descriptors() {
    for (wanted, descriptors, connections, inside) in [
        (1024, 65536, 1024, 512),
        (1024, 1024, 418, 138),
        (100, 1024, 100, 100),
        (1024, 256, 34, 10),
        (1024, 0, 1, 1),
        (100_000, 1_000_000, 100_000, 512),
    ] {
        assert_eq!(Capacity::within(wanted, descriptors), Capacity { connections, inside });
    }
}

#[test]
fn stopping_lets_those_finish_who_have_begun() {
    let mut front = front(|_| ());
    let mut idle = front.connect();
    idle.write_all(GET.as_bytes()).unwrap();
    answer(&mut idle);
    let mut answered = front.connect();
    answered.write_all(b"GET /slow/300 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut begun = front.connect();
    begun.write_all(b"GET /echo HTTP/1.1\r\nHost").unwrap();
    eventually(|| front.inside.load(Relaxed) == 1 && front.counters.open() == 3);
    let door = front.door.take().unwrap();
    let stopping = thread::spawn(move || door.stop(LONG));
    assert_eq!(rest(&mut idle), "");
    begun.write_all(b": a\r\n\r\n").unwrap();
    let last = rest(&mut begun);
    assert_eq!((status(&last), header(&last, "connection")), (200, Some("close")));
    assert_eq!(body(&rest(&mut answered)), "slow 300");
    stopping.join().unwrap();
    assert_eq!(TcpStream::connect(front.address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn stopping_does_not_wait_longer_than_its_grace() {
    let mut front = front(|_| ());
    let mut stream = front.connect();
    stream.write_all(b"GET /slow/5000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually(|| front.inside.load(Relaxed) == 1);
    let began = Instant::now();
    front.door.take().unwrap().stop(SHORT);
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[test]
fn http_is_sent_to_https() {
    let front = front(|_| ());
    let mut stream = TcpStream::connect(front.redirect).unwrap();
    stream.write_all(b"GET /auth/signin?rd=%2F HTTP/1.1\r\nHost: evil\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    assert_eq!(status(&answer), 308);
    assert_eq!(header(&answer, "location"), Some("https://auth.example.org/auth/signin?rd=%2F"));
}

/// A generator of numbers that differ by seed and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// Whatever comes: one answer for each request that was let in, at most one refusal, which is the last, and an end.
#[test]
fn random_and_mutated_bytes_get_at_most_one_refusal() {
    let front = front(|settings| {
        settings.deadlines.request = Duration::from_millis(50);
        settings.deadlines.idle = Duration::from_millis(50);
        settings.deadlines.linger = SHORT;
    });
    thread::scope(|scope| {
        for seed in 1..=8 {
            let front = &front;
            scope.spawn(move || {
                let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ seed);
                for _ in 0..150 {
                    let mut bytes =
                        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX: y\r\n\r\nhello".to_vec();
                    if dice.roll(4) == 0 {
                        bytes = (0..dice.roll(200)).map(|_| dice.roll(256) as u8).collect();
                    }
                    for _ in 0..dice.roll(4) {
                        let at = dice.roll(bytes.len().max(1)).min(bytes.len());
                        match dice.roll(3) {
                            0 if at < bytes.len() => drop(bytes.remove(at)),
                            1 if at < bytes.len() => bytes[at] = dice.roll(256) as u8,
                            _ => bytes.insert(at, b"\r\n\0 :,;\t\x7f\xff0"[dice.roll(11)]),
                        }
                    }
                    let mut stream = front.connect();
                    stream.write_all(&bytes).unwrap();
                    let mut text = Vec::new();
                    stream.read_to_end(&mut text).unwrap();
                    let text = String::from_utf8_lossy(&text);
                    let refusals = text.matches("{\"error\":").count();
                    let accepted = text.matches("HTTP/1.1 200 OK").count();
                    assert!(
                        refusals <= 1 && accepted <= 1 && answers(&text) == refusals + accepted,
                        "{bytes:?}\n{text}"
                    );
                    assert!(refusals == 0 || text.ends_with("\"}"), "{text}");
                }
            });
        }
    });
    eventually(|| front.counters.open() == 0);
    assert_eq!(status(&front.tell("GET /echo HTTP/1.0\r\n\r\n")), 200);
}

mod tls {
    use super::*;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    fn write_pair(files: &TlsFiles, name: &str) -> CertificateDer<'static> {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(&files.certificate, pair.cert.pem()).unwrap();
        std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
        pair.cert.der().clone()
    }

    fn files(front: &std::path::Path) -> TlsFiles {
        TlsFiles { certificate: front.with_file_name("cert.pem"), key: front.with_file_name("key.pem") }
    }

    fn tls_front(change: impl FnOnce(&mut Settings)) -> (Front, TlsFiles, CertificateDer<'static>) {
        let mut made = None;
        let front = front(|settings| {
            let files = files(settings.inner.as_pathname().unwrap());
            made = Some((files.clone(), write_pair(&files, "localhost")));
            settings.tls = Some(files);
            change(settings);
        });
        let (files, certificate) = made.unwrap();
        (front, files, certificate)
    }

    fn connect(
        front: &Front,
        root: &CertificateDer<'static>,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), front.connect())
    }

    const BOTH: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

    #[test]
    fn both_versions_are_spoken() {
        let (front, _, root) = tls_front(|_| ());
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let mut stream = connect(&front, &root, &[version]);
            for _ in 0..3 {
                stream.write_all(GET.as_bytes()).unwrap();
                let answer = answer(&mut stream);
                assert_eq!(status(&answer), 200);
                assert!(body(&answer).contains("X-Hallpass-Peer: 127.0.0.1\n"), "{answer}");
                assert_eq!(header(&answer, "strict-transport-security"), Some("max-age=31536000"));
            }
            assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(stream.conn.protocol_version(), Some(version.version));
        }
    }

    #[test]
    fn big_answers_and_pipelining_and_refusals() {
        let (front, _, root) = tls_front(|settings| settings.deadlines.linger = SHORT);
        let mut stream = connect(&front, &root, BOTH);
        stream.write_all(b"GET /big/3000000 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream.write_all(GET.repeat(20).as_bytes()).unwrap();
        assert_eq!(body(&answer(&mut stream)).len(), 3_000_000);
        for _ in 0..20 {
            assert!(body(&answer(&mut stream)).starts_with("GET /echo\n"));
        }
        stream.write_all(b"GET /echo HTTP/1.1\r\n\r\n").unwrap();
        let answer = rest(&mut stream);
        assert_eq!((status(&answer), answers(&answer)), (400, 1));
    }

    #[test]
    fn a_body_in_many_records() {
        let (front, _, root) = tls_front(|_| ());
        let mut stream = connect(&front, &root, BOTH);
        for piece in b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123456789".chunks(7) {
            stream.write_all(piece).unwrap();
            stream.flush().unwrap();
            thread::sleep(Duration::from_millis(2));
        }
        assert!(answer(&mut stream).ends_with("\n123456789"));
    }

    #[test]
    fn a_handshake_that_stops_half_way_is_closed() {
        let (front, _, _) = tls_front(|settings| settings.deadlines.request = SHORT);
        let mut stream = front.connect();
        stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
        assert_eq!(rest(&mut stream), "");
        front.counted(Reason::Tls, 1);
        // Plain HTTP is no handshake at all.
        let mut stream = front.connect();
        stream.write_all(GET.as_bytes()).unwrap();
        let mut alert = Vec::new();
        let _ = stream.read_to_end(&mut alert);
        front.counted(Reason::Tls, 2);
    }

    #[test]
    fn a_new_certificate_is_served_and_a_broken_one_is_not() {
        let (front, files, old) = tls_front(|_| ());
        let door = front.door.as_ref().unwrap();
        let mut before = connect(&front, &old, BOTH);
        before.write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&answer(&mut before)), 200);

        std::fs::write(&files.key, "no key").unwrap();
        assert!(door.reload_tls().is_err());
        let mut still = connect(&front, &old, BOTH);
        still.write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&answer(&mut still)), 200);

        // A key of another certificate.
        let other = files.certificate.with_file_name("other.pem");
        write_pair(&TlsFiles { certificate: other, key: files.key.clone() }, "localhost");
        assert!(door.reload_tls().is_err());

        let new = write_pair(&files, "localhost");
        door.reload_tls().unwrap();
        let mut after = connect(&front, &new, BOTH);
        after.write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&answer(&mut after)), 200);
        // Who came before keeps the old one.
        before.write_all(GET.as_bytes()).unwrap();
        assert_eq!(status(&answer(&mut before)), 200);
    }

    #[test]
    fn changed_files_are_seen() {
        let (front, files, _) = tls_front(|_| ());
        let new = write_pair(&files, "localhost");
        eventually(|| {
            let mut stream = connect(&front, &new, BOTH);
            stream.write_all(GET.as_bytes()).is_ok()
        });
    }
}
