//! The connections to tiny_http: few, kept open, each serving at most one client at a time.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::response_head::{self, ConnectionOptions, InvalidResponse};

/// Idle connections that stay open for good; tiny_http keeps four threads anyway.
const KEPT_IDLE: usize = 4;
/// The most pipelined requests at once, so others never wait for more than these.
const PIPELINING_MAX: usize = KEPT_IDLE;
/// When other idle connections are closed, each with its thread in tiny_http.
const IDLE: Duration = Duration::from_secs(30);
/// How long tiny_http may take to respond to a probe.
const PROBE: Duration = Duration::from_secs(5);
/// Sent on a new connection before it is used. Without `X-Hallpass-Peer` it is not from a client,
/// and any response will do.
const PROBE_REQUEST: &[u8] =
    b"OPTIONS * HTTP/1.0\r\nHost: door\r\nConnection: keep-alive\r\nX-Hallpass-Probing: door\r\n\r\n";
/// The longest head of a response.
const RESPONSE_HEAD_BYTES_MAX: usize = 64 * 1024;

/// The phase of an upstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamState {
    /// New, waiting for the response to its probe.
    Probing,
    Idle,
    /// Serving the client connection with this key.
    Serving(usize),
    /// Its client has left; the response is read and discarded.
    Abandoned,
}

pub(super) struct Upstream {
    stream: UnixStream,
    pub(super) state: UpstreamState,
    /// The end of a probe, of an abandoned response, or of the idle time.
    pub(super) deadline: Instant,
    /// Whether there may be something to read.
    readable: bool,
    /// Whether tiny_http has closed its side: what can be read now is all.
    half_closed: bool,
    /// How many bytes of the request are written.
    pub(super) written: usize,
    /// Whether the request is pipelined; kept when it is abandoned.
    pipelines: bool,
    /// Whether the request is HEAD, whose response has no body.
    to_head: bool,
    responded: bool,
    /// The beginning of a response whose head is not complete.
    head: Vec<u8>,
    /// How many bytes of the body are missing, once the head is complete.
    body_bytes: Option<u64>,
}

impl Upstream {
    /// There is something to read; with `half_closed`, for the last time.
    pub(super) fn set_readable(&mut self, half_closed: bool) {
        self.readable = true;
        self.half_closed |= half_closed;
    }

    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether any byte of the response has arrived.
    pub(super) fn has_responded(&self) -> bool {
        self.responded
    }

    /// Whether the head of the response is complete.
    pub(super) fn has_head(&self) -> bool {
        self.body_bytes.is_some()
    }

    /// Writes the rest of `request`; true once all is written.
    pub(super) fn write(&mut self, request: &[u8]) -> io::Result<bool> {
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Reads what has arrived; 0 if nothing has.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, InvalidResponse> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(InvalidResponse),
                Ok(read) => {
                    self.readable = read == buffer.len() || self.half_closed;
                    self.responded = true;
                    // Bytes that nobody asked for must not become the response to the next request.
                    return if self.state == UpstreamState::Idle {
                        Err(InvalidResponse)
                    } else {
                        Ok(read)
                    };
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(0);
                }
                Err(_) => return Err(InvalidResponse),
            }
        }
    }

    /// Handles received bytes, and appends to `outbound` what the client gets; true once the
    /// response is complete.
    pub(super) fn receive(
        &mut self,
        received: &[u8],
        options: ConnectionOptions,
        outbound: &mut Vec<u8>,
    ) -> Result<bool, InvalidResponse> {
        let mut body = received;
        let mut missing = match self.body_bytes {
            Some(missing) => missing,
            None => {
                // A head usually arrives in one piece, and is parsed in place.
                let gathered = if self.head.is_empty() {
                    None
                } else {
                    self.head.extend_from_slice(received);
                    Some(std::mem::take(&mut self.head))
                };
                let bytes = gathered.as_deref().unwrap_or(received);
                let Some(head) = response_head::relay(bytes, self.to_head, options, outbound)?
                else {
                    if bytes.len() > RESPONSE_HEAD_BYTES_MAX {
                        return Err(InvalidResponse);
                    }
                    self.head = gathered.unwrap_or_else(|| received.to_vec());
                    return Ok(false);
                };
                let earlier_bytes = bytes.len() - received.len();
                body = &received[head.head_length - earlier_bytes..];
                self.body_bytes = Some(head.body_length);
                head.body_length
            }
        };
        // Bytes beyond the announced length would be taken for the next response.
        missing = missing.checked_sub(body.len() as u64).ok_or(InvalidResponse)?;
        self.body_bytes = Some(missing);
        outbound.extend_from_slice(body);
        Ok(missing == 0)
    }
}

/// All upstream connections, and the client connections that wait for one.
pub(super) struct Upstreams {
    address: SocketAddr,
    connections: Slab<Upstream>,
    /// The most connections, and so the most requests at once.
    limit: usize,
    /// The idle ones, the most recently used last.
    idle: Vec<usize>,
    probing: Option<usize>,
    waiting: VecDeque<usize>,
    /// Pipelined requests, served after all others.
    waiting_last: VecDeque<usize>,
}

impl Upstreams {
    pub(super) fn new(address: SocketAddr, limit: usize) -> Upstreams {
        let (waiting, waiting_last) = Default::default();
        Upstreams {
            address,
            connections: Slab::new(),
            limit,
            idle: Vec::new(),
            probing: None,
            waiting,
            waiting_last,
        }
    }

    pub(super) fn get(&mut self, key: usize) -> Option<&mut Upstream> {
        self.connections.get_mut(key)
    }

    /// Whether there is no deadline to watch.
    pub(super) fn is_quiet(&self) -> bool {
        self.idle.len() == self.connections.len() && self.idle.len() <= KEPT_IDLE
    }

    /// Queues a client connection, with `last` behind all others.
    pub(super) fn queue(&mut self, client: usize, last: bool) {
        if last { &mut self.waiting_last } else { &mut self.waiting }.push_back(client);
    }

    /// Queues a client connection before all others.
    pub(super) fn queue_first(&mut self, client: usize) {
        self.waiting.push_front(client);
    }

    /// The client connection to serve next.
    pub(super) fn first_waiting(&self) -> Option<usize> {
        let pipelining =
            || self.connections.iter().filter(|(_, upstream)| upstream.pipelines).count();
        match self.waiting.front() {
            Some(client) => Some(*client),
            None => self.waiting_last.front().copied().filter(|_| pipelining() < PIPELINING_MAX),
        }
    }

    /// Removes a client connection from the queues.
    pub(super) fn remove_waiting(&mut self, client: usize) {
        for queue in [&mut self.waiting, &mut self.waiting_last] {
            if queue.front() == Some(&client) {
                queue.pop_front();
            } else {
                queue.retain(|waiting| *waiting != client);
            }
        }
    }

    /// Assigns an idle connection to `client`.
    pub(super) fn take(&mut self, client: usize, pipelines: bool, to_head: bool) -> Option<usize> {
        let key = self.idle.pop()?;
        let upstream = &mut self.connections[key];
        upstream.state = UpstreamState::Serving(client);
        upstream.pipelines = pipelines;
        upstream.to_head = to_head;
        Some(key)
    }

    /// Opens another connection if there is room, and probes it.
    ///
    /// Only one at a time: tiny_http gives a new connection to a thread that it counts as idle, and
    /// counts it as idle until it wakes. Two new connections at once may go to the same thread. The
    /// second is then served only when the first closes, which here is never.
    pub(super) fn probe(
        &mut self,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
        now: Instant,
    ) -> io::Result<()> {
        if self.probing.is_some() || self.connections.len() >= self.limit {
            return Ok(());
        }
        let mut stream = UnixStream::connect_addr(&self.address)?;
        let slot = self.connections.vacant_entry();
        let key = slot.key();
        registry.register(&mut stream, token(key), Interest::READABLE)?;
        stream.write_all(PROBE_REQUEST)?;
        slot.insert(Upstream {
            stream,
            state: UpstreamState::Probing,
            deadline: now + PROBE,
            readable: false,
            half_closed: false,
            written: 0,
            pipelines: false,
            to_head: false,
            responded: false,
            head: Vec::new(),
            body_bytes: None,
        });
        self.probing = Some(key);
        Ok(())
    }

    /// The response is complete: the connection is idle again.
    pub(super) fn release(&mut self, key: usize, now: Instant) {
        let upstream = &mut self.connections[key];
        upstream.state = UpstreamState::Idle;
        upstream.deadline = now + IDLE;
        upstream.written = 0;
        upstream.pipelines = false;
        upstream.responded = false;
        upstream.body_bytes = None;
        self.idle.push(key);
        self.probing = self.probing.filter(|probing| *probing != key);
    }

    /// The client has left. The response is still read, until `deadline`, unless the request is not
    /// fully written.
    pub(super) fn abandon(&mut self, key: usize, request_bytes: usize, deadline: Instant) {
        let upstream = &mut self.connections[key];
        if upstream.written < request_bytes {
            self.remove(key);
        } else {
            upstream.state = UpstreamState::Abandoned;
            upstream.deadline = deadline;
        }
    }

    /// Removes a connection, which closes it.
    pub(super) fn remove(&mut self, key: usize) -> Option<Upstream> {
        self.idle.retain(|idle| *idle != key);
        self.probing = self.probing.filter(|probing| *probing != key);
        self.connections.try_remove(key)
    }

    /// Also waits for room to write.
    pub(super) fn register_writes(
        &mut self,
        key: usize,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        registry.reregister(
            &mut self.connections[key].stream,
            token,
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    /// Connections past their deadline. While a client is served, its own deadline counts.
    pub(super) fn overdue(&self, now: Instant) -> Vec<usize> {
        let surplus = self.idle.iter().take(self.idle.len().saturating_sub(KEPT_IDLE)).copied();
        let stuck = self.connections.iter().filter(|(_, upstream)| {
            matches!(upstream.state, UpstreamState::Probing | UpstreamState::Abandoned)
        });
        surplus
            .chain(stuck.map(|(key, _)| key))
            .filter(|key| self.connections[*key].deadline <= now)
            .collect()
    }
}
