//! Sessions as operator and admins see and end them.

use rusqlite::params;

use super::levers::Author;
use super::sessions::{Client, SESSION_COLUMN_COUNT, SESSION_COLUMNS, Session};
use super::users::{USER_COLUMNS, User};
use super::{Store, StoreError};

/// Which sessions of others are ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// The one of that id.
    Session(String),
    /// The one of that id, if it is of the user of that `sub`.
    SessionOf(String, String),
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
    pub fn revoke(&self, revoked: Revoked, author: Author, now: i64) -> Result<usize, StoreError> {
        self.writer.write(move |db| {
            // A condition of its own for each, so that each has its index.
            let (which, id, subject) = match &revoked {
                Revoked::Session(id) => ("s.id = ?2 AND ?3 IS NULL", Some(id), None),
                Revoked::SessionOf(id, subject) => ("s.id = ?2 AND s.sub = ?3", Some(id), Some(subject)),
                Revoked::User(subject) => ("?2 IS NULL AND s.sub = ?3", None, Some(subject)),
                Revoked::All => ("?2 IS NULL AND ?3 IS NULL", None, None),
            };
            let open = format!("s.ended_at IS NULL AND s.expires_at > ?1 AND {which}");
            let record = format!(
                "INSERT INTO events
                    (at, kind, sub, email, session_id, client_id, reason, client_address, user_agent)
                 SELECT ?1, 'revocation', s.sub, u.email, s.id, s.client_id, ?4, ?5, ?6
                 FROM sessions s JOIN users u ON u.sub = s.sub WHERE {open}"
            );
            let Client { address, user_agent } = &author.client;
            db.prepare_cached(&record)?.execute(params![now, id, subject, author.by, address, user_agent])?;
            db.prepare_cached(&format!("UPDATE sessions AS s SET ended_at = ?1 WHERE {open}"))?
                .execute(params![now, id, subject])
        })
    }
}
