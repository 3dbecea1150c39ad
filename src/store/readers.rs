//! A pool of connections that read.

#[cfg(feature = "postgres")]
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rusqlite::Connection;

use super::db::{Db, Error, Result};
use super::open_files::OpenFiles;
#[cfg(feature = "postgres")]
use super::postgres;
use super::read_only::ReadOnlyConnection;
use super::{StoreError, connection};

/// Connections are opened when they are first needed.
pub struct Readers {
    path: PathBuf,
    /// `None` if each query opens its own connection, which works even where nothing can be
    /// written.
    pooling: Option<Pooling>,
    pool: Mutex<Pool>,
    returned: Condvar,
    #[cfg(feature = "postgres")]
    postgres: Option<postgres::Readers>,
}

struct Pooling {
    connections_max: usize,
    files: Arc<OpenFiles>,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    pub fn new(path: PathBuf, connections_max: usize, files: Arc<OpenFiles>) -> Readers {
        Readers { pooling: Some(Pooling { connections_max, files }), ..Readers::read_only(path) }
    }

    /// For few queries, even on a full disk or a read-only mount.
    pub fn read_only(path: PathBuf) -> Readers {
        Readers {
            path,
            pooling: None,
            pool: Mutex::default(),
            returned: Condvar::default(),
            #[cfg(feature = "postgres")]
            postgres: None,
        }
    }

    #[cfg(feature = "postgres")]
    pub fn on_postgres(readers: postgres::Readers) -> Readers {
        Readers { postgres: Some(readers), ..Readers::read_only(PathBuf::new()) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs queries. They need not all see the same commit.
    pub fn read<T>(&self, mut query: impl FnMut(&Db) -> Result<T>) -> Result<T, StoreError> {
        #[cfg(feature = "postgres")]
        if let Some(readers) = &self.postgres {
            let result =
                readers.read(|connection| Ok(query(&Db::Postgres(RefCell::new(connection)))?));
            return result.map_err(|error| Error::from(error).into());
        }
        let Some(pooling) = &self.pooling else {
            return ReadOnlyConnection::open(&self.path)?
                .read(|db| query(&Db::Sqlite(db)).map_err(Error::of_sqlite));
        };
        let connection = self.take(pooling)?;
        let result = query(&Db::Sqlite(&connection));
        self.lock().idle.push(connection);
        self.returned.notify_one();
        Ok(result?)
    }

    fn take(&self, pooling: &Pooling) -> Result<Connection, StoreError> {
        let all_busy =
            |pool: &mut Pool| pool.idle.is_empty() && pool.open >= pooling.connections_max;
        let mut pool =
            self.returned.wait_while(self.lock(), all_busy).unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = pool.idle.pop() {
            return Ok(connection);
        }
        // Every connection must have the same file open.
        pooling.files.require_unchanged()?;
        let connection = connection::reading(&self.path)?;
        pool.open += 1;
        Ok(connection)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
