//! The way of a request: from the client inside, and of its answer back.

use std::io::ErrorKind;

use mio::event::Event;

use super::connection::Phase;
use super::event_loop::EventLoop;
use super::reject::{self, Reason};
use super::response_head::{Broken, ConnectionOptions};
use super::upstream::UpstreamState;
use super::upstream_request;

/// How much of an answer waits in memory for its client; above it, the rest waits inside. Hallpass's own answers are
/// smaller, so that a slow client does not hold an inner connection.
const OUTBOUND_BYTES_MAX: usize = 64 * 1024;

impl EventLoop {
    pub(super) fn client_event(&mut self, key: usize, event: &Event) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        // Room to write may be what TLS needed to go on reading; an error shows when reading.
        client.readable |= event.is_readable()
            || event.is_read_closed()
            || event.is_error()
            || client.transport.is_tls();
        client.half_closed |= event.is_read_closed();
        match client.phase {
            Phase::Waiting | Phase::Answering { .. }
                if event.is_error() || event.is_write_closed() =>
            {
                self.close(key)
            }
            Phase::Answering { inner: Some(inner) } if event.is_writable() => {
                self.read_inner(inner)
            }
            Phase::Answering { .. } if event.is_writable() => self.flush_client(key),
            Phase::Waiting | Phase::Answering { .. } => (),
            Phase::Reading { .. }
                if client.transport.is_handshaking()
                    && (event.is_error() || event.is_read_closed() && !client.handshake_begun) =>
            {
                // It is gone, and its handshake is not worth the work.
                if event.is_error() {
                    let address = client.address;
                    self.count_rejection(Reason::Tls, address);
                }
                self.close(key)
            }
            Phase::Reading { .. } => {
                if event.is_writable() && client.outbound_bytes() > 0 {
                    self.flush_client(key);
                }
                self.read_client(key);
            }
            Phase::Lingering { .. } => self.linger(key),
        }
    }

    /// Reads a client while it owes a request and there is something to read.
    pub(super) fn read_client(&mut self, key: usize) {
        match self.clients.get(key) {
            Some(client) if client.readable && client.transport.is_handshaking() => {
                self.queue_handshake(key)
            }
            _ => self.read_available(key),
        }
    }

    pub(super) fn read_available(&mut self, key: usize) {
        while let Some(client) = self.clients.get_mut(key)
            && matches!(client.phase, Phase::Reading { .. })
            && client.readable
        {
            match client.transport.read(&mut self.buffer) {
                Ok(0) => return self.close(key),
                Ok(read) => {
                    if client.transport.short_read_is_last()
                        && read < self.buffer.len()
                        && !client.half_closed
                    {
                        client.readable = false;
                    }
                    self.take_in(key, read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    client.readable = false;
                    if client.transport.wants_write() {
                        self.watch_writes(key);
                    }
                    return;
                }
                Err(_) => {
                    if client.transport.is_handshaking() {
                        let address = client.address;
                        self.count_rejection(Reason::Tls, address);
                    }
                    return self.close(key);
                }
            }
        }
    }

    /// Takes in the bytes at the start of the buffer.
    pub(super) fn take_in(&mut self, key: usize, bytes: usize) {
        let client = &mut self.clients[key];
        if !client.request_started && client.starts_request(&self.buffer[..bytes]) {
            client.request_started = true;
            // The first request has its time from the accept on.
            if !client.first_request {
                client.deadline = self.now + self.deadlines.request;
            }
        }
        match client.take_in(&self.buffer[..bytes], self.headers) {
            Ok(true) => self.forward(key),
            Ok(false) if client.outbound_bytes() > 0 => self.flush_client(key),
            Ok(false) => (),
            Err(reason) => self.reject(key, reason),
        }
    }

    /// The client's request is whole: it goes inside, now or in its turn.
    fn forward(&mut self, key: usize) {
        let client = &mut self.clients[key];
        // A client that pipelines waits its turn inside, behind those that do not.
        let pipelines = client.pipelines;
        if !pipelines && client.redirect.is_none() && self.answer_from_cache(key) {
            return;
        }
        let client = &mut self.clients[key];
        if !pipelines {
            self.eviction.protect(client.limited_address, client.eviction_key);
            client.eviction_key = self.eviction.last_eviction_key();
        }
        client.phase = Phase::Waiting;
        client.deadline = self.now + self.deadlines.queue;
        if let Some(base) = client.redirect.clone() {
            let answer = reject::redirect(&base, &client.request.target);
            return self.send_and_close(key, &answer);
        }
        self.upstreams.queue(key, pipelines);
        self.serve_waiting();
    }

    /// Gives free inner connections to those who wait, and opens another one for those who still do.
    pub(super) fn serve_waiting(&mut self) {
        while let Some(key) = self.upstreams.first_waiting()
            && let Some(inner) =
                self.upstreams.take(key, self.clients[key].pipelines, self.clients[key].is_head())
        {
            self.upstreams.forget(key);
            self.send_inside(key, inner);
        }
        if self.upstreams.first_waiting().is_some()
            && let Err(error) =
                self.upstreams.probe(self.poll.registry(), self.inner_token(), self.now)
        {
            log::error!("cannot open a connection inside: {error}");
            self.reject_waiting();
        }
    }

    fn reject_waiting(&mut self) {
        while let Some(key) = self.upstreams.first_waiting() {
            self.upstreams.forget(key);
            self.reject(key, Reason::InnerUnavailable);
        }
    }

    fn send_inside(&mut self, key: usize, inner: usize) {
        let client = &mut self.clients[key];
        self.eviction.protect(client.limited_address, client.eviction_key);
        client.phase = Phase::Answering { inner: Some(inner) };
        client.deadline = self.now + self.deadlines.inner;
        client.upstream_request.clear();
        upstream_request::write(&client.request, &mut client.upstream_request);
        self.write_inner(inner);
    }

    fn write_inner(&mut self, key: usize) {
        let Some(inner) = self.upstreams.get(key) else {
            return;
        };
        let UpstreamState::Serving(client) = inner.duty else {
            return;
        };
        match inner.write(&self.clients[client].upstream_request) {
            Ok(true) => (),
            Ok(false) => {
                let token = self.inner_token()(key);
                if self.upstreams.register_writes(key, self.poll.registry(), token).is_err() {
                    self.lose_inner(key);
                }
            }
            Err(_) => self.lose_inner(key),
        }
    }

    pub(super) fn inner_event(&mut self, key: usize, event: &Event) {
        let Some(inner) = self.upstreams.get(key) else {
            return;
        };
        if event.is_readable() || event.is_read_closed() {
            inner.arrived(event.is_read_closed());
        }
        if event.is_writable() {
            self.write_inner(key);
        }
        self.read_inner(key);
    }

    /// Reads an inner connection while there is something to read and the client takes it.
    pub(super) fn read_inner(&mut self, key: usize) {
        while self.takes_more(key)
            && let Some(inner) = self.upstreams.get(key)
            && inner.is_readable()
        {
            match inner.read(&mut self.buffer).and_then(|read| self.relay(key, read)) {
                Ok(false) => (),
                Ok(true) => return self.end_answer(key),
                Err(Broken) => return self.lose_inner(key),
            }
        }
        if let Some(client) = self.served_by(key) {
            self.flush_client(client);
        }
    }

    /// Whether what comes from this inner connection has somewhere to go.
    fn takes_more(&mut self, key: usize) -> bool {
        if let Some(client) = self.served_by(key)
            && self.clients[client].outbound_bytes() >= OUTBOUND_BYTES_MAX
        {
            self.flush_client(client);
        }
        // The client may have been closed just now.
        self.served_by(key)
            .is_none_or(|client| self.clients[client].outbound_bytes() < OUTBOUND_BYTES_MAX)
    }

    fn served_by(&mut self, inner: usize) -> Option<usize> {
        match self.upstreams.get(inner)?.duty {
            UpstreamState::Serving(client) => Some(client),
            UpstreamState::Probing | UpstreamState::Idle | UpstreamState::Abandoned => None,
        }
    }

    /// Passes on the bytes at the start of the buffer; true once the answer is complete.
    fn relay(&mut self, key: usize, bytes: usize) -> Result<bool, Broken> {
        let stopping = self.stopping.is_some();
        let Some(inner) = self.upstreams.get(key) else {
            return Err(Broken);
        };
        let fresh = &self.buffer[..bytes];
        let UpstreamState::Serving(client_key) = inner.duty else {
            return inner.take_in(fresh, ConnectionOptions::default(), &mut Vec::new());
        };
        let client = &mut self.clients[client_key];
        client.keep_alive &= !stopping;
        let manner =
            ConnectionOptions { keep_alive: client.keep_alive, secure: client.transport.is_tls() };
        let began = inner.has_head();
        let complete = inner.take_in(fresh, manner, &mut client.outbound)?;
        if inner.has_head() && !began {
            client.deadline = self.now + self.deadlines.answer;
            // From here on, it is for the client to take it.
            self.eviction.make_evictable(client.limited_address, client.eviction_key, client_key);
        }
        Ok(complete)
    }

    /// The answer of this inner connection is complete.
    fn end_answer(&mut self, key: usize) {
        let client = self.served_by(key);
        self.upstreams.release(key, self.now);
        if let Some(client) = client {
            self.clients[client].phase = Phase::Answering { inner: None };
            self.flush_client(client);
        }
        self.serve_waiting();
    }

    /// This inner connection is of no more use.
    pub(super) fn lose_inner(&mut self, key: usize) {
        let Some(inner) = self.upstreams.remove(key) else {
            return;
        };
        if let UpstreamState::Serving(key) = inner.duty {
            self.clients[key].phase = Phase::Answering { inner: None };
        }
        match inner.duty {
            UpstreamState::Idle | UpstreamState::Abandoned => (),
            UpstreamState::Probing => {
                log::error!("a connection inside was not answered");
                self.reject_waiting();
            }
            UpstreamState::Serving(key) if inner.has_head() => {
                log::error!("an answer from inside broke off");
                self.close(key);
            }
            // It may have been closed while it was idle. What was not answered at all can be asked again, once.
            UpstreamState::Serving(key) if !inner.has_answered() && !self.clients[key].retried => {
                let client = &mut self.clients[key];
                client.retried = true;
                client.phase = Phase::Waiting;
                self.upstreams.waiting.push_front(key);
            }
            UpstreamState::Serving(key) => {
                log::error!("an answer from inside was not understood");
                self.reject(key, Reason::InnerUnavailable);
            }
        }
        self.serve_waiting();
    }

    /// Sends what the client has not got yet, and goes on when it has all of its answer.
    pub(super) fn flush_client(&mut self, key: usize) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        match client.flush() {
            Ok(true) if client.phase == (Phase::Answering { inner: None }) => self.finish(key),
            Ok(true) => (),
            Ok(false) => self.watch_writes(key),
            Err(_) => self.close(key),
        }
    }

    fn watch_writes(&mut self, key: usize) {
        let token = self.client_token(key);
        if self.clients[key].transport.register_writes(self.poll.registry(), token).is_err() {
            self.close(key);
        }
    }
}
