//! The HTTP server: turns tiny_http's requests into plain values, and has a thread answer each.
//!
//! A few threads answer requests that do not block. Requests that may block (they have a body,
//! write, or need Google) get a thread of their own, up to a limit, so no check waits for a
//! sign-in. Clients never reach tiny_http directly: the door is in front of it.

use std::io::{self, Read};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::door::{BODY_BYTES_MAX, FastPath, PEER_HEADER};
use super::message::{Request, Response, SERVER};
use crate::{clock, logging};

/// Threads for requests that do not block.
const QUICK_THREADS: usize = 4;
/// The most blocking requests at once, unless the handler says otherwise.
const BLOCKING_MAX: usize = 64;
/// The most requests at once that only wait for a read from another machine. They are counted
/// apart, so no check is refused because sign-ins wait.
const READING_MAX: usize = 128;
/// The stack of a thread; nothing recurses.
const STACK_BYTES: usize = 256 * 1024;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The response to a request at that time (unix seconds).
    fn handle(&self, request: &Request, now: i64) -> Response;

    /// The response if too many requests are blocking.
    fn reject_busy(&self, request: &Request) -> Response;

    /// Whether a request without a body may block, too.
    fn may_block(&self, _request: &Request, _now: i64) -> bool {
        false
    }

    /// Whether a request that does not block otherwise may wait for a read from another machine.
    fn may_wait_to_read(&self, _request: &Request) -> bool {
        false
    }

    /// The response, if it is known without blocking: no disk, no other thread.
    fn fast_path(&self, _request: &Request, _now: i64) -> Option<Response> {
        None
    }

    /// Removes what will not be read from a request before it goes to tiny_http, which reads byte
    /// by byte. The response stays the same.
    fn trim(&self, _request: &mut Request) {}

    /// The most blocking requests at once.
    fn max_blocking(&self) -> usize {
        BLOCKING_MAX
    }
}

/// A running server. Stop it with [`Server::stop`].
pub struct Server {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    http: tiny_http::Server,
    handler: Arc<dyn Handler>,
    blocking_max: usize,
    stopping: AtomicBool,
    blocking: Arc<AtomicUsize>,
    reading: Arc<AtomicUsize>,
}

impl Server {
    /// Starts serving on a socket, with at most `blocking_max` blocking requests at once.
    ///
    /// # Errors
    /// If the socket has no address or no thread can be started.
    pub fn start(
        socket: impl Into<tiny_http::Listener>,
        handler: Arc<dyn Handler>,
        blocking_max: usize,
    ) -> io::Result<Server> {
        let http = tiny_http::Server::from_listener(socket, None).map_err(io::Error::other)?;
        let blocking_max = blocking_max.min(handler.max_blocking());
        let stopping = AtomicBool::new(false);
        let (blocking, reading) = Default::default();
        let shared = Shared { http, handler, blocking_max, stopping, blocking, reading };
        let shared = Arc::new(shared);
        let quick = |number| {
            let shared = shared.clone();
            thread::Builder::new()
                .name(format!("quick-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || shared.answer_until_stopped())
        };
        let threads = (0..QUICK_THREADS).map(quick).collect::<io::Result<_>>()?;
        Ok(Server { shared, threads })
    }

    /// Takes no new requests, and returns when those under way are answered, or at the deadline.
    pub fn stop(self, deadline: Instant) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.threads.iter().for_each(|_| self.shared.http.unblock());
        for thread in self.threads {
            // If it panicked, that is already logged.
            let _ = thread.join();
        }
        while let Ok(Some(request)) = self.shared.http.try_recv() {
            self.shared.dispatch(request);
        }
        let counts = [self.shared.blocking.clone(), self.shared.reading.clone()];
        drop(self.shared);
        let are_busy = || counts.iter().any(|count| count.load(Ordering::Acquire) > 0);
        while are_busy() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Shared {
    fn answer_until_stopped(&self) {
        while !self.stopping.load(Ordering::Relaxed) {
            match self.http.recv() {
                Ok(request) => self.dispatch(request),
                Err(_) if self.stopping.load(Ordering::Relaxed) => {}
                Err(error) => {
                    // tiny_http accepts no connections after this error, so a restart is the only
                    // remedy.
                    log::error!("tiny_http no longer accepts connections: {error}");
                    logging::flush();
                    process::exit(1);
                }
            }
        }
    }

    /// Answers the request on this thread, or on one of its own if it may block.
    fn dispatch(&self, received: tiny_http::Request) {
        let Some(request) = request_of_client(&received) else {
            return respond(received, Response::empty(204)); // A probe of the door.
        };
        let has_body = received.body_length().is_some_and(|length| length > 0);
        let permit = if has_body || self.handler.may_block(&request, clock::now()) {
            Permit::take(&self.blocking, self.blocking_max)
        } else if self.handler.may_wait_to_read(&request) {
            Permit::take(&self.reading, READING_MAX)
        } else {
            return answer(&*self.handler, received, &request);
        };
        let handler = self.handler.clone();
        let work = move |permit: Permit, received, request| {
            answer_with_body(&*handler, received, request);
            drop(permit);
        };
        let Some(permit) = permit else {
            return respond(received, self.handler.reject_busy(&request));
        };
        let thread = thread::Builder::new().name("blocking".into()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(move || work(permit, received, request)) {
            // The request was dropped with the closure, which makes tiny_http respond with 500.
            log::error!("cannot start a thread: {error}");
        }
    }
}

/// A permit for a blocking request.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Permit> {
        let permit = Permit(count.clone());
        (count.fetch_add(1, Ordering::AcqRel) < max).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The request without its body; `None` if it is a probe. Only requests of clients have the peer
/// header, which only the door can write.
fn request_of_client(received: &tiny_http::Request) -> Option<Request> {
    let peer = received.headers().iter().find(|header| header.field.equiv(PEER_HEADER))?;
    Some(Request {
        method: received.method().as_str().to_owned(),
        target: received.url().to_owned(),
        headers: received
            .headers()
            .iter()
            .map(|header| {
                (header.field.as_str().as_str().to_owned().into(), header.value.as_str().to_owned())
            })
            .collect(),
        body: Vec::new(),
        // Clients on a Unix socket have no address.
        peer: peer.value.as_str().parse().ok(),
    })
}

fn answer(handler: &dyn Handler, received: tiny_http::Request, request: &Request) {
    respond(received, handler.handle(request, clock::now()));
}

fn answer_with_body(handler: &dyn Handler, mut received: tiny_http::Request, mut request: Request) {
    let mut body = Vec::new();
    // The door has already limited the body and received all of it.
    if received.as_reader().take(BODY_BYTES_MAX as u64).read_to_end(&mut body).is_err() {
        return; // The door has stopped.
    }
    request.body = body;
    answer(handler, received, &request);
}

/// The handler's fast path, for the door.
pub fn fast_path(handler: Arc<dyn Handler>) -> FastPath {
    Box::new(move |request| handler.fast_path(request, clock::now()))
}

/// The handler's `trim`, for the door.
pub fn trim(handler: Arc<dyn Handler>) -> Box<dyn Fn(&mut Request) + Send> {
    Box::new(move |request| handler.trim(request))
}

fn respond(received: tiny_http::Request, response: Response) {
    // An error means that the door has closed the connection.
    let _ = received.respond(message_of(response));
}

fn message_of(response: Response) -> tiny_http::Response<io::Cursor<Vec<u8>>> {
    let server = ("Server", SERVER.into());
    let headers = response
        .headers
        .into_iter()
        .chain([server])
        .filter_map(|(name, value)| tiny_http::Header::from_bytes(name, value.into_owned()).ok())
        .collect();
    let length = response.body.len();
    let status = tiny_http::StatusCode(response.status);
    tiny_http::Response::new(status, headers, io::Cursor::new(response.body), Some(length), None)
}
