//! `hallpass`: reads the command line and runs one command.

use std::process::ExitCode;

use clap::Parser;
use hallpass::admin;
use hallpass::config::{Command, Options};

fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Command::Serve(options) => admin::serve(&options),
        Command::Health(options) => admin::health(&options),
        Command::Demo(options) => admin::demo(options),
        Command::Users(options) => admin::users(&options),
        Command::Sessions(options) => admin::sessions(&options),
        Command::Events(options) => admin::events(&options),
        Command::Import(options) => admin::import(&options),
        Command::Backup(options) => admin::backup(&options),
        Command::Restore(options) => admin::restore(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("hallpass: {message}");
            ExitCode::FAILURE
        }
    }
}
