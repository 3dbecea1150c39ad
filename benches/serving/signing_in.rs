//! Sign-ins: compared with the limit set by Google's latency, and with a Google that takes no time.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::google::{self, Answers, Google};
use super::load::{Connections, closed_loop};
use super::report::{Target, cores, median, remark, row};
use super::server::{self, Server};

/// The default of --tokeninfo-concurrency.
const CALLS_AT_ONCE: f64 = 64.0;
/// How long a call to Google takes.
const LATENCY: Duration = Duration::from_millis(50);
const RUN: Duration = Duration::from_secs(2);
const RUNS: usize = 3;
/// Beyond this share of all cores in use, the processors are the limit.
const BUSY: f64 = 0.85;

pub fn measure(folder: &Path) {
    with_latency(folder);
    at_once(folder);
}

/// A sign-in with a token of its own.
pub fn request(number: u64) -> Vec<u8> {
    post(&google::token(number))
}

/// A sign-in with this token.
pub fn post(token: &str) -> Vec<u8> {
    let body = format!("id_token={token}");
    format!(
        "POST /auth/signin HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn with_latency(folder: &Path) {
    let google = Google::start(Answers::After(LATENCY));
    let server = Server::hallpass(&folder.join("latency.db"), &google, &[]);
    let outcomes: Vec<_> = (0..RUNS)
        .map(|_| closed_loop(server.address, 128, Connections::Kept, RUN, &request))
        .collect();
    let limit = CALLS_AT_ONCE / LATENCY.as_secs_f64();
    let achieved = median(outcomes.iter().map(|outcome| outcome.per_second).collect());
    row(
        "sign-ins/s, Google takes 50 ms, 64 calls at once | limit",
        &format!("{achieved:.0}"),
        &format!("{limit:.0}"),
        achieved / limit,
        Target::AtLeast(0.95),
    );
    report_failures(outcomes.iter().map(|outcome| outcome.failed).sum());
}

fn at_once(folder: &Path) {
    let google = Google::start(Answers::After(Duration::ZERO));
    let server = Server::hallpass(&folder.join("at-once.db"), &google, &[]);
    let (server_before, own_before) = (server.cpu_seconds(), server::cpu_seconds("self"));
    let outcomes: Vec<_> = (0..RUNS)
        .map(|_| closed_loop(server.address, 64, Connections::Kept, RUN, &request))
        .collect();
    let (server_used, own_used) =
        (server.cpu_seconds() - server_before, server::cpu_seconds("self") - own_before);
    drop(server);
    let achieved = median(outcomes.iter().map(|outcome| outcome.per_second).collect());
    let commits = durable_commits_per_second(&folder.join("commits.db"));
    row(
        "sign-ins/s, Google takes no time, 64 clients | raw commits/s",
        &format!("{achieved:.0}"),
        &format!("{commits:.0}"),
        achieved / commits,
        Target::None,
    );
    let answered: u64 = outcomes.iter().map(|outcome| outcome.answered).sum();
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
    let milliseconds = server_used / answered as f64 * 1000.0;
    let (server_cores, own_cores) = (server_used / seconds, own_used / seconds);
    let bound = if server_cores + own_cores > BUSY * cores() as f64 {
        "the processors"
    } else {
        "the disk"
    };
    remark(&format!(
        "the limit is {bound}: the server takes {milliseconds:.2} ms of CPU time per sign-in, which is \
         {server_cores:.2} of {} cores; the load and the stand-in take {own_cores:.2}",
        cores()
    ));
    report_failures(outcomes.iter().map(|outcome| outcome.failed).sum());
}

fn report_failures(failed: u64) {
    if failed > 0 {
        remark(&format!("{failed} sign-ins did not get 200"));
    }
}

/// How many small rows a second SQLite can commit to this disk, one after the other.
fn durable_commits_per_second(path: &Path) -> f64 {
    let database = Connection::open(path).expect("a database can be made");
    database
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE rows (number INTEGER)")
        .expect("a table can be made");
    let mut insert = database.prepare("INSERT INTO rows VALUES (?1)").expect("the table exists");
    let begin = Instant::now();
    let mut commits = 0;
    while begin.elapsed() < RUN {
        insert.execute([commits]).expect("a row can be written");
        commits += 1;
    }
    f64::from(commits) / begin.elapsed().as_secs_f64()
}
