//! Sessions as they were last read, so that few checks ask the database.
//!
//! It is exact: every change of a user, a session or the list of those who are let in, by any process, gives the database a new revision (schema.sql), and
//! what was read under another one is read again. The revision is asked for whenever anything was committed.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::model::{Authenticated, Client, Session, SessionKind, User};
use super::{Store, StoreError, sessions};
use crate::profile::Profile;
use crate::token::TokenHash;

/// At 0.5 kB each with the profiles that Google sends, some 500 MB; none of it is taken before it is needed.
const SESSIONS_MAX: usize = 1024 * 1024;
/// What nobody asked about for so long takes no memory any more.
const KEPT_SECONDS: i64 = 10 * 60;

pub struct SessionCache {
    sessions: Cache<TokenHash, Entry>,
    wal_index: WalIndex,
    /// The revision, as long as the WAL-index has this version.
    current: Mutex<Option<(WalIndexVersion, Revision)>>,
}

type Revision = i64;

#[derive(Clone)]
struct Entry {
    /// Under which it was read.
    revision: Revision,
    /// Since then, the session may have been seen by this process.
    last_seen_at: i64,
    authenticated: Packed,
}

impl SessionCache {
    /// Nothing yet, of the database at that path as SQLite has it, which is open already.
    pub fn new(database: &Path) -> SessionCache {
        SessionCache {
            sessions: Cache::new(SESSIONS_MAX),
            wal_index: WalIndex::new(database),
            current: Mutex::default(),
        }
    }

    /// The session was seen at that time; what is known of it stays true.
    pub fn set_last_seen(&self, token: &TokenHash, now: i64) {
        if let Some(entry) = self.sessions.get(token) {
            self.sessions.insert(*token, Entry { last_seen_at: now, ..entry });
        }
    }

    /// Another process may have seen it since; that only makes it live longer, so what is idle must be read again.
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

    /// The revision, unless anything was committed since it was read.
    fn revision(&self) -> Option<Revision> {
        let version = self.wal_index.read()?;
        let current = *self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.filter(|(then, _)| *then == version).map(|(_, revision)| revision)
    }

    /// Asks the database, and remembers what it says. The revision is read once, however many tokens there are.
    fn read(
        &self,
        db: &Connection,
        tokens: &[TokenHash],
        now: i64,
        idle_seconds: i64,
    ) -> rusqlite::Result<Vec<Option<Authenticated>>> {
        let version = self.wal_index.read();
        // In this order: whatever changes later has a later version, and a later revision.
        let revision =
            db.prepare_cached("SELECT id FROM revision")?.query_row([], |row| row.get(0))?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
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
    /// The session of each of those tokens, live or not, with its user, as it stands in the database now. Its
    /// `last_seen_at` may be older than what the database has by then, if another process has seen the session, unless
    /// that makes it idle.
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

    /// The same if all of them can be told without asking the database.
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

    /// Lets go of the memory of sessions that were not seen lately, ended ones among them.
    pub fn prune_session_cache(&self, now: i64) {
        self.session_cache.sessions.retain(|_, entry| now - entry.last_seen_at < KEPT_SECONDS);
    }
}

/// An [`Authenticated`] in one piece of memory: a third of what the values take, which have many short texts.
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

/// Every field of a [`Session`], while its own form is the one of the contract.
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

/// Every field of a [`User`], likewise.
#[derive(Serialize, Deserialize)]
#[serde(remote = "User")]
struct WholeUser {
    profile: Profile,
    created_at: i64,
    last_signin_at: Option<i64>,
    blocked_at: Option<i64>,
}

/// What the header says; another one after every commit.
type WalIndexVersion = [u8; 48];

/// Whether anybody has committed anything: told by the header of SQLite's WAL-index, which every commit by any process
/// writes. To read it takes a tenth of what a query takes.
///
/// Source: "WAL-mode File Format", section 2.1; the header is 48 bytes, and its `iChange` grows with each transaction.
struct WalIndex(Option<File>);

impl WalIndex {
    /// For the database at that path, without symbolic links, which is open already. Drop it after every connection: when
    /// a process closes a file, it loses all its locks on it, SQLite's included.
    fn new(database: &Path) -> WalIndex {
        let mut index = OsString::from(database);
        index.push("-shm");
        WalIndex(File::open(index).ok())
    }

    /// The header now. None if it cannot be read: then nothing is known.
    fn read(&self) -> Option<WalIndexVersion> {
        let mut version = [0; size_of::<WalIndexVersion>()];
        self.0.as_ref()?.read_exact_at(&mut version, 0).ok()?;
        Some(version)
    }
}
