//! `contains_words`, the SQL function behind every search for users.

use std::cell::RefCell;

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::FromSqlError;

/// Defines `contains_words(search, text, ...)`: whether each word of `search` occurs in at least
/// one of the texts, ignoring case. Words are separated by white space. A NULL contains nothing.
pub fn define(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    // One buffer for all rows. A search among a million users would otherwise spend half of its
    // time allocating memory.
    let buffer = RefCell::new(String::new());
    connection.create_scalar_function("contains_words", -1, flags, move |context| {
        contains_words(context, &mut buffer.borrow_mut())
    })
}

fn contains_words(context: &mut Context, texts: &mut String) -> rusqlite::Result<bool> {
    // Converted once for all rows of a statement.
    let words = context.get_or_create_aux(0, |search| {
        let words = search.as_str()?.split_whitespace().map(str::to_lowercase).collect();
        Ok::<Vec<String>, FromSqlError>(words)
    })?;
    texts.clear();
    for index in 1..context.len() {
        if let Some(text) = context.get_raw(index).as_bytes_or_null()? {
            // Other programs may have written text that is not UTF-8.
            texts.push_str(&String::from_utf8_lossy(text));
            // No word contains a line feed, so none is found across two texts.
            texts.push('\n');
        }
    }
    if texts.is_ascii() {
        texts.make_ascii_lowercase();
    } else {
        *texts = texts.to_lowercase();
    }
    Ok(words.iter().all(|word| texts.contains(word)))
}
