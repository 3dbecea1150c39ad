//! What the operator or an admin changes about a user. Each change is one transaction, with its event.

use std::thread;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, params};

use super::events::{self, Event, EventKind};
use super::sessions::Client;
use super::{Store, StoreError};

/// Rows changed in one transaction when somebody is erased: some 10 milliseconds, for which sign-ins wait.
const ERASING_STEP_ROWS: usize = 500;

/// What the event of a change by the operator says.
pub const BY_THE_OPERATOR: &str = "by the operator";

/// Who changes something about somebody.
#[derive(Debug, Clone)]
pub struct Actor {
    /// What the event says of them.
    pub(super) by: String,
    /// From where.
    pub(super) client: Client,
}

impl Actor {
    /// The operator, by a command.
    pub fn operator() -> Actor {
        Actor { by: BY_THE_OPERATOR.to_owned(), client: Client::default() }
    }

    /// The admin of that e-mail, by a page.
    pub fn admin(email: &str, client: Client) -> Actor {
        Actor { by: format!("by {email}"), client }
    }
}

impl Store {
    /// Blocks that user, or lifts the block. Returns whether that changed anything.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn set_blocked(
        &self,
        subject: &str,
        blocked: bool,
        author: Actor,
        now: i64,
    ) -> Result<bool, StoreError> {
        let subject = subject.to_owned();
        self.writer.write(move |db| {
            let sql = "UPDATE users SET blocked_at = ?2 WHERE sub = ?1 AND (blocked_at IS NULL) = (?2 IS NOT NULL)
                RETURNING email";
            let kind = if blocked { EventKind::Block } else { EventKind::Unblock };
            let mut statement = db.prepare_cached(sql)?;
            let changed = statement.query_row(params![subject, blocked.then_some(now)], |row| row.get(0)).optional()?;
            drop(statement);
            changed.map_or(Ok(false), |email| record(db, kind, &subject, email, author, now))
        })
    }

    /// Lets go of the e-mail that user holds; from now on they may not decide anything by it either, until they sign in
    /// again. Returns whether that changed anything.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn release_email(
        &self,
        subject: &str,
        author: Actor,
        now: i64,
    ) -> Result<bool, StoreError> {
        let subject = subject.to_owned();
        self.writer.write(move |db| {
            let sql = "UPDATE users SET pinned_email = NULL, email_authoritative = 0
                WHERE sub = ?1 AND (pinned_email IS NOT NULL OR email_authoritative <> 0) RETURNING email";
            let mut statement = db.prepare_cached(sql)?;
            let changed = statement.query_row([&subject], |row| row.get(0)).optional()?;
            drop(statement);
            changed.map_or(Ok(false), |email| record(db, EventKind::Release, &subject, email, author, now))
        })
    }

    /// Erases that user and their sessions. Their events stay, so that they are still counted, with the `sub` and
    /// without what tells more of a person: e-mail, address and browser. What they did to others as an admin stays as
    /// well, by a deleted account. Most of it is done in steps between which others write. Returns whether there was one.
    ///
    /// # Errors
    /// If the store cannot answer; then the user is still there, and another call erases them.
    pub fn delete_user(&self, subject: &str, now: i64) -> Result<bool, StoreError> {
        let exists = |db: &Connection| {
            db.prepare_cached("SELECT 1 FROM users WHERE sub = ?1")?.exists([subject])
        };
        if !self.readers.read(exists)? {
            return Ok(false);
        }
        let person = subject.to_owned();
        self.writer.write(move |db| unname(db, &person))?;
        let mut after = EventPlace::default();
        loop {
            let (begun, person) = (Instant::now(), subject.to_owned());
            let (deleted, next) = self.writer.write(move |db| {
                Ok((delete_some_sessions(db, &person)?, next_step(db, &person, after)?))
            })?;
            let person = subject.to_owned();
            if let Some(until) = next {
                self.writer.write(move |db| empty_events(db, &person, after, until))?;
                after = until;
            } else if deleted < ERASING_STEP_ROWS {
                break;
            }
            // Other processes look now and then whether they may write, so leave them as much time.
            thread::sleep(begun.elapsed());
        }
        let subject = subject.to_owned();
        self.writer.write(move |db| {
            if db.prepare_cached("DELETE FROM users WHERE sub = ?1")?.execute([&subject])? == 0 {
                return Ok(false);
            }
            // They may have signed in meanwhile.
            unname(db, &subject)?;
            empty_events(db, &subject, after, EventPlace { at: i64::MAX, id: i64::MAX })?;
            record(db, EventKind::Delete, &subject, None, Actor::operator(), now)
        })
    }
}

/// Where an event of somebody is among theirs.
#[derive(Clone, Copy)]
struct EventPlace {
    at: i64,
    id: i64,
}

impl Default for EventPlace {
    fn default() -> EventPlace {
        EventPlace { at: i64::MIN, id: i64::MIN }
    }
}

/// The last event of the step that begins after that one; `None` if fewer than a step's are left.
fn next_step(
    db: &Connection,
    subject: &str,
    after: EventPlace,
) -> rusqlite::Result<Option<EventPlace>> {
    let sql = "SELECT at, id FROM events WHERE sub = ?1 AND (at, id) > (?2, ?3) ORDER BY at, id LIMIT 1 OFFSET ?4";
    let parameters = params![subject, after.at, after.id, ERASING_STEP_ROWS as i64 - 1];
    db.prepare_cached(sql)?
        .query_row(parameters, |row| Ok(EventPlace { at: row.get(0)?, id: row.get(1)? }))
        .optional()
}

fn empty_events(
    db: &Connection,
    subject: &str,
    after: EventPlace,
    until: EventPlace,
) -> rusqlite::Result<()> {
    let sql = "UPDATE events SET email = NULL, client_address = NULL, user_agent = NULL
        WHERE sub = ?1 AND (at, id) > (?2, ?3) AND (at, id) <= (?4, ?5)";
    let parameters = params![subject, after.at, after.id, until.at, until.id];
    db.prepare_cached(sql)?.execute(parameters).map(drop)
}

fn delete_some_sessions(db: &Connection, subject: &str) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM sessions WHERE token_sha256 IN
        (SELECT token_sha256 FROM sessions WHERE sub = ?1 LIMIT ?2)";
    db.prepare_cached(sql)?.execute(params![subject, ERASING_STEP_ROWS as i64])
}

/// Takes the e-mails of that person out of the events about others.
fn unname(db: &Connection, subject: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE events SET reason = 'by a deleted account', client_address = NULL,
        user_agent = NULL WHERE kind <> 'refusal' AND reason IN
        (SELECT 'by ' || email FROM events WHERE sub = ?1 AND email IS NOT NULL)";
    db.prepare_cached(sql)?.execute([subject]).map(drop)
}

fn record(
    db: &Connection,
    kind: EventKind,
    subject: &str,
    email: Option<String>,
    author: Actor,
    now: i64,
) -> rusqlite::Result<bool> {
    let event = Event {
        kind,
        subject: Some(subject.to_owned()),
        email,
        session_id: None,
        client: author.client,
        client_id: None,
        verified_by: None,
        reason: Some(author.by),
        host: None,
    };
    events::insert(db, &event, now)?;
    Ok(true)
}
