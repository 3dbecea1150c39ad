//! Flags of `serve` about events and backups: what is kept, and for how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::duration;

/// Flags of `serve` about events and backups.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keeping")]
pub struct KeepingOptions {
    /// How long events are kept: a duration, or `forever`
    #[arg(long, env = "HALLPASS_KEEP_EVENTS", value_name = "DURATION", default_value = "400d", value_parser = retention)]
    pub keep_events: Retention,

    /// Back up the database into this folder, which must exist and contain nothing else
    #[arg(long, env = "HALLPASS_BACKUP_DIR", value_name = "FOLDER")]
    pub backup_dir: Option<PathBuf>,

    /// How often to back up
    #[arg(long, visible_alias = "every", env = "HALLPASS_BACKUP_EVERY", value_name = "DURATION", default_value = "24h",
        value_parser = duration, requires = "backup_dir")]
    pub backup_every: Duration,

    /// How many backups to keep; older ones are removed once a new one is checked and on disk
    #[arg(long, visible_alias = "keep", env = "HALLPASS_BACKUP_KEEP", value_name = "N", default_value = "7",
        value_parser = clap::value_parser!(u16).range(1..), requires = "backup_dir")]
    pub backup_keep: u16,
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// This long.
    For(Duration),
    /// Until the operator deletes it.
    Forever,
}

impl Retention {
    /// In seconds; `None` means forever.
    pub fn seconds(self) -> Option<i64> {
        match self {
            Retention::For(duration) => i64::try_from(duration.as_secs()).ok(),
            Retention::Forever => None,
        }
    }
}

fn retention(text: &str) -> Result<Retention, String> {
    match text {
        "forever" => Ok(Retention::Forever),
        _ => duration(text).map(Retention::For).map_err(|error| format!("{error}, or `forever`")),
    }
}
