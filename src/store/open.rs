//! Opens a database and migrates it, or says clearly why it cannot.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::db::{self, Db};
use super::integrity_check::{Integrity, quick_check};
use super::read_only::ReadOnlyConnection;
use super::{StoreError, connection, copy, username};

/// `Hall` in ASCII. It marks a SQLite file as ours.
const APPLICATION_ID: i32 = 0x4861_6c6c;
/// The changes that schema.sql cannot make to an older database. The first entry leads from version
/// 1 to version 2.
const MIGRATIONS: [Migration; 2] = [
    Migration {
        before: "ALTER TABLE events ADD COLUMN host TEXT;
            DROP INDEX IF EXISTS sessions_by_sub;
            DROP TRIGGER IF EXISTS session_changed;",
        after: |_| Ok(()),
    },
    // A CHECK cannot be changed, so the table is created again. The legacy renaming leaves the
    // operator's views and triggers alone.
    Migration {
        before: "ALTER TABLE events ADD COLUMN detail TEXT;
            ALTER TABLE users ADD COLUMN google_disabled_at INTEGER;
            ALTER TABLE users ADD COLUMN username TEXT;
            DROP TRIGGER IF EXISTS user_replaced;
            DROP TRIGGER IF EXISTS user_deleted_sessions;
            DROP TRIGGER IF EXISTS user_created_sessions;
            DROP TRIGGER IF EXISTS user_renamed_sessions;
            DROP TRIGGER IF EXISTS session_updated;
            DROP TRIGGER IF EXISTS session_set_back;
            DROP TRIGGER IF EXISTS session_deleted;
            DROP TRIGGER IF EXISTS session_replaced;
            DROP INDEX IF EXISTS sessions_by_user;
            DROP INDEX IF EXISTS sessions_by_expiry;
            DROP INDEX IF EXISTS sessions_by_last_seen;
            PRAGMA legacy_alter_table = ON;
            ALTER TABLE sessions RENAME TO sessions_2;
            PRAGMA legacy_alter_table = OFF;",
        after: |db| {
            let of_operator = objects_on(db, "sessions_2")?;
            // Without foreign keys, other programs may have deleted users and left their sessions.
            db.execute_batch(
                "INSERT INTO sessions (token_sha256, id, sub, kind, client_id, authorized_party, created_at,
                last_seen_at, expires_at, ended_at, client_address, user_agent)
            SELECT token_sha256, id, sub, kind, client_id, authorized_party, created_at,
                last_seen_at, expires_at, ended_at, client_address, user_agent FROM sessions_2
                WHERE sub IN (SELECT sub FROM users);
            DROP TABLE sessions_2;",
            )?;
            for sql in of_operator {
                db.execute_batch(&sql.replace("\"sessions_2\"", "sessions"))?;
            }
            username::give_all(&Db::Sqlite(db))?;
            Ok(())
        },
    },
];
const SCHEMA_VERSION: i32 = 1 + MIGRATIONS.len() as i32;

/// The steps before and after schema.sql creates the missing tables.
struct Migration {
    before: &'static str,
    after: fn(&Connection) -> Result<(), db::Error>,
}

/// The statements that create the indexes and triggers on a table.
fn objects_on(db: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT sql FROM sqlite_schema
        WHERE tbl_name = ?1 AND type IN ('index', 'trigger') AND sql IS NOT NULL";
    db.prepare(sql)?.query_map([table], |row| row.get(0))?.collect()
}

/// How long a process waits for another one's migration. That of a million users takes minutes.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Up to this size the whole database is checked at start, which takes about 20 milliseconds.
const CHECKED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Opens a database for writing. Creates the file and its tables if they do not exist.
pub fn for_writing(path: &Path) -> Result<Connection, StoreError> {
    let refused = |why: &str| StoreError(format!("the database {} {why}", path.display()));
    // SQLite takes these names for a separate database in memory for each connection, or for a URI.
    if path == Path::new(":memory:") || path.as_os_str().as_encoded_bytes().starts_with(b"file:") {
        return Err(refused("is not a file; give --database a path, such as ./hallpass.db"));
    }
    let created =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    created.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refused("cannot be created: its folder does not exist"),
        kind => refused(&format!("cannot be opened for writing: {kind}")),
    })?;
    prepare(path).map_err(|failure| failure.of(path))
}

/// Whether there is a file at that path that is not empty.
pub fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

/// Fails unless there is a database at that path.
pub fn require_exists(path: &Path) -> Result<(), StoreError> {
    if exists(path) {
        return Ok(());
    }
    Err(StoreError(format!(
        "there is no database at {}; say where it is with --database, or create it by starting `hallpass serve` once",
        path.display()
    )))
}

/// Opens one of our databases for reading only, of this version or an older one.
pub fn for_reading(path: &Path) -> Result<ReadOnlyConnection, StoreError> {
    checked(path)?.map_err(|failure| failure.of(path))
}

/// The same for a backup to restore.
pub fn backup_for_reading(path: &Path) -> Result<ReadOnlyConnection, StoreError> {
    checked(path)?.map_err(|failure| match failure {
        Failure::Foreign => StoreError(format!("{} is not a backup of Hallpass", path.display())),
        other => other.of(path),
    })
}

fn checked(path: &Path) -> Result<Result<ReadOnlyConnection, Failure>, StoreError> {
    let reading = match ReadOnlyConnection::open(path) {
        Ok(reading) => reading,
        Err(error) => return Ok(Err(error.into())),
    };
    Ok(reading.read(|db| Ok(version(db)))?.map(|_version| reading))
}

/// Refuses a database of an older version, which may lack a table.
pub fn require_current(reading: &ReadOnlyConnection, path: &Path) -> Result<(), StoreError> {
    match reading.read(|db| Ok(version(db)))? {
        Ok(SCHEMA_VERSION) => Ok(()),
        Ok(_) => Err(Failure::Older.of(path)),
        Err(failure) => Err(failure.of(path)),
    }
}

enum Failure {
    Foreign,
    Newer,
    Older,
    ReadOnly,
    Damaged,
    NotCopied(StoreError),
    Engine(rusqlite::Error),
}

fn prepare(path: &Path) -> Result<Connection, Failure> {
    let mut connection = connection::open(path)?;
    if connection.is_readonly("main")? {
        return Err(Failure::ReadOnly);
    }
    if objects(&connection)? > 0 {
        version(&connection)?;
        if fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES_MAX)
            && quick_check(&connection)? == Integrity::Damaged
        {
            return Err(Failure::Damaged);
        }
    }
    connection::set_up_writing(&connection)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// One transaction, so two processes may start at once. It also proves that the file can be
/// written.
fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    let path = connection.path().map(PathBuf::from).unwrap_or_default();
    if objects(connection)? > 0 && version(connection)? < SCHEMA_VERSION {
        log::info!("the database was created by an older version of Hallpass; migrating it");
        connection.busy_timeout(MIGRATION_TIMEOUT)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = if objects(&transaction)? > 0 { version(&transaction)? } else { SCHEMA_VERSION };
    // The transaction has begun, so no other process writes.
    let kept = (version < SCHEMA_VERSION)
        .then(|| copy::before_migration(&path, SCHEMA_VERSION))
        .transpose()
        .map_err(Failure::NotCopied)?;
    let migrations = &MIGRATIONS[version as usize - 1..];
    for migration in migrations {
        transaction.execute_batch(migration.before)?;
    }
    transaction.execute_batch(include_str!("../../schema.sql"))?;
    for migration in migrations {
        (migration.after)(&transaction)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    if let Some(kept) = kept {
        log::info!("migrated the database; {} is the one before", kept.display());
    }
    connection::set_busy_timeout(connection)?;
    Ok(())
}

fn objects(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
}

/// The schema version, from 1 to `SCHEMA_VERSION`.
fn version(connection: &Connection) -> Result<i32, Failure> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    match (pragma("application_id")?, pragma("user_version")?) {
        (APPLICATION_ID, version @ 1..=SCHEMA_VERSION) => Ok(version),
        (APPLICATION_ID, version) if version > SCHEMA_VERSION => Err(Failure::Newer),
        _ => Err(Failure::Foreign),
    }
}

impl Failure {
    /// One sentence for the operator.
    fn of(self, path: &Path) -> StoreError {
        let why = match self {
            Failure::Foreign => "is not Hallpass's; give --database another path",
            Failure::Newer => {
                "was created by a newer version of Hallpass; run that version or give another path"
            }
            Failure::Older => {
                "was created by an older version of Hallpass; start the server once to migrate it"
            }
            Failure::ReadOnly => "is read-only; let this user write to it and to its folder",
            Failure::Damaged => "is damaged; restore a backup of it, or give another path",
            Failure::NotCopied(error) => {
                &format!("needs a migration, and the copy that is made first failed: {error}")
            }
            Failure::Engine(error) => &format!("cannot be opened: {}", StoreError::from(error)),
        };
        StoreError(format!("the database {} {why}", path.display()))
    }
}

impl From<db::Error> for Failure {
    fn from(error: db::Error) -> Failure {
        error.of_sqlite().into()
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Failure::Foreign,
            Some(ErrorCode::DatabaseCorrupt) => Failure::Damaged,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Failure::ReadOnly,
            _ => Failure::Engine(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answered_commit_is_on_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = for_writing(&folder.path().join("db")).expect("a database");
        let pragma = |name| {
            connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("a value")
        };
        assert_eq!((pragma("synchronous"), pragma("foreign_keys")), (2, 1), "FULL, and on");
    }
}
