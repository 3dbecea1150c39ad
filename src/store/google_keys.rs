//! Google's public keys, kept for the next start.

use super::db::params;
use super::{Store, StoreError};
use crate::published_keys::PublishedKeys;

impl Store {
    /// The saved keys.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn google_keys(&self) -> Result<Option<PublishedKeys>, StoreError> {
        let sql = "SELECT url, document, fetched_at, expires_at FROM google_keys";
        self.readers.read(|db| {
            db.first(sql, &[], |row| {
                Ok(PublishedKeys {
                    url: row.get(0)?,
                    document: row.get(1)?,
                    fetched_at: row.get(2)?,
                    expires_at: row.get(3)?,
                })
            })
        })
    }

    /// Replaces the saved keys soon, without waiting.
    pub fn save_google_keys(&self, keys: PublishedKeys) {
        self.writer.write_later(move |db| {
            let sql = "INSERT INTO google_keys (id, url, document, fetched_at, expires_at) VALUES (1, ?1, ?2, ?3, ?4)
                ON CONFLICT (id) DO UPDATE SET url = ?1, document = ?2, fetched_at = ?3, expires_at = ?4";
            db.execute(sql, params![keys.url, keys.document, keys.fetched_at, keys.expires_at]).map(drop)
        });
    }
}
