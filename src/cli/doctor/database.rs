//! Is the database usable, sound and private, and is there room for it to grow?

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::cli::output::report::Finding;
use crate::cli::scheduled_backups::Backups;
use crate::cli::serve_options::ServeOptions;
use crate::process::{free_bytes, is_writable};
use crate::store::{Database, Integrity, Store};

/// A check of 10 GB takes about this long.
const INTEGRITY_CHECK_TIME_MAX: Duration = Duration::from_secs(60);
const MEBIBYTE: u64 = 1024 * 1024;
/// A day of sign-ins, or of attempts by an attacker, may use up this much.
const FREE_BYTES_MIN: u64 = 16 * MEBIBYTE;
/// Several times what SQLite's log may take.
const FREE_BYTES_WANTED: u64 = 256 * MEBIBYTE;

const CHECK: &str = "database";

/// Can the database be opened and written, and is it sound? If there is none, can it be created?
pub fn database(database: &Database) -> Finding {
    if let Some(path) = database.file() {
        return file(path);
    }
    match database.open_reading().and_then(|store| store.ping()) {
        Ok(()) => Finding::ok(CHECK, format!("{database} answers and has Hallpass's tables")),
        Err(why) => Finding::refused(CHECK, &why.to_string()),
    }
}

fn file(path: &Path) -> Finding {
    let name = path.display();
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Finding::failure(
            CHECK,
            format!("{name} cannot be created: its folder does not exist"),
            "create the folder",
        );
    }
    if !is_writable(folder) {
        return Finding::failure(
            CHECK,
            format!("the folder of {name} cannot be written by this user"),
            "give it to the user that the server runs as, and run doctor as that user",
        );
    }
    if !Store::exists(path) {
        return Finding::ok(
            CHECK,
            format!("there is none at {name} yet; the server will create it"),
        );
    }
    match Store::check_integrity(path, INTEGRITY_CHECK_TIME_MAX) {
        Err(why) => Finding::refused(CHECK, &why.to_string()),
        Ok(_) if !is_writable(path) => Finding::failure(
            CHECK,
            format!("{name} cannot be written by this user"),
            "give it to the user that the server runs as, and run doctor as that user",
        ),
        Ok(Integrity::Intact) => {
            Finding::ok(CHECK, format!("{name} is sound ({})", mebibytes(size(path))))
        }
        Ok(Integrity::Damaged) => Finding::failure(
            CHECK,
            format!("{name} is damaged"),
            "stop the server and `hallpass restore` a backup",
        ),
        Ok(Integrity::Interrupted) => Finding::warning(
            CHECK,
            format!(
                "{name} ({}) could not be checked completely within a minute",
                mebibytes(size(path))
            ),
            "run `hallpass backup`, which checks its copy to the end",
        ),
    }
}

/// Is the file readable only by its owner?
pub fn file_mode(path: &Path) -> Option<Finding> {
    const CHECK: &str = "file-mode";
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Some(Finding::ok(CHECK, format!("{mode:04o}")));
    }
    Some(Finding::warning(
        CHECK,
        format!("{mode:04o} lets other users of this machine read names and e-mails"),
        format!("chmod 600 {}", path.display()),
    ))
}

/// Is the folder of --backup-dir usable?
pub fn backup_dir(serve: &ServeOptions) -> Option<Finding> {
    const CHECK: &str = "backup-dir";
    let folder = serve.backups.backup_dir.as_deref()?;
    let name = folder.display();
    Some(match Backups::require_possible(&serve.backups, &serve.database) {
        Err(why) => Finding::refused(CHECK, &why),
        Ok(()) if !is_writable(folder) => Finding::warning(
            CHECK,
            format!("{name} cannot be written by this user, so there would be no backups"),
            "give it to the user that the server runs as, and run doctor as that user",
        ),
        Ok(()) => Finding::ok(CHECK, name.to_string()),
    })
}

/// Does the disk have room?
pub fn disk(path: &Path) -> Finding {
    const CHECK: &str = "disk";
    let folder = folder_of(path);
    let free = match free_bytes(folder) {
        Ok(free) => free,
        Err(error) => {
            return Finding::failure(
                CHECK,
                format!("cannot ask about {}: {error}", folder.display()),
                "create the folder",
            );
        }
    };
    let (wanted, shown) = (size(path).max(FREE_BYTES_WANTED), mebibytes(free));
    if free < FREE_BYTES_MIN {
        return Finding::failure(
            CHECK,
            format!("{shown} left; on a full disk, nobody can sign in"),
            "free some space",
        );
    }
    if free < wanted {
        let detail = format!(
            "{shown} left, less than the {} that a backup and SQLite's log may take",
            mebibytes(wanted)
        );
        return Finding::warning(
            CHECK,
            detail,
            "free some space before it runs out: on a full disk, nobody can sign in",
        );
    }
    Finding::ok(CHECK, format!("{shown} left"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn mebibytes(bytes: u64) -> String {
    match bytes.div_ceil(MEBIBYTE) {
        mebibytes if mebibytes < 10 * 1024 => format!("{mebibytes} MiB"),
        mebibytes => format!("{} GiB", mebibytes / 1024),
    }
}
