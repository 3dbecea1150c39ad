//! `hallpass tokens`.

use super::{ada, bob, error};
use crate::program::{Program, hallpass};

#[track_caller]
fn created(program: &Program, arguments: &[&str]) -> String {
    let output = program.command(&[&["tokens", "create"], arguments].concat());
    assert!(output.status.success(), "{}", error(&output));
    let note = error(&output);
    assert!(note.contains("is not shown again") && !note.contains("hp_"), "{note}");
    let token = String::from_utf8(output.stdout).unwrap();
    assert!(token.starts_with("hp_") && token.ends_with('\n') && token.len() == 47, "{token}");
    token.trim_end().to_owned()
}

#[test]
fn a_token_is_created_listed_and_revoked() {
    let program = Program::serve(&[]);
    let session = program.session_of(ada());
    let by_email = created(&program, &["ada@gmail.com", "--name", "Backup"]);
    let by_sub = created(&program, &["1", "--name", "Calendar", "--lifetime", "90d"]);
    program.has_status(&by_email, "200");
    program.has_status(&by_sub, "200");

    let listed = program.documents(&["tokens", "list", "--json"]);
    assert_eq!(listed.len(), 2);
    let find = |name: &str| listed.iter().find(|token| token["name"] == name).unwrap();
    let lifetime = |name| {
        let token = find(name);
        (token["expires_at"].as_i64().unwrap() - token["created_at"].as_i64().unwrap()) / 86_400
    };
    assert_eq!((lifetime("Backup"), lifetime("Calendar")), (365, 90));
    assert_eq!(find("Backup")["email"], "ada@gmail.com");
    let table = program.printed(&["tokens", "list", "--user", "1"]);
    assert!(table.contains("\tnot used yet\t"), "{table}");
    assert!(table.contains("Backup") && table.contains("Calendar") && !table.contains("hp_"));
    let shown = program.printed(&["users", "show", "1"]);
    assert!(shown.contains("Open tokens: 2") && shown.contains("Calendar"), "{shown}");
    let shown = &program.documents(&["users", "show", "1", "--json"])[0];
    assert_eq!(shown["tokens"].as_array().unwrap().len(), 2);
    // They are not sessions.
    assert_eq!(program.documents(&["sessions", "list", "--json"]).len(), 1);
    let events = program.documents(&["events", "--kind", "token", "--json"]);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["reason"], "by the operator");
    assert_eq!((&events[0]["detail"], &events[0]["sub"]), (&"Backup".into(), &"1".into()));

    let id = find("Backup")["id"].as_str().unwrap();
    assert_eq!(program.printed(&["tokens", "revoke", id]), "ended 1 token\n");
    program.has_status(&by_email, "401");
    program.fails(&["tokens", "revoke", id], "there is no open token");
    let own = &program.documents(&["sessions", "list", "--json"])[0]["id"];
    program.fails(&["tokens", "revoke", own.as_str().unwrap()], "there is no open token");
    assert_eq!(
        program.printed(&["tokens", "revoke", "--user", "ada@gmail.com"]),
        "ended 1 token\n"
    );
    program.has_status(&by_sub, "401");
    program.has_status(&session, "200");
    assert_eq!(program.printed(&["tokens", "revoke", "--user", "1"]), "ended 0 tokens\n");
}

#[test]
fn a_token_for_a_blocked_user_comes_with_a_warning() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.printed(&["users", "block", "1"]);
    let output = program.command(&["tokens", "create", "1", "--name", "Backup"]);
    assert!(error(&output).contains("because this user is blocked"), "{}", error(&output));
}

#[test]
fn revoking_all_sessions_of_a_user_ends_their_tokens() {
    let program = Program::serve(&[]);
    let (session, _) = (program.session_of(ada()), program.session_of(bob()));
    let token = created(&program, &["1", "--name", "a"]);
    let other = created(&program, &["2", "--name", "a"]);
    assert_eq!(
        program.printed(&["sessions", "revoke", "--user", "1"]),
        "ended 1 session and 1 token\n"
    );
    program.has_status(&token, "401");
    program.has_status(&session, "401");
    program.has_status(&other, "200");
    program.printed(&["sessions", "revoke", "--all", "--yes"]);
    program.has_status(&other, "401");
    created(&program, &["1", "--name", "b"]);
    assert_eq!(program.printed(&["sessions", "revoke", "--user", "1"]), "ended 1 token\n");
    assert_eq!(program.printed(&["sessions", "revoke", "--user", "1"]), "ended 0 sessions\n");
}

#[test]
fn the_longest_life_is_the_servers() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    for (more, reason) in [
        (&["--lifetime", "366d"][..], "--token-lifetime is 365d"),
        (&["--token-lifetime", "0"], "turned off"),
        (&["--token-lifetime", "1d", "--lifetime", "2d"], "--token-lifetime is 1d"),
    ] {
        program.fails(&[&["tokens", "create", "1", "--name", "a"], more].concat(), reason);
    }
    created(&program, &["1", "--name", "a", "--token-lifetime", "1d", "--lifetime", "1d"]);
    program.fails(&["tokens", "create", "nobody@gmail.com", "--name", "a"], "there is no user");
    for wrong in [
        &["tokens", "create", "1"][..],
        &["tokens", "create", "1", "--name", ""],
        &["tokens", "create", "1", "--name", " "],
        &["tokens", "create", "1", "--name", "a", "--lifetime", "0"],
        &["tokens", "revoke"],
        &["tokens", "revoke", "x", "--user", "1"],
    ] {
        assert_eq!(hallpass(wrong).output().unwrap().status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_token_names_a_user_who_has_never_signed_in() {
    let program = Program::serve(&["--remote-user", "username"]);
    program.printed(&["users", "block", "7"]);
    program.printed(&["users", "unblock", "7"]);
    let token = created(&program, &["7", "--name", "sync"]);
    let answer = program.get("/auth/check", &format!("Authorization: Bearer {token}\r\n"));
    assert!(answer.contains("\r\nRemote-User: g7\r\n"), "{answer}");
}
