//! What happened: an append-only record for the operator.

use rusqlite::{Connection, params};

use super::{Client, Store, StoreError};

/// Days are UTC's.
pub const DAY_SECONDS: i64 = 24 * 60 * 60;
/// The most events that are kept, whatever their age: some 2 GB.
const EVENTS_MAX: i64 = 5_000_000;
/// Rows deleted in one transaction by [`Store::purge`].
const PURGE_STEP_ROWS: u32 = 500;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A session was established.
    SignIn,
    /// A sign-in was refused.
    Refusal,
    /// Somebody ended their own session.
    SignOut,
    /// A session was ended from another one, by the operator or by an admin.
    Revocation,
    /// The operator or an admin blocked somebody.
    Block,
    /// One of them lifted a block.
    Unblock,
    /// One of them released the e-mail that somebody held.
    Release,
    /// The operator erased somebody.
    Delete,
}

/// One event. What is not known is `None`.
#[derive(Debug, Clone)]
pub struct Event {
    /// What kind.
    pub kind: EventKind,
    /// Whom it is about.
    pub subject: Option<String>,
    /// Their e-mail.
    pub email: Option<String>,
    /// Which session.
    pub session_id: Option<String>,
    /// Who asked for it.
    pub client: Client,
    /// `aud` of the ID token.
    pub client_id: Option<String>,
    /// What said that the ID token is Google's, as schema.sql names it.
    pub verified_by: Option<&'static str>,
    /// What the client was told, for a refusal; by whom, for a change by somebody else.
    pub reason: Option<String>,
    /// Of a refusal by check or forward: the app's host, as the proxy named it.
    pub host: Option<String>,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 8] = [
        EventKind::SignIn,
        EventKind::Refusal,
        EventKind::SignOut,
        EventKind::Revocation,
        EventKind::Block,
        EventKind::Unblock,
        EventKind::Release,
        EventKind::Delete,
    ];

    /// Its name in schema.sql.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::SignIn => "signin",
            EventKind::Refusal => "refusal",
            EventKind::SignOut => "signout",
            EventKind::Revocation => "revocation",
            EventKind::Block => "block",
            EventKind::Unblock => "unblock",
            EventKind::Release => "release",
            EventKind::Delete => "delete",
        }
    }
}

/// Appends an event that happened at that time (unix seconds), and counts it to its day.
pub fn insert(db: &Connection, event: &Event, at: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO events
            (at, kind, sub, email, session_id, client_address, client_id, user_agent, reason, verified_by,
            host)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    db.prepare_cached(sql)?.execute(params![
        at,
        event.kind.as_str(),
        event.subject,
        event.email,
        event.session_id,
        event.client.address,
        event.client_id,
        event.client.user_agent,
        event.reason,
        event.verified_by,
        event.host
    ])?;
    let (signin, refusal) = (event.kind == EventKind::SignIn, event.kind == EventKind::Refusal);
    if signin || refusal {
        count(db, at.div_euclid(DAY_SECONDS), signin.into(), refusal.into())?;
    }
    Ok(())
}

/// Adds to the sign-ins and refusals of a day.
pub fn count(db: &Connection, day: i64, signins: i64, refusals: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO days (day, signins, refusals) VALUES (?1, ?2, ?3)
        ON CONFLICT (day) DO UPDATE SET signins = signins + ?2, refusals = refusals + ?3";
    db.prepare_cached(sql)?.execute(params![day, signins, refusals]).map(drop)
}

impl Store {
    /// The latest time, in unix seconds, at which something happened or a session was seen; `None` in a new database.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn last_activity_at(&self) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT max(at) FROM (SELECT max(at) AS at FROM events
            UNION ALL SELECT max(last_seen_at) FROM sessions WHERE ended_at IS NULL)";
        self.readers.read(|db| db.prepare_cached(sql)?.query_row([], |row| row.get(0)))
    }

    /// Records an event soon. It never holds up an answer, and is dropped if the store cannot keep up.
    pub fn record(&self, event: Event, at: i64) {
        self.writer.write_later(move |db| insert(db, &event, at));
    }

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
