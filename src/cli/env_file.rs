//! Parses a settings file: lines NAME=VALUE, as systemd reads them from an EnvironmentFile.
//!
//! Crates for .env files read another syntax, with `export`, comments after values and expansion of
//! `$NAME`; one file must mean the same to systemd and to us.

use std::str::Chars;

/// Some editors on Windows write it at the start of a file. It is U+FEFF in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The variables in the order of the file.
///
/// # Errors
/// The first line that systemd would ignore or read differently from what it seems to say.
pub fn parse(text: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let text = str::from_utf8(text).map_err(|error| {
        let before = &text[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("line {line}: expected UTF-8")
    })?;
    let mut reader = Reader { rest: text.chars(), line: 1 };
    let mut variables = Vec::new();
    while let Some(first) = reader.next() {
        match first {
            '#' | ';' => {
                reader.find(|c| is_line_end(*c));
            }
            first if is_space(first) => {}
            first => {
                let line = reader.line;
                let variable = name(&mut reader, first)
                    .and_then(|name| Ok((name, value(&mut reader)?)))
                    .map_err(|why| format!("line {line}: {why}"))?;
                variables.push(variable);
            }
        }
    }
    Ok(variables)
}

/// The characters that are left, and the line of the last one taken.
struct Reader<'a> {
    rest: Chars<'a>,
    line: usize,
}

impl Iterator for Reader<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        self.line += usize::from(next == '\n');
        Some(next)
    }
}

/// The rest of a name, up to the equals sign.
fn name(reader: &mut Reader, first: char) -> Result<String, String> {
    let mut name = String::from(first);
    loop {
        match reader.next() {
            Some('=') => break,
            Some(c) if !is_line_end(c) => name.push(c),
            _ => return Err("expected NAME=VALUE".into()),
        }
    }
    let name = name.trim_end_matches(is_space);
    let is_valid = !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_valid { Ok(name.to_owned()) } else { Err(format!("{name:?} is not a variable name")) }
}

/// A value, up to the end of its line. Quotes count at its beginning and after other quotes.
fn value(reader: &mut Reader) -> Result<String, String> {
    let mut value = String::new();
    let mut is_bare = false;
    // White space beyond this length is trimmed.
    let mut kept = 0;
    while let Some(next) = reader.next() {
        match next {
            '\r' | '\n' => break,
            '\'' | '"' if !is_bare => {
                quoted(reader, next, &mut value)?;
                kept = value.len();
            }
            '\\' => {
                is_bare = true;
                value.extend(reader.next().filter(|escaped| !is_line_end(*escaped)));
                kept = value.len();
            }
            next if is_space(next) && !is_bare => {}
            next => {
                is_bare = true;
                value.push(next);
                if !is_space(next) {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    Ok(value)
}

/// The rest of quoted text. Escapes count in double quotes only.
fn quoted(reader: &mut Reader, quote: char, value: &mut String) -> Result<(), String> {
    while let Some(next) = reader.next() {
        match next {
            next if next == quote => return Ok(()),
            '\\' if quote == '"' => match reader.next() {
                Some('\n') | None => {}
                Some(escaped @ ('"' | '\\' | '`' | '$')) => value.push(escaped),
                Some(other) => value.extend(['\\', other]),
            },
            next => value.push(next),
        }
    }
    Err(format!("the quotation mark {quote} is not closed"))
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t') || is_line_end(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let found = parse(text.as_bytes()).expect("it parses");
        let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[track_caller]
    fn rejected(text: &[u8], expected: &str) {
        assert_eq!(parse(text).expect_err("it does not parse"), expected);
    }

    #[test]
    fn lines_comments_and_white_space() {
        check("", &[]);
        check("A=1", &[("A", "1")]);
        check("A=1\nB=2\n", &[("A", "1"), ("B", "2")]);
        check("A=1\r\nB=2\r\n", &[("A", "1"), ("B", "2")]);
        check("# a\n; b=c\n\n \t\n  A \t= 1 2 \t\n", &[("A", "1 2")]);
        check("A=\nB=  \nC=''\n", &[("A", ""), ("B", ""), ("C", "")]);
        check(
            "A=1 # no comment\nB=a;b\nC=a=b\n",
            &[("A", "1 # no comment"), ("B", "a;b"), ("C", "a=b")],
        );
        check("# a comment does not continue \\\nA=1", &[("A", "1")]);
        check("A=1\nA=2", &[("A", "1"), ("A", "2")]);
        check("\u{feff}A=1\nB=2", &[("A", "1"), ("B", "2")]);
        check("A=$B ${C} `d`", &[("A", "$B ${C} `d`")]);
    }

    #[test]
    fn quotes() {
        check(r#"A=" b ""#, &[("A", " b ")]);
        check(r"A=' b '", &[("A", " b ")]);
        check("A=\"b\" \t\nC='d'", &[("A", "b"), ("C", "d")]);
        check(r#"A="b"c"#, &[("A", "bc")]);
        check(r#"A="b" 'c' d "#, &[("A", "bcd")]);
        check(r#"A=b"c" 'd'"#, &[("A", r#"b"c" 'd'"#)]);
        check("A=\"b\nc\"\nD='e\nf'", &[("A", "b\nc"), ("D", "e\nf")]);
        check(r##"A="#b" "##, &[("A", "#b")]);
    }

    #[test]
    fn backslashes() {
        check("A=b\\\nc\nD=e", &[("A", "bc"), ("D", "e")]);
        check("A=b,\\\n  c", &[("A", "b,  c")]);
        check(r"A=\n\\\'\ ", &[("A", r"n\' ")]);
        check("A=\\", &[("A", "")]);
        check("A=\"b\\\nc\"", &[("A", "bc")]);
        check(r#"A="\"\\\`\$\n\a""#, &[("A", r#""\`$\n\a"#)]);
        check(r"A='\n\'", &[("A", r"\n\")]);
    }

    #[test]
    fn errors_name_the_line() {
        rejected(b"A=1\nB", "line 2: expected NAME=VALUE");
        rejected(b"A=1\n\nB\nC=1", "line 3: expected NAME=VALUE");
        rejected(b"export A=1", "line 1: \"export A\" is not a variable name");
        rejected(b"\n1A=1", "line 2: \"1A\" is not a variable name");
        rejected(b"A-B=1", "line 1: \"A-B\" is not a variable name");
        rejected(b"=1", "line 1: expected NAME=VALUE");
        rejected(b"A=1\nB=\"1\nC=2\n", "line 2: the quotation mark \" is not closed");
        rejected(b"A='1", "line 1: the quotation mark ' is not closed");
        rejected(b"A=1\nB=\xff", "line 2: expected UTF-8");
    }
}
