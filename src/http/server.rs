//! The HTTP server: tiny_http's requests become plain values, and each finds a thread.
//!
//! A few threads answer whatever is quick. What may take long (it has a body, writes, or needs Google) gets a thread of
//! its own, up to a bound, so that no check ever waits behind a sign-in. tiny_http never meets a client: the door stands
//! in front of it.

use std::io::{self, Read};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::door::{BODY_BYTES_MAX, FastPath, PEER_HEADER};
use super::message::{Request, Response, SERVER};
use crate::{clock, logging};

/// Threads for quick answers.
const QUICK_THREADS: usize = 4;
/// Blocking requests at once, unless the handler says otherwise.
const BLOCKING_MAX: usize = 64;
/// A thread's stack: nothing here recurses.
const STACK_BYTES: usize = 256 * 1024;

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The answer to a request that came at that time (unix seconds).
    fn handle(&self, request: &Request, now: i64) -> Response;

    /// The answer to a request for which there is no thread.
    fn reject_busy(&self, request: &Request) -> Response;

    /// Whether a request without a body may take long all the same.
    fn may_block(&self, _request: &Request, _now: i64) -> bool {
        false
    }

    /// The answer, if it takes no waiting for anything: not for the disk, and not for another thread.
    fn fast_path(&self, _request: &Request, _now: i64) -> Option<Response> {
        None
    }

    /// How many slow requests would like to be under way at once.
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
    slow_max: usize,
    stopping: AtomicBool,
    slow: Arc<AtomicUsize>,
}

impl Server {
    /// Starts answering on that socket, with at most `slow_max` slow requests under way.
    ///
    /// # Errors
    /// If the socket has no address or no thread can be started.
    pub fn start(
        socket: impl Into<tiny_http::Listener>,
        handler: Arc<dyn Handler>,
        slow_max: usize,
    ) -> io::Result<Server> {
        let http = tiny_http::Server::from_listener(socket, None).map_err(io::Error::other)?;
        let slow_max = slow_max.min(handler.max_blocking());
        let stopping = AtomicBool::new(false);
        let shared = Arc::new(Shared { http, handler, slow_max, stopping, slow: Arc::default() });
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

    /// Takes no new requests, and returns when those under way are answered, or after that time.
    pub fn stop(self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.threads.iter().for_each(|_| self.shared.http.unblock());
        for thread in self.threads {
            // A panic in it was shown already; what matters here is that it ended.
            let _ = thread.join();
        }
        while let Ok(Some(request)) = self.shared.http.try_recv() {
            self.shared.dispatch(request);
        }
        let slow = self.shared.slow.clone();
        drop(self.shared);
        while slow.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
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
                    // tiny_http accepts nothing after this; a supervisor can do better than a server that is deaf.
                    log::error!("cannot accept connections any more: {error}");
                    logging::flush();
                    process::exit(1);
                }
            }
        }
    }

    /// Answers here what is quick, and gives the rest a thread of its own.
    fn dispatch(&self, received: tiny_http::Request) {
        let Some(request) = plain(&received) else {
            return respond(received, Response::empty(204)); // The door itself, which tries a new connection.
        };
        let has_body = received.body_length().is_some_and(|length| length > 0);
        if !has_body && !self.handler.may_block(&request, clock::now()) {
            return answer(&*self.handler, received, &request);
        }
        let permit = Permit::take(&self.slow, self.slow_max);
        let handler = self.handler.clone();
        let work = move |permit: Permit, received, request| {
            answer_slowly(&*handler, received, request);
            drop(permit);
        };
        let Some(permit) = permit else {
            return respond(received, self.handler.reject_busy(&request));
        };
        let thread = thread::Builder::new().name("slow".into()).stack_size(STACK_BYTES);
        if let Err(error) = thread.spawn(move || work(permit, received, request)) {
            // The request went down with the closure, and tiny_http answered it with 500.
            log::error!("cannot start a thread: {error}");
        }
    }
}

/// A permit among the slow requests.
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

/// The request without its body; none if it comes from the door itself and not from a client. Only the door can write
/// its header: it takes away what clients send under that name.
fn plain(received: &tiny_http::Request) -> Option<Request> {
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
        // Whoever comes through a Unix socket has no address.
        peer: peer.value.as_str().parse().ok(),
    })
}

fn answer(handler: &dyn Handler, received: tiny_http::Request, request: &Request) {
    respond(received, handler.handle(request, clock::now()));
}

fn answer_slowly(handler: &dyn Handler, mut received: tiny_http::Request, mut request: Request) {
    let mut body = Vec::new();
    // The door has let in no longer one, and has read it to its end already.
    if received.as_reader().take(BODY_BYTES_MAX as u64).read_to_end(&mut body).is_err() {
        return; // The door is gone, and with it the client.
    }
    request.body = body;
    answer(handler, received, &request);
}

/// The handler's answers that take no waiting, for the door.
pub fn fast_path(handler: Arc<dyn Handler>) -> FastPath {
    Box::new(move |request| handler.fast_path(request, clock::now()))
}

fn respond(received: tiny_http::Request, response: Response) {
    // An error here means that the client left; nobody is left to tell.
    let _ = received.respond(message_of(response));
}

fn message_of(response: Response) -> tiny_http::Response<io::Cursor<Vec<u8>>> {
    let server = ("Server", SERVER.to_owned());
    let headers = response
        .headers
        .into_iter()
        .chain([server])
        .filter_map(|(name, value)| tiny_http::Header::from_bytes(name, value).ok())
        .collect();
    let length = response.body.len();
    let status = tiny_http::StatusCode(response.status);
    tiny_http::Response::new(status, headers, io::Cursor::new(response.body), Some(length), None)
}
