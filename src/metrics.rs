//! Metrics in the text format of Prometheus.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::clock;

/// Upper bounds in seconds. Checks take microseconds; a sign-in waits for Google and the disk.
const REQUEST_SECONDS: [f64; 11] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Upper bounds in seconds. Google usually takes 50 to 200 ms.
const CALL_SECONDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4];

/// How many calls to Google are remembered individually: a few KiB.
const CALLS_KEPT: usize = 200;

/// All of them are shown from the start, so a rate can be taken of a first event.
const GOOGLE_EVENT_OUTCOMES: [&str; 6] =
    ["applied", "repeated", "unknown", "invalid", "limited", "unavailable"];

/// Counters for the life of the process.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    signins: IntCounterVec,
    unrecorded_refusals: IntCounter,
    google_events: IntCounterVec,
    verified: IntCounterVec,
    calls: IntCounterVec,
    call_seconds: Histogram,
    last_calls: Mutex<VecDeque<Call>>,
    keys_fetches: IntCounterVec,
    backups: IntCounterVec,
    event_posts: IntCounterVec,
    backups_on_schedule: Mutex<Option<BackupStatus>>,
    started_at: i64,
}

/// The backups that the server makes on schedule.
#[derive(Debug, Clone, Copy)]
pub struct BackupStatus {
    /// When the newest existing one was made, in unix seconds.
    pub newest: Option<i64>,
    /// Whether the latest attempt failed.
    pub has_failed: bool,
}

/// How a call to tokeninfo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    /// 200.
    Ok,
    /// 400: Google works and refuses the token.
    Refused,
    /// Anything else.
    Failed,
}

/// A call to tokeninfo.
#[derive(Debug, Clone)]
pub struct Call {
    /// How it ended.
    pub result: CallResult,
    /// The cause of a failure, without any part of the token. Empty unless the call failed.
    pub failure: String,
    /// How long it took.
    pub duration: Duration,
    /// When it ended, in unix seconds.
    pub at: i64,
}

impl CallResult {
    /// Its name in metrics and in /readyz.
    pub fn as_str(self) -> &'static str {
        match self {
            CallResult::Ok => "ok",
            CallResult::Refused => "refused",
            CallResult::Failed => "failed",
        }
    }
}

/// A value that is read when the metrics are requested.
#[derive(Debug)]
pub struct Reading {
    /// The metric's name.
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// Its values, each with an optional value of the label `reason`.
    pub values: Vec<(Option<&'static str>, f64)>,
}

impl Reading {
    /// A value that goes up and down.
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Reading {
        Reading { name, help, is_counter: false, values: vec![(None, value as f64)] }
    }

    /// A value that only grows.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Reading {
        Reading { name, help, is_counter: true, values: vec![(None, value as f64)] }
    }

    /// A time in seconds that only grows.
    pub fn seconds(name: &'static str, help: &'static str, value: Duration) -> Reading {
        Reading { name, help, is_counter: true, values: vec![(None, value.as_secs_f64())] }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let registry = Registry::new();
        let build = Opts::new("hallpass_build_info", "The running version")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        gauges(&registry, build, &[]).with_label_values::<&str>(&[]).set(1);
        let counters =
            |name, help, labels: &[_]| counters(&registry, Opts::new(name, help), labels);
        let refusals = counters(
            "hallpass_refusals_unrecorded_total",
            "Refusals counted but not recorded as events",
            &[],
        );
        let google_events = counters(
            "hallpass_google_events_total",
            "Security events received from Google",
            &["outcome"],
        );
        for outcome in GOOGLE_EVENT_OUTCOMES {
            google_events.with_label_values(&[outcome]);
        }
        Metrics {
            requests: counters(
                "hallpass_http_requests_total",
                "Requests answered",
                &["route", "status"],
            ),
            request_seconds: histograms(
                &registry,
                "hallpass_http_request_duration_seconds",
                "Time to an answer",
                &REQUEST_SECONDS,
                &["route"],
            ),
            signins: counters("hallpass_signins_total", "Attempts to sign in", &["outcome"]),
            unrecorded_refusals: refusals.with_label_values::<&str>(&[]),
            google_events,
            verified: counters(
                "hallpass_signins_verified_total",
                "Sign-ins by how the token was verified",
                &["by"],
            ),
            calls: counters("hallpass_tokeninfo_calls_total", "Calls to Google", &["result"]),
            call_seconds: histograms(
                &registry,
                "hallpass_tokeninfo_call_duration_seconds",
                "Time to Google's answer",
                &CALL_SECONDS,
                &[],
            )
            .with_label_values::<&str>(&[]),
            last_calls: Mutex::default(),
            keys_fetches: counters(
                "hallpass_keys_fetches_total",
                "Fetches of Google's keys",
                &["result"],
            ),
            backups: counters(
                "hallpass_backups_total",
                "Backups made by the server on schedule",
                &["result"],
            ),
            event_posts: counters(
                "hallpass_event_posts_total",
                "Events posted to --event-url, or dropped instead",
                &["result"],
            ),
            backups_on_schedule: Mutex::default(),
            started_at: clock::now(),
            registry,
        }
    }
}

impl Metrics {
    /// Counts an answered request. `route` is one of a few names, never client input.
    pub fn count_request(&self, route: &'static str, status: u16, duration: Duration) {
        self.requests.with_label_values(&[route, &status.to_string()]).inc();
        self.request_seconds.with_label_values(&[route]).observe(duration.as_secs_f64());
    }

    /// Counts an attempt to sign in, by post or by an unknown bearer.
    pub fn count_signin(&self, outcome: &'static str) {
        self.signins.with_label_values(&[outcome]).inc();
    }

    /// Counts a refusal that exceeded the budget for events.
    pub fn count_unrecorded_refusal(&self) {
        self.unrecorded_refusals.inc();
    }

    /// Counts a post to /auth/google/events by its outcome.
    pub fn count_google_event(&self, outcome: &'static str) {
        self.google_events.with_label_values(&[outcome]).inc();
    }

    /// Counts a sign-in by how its token was verified.
    pub fn count_verified(&self, by: &'static str) {
        self.verified.with_label_values(&[by]).inc();
    }

    /// Counts a fetch of Google's keys.
    pub fn count_keys_fetch(&self, result: &'static str) {
        self.keys_fetches.with_label_values(&[result]).inc();
    }

    /// Counts a call to Google.
    pub fn count_call(&self, call: Call) {
        self.calls.with_label_values(&[call.result.as_str()]).inc();
        self.call_seconds.observe(call.duration.as_secs_f64());
        let mut last = self.last_calls.lock().unwrap_or_else(PoisonError::into_inner);
        last.truncate(CALLS_KEPT - 1);
        last.push_front(call);
    }

    /// The last calls to Google, latest first.
    pub fn last_calls(&self) -> Vec<Call> {
        self.last_calls.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Result and time of the last call to Google.
    pub fn last_call(&self) -> Option<(CallResult, i64)> {
        let last = self.last_calls.lock().unwrap_or_else(PoisonError::into_inner);
        last.front().map(|call| (call.result, call.at))
    }

    /// Counts backups, and notes when the newest existing one was made (unix seconds).
    pub fn count_backups(&self, made: u64, failed: u64, newest: Option<i64>) {
        for (result, number) in [("ok", made), ("failed", failed)] {
            self.backups.with_label_values(&[result]).inc_by(number);
        }
        let mut status = self.backups_on_schedule.lock().unwrap_or_else(PoisonError::into_inner);
        let had_failed = status.is_some_and(|status| status.has_failed);
        *status =
            Some(BackupStatus { newest, has_failed: failed > 0 || (had_failed && made == 0) });
    }

    /// Counts events that were posted, and events that were dropped instead.
    pub fn count_event_posts(&self, posted: u64, dropped: u64) {
        for (result, number) in [("ok", posted), ("dropped", dropped)] {
            self.event_posts.with_label_values(&[result]).inc_by(number);
        }
    }

    /// The backups on schedule; `None` without --backup-dir.
    pub fn backup_status(&self) -> Option<BackupStatus> {
        *self.backups_on_schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of the newest backup, if backups are scheduled and there is one.
    pub fn last_backup(&self) -> Option<Reading> {
        let at = self.backup_status()?.newest?;
        let help = "When the newest backup was made, in unix seconds";
        Some(Reading::gauge(
            "hallpass_backup_last_success_timestamp_seconds",
            help,
            at.unsigned_abs(),
        ))
    }

    /// When counting began, which is when the process started.
    pub fn start_time(&self) -> Reading {
        let seconds = self.started_at.unsigned_abs();
        Reading::gauge(
            "process_start_time_seconds",
            "When the process started, in unix seconds",
            seconds,
        )
    }

    /// All counters and readings in version 0.0.4 of Prometheus' text format.
    pub fn exposition(&self, readings: Vec<Reading>) -> String {
        let registry = Registry::new();
        for reading in readings {
            reading.register(&registry);
        }
        let families = [self.registry.gather(), registry.gather()].concat();
        TextEncoder.encode_to_string(&families).expect("no metric is empty")
    }
}

impl Reading {
    fn register(self, registry: &Registry) {
        let labels: &[&str] = if let [(None, _)] = self.values[..] { &[] } else { &["reason"] };
        let options = Opts::new(self.name, self.help);
        if self.is_counter {
            let counters = registered(registry, CounterVec::new(options, labels));
            for (reason, value) in self.values {
                counters.with_label_values(reason.as_slice()).inc_by(value);
            }
        } else {
            let gauges = registered(registry, GaugeVec::new(options, labels));
            for (reason, value) in self.values {
                gauges.with_label_values(reason.as_slice()).set(value);
            }
        }
    }
}

fn counters(registry: &Registry, options: Opts, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(options, labels))
}

fn gauges(registry: &Registry, options: Opts, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(options, labels))
}

fn histograms(
    registry: &Registry,
    name: &str,
    help: &str,
    bounds: &[f64],
    labels: &[&str],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(bounds.to_vec());
    registered(registry, HistogramVec::new(options, labels))
}

fn registered<T: Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<T>,
) -> T {
    let metric = metric.expect("its name is valid");
    registry.register(Box::new(metric.clone())).expect("its name is unique");
    metric
}
