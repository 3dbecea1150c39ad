//! SQLite's check of a whole file.

use rusqlite::{Connection, ErrorCode};

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Integrity {
    /// SQLite found no damage.
    Intact,
    /// SQLite found damage.
    Damaged,
    /// The check was interrupted before it was complete.
    Interrupted,
}

/// Runs `PRAGMA quick_check`.
pub fn quick_check(db: &Connection) -> rusqlite::Result<Integrity> {
    match db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(verdict) if verdict == "ok" => Ok(Integrity::Intact),
        Ok(_) => Ok(Integrity::Damaged),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Ok(Integrity::Damaged),
            Some(ErrorCode::OperationInterrupted) => Ok(Integrity::Interrupted),
            _ => Err(error),
        },
    }
}
