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
    assert_eq!(kinds(&["--since", "2026-01-01"]), ["signin", "signin", "block"]);
    assert_eq!(kinds(&["--until", "2026-01-01T00:00Z"]), [""; 0]);
    assert_eq!(kinds(&["--user", "bob@gmail.com"]), ["signin", "block"]);
    assert_eq!(kinds(&["--user", "bob@gmail.com", "--kind", "block"]), ["block"]);
    assert_eq!(program.printed(&["events", "--limit", "1"]).split('\t').nth(1), Some("block"));
}

#[test]
fn refused_people_are_found_by_email() {
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
fn follow_shows_new_events() {
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
fn a_closed_pipe_is_not_an_error() {
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

/// Commands run in the time zone of Tokyo, nine hours ahead.
#[test]
fn a_time_is_local_unless_it_names_its_zone() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    // 2026-11-01T00:00:00+09:00
    program.sql("UPDATE events SET at = 1793458800");
    let count = |flag: &str, time: &str| program.documents(&["events", "--json", flag, time]).len();
    for (time, is_after) in [
        ("2026-11-01", false),
        ("2026-11-01T00:00", false),
        ("2026-11-01 00:00:00", false),
        ("2026-11-01T00:00:01", true),
        ("2026-11-02", true),
        ("2026-10-31T15:00:00Z", false),
        ("2026-10-31T15:00:01Z", true),
        ("2026-11-01T00:00:01+09:00", true),
    ] {
        assert_eq!(count("--since", time), usize::from(!is_after), "{time}");
    }
    assert_eq!(count("--until", "2026-10-31T23:59:59"), 0);
    assert_eq!(count("--until", "2026-11-01"), 1);
}
