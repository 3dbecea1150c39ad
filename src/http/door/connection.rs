//! One connection of a client: its phase, its buffers and its deadline.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::eviction::EvictionKey;
use super::limits::HEAD_BYTES_MAX;
use super::reject::Reason;
use super::request_body::RequestBody;
use super::request_head::{self, HeaderPolicy};
use super::transport::Transport;
use crate::http::Request;

/// Larger buffers are freed between requests, so idle connections cost little.
const KEPT_BYTES: usize = 2 * 1024;

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a request, or receiving its head or, if set, its body.
    Reading { body: Option<RequestBody> },
    /// The request is whole and waits for an upstream connection.
    Waiting,
    /// The response is on its way: from this upstream connection, or entirely in `outbound`.
    Answering { upstream: Option<usize> },
    /// The last response is sent. What the client still sends is discarded, because closing now
    /// would reset the connection before the client has read the response.
    Lingering { bytes_left: usize },
}

pub(super) struct Connection {
    pub(super) transport: Transport,
    /// `None` for a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// The address whose limits apply; `None` if none do.
    pub(super) limited_address: Option<IpAddr>,
    /// The public URL to which every request is redirected.
    pub(super) redirect: Option<Arc<str>>,
    pub(super) phase: Phase,
    pub(super) deadline: Instant,
    pub(super) eviction_key: EvictionKey,
    /// Whether there may be something to read.
    pub(super) readable: bool,
    /// Whether its TLS handshake waits for its turn.
    pub(super) handshake_queued: bool,
    /// Whether its TLS handshake has had a turn.
    pub(super) handshake_started: bool,
    /// Whether the client has closed its side: what can be read now is all.
    pub(super) half_closed: bool,
    /// Whether any byte of the current request has arrived.
    pub(super) request_started: bool,
    /// Whether this is the first request of the connection.
    pub(super) first_request: bool,
    pub(super) keep_alive: bool,
    /// Whether the request is being sent again, because the first upstream connection turned out to
    /// be closed.
    pub(super) retried: bool,
    /// Whether the client sent the current request before it had the last response. Such requests
    /// are served after all others, and the connection may be closed like an idle one, so
    /// clients that pipeline without reading do not slow others down.
    pub(super) pipelines: bool,
    /// Whether the client may be sending bytes that will not be read.
    pub(super) unread: bool,
    /// Bytes of an incomplete head, or of later requests.
    inbound: Vec<u8>,
    /// The request that is being received or answered.
    pub(super) request: Request,
    /// The same request as sent to tiny_http.
    pub(super) upstream_request: Vec<u8>,
    /// Bytes for the client, of which the first `sent` are written.
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
            // TLS waits for an event: a handshake is counted only once its first byte is here.
            readable: !transport.is_tls(),
            handshake_queued: false,
            handshake_started: false,
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

    /// Whether bytes of a later request have arrived.
    pub(super) fn has_inbound(&self) -> bool {
        !self.inbound.is_empty()
    }

    /// Whether a request has started. Empty lines do not count: some clients send one after a
    /// request, and their next request would then time out.
    pub(super) fn starts_request(&self, received: &[u8]) -> bool {
        self.inbound.iter().chain(received).any(|byte| !b"\r\n".contains(byte))
    }

    /// Takes out the bytes that are not a request.
    pub(super) fn take_inbound(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.inbound)
    }

    /// Whether the request is HEAD, whose response has no body whatever its headers say.
    pub(super) fn is_head(&self) -> bool {
        self.request.method == "HEAD"
    }

    /// Adds received bytes to the request; true once it is whole. Headers other than `headers` are
    /// dropped.
    pub(super) fn receive(
        &mut self,
        received: &[u8],
        headers: Option<&'static [&'static str]>,
    ) -> Result<bool, Reason> {
        let Phase::Reading { body } = self.phase else {
            return Ok(false);
        };
        if let Some(mut body) = body {
            let taken = body.receive(received, &mut self.request.body)?;
            self.inbound.extend_from_slice(&received[taken..]);
            self.phase = Phase::Reading { body: Some(body) };
            return Ok(body.is_complete());
        }
        // An incomplete head is parsed again only when a line ends, which bounds the work that
        // single bytes can cause.
        let worth_parsing =
            self.inbound.is_empty() || received.is_empty() || received.contains(&b'\n');
        self.inbound.extend_from_slice(received);
        if !worth_parsing && self.inbound.len() < HEAD_BYTES_MAX {
            return Ok(false);
        }
        let policy = HeaderPolicy { peer: self.address, headers };
        let Some(head) = request_head::parse_request(&self.inbound, policy)? else {
            return Ok(false);
        };
        self.request = head.request;
        let mut body = head.body;
        let taken = body.receive(&self.inbound[head.length..], &mut self.request.body)?;
        self.inbound.drain(..head.length + taken);
        self.phase = Phase::Reading { body: Some(body) };
        self.keep_alive = head.keep_alive;
        if head.expects_continue && !body.is_complete() {
            self.outbound.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        Ok(body.is_complete())
    }

    /// Writes `outbound`; true once nothing is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        let all = self.transport.write(&self.outbound, &mut self.sent)?;
        if all {
            self.outbound.clear();
            self.sent = 0;
        }
        Ok(all)
    }

    /// How many bytes are not written yet.
    pub(super) fn outbound_bytes(&self) -> usize {
        self.outbound.len() - self.sent
    }

    /// Prepares for the next request.
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
