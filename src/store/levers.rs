//! What the operator or an admin changes about a user. Each change is one transaction, with its event.

use rusqlite::{Connection, OptionalExtension, params};

use super::events::{self, Event, EventKind};
use super::sessions::Client;
use super::{Store, StoreError};

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
    /// without what tells more of a person: e-mail, address and browser. What they did to
    /// others as an admin stays as well, by a deleted account. Returns whether there was one.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn delete_user(&self, subject: &str, now: i64) -> Result<bool, StoreError> {
        let subject = subject.to_owned();
        self.writer.write(move |db| {
            if db.prepare_cached("DELETE FROM users WHERE sub = ?1")?.execute([&subject])? == 0 {
                return Ok(false);
            }
            let unname = "UPDATE events SET reason = 'by a deleted account', client_address = NULL,
                user_agent = NULL WHERE kind <> 'refusal' AND reason IN
                (SELECT 'by ' || email FROM events WHERE sub = ?1 AND email IS NOT NULL)";
            db.prepare_cached(unname)?.execute([&subject])?;
            let forget = "UPDATE events SET email = NULL, client_address = NULL, user_agent = NULL WHERE sub = ?1";
            db.prepare_cached(forget)?.execute([&subject])?;
            record(db, EventKind::Delete, &subject, None, Actor::operator(), now)
        })
    }
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
