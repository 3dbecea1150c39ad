//! The session cache: repeated checks do not read the database, and changes by any process count on
//! the next request.

use std::fs;
use std::os::unix::fs::symlink;

use hallpass::http::Handler;
use hallpass::store::Store;
use hallpass::token::SessionToken;
use serde_json::json;

use crate::test_app::{HOUR, NOW, RequestExt, TestApp, document, get, refused};

/// Sends a request, runs `sql` as another process, and sends the request again.
fn me_after(sql: &str) -> hallpass::http::Response {
    let test = TestApp::open();
    let session = test.session();
    let me = || test.send(get("/auth/me").bearer(&session));
    assert_eq!((me().status, me().status), (200, 200));
    test.sql(sql);
    me()
}

#[test]
fn changes_by_another_process_count_on_the_next_request() {
    refused(&me_after("UPDATE users SET blocked_at = 1"), 403, "access_denied");
    for gone in [
        "UPDATE sessions SET ended_at = 1",
        "UPDATE sessions SET expires_at = 1",
        "UPDATE sessions SET last_seen_at = 1",
        "DELETE FROM sessions",
        "PRAGMA foreign_keys = ON; DELETE FROM users",
        "UPDATE sessions SET token_sha256 = randomblob(32)",
        "PRAGMA foreign_keys = OFF; DELETE FROM users",
        "PRAGMA foreign_keys = OFF; UPDATE users SET sub = '1'",
        "INSERT OR REPLACE INTO sessions SELECT token_sha256, id, sub, kind, client_id, NULL, 1, 1, 1, 1, NULL, NULL, NULL
            FROM sessions",
        "INSERT OR REPLACE INTO sessions SELECT zeroblob(32), id, sub, kind, client_id, NULL, 1, 1, 1, 1, NULL, NULL, NULL
            FROM sessions",
        // Replacing a user ends the sessions.
        "INSERT OR REPLACE INTO users SELECT * FROM users",
        "PRAGMA foreign_keys = ON; INSERT OR REPLACE INTO users SELECT * FROM users",
        "INSERT OR REPLACE INTO users (sub, email_authoritative, pinned_email, created_at, last_signin_at)
            SELECT '1', 0, pinned_email, 1, 1 FROM users",
        "UPDATE OR REPLACE sessions SET id = 'other', token_sha256 = zeroblob(32)",
    ] {
        refused(&me_after(gone), 401, "unauthenticated");
    }
    let renamed = document(&me_after("UPDATE users SET name = 'Another Name'"));
    assert_eq!(renamed["user"]["name"], "Another Name");
}

#[test]
fn sessions_of_a_deleted_user_stay_ended_after_a_new_sign_in() {
    for gone in [
        "DELETE FROM users",
        "UPDATE users SET sub = '1', pinned_email = NULL",
        "INSERT OR REPLACE INTO users (sub, email_authoritative, pinned_email, created_at, last_signin_at)
            SELECT '1', 0, pinned_email, 1, 1 FROM users; UPDATE users SET pinned_email = NULL",
    ] {
        let test = TestApp::open();
        let session = test.session();
        let other = test.other_process();
        other.execute_batch(&format!("PRAGMA foreign_keys = OFF; {gone}")).unwrap();
        assert_eq!(test.sign_in(json!({}))["new_user"], true, "{gone}");
        refused(&test.send(get("/auth/me").bearer(&session)), 401, "unauthenticated");
    }
}

#[test]
fn a_new_user_does_not_invalidate_the_cache() {
    let test = TestApp::open();
    test.session();
    let revision = || test.text("SELECT CAST(id AS TEXT) FROM revision");
    let before = revision();
    test.sign_in(json!({"sub": "2", "email": "b@gmail.com"}));
    assert_eq!(revision(), before);
}

#[test]
fn a_change_that_is_undone_also_invalidates_the_cache() {
    let test = TestApp::open();
    let session = test.session();
    for (blocked_at, status) in [("1", 403), ("NULL", 200), ("2", 403), ("NULL", 200)] {
        test.sql(&format!("UPDATE users SET blocked_at = {blocked_at}"));
        assert_eq!(test.send(get("/auth/check").bearer(&session)).status, status, "{blocked_at}");
    }
}

#[test]
fn a_new_profile_shows_in_every_session_of_the_user() {
    let test = TestApp::open();
    let session = test.session();
    let last_signin =
        |now: i64| document(&test.send_at(get("/auth/me").bearer(&session), now))["user"].clone();
    assert_eq!(last_signin(NOW)["last_signin_at"], NOW);
    test.sign_in_at(json!({"name": "New Name"}), NOW + 7);
    assert_eq!(
        (&last_signin(NOW + 8)["last_signin_at"], &last_signin(NOW + 8)["name"]),
        (&json!(NOW + 7), &json!("New Name"))
    );
}

#[test]
fn last_seen_updates_show_without_invalidating_the_cache() {
    let test = TestApp::open();
    let (session, other) = (test.session(), test.session());
    let last_seen = |now: i64| {
        document(&test.send_at(get("/auth/me").bearer(&session), now))["session"]["last_seen_at"]
            .clone()
    };
    let revision = || test.text("SELECT CAST(id AS TEXT) FROM revision");
    let before = revision();
    assert_eq!(last_seen(NOW + 100), NOW);
    assert_eq!(
        last_seen(NOW + 101),
        NOW + 100,
        "known from memory, before the database has it or after"
    );
    test.send_at(get("/auth/check").bearer(&other), NOW + 100);
    assert_eq!(revision(), before);
    assert_eq!(test.count(&format!("sessions WHERE last_seen_at = {}", NOW + 100)), 2);
}

#[test]
fn a_session_seen_by_another_process_is_not_idle() {
    let test = TestApp::with(&["--allow-anyone", "--session-idle", "1h"]);
    let session = test.session();
    let check = |now: i64| test.send_at(get("/auth/check").bearer(&session), now).status;
    assert_eq!(check(NOW), 200);
    test.other_process()
        .execute("UPDATE sessions SET last_seen_at = ?1", [NOW + HOUR - 1])
        .unwrap();
    assert_eq!((check(NOW + HOUR), check(NOW + 2 * HOUR + 60)), (200, 401));
}

#[test]
fn only_cached_sessions_are_answered_without_the_database() {
    let test = TestApp::open();
    let session = test.session();
    let fast_path =
        |request| Handler::fast_path(&test.app, &request, NOW).map(|response| response.status);
    let check = || fast_path(get("/auth/check").bearer(&session));
    assert_eq!(check(), None, "the database must be read");
    let inside = test.send(get("/auth/me").bearer(&session));
    for path in ["/auth/check", "/auth/forward", "/auth/me"] {
        assert_eq!(fast_path(get(path).bearer(&session)), Some(200), "{path}");
        assert_eq!(fast_path(get(path)), Some(401), "{path}: who brings nothing is nobody");
        assert_eq!(fast_path(get(path).bearer(SessionToken::generate().expose())), None, "{path}");
    }
    let response = Handler::fast_path(&test.app, &get("/auth/me").bearer(&session), NOW).unwrap();
    assert_eq!(response.body, inside.body);
    for path in ["/auth/account", "/auth/sessions", "/auth/admin", "/readyz", "/metrics"] {
        assert_eq!(fast_path(get(path).bearer(&session)), None, "{path}");
    }
    for (sql, then) in
        [("UPDATE days SET signins = 0", 200), ("UPDATE users SET blocked_at = 1", 403)]
    {
        assert_eq!(check(), Some(200));
        test.sql(sql);
        assert_eq!(check(), None, "{sql}: somebody has written");
        assert_eq!(test.send(get("/auth/check").bearer(&session)).status, then);
    }
    assert_eq!(check(), Some(403));
}

#[test]
fn sessions_unseen_for_ten_minutes_leave_the_cache() {
    let test = TestApp::open();
    let (early, late) = (test.session(), test.session());
    let check =
        |session: &str, now: i64| test.send_at(get("/auth/check").bearer(session), now).status;
    assert_eq!((check(&early, NOW), check(&late, NOW + 60)), (200, 200));
    test.app.store().flush();
    assert_eq!(check(&late, NOW + 60), 200, "nothing is written from now on");
    let is_known = |session: &str| {
        Handler::fast_path(&test.app, &get("/auth/check").bearer(session), NOW).is_some()
    };
    assert!(is_known(&early) && is_known(&late));
    test.app.store().prune_session_cache(NOW + 600);
    assert_eq!((is_known(&early), is_known(&late)), (false, true));
    assert_eq!(check(&early, NOW + 600), 200);
}

#[test]
fn the_cache_is_exact_for_a_database_behind_a_symbolic_link() {
    let test = TestApp::open();
    let token = SessionToken::parse(&test.session()).unwrap().hash();
    let link = test.folder.path().join("link.db");
    symlink(test.database(), &link).unwrap();
    fs::write(test.folder.path().join("link.db-shm"), [0; 32768]).unwrap();
    let store = Store::open(&link).unwrap();
    let ended_at =
        || store.sessions(&[token], NOW, HOUR).unwrap()[0].as_ref().unwrap().session.ended_at;
    assert_eq!((ended_at(), ended_at()), (None, None));
    test.sql("UPDATE sessions SET ended_at = 1");
    assert_eq!(ended_at(), Some(1));
}
