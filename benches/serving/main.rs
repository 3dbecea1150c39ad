//! How fast Hallpass serves, and what it takes: `cargo bench` prints one table, `cargo bench -- answering` a part of it.
//!
//! The server is the release binary in a process of its own, without a limit of sign-ins, on a database on the disk of
//! the target folder, with its log sent to /dev/null. What it is held against runs in the same minute, by turns with
//! it, under the same load. Everything shares this machine's cores: the load, the stand-in for Google and the server.

mod report;
mod tls;
mod load;
mod google;
mod server;
mod sessions;
mod signing_in;
mod keys;
mod answering;
mod footprint;
mod population;
mod operating;

use std::env;
use std::path::Path;

/// A name, and what measures it in a folder of its own.
type Section = (&'static str, fn(&Path));

/// What can be measured, in the order of the table.
const SECTIONS: [Section; 5] = [
    ("signing_in", signing_in::measure),
    ("keys", keys::measure),
    ("answering", answering::measure),
    ("footprint", footprint::measure),
    ("operating", operating::measure),
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(server::BARE) => server::serve_bare(),
        Some(server::WITHOUT_DOOR) => server::serve_without_door(),
        // cargo says so when it measures; `cargo test --all-targets` runs this program too, and need not wait for it.
        _ if arguments.iter().any(|argument| argument == "--bench") => measure(&arguments),
        _ => println!("nothing is measured without --bench; run `cargo bench`"),
    }
}

/// Measures the sections that are named, or all.
fn measure(names: &[String]) {
    let named = |section: &str| names.iter().any(|name| name == section);
    let any = SECTIONS.iter().any(|(section, _)| named(section));
    let folder =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder can be made");
    report::print_machine();
    report::print_head();
    for (section, measure) in SECTIONS {
        if !any || named(section) {
            measure(folder.path());
        }
    }
}
