//! E-mails that are blocked before their account has signed in, while there is no user to block.

use super::db::{Db, Result, Row, params};
use super::events::{self, Actor, Event, EventKind};
use super::model::{PROFILE_COLUMNS, profile_parameters};
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
            let is_new = db.execute(sql, params![email, now, actor.admin])? > 0;
            if is_new {
                record(db, EventKind::Block, &email, &actor, now)?;
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
                record(db, EventKind::Unblock, &email, &actor, now)?;
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
        self.readers.read(|db| db.query(sql, params![search, limit], read))
    }

    /// The block of this e-mail, if there is one.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn blocked_email(&self, email: &str) -> Result<Option<BlockedEmail>, StoreError> {
        let sql = "SELECT email, created_at FROM blocked_emails WHERE email = lower(?1)";
        self.readers.read(|db| db.first(sql, params![email], read))
    }
}

fn read(row: &Row) -> Result<BlockedEmail> {
    Ok(BlockedEmail { email: row.get(0)?, created_at: row.get(1)? })
}

/// After a refused sign-in: if Google is authoritative for the e-mail, replaces its block with a
/// blocked user.
pub fn block_user(db: &Db, profile: &Profile, now: i64) -> Result<()> {
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
        ON CONFLICT (sub) DO UPDATE SET blocked_at = coalesce(users.blocked_at, ?12)"
    );
    db.execute(&sql, &profile_parameters(profile, params![email, now])).map(drop)
}

fn remove(db: &Db, email: &str) -> Result<bool> {
    let sql = "DELETE FROM blocked_emails WHERE email = ?1";
    Ok(db.execute(sql, params![email])? > 0)
}

fn record(db: &Db, kind: EventKind, email: &str, actor: &Actor, now: i64) -> Result<()> {
    let event = Event {
        email: Some(email.to_owned()),
        client: actor.client.clone(),
        reason: actor.reason.clone(),
        ..Event::new(kind)
    };
    events::insert(db, &event, now)
}
