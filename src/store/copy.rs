//! A verified copy of a database, made while other processes use it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use tempfile::NamedTempFile;

use super::StoreError;
use super::integrity_check::{Integrity, quick_check};
use super::read_only::ReadOnlyConnection;

/// The name of a copy until it is complete.
const PART_PREFIX: &str = ".hallpass-";
const PART_SUFFIX: &str = ".part";
/// After this time without a write, such a file belongs to a process that was killed.
const PART_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Pages copied in one step: 4 MiB.
const STEP_PAGES: i32 = 1024;
/// How long the check of a copy works between two pauses.
const CHECK_STEP: Duration = Duration::from_millis(5);

/// A complete copy, checked and on disk, under a temporary name in the target's folder. Dropping it
/// deletes it.
pub struct DatabaseCopy {
    file: NamedTempFile,
    target: PathBuf,
}

impl DatabaseCopy {
    /// Copies `database` as it is now. Calls `progress` with the number of pages and of copied
    /// pages. Gives up soon after `stop` is set.
    pub fn new(
        database: &Path,
        target: &Path,
        progress: impl FnMut(i32, i32),
        stop: &Arc<AtomicBool>,
    ) -> Result<DatabaseCopy, StoreError> {
        let folder = folder_of(target);
        let file = tempfile::Builder::new()
            .prefix(PART_PREFIX)
            .suffix(PART_SUFFIX)
            .tempfile_in(folder)
            .map_err(|error| cannot_write(target, &error))?;
        remove_stale_parts(folder, &file).map_err(|error| cannot_write(target, &error))?;
        copy(database, file.path(), progress, stop)?;
        check(database, file.path(), stop)?;
        file.as_file().sync_all().map_err(|error| cannot_write(target, &error))?;
        Ok(DatabaseCopy { file, target: target.to_owned() })
    }

    /// Gives the copy the owner and group of another file or folder.
    pub fn set_owner(&self, other: &Metadata) -> Result<(), StoreError> {
        let file = self.file.as_file();
        let own = file.metadata().map_err(|error| cannot_write(&self.target, &error))?;
        if (own.uid(), own.gid()) == (other.uid(), other.gid()) {
            return Ok(());
        }
        fchown(file, Some(other.uid()), Some(other.gid())).map_err(|error| {
            let target = self.target.display();
            StoreError(format!("cannot keep the owner of {target}: {error}; run this as root"))
        })
    }

    /// Gives the copy the mode of another file. Without it, only the owner can read the copy.
    pub fn set_mode(&self, other: &Metadata) -> Result<(), StoreError> {
        let set = self.file.as_file().set_permissions(other.permissions());
        set.map_err(|error| cannot_write(&self.target, &error))
    }

    /// Renames the copy to its target, and returns when the new name is on disk.
    pub fn persist(self) -> Result<(), StoreError> {
        let DatabaseCopy { file, target } = self;
        file.persist(&target).map_err(|error| cannot_write(&target, &error.error))?;
        File::open(folder_of(&target))
            .and_then(|folder| folder.sync_all())
            .map_err(|error| cannot_write(&target, &error))
    }
}

/// Copies a database next to itself, with its owner and mode, before it is migrated to this version
/// of the schema. Keeps a copy that exists: it may be from an earlier attempt. Returns the copy's
/// path.
pub fn before_migration(database: &Path, version: i32) -> Result<PathBuf, StoreError> {
    let mut target = database.as_os_str().to_owned();
    target.push(format!(".before-{version}"));
    let target = PathBuf::from(target);
    if fs::symlink_metadata(&target).is_err() {
        let original = fs::metadata(database).map_err(|error| cannot_write(&target, &error))?;
        let copy = DatabaseCopy::new(database, &target, |_, _| {}, &Arc::default())?;
        copy.set_owner(&original)?;
        copy.set_mode(&original)?;
        copy.persist()?;
    }
    Ok(target)
}

/// SQLite's online backup.
fn copy(
    database: &Path,
    part: &Path,
    mut progress: impl FnMut(i32, i32),
    stop: &AtomicBool,
) -> Result<(), StoreError> {
    let mut copied = Connection::open(part)?;
    // A new file that is synced when complete and otherwise deleted needs no journal.
    copied.pragma_update(None, "synchronous", "OFF")?;
    copied.pragma_update(None, "journal_mode", "OFF")?;
    let is_complete = ReadOnlyConnection::open(database)?.read(|source| {
        // In a transaction the copy need not start over whenever the server writes.
        source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema")?;
        let backup = Backup::new(source, &mut copied)?;
        while !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            let result = backup.step(STEP_PAGES)?;
            let pages = backup.progress();
            progress(pages.pagecount, pages.pagecount - pages.remaining);
            if result == StepResult::Done {
                return Ok(true);
            }
            // Servers get half of the time. The file is also busy while another process opens or
            // closes it.
            thread::sleep(started.elapsed());
        }
        Ok(false)
    })?;
    if !is_complete {
        return Err(stopped(database));
    }
    // The copied header says WAL; a copy is one file.
    Ok(copied.pragma_update(None, "journal_mode", "DELETE")?)
}

fn check(database: &Path, part: &Path, stop: &Arc<AtomicBool>) -> Result<(), StoreError> {
    let mut copied = ReadOnlyConnection::open(part)?;
    let (stop, mut started) = (Arc::clone(stop), Instant::now());
    copied.interrupt_when(move || {
        // Servers get half of the time, as during the copy.
        if started.elapsed() >= CHECK_STEP {
            thread::sleep(started.elapsed());
            started = Instant::now();
        }
        stop.load(Ordering::Relaxed)
    })?;
    match copied.read(quick_check)? {
        Integrity::Intact => Ok(()),
        Integrity::Damaged => {
            let database = database.display();
            Err(StoreError(format!("the copy of {database} is damaged, so it was deleted")))
        }
        Integrity::Interrupted => Err(stopped(database)),
    }
}

/// Deletes the parts that killed processes left in that folder. `new` was just created there, so it
/// tells the file system's time.
fn remove_stale_parts(folder: &Path, new: &NamedTempFile) -> io::Result<()> {
    let now = new.as_file().metadata()?.modified()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_part = name
            .to_str()
            .is_some_and(|name| name.starts_with(PART_PREFIX) && name.ends_with(PART_SUFFIX));
        if is_part
            && now.duration_since(entry.metadata()?.modified()?).is_ok_and(|age| age > PART_AGE_MAX)
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The folder that holds the file at `path`.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

fn stopped(database: &Path) -> StoreError {
    StoreError(format!("the copy of {} was stopped before it was complete", database.display()))
}

fn cannot_write(path: &Path, error: &io::Error) -> StoreError {
    // An error of a temporary file names that file, which nobody asked for.
    let cause = match (error.get_ref(), error.kind()) {
        (None, _) => error.to_string(),
        (Some(_), io::ErrorKind::NotFound) => "there is no such folder".to_owned(),
        (Some(_), kind) => kind.to_string(),
    };
    StoreError(format!("cannot write {}: {cause}", path.display()))
}
