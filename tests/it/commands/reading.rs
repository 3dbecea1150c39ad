//! Commands that only read, where nothing can be written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use super::{ada, error};
use crate::program::{Program, eventually, hallpass};

const READING: [&[&str]; 6] = [
    &["users", "list"],
    &["users", "show", "ada@gmail.com"],
    &["users", "export"],
    &["sessions", "list"],
    &["events"],
    &["users", "list", "--search", "ada"],
];

/// The output of a command, which must succeed. `before` is shell code that runs before it.
#[track_caller]
fn printed(before: &str, arguments: &[&str], database: &Path) -> String {
    let program = hallpass(arguments);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("{before} exec \"$@\"")]).arg("sh").arg(program.get_program());
    command.args(program.get_args()).env("HALLPASS_DATABASE", database);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{before} {arguments:?}: {}", error(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn all_read(before: &str, folder: &TempDir) {
    for arguments in READING {
        let text = printed(before, arguments, &folder.path().join("hallpass.db"));
        assert!(text.contains("ada@gmail.com"), "{before} {arguments:?}: {text}");
    }
}

/// Databases after a crash and after a clean stop: the first has a log and its index, the second
/// has neither.
fn left_behind() -> [TempDir; 2] {
    let crashed = Program::serve(&[]);
    crashed.session_of(ada());
    let crashed = crashed.kill();
    assert!(fs::metadata(crashed.path().join("hallpass.db-wal")).unwrap().len() > 0);
    let stopped = tempfile::tempdir().unwrap();
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.signal("-TERM");
    eventually(|| !fs::exists(program.folder.path().join("hallpass.db-shm")).unwrap());
    fs::copy(program.database(), stopped.path().join("hallpass.db")).unwrap();
    [crashed, stopped]
}

#[test]
fn beside_a_held_write_lock() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let other = rusqlite::Connection::open(program.database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    all_read("", &program.folder);
    drop(other);
    program.session_of(ada());
}

#[test]
fn on_a_full_disk() {
    for folder in left_behind() {
        // No file may grow.
        all_read("trap '' XFSZ; ulimit -f 0;", &folder);
    }
}

#[test]
fn on_a_read_only_mount() {
    for folder in left_behind() {
        // Files beside the database cannot be made.
        for suffix in ["-shm", "-wal"] {
            let path = folder.path().join(format!("hallpass.db{suffix}"));
            if suffix == "-shm" {
                let _ = fs::remove_file(&path);
            }
            if !fs::exists(&path).unwrap() {
                symlink("/no/such/folder/file", &path).unwrap();
            }
        }
        all_read("", &folder);
    }
}
