//! The log on standard error: text for people, or one JSON object a line.
//!
//! Only our own records are written, and warnings of the libraries: at finer levels those print URLs and headers, and
//! with them tokens.

use std::io::Write;

use env_logger::fmt::Formatter;
use log::kv::{self, VisitSource};
use log::{Level, Record};
use serde_json::{Map, Value};

use crate::config::LogFormat;

/// Starts logging. RUST_LOG sets the level; it is `info` otherwise.
pub fn start(format: LogFormat) {
    let environment = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(environment)
        .format(move |out, record| {
            let ours = record.target().split("::").next() == Some(env!("CARGO_PKG_NAME"));
            match format {
                _ if !ours && record.level() > Level::Warn => Ok(()),
                LogFormat::Text => text(out, record),
                LogFormat::Json => json(out, record),
            }
        })
        .init();
}

fn text(out: &mut Formatter, record: &Record) -> std::io::Result<()> {
    let time = out.timestamp_millis();
    // Nothing a client sent may end the line or colour the terminal.
    let message = record.args().to_string().escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'");
    write!(out, "{time} {:5} {message}", record.level())?;
    for (key, value) in fields(record) {
        match value {
            Value::String(plain) if plain.bytes().all(|b| b.is_ascii_graphic() && b != b'"') => {
                write!(out, " {key}={plain}")?;
            }
            other => write!(out, " {key}={other}")?,
        }
    }
    writeln!(out)
}

fn json(out: &mut Formatter, record: &Record) -> std::io::Result<()> {
    let mut line = Map::new();
    line.insert("time".into(), out.timestamp_millis().to_string().into());
    line.insert("level".into(), record.level().as_str().to_ascii_lowercase().into());
    line.insert("message".into(), record.args().to_string().into());
    line.extend(fields(record));
    writeln!(out, "{}", Value::from(line))
}

fn fields(record: &Record) -> Map<String, Value> {
    struct Collector(Map<String, Value>);
    impl<'kvs> VisitSource<'kvs> for Collector {
        fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
            let number = value.to_i64().map(Value::from).or_else(|| value.to_f64().map(Value::from));
            self.0.insert(key.to_string(), number.unwrap_or_else(|| value.to_string().into()));
            Ok(())
        }
    }
    let mut collector = Collector(Map::new());
    // The collector itself never fails.
    let _ = record.key_values().visit(&mut collector);
    collector.0
}
