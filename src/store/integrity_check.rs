//! A look at a database that leaves it as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::read_only::Reading;
use super::sign_in::Refusal;
use super::{StoreError, open};
use crate::profile::Profile;
use crate::token::TokenHash;

/// How often a check is told again to end.
const INTERRUPT_PERIOD: Duration = Duration::from_millis(5);

/// A database that is read, and neither made nor written.
pub struct Inspection(Reading, PathBuf);

/// What a check of the whole file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soundness {
    /// Nothing is wrong.
    Sound,
    /// Something is.
    Damaged,
    /// It took too long.
    Unknown,
}

impl Inspection {
    /// Opens the database at that path; `None` if there is none yet.
    ///
    /// # Errors
    /// One sentence for the operator: it is damaged, newer than this program, or not Hallpass's.
    pub fn open(path: &Path) -> Result<Option<Inspection>, StoreError> {
        match fs::metadata(path) {
            Ok(file) if file.len() > 0 => {
                open::ours(path).map(|connection| Some(Inspection(connection, path.to_owned())))
            }
            _ => Ok(None),
        }
    }

    /// Checks the whole file (SQLite's `quick_check`), for so long at most.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn soundness(&self, patience: Duration) -> Result<Soundness, StoreError> {
        self.0.read(|db| quick_check(db, patience))
    }

    /// Whether that refusal keeps out whoever comes with that ID token.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn refuses(
        &self,
        refusal: Refusal,
        profile: &Profile,
        id_token: &TokenHash,
    ) -> Result<bool, StoreError> {
        open::require_current(&self.0, &self.1)?;
        self.0.read(|db| refusal.applies(db, profile, id_token))
    }
}

fn quick_check(db: &Connection, patience: Duration) -> rusqlite::Result<Soundness> {
    let interrupt = db.get_interrupt_handle();
    let (done, ended) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let mut pause = patience;
        // The other end is dropped, and never sends.
        while ended.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            // An interrupt that comes before the query begins is lost, so there is another.
            interrupt.interrupt();
            pause = INTERRUPT_PERIOD;
        }
    });
    let verdict = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    drop(done);
    // It only waited.
    let _ = watch.join();
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(Soundness::Sound),
        Ok(_) => Ok(Soundness::Damaged),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Ok(Soundness::Damaged),
            Some(ErrorCode::OperationInterrupted) => Ok(Soundness::Unknown),
            _ => Err(error),
        },
    }
}
