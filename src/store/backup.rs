//! A copy of the database while it is in use, and back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};
use tempfile::NamedTempFile;

use super::{Store, StoreError, open};

/// Pages copied between two reports: 4 MiB.
const STEP_PAGES: i32 = 1024;
/// The pause when the file is locked; it is only while another process opens or closes it.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
/// How long a server that is just ending may still hold its database.
const IN_USE_PATIENCE: Duration = Duration::from_millis(500);

impl Store {
    /// Copies the database as it is now to another file, which is replaced only by a copy that is whole, sound and on
    /// disk, readable by its owner only. Servers go on meanwhile. `progress` is told how many pages there are, and are
    /// copied.
    ///
    /// # Errors
    /// One sentence for the operator; then what was at `target` is still there.
    pub fn back_up(database: &Path, target: &Path, progress: impl FnMut(i32, i32)) -> Result<(), StoreError> {
        drop(Store::open_existing(database)?);
        if is_same_file(database, target) {
            return Err(StoreError(format!("{} is the database itself; give another file", target.display())));
        }
        put(copy(database, target, progress)?, target)
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
            return Err(StoreError(format!("{} is the backup itself; give --database another path", backup.display())));
        }
        open::verify(backup)?;
        let replaces = fs::symlink_metadata(database).is_ok();
        if replaces && !replace {
            return Err(StoreError(format!(
                "the database {} is there already; --force replaces it",
                database.display()
            )));
        }
        let copied = copy(backup, database, progress)?;
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

/// A sound copy beside the place where it shall be, gone again if it is dropped.
fn copy(from: &Path, to: &Path, mut progress: impl FnMut(i32, i32)) -> Result<NamedTempFile, StoreError> {
    let made = tempfile::Builder::new().prefix(".hallpass-").suffix(".part").tempfile_in(folder_of(to));
    let file = made.map_err(|error| cannot_write(to, &error))?;
    let source = open::reading(from)?;
    // Holding one view of the file, the copy need not start over whenever the server writes.
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
    let mut copied = Connection::open(file.path())?;
    // A new file, synced once it is whole and thrown away if it is not, has nothing to keep a journal of.
    copied.pragma_update(None, "synchronous", "OFF")?;
    copied.pragma_update(None, "journal_mode", "OFF")?;
    {
        let backup = Backup::new(&source, &mut copied)?;
        loop {
            let result = backup.step(STEP_PAGES)?;
            let pages = backup.progress();
            progress(pages.pagecount, pages.pagecount - pages.remaining);
            match result {
                StepResult::Done => break,
                StepResult::More => {}
                _ => thread::sleep(LOCKED_PAUSE),
            }
        }
    }
    // One file, without a log beside it.
    copied.pragma_update(None, "journal_mode", "DELETE")?;
    if !is_sound(&copied)? {
        return Err(StoreError(format!("the copy of {} is damaged, so it was thrown away", from.display())));
    }
    Ok(file)
}

/// Checks every table with its indexes. Of the database as a whole, SQLite would compare the index of the search with
/// itself as well, word by word: that takes longer than to copy it, and what it is made of is checked as tables are.
fn is_sound(db: &Connection) -> rusqlite::Result<bool> {
    let mut tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0")?;
    let mut check = db.prepare("SELECT quick_check FROM pragma_quick_check(?1)")?;
    let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for name in names {
        if check.query_row([name], |row| row.get::<_, String>(0))? != "ok" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Puts the copy in its place at once, and for good.
fn put(copied: NamedTempFile, to: &Path) -> Result<(), StoreError> {
    let cannot = |error: io::Error| cannot_write(to, &error);
    copied.as_file().sync_all().map_err(cannot)?;
    copied.persist(to).map_err(|error| cannot(error.error))?;
    File::open(folder_of(to)).and_then(|folder| folder.sync_all()).map_err(cannot)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

fn cannot_write(path: &Path, error: &io::Error) -> StoreError {
    StoreError(format!("cannot write {}: {error}", path.display()))
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
            Err(StoreError(format!("the database {} is in use; stop the server first", database.display())))
        }
        // It is replaced because it is damaged, maybe.
        _ => ["-wal", "-shm", "-journal"].iter().try_for_each(|suffix| {
            let mut path = database.as_os_str().to_owned();
            path.push(suffix);
            match fs::remove_file(PathBuf::from(&path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(StoreError(format!("cannot remove {}: {error}", Path::new(&path).display())))
                }
                _ => Ok(()),
            }
        }),
    }
}
