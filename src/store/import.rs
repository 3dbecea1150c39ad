//! Users on their way from one database to another.

use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::events::BY_THE_OPERATOR;
use super::model::{USER_COLUMNS, UserRecord};
use super::username::{self, Username};
use super::writer::STEP_ROWS;
use super::{Store, StoreError};
use crate::profile::Profile;

/// A user as another database knew them. What is `None` was not told, and stays as it is.
#[derive(Debug, Clone)]
pub struct ImportedUser {
    /// Where the user is in the file, for messages: "line 3".
    pub place: String,
    /// Who. Its `email_authoritative` does not count.
    pub profile: Profile,
    /// Whether Google is the authority for the e-mail.
    pub email_authoritative: Option<bool>,
    /// Their user name.
    pub username: Option<Username>,
    /// The e-mail they hold, in lower case.
    pub pinned_email: Option<String>,
    /// Their first sign-in.
    pub created_at: Option<i64>,
    /// Their last one; a user who is new has never signed in if it was not told.
    pub last_signin_at: Option<i64>,
    /// When they were blocked.
    pub blocked_at: Option<i64>,
}

/// What an import changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Users who were not there before.
    pub new: usize,
    /// Users who were there, and of whom something is different now.
    pub changed: usize,
    /// Users of either kind who were not blocked before, and are now.
    pub blocked: usize,
}

/// Why an import ended early.
#[derive(Debug)]
pub struct ImportFailure {
    /// How many users were written before, from the first on.
    pub written: usize,
    /// What is in the way, in words; e-mails of the import may be in it.
    pub cause: String,
}

impl Store {
    /// Every user as of now, in the order of their `sub`, until told to stop.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn each_user(
        &self,
        mut visit: impl FnMut(UserRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let sql = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u ORDER BY u.sub");
        self.readers.read(|db| {
            let mut statement = db.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if visit(UserRecord::from_row(row)?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Writes all of them, in steps between which others write, after making sure that nobody else holds an e-mail of
    /// theirs or ever had a user name of theirs. Records an event for everyone this blocks. Where somebody signed in later than an import says, their
    /// profile stays. `progress` is told how many are written.
    ///
    /// # Errors
    /// If somebody else holds an e-mail or a user name, or the store cannot answer: mostly before anything is written. To do it again
    /// is harmless, and completes it.
    pub fn import(
        &self,
        users: Vec<ImportedUser>,
        now: i64,
        mut progress: impl FnMut(usize),
    ) -> Result<Imported, ImportFailure> {
        let failed =
            |written| move |error: StoreError| ImportFailure { written, cause: error.to_string() };
        let conflict = self
            .readers
            .read(|db| users.iter().find_map(|user| conflict(db, user).transpose()).transpose());
        if let Some(cause) = conflict.map_err(failed(0))? {
            return Err(ImportFailure { written: 0, cause });
        }
        let mut steps = self.writer.steps();
        let mut written = 0;
        let mut imported = Imported::default();
        let mut users = users.into_iter();
        while users.len() > 0 {
            let step: Vec<ImportedUser> = users.by_ref().take(STEP_ROWS).collect();
            let count = step.len();
            let outcome = steps.write(move |db| write(db, &step, now)).map_err(failed(written))?;
            let step = outcome.map_err(|cause| ImportFailure { written, cause })?;
            imported.new += step.new;
            imported.changed += step.changed;
            imported.blocked += step.blocked;
            written += count;
            progress(written);
        }
        Ok(imported)
    }
}

/// Says who holds the e-mail or the user name that a user of the import would get, if it is somebody else.
fn conflict(db: &Connection, user: &ImportedUser) -> rusqlite::Result<Option<String>> {
    let (place, subject) = (&user.place, &user.profile.subject);
    if let Some(email) = &user.pinned_email {
        let mut statement =
            db.prepare_cached("SELECT sub FROM users WHERE pinned_email = ?1 AND sub <> ?2")?;
        let holder: Option<String> =
            statement.query_row([email, subject], |row| row.get(0)).optional()?;
        if let Some(holder) = holder {
            return Ok(Some(format!("{place}: {email} is held by the user {holder}")));
        }
    }
    let Some(name) = &user.username else { return Ok(None) };
    let holder = username::holder(db, name, subject)?;
    Ok(holder.map(|holder| {
        let name = name.as_str();
        format!("{place}: the user name {name} belongs or belonged to the user {holder}")
    }))
}

/// Writes users, or nobody and says why: somebody may have signed in since it was checked.
fn write(
    db: &Connection,
    users: &[ImportedUser],
    now: i64,
) -> rusqlite::Result<Result<Imported, String>> {
    if let Some(conflict) = users.iter().find_map(|user| conflict(db, user).transpose()) {
        return conflict.map(Err);
    }
    let mut imported = Imported::default();
    let mut block = db.prepare_cached(
        "INSERT INTO events (at, kind, sub, email, reason) SELECT ?1, 'block', ?2, ?3, ?4
         WHERE NOT EXISTS (SELECT 1 FROM users WHERE sub = ?2 AND blocked_at IS NOT NULL)",
    )?;
    let mut upsert = db.prepare_cached(
        "INSERT INTO users (sub, email, email_verified, email_authoritative, pinned_email, name, given_name,
            family_name, picture, hosted_domain, locale, created_at, last_signin_at)
        VALUES (?1, ?2, ?3, coalesce(?4, 0), ?5, ?6, ?7, ?8, ?9, ?10, ?11, coalesce(?12, ?14), coalesce(?13, 0))
        ON CONFLICT (sub) DO UPDATE SET email = coalesce(?2, email),
            email_verified = coalesce(?3, email_verified),
            email_authoritative = CASE WHEN ?2 IS NULL OR (?4 IS NULL AND email = ?2 COLLATE NOCASE)
                THEN email_authoritative ELSE coalesce(?4, 0) END,
            pinned_email = coalesce(?5, pinned_email), name = coalesce(?6, name),
            given_name = coalesce(?7, given_name), family_name = coalesce(?8, family_name),
            picture = coalesce(?9, picture), hosted_domain = coalesce(?10, hosted_domain),
            locale = coalesce(?11, locale), last_signin_at = coalesce(?13, last_signin_at)
        WHERE ?13 IS NULL OR last_signin_at <= ?13",
    )?;
    let mut always = db.prepare_cached(
        "UPDATE users SET created_at = CASE WHEN ?2 < created_at THEN ?2 ELSE created_at END,
            blocked_at = coalesce(?3, blocked_at) WHERE sub = ?1",
    )?;
    for user in users {
        let profile = &user.profile;
        let before = row(db, &profile.subject)?;
        if user.blocked_at.is_some() {
            imported.blocked +=
                block.execute(params![now, profile.subject, profile.email, BY_THE_OPERATOR])?;
        }
        let profile_written = upsert.execute(params![
            profile.subject,
            profile.email,
            profile.email_verified,
            user.email_authoritative,
            user.pinned_email,
            profile.name,
            profile.given_name,
            profile.family_name,
            profile.picture,
            profile.hosted_domain,
            profile.locale,
            user.created_at,
            user.last_signin_at,
            now
        ])?;
        if let Some(name) = user.username.as_ref().filter(|_| profile_written > 0) {
            username::assign(db, &profile.subject, name)?;
        }
        always.execute(params![profile.subject, user.created_at, user.blocked_at])?;
        match before {
            None => imported.new += 1,
            before if before != row(db, &profile.subject)? => imported.changed += 1,
            Some(_) => {}
        }
    }
    Ok(Ok(imported))
}

/// Everything that is known of that user.
fn row(db: &Connection, subject: &str) -> rusqlite::Result<Option<Vec<Value>>> {
    let mut statement = db.prepare_cached("SELECT * FROM users WHERE sub = ?1")?;
    let columns = statement.column_count();
    let values = |row: &Row| (0..columns).map(|column| row.get(column)).collect();
    statement.query_row([subject], values).optional()
}
