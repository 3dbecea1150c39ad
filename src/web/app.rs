//! The application's state, and the facts about a client that every part of it needs.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::assertion::Assertions;
use super::client_address::ClientAddress;
use super::rate_limit::RateLimiter;
use super::request_id::RequestIds;
use super::settings::{RateLimit, Settings};
use super::single_flight::SingleFlight;
use crate::google::demo::DemoGoogle;
use crate::google::{Keys, Verifier};
use crate::http::Request;
use crate::http::door::Counters;
use crate::metrics::Metrics;
use crate::store::{Client, Store};

/// The longest text from a client in a log line or a row.
const TEXT_LENGTH_MAX: usize = 256;
/// Longer parts of a path may be tokens.
const PATH_SEGMENT_LOGGED_MAX: usize = 40;

/// Anybody can post Google's security events. A post costs at most one check of a signature, and
/// Google sends a refused event again.
const GOOGLE_EVENTS_LIMIT: RateLimit = RateLimit { burst: 200, per_second: 50 };

/// Everything that handlers need.
pub struct App {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) verifier: Verifier,
    pub(super) signin_limiter: RateLimiter,
    pub(super) events_limiter: RateLimiter,
    pub(super) exchanges: SingleFlight,
    /// With --assertion.
    pub(super) assertions: Option<Assertions>,
    pub(super) metrics: Arc<Metrics>,
    /// Tells `hallpass doctor` that a response comes from a server on the database it examines.
    pub(super) instance: String,
    pub(super) request_ids: RequestIds,
    /// Set once the door is open.
    pub(super) door: OnceLock<Arc<Counters>>,
    /// Only in the demo, where its people replace Google's button on the sign-in page.
    pub(super) demo: Option<Arc<DemoGoogle>>,
}

impl App {
    /// An application with these settings, on an open database.
    pub fn new(settings: Settings, store: Store) -> App {
        let metrics = Arc::new(Metrics::default());
        let saved = store.google_keys().unwrap_or_else(|error| {
            log::warn!("cannot read the keys in the database: {error}");
            None
        });
        App {
            verifier: Verifier::new(&settings.verifier, saved, &metrics),
            metrics,
            door: OnceLock::new(),
            instance: store.instance(),
            request_ids: RequestIds::default(),
            signin_limiter: RateLimiter::new(settings.signin_limit),
            events_limiter: RateLimiter::new(GOOGLE_EVENTS_LIMIT),
            exchanges: SingleFlight::default(),
            assertions: settings.assertion.then(|| Assertions::new(settings.origin())),
            demo: None,
            settings,
            store,
        }
    }

    /// Turns it into a demo whose tokens `demo` issues.
    pub fn with_demo(mut self, demo: Arc<DemoGoogle>) -> App {
        self.demo = Some(demo);
        self
    }

    /// The settings of `serve`.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Includes the door's counters in the metrics.
    pub fn watch_door(&self, counters: Arc<Counters>) {
        // There is one door; a second call would change nothing.
        let _ = self.door.set(counters);
    }

    /// The counters of this process.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The open database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Google's keys, if they verify tokens.
    pub fn keys(&self) -> Option<&Arc<Keys>> {
        self.verifier.keys()
    }

    pub(super) fn client_address(&self, request: &Request) -> ClientAddress {
        ClientAddress::of(request, &self.settings.trusted_proxies)
    }

    /// The client, for a row of the store.
    pub(super) fn client(&self, request: &Request) -> Client {
        Client {
            address: self.client_address(request).ip().map(|address| address.to_string()),
            user_agent: request
                .header("User-Agent")
                .map(|text| text.chars().take(TEXT_LENGTH_MAX).collect()),
        }
    }
}

/// A client's text for the log: bounded, and without parts long enough to be tokens.
pub(super) fn loggable(text: &str) -> Cow<'_, str> {
    if text.len() <= PATH_SEGMENT_LOGGED_MAX {
        return text.into();
    }
    text.split('/')
        .map(|part| if part.len() > PATH_SEGMENT_LOGGED_MAX { "[long]" } else { part })
        .collect::<Vec<_>>()
        .join("/")
        .chars()
        .take(TEXT_LENGTH_MAX)
        .collect::<String>()
        .into()
}
