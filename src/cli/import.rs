//! `hallpass import`: reads users and blocks from a file, and checks all of them before it writes
//! any.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::export::{COLUMNS, text_of_cell};
use super::values::DatabaseOption;
use crate::cli::output::progress::Progress;
use crate::cli::output::table;
use crate::clock;
use crate::json::Fields;
use crate::profile::Profile;
use crate::store::{Imported, ImportedUser, Username};

/// Google: `sub` has at most 255 ASCII characters.
const SUBJECT_BYTES_MAX: usize = 255;
/// Spreadsheets keep this many digits of a number and replace the rest with zeros. Google's `sub`
/// has 20 or 21 digits.
const SPREADSHEET_DIGITS: usize = 15;
const SUBJECT_DIGITS_MIN: usize = 20;
/// The end of the year 9999.
const TIME_MAX: i64 = 253_402_300_799;

/// Flags of `import`.
#[derive(Debug, Clone, Args)]
pub struct ImportOptions {
    /// The database.
    #[command(flatten)]
    pub database: DatabaseOption,
    /// The file to import: CSV with a header, or a JSON array of objects
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// The users read so far.
#[derive(Default)]
struct Checked {
    users: Vec<ImportedUser>,
    subjects: HashSet<String>,
    pinned: HashSet<String>,
    usernames: HashSet<Username>,
}

/// One user of the file: names and values.
struct Entry<'a>(Vec<(&'a str, String)>);

/// Runs `hallpass import`.
///
/// # Errors
/// One sentence that says why nothing, or only a part, was imported.
pub fn import(options: &ImportOptions) -> Result<(), String> {
    let store = options.database.database.open_existing().map_err(|error| error.to_string())?;
    let about = |why: &str| format!("{}: {}", options.file.display(), table::printable(why));
    let nothing = |why: String| about(&format!("{why}; nothing was imported"));
    let text = fs::read_to_string(&options.file)
        .map_err(|error| nothing(format!("cannot be read: {error}")))?;
    // Spreadsheets write a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let users = match text.trim_start().chars().next() {
        Some('[') => json(text),
        Some('{') => Err("expected a JSON array of objects, not an object".into()),
        _ => csv(text),
    }
    .map_err(nothing)?;
    let count = users.len();
    let mut progress = Progress::new("imported");
    let imported =
        store.import(users, clock::now(), |done| progress.show(done as u64, count as u64));
    drop(progress);
    let Imported { new, changed, blocked } = imported.map_err(|failure| match failure.written {
        0 => nothing(failure.cause),
        written => {
            about(&format!("{}; only the first {written} users were imported", failure.cause))
        }
    })?;
    let users = if count == 1 { "user" } else { "users" };
    let summary =
        format!("imported {count} {users}: {new} new, {changed} changed, {blocked} blocked");
    table::lines([summary].into_iter())
}

/// Rejects values that are not a `sub`, such as e-mails and numbers rounded by a spreadsheet.
fn require_subject(subject: &str) -> Result<(), String> {
    let is_number = subject.bytes().all(|byte| byte.is_ascii_digit());
    let why = if subject.len() > SUBJECT_BYTES_MAX || !subject.is_ascii() {
        "not 1 to 255 ASCII characters"
    } else if subject.contains('@') {
        "an e-mail; give the sub of the account"
    } else if subject.contains(|c: char| !c.is_ascii_graphic()) {
        "not free of white space"
    } else if subject.starts_with(['\'', '"']) {
        "in quotes; remove them"
    } else if !is_number && subject.replace(',', ".").parse::<f64>().is_ok() {
        "a rounded number; load the column as text in the spreadsheet"
    } else if is_number
        && subject.len() >= SUBJECT_DIGITS_MIN
        && subject[SPREADSHEET_DIGITS..].bytes().all(|digit| digit == b'0')
    {
        "rounded to 15 digits; load the column as text in the spreadsheet"
    } else {
        return Ok(());
    };
    Err(format!("sub is {why}: {subject}"))
}

fn csv(text: &str) -> Result<Vec<ImportedUser>, String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> =
        reader.headers().map_err(|error| error.to_string())?.iter().map(str::to_owned).collect();
    require_columns(names.iter().map(String::as_str), "the header")?;
    let mut checked = Checked::default();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        let entry =
            Entry(names.iter().map(String::as_str).zip(record.iter().map(text_of_cell)).collect());
        let line = record.position().map_or(0, csv::Position::line);
        let place = format!("line {line}");
        checked.add(&entry, &place).map_err(|why| format!("{place}: {why}"))?;
    }
    Ok(checked.users)
}

fn json(text: &str) -> Result<Vec<ImportedUser>, String> {
    let objects: Vec<Fields> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut checked = Checked::default();
    for (index, object) in objects.iter().enumerate() {
        let place = format!("user {}", index + 1);
        require_columns(object.iter().map(|(name, _)| name), &place)?;
        let mut entry = Entry(Vec::new());
        for (name, value) in object.iter() {
            let text = match value {
                Value::Null => continue,
                // Most programs round numbers with 21 digits.
                Value::Number(_) if name == "sub" => {
                    return Err(format!("{place}: sub is a number; write it in quotes"));
                }
                Value::Bool(_) if name == "sub" => return Err(format!("{place}: sub is not text")),
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                _ => return Err(format!("{place}: {name} is neither text nor a number")),
            };
            entry.0.push((name, text));
        }
        checked.add(&entry, &place).map_err(|why| format!("{place}: {why}"))?;
    }
    Ok(checked.users)
}

/// Requires known names without duplicates, and `sub` among them.
fn require_columns<'a>(names: impl Iterator<Item = &'a str>, place: &str) -> Result<(), String> {
    let mut seen = HashSet::new();
    for name in names {
        if !COLUMNS.contains(&name) {
            return Err(format!("{place} has the unknown name {name}"));
        }
        if !seen.insert(name) {
            return Err(format!("{place} has {name} twice"));
        }
    }
    if seen.contains("sub") { Ok(()) } else { Err(format!("{place} has no sub")) }
}

impl Checked {
    fn add(&mut self, entry: &Entry, place: &str) -> Result<(), String> {
        let user = entry.user(place)?;
        if !self.subjects.insert(user.profile.subject.clone()) {
            return Err(format!("the sub {} occurs twice", user.profile.subject));
        }
        if let Some(email) = &user.pinned_email
            && !self.pinned.insert(email.clone())
        {
            return Err(format!("another user in the file holds {email} too"));
        }
        if let Some(name) = &user.username
            && !self.usernames.insert(name.clone())
        {
            return Err(format!("another user in the file has the user name {}", name.as_str()));
        }
        self.users.push(user);
        Ok(())
    }
}

impl Entry<'_> {
    fn user(&self, place: &str) -> Result<ImportedUser, String> {
        let subject = self.text("sub").ok_or("sub is empty")?;
        require_subject(&subject)?;
        let (email, pinned_email) = (self.email("email")?, self.email("pinned_email")?);
        if pinned_email
            .as_ref()
            .is_some_and(|email| email.bytes().any(|byte| byte.is_ascii_uppercase()))
        {
            return Err("pinned_email is not in lower case".into());
        }
        let created_at = self.time("created_at")?;
        let last_signin_at = self.time("last_signin_at")?.filter(|at| *at != 0);
        if created_at.zip(last_signin_at).is_some_and(|(created, last)| created > last) {
            return Err("created_at is after last_signin_at".into());
        }
        let email_authoritative = self.flag("email_authoritative")?;
        Ok(ImportedUser {
            place: place.to_owned(),
            username: self.username()?,
            profile: Profile {
                subject,
                email,
                email_verified: self.flag("email_verified")?,
                email_authoritative: email_authoritative.unwrap_or(false),
                name: self.text("name"),
                given_name: self.text("given_name"),
                family_name: self.text("family_name"),
                picture: self.text("picture"),
                hosted_domain: self.text("hd"),
                locale: self.text("locale"),
            },
            email_authoritative,
            pinned_email,
            created_at,
            last_signin_at,
            blocked_at: self.time("blocked_at")?,
            google_disabled_at: self.time("google_disabled_at")?,
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        let value = self.0.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone());
        value.filter(|text| !text.is_empty())
    }

    fn username(&self) -> Result<Option<Username>, String> {
        self.text("username")
            .map(|text| {
                Username::parse(&text)
                    .ok_or(format!("username is not a possible user name: {text}"))
            })
            .transpose()
    }

    fn email(&self, name: &str) -> Result<Option<String>, String> {
        match self.text(name) {
            Some(text) if !text.contains('@') || text.contains(char::is_whitespace) => {
                Err(format!("{name} is not an e-mail: {text}"))
            }
            email => Ok(email),
        }
    }

    /// Spreadsheets write TRUE.
    fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        match self.text(name).map(|text| text.to_ascii_lowercase()).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(format!("{name} is neither true nor false: {other}")),
        }
    }

    fn time(&self, name: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(at) if (0..=TIME_MAX).contains(&at) => Ok(Some(at)),
            _ => Err(format!("{name} is not a time in unix seconds: {text}")),
        }
    }
}
