//! The flags of the operator's commands, which work on the database of a server that may be running.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PossibleValue};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::values::duration;
use crate::store::{EventKind, UserSort};

/// Which database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseOption {
    /// The SQLite file of the server; it must be there already
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
    /// What to do.
    #[command(subcommand)]
    pub command: UsersCommand,
}

/// What to do with users.
#[derive(Debug, Clone, Subcommand)]
pub enum UsersCommand {
    /// List users; a table on a terminal, otherwise a line each with tabs between the columns
    List {
        /// Only those with this text in their e-mail, name or sub
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// What to sort by; times put the latest first
        #[arg(long, value_enum, default_value_t = UserSort::LastSignIn)]
        sort: UserSort,
        /// How many to list at most [default: 100]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one user, their sessions and what happened lately
    Show {
        /// Whom.
        #[command(flatten)]
        who: WhoOption,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let somebody neither sign in nor use a session they have, from the next request on
    Block(WhoOption),
    /// Let somebody in again; sessions that have not ended meanwhile work again
    Unblock(WhoOption),
    /// Let the e-mail that somebody holds be used by another Google account
    ///
    /// Their sessions go on, but until they sign in again apps get no e-mail from them: Remote-User and the like are empty.
    Release(WhoOption),
    /// Write all users to a file, for `import` and for spreadsheets
    Export {
        /// The form
        #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
        format: ExportFormat,
        /// Where to; readable by its owner only [default: standard output]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Erase somebody: the user, their sessions, and their e-mail, addresses and browsers in events
    ///
    /// Who is erased may sign in again, as a new user. To keep somebody out, block them. Backups made before still have
    /// them.
    Delete {
        /// Whom.
        #[command(flatten)]
        who: WhoOption,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Somebody who has signed in.
#[derive(Debug, Clone, Args)]
pub struct WhoOption {
    /// The user's e-mail, or their sub
    #[arg(value_name = "EMAIL|SUB", value_parser = NonEmptyStringValueParser::new())]
    pub who: String,
}

/// Forms of exported users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A header and a line a user.
    Csv,
    /// An array of objects.
    Json,
}

impl ValueEnum for UserSort {
    fn value_variants<'a>() -> &'a [UserSort] {
        &[UserSort::Name, UserSort::Email, UserSort::LastSignIn, UserSort::Created]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            UserSort::Name => PossibleValue::new("name").help("The name"),
            UserSort::Email => PossibleValue::new("email").help("The e-mail"),
            UserSort::LastSignIn => PossibleValue::new("last-signin").help("The last sign-in"),
            UserSort::Created => PossibleValue::new("created").help("The first sign-in"),
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
    /// What to do.
    #[command(subcommand)]
    pub command: SessionsCommand,
}

/// What to do with sessions.
#[derive(Debug, Clone, Subcommand)]
pub enum SessionsCommand {
    /// List the sessions that have neither ended nor expired, those that last longest first
    ///
    /// Some may have been idle for longer than the server's --session-idle allows; those no longer count.
    List {
        /// Only those of this user: their e-mail, or their sub
        #[arg(long, value_name = "EMAIL|SUB")]
        user: Option<String>,
        /// How many to list at most [default: 100]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// End sessions: one, all of a user, or all there are
    #[command(group = clap::ArgGroup::new("which").required(true).args(["id", "user", "all"]))]
    Revoke {
        /// The session, as `sessions list` names it
        #[arg(value_name = "ID")]
        id: Option<String>,
        /// All sessions of this user: their e-mail, or their sub
        #[arg(long, value_name = "EMAIL|SUB")]
        user: Option<String>,
        /// All sessions of everybody
        #[arg(long)]
        all: bool,
        /// Do not ask, for --all
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
    /// Only events about this person: their e-mail, or their sub
    #[arg(long, value_name = "EMAIL|SUB")]
    pub user: Option<String>,
    /// Only events since then: 90s, 12h or 30d ago, or a local time such as 2026-11-01 or 2026-11-01T14:30
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    pub since: Option<PointInTime>,
    /// Only events until then: 90s, 12h or 30d ago, or a local time
    #[arg(long, value_name = "TIME", value_parser = point_in_time, conflicts_with = "follow")]
    pub until: Option<PointInTime>,
    /// How many to show at most: the last ones [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Go on with those to come, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// A point in time as the operator gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointInTime {
    /// So long ago.
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

/// A time without a zone is in the system's, or in that of TZ; a day stands for its beginning.
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
    /// CSV with a header, or a JSON array of objects
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Flags of `backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// Where to; what is there is replaced once the backup is whole, sound and on disk
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Flags of `restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreOptions {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to
    #[arg(long, env = "HALLPASS_DATABASE", value_name = "FILE", default_value = "hallpass.db")]
    pub database: PathBuf,
    /// Replace the database that is there
    #[arg(long)]
    pub force: bool,
}
