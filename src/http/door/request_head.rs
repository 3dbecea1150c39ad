//! The head of a request: it has exactly one meaning, or it is rejected.
//!
//! It is parsed once. Everything behind it, tiny_http included, works with the resulting
//! [`Request`] and cannot read it differently. The rules are those of RFC 9112, with the leniency
//! that it requires and none that it only permits.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::net::IpAddr;

use percent_encoding::{AsciiSet, percent_encode};

use super::limits::{BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};
use super::reject::Reason;
use super::request_body::RequestBody;
use super::request_target::{self, Target};
use crate::http::Request;

/// Headers that are not passed on, because they concern only the connection or the framing of the
/// body.
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

/// A parsed head: the request, of which the body may still be missing, and its framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The length of the head in bytes.
    pub length: usize,
    /// The body that follows.
    pub body: RequestBody,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the connection stays open for another request.
    pub keep_alive: bool,
    /// The request without its body.
    pub request: Request,
}

/// The client's address, and the headers to keep.
#[derive(Clone, Copy, Debug)]
pub struct HeaderPolicy {
    /// The client's address; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
    /// The only headers that are kept, in any case of letters; all if `None`.
    pub headers: Option<&'static [&'static str]>,
}

/// Parses the head at the start of `bytes`; `None` if it is incomplete.
///
/// # Errors
/// If it is not a valid request, or exceeds a limit.
pub fn parse_request(bytes: &[u8], policy: HeaderPolicy) -> Result<Option<Head>, Reason> {
    // This makes the result independent of how many bytes arrived together.
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
    // httparse accepts a bare line feed as the end of a line.
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
    let mut head = parse_framing(request.headers, version)?;
    head.length = length;
    head.request = Request {
        method: method.to_owned(),
        headers: kept_headers(&target, request.headers, policy.headers),
        target: target.origin_form.into_owned(),
        body: Vec::new(),
        peer: policy.peer,
    };
    Ok(Some(head))
}

/// Reads HTTP/1.2 to 1.9 as HTTP/1.1 (RFC 9110, section 2.5).
fn parse_other_version(bytes: &[u8], policy: HeaderPolicy) -> Result<Option<Head>, Reason> {
    // Without a version after two words, it is not HTTP at all.
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

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r'))
}

/// Finds out where the request ends, and whether the connection stays open.
fn parse_framing(headers: &[httparse::Header<'_>], version: u8) -> Result<Head, Reason> {
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
            // An HTTP/1.0 client would take the 100 for the final response (RFC 9110, section
            // 10.1.1).
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
        // With Content-Length, or over HTTP/1.0, a proxy may have seen a different end (RFC 9112,
        // section 6.1).
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
    // A number that overflows is a valid length, but too large.
    Ok(std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX))
}

/// The headers to keep. The authority of an absolute target replaces Host (RFC 9112, section
/// 3.2.2).
fn kept_headers(
    target: &Target<'_>,
    headers: &[httparse::Header<'_>],
    only: Option<&[&'static str]>,
) -> Vec<(Cow<'static, str>, String)> {
    let mut kept = Vec::with_capacity(headers.len());
    if let Some(authority) = target.authority {
        kept.extend(kept_name("Host", only).map(|name| (name, authority.to_owned())));
    }
    let is_replaced = |name: &str| target.authority.is_some() && name.eq_ignore_ascii_case("host");
    for header in headers.iter().filter(|header| !is_replaced(header.name)) {
        if let Some(name) = kept_name(header.name, only) {
            kept.push((name, ascii_value(header.value)));
        }
    }
    kept
}

/// The name of a header to keep; `None` if it concerns only the connection, or has the door's own
/// prefix.
fn kept_name(name: &str, only: Option<&[&'static str]>) -> Option<Cow<'static, str>> {
    let known = |names: &[&'static str]| {
        names.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
    };
    let wanted = match only {
        Some(only) => Cow::Borrowed(known(only)?),
        None => Cow::Owned(name.to_owned()),
    };
    (!has_own_prefix(name) && known(&HOP_BY_HOP).is_none()).then_some(wanted)
}

/// Whether a header has the door's own prefix. Some servers treat an underscore as a hyphen.
fn has_own_prefix(name: &str) -> bool {
    const PREFIX: &[u8] = b"x-hallpass-";
    name.len() >= PREFIX.len()
        && name.bytes().zip(PREFIX).all(|(byte, expected)| {
            byte.eq_ignore_ascii_case(expected) || byte == b'_' && *expected == b'-'
        })
}

/// A value in ASCII. tiny_http would close the connection on other bytes, which cookies of other
/// applications may contain.
fn ascii_value(value: &[u8]) -> String {
    Cow::from(percent_encode(value, &AsciiSet::EMPTY)).into_owned()
}
