//! E-mails that are blocked before their account has signed in, while there is no user to block.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::events::{self, Actor, Event, EventKind};
use super::model::{PROFILE_COLUMNS, profile_parameters, required_text};
use super::{Store, StoreError};
use crate::profile::Profile;

/// An e-mail whose account may not sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedEmail {
    /// In lower case.
    pub email: String,
    /// In unix seconds.
    pub created_at: i64,
}

impl Store {
    /// Blocks an e-mail that no user has. Returns whether that changed anything.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn block_email(&self, email: &str, actor: Actor, now: i64) -> Result<bool, StoreError> {
        let email = email.to_ascii_lowercase();
        self.writer.write(move |db| {
            let sql =
                "INSERT INTO blocked_emails (email, created_at, created_by) VALUES (?1, ?2, ?3)
                ON CONFLICT DO NOTHING";
            let is_new = db.prepare_cached(sql)?.execute(params![email, now, actor.admin])? > 0;
            if is_new {
                record(db, EventKind::Block, email, actor, now)?;
            }
            Ok(is_new)
        })
    }

    /// Lifts the block of an e-mail. Returns whether that changed anything.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn unblock_email(&self, email: &str, actor: Actor, now: i64) -> Result<bool, StoreError> {
        let email = email.to_ascii_lowercase();
        self.writer.write(move |db| {
            let was_there = remove(db, &email)?;
            if was_there {
                record(db, EventKind::Unblock, email, actor, now)?;
            }
            Ok(was_there)
        })
    }

    /// The blocked e-mails that contain every word of `search`, the latest first.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn blocked_emails(
        &self,
        search: &str,
        limit: u32,
    ) -> Result<Vec<BlockedEmail>, StoreError> {
        let sql = "SELECT email, created_at FROM blocked_emails WHERE contains_words(?1, email)
            ORDER BY created_at DESC, email LIMIT ?2";
        self.readers
            .read(|db| db.prepare_cached(sql)?.query_map(params![search, limit], read)?.collect())
    }

    /// The block of this e-mail, if there is one.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn blocked_email(&self, email: &str) -> Result<Option<BlockedEmail>, StoreError> {
        let sql = "SELECT email, created_at FROM blocked_emails WHERE email = lower(?1)";
        self.readers.read(|db| db.prepare_cached(sql)?.query_row([email], read).optional())
    }
}

fn read(row: &Row) -> rusqlite::Result<BlockedEmail> {
    Ok(BlockedEmail { email: required_text(row, 0)?, created_at: row.get(1)? })
}

/// Whether the profile's e-mail is blocked, even if Google is not authoritative for it.
pub fn is_blocked(db: &Connection, profile: &Profile) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM blocked_emails WHERE email = lower(?1)";
    db.prepare_cached(sql)?.exists([&profile.email])
}

/// After a refused sign-in: if Google is authoritative for the e-mail, replaces its block with a
/// blocked user.
pub fn block_user(db: &Connection, profile: &Profile, now: i64) -> rusqlite::Result<()> {
    let Some(email) = profile.pinned_email() else {
        return Ok(());
    };
    if !remove(db, &email)? {
        return Ok(());
    }
    // Like an imported user, this one has never signed in. An e-mail that is pinned to another user
    // stays with that user.
    let sql = format!(
        "INSERT INTO users ({PROFILE_COLUMNS}, pinned_email, created_at, last_signin_at, blocked_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10,
            (SELECT ?11 WHERE NOT EXISTS (SELECT 1 FROM users WHERE pinned_email = ?11)), ?12, 0, ?12)
        ON CONFLICT (sub) DO UPDATE SET blocked_at = coalesce(blocked_at, ?12)"
    );
    db.prepare_cached(&sql)?.execute(&*profile_parameters(profile, &[&email, &now])).map(drop)
}

fn remove(db: &Connection, email: &str) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM blocked_emails WHERE email = ?1";
    Ok(db.prepare_cached(sql)?.execute([email])? > 0)
}

fn record(
    db: &Connection,
    kind: EventKind,
    email: String,
    actor: Actor,
    now: i64,
) -> rusqlite::Result<()> {
    let event = Event {
        email: Some(email),
        client: actor.client,
        reason: actor.reason,
        ..Event::new(kind)
    };
    events::insert(db, &event, now)
}
