//! The way back after sign-in: to a place of ours and nowhere else.

use url::Url;

use crate::config::{Settings, is_within};
use crate::http::Request;

/// Encoded once more it has at most three times as much, and still fits into the 8 KiB that proxies take.
const LENGTH_MAX: usize = 2048;

/// The place that `text` names, if it is a path of ours, a URL of ours, or one on a host under --cookie-domain.
///
/// Only printable ASCII without backslashes is read at all, so that a browser cannot read it differently.
pub fn parse(text: &str, settings: &Settings) -> Option<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if text.is_empty() || text.len() > LENGTH_MAX || !plain {
        return None;
    }
    let good = if text.starts_with('/') {
        is_path_of_ours(text, settings)
    } else {
        is_url_of_ours(text, settings)
    };
    good.then(|| text.to_owned())
}

/// Where the request that a trusted proxy asks about was going; `None` without its three headers.
pub fn forwarded(request: &Request, settings: &Settings) -> Option<String> {
    if !settings.trusted_proxies.trusts(request.peer) {
        return None;
    }
    let header = |name| request.header(name);
    let (scheme, host) = (header("X-Forwarded-Proto")?, header("X-Forwarded-Host")?);
    let uri = header("X-Forwarded-Uri").filter(|uri| uri.starts_with('/'))?;
    parse(&format!("{scheme}://{host}{uri}"), settings)
}

/// `//evil` and `/..//evil` are paths to a parser and hosts to a browser.
fn is_path_of_ours(path: &str, settings: &Settings) -> bool {
    let resolved = settings.public_url.join(path);
    resolved.is_ok_and(|url| {
        url.origin() == settings.public_url.origin() && !url.path().starts_with("//")
    })
}

fn is_url_of_ours(text: &str, settings: &Settings) -> bool {
    // `https:evil`, `https:/evil` and `https:///evil` all parse, each with a host; so scheme and host are written out.
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
