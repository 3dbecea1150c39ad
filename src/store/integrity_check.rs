//! SQLite's integrity check of a whole file, with a time limit.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::{Store, StoreError, open};

/// How often SQLite is told again to stop once the time is up.
const INTERRUPT_PERIOD: Duration = Duration::from_millis(5);

/// The result of an integrity check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// SQLite found no damage.
    Intact,
    /// SQLite found damage.
    Damaged,
    /// The time limit came first.
    TimedOut,
}

impl Store {
    /// Runs SQLite's `quick_check` on the database at `path` for at most `time_max`. The database is
    /// neither created nor changed.
    ///
    /// # Errors
    /// One sentence for the operator: the database is newer than this program or not Hallpass's.
    pub fn check_integrity(path: &Path, time_max: Duration) -> Result<Integrity, StoreError> {
        open::for_reading(path)?.read(|db| quick_check(db, time_max))
    }
}

fn quick_check(db: &Connection, time_max: Duration) -> rusqlite::Result<Integrity> {
    let interrupt = db.get_interrupt_handle();
    let (done, ended) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let mut pause = time_max;
        // The sender never sends; dropping it ends the loop.
        while ended.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
            // An interrupt before the query begins has no effect, so repeat it.
            interrupt.interrupt();
            pause = INTERRUPT_PERIOD;
        }
    });
    let verdict = db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    drop(done);
    // The thread cannot panic.
    let _ = watch.join();
    match verdict {
        Ok(verdict) if verdict == "ok" => Ok(Integrity::Intact),
        Ok(_) => Ok(Integrity::Damaged),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Ok(Integrity::Damaged),
            Some(ErrorCode::OperationInterrupted) => Ok(Integrity::TimedOut),
            _ => Err(error),
        },
    }
}
