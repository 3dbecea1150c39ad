//! `hallpass events`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use super::{ada, bob};
use crate::program::{Program, Started, hallpass, token};

#[test]
fn events_are_filtered_and_the_newest_is_last() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.session_of(bob());
    program.sql("UPDATE events SET at = at - 7200 WHERE sub = '1'");
    program.printed(&["users", "block", "2"]);
    let kinds = |arguments: &[&str]| -> Vec<String> {
        let all = [&["events", "--json"], arguments].concat();
        program
            .documents(&all)
            .iter()
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(kinds(&[]), ["signin", "signin", "block"]);
    assert_eq!(kinds(&["--limit", "2"]), ["signin", "block"], "the last ones");
    assert_eq!(kinds(&["--since", "1h"]), ["signin", "block"]);
    assert_eq!(kinds(&["--until", "1h"]), ["signin"]);
    assert_eq!(kinds(&["--since", "3h", "--until", "1h"]), ["signin"]);
    assert_eq!(kinds(&["--user", "bob@gmail.com"]), ["signin", "block"]);
    assert_eq!(kinds(&["--user", "bob@gmail.com", "--kind", "block"]), ["block"]);
    assert_eq!(program.printed(&["events", "--limit", "1"]).split('\t').nth(1), Some("block"));
}

#[test]
fn who_was_refused_is_found_though_no_user() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    program.sign_in(&token(json!({"sub": "9", "email": "Ada@gmail.com"}))).unwrap();
    program.printed(&["users", "delete", "1", "--yes"]);
    let events = program.documents(&["events", "--user", "ada@gmail.com", "--json"]);
    assert_eq!(
        (events.len(), &events[0]["kind"], &events[0]["sub"]),
        (1, &json!("refusal"), &json!("9"))
    );
}

#[test]
fn following_shows_what_comes() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let mut command = hallpass(&["events", "--follow", "--json", "--kind", "signin", "--database"]);
    let mut follower =
        Started(command.arg(program.database()).stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(follower.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("ada@gmail.com"));
    program.printed(&["users", "block", "1"]);
    program.session_of(bob());
    assert!(lines.next().unwrap().contains("bob@gmail.com"), "once each, and of that kind");
}

#[test]
fn a_reader_who_leaves_is_no_failure() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let mut command = hallpass(&["events", "--database"]);
    let mut child = command
        .arg(program.database())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
