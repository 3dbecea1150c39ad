//! The processor time that the server spends on a check, beside nginx and a bare tiny_http.

use std::path::Path;
use std::time::Duration;

use super::answering::{each_once, request};
use super::google::{Answers, Google};
use super::load::{Connections, closed_loop};
use super::report::{self, Target, remark};
use super::server::Server;
use super::sessions::{self, LastSeen};

const SESSIONS: usize = 1_000;
const CLIENTS: usize = 32;
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;

/// Measures user and system time for each request, the servers by turns.
pub fn measure(folder: &Path) {
    let google = Google::start(Answers::Never);
    let database = folder.join("cost.db");
    let tokens = sessions::create(&database, SESSIONS, LastSeen::ThisMinute);
    let quiet = Server::hallpass_with_log(&database, &google, "warn", Path::new("/dev/null"));
    let logging =
        Server::hallpass_with_log(&database, &google, "info", &folder.join("requests.log"));
    let (bare, nginx) = (Server::bare(), Server::nginx(folder));
    for server in [&quiet, &logging] {
        each_once(server, &tokens, Connections::Kept);
    }
    let micros = |server: &Server, line: &str, connections| {
        let request = |number| request(line, &tokens, number);
        let before = server.cpu_seconds();
        let outcome = closed_loop(server.address, CLIENTS, connections, ROUND, &request);
        assert_eq!(outcome.failed, 0, "not every answer is 200");
        (server.cpu_seconds() - before) / outcome.answered as f64 * 1e6
    };
    let compare = |what: &str, one: &Server, other: &Server, line, connections, target| {
        let round = |_| (micros(one, line, connections), micros(other, line, connections));
        report::compare(what, 1, &(0..ROUNDS).map(round).collect::<Vec<_>>(), target);
    };
    let (kept, new) = (Connections::Kept, Connections::New);
    let (check, check_1_0) = ("GET /auth/check HTTP/1.1", "GET /auth/check HTTP/1.0");
    if let Some(nginx) = &nginx {
        let at_most = Target::AtMost;
        compare("check, CPU in us | nginx", &quiet, nginx, check, kept, at_most(1.35));
        compare("check, logged to a file | nginx", &logging, nginx, check, kept, at_most(1.6));
        compare("check, new connections | nginx", &quiet, nginx, check_1_0, new, at_most(1.2));
    } else {
        remark("nginx is not installed, so nothing is compared with it");
    }
    compare("bare tiny_http, CPU in us | check", &bare, &quiet, check, kept, Target::AtLeast(2.2));
    remark(
        "processor time of the server alone, user and system, per request; 32 connections; nginx has one worker that \
         returns 200 with three headers",
    );
}
