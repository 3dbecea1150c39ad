//! Values of flags and variables, and the arguments that several commands take.

use std::ffi::OsStr;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PathBufValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Args, Command};
use url::Url;

use crate::store::Database;

/// An item of a list, trimmed. It must not be empty.
pub fn list_item() -> impl TypedValueParser<Value = String> {
    NonEmptyStringValueParser::new().try_map(|item| match item.trim() {
        "" => Err("expected a value, not an empty item in the list"),
        item => Ok(item.to_owned()),
    })
}

/// Permissions in octal, as in chmod(1).
pub fn file_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected permissions in octal, such as 0660".into()),
    }
}

/// A duration such as 90s, 12h or 30d: more than zero, at most ten years.
pub fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() && duration <= LONGEST => Ok(duration),
        Ok(_) => Err("expected more than zero and at most ten years".into()),
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(format!("expected a unit: write {text}d, {text}h or {text}s"))
        }
        Err(error) => Err(format!("expected a duration such as 90s, 12h or 30d: {error}")),
    }
}

/// Like [`duration`], or zero, which turns something off.
pub fn duration_or_zero(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(Duration::ZERO),
        _ => duration(text),
    }
}

/// True or false, or another common spelling of them.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

/// An absolute URL with a host.
pub fn url(text: &str) -> Result<Url, String> {
    let text = text.trim();
    match Url::parse(text) {
        Ok(url) if url.has_host() => Ok(url),
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            Err(format!("expected a URL with a scheme, such as https://{}", without_scheme(text)))
        }
        Err(error) => Err(format!("expected a URL such as https://auth.example.com: {error}")),
    }
}

fn without_scheme(text: &str) -> &str {
    let rest = text.trim_start_matches(['/', ':']);
    if rest.is_empty() || rest.contains([' ', '@', '?', '"', '\'']) {
        "auth.example.com"
    } else {
        rest
    }
}

/// A database, for --database. Errors do not show the URL, which may contain a password.
#[derive(Clone)]
pub struct DatabaseParser;

impl TypedValueParser for DatabaseParser {
    type Value = Database;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Database, clap::Error> {
        let parser = PathBufValueParser::new().try_map(|path| Database::parse(path.as_os_str()));
        parser.parse_ref(command, argument, value).map_err(|mut error| {
            if let Some(scheme) = Database::scheme(value) {
                error.insert(ContextKind::InvalidValue, ContextValue::String(scheme.to_owned()));
            }
            error
        })
    }
}

/// The flag that names the database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseOption {
    /// The SQLite file of the server; it must exist
    // The help would show the variable's value, and with it a password.
    #[arg(long, global = true, env = "HALLPASS_DATABASE", value_name = "FILE", default_value = "hallpass.db",
        value_parser = DatabaseParser, hide_env_values = true)]
    pub database: Database,
}

/// The argument that names a user.
#[derive(Debug, Clone, Args)]
pub struct UserArgument {
    /// The user's e-mail or sub
    #[arg(value_name = "EMAIL|SUB", value_parser = NonEmptyStringValueParser::new())]
    pub who: String,
}
