//! Why the door turned somebody away, and what it says to them.

/// Why a connection was closed by the door itself. Most are told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not one well-formed HTTP/1.0 or HTTP/1.1 request.
    Malformed,
    /// The request was not whole within its deadline.
    Timeout,
    /// A body whose length is not announced (any Transfer-Encoding).
    LengthRequired,
    /// A body above the limit.
    TooLarge,
    /// A head with too many bytes or too many lines.
    HeadersTooLarge,
    /// Another version of HTTP.
    Version,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// Nothing inside can answer.
    InnerUnavailable,
    /// Made room for a newer connection, or found none that could be asked to.
    Evicted,
    /// Too many connections of one address.
    PerAddress,
    /// The TLS handshake failed, or did not end in time.
    Tls,
    /// The operating system could not hand over a connection.
    AcceptError,
}

impl Reason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Reason; 12] = [
        Reason::Malformed,
        Reason::Timeout,
        Reason::LengthRequired,
        Reason::TooLarge,
        Reason::HeadersTooLarge,
        Reason::Version,
        Reason::Expectation,
        Reason::InnerUnavailable,
        Reason::Evicted,
        Reason::PerAddress,
        Reason::Tls,
        Reason::AcceptError,
    ];

    /// Its name in metrics and in the log.
    pub fn label(self) -> &'static str {
        match self {
            Reason::Malformed => "malformed",
            Reason::Timeout => "timeout",
            Reason::LengthRequired => "length_required",
            Reason::TooLarge => "too_large",
            Reason::HeadersTooLarge => "headers_too_large",
            Reason::Version => "version",
            Reason::Expectation => "expectation",
            Reason::InnerUnavailable => "inner_unavailable",
            Reason::Evicted => "evicted",
            Reason::PerAddress => "per_address",
            Reason::Tls => "tls",
            Reason::AcceptError => "accept_error",
        }
    }

    /// The whole answer for the client; none where nobody would read it.
    pub(super) fn answer(self) -> Option<String> {
        let (status, code, text) = match self {
            Reason::Malformed => {
                ("400 Bad Request", "invalid_request", "the request is not well-formed HTTP/1.1")
            }
            Reason::Timeout => {
                ("408 Request Timeout", "request_timeout", "the request took too long to arrive")
            }
            Reason::LengthRequired => (
                "411 Length Required",
                "length_required",
                "a body needs a Content-Length and no Transfer-Encoding",
            ),
            Reason::TooLarge => {
                ("413 Content Too Large", "payload_too_large", "the body is too large")
            }
            Reason::HeadersTooLarge => (
                "431 Request Header Fields Too Large",
                "headers_too_large",
                "the headers are too large or too many",
            ),
            Reason::Version => (
                "505 HTTP Version Not Supported",
                "http_version_not_supported",
                "only HTTP/1.0 and HTTP/1.1 are spoken here",
            ),
            Reason::Expectation => (
                "417 Expectation Failed",
                "invalid_request",
                "the only expectation met is 100-continue",
            ),
            Reason::InnerUnavailable => (
                "503 Service Unavailable\r\nRetry-After: 1",
                "temporarily_unavailable",
                "the server is busy, please try again",
            ),
            Reason::Evicted | Reason::PerAddress | Reason::Tls | Reason::AcceptError => {
                return None;
            }
        };
        let body = format!(r#"{{"error":"{code}","error_description":"{text}"}}"#);
        Some(format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len(),
        ))
    }
}

/// The answer that sends a browser from http to https: `base` is the public URL without a slash at its end, `target` a
/// checked request target.
pub(super) fn redirect(base: &str, target: &str) -> String {
    let path = if target == "*" { "/" } else { target };
    format!(
        "HTTP/1.1 308 Permanent Redirect\r\nLocation: {base}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}
