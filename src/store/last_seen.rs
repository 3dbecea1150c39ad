//! Who was seen: gathered for a moment, and written in one go.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};

use super::Store;
use super::model::Session;
use crate::token::TokenHash;

/// `last_seen_at` is written at most this often for a session, so that reading stays reading.
pub const LAST_SEEN_STEP_SECONDS: i64 = 60;
/// The most that wait to be written, which takes some 50 milliseconds. Who is beyond it is queued when seen again.
const WAITING_MAX: usize = 16 * 1024;

/// Sessions that were seen and when, in unix seconds.
#[derive(Default)]
pub struct LastSeen(Mutex<Vec<(TokenHash, i64)>>);

/// What became of a note.
#[derive(Debug, PartialEq, Eq)]
pub enum Queued {
    /// It is the first: somebody must have the notes written.
    First,
    /// It is written with those before it.
    WithOthers,
    /// There is no room for it.
    Full,
}

impl LastSeen {
    pub fn add(&self, token: TokenHash, now: i64) -> Queued {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            return Queued::Full;
        }
        waiting.push((token, now));
        if waiting.len() == 1 { Queued::First } else { Queued::WithOthers }
    }

    /// Drops the notes: nobody is going to write them.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Writes all that wait, in the order of the table, so that neighbours share a page.
    pub fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        let mut seen = std::mem::take(&mut *self.lock());
        seen.sort_unstable();
        let sql = "UPDATE sessions SET last_seen_at = ?2 WHERE token_sha256 = ?1 AND last_seen_at <= ?2 - ?3";
        let mut update = db.prepare_cached(sql)?;
        seen.iter().try_for_each(|(token, at)| {
            update.execute(params![token.as_bytes(), at, LAST_SEEN_STEP_SECONDS]).map(drop)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(TokenHash, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Notes that a session is in use, at most once a minute. Does not wait for it.
    pub fn update_last_seen(&self, session: &Session, token: &TokenHash, now: i64) {
        if now.saturating_sub(session.last_seen_at) < LAST_SEEN_STEP_SECONDS {
            return;
        }
        let queued = self.last_seen.add(*token, now);
        if queued == Queued::First {
            let last_seen = self.last_seen.clone();
            if !self.writer.write_later(move |db| last_seen.write(db)) {
                return self.last_seen.clear();
            }
        }
        if queued != Queued::Full {
            self.session_cache.set_last_seen(token, now);
        }
    }
}
