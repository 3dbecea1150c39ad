//! The database: users, sessions, events and Google's keys. All SQL is in this folder.
//!
//! One thread writes, and one commit serves every caller that waits. A few connections read. In WAL
//! mode a reader never waits, and each read sees the last commit of any process.

mod database;
mod model;
mod db;
mod error;
mod connection;
mod open;
mod open_files;
mod writer;
mod readers;
mod read_only;
mod sign_in;
mod allowed;
mod blocked_emails;
mod users;
mod username;
mod search;
mod sessions;
mod session_cache;
mod session_limit;
mod tokens;
mod last_seen;
mod events;
mod refusals;
mod purge;
mod stats;
mod google_keys;
mod assertion_keys;
mod google_events;
mod import;
mod copy;
mod backup;
mod integrity_check;
#[cfg(feature = "postgres")]
mod postgres;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use allowed::{AllowedEntry, AllowedName, Obstacle};
pub use assertion_keys::{
    AssertionKey, AssertionKeys, KEY_OVERLAP_SECONDS, KEY_SIGNS_SECONDS, NewAssertionKey,
    PrivateKey,
};
pub use blocked_emails::BlockedEmail;
pub use database::{Address, Database};
pub use error::StoreError;
pub use events::{About, Actor, DAY_SECONDS, Event, EventFilter, EventKind, EventRow, NextEvent};
pub use google_events::{GoogleEffect, GoogleEvent, GoogleEventOutcome, GoogleReport};
pub use import::{ImportFailure, Imported, ImportedUser};
pub use integrity_check::Integrity;
pub use model::{Authenticated, Client, Session, SessionKind, User, UserRecord};
pub use open_files::instance;
pub use refusals::RefusedBy;
pub use sessions::{Ended, SessionSelector};
pub use sign_in::{NewSession, Refusal, SignIn, SignedIn};
pub use stats::{Day, RecentUser, RefusalRow};
pub use tokens::{NewToken, TOKENS_PER_USER_MAX, TokenRefusal};
pub use username::{Renaming, Username};
pub use users::{UserCursor, UserSort};

use last_seen::LastSeen;
use open_files::OpenFiles;
use readers::Readers;
use refusals::Refusals;
use session_cache::SessionCache;
use writer::Writer;

/// A read takes about 10 microseconds, so a few connections serve all threads.
const READERS_MAX: usize = 8;
/// A search may take half a second.
const SEARCHERS_MAX: usize = 1;

/// A Hallpass database.
pub struct Store {
    writer: Writer,
    readers: Readers,
    /// Separate, so no check waits for a search.
    searchers: Readers,
    files: Arc<OpenFiles>,
    last_seen: Arc<LastSeen>,
    refusals: Arc<Refusals>,
    /// Names the database on a PostgreSQL server.
    remote: Option<String>,
    /// Its `WalIndex` must be dropped last.
    session_cache: SessionCache,
}

/// Numbers of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All users, including those who have never signed in.
    pub users: u64,
    /// Users who were imported or blocked before they signed in.
    pub never_signed_in: u64,
    /// Open sessions, without tokens for programs.
    pub sessions: u64,
}

impl Store {
    /// Opens the database at `path`, or creates one that only its owner can read.
    ///
    /// # Errors
    /// One sentence for the operator: the database is damaged, read-only, newer than this program
    /// or not Hallpass's.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let connection = open::for_writing(path)?;
        let real_path = connection.path().map(Path::new).unwrap_or(path);
        let (session_cache, files) =
            (SessionCache::new(real_path), Arc::new(OpenFiles::of(path, real_path)));
        Ok(Store {
            writer: Writer::start(connection, files.clone()),
            readers: Readers::new(path.to_owned(), READERS_MAX, files.clone()),
            searchers: Readers::new(path.to_owned(), SEARCHERS_MAX, files.clone()),
            files,
            last_seen: Arc::default(),
            refusals: Arc::default(),
            remote: None,
            session_cache,
        })
    }

    /// Whether there is a file at `path` that is not empty.
    pub fn exists(path: &Path) -> bool {
        open::exists(path)
    }

    /// Opens an existing database.
    ///
    /// # Errors
    /// As [`Store::open`], or if there is no database.
    pub fn open_existing(path: &Path) -> Result<Store, StoreError> {
        open::require_exists(path)?;
        Store::open(path)
    }

    /// Opens an existing database for reading. This works beside a writer, on a full disk and on a
    /// read-only mount. Every write fails.
    ///
    /// # Errors
    /// One sentence for the operator: there is no database, or it is damaged, of another version or
    /// not Hallpass's.
    pub fn open_reading(path: &Path) -> Result<Store, StoreError> {
        open::require_exists(path)?;
        open::require_current(&open::for_reading(path)?, path)?;
        Ok(Store {
            writer: Writer::none(),
            readers: Readers::read_only(path.to_owned()),
            searchers: Readers::read_only(path.to_owned()),
            files: Arc::default(),
            last_seen: Arc::default(),
            refusals: Arc::default(),
            remote: None,
            session_cache: SessionCache::new(path),
        })
    }

    /// Checks the database at `path` for at most `time_max`. It is neither created nor changed.
    ///
    /// # Errors
    /// One sentence for the operator: the database is newer than this program or not Hallpass's.
    pub fn check_integrity(path: &Path, time_max: Duration) -> Result<Integrity, StoreError> {
        let started = Instant::now();
        let mut database = open::for_reading(path)?;
        database.interrupt_when(move || started.elapsed() >= time_max)?;
        database.read(integrity_check::quick_check)
    }

    /// Identifies this database until the machine restarts, the same in every process.
    pub fn instance(&self) -> String {
        self.remote.clone().or_else(|| instance(self.readers.path())).unwrap_or_default()
    }

    /// Whether each read asks another process, which may be on another machine.
    pub fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Reads from the database.
    ///
    /// # Errors
    /// If it cannot be read, or its file was removed or replaced.
    pub fn ping(&self) -> Result<(), StoreError> {
        self.files.require_unchanged()?;
        self.readers.read(|db| db.one("SELECT count(*) FROM users WHERE sub = ''", &[], |_| Ok(())))
    }

    /// Counts users and sessions, which takes milliseconds for every 10,000 rows.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn counts(&self, now: i64) -> Result<Counts, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM users WHERE last_signin_at = 0),
            (SELECT count(*) FROM sessions WHERE ended_at IS NULL AND expires_at > ?1 AND kind <> 'token')";
        self.readers.read(|db| {
            db.one(sql, db::params![now], |row| {
                let count = |column| row.get(column).map(i64::unsigned_abs);
                Ok(Counts { users: count(0)?, never_signed_in: count(1)?, sessions: count(2)? })
            })
        })
    }

    /// Returns when all earlier writes are on disk.
    pub fn flush(&self) {
        self.writer.flush();
    }
}
