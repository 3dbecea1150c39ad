//! What the operator does while others use the server: pages and lists of a million users, and a backup.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hallpass::clock;

use super::answering;
use super::google::{Answers, Google};
use super::load::{Connection, Connections, closed_loop};
use super::population;
use super::report::{Target, median, percentile, remark, row};
use super::server::{BINARY, Server};

/// How often a page is asked for, and a list.
const PAGES: usize = 50;
const LISTS: usize = 10;
/// Backups, each beside a copy.
const BACKUPS: usize = 5;
/// The pause before either. A virtual machine gives freed memory back to its host after some seconds, and is several
/// times slower until it has it again: without a pause, every second command would find what the first one left.
const PAUSE: Duration = Duration::from_secs(5);
/// Backups while checks are counted.
const ROUNDS: usize = 3;
/// How long checks are counted without a backup.
const RUN: Duration = Duration::from_secs(5);
/// With one, they are counted again and again for so long, from its beginning to its end.
const SLICE: Duration = Duration::from_millis(1500);
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
    // Half of the 400 days that the users came in.
    let middle = format!("/auth/admin/users?from={}.0", clock::now() - 200 * 86_400);
    let user = format!("/auth/admin/users/{}", population::ADMIN_SUBJECT);
    // A search reads every user.
    const SEARCH_MS_MAX: f64 = 600.0;
    for (what, path, ms_max) in [
        ("the overview", "/auth/admin", 20.0),
        ("the newest users", "/auth/admin/users", 20.0),
        ("users, in the middle", &middle, 20.0),
        ("a user", &user, 20.0),
        ("a search that finds all", "/auth/admin/users?q=example.com", SEARCH_MS_MAX),
        ("a search that finds one", "/auth/admin/users?q=lovelace.654326%40", SEARCH_MS_MAX),
        ("a search that finds nobody", "/auth/admin/users?q=ada+hopper+okafor", SEARCH_MS_MAX),
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: hallpass={admin}\r\n\r\n");
        let ask = |_| {
            let begin = Instant::now();
            assert_eq!(connection.exchange(request.as_bytes()), 200, "{path}");
            begin.elapsed()
        };
        let mut times: Vec<Duration> = (0..PAGES).map(ask).collect();
        let p95 = percentile(&mut times, 0.95);
        row(
            &format!("admin page, {what}, p95 in ms"),
            &format!("{p95:.1}"),
            "",
            p95,
            Target::AtMost(ms_max),
        );
    }
}

fn list(database: &Path) {
    let times = (0..LISTS)
        .map(|_| run(Command::new(BINARY).args(["users", "list", "--database"]).arg(database)));
    let first_page = median(times.map(|time| time.as_secs_f64() * 1000.0).collect());
    row(
        "hallpass users list, first page, ms",
        &format!("{first_page:.0}"),
        "",
        first_page,
        Target::AtMost(100.0),
    );
}

fn backup(database: &Path, folder: &Path) {
    let (backup, copy) = (folder.join("backup.db"), folder.join("copy.db"));
    let gigabytes = size(database) / 1e9;
    // A backup is on disk when it ends, so the copy beside it is synced as well.
    let (mut backups, mut copies, mut copies_synced) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..BACKUPS {
        thread::sleep(PAUSE);
        let copied = run(Command::new("cp").arg(database).arg(&copy));
        let synced = run(Command::new("sync").arg(&copy));
        fs::remove_file(&copy).expect("the copy is there");
        thread::sleep(PAUSE);
        backups.push(gigabytes / run(&mut backing_up(database, &backup)).as_secs_f64());
        fs::remove_file(&backup).expect("the backup is there");
        copies.push(gigabytes / copied.as_secs_f64());
        copies_synced.push(gigabytes / (copied + synced).as_secs_f64());
    }
    let ratio = |copies: &[f64]| {
        median(backups.iter().zip(copies).map(|(backup, copy)| backup / copy).collect())
    };
    for (what, copies) in [("cp", copies), ("cp and sync", copies_synced)] {
        let ratio = ratio(&copies);
        let (backup, copy) = (median(backups.clone()), median(copies));
        let what = format!("hallpass backup, GB/s | {what}");
        row(&what, &format!("{backup:.2}"), &format!("{copy:.2}"), ratio, Target::AtLeast(0.5));
    }
}

fn backup_under_load(server: &Server, tokens: &[String], database: &Path, folder: &Path) {
    answering::each_once(server, tokens, Connections::Kept);
    let request = |number| answering::request("GET /auth/check HTTP/1.1", tokens, number);
    let checks =
        |run| closed_loop(server.address, CLIENTS, Connections::Kept, run, &request).per_second;
    let rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let quiet = checks(RUN);
            let mut backup = backing_up(database, &folder.join("under-load.db"));
            let mut backup = backup.stdout(Stdio::null()).spawn().expect("the program can be run");
            let mut busy = Vec::new();
            let ended = loop {
                let checked = checks(SLICE);
                if let Some(ended) = backup.try_wait().expect("the backup is a child of ours") {
                    break ended;
                }
                busy.push(checked);
            };
            assert!(ended.success() && !busy.is_empty(), "the backup failed, or was over at once");
            let busy = busy.iter().sum::<f64>() / busy.len() as f64;
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
    assert!(
        command.stdout(Stdio::null()).status().expect("the program can be run").success(),
        "{command:?}"
    );
    begin.elapsed()
}
