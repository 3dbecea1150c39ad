//! Posts events to --event-url.
//!
//! The table of events is the queue, so events made by commands are posted too. One thread reads
//! the next event from it, and posts it before it reads another. Events from before the start are
//! never posted, so a restart repeats nothing.

use std::fmt;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use url::Url;

use crate::cli::output::{json, sentence};
use crate::http_client::Client;
use crate::store::{EventKind, EventRow, StoreError};
use crate::web::App;

/// Events that may wait; beyond that, the oldest are dropped.
const WAITING_MAX: u32 = 1000;
/// The pause after the database could not be read.
const RETRY_PAUSE: Duration = Duration::from_secs(60);

/// Flags of `serve` about posting events.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Keeping")]
pub struct EventPosts {
    /// Post events to this URL as JSON, for example to a chat service. The URL is kept secret, and
    /// the log shows only its host
    #[arg(long, env = "HALLPASS_EVENT_URL", value_name = "URL", hide_env_values = true)]
    pub event_url: Option<EventUrl>,

    /// The kinds of events to post [default: all but signin and signout]
    #[arg(
        long,
        env = "HALLPASS_EVENT_KINDS",
        value_name = "KIND",
        value_delimiter = ',',
        requires = "event_url"
    )]
    pub event_kinds: Vec<EventKind>,
}

/// The value of --event-url. It is parsed later than other values: clap would show a wrong one, and
/// anybody who knows the URL can post to a chat service.
#[derive(Clone, PartialEq, Eq)]
pub struct EventUrl(String);

impl From<String> for EventUrl {
    fn from(text: String) -> EventUrl {
        EventUrl(text)
    }
}

impl fmt::Debug for EventUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("EventUrl(..)")
    }
}

impl EventUrl {
    fn parse(&self) -> Result<Url, String> {
        match Url::parse(self.0.trim()) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
                Err("--event-url takes an http or https URL".into())
            }
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                Err("--event-url takes no user name and no password".into())
            }
            Ok(url) => Ok(url),
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                Err("--event-url takes a URL such as https://chat.example.com/hooks/1, with https:// in front".into())
            }
            Err(error) => Err(format!(
                "--event-url takes a URL such as https://chat.example.com/hooks/1: {error}"
            )),
        }
    }
}

impl EventPosts {
    /// The URL of --event-url.
    ///
    /// # Errors
    /// One sentence that does not show the value.
    pub fn url(&self) -> Result<Option<Url>, String> {
        self.event_url.as_ref().map(EventUrl::parse).transpose()
    }

    fn kinds(&self) -> Vec<EventKind> {
        if !self.event_kinds.is_empty() {
            return self.event_kinds.clone();
        }
        let is_usual = |kind: &EventKind| !matches!(kind, EventKind::SignIn | EventKind::SignOut);
        EventKind::ALL.into_iter().filter(is_usual).collect()
    }
}

/// Pauses and the deadline of posting.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The pause between two searches for new events.
    pub interval: Duration,
    /// The deadline of one try.
    pub timeout: Duration,
    /// The pauses before the second and the third try.
    pub pauses: [Duration; 2],
}

impl Default for Patience {
    /// A receiver may be down for a minute. Later events wait for that long.
    fn default() -> Patience {
        Patience {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            pauses: [Duration::from_secs(10), Duration::from_secs(60)],
        }
    }
}

/// The thread that posts events.
pub struct EventPoster {
    stop: Sender<Instant>,
    stopped: Receiver<()>,
    app: Arc<App>,
}

impl EventPoster {
    /// Starts the thread if --event-url is given.
    ///
    /// # Errors
    /// If the URL is wrong, or the database cannot be read.
    pub fn start(
        options: &EventPosts,
        patience: Patience,
        app: &Arc<App>,
    ) -> Result<Option<EventPoster>, String> {
        let Some(url) = options.url()? else {
            return Ok(None);
        };
        let authorities = &app.settings().verifier.tokeninfo.authorities;
        let (stop, stop_requests) = mpsc::channel();
        let (running, stopped) = mpsc::channel();
        let posting = Posting {
            client: Client::new(&url, authorities.as_ref(), "the receiver of events", 1),
            host: url.host_str().unwrap_or_default().to_owned(),
            kinds: options.kinds(),
            patience,
            last_id: app.store().newest_event_id().map_err(|error| error.to_string())?,
            app: Arc::downgrade(app),
            stop_requests,
            stop_at: None,
        };
        posting.count(0, 0);
        thread::spawn(move || {
            let _running = running;
            posting.run();
        });
        Ok(Some(EventPoster { stop, stopped, app: app.clone() }))
    }

    /// Posts the waiting events until a post fails, and returns by the deadline.
    pub fn stop(self, deadline: Instant) {
        // The last requests may have recorded events that are not written yet.
        self.app.store().flush();
        // If the thread has ended, there is nothing to stop.
        let _ = self.stop.send(deadline);
        let patience = deadline.saturating_duration_since(Instant::now());
        if self.stopped.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            log::warn!("an event is still being posted");
        }
    }
}

/// The state of the thread.
struct Posting {
    client: Client,
    /// For the log. The rest of the URL is secret.
    host: String,
    kinds: Vec<EventKind>,
    patience: Patience,
    /// The last event that was posted or dropped.
    last_id: i64,
    app: Weak<App>,
    stop_requests: Receiver<Instant>,
    /// When stopping, the end of the grace period.
    stop_at: Option<Instant>,
}

impl Posting {
    fn run(mut self) {
        loop {
            self.wait(Duration::ZERO);
            match self.next() {
                Ok(Some(event)) if self.post(&event) => self.count(1, 0),
                Ok(Some(_)) => self.count(0, 1),
                Ok(None) | Err(_) if self.stop_at.is_some() => return,
                Ok(None) => self.wait(self.patience.interval),
                Err(error) => {
                    log::warn!("cannot read the events to post: {error}");
                    self.wait(RETRY_PAUSE);
                }
            }
            if self.stop_at.is_some_and(|at| at <= Instant::now()) {
                return log::warn!("stopping before all events are posted to {}", self.host);
            }
        }
    }

    /// The next event. It counts as handled from now on.
    fn next(&mut self) -> Result<Option<EventRow>, StoreError> {
        // Not held during a post, which may take seconds.
        let Some(app) = self.app.upgrade() else { return Ok(None) };
        let next = app.store().next_event(&self.kinds, self.last_id, WAITING_MAX)?;
        self.last_id = next.last_id;
        if next.skipped > 0 {
            log::warn!(
                "{} events are dropped: more than {WAITING_MAX} wait to be posted to {}",
                next.skipped,
                self.host
            );
            self.count(0, next.skipped);
        }
        Ok(next.event)
    }

    /// Whether the receiver took the event. When stopping, there is one try.
    fn post(&mut self, event: &EventRow) -> bool {
        let mut document = json::event(event);
        document["text"] = sentence::of(event).into();
        let body = document.to_string();
        let mut pauses = self.patience.pauses.into_iter();
        loop {
            let why = match self.client.post(&body, self.deadline()).map(|answer| answer.status) {
                Ok(200..=299) => return true,
                Ok(status) => format!("the receiver of events answered {status}"),
                Err(why) => why,
            };
            let pause = pauses.next().filter(|_| self.stop_at.is_none());
            let Some(pause) = pause else {
                log::warn!("event {} is not posted to {}: {why}", event.id, self.host);
                // The other events would fail too.
                self.stop_at = self.stop_at.map(|_| Instant::now());
                return false;
            };
            log::debug!("event {} is posted to {} again: {why}", event.id, self.host);
            self.wait(pause);
        }
    }

    fn deadline(&self) -> Instant {
        let deadline = Instant::now() + self.patience.timeout;
        self.stop_at.map_or(deadline, |at| at.min(deadline))
    }

    /// Waits that long, or until it must stop.
    fn wait(&mut self, pause: Duration) {
        match self.stop_requests.recv_timeout(pause) {
            Ok(deadline) => self.stop_at = Some(deadline),
            // Without an application, there is nothing to post.
            Err(RecvTimeoutError::Disconnected) => self.stop_at = Some(Instant::now()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }

    fn count(&self, posted: u64, dropped: u64) {
        if let Some(app) = self.app.upgrade() {
            app.metrics().count_event_posts(posted, dropped);
        }
    }
}
