//! How long a response may be used without asking again: RFC 9111, for a private cache.

use super::answer::{Answer, delta_seconds, http_date};

/// Seconds for which a response received at `now` stays fresh. If it does not say, `heuristic`
/// minus its age (4.2.2).
pub fn fresh_seconds(answer: &Answer, heuristic: u64, now: i64) -> u64 {
    let directives: Vec<_> =
        answer.fields("Cache-Control").flat_map(list_items).map(directive).collect();
    let first = |name: &str| {
        directives.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|found| found.1)
    };
    if first("no-store").is_some() || first("no-cache").is_some() {
        return 0;
    }
    let date = answer.date();
    // 4.2.1: an unreadable value counts as stale, and the first of several values counts.
    let lifetime = match (first("max-age"), answer.fields("Expires").next()) {
        (Some(argument), _) => argument.and_then(delta_seconds).unwrap_or(0),
        (None, Some(expires)) => {
            http_date(expires).map_or(0, |at| elapsed(date.unwrap_or(now), at))
        }
        (None, None) => heuristic,
    };
    // 4.2.3. The delay of the response is included, because `now` is when the request was sent.
    let apparent_age = date.map_or(0, |date| elapsed(date, now));
    let age = answer.fields("Age").flat_map(list_items).next().and_then(delta_seconds).unwrap_or(0);
    lifetime.saturating_sub(age.max(apparent_age))
}

/// Seconds from one time to another, or 0 if the second is earlier.
fn elapsed(from: i64, to: i64) -> u64 {
    to.saturating_sub(from).max(0).unsigned_abs()
}

/// The items of a list (RFC 9110, section 5.6.1). A comma in quotes does not separate items.
fn list_items(field: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    field.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        character == ',' && !is_quoted
    })
}

/// A directive's name and its argument, which may be quoted (5.2).
fn directive(item: &str) -> (&str, Option<&str>) {
    match item.split_once('=') {
        Some((name, argument)) => {
            let argument = argument.trim();
            let unquoted = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            (name.trim(), Some(unquoted.unwrap_or(argument)))
        }
        None => (item.trim(), None),
    }
}
