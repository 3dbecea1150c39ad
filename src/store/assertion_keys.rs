//! The keys that sign assertions, the same for all processes on the database.
//!
//! Two keys are published at a time: the current one, and the next one or the previous one. A key
//! is published for at least a day before it signs, and for a day after the next one has begun to
//! sign. Verifiers keep the published keys for an hour, so they never meet an unknown one.

use std::fmt;

use super::db::{self, Db, params};
use super::events::DAY_SECONDS;
use super::{Store, StoreError};

/// How long a key signs.
pub const KEY_SIGNS_SECONDS: i64 = 30 * DAY_SECONDS;
/// How long a key is published at least before it signs, and how long after it was replaced.
pub const KEY_OVERLAP_SECONDS: i64 = DAY_SECONDS;
const PUBLISHED: usize = 2;

/// A private key in PKCS #8. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Vec<u8>);

impl PrivateKey {
    /// Takes the bytes as they are.
    pub fn new(pkcs8: Vec<u8>) -> PrivateKey {
        PrivateKey(pkcs8)
    }

    /// The bytes, for the signature and the database only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("PrivateKey(..)")
    }
}

/// A key that has no time yet.
#[derive(Debug, Clone)]
pub struct NewAssertionKey {
    /// Names the key in public.
    pub kid: String,
    /// The key.
    pub private_key: PrivateKey,
}

impl NewAssertionKey {
    /// Says that the key in the database is not one.
    pub fn unusable(&self) -> StoreError {
        StoreError(format!("database: the key {:?} of assertions cannot be used", self.kid))
    }
}

/// A key with the time from which it signs, in unix seconds.
#[derive(Debug, Clone)]
pub struct AssertionKey {
    /// The key.
    pub key: NewAssertionKey,
    /// It signs from then on, until the next one does.
    pub signs_from: i64,
}

/// The published keys, in the order in which they sign.
#[derive(Debug, Clone, Default)]
pub struct AssertionKeys(Vec<AssertionKey>);

impl AssertionKeys {
    /// The keys in their order.
    pub fn iter(&self) -> impl Iterator<Item = &AssertionKey> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that signs now.
    pub fn current(&self, now: i64) -> Option<&AssertionKey> {
        self.0.get(self.current_index(now))
    }

    /// The key that signs after the current one, if it is known already.
    pub fn next(&self, now: i64) -> Option<&AssertionKey> {
        self.0.get(self.current_index(now) + 1)
    }

    /// Whether [`Store::rotate_assertion_keys`] would change anything.
    pub fn are_due(&self, now: i64) -> bool {
        self.0.len() < PUBLISHED
            || self.has_expired(now)
            || self.0.iter().any(|key| key.signs_from > now + KEY_SIGNS_SECONDS)
    }

    /// If the clock was set back, all of them may begin later. The first one then signs.
    fn current_index(&self, now: i64) -> usize {
        self.0.iter().rposition(|key| key.signs_from <= now).unwrap_or(0)
    }

    /// Whether the key before the current one need not be published any more.
    fn has_expired(&self, now: i64) -> bool {
        let current = self.current_index(now);
        current > 0 && now >= self.0[current].signs_from + KEY_OVERLAP_SECONDS
    }
}

impl Store {
    /// The published keys. There are none before the first rotation.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn assertion_keys(&self) -> Result<AssertionKeys, StoreError> {
        self.readers.read(read)
    }

    /// Removes a key that expired and adds keys until there are two, in one transaction. The new
    /// ones are used only as far as they are needed: another process may have been first.
    ///
    /// # Errors
    /// If the store cannot answer.
    pub fn rotate_assertion_keys(
        &self,
        new: [NewAssertionKey; PUBLISHED],
        now: i64,
    ) -> Result<AssertionKeys, StoreError> {
        self.writer.write(move |db| {
            // A clock that was ahead has left times far in the future.
            db.execute(
                "UPDATE assertion_keys SET signs_from = ?1 WHERE signs_from > ?1",
                params![now + KEY_SIGNS_SECONDS],
            )?;
            let mut keys = read(db)?;
            if keys.has_expired(now) {
                let current = keys.current_index(now);
                for expired in keys.0.drain(..current) {
                    let sql = "DELETE FROM assertion_keys WHERE kid = ?1";
                    db.execute(sql, params![expired.key.kid])?;
                }
            }
            for key in &new {
                if keys.0.len() >= PUBLISHED {
                    break;
                }
                let signs_from = keys.0.last().map_or(now, |last| {
                    (last.signs_from + KEY_SIGNS_SECONDS).max(now + KEY_OVERLAP_SECONDS)
                });
                db.execute(
                    "INSERT INTO assertion_keys (kid, private_key, signs_from) VALUES (?1, ?2, ?3)",
                    params![key.kid, key.private_key.0, signs_from],
                )?;
                keys.0.push(AssertionKey { key: key.clone(), signs_from });
            }
            Ok(keys)
        })
    }
}

fn read(db: &Db) -> db::Result<AssertionKeys> {
    let sql = "SELECT kid, private_key, signs_from FROM assertion_keys ORDER BY signs_from, kid";
    let keys = db.query(sql, &[], |row| {
        let key = NewAssertionKey { kid: row.get(0)?, private_key: PrivateKey::new(row.get(1)?) };
        Ok(AssertionKey { key, signs_from: row.get(2)? })
    })?;
    Ok(AssertionKeys(keys))
}
