//! Rows that are no longer needed.

use rusqlite::params;

use super::{Store, StoreError};

/// The most events that are kept, whatever their age: some 2 GB.
const EVENTS_MAX: i64 = 5_000_000;
/// Rows deleted in one transaction by [`Store::purge`].
const PURGE_STEP_ROWS: u32 = 500;

impl Store {
    /// Deletes some rows that time has made worthless: expired sessions and ID tokens, events older than that many
    /// seconds if they are not kept forever, and the first ones if there are too many. Returns whether there are more.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn purge(&self, now: i64, events_kept: Option<i64>) -> Result<bool, StoreError> {
        // No time is later than NULL.
        let oldest = events_kept.map(|seconds| now - seconds);
        self.writer.write(move |db| {
            let expired_tokens = "DELETE FROM id_tokens WHERE token_sha256 IN
                (SELECT token_sha256 FROM id_tokens WHERE expires_at <= ?1 LIMIT ?2)";
            let expired = "DELETE FROM sessions WHERE token_sha256 IN
                (SELECT token_sha256 FROM sessions WHERE expires_at <= ?1 LIMIT ?2)";
            let old =
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at <= ?1 LIMIT ?2)";
            let sessions = db.prepare_cached(expired)?.execute(params![now, PURGE_STEP_ROWS])?;
            // Their ids grow one by one, so there are never more events than the ids span.
            let excess = "DELETE FROM events WHERE id IN
                (SELECT id FROM events WHERE id <= (SELECT max(id) FROM events) - ?1 ORDER BY id LIMIT ?2)";
            let events = db.prepare_cached(old)?.execute(params![oldest, PURGE_STEP_ROWS])?
                + db.prepare_cached(excess)?.execute(params![EVENTS_MAX, PURGE_STEP_ROWS])?;
            let tokens =
                db.prepare_cached(expired_tokens)?.execute(params![now, PURGE_STEP_ROWS])?;
            Ok(sessions.max(events).max(tokens) >= PURGE_STEP_ROWS as usize)
        })
    }
}
