//! Sessions: found by the hash of their token, listed, and ended.

use std::sync::LazyLock;
use std::thread;
use std::time::Instant;

use rusqlite::types::Null;
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::events::{self, Actor, Event, EventKind};
use super::model::{
    Authenticated, Client, SESSION_COLUMN_COUNT, SESSION_COLUMNS, Session, USER_COLUMNS, User,
};
use super::{Store, StoreError};
use crate::profile::Profile;
use crate::token::TokenHash;

/// The most sessions of one person that are listed, and may be allowed.
const LISTED_MAX: i64 = 1000;
/// Sessions ended in one transaction: some 10 milliseconds, for which sign-ins wait.
const ENDING_STEP_ROWS: usize = 500;

/// Sessions looked at in one transaction when all are ended: some 10 milliseconds, for which sign-ins wait.
const REVOCATION_STEP_ROWS: i64 = 500;

/// Which of a person's sessions to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The one of that id.
    One(String),
    /// All but the one of that id.
    AllBut(String),
    /// All of them.
    All,
}

/// The row of that token, live or not, with its user.
pub fn find(db: &Connection, token: &TokenHash) -> rusqlite::Result<Option<Authenticated>> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {SESSION_COLUMNS}, {USER_COLUMNS} FROM sessions s JOIN users u ON u.sub = s.sub \
             WHERE s.token_sha256 = ?1"
        )
    });
    db.prepare_cached(&SQL)?
        .query_row([token.as_bytes()], |row| {
            Ok(Authenticated {
                session: Session::from_row(row)?,
                user: User::from_row(row, SESSION_COLUMN_COUNT)?,
            })
        })
        .optional()
}

/// Which sessions of others are ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionSelector {
    /// The one of that id.
    Session(String),
    /// The one of that id, if it is of the user of that `sub`.
    SessionOf(String, String),
    /// Those of the user of that `sub`.
    User(String),
}

impl Store {
    /// The live sessions of that person, the last used first.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn sessions_of(
        &self,
        subject: &str,
        now: i64,
        idle_seconds: i64,
    ) -> Result<Vec<Session>, StoreError> {
        let sql = format!(
            "SELECT {SESSION_COLUMNS} FROM sessions s WHERE s.sub = ?1 AND s.ended_at IS NULL AND s.expires_at > ?2 \
             AND (s.kind = 'id_token' OR s.last_seen_at > ?2 - ?3) ORDER BY s.last_seen_at DESC LIMIT ?4"
        );
        self.readers.read(|db| {
            let mut statement = db.prepare_cached(&sql)?;
            statement
                .query_map(params![subject, now, idle_seconds, LISTED_MAX], Session::from_row)?
                .collect()
        })
    }

    /// Ends sessions of that person and records an event of that kind for each, in steps between which others write.
    /// Returns how many were ended, once all of them are.
    ///
    /// # Errors
    /// If the store cannot answer; then some may have ended, and another call ends the rest.
    pub fn end(
        &self,
        user: &User,
        ending: Ending,
        kind: EventKind,
        client: Client,
        now: i64,
    ) -> Result<usize, StoreError> {
        let mut ended = 0;
        loop {
            let begun = Instant::now();
            let (user, ending, client) = (user.profile.clone(), ending.clone(), client.clone());
            let count =
                self.writer.write(move |db| end_some(db, &user, &ending, kind, &client, now))?;
            ended += count;
            if count < ENDING_STEP_ROWS {
                return Ok(ended);
            }
            // Other processes look now and then whether they may write, so leave them as much time.
            thread::sleep(begun.elapsed());
        }
    }

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

    /// Ends sessions and records an event for each, in steps between which others write. Returns how many were ended,
    /// once all of them are.
    ///
    /// # Errors
    /// If the store cannot answer; then some may have ended, and another call ends the rest.
    pub fn revoke(
        &self,
        revoked: SessionSelector,
        author: Actor,
        now: i64,
    ) -> Result<usize, StoreError> {
        let mut ended = 0;
        loop {
            let begun = Instant::now();
            let (revoked, author) = (revoked.clone(), author.clone());
            let count = self.writer.write(move |db| match &revoked {
                SessionSelector::Session(id) => {
                    end(db, "s.id = ?2 AND ?3 IS NULL", (id, &Null), &author, now)
                }
                SessionSelector::SessionOf(id, subject) => {
                    end(db, "s.id = ?2 AND s.sub = ?3", (id, subject), &author, now)
                }
                SessionSelector::User(subject) => {
                    let some = "s.token_sha256 IN (SELECT token_sha256 FROM sessions WHERE sub = ?2
                        AND ended_at IS NULL AND +expires_at > ?1 ORDER BY last_seen_at, token_sha256 LIMIT ?3)";
                    end(db, some, (subject, &REVOCATION_STEP_ROWS), &author, now)
                }
            })?;
            ended += count;
            if count < REVOCATION_STEP_ROWS as usize {
                return Ok(ended);
            }
            // Other processes look now and then whether they may write, so leave them as much time.
            thread::sleep(begun.elapsed());
        }
    }

    /// Ends every session there is when it begins, and records an event for each, in steps between which others write.
    /// What a step ended is ended at once. Returns how many were ended; `progress` is told so after every step.
    ///
    /// # Errors
    /// If the store cannot answer; then some were ended, and another call ends the rest.
    pub fn revoke_all(
        &self,
        now: i64,
        mut progress: impl FnMut(usize),
    ) -> Result<usize, StoreError> {
        // The tokens' hashes are the order: a session that is made meanwhile does not make it longer.
        let (mut after, mut ended) = (Vec::new(), 0);
        loop {
            let from: Vec<u8> = after;
            let (begun, last, count) = self.writer.write(move |db| {
                let begun = Instant::now();
                let sql = "SELECT max(token_sha256) FROM
                    (SELECT token_sha256 FROM sessions WHERE token_sha256 > ?1 ORDER BY token_sha256 LIMIT ?2)";
                let last: Option<Vec<u8>> =
                    db.prepare_cached(sql)?.query_row(params![from, REVOCATION_STEP_ROWS], |row| row.get(0))?;
                let Some(last) = last else { return Ok((begun, None, 0)) };
                let which = "s.token_sha256 > ?2 AND s.token_sha256 <= ?3";
                let count = end(db, which, (&from, &last), &Actor::operator(), now)?;
                Ok((begun, Some(last), count))
            })?;
            ended += count;
            progress(ended);
            let Some(last) = last else { return Ok(ended) };
            after = last;
            // Who waits for us looks now and then whether we are done, so we are away for as long as we were there.
            thread::sleep(begun.elapsed());
        }
    }
}

fn end_some(
    db: &Connection,
    user: &Profile,
    ending: &Ending,
    kind: EventKind,
    client: &Client,
    now: i64,
) -> rusqlite::Result<usize> {
    let (one, but) = match ending {
        Ending::One(id) => (Some(id), None),
        Ending::AllBut(id) => (None, Some(id)),
        Ending::All => (None, None),
    };
    let sql = "UPDATE sessions SET ended_at = ?2 WHERE token_sha256 IN
            (SELECT token_sha256 FROM sessions WHERE sub = ?1 AND ended_at IS NULL AND +expires_at > ?2
                AND (?3 IS NULL OR id = ?3) AND (?4 IS NULL OR id <> ?4) LIMIT ?5)
        RETURNING id, client_id";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement
        .query_map(params![user.subject, now, one, but, ENDING_STEP_ROWS as i64], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let ended: Vec<(String, String)> = rows.collect::<rusqlite::Result<_>>()?;
    for (session_id, client_id) in &ended {
        let event = Event {
            kind,
            subject: Some(user.subject.clone()),
            email: user.email.clone(),
            session_id: Some(session_id.clone()),
            client: client.clone(),
            client_id: Some(client_id.clone()),
            verified_by: None,
            reason: None,
            host: None,
        };
        events::insert(db, &event, now)?;
    }
    Ok(ended.len())
}

/// Ends those open sessions of which the condition holds, which has parameters 2 and 3.
fn end(
    db: &Connection,
    which: &str,
    (second, third): (&dyn ToSql, &dyn ToSql),
    author: &Actor,
    now: i64,
) -> rusqlite::Result<usize> {
    // The plus keeps from walking the index by expiry: the condition has a better one.
    let open = format!("s.ended_at IS NULL AND +s.expires_at > ?1 AND {which}");
    let record = format!(
        "INSERT INTO events (at, kind, sub, email, session_id, client_id, reason, client_address, user_agent)
         SELECT ?1, 'revocation', s.sub, u.email, s.id, s.client_id, ?4, ?5, ?6
         FROM sessions s JOIN users u ON u.sub = s.sub WHERE {open}"
    );
    let Client { address, user_agent } = &author.client;
    db.prepare_cached(&record)?
        .execute(params![now, second, third, author.by, address, user_agent])?;
    let sql = format!("UPDATE sessions AS s SET ended_at = ?1 WHERE {open}");
    db.prepare_cached(&sql)?.execute(params![now, second, third])
}
