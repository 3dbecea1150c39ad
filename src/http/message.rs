//! Requests and responses as plain values.

use std::borrow::Cow;
use std::net::IpAddr;

use percent_encoding::{CONTROLS, utf8_percent_encode};
use serde::Serialize;

/// The value of the `Server` header.
pub const SERVER: &str = "hallpass";

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// As sent.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names and values, as sent.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// At most [`super::door::BODY_BYTES_MAX`].
    pub body: Vec<u8>,
    /// The address of the connection; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names and values; every value is printable ASCII.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// Empty for none.
    pub body: Vec<u8>,
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split(['?', '#']).next().unwrap_or_default()
    }

    /// The decoded names and values of the query.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        url::form_urlencoded::parse(query.as_bytes())
    }

    /// The decoded values of a query parameter.
    pub fn query(&self, name: &str) -> impl Iterator<Item = String> {
        self.query_pairs().filter(move |(n, _)| n == name).map(|(_, value)| value.into_owned())
    }

    /// All values of a header.
    pub fn headers_named(&self, name: &str) -> impl Iterator<Item = &str> + Clone {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers_named(name).next()
    }

    /// The bearer tokens in `Authorization` (RFC 6750, section 2.1).
    pub fn bearers(&self) -> impl Iterator<Item = &str> {
        self.credentials("Bearer")
    }

    /// The Basic credentials in `Authorization` (RFC 7617), still in base64.
    pub fn basic_credentials(&self) -> impl Iterator<Item = &str> {
        self.credentials("Basic")
    }

    /// The credentials of one scheme in `Authorization`. Other schemes are ignored.
    fn credentials(&self, scheme: &'static str) -> impl Iterator<Item = &str> {
        self.headers_named("Authorization").filter_map(move |value| {
            let (other, credentials) = value.trim().split_once(' ')?;
            other.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
        })
    }

    /// The media type of the body, without parameters, in lower case.
    pub fn media_type(&self) -> Option<String> {
        let value = self.header("Content-Type")?;
        Some(value.split(';').next()?.trim().to_ascii_lowercase())
    }

    /// Whether this is a browser navigation, which can be shown a page or redirected to one.
    /// Everything else counts as a program, including clients that accept anything (`*/*`), such as
    /// curl, git, WebDAV clients and cron jobs.
    pub fn wants_page(&self) -> bool {
        let absent_or = |name, expected| self.header(name).is_none_or(|value| value == expected);
        let is_script = self
            .header("X-Requested-With")
            .is_some_and(|value| value.eq_ignore_ascii_case("XMLHttpRequest"));
        let navigates = self.header("Sec-Fetch-Mode") == Some("navigate");
        absent_or("Sec-Fetch-Mode", "navigate")
            && absent_or("Sec-Fetch-Dest", "document")
            && !is_script
            && !self.has_basic_credentials()
            && (navigates || self.accepts_html())
    }

    fn has_basic_credentials(&self) -> bool {
        self.headers_named("Authorization").any(|value| {
            value
                .split_whitespace()
                .next()
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("Basic"))
        })
    }

    fn accepts_html(&self) -> bool {
        self.headers_named("Accept")
            .flat_map(|value| value.split(','))
            .filter_map(|range| range.split(';').next())
            .map(str::trim)
            .any(|kind| {
                ["text/html", "application/xhtml+xml"]
                    .iter()
                    .any(|page| kind.eq_ignore_ascii_case(page))
            })
    }
}

impl Response {
    /// A response without a body.
    pub fn empty(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A JSON document.
    pub fn json(status: u16, document: &impl Serialize) -> Response {
        let text = serde_json::to_string(document).expect("every key of a document is a string");
        Response::text(status, "application/json", text)
    }

    /// A document in UTF-8.
    pub fn text(status: u16, media_type: &str, document: String) -> Response {
        let mut response =
            Response::empty(status).with("Content-Type", format!("{media_type}; charset=utf-8"));
        response.body = document.into_bytes();
        response
    }

    /// Redirects to a page that is fetched with GET.
    pub fn see_other(location: String) -> Response {
        Response::empty(303).with("Location", location)
    }

    /// Adds a header. The value is percent-encoded where it is not printable ASCII: tiny_http would
    /// send line breaks unchanged (CVE-2026-66753), and drop headers that are not ASCII.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Response {
        let mut value = value.into();
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            value = utf8_percent_encode(&value, CONTROLS).to_string().into();
        }
        self.headers.push((name, value));
        self
    }

    /// The reason phrase of RFC 9110, for the statuses that the door sends itself.
    pub fn reason_phrase(&self) -> &'static str {
        match self.status {
            200 => "OK",
            302 => "Found",
            401 => "Unauthorized",
            403 => "Forbidden",
            503 => "Service Unavailable",
            // The phrase may be empty (RFC 9112, section 4).
            _ => "",
        }
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }
}
