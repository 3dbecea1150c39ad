//! Connections that read.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

use rusqlite::Connection;

use super::{StoreError, open};

/// A small pool; connections are opened as they are first needed.
pub struct Readers {
    path: PathBuf,
    connections_max: usize,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

impl Readers {
    /// A pool of at most so many connections to the database at that path.
    pub fn new(path: PathBuf, connections_max: usize) -> Readers {
        Readers { path, connections_max, pool: Mutex::default(), returned: Condvar::new() }
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a query, or several that need not see the same commit.
    pub fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self.take()?;
        let result = query(&connection);
        self.lock().idle.push(connection);
        self.returned.notify_one();
        Ok(result?)
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let all_busy = |pool: &mut Pool| pool.idle.is_empty() && pool.open >= self.connections_max;
        let mut pool =
            self.returned.wait_while(self.lock(), all_busy).unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = pool.idle.pop() {
            return Ok(connection);
        }
        let connection = open::reading(&self.path)?;
        pool.open += 1;
        Ok(connection)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
