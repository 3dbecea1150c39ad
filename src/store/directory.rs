//! Users looked up, listed and searched for the operator.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::users::{USER_COLUMNS, User};
use super::{Store, StoreError};

/// A user with what only the operator sees.
#[derive(Debug, Clone)]
pub struct UserRecord {
    /// The user.
    pub user: User,
    /// The e-mail that no other `sub` may sign in with, in lower case.
    pub pinned_email: Option<String>,
}

/// What a list of users is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserSort {
    /// The name; those without one last.
    Name,
    /// The e-mail; those without one last.
    Email,
    /// The last sign-in, the latest first. An index makes its first page cheap.
    LastSignIn,
    /// The first sign-in, the latest first.
    Created,
}

/// Where `pinned_email` stands after `USER_COLUMNS`.
const USER_COLUMN_COUNT: usize = 13;

impl UserRecord {
    /// Reads `USER_COLUMNS` and `pinned_email`.
    pub fn from_row(row: &Row) -> rusqlite::Result<UserRecord> {
        Ok(UserRecord { user: User::from_row(row, 0)?, pinned_email: row.get(USER_COLUMN_COUNT)? })
    }
}

impl UserSort {
    fn order(self) -> &'static str {
        match self {
            UserSort::Name => "u.name COLLATE NOCASE NULLS LAST, u.sub",
            UserSort::Email => "u.email COLLATE NOCASE NULLS LAST, u.sub",
            UserSort::LastSignIn => "u.last_signin_at DESC, u.sub DESC",
            UserSort::Created => "u.created_at DESC, u.sub DESC",
        }
    }
}

/// A place in the list of users by [`UserSort::Created`]: after this user. Written as `CREATED_AT.SUB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserCursor {
    created_at: i64,
    subject: String,
}

impl UserCursor {
    /// The place after that user.
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
    /// The first users in that order, of those whose name, e-mail or `sub` contains every word of `search`, ignoring
    /// case. `after` continues a list by [`UserSort::Created`]. A search reads every user: 0.5 s among a million.
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
        let order = sort.order();
        let is_search = !search.trim().is_empty();
        // A condition that is not needed would keep SQLite from using an index.
        let after_condition =
            if after.is_some() { "(u.created_at, u.sub) < (?2, ?3)" } else { "?2 IS ?3" };
        // The plus keeps it from using one: a search reads every row, and that is fastest as they lie.
        let (search_condition, plus) = if is_search {
            ("contains_words(?4, u.name, u.email, u.sub)", "+")
        } else {
            ("?4 IS ?4", "")
        };
        let sql = format!(
            "SELECT {USER_COLUMNS}, u.pinned_email FROM users u
             WHERE {search_condition} AND {after_condition} ORDER BY {plus}{order} LIMIT ?1"
        );
        let (created_at, subject) =
            after.map(|after| (after.created_at, after.subject.as_str())).unzip();
        let query = |db: &Connection| {
            db.prepare_cached(&sql)?
                .query_map(params![limit, created_at, subject, search], UserRecord::from_row)?
                .collect()
        };
        if is_search { self.searchers.read(query) } else { self.readers.read(query) }
    }

    /// The user of that `sub`.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn user(&self, subject: &str) -> Result<Option<UserRecord>, StoreError> {
        let sql = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u WHERE u.sub = ?1");
        self.readers.read(|db| {
            db.prepare_cached(&sql)?.query_row([subject], UserRecord::from_row).optional()
        })
    }

    /// The user of that `sub`, else every one who has or holds that e-mail.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn accounts_named(&self, name: &str) -> Result<Vec<UserRecord>, StoreError> {
        let select = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u WHERE");
        let by_subject = format!("{select} u.sub = ?1");
        // With an OR in their place, SQLite would rather read every row.
        let by_email = format!(
            "{select} u.sub IN (SELECT sub FROM users WHERE email = ?1 COLLATE NOCASE
                UNION SELECT sub FROM users WHERE pinned_email = lower(?1)) ORDER BY u.sub"
        );
        self.readers.read(|db| {
            let found = |sql: &str| -> rusqlite::Result<Vec<UserRecord>> {
                db.prepare_cached(sql)?.query_map([name], UserRecord::from_row)?.collect()
            };
            let one = found(&by_subject)?;
            if one.is_empty() { found(&by_email) } else { Ok(one) }
        })
    }
}
