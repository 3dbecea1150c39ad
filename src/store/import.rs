//! Export and import of users.

use std::ops::ControlFlow;

use super::db::{Db, Result, params};
use super::events::BY_THE_OPERATOR;
use super::model::{PROFILE_COLUMNS, USER_COLUMNS, UserRecord, profile_parameters};
use super::username::{self, Username};
use super::writer::STEP_ROWS;
use super::{Store, StoreError};
use crate::profile::Profile;

/// A user from another database. `None` means unknown and changes nothing.
#[derive(Debug, Clone)]
pub struct ImportedUser {
    /// Where the user is in the file, for messages: "line 3".
    pub place: String,
    /// Its `email_authoritative` is ignored.
    pub profile: Profile,
    /// Whether Google is authoritative for the e-mail.
    pub email_authoritative: Option<bool>,
    /// The user name.
    pub username: Option<Username>,
    /// In lower case.
    pub pinned_email: Option<String>,
    /// The first sign-in.
    pub created_at: Option<i64>,
    /// The last sign-in. A new user without it has never signed in.
    pub last_signin_at: Option<i64>,
    /// In unix seconds.
    pub blocked_at: Option<i64>,
    /// When Google disabled their account.
    pub google_disabled_at: Option<i64>,
}

/// Numbers of imported users.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Users who did not exist before.
    pub new: usize,
    /// Existing users of whom a column changed.
    pub changed: usize,
    /// New or existing users who were not blocked before.
    pub blocked: usize,
}

/// An import that failed or stopped halfway.
#[derive(Debug)]
pub struct ImportFailure {
    /// The number of users written, in order.
    pub written: usize,
    /// For the operator. It may contain e-mails of the import.
    pub cause: String,
}

impl Store {
    /// Visits all users in the order of `sub`, as of one moment, until `visit` breaks.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn each_user(
        &self,
        mut visit: impl FnMut(UserRecord) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let sql = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u ORDER BY u.sub");
        self.readers.read(|db| {
            db.visit(&sql, &[], |row| Ok(visit(UserRecord::from_row(row)?).is_continue()))
        })
    }

    /// Imports users in steps, after checking that no e-mail is pinned to another user and that no
    /// user name was ever another user's. Records an event for each user that it blocks. The
    /// profile of a user who signed in later than `last_signin_at` says stays. Calls `progress`
    /// with the number of written users.
    ///
    /// # Errors
    /// If an e-mail or a user name is another user's, usually before anything is written, or if the
    /// store cannot answer. The import can be repeated.
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

/// Names the other user who has the imported e-mail or user name.
fn conflict(db: &Db, user: &ImportedUser) -> Result<Option<String>> {
    let (place, subject) = (&user.place, &user.profile.subject);
    if let Some(email) = &user.pinned_email {
        let sql = "SELECT sub FROM users WHERE pinned_email = ?1 AND sub <> ?2";
        let holder: Option<String> = db.first(sql, params![email, subject], |row| row.get(0))?;
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

/// Writes users, or none if there is a conflict now: another user may have signed in since the
/// check.
fn write(db: &Db, users: &[ImportedUser], now: i64) -> Result<Result<Imported, String>> {
    if let Some(conflict) = users.iter().find_map(|user| conflict(db, user).transpose()) {
        return conflict.map(Err);
    }
    let mut imported = Imported::default();
    let block = "INSERT INTO events (at, kind, sub, email, reason) SELECT ?1, 'block', ?2, ?3, ?4
         WHERE NOT EXISTS (SELECT 1 FROM users WHERE sub = ?2 AND blocked_at IS NOT NULL)";
    let upsert = format!(
        "INSERT INTO users ({PROFILE_COLUMNS}, pinned_email, created_at, last_signin_at)
        VALUES (?1, ?2, ?3, coalesce(?15, FALSE), ?5, ?6, ?7, ?8, ?9, ?10, ?11, coalesce(?12, ?14),
            coalesce(?13, 0))
        ON CONFLICT (sub) DO UPDATE SET email = coalesce(?2, users.email),
            email_verified = coalesce(?3, users.email_verified),
            email_authoritative = CASE WHEN ?2 IS NULL OR (?15 IS NULL AND lower(users.email) = lower(?2))
                THEN users.email_authoritative ELSE coalesce(?15, FALSE) END,
            name = coalesce(?5, users.name), given_name = coalesce(?6, users.given_name),
            family_name = coalesce(?7, users.family_name), picture = coalesce(?8, users.picture),
            hosted_domain = coalesce(?9, users.hosted_domain), locale = coalesce(?10, users.locale),
            pinned_email = coalesce(?11, users.pinned_email),
            last_signin_at = coalesce(?13, users.last_signin_at)
        WHERE ?13 IS NULL OR users.last_signin_at <= ?13"
    );
    let always =
        "UPDATE users SET created_at = CASE WHEN ?2 < created_at THEN ?2 ELSE created_at END,
            blocked_at = coalesce(?3, blocked_at),
            google_disabled_at = coalesce(?4, google_disabled_at) WHERE sub = ?1";
    for user in users {
        let profile = &user.profile;
        let before = row(db, &profile.subject)?;
        if user.blocked_at.is_some() {
            imported.blocked +=
                db.execute(block, params![now, profile.subject, profile.email, BY_THE_OPERATOR])?;
        }
        let others = params![
            user.pinned_email,
            user.created_at,
            user.last_signin_at,
            now,
            user.email_authoritative
        ];
        let profile_written = db.execute(&upsert, &profile_parameters(profile, others))?;
        if let Some(name) = user.username.as_ref().filter(|_| profile_written > 0) {
            username::assign(db, &profile.subject, name)?;
        }
        let times =
            params![profile.subject, user.created_at, user.blocked_at, user.google_disabled_at];
        db.execute(always, times)?;
        match before {
            None => imported.new += 1,
            before if before != row(db, &profile.subject)? => imported.changed += 1,
            Some(_) => {}
        }
    }
    Ok(Ok(imported))
}

/// All columns of the user.
fn row(db: &Db, subject: &str) -> Result<Option<UserRecord>> {
    let sql = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u WHERE u.sub = ?1");
    db.first(&sql, params![subject], UserRecord::from_row)
}
