//! The database's list of who may enter, in addition to the settings.

use serde::Serialize;

use super::db::{Db, Error, Result, Row, params};
use super::events::{self, Actor, Event, EventKind};
use super::{Store, StoreError};
use crate::entry::Entry;
use crate::profile::Profile;

/// Enough to explain a refusal.
const NAMES_MAX: i64 = 10_000;

/// An entry of the list. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllowedEntry {
    /// `allowed.id`.
    pub id: i64,
    /// The Workspace domain, in lower case.
    pub domain: Option<String>,
    /// The e-mail, in lower case.
    pub email: Option<String>,
    /// The `sub`. An e-mail gets it when its account first signs in.
    #[serde(rename = "sub")]
    pub subject: Option<String>,
    /// When it was added.
    pub created_at: i64,
    /// The admin who added it; `None` for the operator.
    pub created_by: Option<String>,
    /// A remark by the person who added it.
    pub note: Option<String>,
    /// The e-mail of this `sub` at its last sign-in, accepted or refused.
    pub account_email: Option<String>,
    /// Whether there is a user with that `sub`.
    #[serde(skip)]
    pub is_user: bool,
}

/// Why the account of an entry cannot sign in nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// It is blocked, or Google reported that it was disabled.
    Blocked,
    /// The user with this `sub` has the e-mail of the entry, but Google is not the authority for
    /// it.
    NoAuthority(String),
}

/// The domain or the e-mail of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedName {
    /// The Workspace domain, in lower case.
    pub domain: Option<String>,
    /// The e-mail, in lower case.
    pub email: Option<String>,
}

/// The columns of [`AllowedEntry::from_row`].
const COLUMNS: &str = "a.id, a.domain, a.email, a.sub, a.created_at, a.created_by, a.note,
    coalesce((SELECT u.email FROM users u WHERE u.sub = a.sub), (SELECT e.email FROM events e
        WHERE e.sub = a.sub AND e.email IS NOT NULL ORDER BY e.at DESC, e.id DESC LIMIT 1)),
    EXISTS (SELECT 1 FROM users u WHERE u.sub = a.sub)";

/// Whether `a`, a row of `allowed`, admits an account: its `sub` (1), its pinned e-mail (2) and its
/// domain (3).
pub const ADMITS: &str = "(a.sub = ?1 OR a.domain = ?3 OR (a.email = ?2 AND a.sub IS NULL))";

/// Whether `u`, a row of `users`, may enter by its `sub` or its domain.
pub const IS_ALLOWED: &str =
    "EXISTS (SELECT 1 FROM allowed a WHERE a.sub = u.sub OR a.domain = lower(u.hosted_domain))";

impl AllowedEntry {
    /// The domain, the e-mail or the `sub`.
    pub fn name(&self) -> &str {
        [&self.domain, &self.email, &self.subject].into_iter().flatten().next().map_or("", |it| it)
    }

    fn from_row(row: &Row) -> Result<AllowedEntry> {
        Ok(AllowedEntry {
            id: row.get(0)?,
            domain: row.get(1)?,
            email: row.get(2)?,
            subject: row.get(3)?,
            created_at: row.get(4)?,
            created_by: row.get(5)?,
            note: row.get(6)?,
            account_email: row.get(7)?,
            is_user: row.get(8)?,
        })
    }
}

impl Store {
    /// All entries, the newest first.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn allowed(&self) -> Result<Vec<AllowedEntry>, StoreError> {
        self.readers.read(all)
    }

    /// At most `limit` entries, the newest first. `before` continues a list after the entry with
    /// this ID.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn allowed_before(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<AllowedEntry>, StoreError> {
        self.readers.read(|db| before_id(db, before.unwrap_or(i64::MAX), limit))
    }

    /// The number of entries.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn count_allowed(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM allowed";
        self.readers.read(|db| db.one(sql, &[], |row| row.get(0)).map(i64::unsigned_abs))
    }

    /// The entry that admits this person, if there is one.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn entry_for(&self, profile: &Profile) -> Result<Option<AllowedEntry>, StoreError> {
        self.readers.read(|db| entry_for(db, profile))
    }

    /// The entries for this account or domain. An e-mail means the user to whom it is pinned, else
    /// the entry without a `sub`, else the entries whose `sub` first came with it, else those whose
    /// `sub` last came with it.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn entries_named(&self, entry: &Entry) -> Result<Vec<AllowedEntry>, StoreError> {
        self.readers.read(|db| match entry {
            Entry::Domain(domain) => select(db, "a.domain = ?1", domain),
            Entry::Subject(subject) => select(db, "a.sub = ?1", subject),
            Entry::Email(email) => {
                let of_holder = "a.sub IN (SELECT sub FROM users WHERE pinned_email = ?1)";
                for condition in [of_holder, "a.email = ?1 AND a.sub IS NULL"] {
                    let found = select(db, condition, email)?;
                    if !found.is_empty() {
                        return Ok(found);
                    }
                }
                let found = select(db, "a.email = ?1", email)?;
                if !found.is_empty() {
                    return Ok(found);
                }
                let mut last = all(db)?;
                last.retain(|entry| {
                    let now = entry.account_email.as_deref();
                    now.is_some_and(|now| now.eq_ignore_ascii_case(email))
                });
                Ok(last)
            }
        })
    }

    /// Why the account of this entry cannot sign in, as far as it is known.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn obstacle(&self, entry: &AllowedEntry) -> Result<Option<Obstacle>, StoreError> {
        let blocked = "SELECT 1 FROM users
                WHERE sub = ?1 AND (blocked_at IS NOT NULL OR google_disabled_at IS NOT NULL)
            UNION SELECT 1 FROM blocked_emails WHERE email = lower(?2)";
        let other = "SELECT sub FROM users WHERE lower(email) = ?1
                AND hosted_domain IS NULL AND lower(email) NOT LIKE '%@gmail.com' LIMIT 1";
        let (subject, email) = (&entry.subject, &entry.email);
        self.readers.read(|db| {
            let now = entry.account_email.as_ref().or(email.as_ref());
            if db.exists(blocked, params![subject, now])? {
                return Ok(Some(Obstacle::Blocked));
            }
            let unbound = email.as_ref().filter(|_| subject.is_none());
            let holder = db.first(other, params![unbound], |row| row.get(0))?;
            Ok(holder.map(Obstacle::NoAuthority))
        })
    }

    /// The domain or e-mail of each of the newest 10,000 entries that have one.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn allowed_names(&self) -> Result<Vec<AllowedName>, StoreError> {
        let sql = "SELECT domain, email FROM allowed WHERE domain IS NOT NULL OR email IS NOT NULL
            ORDER BY id DESC LIMIT ?1";
        self.readers.read(|db| {
            let read = |row: &Row| Ok(AllowedName { domain: row.get(0)?, email: row.get(1)? });
            db.query(sql, params![NAMES_MAX], read)
        })
    }

    /// The domains on the list, at most two. `None` if the list has an account.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn allowed_domains_alone(&self) -> Result<Option<Vec<String>>, StoreError> {
        self.readers.read(|db| {
            let accounts = "SELECT 1 FROM allowed WHERE domain IS NULL";
            if db.exists(accounts, &[])? {
                return Ok(None);
            }
            let sql = "SELECT domain FROM allowed ORDER BY domain LIMIT 2";
            db.query(sql, &[], |row| row.get(0)).map(Some)
        })
    }

    /// Adds an entry and records the event. An e-mail that is pinned to a user gets that `sub` at
    /// once. Returns the entry and whether it is new: an earlier one for the same account or domain
    /// stays, and gets the new note if there is one.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn allow(
        &self,
        entry: Entry,
        note: Option<String>,
        actor: Actor,
        now: i64,
    ) -> Result<(AllowedEntry, bool), StoreError> {
        self.writer.write(move |db| {
            if let Entry::Email(email) = &entry
                && let Some(holder) = holder(db, email)?
            {
                set_subject(db, email, &holder)?;
            }
            if let Some(there) = entry_of(db, &entry)? {
                if note.is_some() {
                    db.execute(
                        "UPDATE allowed SET note = ?2 WHERE id = ?1",
                        params![there.id, note],
                    )?;
                }
                return Ok((by_id(db, there.id)?.unwrap_or(there), false));
            }
            let (domain, email, subject) = match &entry {
                Entry::Domain(domain) => (Some(domain), None, None),
                Entry::Email(email) => (None, Some(email), holder(db, email)?),
                Entry::Subject(subject) => (None, None, Some(subject.clone())),
            };
            let sql = "INSERT INTO allowed (domain, email, sub, created_at, created_by, note)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING id";
            let parameters = params![domain, email, subject, now, actor.admin, note];
            let id = db.one(sql, parameters, |row| row.get(0))?;
            let added = by_id(db, id)?.ok_or_else(Error::no_row)?;
            record(db, EventKind::Allow, &added, &actor, now)?;
            Ok((added, true))
        })
    }

    /// Removes the entry with this ID and records the event. `None` if there is no such entry.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn disallow(
        &self,
        id: i64,
        actor: Actor,
        now: i64,
    ) -> Result<Option<AllowedEntry>, StoreError> {
        self.writer.write(move |db| {
            let Some(removed) = by_id(db, id)? else {
                return Ok(None);
            };
            db.execute("DELETE FROM allowed WHERE id = ?1", params![id])?;
            record(db, EventKind::Disallow, &removed, &actor, now)?;
            Ok(Some(removed))
        })
    }
}

fn all(db: &Db) -> Result<Vec<AllowedEntry>> {
    before_id(db, i64::MAX, u32::MAX)
}

fn before_id(db: &Db, id: i64, limit: u32) -> Result<Vec<AllowedEntry>> {
    let sql =
        format!("SELECT {COLUMNS} FROM allowed a WHERE a.id < ?1 ORDER BY a.id DESC LIMIT ?2");
    db.query(&sql, params![id, limit], AllowedEntry::from_row)
}

/// The entry that admits this person, if there is one.
pub fn entry_for(db: &Db, profile: &Profile) -> Result<Option<AllowedEntry>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM allowed a
         WHERE {ADMITS} LIMIT 1"
    );
    let (email, domain) = (profile.pinned_email(), domain_of(profile));
    db.first(&sql, params![profile.subject, email, domain], AllowedEntry::from_row)
}

/// The Workspace domain, in lower case.
pub fn domain_of(profile: &Profile) -> Option<String> {
    profile.hosted_domain.as_deref().map(str::to_ascii_lowercase)
}

/// At a sign-in, records the `sub` in the entry for the authoritative e-mail, if there is one.
pub fn bind(db: &Db, profile: &Profile) -> Result<()> {
    match profile.pinned_email() {
        Some(email) => set_subject(db, &email, &profile.subject),
        None => Ok(()),
    }
}

fn set_subject(db: &Db, email: &str, subject: &str) -> Result<()> {
    let sql = "UPDATE allowed SET sub = ?1 WHERE email = ?2 AND sub IS NULL";
    db.execute(sql, params![subject, email]).map(drop)
}

/// The existing entry for the same account or domain.
fn entry_of(db: &Db, entry: &Entry) -> Result<Option<AllowedEntry>> {
    let found = match entry {
        Entry::Domain(domain) => select(db, "a.domain = ?1", domain)?,
        Entry::Subject(subject) => select(db, "a.sub = ?1", subject)?,
        Entry::Email(email) => match holder(db, email)? {
            Some(holder) => select(db, "a.sub = ?1", &holder)?,
            None => select(db, "a.email = ?1 AND a.sub IS NULL", email)?,
        },
    };
    Ok(found.into_iter().next())
}

fn holder(db: &Db, email: &str) -> Result<Option<String>> {
    let sql = "SELECT sub FROM users WHERE pinned_email = ?1";
    db.first(sql, params![email], |row| row.get(0))
}

fn by_id(db: &Db, id: i64) -> Result<Option<AllowedEntry>> {
    let sql = format!("SELECT {COLUMNS} FROM allowed a WHERE a.id = ?1");
    db.first(&sql, params![id], AllowedEntry::from_row)
}

fn select(db: &Db, condition: &str, value: &str) -> Result<Vec<AllowedEntry>> {
    let sql = format!("SELECT {COLUMNS} FROM allowed a WHERE {condition} ORDER BY a.id");
    db.query(&sql, params![value], AllowedEntry::from_row)
}

fn record(db: &Db, kind: EventKind, entry: &AllowedEntry, actor: &Actor, now: i64) -> Result<()> {
    let event = Event {
        subject: entry.subject.clone(),
        email: entry.email.clone().or_else(|| entry.account_email.clone()),
        client: actor.client.clone(),
        reason: actor.reason.clone(),
        detail: entry.domain.clone(),
        ..Event::new(kind)
    };
    events::insert(db, &event, now)
}
