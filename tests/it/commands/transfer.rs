//! `hallpass users export` and `hallpass import`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ada, bob};
use crate::program::{Program, hallpass, token};

const HEADER: &str = "sub,username,email,email_verified,email_authoritative,pinned_email,name,given_name,family_name,picture,hd,\
    locale,created_at,last_signin_at,blocked_at,google_disabled_at";

impl Program {
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn import_fails(&self, text: &str, reason: &str) {
        let users = self.printed(&["users", "list"]);
        self.fails(&["import", &self.file("import", text)], reason);
        assert_eq!(self.printed(&["users", "list"]), users);
    }
}

#[test]
fn a_dash_is_standard_output() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let command = |arguments: &[&str]| {
        let mut command = hallpass(arguments);
        command.arg("--database").arg(program.database()).current_dir(&program.folder);
        command.output().unwrap()
    };
    let output = command(&["users", "export", "-"]);
    assert!(output.status.success() && output.stdout.starts_with(b"sub,username,"));
    let output = command(&["backup", "-"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(super::error(&output).contains("not to standard output"));
    assert!(!program.folder.path().join("-").exists());
}

#[test]
fn an_export_can_be_imported_elsewhere() {
    let program = Program::serve(&[]);
    program.session_of(
        json!({"sub": "1", "email": "ada@gmail.com", "name": "=Ada, \"Countess\"\nLovelace"}),
    );
    program.session_of(bob());
    program.printed(&["users", "block", "2"]);
    program.sql("UPDATE users SET google_disabled_at = 1700000000 WHERE sub = '1'");
    for format in ["csv", "json"] {
        let path = program.folder.path().join(format);
        let path = path.to_str().unwrap();
        program.printed(&["users", "export", "--format", format, path]);
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(path).unwrap();
        assert_eq!(
            text,
            program.printed(&["users", "export", "--format", format]),
            "as on standard output"
        );

        let other = Program::serve(&[]);
        let session = other.session_of(json!({"sub": "3", "email": "eve@gmail.com"}));
        let first = "imported 2 users: 2 new, 0 changed, 1 blocked\n";
        assert_eq!(other.printed(&["import", path]), first);
        let known = |program: &Program, sub: &str| {
            program.documents(&["users", "show", sub, "--json"])[0]["user"].clone()
        };
        assert_eq!(known(&other, "1"), known(&program, "1"));
        assert_eq!(known(&other, "2"), known(&program, "2"));
        assert!(
            other.sign_in(&token(bob())).unwrap().starts_with("HTTP/1.1 403"),
            "a block comes along"
        );
        other.has_status(&session, "200");
        assert_eq!(other.documents(&["events", "--kind", "block", "--json"]).len(), 1);
        let again = "imported 2 users: 0 new, 0 changed, 0 blocked\n";
        assert_eq!(other.printed(&["import", path]), again);
        assert_eq!(other.documents(&["events", "--kind", "block", "--json"]).len(), 1);
    }
    let csv = program.printed(&["users", "export"]);
    assert_eq!(csv.lines().next(), Some(HEADER));
    let array: Value =
        serde_json::from_str(&program.printed(&["users", "export", "--format", "json"])).unwrap();
    assert_eq!(array[1]["email"], "bob@gmail.com");
}

#[test]
fn a_file_may_have_only_blocks() {
    let program = Program::serve(&[]);
    let session = program.session_of(ada());
    program.printed(&[
        "import",
        &program.file("blocks", "\u{feff}sub,blocked_at\r\n1,1700000000\r\n7,1700000000\r\n"),
    ]);
    program.has_status(&session, "403");
    let user = &program.documents(&["users", "show", "1", "--json"])[0]["user"];
    assert_eq!(
        (&user["name"], &user["blocked_at"]),
        (&json!("Ada"), &json!(1_700_000_000)),
        "the rest stays"
    );
    assert!(
        program
            .sign_in(&token(json!({"sub": "7", "email": null})))
            .unwrap()
            .starts_with("HTTP/1.1 403")
    );
}

#[test]
fn a_file_with_any_error_is_not_imported() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let long = "1".repeat(256);
    for (text, reason) in [
        ("email\na@x.example\n", "the header has no sub"),
        ("sub,height\n5,3\n", "the header has the unknown name height"),
        ("sub,sub\n5,5\n", "the header has sub twice"),
        ("sub,name\n5,x\n,y\n", "line 3: sub is empty"),
        ("sub,name\n5,x\n6\n", "line: 3"),
        ("sub\n5\né\n", "line 3: sub is not 1 to 255 ASCII characters"),
        (&format!("sub\n5\n{long}\n"), "line 3: sub is not 1 to 255"),
        ("sub\n5\n5\n", "line 3: the sub 5 occurs twice"),
        ("sub,email\n5,\n6,x\n", "line 3: email is not an e-mail"),
        (
            "sub,email_verified\n5,true\n6,maybe\n",
            "line 3: email_verified is neither true nor false",
        ),
        ("sub,blocked_at\n5,0\n6,-1\n", "line 3: blocked_at is not a time"),
        ("sub,blocked_at\n5,0\n6,yes\n", "line 3: blocked_at is not a time"),
        ("sub,created_at,last_signin_at\n5,2,1\n", "line 2: created_at is after last_signin_at"),
        ("sub,pinned_email\n5,A@x.example\n", "not in lower case"),
        ("sub,pinned_email\n5,a@x.example\n6,a@x.example\n", "line 3: another user in the file"),
        ("sub,pinned_email\n5,\n6,ada@gmail.com\n", "line 3: ada@gmail.com is held by the user 1"),
        ("sub,username\n5,\n6,Ada\n", "line 3: username is not a possible user name: Ada"),
        ("sub,username\n5,eve\n6,eve\n", "line 3: another user in the file has the user name eve"),
        (
            "sub,username\n5,\n6,ada_gmail.com\n",
            "line 3: the user name ada_gmail.com belongs or belonged to the user 1",
        ),
        (
            "[{\"sub\":\"5\"},{\"sub\":\"6\",\"username\":\"ada_gmail.com\"}]",
            "user 2: the user name ada_gmail.com belongs or belonged to the user 1",
        ),
        ("[{\"sub\":\"5\"},{\"name\":\"x\"}]", "user 2 has no sub"),
        (
            "[{\"sub\":\"5\"},{\"sub\":\"6\",\"name\":[]}]",
            "user 2: name is neither text nor a number",
        ),
        ("[{\"sub\":\"5\"},{\"sub\":\"6\",\"sub\":\"7\"}]", "user 2 has sub twice"),
        ("[{\"sub\":\"5\"},", "EOF"),
        (" {\"sub\":\"5\"}\n", "expected a JSON array of objects, not an object"),
        ("sub\n5\n1.10169E+20\n", "line 3: sub is a rounded number"),
        ("sub\n5\n\"1,10169E+20\"\n", "line 3: sub is a rounded number"),
        ("sub\n5\n110169484474386000000\n", "line 3: sub is rounded to 15 digits"),
        ("sub\n5\n 6\n", "line 3: sub is not free of white space"),
        ("sub\n5\n6 \n", "line 3: sub is not free of white space"),
        ("sub\n5\n'110169484474386276334\n", "line 3: sub is in quotes"),
        ("sub\n5\nada@gmail.com\n", "line 3: sub is an e-mail"),
        ("sub,email\n5,\n6,a b@x.example\n", "line 3: email is not an e-mail"),
        ("[{\"sub\":\"5\"},{\"sub\":110169484474386276334}]", "user 2: sub is a number"),
        ("[{\"sub\":\"5\"},{\"sub\":6}]", "user 2: sub is a number"),
        ("[{\"sub\":\"5\"},{\"sub\":true}]", "user 2: sub is not text"),
    ] {
        program.import_fails(text, reason);
        program.import_fails(text, "nothing was imported");
    }
    program.fails(&["import", "/no/such/file"], "/no/such/file: cannot be read");
}

#[test]
fn an_import_does_not_overwrite_newer_claims() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let old = "sub,email,pinned_email,name,created_at,last_signin_at,blocked_at\n\
        1,old@gmail.com,old@gmail.com,Old,1500000000,1600000000,1700000000\n";
    let known = || program.documents(&["users", "show", "1", "--json"])[0]["user"].clone();
    let before = known();
    program.printed(&["import", &program.file("old", old)]);
    let after = known();
    for name in ["email", "pinned_email", "name", "last_signin_at"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(
        (&after["created_at"], &after["blocked_at"]),
        (&json!(1_500_000_000), &json!(1_700_000_000))
    );
    let new = old.replace("1600000000", "4000000000");
    program.printed(&["import", &program.file("new", &new)]);
    assert_eq!(known()["name"], "Old", "unless the file tells of a later sign-in");
}

/// Signs in repeatedly while the command runs, and returns how often. No sign-in may wait for a
/// large part of that time.
#[track_caller]
fn sign_ins_during(program: &Program, arguments: &[&str]) -> usize {
    let begun = Instant::now();
    let mut command = hallpass(arguments);
    let mut child =
        command.arg("--database").arg(program.database()).stdout(Stdio::null()).spawn().unwrap();
    let (mut count, mut slowest) = (0, Duration::ZERO);
    while child.try_wait().unwrap().is_none() {
        let start = Instant::now();
        program.session_of(json!({"sub": format!("during-{count}"), "email": null}));
        (count, slowest) = (count + 1, slowest.max(start.elapsed()));
    }
    assert!(child.wait().unwrap().success());
    assert!(slowest < begun.elapsed() / 2, "the slowest took {slowest:?} of {:?}", begun.elapsed());
    count
}

#[test]
fn sign_ins_continue_during_an_import_and_a_revocation_of_all() {
    const MANY: usize = 5_000;
    let program = Program::serve(&[]);
    let mut text = "sub,email,pinned_email,name\n".to_owned();
    for number in 0..MANY {
        text.push_str(&format!("{number},user{number}@x.example,user{number}@x.example,A Name\n"));
    }
    let file = program.file("many", &text);
    // This simulates far more users.
    let slowly = "BEGIN SELECT (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        SELECT sum(i) FROM n); END";
    program.sql(&format!(
        "CREATE TRIGGER slow_users AFTER INSERT ON users {slowly};
         CREATE TRIGGER slow_sessions AFTER UPDATE OF ended_at ON sessions {slowly}"
    ));
    let signed_in = sign_ins_during(&program, &["import", &file]);
    assert_eq!(program.printed(&["users", "export"]).lines().count(), 1 + MANY + signed_in);

    program.sql(
        "INSERT INTO sessions (token_sha256, id, sub, kind, client_id, created_at, last_seen_at, expires_at)
         SELECT randomblob(32), 'many-' || sub, sub, 'session', 'x', 1, 1, 4000000000 FROM users",
    );
    let early = program.session_of(ada());
    let signed_in = sign_ins_during(&program, &["sessions", "revoke", "--all", "--yes"]);
    program.has_status(&early, "401");
    let listed = program.printed(&["sessions", "list", "--limit", "1000000"]);
    assert!(
        listed.lines().count() <= signed_in && !listed.contains("many-"),
        "all that there were have ended"
    );
}

#[test]
fn an_interrupted_import_is_completed_by_another() {
    let program = Program::serve(&[]);
    let mut text = "sub,pinned_email,blocked_at\n".to_owned();
    for number in 0..2000 {
        text.push_str(&format!("{number},user{number}@x.example,1700000000\n"));
    }
    let file = program.file("many", &text);
    // Somebody signs in with an e-mail of the file after the check, as soon as the first users are
    // written.
    program.sql(
        "CREATE TRIGGER late AFTER INSERT ON users WHEN new.sub = '600' BEGIN
            INSERT INTO users (sub, email_authoritative, pinned_email, created_at, last_signin_at)
            VALUES ('other', 1, 'user1700@x.example', 1, 1); END",
    );
    let held =
        "user1700@x.example is held by the user other; only the first 1500 users were imported";
    program.fails(&["import", &file], held);
    let count = || program.printed(&["users", "export"]).lines().count() - 1;
    assert_eq!(count(), 1501);
    program.sql("DROP TRIGGER late; DELETE FROM users WHERE sub = 'other'");
    for _ in 0..2 {
        assert!(program.printed(&["import", &file]).starts_with("imported 2000 users: "));
        assert_eq!(count(), 2000);
        let blocks = program.printed(&["events", "--kind", "block", "--limit", "10000"]);
        assert_eq!(blocks.lines().count(), 2000, "one each");
    }
}

#[test]
fn a_closed_pipe_ends_an_export_quietly() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.sql(
        "INSERT INTO users (sub, email_authoritative, created_at, last_signin_at)
         WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i, 0, 1, 1 FROM n",
    );
    for format in ["csv", "json"] {
        let mut command = hallpass(&["users", "export", "--format", format, "--database"]);
        let mut child = command
            .arg(program.database())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(BufReader::new(child.stdout.take().unwrap()).lines().next().is_some());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}

#[test]
fn an_export_is_written_through_links_and_fifos() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let expected = program.printed(&["users", "export"]);
    let path = |name: &str| program.folder.path().join(name);
    let export = |name: &str| program.printed(&["users", "export", path(name).to_str().unwrap()]);
    fs::write(path("file"), "the one before").unwrap();
    symlink(path("file"), path("link")).unwrap();
    symlink(path("new"), path("dangling")).unwrap();
    for (link, file) in [("link", "file"), ("dangling", "new")] {
        export(link);
        assert!(fs::symlink_metadata(path(link)).unwrap().is_symlink(), "{link}");
        assert_eq!(fs::read_to_string(path(file)).unwrap(), expected);
        assert_eq!(fs::metadata(path(file)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
    let mut reader = Command::new("timeout");
    let reader =
        reader.args(["20", "cat"]).arg(path("fifo")).stdout(Stdio::piped()).spawn().unwrap();
    export("fifo");
    let read = String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(read, expected);
    program.fails(&["users", "export", program.folder.path().to_str().unwrap()], "cannot write");
}

#[test]
fn valid_subs() {
    let program = Program::serve(&[]);
    let text = "sub\n110169484474386276334\n110169484474386000001\n1100000000000000000\nabc-_.X~\n";
    let summary = "imported 4 users: 4 new, 0 changed, 0 blocked\n";
    assert_eq!(program.printed(&["import", &program.file("subs", text)]), summary);
}

#[test]
fn no_cell_of_an_export_is_a_formula() {
    let (program, other) = (Program::serve(&[]), Program::serve(&[]));
    let names = ["=1+1", "+1", "-1", "@x", "\tx", "'=1", "''+1", "'x", "x=1", "'"];
    for (index, name) in names.iter().enumerate() {
        program.session_of(json!({"sub": format!("{index}"), "email": null, "name": name}));
    }
    let exported = program.printed(&["users", "export"]);
    for prefixed in ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "''=1", "'''+1"] {
        assert!(exported.contains(&format!(",{prefixed},")), "{prefixed}: {exported}");
    }
    other.printed(&["import", &other.file("users", &exported)]);
    for (index, name) in names.iter().enumerate() {
        let shown = &other.documents(&["users", "show", &index.to_string(), "--json"])[0];
        assert_eq!(shown["user"]["name"], *name);
    }
}

#[test]
fn imported_users_have_never_signed_in() {
    let program = Program::serve(&[]);
    let users = program.file("users", "sub,email,blocked_at\n1,ada@gmail.com,\n7,,1700000000\n");
    let summary = "imported 2 users: 2 new, 0 changed, 1 blocked\n";
    assert_eq!(program.printed(&["import", &users]), summary);
    assert_eq!(program.printed(&["users", "list"]).matches("\tnever\t").count(), 2);
    assert!(program.printed(&["users", "show", "7"]).contains("last sign-in\tnever\n"));
    let listed = program.documents(&["users", "list", "--json"]);
    assert!(listed.iter().all(|user| user["last_signin_at"].is_null()), "{listed:?}");
    assert!(program.printed(&["users", "export"]).contains(",,1700000000,\n"));
    program.metric_reaches("hallpass_users_imported", 2);

    let answer = program.sign_in(&token(ada())).unwrap();
    assert!(answer.contains("\"new_user\":true"), "it is their first sign-in: {answer}");
    assert!(program.sign_in(&token(ada())).unwrap().contains("\"new_user\":false"));
    let metrics = program.get("/metrics", "");
    for line in ["\nhallpass_users 1\n", "\nhallpass_users_imported 1\n"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let summary = "imported 2 users: 0 new, 0 changed, 0 blocked\n";
    assert_eq!(program.printed(&["import", &users]), summary);
    let shown = &program.documents(&["users", "show", "1", "--json"])[0];
    assert!(shown["user"]["last_signin_at"].is_i64());
}
