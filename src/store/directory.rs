//! The users as the operator looks through them.

use rusqlite::{Row, params};

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

impl Store {
    /// The first users in that order, of those with the text in their e-mail, name or `sub` if one is given. Only ASCII
    /// letters are compared without case.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn accounts(
        &self,
        search: Option<&str>,
        sort: UserSort,
        limit: u32,
    ) -> Result<Vec<UserRecord>, StoreError> {
        let order = sort.order();
        let all =
            format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u ORDER BY {order} LIMIT ?1");
        // The plus keeps from walking an index: to read every row in its order is many times slower than as they lie.
        let found = format!(
            "SELECT {USER_COLUMNS}, u.pinned_email FROM users u
             WHERE u.email LIKE ?2 ESCAPE '!' OR u.name LIKE ?2 ESCAPE '!' OR u.sub LIKE ?2 ESCAPE '!'
             ORDER BY +{order} LIMIT ?1"
        );
        self.readers.read(|db| match search {
            None => db.prepare_cached(&all)?.query_map([limit], UserRecord::from_row)?.collect(),
            Some(text) => {
                let text = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
                let mut statement = db.prepare_cached(&found)?;
                statement
                    .query_map(params![limit, format!("%{text}%")], UserRecord::from_row)?
                    .collect()
            }
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
