//! What need not go inside: two more threads would take ten times as long to hand it on as it takes to answer it.

use std::net::IpAddr;

use super::connection::Phase;
use super::event_loop::EventLoop;
use super::request_head::HEADERS_MAX;
use super::response_head::{self, ConnectionOptions};
use crate::http::Request;

/// The answer to a request without a body as an HTTP/1.1 message with a length, if it can be told without waiting for
/// anything; called on the door's own thread.
pub type FastPath = Box<dyn Fn(&Request) -> Option<Vec<u8>> + Send>;

impl EventLoop {
    /// Answers the client's request, which is whole, if that can be done at once; false if it must go inside.
    pub(super) fn answer_from_cache(&mut self, key: usize) -> bool {
        let client = &mut self.clients[key];
        let request = request(&client.request, client.address);
        let Some(message) = request.and_then(|request| (self.fast_path)(&request)) else {
            return false;
        };
        client.keep_alive &= self.stopping.is_none();
        let manner =
            ConnectionOptions { keep_alive: client.keep_alive, secure: client.transport.is_tls() };
        let Ok(Some(answer)) =
            response_head::relay(&message, client.is_head, manner, &mut client.outbound)
        else {
            return false;
        };
        client.outbound.extend_from_slice(&message[answer.head_length..]);
        client.phase = Phase::Answering { inner: None };
        client.deadline = self.now + self.deadlines.answer;
        self.eviction.make_evictable(client.limited_address, client.eviction_key, key);
        self.flush_client(key);
        true
    }
}

/// What goes inside as a plain value; none if it has a body.
fn request(inside: &[u8], peer: Option<IpAddr>) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    if request.parse(inside) != Ok(httparse::Status::Complete(inside.len())) {
        return None;
    }
    let text = |value: &[u8]| std::str::from_utf8(value).map(str::to_owned).ok();
    let headers =
        request.headers.iter().map(|header| Some((header.name.to_owned(), text(header.value)?)));
    Some(Request {
        method: request.method?.to_owned(),
        target: request.path?.to_owned(),
        headers: headers.collect::<Option<_>>()?,
        body: Vec::new(),
        peer,
    })
}
