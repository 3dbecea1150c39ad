//! `hallpass`: reads the command line and runs one command.

use std::process::ExitCode;

use clap::Parser;
use hallpass::cli::{self, Stop};
use hallpass::config::{Command, Options};
use hallpass::logging;

fn main() -> ExitCode {
    match run(Options::parse().command) {
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
