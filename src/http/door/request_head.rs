//! The head of a request: either it has exactly one meaning, or it is refused.
//!
//! It is read here once. Whatever needs it later, tiny_http included, gets it from the [`Request`] that was understood, so
//! nobody can read anything else into it. The rules are those of RFC 9112: the leniency it asks for, and none that it only
//! permits.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::net::IpAddr;

use percent_encoding::{AsciiSet, percent_encode};

use super::reject::Reason;
use super::request_body::{BODY_BYTES_MAX, RequestBody};
use super::request_target::{self, Target};
use crate::http::Request;

/// The longest head, from the method to the empty line.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most header lines; browsers behind a proxy send about 30.
pub const HEADERS_MAX: usize = 100;

/// Headers that concern one connection only, and end at the door. The length is told by the body itself.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// A request whose body may still be to come, and what the door itself must know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many bytes of the client's stream the head takes.
    pub length: usize,
    /// The body that follows.
    pub body: RequestBody,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the client wants to send another request afterwards.
    pub keep_alive: bool,
    /// The request without its body.
    pub request: Request,
}

/// Who asks, and which of their headers count.
#[derive(Clone, Copy, Debug)]
pub struct HeaderPolicy {
    /// The client's address; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
    /// The only headers that are read, in any case of letters; all of them if `None`.
    pub headers: Option<&'static [&'static str]>,
}

/// Reads the head at the start of `bytes`; `None` if it is not complete yet.
///
/// # Errors
/// Why it is not a request, or not one that is let in.
pub fn parse_request(bytes: &[u8], policy: HeaderPolicy) -> Result<Option<Head>, Reason> {
    // Never more, so that the outcome does not depend on how many bytes happened to come together.
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    // This skips empty lines before the request line (RFC 9112, section 2.2).
    let parsed = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(parsed) => parsed,
        Err(httparse::Error::TooManyHeaders) => return Err(Reason::TooManyHeaders),
        Err(httparse::Error::Version) => return parse_other_version(bytes, policy),
        Err(_) => return Err(Reason::Malformed),
    };
    let length = match parsed {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => bytes.len(),
    };
    // httparse takes a line feed alone for the end of a line.
    if has_bare_line_feed(&bytes[..length]) {
        return Err(Reason::Malformed);
    }
    if parsed.is_partial() && length == HEAD_BYTES_MAX {
        return Err(Reason::HeadersTooLarge);
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Ok(None);
    };
    let target = request_target::parse(method, target)?;
    if parsed.is_partial() {
        return Ok(None);
    }
    let mut head = frame(request.headers, version)?;
    head.length = length;
    head.request = Request {
        method: method.to_owned(),
        headers: headers_read(&target, request.headers, policy.headers),
        target: target.origin_form.into_owned(),
        body: Vec::new(),
        peer: policy.peer,
    };
    Ok(Some(head))
}

/// HTTP/1.2 to 1.9 are read as HTTP/1.1, the newest minor version known here (RFC 9110, section 2.5).
fn parse_other_version(bytes: &[u8], policy: HeaderPolicy) -> Result<Option<Head>, Reason> {
    // Two words and then a version: anything else is not HTTP at all.
    let third = bytes.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    if !third.starts_with(b"HTTP/") {
        return Err(Reason::Malformed);
    }
    if !matches!(third, [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9', ..]) {
        return Err(Reason::Version);
    }
    let minor = bytes.len() - third.len() + b"HTTP/1.".len();
    let mut known = bytes.to_vec();
    known[minor] = b'1';
    parse_request(&known, policy)
}

/// Names the longest line of a head that is too long: a header, never its value, or the request line.
pub(super) fn longest_line(head: &[u8]) -> String {
    /// Longer than any name in use, and shorter than any secret.
    const NAME_BYTES_MAX: usize = 40;
    let head = &head[..head.len().min(HEAD_BYTES_MAX)];
    let first = head.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or_default();
    let lines = head[first..].split(|byte| *byte == b'\n').enumerate();
    let Some((at, line)) = lines.max_by_key(|(_, line)| line.len()).filter(|(at, _)| *at > 0)
    else {
        return "the request line".into();
    };
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    match std::str::from_utf8(name) {
        Ok(name) if name.len() <= NAME_BYTES_MAX && !name.is_empty() => {
            format!("the header {name}")
        }
        _ => format!("header number {at}"),
    }
}

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
}

/// Where the request ends, and what becomes of the connection then.
fn frame(headers: &[httparse::Header<'_>], version: u8) -> Result<Head, Reason> {
    let mut head = Head {
        length: 0,
        body: RequestBody::Length { missing: 0 },
        expects_continue: false,
        keep_alive: version == 1,
        request: Request::default(),
    };
    let mut hosts = 0;
    let mut lengths = 0;
    let mut codings = 0;
    let mut is_chunked = false;
    let mut wants_close = false;
    for header in headers {
        if header.name.eq_ignore_ascii_case("content-length") {
            lengths += 1;
            head.body = RequestBody::Length { missing: content_length(header.value)? };
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            codings += 1;
            is_chunked = header.value.eq_ignore_ascii_case(b"chunked");
        } else if header.name.eq_ignore_ascii_case("host") {
            hosts += 1;
            if !request_target::is_host(header.value) {
                return Err(Reason::Malformed);
            }
        } else if header.name.eq_ignore_ascii_case("expect") {
            if !header.value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Reason::Expectation);
            }
            // An HTTP/1.0 client would take the 100 for the answer (RFC 9110, section 10.1.1).
            head.expects_continue = version == 1;
        } else if header.name.eq_ignore_ascii_case("connection") {
            for option in header.value.split(|byte| *byte == b',') {
                wants_close |= option.trim_ascii().eq_ignore_ascii_case(b"close");
                head.keep_alive |= option.trim_ascii().eq_ignore_ascii_case(b"keep-alive");
            }
        }
    }
    head.keep_alive &= !wants_close;
    if lengths > 1 || hosts > 1 || (hosts == 0 && version == 1) {
        return Err(Reason::Malformed);
    }
    if codings > 0 {
        // With a length beside it, or over HTTP/1.0, somebody on the way may have read another end (RFC 9112, 6.1).
        if codings > 1 || !is_chunked || lengths > 0 || version == 0 {
            return Err(Reason::TransferEncoding);
        }
        head.body = RequestBody::CHUNKED;
    }
    if matches!(head.body, RequestBody::Length { missing } if missing > BODY_BYTES_MAX) {
        return Err(Reason::TooLarge);
    }
    Ok(head)
}

fn content_length(value: &[u8]) -> Result<usize, Reason> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Reason::Malformed);
    }
    // More digits than a number holds are a length all the same, and too large.
    Ok(std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX))
}

/// The headers that count, with the target's authority as the host if it has one (RFC 9112, section 3.2.2).
fn headers_read(
    target: &Target<'_>,
    headers: &[httparse::Header<'_>],
    only: Option<&[&'static str]>,
) -> Vec<(Cow<'static, str>, String)> {
    let mut read = Vec::with_capacity(headers.len());
    if let Some(authority) = target.authority {
        read.extend(name_read("Host", only).map(|name| (name, authority.to_owned())));
    }
    let is_replaced = |name: &str| target.authority.is_some() && name.eq_ignore_ascii_case("host");
    for header in headers.iter().filter(|header| !is_replaced(header.name)) {
        if let Some(name) = name_read(header.name, only) {
            read.push((name, value_read(header.value)));
        }
    }
    read
}

/// The name of a header that counts: not one that concerns the connection only, or speaks in the door's name.
fn name_read(name: &str, only: Option<&[&'static str]>) -> Option<Cow<'static, str>> {
    let known = |names: &[&'static str]| {
        names.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
    };
    let wanted = match only {
        Some(only) => Cow::Borrowed(known(only)?),
        None => Cow::Owned(name.to_owned()),
    };
    (!speaks_for_us(name) && known(&HOP_BY_HOP).is_none()).then_some(wanted)
}

/// Whether the header has the door's own prefix. Some servers read an underscore for a hyphen.
fn speaks_for_us(name: &str) -> bool {
    const OURS: &[u8] = b"x-hallpass-";
    let is_ours =
        |(byte, ours): (u8, &u8)| byte.eq_ignore_ascii_case(ours) || byte == b'_' && *ours == b'-';
    name.len() >= OURS.len() && name.bytes().zip(OURS).all(is_ours)
}

/// A value in ASCII. Other applications' cookies may hold other bytes, on which tiny_http would hang up.
fn value_read(value: &[u8]) -> String {
    percent_encode(value, &AsciiSet::EMPTY).to_string()
}
