//! Google's public keys, kept fresh: fetched ahead of time, again for a key never heard of, and good for a day more
//! when Google is away.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use super::client::{Authorities, Client};
use super::freshness::fresh_seconds;
use super::jwks::{KeySet, RsaKey};
use crate::metrics::{Metrics, Reading};
use crate::published_keys::PublishedKeys;

/// Seconds that keys last whose answer does not say how long.
const LIFETIME_SECONDS_OTHERWISE: u64 = 60 * 60;
/// Seconds that keys last at least, and between two fetches: whatever an answer or an attacker says.
const LIFETIME_SECONDS_MIN: u64 = 60;
/// Seconds that keys last at most.
const LIFETIME_SECONDS_MAX: u64 = 24 * 60 * 60;
/// Seconds that keys go on counting after they ran out, while no new ones can be had.
const GRACE_SECONDS: i64 = 24 * 60 * 60;
/// Seconds between two fetches of our own accord while no keys count: a machine may start before its network.
const RETRY_SECONDS: u64 = 5;
/// Fetches are few.
const CONNECTIONS: usize = 1;

/// Google's keys, and where they come from.
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

/// A fetch that has ended.
struct Fetch {
    at: i64,
    failure: Option<String>,
}

/// Why there is no key.
#[derive(Debug)]
pub enum KeyError {
    /// Google has no key of that name.
    Unknown,
    /// Google's current keys are not known. Says nothing about the token.
    Unavailable {
        /// What is missing.
        cause: String,
        /// Seconds until the keys may be fetched again, if that is what is waited for.
        retry_after: Option<u64>,
    },
}

impl Keys {
    /// The keys at that address. A fetch may take as long as an exchange with tokeninfo. `saved` is what an earlier
    /// process had, if it was from there.
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
            set.inspect_err(|error| log::warn!("the keys in the database are of no use: {error}"))
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

    /// The key of that name. An unknown name causes a fetch, at most one a minute, which all who wait for it share.
    ///
    /// # Errors
    /// `KeyError::Unknown` if Google has no such key, which only a fetch that began after the question can tell;
    /// otherwise `KeyError::Unavailable`.
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

    /// Fetches the keys if it is time to: when three quarters of their life have passed. What fails is tried again after
    /// a minute; while there are no keys that count, and so nobody can sign in, after seconds.
    pub fn refresh(&self, now: i64) {
        let state = self.lock();
        let is_fresh = state.current.as_ref().is_some_and(|current| current.fresh().contains(&now));
        let pause = if state.usable(now).is_some() { LIFETIME_SECONDS_MIN } else { RETRY_SECONDS };
        if !is_fresh && !state.fetching && state.may_fetch(now, pause) {
            drop(self.fetch(state, now, Instant::now() + self.timeout));
        }
    }

    /// The keys as they came last.
    pub fn published(&self) -> Option<PublishedKeys> {
        self.lock().current.as_ref().map(|current| current.published.clone())
    }

    /// Whether there are keys that count.
    pub fn are_usable(&self, now: i64) -> bool {
        self.lock().usable(now).is_some()
    }

    /// What there is, for machines. Times are unix seconds.
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

    /// How many keys count, and how old they are.
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
        [Reading::gauge("hallpass_keys", "Keys of Google's that count", count as u64)]
            .into_iter()
            .chain(age)
            .collect()
    }

    /// Fetches the keys, with the state unlocked meanwhile. If it fails, those there are stay.
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
                    "{} keys of Google's, for {} s",
                    found.set.sizes().len(),
                    found.lifetime_seconds
                );
                state.current = Some(Current { set: found.set, published });
            }
            Err(cause) => {
                let rest = match state.usable(now) {
                    Some(_) => "those known go on counting, until a day after they ran out",
                    None => "no others are known",
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

    /// A clock that was set back or forth by more than the pause does not keep us from fetching.
    fn may_fetch(&self, now: i64, pause_seconds: u64) -> bool {
        self.last_fetch.as_ref().is_none_or(|fetch| now.abs_diff(fetch.at) >= pause_seconds)
    }

    /// Seconds until an unknown name may cause a fetch.
    fn seconds_to_fetch(&self, now: i64) -> Option<u64> {
        let since = now.abs_diff(self.last_fetch.as_ref()?.at);
        Some(LIFETIME_SECONDS_MIN.saturating_sub(since).max(1))
    }
}

impl Current {
    /// From when to when no other keys are needed; a clock that was set back leaves it.
    fn fresh(&self) -> Range<i64> {
        let PublishedKeys { fetched_at, expires_at, .. } = self.published;
        let lifetime = expires_at.saturating_sub(fetched_at);
        fetched_at.saturating_sub(LIFETIME_SECONDS_MIN as i64)
            ..fetched_at.saturating_add(lifetime.saturating_mul(3) / 4)
    }
}

/// What an endpoint of Google's keys said.
#[derive(Debug)]
pub struct FetchedKeys {
    /// The good keys in it.
    pub set: KeySet,
    /// Seconds until they should be fetched again.
    pub lifetime_seconds: u64,
    /// The `Date` of the answer, in unix seconds.
    pub date: Option<i64>,
    document: String,
}

/// Fetches the keys at that address once, by the deadline.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn fetch_keys(
    url: &Url,
    authorities: Option<&Authorities>,
    now: i64,
    deadline: Instant,
) -> Result<FetchedKeys, String> {
    request(&Client::new(url, authorities, NAME, CONNECTIONS), now, deadline)
}

/// What errors call the endpoint.
const NAME: &str = "the key endpoint";

fn request(client: &Client, now: i64, deadline: Instant) -> Result<FetchedKeys, String> {
    let mut answer = client.get(&[], deadline)?;
    if answer.status != 200 {
        return Err(format!("{NAME} answered with status {}", answer.status));
    }
    let body = std::mem::replace(&mut answer.body, Ok(Vec::new()))?;
    let set = KeySet::parse(&body).map_err(|error| format!("{NAME}: {error}"))?;
    let document =
        String::from_utf8(body).map_err(|_| format!("{NAME} answered with what is not UTF-8"))?;
    let lifetime = fresh_seconds(&answer, LIFETIME_SECONDS_OTHERWISE, now);
    let lifetime_seconds = lifetime.clamp(LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX);
    Ok(FetchedKeys { set, lifetime_seconds, date: answer.date(), document })
}
