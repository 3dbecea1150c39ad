//! tiny_http 0.12 has two advisories without a fixed release. Neither is reachable through the
//! door.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hallpass::http::{Handler, Limits, Request, Response, Service, Sockets};

use crate::program::PATIENCE;

/// Records requests, and responds with a header value that tiny_http would not escape.
#[derive(Default)]
struct Recorder(Mutex<Vec<Request>>);

const VALUE: &str = "a\r\nX-Injected: 1\r\n\r\nHTTP/1.1 200 OK\n\0\t\u{7f}\u{fc}%0d";
const SENT: &str = "a%0D%0AX-Injected: 1%0D%0A%0D%0AHTTP/1.1 200 OK%0A%00%09%7F%C3%BC%0d";

impl Handler for Recorder {
    fn handle(&self, request: &Request, _now: i64) -> Response {
        self.0.lock().unwrap().push(request.clone());
        Response::empty(200).with("X-Value", VALUE)
    }

    fn reject_busy(&self, _request: &Request) -> Response {
        Response::empty(503)
    }

    fn fast_path(&self, request: &Request, now: i64) -> Option<Response> {
        (request.target == "/fast").then(|| self.handle(request, now))
    }
}

struct TestService {
    address: SocketAddr,
    recorder: Arc<Recorder>,
    service: Option<Service>,
}

impl TestService {
    fn start() -> TestService {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let sockets = Sockets { tcp: vec![socket], ..Sockets::default() };
        let limits = Limits {
            connections_max: 10,
            descriptors: 1024,
            unlimited: Box::new(|_| true),
            keep_alive: Duration::from_secs(60),
        };
        let recorder = Arc::new(Recorder::default());
        let handler: Arc<dyn Handler> = recorder.clone();
        let service = Service::start(sockets, None, limits, &handler).unwrap();
        TestService { address, recorder, service: Some(service) }
    }

    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn received(&self) -> Vec<Request> {
        std::mem::take(&mut self.recorder.0.lock().unwrap())
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            service.stop(Instant::now() + PATIENCE);
        }
    }
}

/// tiny_http decodes every Transfer-Encoding as chunked. None reaches it: the door decodes chunks,
/// relays the body with a length, and rejects all other codings.
#[test]
fn cve_2026_66752() {
    let service = TestService::start();
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let rest = "\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = service.send(&format!("{head}Transfer-Encoding: chunked\r\n{rest}"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let requests = service.received();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].body, b"abc");
    assert_eq!(requests[0].header("Transfer-Encoding"), None);
    for value in [
        "identity",
        "xchunked",
        "chunked, identity",
        "gzip, chunked",
        "chunked, chunked",
        "chunked,",
        "chunked;q=1",
        "\"chunked\"",
        "",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nContent-Length: 3",
    ] {
        let answer = service.send(&format!("{head}Transfer-Encoding: {value}\r\n{rest}"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{value}: {answer}");
        assert_eq!(service.received().len(), 0, "{value}");
    }
    let answer =
        service.send(&format!("{head}Transfer_Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(service.received()[0].body, b"abc");
}

/// tiny_http accepts CR and LF in header values of requests and responses. The door rejects them in
/// requests, and values in responses are percent-encoded.
#[test]
fn cve_2026_66753() {
    let service = TestService::start();
    for value in ["a\rX: 1", "a\nX: 1", "a\r", "a\n b", "a\0b"] {
        let answer =
            service.send(&format!("GET /a HTTP/1.1\r\nHost: a\r\nCookie: {value}\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{value:?}: {answer}");
        assert_eq!(service.received().len(), 0, "{value:?}");
    }
    for target in ["/a", "/fast"] {
        let answer = service.send(&format!("GET {target} HTTP/1.0\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(body, "");
        let values: Vec<_> =
            head.lines().filter_map(|line| line.strip_prefix("X-Value: ")).collect();
        assert_eq!(values, [SENT]);
        assert!(!head.contains("\nX-Injected"), "{head}");
    }
}
