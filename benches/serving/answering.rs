//! me and check, compared with a bare tiny_http.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::google::{Answers, Google};
use super::load::{Connection, Connections, closed_loop, open_loop};
use super::report::{Target, compare, median, percentile, remark, single};
use super::server::Server;
use super::sessions::{self, LastSeen};
use super::signing_in;
use super::tls::Certificate;

/// Live sessions in the database.
const SESSIONS: usize = 100_000;
const FEW_SESSIONS: usize = 1_000;
const MANY_SESSIONS: usize = 1_000_000;
/// Clients of a closed loop.
const CLIENTS: usize = 8;
/// How long one round of a server takes, and how many rounds the servers take in turns.
const ROUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 5;
/// The rate of an open loop.
const PER_SECOND: u32 = 1000;
/// Sign-ins that Google does not answer.
const HANGING: usize = 64;

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
    // A server that has run for a while has seen every session.
    for server in [&hallpass, &without_door] {
        each_once(server, &tokens, Connections::Kept);
    }
    each_once(&over_tls, &tokens, Connections::Tls(&certificate));
    let resident = hallpass.resident_mb();

    let (kept, new, tls) = (Connections::Kept, Connections::New, Connections::Tls(&certificate));
    let (me, check, check_1_0) =
        ("GET /auth/me HTTP/1.1", "GET /auth/check HTTP/1.1", "GET /auth/check HTTP/1.0");
    for (what, server, line, connections, target) in [
        ("me/s, without the door", &without_door, me, kept, Target::AtLeast(0.5)),
        ("check/s, without the door", &without_door, check, kept, Target::AtLeast(0.6)),
        ("me/s", &hallpass, me, kept, Target::None),
        ("check/s", &hallpass, check, kept, Target::AtLeast(0.55)),
        (
            "check/s, a new HTTP/1.0 connection each",
            &hallpass,
            check_1_0,
            new,
            Target::AtLeast(0.65),
        ),
        ("check/s over TLS", &over_tls, check, tls, Target::AtLeast(0.4)),
    ] {
        let per_second = |server: &Server, connections| {
            let request = |number| request(line, &tokens, number);
            let outcome = closed_loop(server.address, CLIENTS, connections, ROUND, &request);
            assert_eq!(outcome.failed, 0, "{what}: every answer must be 200");
            outcome.per_second
        };
        // The bare server has no TLS.
        let without_tls =
            if matches!(connections, Connections::Tls(_)) { kept } else { connections };
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| (per_second(server, connections), per_second(&bare, without_tls)))
            .collect();
        compare(&format!("{what} | bare tiny_http"), 0, &rounds, target);
    }
    remark(
        "100,000 live sessions, all known, each request with another one; 8 clients, 4 threads; \
         medians of 5 rounds in turns",
    );
    single("resident memory, all of them known, MB", 0, resident, Target::None);
}

/// Checks each session once, so the server knows it.
pub fn each_once(server: &Server, tokens: &[String], connections: Connections) {
    let asked = AtomicUsize::new(0);
    let request = |number| {
        let token = &tokens[asked.fetch_add(1, Ordering::Relaxed) % tokens.len()..][..1];
        request("GET /auth/check HTTP/1.1", token, number)
    };
    while asked.load(Ordering::Relaxed) < tokens.len() {
        let outcome = closed_loop(server.address, CLIENTS, connections, ROUND, &request);
        assert_eq!(outcome.failed, 0, "every session must be live");
    }
}

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
    compare("check/s, 1,000,000 live sessions | 1,000", 0, &rounds, Target::AtLeast(0.9));
    let resident = many.0.resident_mb();
    single("resident memory, 1,000,000 sessions known, MB", 0, resident, Target::None);
}

/// All sessions were last seen long ago, so every check also writes.
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
        [0, 1, 2].map(|index| median(rounds.iter().map(|round| round[index]).collect()));
    single("check at 1000 requests/s, p95 in ms", 2, p95, Target::AtMost(1.0));
    remark(&format!(
        "p50 {p50:.2} ms, p99 {p99:.2} ms; every check writes that its session was used"
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
    while google.requests() < HANGING {
        thread::sleep(Duration::from_millis(1));
    }
    let p99 = |(server, tokens): &(Server, Vec<String>)| {
        let request = |number| request("GET /auth/me HTTP/1.1", tokens, number);
        percentile(&mut open_loop(server.address, PER_SECOND, 2 * ROUND, &request), 0.99)
    };
    let rounds: Vec<_> = (0..ROUNDS).map(|_| (p99(&hanging), p99(&quiet))).collect();
    drop(connections);
    let what = "me at 1000 requests/s, p99 in ms, 64 sign-ins hang | none";
    compare(what, 2, &rounds, Target::AtMost(2.0));
}

/// A request with one of the sessions, chosen by the number in no visible order.
pub fn request(line: &str, tokens: &[String], number: u64) -> Vec<u8> {
    // Fibonacci hashing puts successive numbers far apart.
    let index = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let token = &tokens[index as usize % tokens.len()];
    // The cookies of http and of https. The last header is what the door would tell the server
    // behind it.
    format!(
        "{line}\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\
         Cookie: hallpass={token}; __Host-hallpass={token}\r\nX-Hallpass-Peer: 127.0.0.1\r\n\r\n"
    )
    .into_bytes()
}
