//! A connection that only reads, even where nothing can be written: on a full disk or a read-only
//! mount.
//!
//! In WAL mode SQLite reads through an index that all processes share, the `-shm` file ("WAL-mode
//! File Format", section 2). If that file does not exist and cannot be created, no process has the
//! database open. Then it is read without locks, and a result counts only if no process has written
//! to the database meanwhile.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{StoreError, connection};

/// The `-shm` file of a database in use has at least one block of the index.
const INDEX_BYTES_MIN: u64 = 32 * 1024;
/// SQLite's file access without locks.
const WITHOUT_LOCKS: &std::ffi::CStr = c"unix-none";

/// How often a query looks whether it should stop: every few milliseconds.
const INSTRUCTIONS_PER_LOOK: i32 = 100_000;

pub struct ReadOnlyConnection {
    db: Connection,
    /// The files before they were read without locks.
    unlocked: Option<Files>,
}

/// A database and its log. Every write changes one of the stamps.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    path: PathBuf,
    stamps: [Option<Stamp>; 2],
}

/// Inode, length, and modification time in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

impl ReadOnlyConnection {
    /// Opens an existing database.
    pub fn open(path: &Path) -> rusqlite::Result<ReadOnlyConnection> {
        let shared = connection::reading(path).and_then(|connection| {
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        });
        let error = match shared {
            Ok(connection) => return Ok(ReadOnlyConnection { db: connection, unlocked: None }),
            Err(error) => error,
        };
        match Files::unused(path) {
            Some(files) if cannot_write(&error) => {
                let connection = files.read_without_locks()?;
                Ok(ReadOnlyConnection { db: connection, unlocked: Some(files) })
            }
            _ => Err(error),
        }
    }

    /// Interrupts a query once `should_stop` returns true.
    pub fn interrupt_when(
        &mut self,
        should_stop: impl FnMut() -> bool + Send + 'static,
    ) -> rusqlite::Result<()> {
        self.db.progress_handler(INSTRUCTIONS_PER_LOOK, Some(should_stop))
    }

    /// Runs a query. Fails if the database is read without locks and a process has written to it.
    pub fn read<T>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let result = query(&self.db);
        match &self.unlocked {
            Some(files) if Files::unused(&files.path).as_ref() != Some(files) => Err(StoreError(
                "database: it was opened for writing while it was read; try again".into(),
            )),
            _ => Ok(result?),
        }
    }
}

impl Files {
    /// The files of a database that no process has open.
    fn unused(path: &Path) -> Option<Files> {
        let path = fs::canonicalize(path).ok()?;
        let stamp = |path: &Path| {
            let file = fs::metadata(path).ok()?;
            Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
        };
        let stamps = [stamp(&path), stamp(&beside(&path, "-wal"))];
        let index = fs::metadata(beside(&path, "-shm"));
        let is_unused = index.is_err() || index.is_ok_and(|index| index.len() < INDEX_BYTES_MIN);
        is_unused.then_some(Files { path, stamps })
    }

    fn read_without_locks(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let is_log_empty = self.stamps[1].is_none_or(|(_, length, ..)| length == 0);
        let connection = if is_log_empty {
            // Otherwise SQLite would create the log.
            let path = percent_encode(self.path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?
        } else {
            let connection = Connection::open_with_flags_and_vfs(&self.path, flags, WITHOUT_LOCKS)?;
            // This keeps the index in memory.
            connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection
        };
        connection::set_up_reading(&connection)?;
        Ok(connection)
    }
}

fn cannot_write(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
        )
    )
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::Store;

    #[test]
    fn a_result_does_not_count_if_a_process_opened_the_database_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, index) = (folder.path().join("db?&% x"), folder.path().join("db?&% x-shm"));
        drop(Store::open(&path).expect("a database"));
        symlink("/no/such/folder/file", &index).expect("a link");
        symlink("/no/such/folder/file", beside(&path, "-wal")).expect("a link");
        let users = |db: &Connection| {
            db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, i64>(0))
        };
        let reading = ReadOnlyConnection::open(&path).expect("it can be read");
        assert_eq!(reading.read(users).expect("users"), 0);
        for suffix in ["-shm", "-wal"] {
            fs::remove_file(beside(&path, suffix)).expect("it is there");
        }
        let store = Store::open(&path).expect("a database");
        reading.read(users).expect_err("a server has started");
        drop(store);
        reading.read(users).expect_err("a server was there");
    }
}
