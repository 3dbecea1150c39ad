//! Prints the table, with medians and percentiles.

use std::fs;
use std::thread;
use std::time::Duration;

/// The goal for a figure.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    None,
}

/// Prints what the figures were measured on.
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

/// The cores that this program and the servers share.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get())
}

pub fn print_head() {
    line("", "Hallpass", "compared", "figure", "target", "");
}

/// Prints a row of one figure.
pub fn single(what: &str, decimals: usize, figure: f64, target: Target) {
    row(what, &format!("{figure:.decimals$}"), "", figure, target);
}

/// Prints a row from rounds of Hallpass and what it is compared with: the medians of both, and the
/// median of their ratios, which has the target.
pub fn compare(what: &str, decimals: usize, rounds: &[(f64, f64)], target: Target) {
    let of = |figure: fn(&(f64, f64)) -> f64| median(rounds.iter().map(figure).collect());
    let (hallpass, compared) = (of(|round| round.0), of(|round| round.1));
    row(
        what,
        &format!("{hallpass:.decimals$}"),
        &format!("{compared:.decimals$}"),
        of(|round| round.0 / round.1),
        target,
    );
}

/// Prints a row; `figure` has the target.
pub fn row(what: &str, hallpass: &str, compared: &str, figure: f64, target: Target) {
    let (wanted, met) = match target {
        Target::AtLeast(limit) => (format!(">= {limit}"), Some(figure >= limit)),
        Target::AtMost(limit) => (format!("<= {limit}"), Some(figure <= limit)),
        Target::None => (String::new(), None),
    };
    let verdict = met.map_or("", |met| if met { "met" } else { "NOT MET" });
    line(what, hallpass, compared, &format!("{figure:.2}"), &wanted, verdict);
}

/// Prints a remark on the row above.
pub fn remark(text: &str) {
    println!("    {text}");
}

fn line(what: &str, hallpass: &str, compared: &str, figure: &str, target: &str, verdict: &str) {
    println!("{what:<58} {hallpass:>12} {compared:>12} {figure:>8} {target:>8}  {verdict}");
}

/// The median, so one round disturbed by something else on the machine does not count.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// In milliseconds.
pub fn percentile(latencies: &mut [Duration], share: f64) -> f64 {
    latencies.sort_unstable();
    let index = (latencies.len() as f64 * share) as usize;
    latencies[index.min(latencies.len() - 1)].as_secs_f64() * 1000.0
}
