//! `hallpass sessions`.

use super::{ada, bob};
use crate::program::Program;

#[test]
fn one_session_is_revoked() {
    let program = Program::serve(&[]);
    let (first, second) = (program.session_of(ada()), program.session_of(ada()));
    let listed = program.documents(&["sessions", "list", "--json"]);
    assert_eq!(listed.len(), 2);
    assert!(
        listed
            .iter()
            .all(|session| session["email"] == "ada@gmail.com" && session["expires_at"].is_i64())
    );
    let me = program.get("/auth/me", &format!("Authorization: Bearer {first}\r\n"));
    let id = listed
        .iter()
        .map(|session| session["id"].as_str().unwrap())
        .find(|id| me.contains(id))
        .unwrap();

    assert_eq!(program.printed(&["sessions", "revoke", id]), "ended 1 session\n");
    program.has_status(&first, "401");
    program.has_status(&second, "200");
    program.fails(&["sessions", "revoke", id], "there is no open session");
    let events = program.documents(&["events", "--kind", "revocation", "--json"]);
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["session_id"], &events[0]["email"]),
        (&id.into(), &"ada@gmail.com".into())
    );
}

#[test]
fn all_sessions_of_a_user_or_of_everybody_are_revoked() {
    let program = Program::serve(&[]);
    let (first, second, other) =
        (program.session_of(ada()), program.session_of(ada()), program.session_of(bob()));
    assert_eq!(
        program.printed(&["sessions", "list", "--user", "bob@gmail.com"]).lines().count(),
        1
    );
    assert_eq!(program.printed(&["sessions", "list", "--limit", "2"]).lines().count(), 2);
    assert_eq!(
        program.printed(&["sessions", "revoke", "--user", "ada@gmail.com"]),
        "ended 2 sessions\n"
    );
    program.has_status(&first, "401");
    program.has_status(&second, "401");
    program.has_status(&other, "200");
    program.fails(
        &["sessions", "revoke", "--user", "eve@gmail.com"],
        "there is no user eve@gmail.com",
    );

    program.fails(&["sessions", "revoke", "--all"], "give --yes");
    program.has_status(&other, "200");
    assert_eq!(program.printed(&["sessions", "revoke", "--all", "--yes"]), "ended 1 session\n");
    program.has_status(&other, "401");
    assert_eq!(program.printed(&["sessions", "list"]), "");
    assert_eq!(program.printed(&["events", "--kind", "revocation"]).lines().count(), 3);
}
