//! Requests that the door answers itself: two more threads would take ten times as long to pass one on as it takes to
//! answer it.

use super::connection::Phase;
use super::event_loop::EventLoop;
use super::response_head::{self, ConnectionOptions};
use crate::clock;
use crate::http::{Request, Response};

/// The answer to a request, if it takes no waiting for anything; called on the door's own thread.
pub type FastPath = Box<dyn Fn(&Request) -> Option<Response> + Send>;

impl EventLoop {
    /// Answers the client's request, which is whole, if it takes no waiting; false if it must go to tiny_http.
    pub(super) fn answer_from_cache(&mut self, key: usize) -> bool {
        let connection = &mut self.connections[key];
        if !connection.request.body.is_empty() {
            return false;
        }
        let Some(response) = (self.fast_path)(&connection.request) else {
            return false;
        };
        connection.keep_alive &= self.stopping_until.is_none();
        let options = ConnectionOptions {
            keep_alive: connection.keep_alive,
            secure: connection.transport.is_tls(),
        };
        let date = self.date.at(clock::now());
        response_head::write(&response, options, date, &mut connection.outbound);
        if !connection.is_head() {
            connection.outbound.extend_from_slice(&response.body);
        }
        connection.phase = Phase::Answering { upstream: None };
        connection.deadline = self.now + self.deadlines.response;
        connection.eviction_key =
            self.eviction.renew(connection.limited_address, connection.eviction_key, key);
        self.flush(key);
        true
    }
}
