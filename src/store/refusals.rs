//! Refusals that anybody can cause: recorded within a budget and counted beyond it, so that a flood does not fill the
//! disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::Store;
use super::events::{self, DAY_SECONDS, Event};

/// How many refusals may be recorded at once; one is regained each second.
const BURST_SECONDS: i64 = 60;

/// What refused somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBy {
    /// A sign-in, by whatever way the ID token came.
    SignIn,
    /// Check or forward, for the live session of a known user.
    ForwardAuth,
}

/// A token bucket in unix seconds.
#[derive(Default)]
pub struct Budget {
    /// When the bucket is full again.
    full_at: i64,
}

impl Budget {
    /// Takes one token, if there is one at that time. A clock that was set back does not empty the bucket for longer.
    fn take(&mut self, now: i64) -> bool {
        let full_at = self.full_at.clamp(now, now + BURST_SECONDS) + 1;
        let has_token = full_at <= now + BURST_SECONDS;
        self.full_at = if has_token { full_at } else { full_at - 1 };
        has_token
    }
}

/// The budgets of all clients together, and the refusals beyond them.
#[derive(Default)]
pub struct Refusals {
    /// For sign-ins that name nobody.
    nameless: Mutex<Budget>,
    /// For check and forward, which have no rate limit.
    forward_auth: Mutex<Budget>,
    uncounted: Mutex<Uncounted>,
}

/// Refusals that the table of days lacks.
#[derive(Default)]
struct Uncounted {
    by_day: BTreeMap<i64, u64>,
    /// Whether somebody is going to write them.
    scheduled: bool,
}

impl Refusals {
    fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        let by_day = {
            let mut uncounted = lock(&self.uncounted);
            uncounted.scheduled = false;
            std::mem::take(&mut uncounted.by_day)
        };
        by_day
            .into_iter()
            .try_for_each(|(day, count)| events::count(db, day, 0, count.cast_signed()))
    }
}

impl Store {
    /// Records a refusal soon, without waiting. Sign-ins that name nobody, and forward auth, have a budget each; returns
    /// false if the refusal is beyond it, and only counted.
    pub fn record_refusal(&self, refusal: Event, by: RefusedBy, at: i64) -> bool {
        let budget = match by {
            RefusedBy::ForwardAuth => Some(&self.refusals.forward_auth),
            RefusedBy::SignIn if refusal.subject.is_none() => Some(&self.refusals.nameless),
            RefusedBy::SignIn => None,
        };
        if budget.is_none_or(|budget| lock(budget).take(at)) {
            self.record(refusal, at);
            return true;
        }
        self.count_refusal(at);
        false
    }

    fn count_refusal(&self, at: i64) {
        let mut uncounted = lock(&self.refusals.uncounted);
        *uncounted.by_day.entry(at.div_euclid(DAY_SECONDS)).or_default() += 1;
        if !uncounted.scheduled {
            let refusals = Arc::clone(&self.refusals);
            uncounted.scheduled = self.writer.write_later(move |db| refusals.write(db));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    #[track_caller]
    fn check(budget: &mut Budget, now: i64, tries: usize, expected: usize) {
        assert_eq!((0..tries).filter(|_| budget.take(now)).count(), expected, "at {}", now - NOW);
    }

    #[test]
    fn sixty_at_once_and_one_a_second() {
        let mut budget = Budget::default();
        check(&mut budget, NOW, 100, 60);
        check(&mut budget, NOW + 1, 100, 1);
        check(&mut budget, NOW + 11, 100, 10);
        check(&mut budget, NOW + 1000, 100, 60);
    }

    #[test]
    fn a_clock_that_was_wrong_empties_it_for_a_minute_at_most() {
        let mut budget = Budget::default();
        check(&mut budget, NOW + 1_000_000, 100, 60);
        check(&mut budget, NOW, 100, 0);
        check(&mut budget, NOW + 1, 100, 1);
    }
}
