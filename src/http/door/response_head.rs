//! The head of a response, written from a [`Response`] or from the head that tiny_http sent.

use super::limits::HEADERS_MAX;
use crate::http::{Response, SERVER};

/// Headers of tiny_http that are not passed on: the door writes its own, or they concern the
/// upstream connection only.
const REPLACED: [&str; 4] = ["connection", "keep-alive", "trailer", "upgrade"];

/// Additions of the door to the head of a response.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionOptions {
    /// Whether the connection stays open for another request.
    pub keep_alive: bool,
    /// Whether the connection uses TLS, and the client is told to use it from now on (RFC 6797).
    pub secure: bool,
}

impl ConnectionOptions {
    /// Appends these headers and the empty line that ends a head.
    fn write(self, outbound: &mut Vec<u8>) {
        if self.secure {
            outbound.extend_from_slice(b"Strict-Transport-Security: max-age=31536000\r\n");
        }
        let connection: &[u8] = if self.keep_alive {
            b"Connection: keep-alive\r\n\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        };
        outbound.extend_from_slice(connection);
    }
}

/// Appends the head of a response with that `Date`.
pub fn write(response: &Response, options: ConnectionOptions, date: &str, outbound: &mut Vec<u8>) {
    let status = response.status;
    write_status_line(status, response.reason_phrase(), outbound);
    write_header("Server", SERVER.as_bytes(), outbound);
    write_header("Date", date.as_bytes(), outbound);
    for (name, value) in &response.headers {
        write_header(name, value.as_bytes(), outbound);
    }
    if status != 204 {
        write_header("Content-Length", response.body.len().to_string().as_bytes(), outbound);
    }
    options.write(outbound);
}

fn write_status_line(status: u16, reason: &str, outbound: &mut Vec<u8>) {
    outbound.extend_from_slice(b"HTTP/1.1 ");
    outbound.extend_from_slice(&[100, 10, 1].map(|unit| b'0' + (status / unit % 10) as u8));
    outbound.push(b' ');
    outbound.extend_from_slice(reason.as_bytes());
    outbound.extend_from_slice(b"\r\n");
}

fn write_header(name: &str, value: &[u8], outbound: &mut Vec<u8>) {
    outbound.extend_from_slice(name.as_bytes());
    outbound.extend_from_slice(b": ");
    outbound.extend_from_slice(value);
    outbound.extend_from_slice(b"\r\n");
}

/// The lengths of a relayed response.
#[derive(Debug, PartialEq, Eq)]
pub struct RelayedHead {
    /// The length in bytes of the head that tiny_http sent.
    pub head_length: usize,
    /// How many bytes of body follow it.
    pub body_length: u64,
}

/// A response without a certain end, or with a header value that is not printable ASCII. Its
/// connection must be closed.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidResponse;

/// Reads the head at the start of `bytes`, and appends the one for the client to `outbound`; `None`
/// if it is incomplete. No body follows if the request was HEAD (`to_head`).
pub fn relay(
    bytes: &[u8],
    to_head: bool,
    options: ConnectionOptions,
    outbound: &mut Vec<u8>,
) -> Result<Option<RelayedHead>, InvalidResponse> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_length) =
        response.parse(bytes).map_err(|_| InvalidResponse)?
    else {
        return Ok(None);
    };
    let (Some(status), Some(reason)) = (response.code, response.reason) else {
        return Err(InvalidResponse);
    };
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
    if !response.headers.iter().all(|header| header.value.iter().all(is_printable)) {
        return Err(InvalidResponse);
    }
    let Some(body_length) = body_length(status, response.headers, to_head) else {
        return Err(InvalidResponse);
    };

    write_status_line(status, reason, outbound);
    for header in response.headers.iter() {
        // tiny_http writes a length where there must be none (RFC 9110, section 8.6).
        let is_superfluous = status == 204 && header.name.eq_ignore_ascii_case("content-length");
        if !is_superfluous && !REPLACED.iter().any(|name| header.name.eq_ignore_ascii_case(name)) {
            write_header(header.name, header.value, outbound);
        }
    }
    options.write(outbound);
    Ok(Some(RelayedHead { head_length, body_length }))
}

/// The length of the body that follows; `None` if it is uncertain.
fn body_length(status: u16, headers: &[httparse::Header<'_>], to_head: bool) -> Option<u64> {
    let mut length = None;
    for header in headers {
        if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
        if header.name.eq_ignore_ascii_case("content-length") {
            if length.is_some() {
                return None;
            }
            length = Some(std::str::from_utf8(header.value).ok()?.parse().ok()?);
        }
    }
    match status {
        204 | 304 => Some(0),
        200..=599 if to_head => Some(0),
        200..=599 => length,
        _ => None,
    }
}
