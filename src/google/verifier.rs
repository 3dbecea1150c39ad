//! Verifies tokens by tokeninfo, by Google's keys, or by both.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use super::call_limiter::CallLimiter;
use super::failure::Failure;
use super::identity::{Expected, Identity, Rejection, VerifiedBy};
use super::jws::Jws;
use super::keys::Keys;
use super::security_event::{EventFailure, SecurityEvent};
use super::tokeninfo::{Tokeninfo, TokeninfoSettings};
use crate::metrics::{Metrics, Reading};
use crate::published_keys::PublishedKeys;
use crate::token::IdToken;

/// How long tokeninfo must answer before the log says that it is back. Otherwise an endpoint that
/// fails now and then would fill the log.
const RECOVERED_SECONDS: i64 = 60;

/// The types (`typ`) that the header of an ID token may name.
const ID_TOKEN_TYPES: [&str; 1] = ["JWT"];
/// Security events that are verified at once. One that needs no new keys takes a fraction of a
/// millisecond.
const EVENTS_AT_ONCE_MAX: usize = 8;

/// How tokens are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Every token goes to tokeninfo.
    Tokeninfo,
    /// Tokens go to tokeninfo first. If it cannot answer, the keys decide.
    Fallback,
    /// The keys alone decide.
    Keys,
}

/// How tokens are verified.
#[derive(Debug, Clone)]
pub struct VerifierSettings {
    /// Which way tokens are verified.
    pub verify: Verify,
    /// How to ask tokeninfo. Its timeout also applies to the other ways.
    pub tokeninfo: TokeninfoSettings,
    /// Where Google publishes its keys.
    pub keys_url: Url,
    /// Whether the keys also verify security events, and so are needed in any case.
    pub security_events: bool,
}

/// A token to verify and what it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The token.
    pub token: &'a IdToken,
    /// The values that its claims must match.
    pub expected: Expected<'a>,
    /// The client's address: networks share the calls to Google. `None` is this machine or a
    /// trusted proxy, which may use all of them.
    pub client: Option<IpAddr>,
}

/// How a token was verified.
#[derive(Debug)]
pub struct Decision {
    /// The failed attempt with tokeninfo, if the keys were asked in its place.
    pub failed: Option<Verification>,
    /// The verification that decides.
    pub decisive: Verification,
}

/// The verdict of tokeninfo or the keys on a token.
#[derive(Debug)]
pub struct Verification {
    /// Which of them.
    pub by: VerifiedBy,
    /// The verified claims, if any.
    pub claims: Option<Vec<u8>>,
    /// The identity in the claims, or why there is none.
    pub verdict: Result<Identity, Failure>,
    /// The `kid` in the token, if it was read.
    pub kid: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// Verifies tokens in the way the operator chose.
pub struct Verifier {
    tokeninfo: Tokeninfo,
    keys: KeyMode,
    /// Bounds the security events that wait for keys.
    events: CallLimiter,
    timeout: Duration,
    /// When the keys last verified a token in place of tokeninfo. `None` once tokeninfo is back.
    replaced_at: Mutex<Option<i64>>,
}

enum KeyMode {
    Unused,
    /// They verify security events, but no ID token.
    Events(Arc<Keys>),
    Fallback(Arc<Keys>),
    Only(Arc<Keys>),
}

impl Verifier {
    /// Creates a verifier. If it needs keys, it starts with the saved ones.
    pub fn new(
        settings: &VerifierSettings,
        saved: Option<PublishedKeys>,
        metrics: &Arc<Metrics>,
    ) -> Verifier {
        let timeout = settings.tokeninfo.timeout;
        let keys = || {
            let authorities = settings.tokeninfo.authorities.as_ref();
            Arc::new(Keys::new(&settings.keys_url, authorities, timeout, saved, metrics.clone()))
        };
        Verifier {
            tokeninfo: Tokeninfo::new(&settings.tokeninfo, metrics.clone()),
            keys: match settings.verify {
                Verify::Tokeninfo if settings.security_events => KeyMode::Events(keys()),
                Verify::Tokeninfo => KeyMode::Unused,
                Verify::Fallback => KeyMode::Fallback(keys()),
                Verify::Keys => KeyMode::Only(keys()),
            },
            events: CallLimiter::new(EVENTS_AT_ONCE_MAX, 0),
            timeout,
            replaced_at: Mutex::default(),
        }
    }

    /// Verifies that Google vouches for the token and that its claims are as expected. Takes no
    /// longer than the timeout.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn verify(&self, question: &Question) -> Result<(Identity, VerifiedBy), Failure> {
        let Decision { failed, decisive } = self.decide(question);
        let verdict = decisive.verdict.map(|identity| (identity, decisive.by));
        match (failed.map(|failed| failed.verdict), verdict) {
            (
                Some(Err(Failure::Unavailable { cause, retry_after })),
                Err(Failure::Unavailable { cause: other, retry_after: others }),
            ) => Err(Failure::Unavailable {
                cause: format!("{cause}; {other}"),
                // Either suffices, so the shorter wait counts.
                retry_after: retry_after.map(|seconds| seconds.min(others.unwrap_or(seconds))),
            }),
            (Some(Err(Failure::Unavailable { cause, .. })), verdict) => {
                self.note_replaced(&cause, question.expected.now);
                verdict
            }
            (_, verdict) => {
                self.note_answered(question.expected.now);
                verdict
            }
        }
    }

    /// Like [`Verifier::verify`], but returns every step, for an operator who asks why. Changes and
    /// logs nothing.
    pub fn decide(&self, question: &Question) -> Decision {
        let start = Instant::now();
        let deadline = start + self.timeout;
        let decided = |decisive| Decision { failed: None, decisive };
        match &self.keys {
            KeyMode::Unused | KeyMode::Events(_) => {
                decided(by_tokeninfo(&self.tokeninfo, question, deadline))
            }
            KeyMode::Only(keys) => decided(by_keys(keys, question, deadline)),
            KeyMode::Fallback(keys) => {
                let first = by_tokeninfo(&self.tokeninfo, question, start + self.timeout / 2);
                match first.verdict {
                    Err(Failure::Unavailable { .. }) => Decision {
                        failed: Some(first),
                        decisive: by_keys(keys, question, deadline),
                    },
                    _ => decided(first),
                }
            }
        }
    }

    /// Verifies a security event by Google's keys. Takes no longer than the timeout. `client` is as
    /// in [`Question`]: when many events wait for keys, more of the same network are refused.
    ///
    /// # Errors
    /// [`EventFailure`].
    pub fn verify_event(
        &self,
        token: &str,
        audiences: &[String],
        client: Option<IpAddr>,
        now: i64,
    ) -> Result<SecurityEvent, EventFailure> {
        let start = Instant::now();
        let keys = self.keys().ok_or_else(|| EventFailure::unavailable("no keys are fetched"))?;
        let _permit = self
            .events
            .enter(client, start)
            .ok_or_else(|| EventFailure::unavailable("too many security events are waiting"))?;
        SecurityEvent::verify(token, audiences, now, |kid| {
            keys.find(kid, now, start + self.timeout)
        })
    }

    /// The keys, if they are used.
    pub fn keys(&self) -> Option<&Arc<Keys>> {
        match &self.keys {
            KeyMode::Unused => None,
            KeyMode::Events(keys) | KeyMode::Fallback(keys) | KeyMode::Only(keys) => Some(keys),
        }
    }

    /// The state of the keys as JSON, and whether they verify sign-ins at the moment. `None` if
    /// they are not used.
    pub fn keys_status(&self, now: i64) -> Option<Value> {
        let mut status = self.keys()?.status(now);
        let replaced_at = *self.replaced_at.lock().unwrap_or_else(PoisonError::into_inner);
        status["in_use"] = json!(matches!(self.keys, KeyMode::Only(_)) || replaced_at.is_some());
        Some(status)
    }

    /// Whether nobody can be verified because only keys are used and there are none.
    pub fn lacks_keys(&self, now: i64) -> bool {
        matches!(&self.keys, KeyMode::Only(keys) if !keys.are_usable(now))
    }

    /// How many exchanges with tokeninfo may run or wait.
    pub fn exchanges_max(&self) -> usize {
        self.tokeninfo.exchanges_max()
    }

    /// Metrics of tokeninfo and of the keys.
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

fn by_tokeninfo(tokeninfo: &Tokeninfo, question: &Question, deadline: Instant) -> Verification {
    let start = Instant::now();
    let by = VerifiedBy::Tokeninfo;
    let (claims, verdict) = match tokeninfo.ask(question.token, question.client, deadline) {
        Err(failure) => (None, Err(failure)),
        Ok(claims) => {
            let verdict = Identity::verify(&claims, by, &question.expected);
            let failure = |rejection| match rejection {
                Rejection::Unreadable(cause) => unavailable(format!("tokeninfo: {cause}")),
                Rejection::Invalid(reason) => Failure::Refused(reason),
            };
            (Some(claims), verdict.map_err(failure))
        }
    };
    Verification { by, claims, verdict, kid: None, took: start.elapsed() }
}

fn by_keys(keys: &Keys, question: &Question, deadline: Instant) -> Verification {
    let start = Instant::now();
    let by = VerifiedBy::Keys;
    let jws = Jws::parse(question.token.expose(), &ID_TOKEN_TYPES);
    let kid = jws.as_ref().ok().map(|jws| jws.kid().to_owned());
    let payload = jws.map_err(Failure::Refused).and_then(|jws| {
        let key = keys.find(jws.kid(), question.expected.now, deadline)?;
        jws.payload(&key).ok_or(Failure::Refused("the token's signature is wrong"))
    });
    let (claims, verdict) = match payload {
        Err(failure) => (None, Err(failure)),
        Ok(payload) => match Identity::verify(&payload, by, &question.expected) {
            Ok(identity) => (Some(payload), Ok(identity)),
            Err(Rejection::Invalid(reason)) => (Some(payload), Err(Failure::Refused(reason))),
            // Google signed the payload itself, so nothing was lost on the way.
            Err(Rejection::Unreadable(_)) => (None, Err(NOT_CLAIMS)),
        },
    };
    Verification { by, claims, verdict, kid, took: start.elapsed() }
}

const NOT_CLAIMS: Failure =
    Failure::Refused("the token's payload is not a JSON object with iss, sub, aud, iat and exp");

fn unavailable(cause: String) -> Failure {
    Failure::Unavailable { cause, retry_after: None }
}
