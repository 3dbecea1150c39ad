//! Who was seen: gathered for a moment, and written in one go.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};

use super::Store;
use super::model::Session;
use crate::token::TokenHash;

/// `last_seen_at` is written at most this often for a session, so that reading stays reading.
pub const TOUCH_SECONDS: i64 = 60;
/// The most that wait to be written, which takes some 50 milliseconds. Who is beyond it is noted when seen again.
const WAITING_MAX: usize = 16 * 1024;

/// Sessions that were seen and when, in unix seconds.
#[derive(Default)]
pub struct LastSeen(Mutex<Vec<(TokenHash, i64)>>);

/// What became of a note.
#[derive(Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is the first: somebody must have the notes written.
    First,
    /// It is written with those before it.
    WithOthers,
    /// There is no room for it.
    Not,
}

impl LastSeen {
    pub fn note(&self, token: TokenHash, now: i64) -> Noted {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            return Noted::Not;
        }
        waiting.push((token, now));
        if waiting.len() == 1 { Noted::First } else { Noted::WithOthers }
    }

    /// Drops the notes: nobody is going to write them.
    pub fn forget(&self) {
        self.lock().clear();
    }

    /// Writes all that wait, in the order of the table, so that neighbours share a page.
    pub fn write(&self, db: &Connection) -> rusqlite::Result<()> {
        let mut seen = std::mem::take(&mut *self.lock());
        seen.sort_unstable();
        let sql = "UPDATE sessions SET last_seen_at = ?2 WHERE token_sha256 = ?1 AND last_seen_at <= ?2 - ?3";
        let mut update = db.prepare_cached(sql)?;
        seen.iter().try_for_each(|(token, at)| {
            update.execute(params![token.as_bytes(), at, TOUCH_SECONDS]).map(drop)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(TokenHash, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Notes that a session is in use, at most once a minute. Does not wait for it.
    pub fn touch(&self, session: &Session, token: &TokenHash, now: i64) {
        if now.saturating_sub(session.last_seen_at) < TOUCH_SECONDS {
            return;
        }
        let noted = self.touches.note(*token, now);
        if noted == Noted::First {
            let touches = self.touches.clone();
            if !self.writer.write_later(move |db| touches.write(db)) {
                return self.touches.forget();
            }
        }
        if noted != Noted::Not {
            self.known.touch(token, now);
        }
    }
}
