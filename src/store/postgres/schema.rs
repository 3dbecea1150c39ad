//! Creates the tables, or says clearly why it cannot.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::connection::{Connection, Durability, Server};
use super::error::Error;
use crate::store::StoreError;

/// The version that schema.sql creates. Changes only add, so servers can be updated one by one.
const VERSION: i64 = 1;
/// `Hall` in ASCII: the advisory lock that servers take to create the tables one after another.
const LOCK: i64 = 0x4861_6c6c;
/// Another server may be creating the tables, and a server may still be starting.
const PATIENCE: Duration = Duration::from_secs(30);
/// A first answer: the network may drop packets.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const SCHEMA: &str = include_str!("schema.sql");

/// Whether missing tables are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// They are, by a server.
    Create,
    /// They are not, by a command.
    Refuse,
}

/// Makes sure that the database has our tables in this version, and returns its instance. Any
/// number of servers may do this at once.
///
/// # Errors
/// One sentence for the operator.
pub fn prepare(server: &Server, missing: Missing) -> Result<String, StoreError> {
    let failed =
        |error: &Error| StoreError(format!("the database {} {}", server.name(), why(error)));
    let now = Instant::now();
    let mut connection = server.connect(now + CONNECT_PATIENCE).map_err(|error| failed(&error))?;
    connection.set_deadline(now + PATIENCE);
    let found = found(&mut connection).map_err(|error| failed(&error))?;
    let refused = |why: &str| Err(StoreError(format!("the database {} {why}", server.name())));
    match (found, missing) {
        (Some(Found { version, .. }), _) if version > VERSION => refused(
            "was created by a newer version of Hallpass; run that version or give another database",
        ),
        (Some(Found { version: VERSION, instance }), _) => Ok(instance),
        (Some(_), Missing::Refuse) => refused(
            "was created by an older version of Hallpass; start the server once to migrate it",
        ),
        (None, Missing::Refuse) => {
            refused("has no tables of Hallpass; create them by starting `hallpass serve` once")
        }
        (Some(_) | None, Missing::Create) => {
            match create(&mut connection).map_err(|error| failed(&error))? {
                Some(instance) => Ok(instance),
                None => refused(
                    "has tables of another program with the same names; give Hallpass a database or a schema of its own",
                ),
            }
        }
    }
}

struct Found {
    version: i64,
    instance: String,
}

/// The row about our tables, if there are any.
fn found(connection: &mut Connection) -> Result<Option<Found>, Error> {
    if !has_tables(connection, "relname = 'hallpass'")? {
        return Ok(None);
    }
    let rows = connection.query("SELECT version, instance FROM hallpass", &[], &[])?;
    Ok(rows.first().map(|row| Found { version: row.get(0), instance: row.get(1) }))
}

/// Whether there are tables with these names. Unlike `to_regclass`, this locks a table, and so sees
/// what others have committed while this transaction waited for the advisory lock.
fn has_tables(connection: &mut Connection, names: &str) -> Result<bool, Error> {
    let sql = format!("SELECT 1 FROM pg_class WHERE pg_table_is_visible(oid) AND {names}");
    Ok(!connection.query(&sql, &[], &[])?.is_empty())
}

/// Creates what is missing, in one transaction. `None` if other tables are in the way.
fn create(connection: &mut Connection) -> Result<Option<String>, Error> {
    connection.begin(Durability::OnDisk)?;
    // Until the transaction ends.
    connection
        .batch(&format!("SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock({LOCK})"))?;
    let before = found(connection)?;
    if before.is_none() && has_tables(connection, "relname IN ('users', 'sessions', 'events')")? {
        connection.roll_back()?;
        return Ok(None);
    }
    if before.as_ref().is_none_or(|found| found.version < VERSION) {
        connection.batch(SCHEMA)?;
        connection.batch(&format!(
            "INSERT INTO hallpass (id, version, instance) VALUES (1, {VERSION}, gen_random_uuid())
             ON CONFLICT (id) DO UPDATE SET version = {VERSION}"
        ))?;
    }
    let found = found(connection)?;
    connection.commit()?;
    Ok(found.map(|found| found.instance))
}

/// The rest of a sentence that begins with the database.
fn why(error: &Error) -> String {
    let state = error.state();
    if state == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return format!(
            "does not let this role create or use the tables: {error}; grant it CREATE on the schema once"
        );
    }
    if error.is_unreachable() {
        return format!("cannot be reached: {error}");
    }
    format!("cannot be opened: {error}")
}
