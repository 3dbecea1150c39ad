//! Metrics in the text format of Prometheus.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::clock;

/// Upper bounds in seconds. Checks take microseconds; a sign-in waits for Google and the disk.
const REQUEST_SECONDS: [f64; 11] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Upper bounds in seconds. Google usually takes 50 to 200 ms.
const CALL_SECONDS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4];

/// How many calls to Google are remembered individually: a few KiB.
const CALLS_KEPT: usize = 200;

/// Counters for the life of the process.
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<Label, Histogram, fn() -> Histogram>,
    signins: Family<Label, Counter>,
    unrecorded_refusals: Counter,
    verified: Family<Label, Counter>,
    calls: Family<Label, Counter>,
    call_seconds: Histogram,
    last_calls: Mutex<VecDeque<Call>>,
    keys_fetches: Family<Label, Counter>,
    backups: Family<Label, Counter>,
    last_backup: Mutex<Option<i64>>,
    started_at: i64,
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
    /// What went wrong, without any part of the token. Empty unless the call failed.
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
    /// The metric's name; for a counter, without `_total`.
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// Its values, each with an optional value of the label `reason`.
    pub values: Vec<(Option<&'static str>, u64)>,
}

impl Reading {
    /// A value that goes up and down.
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Reading {
        Reading { name, help, is_counter: false, values: vec![(None, value)] }
    }

    /// A value that only grows.
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Reading {
        Reading { name, help, is_counter: true, values: vec![(None, value)] }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

/// The name of a label and its value.
type Label = [(&'static str, &'static str); 1];

/// One histogram for each route.
fn request_seconds() -> Histogram {
    Histogram::new(REQUEST_SECONDS)
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(request_seconds),
            signins: Family::default(),
            unrecorded_refusals: Counter::default(),
            verified: Family::default(),
            calls: Family::default(),
            call_seconds: Histogram::new(CALL_SECONDS),
            last_calls: Mutex::default(),
            keys_fetches: Family::default(),
            backups: Family::default(),
            last_backup: Mutex::default(),
            started_at: clock::now(),
        }
    }
}

impl Metrics {
    /// Counts an answered request. `route` is one of a few names, never client input.
    pub fn count_request(&self, route: &'static str, status: u16, duration: Duration) {
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
        self.request_seconds.get_or_create(&[("route", route)]).observe(duration.as_secs_f64());
    }

    /// Counts an attempt to sign in, by post or by an unknown bearer.
    pub fn count_signin(&self, outcome: &'static str) {
        self.signins.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Counts a refusal that exceeded the budget for events.
    pub fn count_unrecorded_refusal(&self) {
        self.unrecorded_refusals.inc();
    }

    /// Counts a sign-in by how its token was verified.
    pub fn count_verified(&self, by: &'static str) {
        self.verified.get_or_create(&[("by", by)]).inc();
    }

    /// Counts a fetch of Google's keys.
    pub fn count_keys_fetch(&self, result: &'static str) {
        self.keys_fetches.get_or_create(&[("result", result)]).inc();
    }

    /// Counts a call to Google.
    pub fn count_call(&self, call: Call) {
        self.calls.get_or_create(&[("result", call.result.as_str())]).inc();
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
            self.backups.get_or_create(&[("result", result)]).inc_by(number);
        }
        *self.last_backup.lock().unwrap_or_else(PoisonError::into_inner) = newest;
    }

    /// The time of the newest backup, if backups are scheduled and there is one.
    pub fn last_backup(&self) -> Option<Reading> {
        let at = *self.last_backup.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "When the newest backup was made, in unix seconds";
        Some(Reading::gauge(
            "hallpass_backup_last_success_timestamp_seconds",
            help,
            at?.unsigned_abs(),
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
        let mut registry = Registry::default();
        let hallpass = registry.sub_registry_with_prefix("hallpass");
        hallpass.register(
            "build",
            "The running version",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        hallpass.register("http_requests", "Requests answered", self.requests.clone());
        hallpass.register(
            "http_request_duration_seconds",
            "Time to an answer",
            self.request_seconds.clone(),
        );
        hallpass.register("signins", "Attempts to sign in", self.signins.clone());
        hallpass.register(
            "refusals_unrecorded",
            "Refusals counted but not recorded as events",
            self.unrecorded_refusals.clone(),
        );
        hallpass.register(
            "signins_verified",
            "Sign-ins by how the token was verified",
            self.verified.clone(),
        );
        hallpass.register("keys_fetches", "Fetches of Google's keys", self.keys_fetches.clone());
        hallpass.register("tokeninfo_calls", "Calls to Google", self.calls.clone());
        hallpass.register(
            "tokeninfo_call_duration_seconds",
            "Time to Google's answer",
            self.call_seconds.clone(),
        );
        hallpass.register(
            "backups",
            "Backups made by the server on schedule",
            self.backups.clone(),
        );
        registry.register_collector(Box::new(Readings(readings)));
        let mut exposition = String::new();
        text::encode_registry(&mut exposition, &registry).expect("a String takes every write");
        classic(&exposition)
    }
}

#[derive(Debug)]
struct Readings(Vec<Reading>);

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for reading in &self.0 {
            let kind = if reading.is_counter { MetricType::Counter } else { MetricType::Gauge };
            let mut family = encoder.encode_descriptor(reading.name, reading.help, None, kind)?;
            if let [(None, value)] = reading.values[..] {
                encode(kind, value, family)?;
                continue;
            }
            for (reason, value) in &reading.values {
                encode(
                    kind,
                    *value,
                    family.encode_family(&[("reason", reason.unwrap_or_default())])?,
                )?;
            }
        }
        Ok(())
    }
}

fn encode(kind: MetricType, value: u64, encoder: MetricEncoder) -> fmt::Result {
    match kind {
        MetricType::Counter => ConstCounter::new(value).encode(encoder),
        _ => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(encoder),
    }
}

/// Turns OpenMetrics into the older format, which every Prometheus reads without negotiation.
/// OpenMetrics omits `_total` from the name of a counter's family and has a type `info`.
fn classic(open_metrics: &str) -> String {
    let types =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types: HashMap<&str, &str> = types.collect();
    let mut classic = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(keyword), Some(name), Some(rest)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            classic.extend([line, "\n"]);
            continue;
        };
        let (suffix, kind) = match types.get(name) {
            Some(&"counter") => ("_total", "counter"),
            Some(&"info") => ("_info", "gauge"),
            Some(kind) => ("", *kind),
            None => ("", rest),
        };
        let rest = if keyword == "TYPE" { kind } else { rest };
        classic.extend(["# ", keyword, " ", name, suffix, " ", rest, "\n"]);
    }
    classic
}
