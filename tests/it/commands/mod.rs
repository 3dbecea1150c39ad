//! The operator's commands, on the database of a running server.

mod users;
mod allow;
mod sessions;
mod tokens;
mod events;
mod transfer;
mod backup;
mod doctor;
mod verify;
mod reading;

use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{PATIENCE, Program, hallpass, session_token, token};

impl Program {
    /// Runs a command on the server's database, in the time zone of Tokyo.
    fn command(&self, arguments: &[&str]) -> Output {
        hallpass(arguments)
            .arg("--database")
            .arg(self.database())
            .env("TZ", "Asia/Tokyo")
            .output()
            .unwrap()
    }

    /// The output of a command, which must succeed. Only for an empty list, there is a note.
    #[track_caller]
    fn printed(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", error(&output));
        if !output.stdout.is_empty() || !error(&output).starts_with("hallpass: no ") {
            assert_eq!(error(&output), "", "{arguments:?}");
        }
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON documents, one per line, in the output of a command, which must succeed.
    #[track_caller]
    fn documents(&self, arguments: &[&str]) -> Vec<Value> {
        self.printed(arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Runs a command that must fail: exit code 1, no output, and one sentence with this text as
    /// error.
    #[track_caller]
    fn fails(&self, arguments: &[&str], reason: &str) {
        let output = self.command(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let error = error(&output);
        assert!(
            error.starts_with("hallpass: ") && error.contains(reason) && error.lines().count() == 1,
            "{error}"
        );
    }

    /// Signs in with these claims over the usual ones. Returns the session's token.
    #[track_caller]
    fn session_of(&self, claims: Value) -> String {
        session_token(&self.sign_in(&token(claims)).unwrap())
    }

    #[track_caller]
    fn has_status(&self, session: &str, status: &str) {
        let answer = self.get("/auth/check", &format!("Authorization: Bearer {session}\r\n"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }

    /// Waits until a metric is at least this large.
    #[track_caller]
    fn metric_reaches(&self, name: &str, least: u64) {
        let start = Instant::now();
        loop {
            let text = self.get("/metrics", "");
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            if line.is_some_and(|value| value.parse::<u64>().unwrap() >= least) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{name} does not reach {least}: {text}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.database()).unwrap().execute_batch(sql).unwrap();
    }
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn ada() -> Value {
    json!({"sub": "1", "email": "ada@gmail.com", "name": "Ada"})
}

fn bob() -> Value {
    json!({"sub": "2", "email": "bob@gmail.com", "name": "Bob"})
}

#[test]
fn a_missing_database_is_never_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.db");
    for arguments in [
        &["users", "list"][..],
        &["sessions", "list"],
        &["events"],
        &["allow", "add", "1"],
        &["import", "users.csv"],
        &["users", "show", "1"],
    ] {
        let output = hallpass(arguments).env("HALLPASS_DATABASE", &path).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            error(&output).contains(&format!("there is no database at {}", path.display()))
                && error(&output).contains("starting `hallpass serve` once"),
            "{}",
            error(&output)
        );
        assert!(!path.exists());
    }
}

/// Without the feature, every command says that it is missing. With it, nothing answers at that
/// port.
#[test]
fn the_url_of_a_database_is_refused_without_its_password() {
    const URL: &str = "postgresql://hallpass:s3cret@127.0.0.1:1/hallpass";
    let lacks = !cfg!(feature = "postgres");
    let check = |arguments: &[&str], url: &str| {
        let output = hallpass(arguments).env("HALLPASS_DATABASE", url).output().unwrap();
        let text = format!("{}{}", error(&output), String::from_utf8_lossy(&output.stdout));
        assert!(!output.status.success() && !text.contains("s3cret"), "{arguments:?}: {text}");
        if lacks {
            assert_eq!(output.status.code(), Some(2));
            assert_eq!(
                text,
                "hallpass: --database: this build of Hallpass lacks PostgreSQL; give a file, or build it with \
                 `--features postgres`\n"
            );
        }
    };
    for arguments in [
        &["serve", "--client-id", "x", "--allow-anyone", "--listen", "127.0.0.1:0"][..],
        &["doctor"],
        &["verify", "--client-id", "x", "--allow-anyone", "a.b.c"],
        &["demo", "--listen", "127.0.0.1:0"],
        &["users", "list"],
        &["users", "export"],
        &["allow", "add", "1"],
        &["sessions", "revoke", "--all", "--yes"],
        &["tokens", "list"],
        &["events"],
        &["import", "/dev/null"],
        &["backup", "/dev/null"],
        &["restore", "/dev/null"],
    ] {
        check(arguments, URL);
    }
    for url in ["postgres://a:s3cret@[", "PostgreSQL://a:s3cret@x@y", "postgresql://a:s3cret@b?x=1"]
    {
        check(&["users", "list"], url);
    }
}

#[test]
fn the_help_does_not_show_the_password_of_the_database() {
    for arguments in [&["serve", "--help"][..], &["users", "--help"], &["restore", "--help"]] {
        let command =
            hallpass(arguments).env("HALLPASS_DATABASE", "postgresql://a:s3cret@b").output();
        let text = String::from_utf8(command.unwrap().stdout).unwrap();
        assert!(text.contains("HALLPASS_DATABASE") && !text.contains("s3cret"), "{text}");
    }
}

#[test]
fn an_empty_list_is_a_note_on_standard_error() {
    let program = Program::serve(&[]);
    for (arguments, note) in [
        (&["users", "list"][..], "hallpass: no users\n"),
        (&["users", "list", "--json"], "hallpass: no users\n"),
        (&["sessions", "list"], "hallpass: no sessions\n"),
        (&["events"], "hallpass: no events\n"),
        (&["tokens", "list"], "hallpass: no tokens\n"),
        (&["allow", "list", "--json"], "hallpass: no entries\n"),
    ] {
        let output = program.command(arguments);
        assert!(output.status.success() && output.stdout.is_empty(), "{arguments:?}");
        assert_eq!(error(&output), note, "{arguments:?}");
    }
    program.session_of(ada());
    assert_eq!(error(&program.command(&["users", "list"])), "");
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["users"][..],
        &["users", "block"],
        &["users", "list", "--limit", "0"],
        &["users", "list", "--sort", "height"],
        &["allow", "add"],
        &["allow", "add", "ada@gmail.com", "--domain", "example.com"],
        &["allow", "remove"],
        &["sessions", "revoke"],
        &["sessions", "revoke", "x", "--all"],
        &["events", "--kind", "party"],
        &["events", "--since", "yesterday"],
        &["events", "--since", "2026-13-01"],
        &["events", "--since", "2026-11-01T25:00"],
    ] {
        assert_eq!(hallpass(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}
