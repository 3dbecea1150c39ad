//! The operator's work beside a running server: pages and lists of a million users, and backups.

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
use super::report::{Target, compare, median, percentile, remark, single};
use super::server::{BINARY, Server};

/// How often each page and each list is requested.
const PAGES: usize = 50;
const LISTS: usize = 10;
/// Backups, each compared with a copy.
const BACKUPS: usize = 5;
/// The pause before each. A virtual machine returns freed memory to its host after some seconds and
/// is several times slower until it has it back. Without a pause, only the second command would
/// profit from the memory of the first.
const PAUSE: Duration = Duration::from_secs(5);
/// Backups under load.
const ROUNDS: usize = 3;
/// How long to count checks without a backup.
const RUN: Duration = Duration::from_secs(5);
/// During a backup, checks are counted in slices of this length until it ends.
const SLICE: Duration = Duration::from_millis(1500);
const CLIENTS: usize = 16;

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
    fs::metadata(file).expect("the file exists").len() as f64
}

fn pages(server: &Server, admin: &str) {
    let mut connection = Connection::open_served(server.address);
    // The users came in the last 400 days.
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
        single(&format!("admin page, {what}, p95 in ms"), 1, p95, Target::AtMost(ms_max));
    }
}

fn list(database: &Path) {
    let times = (0..LISTS)
        .map(|_| run(Command::new(BINARY).args(["users", "list", "--database"]).arg(database)));
    let first_page = median(times.map(|time| time.as_secs_f64() * 1000.0).collect());
    single("hallpass users list, first page, ms", 0, first_page, Target::AtMost(100.0));
}

fn backup(database: &Path, folder: &Path) {
    let (backup, copy) = (folder.join("backup.db"), folder.join("copy.db"));
    let gigabytes = size(database) / 1e9;
    // A finished backup is on disk, so it is also compared with a copy that is synced.
    let (mut with_copies, mut with_synced_copies) = (Vec::new(), Vec::new());
    for _ in 0..BACKUPS {
        thread::sleep(PAUSE);
        let copied = run(Command::new("cp").arg(database).arg(&copy));
        let synced = run(Command::new("sync").arg(&copy));
        fs::remove_file(&copy).expect("the copy exists");
        thread::sleep(PAUSE);
        let backed_up = gigabytes / run(&mut backing_up(database, &backup)).as_secs_f64();
        fs::remove_file(&backup).expect("the backup exists");
        with_copies.push((backed_up, gigabytes / copied.as_secs_f64()));
        with_synced_copies.push((backed_up, gigabytes / (copied + synced).as_secs_f64()));
    }
    compare("hallpass backup, GB/s | cp", 2, &with_copies, Target::None);
    compare("hallpass backup, GB/s | cp and sync", 2, &with_synced_copies, Target::None);
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
            let mut backup = backup.stdout(Stdio::null()).spawn().expect("the program starts");
            let mut busy = Vec::new();
            let ended = loop {
                let checked = checks(SLICE);
                if let Some(ended) = backup.try_wait().expect("the backup is a child process") {
                    break ended;
                }
                busy.push(checked);
            };
            assert!(ended.success() && !busy.is_empty(), "the backup failed, or ended at once");
            let busy = busy.iter().sum::<f64>() / busy.len() as f64;
            (busy, quiet)
        })
        .collect();
    compare("checks/s during a backup | without", 0, &rounds, Target::AtLeast(0.8));
}

fn backing_up(database: &Path, file: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("backup").arg("--database").arg(database).arg(file);
    command
}

/// Runs a command that must succeed; returns how long it took.
fn run(command: &mut Command) -> Duration {
    let begin = Instant::now();
    assert!(
        command.stdout(Stdio::null()).status().expect("the program starts").success(),
        "{command:?}"
    );
    begin.elapsed()
}
