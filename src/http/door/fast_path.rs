//! Requests that the door answers itself. Relaying one through two more threads takes ten times as
//! long as answering it.

use super::connection::Phase;
use super::event_loop::EventLoop;
use super::response_head::{self, ConnectionOptions};
use crate::clock;
use crate::http::{Request, Response};

/// The response to a request, if it is known without blocking. Called on the door's thread.
pub type FastPath = Box<dyn Fn(&Request) -> Option<Response> + Send>;

impl EventLoop {
    /// Answers a whole request if that does not block; false if the request must go to tiny_http.
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
