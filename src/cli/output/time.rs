//! Times in the output.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// This time (unix seconds) in the system's time zone, or that of TZ.
pub fn local(at: i64) -> String {
    match Timestamp::from_second(at) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        // A year beyond 9999.
        Err(_) => at.to_string(),
    }
}

/// The distance of this time from `now`: `in 59m 3s`, `2h ago`.
pub fn span(at: i64, now: i64) -> String {
    let distance = humantime::format_duration(Duration::from_secs(at.abs_diff(now)));
    if at > now { format!("in {distance}") } else { format!("{distance} ago") }
}
