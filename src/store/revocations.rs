//! Sessions as the operator sees and ends them.

use rusqlite::params;

use super::levers::BY_THE_OPERATOR;
use super::sessions::{SESSION_COLUMN_COUNT, SESSION_COLUMNS, Session};
use super::users::{USER_COLUMNS, User};
use super::{Store, StoreError};

/// Which sessions the operator ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// The one of that id.
    Session(String),
    /// Those of the user of that `sub`.
    User(String),
    /// All there are.
    All,
}

impl Store {
    /// The sessions that have neither ended nor expired, of everybody or of that `sub`, with their users; those that
    /// last longest first. They may have been idle for too long: only the server knows its limit.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn open_sessions(
        &self,
        subject: Option<&str>,
        now: i64,
        limit: u32,
    ) -> Result<Vec<(Session, User)>, StoreError> {
        // A condition of its own for each, so that each has its index.
        let whose = if subject.is_some() { "s.sub = ?2" } else { "?2 IS NULL" };
        let sql = format!(
            "SELECT {SESSION_COLUMNS}, {USER_COLUMNS} FROM sessions s JOIN users u ON u.sub = s.sub
             WHERE s.ended_at IS NULL AND s.expires_at > ?1 AND {whose} ORDER BY s.expires_at DESC LIMIT ?3"
        );
        self.readers.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query_map(params![now, subject, limit], |row| {
                Ok((Session::from_row(row)?, User::from_row(row, SESSION_COLUMN_COUNT)?))
            })?;
            rows.collect()
        })
    }

    /// Ends sessions and records an event for each. Returns how many were ended.
    ///
    /// # Errors
    /// If the store cannot answer; then none was ended.
    pub fn revoke(&self, revoked: Revoked, now: i64) -> Result<usize, StoreError> {
        self.writer.write(move |db| {
            let (which, name) = match &revoked {
                Revoked::Session(id) => ("s.id = ?2", Some(id)),
                Revoked::User(subject) => ("s.sub = ?2", Some(subject)),
                Revoked::All => ("?2 IS NULL", None),
            };
            let open = format!("s.ended_at IS NULL AND s.expires_at > ?1 AND {which}");
            let record = format!(
                "INSERT INTO events (at, kind, sub, email, session_id, client_id, reason)
                 SELECT ?1, 'revocation', s.sub, u.email, s.id, s.client_id, ?3
                 FROM sessions s JOIN users u ON u.sub = s.sub WHERE {open}"
            );
            db.prepare_cached(&record)?.execute(params![now, name, BY_THE_OPERATOR])?;
            db.prepare_cached(&format!("UPDATE sessions AS s SET ended_at = ?1 WHERE {open}"))?
                .execute(params![now, name])
        })
    }
}
