//! The README's table of settings agrees with clap.

use clap::{Arg, ArgAction, CommandFactory};
use hallpass::cli::Options;

use super::document::document;

/// The table's defaults for settings without a default in clap.
const REQUIRED: (&str, &str) = ("client-id", "required");
const BY_PORT: (&str, &str) = ("public-url", "`http://localhost:PORT` (https with a certificate)");

fn default(argument: &Arg) -> String {
    let name = argument.get_long().unwrap();
    if let Some((_, shown)) = [REQUIRED, BY_PORT].iter().find(|(known, _)| *known == name) {
        return (*shown).to_owned();
    }
    match argument.get_default_values() {
        _ if matches!(argument.get_action(), ArgAction::SetTrue) => "off".to_owned(),
        [] => "-".to_owned(),
        [value] if value.to_str().unwrap().contains(".googleapis.com/") => "Google's".to_owned(),
        [value] => format!("`{}`", value.display()),
        more => panic!("several defaults: {more:?}"),
    }
}

#[test]
fn the_table_of_settings_is_what_serve_takes() {
    let mut command = Options::command();
    command.build();
    let serve = command.find_subcommand("serve").unwrap();
    let mut missing: Vec<String> = serve
        .get_arguments()
        .filter_map(Arg::get_long)
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    let readme = document("README.md").text;
    for row in readme.lines().filter(|line| line.starts_with("| `--")) {
        let names: Vec<&str> =
            row[2..row[2..].find(" |").unwrap() + 2].split('`').skip(1).step_by(2).collect();
        let arguments: Vec<&Arg> = names
            .iter()
            .map(|name| {
                let long = name.strip_prefix("--").unwrap();
                let place = missing.iter().position(|missing| missing == long);
                missing.remove(place.unwrap_or_else(|| {
                    panic!("{name} is no flag of serve, or stands there twice")
                }));
                serve.get_arguments().find(|argument| argument.get_long() == Some(long)).unwrap()
            })
            .collect();
        let is_list =
            arguments.iter().all(|argument| matches!(argument.get_action(), ArgAction::Append));
        let flags = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let mut defaults: Vec<String> =
            arguments.iter().map(|argument| default(argument)).collect();
        defaults.dedup();
        let expected = format!(
            "| {flags}{} | {} | ",
            if is_list { " (list)" } else { "" },
            defaults.join(", ")
        );
        assert!(row.starts_with(&expected), "expected {expected}\nand found {row}");
    }
    assert!(missing.is_empty(), "the table has no {missing:?}");
}
