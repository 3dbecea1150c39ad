//! A server killed during sign-ins keeps every session that it has answered.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::program::token;
use crate::program::{Program, session_token};

#[test]
fn sigkill_loses_no_answered_session() {
    let mut folder = tempfile::tempdir().unwrap();
    let answered: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
    for round in 0..3 {
        let program = Program::serve_in(folder, &[], &[]);
        thread::scope(|scope| {
            for client in 0..8 {
                let (program, answered) = (&program, &answered);
                scope.spawn(move || {
                    for number in 0.. {
                        let sub = format!("{round}-{client}-{number}");
                        let token = token(json!({"sub": sub, "email": null}));
                        match program.sign_in(&token) {
                            Some(answer) if answer.ends_with("\"new_user\":true}") => {
                                answered.lock().unwrap().push((sub, session_token(&answer)));
                            }
                            _ => return,
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(400));
            program.signal("-KILL");
        });
        folder = program.kill();
    }
    let answered = answered.into_inner().unwrap();
    assert!(answered.len() > 30, "only {} sign-ins were answered", answered.len());
    let program = Program::serve_in(folder, &[], &[]);
    for (sub, session) in &answered {
        let me = program.get("/auth/me", &format!("Authorization: Bearer {session}\r\n"));
        assert!(me.contains(&format!("\"sub\":\"{sub}\"")), "{sub} is lost: {me}");
    }
    let database = rusqlite::Connection::open(program.database()).unwrap();
    let verdict: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}
