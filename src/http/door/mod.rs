//! The door: the only part that faces the network.
//!
//! It accepts TCP, with or without TLS, and Unix sockets. From each connection it reads one
//! complete, well-formed and bounded request at a time, answers it from the session cache if
//! possible, and otherwise relays it to tiny_http over a private Unix socket. tiny_http, which has
//! one thread per connection and no limits, never sees slow, endless or malformed requests.
//!
//! ```text
//! client -> transport -> request_head -> fast_path (known sessions)
//!        <-           <- response_head   or upstream (a few connections to tiny_http)
//! ```
//!
//! Invariants:
//! - One thread does everything, on non-blocking sockets, and nothing on it may block.
//! - An upstream connection serves at most one client at a time. It is closed, never reused, if its
//!   response is not exactly as long as announced.
//! - A connection is read only while a request is expected from it.

mod event_loop;
mod listener;
mod proxy;
mod fast_path;
mod close;
mod connection;
mod transport;
mod certificate;
mod certificate_der;
mod handshakes;
mod eviction;
mod limits;
mod request_head;
mod request_target;
mod request_body;
mod upstream;
mod upstream_request;
mod response_head;
mod reject;
mod counters;
mod heartbeat;

use std::io;
use std::net::IpAddr;
use std::os::unix::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Request, Sockets};
use certificate::Certificate;
use event_loop::EventLoop;

pub use certificate::TlsFiles;
pub use counters::Counters;
pub use fast_path::FastPath;
pub use heartbeat::Heartbeat;
pub use limits::{BODY_BYTES_MAX, CHUNKED_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};
pub use reject::Reason;
pub use request_body::RequestBody;
pub use request_head::{Head, HeaderPolicy, parse_request};
pub use upstream_request::{PEER_HEADER, write as write_upstream_request};

/// The most requests at tiny_http at once. A sign-in may wait seconds for Google, and checks must
/// not wait for it.
const UPSTREAM_REQUESTS_MAX: usize = 512;
/// Descriptors per upstream connection: the door's end, and tiny_http's, which it duplicates.
const UPSTREAM_DESCRIPTORS: usize = 3;
/// Descriptors left to the rest of the process: SQLite, the log, calls to Google, listeners.
const OTHER_DESCRIPTORS: usize = 192;

/// The default time that a connection stays open between two requests. Load balancers keep theirs
/// for 60 seconds, and must not send a request on a connection that is being closed here.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Everything the door needs to start.
pub struct Settings {
    /// Bound sockets. TCP sockets speak HTTPS if `tls` is set.
    pub sockets: Sockets,
    /// Where tiny_http listens.
    pub upstream: SocketAddr,
    /// The certificate and its key.
    pub tls: Option<TlsFiles>,
    /// How many connections and upstream requests fit.
    pub capacity: Capacity,
    /// The most connections from an IPv4 address or an IPv6 /64. A /56 may have twice as many, a
    /// /48 four times.
    pub connections_per_address_max: usize,
    /// Addresses exempt from this limit: trusted proxies.
    pub unlimited: Box<dyn Fn(IpAddr) -> bool + Send>,
    /// The only headers that are passed on, in any case of letters; all if `None`. tiny_http reads
    /// byte by byte, so headers that nobody reads would only cost time.
    pub headers: Option<&'static [&'static str]>,
    /// Removes other parts that nobody reads from requests, before they go to tiny_http.
    pub trim: Box<dyn Fn(&mut Request) + Send>,
    /// Answers requests without tiny_http where it can.
    pub fast_path: FastPath,
    /// The deadlines.
    pub deadlines: Deadlines,
}

/// The deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// A whole request, from its first byte. The first one counts from the accept, TLS handshake
    /// included.
    pub request: Duration,
    /// The pause between two requests.
    pub idle: Duration,
    /// How long a whole request may wait for an upstream connection.
    pub queue: Duration,
    /// Until tiny_http starts to respond.
    pub upstream: Duration,
    /// Until the client has taken the whole response.
    pub response: Duration,
    /// How long a client may take to read the last response and close.
    pub linger: Duration,
}

impl Deadlines {
    fn shortest(&self) -> Duration {
        let Deadlines { request, idle, queue, upstream, response, linger } = *self;
        request.min(idle).min(queue).min(upstream).min(response).min(linger)
    }
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            request: Duration::from_secs(10),
            idle: KEEP_ALIVE,
            queue: Duration::from_secs(2),
            upstream: Duration::from_secs(60),
            response: Duration::from_secs(10),
            linger: Duration::from_secs(2),
        }
    }
}

/// A running door.
pub struct Door {
    stop: mpsc::Sender<Duration>,
    waker: Arc<mio::Waker>,
    thread: JoinHandle<()>,
    counters: Arc<Counters>,
    certificate: Option<Arc<Certificate>>,
}

impl Door {
    /// Loads the certificate and starts the thread.
    pub fn start(settings: Settings) -> io::Result<Door> {
        let certificate = settings.tls.clone().map(Certificate::load).transpose()?;
        let counters = Arc::new(Counters::default());
        let (stop, stop_requests) = mpsc::channel();
        let mut event_loop =
            EventLoop::new(settings, certificate.clone(), counters.clone(), stop_requests)?;
        let waker = event_loop.waker()?;
        let thread = thread::Builder::new().name("door".into()).spawn(move || event_loop.run())?;
        Ok(Door { stop, waker, thread, counters, certificate })
    }

    /// Counts since the start.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Watches the event loop.
    pub fn heartbeat(&self) -> Heartbeat {
        Heartbeat { waker: self.waker.clone(), counters: self.counters.clone(), turns: 0 }
    }

    /// Reads the certificate again. If that fails, the old one stays in use. Open connections keep
    /// theirs either way.
    pub fn reload_tls(&self) -> io::Result<()> {
        self.certificate.as_ref().map_or(Ok(()), |certificate| certificate.reload())
    }

    /// Stops accepting, closes idle connections, and returns when the requests under way are
    /// answered, or after `grace`.
    pub fn stop(self, grace: Duration) {
        // Both fail only if the thread has ended.
        let _ = self.stop.send(grace);
        let _ = self.waker.wake();
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// How much fits into a process's file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Connections of clients.
    pub connections: usize,
    /// Requests at tiny_http at once. Those that may block must be fewer, or checks wait for them.
    pub upstream_requests: usize,
}

impl Capacity {
    /// What fits if at most `connections_max` connections are wanted and `descriptors` is the soft
    /// limit.
    pub fn within(connections_max: usize, descriptors: usize) -> Capacity {
        let spare = descriptors.saturating_sub(OTHER_DESCRIPTORS);
        let upstream_requests =
            (spare / 2 / UPSTREAM_DESCRIPTORS).min(connections_max).clamp(1, UPSTREAM_REQUESTS_MAX);
        let connections = connections_max
            .min(spare.saturating_sub(upstream_requests * UPSTREAM_DESCRIPTORS))
            .max(1);
        Capacity { connections, upstream_requests }
    }
}
