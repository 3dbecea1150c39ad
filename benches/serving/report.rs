//! The table, and the arithmetic behind it.

use std::fs;
use std::thread;
use std::time::Duration;

/// What a number must be.
#[derive(Clone, Copy)]
pub enum Target {
    /// At least that.
    AtLeast(f64),
    /// At most that.
    AtMost(f64),
    /// Nothing: it is there to be known.
    None,
}

/// Says what was measured on: the numbers mean nothing without.
pub fn print_machine() {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("?", |(_, value)| value).trim().to_owned()
    };
    println!(
        "{} cores of {}, memory {}, Linux {}; the server's log goes to /dev/null\n",
        cores(),
        field(&read("/proc/cpuinfo"), "model name"),
        field(&read("/proc/meminfo"), "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim(),
    );
}

/// The processors that this program and the servers share.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// The head of the table.
pub fn print_head() {
    line("", "Hallpass", "beside it", "number", "target", "");
}

/// One row: what Hallpass did, what it is held against, and the number that has a target.
pub fn row(what: &str, hallpass: &str, beside: &str, number: f64, target: Target) {
    let (wanted, met) = match target {
        Target::AtLeast(limit) => (format!(">= {limit}"), Some(number >= limit)),
        Target::AtMost(limit) => (format!("<= {limit}"), Some(number <= limit)),
        Target::None => (String::new(), None),
    };
    let verdict = met.map_or("", |met| if met { "met" } else { "NOT MET" });
    line(what, hallpass, beside, &format!("{number:.2}"), &wanted, verdict);
}

/// A remark on the row above.
pub fn remark(text: &str) {
    println!("    {text}");
}

fn line(what: &str, hallpass: &str, beside: &str, number: &str, target: &str, verdict: &str) {
    println!("{what:<58} {hallpass:>12} {beside:>12} {number:>8} {target:>8}  {verdict}");
}

/// The middle one, so that a round that something else on the machine disturbed does not count.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// The time that this share of the answers came within, in milliseconds.
pub fn percentile(latencies: &mut [Duration], share: f64) -> f64 {
    latencies.sort_unstable();
    let place = (latencies.len() as f64 * share) as usize;
    latencies[place.min(latencies.len() - 1)].as_secs_f64() * 1000.0
}
