//! One client: what it sent so far, what it is still to get, and until when.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::eviction::EvictionKey;
use super::reject::Reason;
use super::request_body::RequestBody;
use super::request_head::{self, HeaderPolicy};
use super::transport::Transport;
use crate::http::Request;

/// Buffers above this are given back between requests, so that idle connections cost little.
const KEPT_BYTES: usize = 2 * 1024;

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request is awaited, or arriving: its head, or the body that is not complete.
    Reading { body: Option<RequestBody> },
    /// Its request is whole and waits for an inner connection.
    Waiting,
    /// It is being answered by this inner connection, or, by now, only from `outbound`.
    Answering { upstream: Option<usize> },
    /// All is said; what it still sends is thrown away, so that it can read the answer before a reset.
    Lingering { bytes_left: usize },
}

pub(super) struct Connection {
    pub(super) transport: Transport,
    /// `None` for a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// The address whose limits bind this connection; `None` if none do.
    pub(super) limited_address: Option<IpAddr>,
    /// The https URL this client is sent to, whatever it asks.
    pub(super) redirect: Option<Arc<str>>,
    pub(super) phase: Phase,
    pub(super) deadline: Instant,
    pub(super) eviction_key: EvictionKey,
    /// Whether there may be something to read.
    pub(super) readable: bool,
    /// Whether its handshake waits for its turn.
    pub(super) handshake_queued: bool,
    /// Whether its handshake has had a turn.
    pub(super) handshake_begun: bool,
    /// Whether the client will send no more than what can be read now.
    pub(super) half_closed: bool,
    /// Whether any byte of the current request is here.
    pub(super) request_started: bool,
    /// Whether nothing was asked yet on this connection.
    pub(super) first_request: bool,
    pub(super) keep_alive: bool,
    /// Whether the request went to an inner connection that turned out closed, and now goes to a new one.
    pub(super) retried: bool,
    /// Whether it sent the current request without waiting for the last answer. Then it waits behind those who do wait,
    /// and may be closed like an idle one: a client that pipelines without reading must not be served at the cost of others.
    pub(super) pipelines: bool,
    /// Whether it may be sending more than anybody will read.
    pub(super) unread: bool,
    /// Bytes of a head that is not complete, or of later requests.
    inbound: Vec<u8>,
    /// The request that is arriving or being answered.
    pub(super) request: Request,
    /// The same as bytes for tiny_http, once it goes there.
    pub(super) upstream_request: Vec<u8>,
    /// What goes to the client, of which `sent` bytes are gone.
    pub(super) outbound: Vec<u8>,
    sent: usize,
}

impl Connection {
    pub(super) fn new(
        transport: Transport,
        address: Option<IpAddr>,
        limited_address: Option<IpAddr>,
        redirect: Option<Arc<str>>,
        deadline: Instant,
    ) -> Connection {
        Connection {
            address,
            limited_address,
            redirect,
            phase: Phase::Reading { body: None },
            deadline,
            eviction_key: 0,
            // Of a TLS client, an event tells: a handshake counts from its first byte.
            readable: !transport.is_tls(),
            handshake_queued: false,
            handshake_begun: false,
            transport,
            half_closed: false,
            request_started: false,
            first_request: true,
            keep_alive: false,
            retried: false,
            pipelines: false,
            unread: false,
            inbound: Vec::new(),
            request: Request::default(),
            upstream_request: Vec::new(),
            outbound: Vec::new(),
            sent: 0,
        }
    }

    /// Whether bytes of a later request are here already.
    pub(super) fn has_more(&self) -> bool {
        !self.inbound.is_empty()
    }

    /// Whether a request begins here. Empty lines before it do not count, or a client that sends one after its request
    /// would be told that its next request took too long.
    pub(super) fn starts_request(&self, fresh: &[u8]) -> bool {
        self.inbound.iter().chain(fresh).any(|byte| !b"\r\n".contains(byte))
    }

    /// Takes out what came and was not understood; nothing of it will be.
    pub(super) fn take_inbound(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.inbound)
    }

    /// Whether the request is HEAD, whose answer has no body whatever its headers say.
    pub(super) fn is_head(&self) -> bool {
        self.request.method == "HEAD"
    }

    /// Takes in what was read; true once the request is whole. `headers` are the only ones that are read.
    pub(super) fn take_in(
        &mut self,
        fresh: &[u8],
        headers: Option<&'static [&'static str]>,
    ) -> Result<bool, Reason> {
        let Phase::Reading { body } = self.phase else {
            return Ok(false);
        };
        if let Some(mut body) = body {
            let taken = body.take_in(fresh, &mut self.request.body)?;
            self.inbound.extend_from_slice(&fresh[taken..]);
            self.phase = Phase::Reading { body: Some(body) };
            return Ok(body.is_complete());
        }
        // A head grows by lines; looking again only at a new one bounds the work that single bytes can cause.
        let worth_reading = self.inbound.is_empty() || fresh.is_empty() || fresh.contains(&b'\n');
        self.inbound.extend_from_slice(fresh);
        if !worth_reading && self.inbound.len() < request_head::HEAD_BYTES_MAX {
            return Ok(false);
        }
        let policy = HeaderPolicy { peer: self.address, headers };
        let Some(head) = request_head::parse_request(&self.inbound, policy)? else {
            return Ok(false);
        };
        self.request = head.request;
        let mut body = head.body;
        let taken = body.take_in(&self.inbound[head.length..], &mut self.request.body)?;
        self.inbound.drain(..head.length + taken);
        self.phase = Phase::Reading { body: Some(body) };
        self.keep_alive = head.keep_alive;
        if head.expects_continue && !body.is_complete() {
            self.outbound.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        Ok(body.is_complete())
    }

    /// Sends what is in `outbound`; true once nothing is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let all = self.transport.write(&self.outbound, &mut self.sent)?;
        if all {
            self.outbound.clear();
            self.sent = 0;
        }
        Ok(all)
    }

    /// How many bytes wait for the client to take them.
    pub(super) fn outbound_bytes(&self) -> usize {
        self.outbound.len() - self.sent
    }

    /// Makes ready for the next request.
    pub(super) fn reset(&mut self, deadline: Instant) {
        self.phase = Phase::Reading { body: None };
        self.deadline = deadline;
        self.first_request = false;
        self.request_started = false;
        self.retried = false;
        self.request = Request::default();
        self.upstream_request.clear();
        for buffer in [&mut self.inbound, &mut self.upstream_request, &mut self.outbound] {
            if buffer.capacity() > KEPT_BYTES {
                buffer.shrink_to_fit();
            }
        }
    }
}
