//! The flags of the commands that check what `serve` would do.

use clap::{Args, value_parser};

use super::options::ServeOptions;
use crate::token::PastedToken;

/// Flags of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorOptions {
    /// Print a JSON array of objects with check, verdict (ok, warning or failure), detail and
    /// advice
    #[arg(long)]
    pub json: bool,
    /// The settings to check.
    #[command(flatten)]
    pub serve: ServeOptions,
}

/// Flags of `verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyOptions {
    /// The ID token [default: read from standard input, so that the shell's history and ps do not
    /// show it]
    // We reject a token pasted in pieces ourselves: clap would print the unexpected piece.
    #[arg(value_name = "TOKEN", num_args = 0.., value_parser = value_parser!(PastedToken))]
    pub token: Vec<PastedToken>,
    /// The nonce that the app would send with the token
    #[arg(long, value_name = "NONCE")]
    pub nonce: Option<String>,
    /// Print a JSON array of objects with check, verdict (ok, warning, failure or unknown) and
    /// detail
    #[arg(long)]
    pub json: bool,
    /// The settings to verify it with.
    #[command(flatten)]
    pub serve: ServeOptions,
}
