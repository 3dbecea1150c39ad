//! What happened: an append-only record for the operator.

use rusqlite::{Connection, Row, params};

use super::model::Client;
use super::{Store, StoreError};

/// Days are UTC's.
pub const DAY_SECONDS: i64 = 24 * 60 * 60;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A session was established.
    SignIn,
    /// A sign-in was refused.
    Refusal,
    /// Somebody ended their own session.
    SignOut,
    /// A session was ended from another one, by the operator or by an admin.
    Revocation,
    /// The operator or an admin blocked somebody.
    Block,
    /// One of them lifted a block.
    Unblock,
    /// One of them released the e-mail that somebody held.
    Release,
    /// The operator erased somebody.
    Delete,
    /// The operator or an admin let somebody in.
    Allow,
    /// One of them took an entry off the list of those who are let in.
    Disallow,
    /// The operator or an admin changed somebody's user name.
    Rename,
    /// A token for a program was created.
    Token,
}

/// One event. What is not known is `None`.
#[derive(Debug, Clone)]
pub struct Event {
    /// What kind.
    pub kind: EventKind,
    /// Whom it is about.
    pub subject: Option<String>,
    /// Their e-mail.
    pub email: Option<String>,
    /// Which session.
    pub session_id: Option<String>,
    /// Who asked for it.
    pub client: Client,
    /// `aud` of the ID token.
    pub client_id: Option<String>,
    /// What said that the ID token is Google's, as schema.sql names it.
    pub verified_by: Option<&'static str>,
    /// What the client was told, for a refusal; by whom, for a change by somebody else.
    pub reason: Option<String>,
    /// Of a refusal by check or forward: the app's host, as the proxy named it.
    pub host: Option<String>,
    /// What it is about, if not a person: schema.sql says of which kinds.
    pub detail: Option<String>,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 12] = [
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
    ];

    /// Its name in schema.sql.
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
        }
    }
}

/// What the event of a change by the operator says.
pub const BY_THE_OPERATOR: &str = "by the operator";

/// Who causes an event.
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

    /// The user whom the event is about.
    pub fn user(client: Client) -> Actor {
        Actor { client, ..Actor::default() }
    }
}

/// An event as it was recorded.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// Ever growing.
    pub id: i64,
    /// When, in unix seconds.
    pub at: i64,
    /// What kind, as schema.sql names it.
    pub kind: String,
    /// Whom it is about.
    pub subject: Option<String>,
    /// Their e-mail.
    pub email: Option<String>,
    /// Which session.
    pub session_id: Option<String>,
    /// Who asked for it.
    pub client: Client,
    /// `aud` of the ID token.
    pub client_id: Option<String>,
    /// Why, or by whom.
    pub reason: Option<String>,
    /// What said that the ID token is Google's.
    pub verified_by: Option<String>,
    /// The app's host, of a refusal by check or forward.
    pub host: Option<String>,
    /// What it is about, if not a person.
    pub detail: Option<String>,
}

/// Which events. What is not given does not matter.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Those of that kind.
    pub kind: Option<EventKind>,
    /// Those about that person.
    pub about: Option<About>,
    /// Those from that time on, in unix seconds.
    pub since: Option<i64>,
    /// Those up to that time, in unix seconds.
    pub until: Option<i64>,
}

/// A person that events are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The one of that `sub`.
    Subject(String),
    /// Whoever came with that e-mail, though nobody who has signed in has it.
    Email(String),
}

/// The columns that [`EventRow::from_row`] reads, in its order.
pub const EVENT_COLUMNS: &str = "e.id, e.at, e.kind, e.sub, e.email, e.session_id, e.client_address, e.user_agent, e.client_id, e.reason, \
     e.verified_by, e.host, e.detail";

impl EventRow {
    /// Reads `EVENT_COLUMNS`.
    pub fn from_row(row: &Row) -> rusqlite::Result<EventRow> {
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
    /// Records an event soon. It never holds up an answer, and is dropped if the store cannot keep up.
    pub fn record(&self, event: Event, at: i64) {
        self.writer.write_later(move |db| insert(db, &event, at));
    }

    /// The last events of that kind and person, the newest last.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn last_events(
        &self,
        filter: &EventFilter,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        let mut events = self.events(filter, 0, limit, "e.at DESC, e.id DESC")?;
        events.reverse();
        Ok(events)
    }

    /// Events that were recorded after the one of that id, in their order.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn events_after(
        &self,
        filter: &EventFilter,
        id: i64,
        limit: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        self.events(filter, id, limit, "e.id")
    }

    fn events(
        &self,
        filter: &EventFilter,
        id: i64,
        limit: u32,
        order: &str,
    ) -> Result<Vec<EventRow>, StoreError> {
        // A condition of its own for each, so that each has its index.
        let (about, name) = match &filter.about {
            None => ("?5 IS NULL", None),
            Some(About::Subject(subject)) => ("e.sub = ?5", Some(subject)),
            Some(About::Email(email)) => ("e.email = ?5 COLLATE NOCASE", Some(email)),
        };
        let sql = format!(
            "SELECT {EVENT_COLUMNS} FROM events e WHERE e.id > ?1 AND (?2 IS NULL OR e.kind = ?2) AND e.at BETWEEN ?3 AND ?4
             AND {about} ORDER BY {order} LIMIT ?6"
        );
        self.readers.read(|db| {
            let (since, until) =
                (filter.since.unwrap_or(i64::MIN), filter.until.unwrap_or(i64::MAX));
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query_map(
                params![id, filter.kind.map(EventKind::as_str), since, until, name, limit],
                EventRow::from_row,
            )?;
            rows.collect()
        })
    }
}

/// Appends an event that happened at that time (unix seconds), and counts it to its day.
pub fn insert(db: &Connection, event: &Event, at: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO events
            (at, kind, sub, email, session_id, client_address, client_id, user_agent, reason, verified_by,
            host, detail)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    db.prepare_cached(sql)?.execute(params![
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
    ])?;
    let (signin, refusal) = (event.kind == EventKind::SignIn, event.kind == EventKind::Refusal);
    if signin || refusal {
        count(db, at.div_euclid(DAY_SECONDS), signin.into(), refusal.into())?;
    }
    Ok(())
}

/// Adds to the sign-ins and refusals of a day.
pub fn count(db: &Connection, day: i64, signins: i64, refusals: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO days (day, signins, refusals) VALUES (?1, ?2, ?3)
        ON CONFLICT (day) DO UPDATE SET signins = signins + ?2, refusals = refusals + ?3";
    db.prepare_cached(sql)?.execute(params![day, signins, refusals]).map(drop)
}
