//! Google's public keys, kept fresh: fetched ahead of time, again for a key never heard of, and good for a day more
//! when Google is away.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::Url;

use super::client::{Answer, Client};
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
    succeeded: bool,
}

/// Why there is no key.
#[derive(Debug)]
pub enum KeyError {
    /// Google has no key of that name.
    Unknown,
    /// Google's keys of today are not known, for that reason. Says nothing about the token.
    Unavailable(String),
}

impl Keys {
    /// The keys at that address. A fetch may take as long as an exchange with tokeninfo. `saved` is what an earlier
    /// process had, if it was from there.
    pub fn new(
        url: &Url,
        timeout: Duration,
        saved: Option<PublishedKeys>,
        metrics: Arc<Metrics>,
    ) -> Keys {
        let saved = saved.filter(|saved| saved.url == url.as_str());
        let current = saved.and_then(|published| {
            let set = KeySet::parse(published.document.as_bytes());
            set.inspect_err(|error| log::warn!("the keys in the database are of no use: {error}"))
                .map(|set| Current { set, published })
                .ok()
        });
        Keys {
            client: Client::new(url, NAME, CONNECTIONS),
            url: url.to_string(),
            timeout,
            state: Mutex::new(State { current, ..State::default() }),
            fetched: Condvar::new(),
            metrics,
        }
    }

    /// The key of that name. One never heard of brings a fetch, at most one a minute, which all who wait for it share.
    ///
    /// # Errors
    /// `KeyError::Unknown` if Google has none of that name, `KeyError::Unavailable` if nobody can tell.
    pub fn find(&self, kid: &str, now: i64, deadline: Instant) -> Result<Arc<RsaKey>, KeyError> {
        let mut state = self.lock();
        if let Some(key) = state.usable(now).and_then(|current| current.set.find(kid)) {
            return Ok(key);
        }
        if state.fetching {
            let patience = deadline.saturating_duration_since(Instant::now());
            let waited = self.fetched.wait_timeout_while(state, patience, |state| state.fetching);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        } else if state.may_fetch(now, LIFETIME_SECONDS_MIN) {
            state = self.fetch(state, now, deadline);
        }
        let current =
            state.usable(now).ok_or(KeyError::Unavailable("Google's keys are not known".into()))?;
        match current.set.find(kid) {
            Some(key) => Ok(key),
            None if state.knows_of_today() => Err(KeyError::Unknown),
            None => Err(KeyError::Unavailable(
                "the token names a key not heard of, and Google's keys cannot be fetched".into(),
            )),
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
            "last_fetch": state.last_fetch.as_ref().map(|fetch| if fetch.succeeded { "ok" } else { "failed" }),
        })
    }

    /// How many keys count, and how old they are.
    pub fn readings(&self, now: i64) -> Vec<Reading> {
        let state = self.lock();
        let count = state.usable(now).map_or(0, |current| current.set.sizes().len());
        let age = state.current.as_ref().map(|current| now - current.published.fetched_at);
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
        let outcome = ask(&self.client, deadline);
        self.metrics.count_keys_fetch(if outcome.is_ok() { "ok" } else { "failed" });
        let mut state = self.lock();
        state.fetching = false;
        state.last_fetch = Some(Fetch { at: now, succeeded: outcome.is_ok() });
        match outcome {
            Ok(found) => {
                let published = PublishedKeys {
                    url: self.url.clone(),
                    document: found.document,
                    fetched_at: now,
                    expires_at: now + found.lifetime_seconds as i64,
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
        self.current.as_ref().filter(|current| now < current.published.expires_at + GRACE_SECONDS)
    }

    /// A clock that was set back or forth by more than the pause does not keep us from fetching.
    fn may_fetch(&self, now: i64, pause_seconds: u64) -> bool {
        self.last_fetch.as_ref().is_none_or(|fetch| now.abs_diff(fetch.at) >= pause_seconds)
    }

    /// Whether what is not among the keys is no key of Google's: nobody waits for an answer, and the last was good.
    fn knows_of_today(&self) -> bool {
        !self.fetching && self.last_fetch.as_ref().is_some_and(|fetch| fetch.succeeded)
    }
}

impl Current {
    /// From when to when no other keys are needed; a clock that was set back leaves it.
    fn fresh(&self) -> Range<i64> {
        let PublishedKeys { fetched_at, expires_at, .. } = self.published;
        fetched_at - LIFETIME_SECONDS_MIN as i64..fetched_at + (expires_at - fetched_at) * 3 / 4
    }
}

/// What an endpoint of Google's keys said.
#[derive(Debug)]
pub struct FetchedKeys {
    /// The good keys in it.
    pub set: KeySet,
    /// Seconds until they should be fetched again.
    pub lifetime_seconds: u64,
    /// The `Date` of the answer, as sent.
    pub date: Option<String>,
    document: String,
}

/// Fetches the keys at that address once, is done by the deadline, and says what came.
///
/// # Errors
/// What is wrong, in one sentence.
pub fn find_keys(url: &Url, deadline: Instant) -> Result<FetchedKeys, String> {
    ask(&Client::new(url, NAME, CONNECTIONS), deadline)
}

/// What errors call the endpoint.
const NAME: &str = "the key endpoint";

fn ask(client: &Client, deadline: Instant) -> Result<FetchedKeys, String> {
    let mut answer = client.get(&[], deadline)?;
    if answer.status != 200 {
        return Err(format!("{NAME} answered with status {}", answer.status));
    }
    let body = std::mem::replace(&mut answer.body, Ok(Vec::new()))?;
    let set = KeySet::parse(&body).map_err(|error| format!("{NAME}: {error}"))?;
    let document =
        String::from_utf8(body).map_err(|_| format!("{NAME} answered with what is not UTF-8"))?;
    let date = answer.fields("Date").next().map(str::to_owned);
    Ok(FetchedKeys { set, lifetime_seconds: lifetime_seconds(&answer), date, document })
}

/// How long an answer holds: max-age of Cache-Control less Age, RFC 9111, section 4.2.
fn lifetime_seconds(answer: &Answer) -> u64 {
    let seconds = |text: &str| text.trim().parse::<u64>().ok();
    let max_age =
        answer.fields("Cache-Control").flat_map(|field| field.split(',')).find_map(|directive| {
            let (name, value) = directive.trim().split_once('=')?;
            name.eq_ignore_ascii_case("max-age").then(|| seconds(value))?
        });
    let age = answer.fields("Age").find_map(seconds).unwrap_or(0);
    let lifetime =
        max_age.map_or(LIFETIME_SECONDS_OTHERWISE, |max_age| max_age.saturating_sub(age));
    lifetime.clamp(LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX)
}
