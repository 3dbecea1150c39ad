//! The memory of an idle server, the time it takes to start, and the size of the binary.

use std::fs;
use std::path::Path;

use super::google::{Answers, Google};
use super::load::Connection;
use super::report::{Target, median, single};
use super::server::{BINARY, Server};
use super::sessions::{self, LastSeen};

const STARTS: usize = 10;
/// Just below the default of --max-connections.
const CONNECTIONS: usize = 1000;
const MB: f64 = 1e6;

pub fn measure(folder: &Path) {
    let google = Google::start(Answers::Never);
    let small = folder.join("small.db");
    let resident = Server::hallpass(&small, &google, &[]).resident_mb();
    single("resident memory after the first answer, MB", 1, resident, Target::AtMost(12.0));

    // This process holds the other ends. If the limit cannot be raised, the next line fails.
    let _ = rlimit::increase_nofile_limit(4 * CONNECTIONS as u64);
    let server = Server::hallpass(&small, &google, &[]);
    let connections: Vec<_> =
        (0..CONNECTIONS).map(|_| Connection::open_served(server.address)).collect();
    let resident = server.resident_mb();
    single("the same with 1,000 open connections, MB", 1, resident, Target::None);
    drop((connections, server));

    let started = start_ms(&small, &google);
    single("from exec to the first answer, ms", 1, started, Target::AtMost(50.0));
    let many = folder.join("many-at-start.db");
    sessions::create(&many, 100_000, LastSeen::ThisMinute);
    let started = start_ms(&many, &google);
    single("the same with 100,000 sessions, ms", 1, started, Target::None);

    let size = fs::metadata(BINARY).expect("the binary exists").len() as f64 / MB;
    single("release binary, MB", 1, size, Target::AtMost(9.5));
}

fn start_ms(database: &Path, google: &Google) -> f64 {
    let starts = (0..STARTS).map(|_| Server::hallpass(database, google, &[]).start);
    median(starts.map(|start| start.as_secs_f64() * 1000.0).collect())
}
