//! `hallpass backup` and `hallpass restore`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::values::{DatabaseOption, DatabaseParser};
use crate::cli::output::progress::Progress;
use crate::cli::output::table;
use crate::process;
use crate::store::{Database, Store};

/// Flags of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// The file to write. An existing file is replaced once the backup is checked and on disk
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Flags of `restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreOptions {
    /// The backup to restore
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The database to write
    // The help would show the variable's value, and with it a password.
    #[arg(long, env = "HALLPASS_DATABASE", value_name = "FILE", default_value = "hallpass.db",
        value_parser = DatabaseParser, hide_env_values = true)]
    pub database: Database,
    /// Replace an existing database
    #[arg(long)]
    pub force: bool,
}

/// Runs `hallpass backup`.
///
/// # Errors
/// One sentence that says why it failed.
pub fn backup(options: &BackupOptions) -> Result<(), String> {
    if options.file == Path::new("-") {
        return Err("a backup is written to a file, not to standard output; name one".into());
    }
    process::lower_priority();
    let (database, never) = (file(&options.database.database)?, Arc::default());
    Store::back_up(database, &options.file, pages(&mut Progress::new("copied")), &never)
        .map_err(|error| error.to_string())?;
    table::lines([format!("backed up to {}", options.file.display())].into_iter())
}

/// Runs `hallpass restore`.
///
/// # Errors
/// One sentence that says why it failed.
pub fn restore(options: &RestoreOptions) -> Result<(), String> {
    Store::restore(
        &options.file,
        file(&options.database)?,
        options.force,
        pages(&mut Progress::new("copied")),
    )
    .map_err(|error| error.to_string())?;
    table::lines([format!("restored to {}", options.database)].into_iter())
}

/// The file of the database.
///
/// # Errors
/// One sentence, if it is on a PostgreSQL server.
pub fn file(database: &Database) -> Result<&Path, String> {
    database.file().ok_or_else(|| {
        "Hallpass backs up SQLite files only; use PostgreSQL's own tools, such as pg_dump".into()
    })
}

fn pages(progress: &mut Progress) -> impl FnMut(i32, i32) {
    |all, done| progress.show(u64::from(done.unsigned_abs()), u64::from(all.unsigned_abs()))
}
