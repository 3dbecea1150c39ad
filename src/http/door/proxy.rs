//! Relays requests to tiny_http and its responses back.

use std::io::ErrorKind;

use mio::event::Event;

use super::close;
use super::connection::Phase;
use super::event_loop::EventLoop;
use super::reject::Reason;
use super::response_head::{ConnectionOptions, InvalidResponse};
use super::upstream::UpstreamState;
use super::upstream_request;

/// How much of a response is buffered for a slow client; beyond that, tiny_http has to wait.
/// Hallpass's own responses are smaller, so slow clients do not occupy upstream connections.
const OUTBOUND_BYTES_MAX: usize = 64 * 1024;

impl EventLoop {
    pub(super) fn connection_event(&mut self, key: usize, event: &Event) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        // TLS may need to write before it can read on, and errors show when reading.
        connection.readable |= event.is_readable()
            || event.is_read_closed()
            || event.is_error()
            || connection.transport.is_tls();
        connection.half_closed |= event.is_read_closed();
        match connection.phase {
            Phase::Waiting | Phase::Answering { .. }
                if event.is_error() || event.is_write_closed() =>
            {
                self.close(key)
            }
            Phase::Answering { upstream: Some(upstream) } if event.is_writable() => {
                self.read_upstream(upstream)
            }
            Phase::Answering { .. } if event.is_writable() => self.flush(key),
            Phase::Waiting | Phase::Answering { .. } => (),
            Phase::Reading { .. }
                if connection.transport.is_handshaking()
                    && (event.is_error()
                        || event.is_read_closed() && !connection.handshake_started) =>
            {
                // The client has left; its handshake is not worth the work.
                if event.is_error() {
                    let address = connection.address;
                    self.count_rejection(Reason::Tls, address);
                }
                self.close(key)
            }
            Phase::Reading { .. } => {
                if event.is_writable() && connection.outbound_bytes() > 0 {
                    self.flush(key);
                }
                self.read(key);
            }
            Phase::Lingering { .. } => self.linger(key),
        }
    }

    /// Reads a connection if it is waiting for a request, a TLS handshake only in its turn.
    pub(super) fn read(&mut self, key: usize) {
        match self.connections.get(key) {
            Some(connection) if connection.readable && connection.transport.is_handshaking() => {
                self.queue_handshake(key)
            }
            _ => self.read_available(key),
        }
    }

    pub(super) fn read_available(&mut self, key: usize) {
        while let Some(connection) = self.connections.get_mut(key)
            && matches!(connection.phase, Phase::Reading { .. })
            && connection.readable
        {
            match connection.transport.read(&mut self.buffer) {
                Ok(0) => return self.close(key),
                Ok(read) => {
                    if connection.transport.short_read_is_last()
                        && read < self.buffer.len()
                        && !connection.half_closed
                    {
                        connection.readable = false;
                    }
                    self.receive(key, read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    connection.readable = false;
                    if connection.transport.wants_write() {
                        self.watch_writes(key);
                    }
                    return;
                }
                Err(_) => {
                    if connection.transport.is_handshaking() {
                        let address = connection.address;
                        self.count_rejection(Reason::Tls, address);
                    }
                    return self.close(key);
                }
            }
        }
    }

    /// Handles the bytes at the start of the buffer.
    pub(super) fn receive(&mut self, key: usize, bytes: usize) {
        let connection = &mut self.connections[key];
        if !connection.request_started && connection.starts_request(&self.buffer[..bytes]) {
            connection.request_started = true;
            // The time of the first request counts from the accept.
            if !connection.first_request {
                connection.deadline = self.now + self.deadlines.request;
            }
        }
        match connection.receive(&self.buffer[..bytes], self.headers) {
            Ok(true) => self.forward(key),
            Ok(false) if connection.outbound_bytes() > 0 => self.flush(key),
            Ok(false) => (),
            Err(reason) => self.reject(key, reason),
        }
    }

    /// Answers or relays a whole request.
    fn forward(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        // Pipelined requests are served by tiny_http, after all others.
        let pipelines = connection.pipelines;
        if !pipelines && connection.redirect.is_none() && self.answer_from_cache(key) {
            return;
        }
        let connection = &mut self.connections[key];
        if !pipelines {
            self.eviction.protect(connection.limited_address, connection.eviction_key);
            connection.eviction_key = self.eviction.new_eviction_key();
        }
        connection.phase = Phase::Waiting;
        connection.deadline = self.now + self.deadlines.queue;
        if let Some(base) = connection.redirect.clone() {
            let response = close::redirect(&base, &connection.request.target);
            return self.send_and_close(key, &response);
        }
        (self.trim)(&mut connection.request);
        self.upstreams.queue(key, pipelines);
        self.serve_waiting();
    }

    /// Gives idle upstream connections to waiting requests, and opens another if requests still
    /// wait.
    pub(super) fn serve_waiting(&mut self) {
        while let Some(key) = self.upstreams.first_waiting()
            && let Some(upstream) = self.upstreams.take(
                key,
                self.connections[key].pipelines,
                self.connections[key].is_head(),
            )
        {
            self.upstreams.remove_waiting(key);
            self.send_upstream(key, upstream);
        }
        if self.upstreams.first_waiting().is_some()
            && let Err(error) =
                self.upstreams.probe(self.poll.registry(), self.upstream_token(), self.now)
        {
            log::error!("cannot connect to tiny_http: {error}");
            self.reject_waiting();
        }
    }

    fn reject_waiting(&mut self) {
        while let Some(key) = self.upstreams.first_waiting() {
            self.upstreams.remove_waiting(key);
            self.reject(key, Reason::UpstreamUnavailable);
        }
    }

    fn send_upstream(&mut self, key: usize, upstream: usize) {
        let connection = &mut self.connections[key];
        self.eviction.protect(connection.limited_address, connection.eviction_key);
        connection.phase = Phase::Answering { upstream: Some(upstream) };
        connection.deadline = self.now + self.deadlines.upstream;
        connection.upstream_request.clear();
        upstream_request::write(&connection.request, &mut connection.upstream_request);
        self.write_upstream(upstream);
    }

    fn write_upstream(&mut self, key: usize) {
        let Some(upstream) = self.upstreams.get(key) else {
            return;
        };
        let UpstreamState::Serving(connection) = upstream.state else {
            return;
        };
        match upstream.write(&self.connections[connection].upstream_request) {
            Ok(true) => (),
            Ok(false) => {
                let token = self.upstream_token()(key);
                if self.upstreams.register_writes(key, self.poll.registry(), token).is_err() {
                    self.drop_upstream(key);
                }
            }
            Err(_) => self.drop_upstream(key),
        }
    }

    pub(super) fn upstream_event(&mut self, key: usize, event: &Event) {
        let Some(upstream) = self.upstreams.get(key) else {
            return;
        };
        if event.is_readable() || event.is_read_closed() {
            upstream.set_readable(event.is_read_closed());
        }
        if event.is_writable() {
            self.write_upstream(key);
        }
        self.read_upstream(key);
    }

    /// Relays a response while there is something to read and the client takes it.
    pub(super) fn read_upstream(&mut self, key: usize) {
        while self.has_room_for_response(key)
            && let Some(upstream) = self.upstreams.get(key)
            && upstream.is_readable()
        {
            match upstream.read(&mut self.buffer).and_then(|read| self.relay(key, read)) {
                Ok(false) => (),
                Ok(true) => return self.end_response(key),
                Err(InvalidResponse) => return self.drop_upstream(key),
            }
        }
        if let Some(connection) = self.served_by(key) {
            self.flush(connection);
        }
    }

    /// Whether there is room for more of this response.
    fn has_room_for_response(&mut self, key: usize) -> bool {
        if let Some(connection) = self.served_by(key)
            && self.connections[connection].outbound_bytes() >= OUTBOUND_BYTES_MAX
        {
            self.flush(connection);
        }
        // The flush may have closed the connection.
        self.served_by(key).is_none_or(|connection| {
            self.connections[connection].outbound_bytes() < OUTBOUND_BYTES_MAX
        })
    }

    fn served_by(&mut self, upstream: usize) -> Option<usize> {
        match self.upstreams.get(upstream)?.state {
            UpstreamState::Serving(connection) => Some(connection),
            UpstreamState::Probing | UpstreamState::Idle | UpstreamState::Abandoned => None,
        }
    }

    /// Relays the bytes at the start of the buffer; true once the response is complete.
    fn relay(&mut self, key: usize, bytes: usize) -> Result<bool, InvalidResponse> {
        let stopping = self.stopping_until.is_some();
        let Some(upstream) = self.upstreams.get(key) else {
            return Err(InvalidResponse);
        };
        let received = &self.buffer[..bytes];
        let UpstreamState::Serving(connection_key) = upstream.state else {
            return upstream.receive(received, ConnectionOptions::default(), &mut Vec::new());
        };
        let connection = &mut self.connections[connection_key];
        connection.keep_alive &= !stopping;
        let options = ConnectionOptions {
            keep_alive: connection.keep_alive,
            secure: connection.transport.is_tls(),
        };
        let had_head = upstream.has_head();
        let complete = upstream.receive(received, options, &mut connection.outbound)?;
        if upstream.has_head() && !had_head {
            connection.deadline = self.now + self.deadlines.response;
            // From here on, the response waits for the client.
            self.eviction.make_evictable(
                connection.limited_address,
                connection.eviction_key,
                connection_key,
            );
        }
        Ok(complete)
    }

    /// The response from this upstream connection is complete.
    fn end_response(&mut self, key: usize) {
        let connection = self.served_by(key);
        self.upstreams.release(key, self.now);
        if let Some(connection) = connection {
            self.connections[connection].phase = Phase::Answering { upstream: None };
            self.flush(connection);
        }
        self.serve_waiting();
    }

    /// Closes an upstream connection that failed, and handles the request it was serving.
    pub(super) fn drop_upstream(&mut self, key: usize) {
        let Some(upstream) = self.upstreams.remove(key) else {
            return;
        };
        if let UpstreamState::Serving(key) = upstream.state {
            self.connections[key].phase = Phase::Answering { upstream: None };
        }
        match upstream.state {
            UpstreamState::Idle | UpstreamState::Abandoned => (),
            UpstreamState::Probing => {
                log::error!("tiny_http did not respond on a new connection");
                self.reject_waiting();
            }
            UpstreamState::Serving(key) if upstream.has_head() => {
                log::error!("tiny_http broke off a response");
                self.close(key);
            }
            // tiny_http may have closed the connection while it was idle. Without any response, the
            // request can be sent again, once.
            UpstreamState::Serving(key)
                if !upstream.has_responded() && !self.connections[key].retried =>
            {
                let connection = &mut self.connections[key];
                connection.retried = true;
                connection.phase = Phase::Waiting;
                self.upstreams.queue_first(key);
            }
            UpstreamState::Serving(key) => {
                log::error!("tiny_http sent an invalid response");
                self.reject(key, Reason::UpstreamUnavailable);
            }
        }
        self.serve_waiting();
    }

    /// Writes what is buffered for the client, and finishes the request once the whole response is
    /// written.
    pub(super) fn flush(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.flush() {
            Ok(true) if connection.phase == (Phase::Answering { upstream: None }) => {
                self.finish(key)
            }
            Ok(true) => (),
            Ok(false) => self.watch_writes(key),
            Err(_) => self.close(key),
        }
    }

    fn watch_writes(&mut self, key: usize) {
        let token = self.connection_token(key);
        if self.connections[key].transport.register_writes(self.poll.registry(), token).is_err() {
            self.close(key);
        }
    }
}
