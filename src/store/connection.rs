//! Connections to an existing database, and their settings.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::search;

/// How long a write waits for one by another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const READER_CACHE_KIB: i32 = 8 * 1024;
/// The size of the write-ahead log after a burst.
const WAL_BYTES_KEPT: u32 = 64 * 1024 * 1024;

/// Opens without settings, which may write. The file may not be ours.
pub fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    set_busy_timeout(&connection)?;
    Ok(connection)
}

pub fn set_busy_timeout(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)
}

/// Opens for reading only.
pub fn reading(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open(path)?;
    set_up_reading(&connection)?;
    Ok(connection)
}

pub fn set_up_reading(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    search::define(connection)?;
    keep_plans(connection)
}

pub fn set_up_writing(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Deleted users are also overwritten on disk.
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    keep_plans(connection)
}

/// Keeps SQLite from compiling a statement again for other parameters, which takes longer than
/// running it. Every query here has one good plan.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
