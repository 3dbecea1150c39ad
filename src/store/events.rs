//! Events record what happened, for the operator.

use std::borrow::Cow;

use super::db::{Db, Result, Row, params};
use super::model::Client;
use super::{Store, StoreError};

/// A day in UTC.
pub const DAY_SECONDS: i64 = 24 * 60 * 60;
/// A user with a million events is deleted in a few seconds.
const DELETION_SECONDS_MAX: i64 = 60;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A session was established.
    SignIn,
    /// A sign-in was refused.
    Refusal,
    /// A user signed out.
    SignOut,
    /// A session was ended by the operator, an admin, or its user in another session.
    Revocation,
    /// The operator or an admin blocked a user.
    Block,
    /// The operator or an admin lifted a block.
    Unblock,
    /// The operator or an admin released a pinned e-mail.
    Release,
    /// The operator deleted a user.
    Delete,
    /// The operator or an admin added an entry to the list of who may enter.
    Allow,
    /// The operator or an admin removed an entry from that list.
    Disallow,
    /// The operator or an admin changed a user name.
    Rename,
    /// A token for a program was created.
    Token,
    /// Google reported something about an account.
    Google,
}

/// An event to record. `None` means unknown, or not for this kind.
#[derive(Debug, Clone)]
pub struct Event {
    /// The kind decides which of the other fields are set (schema.sql).
    pub kind: EventKind,
    /// `sub` of the user whom it is about.
    pub subject: Option<String>,
    /// That user's e-mail.
    pub email: Option<String>,
    /// `sessions.id`.
    pub session_id: Option<String>,
    /// The client that sent the request.
    pub client: Client,
    /// `aud` of the ID token.
    pub client_id: Option<String>,
    /// `tokeninfo` or `keys`: how the ID token was verified.
    pub verified_by: Option<&'static str>,
    /// For a refusal, the text for the client. Otherwise who did it, if somebody else.
    pub reason: Option<String>,
    /// For a refusal by check or forward, the app's host, as the proxy names it.
    pub host: Option<String>,
    /// A domain or a name, depending on the kind.
    pub detail: Option<String>,
}

impl Event {
    /// An event of which nothing else is known.
    pub fn new(kind: EventKind) -> Event {
        Event {
            kind,
            subject: None,
            email: None,
            session_id: None,
            client: Client::default(),
            client_id: None,
            verified_by: None,
            reason: None,
            host: None,
            detail: None,
        }
    }
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 13] = [
        EventKind::SignIn,
        EventKind::Refusal,
        EventKind::SignOut,
        EventKind::Revocation,
        EventKind::Block,
        EventKind::Unblock,
        EventKind::Release,
        EventKind::Delete,
        EventKind::Allow,
        EventKind::Disallow,
        EventKind::Rename,
        EventKind::Token,
        EventKind::Google,
    ];

    /// `events.kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::SignIn => "signin",
            EventKind::Refusal => "refusal",
            EventKind::SignOut => "signout",
            EventKind::Revocation => "revocation",
            EventKind::Block => "block",
            EventKind::Unblock => "unblock",
            EventKind::Release => "release",
            EventKind::Delete => "delete",
            EventKind::Allow => "allow",
            EventKind::Disallow => "disallow",
            EventKind::Rename => "rename",
            EventKind::Token => "token",
            EventKind::Google => "google",
        }
    }
}

/// `reason` of a change by the operator.
pub const BY_THE_OPERATOR: &str = "by the operator";

/// `reason` of sessions that end because of one of Google's security events.
const BY_GOOGLE: &str = "by Google";

/// The cause of an event: a user, an admin, the operator or Google.
#[derive(Debug, Clone, Default)]
pub struct Actor {
    /// `reason` of the event. `None` if users act for themselves.
    pub(super) reason: Option<String>,
    /// The e-mail of an admin.
    pub(super) admin: Option<String>,
    pub(super) client: Client,
}

impl Actor {
    /// The operator, with a command.
    pub fn operator() -> Actor {
        Actor { reason: Some(BY_THE_OPERATOR.to_owned()), ..Actor::default() }
    }

    /// The admin with this e-mail, on a page.
    pub fn admin(email: &str, client: Client) -> Actor {
        Actor { reason: Some(format!("by {email}")), admin: Some(email.to_owned()), client }
    }

    /// Google, with a security event.
    pub(super) fn google() -> Actor {
        Actor { reason: Some(BY_GOOGLE.to_owned()), ..Actor::default() }
    }

    /// The user whom the event is about.
    pub fn user(client: Client) -> Actor {
        Actor { client, ..Actor::default() }
    }
}

/// A row of `events`, with the fields of [`Event`].
#[derive(Debug, Clone)]
pub struct EventRow {
    /// Later events have higher IDs.
    pub id: i64,
    /// In unix seconds.
    pub at: i64,
    /// [`EventKind::as_str`].
    pub kind: String,
    /// `sub` of the user whom it is about.
    pub subject: Option<String>,
    /// That user's e-mail.
    pub email: Option<String>,
    /// `sessions.id`.
    pub session_id: Option<String>,
    /// The client that sent the request.
    pub client: Client,
    /// `aud` of the ID token.
    pub client_id: Option<String>,
    /// The text for the client, or who did it.
    pub reason: Option<String>,
    /// `tokeninfo` or `keys`.
    pub verified_by: Option<String>,
    /// The app's host.
    pub host: Option<String>,
    /// A domain or a name, depending on the kind.
    pub detail: Option<String>,
}

/// The next event of some kinds.
#[derive(Debug)]
pub struct NextEvent {
    /// `None` if there is none yet.
    pub event: Option<EventRow>,
    /// The ID to continue after.
    pub last_id: i64,
    /// How many events were skipped because too many waited.
    pub skipped: u64,
}

/// Selects events. `None` matches every event.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Events of this kind.
    pub kind: Option<EventKind>,
    /// Events about this person.
    pub about: Option<About>,
    /// The earliest time, in unix seconds.
    pub since: Option<i64>,
    /// The latest time, in unix seconds.
    pub until: Option<i64>,
}

/// The person whom events are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The user with this `sub`.
    Subject(String),
    /// Anybody who came with this e-mail, for an e-mail that no user has.
    Email(String),
}

/// The columns of [`EventRow::from_row`].
pub const EVENT_COLUMNS: &str = "e.id, e.at, e.kind, e.sub, e.email, e.session_id, e.client_address, e.user_agent, e.client_id, e.reason, \
     e.verified_by, e.host, e.detail";
pub const EVENT_COLUMN_COUNT: usize = 13;

impl EventRow {
    /// `reason` for people: of Google's reports, with the detail.
    pub fn shown_reason(&self) -> Option<Cow<'_, str>> {
        let reason = self.reason.as_deref()?;
        Some(match &self.detail {
            Some(detail) if self.kind == EventKind::Google.as_str() => {
                format!("{reason}: {detail}").into()
            }
            _ => reason.into(),
        })
    }

    /// Reads `EVENT_COLUMNS`.
    pub fn from_row(row: &Row) -> Result<EventRow> {
        Ok(EventRow {
            id: row.get(0)?,
            at: row.get(1)?,
            kind: row.get(2)?,
            subject: row.get(3)?,
            email: row.get(4)?,
            session_id: row.get(5)?,
            client: Client { address: row.get(6)?, user_agent: row.get(7)? },
            client_id: row.get(8)?,
            reason: row.get(9)?,
            verified_by: row.get(10)?,
            host: row.get(11)?,
            detail: row.get(12)?,
        })
    }
}

impl Store {
    /// Records an event soon, without waiting. Drops it if the store cannot keep up. If its user is
    /// deleted meanwhile, it is recorded as the deletion leaves events.
    pub fn record(&self, event: Event, at: i64) {
        self.writer.write_later(move |db| {
            let mut event = event.clone();
            if is_of_deleted_user(db, &event, at)? {
                (event.email, event.detail, event.client) = (None, None, Client::default());
            }
            insert(db, &event, at)
        });
    }

    /// The last matching events, the newest last.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn last_events(
        &self,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        let mut events = self.events(filter, 0, limit, false)?;
        events.reverse();
        Ok(events)
    }

    /// The first matching events after the one with this ID, the newest last.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn events_after(
        &self,
        filter: &EventFilter,
        id: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.events(filter, id, limit, true)
    }

    /// The ID of the event that was recorded last; 0 if there is none.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn newest_event_id(&self) -> Result<i64, StoreError> {
        self.readers.read(newest_id)
    }

    /// The first event of these kinds that was recorded after the one with that ID. If more than
    /// `waiting_max` of them follow it, the oldest are skipped.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn next_event(
        &self,
        kinds: &[EventKind],
        last_id: i64,
        waiting_max: u32,
    ) -> Result<NextEvent, StoreError> {
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        self.readers.read(|db| {
            let kinds = kinds.join("', '");
            let condition = format!("e.id > ?1 AND e.kind IN ('{kinds}') {}", settled(db));
            // Before the others, so no event recorded meanwhile is missed.
            let newest = newest_id(db)?;
            // IDs begin again if all events were deleted.
            let mut last_id = last_id.min(newest);
            let sql = format!(
                "SELECT max(id), count(*) FROM (SELECT e.id FROM events e WHERE {condition} \
                 ORDER BY e.id DESC LIMIT 9223372036854775807 OFFSET ?2) AS beyond"
            );
            let (skipped_to, skipped) = db.one(&sql, params![last_id, waiting_max], |row| {
                Ok((row.get::<Option<i64>>(0)?, row.get::<i64>(1)?))
            })?;
            last_id = skipped_to.unwrap_or(last_id);
            let sql = format!(
                "SELECT {EVENT_COLUMNS} FROM events e WHERE {condition} ORDER BY e.id LIMIT 1"
            );
            let event = db.first(&sql, params![last_id], EventRow::from_row)?;
            last_id = event.as_ref().map_or(newest, |event| event.id);
            Ok(NextEvent { event, last_id, skipped: skipped.unsigned_abs() })
        })
    }

    fn events(
        &self,
        filter: &EventFilter,
        id: i64,
        limit: u32,
        follows: bool,
    ) -> Result<Vec<EventRow>, StoreError> {
        let order = if follows { "e.id" } else { "e.at DESC, e.id DESC" };
        // A separate condition for each case, so each uses its index.
        let (about, name) = match &filter.about {
            None => ("?5 IS NULL", None),
            Some(About::Subject(subject)) => ("e.sub = ?5", Some(subject)),
            Some(About::Email(email)) => ("lower(e.email) = lower(?5)", Some(email)),
        };
        let sql = |settled| {
            format!(
            "SELECT {EVENT_COLUMNS} FROM events e WHERE e.id > ?1 {settled} AND (?2 IS NULL OR e.kind = ?2) AND e.at BETWEEN ?3 AND ?4
             AND {about} ORDER BY {order} LIMIT ?6"
        )
        };
        self.readers.read(|db| {
            let (since, until) =
                (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
            let kind = filter.kind.map(EventKind::as_str);
            let sql = sql(if follows { settled(db) } else { "" });
            db.query(&sql, params![id, kind, since, until, name, limit], EventRow::from_row)
        })
    }
}

fn newest_id(db: &Db) -> Result<i64> {
    let sql = format!("SELECT coalesce(max(e.id), 0) FROM events e WHERE e.id > 0 {}", settled(db));
    db.one(&sql, &[], |row| row.get(0))
}

/// The rest of a condition on `e`: no event with a smaller ID can follow. PostgreSQL may commit IDs
/// in another order.
fn settled(db: &Db) -> &'static str {
    if db.is_sqlite() { "" } else { "AND e.xid < pg_snapshot_xmin(pg_current_snapshot())" }
}

/// Appends an event and counts it in the table `days`.
pub fn insert(db: &Db, event: &Event, at: i64) -> Result<()> {
    let sql = "INSERT INTO events
            (at, kind, sub, email, session_id, client_address, client_id, user_agent, reason, verified_by,
            host, detail)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, nullif(?7, ''), ?8, ?9, ?10, ?11, ?12)";
    db.execute(
        sql,
        params![
            at,
            event.kind.as_str(),
            event.subject,
            event.email,
            event.session_id,
            event.client.address,
            event.client_id,
            event.client.user_agent,
            event.reason,
            event.verified_by,
            event.host,
            event.detail
        ],
    )?;
    let (signin, refusal) = (event.kind == EventKind::SignIn, event.kind == EventKind::Refusal);
    if signin || refusal {
        count(db, at.div_euclid(DAY_SECONDS), signin.into(), refusal.into())?;
    }
    Ok(())
}

/// Whether the user was deleted since this event, or shortly before it. A deletion bears the time
/// of its start, and requests may still see the user until it ends.
fn is_of_deleted_user(db: &Db, event: &Event, at: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM events WHERE sub = ?1 AND at >= ?2 AND kind = 'delete'";
    db.exists(sql, params![event.subject, at - DELETION_SECONDS_MAX])
}

/// Adds to the counts of a day.
pub fn count(db: &Db, day: i64, signins: i64, refusals: i64) -> Result<()> {
    // One row for a day would be a lock for which all servers wait.
    let sql = if db.is_sqlite() {
        "INSERT INTO days (day, signins, refusals) VALUES (?1, ?2, ?3)
        ON CONFLICT (day) DO UPDATE SET signins = days.signins + ?2, refusals = days.refusals + ?3"
    } else {
        "INSERT INTO days (day, slot, signins, refusals) VALUES (?1, pg_backend_pid() % 64, ?2, ?3)
        ON CONFLICT (day, slot) DO UPDATE SET signins = days.signins + ?2, refusals = days.refusals + ?3"
    };
    db.execute(sql, params![day, signins, refusals]).map(drop)
}
