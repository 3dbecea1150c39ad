//! A user's admin page: user name and tokens.

use hallpass::http::Request;
use serde_json::json;

use crate::test_app::{FORM, RequestExt, TestApp, body, document, get, post};

const OURS: &str = "https://auth.example.com";

fn test() -> (TestApp, String, String) {
    let test = TestApp::with(&["--allow-anyone", "--admin-email", "ada@gmail.com"]);
    let session = |claims| test.sign_in(claims)["session"]["token"].as_str().unwrap().to_owned();
    let ada = session(json!({"sub": "1", "email": "ada@gmail.com"}));
    let bob = session(json!({"sub": "2", "email": "bob@gmail.com"}));
    (test, ada, bob)
}

fn change(fields: &str) -> Request {
    post("/auth/admin/users/2", FORM, fields).browser().header("Origin", OURS)
}

#[test]
fn an_admin_changes_a_user_name() {
    let (test, ada, bob) = test();
    let page = || body(&test.send(get("/auth/admin/users/2").browser().cookie(&ada)));
    assert!(page().contains("<bdi>bob_gmail.com</bdi>"));
    for (name, done) in [
        ("bob", "renamed"),
        ("+bob+", "nothing"),
        ("ada_gmail.com", "taken"),
        ("Bob", "impossible"),
        ("", "impossible"),
        ("bob_gmail.com", "renamed"),
    ] {
        let response = test.send(change(&format!("action=rename&username={name}")).cookie(&ada));
        let expected = format!("{OURS}/auth/admin/users/2?done={done}");
        assert_eq!(response.header("Location"), Some(expected.as_str()), "{name}");
        let page = body(&test.send(get(&expected[OURS.len()..]).browser().cookie(&ada)));
        assert!(page.contains("role=\"status\""), "{done}");
    }
    assert!(page().contains("<bdi>bob_gmail.com</bdi>"));
    assert_eq!(
        test.count("events WHERE kind = 'rename' AND reason = 'by ada@gmail.com' AND sub = '2'"),
        2
    );
    assert!(page().contains("<strong>Renamed</strong> <bdi>bob</bdi>"));
    // Nobody else may.
    assert_eq!(test.send(change("action=rename&username=x").cookie(&bob)).status, 403);
    let foreign = post("/auth/admin/users/2", FORM, "action=rename&username=x").cookie(&ada);
    assert_eq!(test.send(foreign.header("Origin", "https://evil.example")).status, 403);
}

#[test]
fn an_admin_sees_and_ends_tokens() {
    let (test, ada, bob) = test();
    let create = post("/auth/tokens", FORM, "name=Backup").bearer(&bob);
    let token = document(&test.send(create))["token"].clone();
    let (token, id) = (token["token"].as_str().unwrap(), token["id"].as_str().unwrap());
    let status = || test.send(get("/auth/check").bearer(token)).status;
    let page = || body(&test.send(get("/auth/admin/users/2").browser().cookie(&ada)));
    assert!(page().contains("<bdi>Backup</bdi>") && !page().contains("hp_"));
    assert!(page().contains("<strong>Token created</strong> <bdi>Backup</bdi>"));
    assert_eq!(status(), 200);
    test.send(change(&format!("action=end&session={id}")).cookie(&ada));
    assert_eq!(status(), 401);
    assert!(page().contains("They have no tokens."));
}

#[test]
fn ending_everything_ends_tokens() {
    let (test, ada, bob) = test();
    let create = post("/auth/tokens", FORM, "name=Backup").bearer(&bob);
    let token = document(&test.send(create))["token"]["token"].as_str().unwrap().to_owned();
    test.send(change("action=end_all").cookie(&ada));
    assert_eq!(test.send(get("/auth/check").bearer(&token)).status, 401);
}
