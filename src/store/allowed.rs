//! Who may sign in besides those whom the settings let in: the list that `hallpass allow` and the admin pages change.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::events::{self, Actor, Event, EventKind};
use super::{Store, StoreError};
use crate::entry::Entry;
use crate::profile::Profile;

/// The most entries that are listed.
const LISTED_MAX: i64 = 10_000;

/// An entry of the list. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllowedEntry {
    /// Names the entry.
    pub id: i64,
    /// The Workspace domain, in lower case.
    pub domain: Option<String>,
    /// The e-mail, in lower case.
    pub email: Option<String>,
    /// The account; of an e-mail, once its account has signed in.
    #[serde(rename = "sub")]
    pub subject: Option<String>,
    /// When it was added.
    pub created_at: i64,
    /// The admin who added it; `None` for the operator.
    pub created_by: Option<String>,
    /// What whoever added it wanted to remember.
    pub note: Option<String>,
    /// The e-mail with which the account of that `sub` came last, let in or refused.
    pub account_email: Option<String>,
}

/// The columns that [`AllowedEntry::from_row`] reads, in its order.
const COLUMNS: &str = "a.id, a.domain, a.email, a.sub, a.created_at, a.created_by, a.note,
    coalesce((SELECT u.email FROM users u WHERE u.sub = a.sub), (SELECT e.email FROM events e
        WHERE e.sub = a.sub AND e.email IS NOT NULL ORDER BY e.at DESC, e.id DESC LIMIT 1))";

/// Whether `u`, a row of `users`, is let in: by its `sub` or its domain.
pub const IS_ALLOWED: &str =
    "EXISTS (SELECT 1 FROM allowed a WHERE a.sub = u.sub OR a.domain = lower(u.hosted_domain))";

impl AllowedEntry {
    /// What it names: the domain, the e-mail or the `sub`.
    pub fn name(&self) -> &str {
        [&self.domain, &self.email, &self.subject].into_iter().flatten().next().map_or("", |it| it)
    }

    fn from_row(row: &Row) -> rusqlite::Result<AllowedEntry> {
        // Other programs may have written what is not UTF-8.
        let text = |column| -> rusqlite::Result<Option<String>> {
            let bytes = row.get_ref(column)?.as_bytes_or_null()?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
        };
        Ok(AllowedEntry {
            id: row.get(0)?,
            domain: text(1)?,
            email: text(2)?,
            subject: text(3)?,
            created_at: row.get(4)?,
            created_by: text(5)?,
            note: text(6)?,
            account_email: text(7)?,
        })
    }
}

impl Store {
    /// The entries of the list, the newest first.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn allowed(&self) -> Result<Vec<AllowedEntry>, StoreError> {
        self.readers.read(all)
    }

    /// The entry that lets this person in, if there is one.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn entry_for(&self, profile: &Profile) -> Result<Option<AllowedEntry>, StoreError> {
        self.readers.read(|db| entry_for(db, profile))
    }

    /// The entries that name this account or domain. An e-mail means the user who holds it, else the entry that waits
    /// for its account, else those of accounts that came with it once.
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
                select(db, "a.email = ?1", email)
            }
        })
    }

    /// The domains on the list, two at most; `None` if it names an account.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn allowed_domains_alone(&self) -> Result<Option<Vec<String>>, StoreError> {
        self.readers.read(|db| {
            let accounts = "SELECT 1 FROM allowed WHERE domain IS NULL";
            if db.prepare_cached(accounts)?.exists([])? {
                return Ok(None);
            }
            let mut statement =
                db.prepare_cached("SELECT domain FROM allowed ORDER BY domain LIMIT 2")?;
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>().map(Some)
        })
    }

    /// Adds an entry with its event. An e-mail that a user holds belongs to that user at once. Returns the entry, and
    /// whether it is new: an older one for the same account or domain stays, and gets the note if there is one.
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
                give_to(db, email, &holder)?;
            }
            if let Some(there) = entry_of(db, &entry)? {
                if note.is_some() {
                    db.prepare_cached("UPDATE allowed SET note = ?2 WHERE id = ?1")?
                        .execute(params![there.id, note])?;
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
            let id = db.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?;
            let added = by_id(db, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            record(db, EventKind::Allow, &added, actor, now)?;
            Ok((added, true))
        })
    }

    /// Removes the entry of that ID and records the event. `None` if there is none.
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
            db.prepare_cached("DELETE FROM allowed WHERE id = ?1")?.execute([id])?;
            record(db, EventKind::Disallow, &removed, actor, now)?;
            Ok(Some(removed))
        })
    }
}

/// All entries, the newest first.
pub fn all(db: &Connection) -> rusqlite::Result<Vec<AllowedEntry>> {
    let sql =
        format!("SELECT {COLUMNS} FROM allowed a ORDER BY a.created_at DESC, a.id DESC LIMIT ?1");
    db.prepare_cached(&sql)?.query_map([LISTED_MAX], AllowedEntry::from_row)?.collect()
}

/// The entry that lets this person in, if there is one.
pub fn entry_for(db: &Connection, profile: &Profile) -> rusqlite::Result<Option<AllowedEntry>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM allowed a
         WHERE a.sub = ?1 OR a.domain = ?2 OR (a.email = ?3 AND a.sub IS NULL) LIMIT 1"
    );
    let domain = profile.hosted_domain.as_deref().map(str::to_ascii_lowercase);
    let email = profile.pinned_email();
    db.prepare_cached(&sql)?
        .query_row(params![profile.subject, domain, email], AllowedEntry::from_row)
        .optional()
}

/// From their first sign-in on, an entry for their e-mail belongs to this person.
pub fn bind(db: &Connection, profile: &Profile) -> rusqlite::Result<()> {
    match profile.pinned_email() {
        Some(email) => give_to(db, &email, &profile.subject),
        None => Ok(()),
    }
}

fn give_to(db: &Connection, email: &str, subject: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE allowed SET sub = ?1 WHERE email = ?2 AND sub IS NULL";
    db.prepare_cached(sql)?.execute([subject, email]).map(drop)
}

/// The entry that an entry of this kind would repeat.
fn entry_of(db: &Connection, entry: &Entry) -> rusqlite::Result<Option<AllowedEntry>> {
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

fn holder(db: &Connection, email: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT sub FROM users WHERE pinned_email = ?1";
    db.prepare_cached(sql)?.query_row([email], |row| row.get(0)).optional()
}

fn by_id(db: &Connection, id: i64) -> rusqlite::Result<Option<AllowedEntry>> {
    let sql = format!("SELECT {COLUMNS} FROM allowed a WHERE a.id = ?1");
    db.prepare_cached(&sql)?.query_row([id], AllowedEntry::from_row).optional()
}

fn select(db: &Connection, condition: &str, value: &str) -> rusqlite::Result<Vec<AllowedEntry>> {
    let sql = format!("SELECT {COLUMNS} FROM allowed a WHERE {condition} ORDER BY a.id");
    db.prepare_cached(&sql)?.query_map([value], AllowedEntry::from_row)?.collect()
}

fn record(
    db: &Connection,
    kind: EventKind,
    entry: &AllowedEntry,
    actor: Actor,
    now: i64,
) -> rusqlite::Result<()> {
    let event = Event {
        subject: entry.subject.clone(),
        email: entry.email.clone().or_else(|| entry.account_email.clone()),
        client: actor.client,
        reason: actor.reason,
        detail: entry.domain.clone(),
        ..Event::new(kind)
    };
    events::insert(db, &event, now)
}
