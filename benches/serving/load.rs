//! Clients on blocking sockets, one thread each, that parse no more of an answer than they need to
//! find its end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::tls::{Certificate, TlsStream};

/// The beginning of every run does not count: connections, caches and branch predictors warm up.
const WARM_UP: Duration = Duration::from_millis(500);
/// Longer than any answer; a page of users has some 20 KiB.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const STACK_BYTES: usize = 256 * 1024;

/// Makes the bytes of a request from its number, which is never repeated.
pub type Request<'a> = &'a (dyn Fn(u64) -> Vec<u8> + Sync);

/// How a client connects.
#[derive(Clone, Copy)]
pub enum Connections<'a> {
    Kept,
    /// Kept open, over TLS.
    Tls(&'a Certificate),
    /// A new one for each request; the server closes it, as with HTTP/1.0.
    New,
}

/// The result of a run.
#[derive(Default)]
pub struct Outcome {
    /// Answers with 200 a second, after the warm-up.
    pub per_second: f64,
    /// All answers with 200, those of the warm-up included.
    pub answered: u64,
    /// Answers other than 200.
    pub failed: u64,
    /// The length of the whole run.
    pub seconds: f64,
}

static NUMBER: AtomicU64 = AtomicU64::new(0);

fn next(request: Request) -> Vec<u8> {
    request(NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// Runs clients that each send the next request when the last one is answered.
pub fn closed_loop(
    server: SocketAddr,
    clients: usize,
    connections: Connections,
    run: Duration,
    request: Request,
) -> Outcome {
    let open = |_| match connections {
        Connections::Tls(certificate) => Connection::open_tls_served(server, certificate),
        Connections::Kept | Connections::New => Connection::open_served(server),
    };
    let opened: Vec<_> = (0..clients).map(open).collect();
    let begin = Instant::now();
    let (from, until) = (begin + WARM_UP, begin + WARM_UP + run);
    let client = |mut connection: Connection| {
        let (mut early, mut counted, mut failed) = (0, 0, 0);
        loop {
            let status = connection.exchange(&next(request));
            let now = Instant::now();
            match status {
                _ if now >= until => return (early, counted, failed),
                200 if now < from => early += 1,
                200 => counted += 1,
                _ => failed += 1,
            }
            if matches!(connections, Connections::New) {
                connection.wait_for_end();
                connection = Connection::open(server);
            }
        }
    };
    let counts = in_parallel(opened, client);
    let sum = |count: fn(&(u64, u64, u64)) -> u64| counts.iter().map(count).sum::<u64>();
    Outcome {
        per_second: sum(|(_, counted, _)| *counted) as f64 / run.as_secs_f64(),
        answered: sum(|(early, counted, _)| early + counted),
        failed: sum(|(_, _, failed)| *failed),
        seconds: begin.elapsed().as_secs_f64(),
    }
}

/// Sends requests at a fixed rate, whether or not earlier ones were answered, and returns how long
/// each took. Time that a request waits for the answer before it counts; a late wake-up of this
/// program does not.
pub fn open_loop(
    server: SocketAddr,
    per_second: u32,
    run: Duration,
    request: Request,
) -> Vec<Duration> {
    const CLIENTS: u32 = 16;
    let interval = Duration::from_secs(1) * CLIENTS / per_second;
    let opened: Vec<_> =
        (0..CLIENTS).map(|number| (number, Connection::open_served(server))).collect();
    let begin = Instant::now();
    let (from, until) = (begin + WARM_UP, begin + WARM_UP + run);
    let client = |(number, mut connection): (u32, Connection)| {
        let mut latencies = Vec::new();
        let mut due = begin + interval * number / CLIENTS;
        while due < until {
            let bytes = next(request);
            let wait = due.saturating_duration_since(Instant::now());
            let sent = if wait.is_zero() {
                due
            } else {
                thread::sleep(wait);
                Instant::now()
            };
            assert_eq!(connection.exchange(&bytes), 200, "every answer must be 200");
            if due >= from {
                latencies.push(sent.elapsed());
            }
            due += interval;
        }
        latencies
    };
    in_parallel(opened, client).concat()
}

/// Runs each client in a thread of its own.
fn in_parallel<C: Send, T: Send>(clients: Vec<C>, run: impl Fn(C) -> T + Sync) -> Vec<T> {
    let run = &run;
    thread::scope(|scope| {
        let start = |client| {
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, move || run(client)).expect("a thread can be started")
        };
        let threads: Vec<_> = clients.into_iter().map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the client does not panic"))
            .collect()
    })
}

pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
}

impl Connection {
    pub fn open(server: SocketAddr) -> Connection {
        let stream = TcpStream::connect(server).expect("the server accepts a connection");
        stream.set_nodelay(true).expect("the socket is open");
        Connection { stream: Stream::Plain(stream), buffer: vec![0; ANSWER_BYTES_MAX] }
    }

    /// Connects and waits for a first answer. tiny_http gives each connection a thread, but if many
    /// arrive at once, some get none until others end. One at a time, all are served.
    pub fn open_served(server: SocketAddr) -> Connection {
        Connection::open(server).served()
    }

    /// Like `open_served`, over TLS.
    pub fn open_tls_served(server: SocketAddr, certificate: &Certificate) -> Connection {
        let mut connection = Connection::open(server);
        if let Stream::Plain(stream) = connection.stream {
            connection.stream = Stream::Tls(Box::new(certificate.wrap(stream)));
        }
        connection.served()
    }

    fn served(mut self) -> Connection {
        let status = self.exchange(
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Hallpass-Peer: 127.0.0.1\r\n\r\n",
        );
        assert_eq!(status, 200, "/healthz must answer 200");
        self
    }

    /// Sends a request without waiting for the answer.
    pub fn send(&mut self, request: &[u8]) {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(request),
            Stream::Tls(stream) => stream.write_all(request),
        }
        .expect("the server reads");
    }

    /// Sends a request, reads the whole answer and returns its status.
    pub fn exchange(&mut self, request: &[u8]) -> u16 {
        self.send(request);
        let mut filled = 0;
        loop {
            let read = self.read(filled).expect("the server answers");
            assert_ne!(read, 0, "the server closed early, or the answer is too long");
            filled += read;
            if let Some((status, length)) = status_and_length(&self.buffer[..filled])
                && filled >= length
            {
                return status;
            }
        }
    }

    fn read(&mut self, from: usize) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.read(&mut self.buffer[from..]),
            Stream::Tls(stream) => stream.read(&mut self.buffer[from..]),
        }
    }

    fn wait_for_end(&mut self) {
        match self.read(0) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("expected the end of the connection, got {other:?}"),
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// The status and the length of the whole answer, or `None` while the head is incomplete.
fn status_and_length(answer: &[u8]) -> Option<(u16, usize)> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).expect("a head is ASCII");
    let status = text
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .expect("an answer starts with its status");
    let length = text
        .rsplit_once("Content-Length: ")
        .map_or("0", |(_, rest)| rest.split('\r').next().unwrap_or("0"));
    Some((status, head + 4 + length.parse::<usize>().expect("a length is a number")))
}
