//! The ways to one [`Identity`]: Google's word about a token, or its signature on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use super::identity::{Identity, Rejection};
use super::jwks::RsaKey;
use super::jws::Jws;
use super::keys::{KeyError, Keys, find_keys};
use super::tokeninfo::{Exchange, Tokeninfo, TokeninfoSettings};
use crate::metrics::{Metrics, Reading};
use crate::published_keys::PublishedKeys;
use crate::token::IdToken;

/// Seconds that tokeninfo must have answered for before it is said to be back. One that fails now and then would
/// otherwise fill the log.
const RECOVERED_SECONDS: i64 = 60;

/// Which way tokens are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Every token goes to tokeninfo.
    Tokeninfo,
    /// To tokeninfo first, and by the keys where that cannot answer.
    Fallback,
    /// By the keys alone.
    Keys,
}

/// How tokens are verified.
#[derive(Debug, Clone)]
pub struct VerifierSettings {
    /// Which way.
    pub verify: Verify,
    /// How tokeninfo is asked. Its timeout is that of every way.
    pub tokeninfo: TokeninfoSettings,
    /// Where Google's keys are.
    pub keys_url: Url,
}

/// What a verified token was verified by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifiedBy {
    /// A 200 from tokeninfo.
    Tokeninfo,
    /// A good signature by a current key of Google's.
    Keys,
}

impl VerifiedBy {
    /// Its name in events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            VerifiedBy::Tokeninfo => "tokeninfo",
            VerifiedBy::Keys => "keys",
        }
    }
}

/// Why there is no identity.
#[derive(Debug)]
pub enum Failure {
    /// The token is no good, for the reason given. Final.
    Refused(&'static str),
    /// Google cannot say. Says nothing about the token.
    Unavailable {
        /// What happened, without token and URL.
        cause: String,
        /// Seconds that Google asked us to wait.
        retry_after: Option<u64>,
    },
}

/// Verifies tokens the way the operator chose.
pub struct Verifier {
    tokeninfo: Tokeninfo,
    keys: KeyMode,
    timeout: Duration,
    /// When tokeninfo last had to be replaced by the keys, unless it is back since.
    replaced_at: Mutex<Option<i64>>,
}

enum KeyMode {
    Never,
    Fallback(Arc<Keys>),
    Alone(Arc<Keys>),
}

impl Verifier {
    /// A verifier that begins with those keys, if it needs any.
    pub fn new(
        settings: &VerifierSettings,
        saved: Option<PublishedKeys>,
        metrics: &Arc<Metrics>,
    ) -> Verifier {
        let timeout = settings.tokeninfo.timeout;
        let keys = || Arc::new(Keys::new(&settings.keys_url, timeout, saved, metrics.clone()));
        Verifier {
            tokeninfo: Tokeninfo::new(&settings.tokeninfo, metrics.clone()),
            keys: match settings.verify {
                Verify::Tokeninfo => KeyMode::Never,
                Verify::Fallback => KeyMode::Fallback(keys()),
                Verify::Keys => KeyMode::Alone(keys()),
            },
            timeout,
            replaced_at: Mutex::default(),
        }
    }

    /// Whether Google vouches for the token, and it is for one of those audiences, at that time (unix seconds). Takes no
    /// longer than the timeout.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn verify(
        &self,
        token: &IdToken,
        audiences: &[String],
        nonce: Option<&str>,
        now: i64,
    ) -> Result<(Identity, VerifiedBy), Failure> {
        let start = Instant::now();
        let deadline = start + self.timeout;
        let by_tokeninfo = |deadline| {
            let claims = self.tokeninfo.ask(token, deadline)?;
            Identity::verify(&claims, audiences, nonce, now).map_err(|rejection| match rejection {
                Rejection::Unreadable(cause) => unavailable(format!("tokeninfo: {cause}")),
                Rejection::Invalid(reason) => Failure::Refused(reason),
            })
        };
        let by_keys = |keys| {
            by_keys(keys, token, audiences, nonce, now, deadline).map(|id| (id, VerifiedBy::Keys))
        };
        match &self.keys {
            KeyMode::Never => {
                by_tokeninfo(deadline).map(|identity| (identity, VerifiedBy::Tokeninfo))
            }
            KeyMode::Alone(keys) => by_keys(keys),
            KeyMode::Fallback(keys) => match by_tokeninfo(start + self.timeout / 2) {
                Err(Failure::Unavailable { cause, retry_after }) => match by_keys(keys) {
                    Err(Failure::Unavailable { cause: other, retry_after: others }) => {
                        Err(Failure::Unavailable {
                            cause: format!("{cause}; {other}"),
                            // Either suffices, so the sooner of the two counts.
                            retry_after: retry_after
                                .map(|seconds| seconds.min(others.unwrap_or(seconds))),
                        })
                    }
                    verdict => {
                        self.note_replaced(&cause, now);
                        verdict
                    }
                },
                verdict => {
                    self.note_answered(now);
                    verdict.map(|identity| (identity, VerifiedBy::Tokeninfo))
                }
            },
        }
    }

    /// The keys, where they are used.
    pub fn keys(&self) -> Option<&Arc<Keys>> {
        match &self.keys {
            KeyMode::Never => None,
            KeyMode::Fallback(keys) | KeyMode::Alone(keys) => Some(keys),
        }
    }

    /// What keys there are, and whether they verify sign-ins just now, for machines; nothing where they are not used.
    pub fn keys_status(&self, now: i64) -> Option<Value> {
        let mut status = self.keys()?.status(now);
        let replaced_at = *self.replaced_at.lock().unwrap_or_else(PoisonError::into_inner);
        status["in_use"] = json!(matches!(self.keys, KeyMode::Alone(_)) || replaced_at.is_some());
        Some(status)
    }

    /// Whether nobody could be verified just now, whatever Google's tokeninfo does.
    pub fn lacks_keys(&self, now: i64) -> bool {
        matches!(&self.keys, KeyMode::Alone(keys) if !keys.are_usable(now))
    }

    /// How many exchanges with tokeninfo may be under way or wait for their turn.
    pub fn exchanges_max(&self) -> usize {
        self.tokeninfo.exchanges_max()
    }

    /// How busy tokeninfo is, and how old the keys are.
    pub fn readings(&self, now: i64) -> Vec<Reading> {
        let keys = self.keys().map(|keys| keys.readings(now));
        self.tokeninfo.readings().into_iter().chain(keys.into_iter().flatten()).collect()
    }

    fn note_replaced(&self, cause: &str, now: i64) {
        let before = self.replaced_at.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
        if before.is_none() {
            log::warn!("Google's keys verify sign-ins, as tokeninfo cannot answer: {cause}");
        }
    }

    fn note_answered(&self, now: i64) {
        let mut replaced_at = self.replaced_at.lock().unwrap_or_else(PoisonError::into_inner);
        if replaced_at.take_if(|at| now - *at >= RECOVERED_SECONDS).is_some() {
            log::info!("tokeninfo verifies sign-ins again");
        }
    }
}

fn by_keys(
    keys: &Keys,
    token: &IdToken,
    audiences: &[String],
    nonce: Option<&str>,
    now: i64,
    deadline: Instant,
) -> Result<Identity, Failure> {
    let payload = signed_payload(token, |kid| keys.find(kid, now, deadline))?;
    Identity::verify(&payload, audiences, nonce, now).map_err(|rejection| match rejection {
        // What Google has signed is the token itself, and no failure on its way here.
        Rejection::Unreadable(_) => NOT_CLAIMS,
        Rejection::Invalid(reason) => Failure::Refused(reason),
    })
}

const NOT_CLAIMS: Failure =
    Failure::Refused("the token's payload is no JSON object with iss, sub, aud and exp");

/// The token's payload, if the key that it names has signed it.
fn signed_payload(
    token: &IdToken,
    find: impl FnOnce(&str) -> Result<Arc<RsaKey>, KeyError>,
) -> Result<Vec<u8>, Failure> {
    let jws = Jws::parse(token).map_err(Failure::Refused)?;
    let key = find(jws.kid()).map_err(|no_key| match no_key {
        KeyError::Unknown => {
            Failure::Refused("the token is signed with a key that Google does not have")
        }
        KeyError::Unavailable { cause, retry_after } => Failure::Unavailable { cause, retry_after },
    })?;
    jws.payload(&key).ok_or(Failure::Refused("the token's signature is wrong"))
}

/// What one of those asked says about a token.
#[derive(Debug)]
pub struct Statement {
    /// Who was asked.
    pub by: VerifiedBy,
    /// The claims that are vouched for, or why they are not.
    pub outcome: Result<Vec<u8>, Failure>,
    /// The name of the key that the token says it is signed with, if that was looked at.
    pub kid: Option<String>,
    /// From the question to the answer.
    pub took: Duration,
}

/// What a [`Verifier`] that has not fetched anything yet is told about a token: one statement, or two if the keys had to
/// be asked after tokeninfo. Nothing is remembered.
pub fn hear(settings: &VerifierSettings, token: &IdToken) -> Vec<Statement> {
    let start = Instant::now();
    let timeout = settings.tokeninfo.timeout;
    let by_tokeninfo = |patience| {
        let tokeninfo = Tokeninfo::new(&settings.tokeninfo, Arc::default());
        let Exchange { outcome, took, .. } = tokeninfo.exchange(token, start + patience);
        Statement { by: VerifiedBy::Tokeninfo, outcome, kid: None, took }
    };
    let by_keys = || {
        let asked = Instant::now();
        let find = |kid: &str| {
            let found = find_keys(&settings.keys_url, crate::clock::now(), start + timeout)
                .map_err(|cause| KeyError::Unavailable { cause, retry_after: None })?;
            found.set.find(kid).ok_or(KeyError::Unknown)
        };
        let outcome = signed_payload(token, find).and_then(|claims| {
            if unreadable(&claims).is_some() { Err(NOT_CLAIMS) } else { Ok(claims) }
        });
        let kid = Jws::parse(token).ok().map(|jws| jws.kid().to_owned());
        Statement { by: VerifiedBy::Keys, outcome, kid, took: asked.elapsed() }
    };
    match settings.verify {
        Verify::Tokeninfo => vec![by_tokeninfo(timeout)],
        Verify::Keys => vec![by_keys()],
        Verify::Fallback => {
            let mut first = by_tokeninfo(timeout / 2);
            if let Some(cause) = first.outcome.as_ref().ok().and_then(|claims| unreadable(claims)) {
                first.outcome = Err(unavailable(format!("tokeninfo: {cause}")));
            }
            match first.outcome {
                Err(Failure::Unavailable { .. }) => vec![first, by_keys()],
                _ => vec![first],
            }
        }
    }
}

/// Why claims cannot be read, which does not depend on whom they are for.
fn unreadable(claims: &[u8]) -> Option<&'static str> {
    match Identity::verify(claims, &[], None, 0) {
        Err(Rejection::Unreadable(cause)) => Some(cause),
        _ => None,
    }
}

fn unavailable(cause: String) -> Failure {
    Failure::Unavailable { cause, retry_after: None }
}
