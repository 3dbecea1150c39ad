//! Keeps sessions in memory, so few checks read the database.
//!
//! The cache is exact. Every change of a user, a session or the list of who may enter, by any
//! process, gives the database a new revision (schema.sql), and an entry counts only under the
//! revision at which it was read. The revision is read again after any commit, which the WAL-index
//! tells.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};

use super::db::{Db, Result};
use super::model::{Authenticated, Client, Session, SessionKind, User};
use super::{Store, StoreError, sessions};
use crate::profile::Profile;
use crate::token::TokenHash;

/// About 500 MB, at 0.5 kB for a session with a profile as Google sends it. Memory is allocated
/// only as it is needed.
const SESSIONS_MAX: usize = 1024 * 1024;
/// Entries that were not used for this long are removed.
const UNUSED_SECONDS_MAX: i64 = 10 * 60;

pub struct SessionCache {
    sessions: Cache<TokenHash, Entry>,
    wal_index: WalIndex,
    /// The revision of the database while the WAL-index has this version.
    revision: Mutex<Option<(WalIndexVersion, Revision)>>,
}

type Revision = i64;

#[derive(Clone)]
struct Entry {
    /// The revision at which it was read.
    revision: Revision,
    /// May be later than in `authenticated`.
    last_seen_at: i64,
    authenticated: Packed,
}

impl SessionCache {
    /// An empty cache for an open database, at its path without symbolic links.
    pub fn new(database: &Path) -> SessionCache {
        SessionCache {
            sessions: Cache::new(SESSIONS_MAX),
            wal_index: WalIndex::new(database),
            revision: Mutex::default(),
        }
    }

    /// A cache that stays empty: what it would hold may have changed on another server.
    #[cfg(feature = "postgres")]
    pub fn unused() -> SessionCache {
        let (wal_index, revision) = (WalIndex(None), Mutex::default());
        SessionCache { sessions: Cache::new(0), wal_index, revision }
    }

    pub fn set_last_seen(&self, token: &TokenHash, now: i64) {
        if let Some(entry) = self.sessions.get(token) {
            self.sessions.insert(*token, Entry { last_seen_at: now, ..entry });
        }
    }

    /// The session, unless it is idle: then it must be read again, because another process may have
    /// seen it since.
    fn find(
        &self,
        token: &TokenHash,
        revision: Revision,
        now: i64,
        idle_seconds: i64,
    ) -> Option<Authenticated> {
        let entry = self.sessions.get(token).filter(|entry| entry.revision == revision)?;
        let mut authenticated = entry.authenticated.open();
        authenticated.session.last_seen_at = entry.last_seen_at;
        (!authenticated.session.is_idle(now, idle_seconds)).then_some(authenticated)
    }

    /// The revision, if nothing was committed since it was read.
    fn revision(&self) -> Option<Revision> {
        let version = self.wal_index.read()?;
        let (read_at, revision) = (*self.revision.lock().unwrap_or_else(PoisonError::into_inner))?;
        (read_at == version).then_some(revision)
    }

    /// Reads what the cache lacks, and keeps it.
    fn read(
        &self,
        db: &Db,
        tokens: &[TokenHash],
        now: i64,
        idle_seconds: i64,
    ) -> Result<Vec<Option<Authenticated>>> {
        if !db.is_sqlite() {
            return tokens.iter().map(|token| sessions::find(db, token)).collect();
        }
        let version = self.wal_index.read();
        // In this order: a later change has a later version of the index and a later revision.
        let revision = db.one("SELECT id FROM revision", &[], |row| row.get(0))?;
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner) =
            version.map(|version| (version, revision));
        let find = |token| {
            if let Some(authenticated) = self.find(token, revision, now, idle_seconds) {
                return Ok(Some(authenticated));
            }
            let found = sessions::find(db, token)?;
            if let Some(authenticated) = &found {
                let (last_seen_at, authenticated) =
                    (authenticated.session.last_seen_at, Packed::new(authenticated));
                self.sessions.insert(*token, Entry { revision, last_seen_at, authenticated });
            }
            Ok(found)
        };
        tokens.iter().map(find).collect()
    }
}

impl Store {
    /// The session of each token, live or not, with its user, as they are in the database now. Only
    /// `last_seen_at` may be out of date, if another process has seen the session; that never makes
    /// a live session idle.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn sessions(
        &self,
        tokens: &[TokenHash],
        now: i64,
        idle_seconds: i64,
    ) -> Result<Vec<Option<Authenticated>>, StoreError> {
        match self.cached_sessions(tokens, now, idle_seconds) {
            Some(found) => Ok(found.into_iter().map(Some).collect()),
            None => self.readers.read(|db| self.session_cache.read(db, tokens, now, idle_seconds)),
        }
    }

    /// The same from the cache alone. `None` if any session would have to be read.
    pub fn cached_sessions(
        &self,
        tokens: &[TokenHash],
        now: i64,
        idle_seconds: i64,
    ) -> Option<Vec<Authenticated>> {
        if tokens.is_empty() {
            return Some(Vec::new());
        }
        let revision = self.session_cache.revision()?;
        tokens
            .iter()
            .map(|token| self.session_cache.find(token, revision, now, idle_seconds))
            .collect()
    }

    /// Frees the memory of sessions that were not used lately.
    pub fn prune_session_cache(&self, now: i64) {
        self.session_cache
            .sessions
            .retain(|_, entry| now - entry.last_seen_at < UNUSED_SECONDS_MAX);
    }
}

/// An [`Authenticated`] in one piece of memory. It takes a third of the space: the values have many
/// short strings.
#[derive(Clone)]
struct Packed(Arc<[u8]>);

impl Packed {
    fn new(authenticated: &Authenticated) -> Packed {
        let Authenticated { session, user, is_allowed } = authenticated.clone();
        let bytes = postcard::to_allocvec(&Whole { session, user, is_allowed });
        Packed(bytes.expect("a Vec takes every write").into())
    }

    fn open(&self) -> Authenticated {
        let Whole { session, user, is_allowed } =
            postcard::from_bytes(&self.0).expect("what was packed can be opened");
        Authenticated { session, user, is_allowed }
    }
}

/// An [`Authenticated`] with every field.
#[derive(Serialize, Deserialize)]
struct Whole {
    #[serde(with = "WholeSession")]
    session: Session,
    #[serde(with = "WholeUser")]
    user: User,
    is_allowed: bool,
}

/// Every field of a [`Session`]. Its own serialization leaves fields out.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Session")]
struct WholeSession {
    id: String,
    kind: SessionKind,
    name: Option<String>,
    client_id: String,
    created_at: i64,
    last_seen_at: i64,
    expires_at: i64,
    ended_at: Option<i64>,
    client: Client,
}

/// Every field of a [`User`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "User")]
struct WholeUser {
    profile: Profile,
    username: Option<String>,
    created_at: i64,
    last_signin_at: Option<i64>,
    blocked_at: Option<i64>,
    google_disabled_at: Option<i64>,
}

/// The header of SQLite's WAL-index. Every commit by any process changes it.
///
/// Source: "WAL-mode File Format", section 2.1. The header has 48 bytes, and its `iChange` grows
/// with each transaction.
type WalIndexVersion = [u8; 48];

/// Tells whether any process has committed since, in a tenth of the time of a query.
struct WalIndex(Option<File>);

impl WalIndex {
    /// The index of an open database, at its path without symbolic links. Drop it after the
    /// connections: a process that closes a file loses all its locks on it, SQLite's included.
    fn new(database: &Path) -> WalIndex {
        let mut index = OsString::from(database);
        index.push("-shm");
        WalIndex(File::open(index).ok())
    }

    /// `None` if the header cannot be read.
    fn read(&self) -> Option<WalIndexVersion> {
        let mut version = [0; size_of::<WalIndexVersion>()];
        self.0.as_ref()?.read_exact_at(&mut version, 0).ok()?;
        Some(version)
    }
}
