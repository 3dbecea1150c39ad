//! A response and its headers.

use std::time::{Duration, UNIX_EPOCH};

use ureq::http::HeaderMap;

/// The longest wait that a response may ask for.
const RETRY_AFTER_SECONDS_MAX: u64 = 60 * 60;

/// A response of any status.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, or why it could not be read.
    pub body: Result<Vec<u8>, String>,
    pub(super) headers: HeaderMap,
}

impl Answer {
    /// The values of that header which are text, in order.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }

    /// `Date`, in unix seconds.
    pub fn date(&self) -> Option<i64> {
        self.fields("Date").next().and_then(http_date)
    }

    /// `Retry-After` (RFC 9110, section 10.2.3), at most an hour.
    pub fn retry_after(&self, now: i64) -> Option<Duration> {
        let text = self.fields("Retry-After").next()?;
        let seconds = delta_seconds(text)
            .or_else(|| http_date(text).map(|at| at.saturating_sub(now).max(0).unsigned_abs()))?;
        Some(Duration::from_secs(seconds.min(RETRY_AFTER_SECONDS_MAX)))
    }
}

/// Seconds in a header (RFC 9111, section 1.2.2). A number that is too large becomes the largest
/// there is.
pub fn delta_seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A time in a header (RFC 9110, section 5.6.7), in unix seconds.
pub fn http_date(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}
