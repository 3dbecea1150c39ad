//! The target of a request, and the syntax of a host.

use std::borrow::Cow;

use super::reject::Reason;

/// A target in origin-form.
pub(super) struct Target<'a> {
    /// Path and query, or `*`.
    pub(super) origin_form: Cow<'a, str>,
    /// The host that an absolute-form target names. It counts instead of the Host header (RFC 9112,
    /// section 3.2.2).
    pub(super) authority: Option<&'a str>,
}

/// Parses a target in origin-form, absolute-form or, for OPTIONS, asterisk-form.
pub(super) fn parse<'a>(method: &str, target: &'a str) -> Result<Target<'a>, Reason> {
    if !target.is_ascii() || target.contains('#') {
        return Err(Reason::Malformed);
    }
    if target.starts_with('/') || target == "*" && method == "OPTIONS" {
        return Ok(Target { origin_form: target.into(), authority: None });
    }
    let (scheme, rest) = target.split_once("://").ok_or(Reason::Malformed)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_http = ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
    let has_host = !authority.is_empty() && !authority.starts_with(':');
    if !is_http || !has_host || !is_host(authority.as_bytes()) {
        return Err(Reason::Malformed);
    }
    let origin_form = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
    Ok(Target { origin_form, authority: Some(authority) })
}

/// Whether this is a valid Host header: a host with an optional port, or empty (RFC 9110, section
/// 7.2).
pub(super) fn is_host(value: &[u8]) -> bool {
    let literal = value.strip_prefix(b"[");
    let name = literal.unwrap_or(value);
    let last = if literal.is_some() { b']' } else { b':' };
    let end = name.iter().position(|byte| *byte == last);
    let (name, port) = match (literal, end) {
        (Some(_), None | Some(0)) => return false,
        (Some(_), Some(end)) => (&name[..end], &name[end + 1..]),
        (None, end) => name.split_at(end.unwrap_or(name.len())),
    };
    let is_in_name = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || b"-._~%!$&'()*+,;=".contains(byte)
            || literal.is_some() && *byte == b':'
    };
    let is_escape = |rest: &[u8]| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit);
    let is_port = port.is_empty() || port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit);
    is_port
        && name.iter().all(is_in_name)
        && name.split(|byte| *byte == b'%').skip(1).all(is_escape)
}
