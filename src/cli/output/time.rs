//! Times and durations in the output.

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
pub fn distance(at: i64, now: i64) -> String {
    let distance = span(Duration::from_secs(at.abs_diff(now)));
    if at > now { format!("in {distance}") } else { format!("{distance} ago") }
}

/// A duration as flags take it: `90s`, `12h`, `29d 23h 54m 41s`. The largest unit is the day,
/// because months and years vary in length. Below two minutes, only seconds are used.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 && !duration.is_zero() {
        return format!("{}ms", duration.as_millis());
    }
    if seconds < 120 {
        return format!("{seconds}s");
    }
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_flags_take_them() {
        #[track_caller]
        fn check(seconds: u64, expected: &str) {
            let duration = Duration::from_secs(seconds);
            assert_eq!(span(duration), expected);
            assert_eq!(humantime::parse_duration(expected), Ok(duration));
        }
        check(0, "0s");
        check(90, "90s");
        check(119, "119s");
        check(120, "2m");
        check(12 * 3600, "12h");
        check(365 * 86_400, "365d");
        check(30 * 86_400 - 319, "29d 23h 54m 41s");
        assert_eq!(span(Duration::from_millis(500)), "500ms");
    }
}
