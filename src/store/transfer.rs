//! Users on their way from one database to another.

use std::ops::ControlFlow;

use rusqlite::{OptionalExtension, params};

use super::directory::Account;
use super::levers::BY_THE_OPERATOR;
use super::users::USER_COLUMNS;
use super::{Store, StoreError};
use crate::profile::Profile;

/// A user as another database knew them. What is `None` was not told, and stays as it is.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Who. Whether the e-mail is authoritative counts only if there is one.
    pub profile: Profile,
    /// The e-mail they hold, in lower case.
    pub pinned_email: Option<String>,
    /// Their first sign-in.
    pub created_at: Option<i64>,
    /// Their last one.
    pub last_signin_at: Option<i64>,
    /// When they were blocked.
    pub blocked_at: Option<i64>,
}

/// Why nobody was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailHeld {
    /// The e-mail that a user of the import would hold.
    pub email: String,
    /// Who holds it.
    pub holder: String,
}

impl Store {
    /// Every user as of now, in the order of their `sub`, until told to stop.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn each_account(&self, mut visit: impl FnMut(Account) -> ControlFlow<()>) -> Result<(), StoreError> {
        let sql = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u ORDER BY u.sub");
        self.readers.read(|db| {
            let mut statement = db.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if visit(Account::from_row(row)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Writes all of them, or none. Records an event for everyone this blocks. `progress` is told how many are written.
    ///
    /// # Errors
    /// The outer one if the store cannot answer, the inner one if somebody else holds an e-mail.
    pub fn import(
        &self,
        users: Vec<Incoming>,
        now: i64,
        mut progress: impl FnMut(usize) + Send + 'static,
    ) -> Result<Result<(), EmailHeld>, StoreError> {
        self.writer.write(move |db| {
            let mut holder = db.prepare("SELECT sub FROM users WHERE pinned_email = ?1 AND sub <> ?2")?;
            for user in &users {
                let Some(email) = &user.pinned_email else { continue };
                let held = holder.query_row([email, &user.profile.subject], |row| row.get(0)).optional()?;
                if let Some(holder) = held {
                    return Ok(Err(EmailHeld { email: email.clone(), holder }));
                }
            }
            let mut block = db.prepare(
                "INSERT INTO events (at, kind, sub, email, reason) SELECT ?1, 'block', ?2, ?3, ?4
                 WHERE NOT EXISTS (SELECT 1 FROM users WHERE sub = ?2 AND blocked_at IS NOT NULL)",
            )?;
            let mut upsert = db.prepare(
                "INSERT INTO users (sub, email, email_verified, email_authoritative, pinned_email, name, given_name,
                    family_name, picture, hosted_domain, locale, created_at, last_signin_at, blocked_at)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, coalesce(?12, ?15), coalesce(?13, ?15), ?14)
                ON CONFLICT (sub) DO UPDATE SET email = coalesce(?2, email),
                    email_verified = coalesce(?3, email_verified),
                    email_authoritative = CASE WHEN ?2 IS NULL THEN email_authoritative ELSE ?4 END,
                    pinned_email = coalesce(?5, pinned_email), name = coalesce(?6, name),
                    given_name = coalesce(?7, given_name), family_name = coalesce(?8, family_name),
                    picture = coalesce(?9, picture), hosted_domain = coalesce(?10, hosted_domain),
                    locale = coalesce(?11, locale), created_at = coalesce(?12, created_at),
                    last_signin_at = coalesce(?13, last_signin_at), blocked_at = coalesce(?14, blocked_at)",
            )?;
            for (written, user) in users.iter().enumerate() {
                progress(written + 1);
                let profile = &user.profile;
                if user.blocked_at.is_some() {
                    block.execute(params![now, profile.subject, profile.email, BY_THE_OPERATOR])?;
                }
                upsert.execute(params![
                    profile.subject,
                    profile.email,
                    profile.email_verified,
                    profile.email_authoritative,
                    user.pinned_email,
                    profile.name,
                    profile.given_name,
                    profile.family_name,
                    profile.picture,
                    profile.hosted_domain,
                    profile.locale,
                    user.created_at,
                    user.last_signin_at,
                    user.blocked_at,
                    now
                ])?;
            }
            Ok(Ok(()))
        })
    }
}
