//! The head of a request: either it has exactly one meaning, or it is refused.
//!
//! What goes inside is written anew from what was understood here, so that whoever parses it next cannot read anything
//! else into it. The rules are those of RFC 9112: the leniency it asks for, and none that it only permits.

use std::mem::MaybeUninit;

use percent_encoding::{AsciiSet, percent_encode};

use super::reject::Reason;
use super::request_body::{BODY_BYTES_MAX, RequestBody};
use super::request_target::{self, Target};

/// The longest head, from the method to the empty line.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most header lines; browsers behind a proxy send about 30.
pub const HEADERS_MAX: usize = 100;

/// Headers that concern one connection only, and end at the door.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

/// What the door itself must know of a request it lets in.
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
    /// Whether the method is HEAD, whose answer has no body whatever its headers say.
    pub is_head: bool,
}

/// What the door adds to a request, and what it keeps outside.
#[derive(Clone, Copy, Debug)]
pub struct HeaderPolicy<'a> {
    /// Whole header lines that the door adds.
    pub peer_header: &'a str,
    /// The only headers of the client that go inside, in any case of letters; all of them if `None`.
    pub headers: Option<&'a [&'a str]>,
}

/// Reads the head at the start of `bytes` and appends to `inside` what goes inside instead of it.
///
/// `None` means that the head is not complete yet; `inside` is
/// as before then, and after a refusal.
///
/// What goes inside is HTTP/1.0 with keep-alive: tiny_http then never sends chunks, so that every answer has one
/// length.
pub fn parse_request(
    bytes: &[u8],
    policy: HeaderPolicy<'_>,
    inside: &mut Vec<u8>,
) -> Result<Option<Head>, Reason> {
    // Never more, so that the outcome does not depend on how many bytes happened to come together.
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    // This skips empty lines before the request line (RFC 9112, section 2.2).
    let parsed = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(parsed) => parsed,
        Err(httparse::Error::TooManyHeaders) => return Err(Reason::TooManyHeaders),
        Err(httparse::Error::Version) => return parse_other_version(bytes, policy, inside),
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
    head.is_head = method == "HEAD";
    rebuild(method, &target, request.headers, policy, inside);
    Ok(Some(head))
}

/// HTTP/1.2 to 1.9 are read as HTTP/1.1, the newest minor version known here (RFC 9110, section 2.5).
fn parse_other_version(
    bytes: &[u8],
    policy: HeaderPolicy<'_>,
    inside: &mut Vec<u8>,
) -> Result<Option<Head>, Reason> {
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
    parse_request(&known, policy, inside)
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
        is_head: false,
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

fn rebuild(
    method: &str,
    target: &Target<'_>,
    headers: &[httparse::Header<'_>],
    policy: HeaderPolicy<'_>,
    inside: &mut Vec<u8>,
) {
    for part in [method, " ", &target.origin_form, " HTTP/1.0\r\nConnection: keep-alive\r\n"] {
        inside.extend_from_slice(part.as_bytes());
    }
    inside.extend_from_slice(policy.peer_header.as_bytes());
    if let Some(authority) = target.authority
        && goes_inside("host", policy.headers)
    {
        for part in ["Host: ", authority, "\r\n"] {
            inside.extend_from_slice(part.as_bytes());
        }
    }
    let is_replaced = |name: &str| target.authority.is_some() && name.eq_ignore_ascii_case("host");
    for header in headers {
        if is_replaced(header.name) || !goes_inside(header.name, policy.headers) {
            continue;
        }
        inside.extend_from_slice(header.name.as_bytes());
        inside.extend_from_slice(b": ");
        if header.value.is_ascii() {
            inside.extend_from_slice(header.value);
        } else {
            // tiny_http hangs up on it without a word, and other applications' cookies may hold such bytes.
            let encoded = percent_encode(header.value, &AsciiSet::EMPTY);
            inside.extend(encoded.flat_map(str::bytes));
        }
        inside.extend_from_slice(b"\r\n");
    }
    inside.extend_from_slice(b"\r\n");
}

/// Whether a header of the client goes inside: not if it concerns the connection only, or speaks in the door's name.
fn goes_inside(name: &str, only: Option<&[&str]>) -> bool {
    const OURS: &[u8] = b"x-hallpass-";
    // Some read an underscore for a hyphen.
    let speaks_for_us = name.len() >= OURS.len()
        && name
            .bytes()
            .zip(OURS)
            .all(|(byte, ours)| byte.eq_ignore_ascii_case(ours) || byte == b'_' && *ours == b'-');
    let is_among = |names: &[&str]| names.iter().any(|among| among.eq_ignore_ascii_case(name));
    // Without its length, a body would be taken for the next request.
    let is_wanted = only.is_none_or(|only| is_among(only) || is_among(&["content-length"]));
    is_wanted && !speaks_for_us && !is_among(&HOP_BY_HOP)
}
