//! Sessions as they were last read, so that few checks search the tables.
//!
//! It is exact: every change of a user or a session by any process gives the database a new revision (schema.sql), and
//! what was read under another one is read again.

use std::sync::Arc;

use quick_cache::sync::Cache;
use rusqlite::Connection;

use super::sessions::{self, Holder};
use crate::token::TokenHash;

/// Some 100 MB at most, with the profiles that Google sends; no memory is taken before it is needed.
const SESSIONS_MAX: usize = 128 * 1024;

pub struct Known(Cache<TokenHash, (i64, Arc<Holder>)>);

impl Known {
    pub fn new() -> Known {
        Known(Cache::new(SESSIONS_MAX))
    }

    /// The session of that token as it stands in the database, live or not. `last_seen_at` may be up to a minute old.
    pub fn find(&self, db: &Connection, token: &TokenHash, now: i64) -> rusqlite::Result<Option<Arc<Holder>>> {
        // Read first: whatever changes later has a later revision.
        let revision = db.prepare_cached("SELECT id FROM revision")?.query_row([], |row| row.get(0))?;
        if let Some((known_at, holder)) = self.0.get(token)
            && known_at == revision
            && !holder.session.is_touch_due(now)
        {
            return Ok(Some(holder));
        }
        let found = sessions::find(db, token)?.map(Arc::new);
        if let Some(holder) = &found {
            self.0.insert(*token, (revision, holder.clone()));
        }
        Ok(found)
    }

    /// The session was seen at that time; what is known of it stays true.
    pub fn touch(&self, token: &TokenHash, now: i64) {
        if let Some((revision, holder)) = self.0.get(token) {
            let mut touched = Holder::clone(&holder);
            touched.session.last_seen_at = now;
            self.0.insert(*token, (revision, Arc::new(touched)));
        }
    }
}
