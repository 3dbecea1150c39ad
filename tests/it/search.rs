//! The search for users, compared with a search in plain Rust.

use std::sync::LazyLock;

use hallpass::store::{Store, UserCursor, UserSort};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use tempfile::TempDir;

const USERS: usize = 300;
const PAGE_ROWS: u32 = 7;

struct Directory {
    store: Store,
    /// Newest first: `sub`, and the searched text in lower case.
    users: Vec<(String, [String; 3])>,
    _folder: TempDir,
}

static DIRECTORY: LazyLock<Directory> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(Store::open(&path).unwrap());
    let database = Connection::open(&path).unwrap();
    let mut runner = TestRunner::deterministic();
    let mut any = |pattern: &str| pattern.new_tree(&mut runner).unwrap().current();
    let sql =
        "INSERT INTO users (sub, name, email, email_authoritative, created_at, last_signin_at)
        VALUES (?1, ?2, ?3, 0, ?4, 1)";
    // Several users per second, so page breaks fall between users of the same second.
    let mut users: Vec<_> = (0..USERS)
        .map(|number| {
            let sub = format!("sub-{number:03}");
            let (name, email) = (any("[aAéÉжЖ'\" %_]{1,20}"), any("[aé]{0,4}@[aé\"]{1,5}"));
            database.execute(sql, (&sub, &name, &email, number as i64 / 10)).unwrap();
            (sub.clone(), [name.to_lowercase(), email.to_lowercase(), sub])
        })
        .collect();
    users.reverse();
    Directory { store: Store::open(&path).unwrap(), users, _folder: folder }
});

impl Directory {
    fn expected(&self, search: &str) -> Vec<&str> {
        let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
        let contains =
            |texts: &[String; 3], word: &String| texts.iter().any(|text| text.contains(word));
        let matches = |texts| words.iter().all(|word| contains(texts, word));
        self.users.iter().filter(|(_, texts)| matches(texts)).map(|(sub, _)| sub.as_str()).collect()
    }

    fn page_by_page(&self, search: &str) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), None::<UserCursor>);
        loop {
            let page = self.store.list_users(search, UserSort::Created, after.as_ref(), PAGE_ROWS);
            let page = page.unwrap();
            after =
                page.last().map(|last| UserCursor::after(&last.user).to_string().parse().unwrap());
            all.extend(page.into_iter().map(|record| record.user.profile.subject));
            if after.is_none() {
                return all;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn finds_the_same_users_as_plain_rust(words in prop::collection::vec("[aAéÉжЖ'\"@%_1-]{1,4}", 0..4)) {
        let search = words.join(" ");
        prop_assert_eq!(&DIRECTORY.page_by_page(&search), &DIRECTORY.expected(&search));
    }
}

#[test]
fn every_order_lists_the_same_users() {
    for sort in [UserSort::Name, UserSort::Email, UserSort::LastSignIn, UserSort::Created] {
        let found = DIRECTORY.store.list_users("É", sort, None, 1000).unwrap();
        assert_eq!(found.len(), DIRECTORY.expected("É").len(), "{sort:?}");
    }
}

#[test]
fn an_empty_database_has_no_users() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db")).unwrap();
    for search in ["", "a", "ada", "ada lovelace"] {
        assert!(store.list_users(search, UserSort::Created, None, 1).unwrap().is_empty());
    }
}

#[test]
fn the_search_index_of_earlier_versions_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(Store::open(&path).unwrap());
    let database = Connection::open(&path).unwrap();
    let earlier = "CREATE TABLE directory (id INTEGER PRIMARY KEY, sub TEXT, words TEXT);
        CREATE VIRTUAL TABLE directory_search USING fts5 (words, content = 'directory', tokenize = 'trigram');
        CREATE TRIGGER directory_add AFTER INSERT ON users BEGIN
            INSERT INTO directory (sub, words) VALUES (new.sub, new.name); END;";
    database.execute_batch(earlier).unwrap();
    drop(Store::open(&path).unwrap());
    let count = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'directory%'";
    assert_eq!(database.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}
