//! User names: made at the first sign-in, unique, and never another person's.

use std::thread;

use hallpass::store::{Actor, Renaming, Store, Username};
use serde_json::{Value, json};

use crate::test_app::{NOW, RequestExt, TestApp, document, get, post_token, token};

const HEADER: &str = "X-Auth-Request-Preferred-Username";

fn person(sub: &str, email: &str) -> Value {
    json!({"sub": sub, "email": email})
}

/// The user name in the answer to a sign-in.
#[track_caller]
fn name_of(test: &TestApp, claims: Value) -> String {
    test.sign_in(claims)["user"]["username"].as_str().unwrap().to_owned()
}

#[track_caller]
fn rename(test: &TestApp, sub: &str, name: &str) -> Renaming {
    let name = Username::parse(name).unwrap();
    test.app.store().rename_user(sub, &name, Actor::operator(), NOW).unwrap()
}

#[test]
fn a_name_is_made_at_the_first_sign_in_and_stays() {
    let test = TestApp::open();
    let workspace = json!({"sub": "1", "email": "Ada@Example.com", "hd": "example.com"});
    assert_eq!(name_of(&test, workspace), "ada_example.com");
    // The e-mail changes; the name does not.
    assert_eq!(name_of(&test, person("1", "ada@gmail.com")), "ada_example.com");
    assert_eq!(name_of(&test, json!({"sub": "2", "email": null})), "g2");
    assert_eq!(name_of(&test, person("3", "eve@elsewhere.example")), "g3", "not authoritative");
    // A name of its own is not taken away later.
    assert_eq!(name_of(&test, person("3", "eve@gmail.com")), "g3");
}

#[test]
fn a_taken_name_gets_a_number() {
    let test = TestApp::open();
    assert_eq!(name_of(&test, person("1", "a+b@gmail.com")), "a-b_gmail.com");
    assert_eq!(name_of(&test, person("2", "a-b@gmail.com")), "a-b_gmail.com-2");
    assert_eq!(name_of(&test, person("3", "a/b@gmail.com")), "a-b_gmail.com-3");
    let local = "x".repeat(64);
    assert_eq!(name_of(&test, person("4", &format!("{local}@gmail.com"))), local);
    let second = name_of(&test, person("5", &format!("{local}y@gmail.com")));
    assert_eq!(second, format!("{}-2", "x".repeat(62)));
}

#[test]
fn json_and_headers_carry_it() {
    let test = TestApp::open();
    let response = test.send(post_token(&token(json!({}))));
    let text = String::from_utf8(response.body.clone()).unwrap();
    let start = "{\"user\":{\"sub\":\"110169484474386276334\",\"username\":\"testuser_gmail.com\",\"email\":";
    assert!(text.starts_with(start), "{text}");
    let session = document(&response)["session"]["token"].as_str().unwrap().to_owned();
    let me = test.send(get("/auth/me").bearer(&session));
    assert!(me.body.starts_with(start.as_bytes()));
    let check = || test.send(get("/auth/check").bearer(&session));
    assert_eq!(check().header(HEADER), Some("testuser_gmail.com"));
    assert_eq!(check().header("Remote-Name"), Some("Test User"));
    assert_eq!(rename(&test, "110169484474386276334", "tester"), Renaming::Renamed);
    assert_eq!(check().header(HEADER), Some("tester"));
}

#[test]
fn remote_user_is_what_the_operator_chose() {
    #[track_caller]
    fn check(flags: &[&str], claims: Value, expected: &str) {
        let test = TestApp::with(&[&["--allow-anyone"], flags].concat());
        let answer = test.sign_in(claims);
        let session = answer["session"]["token"].as_str().unwrap();
        for target in ["/auth/check", "/auth/forward"] {
            let response = test.send(get(target).bearer(session));
            for header in ["Remote-User", "X-Forwarded-User"] {
                assert_eq!(response.header(header), Some(expected), "{flags:?} {header}");
            }
            let email = response.header("X-Auth-Request-Email");
            assert_eq!(response.header("Remote-Email"), email);
        }
    }
    let unknown = || json!({"sub": "7", "email": "a@elsewhere.example"});
    check(&[], json!({}), "testuser@gmail.com");
    check(&[], unknown(), "");
    check(&["--remote-user", "email"], json!({}), "testuser@gmail.com");
    check(&["--remote-user", "username"], json!({}), "testuser_gmail.com");
    check(&["--remote-user", "username"], unknown(), "g7");
    check(&["--remote-user", "sub"], json!({}), "110169484474386276334");
}

#[test]
fn nobody_gets_a_name_of_somebody_else() {
    let test = TestApp::open();
    name_of(&test, person("1", "a@gmail.com"));
    name_of(&test, person("2", "b@gmail.com"));
    assert_eq!(rename(&test, "2", "a_gmail.com"), Renaming::Taken);
    assert_eq!(rename(&test, "2", "b_gmail.com"), Renaming::Unchanged);
    assert_eq!(rename(&test, "1", "first"), Renaming::Renamed);
    // A name that somebody had remains theirs.
    assert_eq!(rename(&test, "2", "a_gmail.com"), Renaming::Taken);
    assert_eq!(rename(&test, "1", "a_gmail.com"), Renaming::Renamed);
    assert_eq!(rename(&test, "2", "first"), Renaming::Taken);
    assert_eq!(rename(&test, "nobody", "free"), Renaming::Unchanged);
    let events = "events WHERE kind = 'rename' AND sub = '1' AND detail IN ('first', 'a_gmail.com')
        AND reason = 'by the operator' AND email = 'a@gmail.com'";
    assert_eq!(test.count(events), 2);
    assert_eq!(test.count("events WHERE kind = 'rename'"), 2);
}

#[test]
fn a_deleted_persons_name_is_theirs_when_they_return_and_nobody_elses() {
    let test = TestApp::open();
    name_of(&test, person("1", "a@gmail.com"));
    rename(&test, "1", "first");
    test.app.store().delete_user("1", NOW).unwrap();
    // The address now belongs to somebody else.
    assert_eq!(name_of(&test, person("2", "a@gmail.com")), "a_gmail.com-2");
    assert_eq!(rename(&test, "2", "first"), Renaming::Taken);
    assert_eq!(name_of(&test, person("1", "other@gmail.com")), "other_gmail.com");
    assert_eq!(rename(&test, "1", "first"), Renaming::Renamed);
    test.app.store().delete_user("1", NOW).unwrap();
    assert_eq!(name_of(&test, person("1", "other@gmail.com")), "other_gmail.com");
    // Nothing reveals the names, not even events.
    let other = test.other_process();
    let dump: i64 = other
        .query_row(
            "SELECT count(*) FROM events WHERE detail = 'first' OR instr(coalesce(email, ''), 'other')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(dump, 1, "only the new sign-in");
    assert_eq!(test.count("usernames WHERE length(username_sha256) = 32"), 4);
}

#[test]
fn simultaneous_sign_ins_in_two_processes_give_different_names() {
    let test = TestApp::open();
    let others: Vec<Store> = (0..3).map(|_| Store::open(&test.database()).unwrap()).collect();
    let path = &test.database();
    thread::scope(|scope| {
        for (number, store) in others.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..20 {
                    let subject = format!("{number}-{round}");
                    let name = Username::parse(&format!("name{round}")).unwrap();
                    let sql = "INSERT INTO users (sub, email_authoritative, created_at, last_signin_at) VALUES (?1, 0, 1, 1)";
                    let db = rusqlite::Connection::open(path).unwrap();
                    db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
                    db.execute(sql, [&subject]).unwrap();
                    let _ = store.rename_user(&subject, &name, Actor::operator(), NOW).unwrap();
                }
            });
        }
        // Local parts that become one name.
        for sign in ['+', '/', '!', '#'] {
            let test = &test;
            scope.spawn(move || {
                for round in 0..10 {
                    let email = format!("a{sign}{round}@gmail.com");
                    name_of(test, person(&format!("{sign}{round}"), &email));
                }
            });
        }
    });
    assert_eq!(test.count("users WHERE username GLOB 'a-[0-9]_gmail.com*'"), 40);
    assert_eq!(test.count("(SELECT DISTINCT username FROM users WHERE username GLOB 'a-*')"), 40);
    assert_eq!(test.count("users WHERE username GLOB 'name*'"), 20);
    assert_eq!(test.count("usernames"), 60);
}

#[test]
fn somebody_who_never_signed_in_has_no_name_yet() {
    let test = TestApp::open();
    let insert = "INSERT INTO users (sub, email_authoritative, created_at, last_signin_at) VALUES ('1', 0, 1, 0)";
    test.sql(insert);
    assert_eq!(test.app.store().user("1").unwrap().unwrap().user.username, None);
    // The operator may choose it before.
    assert_eq!(rename(&test, "1", "chosen"), Renaming::Renamed);
    assert_eq!(name_of(&test, person("1", "a@gmail.com")), "chosen");
}

#[test]
fn users_of_an_older_database_get_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hallpass.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(include_str!("schemas/2.sql")).unwrap();
    drop(old);
    let store = Store::open(&path).unwrap();
    let name = |end| {
        let subject = format!("1101694844743862763{end}");
        store.user(&subject).unwrap().unwrap().user.username
    };
    assert_eq!(name(34).as_deref(), Some("ada_example.com"));
    assert_eq!(name(35).as_deref(), Some("ada_gmail.com"));
    assert_eq!(name(36).as_deref(), Some("g110169484474386276336"));
    assert_eq!(name(37), None, "never signed in");
    let taken = Username::parse("ada_gmail.com").unwrap();
    let outcome = store.rename_user("110169484474386276336", &taken, Actor::operator(), NOW);
    assert_eq!(outcome.unwrap(), Renaming::Taken);
}
