//! What we remember: users, sessions, events, Google's keys. All SQL is here.
//!
//! One thread writes and commits for everybody who waits; a few connections read. In WAL mode a reader sees the last
//! commit and waits for no one, and a commit by any process on the file is seen by the next read.

mod model;
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
mod import;
mod copy;
mod backup;
mod integrity_check;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use allowed::AllowedEntry;
pub use blocked_emails::BlockedEmail;
pub use events::{About, Actor, DAY_SECONDS, Event, EventFilter, EventKind, EventRow};
pub use import::{ImportFailure, Imported, ImportedUser};
pub use integrity_check::Integrity;
pub use model::{Authenticated, Client, Session, SessionKind, User, UserRecord};
pub use open_files::instance;
pub use refusals::RefusedBy;
pub use sessions::SessionSelector;
pub use sign_in::{NewSession, Refusal, SignIn, SignedIn};
pub use stats::{Day, RecentUser};
pub use tokens::{NewToken, TOKENS_PER_USER_MAX, TokenRefusal};
pub use username::{Renaming, Username};
pub use users::{UserCursor, UserSort};

use last_seen::LastSeen;
use open_files::OpenFiles;
use readers::Readers;
use refusals::Refusals;
use session_cache::SessionCache;
use writer::Writer;

/// A read takes some 10 microseconds, so a few connections serve any number of threads and bound the descriptors.
const READERS_MAX: usize = 8;
/// A search may take half a second.
const SEARCHERS_MAX: usize = 1;

/// A Hallpass database.
pub struct Store {
    writer: Writer,
    readers: Readers,
    /// Apart, so that no check waits for a search.
    searchers: Readers,
    files: Arc<OpenFiles>,
    last_seen: Arc<LastSeen>,
    refusals: Arc<Refusals>,
    /// Last, as its `WalIndex` wants.
    session_cache: SessionCache,
}

/// How many of them there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Users, whether they have signed in or not.
    pub users: u64,
    /// Those of them who were imported and have not signed in since.
    pub never_signed_in: u64,
    /// Sessions that have not ended, tokens for programs left out.
    pub sessions: u64,
}

/// The database cannot answer. The text is for the log; no value from a row is in it.
#[derive(Debug, Clone)]
pub struct StoreError(String);

impl Store {
    /// Opens the database at that path, or makes a new one there, readable by its owner only.
    ///
    /// # Errors
    /// One sentence for the operator: it is damaged, newer than this program, read-only, or not Hallpass's.
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
            session_cache,
        })
    }

    /// Whether there is a database at that path. An empty file is not one.
    pub fn exists(path: &Path) -> bool {
        open::exists(path)
    }

    /// Opens the database at that path, which must be there already.
    ///
    /// # Errors
    /// As [`Store::open`], or if there is none.
    pub fn open_existing(path: &Path) -> Result<Store, StoreError> {
        open::require_exists(path)?;
        Store::open(path)
    }

    /// Opens the database at that path to read it and nothing else, which needs neither a lock that a writer holds nor a
    /// disk that can be written. Whatever would change it fails.
    ///
    /// # Errors
    /// One sentence for the operator: there is none, or it is damaged, of another version, or not Hallpass's.
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

    /// A name for this database on this running machine, the same for every process that uses it.
    pub fn instance(&self) -> String {
        instance(self.readers.path()).unwrap_or_default()
    }

    /// Whether the database is in its place and can be read.
    ///
    /// # Errors
    /// If it is not, or cannot.
    pub fn ping(&self) -> Result<(), StoreError> {
        self.files.require_unchanged()?;
        self.readers
            .read(|db| db.query_row("SELECT count(*) FROM users WHERE sub = ''", [], |_| Ok(())))
    }

    /// Counts users and sessions. Takes milliseconds for every 10,000 rows.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn counts(&self, now: i64) -> Result<Counts, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM users WHERE last_signin_at = 0),
            (SELECT count(*) FROM sessions WHERE ended_at IS NULL AND expires_at > ?1 AND kind <> 'token')";
        self.readers.read(|db| {
            db.query_row(sql, [now], |row| {
                let count =
                    |column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.unsigned_abs());
                Ok(Counts { users: count(0)?, never_signed_in: count(1)?, sessions: count(2)? })
            })
        })
    }

    /// Returns when everything written before, last-seen times and refusals included, is on disk.
    pub fn flush(&self) {
        // The order of the queue is all that is wanted; a failed commit was told to those it concerns.
        let _ = self.writer.write(|_| Ok(()));
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        // With a statement in it, the text would be as long as the statement; the engine's own words suffice.
        match error {
            rusqlite::Error::SqliteFailure(code, message) => {
                StoreError(format!("database: {}", message.unwrap_or_else(|| code.to_string())))
            }
            other => StoreError(format!("database: {other}")),
        }
    }
}
