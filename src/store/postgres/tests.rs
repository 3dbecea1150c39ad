//! The parts above a connection, on the server at HALLPASS_TEST_POSTGRES: `tests/with-postgres`
//! starts one.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Durability;
use super::*;
use crate::process::variable;
use crate::token::random_name;

fn url() -> String {
    variable("HALLPASS_TEST_POSTGRES").expect("tests/with-postgres names the server")
}

fn server(parameters: &str) -> Arc<Server> {
    let address = Address::parse(&format!("{}{parameters}", url())).expect("a URL");
    Arc::new(Server::new(&address).expect("no file is read"))
}

/// A server with a new schema, and the name of the schema, which its connections bear too.
fn new_schema() -> (Arc<Server>, String) {
    let name = format!("t_{}", random_name().replace(['-', '_'], "").to_lowercase());
    connect(&server("")).batch(&format!("CREATE SCHEMA {name}")).expect("a new name");
    (server(&parameters(&name)), name)
}

fn parameters(schema: &str) -> String {
    format!("&application_name={schema}&options=-csearch_path%3D{schema}")
}

fn connect(server: &Server) -> Connection {
    server.connect(Instant::now() + Duration::from_secs(10)).expect("the server answers")
}

fn with_table() -> (Arc<Server>, String) {
    let (server, name) = new_schema();
    connect(&server).batch("CREATE TABLE numbers (n bigint UNIQUE)").expect("an empty schema");
    (server, name)
}

fn insert(connection: &mut Connection, number: i64) -> Result<(), Error> {
    connection.execute("INSERT INTO numbers VALUES ($1)", &[&number], &[]).map(drop)
}

fn text(connection: &mut Connection, sql: &str) -> Result<String, Error> {
    let rows = connection.query(&format!("SELECT ({sql})::text"), &[], &[])?;
    Ok(rows[0].get::<_, Option<String>>(0).unwrap_or_default())
}

const NUMBERS: &str = "SELECT string_agg(n::text, ' ' ORDER BY n) FROM numbers";

/// Ends the connections of a server, but not the one that asks.
fn end_connections(name: &str) {
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity WHERE application_name = '{name}'"
    );
    text(&mut connect(&server("")), &sql).expect("a superuser");
}

#[track_caller]
fn refused(server: &Server, missing: Missing, why: &str) {
    let error = prepare(server, missing).expect_err("must be refused").to_string();
    assert!(error.contains(why) && error.lines().count() == 1, "{error}");
}

#[test]
fn servers_create_the_tables_together() {
    let (server, _) = new_schema();
    refused(&server, Missing::Refuse, "has no tables of Hallpass");
    let barrier = Barrier::new(3);
    let mut instances: Vec<String> = thread::scope(|scope| {
        let prepare = || {
            barrier.wait();
            prepare(&server, Missing::Create).expect("a server alone can")
        };
        let threads = [(); 3].map(|()| scope.spawn(prepare));
        threads.map(|thread| thread.join().expect("no panic")).into()
    });
    instances.push(prepare(&server, Missing::Refuse).expect("the tables are there"));
    instances.dedup();
    assert_eq!(instances.len(), 1);
}

#[test]
fn the_tables_must_be_ours_and_not_newer() {
    let (server, _) = new_schema();
    let mut connection = connect(&server);
    connection.batch("CREATE TABLE users (id bigint)").expect("a table");
    refused(&server, Missing::Create, "tables of another program");
    connection.batch("DROP TABLE users").expect("it is there");
    prepare(&server, Missing::Create).expect("an empty schema");
    connection.batch("UPDATE hallpass SET version = 1000").expect("a row");
    refused(&server, Missing::Create, "a newer version of Hallpass");
}

#[test]
fn a_role_that_may_not_create_tables_can_use_them() {
    let (server_of_owner, name) = new_schema();
    let mut owner = connect(&server_of_owner);
    let role = format!("CREATE ROLE {name} LOGIN; GRANT USAGE ON SCHEMA {name} TO {name}");
    owner.batch(&role).expect("a superuser");
    let limited = server(&format!("&user={name}{}", parameters(&name)));
    refused(&limited, Missing::Create, "grant it CREATE");
    prepare(&server_of_owner, Missing::Create).expect("the owner may");
    let grant = format!("GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA {name} TO {name}");
    owner.batch(&grant).expect("the owner may");
    prepare(&limited, Missing::Create).expect("the tables are there");
}

#[test]
fn changes_that_decide_about_sessions_are_noted() {
    let (server, _) = new_schema();
    prepare(&server, Missing::Create).expect("an empty schema");
    let mut connection = connect(&server);
    let mut check = |change: &str, expected: &str| {
        connection.batch(change).expect("a statement");
        let noted = text(
            &mut connection,
            "SELECT string_agg(DISTINCT coalesce(sub, 'all'), ' ' ORDER BY coalesce(sub, 'all')) FROM changes",
        );
        assert_eq!(noted.expect("a table"), expected, "{change}");
        connection.batch("DELETE FROM changes").expect("a table");
    };
    check(
        "INSERT INTO users (sub, email_authoritative, created_at, last_signin_at) VALUES ('1', false, 1, 1), ('2', false, 1, 1);
         INSERT INTO sessions (token_sha256, id, sub, kind, client_id, created_at, last_seen_at, expires_at)
            SELECT sha256(sub::bytea), sub, sub, 'session', 'x', 1, 1, 1 FROM users",
        "",
    );
    check("UPDATE sessions SET last_seen_at = 2", "");
    check("UPDATE sessions SET last_seen_at = 1 WHERE sub = '2'", "2");
    check("UPDATE sessions SET ended_at = 1 WHERE sub = '1'", "1");
    check("UPDATE users SET blocked_at = 1", "1 2");
    check("INSERT INTO allowed (sub, created_at) VALUES ('7', 1)", "7");
    check("INSERT INTO allowed (domain, created_at) VALUES ('a.com', 1)", "all");
    check("DELETE FROM allowed", "7 all");
    check("DELETE FROM users WHERE sub = '1'", "1");
    check("SELECT 1", "");
    check("TRUNCATE sessions", "all");
}

#[test]
fn words_are_found_in_any_text_whatever_the_case() {
    let (server, _) = new_schema();
    prepare(&server, Missing::Create).expect("an empty schema");
    let mut connection = connect(&server);
    for (arguments, expected) in [
        ("'zoë LI', 'Lisa', NULL, 'x ZOË'", "true"),
        ("'zoë li', 'Zoë'", "false"),
        ("' ', NULL", "true"),
        ("'%', 'a'", "false"),
        ("'ab', 'a', 'b'", "false"),
    ] {
        let found = text(&mut connection, &format!("SELECT contains_words({arguments})"));
        assert_eq!(found.expect("a function"), expected, "{arguments}");
    }
}

#[test]
fn work_is_done_again_after_a_conflict_and_undone_after_a_failure() {
    let (server, _) = with_table();
    let writers = Writers::new(server.clone());
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    // Another transaction was first, twice.
    let work = move |connection: &mut Connection| {
        insert(connection, 1)?;
        insert(connection, if counted.fetch_add(1, Ordering::Relaxed) < 2 { 1 } else { 2 })
    };
    writers.write(Box::new(work)).expect("the third attempt succeeds");
    assert_eq!(tries.load(Ordering::Relaxed), 3);

    let always = writers.write(Box::new(|connection| insert(connection, 1)));
    assert!(always.expect_err("a lasting conflict").to_string().contains("23505"));
    let failing = |connection: &mut Connection| {
        insert(connection, 3)?;
        Err(Error::Work("no".into()))
    };
    writers.write(Box::new(failing)).expect_err("the work fails");
    let careless = |connection: &mut Connection| {
        insert(connection, 4)?;
        let _ = connection.batch("nonsense");
        Ok(())
    };
    writers.write(Box::new(careless)).expect_err("the server undoes it");
    assert_eq!(text(&mut connect(&server), NUMBERS).expect("a table"), "1 2");
}

#[test]
fn work_continues_on_new_connections() {
    let (server, name) = with_table();
    let (writers, readers) =
        (Writers::new(server.clone()), Readers::new(server, 4, Duration::from_secs(5)));
    for number in 0..3 {
        writers.write(Box::new(move |connection| insert(connection, number))).expect("a write");
        readers.read(|connection| text(connection, NUMBERS)).expect("a read");
        end_connections(&name);
    }
    assert_eq!(readers.read(|connection| text(connection, NUMBERS)).expect("a read"), "0 1 2");
    // A connection that ends with its commit may have done it.
    let ends = |connection: &mut Connection| {
        insert(connection, 3)?;
        connection.batch(
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
                PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';
             CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON numbers DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION stop()",
        )?;
        insert(connection, 4)
    };
    let error = writers.write(Box::new(ends)).expect_err("the server ends it").to_string();
    assert!(error.contains("unknown"), "{error}");
}

#[test]
fn an_answered_write_is_on_disk_whatever_the_server_is_set_to() {
    let (_, name) = with_table();
    for (setting, awaited) in
        [("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")]
    {
        let parameters = parameters(&name)
            .replace("options=", &format!("options=-csynchronous_commit%3D{setting}%20"));
        let mut connection = connect(&server(&parameters));
        for (durability, expected) in [(Durability::OnDisk, awaited), (Durability::Later, "off")] {
            connection.begin(durability).expect("a transaction");
            let found = text(&mut connection, "current_setting('synchronous_commit')");
            assert_eq!(found.expect("a setting"), expected, "{setting}");
            connection.roll_back().expect("a transaction");
        }
    }
}

#[test]
fn work_that_nobody_waits_for_is_done_before_what_follows() {
    let (server, _) = with_table();
    let writers = Writers::new(server.clone());
    for number in 0..5 {
        assert!(writers.write_later(Box::new(move |connection| insert(connection, number))));
    }
    let seen = writers.write(Box::new(|connection| {
        (text(connection, NUMBERS)? == "0 1 2 3 4")
            .then_some(())
            .ok_or(Error::Work("not yet".into()))
    }));
    seen.expect("in order");
    writers.write_later(Box::new(|connection| insert(connection, 5)));
    writers.flush();
    assert_eq!(text(&mut connect(&server), NUMBERS).expect("a table"), "0 1 2 3 4 5");
    writers.write_later(Box::new(|connection| insert(connection, 6)));
    drop(writers);
    assert_eq!(text(&mut connect(&server), NUMBERS).expect("a table"), "0 1 2 3 4 5 6");
}

#[test]
fn a_read_has_a_deadline() {
    let (server, name) = with_table();
    let readers = Readers::new(server, 1, Duration::from_millis(500));
    let started = Instant::now();
    let slow = readers.read(|connection| text(connection, "SELECT pg_sleep(60)"));
    assert!(matches!(slow, Err(Error::TimedOut)) && started.elapsed() < Duration::from_secs(30));
    let running =
        format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'");
    let mut other = connect(&super::tests::server(""));
    while text(&mut other, &running).expect("a count") != "0" {
        assert!(started.elapsed() < Duration::from_secs(30), "the server was told to stop");
    }
    // A busy pool counts too, and then has its connection again.
    readers
        .read(|_| {
            let waiting = readers.read(|connection| text(connection, NUMBERS));
            assert!(matches!(waiting, Err(Error::TimedOut)));
            Ok(())
        })
        .expect("a read");
    readers.read(|connection| text(connection, NUMBERS)).expect("a read");
}

/// A password is never sent in plain text unless that is asked for, even if the server wants it.
#[test]
fn without_tls_nothing_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let url = format!("postgresql://a:s3cret@127.0.0.1:{port}/h?sslmode=verify-full");
    let received = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let (mut request, mut rest) = ([0; 8], Vec::new());
        client.read_exact(&mut request).expect("a request");
        client.write_all(b"N").expect("an answer");
        client.read_to_end(&mut rest).expect("the end");
        (request, rest)
    });
    let server = Server::new(&Address::parse(&url).expect("a URL")).expect("public authorities");
    let error = prepare(&server, Missing::Create).expect_err("no TLS").to_string();
    assert!(error.contains("TLS") && !error.contains("s3cret"), "{error}");
    // SSLRequest ("Message Formats"), and nothing after it.
    let received = received.join().expect("no panic");
    assert_eq!(received, ([0, 0, 0, 8, 4, 210, 22, 47], Vec::new()));
}
