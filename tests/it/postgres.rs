//! Several servers on one PostgreSQL.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Barrier;
use std::thread;

use hallpass::http::Handler;
use hallpass::store::Database;
use serde_json::json;

use crate::engine::TestDatabase;
use crate::test_app::{
    NOW, RequestExt, TestApp, body, document, get, post_token, refused, request, token,
};

const FLAGS: [&str; 1] = ["--allow-anyone"];

/// Servers on a new database.
fn servers<const COUNT: usize>() -> [TestApp; COUNT] {
    let database = TestDatabase::on_postgres();
    [(); COUNT].map(|()| TestApp::on_database(&database, &FLAGS))
}

/// Sends a sign-in with these claims to each server at once, and returns the statuses in order.
fn at_once(servers: &[TestApp], claims: impl Fn(usize) -> serde_json::Value + Sync) -> Vec<u16> {
    let barrier = Barrier::new(servers.len());
    let mut statuses: Vec<u16> = thread::scope(|scope| {
        let mut running = Vec::new();
        for (number, server) in servers.iter().enumerate() {
            let request = post_token(&token(claims(number)));
            let barrier = &barrier;
            running.push(scope.spawn(move || {
                barrier.wait();
                server.send(request).status
            }));
        }
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    statuses
}

fn me(server: &TestApp, session: &str) -> u16 {
    server.send(get("/auth/me").bearer(session)).status
}

#[test]
fn a_session_works_on_every_server_at_once() {
    let [a, b, c] = servers();
    for _ in 0..10 {
        let session = a.session();
        assert_eq!((me(&b, &session), me(&c, &session), me(&a, &session)), (200, 200, 200));
    }
}

#[test]
fn ended_and_blocked_count_on_every_server_on_the_next_request() {
    let [a, b, c] = servers();
    for _ in 0..10 {
        let session = a.session();
        assert_eq!((me(&b, &session), me(&c, &session)), (200, 200));
        assert_eq!(a.send(request("POST", "/auth/signout").bearer(&session)).status, 204);
        assert_eq!((me(&b, &session), me(&c, &session)), (401, 401));
    }
    let session = b.session();
    assert_eq!((me(&a, &session), me(&c, &session)), (200, 200));
    a.sql("UPDATE users SET blocked_at = 1");
    assert_eq!((me(&a, &session), me(&b, &session), me(&c, &session)), (403, 403, 403));
    refused(&c.send(post_token(&token(json!({})))), 403, "access_denied");
}

#[test]
fn a_person_who_signs_in_everywhere_at_once_is_one_user() {
    let servers = servers::<3>();
    for person in 0..10 {
        let claims = |_| json!({"sub": person.to_string(), "email": format!("{person}@gmail.com")});
        assert_eq!(at_once(&servers, claims), [200, 200, 200]);
    }
    assert_eq!((servers[0].count("users"), servers[0].count("sessions")), (10, 30));
    assert_eq!(servers[0].count("users WHERE username IS NULL"), 0);
}

#[test]
fn an_email_belongs_to_one_of_two_who_come_at_once() {
    let servers = servers::<2>();
    for pair in 0..10 {
        let claims = |number| json!({"sub": format!("{pair}{number}"), "email": format!("{pair}@gmail.com")});
        assert_eq!(at_once(&servers, claims), [200, 403]);
    }
    assert_eq!(servers[0].count("users"), 10);
    assert_eq!(servers[0].count("events WHERE kind = 'refusal'"), 10);
}

/// Without a lease, a cached session may have ended on another server.
#[test]
fn no_session_is_answered_from_memory() {
    let [server] = servers();
    let session = server.session();
    let check = get("/auth/check").bearer(&session);
    for _ in 0..3 {
        assert!(server.app.fast_path(&check, NOW).is_none());
        assert!(server.app.may_wait_to_read(&check), "not on a thread for quick requests");
        assert_eq!(server.send(check.clone()).status, 200);
    }
    assert!(!server.app.may_wait_to_read(&get("/healthz")));
}

#[test]
fn servers_may_start_at_once_on_an_empty_database() {
    let database = TestDatabase::on_postgres();
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                barrier.wait();
                database.database.open().unwrap().ping().unwrap();
            });
        }
    });
    assert_eq!(database.value("SELECT count(*) FROM hallpass").as_deref(), Some("1"));
    let instances = [(); 2].map(|()| database.database.instance().unwrap());
    assert_eq!(instances[0], instances[1]);
}

#[track_caller]
fn is_refused(database: &TestDatabase, why: &str) {
    let error = database.database.open().err().expect("must be refused").to_string();
    assert!(error.contains(why) && error.lines().count() == 1, "{error}");
}

#[test]
fn the_tables_must_be_ours_and_not_newer() {
    let database = TestDatabase::on_postgres();
    let missing = database.database.open_existing().err().unwrap().to_string();
    assert!(missing.contains("has no tables of Hallpass"), "{missing}");
    database.sql("CREATE TABLE users (id bigint)");
    is_refused(&database, "tables of another program");
    database.sql("DROP TABLE users");
    drop(database.database.open().unwrap());
    database.sql("UPDATE hallpass SET version = 1000");
    is_refused(&database, "a newer version of Hallpass");
}

#[test]
fn a_role_that_may_not_create_tables_can_use_them() {
    let database = TestDatabase::on_postgres();
    let (role, schema) = (database.schema(), database.schema());
    database.sql(&format!("CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {schema} TO {role}"));
    let limited = database.as_role(&role);
    is_refused(&limited, "grant it CREATE");
    drop(database.database.open().unwrap());
    database.sql(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}"
    ));
    let server = TestApp::on_database(&limited, &FLAGS);
    assert_eq!(me(&server, &server.session()), 200);
}

#[test]
fn a_server_continues_after_its_connections_broke() {
    let [server] = servers();
    let session = server.session();
    for _ in 0..3 {
        let name = server.database.schema();
        server.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE application_name = '{name}' AND pid <> pg_backend_pid()"
        ));
        assert_eq!(me(&server, &session), 200);
        assert_eq!(me(&server, &server.session()), 200);
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_a_503() {
    let [server] = servers();
    let session = server.session();
    server.sql("ALTER TABLE sessions RENAME TO gone");
    refused(&server.send(get("/auth/me").bearer(&session)), 503, "temporarily_unavailable");
    refused(&server.send(post_token(&token(json!({})))), 503, "temporarily_unavailable");
    assert_eq!(server.count("events"), 1, "all or nothing");
    server.sql("ALTER TABLE gone RENAME TO sessions");
    assert_eq!((me(&server, &session), me(&server, &server.session())), (200, 200));
}

/// Beyond this machine a password is never sent in plain text, even if the server wants that.
#[test]
fn nothing_is_sent_in_plain_text_unless_that_is_disabled() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgresql://a:s3cret@127.0.0.1:{port}/h?sslmode=verify-full");
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        client.read_exact(&mut request).unwrap();
        client.write_all(b"N").unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        (request, rest)
    });
    let error = Database::parse(url.as_ref()).unwrap().open().err().unwrap().to_string();
    assert!(error.contains("TLS") && !error.contains("s3cret"), "{error}");
    // The request for TLS ("Message Formats", SSLRequest), and nothing after it.
    assert_eq!(server.join().unwrap(), ([0, 0, 0, 8, 4, 210, 22, 47], Vec::new()));
}

/// Refusals that nobody waits for are there after a flush, and days add up over their slots.
#[test]
fn events_that_nobody_waits_for_are_written() {
    let [server] = servers();
    for _ in 0..3 {
        let other = token(json!({"aud": "another"}));
        refused(&server.send(post_token(&other)), 401, "invalid_token");
        server.session();
    }
    assert_eq!(server.count("events WHERE kind = 'refusal'"), 3);
    let day = server.app.store().days(1, NOW).unwrap()[0];
    assert_eq!((day.signins, day.refusals), (3, 3));
    let shown = document(&server.send(get("/auth/me").bearer(&server.session())));
    assert_eq!(shown["user"]["email_verified"], true, "{}", body(&server.send(get("/healthz"))));
}
