//! Security events from Google, each applied once, in one transaction with its record.

use super::db::{Db, Result, params};
use super::events::{self, Actor, EVENT_COLUMNS, Event, EventKind, EventRow};
use super::writer::STEP_ROWS;
use super::{Store, StoreError, sessions};

/// How long the ID of an event is remembered. Google repeats deliveries within hours.
pub const IDS_KEPT_SECONDS: i64 = 30 * events::DAY_SECONDS;

/// An event to apply.
#[derive(Debug, Clone)]
pub struct GoogleEvent {
    /// The same for every delivery.
    pub id: String,
    /// The client ID with which the accounts signed in.
    pub client_id: String,
    /// When Google issued it, in unix seconds.
    pub issued_at: i64,
    /// One for each account.
    pub reports: Vec<GoogleReport>,
}

/// The part of an event about one account.
#[derive(Debug, Clone)]
pub struct GoogleReport {
    /// Google's name for the event type.
    pub name: &'static str,
    /// `events.detail`.
    pub detail: Option<String>,
    /// The account's `sub`. `None` if the event is about no account.
    pub subject: Option<String>,
    /// The effect of its type.
    pub effect: GoogleEffect,
}

/// The effect of a report on the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoogleEffect {
    /// No change.
    Record,
    /// All sessions and tokens of the user end.
    EndSessions,
    /// The sessions and tokens end, and the user cannot sign in.
    Disable,
    /// Lifts an earlier `Disable`.
    Enable,
}

/// The outcome of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoogleEventOutcome {
    /// Recorded, with its effect.
    Applied,
    /// Applied before.
    Repeated,
    /// About no known user, or of no known type. Nothing was stored.
    Unknown,
}

impl Store {
    /// Applies an event once. Very many sessions end in steps, and the event counts as applied
    /// after the last one. Everything is on disk when this returns.
    ///
    /// # Errors
    /// If the store cannot answer. Some sessions may have ended by then; another delivery ends the
    /// rest.
    pub fn apply_google_event(
        &self,
        event: GoogleEvent,
        now: i64,
    ) -> Result<GoogleEventOutcome, StoreError> {
        let mut steps = self.writer.steps();
        loop {
            let event = event.clone();
            if let Some(outcome) = steps.write(move |db| apply(db, &event, now))? {
                return Ok(outcome);
            }
        }
    }

    /// The times of the last event and of the last verification, in unix seconds.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn last_google_events_at(&self) -> Result<(Option<i64>, Option<i64>), StoreError> {
        let sql = "SELECT (SELECT max(at) FROM events WHERE kind = 'google'),
            (SELECT max(at) FROM events WHERE kind = 'google' AND reason = 'verification')";
        self.readers.read(|db| db.one(sql, &[], |row| Ok((row.get(0)?, row.get(1)?))))
    }

    /// The last reports about accounts of users, the latest first.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn last_google_reports(&self, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events e WHERE e.kind = 'google'
             AND EXISTS (SELECT 1 FROM users u WHERE u.sub = e.sub) ORDER BY e.at DESC LIMIT ?1"
        );
        self.readers.read(|db| db.query(&sql, params![limit], EventRow::from_row))
    }
}

/// One step. `None` if more sessions must end first.
fn apply(db: &Db, event: &GoogleEvent, now: i64) -> Result<Option<GoogleEventOutcome>> {
    let seen = "SELECT 1 FROM google_events WHERE jti = ?1";
    if db.exists(seen, params![&event.id])? {
        return Ok(Some(GoogleEventOutcome::Repeated));
    }
    let mut known = Vec::new();
    for report in &event.reports {
        match &report.subject {
            None => known.push((report, None)),
            Some(subject) => {
                let Some(email) = email_of(db, subject)? else { continue };
                if !take_effect(db, event, report, subject, now)? {
                    return Ok(None);
                }
                known.push((report, email));
            }
        }
    }
    if known.is_empty() {
        return Ok(Some(GoogleEventOutcome::Unknown));
    }
    for (report, email) in known {
        record(db, event, report, email, now)?;
    }
    let remember = "INSERT INTO google_events (jti, at) VALUES (?1, ?2)";
    db.execute(remember, params![event.id, now])?;
    Ok(Some(GoogleEventOutcome::Applied))
}

/// The e-mail of the user, if there is such a user.
fn email_of(db: &Db, subject: &str) -> Result<Option<Option<String>>> {
    let sql = "SELECT email FROM users WHERE sub = ?1";
    db.first(sql, params![subject], |row| row.get(0))
}

/// Returns false if more sessions must end. Events may arrive out of order, so an older `Enable`
/// does not lift a newer `Disable`.
fn take_effect(
    db: &Db,
    event: &GoogleEvent,
    report: &GoogleReport,
    subject: &str,
    now: i64,
) -> Result<bool> {
    let disable = "UPDATE users SET google_disabled_at = ?2
        WHERE sub = ?1 AND (google_disabled_at IS NULL OR google_disabled_at < ?2)";
    let enable =
        "UPDATE users SET google_disabled_at = NULL WHERE sub = ?1 AND google_disabled_at <= ?2";
    let state = match report.effect {
        GoogleEffect::Disable => Some(disable),
        GoogleEffect::Enable => Some(enable),
        GoogleEffect::EndSessions | GoogleEffect::Record => None,
    };
    if let Some(sql) = state {
        db.execute(sql, params![subject, event.issued_at])?;
    }
    match report.effect {
        GoogleEffect::EndSessions | GoogleEffect::Disable => {
            Ok(sessions::end_some_of(db, subject, &Actor::google(), now)? < STEP_ROWS)
        }
        GoogleEffect::Enable | GoogleEffect::Record => Ok(true),
    }
}

fn record(
    db: &Db,
    event: &GoogleEvent,
    report: &GoogleReport,
    email: Option<String>,
    now: i64,
) -> Result<()> {
    let event = Event {
        subject: report.subject.clone(),
        email,
        client_id: Some(event.client_id.clone()),
        verified_by: Some("keys"),
        reason: Some(report.name.to_owned()),
        detail: report.detail.clone(),
        ..Event::new(EventKind::Google)
    };
    events::insert(db, &event, now)
}
