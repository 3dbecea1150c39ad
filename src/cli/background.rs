//! The threads beside the server: one deletes expired rows, one refreshes Google's keys, one
//! rotates the keys of assertions.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::clock;
use crate::google::Keys;
use crate::store::DAY_SECONDS;
use crate::web::App;

/// How often to look whether Google's keys are due.
const KEYS_INTERVAL: Duration = Duration::from_secs(5);
/// How often to read the keys of assertions.
const ASSERTION_KEYS_INTERVAL: Duration = Duration::from_secs(60);
/// How often to look for expired rows, and the pause between two steps of deleting them.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
const PURGE_PAUSE: Duration = Duration::from_millis(50);
/// How long a clock that jumped ahead must stay there before rows are deleted by it.
const HOLD: Duration = Duration::from_secs(60 * 60);

/// Fetches Google's keys ahead of time and saves new ones, for as long as the application exists.
/// It does not hold the application during a fetch, which may take seconds: stopping must not wait
/// for it.
pub fn keep_keys_fresh(keys: Arc<Keys>, app: Weak<App>) {
    thread::spawn(move || {
        let mut saved = None;
        loop {
            keys.refresh(clock::now());
            let Some(app) = app.upgrade() else { return };
            let published = keys.published();
            if published != saved {
                published.iter().cloned().for_each(|keys| app.store().save_google_keys(keys));
                saved = published;
            }
            drop(app);
            thread::sleep(KEYS_INTERVAL);
        }
    });
}

/// Rotates the keys of assertions when that is due, and learns of those that another process has
/// rotated.
pub fn keep_assertion_keys(app: Weak<App>) {
    thread::spawn(move || {
        while let Some(app) = app.upgrade() {
            let now = clock::now();
            if let Err(error) = app.refresh_assertion_keys(now) {
                log::warn!("cannot read the keys of assertions: {error}");
            }
            app.prune_assertions(now);
            drop(app);
            thread::sleep(ASSERTION_KEYS_INTERVAL);
        }
    });
}

/// Deletes expired rows in small steps for as long as the application exists, unless the clock may
/// be wrong. Also releases memory that is no longer needed.
pub fn keep_purging(app: Weak<App>) {
    thread::spawn(move || {
        let started = Instant::now();
        let mut watch = None::<ClockWatch>;
        while let Some(app) = app.upgrade() {
            let (store, settings, now) = (app.store(), app.settings(), clock::now());
            let watch = watch.get_or_insert_with(|| {
                if let Err(error) = store.limit_sessions(settings.sessions_per_user, now) {
                    log::warn!("cannot end sessions beyond the limit: {error}");
                }
                ClockWatch::new(store.last_activity_at().unwrap_or_default().unwrap_or(now))
            });
            let more = watch.trusts(now, started.elapsed())
                && store
                    .purge(now, settings.events_kept)
                    .inspect_err(|error| log::warn!("cannot purge: {error}"))
                    .unwrap_or(false);
            if !more {
                store.prune_session_cache(now);
            }
            drop(app);
            thread::sleep(if more { PURGE_PAUSE } else { PURGE_INTERVAL });
        }
    });
}

/// Compares the clock with the time that has really passed. Rows that were deleted because the
/// clock jumped ahead would not come back when it is corrected.
struct ClockWatch {
    /// The last reading of the clock, in unix seconds.
    clock: i64,
    /// The uptime of the process at that reading.
    uptime: Duration,
    /// The uptime when the clock was found to have jumped ahead.
    jumped_at: Option<Duration>,
}

impl ClockWatch {
    /// The clock was at least here when the server was last in use.
    fn new(last_activity_at: i64) -> ClockWatch {
        ClockWatch { clock: last_activity_at, uptime: Duration::ZERO, jumped_at: None }
    }

    /// Whether the clock did not jump ahead by more than a day, or has run on normally for an hour
    /// since.
    fn trusts(&mut self, now: i64, uptime: Duration) -> bool {
        let passed = uptime.saturating_sub(self.uptime).as_secs();
        let ahead = now.saturating_sub(self.clock.saturating_add_unsigned(passed));
        if ahead > DAY_SECONDS {
            let days = ahead / DAY_SECONDS;
            log::warn!(
                "the clock is {days} days ahead of the last activity; nothing is deleted until it has held for an hour"
            );
            self.jumped_at = Some(uptime);
        } else if ahead < -DAY_SECONDS {
            self.jumped_at = None;
        }
        (self.clock, self.uptime) = (now, uptime);
        let holds = self.jumped_at.is_none_or(|at| uptime.saturating_sub(at) >= HOLD);
        if holds {
            self.jumped_at = None;
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    /// Asks at these minutes of uptime, with the clock so many seconds from where it should be.
    #[track_caller]
    fn check(last_activity: i64, steps: &[(u64, i64, bool)]) {
        let mut watch = ClockWatch::new(NOW + last_activity);
        for &(minutes, offset, trusted) in steps {
            let uptime = Duration::from_secs(minutes * 60);
            let now = NOW + uptime.as_secs() as i64 + offset;
            assert_eq!(watch.trusts(now, uptime), trusted, "after {minutes} minutes");
        }
    }

    #[test]
    fn a_jump_of_more_than_a_day_must_hold_for_an_hour() {
        check(0, &[(0, 0, true), (1, DAY_SECONDS, true)]);
        check(0, &[(0, 0, true), (1, DAY_SECONDS + 1, false), (60, DAY_SECONDS + 1, false)]);
        check(
            0,
            &[
                (1, DAY_SECONDS + 1, false),
                (61, DAY_SECONDS + 1, true),
                (62, DAY_SECONDS + 1, true),
            ],
        );
    }

    #[test]
    fn a_corrected_clock_is_trusted_at_once() {
        check(0, &[(1, 9 * DAY_SECONDS, false), (2, 0, true), (3, 0, true)]);
        check(0, &[(1, 9 * DAY_SECONDS, false), (2, 0, true), (3, 9 * DAY_SECONDS, false)]);
    }

    #[test]
    fn a_start_long_after_the_last_activity_waits_as_well() {
        check(-DAY_SECONDS, &[(0, 0, true)]);
        check(-DAY_SECONDS - 1, &[(0, 0, false), (59, 0, false), (60, 0, true)]);
        check(9 * DAY_SECONDS, &[(0, 0, true)]);
    }
}
