//! Keeps Google's public keys fresh.
//!
//! Keys are fetched ahead of time, and again when a token names an unknown key. If Google is
//! unavailable, they stay usable for a day after they expire.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use super::jwks::{KeySet, RsaKey};
use crate::http_client::{Authorities, Client, fresh_seconds};
use crate::metrics::{Metrics, Reading};
use crate::published_keys::PublishedKeys;

/// Lifetime of keys if the response does not name one.
const LIFETIME_SECONDS_OTHERWISE: u64 = 60 * 60;
/// Minimum lifetime, and time between two fetches, whatever a response or an attacker says.
const LIFETIME_SECONDS_MIN: u64 = 60;
/// Maximum lifetime.
const LIFETIME_SECONDS_MAX: u64 = 24 * 60 * 60;
/// How long expired keys stay usable while no new ones can be fetched.
const GRACE_SECONDS: i64 = 24 * 60 * 60;
/// Time between background fetches while there are no usable keys: a machine may start before its
/// network.
const RETRY_SECONDS: u64 = 5;
/// Fetches are rare.
const CONNECTIONS: usize = 1;

/// Google's keys and where they come from.
pub struct Keys {
    client: Client,
    url: String,
    timeout: Duration,
    state: Mutex<State>,
    fetched: Condvar,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    last_fetch: Option<Fetch>,
    fetching: bool,
}

struct Current {
    set: KeySet,
    published: PublishedKeys,
}

/// A finished fetch.
struct Fetch {
    at: i64,
    failure: Option<String>,
}

/// Why there is no key.
#[derive(Debug)]
pub enum KeyError {
    /// Google has no key with that `kid`.
    Unknown,
    /// Google's current keys are not known. This says nothing about the token.
    Unavailable {
        /// What is missing.
        cause: String,
        /// Seconds until the next fetch, if that may help.
        retry_after: Option<u64>,
    },
}

impl Keys {
    /// Keys to be fetched from `url`, each fetch within `timeout`. `saved` is what an earlier
    /// process fetched; it is ignored if it comes from another address.
    pub fn new(
        url: &Url,
        authorities: Option<&Authorities>,
        timeout: Duration,
        saved: Option<PublishedKeys>,
        metrics: Arc<Metrics>,
    ) -> Keys {
        let saved = saved.filter(|saved| saved.url == url.as_str());
        let current = saved.and_then(|mut published| {
            let latest = published.fetched_at.saturating_add(LIFETIME_SECONDS_MAX as i64);
            published.expires_at = published.expires_at.min(latest);
            let set = KeySet::parse(published.document.as_bytes());
            set.inspect_err(|error| log::warn!("the saved keys cannot be used: {error}"))
                .map(|set| Current { set, published })
                .ok()
        });
        Keys {
            client: Client::new(url, authorities, NAME, CONNECTIONS),
            url: url.to_string(),
            timeout,
            state: Mutex::new(State { current, ..State::default() }),
            fetched: Condvar::new(),
            metrics,
        }
    }

    /// The key with that `kid`. An unknown `kid` causes a fetch, at most one a minute, which all
    /// waiting callers share.
    ///
    /// # Errors
    /// `KeyError::Unknown` if Google has no such key, which only a fetch begun after the question
    /// can tell. Otherwise `KeyError::Unavailable`.
    pub fn find(&self, kid: &str, now: i64, deadline: Instant) -> Result<Arc<RsaKey>, KeyError> {
        let mut state = self.lock();
        let mut is_answered = false;
        if state.usable(now).and_then(|current| current.set.find(kid)).is_none() {
            if state.fetching {
                let patience = deadline.saturating_duration_since(Instant::now());
                let waited =
                    self.fetched.wait_timeout_while(state, patience, |state| state.fetching);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else if state.may_fetch(now, LIFETIME_SECONDS_MIN) {
                state = self.fetch(state, now, deadline);
                is_answered = true;
            }
        }
        let failure = state.last_fetch.as_ref().and_then(|fetch| fetch.failure.as_deref());
        let failure = failure.map(|failure| format!(": {failure}")).unwrap_or_default();
        let Some(current) = state.usable(now) else {
            let cause = format!("Google's keys are not known{failure}");
            return Err(KeyError::Unavailable { cause, retry_after: None });
        };
        match current.set.find(kid) {
            Some(key) => Ok(key),
            None if is_answered && failure.is_empty() => Err(KeyError::Unknown),
            None => {
                let cause = format!("the token names a key that is not known yet{failure}");
                Err(KeyError::Unavailable { cause, retry_after: state.seconds_to_fetch(now) })
            }
        }
    }

    /// Fetches the keys if three quarters of their lifetime have passed. A failed fetch is tried
    /// again after a minute, or after seconds while there are no usable keys and so nobody can sign
    /// in.
    pub fn refresh(&self, now: i64) {
        let state = self.lock();
        let is_fresh = state.current.as_ref().is_some_and(|current| current.fresh().contains(&now));
        let pause = if state.usable(now).is_some() { LIFETIME_SECONDS_MIN } else { RETRY_SECONDS };
        if !is_fresh && !state.fetching && state.may_fetch(now, pause) {
            drop(self.fetch(state, now, Instant::now() + self.timeout));
        }
    }

    /// The keys as last fetched.
    pub fn published(&self) -> Option<PublishedKeys> {
        self.lock().current.as_ref().map(|current| current.published.clone())
    }

    /// Whether there are usable keys.
    pub fn are_usable(&self, now: i64) -> bool {
        self.lock().usable(now).is_some()
    }

    /// The state of the keys as JSON. Times are unix seconds.
    pub fn status(&self, now: i64) -> Value {
        let state = self.lock();
        let published = state.current.as_ref().map(|current| &current.published);
        json!({
            "count": state.usable(now).map_or(0, |current| current.set.sizes().len()),
            "fetched_at": published.map(|published| published.fetched_at),
            "expires_at": published.map(|published| published.expires_at),
            "last_fetch": state.last_fetch.as_ref().map(|fetch| if fetch.failure.is_none() { "ok" } else { "failed" }),
        })
    }

    /// How many keys are usable and how old they are.
    pub fn readings(&self, now: i64) -> Vec<Reading> {
        let state = self.lock();
        let count = state.usable(now).map_or(0, |current| current.set.sizes().len());
        let age =
            state.current.as_ref().map(|current| now.saturating_sub(current.published.fetched_at));
        let age = age.map(|age| {
            Reading::gauge(
                "hallpass_keys_age_seconds",
                "Time since Google's keys were fetched",
                age.max(0).unsigned_abs(),
            )
        });
        [Reading::gauge("hallpass_keys", "Usable keys of Google", count as u64)]
            .into_iter()
            .chain(age)
            .collect()
    }

    /// Fetches the keys and leaves the state unlocked meanwhile. If it fails, the old keys stay.
    fn fetch<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        now: i64,
        deadline: Instant,
    ) -> MutexGuard<'a, State> {
        state.fetching = true;
        drop(state);
        let outcome = request(&self.client, now, deadline);
        self.metrics.count_keys_fetch(if outcome.is_ok() { "ok" } else { "failed" });
        let mut state = self.lock();
        state.fetching = false;
        state.last_fetch = Some(Fetch { at: now, failure: outcome.as_ref().err().cloned() });
        match outcome {
            Ok(found) => {
                let published = PublishedKeys {
                    url: self.url.clone(),
                    document: found.document,
                    fetched_at: now,
                    expires_at: now.saturating_add(found.lifetime_seconds as i64),
                };
                log::debug!(
                    "fetched {} of Google's keys, valid for {} s",
                    found.set.sizes().len(),
                    found.lifetime_seconds
                );
                state.current = Some(Current { set: found.set, published });
            }
            Err(cause) => {
                let rest = match state.usable(now) {
                    Some(_) => "the known keys stay usable until a day after they expire",
                    None => "there are no others",
                };
                log::warn!("Google's keys could not be fetched; {rest}: {cause}");
            }
        }
        self.fetched.notify_all();
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn usable(&self, now: i64) -> Option<&Current> {
        let last = |current: &Current| current.published.expires_at.saturating_add(GRACE_SECONDS);
        self.current.as_ref().filter(|current| now < last(current))
    }

    /// A clock that was set back or forward by more than the pause does not prevent a fetch.
    fn may_fetch(&self, now: i64, pause_seconds: u64) -> bool {
        self.last_fetch.as_ref().is_none_or(|fetch| now.abs_diff(fetch.at) >= pause_seconds)
    }

    /// Seconds until an unknown `kid` may cause a fetch.
    fn seconds_to_fetch(&self, now: i64) -> Option<u64> {
        let since = now.abs_diff(self.last_fetch.as_ref()?.at);
        Some(LIFETIME_SECONDS_MIN.saturating_sub(since).max(1))
    }
}

impl Current {
    /// The time during which no fetch is needed. It ends if the clock is set back.
    fn fresh(&self) -> Range<i64> {
        let PublishedKeys { fetched_at, expires_at, .. } = self.published;
        let lifetime = expires_at.saturating_sub(fetched_at);
        fetched_at.saturating_sub(LIFETIME_SECONDS_MIN as i64)
            ..fetched_at.saturating_add(lifetime.saturating_mul(3) / 4)
    }
}

/// The response of a key endpoint.
#[derive(Debug)]
pub struct FetchedKeys {
    /// The usable keys.
    pub set: KeySet,
    /// Seconds until the keys should be fetched again.
    pub lifetime_seconds: u64,
    /// The `Date` of the response, in unix seconds.
    pub date: Option<i64>,
    document: String,
}

/// Fetches the keys from `url` once, by the deadline.
///
/// # Errors
/// One sentence that says what is wrong.
pub fn fetch_keys(
    url: &Url,
    authorities: Option<&Authorities>,
    now: i64,
    deadline: Instant,
) -> Result<FetchedKeys, String> {
    request(&Client::new(url, authorities, NAME, CONNECTIONS), now, deadline)
}

/// The name of the endpoint in errors.
const NAME: &str = "the key endpoint";

fn request(client: &Client, now: i64, deadline: Instant) -> Result<FetchedKeys, String> {
    let mut answer = client.get(&[], deadline)?;
    if answer.status != 200 {
        return Err(format!("{NAME} answered with status {}", answer.status));
    }
    let body = std::mem::replace(&mut answer.body, Ok(Vec::new()))?;
    let set = KeySet::parse(&body).map_err(|error| format!("{NAME}: {error}"))?;
    let document =
        String::from_utf8(body).map_err(|_| format!("{NAME} sent a body that is not UTF-8"))?;
    let lifetime = fresh_seconds(&answer, LIFETIME_SECONDS_OTHERWISE, now);
    let lifetime_seconds = lifetime.clamp(LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX);
    Ok(FetchedKeys { set, lifetime_seconds, date: answer.date(), document })
}
