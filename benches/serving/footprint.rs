//! What Hallpass takes from a machine that it does nothing for: memory, disk, patience.

use std::fs;
use std::path::Path;

use super::google::{Answers, Google};
use super::load::Connection;
use super::report::{Target, median, row};
use super::server::{BINARY, Server};
use super::sessions::{self, LastSeen};

const STARTS: usize = 10;
/// About as many as a server takes by itself.
const CONNECTIONS: usize = 1000;
/// Decimal, the stricter reading.
const MB: f64 = 1e6;

/// Measures idle memory, the time to the first answer and the size of the binary.
pub fn measure(folder: &Path) {
    let google = Google::start(Answers::Never);
    let small = folder.join("small.db");
    let resident = Server::hallpass(&small, &google, &[]).resident_mb();
    row(
        "resident memory after the first answer, MB",
        &format!("{resident:.1}"),
        "",
        resident,
        Target::AtMost(12.0),
    );

    // Room for our ends of them; a refusal would show in the next line.
    let _ = rlimit::increase_nofile_limit(4 * CONNECTIONS as u64);
    let server = Server::hallpass(&small, &google, &[]);
    let connections: Vec<_> =
        (0..CONNECTIONS).map(|_| Connection::open_served(server.address)).collect();
    let resident = server.resident_mb();
    row(
        "the same with 1,000 open connections, MB",
        &format!("{resident:.1}"),
        "",
        resident,
        Target::None,
    );
    drop((connections, server));

    let start = |database: &Path| {
        let starts = (0..STARTS).map(|_| Server::hallpass(database, &google, &[]).start);
        median(starts.map(|start| start.as_secs_f64() * 1000.0).collect())
    };
    let started = start(&small);
    row(
        "from exec to the first answer, ms",
        &format!("{started:.1}"),
        "",
        started,
        Target::AtMost(50.0),
    );
    let many = folder.join("many-at-start.db");
    sessions::create(&many, 100_000, LastSeen::ThisMinute);
    let started = start(&many);
    row("the same with 100,000 sessions, ms", &format!("{started:.1}"), "", started, Target::None);

    let size = fs::metadata(BINARY).expect("the binary is there").len() as f64 / MB;
    row("release binary, MB", &format!("{size:.1}"), "", size, Target::AtMost(8.0));
}
