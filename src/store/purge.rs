//! Deletes rows that are no longer needed.

use super::db::params;
use super::{Store, StoreError, google_events};

/// About 2 GB. Older events are deleted whatever their age.
const EVENTS_MAX: i64 = 5_000_000;
/// Servers read the changes on PostgreSQL many times a second.
const CHANGES_KEPT_SECONDS: i64 = 10 * 60;
/// Rows of each table deleted in one transaction.
const PURGE_STEP_ROWS: u32 = 500;

impl Store {
    /// Deletes a step of expired sessions and ID tokens, of the IDs of old security events, of
    /// events older than `events_kept` seconds (`None`: any age) and of events beyond the maximum.
    /// Returns whether there are more.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn purge(&self, now: i64, events_kept: Option<i64>) -> Result<bool, StoreError> {
        // A comparison with NULL matches no row.
        let oldest = events_kept.map(|seconds| now - seconds);
        self.writer.write(move |db| {
            let expired_tokens = "DELETE FROM id_tokens WHERE token_sha256 IN
                (SELECT token_sha256 FROM id_tokens WHERE expires_at <= ?1 LIMIT ?2)";
            let expired = "DELETE FROM sessions WHERE token_sha256 IN
                (SELECT token_sha256 FROM sessions WHERE expires_at <= ?1 LIMIT ?2)";
            let old =
                "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at <= ?1 LIMIT ?2)";
            let sessions = db.execute(expired, params![now, PURGE_STEP_ROWS])?;
            // IDs are consecutive, so there are at most as many events as the IDs span.
            let excess = "DELETE FROM events WHERE id IN
                (SELECT id FROM events WHERE id <= (SELECT max(id) FROM events) - ?1 ORDER BY id LIMIT ?2)";
            let events = db.execute(old, params![oldest, PURGE_STEP_ROWS])?
                + db.execute(excess, params![EVENTS_MAX, PURGE_STEP_ROWS])?;
            let ids = "DELETE FROM google_events WHERE jti IN
                (SELECT jti FROM google_events WHERE at <= ?1 LIMIT ?2)";
            let oldest_id = now - google_events::IDS_KEPT_SECONDS;
            let ids = db.execute(ids, params![oldest_id, PURGE_STEP_ROWS])?;
            if !db.is_sqlite() {
                let noted = "DELETE FROM changes WHERE at < CAST(extract(epoch FROM now()) AS bigint) - ?1";
                db.execute(noted, params![CHANGES_KEPT_SECONDS])?;
            }
            let tokens =
                db.execute(expired_tokens, params![now, PURGE_STEP_ROWS])?;
            Ok(sessions.max(events).max(tokens).max(ids) >= PURGE_STEP_ROWS as usize)
        })
    }
}
