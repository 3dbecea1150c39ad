//! The documents: everything they name exists, and everything they show works.

mod document;
mod names;
mod settings_table;
mod json;
mod commands;
mod transcripts;

use clap::{Arg, Command, CommandFactory};
use hallpass::cli::Options;

/// Every argument of every command.
fn arguments() -> Vec<Arg> {
    fn collect(command: &Command, found: &mut Vec<Arg>) {
        found.extend(command.get_arguments().cloned());
        command.get_subcommands().for_each(|subcommand| collect(subcommand, found));
    }
    let mut command = Options::command();
    command.build();
    let mut found = Vec::new();
    collect(&command, &mut found);
    found
}

/// The words of a text that begin with `beginning` and continue with characters of that kind, if
/// nothing else is attached to them.
fn words<'a>(
    text: &'a str,
    beginning: &'a str,
    goes_on: fn(char) -> bool,
) -> impl Iterator<Item = &'a str> {
    text.match_indices(beginning).filter_map(move |(at, _)| {
        let is_alone =
            !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let rest = &text[at + beginning.len()..];
        let length = rest.find(|c| !goes_on(c)).unwrap_or(rest.len());
        (is_alone && length > 0).then(|| &text[at..at + beginning.len() + length])
    })
}
