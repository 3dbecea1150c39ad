//! The language that a browser asks for.

use super::{LANGUAGES, Texts};
use crate::http::Request;

/// How many of the languages in the header are looked at. Browsers send a handful.
const RANGES_MAX: usize = 32;

/// The language that the request prefers in Accept-Language (RFC 9110, section 12.5.4), or English.
pub fn accepted(request: &Request) -> &'static Texts {
    let mut ranges: Vec<(&str, f32)> = request
        .headers_named("Accept-Language")
        .flat_map(|value| value.split(','))
        .take(RANGES_MAX)
        .filter_map(range)
        .collect();
    // Stable: of equal ones, the first counts.
    ranges.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let is_excluded = |texts: &Texts| {
        ranges.iter().any(|(range, quality)| *quality == 0.0 && is_primary(range, texts))
    };
    let is_named = |texts: &Texts| ranges.iter().any(|(range, _)| matches(range, texts));
    ranges
        .iter()
        .filter(|(_, quality)| *quality > 0.0)
        .find_map(|(range, _)| {
            LANGUAGES.into_iter().find(|texts| match *range {
                "*" => !is_named(texts),
                range => matches(range, texts) && !is_excluded(texts),
            })
        })
        .unwrap_or(LANGUAGES[0])
}

/// A range and its quality; `None` if it is malformed.
fn range(text: &str) -> Option<(&str, f32)> {
    let (range, parameter) = text.split_once(';').unwrap_or((text, "q=1"));
    let (name, quality) = parameter.split_once('=')?;
    let quality: f32 = quality.trim().parse().ok()?;
    (name.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&quality))
        .then_some((range.trim(), quality))
}

/// Whether a range such as `pt-BR` asks for the language or for its form in some place. There is
/// one form of each language: zh-TW is answered in simplified Chinese, unless the header prefers
/// another of our languages.
fn matches(range: &str, texts: &Texts) -> bool {
    primary(range).eq_ignore_ascii_case(primary(texts.tag))
}

/// Whether a range is the language, wherever it is spoken.
fn is_primary(range: &str, texts: &Texts) -> bool {
    range.eq_ignore_ascii_case(texts.tag) || range.eq_ignore_ascii_case(primary(texts.tag))
}

fn primary(tag: &str) -> &str {
    tag.split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, tag: &str) {
        let headers = vec![("Accept-Language".into(), header.to_owned())];
        let request = Request { headers, ..Request::default() };
        assert_eq!(accepted(&request).tag, tag, "{header}");
    }

    #[test]
    fn the_best_language_that_there_is() {
        check("", "en");
        check("de", "de");
        check("DE-at", "de");
        check("pt-BR,pt;q=0.9,en-US;q=0.8", "pt");
        check("fr;q=0.3, it;q=0.7", "it");
        check("fr;q=0.7, it;q=0.7", "fr");
        check("sv, da;q=0.9, nl ; q = 0.2", "nl");
        check("sv", "en");
        check("en-US,en;q=0.5", "en");
        check("ar-EG", "ar");
        check("arn", "en");
    }

    #[test]
    fn chinese_is_simplified() {
        for header in ["zh", "zh-CN", "zh-Hans-SG", "zh-TW,zh;q=0.9", "zh-Hant", "zh-HK;q=0.1"] {
            check(header, "zh-Hans");
        }
        check("zh-TW,ja;q=0.9", "zh-Hans");
    }

    #[test]
    fn quality_zero_excludes() {
        check("de;q=0", "en");
        check("de;q=0, de-AT", "en");
        check("de-AT;q=0, de", "de");
        check("de;q=0.000, fr;q=0.001", "fr");
        check("*", "en");
        check("sv, *;q=0.5", "en");
        check("en;q=0, *;q=0.5", "de");
        check("en;q=0.1, *;q=0.5", "de");
        check("*;q=0", "en");
    }

    #[test]
    fn malformed_ranges_are_ignored() {
        for header in ["de;q=2", "de;q=-1", "de;q=x", "de;q", "de;x=1", "de;q=NaN", ";;;", ",,,"] {
            check(header, "en");
            check(&format!("{header}, fr;q=0.1"), "fr");
        }
        check(&"sv,".repeat(31), "en");
        check(&format!("{}de", "sv,".repeat(31)), "de");
        check(&format!("{}de", "sv,".repeat(32)), "en");
    }
}
