//! `hallpass`: reads the command line and runs one command.

use std::process::ExitCode;

use hallpass::cli::{self, Stop};
use hallpass::config::{Command, Options, unknown_variables};
use hallpass::logging;

/// clap's exit code for wrong usage.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let parsed = Options::from_process().map_err(|message| Stop { code: USAGE, message });
    match parsed.and_then(|options| run(options.command)) {
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

fn run(command: Command) -> Result<(), Stop> {
    // serve and demo log these warnings, and doctor has a check for them.
    if !matches!(command, Command::Serve(_) | Command::Demo(_) | Command::Doctor(_)) {
        unknown_variables().iter().for_each(|warning| eprintln!("hallpass: warning: {warning}"));
    }
    match command {
        Command::Serve(options) => cli::serve(&options)?,
        Command::Health(options) => cli::health(&options)?,
        Command::Doctor(options) => cli::doctor(&options)?,
        Command::Verify(options) => cli::verify(&options)?,
        Command::Demo(options) => cli::demo(options)?,
        Command::Users(options) => cli::users(&options)?,
        Command::Sessions(options) => cli::sessions(&options)?,
        Command::Events(options) => cli::events(&options)?,
        Command::Import(options) => cli::import(&options)?,
        Command::Backup(options) => cli::backup(&options)?,
        Command::Restore(options) => cli::restore(&options)?,
    }
    Ok(())
}
