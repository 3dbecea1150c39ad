//! Output of the commands: tables that fit the terminal, or plain lines for a pipe.
//!
//! Names, e-mails and user agents come from outside, so control characters are escaped.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::process;

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, Width, presets};
use serde_json::Value;

/// The width if the terminal does not report one.
const USUAL_WIDTH: u16 = 100;
/// Text wrapped to less than this is hard to read.
const TEXT_WIDTH_MIN: u16 = 20;
/// A space on each side.
const COLUMN_PADDING: u16 = 2;
/// Longer text is cut; JSON and plain lines contain all of it.
const ROW_LINES_MAX: usize = 3;
/// A glyph and the longest name of a check, with padding.
const CHECK_GLYPH_WIDTH: u16 = 3;
const CHECK_NAME_WIDTH: u16 = 17;
/// On a narrower terminal, the name of a check is not a column but precedes its text.
const CHECKS_ALIGNED_WIDTH_MIN: u16 = 60;

/// How many rows a list shows without --limit.
const ROWS_DEFAULT: u32 = 100;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    name: &'static str,
    is_text: bool,
    spare: Option<u8>,
}

impl Column {
    /// Values that must not be wrapped, such as IDs and times.
    pub const fn whole(name: &'static str) -> Column {
        Column { name, is_text: false, spare: None }
    }

    /// Text that may be wrapped.
    pub const fn text(name: &'static str) -> Column {
        Column { name, is_text: true, spare: None }
    }

    /// Omitted if there is no room for all columns; the lowest goes first.
    pub const fn spare(self, order: u8) -> Column {
        Column { spare: Some(order), ..self }
    }
}

/// Prints a table with a header on a terminal; otherwise tab-separated rows without a header.
///
/// # Errors
/// If it cannot be written.
pub fn table(columns: &[Column], rows: impl Iterator<Item = Vec<String>>) -> Result<(), String> {
    let rows = rows.inspect(|row| debug_assert_eq!(row.len(), columns.len(), "{row:?}"));
    if !is_terminal() {
        return self::rows(rows);
    }
    lines(drawn(columns, rows, width()).into_iter())
}

/// The lines of a table that is at most this wide, unless an unwrapped column is wider.
pub fn drawn(
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
    width: u16,
) -> Vec<String> {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    table.set_header(columns.iter().map(|column| column.name)).set_truncation_indicator("…");
    for row in rows {
        let mut row = Row::from(row.iter().map(|cell| printable(cell)).collect::<Vec<String>>());
        row.max_height(ROW_LINES_MAX);
        table.add_row(row);
    }
    arrange(&mut table, columns, width);
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Decides which columns there is room for. If even the required ones do not fit, all are wrapped.
fn arrange(table: &mut Table, columns: &[Column], width: u16) {
    let contents = table.column_max_content_widths();
    let needed = |(column, content): (&Column, &u16)| {
        COLUMN_PADDING + if column.is_text { TEXT_WIDTH_MIN.min(*content) } else { *content }
    };
    let mut room: Vec<Option<u16>> = columns.iter().zip(&contents).map(needed).map(Some).collect();
    let fits = |room: &[Option<u16>]| {
        room.iter().flatten().map(|width| u32::from(*width)).sum::<u32>() <= width.into()
    };
    let mut spare: Vec<usize> =
        (0..columns.len()).filter(|index| columns[*index].spare.is_some()).collect();
    spare.sort_by_key(|index| columns[*index].spare);
    for index in spare {
        if !fits(&room) {
            room[index] = None;
        }
    }
    let fits = fits(&room);
    for ((shown, column), room) in table.column_iter_mut().zip(columns).zip(room) {
        let constraint = match room {
            None => ColumnConstraint::Hidden,
            Some(_) if !fits => continue,
            Some(width) if column.is_text => ColumnConstraint::LowerBoundary(Width::Fixed(width)),
            Some(_) => ColumnConstraint::ContentWidth,
        };
        shown.set_constraint(constraint);
    }
}

/// Prints tab-separated rows as they come.
///
/// # Errors
/// If they cannot be written.
pub fn rows(rows: impl Iterator<Item = Vec<String>>) -> Result<(), String> {
    lines(
        rows.map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<String>>().join("\t")),
    )
}

/// Prints a finding: with a glyph on a terminal, otherwise tab-separated with the verdict as a
/// word.
///
/// # Errors
/// If it cannot be written.
pub fn finding(
    glyph: &str,
    verdict: &str,
    check: &str,
    detail: &str,
    advice: Option<&str>,
) -> Result<(), String> {
    if !is_terminal() {
        let cells = [verdict, check, detail].into_iter().chain(advice).map(str::to_owned).collect();
        return rows([cells].into_iter());
    }
    let width = width();
    let advice = advice.map(|advice| format!("\n→ {}", printable(advice))).unwrap_or_default();
    let text = format!("{}{advice}", printable(detail));
    // Each finding is a table of one row; fixed widths align them.
    let (cells, widths) = if width < CHECKS_ALIGNED_WIDTH_MIN {
        (vec![glyph.to_owned(), format!("{check}: {text}")], vec![CHECK_GLYPH_WIDTH])
    } else {
        (vec![glyph.to_owned(), check.to_owned(), text], vec![CHECK_GLYPH_WIDTH, CHECK_NAME_WIDTH])
    };
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    table.add_row(cells);
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    lines(table.lines().map(|line| line.trim_end().to_owned()))
}

/// How many rows a list must read: --limit, or one more than it shows by default.
pub fn rows_wanted(limit: Option<u32>) -> u32 {
    limit.unwrap_or(ROWS_DEFAULT + 1)
}

/// Cuts the rows to what a list shows by default, and tells whether there were more.
pub fn cut<T>(limit: Option<u32>, rows: &mut Vec<T>) -> bool {
    let has_more = limit.is_none() && rows.len() > ROWS_DEFAULT as usize;
    if has_more {
        rows.pop();
    }
    has_more
}

/// Notes on standard error that a list is empty, or is not all.
pub fn note_extent(what: &str, rows: usize, has_more: bool) {
    if rows == 0 {
        note(&format!("no {what}"));
    }
    if has_more {
        note(&format!("there are more {what}; list them with --limit N"));
    }
}

/// Prints a note on standard error.
pub fn note(text: &str) {
    eprintln!("hallpass: {text}");
}

/// Prints one JSON document per line.
///
/// # Errors
/// If it cannot be written.
pub fn documents(documents: impl Iterator<Item = Value>) -> Result<(), String> {
    lines(documents.map(|document| self::document(&document)))
}

/// The JSON document with control characters escaped.
pub fn document(document: &Value) -> String {
    escape(&document.to_string(), |c| format!("\\u{:04x}", u32::from(c)))
}

fn width() -> u16 {
    terminal_size::terminal_size().map_or(USUAL_WIDTH, |(width, _)| width.0)
}

/// Whether standard output is a terminal.
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

/// Lets `writing` write to standard output.
///
/// # Errors
/// If it cannot be written.
pub fn write(writing: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), String> {
    let mut out = BufWriter::new(io::stdout().lock());
    match writing(&mut out).and_then(|()| out.flush()) {
        // The reader, such as `head`, has closed the pipe. SIGPIPE would do the same.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => Err(format!("cannot write to standard output: {error}")),
        Ok(()) => Ok(()),
    }
}

/// The text with control characters escaped.
pub fn printable(text: &str) -> String {
    escape(text, |c| c.escape_default().to_string())
}

/// Control characters, and those that change the direction of text or break lines (Unicode, UAX
/// #9).
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

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::whole("ID"),
        Column::text("USER"),
        Column::whole("LAST SEEN").spare(2),
        Column::text("USER AGENT").spare(1),
    ];

    fn drawn_at(width: u16) -> Vec<String> {
        let agent =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) ".repeat(3);
        let row = [
            "Qthe2e9BliihMigq",
            "somebody.with.a.long.name@example.com",
            "2026-11-24 14:09:48",
            &agent,
        ];
        let lines = drawn(&COLUMNS, [row.map(str::to_owned).to_vec()].into_iter(), width);
        assert!(
            lines.iter().all(|line| line.chars().count() <= width.into()),
            "{width}: {lines:#?}"
        );
        lines
    }

    #[test]
    fn a_table_fits_and_wraps_no_ids() {
        for width in 16..=200 {
            let text = drawn_at(width).join("\n");
            assert!(width < 40 || text.contains("Qthe2e9BliihMigq"), "{width}: {text}");
            assert_eq!(text.contains("LAST SEEN"), width >= 61, "{width}: {text}");
            assert_eq!(text.contains("2026-11-24 14:09:48"), width >= 61, "{width}: {text}");
            assert_eq!(text.contains("USER AGENT"), width >= 83, "{width}: {text}");
        }
    }

    #[test]
    fn long_rows_are_cut() {
        let lines = drawn_at(90);
        assert_eq!(lines.len(), 1 + ROW_LINES_MAX);
        assert!(lines[ROW_LINES_MAX].ends_with('…'), "{lines:#?}");
    }
}
