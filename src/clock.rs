//! The only place that reads the wall clock. Everything else is passed the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The current time in unix seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs() as i64)
}

/// The value of an HTTP `Date` header (RFC 9110, section 5.6.7), formatted once a second.
#[derive(Debug, Default)]
pub struct HttpDate {
    at: i64,
    text: String,
}

impl HttpDate {
    /// Formats `now`, in unix seconds.
    pub fn at(&mut self, now: i64) -> &str {
        if self.at != now || self.text.is_empty() {
            self.at = now;
            let time = UNIX_EPOCH + Duration::from_secs(now.max(0).unsigned_abs());
            self.text = httpdate::fmt_http_date(time);
        }
        &self.text
    }
}
