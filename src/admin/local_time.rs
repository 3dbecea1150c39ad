//! Times as the operator reads them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// That time (unix seconds) in the system's time zone, or in that of TZ.
pub fn local(at: i64) -> String {
    match Timestamp::from_second(at) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        // A year beyond 9999 is not worth a failure.
        Err(_) => at.to_string(),
    }
}
