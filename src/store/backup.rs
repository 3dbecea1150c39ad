//! A copy of the database while it is in use, and back.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};
use tempfile::NamedTempFile;

use super::read_only::ReadOnlyConnection;
use super::{Store, StoreError, connection, open};
use crate::process::{self, CpuThrottle};

/// What a copy is called until it is whole.
const PART_PREFIX: &str = ".hallpass-";
const PART_SUFFIX: &str = ".part";
/// Such a file that nobody has written to for so long was left behind by a process that was killed.
const PART_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Pages copied between two reports: 4 MiB.
const STEP_PAGES: i32 = 1024;
/// The pause when the file is locked; it is only while another process opens or closes it.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
/// Steps between two syncs of what is copied: 64 MiB.
const STEPS_PER_SYNC: usize = 16;
/// How many tables are checked at once.
const CHECKS_AT_ONCE: usize = 2;
/// Instructions of SQLite's between two looks whether to stop: some milliseconds.
const LOOK_INSTRUCTIONS: i32 = 100_000;
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
        open::require_exists(database)?;
        // Only SQLite may open it, as a server does this as well: when a process closes a file, all its locks on it go.
        drop(open::for_reading(database)?);
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
        open::for_reading(backup)?;
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

/// Copies a database that is about to be brought to that version of the schema to a file beside it, with its owner and
/// mode. A copy that is there already stays: it may be from an attempt that failed after it. Returns where it is.
pub fn keep_older(database: &Path, version: i32) -> Result<PathBuf, StoreError> {
    let mut target = database.as_os_str().to_owned();
    target.push(format!(".before-{version}"));
    let target = PathBuf::from(target);
    if fs::symlink_metadata(&target).is_ok() {
        return Ok(target);
    }
    let cannot = |error: io::Error| cannot_write(&target, &error);
    let original = fs::metadata(database).map_err(cannot)?;
    let copied = copy(database, &target, |_, _| {}, &Arc::default())?;
    give_to(&copied, &original, &target)?;
    copied.as_file().set_permissions(original.permissions()).map_err(cannot)?;
    put(copied, &target)?;
    Ok(target)
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

/// A sound copy, on disk, beside the place where it shall be, gone again if it is dropped.
fn copy(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(i32, i32),
    stop: &Arc<AtomicBool>,
) -> Result<NamedTempFile, StoreError> {
    let made =
        tempfile::Builder::new().prefix(PART_PREFIX).suffix(PART_SUFFIX).tempfile_in(folder_of(to));
    let part = made.and_then(|part| remove_left_behind(folder_of(to), &part).map(|()| part));
    let part = part.map_err(|error| cannot_write(to, &error))?;
    let (progressed, steps) = mpsc::channel();
    let (sound, synced) = thread::scope(|scope| {
        // The disk takes it in while it is copied, and the last of it while it is checked.
        let synced = scope.spawn(|| sync(part.as_file(), steps));
        let report = move |all, copied| {
            let _ = progressed.send(());
            progress(all, copied);
        };
        let sound =
            fill(from, part.path(), report, stop).and_then(|()| Ok(is_sound(part.path(), stop)?));
        (sound, synced.join().expect("no panic in a system call"))
    });
    synced.map_err(|error| cannot_write(to, &error))?;
    if !sound? {
        return Err(StoreError(format!(
            "the copy of {} is damaged, so it was thrown away",
            from.display()
        )));
    }
    Ok(part)
}

/// Brings to the disk what is in the file, as long as it grows by steps, and then the last of it.
fn sync(part: &File, steps: Receiver<()>) -> io::Result<()> {
    for (number, ()) in steps.iter().enumerate() {
        if (number + 1) % STEPS_PER_SYNC == 0 {
            part.sync_data()?;
        }
    }
    part.sync_all()
}

/// Copies everything into the new file (SQLite's online backup).
fn fill(
    from: &Path,
    part: &Path,
    progress: impl FnMut(i32, i32),
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    let mut copied = Connection::open(part)?;
    // A new file, synced once it is whole and thrown away if it is not, has nothing to keep a journal of.
    copied.pragma_update(None, "synchronous", "OFF")?;
    copied.pragma_update(None, "journal_mode", "OFF")?;
    if !ReadOnlyConnection::open(from)?
        .read(|source| copy_pages(source, &mut copied, progress, stop))?
    {
        let why = format!("the copy of {} was stopped before it was whole", from.display());
        return Err(StoreError(why));
    }
    // One file, without a log beside it.
    Ok(copied.pragma_update(None, "journal_mode", "DELETE")?)
}

/// Returns whether it was not stopped.
fn copy_pages(
    source: &Connection,
    copied: &mut Connection,
    mut progress: impl FnMut(i32, i32),
    stop: &AtomicBool,
) -> rusqlite::Result<bool> {
    // Holding one view of the file, the copy need not start over whenever the server writes.
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
    let backup = Backup::new(source, copied)?;
    let mut throttle = CpuThrottle::default();
    while !stop.load(Ordering::Relaxed) {
        throttle.pause_if_contended();
        let result = backup.step(STEP_PAGES)?;
        let pages = backup.progress();
        progress(pages.pagecount, pages.pagecount - pages.remaining);
        match result {
            StepResult::Done => return Ok(true),
            StepResult::More => {}
            _ => thread::sleep(LOCKED_PAUSE),
        }
    }
    Ok(false)
}

/// Checks every table with its indexes, several at a time. Of the database as a whole, SQLite would compare the index of
/// the search with itself as well, word by word: that takes longer than to copy it, and what it is made of is checked as
/// tables are.
fn is_sound(part: &Path, stop: &Arc<AtomicBool>) -> rusqlite::Result<bool> {
    let db = connection::reading(part)?;
    // The one that grows first, so that the others are done beside it.
    let mut tables =
        db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name <> 'events'")?;
    let tables =
        tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let tables = Mutex::new(tables.into_iter());
    let next = || tables.lock().unwrap_or_else(PoisonError::into_inner).next();
    let check = || are_sound(part, next, stop);
    thread::scope(|scope| {
        let checks: Vec<_> = (0..CHECKS_AT_ONCE).map(|_| scope.spawn(check)).collect();
        let mut outcomes =
            checks.into_iter().map(|check| check.join().expect("no panic in SQLite"));
        outcomes.try_fold(true, |all, sound| Ok(all & sound?))
    })
}

/// Checks one table after another.
fn are_sound(
    part: &Path,
    next: impl Fn() -> Option<String>,
    stop: &Arc<AtomicBool>,
) -> rusqlite::Result<bool> {
    let (stopped, mut throttle) = (stop.clone(), CpuThrottle::default());
    let look = move || {
        throttle.pause_if_contended();
        stopped.load(Ordering::Relaxed)
    };
    let mut db = connection::reading(part)?;
    db.progress_handler(LOOK_INSTRUCTIONS, Some(look))?;
    let mut check = db.prepare("SELECT quick_check FROM pragma_quick_check(?1)")?;
    while let Some(table) = next() {
        if check.query_row([table], |row| row.get::<_, String>(0))? != "ok" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes what killed processes left in that folder. `fresh` was just made there, which tells the file system's time.
fn remove_left_behind(folder: &Path, fresh: &NamedTempFile) -> io::Result<()> {
    let now = fresh.as_file().metadata()?.modified()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = name
            .to_str()
            .is_some_and(|name| name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX));
        if is_ours
            && now.duration_since(entry.metadata()?.modified()?).is_ok_and(|age| age > PART_AGE_MAX)
        {
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
