//! Google's public keys between two fetches: what the endpoint said, and how long it holds.

/// An answer of the key endpoint that had a good key in it. Times are unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKeys {
    /// Where it is from. Keys of another place prove nothing.
    pub url: String,
    /// A JWK set, or certificates by their `kid`, as it came.
    pub document: String,
    /// When it came.
    pub fetched_at: i64,
    /// When it should have been fetched again.
    pub expires_at: i64,
}
