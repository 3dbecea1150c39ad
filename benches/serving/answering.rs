//! Who is this? me and check, beside a tiny_http that has nothing to find out.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::google::{Answers, Google};
use super::load::{Connection, Connections, closed_loop, open_loop};
use super::report::{Target, median, percentile, remark, row};
use super::server::Server;
use super::sessions::{self, LastSeen};
use super::signing_in;
use super::tls::Certificate;

/// Live sessions in the database.
const SESSIONS: usize = 100_000;
/// The same, few and many.
const FEW_SESSIONS: usize = 1_000;
const MANY_SESSIONS: usize = 1_000_000;
/// Clients of a closed loop.
const CLIENTS: usize = 8;
/// One round of each server, and how many of them by turns.
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;
/// Requests of an open loop.
const PER_SECOND: u32 = 1000;
/// Sign-ins that hang.
const HANGING: usize = 64;

/// Measures throughput beside the bare server, and latency.
pub fn measure(folder: &Path) {
    let google = Google::start(Answers::Never);
    throughput(folder, &google);
    more_sessions(folder, &google);
    latency_of_check(folder, &google);
    latency_beside_hanging_sign_ins(folder, &google);
}

fn throughput(folder: &Path, google: &Google) {
    let database = folder.join("many.db");
    let tokens = sessions::create(&database, SESSIONS, LastSeen::ThisMinute);
    let (hallpass, bare) = (Server::hallpass(&database, google, &[]), Server::bare());
    let without_door = Server::without_door(&database);
    let certificate = Certificate::create(folder);
    let over_tls = Server::hallpass_over_tls(&database, google, &certificate);
    // As it is once they have run for a while: each has seen each session.
    for server in [&hallpass, &without_door] {
        each_once(server, &tokens, Connections::Kept);
    }
    each_once(&over_tls, &tokens, Connections::Tls(&certificate));
    let resident = hallpass.resident_mb();
    let compare = |what: &str,
                   hallpass: &Server,
                   line: &str,
                   connections: Connections<'_>,
                   target: Target| {
        let request = |number| request(line, &tokens, number);
        // The bare server speaks no TLS.
        let beside =
            if let Connections::Tls(_) = connections { Connections::Kept } else { connections };
        let run = |server: &Server, connections| {
            let outcome = closed_loop(server.address, CLIENTS, connections, ROUND, &request);
            assert_eq!(outcome.failed, 0, "{what}: not every answer is 200");
            outcome.per_second
        };
        let rounds: Vec<_> =
            (0..ROUNDS).map(|_| (run(hallpass, connections), run(&bare, beside))).collect();
        row(
            what,
            &format!("{:.0}", median(rounds.iter().map(|(hallpass, _)| *hallpass).collect())),
            &format!("{:.0}", median(rounds.iter().map(|(_, bare)| *bare).collect())),
            median(rounds.iter().map(|(hallpass, bare)| hallpass / bare).collect()),
            target,
        );
    };
    let (kept, new) = (Connections::Kept, Connections::New);
    let (me, check, check_1_0) =
        ("GET /auth/me HTTP/1.1", "GET /auth/check HTTP/1.1", "GET /auth/check HTTP/1.0");
    compare(
        "me/s, without the door | bare tiny_http",
        &without_door,
        me,
        kept,
        Target::AtLeast(0.5),
    );
    compare(
        "check/s, without the door | bare tiny_http",
        &without_door,
        check,
        kept,
        Target::AtLeast(0.6),
    );
    compare("me/s | bare tiny_http", &hallpass, me, kept, Target::None);
    compare("check/s | bare tiny_http", &hallpass, check, kept, Target::AtLeast(0.55));
    compare(
        "check/s, a new HTTP/1.0 connection each | bare tiny_http",
        &hallpass,
        check_1_0,
        new,
        Target::AtLeast(0.65),
    );
    compare(
        "check/s over TLS | bare tiny_http",
        &over_tls,
        check,
        Connections::Tls(&certificate),
        Target::AtLeast(0.4),
    );
    remark(
        "100,000 live sessions, each asked for once before, each request with another of them; 8 clients, 4 threads; \
         medians of 5 rounds by turns",
    );
    row(
        "resident memory, all of them known, MB",
        &format!("{resident:.0}"),
        "",
        resident,
        Target::None,
    );
}

/// Asks for each session once.
pub fn each_once(server: &Server, tokens: &[String], connections: Connections) {
    let asked = AtomicUsize::new(0);
    let request = |number| {
        let token = &tokens[asked.fetch_add(1, Ordering::Relaxed) % tokens.len()..][..1];
        request("GET /auth/check HTTP/1.1", token, number)
    };
    while asked.load(Ordering::Relaxed) < tokens.len() {
        let outcome = closed_loop(server.address, CLIENTS, connections, ROUND, &request);
        assert_eq!(outcome.failed, 0, "not every session is live");
    }
}

/// Small and large databases, by turns.
fn more_sessions(folder: &Path, google: &Google) {
    let start = |count: usize| {
        let database = folder.join(format!("sessions-{count}.db"));
        let tokens = sessions::create(&database, count, LastSeen::ThisMinute);
        let server = Server::hallpass(&database, google, &[]);
        each_once(&server, &tokens, Connections::Kept);
        (server, tokens)
    };
    let (few, many) = (start(FEW_SESSIONS), start(MANY_SESSIONS));
    let run = |(server, tokens): &(Server, Vec<String>)| {
        let request = |number| request("GET /auth/check HTTP/1.1", tokens, number);
        closed_loop(server.address, CLIENTS, Connections::Kept, ROUND, &request).per_second
    };
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (run(&many), run(&few))).collect();
    row(
        "check/s, 1,000,000 live sessions | 1,000",
        &format!("{:.0}", median(rounds.iter().map(|(many, _)| *many).collect())),
        &format!("{:.0}", median(rounds.iter().map(|(_, few)| *few).collect())),
        median(rounds.iter().map(|(many, few)| many / few).collect()),
        Target::AtLeast(0.9),
    );
    let resident = many.0.resident_mb();
    row(
        "resident memory, 1,000,000 sessions known, MB",
        &format!("{resident:.0}"),
        "",
        resident,
        Target::None,
    );
}

/// All sessions were last seen long ago, so that every check of this run writes as well.
fn latency_of_check(folder: &Path, google: &Google) {
    let database = folder.join("latency-of-check.db");
    let tokens = sessions::create(&database, SESSIONS, LastSeen::AnHourAgo);
    let hallpass = Server::hallpass(&database, google, &[]);
    let request = |number| request("GET /auth/check HTTP/1.1", &tokens, number);
    let rounds: Vec<[f64; 3]> = (0..ROUNDS)
        .map(|_| {
            let mut latencies = open_loop(hallpass.address, PER_SECOND, 2 * ROUND, &request);
            [0.50, 0.95, 0.99].map(|share| percentile(&mut latencies, share))
        })
        .collect();
    let [p50, p95, p99] =
        [0, 1, 2].map(|place| median(rounds.iter().map(|round| round[place]).collect()));
    row("check at 1000 requests/s, p95 in ms", &format!("{p95:.2}"), "", p95, Target::AtMost(1.0));
    remark(&format!(
        "p50 {p50:.2} ms, p99 {p99:.2} ms; every check writes when its session was last seen"
    ));
}

fn latency_beside_hanging_sign_ins(folder: &Path, google: &Google) {
    let start = |name: &str| {
        let database = folder.join(name);
        let tokens = sessions::create(&database, CLIENTS, LastSeen::ThisMinute);
        (Server::hallpass(&database, google, &["--tokeninfo-timeout", "1h"]), tokens)
    };
    let (quiet, hanging) = (start("quiet.db"), start("hanging.db"));
    let sign_in = |number: usize| {
        let mut connection = Connection::open_served(hanging.0.address);
        connection.send(&signing_in::request(number as u64));
        connection
    };
    let connections: Vec<_> = (0..HANGING).map(sign_in).collect();
    while google.asked() < HANGING {
        thread::sleep(Duration::from_millis(1));
    }
    let p99 = |(server, tokens): &(Server, Vec<String>)| {
        let request = |number| request("GET /auth/me HTTP/1.1", tokens, number);
        percentile(&mut open_loop(server.address, PER_SECOND, 2 * ROUND, &request), 0.99)
    };
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (p99(&hanging), p99(&quiet))).collect();
    drop(connections);
    row(
        "me at 1000 requests/s, p99 in ms, 64 sign-ins hang | none",
        &format!("{:.2}", median(rounds.iter().map(|(hanging, _)| *hanging).collect())),
        &format!("{:.2}", median(rounds.iter().map(|(_, quiet)| *quiet).collect())),
        median(rounds.iter().map(|(hanging, quiet)| hanging / quiet).collect()),
        Target::AtMost(2.0),
    );
}

/// A request with one of the sessions; which one, the number decides without an order.
pub fn request(line: &str, tokens: &[String], number: u64) -> Vec<u8> {
    // Fibonacci hashing: successive numbers fall far from one another.
    let place = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let token = &tokens[place as usize % tokens.len()];
    // The cookie of plain http, and that of https. The last header is for the server without the door, which would take
    // nobody for the door itself.
    format!(
        "{line}\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\
         Cookie: hallpass={token}; __Host-hallpass={token}\r\nX-Hallpass-Peer: 127.0.0.1\r\n\r\n"
    )
    .into_bytes()
}
