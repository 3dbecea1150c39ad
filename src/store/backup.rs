//! Backup and restore.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::copy::{DatabaseCopy, folder_of};
use super::{Store, StoreError, open};
use crate::process;

/// A server that is stopping may use its database for this long.
const IN_USE_WAIT: Duration = Duration::from_millis(500);

impl Store {
    /// Copies the database to `target` while servers use it. A file at `target` is replaced once
    /// the copy is complete, checked and on disk; its owner stays. Only the owner can read the
    /// backup. Calls `progress` with the number of pages and of copied pages. Gives up soon after
    /// `stop` is set.
    ///
    /// # Errors
    /// One sentence for the operator. A file at `target` is then unchanged.
    pub fn back_up(
        database: &Path,
        target: &Path,
        progress: impl FnMut(i32, i32),
        stop: &Arc<AtomicBool>,
    ) -> Result<(), StoreError> {
        open::require_exists(database)?;
        // Only through SQLite: a process that closes a file loses all its locks on it.
        drop(open::for_reading(database)?);
        Store::require_apart(database, target)?;
        let replaced = replaceable(target, "give another file")?;
        let copy = DatabaseCopy::new(database, target, progress, stop)?;
        if let Some(replaced) = replaced {
            copy.set_owner(&replaced)?;
        }
        copy.persist()
    }

    /// Refuses a target that is the database or one of the files that SQLite keeps next to it.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn require_apart(database: &Path, target: &Path) -> Result<(), StoreError> {
        let what = if is_same_file(database, target) {
            "is the database itself"
        } else if sidecars(&real(database)).iter().any(|file| is_same_file(file, target)) {
            "belongs to the database"
        } else {
            return Ok(());
        };
        Err(StoreError(format!("{} {what}; give another file", target.display())))
    }

    /// Checks a backup and copies it to `database`. An existing database is replaced only if
    /// `replace` is set and no process uses it; owner and mode stay. If there is none and this is
    /// root, the new file gets the owner of its folder, so the service can open it.
    ///
    /// # Errors
    /// One sentence for the operator. An existing database is then unchanged.
    pub fn restore(
        backup: &Path,
        database: &Path,
        replace: bool,
        progress: impl FnMut(i32, i32),
    ) -> Result<(), StoreError> {
        if !backup.is_file() {
            return Err(StoreError(format!("there is no backup at {}", backup.display())));
        }
        // SQLite keeps its files next to the one that a link leads to.
        let target = &fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
        if is_same_file(backup, target) {
            return Err(StoreError(format!(
                "{} is the backup itself; give --database another path",
                backup.display()
            )));
        }
        open::backup_for_reading(backup)?;
        let replaced = replaceable(target, "give --database another path")?;
        let existing =
            [target.to_owned()].into_iter().chain(sidecars(target)).find(|path| path.exists());
        if let Some(path) = existing
            && !replace
        {
            let what = if path == *target { "the database" } else { "the log of a database," };
            return Err(StoreError(format!(
                "{what} {} already exists; --force replaces it",
                path.display()
            )));
        }
        let copy = DatabaseCopy::new(backup, target, progress, &Arc::default())?;
        if let Some(replaced) = replaced {
            require_unused(target)?;
            copy.set_owner(&replaced)?;
            copy.set_mode(&replaced)?;
        } else if process::is_root()
            && let Ok(folder) = fs::metadata(folder_of(target))
        {
            copy.set_owner(&folder)?;
        }
        remove_sidecars(target)?;
        copy.persist()
    }
}

/// The file at `target`, if there is one. Links, devices and folders are refused, because a rename
/// would remove them.
fn replaceable(target: &Path, advice: &str) -> Result<Option<Metadata>, StoreError> {
    match fs::symlink_metadata(target) {
        Ok(file) if !file.is_file() => {
            Err(StoreError(format!("{} is not a regular file; {advice}", target.display())))
        }
        file => Ok(file.ok()),
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    real(one) == real(other)
}

/// The path without links. The file need not exist.
fn real(path: &Path) -> PathBuf {
    let in_real_folder = || Some(fs::canonicalize(folder_of(path)).ok()?.join(path.file_name()?));
    fs::canonicalize(path).ok().or_else(in_real_folder).unwrap_or_else(|| path.to_owned())
}

/// Fails if a process has the database open.
fn require_unused(database: &Path) -> Result<(), StoreError> {
    let leave_wal = || -> rusqlite::Result<()> {
        let connection = Connection::open(database)?;
        connection.busy_timeout(IN_USE_WAIT)?;
        // SQLite allows this only if no other connection is open.
        connection.pragma_update(None, "journal_mode", "DELETE")
    };
    match leave_wal() {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            Err(StoreError(format!(
                "the database {} is in use; stop the server first",
                database.display()
            )))
        }
        // A damaged database can be replaced.
        _ => Ok(()),
    }
}

/// Deletes the files that SQLite would take for the log of the new database.
fn remove_sidecars(database: &Path) -> Result<(), StoreError> {
    sidecars(database).into_iter().try_for_each(|path| match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError(format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    })
}

/// The files that SQLite keeps next to a database.
fn sidecars(database: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|suffix| {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    })
}
