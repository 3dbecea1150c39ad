//! `hallpass allow`, and how a server starts with the list it keeps.

use std::fs;

use serde_json::json;

use super::{ada, error};
use crate::program::{Program, hallpass, token};
use crate::test_app::CLIENT_ID;

const NOBODY_ELSE: [&str; 2] = ["--admin-email", "admin@gmail.com"];

fn program() -> Program {
    Program::serve_only(tempfile::tempdir().unwrap(), &NOBODY_ELSE, &[])
}

#[test]
fn an_entry_counts_on_the_next_request_until_it_is_removed() {
    let program = program();
    assert!(program.sign_in(&token(ada())).unwrap().starts_with("HTTP/1.1 403"));
    assert_eq!(
        program.printed(&["allow", "add", "Ada@Gmail.com", "--note", "the new colleague"]),
        "ada@gmail.com may sign in now; from the first sign-in on, the entry belongs to that account\n"
    );
    let session = program.session_of(ada());
    program.has_status(&session, "200");
    for name in ["ada@gmail.com", "1"] {
        assert_eq!(
            program.printed(&["allow", "add", name]),
            "ada@gmail.com (1) is on the list already\n"
        );
    }
    assert_eq!(
        program.printed(&["allow", "add", "1", "--note", "Ada"]),
        "ada@gmail.com (1) is on the list already; its note is changed\n"
    );
    let entry = &program.documents(&["allow", "list", "--json"])[0];
    let expected = json!({
        "id": 1, "domain": null, "email": "ada@gmail.com", "sub": "1", "created_at": entry["created_at"],
        "created_by": null, "note": "Ada", "account_email": "ada@gmail.com",
    });
    assert_eq!(*entry, expected);
    let row = program.printed(&["allow", "list"]);
    assert!(row.starts_with("ada@gmail.com\te-mail\t1\tada@gmail.com\t"), "{row}");
    assert!(row.ends_with("\tthe operator\tAda\n"), "{row}");

    let removed = program.printed(&["allow", "remove", "ada@gmail.com"]);
    assert!(removed.starts_with("removed ada@gmail.com (1) from the list"), "{removed}");
    program.has_status(&session, "403");
    program.fails(&["allow", "remove", "ada@gmail.com"], "there is no entry for ada@gmail.com");
    let events = program.documents(&["events", "--json"]);
    let told: Vec<_> = events
        .iter()
        .filter(|event| event["kind"].as_str().unwrap().ends_with("allow"))
        .map(|event| (&event["kind"], &event["sub"], &event["email"], &event["reason"]))
        .collect();
    let (allow, disallow) = (json!("allow"), json!("disallow"));
    let (sub, email, by) = (json!("1"), json!("ada@gmail.com"), json!("by the operator"));
    assert_eq!(told, [(&allow, &json!(null), &email, &by), (&disallow, &sub, &email, &by)]);
}

#[test]
fn domains_and_subs_are_entries_too() {
    let program = program();
    assert_eq!(
        program.printed(&["allow", "add", "--domain", "Example.com"]),
        "every account of example.com may sign in now\n"
    );
    assert_eq!(program.printed(&["allow", "add", "4711"]), "4711 may sign in now\n");
    let mira = json!({"sub": "4711", "email": "mira@example.com", "hd": "example.com"});
    let session = program.session_of(mira);
    assert!(program.printed(&["events", "--kind", "allow"]).contains("example.com"));
    let output = program.command(&["allow", "remove", "4711"]);
    assert_eq!(
        error(&output),
        "hallpass: they are still let in by the entry for every account of example.com\n"
    );
    program.has_status(&session, "200");
    let removed = program.printed(&["allow", "remove", "--domain", "example.com"]);
    assert!(removed.starts_with("removed every account of example.com"), "{removed}");
    program.has_status(&session, "403");
    assert_eq!(program.printed(&["allow", "list"]), "");
}

#[test]
fn entries_that_cannot_match_are_refused_with_what_to_write() {
    let program = program();
    for (arguments, reason) in [
        (&["example.com"][..], "use --domain example.com"),
        (&["*@example.com"], "use --domain example.com"),
        (&["@example.com"], "use --domain example.com"),
        (&["ada"], "expected an address such as ada@example.com or a sub"),
        (&["gmail.com"], "expected an address such as ada@example.com or a sub"),
        (&["@gmail.com"], "expected an address such as ada@example.com or a sub"),
        (&["a b"], "expected an address such as ada@example.com or a sub"),
        (&["ada@googlemail.com"], "such as ada@gmail.com"),
        (&["ada+x@gmail.com"], "write ada@gmail.com"),
        (&["eve@outlook.com"], "the account's sub"),
        (&["--domain", "gmail.com"], "only Workspace accounts have a domain"),
        (&["--domain", "co.uk"], "public suffix"),
        (&["--domain", "example"], "such as example.com"),
        (&["--domain", "ada@example.com"], "give an e-mail without --domain"),
        (&["--domain", "*.example.com"], "--domain takes a domain"),
    ] {
        program.fails(&[&["allow", "add"], arguments].concat(), reason);
    }
    assert_eq!(program.printed(&["allow", "list"]), "");
    // Another program may have written it nevertheless.
    program.sql("INSERT INTO allowed (email, created_at) VALUES ('eve@outlook.com', 1)");
    program.printed(&["allow", "remove", "eve@outlook.com"]);
}

#[test]
fn an_address_that_changed_hands_means_its_holder() {
    let program = program();
    program.printed(&["allow", "add", "ada@gmail.com"]);
    program.session_of(ada());
    program.session_of(json!({"sub": "1", "email": "ada.l@gmail.com"}));
    program.printed(&["allow", "add", "ada@gmail.com"]);
    program.session_of(json!({"sub": "9", "email": "ada@gmail.com"}));
    let removed = program.printed(&["allow", "remove", "ada@gmail.com"]);
    assert!(removed.starts_with("removed ada@gmail.com (9)"), "{removed}");
    let removed = program.printed(&["allow", "remove", "ada.l@gmail.com"]);
    assert!(removed.starts_with("removed ada@gmail.com (1)"), "{removed}");

    program.sql("INSERT INTO allowed (email, sub, created_at) VALUES ('x@gmail.com', '5', 1), ('x@gmail.com', '6', 1)");
    program.fails(&["allow", "remove", "x@gmail.com"], "give one of these subs instead: 5, 6");
}

#[test]
fn adding_an_entry_says_why_its_account_still_cannot_sign_in() {
    let program = Program::serve(&[]);
    let is_added = |name: &str, text: &str| {
        let printed = program.printed(&["allow", "add", name]);
        assert!(printed.contains(text), "{printed}");
    };
    program.session_of(ada());
    program.printed(&["users", "block", "ada@gmail.com"]);
    for text in ["on the list now, but is blocked", "on the list already, but is blocked"] {
        is_added("ada@gmail.com", text);
    }
    is_added("1", "run `hallpass users unblock 1`");
    program.printed(&["users", "block", "eve@gmail.com"]);
    is_added("eve@gmail.com", "run `hallpass users unblock eve@gmail.com`");
    program.session_of(json!({"sub": "5", "email": "bob@example.net"}));
    is_added("bob@example.net", "Google is not the authority");
    is_added("5", "bob@example.net (5) may sign in now");
    program.session_of(json!({"sub": "6", "email": "cy@example.net", "hd": "example.net"}));
    is_added("cy@example.net", "cy@example.net (6) may sign in now");
}

#[test]
fn an_entry_that_is_a_sub_is_found_by_the_last_email_of_its_account() {
    let program = program();
    program.sql(
        "INSERT INTO events (at, kind, sub, email) VALUES (unixepoch(), 'refusal', '5', 'eve@yahoo.com')",
    );
    for (sub, email) in [("5", "eve@yahoo.com"), ("6", "bob@yahoo.com")] {
        program.printed(&["allow", "add", sub]);
        if sub == "6" {
            program.session_of(json!({"sub": sub, "email": email}));
        }
        let removed = program.printed(&["allow", "remove", &email.to_uppercase()]);
        assert!(removed.starts_with(&format!("removed {email} ({sub}) from")), "{removed}");
    }
}

#[test]
fn somebody_who_has_never_signed_in_can_be_blocked() {
    let program = Program::serve(&[]);
    let eve = json!({"sub": "5", "email": "eve@gmail.com"});
    assert_eq!(
        program.printed(&["users", "block", "Eve@gmail.com"]),
        "blocked eve@gmail.com, who has never signed in\n"
    );
    assert!(
        program.printed(&["users", "block", "eve@gmail.com"]).starts_with("was blocked already")
    );
    assert_eq!(program.printed(&["users", "list"]), "eve@gmail.com\t\t\t\tnever\tnever\tblocked\n");
    assert_eq!(program.printed(&["users", "list", "--search", "bob"]), "");
    program.fails(
        &["users", "delete", "eve@gmail.com", "--yes"],
        "to lift its block, run `hallpass users unblock eve@gmail.com`",
    );
    let shown = program.printed(&["users", "show", "eve@gmail.com"]);
    assert!(shown.contains("before their first sign-in") && shown.contains("block"), "{shown}");
    let document = &program.documents(&["users", "show", "eve@gmail.com", "--json"])[0];
    assert_eq!(
        (&document["user"]["sub"], &document["user"]["email"]),
        (&json!(null), &json!("eve@gmail.com"))
    );
    assert!(program.sign_in(&token(eve.clone())).unwrap().starts_with("HTTP/1.1 403"));
    assert_eq!(
        program.printed(&["users", "unblock", "eve@gmail.com"]),
        "unblocked eve@gmail.com (5)\n"
    );
    program.session_of(eve);

    assert_eq!(
        program.printed(&["users", "block", "4711"]),
        "blocked 4711, who has never signed in\n"
    );
    assert!(program.sign_in(&token(json!({"sub": "4711"}))).unwrap().starts_with("HTTP/1.1 403"));
    assert_eq!(
        program.printed(&["users", "unblock", "4711"]),
        "unblocked 4711 (4711)\n".replace(" (4711)", "")
    );
    for (name, once) in [("bob@gmail.com", "unblocked"), ("bob@gmail.com", "was not blocked:")] {
        if once == "unblocked" {
            program.printed(&["users", "block", name]);
        }
        assert_eq!(
            program.printed(&["users", "unblock", name]),
            format!("{once} {name}, who has never signed in\n")
        );
    }
    program.fails(&["users", "block", "nonsense"], "there is no user nonsense");
}

#[test]
fn an_admin_or_an_entry_is_enough_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hallpass.db");
    let started = |flags: &[&str]| {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--client-id", CLIENT_ID];
        let mut command = hallpass(&[&arguments[..], flags].concat());
        let output = command.env("HALLPASS_DATABASE", &path).output().unwrap();
        (output.status.code(), error(&output))
    };
    let start = || started(&[]);
    let (code, said) = start();
    assert!(
        code == Some(1) && said.contains("say whom to let in: give --admin-email EMAIL"),
        "{said}"
    );
    assert!(!path.exists(), "nothing is created");
    let (code, said) = started(&["--allow-domain", "gmail.com"]);
    assert!(code == Some(1) && said.contains("so gmail.com lets in nobody"), "{said}");

    let program = Program::serve_only(folder, &["--admin-email", "ada@gmail.com"], &[]);
    program.session_of(ada());
    let folder = program.kill();
    let (code, said) = start();
    assert!(code == Some(1) && said.contains("run `hallpass allow add`"), "{said}");

    // The server starts, whatever the entry is.
    let sql = "INSERT INTO allowed (domain, created_at) VALUES ('no domain at all', 1)";
    rusqlite::Connection::open(folder.path().join("hallpass.db"))
        .unwrap()
        .execute(sql, [])
        .unwrap();
    let program = Program::serve_only(folder, &[], &[]);
    assert!(program.sign_in(&token(ada())).unwrap().starts_with("HTTP/1.1 403"));
    assert!(program.log().contains("1 on the list in the database"), "{}", program.log());
    program.printed(&["allow", "add", "1"]);
    program.session_of(ada());
    assert!(fs::exists(program.database()).unwrap());
}

#[test]
fn verify_names_the_entry() {
    let program = program();
    let verify = || {
        let mut command = hallpass(&["verify", "--client-id", CLIENT_ID, "--tokeninfo-url"]);
        command.args([&program.google.url(), &token(ada())]).args(NOBODY_ELSE);
        let output = command.env("HALLPASS_DATABASE", program.database()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = verify();
    assert!(
        code == Some(1) && said.contains("failure\tpolicy\tthis account is not on the list"),
        "{said}"
    );
    program.printed(&["allow", "add", "a.da@gmail.com"]);
    assert!(verify().1.contains("not as Google writes it"));
    program.printed(&["allow", "add", "ada@gmail.com"]);
    let (code, said) = verify();
    let policy = "ok\tpolicy\tthe list in the database lets this account in: ada@gmail.com";
    assert!(code == Some(0) && said.contains(policy), "{said}");
    program.printed(&["users", "block", "ada@gmail.com"]);
    let (code, said) = verify();
    assert!(code == Some(1) && said.contains("failure\tblock\tthis account is blocked"), "{said}");
    let bound = "SELECT count(*) FROM allowed WHERE sub IS NOT NULL";
    let database = rusqlite::Connection::open(program.database()).unwrap();
    assert_eq!(
        database.query_row(bound, [], |row| row.get::<_, i64>(0)).unwrap(),
        0,
        "nothing is recorded"
    );
}

#[test]
fn a_note_has_a_limit() {
    let program = program();
    let add = |length: usize| {
        program.command(&["allow", "add", "1", "--note", &"ñ".repeat(length)]).status.success()
    };
    assert!(!add(201) && add(200));
}
