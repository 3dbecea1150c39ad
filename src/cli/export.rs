//! `hallpass users export`: writes all users as CSV or JSON, with the field names of the HTTP API.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::Value;

use crate::cli::output::progress::Progress;
use crate::cli::output::{json, table};
use crate::clock;
use crate::store::{Store, UserRecord};

/// The columns of CSV, and the names in JSON.
pub const COLUMNS: [&str; 16] = [
    "sub",
    "username",
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
    "google_disabled_at",
];

/// Formats of exported users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A header, then one line per user
    Csv,
    /// An array of objects
    Json,
}

/// Writes all users to that file, or to standard output.
///
/// # Errors
/// One sentence that says why it failed.
pub fn users(store: &Store, format: ExportFormat, path: Option<&Path>) -> Result<(), String> {
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        if format == ExportFormat::Csv && table::is_terminal() {
            return Err("CSV may contain control characters, so it is not written to a terminal; name a file, or pipe it".into());
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

/// The target of an export.
enum Target {
    /// A device or a FIFO, written to directly.
    Stream(File),
    /// A regular file, which may not exist yet.
    File(PathBuf),
}

/// Follows links and leaves them in place.
fn target(path: &Path) -> io::Result<Target> {
    match fs::metadata(path) {
        Ok(there) if there.is_file() => Ok(Target::File(fs::canonicalize(path)?)),
        Ok(_) => Ok(Target::Stream(File::options().write(true).open(path)?)),
        // A link to a file that does not exist yet.
        Err(_) if fs::symlink_metadata(path).is_ok() => Ok(Target::Stream(
            File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?,
        )),
        Err(_) => Ok(Target::File(path.to_owned())),
    }
}

/// Replaces the file once the new one is complete and on disk.
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

/// The I/O error itself, so a closed pipe is still recognised.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Visits every user until the first error, which it returns.
fn each(store: &Store, mut visit: impl FnMut(&UserRecord) -> io::Result<()>) -> io::Result<()> {
    let mut outcome = Ok(());
    let read = store.each_user(|account| {
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

/// Undoes the quoting of [`cells`].
pub fn text_of_cell(cell: &str) -> String {
    let text = if starts_formula(cell) { cell.strip_prefix('\'') } else { None };
    text.unwrap_or(cell).to_owned()
}

/// Whether a spreadsheet would run this cell as a formula, with or without quotes before it.
fn starts_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}
