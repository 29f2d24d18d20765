//! Literals and identifiers as text, and `format`, which makes them.

use arrow::array::Array;

use super::scaffold::{Call, Outcome};
use super::text::{all_printed, printed};
use crate::error::FederationError;
use crate::settings::quote_identifier;
use crate::values::read::value_error;

/// A text as a literal: `E'…'` with a backslash in it.
pub(super) fn literal(text: &str, out: &mut String) {
    if text.contains('\\') {
        out.push_str(" E");
    }
    out.push('\'');
    for character in text.chars() {
        if matches!(character, '\'' | '\\') {
            out.push(character);
        }
        out.push(character);
    }
    out.push('\'');
}

pub(super) fn quote_ident(call: &Call<'_>) -> Outcome {
    let texts = call.texts(0);
    call.text(|row, out| {
        out.push_str(&quote_identifier(texts.get(row)));
        Ok(true)
    })
}

pub(super) fn quote_literal(call: &Call<'_>) -> Outcome {
    let texts = printed(call, 0)?;
    call.text(|row, out| {
        literal(texts.value(call.arguments[0].at(row)), out);
        Ok(true)
    })
}

pub(super) fn quote_nullable(call: &Call<'_>) -> Outcome {
    let texts = printed(call, 0)?;
    call.text(|row, out| {
        let at = call.arguments[0].at(row);
        if texts.is_null(at) {
            out.push_str("NULL");
        } else {
            literal(texts.value(at), out);
        }
        Ok(true)
    })
}

/// Bytes of the longest text, as in PostgreSQL.
const MOST_BYTES: usize = 0x3fff_ffff;

/// `format('%s %I %L', …)`, with positions (`%2$s`) and widths (`%-10s`, `%*s`).
pub(super) fn format(call: &Call<'_>) -> Outcome {
    let templates = call.texts(0);
    let columns = all_printed(call, 1)?;
    let argument = |number: usize, row: usize| -> Result<Option<&str>, FederationError> {
        let column = columns
            .get(number.wrapping_sub(1))
            .ok_or_else(|| value_error("22023", "too few arguments for format()"))?;
        let at = call.arguments[number].at(row);
        Ok(column.is_valid(at).then(|| column.value(at)))
    };
    call.text(|row, out| {
        let Some(template) = templates.optional(row) else {
            return Ok(false);
        };
        let mut next = 1;
        let mut characters = template.chars().peekable();
        while let Some(character) = characters.next() {
            if character != '%' {
                out.push(character);
                continue;
            }
            if characters.next_if_eq(&'%').is_some() {
                out.push('%');
                continue;
            }
            let mut digits = String::new();
            while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let mut position = None;
            if !digits.is_empty() && characters.next_if_eq(&'$').is_some() {
                position = digits.parse::<usize>().ok();
                if position == Some(0) {
                    return Err(value_error(
                        "22023",
                        "format specifies argument 0, but arguments are numbered from 1",
                    ));
                }
                digits.clear();
            }
            let mut left = false;
            while characters.next_if_eq(&'-').is_some() {
                left = true;
            }
            while let Some(digit) = characters.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let number_of = |digits: &str| {
                digits
                    .parse::<i32>()
                    .map_err(|_| value_error("22003", "number is out of range"))
            };
            let mut width = if digits.is_empty() { 0 } else { number_of(&digits)? };
            if characters.next_if_eq(&'*').is_some() {
                width = argument(next, row)?.map_or(Ok(0), number_of)?;
                next += 1;
            }
            let conversion = characters
                .next()
                .ok_or_else(|| value_error("22023", "unterminated format() type specifier"))?;
            let number = position.unwrap_or(next);
            if !matches!(conversion, 's' | 'I' | 'L') {
                return Err(value_error(
                    "22023",
                    format!("unrecognized format() type specifier \"{conversion}\""),
                ));
            }
            let value = argument(number, row)?;
            next = number + 1;
            let mut text = String::new();
            match (conversion, value) {
                ('s', value) => text.push_str(value.unwrap_or_default()),
                ('I', Some(value)) => text.push_str(&quote_identifier(value)),
                ('I', None) => {
                    return Err(value_error(
                        "22004",
                        "null values cannot be formatted as an SQL identifier",
                    ));
                }
                (_, Some(value)) => literal(value, &mut text),
                (_, None) => text.push_str("NULL"),
            }
            let left = left || width < 0;
            let missing = usize::try_from(width.unsigned_abs())
                .unwrap_or(0)
                .saturating_sub(text.chars().count());
            if missing + text.len() + out.len() > MOST_BYTES {
                return Err(value_error("54000", "requested length too large"));
            }
            if left {
                out.push_str(&text);
            }
            out.extend(std::iter::repeat_n(' ', missing));
            if !left {
                out.push_str(&text);
            }
        }
        Ok(true)
    })
}

pub(super) fn parse_ident(call: &Call<'_>) -> Outcome {
    let texts = call.texts(0);
    call.text_lists(|row| {
        let text = texts.get(row);
        let wrong = || value_error("22023", format!("string is not a valid identifier: \"{text}\""));
        let mut parts = Vec::new();
        let mut characters = text.trim().chars().peekable();
        loop {
            let mut part = String::new();
            if characters.next_if_eq(&'"').is_some() {
                loop {
                    match characters.next().ok_or_else(wrong)? {
                        '"' if characters.next_if_eq(&'"').is_some() => part.push('"'),
                        '"' => break,
                        other => part.push(other),
                    }
                }
            } else {
                while let Some(character) = characters
                    .next_if(|character| character.is_alphanumeric() || matches!(character, '_' | '$'))
                {
                    part.extend(character.to_lowercase());
                }
            }
            if part.is_empty() {
                return Err(wrong());
            }
            parts.push(Some(part));
            while characters
                .next_if(|character| character.is_whitespace())
                .is_some()
            {}
            match characters.next() {
                None => return Ok(Some(parts)),
                Some('.') => {
                    while characters
                        .next_if(|character| character.is_whitespace())
                        .is_some()
                    {}
                }
                Some(_) => return Err(wrong()),
            }
        }
    })
}
