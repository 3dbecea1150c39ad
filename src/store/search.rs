//! `contains_words`, the SQL function behind every search for users.

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};

/// Defines `contains_words(search, text, ...)`: whether each word of `search` occurs in one of the texts, ignoring case.
/// A word ends at white space. A NULL contains nothing.
pub fn define(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("contains_words", -1, flags, contains_words)
}

fn contains_words(context: &mut Context) -> rusqlite::Result<bool> {
    // Lower-cased once a statement, and kept for all its rows.
    let words = context.get_or_create_aux(0, |search| {
        let words = search.as_str()?.split_whitespace().map(str::to_lowercase).collect();
        Ok::<Vec<String>, rusqlite::types::FromSqlError>(words)
    })?;
    let mut missing: Vec<&str> = words.iter().map(String::as_str).collect();
    for index in 1..context.len() {
        if let Some(text) = context.get_raw(index).as_str_or_null()? {
            let text = to_lowercase(text);
            missing.retain(|word| !text.contains(word));
        }
    }
    Ok(missing.is_empty())
}

/// ASCII is the usual case, and several times faster.
fn to_lowercase(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.to_lowercase() }
}
