//! A request as sent to tiny_http: HTTP/1.0 with keep-alive, so tiny_http never responds in chunks.

use std::io::Write;

use crate::http::Request;

/// The header with the client's address. Only the door can write it: it removes what clients send
/// under that name.
pub const PEER_HEADER: &str = "X-Hallpass-Peer";

/// Appends the request to `bytes`.
pub fn write(request: &Request, bytes: &mut Vec<u8>) {
    let peer = request.peer.map_or("unix".to_owned(), |address| address.to_string());
    let Request { method, target, headers, body, .. } = request;
    let mut line = |text: std::fmt::Arguments| {
        bytes.write_fmt(text).expect("writing to a Vec cannot fail");
        bytes.extend_from_slice(b"\r\n");
    };
    line(format_args!("{method} {target} HTTP/1.0"));
    line(format_args!("Connection: keep-alive"));
    line(format_args!("{PEER_HEADER}: {peer}"));
    for (name, value) in headers {
        line(format_args!("{name}: {value}"));
    }
    if !body.is_empty() {
        line(format_args!("Content-Length: {}", body.len()));
    }
    line(format_args!(""));
    bytes.extend_from_slice(body);
}
