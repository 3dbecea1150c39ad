//! The cookies that are read: the session's, and the one that protects Google's redirect post.

use super::session_cookie;
use super::settings::Settings;
use crate::http::Request;
use crate::token::SessionToken;

/// Set by Google's script; its redirect post repeats the value in a field.
pub const G_CSRF_TOKEN: &str = "g_csrf_token";
/// Google's are shorter, and so are ours.
const G_CSRF_TOKEN_BYTES_MAX: usize = 256;
/// At most this many values of a cookie are read. Browsers send several only if they were set for
/// several paths or domains.
const VALUES_MAX: usize = 8;

/// The session tokens among the cookies.
pub fn session_tokens(request: &Request, settings: &Settings) -> Vec<SessionToken> {
    distinct(request, session_cookie::name(settings), SessionToken::parse)
}

/// The values of `g_csrf_token`, none of them empty.
pub fn g_csrf_tokens(request: &Request) -> Vec<String> {
    distinct(request, G_CSRF_TOKEN, |value| {
        (1..=G_CSRF_TOKEN_BYTES_MAX).contains(&value.len()).then(|| value.to_owned())
    })
}

/// Removes all other cookies.
pub fn trim(request: &mut Request, settings: &Settings) {
    let name = session_cookie::name(settings);
    let sessions = session_tokens(request, settings);
    let sessions = sessions.iter().map(|token| format!("{name}={}", token.expose()));
    let csrf = g_csrf_tokens(request).into_iter().map(|value| format!("{G_CSRF_TOKEN}={value}"));
    let kept: Vec<String> = sessions.chain(csrf).collect();
    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("Cookie"));
    if !kept.is_empty() {
        request.headers.push(("Cookie".into(), kept.join("; ")));
    }
}

/// The first different values of that cookie that can be parsed.
fn distinct<T>(request: &Request, name: &str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let mut found: Vec<(&str, T)> = Vec::new();
    for value in values(request, name) {
        if found.len() == VALUES_MAX {
            break;
        }
        if !found.iter().any(|(text, _)| *text == value) {
            found.extend(parse(value).map(|parsed| (value, parsed)));
        }
    }
    found.into_iter().map(|(_, parsed)| parsed).collect()
}

fn values<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = request
        .headers_named("Cookie")
        // A head may contain a thousand, and bytes split faster than text.
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let value = pair.trim_ascii_start().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(std::str::from_utf8(value.trim_ascii_end()).ok()?.trim_matches('"'))
    })
}
