//! `hallpass`: reads the command line and runs one command.

use std::process::ExitCode;

use hallpass::cli::Options;
use hallpass::logging;

fn main() -> ExitCode {
    match Options::from_process().and_then(Options::run) {
        Ok(()) => {
            logging::flush();
            ExitCode::SUCCESS
        }
        Err(stop) => {
            logging::last_words(&format!("hallpass: {}", stop.message));
            ExitCode::from(stop.code)
        }
    }
}
