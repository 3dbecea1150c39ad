//! A sound copy of a database that may be in use.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use tempfile::NamedTempFile;

use super::read_only::Reading;
use super::{StoreError, open};
use crate::process::CpuThrottle;

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

/// A sound copy, on disk, beside the place where it shall be, gone again if it is dropped.
pub fn copy(
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
    if !Reading::open(from)?.read(|source| copy_pages(source, &mut copied, progress, stop))? {
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
    let db = open::reading(part)?;
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
    let mut db = open::reading(part)?;
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

pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

pub fn cannot_write(path: &Path, error: &io::Error) -> StoreError {
    StoreError(format!("cannot write {}: {error}", path.display()))
}
