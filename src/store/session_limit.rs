//! The limit of sessions per user. Beyond it, the session that has been unused longest ends.

use super::db::{Db, Result, params};
use super::events::{self, Event, EventKind};
use super::writer::STEP_ROWS;
use super::{Store, StoreError};
use crate::token::TokenHash;

/// `reason` of the event.
const BY_THE_LIMIT: &str = "by the limit of sessions per user";

impl Store {
    /// Applies the limit to all users: it may be lower than before.
    ///
    /// # Errors
    /// If the store cannot answer; then some sessions may remain beyond the limit.
    pub fn limit_sessions(&self, sessions_max: u32, now: i64) -> Result<(), StoreError> {
        let sql = "SELECT sub FROM sessions WHERE ended_at IS NULL AND kind <> 'token' GROUP BY sub HAVING count(*) > ?1";
        let beyond: Vec<String> =
            self.searchers.read(|db| db.query(sql, params![sessions_max], |row| row.get(0)))?;
        let mut steps = self.writer.steps();
        for subject in beyond {
            let limit_user = move |db: &Db| limit(db, &subject, None, sessions_max, now);
            while steps.write(limit_user.clone())? == STEP_ROWS {}
        }
        Ok(())
    }
}

/// Ends a user's open sessions beyond the limit, those unused longest first, but never `kept`. Also
/// deletes the oldest ended sessions beyond the limit, so repeated sign-ins leave a bounded number
/// of rows. Tokens for programs do not count. Returns the number of changed rows; `STEP_ROWS` means
/// that there may be more.
pub fn limit(
    db: &Db,
    subject: &str,
    kept: Option<&TokenHash>,
    sessions_max: u32,
    now: i64,
) -> Result<usize> {
    // Few users reach the limit, and this takes less time than a write that changes nothing.
    let counts = "SELECT (SELECT count(*) FROM sessions WHERE sub = ?1) > ?2 AND (
            (SELECT count(*) FROM sessions WHERE sub = ?1 AND ended_at IS NULL AND kind IN ('session', 'id_token')) > ?2
            OR (SELECT count(*) FROM sessions WHERE sub = ?1 AND ended_at IS NOT NULL) > ?2)";
    if !db.one(counts, params![subject, sessions_max], |row| row.get(0))? {
        return Ok(0);
    }
    let sql = "UPDATE sessions SET ended_at = ?4 WHERE token_sha256 IN
            (SELECT token_sha256 FROM sessions WHERE sub = ?1 AND ended_at IS NULL AND kind IN ('session', 'id_token')
                AND (?2 IS NULL OR token_sha256 <> ?2)
             ORDER BY last_seen_at DESC LIMIT ?5 OFFSET ?3)
        RETURNING id, client_id";
    let kept = kept.map(TokenHash::as_bytes);
    let rest = i64::from(sessions_max) - i64::from(kept.is_some());
    let ended: Vec<(String, String)> =
        db.query(sql, params![subject, kept, rest, now, STEP_ROWS as i64], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    for (session_id, client_id) in &ended {
        let event = Event {
            subject: Some(subject.to_owned()),
            session_id: Some(session_id.clone()),
            client_id: Some(client_id.clone()),
            reason: Some(BY_THE_LIMIT.to_owned()),
            ..Event::new(EventKind::Revocation)
        };
        events::insert(db, &event, now)?;
    }
    let sql = "DELETE FROM sessions WHERE token_sha256 IN
        (SELECT token_sha256 FROM sessions WHERE sub = ?1 AND ended_at IS NOT NULL
         ORDER BY ended_at DESC LIMIT ?3 OFFSET ?2)";
    let deleted = db.execute(sql, params![subject, sessions_max, STEP_ROWS as i64])?;
    Ok(ended.len().max(deleted))
}
