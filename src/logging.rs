//! Logs to standard error, as text or as one JSON object per line.
//!
//! Only our own records and warnings from libraries are written. At finer levels, libraries print
//! URLs and headers, and with them tokens.
//!
//! Logging never waits for the reader of standard error: see `queue`.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic;
use std::str::FromStr;
use std::thread;

use env_logger::Target;
use env_logger::fmt::Formatter;
use log::kv::{self, VisitSource};
use log::{Level, LevelFilter, Record};
use serde_json::{Map, Value};

use crate::metrics::Reading;
use crate::process;

pub use queue::flush;

/// The environment variable for the level.
const VARIABLE: &str = "RUST_LOG";
const DEFAULT_FILTERS: &str = "info";

/// Formats of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Plain lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. RUST_LOG sets the level; the default, also for an invalid value, is `info`.
/// Panics are logged too.
pub fn start(format: LogFormat) {
    queue::start();
    let filters = process::variable(VARIABLE).filter(|filters| is_valid(filters));
    env_logger::Builder::new()
        .parse_filters(filters.as_deref().unwrap_or(DEFAULT_FILTERS))
        .format(move |out, record| {
            let ours = record.target().split("::").next() == Some(env!("CARGO_PKG_NAME"));
            match format {
                _ if !ours && record.level() > Level::Warn => Ok(()),
                LogFormat::Text => text(out, record),
                LogFormat::Json => json(out, record),
            }
        })
        .target(Target::Pipe(Box::new(queue::Sink)))
        .init();
    panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        match trace.status() {
            BacktraceStatus::Captured => log::error!("thread {name} {panic}\n{trace}"),
            _ => log::error!("thread {name} {panic}"),
        }
        // In release builds, the process is about to end.
        flush();
    }));
}

/// Metrics of the log.
pub fn readings() -> [Reading; 1] {
    [Reading::counter(
        "hallpass_log_lines_dropped_total",
        "Log lines dropped because standard error did not take them",
        queue::dropped_ever(),
    )]
}

/// Prints the last sentence of the process, after the log.
pub fn last_words(sentence: &str) {
    if queue::is_started() {
        let _ = queue::Sink.write(format!("{sentence}\n").as_bytes());
        flush();
    } else {
        eprintln!("{sentence}");
    }
}

/// The fault in RUST_LOG, if there is one.
pub fn misunderstanding() -> Option<String> {
    let filters = process::variable(VARIABLE).filter(|filters| !is_valid(filters))?;
    Some(format!(
        "{VARIABLE} takes error, warn, info, debug, trace or off, or hallpass=LEVEL, not {filters:?}, so {DEFAULT_FILTERS} \
         is used"
    ))
}

/// env_logger takes a word that is not a level for the name of a module, and then shows only that
/// module.
fn is_valid(filters: &str) -> bool {
    let (directives, _) = filters.split_once('/').unwrap_or((filters, ""));
    directives.split(',').map(str::trim).all(|directive| match directive.split_once('=') {
        Some((module, level)) => !module.is_empty() && LevelFilter::from_str(level.trim()).is_ok(),
        None => {
            let is_ours = directive.split("::").next() == Some(env!("CARGO_PKG_NAME"));
            is_ours || LevelFilter::from_str(directive).is_ok()
        }
    })
}

fn text(out: &mut Formatter, record: &Record) -> io::Result<()> {
    let (time, level) = (out.timestamp_millis(), record.level());
    match record.args().as_str() {
        Some(message) => write!(out, "{time} {level:5} {message}")?,
        // Nothing from a client may end the line or colour the terminal.
        None => write!(out, "{time} {level:5} {}", escaped(&record.args().to_string()))?,
    }
    record.key_values().visit(&mut TextPairs(out)).map_err(io::Error::other)?;
    writeln!(out)
}

/// Writes ` key=value`, with quotes if the value needs them.
struct TextPairs<'a>(&'a mut Formatter);

impl<'kvs> VisitSource<'kvs> for TextPairs<'_> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        match value.to_borrowed_str() {
            Some(text) if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') => {
                write!(self.0, " {key}=\"{}\"", text.escape_debug())?;
            }
            Some(text) => write!(self.0, " {key}={text}")?,
            None => write!(self.0, " {key}={value}")?,
        }
        Ok(())
    }
}

fn escaped(message: &str) -> String {
    let visible = |character: char| {
        if character.is_control() {
            character.escape_default().to_string()
        } else {
            character.into()
        }
    };
    message.chars().map(visible).collect()
}

fn json(out: &mut Formatter, record: &Record) -> io::Result<()> {
    let mut line = Map::new();
    line.insert("time".into(), out.timestamp_millis().to_string().into());
    line.insert("level".into(), record.level().as_str().to_ascii_lowercase().into());
    line.insert("message".into(), record.args().to_string().into());
    record.key_values().visit(&mut JsonPairs(&mut line)).map_err(io::Error::other)?;
    writeln!(out, "{}", Value::from(line))
}

/// Adds a field for each pair.
struct JsonPairs<'a>(&'a mut Map<String, Value>);

impl<'kvs> VisitSource<'kvs> for JsonPairs<'_> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let number = value.to_i64().map(Value::from).or_else(|| value.to_f64().map(Value::from));
        self.0.insert(key.to_string(), number.unwrap_or_else(|| value.to_string().into()));
        Ok(())
    }
}
