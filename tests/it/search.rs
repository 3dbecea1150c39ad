//! The search for users, beside one that reads them all.

use std::sync::LazyLock;

use hallpass::store::{SEARCH_CHARACTERS_MIN, Store};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use tempfile::TempDir;

/// More than the search takes a sample of.
const PEOPLE: usize = 600;
const PAGE_ROWS: usize = 7;

/// The index as databases have it that were made before it became smaller.
const LARGER_INDEX: &str = "DROP TABLE directory_search;
CREATE VIRTUAL TABLE directory_search USING fts5 (
    words, content = 'directory', content_rowid = 'id', tokenize = 'trigram', columnsize = 0
);
INSERT INTO directory_search (directory_search) VALUES ('rebuild');";

struct Eviction {
    store: Store,
    /// The newest first.
    people: Vec<Person>,
    _folder: TempDir,
}

struct Person {
    sub: String,
    /// In lower case.
    words: String,
}

static NEW: LazyLock<Eviction> = LazyLock::new(|| Eviction::new(""));
static OLD: LazyLock<Eviction> = LazyLock::new(|| Eviction::new(LARGER_INDEX));

impl Eviction {
    /// Names of so few letters that most trigrams are common and most words are not.
    fn new(index: &str) -> Eviction {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        drop(Store::open(&path).unwrap());
        let database = Connection::open(&path).unwrap();
        let mut runner = TestRunner::deterministic();
        let mut any = |pattern: &str| pattern.new_tree(&mut runner).unwrap().current();
        let sql =
            "INSERT INTO users (sub, name, email, email_authoritative, created_at, last_signin_at)
            VALUES (?1, ?2, ?3, 0, 1, 1)";
        let mut people: Vec<Person> = (0..PEOPLE)
            .map(|number| {
                let sub = format!("sub-{number}");
                let (name, email) = (any("[aAéÉжЖ'\" ]{1,20}"), any("[aé]{0,4}@[aé\"]{1,5}"));
                database.execute(sql, [&sub, &name, &email]).unwrap();
                Person { sub, words: format!(" {name} {email}").to_lowercase() }
            })
            .collect();
        people.reverse();
        database.execute_batch(index).unwrap();
        Eviction { store: Store::open(&path).unwrap(), people, _folder: folder }
    }

    fn found_by_reading(&self, search: &str) -> Vec<&str> {
        let words: Vec<String> = search
            .split_whitespace()
            .filter(|word| word.chars().count() >= SEARCH_CHARACTERS_MIN)
            .map(|word| {
                if word.chars().count() == SEARCH_CHARACTERS_MIN {
                    format!(" {word}")
                } else {
                    word.into()
                }
            })
            .map(|word| word.to_lowercase())
            .collect();
        let none = words.is_empty() && !search.is_empty();
        let found =
            |person: &&Person| !none && words.iter().all(|word| person.words.contains(word));
        self.people.iter().filter(found).map(|person| person.sub.as_str()).collect()
    }

    fn found_page_by_page(&self, search: &str) -> Vec<String> {
        let (mut all, mut from) = (Vec::new(), None);
        loop {
            let people = self.store.people(search, from, PAGE_ROWS).unwrap();
            assert!(people.next.is_none() || people.accounts.len() == PAGE_ROWS, "{search:?}");
            all.extend(people.accounts.into_iter().map(|account| account.user.profile.subject));
            from = people.next;
            if from.is_none() {
                return all;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_finds_whom_reading_all_finds(words in prop::collection::vec("[aAéÉжЖ'\"@]{1,6}", 0..4)) {
        let search = words.join(" ");
        let expected = NEW.found_by_reading(&search);
        prop_assert_eq!(&NEW.found_page_by_page(&search), &expected);
        prop_assert_eq!(&OLD.found_page_by_page(&search), &expected);
    }
}

#[test]
fn it_finds_a_sub_that_is_whole() {
    assert_eq!(NEW.found_page_by_page("sub-7"), ["sub-7"]);
    assert_eq!(NEW.found_page_by_page("ub-7"), [""; 0]);
}

#[test]
fn nobody_is_found_where_nobody_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("db")).unwrap();
    for search in ["", "a", "ada", "ada lovelace"] {
        let people = store.people(search, None, PAGE_ROWS).unwrap();
        assert!(people.accounts.is_empty() && people.next.is_none(), "{search:?}");
    }
}
