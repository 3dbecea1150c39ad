//! The backups of --backup-dir: makes them on schedule and removes old ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;

use super::values::duration;
use crate::clock;
use crate::process;
use crate::store::{Database, Store};
use crate::web::App;

const NAME_PREFIX: &str = "hallpass-";
const NAME_SUFFIX: &str = "Z.db";
/// The longest pause before looking at the wall clock again, which jumps while a machine sleeps.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// The pause after a failure, unless the next backup is due sooner.
const RETRY_SECONDS: i64 = 10 * 60;

/// Flags of `serve` about backups.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keeping")]
pub struct BackupSchedule {
    /// Back up the database into this folder, which must exist
    #[arg(long, env = "HALLPASS_BACKUP_DIR", value_name = "FOLDER")]
    pub backup_dir: Option<PathBuf>,

    /// How often to back up
    #[arg(long, visible_alias = "every", env = "HALLPASS_BACKUP_EVERY", value_name = "DURATION", default_value = "24h",
        value_parser = duration, requires = "backup_dir")]
    pub backup_every: Duration,

    /// How many backups to keep; older ones are removed once a new one is checked and on disk
    #[arg(long, visible_alias = "keep", env = "HALLPASS_BACKUP_KEEP", value_name = "N", default_value = "7",
        value_parser = clap::value_parser!(u16).range(1..), requires = "backup_dir")]
    pub backup_keep: u16,
}

/// A folder of backups.
#[derive(Clone)]
struct Rotation {
    folder: PathBuf,
    /// Seconds between two backups.
    every: i64,
    keep: usize,
}

/// The thread that makes backups.
pub struct Backups {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Backups {
    /// Requires that the database is a file and that the folder exists. It is never created: it may
    /// be a volume that is not mounted.
    ///
    /// # Errors
    /// One sentence, with what to do after a semicolon.
    pub fn require_possible(options: &BackupSchedule, database: &Database) -> Result<(), String> {
        match options.backup_dir.as_deref() {
            Some(_) if database.file().is_none() => {
                Err("--backup-dir backs up SQLite files only; use PostgreSQL's own tools, such as pg_dump".into())
            }
            Some(folder) if !folder.is_dir() => Err(format!(
                "there is no folder at --backup-dir {}; create it first",
                folder.display()
            )),
            _ => Ok(()),
        }
    }

    /// Starts the thread if --backup-dir is given. Problems with the folder are only logged and
    /// counted, because they must not keep people from signing in.
    pub fn start(options: &BackupSchedule, database: &Database, app: &Arc<App>) -> Option<Backups> {
        let database = database.file()?.to_owned();
        let rotation = Rotation {
            folder: options.backup_dir.clone()?,
            every: options.backup_every.as_secs().max(1).cast_signed(),
            keep: options.backup_keep.into(),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, app) = (stop.clone(), Arc::downgrade(app));
        let thread = thread::spawn(move || rotation.keep_up(&database, &app, &stopped));
        Some(Backups { stop, thread })
    }

    /// Stops soon and leaves no incomplete backup behind.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // A panic was already shown.
        let _ = self.thread.join();
    }
}

impl Rotation {
    fn keep_up(&self, database: &Path, app: &Weak<App>, stop: &Arc<AtomicBool>) {
        process::lower_priority();
        let pause = LOOK_INTERVAL_MAX.min(Duration::from_secs(self.every.unsigned_abs()));
        let (mut not_before, mut made, mut failed) = (0, 0, 0);
        while let Some(app) = app.upgrade()
            && !stop.load(Ordering::Relaxed)
        {
            let now = clock::now();
            app.metrics().count_backups(made, failed, self.newest(now));
            drop(app);
            (made, failed) = (0, 0);
            if now >= not_before && self.is_due(now) {
                match self.back_up(database, now, stop) {
                    _ if stop.load(Ordering::Relaxed) => {}
                    Ok(()) => made = 1,
                    Err(error) => {
                        log::error!("no backup: {error}");
                        (not_before, failed) = (now + RETRY_SECONDS.min(self.every), 1);
                    }
                }
                continue;
            }
            thread::park_timeout(pause);
        }
    }

    /// Makes a backup. Once it is checked and on disk, removes the oldest ones beyond `keep`.
    fn back_up(&self, database: &Path, now: i64, stop: &Arc<AtomicBool>) -> Result<(), String> {
        let target = self.folder.join(name_of(now));
        Store::back_up(database, &target, |_, _| {}, stop).map_err(|error| error.to_string())?;
        log::info!("backed up to {}", target.display());
        let cannot = |error: io::Error| {
            format!("cannot remove old backups from {}: {error}", self.folder.display())
        };
        let mut older = self.times().map_err(cannot)?;
        older.retain(|at| *at < now);
        older.sort_unstable_by(|one, other| other.cmp(one));
        let too_many = older.into_iter().skip(self.keep - 1);
        too_many
            .map(|at| self.folder.join(name_of(at)))
            .try_for_each(fs::remove_file)
            .map_err(cannot)
    }

    fn is_due(&self, now: i64) -> bool {
        self.newest(now).is_none_or(|at| now >= at + self.every)
    }

    /// The time of the newest backup, without any from the future.
    fn newest(&self, now: i64) -> Option<i64> {
        self.times().ok()?.into_iter().filter(|at| *at <= now).max()
    }

    /// The times of the backups in the folder. Other files are ignored.
    fn times(&self) -> io::Result<Vec<i64>> {
        let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name()));
        let times = names.map(|name: io::Result<_>| Ok(name?.to_str().and_then(time_of)));
        times.filter_map(io::Result::transpose).collect()
    }
}

/// `hallpass-2026-11-24T13-30-00Z.db`, in UTC, without colons, which some programs read as
/// host:path.
fn name_of(at: i64) -> String {
    let time =
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at.unsigned_abs()))
            .to_string();
    format!("{NAME_PREFIX}{}{NAME_SUFFIX}", time.trim_end_matches('Z').replace(':', "-"))
}

/// The time in a name made by [`name_of`]; `None` for other names.
fn time_of(name: &str) -> Option<i64> {
    let (day, time) = name.strip_prefix(NAME_PREFIX)?.strip_suffix(NAME_SUFFIX)?.split_once('T')?;
    let time = humantime::parse_rfc3339(&format!("{day}T{}Z", time.replace('-', ":"))).ok()?;
    let at = i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    (name_of(at) == name).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;
    const NOW: i64 = 1_795_527_000;

    fn rotation(folder: &Path, keep: usize) -> Rotation {
        drop(Store::open(&folder.join("database")).expect("a database"));
        Rotation { folder: folder.to_owned(), every: DAY, keep }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a text"))
            .collect();
        names.retain(|name| !name.starts_with("database"));
        names.sort();
        names
    }

    #[test]
    fn only_names_of_backups_have_a_time() {
        assert_eq!(name_of(NOW), "hallpass-2026-11-24T13-30-00Z.db");
        assert_eq!(time_of("hallpass-2026-11-24T13-30-00Z.db"), Some(NOW));
        for name in [
            "hallpass-2026-11-24T13-30-00.5Z.db",
            "hallpass-2026-11-24T13-30-00Z.db.gz",
            "hallpass-2026-11-24T13:30:00Z.db",
            "hallpass-2026-13-24T13-30-00Z.db",
            "hallpass-before-the-move.db",
            "hallpass.db",
        ] {
            assert_eq!(time_of(name), None, "{name}");
        }
    }

    #[test]
    fn old_backups_are_removed_once_a_new_one_is_good() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let rotation = rotation(path, 2);
        let back_up =
            |database: &str, now| rotation.back_up(&path.join(database), now, &Arc::default());
        fs::write(path.join("hallpass-mine.db"), "").expect("a file");
        for day in 0..3 {
            back_up("database", NOW + day * DAY).expect("a backup");
        }
        let (second, third) = (name_of(NOW + DAY), name_of(NOW + 2 * DAY));
        let kept = [second.as_str(), &third, "hallpass-mine.db"];
        assert_eq!(names(path), kept);
        back_up("none", NOW + 3 * DAY).expect_err("there is no such database");
        fs::write(path.join("damaged"), "no database, but a text").expect("a file");
        back_up("damaged", NOW + 3 * DAY).expect_err("no database");
        fs::remove_file(path.join("damaged")).expect("it is there");
        assert_eq!(names(path), kept, "good backups stay until there is a new one");
        back_up("database", NOW - DAY).expect("a backup");
        assert!(
            names(path).contains(&name_of(NOW - DAY)),
            "the new one stays, though the clock went back"
        );
    }

    #[test]
    fn a_backup_is_due_when_the_newest_is_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let rotation = rotation(folder.path(), 7);
        assert!(rotation.is_due(NOW));
        rotation.back_up(&folder.path().join("database"), NOW, &Arc::default()).expect("a backup");
        assert!(!rotation.is_due(NOW + DAY - 1) && rotation.is_due(NOW + DAY));
        assert!(rotation.is_due(NOW - 1), "a backup from the future does not count");
    }

    #[test]
    fn a_stopped_backup_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let rotation = rotation(folder.path(), 7);
        let stop = Arc::new(AtomicBool::new(true));
        rotation.back_up(&folder.path().join("database"), NOW, &stop).expect_err("it was stopped");
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
