//! What the commands print: tables that fit the terminal, or plain lines when nobody looks.
//!
//! Names, e-mails and user agents come from outside. What could steer a terminal is shown escaped.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::process;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde_json::Value;

/// The width of a terminal that does not tell.
const USUAL_WIDTH: u16 = 100;
/// A glyph, and the longest name of a check, with the space around them.
const CHECK_GLYPH_WIDTH: u16 = 3;
const CHECK_NAME_WIDTH: u16 = 17;
/// On a narrower terminal, the name of a check stands before its text and not beside it.
const CHECKS_ALIGNED_WIDTH_MIN: u16 = 60;

/// Prints a table with that header on a terminal; otherwise the rows alone, with tabs between their cells.
///
/// # Errors
/// If it cannot be written.
pub fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<(), String> {
    if !is_terminal() {
        return self::rows(rows);
    }
    let rows = rows.map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<String>>());
    let width = width();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(header).add_rows(rows);
    lines(table.lines().map(|line| line.trim_end().to_owned()))
}

/// Prints rows as they come, without waiting for the widest: a line each, with tabs between the cells.
///
/// # Errors
/// If they cannot be written.
pub fn rows(rows: impl Iterator<Item = Vec<String>>) -> Result<(), String> {
    lines(rows.map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<String>>().join("\t")))
}

/// Prints what a check found: on a terminal the glyph, otherwise the verdict in a word.
///
/// # Errors
/// If it cannot be written.
pub fn finding(glyph: &str, verdict: &str, check: &str, detail: &str, advice: Option<&str>) -> Result<(), String> {
    if !is_terminal() {
        let cells = [verdict, check, detail].into_iter().chain(advice).map(str::to_owned).collect();
        return rows([cells].into_iter());
    }
    let width = width();
    let advice = advice.map(|advice| format!("\n→ {}", printable(advice))).unwrap_or_default();
    let text = format!("{}{advice}", printable(detail));
    // The same widths in each of these tables of one row, so that they stand below one another.
    let (cells, widths) = if width < CHECKS_ALIGNED_WIDTH_MIN {
        (vec![glyph.to_owned(), format!("{check}: {text}")], vec![CHECK_GLYPH_WIDTH])
    } else {
        (vec![glyph.to_owned(), check.to_owned(), text], vec![CHECK_GLYPH_WIDTH, CHECK_NAME_WIDTH])
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.add_row(cells);
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    lines(table.lines().map(|line| line.trim_end().to_owned()))
}

/// Prints one JSON document a line.
///
/// # Errors
/// If it cannot be written.
pub fn documents(documents: impl Iterator<Item = Value>) -> Result<(), String> {
    lines(documents.map(|document| self::document(&document)))
}

/// A JSON document that means the same and steers no terminal.
pub fn document(document: &Value) -> String {
    escape(&document.to_string(), |c| format!("\\u{:04x}", u32::from(c)))
}

fn width() -> u16 {
    terminal_size::terminal_size().map_or(USUAL_WIDTH, |(width, _)| width.0)
}

/// Whether somebody looks at what is printed.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints lines that are printable already.
///
/// # Errors
/// If they cannot be written.
pub fn lines(mut lines: impl Iterator<Item = String>) -> Result<(), String> {
    write(|out| lines.try_for_each(|line| writeln!(out, "{line}")))
}

/// Has somebody write to standard output.
///
/// # Errors
/// If it cannot be written.
pub fn write(writing: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
    let mut out = BufWriter::new(io::stdout().lock());
    match writing(&mut out).and_then(|()| out.flush()) {
        // Whoever read has seen enough, as `head` does: what SIGPIPE would do.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => Err(format!("cannot write to standard output: {error}")),
        Ok(()) => Ok(()),
    }
}

/// The text without anything that a terminal would obey.
pub fn printable(text: &str) -> String {
    escape(text, |c| c.escape_default().to_string())
}

/// Control characters, and those that change the direction of text or break lines (Unicode, UAX #9).
fn escape(text: &str, escaped: impl Fn(char) -> String) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return text.to_owned();
    }
    text.chars().map(|c| if steers(c) { escaped(c) } else { c.to_string() }).collect()
}
