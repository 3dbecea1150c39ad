//! The operator's commands.

mod serve;
mod service_manager;
mod serve_options;
mod settings;
mod demo;
mod demo_history;
mod health;
mod users;
mod allow;
mod sessions;
mod tokens;
mod events;
mod google_events;
mod export;
mod import;
mod backup;
mod doctor;
mod verify;
mod values;
mod environment;
mod env_file;
mod stop;
mod background;
mod scheduled_backups;
mod event_poster;
pub mod output;
mod find_user;
mod confirm;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use allow::AllowOptions;
pub use backup::{BackupOptions, RestoreOptions};
pub use doctor::DoctorOptions;
pub use event_poster::{EventPoster, EventPosts, EventUrl, Patience};
pub use events::EventsOptions;
pub use google_events::GoogleEventsOptions;
pub use health::HealthOptions;
pub use import::ImportOptions;
pub use serve_options::ServeOptions;
pub use sessions::SessionsOptions;
pub use stop::Stop;
pub use tokens::TokensOptions;
pub use users::UsersOptions;
pub use verify::VerifyOptions;

/// Google sign-in for self-hosted apps: one binary, one SQLite file, no client secret.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, max_term_width = 100)]
pub struct Options {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// Read settings from this file, which the environment overrides: lines NAME=VALUE, as systemd
    /// reads them [default: /etc/hallpass/hallpass.env, if it is readable]
    // `Options::from_process` reads it, before clap.
    #[arg(long, global = true, env = "HALLPASS_ENV_FILE", value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// One sentence about each variable that is not a setting.
    #[arg(skip)]
    pub warnings: Vec<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server
    ///
    /// Two settings are required: your Google client IDs (--client-id) and whom to let in
    /// (--admin-email, --allow-domain, --allow-email or --allow-anyone). Admins can let in more
    /// people on their pages, and the operator with `hallpass allow`. You can set an environment
    /// variable instead of any flag.
    Serve(ServeOptions),
    /// Check that a running server is alive, for example in Docker's HEALTHCHECK
    Health(HealthOptions),
    /// Find what would keep the server from working, and say how to fix it
    ///
    /// Takes the flags and the environment of `serve`, changes nothing, and can run while the
    /// server does. Exits with 1 if something would fail, and with 0 if there are only warnings.
    Doctor(DoctorOptions),
    /// Show the result of each check of a Google ID token, without recording anything
    ///
    /// Takes the flags and the environment of `serve`. Exits with 0 if the token would sign its
    /// owner in, with 1 if it would be refused, and with 3 if Google or the database cannot answer.
    Verify(VerifyOptions),
    /// Try it out: the same server with invented people instead of Google
    ///
    /// Starts the server and, on a loopback port, a stand-in for Google. The sign-in page offers
    /// invented people to sign in as. Listens on loopback addresses only. Also takes the flags of
    /// `serve`.
    #[command(
        mut_arg("database", |it| it.default_value(demo::TEMPORARY).help("The SQLite file")),
        mut_arg("client_id", |it| it.hide(true)),
        mut_arg("tokeninfo_url", |it| it.hide(true)),
        mut_arg("keys_url", |it| it.hide(true)),
        mut_arg("verify", |it| it.hide(true)),
        mut_arg("google_events", |it| it.hide(true)),
    )]
    Demo(ServeOptions),
    /// List, show, block, release, export and delete users
    Users(UsersOptions),
    /// Let people in without a restart, in addition to those whom the settings let in
    Allow(AllowOptions),
    /// List and end sessions
    Sessions(SessionsOptions),
    /// Create, list and end tokens for programs
    Tokens(TokensOptions),
    /// Show sign-ins, refusals and other events, the newest last
    Events(EventsOptions),
    /// Have Google report hijacked and disabled accounts to this server
    GoogleEvents(GoogleEventsOptions),
    /// Import users and blocks from a file in the format of `users export`
    ///
    /// Checks the whole file before it writes anything. Then it writes in steps, and sign-ins
    /// continue between them. If it is interrupted, the first users of the file are imported
    /// completely; run it again to import the rest. Only `sub` is required. A value that the file
    /// leaves out does not change. Neither does a profile from a later sign-in.
    Import(ImportOptions),
    /// Copy the database while the server runs
    Backup(BackupOptions),
    /// Replace the database with a backup, while the server is stopped
    Restore(RestoreOptions),
}

impl Options {
    /// Runs the command.
    ///
    /// # Errors
    /// One sentence that says why it failed, and the exit code.
    pub fn run(self) -> Result<(), Stop> {
        let Options { command, warnings, .. } = self;
        // serve and demo log these warnings, and doctor has a check for them.
        if !matches!(command, Command::Serve(_) | Command::Demo(_) | Command::Doctor(_)) {
            warnings.iter().for_each(|warning| output::table::note(&format!("warning: {warning}")));
        }
        match command {
            Command::Serve(options) => serve::serve(&options, &warnings)?,
            Command::Health(options) => health::health(&options)?,
            Command::Doctor(options) => doctor::doctor(&options, &warnings)?,
            Command::Verify(options) => verify::verify(&options)?,
            Command::Demo(options) => demo::demo(options, &warnings)?,
            Command::Users(options) => users::users(&options)?,
            Command::Allow(options) => allow::allow(&options)?,
            Command::Sessions(options) => sessions::sessions(&options)?,
            Command::Tokens(options) => tokens::tokens(&options)?,
            Command::Events(options) => events::events(&options)?,
            Command::GoogleEvents(options) => google_events::google_events(&options)?,
            Command::Import(options) => import::import(&options)?,
            Command::Backup(options) => backup::backup(&options)?,
            Command::Restore(options) => backup::restore(&options)?,
        }
        Ok(())
    }
}
