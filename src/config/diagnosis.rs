//! The flags of the commands that look at what `serve` would do.

use clap::{Args, value_parser};

use super::options::ServeOptions;
use crate::token::PastedToken;

/// Flags of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorOptions {
    /// Print an array of objects with check, verdict (ok, warning or failure), detail and advice
    #[arg(long)]
    pub json: bool,
    /// The settings that are looked at.
    #[command(flatten)]
    pub serve: ServeOptions,
}

/// Flags of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyOptions {
    /// The ID token [default: from standard input, where neither the shell's history nor ps shows it]
    // A token that was pasted in pieces is refused by us: clap would print what it did not expect.
    #[arg(value_name = "TOKEN", num_args = 0.., value_parser = value_parser!(PastedToken))]
    pub token: Vec<PastedToken>,
    /// The nonce that would be sent with it
    #[arg(long, value_name = "NONCE")]
    pub nonce: Option<String>,
    /// Print an array of objects with check, verdict (ok, warning, failure or unknown) and detail
    #[arg(long)]
    pub json: bool,
    /// The settings that it is verified with.
    #[command(flatten)]
    pub serve: ServeOptions,
}
