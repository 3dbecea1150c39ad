//! `hallpass sessions`: lists and ends sessions.

use clap::{Args, Subcommand};

use super::confirm;
use super::find_user::one_account;
use super::values::DatabaseOption;
use crate::cli::output::progress::Progress;
use crate::cli::output::table::Column;
use crate::cli::output::time::local;
use crate::cli::output::{json, table};
use crate::clock;
use crate::store::{Actor, Ended, EventKind, Session, SessionSelector, StoreError, User};

const COLUMNS: [Column; 7] = [
    Column::whole("ID"),
    Column::text("USER"),
    Column::whole("CREATED").spare(3),
    Column::whole("LAST SEEN").spare(5),
    Column::whole("EXPIRES").spare(2),
    Column::whole("ADDRESS").spare(4),
    Column::text("USER AGENT").spare(1),
];

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
        /// List at most this many [default: 100]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// End one session, all sessions of a user, or all sessions
    #[command(group = clap::ArgGroup::new("which").required(true).args(["id", "user", "all"]))]
    Revoke {
        /// The ID of a session or token in `sessions list` or `tokens list`
        #[arg(value_name = "ID")]
        id: Option<String>,
        /// End all sessions and tokens of this user, by e-mail or sub
        #[arg(long, value_name = "EMAIL|SUB")]
        user: Option<String>,
        /// End all sessions and tokens of all users
        #[arg(long)]
        all: bool,
        /// Do not ask for confirmation of --all
        #[arg(long)]
        yes: bool,
    },
}

/// Runs `hallpass sessions`.
///
/// # Errors
/// One sentence that says why it failed.
pub fn sessions(options: &SessionsOptions) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let store = match &options.command {
        SessionsCommand::List { .. } => options.database.database.open_reading(),
        SessionsCommand::Revoke { .. } => options.database.database.open_existing(),
    }
    .map_err(text)?;
    let now = clock::now();
    let subject =
        |who: &String| one_account(&store, who).map(|account| account.user.profile.subject);
    match &options.command {
        SessionsCommand::List { user, limit, json } => {
            let subject = user.as_ref().map(subject).transpose()?;
            let wanted = table::rows_wanted(*limit);
            let mut open = store.open_sessions(subject.as_deref(), now, wanted).map_err(text)?;
            let has_more = table::cut(*limit, &mut open);
            if *json {
                table::documents(open.iter().map(|(session, user)| json::session(session, user)))?;
            } else {
                table(&open)?;
            }
            table::note_extent("sessions", open.len(), has_more);
            Ok(())
        }
        SessionsCommand::Revoke { id, user, yes, .. } => {
            let end = |sessions: SessionSelector| {
                let kind = EventKind::Revocation;
                store.end_sessions(&sessions, kind, &Actor::operator(), now).map_err(text)
            };
            let ended = match (id, user) {
                (Some(id), _) => match end(SessionSelector::Id(id.clone()))? {
                    ended if ended.total() == 0 => {
                        return Err(format!("there is no open session {}", table::printable(id)));
                    }
                    ended => ended,
                },
                (None, Some(who)) => end(SessionSelector::User(subject(who)?))?,
                (None, None) => {
                    confirm::require(*yes, "End all sessions of all users?")?;
                    let open = store.counts(now).map_err(text)?.sessions;
                    let mut progress = Progress::new("ended");
                    store
                        .end_all_sessions(&Actor::operator(), now, |ended| {
                            progress.show(ended as u64, open.max(ended as u64))
                        })
                        .map_err(text)?
                }
            };
            table::lines([format!("ended {}", counted(ended))].into_iter())
        }
    }
}

/// Names sessions and tokens apart, and leaves out what was not there.
fn counted(ended: Ended) -> String {
    let sessions =
        format!("{} {}", ended.sessions, if ended.sessions == 1 { "session" } else { "sessions" });
    let tokens = format!("{} {}", ended.tokens, if ended.tokens == 1 { "token" } else { "tokens" });
    match ended {
        Ended { tokens: 0, .. } => sessions,
        Ended { sessions: 0, .. } => tokens,
        _ => format!("{sessions} and {tokens}"),
    }
}

/// Prints sessions as a table.
///
/// # Errors
/// If it cannot be written.
pub fn table(sessions: &[(Session, User)]) -> Result<(), String> {
    let rows = sessions.iter().map(|(session, user)| {
        vec![
            session.id.clone(),
            user.profile.email.as_ref().unwrap_or(&user.profile.subject).clone(),
            local(session.created_at),
            local(session.last_seen_at),
            local(session.expires_at),
            session.client.address.clone().unwrap_or_default(),
            session.client.user_agent.clone().unwrap_or_default(),
        ]
    });
    table::table(&COLUMNS, rows)
}
