//! A copy of the database while it is in use, and back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tempfile::NamedTempFile;

use super::copy::{cannot_write, copy, folder_of};
use super::{Store, StoreError, open};

/// How long a server that is just ending may still hold its database.
const IN_USE_PATIENCE: Duration = Duration::from_millis(500);

impl Store {
    /// Copies the database as it is now to another file, which is replaced only by a copy that is whole, sound and on
    /// disk, readable by its owner only. Servers go on meanwhile. `progress` is told how many pages there are, and are
    /// copied. It gives up soon after `stop` is set.
    ///
    /// # Errors
    /// One sentence for the operator; then what was at `target` is still there.
    pub fn back_up(
        database: &Path,
        target: &Path,
        progress: impl FnMut(i32, i32),
        stop: &Arc<AtomicBool>,
    ) -> Result<(), StoreError> {
        open::require_there(database)?;
        // Only SQLite may open it, as a server does this as well: when a process closes a file, all its locks on it go.
        drop(open::ours(database)?);
        if is_same_file(database, target) {
            return Err(StoreError(format!(
                "{} is the database itself; give another file",
                target.display()
            )));
        }
        put(copy(database, target, progress, stop)?, target)
    }

    /// Puts a backup in place of the database, after checking it. What is at `database` is replaced only if told so and
    /// if nobody uses it.
    ///
    /// # Errors
    /// One sentence for the operator; then what was at `database` is still there.
    pub fn restore(
        backup: &Path,
        database: &Path,
        replace: bool,
        progress: impl FnMut(i32, i32),
    ) -> Result<(), StoreError> {
        if !backup.is_file() {
            return Err(StoreError(format!("there is no backup at {}", backup.display())));
        }
        if is_same_file(backup, database) {
            return Err(StoreError(format!(
                "{} is the backup itself; give --database another path",
                backup.display()
            )));
        }
        open::ours(backup)?;
        let replaces = fs::symlink_metadata(database).is_ok();
        if replaces && !replace {
            return Err(StoreError(format!(
                "the database {} is there already; --force replaces it",
                database.display()
            )));
        }
        let copied = copy(backup, database, progress, &Arc::default())?;
        if replaces {
            require_unused(database)?;
        }
        put(copied, database)
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    real(one).is_some() && real(one) == real(other)
}

/// Puts the copy, which is on disk, in its place at once, and for good.
fn put(copied: NamedTempFile, to: &Path) -> Result<(), StoreError> {
    let cannot = |error: io::Error| cannot_write(to, &error);
    copied.persist(to).map_err(|error| cannot(error.error))?;
    File::open(folder_of(to)).and_then(|folder| folder.sync_all()).map_err(cannot)
}

/// Nobody has it open, and no log is left beside it that would be taken for the new file's.
fn require_unused(database: &Path) -> Result<(), StoreError> {
    let leave_wal = || -> rusqlite::Result<()> {
        let connection = Connection::open(database)?;
        connection.busy_timeout(IN_USE_PATIENCE)?;
        // SQLite does this only for the one connection there is, and takes the log away.
        connection.pragma_update(None, "journal_mode", "DELETE")
    };
    match leave_wal() {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            Err(StoreError(format!(
                "the database {} is in use; stop the server first",
                database.display()
            )))
        }
        // It is replaced because it is damaged, maybe.
        _ => ["-wal", "-shm", "-journal"].iter().try_for_each(|suffix| {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            match fs::remove_file(PathBuf::from(&path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError(format!(
                    "cannot remove {}: {error}",
                    Path::new(&path).display()
                ))),
                _ => Ok(()),
            }
        }),
    }
}
