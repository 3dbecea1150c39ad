//! The connections to tiny_http: few, kept open, and each with at most one client at a time.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::response_head::{self, ConnectionOptions, InvalidResponse};

/// Idle inner connections that stay open for good; tiny_http keeps four threads anyway.
const KEPT_IDLE: usize = 4;
/// Requests inside of clients that pipeline, so that those of others never wait for more than these.
const PIPELINING_MAX: usize = KEPT_IDLE;
/// After how long the others are closed, each with its thread.
const IDLE: Duration = Duration::from_secs(30);
/// How long a new inner connection may take to answer its probing.
const PROBE: Duration = Duration::from_secs(5);
/// Asked on a new connection before it is used. It has no `X-Hallpass-Peer`, so it is not from a client, and any answer
/// will do.
const PROBE_REQUEST: &[u8] =
    b"OPTIONS * HTTP/1.0\r\nHost: door\r\nConnection: keep-alive\r\nX-Hallpass-Probing: door\r\n\r\n";
/// The longest head of an answer.
const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;

/// What an inner connection is for at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamState {
    /// It is being greeted.
    Probing,
    /// It is free.
    Idle,
    /// It answers this client.
    Serving(usize),
    /// Its client went away, and its answer goes nowhere.
    Abandoned,
}

pub(super) struct Upstream {
    stream: UnixStream,
    pub(super) state: UpstreamState,
    /// When a probing or an abandoned answer has taken too long, or the connection was idle for long enough.
    pub(super) deadline: Instant,
    /// Whether there may be something to read.
    readable: bool,
    /// Whether tiny_http will send no more than what can be read now.
    ended: bool,
    /// How many bytes of the request are written.
    pub(super) written: usize,
    /// Whether it answers, or did until it was abandoned, a client that pipelines.
    pipelines: bool,
    /// Whether the request is HEAD, whose answer has no body.
    to_head: bool,
    answered: bool,
    /// The beginning of an answer whose head is not complete.
    head: Vec<u8>,
    /// How many bytes of the answer's body are still to come, once its head is here.
    body_bytes: Option<u64>,
}

impl Upstream {
    /// Something came, or, with `ended`, the last of it.
    pub(super) fn arrived(&mut self, ended: bool) {
        self.readable = true;
        self.ended |= ended;
    }

    pub(super) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether any byte of the answer came.
    pub(super) fn has_answered(&self) -> bool {
        self.answered
    }

    /// Whether the answer's head is complete.
    pub(super) fn has_head(&self) -> bool {
        self.body_bytes.is_some()
    }

    /// Writes `request` from where it was left; true once all is written.
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

    /// Reads what there is; 0 if there is nothing now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, InvalidResponse> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(InvalidResponse),
                Ok(read) => {
                    self.readable = read == buffer.len() || self.ended;
                    self.answered = true;
                    // Nobody asked: whatever this is, it must not become somebody's answer.
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

    /// Takes in what was read, and appends to `outbound` what the client gets; true once the answer is complete.
    pub(super) fn take_in(
        &mut self,
        fresh: &[u8],
        options: ConnectionOptions,
        outbound: &mut Vec<u8>,
    ) -> Result<bool, InvalidResponse> {
        let mut body = fresh;
        let mut missing = match self.body_bytes {
            Some(missing) => missing,
            None => {
                // The usual answer comes in one piece, and is read where it lies.
                let gathered = if self.head.is_empty() {
                    None
                } else {
                    self.head.extend_from_slice(fresh);
                    Some(std::mem::take(&mut self.head))
                };
                let bytes = gathered.as_deref().unwrap_or(fresh);
                let Some(answer) = response_head::relay(bytes, self.to_head, options, outbound)?
                else {
                    if bytes.len() > ANSWER_HEAD_BYTES_MAX {
                        return Err(InvalidResponse);
                    }
                    self.head = gathered.unwrap_or_else(|| fresh.to_vec());
                    return Ok(false);
                };
                let head_in_fresh = answer.head_length - (bytes.len() - fresh.len());
                body = &fresh[head_in_fresh..];
                self.body_bytes = Some(answer.body_length);
                answer.body_length
            }
        };
        // What is beyond the answer's own length would be taken for the next client's answer.
        missing = missing.checked_sub(body.len() as u64).ok_or(InvalidResponse)?;
        self.body_bytes = Some(missing);
        outbound.extend_from_slice(body);
        Ok(missing == 0)
    }
}

/// All inner connections, and the clients that wait for one.
pub(super) struct Upstreams {
    address: SocketAddr,
    connections: Slab<Upstream>,
    /// The most inner connections, which is also the most requests inside.
    limit: usize,
    /// Those without a state, the one used last at the end.
    idle: Vec<usize>,
    probing: Option<usize>,
    pub(super) waiting: VecDeque<usize>,
    /// Those who pipeline: after all others.
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

    /// Whether nothing here changes with time.
    pub(super) fn is_quiet(&self) -> bool {
        self.idle.len() == self.connections.len() && self.idle.len() <= KEPT_IDLE
    }

    /// Puts a client into its queue.
    pub(super) fn queue(&mut self, client: usize, last: bool) {
        if last { &mut self.waiting_last } else { &mut self.waiting }.push_back(client);
    }

    /// Whose turn is next.
    pub(super) fn first_waiting(&self) -> Option<usize> {
        let pipelining =
            || self.connections.iter().filter(|(_, upstream)| upstream.pipelines).count();
        match self.waiting.front() {
            Some(client) => Some(*client),
            None => self.waiting_last.front().copied().filter(|_| pipelining() < PIPELINING_MAX),
        }
    }

    /// The client waits no longer.
    pub(super) fn forget(&mut self, client: usize) {
        for queue in [&mut self.waiting, &mut self.waiting_last] {
            if queue.front() == Some(&client) {
                queue.pop_front();
            } else {
                queue.retain(|waiting| *waiting != client);
            }
        }
    }

    /// Gives an idle inner connection to `client`.
    pub(super) fn take(&mut self, client: usize, pipelines: bool, to_head: bool) -> Option<usize> {
        let key = self.idle.pop()?;
        let upstream = &mut self.connections[key];
        upstream.state = UpstreamState::Serving(client);
        upstream.pipelines = pipelines;
        upstream.to_head = to_head;
        Some(key)
    }

    /// Opens another inner connection if there is room, `token` naming it, and greets it.
    ///
    /// One at a time, and none before the last has answered: tiny_http gives a new connection to a thread that it counts
    /// as idle, and counts it so until it wakes. Two connections at once may go to one thread, and the second is then
    /// served when the first closes, which here is never.
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
            ended: false,
            written: 0,
            pipelines: false,
            to_head: false,
            answered: false,
            head: Vec::new(),
            body_bytes: None,
        });
        self.probing = Some(key);
        Ok(())
    }

    /// The answer of this inner connection is complete, and it is free again.
    pub(super) fn release(&mut self, key: usize, now: Instant) {
        let upstream = &mut self.connections[key];
        upstream.state = UpstreamState::Idle;
        upstream.deadline = now + IDLE;
        upstream.written = 0;
        upstream.pipelines = false;
        upstream.answered = false;
        upstream.body_bytes = None;
        self.idle.push(key);
        self.probing = self.probing.filter(|probing| *probing != key);
    }

    /// The client of this inner connection went away. Its answer is still read, until `deadline`, unless not even all of
    /// the request's bytes are written.
    pub(super) fn abandon(&mut self, key: usize, request_bytes: usize, deadline: Instant) {
        let upstream = &mut self.connections[key];
        if upstream.written < request_bytes {
            self.remove(key);
        } else {
            upstream.state = UpstreamState::Abandoned;
            upstream.deadline = deadline;
        }
    }

    /// Takes an inner connection out, to be closed.
    pub(super) fn remove(&mut self, key: usize) -> Option<Upstream> {
        self.idle.retain(|idle| *idle != key);
        self.probing = self.probing.filter(|probing| *probing != key);
        self.connections.try_remove(key)
    }

    /// Asks for events when there is room to write to this inner connection, too.
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

    /// Those whose time is over and who answer nobody; how long a client waits is its own matter.
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
