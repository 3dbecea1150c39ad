//! What the operator does while others use the server: pages and lists of a million users, and a backup.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::answering;
use super::google::{Answers, Google};
use super::load::{Connection, Connections, closed_loop};
use super::population;
use super::report::{Target, median, percentile, remark, row};
use super::server::{BINARY, Server};

/// What costs the most.
const WORST: &str = "the worst search";
/// How often a page is asked for, and a list.
const PAGES: usize = 50;
const LISTS: usize = 10;
/// Backups, and copies beside them.
const ROUNDS: usize = 3;
/// How long checks are counted, with a backup under way and without.
const RUN: Duration = Duration::from_secs(5);
const CLIENTS: usize = 16;

/// Measures all of it on one database.
pub fn measure(folder: &Path) {
    let database = folder.join("population.db");
    let tokens = population::create(&database);
    remark(&format!(
        "a database of {} users, {} sessions and {} events, {:.2} GB",
        population::USERS,
        population::USERS,
        population::EVENTS,
        size(&database) / 1e9
    ));
    let google = Google::start(Answers::Never);
    let server = Server::hallpass(&database, &google, &["--admin-email", population::ADMIN]);
    pages(&server, &tokens[0]);
    list(&database);
    backup(&database, folder);
    backup_under_load(&server, &tokens, &database, folder);
}

fn size(file: &Path) -> f64 {
    fs::metadata(file).expect("the file is there").len() as f64
}

fn pages(server: &Server, admin: &str) {
    let mut connection = Connection::open_served(server.address);
    let middle = population::USERS / 2;
    for (what, path) in [
        ("the overview", "/auth/admin".to_owned()),
        ("the newest users", "/auth/admin/users".to_owned()),
        ("users, in the middle", format!("/auth/admin/users?from={middle}")),
        ("a search that finds all", "/auth/admin/users?q=example.com".to_owned()),
        ("a search that finds many", "/auth/admin/users?q=lovelace+ada".to_owned()),
        ("a search that finds one", "/auth/admin/users?q=lovelace.654326%40".to_owned()),
        ("a search that finds nobody", "/auth/admin/users?q=quentin".to_owned()),
        ("a user", format!("/auth/admin/users/{}", population::ADMIN_SUBJECT)),
        // Each word is in more than 100,000 names, which no real names are, and no name has all three.
        (WORST, "/auth/admin/users?q=ada+hopper+okafor".to_owned()),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: hallpass={admin}\r\n\r\n");
        let ask = |_| {
            let begin = Instant::now();
            assert_eq!(connection.exchange(request.as_bytes()), 200, "{path}");
            begin.elapsed()
        };
        let mut times: Vec<Duration> = (0..PAGES).map(ask).collect();
        let p95 = percentile(&mut times, 0.95);
        let target = if what == WORST { Target::None } else { Target::AtMost(20.0) };
        row(&format!("admin page, {what}, p95 in ms"), &format!("{p95:.1}"), "", p95, target);
    }
}

fn list(database: &Path) {
    let times = (0..LISTS).map(|_| run(Command::new(BINARY).args(["users", "list", "--database"]).arg(database)));
    let first_page = median(times.map(|time| time.as_secs_f64() * 1000.0).collect());
    row("hallpass users list, first page, ms", &format!("{first_page:.0}"), "", first_page, Target::AtMost(100.0));
}

/// A backup is on disk when it ends, so the copy beside it is synced as well.
fn backup(database: &Path, folder: &Path) {
    let (backup, copy) = (folder.join("backup.db"), folder.join("copy.db"));
    let gigabytes = size(database) / 1e9;
    let rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let copied = run(Command::new("cp").arg(database).arg(&copy)) + run(Command::new("sync").arg(&copy));
            fs::remove_file(&copy).expect("the copy is there");
            let backed_up = run(&mut backing_up(database, &backup));
            fs::remove_file(&backup).expect("the backup is there");
            (gigabytes / backed_up.as_secs_f64(), gigabytes / copied.as_secs_f64())
        })
        .collect();
    row(
        "hallpass backup, GB/s | cp and sync",
        &format!("{:.2}", median(rounds.iter().map(|(backup, _)| *backup).collect())),
        &format!("{:.2}", median(rounds.iter().map(|(_, copy)| *copy).collect())),
        median(rounds.iter().map(|(backup, copy)| backup / copy).collect()),
        Target::AtLeast(0.5),
    );
}

fn backup_under_load(server: &Server, tokens: &[String], database: &Path, folder: &Path) {
    answering::each_once(server, tokens, Connections::Kept);
    let request = |number| answering::request("GET /auth/check HTTP/1.1", tokens, number);
    let checks = || closed_loop(server.address, CLIENTS, Connections::Kept, RUN, &request).per_second;
    let rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let quiet = checks();
            let mut backup = backing_up(database, &folder.join("under-load.db"));
            let mut backup = backup.stdout(Stdio::null()).spawn().expect("the program can be run");
            let busy = checks();
            let ended = backup.try_wait().expect("the backup is a child of ours");
            assert!(ended.is_none_or(|status| status.success()), "the backup failed");
            backup.wait().expect("the backup ends");
            (busy, quiet)
        })
        .collect();
    row(
        "checks/s during a backup | without",
        &format!("{:.0}", median(rounds.iter().map(|(busy, _)| *busy).collect())),
        &format!("{:.0}", median(rounds.iter().map(|(_, quiet)| *quiet).collect())),
        median(rounds.iter().map(|(busy, quiet)| busy / quiet).collect()),
        Target::AtLeast(0.8),
    );
}

fn backing_up(database: &Path, file: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("backup").arg("--database").arg(database).arg(file);
    command
}

/// Runs a command to its good end; returns how long that took.
fn run(command: &mut Command) -> Duration {
    let begin = Instant::now();
    assert!(command.stdout(Stdio::null()).status().expect("the program can be run").success(), "{command:?}");
    begin.elapsed()
}
