//! Finds those with certain words in their names and e-mails, at any size of the directory in a few milliseconds.
//!
//! The index knows who has a trigram: three characters that follow one another. Words have many, and to intersect them
//! all takes long when most are common. So a sample of the directory tells which few of them leave the fewest users, and
//! these are compared with the words one by one.

use rusqlite::{Connection, OptionalExtension, params};

/// A word must have so many characters to be searched for. Two find the beginnings of words, three and more any part.
pub const SEARCH_CHARACTERS_MIN: usize = 2;
const TRIGRAM: usize = 3;
/// Users in the sample.
const SAMPLE: usize = 256;
/// Spreads the sample over the directory and in step with nothing in it: multiples of the golden ratio.
const SPREAD: f64 = 0.618_033_988_749_895;
/// Found so often in the sample or less, a trigram costs next to nothing to intersect.
const RARE: usize = SAMPLE / 32;
/// So many trigrams are intersected.
const CHOSEN_MAX: usize = 4;

struct Trigram {
    quoted: String,
    folded: String,
    /// How many users of the sample have it.
    frequency: usize,
}

/// The first ids in the directory, from that one downwards, of users who have every word of a text, whatever the case.
/// Words shorter than [`SEARCH_CHARACTERS_MIN`] do not count; where no word counts, nobody is found.
pub(super) fn find(
    db: &Connection,
    text: &str,
    from: i64,
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    let words = words(text);
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let query = query(&words, sample(db)?);
    let words: Vec<String> = words.iter().map(|word| fold(word)).collect();
    // CROSS JOIN keeps the order, in which the index hands out what it finds.
    let mut statement = db.prepare_cached(
        "SELECT d.id, d.words FROM directory_search f CROSS JOIN directory d ON d.id = f.rowid
         WHERE directory_search MATCH ?1 AND f.rowid <= ?2 ORDER BY f.rowid DESC",
    )?;
    let mut candidates = statement.query(params![query, from])?;
    let mut ids = Vec::new();
    while ids.len() < limit
        && let Some(candidate) = candidates.next()?
    {
        let theirs = fold(candidate.get_ref("words")?.as_str()?);
        if words.iter().all(|word| theirs.contains(word)) {
            ids.push(candidate.get("id")?);
        }
    }
    Ok(ids)
}

/// The words that count. One too short for a trigram gets the space before it that begins a word.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let counting = words.filter_map(|word| match word.chars().count() {
        0..SEARCH_CHARACTERS_MIN => None,
        SEARCH_CHARACTERS_MIN..TRIGRAM => Some(format!(" {word}")),
        _ => Some(word.to_owned()),
    });
    counting.collect()
}

/// The trigrams that leave the fewest users of the sample, the rarest first, in FTS5's language.
fn query(words: &[String], mut left: Vec<String>) -> String {
    let mut trigrams = trigrams(words, &left);
    let mut chosen: Vec<Trigram> = Vec::new();
    while chosen.len() < CHOSEN_MAX {
        let leaves =
            |trigram: &Trigram| left.iter().filter(|words| words.contains(&trigram.folded)).count();
        let costs = trigrams.iter().map(|trigram| (leaves(trigram), trigram.frequency)).enumerate();
        let Some((best, (leaves, frequency))) = costs.min_by_key(|(_, cost)| *cost) else {
            break;
        };
        if !chosen.is_empty() && leaves == left.len() && frequency > RARE {
            break;
        }
        let trigram = trigrams.swap_remove(best);
        left.retain(|words| words.contains(&trigram.folded));
        chosen.push(trigram);
    }
    chosen.sort_by_key(|trigram| trigram.frequency);
    chosen.into_iter().map(|trigram| trigram.quoted).collect::<Vec<_>>().join(" ")
}

fn trigrams(words: &[String], sample: &[String]) -> Vec<Trigram> {
    let of_word = |word: &String| {
        let characters: Vec<char> = word.chars().collect();
        characters.windows(TRIGRAM).map(String::from_iter).collect::<Vec<String>>()
    };
    let known = |trigram: String| {
        let folded = fold(&trigram);
        let frequency = sample.iter().filter(|words| words.contains(&folded)).count();
        Trigram { quoted: format!("\"{}\"", trigram.replace('"', "\"\"")), folded, frequency }
    };
    words.iter().flat_map(of_word).map(known).collect()
}

/// Folded words of users from all over the directory, of some more than once if it is small.
fn sample(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let ends = "SELECT (SELECT min(id) FROM directory), (SELECT max(id) FROM directory)";
    let (first, last) =
        db.prepare_cached(ends)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)): (Option<i64>, Option<i64>) = (first, last) else {
        return Ok(Vec::new());
    };
    let mut at = db.prepare_cached("SELECT words FROM directory WHERE id >= ?1 LIMIT 1")?;
    let spread = (0..SAMPLE).map(|number| (number as f64 * SPREAD).fract());
    let ids = spread.map(|part| first + (part * (last - first) as f64) as i64);
    // Between two statements the last users may be deleted.
    let words =
        |id| at.query_row([id], |row| Ok(fold(row.get_ref(0)?.as_str()?))).optional().transpose();
    ids.filter_map(words).collect()
}

/// The text without case. What FTS5 takes for the same is the same here.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase).collect()
}
