//! Events as the operator reads them.

use rusqlite::{Row, params};

use super::sessions::Client;
use super::{EventKind, Store, StoreError};

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
     e.verified_by, e.host";

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
        })
    }
}

impl Store {
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
