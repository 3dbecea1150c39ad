//! Where the database is: a SQLite file, or a PostgreSQL server in builds that have it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
#[cfg(feature = "postgres")]
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::time::Duration;

#[cfg(feature = "postgres")]
pub use super::postgres::Address;
#[cfg(feature = "postgres")]
use super::postgres::{self, Missing, Server, Writers};
#[cfg(feature = "postgres")]
use super::{READERS_MAX, Readers, SEARCHERS_MAX, SessionCache, Writer};
use super::{Store, StoreError, instance};
#[cfg(feature = "postgres")]
use crate::token::fingerprint;

/// A check fails within 3 seconds, whatever happens to the server.
#[cfg(feature = "postgres")]
const READ_PATIENCE: Duration = Duration::from_millis(2500);
#[cfg(feature = "postgres")]
const SEARCH_PATIENCE: Duration = Duration::from_secs(10);
/// An export reads all users.
#[cfg(feature = "postgres")]
const COMMAND_PATIENCE: Duration = Duration::from_secs(10 * 60);
/// PostgreSQL's own two spellings.
const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// The value of --database.
#[derive(Clone)]
pub enum Database {
    /// A SQLite file, which need not exist.
    File(PathBuf),
    /// A PostgreSQL server. Its text leaves out the password.
    Postgres(Box<Address>),
}

/// This build has no PostgreSQL, so there is no such value.
#[cfg(not(feature = "postgres"))]
#[derive(Clone)]
pub enum Address {}

impl Database {
    /// Tells a URL from a path, and reads the URL.
    ///
    /// # Errors
    /// One sentence without any part of the URL: it cannot be read, or this build lacks PostgreSQL.
    pub fn parse(text: &OsStr) -> Result<Database, String> {
        match url_of(text) {
            Some(url) => postgres(&url),
            None => Ok(Database::File(text.into())),
        }
    }

    /// The beginning of the text, if it is a URL, so may contain a password.
    pub fn scheme(text: &OsStr) -> Option<&'static str> {
        let url = url_of(text)?;
        SCHEMES.into_iter().find(|scheme| url.starts_with(scheme))
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Database::File(path) => Some(path),
            Database::Postgres(_) => None,
        }
    }

    /// Opens the database, or creates it.
    ///
    /// # Errors
    /// As [`Store::open`]; or the server cannot be reached, or lacks a right.
    pub fn open(&self) -> Result<Store, StoreError> {
        match self {
            Database::File(path) => Store::open(path),
            Database::Postgres(address) => open(address, Purpose::Serve),
        }
    }

    /// Opens an existing database.
    ///
    /// # Errors
    /// As [`Database::open`], or if there is no database.
    pub fn open_existing(&self) -> Result<Store, StoreError> {
        match self {
            Database::File(path) => Store::open_existing(path),
            Database::Postgres(address) => open(address, Purpose::Change),
        }
    }

    /// Opens an existing database for reading.
    ///
    /// # Errors
    /// As [`Store::open_reading`].
    pub fn open_reading(&self) -> Result<Store, StoreError> {
        match self {
            Database::File(path) => Store::open_reading(path),
            Database::Postgres(address) => open(address, Purpose::Read),
        }
    }

    /// Whether there is a database. A server need not be asked: it may have one.
    pub fn may_exist(&self) -> bool {
        match self {
            Database::File(path) => Store::exists(path),
            Database::Postgres(_) => true,
        }
    }

    /// Refuses a file that belongs to the database.
    ///
    /// # Errors
    /// As [`Store::require_apart`].
    pub fn require_apart(&self, file: &Path) -> Result<(), StoreError> {
        match self {
            Database::File(path) => Store::require_apart(path, file),
            Database::Postgres(_) => Ok(()),
        }
    }

    /// Identifies the database, the same in every process that uses it. `None` if there is none.
    pub fn instance(&self) -> Option<String> {
        match self {
            Database::File(path) => instance(path),
            Database::Postgres(_) => self.open_reading().ok().map(|store| store.instance()),
        }
    }
}

/// What a database on a server is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Anything, by many threads. Missing tables are created.
    Serve,
    /// A command that may write.
    Change,
    /// A command that only reads.
    Read,
}

#[cfg(feature = "postgres")]
fn open(address: &Address, purpose: Purpose) -> Result<Store, StoreError> {
    let server = Arc::new(Server::new(address).map_err(StoreError)?);
    let missing = if purpose == Purpose::Serve { Missing::Create } else { Missing::Refuse };
    let instance = postgres::prepare(&server, missing)?;
    let (patience, search_patience) = match purpose {
        Purpose::Serve => (READ_PATIENCE, SEARCH_PATIENCE),
        Purpose::Change | Purpose::Read => (COMMAND_PATIENCE, COMMAND_PATIENCE),
    };
    let readers = |connections_max, patience| {
        Readers::on_postgres(postgres::Readers::new(server.clone(), connections_max, patience))
    };
    Ok(Store {
        writer: match purpose {
            Purpose::Serve | Purpose::Change => Writer::on_postgres(Writers::new(server.clone())),
            Purpose::Read => Writer::none(),
        },
        readers: readers(READERS_MAX, patience),
        searchers: readers(SEARCHERS_MAX, search_patience),
        files: Arc::default(),
        last_seen: Arc::default(),
        refusals: Arc::default(),
        remote: Some(fingerprint(instance)),
        session_cache: SessionCache::unused(),
    })
}

#[cfg(not(feature = "postgres"))]
fn open(address: &Address, _: Purpose) -> Result<Store, StoreError> {
    match *address {}
}

#[cfg(feature = "postgres")]
fn postgres(url: &str) -> Result<Database, String> {
    Address::parse(url).map(|address| Database::Postgres(Box::new(address)))
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &str) -> Result<Database, String> {
    Err("this build of Hallpass lacks PostgreSQL; give a file, or build it with `--features postgres`".into())
}

/// The URL with its scheme in lower case, if the text is one.
fn url_of(text: &OsStr) -> Option<String> {
    let text = text.to_string_lossy();
    let text = text.trim();
    let scheme = SCHEMES.into_iter().find(|scheme| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })?;
    Some(format!("{scheme}{}", &text[scheme.len()..]))
}

impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Database::File(path) => path.display().fmt(formatter),
            #[cfg(feature = "postgres")]
            Database::Postgres(address) => address.fmt(formatter),
            #[cfg(not(feature = "postgres"))]
            Database::Postgres(address) => match **address {},
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
