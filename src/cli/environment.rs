//! The command line, the environment and the settings file, read once. An empty variable counts as
//! unset, whatever its type.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind as Wrong};
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use super::values::boolean;
use super::{Options, Stop, env_file};
use crate::process;

const PREFIX: &str = "HALLPASS_";
/// Names the settings file, and is the only setting that cannot be in it.
const FILE_FLAG: &str = "--env-file";
const FILE_VARIABLE: &str = "HALLPASS_ENV_FILE";
/// Where the Debian package puts the settings file.
const FILE_DEFAULT: &str = "/etc/hallpass/hallpass.env";
/// Less similar names are not suggested (`strsim::jaro_winkler`).
const LIKENESS_MIN: f64 = 0.8;
/// Parts of the names that Docker and Kubernetes give variables for a service called hallpass or
/// hallpass-metrics.
const SERVICE_MARKS: [&str; 3] = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];

/// The settings file: variables that the environment overrides.
#[derive(Default)]
struct SettingsFile {
    path: PathBuf,
    variables: Vec<(String, String)>,
}

impl Options {
    /// Reads the command line, the environment and the settings file of this process. As clap does,
    /// it exits after printing help or an error.
    ///
    /// # Errors
    /// One sentence, in cases where clap's own message would show a secret or not help.
    pub fn from_process() -> Result<Options, Stop> {
        let arguments: Vec<OsString> = process::arguments().collect();
        let environment = process::variables(PREFIX);
        let mut known = Options::command();
        known.build();
        let settings = all_arguments(&known);
        let quoted = |(name, value): &&(String, String)| {
            settings.iter().any(|setting| is_of(setting, name)) && is_quoted(value)
        };
        if let Some((name, _)) = environment.iter().find(quoted) {
            return Err(Stop::usage(format!(
                "{name} has quotes around its value, and they would become part of it; remove them"
            )));
        }
        let file = SettingsFile::read(&known, &arguments);
        let given = match &file {
            Ok(file) => file.add_to(&known, &arguments, &environment)?,
            Err(_) => arguments.clone(),
        };
        let mut command = without_empty(known, &environment);
        let parsed = command
            .try_get_matches_from_mut(given)
            .and_then(|mut matches| Options::from_arg_matches_mut(&mut matches));
        if let Err(error) = &parsed
            && matches!(error.kind(), Wrong::DisplayHelp | Wrong::DisplayVersion)
        {
            error.exit();
        }
        let file = file.map_err(Stop::usage)?;
        let error = match parsed {
            Ok(options) => {
                let overridden =
                    |(name, _): &&(String, String)| environment.iter().any(|(it, _)| it == name);
                let only_in_file = file.variables.iter().filter(|it| !overridden(it));
                let warnings = unknown_variables(&settings, environment.iter().chain(only_in_file));
                process::add_variables(file.variables);
                return Ok(Options { warnings, ..options });
            }
            Err(error) => error,
        };
        let argument = context(&error, ContextKind::InvalidArg);
        if error.kind() == Wrong::UnknownArgument && argument.starts_with("--client-secret") {
            return Err(Stop::usage("--client-secret is not needed: Hallpass works without a client secret; leave it out".into()));
        }
        if argument.starts_with("--database")
            && let Some(why) = error.source()
        {
            return Err(Stop::usage(format!("--database: {why}")));
        }
        if error.to_string().contains("-----BEGIN") {
            return Err(Stop::usage(
                "--tls-cert and --tls-key take paths of PEM files, not their contents".into(),
            ));
        }
        let setting = settings
            .iter()
            .find(|setting| setting.to_string() == argument && !is_given(setting, &arguments));
        let origin = setting.and_then(|setting| origin(setting, &error, &environment, &file));
        with_origin(error, origin).format(&mut command).exit()
    }
}

impl SettingsFile {
    /// Reads the file named by the flag or the variable, or else the default file if this user may
    /// read it. `demo` does not read the default file: its invented people must not get into the
    /// database of the real server.
    fn read(command: &Command, arguments: &[OsString]) -> Result<SettingsFile, String> {
        let flag = arguments.iter().enumerate().find_map(|(index, argument)| {
            let value = argument.to_str()?.strip_prefix(FILE_FLAG)?;
            match value.strip_prefix('=') {
                Some(path) => Some(OsString::from(path)),
                None => arguments.get(index + 1).filter(|_| value.is_empty()).cloned(),
            }
        });
        let named = flag.or_else(|| process::variable(FILE_VARIABLE).map(OsString::from));
        let is_demo =
            subcommand(command, arguments, 1).is_some_and(|(_, it)| it.get_name() == "demo");
        if named.is_none() && is_demo {
            return Ok(SettingsFile::default());
        }
        let path = PathBuf::from(named.as_deref().unwrap_or(FILE_DEFAULT.as_ref()));
        // Reading a FIFO waits for a writer, perhaps forever.
        let read = fs::metadata(&path).and_then(|found| {
            let is_readable = found.is_file() || found.is_dir();
            if is_readable { fs::read(&path) } else { Err(io::Error::other("not a regular file")) }
        });
        match read {
            Ok(text) => {
                let variables =
                    env_file::parse(&text).map_err(|why| format!("{}, {why}", path.display()))?;
                Ok(SettingsFile { path, variables })
            }
            Err(error)
                if named.is_none()
                    && [ErrorKind::NotFound, ErrorKind::PermissionDenied]
                        .contains(&error.kind()) =>
            {
                Ok(SettingsFile::default())
            }
            Err(error) => Err(format!("cannot read the settings file {}: {error}", path.display())),
        }
    }

    /// The command line with a flag for each setting that only the file has, after the name of the
    /// command that takes it. clap reads the environment by itself, but no file.
    fn add_to(
        &self,
        root: &Command,
        arguments: &[OsString],
        environment: &[(String, String)],
    ) -> Result<Vec<OsString>, Stop> {
        let mut all = arguments.to_vec();
        let mut added = 0;
        let mut next = subcommand(root, arguments, 1);
        let mut inherited: Vec<&str> = vec![FILE_VARIABLE];
        while let Some((place, command)) = next {
            for setting in command.get_arguments() {
                let Some(name) = setting.get_env().and_then(OsStr::to_str) else { continue };
                let is_set = value(setting, environment).is_some() || is_given(setting, arguments);
                if is_set || inherited.contains(&name) {
                    continue;
                }
                if setting.is_global_set() {
                    inherited.push(name);
                }
                if let Some(flag) = self.flag(setting)? {
                    added += 1;
                    all.insert(place + added, flag);
                }
            }
            next = subcommand(command, arguments, place + 1);
        }
        Ok(all)
    }

    /// The flag that does the same as the variable in the file, if there is one.
    fn flag(&self, setting: &Arg) -> Result<Option<OsString>, Stop> {
        let (Some(long), Some(text)) = (setting.get_long(), value(setting, &self.variables)) else {
            return Ok(None);
        };
        if !matches!(setting.get_action(), ArgAction::SetTrue) {
            return Ok(Some(format!("--{long}={text}").into()));
        }
        let is_on = boolean(text).map_err(|why| {
            Stop::usage(format!("--{long} in {}: {why}, not {text:?}", self.path.display()))
        })?;
        Ok(is_on.then(|| format!("--{long}").into()))
    }
}

/// The subcommand on the rest of the command line, which begins at `from`, and its position.
fn subcommand<'a>(
    command: &'a Command,
    arguments: &[OsString],
    from: usize,
) -> Option<(usize, &'a Command)> {
    let is_value = |at: usize| {
        let flag = arguments[at - 1].to_str().and_then(|text| text.strip_prefix("--"));
        command
            .get_arguments()
            .any(|it| flag.is_some() && it.get_long() == flag && it.get_action().takes_values())
    };
    let is_flag = |at: usize| arguments[at].to_str().is_some_and(|text| text.starts_with('-'));
    let place = (from..arguments.len()).find(|at| !is_flag(*at) && !is_value(*at))?;
    Some((place, command.find_subcommand(&arguments[place])?))
}

/// Whether the command line has the flag.
fn is_given(setting: &Arg, arguments: &[OsString]) -> bool {
    let aliases = setting.get_all_aliases().unwrap_or_default();
    let is_it = |text: &str| {
        let name = text.split_once('=').map_or(text, |(name, _)| name);
        setting.get_long().into_iter().chain(aliases.iter().copied()).any(|long| long == name)
    };
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .filter_map(|argument| argument.to_str()?.strip_prefix("--"))
        .any(is_it)
}

/// The value of the setting's variable, the last one if there are several. Empty means unset.
fn value<'a>(setting: &Arg, variables: &'a [(String, String)]) -> Option<&'a str> {
    let (_, value) = variables.iter().rev().find(|(name, _)| is_of(setting, name))?;
    (!value.trim().is_empty()).then_some(value)
}

/// One sentence about each variable that begins with `HALLPASS_` but is not a setting.
fn unknown_variables<'a>(
    settings: &[Arg],
    variables: impl Iterator<Item = &'a (String, String)>,
) -> Vec<String> {
    let names: Vec<&str> =
        settings.iter().filter_map(|setting| setting.get_env()?.to_str()).collect();
    variables
        .filter(|(name, value)| {
            name.starts_with(PREFIX)
                && !names.contains(&name.as_str())
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
fn all_arguments(command: &Command) -> Vec<Arg> {
    let below = command.get_subcommands().flat_map(all_arguments);
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

/// The source of the wrong value of this setting, if it is not the command line.
fn origin(
    setting: &Arg,
    error: &clap::Error,
    environment: &[(String, String)],
    file: &SettingsFile,
) -> Option<String> {
    let name = setting.get_env()?.display();
    let wrong = context(error, ContextKind::InvalidValue);
    let is_from = |variables| value(setting, variables).is_some_and(|text| text.contains(&wrong));
    if is_from(environment) {
        Some(format!("the value is from the environment variable {name}"))
    } else if is_from(&file.variables) {
        Some(format!("the value is from {name} in {}", file.path.display()))
    } else {
        None
    }
}

/// Adds where the value is from: clap names only the flag.
fn with_origin(mut error: clap::Error, origin: Option<String>) -> clap::Error {
    if let Some(origin) = origin {
        let tip = ContextValue::StyledStrs(vec![StyledStr::from(origin)]);
        error.insert(ContextKind::Suggested, tip);
    }
    error
}
