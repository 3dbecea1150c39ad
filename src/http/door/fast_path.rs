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
        let client = &mut self.clients[key];
        if !client.request.body.is_empty() {
            return false;
        }
        let Some(response) = (self.fast_path)(&client.request) else {
            return false;
        };
        client.keep_alive &= self.stopping.is_none();
        let options =
            ConnectionOptions { keep_alive: client.keep_alive, secure: client.transport.is_tls() };
        let date = self.date.at(clock::now());
        response_head::write(&response, options, date, &mut client.outbound);
        if !client.is_head() {
            client.outbound.extend_from_slice(&response.body);
        }
        client.phase = Phase::Answering { inner: None };
        client.deadline = self.now + self.deadlines.answer;
        client.eviction_key = self.eviction.renew(client.limited_address, client.eviction_key, key);
        self.flush_client(key);
        true
    }
}
