//! Sessions, found by the hash of their token.

use std::sync::LazyLock;
use std::thread;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::events::{self, Event, EventKind};
use super::last_seen::Noted;
use super::packed::{WholeSession, WholeUser};
use super::users::{USER_COLUMNS, User};
use super::{Store, StoreError};
use crate::profile::Profile;
use crate::token::TokenHash;

/// `last_seen_at` is written at most this often for a session, so that reading stays reading.
pub const TOUCH_SECONDS: i64 = 60;
/// The most sessions of one person that are listed, and may be allowed.
const LISTED_MAX: i64 = 1000;
/// Sessions ended in one transaction: some 10 milliseconds, for which sign-ins wait.
const ENDING_STEP_ROWS: usize = 500;

/// What a session's token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionKind {
    /// One of ours, from a sign-in.
    Session,
    /// A Google ID token, presented as a bearer. It lives until its own `exp`.
    IdToken,
}

/// Who is at the other end, as far as can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// IP address, behind trusted proxies the one they name.
    pub address: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
}

/// One session, in JSON as the contract shows it. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Names the session in public; proves nothing.
    pub id: String,
    /// What its token is.
    #[serde(skip)]
    pub kind: SessionKind,
    /// `aud` of the ID token behind it.
    #[serde(skip)]
    pub client_id: String,
    /// When it was established.
    pub created_at: i64,
    /// When it was last used, to the minute.
    pub last_seen_at: i64,
    /// When it ends at the latest.
    pub expires_at: i64,
    /// When it was ended before its time.
    #[serde(skip)]
    pub ended_at: Option<i64>,
    /// From where it was established.
    #[serde(skip)]
    pub client: Client,
}

/// A session, and whose it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Authenticated {
    /// The session.
    #[serde(with = "WholeSession")]
    pub session: Session,
    /// Whose it is.
    #[serde(with = "WholeUser")]
    pub user: User,
}

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

/// The columns that [`Session::from_row`] reads, in its order.
pub const SESSION_COLUMNS: &str = "s.id, s.kind, s.created_at, s.last_seen_at, s.expires_at, s.ended_at, \
    s.client_address, s.user_agent, s.client_id";
/// How many they are.
pub const SESSION_COLUMN_COUNT: usize = 9;

impl Session {
    /// Whether it still counts at that time, with that idle limit in seconds.
    pub fn is_live(&self, now: i64, idle_seconds: i64) -> bool {
        self.ended_at.is_none() && now < self.expires_at && !self.is_idle(now, idle_seconds)
    }

    /// Whether it ended because nobody used it for so long.
    pub fn is_idle(&self, now: i64, idle_seconds: i64) -> bool {
        self.kind == SessionKind::Session && now.saturating_sub(self.last_seen_at) >= idle_seconds
    }

    /// Whether its use at that time is to be written down.
    pub fn is_touch_due(&self, now: i64) -> bool {
        now.saturating_sub(self.last_seen_at) >= TOUCH_SECONDS
    }

    /// Reads `SESSION_COLUMNS`, which begin the row.
    pub fn from_row(row: &Row) -> rusqlite::Result<Session> {
        let kind = if row.get_ref(1)?.as_str()? == "session" {
            SessionKind::Session
        } else {
            SessionKind::IdToken
        };
        Ok(Session {
            id: row.get(0)?,
            kind,
            client_id: row.get(8)?,
            created_at: row.get(2)?,
            last_seen_at: row.get(3)?,
            expires_at: row.get(4)?,
            ended_at: row.get(5)?,
            client: Client { address: row.get(6)?, user_agent: row.get(7)? },
        })
    }
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

impl Store {
    /// Notes that a session is in use, at most once a minute. Does not wait for it.
    pub fn touch(&self, session: &Session, token: &TokenHash, now: i64) {
        if !session.is_touch_due(now) {
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
