//! Times on pages: in UTC, and they say so.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};

/// The end of the year 9999, after which RFC 3339 has no times. Other programs write to the database, too.
const SECONDS_MAX: i64 = 253_402_300_799;

/// That time (unix seconds) for people and programs.
pub fn moment(seconds: i64) -> Markup {
    html! { time datetime=(rfc3339(seconds)) { (minute(seconds)) } }
}

/// That time to the minute, in UTC.
pub fn minute(seconds: i64) -> String {
    format!("{} UTC", rfc3339(seconds)[..16].replace('T', " "))
}

/// How long ago that time was, for people; the time itself for programs, and for whoever points at it.
pub fn ago(seconds: i64, now: i64) -> Markup {
    let text = match now.saturating_sub(seconds) {
        ..60 => "just now".to_owned(),
        elapsed @ 60..3_600 => format!("{} min ago", elapsed / 60),
        elapsed @ 3_600..86_400 => format!("{} h ago", elapsed / 3_600),
        elapsed if elapsed < 172_800 => "1 day ago".to_owned(),
        elapsed => format!("{} days ago", elapsed / 86_400),
    };
    html! { time datetime=(rfc3339(seconds)) title=(minute(seconds)) { (text) } }
}

/// The day of that time.
pub fn date(seconds: i64) -> Markup {
    html! { time datetime=(day_of(seconds)) { (day_of(seconds)) } }
}

/// The day of that time, in UTC.
pub fn day_of(seconds: i64) -> String {
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
        assert_eq!(minute(1_800_000_000), "2027-01-15 08:00 UTC");
        for (seconds, day) in
            [(SECONDS_MAX, "9999-12-31"), (i64::MAX, "9999-12-31"), (i64::MIN, "1970-01-01")]
        {
            assert_eq!(day_of(seconds), day);
            assert!(ago(seconds, 0).0.contains(day));
        }
    }
}
