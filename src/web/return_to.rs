//! Return addresses after sign-in: only our own hosts, never a foreign one.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use url::{Url, form_urlencoded};

use super::settings::{Settings, is_within};
use crate::http::Request;

/// The longest address as an encoded `rd`: proxies accept request lines of 8 KiB.
const ENCODED_BYTES_MAX: usize = 8000;
/// Bytes that browsers may send in a path or query and that [`parse`] does not accept.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'\\');

/// Returns `text` if it is one of our paths, one of our URLs, or a URL under --cookie-domain.
///
/// Only printable ASCII without backslashes is accepted, because browsers could read anything else
/// differently.
pub fn parse(text: &str, settings: &Settings) -> Option<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if text.is_empty() || !plain || encoded_length(text) > ENCODED_BYTES_MAX {
        return None;
    }
    let good = if text.starts_with('/') {
        is_own_path(text, settings)
    } else {
        is_own_url(text, settings)
    };
    good.then(|| text.to_owned())
}

/// The request's own `rd`.
pub fn requested(request: &Request, settings: &Settings) -> Option<String> {
    request.query("rd").next().and_then(|rd| parse(&rd, settings))
}

/// The address of the request that a trusted proxy asks about: from its three X-Forwarded headers
/// or, unless all are present, from X-Original-URL.
pub fn forwarded(request: &Request, settings: &Settings) -> Option<String> {
    if !settings.trusted_proxies.trusts(request.peer) {
        return None;
    }
    let header = |name| request.header(name).filter(|value| !value.is_empty());
    let first = |name| first_forwarded(request, name);
    let encode = |text| utf8_percent_encode(text, UNSAFE);
    let parts = (first("X-Forwarded-Proto"), first("X-Forwarded-Host"), header("X-Forwarded-Uri"));
    let address = match parts {
        (Some(scheme), Some(host), Some(uri)) => {
            format!("{scheme}://{host}{}", encode(uri.starts_with('/').then_some(uri)?))
        }
        _ => encode(header("X-Original-URL").filter(|url| !url.starts_with('/'))?).to_string(),
    };
    parse(&address, settings)
}

/// The first value of an X-Forwarded header. Each proxy in a chain adds its own; the browser
/// reached the first one.
pub fn first_forwarded<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let first = request.header(name)?.split(',').next()?.trim();
    (!first.is_empty()).then_some(first)
}

fn encoded_length(text: &str) -> usize {
    form_urlencoded::byte_serialize(text.as_bytes()).map(str::len).sum()
}

/// Parsers take `//evil` and `/..//evil` for paths, browsers for hosts.
fn is_own_path(path: &str, settings: &Settings) -> bool {
    let resolved = settings.public_url.join(path);
    resolved.is_ok_and(|url| {
        url.origin() == settings.public_url.origin() && !url.path().starts_with("//")
    })
}

fn is_own_url(text: &str, settings: &Settings) -> bool {
    // `https:evil`, `https:/evil` and `https:///evil` all parse, each with a host. Hence the text
    // must spell out scheme and host.
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let web = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    if !web || authority.is_empty() || authority.contains('@') {
        return false;
    }
    Url::parse(text)
        .is_ok_and(|url| url.origin() == settings.public_url.origin() || is_sibling(&url, settings))
}

fn is_sibling(url: &Url, settings: &Settings) -> bool {
    let (Some(host), Some(domain)) = (url.host_str(), &settings.cookie_domain) else {
        return false;
    };
    let scheme = url.scheme() == "https" || url.scheme() == settings.public_url.scheme();
    scheme && url.port().is_none() && is_within(host, domain)
}
