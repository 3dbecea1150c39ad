//! The end of a request, or of a connection.

use std::io::ErrorKind;

use super::connection::Phase;
use super::event_loop::EventLoop;

/// How much a lingering client may still send before it is cut.
const LINGER_BYTES_MAX: usize = 64 * 1024;

impl EventLoop {
    /// The client has its answer.
    pub(super) fn finish(&mut self, key: usize) {
        let client = &mut self.clients[key];
        if client.keep_alive {
            client.reset(self.now + self.deadlines.idle);
            // What is here already was sent before this answer could be read.
            client.pipelines = true;
            if client.has_more() {
                self.take_in(key, 0);
            }
            self.read_client(key);
            if let Some(client) = self.clients.get_mut(key)
                && !client.request_started
            {
                client.pipelines = false;
            }
        } else if client.unread || client.readable || client.has_more() {
            client.transport.finish();
            client.phase = Phase::Lingering { bytes_left: LINGER_BYTES_MAX };
            client.deadline = self.now + self.deadlines.linger;
            self.linger(key);
        } else {
            self.close(key);
        }
    }

    /// Throws away what the client still sends.
    pub(super) fn linger(&mut self, key: usize) {
        while let Some(client) = self.clients.get_mut(key)
            && let Phase::Lingering { bytes_left } = client.phase
        {
            match client.transport.read(&mut self.buffer) {
                Ok(read) if (1..bytes_left).contains(&read) => {
                    client.phase = Phase::Lingering { bytes_left: bytes_left - read };
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.close(key),
            }
        }
    }

    pub(super) fn send_and_close(&mut self, key: usize, answer: &str) {
        let client = &mut self.clients[key];
        client.outbound.extend_from_slice(answer.as_bytes());
        client.keep_alive = false;
        client.deadline = self.now + self.deadlines.answer;
        if client.phase == Phase::Waiting {
            self.upstreams.forget(key);
        }
        client.phase = Phase::Answering { inner: None };
        self.eviction.make_evictable(client.limited_address, client.eviction_key, key);
        self.flush_client(key);
    }

    /// Closes a client's connection, whatever it is about.
    pub(super) fn close(&mut self, key: usize) {
        let client = self.clients.remove(key);
        self.eviction.leave(client.limited_address, client.eviction_key);
        if client.handshake_queued {
            self.handshakes.forget(key, client.limited_address);
        }
        self.counters.closed();
        match client.phase {
            Phase::Waiting => self.upstreams.forget(key),
            Phase::Answering { inner: Some(inner) } => {
                // Its answer is read to the end all the same: so no more than a bounded number of requests is inside.
                self.upstreams.abandon(
                    inner,
                    client.upstream_request.len(),
                    self.now + self.deadlines.inner,
                );
                self.read_inner(inner);
                self.serve_waiting();
            }
            Phase::Reading { .. } | Phase::Answering { .. } | Phase::Lingering { .. } => (),
        }
    }
}
