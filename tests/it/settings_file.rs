//! The settings file: where it is found, and what overrides it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::program::{Program, hallpass};

struct File {
    folder: TempDir,
}

impl File {
    fn with(text: impl AsRef<[u8]>) -> File {
        let file = File { folder: tempfile::tempdir().unwrap() };
        fs::write(file.path(), text).unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("hallpass.env")
    }

    /// This command with the file.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = hallpass(arguments);
        command.arg("--env-file").arg(self.path()).current_dir(&self.folder);
        command
    }
}

#[track_caller]
fn says(output: &Output, expected: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(expected), "expected {expected:?} in {error}");
}

/// The database that this command looks for.
#[track_caller]
fn looks_for(command: &mut Command, expected: &str) {
    says(&command.output().unwrap(), &format!("there is no database at {expected}"));
}

#[test]
fn flags_override_the_environment_which_overrides_the_file() {
    let file = File::with("# the server's\nHALLPASS_DATABASE=\"of file.db\"\n");
    let list = || file.command(&["users", "list"]);
    looks_for(&mut list(), "of file.db");
    looks_for(list().env("HALLPASS_DATABASE", ""), "of file.db");
    looks_for(list().env("HALLPASS_DATABASE", "variable.db"), "variable.db");
    looks_for(list().env("HALLPASS_DATABASE", "variable.db").arg("--database=flag.db"), "flag.db");
    looks_for(list().args(["--database", "flag.db"]), "flag.db");
    looks_for(&mut file.command(&["users", "--database", "flag.db", "list"]), "flag.db");
    let empty = File::with("HALLPASS_DATABASE=a.db\nHALLPASS_DATABASE=''\n");
    looks_for(&mut empty.command(&["users", "list"]), "hallpass.db");
}

#[test]
fn the_file_is_named_by_flag_or_variable() {
    let (file, other) =
        (File::with("HALLPASS_DATABASE=one.db"), File::with("HALLPASS_DATABASE=other.db"));
    let list = || hallpass(&["users", "list"]);
    looks_for(list().env("HALLPASS_ENV_FILE", file.path()), "one.db");
    looks_for(list().env("HALLPASS_ENV_FILE", ""), "hallpass.db");
    looks_for(file.command(&["sessions", "list"]).env("HALLPASS_ENV_FILE", other.path()), "one.db");
    let path = format!("--env-file={}", other.path().display());
    looks_for(&mut hallpass(&["events", &path]), "other.db");
    looks_for(&mut hallpass(&[&path, "users", "list"]), "other.db");
    looks_for(hallpass(&["--env-file"]).arg(other.path()).args(["users", "list"]), "other.db");
}

#[test]
fn a_named_file_must_be_readable_and_well_formed() {
    let fails = |command: &mut Command, expected: &str| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        says(&output, expected);
    };
    let list = ["users", "list"];
    fails(
        &mut hallpass(&["users", "list", "--env-file", "/no/such.env"]),
        "cannot read the settings file /no/such.env: No such file",
    );
    fails(
        hallpass(&list).env("HALLPASS_ENV_FILE", "/"),
        "cannot read the settings file /: Is a directory",
    );
    let fifo = File::with("");
    fs::remove_file(fifo.path()).unwrap();
    assert!(Command::new("mkfifo").arg(fifo.path()).status().unwrap().success());
    fails(&mut fifo.command(&list), "hallpass.env: not a regular file");
    fails(&mut File::with("A=1\nB").command(&list), "hallpass.env, line 2: expected NAME=VALUE");
    fails(&mut File::with(b"A='1\n").command(&list), "line 1: the quotation mark ' is not closed");
    fails(
        &mut File::with("HALLPASS_ALLOW_ANYONE=maybe").command(&["serve"]),
        "hallpass.env: expected true or false, not \"maybe\"",
    );
    let wrong = File::with("HALLPASS_SESSION_IDLE=soon");
    fails(&mut wrong.command(&["serve"]), "the value is from HALLPASS_SESSION_IDLE in /");
    // Help is printed nevertheless.
    let help = File::with("nonsense").command(&["serve", "--help"]).output().unwrap();
    assert!(help.status.success());
}

#[test]
fn a_setting_of_the_file_may_need_one_of_the_environment() {
    let file =
        File::with("HALLPASS_CLIENT_ID=1\nHALLPASS_ALLOW_ANYONE=on\nHALLPASS_TLS_CERT=/no/cert\n");
    let serve = || file.command(&["serve", "--listen", "127.0.0.1:0"]);
    says(&serve().output().unwrap(), "--tls-key <FILE>");
    says(&serve().env("HALLPASS_TLS_KEY", "/no/key").output().unwrap(), "/no/cert");
    says(&serve().args(["--tls-key", "/no/key"]).output().unwrap(), "/no/cert");
}

#[test]
fn unknown_names_in_the_file_are_reported() {
    let file = File::with("HALLPASS_CLIENTID=1\nOTHER=2\nHALLPASS_ZZZ=\n");
    let output = file.command(&["users", "list"]).output().unwrap();
    says(&output, "warning: HALLPASS_CLIENTID is not a setting; did you mean HALLPASS_CLIENT_ID?");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(error.matches("warning").count(), 1, "{error}");
}

#[test]
fn the_server_and_the_commands_share_one_file() {
    let running = Program::serve(&[]);
    let file = File::with(format!(
        "HALLPASS_CLIENT_ID=1-a.apps.googleusercontent.com, 2-b.apps.googleusercontent.com\nHALLPASS_ALLOW_ANYONE=yes\n\
         HALLPASS_DATABASE={}\nHALLPASS_LISTEN=127.0.0.1:0\nRUST_LOG=debug,\n",
        running.database().display()
    ));
    assert!(file.command(&["users", "list"]).output().unwrap().status.success());
    // Other variables count too.
    let doctor =
        file.command(&["doctor", "--tokeninfo-url", &running.google.url()]).output().unwrap();
    let printed = String::from_utf8(doctor.stdout).unwrap();
    assert!(printed.contains("RUST_LOG takes error"), "{printed}");
    assert!(printed.contains("anyone with a Google account"), "{printed}");
    assert!(printed.contains("1-a.apps.googleusercontent.com, 2-b"), "{printed}");
}

#[test]
fn the_file_for_systemd_is_understood() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/systemd/hallpass.env");
    let output = hallpass(&["users", "list", "--env-file", file]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("hallpass: there is no database at /var/lib/hallpass/hallpass.db;"));
}

#[test]
fn a_setting_may_belong_to_a_nested_command() {
    let file = File::with("HALLPASS_TOKEN_LIFETIME=soon\nHALLPASS_DATABASE=of_file.db\n");
    let create = ["tokens", "create", "ada@example.com", "--name", "create"];
    says(&file.command(&create).output().unwrap(), "the value is from HALLPASS_TOKEN_LIFETIME in");
    looks_for(file.command(&create).args(["--token-lifetime", "1d"]), "of_file.db");
    looks_for(file.command(&["tokens", "list"]).env("HALLPASS_TOKEN_LIFETIME", "1d"), "of_file.db");
    looks_for(&mut file.command(&["tokens", "--database", "list", "list"]), "list");
}
