//! Finds sessions by the hash of their token, lists them and ends them.

use std::ops::AddAssign;
use std::sync::LazyLock;

use super::allowed::IS_ALLOWED;
use super::db::{Db, Param, Result, ToParam, params};
use super::events::{Actor, EventKind};
use super::model::{
    Authenticated, Client, SESSION_COLUMN_COUNT, SESSION_COLUMNS, Session, USER_COLUMN_COUNT,
    USER_COLUMNS, User,
};
use super::writer::STEP_ROWS;
use super::{Store, StoreError};
use crate::token::TokenHash;

/// Also the highest limit of sessions per user.
const LISTED_MAX: i64 = 1000;

/// The sessions and tokens for programs to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionSelector {
    /// The session or token with this ID.
    Id(String),
    /// The session or token with this ID, if it is one of this user's.
    IdOfUser {
        /// `sessions.id`.
        id: String,
        /// `users.sub`.
        subject: String,
    },
    /// All sessions and tokens of this user.
    User(String),
    /// All sessions of this user except the one with this ID. Tokens stay.
    UserExcept {
        /// `users.sub`.
        subject: String,
        /// `sessions.id`.
        id: String,
    },
    /// The token with this ID.
    Token(String),
    /// All tokens of this user.
    TokensOf(String),
}

/// How many sessions and tokens were ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Without tokens.
    pub sessions: usize,
    /// Tokens for programs.
    pub tokens: usize,
}

impl Ended {
    /// Sessions and tokens.
    pub fn total(self) -> usize {
        self.sessions + self.tokens
    }
}

impl AddAssign for Ended {
    fn add_assign(&mut self, other: Ended) {
        self.sessions += other.sessions;
        self.tokens += other.tokens;
    }
}

/// The session with this token, live or not, and its user.
pub fn find(db: &Db, token: &TokenHash) -> Result<Option<Authenticated>> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        format!(
            "SELECT {SESSION_COLUMNS}, {USER_COLUMNS}, {IS_ALLOWED} FROM sessions s JOIN users u ON u.sub = s.sub \
             WHERE s.token_sha256 = ?1"
        )
    });
    db.first(&SQL, params![token.as_bytes()], |row| {
        Ok(Authenticated {
            session: Session::from_row(row)?,
            user: User::from_row(row, SESSION_COLUMN_COUNT)?,
            is_allowed: row.get(SESSION_COLUMN_COUNT + USER_COLUMN_COUNT)?,
        })
    })
}

impl Store {
    /// A user's live sessions, the last used first, without tokens for programs.
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
            "SELECT {SESSION_COLUMNS} FROM sessions s
             WHERE s.sub = ?1 AND s.ended_at IS NULL AND s.expires_at > ?2
             AND (s.kind = 'id_token' OR (s.kind = 'session' AND s.last_seen_at > ?2 - ?3))
             ORDER BY s.last_seen_at DESC LIMIT ?4"
        );
        self.readers.read(|db| {
            db.query(&sql, params![subject, now, idle_seconds, LISTED_MAX], Session::from_row)
        })
    }

    /// The open sessions of one user or of all, with their users, those that expire last first.
    /// Tokens for programs are left out. An open session has neither ended nor expired, but may
    /// have been idle for too long: only the server knows that limit.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn open_sessions(
        &self,
        subject: Option<&str>,
        now: i64,
        limit: u32,
    ) -> Result<Vec<(Session, User)>, StoreError> {
        self.open_rows("s.kind <> 'token'", "s.expires_at DESC", subject, now, limit)
    }

    /// Sessions or tokens that have neither ended nor expired, by a condition and an order in SQL.
    pub(super) fn open_rows(
        &self,
        condition: &str,
        order: &str,
        subject: Option<&str>,
        now: i64,
        limit: u32,
    ) -> Result<Vec<(Session, User)>, StoreError> {
        // A separate condition for each case, so each uses its index.
        let whose = if subject.is_some() { "s.sub = ?2" } else { "?2 IS NULL" };
        let sql = format!(
            "SELECT {SESSION_COLUMNS}, {USER_COLUMNS} FROM sessions s JOIN users u ON u.sub = s.sub
             WHERE s.ended_at IS NULL AND s.expires_at > ?1 AND {condition} AND {whose}
             ORDER BY {order} LIMIT ?3"
        );
        self.readers.read(|db| {
            db.query(&sql, params![now, subject, limit], |row| {
                Ok((Session::from_row(row)?, User::from_row(row, SESSION_COLUMN_COUNT)?))
            })
        })
    }

    /// Ends sessions and records an event for each, in steps. Returns how many it ended.
    ///
    /// # Errors
    /// If the store cannot answer. Some sessions may have ended by then; another call ends the
    /// rest.
    pub fn end_sessions(
        &self,
        selector: &SessionSelector,
        kind: EventKind,
        actor: &Actor,
        now: i64,
    ) -> Result<Ended, StoreError> {
        let mut steps = self.writer.steps();
        let mut ended = Ended::default();
        loop {
            let (selector, actor) = (selector.clone(), actor.clone());
            let count = steps.write(move |db| {
                let (subject, id) = selector.parameters();
                end(
                    db,
                    &selector.condition(),
                    (subject.to_param(), id.to_param()),
                    kind,
                    &actor,
                    now,
                )
            })?;
            ended += count;
            if count.total() < STEP_ROWS {
                return Ok(ended);
            }
        }
    }

    /// Ends every session that exists when it begins and records an event for each, in steps. Calls
    /// `progress` with the number of ended sessions after each step, and returns it.
    ///
    /// # Errors
    /// If the store cannot answer. Some sessions may have ended by then; another call ends the
    /// rest.
    pub fn end_all_sessions(
        &self,
        actor: &Actor,
        now: i64,
        mut progress: impl FnMut(usize),
    ) -> Result<Ended, StoreError> {
        // In the order of the tokens' hashes, so it ends even while users sign in.
        let (mut after, mut ended) = (Vec::new(), Ended::default());
        let mut steps = self.writer.steps();
        loop {
            let (from, actor): (Vec<u8>, _) = (after, actor.clone());
            let (last, count) = steps.write(move |db| {
                let sql = "SELECT step.token_sha256 FROM (SELECT token_sha256 FROM sessions
                        WHERE token_sha256 > ?1 ORDER BY token_sha256 LIMIT ?2) AS step
                    ORDER BY step.token_sha256 DESC LIMIT 1";
                let parameters = params![from, STEP_ROWS as i64];
                let last: Option<Vec<u8>> = db.first(sql, parameters, |row| row.get(0))?;
                let Some(last) = last else { return Ok((None, Ended::default())) };
                let range = "s.token_sha256 > ?2 AND s.token_sha256 <= ?3";
                let range_ends = (from.to_param(), last.to_param());
                let count = end(db, range, range_ends, EventKind::Revocation, &actor, now)?;
                Ok((Some(last), count))
            })?;
            ended += count;
            progress(ended.total());
            let Some(last) = last else { return Ok(ended) };
            after = last;
        }
    }
}

impl SessionSelector {
    /// A condition on `s`, a row of `sessions`, that selects at most `STEP_ROWS` rows. Its
    /// parameters are the time (1) and [`SessionSelector::parameters`] (2 and 3).
    fn condition(&self) -> String {
        match self {
            SessionSelector::Id(_) => "?2 IS NULL AND s.id = ?3".to_owned(),
            SessionSelector::IdOfUser { .. } => "s.sub = ?2 AND s.id = ?3".to_owned(),
            SessionSelector::Token(_) => "?2 IS NULL AND s.id = ?3 AND s.kind = 'token'".to_owned(),
            SessionSelector::TokensOf(_) => format!(
                "s.token_sha256 IN (SELECT token_sha256 FROM sessions WHERE sub = ?2 AND ?3 IS NULL
                    AND kind = 'token' AND ended_at IS NULL AND +expires_at > ?1 LIMIT {STEP_ROWS})"
            ),
            SessionSelector::User(_) | SessionSelector::UserExcept { .. } => format!(
                "s.token_sha256 IN (SELECT token_sha256 FROM sessions WHERE sub = ?2
                    AND ended_at IS NULL AND +expires_at > ?1 AND (?3 IS NULL OR (id <> ?3 AND kind <> 'token'))
                    ORDER BY last_seen_at, token_sha256 LIMIT {STEP_ROWS})"
            ),
        }
    }

    /// Subject and ID.
    fn parameters(&self) -> (Option<&str>, Option<&str>) {
        match self {
            SessionSelector::Id(id) | SessionSelector::Token(id) => (None, Some(id)),
            SessionSelector::User(subject) | SessionSelector::TokensOf(subject) => {
                (Some(subject), None)
            }
            SessionSelector::IdOfUser { id, subject }
            | SessionSelector::UserExcept { subject, id } => (Some(subject), Some(id)),
        }
    }
}

/// Ends open sessions of that user, at most `STEP_ROWS`, and records an event for each. Returns how
/// many it ended.
pub fn end_some_of(db: &Db, subject: &str, actor: &Actor, now: i64) -> Result<usize> {
    let selector = SessionSelector::User(subject.to_owned());
    let (subject, id) = selector.parameters();
    let ended = end(
        db,
        &selector.condition(),
        (subject.to_param(), id.to_param()),
        EventKind::Revocation,
        actor,
        now,
    )?;
    Ok(ended.total())
}

/// Ends the open sessions that match the condition, which has parameters 2 and 3.
fn end(
    db: &Db,
    condition: &str,
    (second, third): (Param, Param),
    kind: EventKind,
    actor: &Actor,
    now: i64,
) -> Result<Ended> {
    // The plus keeps SQLite from using the index by expiry; the condition has a better one.
    let open = format!("s.ended_at IS NULL AND +s.expires_at > ?1 AND {condition}");
    let record = format!(
        "INSERT INTO events (at, kind, sub, email, session_id, client_id, reason, client_address, user_agent)
         SELECT ?1, ?4, s.sub, u.email, s.id, nullif(s.client_id, ''), ?5, ?6, ?7
         FROM sessions s JOIN users u ON u.sub = s.sub WHERE {open}"
    );
    let Client { address, user_agent } = &actor.client;
    let kind = kind.as_str();
    let of_event = params![kind, actor.reason, address, user_agent];
    db.execute(&record, &[params![now], &[second, third][..], of_event].concat())?;
    let update =
        format!("UPDATE sessions AS s SET ended_at = ?1 WHERE {open} RETURNING kind = 'token'");
    let are_tokens: Vec<bool> =
        db.query(&update, &[now.to_param(), second, third], |row| row.get(0))?;
    let tokens = are_tokens.iter().filter(|is_token| **is_token).count();
    Ok(Ended { sessions: are_tokens.len() - tokens, tokens })
}
