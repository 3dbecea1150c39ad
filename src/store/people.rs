//! The users page by page, all of them or those who are searched for.

use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::directory::UserRecord;
use super::search::find;
use super::users::USER_COLUMNS;
use super::{Store, StoreError};

/// A page of users, the newest first.
#[derive(Debug, Clone)]
pub struct People {
    /// Those on the page.
    pub accounts: Vec<UserRecord>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<i64>,
}

impl Store {
    /// The user of that `sub`.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn account(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        self.readers.read(|db| by_subject(db, subject))
    }

    /// A page of the users, those who came last first: an order that no sign-in changes. `from` is the [`People::next`]
    /// of the page before. A search finds the user of that `sub`, else those with every word of it in their name or
    /// e-mail, whatever the case; words shorter than [`super::SEARCH_CHARACTERS_MIN`] do not count.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn people(
        &self,
        search: &str,
        from: Option<i64>,
        limit: usize,
    ) -> Result<People, StoreError> {
        let (from, wanted) = (from.unwrap_or(i64::MAX), limit + 1);
        self.readers.read(|db| {
            if !search.is_empty()
                && let Some(account) = by_subject(db, search)?
            {
                return Ok(People { accounts: vec![account], next: None });
            }
            let ids = if search.is_empty() {
                all(db, from, wanted)?
            } else {
                find(db, search, from, wanted)?
            };
            let accounts = ids
                .iter()
                .take(limit)
                .filter_map(|id| by_id(db, *id).transpose())
                .collect::<Result<_, _>>()?;
            Ok(People { accounts, next: ids.get(limit).copied() })
        })
    }
}

fn all(db: &Connection, from: i64, limit: usize) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT id FROM directory WHERE id <= ?1 ORDER BY id DESC LIMIT ?2";
    db.prepare_cached(sql)?.query_map(params![from, limit as i64], |row| row.get(0))?.collect()
}

fn by_subject(db: &Connection, subject: &str) -> rusqlite::Result<Option<UserRecord>> {
    account(db, "u.sub = ?1", subject)
}

/// `None` if the user was deleted since the id was read.
fn by_id(db: &Connection, id: i64) -> rusqlite::Result<Option<UserRecord>> {
    account(db, "u.sub = (SELECT sub FROM directory WHERE id = ?1)", id)
}

fn account(
    db: &Connection,
    condition: &str,
    value: impl ToSql,
) -> rusqlite::Result<Option<UserRecord>> {
    let sql = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u WHERE {condition}");
    db.prepare_cached(&sql)?.query_row([value], UserRecord::from_row).optional()
}
