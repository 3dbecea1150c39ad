//! Refusals that anybody can cause. They are recorded within a budget and only counted beyond it,
//! so a flood does not fill the disk.

use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Store;
use super::events::{self, DAY_SECONDS, Event};

/// Refusals that may be recorded at once. Each second allows one more.
const BURST: i64 = 60;
/// The same refusal by check or forward within this time is recorded once. nginx asks check and
/// then forward about one request, and a page loads its pictures and scripts.
const REPEAT_SECONDS: i64 = 10;
/// Refusals to compare with. Beyond it, the oldest is forgotten.
const RECENT_MAX: usize = 128;

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

/// The last recorded refusals by check and forward, the oldest first.
#[derive(Default)]
struct Recent(VecDeque<Recorded>);

struct Recorded {
    at: i64,
    subject: Option<String>,
    host: Option<String>,
    reason: Option<String>,
}

impl Recent {
    /// Whether the same person was refused by the same app for the same reason a moment ago.
    fn has(&self, refusal: &Event, now: i64) -> bool {
        self.0.iter().any(|recorded| {
            now.abs_diff(recorded.at) < REPEAT_SECONDS.unsigned_abs()
                && recorded.subject == refusal.subject
                && recorded.host == refusal.host
                && recorded.reason == refusal.reason
        })
    }

    fn add(&mut self, refusal: &Event, at: i64) {
        if self.0.len() == RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Recorded {
            at,
            subject: refusal.subject.clone(),
            host: refusal.host.clone(),
            reason: refusal.reason.clone(),
        });
    }
}

/// The budgets of all clients together, and the refusals beyond them.
#[derive(Default)]
pub struct Refusals {
    /// For sign-ins without a known `sub`.
    unidentified: Mutex<Budget>,
    /// Check and forward have no rate limit.
    forward_auth: Mutex<Budget>,
    recent: Mutex<Recent>,
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
    fn take_unrecorded(&self) -> BTreeMap<i64, u64> {
        let mut unrecorded = lock(&self.unrecorded);
        unrecorded.scheduled = false;
        std::mem::take(&mut unrecorded.by_day)
    }
}

impl Store {
    /// Records a refusal soon, without waiting. Sign-ins without a `sub` and forward auth have a
    /// budget each. Beyond it the refusal is only counted, and this returns false. A repeated
    /// refusal by check or forward is neither recorded nor counted.
    pub fn record_refusal(&self, refusal: Event, by: RefusedBy, at: i64) -> bool {
        let budget = match by {
            RefusedBy::ForwardAuth => Some(&self.refusals.forward_auth),
            RefusedBy::SignIn if refusal.subject.is_none() => Some(&self.refusals.unidentified),
            RefusedBy::SignIn => None,
        };
        let is_check =
            refusal.subject.is_some() && (by == RefusedBy::ForwardAuth || refusal.host.is_some());
        let mut recent = is_check.then(|| lock(&self.refusals.recent));
        if recent.as_ref().is_some_and(|recent| recent.has(&refusal, at)) {
            return true;
        }
        if budget.is_none_or(|budget| lock(budget).take(at)) {
            if let Some(recent) = &mut recent {
                recent.add(&refusal, at);
            }
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
            let by_day = OnceCell::new();
            unrecorded.scheduled = self.writer.write_later(move |db| {
                let by_day = by_day.get_or_init(|| refusals.take_unrecorded());
                by_day
                    .iter()
                    .try_for_each(|(day, count)| events::count(db, *day, 0, count.cast_signed()))
            });
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
