//! A copy of the database while it is in use, and back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};
use tempfile::NamedTempFile;

use super::{Store, StoreError, open};
use crate::process::Courtesy;

/// What a copy is called until it is whole.
const PART_PREFIX: &str = ".hallpass-";
const PART_SUFFIX: &str = ".part";
/// Such a file that nobody has written to for so long was left behind by a process that was killed.
const PART_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Pages copied between two reports: 4 MiB.
const STEP_PAGES: i32 = 1024;
/// The pause when the file is locked; it is only while another process opens or closes it.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
/// Instructions of SQLite's between two looks whether to stop: some milliseconds.
const LOOK_INSTRUCTIONS: i32 = 100_000;
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
            return Err(StoreError(format!("{} is the database itself; give another file", target.display())));
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
            return Err(StoreError(format!("{} is the backup itself; give --database another path", backup.display())));
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

/// A sound copy, on disk, beside the place where it shall be, gone again if it is dropped.
fn copy(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(i32, i32),
    stop: &Arc<AtomicBool>,
) -> Result<NamedTempFile, StoreError> {
    let made = tempfile::Builder::new().prefix(PART_PREFIX).suffix(PART_SUFFIX).tempfile_in(folder_of(to));
    let file = made.and_then(|file| remove_left_behind(folder_of(to), &file).map(|()| file));
    let file = file.map_err(|error| cannot_write(to, &error))?;
    let source = open::reading(from)?;
    // Holding one view of the file, the copy need not start over whenever the server writes.
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
    let mut copied = Connection::open(file.path())?;
    // A new file, synced once it is whole and thrown away if it is not, has nothing to keep a journal of.
    copied.pragma_update(None, "synchronous", "OFF")?;
    copied.pragma_update(None, "journal_mode", "OFF")?;
    let (stopped, mut courtesy) = (stop.clone(), Courtesy::default());
    let look = move || {
        courtesy.give_way();
        stopped.load(Ordering::Relaxed)
    };
    copied.progress_handler(LOOK_INSTRUCTIONS, Some(look))?;
    {
        let mut courtesy = Courtesy::default();
        let backup = Backup::new(&source, &mut copied)?;
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(StoreError(format!("the copy of {} was stopped before it was whole", from.display())));
            }
            courtesy.give_way();
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
    // The disk takes it in while it is checked.
    let (sound, synced) = thread::scope(|scope| {
        let synced = scope.spawn(|| file.as_file().sync_all());
        (is_sound(&copied), synced.join().expect("no panic in a system call"))
    });
    synced.map_err(|error| cannot_write(to, &error))?;
    if !sound? {
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

/// Puts the copy, which is on disk, in its place at once, and for good.
fn put(copied: NamedTempFile, to: &Path) -> Result<(), StoreError> {
    let cannot = |error: io::Error| cannot_write(to, &error);
    copied.persist(to).map_err(|error| cannot(error.error))?;
    File::open(folder_of(to)).and_then(|folder| folder.sync_all()).map_err(cannot)
}

/// Removes what killed processes left in that folder. `fresh` was just made there, which tells the file system's time.
fn remove_left_behind(folder: &Path, fresh: &NamedTempFile) -> io::Result<()> {
    let now = fresh.as_file().metadata()?.modified()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX));
        if is_ours && now.duration_since(entry.metadata()?.modified()?).is_ok_and(|age| age > PART_AGE_MAX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
