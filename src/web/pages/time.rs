//! Times on pages, in UTC.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};

/// The end of the year 9999, the last that RFC 3339 can express. Other programs may have written
/// later times to the database.
const SECONDS_MAX: i64 = 253_402_300_799;

/// Date and time of day of `seconds` (unix time).
pub fn date_time(seconds: i64) -> Markup {
    html! { time datetime=(rfc3339(seconds)) { (date_time_text(seconds)) } }
}

/// The same as text, to the minute.
pub fn date_time_text(seconds: i64) -> String {
    format!("{} UTC", rfc3339(seconds)[..16].replace('T', " "))
}

/// How long ago it was, with the time itself as a tooltip.
pub fn ago(seconds: i64, now: i64) -> Markup {
    let text = match now.saturating_sub(seconds) {
        ..60 => "just now".to_owned(),
        elapsed @ 60..3_600 => format!("{} min ago", elapsed / 60),
        elapsed @ 3_600..86_400 => format!("{} h ago", elapsed / 3_600),
        elapsed if elapsed < 172_800 => "1 day ago".to_owned(),
        elapsed => format!("{} days ago", elapsed / 86_400),
    };
    html! { time datetime=(rfc3339(seconds)) title=(date_time_text(seconds)) { (text) } }
}

/// The date alone.
pub fn date(seconds: i64) -> Markup {
    html! { time datetime=(date_text(seconds)) { (date_text(seconds)) } }
}

/// The same as text.
pub fn date_text(seconds: i64) -> String {
    rfc3339(seconds)[..10].to_owned()
}

fn rfc3339(seconds: i64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.clamp(0, SECONDS_MAX).unsigned_abs());
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_is_shown() {
        assert_eq!(date_time_text(1_800_000_000), "2027-01-15 08:00 UTC");
        for (seconds, day) in
            [(SECONDS_MAX, "9999-12-31"), (i64::MAX, "9999-12-31"), (i64::MIN, "1970-01-01")]
        {
            assert_eq!(date_text(seconds), day);
            assert!(ago(seconds, 0).0.contains(day));
        }
    }
}
