//! The progress of long work.

use std::io::{self, IsTerminal};

/// Fits a narrow terminal with its words.
const BAR_COLUMNS: u64 = 20;

/// A bar on a terminal's standard error, and nothing elsewhere.
pub struct Progress {
    what: &'static str,
    shown: Option<u64>,
    is_watched: bool,
}

impl Progress {
    /// Nothing is shown before the first report.
    pub fn new(what: &'static str) -> Progress {
        Progress { what, shown: None, is_watched: io::stderr().is_terminal() }
    }

    /// Shows the percentage that is done, when it changes.
    pub fn show(&mut self, done: u64, all: u64) {
        let hundredths = (done * 100).checked_div(all).unwrap_or(100);
        if self.is_watched && self.shown != Some(hundredths) {
            let done = (hundredths.min(100) * BAR_COLUMNS / 100) as usize;
            eprint!(
                "\r{} [{:<width$}] {hundredths:>3} %",
                self.what,
                "#".repeat(done),
                width = BAR_COLUMNS as usize
            );
            self.shown = Some(hundredths);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprintln!();
        }
    }
}
