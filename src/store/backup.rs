//! A copy of the database while it is in use, and back.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tempfile::NamedTempFile;

use super::copy::{cannot_write, copy, folder_of};
use super::{Store, StoreError, open};
use crate::process;

/// How long a server that is just ending may still hold its database.
const IN_USE_PATIENCE: Duration = Duration::from_millis(500);

impl Store {
    /// Copies the database as it is now to another file, which is replaced only by a copy that is whole, sound and on
    /// disk, readable by its owner only: that of the replaced file if there is one. Servers go on meanwhile. `progress` is told how many pages there are, and are
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
        Store::require_apart(database, target)?;
        // To put a copy in place of a link or a device would remove it.
        let replaced = fs::symlink_metadata(target).ok();
        if replaced.as_ref().is_some_and(|there| !there.is_file()) {
            return Err(StoreError(format!(
                "{} is not a regular file; give another file",
                target.display()
            )));
        }
        let copied = copy(database, target, progress, stop)?;
        if let Some(replaced) = replaced {
            give_to(&copied, &replaced, target)?;
        }
        put(copied, target)
    }

    /// Refuses a path that leads to the database or to one of SQLite's files beside it.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn require_apart(database: &Path, target: &Path) -> Result<(), StoreError> {
        let what = if is_same_file(database, target) {
            "is the database itself"
        } else if logs(&real(database)).iter().any(|log| is_same_file(log, target)) {
            "belongs to the database"
        } else {
            return Ok(());
        };
        Err(StoreError(format!("{} {what}; give another file", target.display())))
    }

    /// Puts a backup in place of the database, after checking it. What is at `database` is replaced only if told so and
    /// if nobody uses it; the new file keeps its owner and mode. Where there is none, root gives the new file to the
    /// owner of its folder, so that the service can open it.
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
        // SQLite keeps its log beside the file that a link leads to.
        let target = &fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
        if is_same_file(backup, target) {
            return Err(StoreError(format!(
                "{} is the backup itself; give --database another path",
                backup.display()
            )));
        }
        open::ours(backup)?;
        let replaced = fs::symlink_metadata(target).ok();
        if replaced.as_ref().is_some_and(|there| !there.is_file()) {
            return Err(StoreError(format!(
                "{} is not a regular file; give --database another path",
                database.display()
            )));
        }
        let in_the_way =
            [target.to_owned()].into_iter().chain(logs(target)).find(|path| path.exists());
        if let Some(path) = in_the_way
            && !replace
        {
            let what = if path == *target { "the database" } else { "the log of a database," };
            return Err(StoreError(format!(
                "{what} {} is there already; --force replaces it",
                path.display()
            )));
        }
        let copied = copy(backup, target, progress, &Arc::default())?;
        match &replaced {
            Some(replaced) => {
                require_unused(target)?;
                give_to(&copied, replaced, target)?;
                let mode = replaced.permissions();
                copied
                    .as_file()
                    .set_permissions(mode)
                    .map_err(|error| cannot_write(target, &error))?;
            }
            None if process::is_root() => {
                let folder = fs::metadata(folder_of(target));
                give_to(&copied, &folder.map_err(|error| cannot_write(target, &error))?, target)?;
            }
            None => {}
        }
        remove_logs(target)?;
        put(copied, target)
    }
}

/// Gives the file to the owner and the group of another one.
fn give_to(copied: &NamedTempFile, other: &Metadata, to: &Path) -> Result<(), StoreError> {
    let ours = copied.as_file().metadata().map_err(|error| cannot_write(to, &error))?;
    if (ours.uid(), ours.gid()) == (other.uid(), other.gid()) {
        return Ok(());
    }
    fchown(copied.as_file(), Some(other.uid()), Some(other.gid())).map_err(|error| {
        StoreError(format!("cannot keep the owner of {}: {error}; run this as root", to.display()))
    })
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    real(one) == real(other)
}

/// The path without links, whether or not there is a file yet.
fn real(path: &Path) -> PathBuf {
    let in_real_folder = || Some(fs::canonicalize(folder_of(path)).ok()?.join(path.file_name()?));
    fs::canonicalize(path).ok().or_else(in_real_folder).unwrap_or_else(|| path.to_owned())
}

/// Puts the copy, which is on disk, in its place at once, and for good.
fn put(copied: NamedTempFile, to: &Path) -> Result<(), StoreError> {
    let cannot = |error: io::Error| cannot_write(to, &error);
    copied.persist(to).map_err(|error| cannot(error.error))?;
    File::open(folder_of(to)).and_then(|folder| folder.sync_all()).map_err(cannot)
}

/// Nobody has it open.
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
        // It may be damaged, and be replaced for that.
        _ => Ok(()),
    }
}

/// Nothing is left that SQLite would take for the log of the new file.
fn remove_logs(database: &Path) -> Result<(), StoreError> {
    logs(database).into_iter().try_for_each(|path| match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError(format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    })
}

fn logs(database: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|suffix| {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    })
}
