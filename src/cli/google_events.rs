//! `hallpass google-events`: has Google post its security events to this server.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use url::Url;

use super::settings;
use super::values::url;
use crate::cli::output::table;
use crate::clock;
use crate::google::{Registration, RiscApi, ServiceAccount};
use crate::token::random_name;

/// The path of the receiver.
const PATH: &str = "/auth/google/events";
/// Google's files are 2 to 3 kB long.
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Flags of `google-events`.
#[derive(Debug, Clone, Args)]
pub struct GoogleEventsOptions {
    /// The command.
    #[command(subcommand)]
    pub command: GoogleEventsCommand,
    /// Where Google's RISC API is
    #[arg(long, global = true, value_name = "URL", value_parser = url,
        default_value = "https://risc.googleapis.com/v1beta")]
    pub api_url: Url,
    /// Trust only the certificate authorities in this file (PEM) for calls to Google
    /// [default: SSL_CERT_FILE, otherwise the built-in ones]
    #[arg(long, global = true, env = "HALLPASS_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// The commands of `google-events`.
#[derive(Debug, Clone, Subcommand)]
pub enum GoogleEventsCommand {
    /// Have Google post security events to this server from now on
    ///
    /// This replaces any earlier registration of the Google Cloud project. The server accepts the
    /// events if it runs with --google-events.
    Register {
        /// The service account.
        #[command(flatten)]
        key: KeyOption,
        /// Where Google posts to [default: /auth/google/events at --public-url]
        #[arg(long, value_name = "URL", value_parser = url)]
        url: Option<Url>,
        /// The URL that browsers use
        #[arg(long, env = "HALLPASS_PUBLIC_URL", value_name = "URL", value_parser = url)]
        public_url: Option<Url>,
    },
    /// Show what is registered
    Status(KeyOption),
    /// Have Google send a verification event
    ///
    /// `hallpass events --kind google` shows it once it has arrived.
    Test(KeyOption),
}

/// The flag that names the key.
#[derive(Debug, Clone, Args)]
pub struct KeyOption {
    /// The key of a service account with the role RISC Configuration Admin: the JSON file from
    /// Google's console. It is read once and stored nowhere
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// Runs `hallpass google-events`.
///
/// # Errors
/// One sentence that says why it failed and what to do.
pub fn google_events(options: &GoogleEventsOptions) -> Result<(), String> {
    let authorities = settings::authorities(options.ca_file.as_deref())?;
    let account = match &options.command {
        GoogleEventsCommand::Register { key, .. }
        | GoogleEventsCommand::Status(key)
        | GoogleEventsCommand::Test(key) => account(&key.key)?,
    };
    let api =
        RiscApi { url: &options.api_url, authorities: authorities.as_ref(), account: &account };
    let now = clock::now();
    match &options.command {
        GoogleEventsCommand::Register { url, public_url, .. } => {
            let receiver = receiver(url.as_ref(), public_url.as_ref())?;
            api.register(&receiver, now).map_err(|why| table::printable(&why))?;
            say(&[
                format!("Google posts security events to {receiver} from now on"),
                "run the server with --google-events, then try `hallpass google-events test`"
                    .into(),
            ])
        }
        GoogleEventsCommand::Status(_) => {
            let registration = api.registration(now).map_err(|why| table::printable(&why))?;
            let Registration { url, events, status } = registration;
            let rows = [("url", url), ("status", status), ("events", events.join(", "))];
            say(&rows.map(|(name, value)| format!("{name}\t{}", table::printable(&value))))
        }
        GoogleEventsCommand::Test(_) => {
            let state = random_name();
            api.verify(&state, now).map_err(|why| table::printable(&why))?;
            say(&[
                format!("Google was asked for a verification event with the state {state}"),
                "`hallpass events --kind google` shows it once it has arrived".into(),
            ])
        }
    }
}

fn account(path: &Path) -> Result<ServiceAccount, String> {
    let name = path.display();
    let mut file = Vec::new();
    File::open(path)
        .and_then(|opened| opened.take(KEY_BYTES_MAX).read_to_end(&mut file))
        .map_err(|error| format!("--key {name} cannot be read: {error}"))?;
    ServiceAccount::parse(&file).map_err(|why| format!("--key {name} {why}"))
}

/// The URL that Google posts to: an https URL. If it has no path, it gets ours.
fn receiver(url: Option<&Url>, public_url: Option<&Url>) -> Result<Url, String> {
    let mut url = url.or(public_url).cloned().ok_or(
        "say where Google posts to: give --url https://auth.example.com/auth/google/events",
    )?;
    if url.path() == "/" {
        url.set_path(PATH);
    }
    if url.scheme() != "https" {
        return Err(format!("Google posts events to https URLs only, not to {url}"));
    }
    Ok(url)
}

fn say(lines: &[String]) -> Result<(), String> {
    table::lines(lines.iter().cloned())
}
