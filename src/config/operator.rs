//! The flags of the commands that work on a database, whose server may be running.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValue};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::values::duration;
use crate::store::{EventKind, UserSort};

/// The flag that names the database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseOption {
    /// The SQLite file of the server; it must exist
    #[arg(
        long,
        global = true,
        env = "HALLPASS_DATABASE",
        value_name = "FILE",
        default_value = "hallpass.db"
    )]
    pub database: PathBuf,
}

/// Flags of `users`.
#[derive(Debug, Clone, Args)]
pub struct UsersOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// The command.
    #[command(subcommand)]
    pub command: UsersCommand,
}

/// The commands of `users`.
#[derive(Debug, Clone, Subcommand)]
pub enum UsersCommand {
    /// List users: a table on a terminal, otherwise tab-separated lines
    List {
        /// Only users whose name, e-mail or sub contains every word of this text
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// What to sort by; times are sorted latest first
        #[arg(long, value_enum, default_value_t = UserSort::LastSignIn)]
        sort: UserSort,
        /// The most to list [default: 100]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show one user with their sessions and latest events
    Show {
        /// The user.
        #[command(flatten)]
        who: WhoOption,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Block a user: from the next request on, neither sign-in nor their sessions work
    Block(WhoOption),
    /// Unblock a user; their sessions that have not ended work again
    Unblock(WhoOption),
    /// Release a user's e-mail, so that another Google account may sign in with it
    ///
    /// Their sessions continue, but until they sign in again, apps do not get their e-mail: headers
    /// such as Remote-User are empty.
    Release(WhoOption),
    /// Export all users to a file, for `import` and spreadsheets
    Export {
        /// The format
        #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
        format: ExportFormat,
        /// The file to write, readable by its owner only [default: standard output]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Delete a user, their sessions, and their e-mail, addresses and browsers in events
    ///
    /// A deleted user may sign in again, as a new user. To keep somebody out, block them. Older
    /// backups still contain them.
    Delete {
        /// The user.
        #[command(flatten)]
        who: WhoOption,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// The argument that names a user.
#[derive(Debug, Clone, Args)]
pub struct WhoOption {
    /// The user's e-mail or sub
    #[arg(value_name = "EMAIL|SUB", value_parser = NonEmptyStringValueParser::new())]
    pub who: String,
}

/// Formats of exported users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A header, then one line per user
    Csv,
    /// An array of objects
    Json,
}

impl ValueEnum for UserSort {
    fn value_variants<'a>() -> &'a [UserSort] {
        &[UserSort::Name, UserSort::Email, UserSort::LastSignIn, UserSort::Created]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            UserSort::Name => PossibleValue::new("name").help("Name"),
            UserSort::Email => PossibleValue::new("email").help("E-mail"),
            UserSort::LastSignIn => PossibleValue::new("last-signin").help("Last sign-in"),
            UserSort::Created => PossibleValue::new("created").help("First sign-in"),
        })
    }
}

impl ValueEnum for EventKind {
    fn value_variants<'a>() -> &'a [EventKind] {
        &EventKind::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.as_str()))
    }
}

/// Flags of `sessions`.
#[derive(Debug, Clone, Args)]
pub struct SessionsOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// The command.
    #[command(subcommand)]
    pub command: SessionsCommand,
}

/// The commands of `sessions`.
#[derive(Debug, Clone, Subcommand)]
pub enum SessionsCommand {
    /// List sessions that have neither ended nor expired, the one that expires last first
    ///
    /// The list may include sessions that no longer work because they have been idle for longer
    /// than the server's --session-idle.
    List {
        /// Only sessions of this user, by e-mail or sub
        #[arg(long, value_name = "EMAIL|SUB")]
        user: Option<String>,
        /// The most to list [default: 100]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// End one session, all sessions of a user, or all sessions
    #[command(group = clap::ArgGroup::new("which").required(true).args(["id", "user", "all"]))]
    Revoke {
        /// The session's ID in `sessions list`
        #[arg(value_name = "ID")]
        id: Option<String>,
        /// End all sessions of this user, by e-mail or sub
        #[arg(long, value_name = "EMAIL|SUB")]
        user: Option<String>,
        /// End all sessions of all users
        #[arg(long)]
        all: bool,
        /// Do not ask for confirmation of --all
        #[arg(long)]
        yes: bool,
    },
}

/// Flags of `events`.
#[derive(Debug, Clone, Args)]
pub struct EventsOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// Only events of this kind
    #[arg(long, value_name = "KIND")]
    pub kind: Option<EventKind>,
    /// Only events about this person, by e-mail or sub
    #[arg(long, value_name = "EMAIL|SUB")]
    pub user: Option<String>,
    /// Only events since this time: 90s, 12h or 30d (ago), or a local time such as 2026-11-01 or
    /// 2026-11-01T14:30
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub since: Option<PointInTime>,
    /// Only events until this time: 90s, 12h or 30d (ago), or a local time
    #[arg(long, value_name = "TIME", value_parser = point_in_time, conflicts_with = "follow")]
    pub until: Option<PointInTime>,
    /// Show at most this many, the latest [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Wait for new events and show them, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// A point in time on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointInTime {
    /// This long ago.
    Ago(Duration),
    /// In unix seconds.
    At(i64),
}

impl PointInTime {
    /// In unix seconds.
    pub fn at(self, now: i64) -> i64 {
        match self {
            PointInTime::Ago(duration) => now.saturating_sub_unsigned(duration.as_secs()),
            PointInTime::At(at) => at,
        }
    }
}

/// A time without a zone is in the system's zone, or that of TZ. A day means its beginning.
fn point_in_time(text: &str) -> Result<PointInTime, String> {
    if let Ok(duration) = duration(text) {
        return Ok(PointInTime::Ago(duration));
    }
    let local = || text.parse::<DateTime>().and_then(|time| time.to_zoned(TimeZone::system()));
    let time = text.parse::<Timestamp>().or_else(|_| Ok(local()?.timestamp()));
    time.map(|time| PointInTime::At(time.as_second())).map_err(|_: jiff::Error| {
        "expected a duration such as 90s, 12h or 30d, or a time such as 2026-11-01 or 2026-11-01T14:30".into()
    })
}

/// Flags of `import`.
#[derive(Debug, Clone, Args)]
pub struct ImportOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// The file to import: CSV with a header, or a JSON array of objects
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Flags of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// The file to write. An existing file is replaced once the backup is checked and on disk
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Flags of `restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreOptions {
    /// The backup to restore
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The database to write
    #[arg(long, env = "HALLPASS_DATABASE", value_name = "FILE", default_value = "hallpass.db")]
    pub database: PathBuf,
    /// Replace an existing database
    #[arg(long)]
    pub force: bool,
}
