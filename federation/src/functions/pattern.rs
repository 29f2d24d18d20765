//! Regular expressions, SIMILAR TO and LIKE.
//!
//! PostgreSQL's advanced regular expressions are run by the `regex` crate after their own escapes are translated;
//! back references and look-around are refused.

use arrow::datatypes::Int32Type;
use regex::Regex;

use super::pattern_syntax::{compile, like_pattern, similar};
use super::scaffold::{Call, Function, INT4, Outcome, Returns, TEXT, function, overload};
use crate::error::FederationError;
use crate::types;
use crate::values::read::value_error;

/// Remembers the last pattern: there is nearly always just one.
#[derive(Default)]
struct Patterns(Option<(String, String, Regex)>);

impl Patterns {
    fn of(&mut self, pattern: &str, flags: &str) -> Result<&Regex, FederationError> {
        let known = self
            .0
            .as_ref()
            .is_some_and(|(known, known_flags, _)| known == pattern && known_flags == flags);
        if !known {
            self.0 = Some((pattern.to_owned(), flags.to_owned(), compile(pattern, flags)?));
        }
        match &self.0 {
            Some((_, _, regex)) => Ok(regex),
            None => Err(FederationError::internal("a pattern that was just compiled")),
        }
    }
}

fn matches(call: &Call<'_>, flags: &'static str) -> Outcome {
    let (texts, patterns) = (call.texts(0), call.texts(1));
    let mut known = Patterns::default();
    call.truth(|row| Ok(Some(known.of(patterns.get(row), flags)?.is_match(texts.get(row)))))
}

fn matches_case(call: &Call<'_>) -> Outcome {
    matches(call, "")
}

fn matches_any_case(call: &Call<'_>) -> Outcome {
    matches(call, "i")
}

fn escape_character(text: &str) -> Result<Option<char>, FederationError> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (escape, None) => Ok(escape),
        _ => Err(value_error("22019", "invalid escape string")),
    }
}

fn similar_to(call: &Call<'_>) -> Outcome {
    let (texts, patterns, escapes) = (call.texts(0), call.texts(1), call.texts(2));
    let mut known = Patterns::default();
    call.truth(|row| {
        let pattern = similar(patterns.get(row), escape_character(escapes.get(row))?)?;
        Ok(Some(known.of(&pattern, "")?.is_match(texts.get(row))))
    })
}

/// `substring(text from pattern)`: the first group, or all that matches.
pub(super) fn substring(call: &Call<'_>) -> Outcome {
    let (texts, patterns) = (call.texts(0), call.texts(1));
    let mut known = Patterns::default();
    call.text(|row, out| {
        let found = known.of(patterns.get(row), "")?.captures(texts.get(row));
        let part = found.and_then(|found| {
            if found.len() > 1 {
                found.get(1)
            } else {
                found.get(0)
            }
        });
        Ok(match part {
            Some(part) => {
                out.push_str(part.as_str());
                true
            }
            None => false,
        })
    })
}

/// `substring(text similar pattern escape '#')`.
pub(super) fn substring_similar(call: &Call<'_>) -> Outcome {
    let (texts, patterns, escapes) = (call.texts(0), call.texts(1), call.texts(2));
    let mut known = Patterns::default();
    call.text(|row, out| {
        let pattern = similar(patterns.get(row), escape_character(escapes.get(row))?)?;
        let found = known.of(&pattern, "")?.captures(texts.get(row));
        let part = found.and_then(|found| {
            if found.len() > 1 {
                found.get(1)
            } else {
                found.get(0)
            }
        });
        Ok(match part {
            Some(part) => {
                out.push_str(part.as_str());
                true
            }
            None => false,
        })
    })
}

/// What a replacement's `\1` and `\&` stand for.
fn replacement(template: &str, found: &regex::Captures<'_>, out: &mut String) {
    let mut characters = template.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('&') => out.push_str(found.get(0).map_or("", |part| part.as_str())),
            Some(digit @ '1'..='9') => {
                let group = digit as usize - '0' as usize;
                out.push_str(found.get(group).map_or("", |part| part.as_str()));
            }
            Some('\\') | None => out.push('\\'),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
        }
    }
}

fn replace_from(
    text: &str,
    regex: &Regex,
    template: &str,
    start: usize,
    which: Option<usize>,
    out: &mut String,
) {
    let mut at = 0;
    for (index, found) in regex.captures_iter(&text[start..]).enumerate() {
        let Some(all) = found.get(0) else { continue };
        if which.is_some_and(|which| which != index + 1) {
            continue;
        }
        out.push_str(&text[at..start + all.start()]);
        replacement(template, &found, out);
        at = start + all.end();
        if which.is_some() {
            break;
        }
    }
    out.push_str(&text[at..]);
}

fn regexp_replace(call: &Call<'_>) -> Outcome {
    let (texts, patterns, templates) = (call.texts(0), call.texts(1), call.texts(2));
    let flags = call.texts_if(3);
    let mut known = Patterns::default();
    call.text(|row, out| {
        let flags = flags.as_ref().map_or("", |flags| flags.get(row));
        let which = if flags.contains('g') { None } else { Some(1) };
        let regex = known.of(patterns.get(row), flags)?;
        replace_from(texts.get(row), regex, templates.get(row), 0, which, out);
        Ok(true)
    })
}

/// `regexp_replace(text, pattern, replacement, start, n [, flags])`.
fn regexp_replace_from(call: &Call<'_>) -> Outcome {
    let (texts, patterns, templates) = (call.texts(0), call.texts(1), call.texts(2));
    let starts = call.values::<Int32Type>(3);
    let counts = call.values_if::<Int32Type>(4);
    let flags = call.texts_if(5);
    let mut known = Patterns::default();
    call.text(|row, out| {
        let flags = flags.as_ref().map_or("", |flags| flags.get(row));
        let text = texts.get(row);
        let start = start_of(text, starts.get(row))?;
        let which = match counts.as_ref().map_or(1, |counts| counts.get(row)) {
            0 => None,
            count => usize::try_from(count).ok(),
        };
        let regex = known.of(patterns.get(row), flags)?;
        replace_from(text, regex, templates.get(row), start, which, out);
        Ok(true)
    })
}

/// The byte where a character's place is, counted from 1.
fn start_of(text: &str, place: i32) -> Result<usize, FederationError> {
    let skip = usize::try_from(place)
        .ok()
        .filter(|place| *place > 0)
        .ok_or_else(|| value_error("22023", format!("invalid value for parameter \"start\": {place}")))?
        - 1;
    Ok(text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at))
}

/// The groups of a match, or all of it where there are none.
fn groups(found: &regex::Captures<'_>) -> Vec<Option<String>> {
    let first = usize::from(found.len() > 1);
    (first..found.len())
        .map(|index| found.get(index).map(|part| part.as_str().to_owned()))
        .collect()
}

fn regexp_match(call: &Call<'_>) -> Outcome {
    let (texts, patterns) = (call.texts(0), call.texts(1));
    let flags = call.texts_if(2);
    let mut known = Patterns::default();
    call.text_lists(|row| {
        let flags = flags.as_ref().map_or("", |flags| flags.get(row));
        Ok(known
            .of(patterns.get(row), flags)?
            .captures(texts.get(row))
            .map(|found| groups(&found)))
    })
}

/// The matches of `regexp_matches`, each an array: all with the flag `g`, else the first.
fn regexp_matches(call: &Call<'_>) -> Outcome {
    use arrow::array::{ListBuilder, StringBuilder};
    let (texts, patterns) = (call.texts(0), call.texts(1));
    let flags = call.texts_if(2);
    let mut known = Patterns::default();
    let mut out = ListBuilder::new(ListBuilder::new(StringBuilder::new()));
    for row in 0..call.rows {
        if call.skips(row) {
            out.append(false);
            continue;
        }
        let flags = flags.as_ref().map_or("", |flags| flags.get(row));
        let most = if flags.contains('g') { usize::MAX } else { 1 };
        let regex = known.of(patterns.get(row), flags)?;
        for found in regex.captures_iter(texts.get(row)).take(most) {
            for group in groups(&found) {
                out.values().values().append_option(group);
            }
            out.values().append(true);
        }
        out.append(true);
    }
    Ok(std::sync::Arc::new(out.finish()))
}

fn matches_field(_: &[arrow::datatypes::FieldRef]) -> Result<arrow::datatypes::Field, FederationError> {
    use arrow::datatypes::{DataType, Field};
    let texts = DataType::new_list(DataType::Utf8, true);
    Ok(Field::new("", DataType::new_list(texts, true), true))
}

fn regexp_split(call: &Call<'_>) -> Outcome {
    let (texts, patterns) = (call.texts(0), call.texts(1));
    let flags = call.texts_if(2);
    let mut known = Patterns::default();
    call.text_lists(|row| {
        let flags = flags.as_ref().map_or("", |flags| flags.get(row));
        let text = texts.get(row);
        let regex = known.of(patterns.get(row), flags)?;
        let mut parts = Vec::new();
        let mut at = 0;
        for found in regex.find_iter(text) {
            // an empty match at either end splits nothing
            if found.is_empty() && (found.start() == 0 || found.start() == text.len()) {
                continue;
            }
            parts.push(Some(text[at..found.start()].to_owned()));
            at = found.end();
        }
        parts.push(Some(text[at..].to_owned()));
        Ok(Some(parts))
    })
}

fn regexp_count(call: &Call<'_>) -> Outcome {
    let (texts, patterns) = (call.texts(0), call.texts(1));
    let starts = call.values_if::<Int32Type>(2);
    let flags = call.texts_if(3);
    let mut known = Patterns::default();
    call.each::<Int32Type>(|row| {
        let flags = flags.as_ref().map_or("", |flags| flags.get(row));
        let text = texts.get(row);
        let start = match &starts {
            Some(starts) => start_of(text, starts.get(row))?,
            None => 0,
        };
        let count = known
            .of(patterns.get(row), flags)?
            .find_iter(&text[start..])
            .count();
        Ok(Some(count as i32))
    })
}

fn regexp_like(call: &Call<'_>) -> Outcome {
    let (texts, patterns) = (call.texts(0), call.texts(1));
    let flags = call.texts_if(2);
    let mut known = Patterns::default();
    call.truth(|row| {
        let flags = flags.as_ref().map_or("", |flags| flags.get(row));
        Ok(Some(known.of(patterns.get(row), flags)?.is_match(texts.get(row))))
    })
}

/// The n-th match behind a place: text, pattern, start, n.
fn nth_match<'t>(
    call: &Call<'_>,
    row: usize,
    text: &'t str,
    known: &mut Patterns,
) -> Result<Option<regex::Match<'t>>, FederationError> {
    let patterns = call.texts(1);
    let start = match call.values_if::<Int32Type>(2) {
        Some(starts) => start_of(text, starts.get(row))?,
        None => 0,
    };
    let which = call.values_if::<Int32Type>(3).map_or(1, |counts| counts.get(row));
    let which = usize::try_from(which)
        .ok()
        .filter(|which| *which > 0)
        .ok_or_else(|| value_error("22023", format!("invalid value for parameter \"n\": {which}")))?;
    Ok(known
        .of(patterns.get(row), "")?
        .find_iter_at(text, start)
        .nth(which - 1))
}

trait FindFrom {
    fn find_iter_at<'t>(&self, text: &'t str, start: usize) -> std::vec::IntoIter<regex::Match<'t>>;
}

impl FindFrom for Regex {
    fn find_iter_at<'t>(&self, text: &'t str, start: usize) -> std::vec::IntoIter<regex::Match<'t>> {
        let mut at = start;
        let mut found = Vec::new();
        while at <= text.len() {
            let Some(next) = self.find_at(text, at) else { break };
            at = if next.is_empty() {
                text[next.end()..]
                    .chars()
                    .next()
                    .map_or(text.len() + 1, |character| next.end() + character.len_utf8())
            } else {
                next.end()
            };
            found.push(next);
        }
        found.into_iter()
    }
}

fn regexp_substr(call: &Call<'_>) -> Outcome {
    let texts = call.texts(0);
    let mut known = Patterns::default();
    call.text(|row, out| {
        Ok(match nth_match(call, row, texts.get(row), &mut known)? {
            Some(found) => {
                out.push_str(found.as_str());
                true
            }
            None => false,
        })
    })
}

fn regexp_instr(call: &Call<'_>) -> Outcome {
    let texts = call.texts(0);
    let mut known = Patterns::default();
    call.each::<Int32Type>(|row| {
        let text = texts.get(row);
        let found = nth_match(call, row, text, &mut known)?;
        Ok(Some(found.map_or(0, |found| {
            text[..found.start()].chars().count() as i32 + 1
        })))
    })
}

fn like_escape(call: &Call<'_>) -> Outcome {
    let (patterns, escapes) = (call.texts(0), call.texts(1));
    call.text(|row, out| {
        out.push_str(&like_pattern(patterns.get(row), escapes.get(row)));
        Ok(true)
    })
}

pub(super) fn functions() -> Vec<Function> {
    const TRUTH: Returns = Returns::Type(&types::BOOL);
    const TEXT_RESULT: Returns = Returns::Type(&types::TEXT);
    const INT4_RESULT: Returns = Returns::Type(&types::INT4);
    const LIST: Returns = Returns::ArrayOf(&types::TEXT);
    vec![
        function("lakegate_regex", [overload(&[TEXT, TEXT], TRUTH, matches_case)]).shown("~"),
        function(
            "lakegate_iregex",
            [overload(&[TEXT, TEXT], TRUTH, matches_any_case)],
        )
        .shown("~*"),
        function(
            "lakegate_similar_to",
            [overload(&[TEXT, TEXT, TEXT], TRUTH, similar_to)],
        )
        .shown("similar_to"),
        function(
            "regexp_replace",
            [
                overload(&[TEXT, TEXT, TEXT, TEXT], TEXT_RESULT, regexp_replace).optional(1),
                overload(
                    &[TEXT, TEXT, TEXT, INT4, INT4, TEXT],
                    TEXT_RESULT,
                    regexp_replace_from,
                )
                .optional(2),
            ],
        ),
        function(
            "regexp_match",
            [overload(&[TEXT, TEXT, TEXT], LIST, regexp_match).optional(1)],
        ),
        function(
            "lakegate_regexp_matches",
            [overload(&[TEXT, TEXT, TEXT], Returns::From(matches_field), regexp_matches).optional(1)],
        )
        .shown("regexp_matches"),
        function(
            "regexp_split_to_array",
            [overload(&[TEXT, TEXT, TEXT], LIST, regexp_split).optional(1)],
        ),
        function(
            "regexp_count",
            [overload(&[TEXT, TEXT, INT4, TEXT], INT4_RESULT, regexp_count).optional(2)],
        ),
        function(
            "regexp_like",
            [overload(&[TEXT, TEXT, TEXT], TRUTH, regexp_like).optional(1)],
        ),
        function(
            "regexp_substr",
            [overload(&[TEXT, TEXT, INT4, INT4], TEXT_RESULT, regexp_substr).optional(2)],
        ),
        function(
            "regexp_instr",
            [overload(&[TEXT, TEXT, INT4, INT4], INT4_RESULT, regexp_instr).optional(2)],
        ),
        function("like_escape", [overload(&[TEXT, TEXT], TEXT_RESULT, like_escape)]),
    ]
}
