//! `hallpass users`: lists and changes users.

use std::path::PathBuf;

use clap::builder::{NonEmptyStringValueParser, PossibleValue, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::export::{self, ExportFormat};
use super::find_user::{called, one_account};
use super::values::{DatabaseOption, UserArgument};
use super::{confirm, events, sessions, tokens};
use crate::cli::output::table::{Column, printable};
use crate::cli::output::time::local;
use crate::cli::output::{json, table};
use crate::clock;
use crate::entry::Entry;
use crate::store::{
    About, Actor, BlockedEmail, EventFilter, EventRow, Renaming, Session, Store, StoreError,
    TOKENS_PER_USER_MAX, User, UserRecord, UserSort, Username,
};

/// The most sessions and events that `users show` prints.
const SHOWN_MAX: u32 = 20;

const COLUMNS: [Column; 7] = [
    Column::text("E-MAIL"),
    Column::text("NAME").spare(3),
    Column::text("USER NAME").spare(2),
    Column::whole("SUB"),
    Column::whole("LAST SIGN-IN").spare(3),
    Column::whole("CREATED").spare(1),
    Column::whole("STATE"),
];

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
        /// Only users whose name, e-mail, user name or sub contains every word of this text
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Sort by this; times are sorted latest first
        #[arg(long, value_enum, default_value_t = UserSort::LastSignIn)]
        sort: UserSort,
        /// List at most this many [default: 100]
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
        who: UserArgument,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Block a user: from the next request on, neither sign-in nor their sessions work
    ///
    /// You can also block somebody who has never signed in, by e-mail or by the sub that a refusal
    /// shows.
    Block(UserArgument),
    /// Unblock a user; their sessions that have not ended work again
    Unblock(UserArgument),
    /// Release a user's e-mail, so another Google account may sign in with it
    ///
    /// Their sessions continue, but until they sign in again, apps do not get their e-mail: headers
    /// such as Remote-User are empty.
    Release(UserArgument),
    /// Give a user another user name
    ///
    /// Nobody gets a name that ever belonged to somebody else, even if that user was renamed or
    /// deleted. Apps see the new name on the next request.
    Rename {
        /// The user.
        #[command(flatten)]
        who: UserArgument,
        /// 1 to 64 lower-case letters, digits, dots, hyphens and underscores; a letter or a digit
        /// first
        #[arg(value_name = "NAME", value_parser = username())]
        name: Username,
    },
    /// Export all users to a file, for `import` and spreadsheets
    Export {
        /// The format
        #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
        format: ExportFormat,
        /// The file to write, readable by its owner only; - is standard output, the default
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Delete a user, their sessions and tokens, and their personal data in events
    ///
    /// This also removes the entries of `allow` that name the user. The sub, kind and time of each
    /// event remain, and a hash of each user name. A block is lifted too. A person whom a setting
    /// or the entry of a domain lets in can sign in again, as a new user; to keep them out, block
    /// their sub or e-mail after the deletion. Older backups keep everything.
    Delete {
        /// The user.
        #[command(flatten)]
        who: UserArgument,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
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

fn username() -> impl TypedValueParser<Value = Username> {
    NonEmptyStringValueParser::new().try_map(|text| {
        Username::parse(&text).ok_or(
            "expected 1 to 64 lower-case letters, digits, dots, hyphens and underscores, with a letter or a digit first",
        )
    })
}

/// Runs `hallpass users`.
///
/// # Errors
/// One sentence that says why it failed.
pub fn users(options: &UsersOptions) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let store = match &options.command {
        UsersCommand::List { .. } | UsersCommand::Show { .. } | UsersCommand::Export { .. } => {
            options.database.database.open_reading()
        }
        _ => options.database.database.open_existing(),
    }
    .map_err(text)?;
    let now = clock::now();
    match &options.command {
        UsersCommand::List { search, sort, limit, json } => {
            let search = search.as_deref().unwrap_or_default();
            let mut users =
                store.list_users(search, *sort, None, table::rows_wanted(*limit)).map_err(text)?;
            let has_more = table::cut(*limit, &mut users);
            let wanted = table::rows_wanted(*limit);
            let mut blocked = store.blocked_emails(search, wanted).map_err(text)?;
            let has_more = table::cut(*limit, &mut blocked) || has_more;
            list(&users, &blocked, *json)?;
            table::note_extent("users", users.len() + blocked.len(), has_more);
            Ok(())
        }
        UsersCommand::Show { who, json } => match store.blocked_email(&who.who).map_err(text)? {
            Some(blocked) if store.users_named(&who.who).map_err(text)?.is_empty() => {
                show_blocked(&store, &blocked, *json)
            }
            _ => show(&store, &one_account(&store, &who.who)?, *json, now),
        },
        UsersCommand::Block(who) => match known_or_named(&store, &who.who)? {
            Who::User(account) => {
                let changed = store.set_blocked(subject(&account), true, Actor::operator(), now);
                let what = if changed.map_err(text)? { "blocked" } else { "was blocked already:" };
                say(what, &account)
            }
            Who::Stranger(entry) => {
                require_unseen(&store, &entry)?;
                let changed = match &entry {
                    Entry::Subject(subject) => store.block_unknown(subject, Actor::operator(), now),
                    other => store.block_email(other.as_str(), Actor::operator(), now),
                };
                let what = if changed.map_err(text)? { "blocked" } else { "was blocked already:" };
                say_of_stranger(what, &entry)
            }
        },
        UsersCommand::Unblock(who) => {
            let who = known_or_named(&store, &who.who)?;
            // A user may have an address that was blocked for others.
            let email = match &who {
                Who::User(account) => account.user.profile.email.as_deref().unwrap_or_default(),
                Who::Stranger(entry) => entry.as_str(),
            };
            let unblocked = store.unblock_email(email, Actor::operator(), now).map_err(text)?;
            match &who {
                Who::User(account) => {
                    let changed =
                        store.set_blocked(subject(account), false, Actor::operator(), now);
                    let changed = changed.map_err(text)? || unblocked;
                    say(if changed { "unblocked" } else { "was not blocked:" }, account)
                }
                Who::Stranger(entry) => {
                    say_of_stranger(if unblocked { "unblocked" } else { "was not blocked:" }, entry)
                }
            }
        }
        UsersCommand::Release(who) => {
            let account = one_account(&store, &who.who)?;
            let changed =
                store.release_email(subject(&account), Actor::operator(), now).map_err(text)?;
            say(if changed { "released the e-mail of" } else { "held no e-mail:" }, &account)?;
            if changed
                && !store.open_sessions(Some(subject(&account)), now, 1).map_err(text)?.is_empty()
            {
                table::note(
                    "their sessions continue without an e-mail until they sign in again: apps get an empty Remote-User",
                );
            }
            Ok(())
        }
        UsersCommand::Rename { who, name } => {
            let account = one_account(&store, &who.who)?;
            let actor = Actor::operator();
            match store.rename_user(subject(&account), name, actor, now).map_err(text)? {
                Renaming::Renamed => {
                    say(&format!("{} is now the name of", name.as_str()), &account)
                }
                Renaming::Unchanged => {
                    say(&format!("{} was already the name of", name.as_str()), &account)
                }
                Renaming::Taken => {
                    Err(format!("the name {} belongs or belonged to another user", name.as_str()))
                }
            }
        }
        UsersCommand::Export { format, file } => {
            if let Some(file) = file {
                options.database.database.require_apart(file).map_err(text)?;
            }
            export::users(&store, *format, file.as_deref())
        }
        UsersCommand::Delete { who, yes } => {
            let account = one_account(&store, &who.who)?;
            let is_blocked = !state(&account.user).is_empty();
            let question =
                if is_blocked { "This also lifts their block. Delete " } else { "Delete " };
            confirm::require(
                *yes,
                &format!("{question}{} and all their sessions?", called(&account)),
            )?;
            // The answer may have taken a while.
            store.delete_user(subject(&account), clock::now()).map_err(text)?;
            say("deleted", &account)?;
            if is_blocked {
                table::note(&format!(
                    "this also lifted their block; to keep them out, run `hallpass users block {}`",
                    printable(subject(&account))
                ));
            }
            Ok(())
        }
    }
}

fn subject(account: &UserRecord) -> &str {
    &account.user.profile.subject
}

fn say(what: &str, account: &UserRecord) -> Result<(), String> {
    table::lines([format!("{what} {}", called(account))].into_iter())
}

/// The person whom a command is about.
enum Who {
    User(Box<UserRecord>),
    /// Nobody has signed in as this account.
    Stranger(Entry),
}

fn known_or_named(store: &Store, name: &str) -> Result<Who, String> {
    match one_account(store, name) {
        Ok(account) => Ok(Who::User(Box::new(account))),
        Err(why) => match Entry::account(name) {
            Some(entry) if store.users_named(name).is_ok_and(|users| users.is_empty()) => {
                Ok(Who::Stranger(entry))
            }
            _ => Err(why),
        },
    }
}

/// Blocking a former e-mail would not block the account.
fn require_unseen(store: &Store, entry: &Entry) -> Result<(), String> {
    let Entry::Email(email) = entry else { return Ok(()) };
    let seen = store.users_seen_with(email).map_err(|error| error.to_string())?;
    if seen.is_empty() {
        return Ok(());
    }
    let subjects: Vec<&str> = seen.iter().map(subject).collect();
    Err(format!(
        "{} is a former e-mail of {}; to block the account, give its sub: {}",
        table::printable(email),
        seen.iter().map(called).collect::<Vec<_>>().join(" and "),
        table::printable(&subjects.join(" or "))
    ))
}

fn say_of_stranger(what: &str, entry: &Entry) -> Result<(), String> {
    let name = table::printable(entry.as_str());
    table::lines([format!("{what} {name}, who has never signed in")].into_iter())
}

fn list(accounts: &[UserRecord], blocked: &[BlockedEmail], json: bool) -> Result<(), String> {
    if json {
        let blocked = blocked.iter().map(json::blocked_email);
        return table::documents(accounts.iter().map(json::account).chain(blocked));
    }
    let blocked = blocked.iter().map(|blocked| {
        let [nothing, never, state] = ["", "never", "blocked"].map(str::to_owned);
        let email = blocked.email.clone();
        vec![email, nothing.clone(), nothing.clone(), nothing, never.clone(), never, state]
    });
    let rows = accounts.iter().map(|account| {
        let user = &account.user;
        vec![
            user.profile.email.clone().unwrap_or_default(),
            user.profile.name.clone().unwrap_or_default(),
            user.username.clone().unwrap_or_default(),
            user.profile.subject.clone(),
            user.last_signin_at.map_or_else(|| "never".to_owned(), local),
            local(user.created_at),
            state(user).to_owned(),
        ]
    });
    table::table(&COLUMNS, rows.chain(blocked))
}

/// Somebody who was blocked before their first sign-in.
fn show_blocked(store: &Store, blocked: &BlockedEmail, json: bool) -> Result<(), String> {
    let about = Some(About::Email(blocked.email.clone()));
    let filter = EventFilter { about, ..EventFilter::default() };
    let last = store.last_events(&filter, SHOWN_MAX).map_err(|error| error.to_string())?;
    if json {
        let document = json!({
            "user": json::blocked_email(blocked),
            "sessions": [],
            "tokens": [],
            "events": last.iter().map(json::event).collect::<Vec<_>>(),
        });
        return table::documents([document].into_iter());
    }
    let since = format!("since {}, before their first sign-in", local(blocked.created_at));
    let rows = [("e-mail", blocked.email.clone()), ("blocked", since)];
    table::table(
        &[Column::whole("USER"), Column::text("")],
        rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]),
    )?;
    table::lines(["".into(), format!("Last events: {}", last.len())].into_iter())?;
    events::table(&last)
}

/// Whether the user is kept out, and by whom.
fn state(user: &User) -> &'static str {
    match (user.blocked_at, user.google_disabled_at) {
        (Some(_), _) => "blocked",
        (None, Some(_)) => "disabled by Google",
        (None, None) => "",
    }
}

fn show(store: &Store, account: &UserRecord, json: bool, now: i64) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let mut open = store.open_sessions(Some(subject(account)), now, SHOWN_MAX + 1).map_err(text)?;
    let filter = EventFilter {
        about: Some(About::Subject(subject(account).to_owned())),
        ..EventFilter::default()
    };
    let mut last = store.last_events(&filter, SHOWN_MAX + 1).map_err(text)?;
    let tokens =
        store.open_tokens(Some(subject(account)), now, TOKENS_PER_USER_MAX).map_err(text)?;
    let are_more = [open.len(), last.len()].map(|count| count > SHOWN_MAX as usize);
    open.truncate(SHOWN_MAX as usize);
    if are_more[1] {
        // The oldest.
        last.remove(0);
    }
    if json {
        let document = json!({
            "user": json::account(account),
            "sessions": open.iter().map(|(session, user)| json::session(session, user)).collect::<Vec<_>>(),
            "tokens": tokens.iter().map(|(token, user)| json::token(token, user)).collect::<Vec<_>>(),
            "events": last.iter().map(json::event).collect::<Vec<_>>(),
        });
        table::documents([document].into_iter())?;
    } else {
        show_text(account, &open, &tokens, &last)?;
    }
    for (is_more, what, command) in
        [(are_more[0], "open sessions", "sessions list"), (are_more[1], "events", "events")]
    {
        if is_more {
            let subject = table::printable(subject(account));
            table::note(&format!(
                "there are more {what}; list them with `hallpass {command} --user {subject}`"
            ));
        }
    }
    Ok(())
}

fn show_text(
    account: &UserRecord,
    open: &[(Session, User)],
    tokens: &[(Session, User)],
    last: &[EventRow],
) -> Result<(), String> {
    table::table(
        &[Column::whole("USER"), Column::text("")],
        profile(account).into_iter().map(|(name, value)| vec![name.to_owned(), value]),
    )?;
    table::lines(["".into(), format!("Open sessions: {}", open.len())].into_iter())?;
    sessions::table(open)?;
    if !tokens.is_empty() {
        table::lines(["".into(), format!("Open tokens: {}", tokens.len())].into_iter())?;
        tokens::table(tokens)?;
    }
    table::lines(["".into(), format!("Last events: {}", last.len())].into_iter())?;
    events::table(last)
}

fn profile(account: &UserRecord) -> Vec<(&'static str, String)> {
    let (user, profile) = (&account.user, &account.user.profile);
    let claims = [
        ("sub", Some(profile.subject.clone())),
        ("e-mail", profile.email.clone()),
        ("user name", user.username.clone()),
        ("pinned e-mail", account.pinned_email.clone()),
        ("name", profile.name.clone()),
        ("domain", profile.hosted_domain.clone()),
        ("locale", profile.locale.clone()),
        ("created", Some(local(user.created_at))),
        ("last sign-in", Some(user.last_signin_at.map_or_else(|| "never".to_owned(), local))),
        (
            "blocked",
            Some(
                user.blocked_at
                    .map_or_else(|| "no".to_owned(), |at| format!("since {}", local(at))),
            ),
        ),
        ("disabled by Google", user.google_disabled_at.map(|at| format!("since {}", local(at)))),
    ];
    claims.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
