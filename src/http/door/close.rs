//! The end of a request and of a connection.

use std::io::ErrorKind;
use std::net::IpAddr;

use super::connection::Phase;
use super::event_loop::EventLoop;
use super::reject::Reason;

/// How much a lingering client may still send.
const LINGER_BYTES_MAX: usize = 64 * 1024;

impl EventLoop {
    /// The whole response is written: waits for the next request, or closes.
    pub(super) fn finish(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        if connection.keep_alive {
            connection.reset(self.now + self.deadlines.idle);
            // All bytes that have arrived were sent before the client could read this response.
            connection.pipelines = true;
            if connection.has_inbound() {
                self.receive(key, 0);
            }
            self.read(key);
            if let Some(connection) = self.connections.get_mut(key)
                && !connection.request_started
            {
                connection.pipelines = false;
            }
        } else if connection.unread || connection.readable || connection.has_inbound() {
            connection.transport.finish();
            connection.phase = Phase::Lingering { bytes_left: LINGER_BYTES_MAX };
            connection.deadline = self.now + self.deadlines.linger;
            self.linger(key);
        } else {
            self.close(key);
        }
    }

    /// Discards what the client still sends.
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

    pub(super) fn send_and_close(&mut self, key: usize, response: &str) {
        let connection = &mut self.connections[key];
        connection.outbound.extend_from_slice(response.as_bytes());
        connection.keep_alive = false;
        connection.deadline = self.now + self.deadlines.response;
        if connection.phase == Phase::Waiting {
            self.upstreams.remove_waiting(key);
        }
        connection.phase = Phase::Answering { upstream: None };
        self.eviction.make_evictable(connection.limited_address, connection.eviction_key, key);
        self.flush(key);
    }

    /// Closes a connection in any phase.
    pub(super) fn close(&mut self, key: usize) {
        let connection = self.connections.remove(key);
        self.eviction.remove(connection.limited_address, connection.eviction_key);
        if connection.handshake_queued {
            self.handshakes.remove(key, connection.limited_address);
        }
        self.counters.closed();
        match connection.phase {
            Phase::Waiting => self.upstreams.remove_waiting(key),
            Phase::Answering { upstream: Some(upstream) } => {
                // The response is read to its end nevertheless, so the requests at tiny_http
                // stay bounded.
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

    /// Counts a rejection and logs it.
    pub(super) fn count_rejection(&mut self, reason: Reason, address: Option<IpAddr>) {
        self.count_rejected_request(reason, address, &[]);
    }

    fn count_rejected_request(&mut self, reason: Reason, address: Option<IpAddr>, received: &[u8]) {
        self.counters.count(reason);
        let Some(omitted) = self.rejection_log.next_line(reason, self.now) else {
            return;
        };
        let peer = address.map_or("a Unix socket".into(), |address| address.to_string());
        let more = if omitted > 0 {
            format!(" ({omitted} more since the last such line)")
        } else {
            String::new()
        };
        log::info!("rejected {peer}: {}{more}", reason.describe(received));
    }

    /// Rejects a request: responds with the reason if the client can read it, and closes.
    pub(super) fn reject(&mut self, key: usize, reason: Reason) {
        let connection = &mut self.connections[key];
        connection.unread = true;
        let (address, received) = (connection.address, connection.take_inbound());
        self.count_rejected_request(reason, address, &received);
        match reason.response(&received) {
            Some(response) => self.send_and_close(key, &response),
            None => self.close(key),
        }
    }
}

/// A redirect from http to https. `base` is the public URL without a final slash; `target` is a
/// valid request target.
pub(super) fn redirect(base: &str, target: &str) -> String {
    let path = if target == "*" { "/" } else { target };
    format!(
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: {base}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}
