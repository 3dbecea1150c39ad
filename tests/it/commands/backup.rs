//! `hallpass backup` and `hallpass restore`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hallpass::store::Store;
use serde_json::json;

use super::{ada, error};
use crate::program::{Program, hallpass, run};

fn folder_names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[track_caller]
fn restore_fails(arguments: &[&str], reason: &str) {
    let output = run(&[&["restore"], arguments].concat());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(error(&output).contains(reason), "{}", error(&output));
}

/// SQL that records so many refusals.
fn history_of(events: usize) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {events})
        INSERT INTO events (at, kind, reason) SELECT unixepoch(), 'refusal', hex(randomblob(100)) FROM n"
    )
}

#[test]
fn a_backup_during_sign_ins_is_sound_and_restores() {
    let program = Program::serve(&[]);
    let session = program.session_of(ada());
    program.sql(&history_of(50_000));
    let backups = tempfile::tempdir().unwrap();
    let file = backups.path().join("backup.db");
    fs::write(&file, "the one before").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                program.session_of(json!({"sub": format!("new-{number}"), "email": null}));
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        program.printed(&["backup", file.to_str().unwrap()]);
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(folder_names(backups.path()), ["backup.db"], "one file and nothing beside it");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let backup = rusqlite::Connection::open(&file).unwrap();
    let check: String = backup.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let (signed_in, of_them): (i64, i64) = backup
        .query_row(
            "SELECT count(*), (SELECT count(*) FROM events WHERE kind = 'signin') FROM users",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!((check.as_str(), signed_in), ("ok", of_them), "as of one moment");
    drop(backup);

    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("hallpass.db");
    let output =
        hallpass(&["restore"]).arg(&file).arg("--database").arg(&database).output().unwrap();
    assert!(output.status.success(), "{}", error(&output));
    let restored = Program::serve_in(folder, &[], &[]);
    restored.has_status(&session, "200");
}

#[test]
fn a_backup_is_a_snapshot_of_one_moment() {
    let program = Program::serve(&[]);
    program.sql(&history_of(50_000));
    let file = program.folder.path().join("backup.db");
    let (mut steps, stop) = (0, Arc::new(AtomicBool::new(false)));
    let meanwhile = |_, _| {
        program.sql(&history_of(2_000));
        program.sql("PRAGMA busy_timeout = 0; PRAGMA wal_checkpoint(TRUNCATE)");
        steps += 1;
        // Without a snapshot, the backup would start over for ever.
        stop.store(steps > 50, Ordering::Relaxed);
    };
    Store::back_up(&program.database(), &file, meanwhile, &stop).unwrap();
    assert!(steps > 2, "nothing was written in the middle of it");
    let backup = rusqlite::Connection::open(&file).unwrap();
    let check: String = backup.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    let events: i64 =
        backup.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!((check.as_str(), events), ("ok", 50_000));
}

#[test]
fn a_database_is_replaced_only_with_force_and_unused() {
    let program = Program::serve(&[]);
    let (early, database) = (program.session_of(ada()), program.database());
    let database = database.to_str().unwrap();
    let file = program.folder.path().join("backup.db");
    let file = file.to_str().unwrap();
    program.printed(&["backup", file]);
    let late = program.session_of(ada());

    restore_fails(&[file, "--database", database], "already exists; --force replaces it");
    restore_fails(&[file, "--database", database, "--force"], "is in use; stop the server first");
    program.has_status(&late, "200");

    // Killed, it leaves its log behind, which must not become the restored file's.
    let folder = program.kill();
    assert!(run(&["restore", file, "--database", database, "--force"]).status.success());
    let program = Program::serve_in(folder, &[], &[]);
    program.has_status(&early, "200");
    program.has_status(&late, "401");
    assert!(!folder_names(program.folder.path()).iter().any(|name| name.ends_with(".part")));
}

#[test]
fn only_a_sound_backup_of_ours_is_restored() {
    let program = Program::serve(&[]);
    program.session_of(ada());
    let path = |name: &str| program.folder.path().join(name).to_str().unwrap().to_owned();
    let target = path("restored.db");
    restore_fails(&[&path("none"), "--database", &target], "there is no backup at");
    fs::write(
        path("text"),
        "no database at all, but a text of some length that begins with no magic",
    )
    .unwrap();
    restore_fails(&[&path("text"), "--database", &target], "text is not a backup of Hallpass");
    rusqlite::Connection::open(path("cats"))
        .unwrap()
        .execute_batch("CREATE TABLE cats (name TEXT)")
        .unwrap();
    restore_fails(&[&path("cats"), "--database", &target], "cats is not a backup of Hallpass");

    program.printed(&["backup", &path("backup.db")]);
    let mut bytes = fs::read(path("backup.db")).unwrap();
    bytes[4096..8192].fill(0xa5);
    fs::write(path("damaged"), bytes).unwrap();
    restore_fails(&[&path("damaged"), "--database", &target], "damaged");
    rusqlite::Connection::open(path("backup.db"))
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    restore_fails(&[&path("backup.db"), "--database", &target], "newer version");
    assert!(
        !folder_names(program.folder.path())
            .iter()
            .any(|name| name == "restored.db" || name.ends_with(".part"))
    );
}

#[test]
fn the_server_makes_backups_on_schedule() {
    let backups = tempfile::tempdir().unwrap();
    let path = |name: &str| backups.path().join(name);
    fs::write(path("hallpass-mine.db"), "").unwrap();
    fs::write(path(".hallpass-left.part"), "").unwrap();
    let long_ago = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    fs::File::options()
        .write(true)
        .open(path(".hallpass-left.part"))
        .unwrap()
        .set_times(long_ago)
        .unwrap();
    let folder = backups.path().to_str().unwrap();
    let start = hallpass::clock::now();
    let program = Program::serve(&["--backup-dir", folder, "--every", "1s", "--keep", "2"]);
    let session = program.session_of(ada());
    program.metric_reaches("hallpass_backups_total{result=\"ok\"}", 4);
    program
        .metric_reaches("hallpass_backup_last_success_timestamp_seconds", start.unsigned_abs() + 3);
    // Otherwise another process would take itself for the last one, and remove the log that is
    // being written.
    let inode = format!(":{} ", fs::metadata(program.database()).unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let reads = format!(" READ {} ", program.id());
    let held = locks.lines().any(|lock| lock.contains(&reads) && lock.contains(&inode));
    assert!(held, "the server still holds its lock on the database: {locks}");
    program.has_status(&session, "200");
    program.signal("-TERM");
    let (code, log) = program.end();
    assert!(code == Some(0) && log.contains("backed up to "), "{log}");
    let mut names = folder_names(backups.path());
    let newest = names.remove(1);
    assert!(
        names.len() == 2 && newest > names[0] && names[1] == "hallpass-mine.db",
        "{newest} {names:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    fs::copy(path(&newest), folder.path().join("hallpass.db")).unwrap();
    Program::serve_in(folder, &[], &[]).has_status(&session, "200");
}

#[test]
fn a_server_stops_at_once_during_a_backup() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("hallpass.db");
    drop(Store::open(&database).unwrap());
    rusqlite::Connection::open(&database).unwrap().execute_batch(&history_of(300_000)).unwrap();
    let backups = tempfile::tempdir().unwrap();
    let program =
        Program::serve_in(folder, &["--backup-dir", backups.path().to_str().unwrap()], &[]);
    while !folder_names(backups.path()).iter().any(|name| name.ends_with(".part")) {
        assert!(!program.log().contains("backed up to"), "it was over too soon to be stopped");
    }
    program.signal("-TERM");
    let (code, log) = program.end();
    assert!(code == Some(0) && !log.contains("backed up to"), "{log}");
    assert_eq!(folder_names(backups.path()), [""; 0]);
}

#[test]
fn a_failed_backup_does_not_stop_sign_ins() {
    // Nobody can create a file there, not even root.
    let program = Program::serve(&["--backup-dir", "/proc"]);
    program.metric_reaches("hallpass_backups_total{result=\"failed\"}", 1);
    let session = program.session_of(ada());
    program.has_status(&session, "200");
    assert!(!program.get("/metrics", "").contains("hallpass_backup_last_success"));
    program.signal("-TERM");
    let (code, log) = program.end();
    assert_eq!(
        (code, log.matches("ERROR no backup: cannot write /proc/hallpass-").count()),
        (Some(0), 1)
    );
}

#[test]
fn neither_a_backup_nor_an_export_replaces_the_database() {
    let program = Program::serve(&[]);
    let session = program.session_of(ada());
    let database = program.database();
    let database = database.to_str().unwrap();
    let link = program.folder.path().join("link");
    symlink(database, &link).unwrap();
    for command in [&["backup"][..], &["users", "export"]] {
        let fails = |target: &str, reason| program.fails(&[command, &[target]].concat(), reason);
        fails(database, "is the database itself");
        fails(link.to_str().unwrap(), "is the database itself");
        for suffix in ["-wal", "-shm", "-journal"] {
            fails(&format!("{database}{suffix}"), "belongs to the database");
        }
    }
    program.fails(
        &["backup", "/no/such/folder/backup.db"],
        "cannot write /no/such/folder/backup.db: there is no such folder\n",
    );
    program.has_status(&session, "200");
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_backup_replaces_no_link_and_no_device() {
    let program = Program::serve(&[]);
    let path = |name: &str| program.folder.path().join(name);
    fs::write(path("file"), "kept").unwrap();
    symlink(path("file"), path("link")).unwrap();
    symlink(path("none"), path("dangling")).unwrap();
    fifo(&path("fifo"));
    fs::create_dir(path("folder")).unwrap();
    for name in ["link", "dangling", "fifo", "folder"] {
        let before = fs::symlink_metadata(path(name)).unwrap().ino();
        program.fails(&["backup", path(name).to_str().unwrap()], "is not a regular file");
        assert_eq!(fs::symlink_metadata(path(name)).unwrap().ino(), before, "{name}");
    }
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "kept");
}

#[test]
fn a_replaced_file_keeps_owner_and_mode() {
    let program = Program::serve(&[]);
    let session = program.session_of(ada());
    let backup = program.folder.path().join("backup.db");
    let owner = |path: &Path| {
        let file = fs::metadata(path).unwrap();
        (file.uid(), file.gid(), file.mode() & 0o777)
    };
    program.printed(&["backup", backup.to_str().unwrap()]);
    // Only root can give files away; for others the owner is the same before and after.
    let _ = chown(&backup, Some(12345), Some(54321));
    let backups_owner = owner(&backup);
    program.printed(&["backup", backup.to_str().unwrap()]);
    assert_eq!(owner(&backup), backups_owner);

    let folder = program.kill();
    let (database, link) = (folder.path().join("hallpass.db"), folder.path().join("link.db"));
    symlink(&database, &link).unwrap();
    let _ = chown(&database, Some(12345), Some(54321));
    fs::set_permissions(&database, fs::Permissions::from_mode(0o640)).unwrap();
    let before = owner(&database);
    let restore = |to: &Path, force: &[&str]| {
        let arguments = ["restore", backup.to_str().unwrap(), "--database", to.to_str().unwrap()];
        run(&[&arguments, force].concat())
    };
    let output = restore(&link, &["--force"]);
    assert!(output.status.success(), "{}", error(&output));
    assert_eq!(owner(&database), before);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "and the link stays");

    // If the database is gone, the owner of its folder counts.
    let _ = chown(folder.path(), Some(12345), Some(54321));
    fs::remove_file(&database).unwrap();
    assert!(restore(&database, &[]).status.success());
    let owner_of_folder = (owner(folder.path()).0, owner(folder.path()).1, 0o600);
    assert_eq!(owner(&database), owner_of_folder);
    let _ = chown(folder.path(), Some(0), Some(0));
    Program::serve_in(folder, &[], &[]).has_status(&session, "200");
}

#[test]
fn a_restored_database_never_gets_the_log_of_another() {
    let program = Program::serve(&[]);
    let backup = program.folder.path().join("backup.db");
    program.printed(&["backup", backup.to_str().unwrap()]);
    let late = program.session_of(ada());
    let folder = program.kill();
    let database = folder.path().join("hallpass.db");
    fs::remove_file(&database).unwrap();
    assert!(fs::metadata(folder.path().join("hallpass.db-wal")).unwrap().len() > 0);
    let (backup, database) = (backup.to_str().unwrap(), database.to_str().unwrap());
    restore_fails(&[backup, "--database", database], "-wal already exists; --force replaces it");
    assert!(run(&["restore", backup, "--database", database, "--force"]).status.success());
    Program::serve_in(folder, &[], &[]).has_status(&late, "401");
}

#[test]
fn only_a_regular_file_is_replaced_by_a_restore() {
    let program = Program::serve(&[]);
    let path = |name: &str| program.folder.path().join(name).to_str().unwrap().to_owned();
    program.printed(&["backup", &path("backup.db")]);
    fifo(Path::new(&path("fifo")));
    let reason = "fifo is not a regular file";
    restore_fails(&[&path("backup.db"), "--database", &path("fifo"), "--force"], reason);
    assert!(fs::symlink_metadata(path("fifo")).unwrap().file_type().is_fifo());
}
