//! `hallpass users export`: every user, as CSV or JSON, by the names of the HTTP contract.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::cli::output::progress::Progress;
use crate::cli::output::{json, table};
use crate::clock;
use crate::config::ExportFormat;
use crate::store::{Store, UserRecord};

/// The columns of CSV, and the names in JSON.
pub const COLUMNS: [&str; 14] = [
    "sub",
    "email",
    "email_verified",
    "email_authoritative",
    "pinned_email",
    "name",
    "given_name",
    "family_name",
    "picture",
    "hd",
    "locale",
    "created_at",
    "last_signin_at",
    "blocked_at",
];

/// Writes all users to that file, or to standard output.
///
/// # Errors
/// One sentence that says why not.
pub fn users(store: &Store, format: ExportFormat, path: Option<&Path>) -> Result<(), String> {
    let Some(path) = path else {
        if format == ExportFormat::Csv && table::is_terminal() {
            return Err("CSV may hold what steers a terminal; name a file, or pipe it".into());
        }
        return table::write(|out| write(store, format, out));
    };
    let cannot = |error: io::Error| format!("cannot write {}: {error}", path.display());
    match target(path).map_err(cannot)? {
        Target::Stream(file) => {
            let mut out = BufWriter::new(file);
            write(store, format, &mut out).and_then(|()| out.flush()).map_err(cannot)
        }
        Target::File(path) => replace(&path, |out| write(store, format, out)).map_err(cannot),
    }
}

/// What is at the path that an export is written to.
enum Target {
    /// A device or a FIFO, which is written to as it is.
    Stream(File),
    /// A regular file, or none yet.
    File(PathBuf),
}

/// Follows links, which stay as they are.
fn target(path: &Path) -> io::Result<Target> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() => Ok(Target::File(fs::canonicalize(path)?)),
        Ok(_) => Ok(Target::Stream(File::options().write(true).open(path)?)),
        // A link that leads to nothing yet.
        Err(_) if fs::symlink_metadata(path).is_ok() => Ok(Target::Stream(
            File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?,
        )),
        Err(_) => Ok(Target::File(path.to_owned())),
    }
}

/// Replaces the file once the new one is whole and on disk.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new().prefix(".hallpass-").suffix(".part").tempfile_in(folder)?;
    let mut out = BufWriter::new(file.as_file());
    write(&mut out)?;
    out.flush()?;
    drop(out);
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn write(store: &Store, format: ExportFormat, out: &mut dyn Write) -> io::Result<()> {
    let users = store.counts(clock::now()).map_err(io::Error::other)?.users;
    let mut progress = Progress::new("exported");
    let mut done = 0;
    match format {
        ExportFormat::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(COLUMNS).map_err(io_error)?;
            each(store, |account| {
                done += 1;
                progress.show(done, users.max(done));
                csv.write_record(cells(account)).map_err(io_error)
            })?;
            csv.flush()
        }
        ExportFormat::Json => {
            write!(out, "[")?;
            each(store, |account| {
                done += 1;
                progress.show(done, users.max(done));
                let comma = if done == 1 { "" } else { "," };
                write!(out, "{comma}\n{}", table::document(&json::account(account)))
            })?;
            writeln!(out, "\n]")
        }
    }
}

/// The failure itself, so that a reader who left is still known as one.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Visits every user until the first failure, and returns that.
fn each(store: &Store, mut visit: impl FnMut(&UserRecord) -> io::Result<()>) -> io::Result<()> {
    let mut outcome = Ok(());
    let read = store.each_account(|account| {
        outcome = visit(&account);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    outcome.and(read.map_err(io::Error::other))
}

fn cells(account: &UserRecord) -> Vec<String> {
    let document = json::account(account);
    let cell = |name: &&str| match &document[*name] {
        Value::Null => String::new(),
        Value::String(text) if starts_formula(text) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    COLUMNS.iter().map(cell).collect()
}

/// The text that [`cells`] wrote.
pub fn text_of_cell(cell: &str) -> String {
    let text = if starts_formula(cell) { cell.strip_prefix('\'') } else { None };
    text.unwrap_or(cell).to_owned()
}

/// Whether a spreadsheet would run the cell, or one of its quotes is there to prevent that.
fn starts_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}
