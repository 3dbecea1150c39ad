//! The figures of the admin overview. Each query has its own index, so its time does not grow with
//! the tables.

use super::allowed::IS_ALLOWED;
use super::db::{Row, params};
use super::events::{DAY_SECONDS, EVENT_COLUMN_COUNT, EVENT_COLUMNS, EventRow};
use super::model::{SESSION_COLUMN_COUNT, SESSION_COLUMNS, Session, USER_COLUMNS, User};
use super::{Store, StoreError};

/// Sessions read to find the users seen last, who may have several each.
const SESSIONS_READ_MAX: u32 = 200;

/// A day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Its first second, in unix seconds.
    pub begins_at: i64,
    /// New sessions.
    pub signins: u64,
    /// Including those that were only counted.
    pub refusals: u64,
}

/// A user with a live session.
#[derive(Debug, Clone)]
pub struct RecentUser {
    /// The session's user.
    pub user: User,
    /// The session used last.
    pub session: Session,
    /// Further live sessions, among the ones read.
    pub others: usize,
}

/// A refusal, and what holds now for the account.
#[derive(Debug, Clone)]
pub struct RefusalRow {
    /// The event.
    pub event: EventRow,
    /// Whether its `sub` is a user.
    pub is_user: bool,
    /// Whether the list in the database lets it in.
    pub is_allowed: bool,
}

impl Store {
    /// The time of the last event or check, in unix seconds. `None` in a new database.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn last_activity_at(&self) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT max(at) FROM (SELECT max(at) AS at FROM events
            UNION ALL SELECT max(last_seen_at) FROM sessions WHERE ended_at IS NULL) AS activity";
        self.readers.read(|db| db.one(sql, &[], |row| row.get(0)))
    }

    /// The last `count` days, up to and including the day of `now`.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn days(&self, count: u32, now: i64) -> Result<Vec<Day>, StoreError> {
        let today = now.div_euclid(DAY_SECONDS);
        let first = today - i64::from(count) + 1;
        let sql =
            "SELECT day, CAST(sum(signins) AS bigint), CAST(sum(refusals) AS bigint) FROM days
            WHERE day BETWEEN ?1 AND ?2 GROUP BY day";
        self.readers.read(|db| {
            let empty = |day| Day { begins_at: day * DAY_SECONDS, signins: 0, refusals: 0 };
            let mut days: Vec<Day> = (first..=today).map(empty).collect();
            db.visit(sql, params![first, today], |row| {
                let count = |column| row.get(column).map(i64::unsigned_abs);
                let day: i64 = row.get(0)?;
                days[(day - first) as usize] =
                    Day { begins_at: day * DAY_SECONDS, signins: count(1)?, refusals: count(2)? };
                Ok(true)
            })?;
            Ok(days)
        })
    }

    /// The users whose live sessions were used last, the latest first. Tokens for programs do not
    /// count.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn recent_users(
        &self,
        now: i64,
        idle_seconds: i64,
        limit: usize,
    ) -> Result<Vec<RecentUser>, StoreError> {
        // The plus keeps SQLite from using the index by expiry, which would sort every session.
        let sql = format!(
            "SELECT {SESSION_COLUMNS}, {USER_COLUMNS} FROM sessions s JOIN users u ON u.sub = s.sub
             WHERE s.ended_at IS NULL AND +s.expires_at > ?1
                AND (s.kind = 'id_token' OR (s.kind = 'session' AND s.last_seen_at > ?1 - ?2))
             ORDER BY s.last_seen_at DESC LIMIT ?3"
        );
        self.readers.read(|db| {
            let mut seen: Vec<RecentUser> = Vec::new();
            db.visit(&sql, params![now, idle_seconds, SESSIONS_READ_MAX], |row| {
                let (session, user) =
                    (Session::from_row(row)?, User::from_row(row, SESSION_COLUMN_COUNT)?);
                match seen
                    .iter()
                    .position(|known| known.user.profile.subject == user.profile.subject)
                {
                    Some(place) => seen[place].others += 1,
                    None if seen.len() < limit => {
                        seen.push(RecentUser { user, session, others: 0 })
                    }
                    None => {}
                }
                Ok(true)
            })?;
            Ok(seen)
        })
    }

    /// The last refusals, the latest first.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn last_refusals(&self, limit: u32) -> Result<Vec<RefusalRow>, StoreError> {
        let sql = format!(
            "SELECT {EVENT_COLUMNS}, EXISTS (SELECT 1 FROM users u WHERE u.sub = e.sub) AS is_user,
                EXISTS (SELECT 1 FROM allowed a WHERE a.sub = e.sub)
                    OR EXISTS (SELECT 1 FROM users u WHERE u.sub = e.sub AND {IS_ALLOWED}) AS is_allowed
             FROM events e WHERE e.kind = 'refusal' ORDER BY e.at DESC LIMIT ?1"
        );
        let read = |row: &Row| {
            Ok(RefusalRow {
                event: EventRow::from_row(row)?,
                is_user: row.get(EVENT_COLUMN_COUNT)?,
                is_allowed: row.get(EVENT_COLUMN_COUNT + 1)?,
            })
        };
        self.readers.read(|db| db.query(&sql, params![limit], read))
    }
}
