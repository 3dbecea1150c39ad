//! Whether the files that SQLite has open are still the ones at their paths. Otherwise sign-ins
//! would go to a deleted file, and changes by other programs would go unnoticed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::StoreError;
use crate::process;
use crate::token::fingerprint;

/// The database and the files next to it when they were opened.
#[derive(Default)]
pub struct OpenFiles(Vec<(PathBuf, FileId)>);

/// Device and inode.
type FileId = (u64, u64);

impl OpenFiles {
    /// The files of the database at `path`. `real_path` is the same path without symbolic links.
    pub fn of(path: &Path, real_path: &Path) -> OpenFiles {
        let beside = |suffix| {
            let mut beside = OsString::from(real_path);
            beside.push(suffix);
            PathBuf::from(beside)
        };
        let files = [path.to_owned(), beside("-wal"), beside("-shm")];
        OpenFiles(files.into_iter().filter_map(|file| id(&file).map(|id| (file, id))).collect())
    }

    /// Fails if a file was removed or replaced.
    pub fn require_unchanged(&self) -> Result<(), StoreError> {
        for (path, opened) in &self.0 {
            let changed = match id(path) {
                Some(id) if id == *opened => continue,
                Some(_) => "replaced",
                None => "removed",
            };
            return Err(StoreError(format!(
                "database: {} was {changed} while the server had it open; put it back, or restart the server",
                path.display()
            )));
        }
        Ok(())
    }
}

fn id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Identifies the database at that path until the machine restarts, the same in every process. A
/// server with this ID runs on this machine and uses this very file. `None` if there is no file.
pub fn instance(path: &Path) -> Option<String> {
    let file = fs::metadata(path).ok()?;
    Some(fingerprint(format!("{} {} {}", process::boot_id(), file.dev(), file.ino())))
}
