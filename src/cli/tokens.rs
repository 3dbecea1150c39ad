//! `hallpass tokens`: creates, lists and ends tokens for programs.

use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::find_user::{called, one_account};
use super::values::{DatabaseOption, UserArgument, duration, duration_or_zero};
use crate::cli::output::table::Column;
use crate::cli::output::time::{local, span};
use crate::cli::output::{json, table};
use crate::clock;
use crate::store::{
    Actor, EventKind, NewToken, Session, SessionSelector, Store, StoreError, TOKENS_PER_USER_MAX,
    TokenRefusal, User,
};
use crate::token::{SessionToken, TokenName, random_name};

const COLUMNS: [Column; 6] = [
    Column::whole("ID"),
    Column::text("USER"),
    Column::text("NAME"),
    Column::whole("CREATED").spare(1),
    Column::whole("LAST USED").spare(2),
    Column::whole("EXPIRES").spare(3),
];

/// Flags of `tokens`.
#[derive(Debug, Clone, Args)]
pub struct TokensOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// The command.
    #[command(subcommand)]
    pub command: TokensCommand,
}

/// The commands of `tokens`.
#[derive(Debug, Clone, Subcommand)]
pub enum TokensCommand {
    /// Create a token with which a program acts as a user, and print it; it is not shown again
    ///
    /// The token works wherever the proxy asks Hallpass, as `Authorization: Bearer` or as the
    /// password of Basic credentials, and at /auth/me. It cannot sign in, create tokens, or end
    /// sessions. It stops working when it is revoked, and while the user is blocked or not allowed.
    Create {
        /// The user.
        #[command(flatten)]
        who: UserArgument,
        /// The purpose of the token, shown in lists and events
        #[arg(long, value_name = "NAME", value_parser = token_name())]
        name: TokenName,
        /// How long the token works [default: the longest, --token-lifetime]
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        lifetime: Option<Duration>,
        /// The longest life of a token; must be the server's value
        #[arg(long, env = "HALLPASS_TOKEN_LIFETIME", value_name = "DURATION", default_value = "365d",
            value_parser = duration_or_zero)]
        token_lifetime: Duration,
    },
    /// List tokens that have neither ended nor expired, the newest first
    List {
        /// Only tokens of this user, by e-mail or sub
        #[arg(long, value_name = "EMAIL|SUB")]
        user: Option<String>,
        /// List at most this many [default: 100]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        limit: Option<u32>,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// End one token, or all tokens of a user; `sessions revoke --user` ends both
    #[command(group = clap::ArgGroup::new("which").required(true).args(["id", "user"]))]
    Revoke {
        /// The token's ID in `tokens list`
        #[arg(value_name = "ID")]
        id: Option<String>,
        /// End all tokens of this user, by e-mail or sub
        #[arg(long, value_name = "EMAIL|SUB")]
        user: Option<String>,
    },
}

fn token_name() -> impl TypedValueParser<Value = TokenName> {
    NonEmptyStringValueParser::new().try_map(|text| {
        TokenName::parse(&text).ok_or("expected 1 to 100 characters without control characters")
    })
}

/// Runs `hallpass tokens`.
///
/// # Errors
/// One sentence that says why it failed.
pub fn tokens(options: &TokensOptions) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let store = match &options.command {
        TokensCommand::List { .. } => options.database.database.open_reading(),
        _ => options.database.database.open_existing(),
    }
    .map_err(text)?;
    let now = clock::now();
    let subject =
        |who: &String| one_account(&store, who).map(|account| account.user.profile.subject);
    match &options.command {
        TokensCommand::Create { who, name, lifetime, token_lifetime } => {
            create(&store, &who.who, name, lifetime.unwrap_or(*token_lifetime), *token_lifetime)
        }
        TokensCommand::List { user, limit, json } => {
            let subject = user.as_ref().map(subject).transpose()?;
            let wanted = table::rows_wanted(*limit);
            let mut open = store.open_tokens(subject.as_deref(), now, wanted).map_err(text)?;
            let has_more = table::cut(*limit, &mut open);
            if *json {
                table::documents(open.iter().map(|(token, user)| json::token(token, user)))?;
            } else {
                table(&open)?;
            }
            table::note_extent("tokens", open.len(), has_more);
            Ok(())
        }
        TokensCommand::Revoke { id, user } => {
            let selector = match (id, user) {
                (Some(id), _) => SessionSelector::Token(id.clone()),
                (None, Some(who)) => SessionSelector::TokensOf(subject(who)?),
                (None, None) => return Err("give the ID of a token, or --user".into()),
            };
            let ended = store
                .end_sessions(&selector, EventKind::Revocation, &Actor::operator(), now)
                .map_err(text)?
                .tokens;
            match (id, ended) {
                (Some(id), 0) => Err(format!("there is no open token {}", table::printable(id))),
                (_, 1) => table::lines(["ended 1 token".to_owned()].into_iter()),
                _ => table::lines([format!("ended {ended} tokens")].into_iter()),
            }
        }
    }
}

/// Prints tokens as a table.
///
/// # Errors
/// If it cannot be written.
pub fn table(tokens: &[(Session, User)]) -> Result<(), String> {
    let rows = tokens.iter().map(|(token, user)| {
        vec![
            token.id.clone(),
            user.profile.email.as_ref().unwrap_or(&user.profile.subject).clone(),
            token.name.clone().unwrap_or_default(),
            local(token.created_at),
            if token.last_seen_at > token.created_at {
                local(token.last_seen_at)
            } else {
                "not used yet".to_owned()
            },
            local(token.expires_at),
        ]
    });
    table::table(&COLUMNS, rows)
}

fn create(
    store: &Store,
    who: &str,
    name: &TokenName,
    lifetime: Duration,
    lifetime_max: Duration,
) -> Result<(), String> {
    if lifetime_max.is_zero() {
        return Err("tokens for programs are turned off (--token-lifetime 0)".into());
    }
    if lifetime > lifetime_max {
        return Err(format!(
            "--lifetime is longer than the server allows: --token-lifetime is {}",
            span(lifetime_max)
        ));
    }
    let account = one_account(store, who)?;
    let (token, now) = (SessionToken::generate(), clock::now());
    let new = NewToken {
        token: token.hash(),
        id: random_name(),
        name: name.clone(),
        expires_at: now.saturating_add_unsigned(lifetime.as_secs()),
        created_with: None,
    };
    let created = store.create_token(&account.user, new, Actor::operator(), now);
    let token_session = match created.map_err(|error| error.to_string())? {
        Ok(session) => session,
        Err(TokenRefusal::Ended) => return Err(format!("there is no user {}", called(&account))),
        Err(TokenRefusal::Exists) => return Err("this ID is taken; try again".into()),
        Err(TokenRefusal::TooMany) => {
            return Err(format!(
                "{} has {TOKENS_PER_USER_MAX} tokens already; end one first",
                called(&account)
            ));
        }
    };
    table::note(&format!(
        "this token acts as {} until {} and is not shown again",
        called(&account),
        local(token_session.expires_at)
    ));
    if account.user.blocked_at.or(account.user.google_disabled_at).is_some() {
        table::note("the token does not work yet, because this user is blocked");
    }
    table::lines([token.expose().to_owned()].into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_shows_when_a_token_ends() {
        const AT: &str = "2026-11-24 14:09:48";
        let row =
            ["Qthe2e9BliihMigq", "somebody@mail.example.com", "Backup", AT, "not used yet", AT];
        #[track_caller]
        fn check(row: [&str; 6], width: u16, created: bool, used: bool, expires: bool) {
            let rows = [row.map(str::to_owned).to_vec()].into_iter();
            let header = table::drawn(&COLUMNS, rows, width).swap_remove(0);
            let shown = ["CREATED", "LAST USED", "EXPIRES"].map(|name| header.contains(name));
            assert_eq!(shown, [created, used, expires], "{width}: {header}");
        }
        check(row, 68, false, false, false);
        check(row, 69, false, false, true);
        check(row, 80, false, false, true);
        check(row, 83, false, true, true);
        check(row, 104, true, true, true);
    }
}
