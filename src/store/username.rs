//! User names. A name is never given to a second user.

use std::iter;

use super::db::{Db, Result, params};
use super::events::{self, Actor, Event, EventKind};
use super::{Store, StoreError};
use crate::token::sha256;

const USERNAME_BYTES_MAX: usize = 64;
/// After this many variants of the e-mail, the name is derived from the `sub`.
const TRIES_MAX: usize = 100;

/// A user name: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Username(String);

impl Username {
    /// `None` if the text is not a possible user name.
    pub fn parse(text: &str) -> Option<Username> {
        let possible = text.len() <= USERNAME_BYTES_MAX
            && text.starts_with(is_alphanumeric)
            && text.chars().all(is_possible);
        possible.then(|| Username(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first choice for an account, derived from its authoritative e-mail or else from its
    /// `sub`.
    fn best_for(subject: &str, authoritative_email: Option<&str>) -> Username {
        let of_email = authoritative_email.map(|email| email.replace('@', "_"));
        let text = of_email.unwrap_or_else(|| format!("g{subject}")).to_ascii_lowercase();
        let name: String = text
            .chars()
            .map(|c| if is_possible(c) { c } else { '-' })
            .skip_while(|c| !is_alphanumeric(*c))
            .take(USERNAME_BYTES_MAX)
            .collect();
        // An e-mail has a letter or a digit in its domain.
        if name.is_empty() { Username("g".to_owned()) } else { Username(name) }
    }

    /// This name, then the same with `-2`, `-3` and so on, shortened where necessary.
    fn variants(&self) -> impl Iterator<Item = Username> + use<> {
        let first = self.clone();
        let more = (2_u64..).map({
            let name = self.0.clone();
            move |number| {
                let suffix = format!("-{number}");
                let kept = name.len().min(USERNAME_BYTES_MAX - suffix.len());
                Username(format!("{}{suffix}", &name[..kept]))
            }
        });
        iter::once(first).chain(more)
    }
}

fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_possible(c: char) -> bool {
    is_alphanumeric(c) || matches!(c, '.' | '_' | '-')
}

/// The outcome of a change of a user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renaming {
    /// The user has the name now.
    Renamed,
    /// The user had the name already, or there is no such user.
    Unchanged,
    /// The name belongs or belonged to another user.
    Taken,
}

impl Store {
    /// Changes a user's name and records an event.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn rename_user(
        &self,
        subject: &str,
        name: &Username,
        actor: Actor,
        now: i64,
    ) -> Result<Renaming, StoreError> {
        let (subject, name) = (subject.to_owned(), name.clone());
        self.writer.write(move |db| {
            if holder(db, &name, &subject)?.is_some() {
                return Ok(Renaming::Taken);
            }
            let other = "SELECT email FROM users WHERE sub = ?1 AND username IS DISTINCT FROM ?2";
            let email: Option<Option<String>> =
                db.first(other, params![subject, name.as_str()], |row| row.get(0))?;
            let Some(email) = email else { return Ok(Renaming::Unchanged) };
            assign(db, &subject, &name)?;
            let event = Event {
                subject: Some(subject.clone()),
                email,
                client: actor.client.clone(),
                reason: actor.reason.clone(),
                detail: Some(name.0.clone()),
                ..Event::new(EventKind::Rename)
            };
            events::insert(db, &event, now)?;
            Ok(Renaming::Renamed)
        })
    }
}

/// Chooses a name for a user without one, and reserves it.
pub fn reserve_for(db: &Db, subject: &str, authoritative_email: Option<&str>) -> Result<Username> {
    let best = Username::best_for(subject, authoritative_email);
    let of_subject = Username::best_for(subject, None);
    let mut names = best.variants().take(TRIES_MAX).chain(of_subject.variants());
    let name = loop {
        let name = names.next().expect("the variants never end");
        if holder(db, &name, subject)?.is_none() {
            break name;
        }
    };
    reserve(db, subject, &name)?;
    Ok(name)
}

/// Gives a name to every user who has signed in and has none, the oldest user first.
pub fn give_all(db: &Db) -> Result<()> {
    let nameless = "SELECT sub, CASE WHEN email_authoritative THEN email END FROM users
        WHERE username IS NULL AND last_signin_at > 0 ORDER BY created_at, sub";
    let users: Vec<(String, Option<String>)> =
        db.query(nameless, &[], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (subject, email) in users {
        let name = reserve_for(db, &subject, email.as_deref())?;
        assign(db, &subject, &name)?;
    }
    Ok(())
}

/// Gives a name to a user who has none. Users get one when they first sign in, but a token may be
/// created before.
pub fn give(db: &Db, subject: &str) -> Result<()> {
    let nameless = "SELECT CASE WHEN email_authoritative THEN email END FROM users
        WHERE sub = ?1 AND username IS NULL";
    let email: Option<Option<String>> = db.first(nameless, params![subject], |row| row.get(0))?;
    let Some(email) = email else { return Ok(()) };
    let name = reserve_for(db, subject, email.as_deref())?;
    assign(db, subject, &name)
}

/// The other `sub` to which the name belongs or belonged.
pub fn holder(db: &Db, name: &Username, subject: &str) -> Result<Option<String>> {
    let sql = "SELECT sub FROM usernames WHERE username_sha256 = ?1 AND sub <> ?3
        UNION ALL SELECT sub FROM users WHERE username = ?2 AND sub <> ?3";
    let (name, hash) = (name.as_str(), sha256(name.as_str()));
    db.first(sql, params![hash, name, subject], |row| row.get(0))
}

/// Gives a user a name that no other user ever had.
pub fn assign(db: &Db, subject: &str, name: &Username) -> Result<()> {
    reserve(db, subject, name)?;
    db.execute("UPDATE users SET username = ?2 WHERE sub = ?1", params![subject, name.as_str()])
        .map(drop)
}

fn reserve(db: &Db, subject: &str, name: &Username) -> Result<()> {
    let sql = "INSERT INTO usernames (username_sha256, sub) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    db.execute(sql, params![sha256(name.as_str()), subject]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn best(subject: &str, email: Option<&str>, expected: &str) {
        let name = Username::best_for(subject, email);
        assert_eq!(name.as_str(), expected);
        assert!(Username::parse(expected).is_some());
    }

    #[test]
    fn the_first_choice_is_derived_from_the_email() {
        best("1", Some("ada@example.com"), "ada_example.com");
        best("1", Some("Ada.L+x@Example.COM"), "ada.l-x_example.com");
        best("1", Some("zoë@example.com"), "zo-_example.com");
        best("1", Some("_ada@example.com"), "ada_example.com");
        best("1", Some("李@example.com"), "example.com");
        best("1", Some("李@李"), "g");
        best("1", Some(&format!("{}@example.com", "a".repeat(70))), &"a".repeat(64));
        best("110169484474386276334", None, "g110169484474386276334");
        best("A/b", None, "ga-b");
        best(&"1".repeat(255), None, &format!("g{}", "1".repeat(63)));
    }

    #[test]
    fn variants_are_possible_names() {
        let names = |name: &str| -> Vec<String> {
            let first = Username::parse(name).expect("a name");
            first.variants().take(10).map(|name| name.0).collect()
        };
        assert_eq!(names("ada")[..3], ["ada", "ada-2", "ada-3"]);
        let long = names(&"a".repeat(64));
        assert_eq!(long[1], format!("{}-2", "a".repeat(62)));
        assert_eq!(long[9], format!("{}-10", "a".repeat(61)));
    }

    #[test]
    fn possible_names() {
        for name in ["a", "0", "a.b_c-d", "0-", &"a".repeat(64)] {
            assert!(Username::parse(name).is_some(), "{name}");
        }
        for name in ["", ".a", "_a", "-a", "A", "a b", "é", "a@b", "a/b", "a\n", &"a".repeat(65)] {
            assert!(Username::parse(name).is_none(), "{name}");
        }
    }
}
