//! The users page by page, all of them or those who are searched for.

use std::time::{Duration, Instant};

use rusqlite::{Connection, Row, params};

use super::directory::Account;
use super::users::USER_COLUMNS;
use super::{Store, StoreError};

/// A word must have so many characters to be searched for. Two find the beginnings of words, three and more any part.
pub const SEARCH_CHARACTERS_MIN: usize = 2;
/// What the index is made of: any three characters that follow one another.
const INDEXED_CHARACTERS: usize = 3;
/// Places in the directory that are searched in one go: a millisecond or two where words are as common as can be.
const SEARCH_STEP: i64 = 32 * 1024;

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
    /// e-mail, whatever the case; words shorter than [`SEARCH_CHARACTERS_MIN`] do not count. One that takes longer than
    /// `patience` ends with what it has, and goes on from there on the next page.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn people(
        &self,
        search: &str,
        from: Option<i64>,
        limit: u32,
        patience: Duration,
    ) -> Result<People, StoreError> {
        let query = query(search);
        self.readers.read(|db| {
            if search.is_empty() {
                return page(db, from, limit);
            }
            if let Some(account) = by_subject(db, search)? {
                return Ok(People { accounts: vec![account], next: None });
            }
            if query.is_empty() {
                return Ok(People { accounts: Vec::new(), next: None });
            }
            found(db, &query, from, limit, patience)
        })
    }
}

fn page(db: &Connection, from: Option<i64>, limit: u32) -> rusqlite::Result<People> {
    let sql = format!(
        "SELECT {USER_COLUMNS}, u.pinned_email, d.id FROM directory d JOIN users u ON u.sub = d.sub
         WHERE d.id <= ?1 ORDER BY d.id DESC LIMIT ?2"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params![from.unwrap_or(i64::MAX), limit + 1], place)?;
    Ok(People::of(rows.collect::<rusqlite::Result<_>>()?, limit))
}

/// What the index finds, step by step from the last place on: common words that nobody has together may take it through
/// the whole of a large directory.
fn found(db: &Connection, query: &str, from: Option<i64>, limit: u32, patience: Duration) -> rusqlite::Result<People> {
    // CROSS JOIN keeps the order, in which the index of the search hands out what it finds.
    let sql = format!(
        "SELECT {USER_COLUMNS}, u.pinned_email, d.id FROM directory_search f CROSS JOIN directory d ON d.id = f.rowid
         CROSS JOIN users u ON u.sub = d.sub
         WHERE f.words MATCH ?1 AND f.rowid > ?2 AND f.rowid <= ?3 ORDER BY f.rowid DESC LIMIT ?4"
    );
    let (begin, wanted) = (Instant::now(), limit as usize + 1);
    let last = db.prepare_cached("SELECT max(id) FROM directory")?.query_row([], |row| row.get::<_, Option<i64>>(0))?;
    let mut to = from.unwrap_or(i64::MAX).min(last.unwrap_or(0));
    let mut statement = db.prepare_cached(&sql)?;
    let mut places = Vec::new();
    while to > 0 {
        let after = (to - SEARCH_STEP).max(0);
        let rows = statement.query_map(params![query, after, to, (wanted - places.len()) as i64], place)?;
        for row in rows {
            places.push(row?);
        }
        to = after;
        if places.len() == wanted || begin.elapsed() > patience {
            break;
        }
    }
    let mut people = People::of(places, limit);
    people.next = people.next.or((to > 0).then_some(to));
    Ok(people)
}

/// A user and where they stand.
fn place(row: &Row) -> rusqlite::Result<(Account, i64)> {
    Ok((Account::from_row(row)?, row.get("id")?))
}

impl People {
    /// The page that begins with these, of whom one too many tells that there are more.
    fn of(mut places: Vec<(Account, i64)>, limit: u32) -> People {
        let next = places.get(limit as usize).map(|(_, id)| *id);
        places.truncate(limit as usize);
        People { accounts: places.into_iter().map(|(account, _)| account).collect(), next }
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
