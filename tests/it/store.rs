//! The database file: opening, migration, locking, purging and damage.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use hallpass::store::{Integrity, Store};
use rusqlite::Connection;
use serde_json::json;

use crate::test_app::{DAY, NOW, RequestExt, TestApp, get, post_token, refused, token};

#[track_caller]
fn is_refused(path: &Path, reason: &str) {
    let error = Store::open(path).err().expect("must be refused").to_string();
    assert!(error.contains(reason) && error.contains(path.to_str().unwrap()), "{error}");
}

#[test]
fn a_new_database_is_private_and_uses_wal() {
    let test = TestApp::open();
    test.session();
    assert_eq!(fs::metadata(test.database()).unwrap().permissions().mode() & 0o777, 0o600);
    let pragma =
        |name: &str| test.text(&format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}")).unwrap();
    assert_eq!(pragma("journal_mode"), "wal");
    assert_eq!(pragma("user_version"), "3");
}

#[test]
fn reopening_keeps_all_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(Store::open(&path).unwrap());
    Connection::open(&path)
        .unwrap()
        .execute("INSERT INTO users (sub, email_authoritative, created_at, last_signin_at) VALUES ('1', 0, 1, 1)", [])
        .unwrap();
    drop(Store::open(&path).unwrap());
    let users: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM users", [], |r| r.get(0))
        .unwrap();
    assert_eq!(users, 1);
}

const OF_VERSION_1: &str = concat!(
    include_str!("schemas/1.sql"),
    "INSERT INTO users (sub, email_authoritative, created_at, last_signin_at) VALUES ('1', 0, 1, 1);
    INSERT INTO sessions VALUES (zeroblob(32), 'a', '1', 'session', 'c', NULL, 1, 1, 9, NULL, NULL, NULL);
    INSERT INTO events (at, kind, sub) VALUES (1, 'signin', '1');
    PRAGMA application_id = 1214344300; PRAGMA user_version = 1;"
);
const OF_VERSION_2: &str = include_str!("schemas/2.sql");

fn create_from(path: &Path, sql: &str) -> Connection {
    let database = Connection::open(path).unwrap();
    database.execute_batch(sql).unwrap();
    database
}

fn schema(path: &Path) -> Vec<String> {
    let sql = "SELECT type || ' ' || name || ' ' || CASE type WHEN 'table' THEN '' ELSE ifnull(sql, '') END
            FROM sqlite_schema
        UNION ALL SELECT t.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || c.pk
            FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY 1";
    let database = Connection::open(path).unwrap();
    let mut statement = database.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

fn rows(path: &Path, table: &str, columns: &str) -> String {
    let sql = format!("SELECT coalesce(json_group_array(json_array({columns})), '') FROM {table}");
    Connection::open(path).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_migrated_database_has_the_new_schema_and_its_old_rows() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new");
    drop(Store::open(&new).unwrap());
    for (name, sql) in [("1", OF_VERSION_1), ("2", OF_VERSION_2)] {
        let (old, before) =
            (folder.path().join(name), folder.path().join(format!("{name}.before-3")));
        drop(create_from(&old, sql));
        let kept = |path: &Path| {
            [
                rows(path, "users", "sub, email, pinned_email, name, last_signin_at, blocked_at"),
                rows(path, "sessions", "hex(token_sha256), id, sub, kind, expires_at, ended_at"),
                rows(path, "events", "at, kind, sub, email, reason"),
            ]
        };
        let (schema_before, rows_before) = (schema(&old), kept(&old));
        drop(Store::open(&old).unwrap());
        assert_eq!((schema(&old), kept(&old)), (schema(&new), rows_before.clone()), "{name}");
        assert_eq!((schema(&before), kept(&before)), (schema_before, rows_before), "{name}");
        // A database of the current version is not copied.
        fs::remove_file(&before).unwrap();
        drop(Store::open(&old).unwrap());
        assert!(!before.exists());
    }
    assert!(!folder.path().join("new.before-3").exists());
}

#[test]
fn a_migration_copies_the_mode_and_replaces_no_earlier_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (old, before) = (folder.path().join("db"), folder.path().join("db.before-3"));
    drop(create_from(&old, OF_VERSION_2));
    fs::set_permissions(&old, fs::Permissions::from_mode(0o640)).unwrap();
    drop(Store::open(&old).unwrap());
    assert_eq!(fs::metadata(&before).unwrap().permissions().mode() & 0o777, 0o640);
    fs::remove_file(&old).unwrap();
    fs::write(&before, "an earlier copy").unwrap();
    drop(create_from(&old, OF_VERSION_2));
    drop(Store::open(&old).unwrap());
    assert_eq!(fs::read_to_string(&before).unwrap(), "an earlier copy");
}

#[test]
fn a_migration_survives_what_other_programs_did() {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in [("1", OF_VERSION_1), ("2", OF_VERSION_2)] {
        let old = folder.path().join(name);
        let database = create_from(&old, sql);
        // Without foreign keys and triggers, sessions stay when their user is deleted.
        database
            .execute_batch(
                "PRAGMA foreign_keys = OFF;
                CREATE TEMP TABLE kept AS SELECT * FROM sessions;
                DELETE FROM users WHERE sub = (SELECT min(sub) FROM users);
                INSERT OR IGNORE INTO sessions SELECT * FROM kept;
                CREATE TABLE notes (text TEXT);
                CREATE VIEW open AS SELECT sub FROM sessions WHERE ended_at IS NULL;
                CREATE INDEX mine ON sessions (client_id);
                CREATE TRIGGER noted AFTER DELETE ON sessions BEGIN INSERT INTO notes VALUES (old.id); END;",
            )
            .unwrap();
        drop(database);
        drop(Store::open(&old).unwrap());
        let database = Connection::open(&old).unwrap();
        let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let orphans = "SELECT count(*) FROM sessions WHERE sub NOT IN (SELECT sub FROM users)";
        assert_eq!(count(orphans), 0, "{name}");
        count("SELECT count(*) FROM open");
        let own = "SELECT count(*) FROM sqlite_schema WHERE name IN ('mine', 'noted') AND tbl_name = 'sessions'";
        assert_eq!(count(own), 2, "{name}");
        assert_eq!(count("SELECT count(*) FROM pragma_foreign_key_check"), 0, "{name}");
        let sessions = count("SELECT count(*) FROM sessions");
        database.execute_batch("DELETE FROM sessions").unwrap();
        assert!(count("SELECT count(*) FROM notes") >= sessions, "{name}");
    }
}

#[test]
fn a_database_is_not_migrated_if_the_copy_fails() {
    let folder = tempfile::tempdir().unwrap();
    // With `.before-3` the name is one byte too long.
    let old = folder.path().join("d".repeat(247));
    drop(create_from(&old, OF_VERSION_2));
    let before = schema(&old);
    is_refused(&old, "the copy that is made first failed");
    assert_eq!(schema(&old), before);
}

#[test]
fn foreign_newer_damaged_and_missing_databases_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);

    fs::write(path("text"), "a text file, long enough to hold the header of a database").unwrap();
    is_refused(&path("text"), "is not Hallpass's");

    Connection::open(path("other"))
        .unwrap()
        .execute_batch("CREATE TABLE cats (name TEXT)")
        .unwrap();
    is_refused(&path("other"), "is not Hallpass's");

    for name in [":memory:", "file:hallpass.db?mode=memory"] {
        is_refused(Path::new(name), "is not a file");
        assert!(!Path::new(name).exists(), "{name}");
    }

    drop(Store::open(&path("newer")).unwrap());
    Connection::open(path("newer")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    is_refused(&path("newer"), "newer version");

    drop(Store::open(&path("damaged")).unwrap());
    let mut bytes = fs::read(path("damaged")).unwrap();
    bytes[4096..8192].fill(0xa5);
    fs::write(path("damaged"), bytes).unwrap();
    is_refused(&path("damaged"), "is damaged");

    is_refused(&path("no/such/folder"), "its folder does not exist");
}

#[test]
fn readers_do_not_wait_for_writers() {
    let test = TestApp::open();
    let session = test.session();
    let other = test.other_process();
    other.execute_batch("BEGIN IMMEDIATE; UPDATE users SET name = 'x'").unwrap();
    let start = Instant::now();
    assert_eq!(test.send_at(get("/auth/check").bearer(&session), NOW + DAY).status, 200);
    assert!(start.elapsed() < Duration::from_secs(1));
    other.execute_batch("COMMIT").unwrap();
}

#[test]
fn a_write_waits_for_another_process_and_then_fails() {
    let test = TestApp::open();
    let session = test.session();
    let other = test.other_process();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| test.send(post_token(&token(json!({})))));
        thread::sleep(Duration::from_millis(100));
        assert_eq!(test.send(get("/auth/check").bearer(&session)).status, 200);
        refused(&waiting.join().unwrap(), 503, "temporarily_unavailable");
    });
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(test.send(post_token(&token(json!({})))).status, 200, "recovers without a restart");
}

#[test]
fn expired_rows_are_purged_in_steps() {
    let test = TestApp::open();
    test.session();
    test
        .sql(
            "INSERT INTO sessions SELECT randomblob(32), hex(randomblob(8)), sub, 'session', 'x', NULL, 1, 1, 2, NULL,
                NULL, NULL, NULL FROM users,
                (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) SELECT i FROM n)",
        );
    let purge = |now, events_kept| test.app.store().purge(now, events_kept).unwrap();
    assert!(purge(NOW, None));
    assert_eq!(test.count("sessions"), 701);
    assert!(purge(NOW, None));
    assert!(!purge(NOW, None));
    assert_eq!(test.count("sessions"), 1);
    purge(NOW + 400 * DAY, None);
    purge(NOW + 400 * DAY - 1, Some(400 * DAY));
    assert_eq!(test.count("events"), 1);
    purge(NOW + 400 * DAY, Some(400 * DAY));
    assert_eq!((test.count("events"), test.count("users")), (0, 1), "users stay");
}

#[test]
fn events_beyond_the_maximum_are_purged_whatever_their_age() {
    let test = TestApp::open();
    let other = test.other_process();
    let purge = || while test.app.store().purge(NOW, None).unwrap() {};
    other
        .execute_batch("INSERT INTO events (id, at, kind) VALUES (1, 9, 'signin'), (2, 9, 'signin'), (5000001, 9, 'x')")
        .unwrap();
    purge();
    assert_eq!(test.count("events"), 2, "the first one exceeds the maximum of five million");
    other
        .execute_batch(
            "INSERT INTO events (id, at, kind) WITH RECURSIVE n (i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
                SELECT i, 9, 'signin' FROM n; INSERT INTO events (id, at, kind) VALUES (5001199, 9, 'x')",
        )
        .unwrap();
    purge();
    assert_eq!(test.count("events"), 3);
}

#[test]
fn sign_ins_and_readyz_fail_while_a_database_file_is_removed_or_replaced() {
    for (file, replace, told) in [
        ("hallpass.db", false, "hallpass.db was removed"),
        ("hallpass.db", true, "hallpass.db was replaced"),
        ("hallpass.db-wal", false, "hallpass.db-wal was removed"),
        ("hallpass.db-shm", true, "hallpass.db-shm was replaced"),
    ] {
        let test = TestApp::open();
        let session = test.session();
        assert_eq!(test.send(get("/auth/check").bearer(&session)).status, 200);
        let (file, away) = (test.folder.path().join(file), test.folder.path().join("away"));
        fs::rename(&file, &away).unwrap();
        if replace {
            fs::copy(&away, &file).unwrap();
        }
        refused(&test.send(post_token(&token(json!({})))), 503, "temporarily_unavailable");
        refused(&test.send(get("/readyz")), 503, "temporarily_unavailable");
        let error = test.app.store().ping().unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
        fs::rename(&away, &file).unwrap();
        assert_eq!(test.send(get("/readyz")).status, 200, "the file is back");
        assert_eq!(test.send(post_token(&token(json!({})))).status, 200);
    }
}

#[test]
fn concurrent_sign_ins_are_all_recorded() {
    let test = TestApp::open();
    thread::scope(|scope| {
        for client in 0..16 {
            let test = &test;
            scope.spawn(move || {
                for number in 0..10 {
                    let sub = format!("{client}-{number}");
                    assert_eq!(test.sign_in(json!({"sub": sub, "email": null}))["new_user"], true);
                }
            });
        }
    });
    assert_eq!(
        (test.count("users"), test.count("sessions"), test.count("events")),
        (160, 160, 160)
    );
}

#[test]
fn an_integrity_check_stops_at_its_time_limit() {
    let test = TestApp::open();
    let filler = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
        INSERT INTO events (at, kind, reason) SELECT i, 'refusal', hex(randomblob(100)) FROM n";
    test.sql(filler);
    let check = |time_max| Store::check_integrity(&test.database(), time_max).unwrap();
    assert_eq!(check(Duration::ZERO), Integrity::Interrupted);
    assert_eq!(check(Duration::from_secs(60)), Integrity::Intact);
}
