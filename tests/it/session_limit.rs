//! The limit of sessions per user, and users with very many sessions.

use hallpass::store::{Actor, EventKind, SessionSelector};
use serde_json::json;

use crate::test_app::{HOUR, NOW, RequestExt, TestApp, document, get, refused, request, token};

const SUB: &str = "110169484474386276334";

fn sign_in_at(test: &TestApp, now: i64) -> String {
    test.sign_in_at(json!({}), now)["session"]["token"].as_str().unwrap().to_owned()
}

fn status_at(test: &TestApp, session: &str, now: i64) -> u16 {
    test.send_at(get("/auth/check").bearer(session), now).status
}

/// Inserts sessions of the default user from another program.
fn make_sessions(test: &TestApp, count: u32, ended_at: &str) {
    let sql = format!(
        "INSERT INTO sessions SELECT randomblob(32), hex(randomblob(8)), sub, 'session', 'x', NULL, {NOW}, {NOW} - i,
            {NOW} + 86400, {ended_at}, NULL, NULL, NULL FROM users,
            (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"
    );
    test.sql(&sql);
}

#[test]
fn beyond_the_limit_the_least_recently_used_session_ends() {
    let test = TestApp::with(&["--allow-anyone", "--sessions-per-user", "3"]);
    let first = sign_in_at(&test, NOW);
    let second = sign_in_at(&test, NOW + 100);
    let third = sign_in_at(&test, NOW + 200);
    assert_eq!(status_at(&test, &first, NOW + 300), 200);
    test.app.store().flush();
    let other = test.sign_in_at(json!({"sub": "2", "email": "b@gmail.com"}), NOW + 300);
    let fourth = sign_in_at(&test, NOW + 400);
    refused(&test.send_at(get("/auth/me").bearer(&second), NOW + 400), 401, "unauthenticated");
    for session in [&first, &third, &fourth, other["session"]["token"].as_str().unwrap()] {
        assert_eq!(status_at(&test, session, NOW + 400), 200);
    }
    assert_eq!(test.count("events WHERE reason = 'by the limit of sessions per user'"), 1);
}

#[test]
fn the_newest_session_stays_even_if_the_clock_was_ahead() {
    let test = TestApp::with(&["--allow-anyone", "--sessions-per-user", "1"]);
    let early = sign_in_at(&test, NOW + HOUR);
    let late = sign_in_at(&test, NOW);
    assert_eq!((status_at(&test, &early, NOW), status_at(&test, &late, NOW)), (401, 200));
}

#[test]
fn id_tokens_count_towards_the_limit() {
    let test = TestApp::with(&["--allow-anyone", "--sessions-per-user", "1"]);
    let session = test.session();
    let bearer = token(json!({}));
    assert_eq!(test.send(get("/auth/me").bearer(&bearer)).status, 200);
    assert_eq!(status_at(&test, &session, NOW), 401);
    test.session();
    assert_eq!(status_at(&test, &bearer, NOW), 401);
}

#[test]
fn the_default_limit_is_100_sessions() {
    let test = TestApp::open();
    test.session();
    make_sessions(&test, 99, "NULL");
    assert_eq!(test.count("sessions WHERE ended_at IS NULL"), 100);
    test.session();
    assert_eq!(test.count("sessions WHERE ended_at IS NULL"), 100);
    assert_eq!(
        test.count(&format!("sessions WHERE last_seen_at = {NOW} - 99 AND ended_at = {NOW}")),
        1
    );
}

#[test]
fn signing_in_and_out_leaves_a_bounded_number_of_rows() {
    let test = TestApp::with(&["--allow-anyone", "--sessions-per-user", "3"]);
    for _ in 0..10 {
        let session = test.session();
        assert_eq!(test.send(request("POST", "/auth/signout").bearer(&session)).status, 204);
    }
    assert_eq!(test.count("sessions"), 4);
    let bearer = token(json!({}));
    assert_eq!(test.send(get("/auth/me").bearer(&bearer)).status, 200);
    assert_eq!(test.send(request("POST", "/auth/signout").bearer(&bearer)).status, 204);
    for _ in 0..5 {
        let session = test.session();
        test.send(request("POST", "/auth/signout").bearer(&session));
    }
    assert_eq!(test.count("sessions WHERE kind = 'id_token'"), 0);
    assert_eq!(status_at(&test, &bearer, NOW), 401, "it stays ended after its row is deleted");
}

#[test]
fn the_limit_is_applied_to_existing_sessions() {
    let test = TestApp::open();
    let session = test.session();
    make_sessions(&test, 1700, "NULL");
    test.app.store().limit_sessions(100, NOW).unwrap();
    assert_eq!(test.count("sessions WHERE ended_at IS NULL"), 100);
    assert_eq!(status_at(&test, &session, NOW), 200);
    assert_eq!(test.count("sessions WHERE ended_at IS NOT NULL"), 100);
}

#[test]
fn very_many_sessions_can_be_listed_ended_and_deleted() {
    type End = fn(&TestApp, &str);
    let cases: [(&str, End); 4] = [
        ("sign-out everywhere", |test, session| {
            let everywhere = request("POST", "/auth/signout?everywhere=true").bearer(session);
            assert_eq!(test.send(everywhere).status, 204);
        }),
        ("revoke --user", |test, _| {
            let user = SessionSelector::User(SUB.into());
            let (store, kind) = (test.app.store(), EventKind::Revocation);
            let ended = store.end_sessions(&user, kind, &Actor::operator(), NOW).unwrap();
            assert_eq!(ended.total(), 1201);
        }),
        ("users delete", |test, _| {
            assert!(test.app.store().delete_user(SUB, NOW).unwrap());
            assert_eq!(test.count("sessions"), 0);
            assert_eq!(test.count("events WHERE email IS NOT NULL"), 0);
        }),
        ("revoke --all", |test, _| {
            let store = test.app.store();
            assert_eq!(
                store.end_all_sessions(&Actor::operator(), NOW, |_| {}).unwrap().total(),
                1201
            );
        }),
    ];
    for (name, end) in cases {
        let test = TestApp::open();
        let session = test.session();
        make_sessions(&test, 1200, "NULL");
        let events = "INSERT INTO events (at, kind, sub, email) SELECT created_at, 'signin', sub, 'e' FROM sessions";
        test.sql(events);
        let listed = document(&test.send(get("/auth/sessions").bearer(&session)));
        assert_eq!(listed["sessions"].as_array().unwrap().len(), 1000, "{name}");
        end(&test, &session);
        assert_eq!(test.count("sessions WHERE ended_at IS NULL"), 0, "{name}");
        assert_eq!(status_at(&test, &session, NOW), 401, "{name}");
        let ends = test.count("events WHERE kind IN ('signout', 'revocation', 'delete')");
        assert_eq!(ends, if name == "users delete" { 1 } else { 1201 }, "{name}");
    }
}

#[test]
fn the_list_is_read_in_the_order_of_an_index() {
    let test = TestApp::open();
    let plan =
        "EXPLAIN QUERY PLAN SELECT id FROM sessions s WHERE s.sub = ?1 AND s.ended_at IS NULL
        AND s.expires_at > ?2 ORDER BY s.last_seen_at DESC LIMIT 1000";
    let database = test.other_process();
    let mut statement = database.prepare(plan).unwrap();
    let steps = statement.query_map(["1", "2"], |row| row.get::<_, String>(3)).unwrap();
    let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
    assert_eq!(steps, ["SEARCH s USING INDEX sessions_by_user (sub=? AND ended_at=?)"]);
}
