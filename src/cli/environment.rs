//! The command line and the environment, read once. An empty variable counts as unset, whatever its
//! type.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use super::{Options, Stop};
use crate::process;

const PREFIX: &str = "HALLPASS_";
/// Less similar names are not suggested (`strsim::jaro_winkler`).
const LIKENESS_MIN: f64 = 0.8;
/// Parts of the names that Docker and Kubernetes give variables for a service called hallpass or
/// hallpass-metrics.
const SERVICE_MARKS: [&str; 3] = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];

impl Options {
    /// Reads the command line and the environment of this process. As clap does, it exits after
    /// printing help or an error.
    ///
    /// # Errors
    /// One sentence, in cases where clap's own message would show a secret or not help.
    pub fn from_process() -> Result<Options, Stop> {
        let variables = process::variables(PREFIX);
        let mut command = without_empty(Options::command(), &variables);
        command.build();
        let settings = arguments(&command);
        let quoted = |(name, value): &&(String, String)| {
            settings.iter().any(|setting| is_of(setting, name)) && is_quoted(value)
        };
        if let Some((name, _)) = variables.iter().find(quoted) {
            return Err(Stop::usage(format!(
                "{name} has quotes around its value, and they would become part of it; remove them"
            )));
        }
        let parsed = command
            .try_get_matches_from_mut(process::arguments())
            .and_then(|mut matches| Options::from_arg_matches_mut(&mut matches));
        let error = match parsed {
            Ok(options) => {
                let warnings = unknown_variables(&settings, &variables);
                return Ok(Options { warnings, ..options });
            }
            Err(error) => error,
        };
        let argument = context(&error, ContextKind::InvalidArg);
        if error.kind() == ErrorKind::UnknownArgument && argument.starts_with("--client-secret") {
            return Err(Stop::usage("--client-secret is not needed: Hallpass works without a client secret; leave it out".into()));
        }
        if error.to_string().contains("-----BEGIN") {
            return Err(Stop::usage(
                "--tls-cert and --tls-key take paths of PEM files, not their contents".into(),
            ));
        }
        with_origin(error, &argument, &settings, &variables).format(&mut command).exit()
    }
}

/// One sentence about each variable that begins with `HALLPASS_` but is not a setting.
fn unknown_variables(settings: &[Arg], variables: &[(String, String)]) -> Vec<String> {
    let names: Vec<&str> =
        settings.iter().filter_map(|setting| setting.get_env()?.to_str()).collect();
    variables
        .iter()
        .filter(|(name, value)| {
            !names.contains(&name.as_str())
                && !value.is_empty()
                && !SERVICE_MARKS.iter().any(|mark| name.contains(mark))
                && !name.starts_with("HALLPASS_PORT")
        })
        .map(|(name, _)| unknown(name, &names))
        .collect()
}

fn unknown(name: &str, known: &[&str]) -> String {
    if name == "HALLPASS_CLIENT_SECRET" {
        return format!("{name} is not needed: Hallpass works without a client secret");
    }
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(&name[PREFIX.len()..], &known[PREFIX.len()..]), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    match nearest {
        Some((_, nearest)) => format!("{name} is not a setting; did you mean {nearest}?"),
        None => format!("{name} is not a setting; `hallpass serve --help` lists all settings"),
    }
}

/// clap would read an empty variable as an empty value, so it must not see one.
fn without_empty(command: Command, variables: &[(String, String)]) -> Command {
    let is_empty = |argument: &Arg| {
        variables.iter().any(|(name, value)| is_of(argument, name) && value.trim().is_empty())
    };
    command
        .mut_args(|argument| if is_empty(&argument) { argument.env(None) } else { argument })
        .mut_subcommands(|subcommand| without_empty(subcommand, variables))
}

/// The arguments of this command and its subcommands.
fn arguments(command: &Command) -> Vec<Arg> {
    let below = command.get_subcommands().flat_map(arguments);
    command.get_arguments().cloned().chain(below).collect()
}

fn is_of(argument: &Arg, variable: &str) -> bool {
    argument.get_env().is_some_and(|name| name == variable)
}

fn is_quoted(value: &str) -> bool {
    let value = value.trim();
    value.len() >= 2 && ['"', '\''].iter().any(|q| value.starts_with(*q) && value.ends_with(*q))
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    }
}

/// Names the environment variable if the wrong value is from there: clap names only the flag.
fn with_origin(
    mut error: clap::Error,
    argument: &str,
    settings: &[Arg],
    variables: &[(String, String)],
) -> clap::Error {
    let value = context(&error, ContextKind::InvalidValue);
    let is_given = |setting: &Arg| {
        let flag = setting.get_long().map(|long| format!("--{long}")).unwrap_or_default();
        process::arguments().any(|argument| argument.to_string_lossy().starts_with(&flag))
    };
    let origin = settings
        .iter()
        .filter(|setting| setting.to_string() == argument && !is_given(setting))
        .find_map(|setting| variables.iter().find(|(name, _)| is_of(setting, name)))
        .filter(|(_, text)| text.contains(&value));
    if let Some((name, _)) = origin {
        let tip = StyledStr::from(format!("the value is from the environment variable {name}"));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}
