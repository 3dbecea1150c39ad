//! `hallpass users`.

use serde_json::json;

use super::{ada, bob, error};
use crate::program::{Program, token};

#[test]
fn a_block_takes_effect_on_the_next_request() {
    let program = Program::serve(&[]);
    let session = program.session_of(ada());
    program.has_status(&session, "200");
    assert_eq!(
        program.printed(&["users", "block", "ADA@gmail.com"]),
        "blocked ada@gmail.com (1)\n"
    );
    program.has_status(&session, "403");
    assert!(program.sign_in(&token(ada())).unwrap().starts_with("HTTP/1.1 403"));
    assert!(program.printed(&["users", "block", "1"]).starts_with("was blocked already"));
    assert!(program.printed(&["users", "list"]).ends_with("\tblocked\n"));

    assert_eq!(program.printed(&["users", "unblock", "1"]), "unblocked ada@gmail.com (1)\n");
    program.has_status(&session, "200");
    assert!(program.printed(&["users", "unblock", "1"]).starts_with("was not blocked"));
    let events = program.documents(&["events", "--json"]);
    let kinds: Vec<&str> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["signin", "block", "refusal", "unblock"]);
    assert_eq!(
        (&events[1]["email"], &events[1]["reason"]),
        (&json!("ada@gmail.com"), &json!("by the operator"))
    );
}

#[test]
fn a_released_email_may_be_used_by_another_account() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let newcomer = json!({"sub": "9", "email": "ada@gmail.com"});
    assert!(program.sign_in(&token(newcomer.clone())).unwrap().starts_with("HTTP/1.1 403"));
    let released = program.command(&["users", "release", "ada@gmail.com"]);
    assert_eq!(released.stdout, b"released the e-mail of ada@gmail.com (1)\n");
    let warning = "hallpass: their sessions continue without an e-mail until they sign in again";
    assert!(error(&released).starts_with(warning), "{}", error(&released));
    assert!(program.printed(&["users", "release", "ada@gmail.com"]).starts_with("held no e-mail"));
    program.session_of(newcomer);

    program.fails(&["users", "block", "ada@gmail.com"], "give one of these subs instead: 1, 9");
    program.printed(&["users", "block", "9"]);
    assert_eq!(
        program.documents(&["users", "show", "9", "--json"])[0]["user"]["pinned_email"],
        "ada@gmail.com"
    );
}

#[test]
fn a_deleted_user_is_gone_with_their_sessions_and_email() {
    let program = Program::serve(&[]);
    let (session, other) = (program.session_of(ada()), program.session_of(bob()));
    program.fails(&["users", "delete", "ada@gmail.com"], "give --yes");
    program.has_status(&session, "200");
    assert_eq!(
        program.printed(&["users", "delete", "ada@gmail.com", "--yes"]),
        "deleted ada@gmail.com (1)\n"
    );
    program.has_status(&session, "401");
    program.has_status(&other, "200");
    program.fails(
        &["users", "show", "ada@gmail.com"],
        "there is no user ada@gmail.com: nobody with this address has signed in",
    );
    program
        .fails(&["users", "show", "9"], "there is no user 9: nobody with this sub has signed in");
    let events = program.documents(&["events", "--user", "1", "--json"]);
    let told: Vec<_> =
        events.iter().map(|event| (event["kind"].as_str().unwrap(), &event["email"])).collect();
    assert_eq!(told, [("signin", &json!(null)), ("delete", &json!(null))]);
    for event in &events {
        assert_eq!((&event["client_address"], &event["user_agent"]), (&json!(null), &json!(null)));
    }
    assert!(!program.printed(&["events", "--json"]).contains("ada@gmail.com"));
    program.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let file = std::fs::read(program.database()).unwrap();
    let holds = |text: &str| file.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(
        holds("bob@gmail.com") && !holds("ada@gmail.com"),
        "the e-mail is overwritten in the file"
    );
}

#[test]
fn deleting_a_blocked_user_says_that_the_block_is_lifted() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.printed(&["users", "block", "ada@gmail.com"]);
    let output = program.command(&["users", "delete", "ada@gmail.com", "--yes"]);
    assert!(error(&output).contains("to keep them out, run `hallpass users block 1`"));
    program.printed(&["users", "block", "1"]);
    assert!(program.sign_in(&token(ada())).unwrap().starts_with("HTTP/1.1 403"));
}

#[test]
fn a_user_is_found_by_their_user_name() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    assert!(program.printed(&["users", "show", "ada_gmail.com"]).contains("ada@gmail.com"));
    program.fails(&["users", "show", "jonas"], "nobody with this sub or user name");
    // It may be the sub of somebody who has never signed in.
    program.printed(&["users", "rename", "1", "4711"]);
    program.fails(&["users", "show", "4711"], "nobody with this sub");
}

#[test]
fn a_list_can_be_searched_sorted_and_limited() {
    let program = Program::serve(&[]);
    program.session_of(bob());
    program.session_of(ada());
    program.sql(
        "UPDATE users SET last_signin_at = CASE sub WHEN '1' THEN 1000000000 ELSE 900000000 END,
            created_at = CASE sub WHEN '1' THEN 1 ELSE 2 END;
         INSERT INTO users (sub, email_authoritative, created_at, last_signin_at) VALUES ('3', 0, 0, 0)",
    );
    let listed = |arguments: &[&str]| -> String {
        let all = [&["users", "list", "--json"], arguments].concat();
        program
            .documents(&all)
            .iter()
            .map(|user| user["sub"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(&[]), "123");
    assert_eq!(listed(&["--sort", "created"]), "213");
    assert_eq!(listed(&["--sort", "email"]), "123");
    assert_eq!(listed(&["--sort", "name", "--limit", "2"]), "12");
    assert_eq!(listed(&["--search", "BOB@"]), "2");
    for wildcard in ["%", "_d", "!", "a!"] {
        assert_eq!(listed(&["--search", wildcard]), "", "no wildcards");
    }
    let plain = program.printed(&["users", "list", "--limit", "1"]);
    let expected =
        "ada@gmail.com\tAda\tada_gmail.com\t1\t2001-09-09 10:46:40\t1970-01-01 09:00:01\t\n";
    assert_eq!(plain, expected, "tabs, and the time of TZ");
}

#[test]
fn show_prints_profile_sessions_and_events() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let document = &program.documents(&["users", "show", "ada@gmail.com", "--json"])[0];
    let user = document["user"].as_object().unwrap();
    assert_eq!(
        (&user["sub"], &user["pinned_email"], &user["blocked_at"]),
        (&json!("1"), &json!("ada@gmail.com"), &json!(null))
    );
    assert!(user["created_at"].is_i64() && user.contains_key("hd"));
    let (session, event) = (&document["sessions"][0], &document["events"][0]);
    assert_eq!((&session["sub"], &session["kind"]), (&json!("1"), &json!("session")));
    assert_eq!((&event["kind"], &event["session_id"]), (&json!("signin"), &session["id"]));
    let text = program.printed(&["users", "show", "1"]);
    for part in [
        "e-mail\tada@gmail.com",
        "blocked\tno",
        "Open sessions: 1\n",
        "Last events: 1\n",
        "127.0.0.1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn control_characters_in_claims_are_escaped() {
    let program = Program::serve(&[]);
    program.session_of(
        json!({"sub": "1", "name": "a\u{1b}[31m\tb\nc\u{9b}2J\u{202e}d", "email": "é@x.example"}),
    );
    for arguments in
        [&["users", "list"][..], &["users", "show", "1"], &["users", "list", "--json"], &["events"]]
    {
        let text = program.printed(arguments);
        let steers = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || c == '\u{202e}';
        assert!(!text.contains(steers), "{arguments:?}: {text:?}");
        assert!(text.contains("é@x.example"), "letters stay: {text:?}");
    }
    assert_eq!(program.printed(&["users", "list"]).lines().count(), 1);
    assert!(
        program.printed(&["users", "list"]).contains("a\\u{1b}[31m\\tb\\nc\\u{9b}2J\\u{202e}d")
    );
    let document = &program.documents(&["users", "list", "--json"])[0];
    assert_eq!(document["name"], "a\u{1b}[31m\tb\nc\u{9b}2J\u{202e}d", "JSON means the same");
    program.fails(&["users", "show", "\u{1b}]0;x"], "\\u{1b}");
}

#[test]
fn a_truncated_list_says_so() {
    let program = Program::serve(&[]);
    let rows = |table: &str, columns: &str, values: &str, count: u32| {
        program.sql(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
             INSERT INTO {table} ({columns}) SELECT {values} FROM n"
        ));
    };
    let user = "sub, email_authoritative, created_at, last_signin_at";
    let session = "token_sha256, id, sub, kind, client_id, created_at, last_seen_at, expires_at";
    let lists = |arguments: &[&str], lines: usize, note: &str| {
        let output = program.command(arguments);
        assert_eq!(String::from_utf8(output.stdout.clone()).unwrap().lines().count(), lines);
        assert_eq!(error(&output).is_empty(), note.is_empty(), "{arguments:?}: {}", error(&output));
        assert!(error(&output).contains(note), "{arguments:?}: {}", error(&output));
    };
    let lists_of = [
        (&["users", "list"][..], "more users"),
        (&["sessions", "list"], "more sessions"),
        (&["events"], "more events"),
    ];
    rows("users", user, "i, 0, i, i", 100);
    rows("sessions", session, "randomblob(32), i, '1', 'session', 'x', 1, 1, 4000000000", 100);
    rows("events", "at, kind, sub", "unixepoch() - 1000 + i, 'signin', '1'", 100);
    for (command, _) in lists_of {
        lists(command, 100, "");
    }
    rows("users", user, "i + 100, 0, i, i", 1);
    rows("sessions", session, "randomblob(32), 'last', '1', 'session', 'x', 1, 1, 4000000000", 1);
    rows("events", "at, kind, sub", "unixepoch(), 'block', '1'", 1);
    for (command, note) in lists_of {
        lists(command, 100, note);
        lists(&[command, &["--json"]].concat(), 100, note);
        lists(&[command, &["--limit", "1000"]].concat(), 101, "");
        lists(&[command, &["--limit", "7"]].concat(), 7, "");
    }
    let last = &program.command(&["events", "--json"]).stdout;
    assert!(String::from_utf8_lossy(last).lines().last().unwrap().contains("\"block\""));
    let shown = error(&program.command(&["users", "show", "1"]));
    for command in ["`hallpass sessions list --user 1`", "`hallpass events --user 1`"] {
        assert!(shown.contains(command), "{shown}");
    }
}

#[test]
fn a_user_gets_another_name() {
    let program = Program::serve(&[]);
    let session = program.session_of(ada());
    program.session_of(bob());
    let name = || {
        program.documents(&["users", "list", "--search", "ada@", "--json"])[0]["username"].clone()
    };
    assert_eq!(name(), "ada_gmail.com");
    let renamed = program.printed(&["users", "rename", "ada@gmail.com", "ada"]);
    assert_eq!(renamed, "ada is now the name of ada@gmail.com (1)\n");
    assert_eq!(name(), "ada");
    let answer = program.get("/auth/check", &format!("Authorization: Bearer {session}\r\n"));
    assert!(answer.contains("X-Auth-Request-Preferred-Username: ada\r\n"), "{answer}");
    let again = program.printed(&["users", "rename", "1", "ada"]);
    assert_eq!(again, "ada was already the name of ada@gmail.com (1)\n");
    for taken in ["ada", "ada_gmail.com"] {
        program.fails(&["users", "rename", "2", taken], "belongs or belonged to another user");
    }
    program.fails(&["users", "rename", "nobody", "x"], "there is no user");
    assert!(program.printed(&["users", "show", "1"]).contains("user name\tada\n"));
    assert_eq!(program.documents(&["users", "list", "--search", "bob_gmail", "--json"]).len(), 1);
    let events = program.documents(&["events", "--kind", "rename", "--json"]);
    assert_eq!((events.len(), &events[0]["detail"]), (1, &"ada".into()));
    for wrong in ["Ada", ".ada", "a b", ""] {
        let output = program.command(&["users", "rename", "1", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn users_whom_google_disabled() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.sql("UPDATE users SET google_disabled_at = 1800000000");
    let state = || {
        let line = program.printed(&["users", "list"]);
        line.trim_end_matches('\n').rsplit('\t').next().unwrap().to_owned()
    };
    assert_eq!(state(), "disabled by Google");
    assert!(
        program.printed(&["users", "show", "1"]).contains("disabled by Google\tsince 2027-01-15")
    );
    let user = &program.documents(&["users", "show", "1", "--json"])[0]["user"];
    assert_eq!(
        (&user["google_disabled_at"], &user["blocked_at"]),
        (&json!(1_800_000_000), &json!(null))
    );
    program.printed(&["users", "block", "1"]);
    assert_eq!(state(), "blocked");
    assert_eq!(program.printed(&["users", "unblock", "1"]), "unblocked ada@gmail.com (1)\n");
    assert_eq!(state(), "");
    assert_eq!(program.printed(&["users", "unblock", "1"]), "was not blocked: ada@gmail.com (1)\n");
}

#[test]
fn text_that_is_not_utf_8_does_not_stop_a_command() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.session_of(bob());
    program.sql(
        "UPDATE users SET name = CAST(x'ff' AS TEXT), email = CAST(x'ff40fe' AS TEXT) WHERE sub = '2';
         UPDATE sessions SET user_agent = CAST(x'ff' AS TEXT);
         UPDATE events SET email = CAST(x'ff' AS TEXT), user_agent = CAST(x'ff' AS TEXT) WHERE sub = '2';
         INSERT INTO blocked_emails (email, created_at) VALUES (CAST(x'ff' AS TEXT), 1)",
    );
    for (list, rows) in [
        (&["users", "list", "--json"][..], 3),
        (&["users", "list", "--search", "ada", "--json"], 1),
        (&["sessions", "list", "--json"], 2),
        (&["events", "--json"], 2),
    ] {
        assert_eq!(program.documents(list).len(), rows, "{list:?}");
    }
    let exported = program.printed(&["users", "export", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&exported).unwrap().len(), 2);
    for change in
        [&["block", "2"][..], &["unblock", "2"], &["rename", "2", "bob"], &["release", "2"]]
    {
        let output = program.command(&[&["users"], change].concat());
        assert!(output.status.success(), "{change:?}: {}", error(&output));
    }
    program.printed(&["users", "delete", "2", "--yes"]);
}

#[test]
fn a_former_email_leads_to_the_account() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.session_of(json!({"sub": "1", "email": "lovelace@gmail.com"}));
    program.session_of(bob());
    program.fails(
        &["users", "block", "Ada@gmail.com"],
        "ada@gmail.com is a former e-mail of lovelace@gmail.com (1); to block the account, give its sub: 1",
    );
    // An entry knows the account even if the events are gone.
    program.sql(
        "DELETE FROM events;
         INSERT INTO allowed (email, sub, created_at) VALUES ('robert@gmail.com', '2', 1)",
    );
    program.fails(&["users", "block", "robert@gmail.com"], "give its sub: 2");
    let blocked = program.printed(&["users", "block", "ada@gmail.com"]);
    assert_eq!(blocked, "blocked ada@gmail.com, who has never signed in\n");
}
