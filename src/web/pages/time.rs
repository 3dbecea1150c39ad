//! Times on pages, in UTC.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};

use super::languages::{EN, Texts, fill};

/// The end of the year 9999, the last that RFC 3339 can express. Other programs may have written
/// later times to the database.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Date and time of day of `seconds` (unix time), to the minute.
pub fn date_time(texts: &Texts, seconds: i64) -> Markup {
    html! { time datetime=(rfc3339(seconds)) { (date_time_text(texts, seconds)) } }
}

/// The same as text.
pub fn date_time_text(texts: &Texts, seconds: i64) -> Markup {
    let time = &rfc3339(seconds)[11..16];
    fill(texts.date_time, &[("date", &date_text(texts, seconds)), ("time", &time)])
}

/// How long ago it was, in English, with the time itself as a tooltip.
pub fn ago(seconds: i64, now: i64) -> Markup {
    let text = match now.saturating_sub(seconds) {
        ..60 => "just now".to_owned(),
        elapsed @ 60..3_600 => format!("{} min ago", elapsed / 60),
        elapsed @ 3_600..86_400 => format!("{} h ago", elapsed / 3_600),
        elapsed if elapsed < 172_800 => "1 day ago".to_owned(),
        elapsed => format!("{} days ago", elapsed / 86_400),
    };
    html! { time datetime=(rfc3339(seconds)) title=(date_time_text(&EN, seconds)) { (text) } }
}

/// The date alone.
pub fn date(texts: &Texts, seconds: i64) -> Markup {
    html! { time datetime=(rfc3339(seconds)[..10]) { (date_text(texts, seconds)) } }
}

/// The same as text.
pub fn date_text(texts: &Texts, seconds: i64) -> Markup {
    let text = rfc3339(seconds);
    let number = |digits: &str| digits.parse::<usize>().expect("RFC 3339 has digits there");
    let (month, day) = (texts.months[number(&text[5..7]) - 1], number(&text[8..10]));
    fill(texts.date, &[("day", &day), ("month", &month), ("year", &&text[..4])])
}

fn rfc3339(seconds: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.clamp(0, SECONDS_MAX).unsigned_abs());
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Request;
    use crate::web::pages::languages::accepted;

    #[test]
    fn any_number_is_shown() {
        assert_eq!(date_time_text(&EN, 1_800_000_000).0, "15 January 2027, 08:00 UTC");
        for (seconds, day) in [
            (SECONDS_MAX, "31 December 9999"),
            (i64::MAX, "31 December 9999"),
            (i64::MIN, "1 January 1970"),
        ] {
            assert_eq!(date_text(&EN, seconds).0, day);
            assert!(ago(seconds, 0).0.contains(day));
        }
    }

    #[test]
    fn dates_are_written_as_in_the_language() {
        for (header, expected) in [
            ("de", "15. Januar 2027, 08:00 UTC"),
            ("fr", "15 janvier 2027 à 08:00 UTC"),
            ("es", "15 de enero de 2027, 08:00 UTC"),
            ("pl", "15 stycznia 2027, 08:00 UTC"),
            ("ja", "2027年1月15日 08:00 UTC"),
            ("ar", "15 يناير 2027، 08:00 UTC"),
        ] {
            let headers = vec![("Accept-Language".into(), header.to_owned())];
            let texts = accepted(&Request { headers, ..Request::default() });
            assert_eq!(date_time_text(texts, 1_800_000_000).0, expected);
        }
    }
}
