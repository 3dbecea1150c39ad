//! `hallpass allow`: adds, lists and removes entries of the list of who may enter.

use clap::builder::{NonEmptyStringValueParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::values::DatabaseOption;
use crate::cli::output::table::{self, Column, printable};
use crate::cli::output::time::local;
use crate::clock;
use crate::entry::{Entry, NOTE_CHARACTERS_MAX, workspace_domain};
use crate::store::{Actor, AllowedEntry, Obstacle, Store, StoreError};

const COLUMNS: [Column; 7] = [
    Column::text("ENTRY"),
    Column::whole("KIND"),
    Column::whole("SUB").spare(2),
    // The only name that people recognize, if the entry is a sub.
    Column::text("E-MAIL NOW").spare(4),
    Column::whole("ADDED").spare(3),
    Column::text("BY").spare(1),
    Column::text("NOTE"),
];

/// Flags of `allow`.
#[derive(Debug, Clone, Args)]
pub struct AllowOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// The command.
    #[command(subcommand)]
    pub command: AllowCommand,
}

/// The commands of `allow`.
#[derive(Debug, Clone, Subcommand)]
pub enum AllowCommand {
    /// Let in an account, or all accounts of a Workspace domain
    ///
    /// An e-mail counts if Google is authoritative for it: a gmail.com address, or a verified one
    /// of a Workspace account. From the first sign-in on, the entry belongs to that account, even
    /// if its address changes.
    Add {
        /// The account or domain to let in.
        #[command(flatten)]
        who: Named,
        /// A note for yourself, shown in lists
        #[arg(long, value_name = "TEXT", value_parser = note())]
        note: Option<String>,
    },
    /// List the entries, the newest first
    List {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Remove an entry: from the next request on, neither sign-in nor sessions work
    ///
    /// People whom another entry or a setting of the server lets in can still sign in.
    Remove {
        /// The account or domain of the entry.
        #[command(flatten)]
        who: Named,
    },
}

/// An account or a domain.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Named {
    /// The e-mail or the sub of an account
    #[arg(value_name = "EMAIL|SUB", value_parser = NonEmptyStringValueParser::new())]
    pub account: Option<String>,
    /// A Google Workspace domain
    #[arg(long, value_name = "DOMAIN", value_parser = NonEmptyStringValueParser::new())]
    pub domain: Option<String>,
}

fn note() -> impl TypedValueParser<Value = String> {
    NonEmptyStringValueParser::new().try_map(|text| match text.chars().count() {
        0..=NOTE_CHARACTERS_MAX => Ok(text),
        count => Err(format!("expected at most {NOTE_CHARACTERS_MAX} characters, not {count}")),
    })
}

/// Runs `hallpass allow`.
///
/// # Errors
/// One sentence that says why it failed.
pub fn allow(options: &AllowOptions) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let store = match &options.command {
        AllowCommand::List { .. } => options.database.database.open_reading(),
        _ => options.database.database.open_existing(),
    }
    .map_err(text)?;
    match &options.command {
        AllowCommand::Add { who, note } => {
            let entry = who.entry()?;
            if let Some(never) = entry.never_matches() {
                let name = printable(entry.as_str());
                return Err(format!("{name} would let in nobody: {}; {}", never.why, never.advice));
            }
            let added = store.allow(entry, note.clone(), Actor::operator(), clock::now());
            let (entry, is_new) = added.map_err(text)?;
            let obstacle = store.obstacle(&entry).map_err(text)?;
            say(&added_text(&entry, is_new, note.is_some(), obstacle))
        }
        AllowCommand::List { json } => {
            let entries = store.allowed().map_err(text)?;
            table::note_extent("entries", entries.len(), false);
            if *json {
                return table::documents(entries.iter().map(|entry| serde_json::json!(entry)));
            }
            table::table(&COLUMNS, entries.into_iter().map(row))
        }
        AllowCommand::Remove { who } => remove(&store, &who.entry()?),
    }
}

impl Named {
    fn entry(&self) -> Result<Entry, String> {
        let (domain, account) = (self.domain.as_deref(), self.account.as_deref());
        if let Some(text) = domain {
            return Entry::domain(text).ok_or_else(|| {
                let hint =
                    if text.contains('@') { "; give an e-mail without --domain" } else { "" };
                format!("--domain takes a domain such as example.com, not {text:?}{hint}")
            });
        }
        let text = account.unwrap_or_default();
        Entry::account(text).ok_or_else(|| {
            match workspace_domain(text) {
                Some(domain) => format!(
                    "{text:?} is not an account; for all accounts of a Workspace domain, use --domain {domain}"
                ),
                None => format!("expected an address such as ada@example.com or a sub, not {text:?}"),
            }
        })
    }
}

fn added_text(
    entry: &AllowedEntry,
    is_new: bool,
    has_note: bool,
    obstacle: Option<Obstacle>,
) -> String {
    let who = called(entry);
    let (when, note) = match (is_new, has_note) {
        (true, _) => ("now", ""),
        (false, true) => ("already", "; its note is changed"),
        (false, false) => ("already", ""),
    };
    if let Some(obstacle) = obstacle {
        let why = match obstacle {
            Obstacle::Blocked => {
                let name = entry.subject.as_deref().unwrap_or(entry.name());
                format!(
                    "is blocked; to let them in, run `hallpass users unblock {}`",
                    printable(name)
                )
            }
            Obstacle::NoAuthority(subject) => format!(
                "cannot sign in with it, because Google is not the authority for this address; to let \
                 them in, run `hallpass allow add {}`",
                printable(&subject)
            ),
        };
        return format!("{who} is on the list {when}{note}, but {why}");
    }
    if !is_new {
        return format!("{who} is on the list already{note}");
    }
    let until_then = if entry.email.is_some() && entry.subject.is_none() {
        "; from the first sign-in on, the entry belongs to that account"
    } else {
        ""
    };
    format!("{who} may sign in now{until_then}")
}

fn remove(store: &Store, entry: &Entry) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let named = store.entries_named(entry).map_err(text)?;
    let removed = match named.as_slice() {
        [] => None,
        [one] => store.disallow(one.id, Actor::operator(), clock::now()).map_err(text)?,
        several => {
            let subjects: Vec<&str> =
                several.iter().filter_map(|entry| entry.subject.as_deref()).collect();
            return Err(format!(
                "several entries are for {}; give one of these subs instead: {}",
                printable(entry.as_str()),
                printable(&subjects.join(", "))
            ));
        }
    };
    let Some(removed) = removed else {
        return Err(format!("there is no entry for {}", printable(entry.as_str())));
    };
    say(&format!(
        "removed {} from the list; from the next request on they are refused, unless a setting of the server lets them in",
        called(&removed)
    ))?;
    let user = removed.subject.as_deref().map(|subject| store.user(subject)).transpose();
    if let Some(user) = user.map_err(text)?.flatten()
        && let Some(other) = store.entry_for(&user.user.profile).map_err(text)?
    {
        table::note(&format!("they are still let in by the entry for {}", called(&other)));
    }
    Ok(())
}

fn called(entry: &AllowedEntry) -> String {
    printable(&match entry {
        AllowedEntry { domain: Some(domain), .. } => format!("every account of {domain}"),
        AllowedEntry { email: Some(email), subject: Some(subject), .. }
        | AllowedEntry { account_email: Some(email), subject: Some(subject), .. } => {
            format!("{email} ({subject})")
        }
        entry => entry.name().to_owned(),
    })
}

fn row(entry: AllowedEntry) -> Vec<String> {
    let kind = match &entry {
        AllowedEntry { domain: Some(_), .. } => "domain",
        AllowedEntry { email: Some(_), .. } => "e-mail",
        _ => "sub",
    };
    vec![
        entry.name().to_owned(),
        kind.to_owned(),
        entry.subject.unwrap_or_default(),
        entry.account_email.unwrap_or_default(),
        local(entry.created_at),
        entry.created_by.unwrap_or_else(|| "the operator".to_owned()),
        entry.note.unwrap_or_default(),
    ]
}

fn say(text: &str) -> Result<(), String> {
    table::lines([text.to_owned()].into_iter())
}
