//! Google's public keys as stored between two fetches.

/// A response of the key endpoint with at least one usable key. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKeys {
    /// Where the keys come from. Keys from elsewhere prove nothing.
    pub url: String,
    /// A JWK set, or certificates by `kid`, as received.
    pub document: String,
    /// When it was fetched.
    pub fetched_at: i64,
    /// When it expires.
    pub expires_at: i64,
}
