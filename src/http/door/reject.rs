//! Rejections: reasons, responses and log lines.

use std::time::{Duration, Instant};

use super::limits::{BODY_BYTES_MAX, CHUNKED_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_MAX};

/// The shortest time between two log lines with the same reason.
const LOG_PERIOD: Duration = Duration::from_secs(1);

/// Why the door rejected a request or closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not one well-formed HTTP/1.0 or HTTP/1.1 request.
    Malformed,
    /// The request was not whole within its deadline.
    Timeout,
    /// A Transfer-Encoding other than `chunked` alone, over HTTP/1.1 and without Content-Length.
    TransferEncoding,
    /// A body above the limit.
    TooLarge,
    /// Request line and headers above the limit.
    HeadersTooLarge,
    /// Too many header lines.
    TooManyHeaders,
    /// A major version of HTTP other than 1.
    Version,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// tiny_http cannot respond in time.
    UpstreamUnavailable,
    /// Closed for a newer connection because the door was full, or not accepted because none could
    /// be closed.
    Evicted,
    /// Closed for a newer connection because the network had too many, or not accepted for the same
    /// reason.
    PerAddress,
    /// The TLS handshake failed or took too long.
    Tls,
    /// The operating system could not hand over a connection.
    AcceptError,
}

impl Reason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Reason; 13] = [
        Reason::Malformed,
        Reason::Timeout,
        Reason::TransferEncoding,
        Reason::TooLarge,
        Reason::HeadersTooLarge,
        Reason::TooManyHeaders,
        Reason::Version,
        Reason::Expectation,
        Reason::UpstreamUnavailable,
        Reason::Evicted,
        Reason::PerAddress,
        Reason::Tls,
        Reason::AcceptError,
    ];

    /// Its label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::Timeout => "timeout",
            Reason::TransferEncoding => "transfer_encoding",
            Reason::TooLarge => "too_large",
            Reason::HeadersTooLarge => "headers_too_large",
            Reason::TooManyHeaders => "too_many_headers",
            Reason::Version => "version",
            Reason::Expectation => "expectation",
            Reason::UpstreamUnavailable => "inner_unavailable",
            Reason::Evicted => "evicted",
            Reason::PerAddress => "per_address",
            Reason::Tls => "tls",
            Reason::AcceptError => "accept_error",
        }
    }

    /// One sentence for the log and the client. `received` is the beginning of the request.
    pub(super) fn describe(self, received: &[u8]) -> String {
        match self {
            Reason::Malformed => "the request is not well-formed HTTP/1.1".into(),
            Reason::Timeout => "the request took too long to arrive".into(),
            Reason::TransferEncoding => {
                "the only Transfer-Encoding accepted is chunked, over HTTP/1.1 and without Content-Length".into()
            }
            Reason::TooLarge => format!(
                "the body is longer than {BODY_BYTES_MAX} bytes, or than {CHUNKED_BYTES_MAX} in chunks"
            ),
            Reason::HeadersTooLarge => format!(
                "the request line and headers are longer than {HEAD_BYTES_MAX} bytes; the longest is {}",
                longest_line(received)
            ),
            Reason::TooManyHeaders => format!("there are more than {HEADERS_MAX} headers"),
            Reason::Version => "only HTTP/1.0 and HTTP/1.1 are supported".into(),
            Reason::Expectation => "the only supported expectation is 100-continue".into(),
            Reason::UpstreamUnavailable => "the server is busy; try again later".into(),
            Reason::Evicted => "there was no room for another connection".into(),
            Reason::PerAddress => "the address has too many connections".into(),
            Reason::Tls => "the TLS handshake failed or took too long".into(),
            Reason::AcceptError => "the connection could not be accepted".into(),
        }
    }

    /// The status line and error code for the client; `None` if it would not be read.
    fn status(self) -> Option<(&'static str, &'static str)> {
        Some(match self {
            Reason::Malformed | Reason::TransferEncoding => ("400 Bad Request", "invalid_request"),
            Reason::Timeout => ("408 Request Timeout", "request_timeout"),
            Reason::TooLarge => ("413 Content Too Large", "payload_too_large"),
            Reason::HeadersTooLarge | Reason::TooManyHeaders => {
                ("431 Request Header Fields Too Large", "headers_too_large")
            }
            Reason::Version => ("505 HTTP Version Not Supported", "http_version_not_supported"),
            Reason::Expectation => ("417 Expectation Failed", "invalid_request"),
            Reason::UpstreamUnavailable => {
                ("503 Service Unavailable\r\nRetry-After: 1", "temporarily_unavailable")
            }
            Reason::Evicted | Reason::PerAddress | Reason::Tls | Reason::AcceptError => {
                return None;
            }
        })
    }

    /// The response for the client; `None` if it would not be read.
    pub(super) fn response(self, received: &[u8]) -> Option<String> {
        let (status, code) = self.status()?;
        let text = self.describe(received);
        let body = format!(r#"{{"error":"{code}","error_description":"{text}"}}"#);
        Some(format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len(),
        ))
    }
}

/// Limits log lines separately for each reason: a flood of one does not fill the log or hide
/// another.
#[derive(Debug, Default)]
pub(super) struct RejectionLog([Logged; Reason::ALL.len()]);

#[derive(Clone, Copy, Debug, Default)]
struct Logged {
    last: Option<Instant>,
    omitted: u64,
}

impl RejectionLog {
    /// How many rejections for this reason were not logged since its last line; `None` if this one
    /// is not logged either.
    pub(super) fn next_line(&mut self, reason: Reason, now: Instant) -> Option<u64> {
        let logged = &mut self.0[reason as usize];
        if logged.last.is_some_and(|last| now.saturating_duration_since(last) < LOG_PERIOD) {
            logged.omitted += 1;
            return None;
        }
        logged.last = Some(now);
        Some(std::mem::take(&mut logged.omitted))
    }
}

/// Names the longest line of a head that is too long, without quoting any value.
fn longest_line(head: &[u8]) -> String {
    /// Longer than the names in use, and shorter than secrets.
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
