//! Finds, lists, searches, blocks and deletes users. Each change records an event.

use std::fmt;
use std::str::FromStr;

use super::db::{Db, Result, params};
use super::events::{self, Actor, Event, EventKind};
use super::model::{USER_COLUMNS, User, UserRecord};
use super::writer::STEP_ROWS;
use super::{Store, StoreError};

/// The order of a list of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserSort {
    /// By name. Users without one are last.
    Name,
    /// By e-mail. Users without one are last. Uses an index.
    Email,
    /// The latest sign-in first. Uses an index.
    LastSignIn,
    /// The newest user first. Uses an index.
    Created,
}

impl UserSort {
    fn order(self) -> &'static str {
        match self {
            UserSort::Name => "lower(u.name) NULLS LAST, u.sub",
            UserSort::Email => "lower(u.email) NULLS LAST, u.sub",
            UserSort::LastSignIn => "u.last_signin_at DESC, u.sub DESC",
            UserSort::Created => "u.created_at DESC, u.sub DESC",
        }
    }

    /// The same without an index.
    fn order_of_all(self) -> &'static str {
        match self {
            UserSort::Name => self.order(),
            UserSort::Email => "lower(u.email || '') NULLS LAST, u.sub",
            UserSort::LastSignIn => "+u.last_signin_at DESC, u.sub DESC",
            UserSort::Created => "+u.created_at DESC, u.sub DESC",
        }
    }
}

/// A position in the list by [`UserSort::Created`]. Written as `CREATED_AT.SUB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCursor {
    created_at: i64,
    subject: String,
}

impl UserCursor {
    /// The position after this user.
    pub fn after(user: &User) -> UserCursor {
        UserCursor { created_at: user.created_at, subject: user.profile.subject.clone() }
    }
}

impl FromStr for UserCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<UserCursor, ()> {
        let (created_at, subject) = text.split_once('.').ok_or(())?;
        Ok(UserCursor { created_at: created_at.parse().map_err(|_| ())?, subject: subject.into() })
    }
}

impl fmt::Display for UserCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}.{}", self.created_at, self.subject)
    }
}

impl Store {
    /// The first users in this order. Every word of `search` must occur in the name, the e-mail,
    /// the user name or the `sub`, ignoring case. `after` continues a list by
    /// [`UserSort::Created`]. A search reads every user, which takes 0.5 s among a million.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn list_users(
        &self,
        search: &str,
        sort: UserSort,
        after: Option<&UserCursor>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, StoreError> {
        let is_search = !search.trim().is_empty();
        // A condition that is always true would keep SQLite from using an index.
        let after_condition = if after.is_some() {
            "(u.created_at, u.sub) < (?2, ?3)"
        } else {
            "?2 IS NULL AND ?3 IS NULL"
        };
        // A search reads every row, which is fastest in the table's order.
        let (search_condition, order) = if is_search {
            ("contains_words(?4, u.name, u.email, u.sub, u.username)", sort.order_of_all())
        } else {
            ("?4 IS NOT NULL", sort.order())
        };
        let sql = format!(
            "SELECT {USER_COLUMNS}, u.pinned_email FROM users u
             WHERE {search_condition} AND {after_condition} ORDER BY {order} LIMIT ?1"
        );
        let (created_at, subject) =
            after.map(|after| (after.created_at, after.subject.as_str())).unzip();
        let query = |db: &Db| {
            db.query(&sql, params![limit, created_at, subject, search], UserRecord::from_row)
        };
        if is_search { self.searchers.read(query) } else { self.readers.read(query) }
    }

    /// The user with this `sub`.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn user(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        let sql = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u WHERE u.sub = ?1");
        self.readers.read(|db| db.first(&sql, params![subject], UserRecord::from_row))
    }

    /// The user with this `sub`, or else every user with this e-mail, current or pinned, or with
    /// this user name. Digits alone are never a user name: they may be a `sub` that is no user yet.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn users_named(&self, name: &str) -> Result<Vec<UserRecord>, StoreError> {
        let select = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u WHERE");
        let by_subject = format!("{select} u.sub = ?1");
        // With OR instead of UNION, SQLite would read every row.
        let by_email = format!(
            "{select} u.sub IN (SELECT sub FROM users WHERE lower(email) = lower(?1)
                UNION SELECT sub FROM users WHERE pinned_email = lower(?1)
                UNION SELECT sub FROM users WHERE username = ?2) ORDER BY u.sub"
        );
        let is_username = name.bytes().any(|byte| !byte.is_ascii_digit());
        let username = is_username.then_some(name);
        self.readers.read(|db| {
            let one = db.query(&by_subject, params![name], UserRecord::from_row)?;
            if !one.is_empty() {
                return Ok(one);
            }
            db.query(&by_email, params![name, username], UserRecord::from_row)
        })
    }

    /// The users who have come with this e-mail, whatever theirs is now. Reads every event.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn users_seen_with(&self, email: &str) -> Result<Vec<UserRecord>, StoreError> {
        let sql = format!(
            "SELECT {USER_COLUMNS}, u.pinned_email FROM users u WHERE u.sub IN
                (SELECT sub FROM allowed WHERE email = lower(?1)
                UNION SELECT sub FROM events WHERE lower(email) = lower(?1)) ORDER BY u.sub"
        );
        self.searchers.read(|db| db.query(&sql, params![email], UserRecord::from_row))
    }

    /// Blocks a `sub` that is not a user yet. Like an imported user, it has never signed in.
    /// Returns whether that changed anything.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn block_unknown(&self, subject: &str, actor: Actor, now: i64) -> Result<bool, StoreError> {
        let subject = subject.to_owned();
        self.writer.write(move |db| {
            let sql = "INSERT INTO users (sub, email_authoritative, created_at, last_signin_at, blocked_at)
                VALUES (?1, FALSE, ?2, 0, ?2) ON CONFLICT DO NOTHING";
            let is_new = db.execute(sql, params![subject, now])? > 0;
            if is_new {
                insert_event(db, EventKind::Block, &subject, None, &actor, now)?;
            }
            Ok(is_new)
        })
    }

    /// Blocks a user, or lifts the operator's block and Google's. Returns whether that changed
    /// anything.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn set_blocked(
        &self,
        subject: &str,
        blocked: bool,
        actor: Actor,
        now: i64,
    ) -> Result<bool, StoreError> {
        let subject = subject.to_owned();
        self.writer.write(move |db| {
            let block = "UPDATE users SET blocked_at = ?2 WHERE sub = ?1 AND blocked_at IS NULL
                RETURNING email";
            let unblock = "UPDATE users SET blocked_at = ?2, google_disabled_at = NULL
                WHERE sub = ?1 AND (blocked_at IS NOT NULL OR google_disabled_at IS NOT NULL)
                RETURNING email";
            let (sql, kind) =
                if blocked { (block, EventKind::Block) } else { (unblock, EventKind::Unblock) };
            let changed =
                db.first(sql, params![subject, blocked.then_some(now)], |row| row.get(0))?;
            changed.map_or(Ok(false), |email| insert_event(db, kind, &subject, email, &actor, now))
        })
    }

    /// Releases a user's pinned e-mail. It is not authoritative again until the user signs in.
    /// Returns whether that changed anything.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn release_email(&self, subject: &str, actor: Actor, now: i64) -> Result<bool, StoreError> {
        let subject = subject.to_owned();
        self.writer.write(move |db| {
            let sql = "UPDATE users SET pinned_email = NULL, email_authoritative = FALSE
                WHERE sub = ?1 AND (pinned_email IS NOT NULL OR email_authoritative) RETURNING email";
            let changed = db.first(sql, params![subject], |row| row.get(0))?;
            changed.map_or(Ok(false), |email| insert_event(db, EventKind::Release, &subject, email, &actor, now))
        })
    }

    /// Deletes a user with all sessions, mostly in steps. Returns whether there was such a user.
    ///
    /// Events about the user stay with the `sub`, but without e-mail, address and browser. Events
    /// of changes that the user made as an admin stay as "by a deleted account".
    ///
    /// # Errors
    /// If the store cannot answer. The user may then still exist; another call completes it.
    pub fn delete_user(&self, subject: &str, now: i64) -> Result<bool, StoreError> {
        let exists = |db: &Db| db.exists("SELECT 1 FROM users WHERE sub = ?1", params![subject]);
        if !self.readers.read(exists)? {
            return Ok(false);
        }
        let sub = subject.to_owned();
        self.writer.write(move |db| redact_reasons(db, &sub))?;
        let mut after = EventPosition::default();
        let mut steps = self.writer.steps();
        loop {
            let sub = subject.to_owned();
            let (deleted, next) = steps.write(move |db| {
                Ok((delete_some_sessions(db, &sub)?, next_step(db, &sub, after)?))
            })?;
            let sub = subject.to_owned();
            if let Some(until) = next {
                steps.write(move |db| redact_events(db, &sub, after, until))?;
                after = until;
            } else if deleted < STEP_ROWS {
                break;
            }
        }
        let subject = subject.to_owned();
        self.writer.write(move |db| {
            if db.execute("DELETE FROM users WHERE sub = ?1", params![&subject])? == 0 {
                return Ok(false);
            }
            // The user may have signed in meanwhile.
            redact_reasons(db, &subject)?;
            redact_events(db, &subject, after, EventPosition { at: i64::MAX, id: i64::MAX })?;
            insert_event(db, EventKind::Delete, &subject, None, &Actor::operator(), now)
        })
    }
}

/// A position in the events about a user.
#[derive(Clone, Copy)]
struct EventPosition {
    at: i64,
    id: i64,
}

impl Default for EventPosition {
    fn default() -> EventPosition {
        EventPosition { at: i64::MIN, id: i64::MIN }
    }
}

/// The last event of the step that begins after this position. `None` if less than a step is left.
fn next_step(db: &Db, subject: &str, after: EventPosition) -> Result<Option<EventPosition>> {
    let sql = "SELECT at, id FROM events WHERE sub = ?1 AND (at, id) > (?2, ?3) ORDER BY at, id LIMIT 1 OFFSET ?4";
    let parameters = params![subject, after.at, after.id, STEP_ROWS as i64 - 1];
    db.first(sql, parameters, |row| Ok(EventPosition { at: row.get(0)?, id: row.get(1)? }))
}

fn redact_events(db: &Db, subject: &str, after: EventPosition, until: EventPosition) -> Result<()> {
    let sql =
        "UPDATE events SET email = NULL, detail = NULL, client_address = NULL, user_agent = NULL
        WHERE sub = ?1 AND (at, id) > (?2, ?3) AND (at, id) <= (?4, ?5)";
    let parameters = params![subject, after.at, after.id, until.at, until.id];
    db.execute(sql, parameters).map(drop)
}

fn delete_some_sessions(db: &Db, subject: &str) -> Result<usize> {
    let sql = "DELETE FROM sessions WHERE token_sha256 IN
        (SELECT token_sha256 FROM sessions WHERE sub = ?1 LIMIT ?2)";
    db.execute(sql, params![subject, STEP_ROWS as i64])
}

/// Removes the user's entries from the list of who may enter, and the user's e-mails from entries
/// and events of others and from events before the first sign-in.
fn redact_reasons(db: &Db, subject: &str) -> Result<()> {
    let entries = "DELETE FROM allowed WHERE sub = ?1
        OR (sub IS NULL AND email IN (SELECT pinned_email FROM users WHERE sub = ?1))";
    db.execute(entries, params![subject])?;
    let emails = "SELECT email FROM users WHERE sub = ?1 AND email IS NOT NULL
        UNION SELECT pinned_email FROM users WHERE sub = ?1 AND pinned_email IS NOT NULL
        UNION SELECT email FROM events WHERE sub = ?1 AND email IS NOT NULL";
    let emails: Vec<String> = db.query(emails, params![subject], |row| row.get(0))?;
    for email in emails {
        redact_email(db, &email)?;
    }
    Ok(())
}

fn redact_email(db: &Db, email: &str) -> Result<()> {
    // There may be millions of refusals without a sub.
    let (index, email_column) =
        if db.is_sqlite() { ("INDEXED BY events_by_email", "email") } else { ("", "lower(email)") };
    let of_refusals = format!(
        "UPDATE events {index} SET email = NULL, client_address = NULL, user_agent = NULL
            WHERE sub IS NULL AND {email_column} = lower(?1)"
    );
    for sql in [
        "UPDATE allowed SET created_by = 'a deleted account' WHERE created_by = ?1",
        "UPDATE blocked_emails SET created_by = 'a deleted account' WHERE created_by = ?1",
        &of_refusals,
        "UPDATE events SET reason = 'by a deleted account', client_address = NULL, user_agent = NULL
            WHERE kind <> 'refusal' AND reason = 'by ' || ?1",
    ] {
        db.execute(sql, params![email])?;
    }
    Ok(())
}

fn insert_event(
    db: &Db,
    kind: EventKind,
    subject: &str,
    email: Option<String>,
    actor: &Actor,
    now: i64,
) -> Result<bool> {
    let event = Event {
        subject: Some(subject.to_owned()),
        email,
        client: actor.client.clone(),
        reason: actor.reason.clone(),
        ..Event::new(kind)
    };
    events::insert(db, &event, now)?;
    Ok(true)
}
