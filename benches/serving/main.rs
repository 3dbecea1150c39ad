//! Measures speed and memory. benches/README.md explains how to run it and what it compares.

mod report;
mod tls;
mod load;
mod google;
mod server;
mod sessions;
mod signing_in;
mod keys;
mod answering;
mod cost;
mod footprint;
mod population;
mod operating;

use std::env;
use std::path::Path;

/// A name, and a function that measures in a folder.
type Section = (&'static str, fn(&Path));

/// The parts of the table, in its order.
const SECTIONS: [Section; 6] = [
    ("signing_in", signing_in::measure),
    ("keys", keys::measure),
    ("answering", answering::measure),
    ("cost", cost::measure),
    ("footprint", footprint::measure),
    ("operating", operating::measure),
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(server::BARE) => server::serve_bare(),
        Some(server::WITHOUT_DOOR) => server::serve_without_door(),
        // `cargo bench` passes this flag; `cargo test --all-targets` runs this program without it.
        _ if arguments.iter().any(|argument| argument == "--bench") => measure(&arguments),
        _ => println!("without --bench, this program measures nothing; run `cargo bench`"),
    }
}

/// Measures the named sections, or all if none is named.
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
