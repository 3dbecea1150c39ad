//! The users page by page, all of them or those who are searched for.

use rusqlite::{Connection, Row, params};

use super::directory::Account;
use super::users::USER_COLUMNS;
use super::{Store, StoreError};

/// A word must have so many characters to be searched for. Two find the beginnings of words, three and more any part.
pub const SEARCH_CHARACTERS_MIN: usize = 2;
/// What the index is made of: any three characters that follow one another.
const INDEXED_CHARACTERS: usize = 3;

/// A page of users, the newest first.
#[derive(Debug, Clone)]
pub struct People {
    /// Those on the page.
    pub accounts: Vec<Account>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<i64>,
}

impl Store {
    /// The user of that `sub`.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn account(&self, subject: &str) -> Result<Option<Account>, StoreError> {
        self.readers.read(|db| by_subject(db, subject))
    }

    /// A page of the users, those who came last first: an order that no sign-in changes. `from` is the [`People::next`]
    /// of the page before. A search finds the user of that `sub`, else those with every word of it in their name or
    /// e-mail, whatever the case; words shorter than [`SEARCH_CHARACTERS_MIN`] do not count.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn people(&self, search: &str, from: Option<i64>, limit: u32) -> Result<People, StoreError> {
        let all = format!(
            "SELECT {USER_COLUMNS}, u.pinned_email, d.id FROM directory d JOIN users u ON u.sub = d.sub
             WHERE d.id <= ?1 ORDER BY d.id DESC LIMIT ?2"
        );
        // CROSS JOIN keeps the order, in which the index of the search hands out what it finds.
        let found = format!(
            "SELECT {USER_COLUMNS}, u.pinned_email, d.id FROM directory_search f CROSS JOIN directory d ON d.id = f.rowid
             CROSS JOIN users u ON u.sub = d.sub
             WHERE f.words MATCH ?3 AND f.rowid <= ?1 ORDER BY f.rowid DESC LIMIT ?2"
        );
        let (from, wanted) = (from.unwrap_or(i64::MAX), limit + 1);
        let query = query(search);
        self.readers.read(|db| {
            if !search.is_empty()
                && let Some(account) = by_subject(db, search)?
            {
                return Ok(People { accounts: vec![account], next: None });
            }
            if !search.is_empty() && query.is_empty() {
                return Ok(People { accounts: Vec::new(), next: None });
            }
            let mut statement = db.prepare_cached(if query.is_empty() { &all } else { &found })?;
            let read = |row: &Row| Ok((Account::from_row(row)?, row.get("id")?));
            let mut rows: Vec<(Account, i64)> = if query.is_empty() {
                statement.query_map(params![from, wanted], read)?.collect::<Result<_, _>>()?
            } else {
                statement.query_map(params![from, wanted, query], read)?.collect::<Result<_, _>>()?
            };
            let next = rows.get(limit as usize).map(|(_, id)| *id);
            rows.truncate(limit as usize);
            Ok(People { accounts: rows.into_iter().map(|(account, _)| account).collect(), next })
        })
    }
}

fn by_subject(db: &Connection, subject: &str) -> rusqlite::Result<Option<Account>> {
    let sql = format!("SELECT {USER_COLUMNS}, u.pinned_email FROM users u WHERE u.sub = ?1");
    db.prepare_cached(&sql)?.query_map([subject], Account::from_row)?.next().transpose()
}

/// Every word as a quoted string of FTS5's language, where only a quotation mark means something. A word too short for
/// the index is looked for where words begin.
fn query(search: &str) -> String {
    let words = search.split(|c: char| c.is_whitespace() || c.is_control()).map(|word| (word, word.chars().count()));
    let quoted = words.filter(|(_, length)| *length >= SEARCH_CHARACTERS_MIN).map(|(word, length)| {
        let begins = if length < INDEXED_CHARACTERS { " " } else { "" };
        format!("\"{begins}{}\"", word.replace('"', "\"\""))
    });
    quoted.collect::<Vec<_>>().join(" ")
}
