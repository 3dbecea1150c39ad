//! The end of a request, or of a connection.

use std::io::ErrorKind;

use super::connection::Phase;
use super::event_loop::EventLoop;

/// How much a lingering client may still send before it is cut.
const LINGER_BYTES_MAX: usize = 64 * 1024;

impl EventLoop {
    /// The client has its answer.
    pub(super) fn finish(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if connection.keep_alive {
            connection.reset(self.now + self.deadlines.idle);
            // What is here already was sent before this answer could be read.
            connection.pipelines = true;
            if connection.has_more() {
                self.take_in(key, 0);
            }
            self.read(key);
            if let Some(connection) = self.connections.get_mut(key)
                && !connection.request_started
            {
                connection.pipelines = false;
            }
        } else if connection.unread || connection.readable || connection.has_more() {
            connection.transport.finish();
            connection.phase = Phase::Lingering { bytes_left: LINGER_BYTES_MAX };
            connection.deadline = self.now + self.deadlines.linger;
            self.linger(key);
        } else {
            self.close(key);
        }
    }

    /// Throws away what the client still sends.
    pub(super) fn linger(&mut self, key: usize) {
        while let Some(connection) = self.connections.get_mut(key)
            && let Phase::Lingering { bytes_left } = connection.phase
        {
            match connection.transport.read(&mut self.buffer) {
                Ok(read) if (1..bytes_left).contains(&read) => {
                    connection.phase = Phase::Lingering { bytes_left: bytes_left - read };
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.close(key),
            }
        }
    }

    pub(super) fn send_and_close(&mut self, key: usize, answer: &str) {
        let connection = &mut self.connections[key];
        connection.outbound.extend_from_slice(answer.as_bytes());
        connection.keep_alive = false;
        connection.deadline = self.now + self.deadlines.response;
        if connection.phase == Phase::Waiting {
            self.upstreams.forget(key);
        }
        connection.phase = Phase::Answering { upstream: None };
        self.eviction.make_evictable(connection.limited_address, connection.eviction_key, key);
        self.flush(key);
    }

    /// Closes a client's connection, whatever it is about.
    pub(super) fn close(&mut self, key: usize) {
        let connection = self.connections.remove(key);
        self.eviction.leave(connection.limited_address, connection.eviction_key);
        if connection.handshake_queued {
            self.handshakes.forget(key, connection.limited_address);
        }
        self.counters.closed();
        match connection.phase {
            Phase::Waiting => self.upstreams.forget(key),
            Phase::Answering { upstream: Some(upstream) } => {
                // Its answer is read to the end all the same: so no more than a bounded number of requests is inside.
                self.upstreams.abandon(
                    upstream,
                    connection.upstream_request.len(),
                    self.now + self.deadlines.upstream,
                );
                self.read_upstream(upstream);
                self.serve_waiting();
            }
            Phase::Reading { .. } | Phase::Answering { .. } | Phase::Lingering { .. } => (),
        }
    }
}
