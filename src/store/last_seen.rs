//! `last_seen_at` of sessions: collected for a moment and written together.

use std::cell::OnceCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Store;
use super::db::{Db, Result, params};
use super::model::Session;
use crate::token::TokenHash;

/// `last_seen_at` is written at most this often for each session.
pub const LAST_SEEN_STEP_SECONDS: i64 = 60;
/// Writing this many takes about 50 milliseconds. Others are written when they are seen again.
const QUEUE_MAX: usize = 16 * 1024;

impl Store {
    /// Records that a session was used, at most once a minute. Does not wait for the write.
    pub fn update_last_seen(&self, session: &Session, token: &TokenHash, now: i64) {
        if now.saturating_sub(session.last_seen_at) < LAST_SEEN_STEP_SECONDS {
            return;
        }
        let queued = self.last_seen.add(*token, now);
        if queued == Queued::First {
            let last_seen = self.last_seen.clone();
            let queue = OnceCell::new();
            let write = move |db: &Db| write(db, queue.get_or_init(|| last_seen.take()));
            if !self.writer.write_later(write) {
                return self.last_seen.clear();
            }
        }
        if queued != Queued::Full {
            self.session_cache.set_last_seen(token, now);
        }
    }
}

/// Tokens and times that wait to be written.
#[derive(Default)]
pub struct LastSeen(Mutex<Vec<(TokenHash, i64)>>);

#[derive(PartialEq, Eq)]
enum Queued {
    /// The caller must schedule the write.
    First,
    /// The write is scheduled.
    WithOthers,
    /// The queue is full.
    Full,
}

impl LastSeen {
    fn add(&self, token: TokenHash, now: i64) -> Queued {
        let mut queue = self.lock();
        if queue.len() >= QUEUE_MAX {
            return Queued::Full;
        }
        queue.push((token, now));
        if queue.len() == 1 { Queued::First } else { Queued::WithOthers }
    }

    fn clear(&self) {
        self.lock().clear();
    }

    /// In the order of the table, so neighbours share a page.
    fn take(&self) -> Vec<(TokenHash, i64)> {
        let mut queue = std::mem::take(&mut *self.lock());
        queue.sort_unstable();
        queue
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(TokenHash, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(db: &Db, queue: &[(TokenHash, i64)]) -> Result<()> {
    let sql = "UPDATE sessions SET last_seen_at = ?2
        WHERE token_sha256 = ?1 AND last_seen_at <= ?2 - ?3";
    queue.iter().try_for_each(|(token, at)| {
        db.execute(sql, params![token.as_bytes(), at, LAST_SEEN_STEP_SECONDS]).map(drop)
    })
}
