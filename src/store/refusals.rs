//! Refusals that anybody can cause. They are recorded within a budget and only counted beyond it,
//! so a flood does not fill the disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::Store;
use super::events::{self, DAY_SECONDS, Event};

/// Refusals that may be recorded at once. Each second allows one more.
const BURST: i64 = 60;

/// The place of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBy {
    /// At a sign-in, or with an ID token as the bearer.
    SignIn,
    /// At check or forward, with a live session.
    ForwardAuth,
}

/// A token bucket.
#[derive(Default)]
struct Budget {
    /// When the bucket is full again, in unix seconds.
    full_at: i64,
}

impl Budget {
    /// Takes a token if there is one. A clock that was set back empties the bucket for a minute at
    /// most.
    fn take(&mut self, now: i64) -> bool {
        let full_at = self.full_at.clamp(now, now + BURST) + 1;
        let has_token = full_at <= now + BURST;
        self.full_at = if has_token { full_at } else { full_at - 1 };
        has_token
    }
}

/// The budgets of all clients together, and the refusals beyond them.
#[derive(Default)]
pub struct Refusals {
    /// For sign-ins without a known `sub`.
    unidentified: Mutex<Budget>,
    /// Check and forward have no rate limit.
    forward_auth: Mutex<Budget>,
    unrecorded: Mutex<Unrecorded>,
}

/// Refusals to add to the table `days`.
#[derive(Default)]
struct Unrecorded {
    by_day: BTreeMap<i64, u64>,
    /// Whether a write is scheduled.
    scheduled: bool,
}

impl Refusals {
    fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        let by_day = {
            let mut unrecorded = lock(&self.unrecorded);
            unrecorded.scheduled = false;
            std::mem::take(&mut unrecorded.by_day)
        };
        by_day
            .into_iter()
            .try_for_each(|(day, count)| events::count(db, day, 0, count.cast_signed()))
    }
}

impl Store {
    /// Records a refusal soon, without waiting. Sign-ins without a `sub` and forward auth have a
    /// budget each. Beyond it the refusal is only counted, and this returns false.
    pub fn record_refusal(&self, refusal: Event, by: RefusedBy, at: i64) -> bool {
        let budget = match by {
            RefusedBy::ForwardAuth => Some(&self.refusals.forward_auth),
            RefusedBy::SignIn if refusal.subject.is_none() => Some(&self.refusals.unidentified),
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
        let mut unrecorded = lock(&self.refusals.unrecorded);
        *unrecorded.by_day.entry(at.div_euclid(DAY_SECONDS)).or_default() += 1;
        if !unrecorded.scheduled {
            let refusals = Arc::clone(&self.refusals);
            unrecorded.scheduled = self.writer.write_later(move |db| refusals.write(db));
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
    fn records_sixty_at_once_and_one_a_second() {
        let mut budget = Budget::default();
        check(&mut budget, NOW, 100, 60);
        check(&mut budget, NOW + 1, 100, 1);
        check(&mut budget, NOW + 11, 100, 10);
        check(&mut budget, NOW + 1000, 100, 60);
    }

    #[test]
    fn a_wrong_clock_empties_the_budget_for_a_minute_at_most() {
        let mut budget = Budget::default();
        check(&mut budget, NOW + 1_000_000, 100, 60);
        check(&mut budget, NOW, 100, 0);
        check(&mut budget, NOW + 1, 100, 1);
    }
}
