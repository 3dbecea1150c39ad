//! `hallpass`: reads the command line and runs one command.

use std::process::ExitCode;

use clap::Parser;
use hallpass::admin::{self, Stop};
use hallpass::config::{Command, Options};

fn main() -> ExitCode {
    match run(Options::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            eprintln!("hallpass: {}", stop.message);
            ExitCode::from(stop.code)
        }
    }
}

fn run(command: Command) -> Result<(), Stop> {
    match command {
        Command::Serve(options) => admin::serve(&options)?,
        Command::Health(options) => admin::health(&options)?,
        Command::Doctor(options) => admin::doctor(&options)?,
        Command::Verify(options) => admin::verify(&options)?,
        Command::Demo(options) => admin::demo(options)?,
        Command::Users(options) => admin::users(&options)?,
        Command::Sessions(options) => admin::sessions(&options)?,
        Command::Events(options) => admin::events(&options)?,
        Command::Import(options) => admin::import(&options)?,
        Command::Backup(options) => admin::backup(&options)?,
        Command::Restore(options) => admin::restore(&options)?,
    }
    Ok(())
}
