//! The door: the only part that faces the network.
//!
//! It accepts TCP, with or without TLS, and Unix sockets, and lets one whole, well-formed, bounded request at a time
//! through to tiny_http on a private Unix socket. tiny_http, which has a thread per connection and no limits, never meets
//! a client that is slow, endless or malformed. One thread does it all, on non-blocking sockets:
//!
//! ```text
//! client -> transport -> head (one meaning, or a refusal) -> inside (few connections to tiny_http)
//!        <-           <- answer (its length, or nothing)  <-      or fast_path (takes no waiting)
//! ```
//!
//! Invariants: a client is answered by at most one inner connection, and an inner connection answers at most one client;
//! one whose answer is not exactly as long as it says is closed, never given to another client. A client is read only
//! while it owes a request.

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
mod request_head;
mod request_target;
mod request_body;
mod upstream;
mod upstream_request;
mod response_head;
mod reject;
mod counters;

use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

pub use certificate::TlsFiles;
pub use counters::Counters;
pub use fast_path::FastPath;
pub use reject::Reason;
pub use request_body::{BODY_BYTES_MAX, CHUNKED_BYTES_MAX, RequestBody};
pub use request_head::{HEAD_BYTES_MAX, HEADERS_MAX, Head, HeaderPolicy, parse_request};
pub use upstream_request::{PEER_HEADER, write as write_upstream_request};

/// The most requests inside at a time. A sign-in may wait for Google for seconds, and checks must not wait for it.
const UPSTREAM_REQUESTS_MAX: usize = 512;
/// Descriptors of one inner connection: the door's end, and tiny_http's, which it duplicates.
const UPSTREAM_DESCRIPTORS: usize = 3;
/// Descriptors left to the rest of the process: SQLite, the log, exchanges with Google, listeners.
const OTHER_DESCRIPTORS: usize = 192;

/// How long a connection stays open between two requests, unless the settings say otherwise. Load balancers keep theirs
/// for 60 seconds, and must not send a request on one that is being closed here.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What a door needs to know.
pub struct Settings {
    /// Where clients come from.
    pub listeners: Vec<Listener>,
    /// Where tiny_http listens.
    pub upstream: SocketAddr,
    /// The certificate for listeners of [`Service::Tls`].
    pub tls: Option<TlsFiles>,
    /// How many clients, and how many of their requests inside.
    pub capacity: Capacity,
    /// The most connections of one address: an IPv4 address or a /64, of IPv6 twice as many a /56 and four times a /48.
    pub connections_per_address_max: usize,
    /// The addresses that this limit does not bind: trusted proxies.
    pub unlimited: Box<dyn Fn(IpAddr) -> bool + Send>,
    /// The only headers that go inside, in any case of letters; all if `None`. tiny_http reads byte by byte: what nobody
    /// inside asks for is better left outside.
    pub headers: Option<&'static [&'static str]>,
    /// Answers what need not go inside.
    pub fast_path: FastPath,
    /// How long everything may take.
    pub deadlines: Deadlines,
}

/// A bound socket and what is served on it.
pub struct Listener {
    /// Bound, and listening.
    pub socket: Socket,
    /// What is served on it.
    pub service: Service,
}

/// Where clients come from.
#[derive(Debug)]
pub enum Socket {
    /// The network.
    Tcp(TcpListener),
    /// This host: a proxy of the operator's.
    Unix(UnixListener),
}

/// What is served on a listener.
#[derive(Clone, Debug)]
pub enum Service {
    /// HTTP.
    Plain,
    /// HTTPS.
    Tls,
    /// A redirect to this public URL, which has no slash at its end.
    RedirectTo(String),
}

/// How long everything may take.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// A whole request from its first byte; the first from the accept, TLS handshake included.
    pub request: Duration,
    /// Between two requests: the keep-alive time.
    pub idle: Duration,
    /// A whole request waits for its turn to go inside.
    pub queue: Duration,
    /// The beginning of an answer from inside.
    pub upstream: Duration,
    /// The client takes an answer, from its beginning.
    pub answer: Duration,
    /// A client that was told the last word reads it and closes.
    pub linger: Duration,
}

impl Deadlines {
    fn shortest(&self) -> Duration {
        let Deadlines { request, idle, queue, upstream, answer, linger } = *self;
        request.min(idle).min(queue).min(upstream).min(answer).min(linger)
    }
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines {
            request: Duration::from_secs(10),
            idle: KEEP_ALIVE,
            queue: Duration::from_secs(2),
            upstream: Duration::from_secs(60),
            answer: Duration::from_secs(10),
            linger: Duration::from_secs(2),
        }
    }
}

/// A running door.
pub struct Door {
    orders: mpsc::Sender<event_loop::Order>,
    waker: Arc<mio::Waker>,
    thread: JoinHandle<()>,
    counters: Arc<Counters>,
    tls: Option<Arc<certificate::Certificate>>,
}

impl Door {
    /// Opens the door: reads the certificate, and starts the thread.
    pub fn start(settings: Settings) -> io::Result<Door> {
        let tls =
            settings.tls.clone().map(certificate::Certificate::load).transpose()?.map(Arc::new);
        let counters = Arc::new(Counters::default());
        let (orders, received) = mpsc::channel();
        let mut event_loop =
            event_loop::EventLoop::new(settings, tls.clone(), counters.clone(), received)?;
        let waker = event_loop.waker()?;
        let thread =
            std::thread::Builder::new().name("door".to_owned()).spawn(move || event_loop.run())?;
        Ok(Door { orders, waker, thread, counters, tls })
    }

    /// What the door has counted so far.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Reads the certificate again. If the files are of no use, the one in use stays; open connections keep theirs.
    pub fn reload_tls(&self) -> io::Result<()> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.reload())
    }

    /// Accepts nobody any more, lets those who are being answered or have request_started a request finish within `grace`, and
    /// returns when all are gone.
    pub fn stop(self, grace: Duration) {
        // If the thread is gone, there is nobody left to tell.
        let _ = self.orders.send(event_loop::Order::Stop(grace));
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
    /// Requests inside at a time. Those that may take long must be fewer, or the others wait for them.
    pub upstream_requests: usize,
}

impl Capacity {
    /// What fits if at most `connections_max` clients are wanted and `descriptors` is the soft limit.
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
