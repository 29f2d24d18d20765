//! Text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, StringArray};
use arrow::datatypes::{DataType, Int32Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::pattern;
use super::quote::{format, parse_ident, quote_ident, quote_literal, quote_nullable};
use super::scaffold::{BYTEA, Call, Function, INT4, Kind, Outcome, Returns, TEXT, function, overload};
use crate::cast;
use crate::error::FederationError;
use crate::types;
use crate::values::read::{bytes, value_error};

const TEXT_RESULT: Returns = Returns::Type(&types::TEXT);
const INT4_RESULT: Returns = Returns::Type(&types::INT4);
const BYTEA_RESULT: Returns = Returns::Type(&types::BYTEA);

/// The values of any argument as their output functions print them.
pub(super) fn printed(call: &Call<'_>, index: usize) -> Result<StringArray, FederationError> {
    let argument = &call.arguments[index];
    if argument.array.data_type().is_null() {
        return Ok(StringArray::new_null(argument.array.len()));
    }
    cast::output(&argument.array, types::of_field(&argument.field), call.context)
}

/// The elements of an array, printed.
pub(super) fn elements(
    list: &ArrayRef,
    context: &crate::cast::Context,
) -> Result<StringArray, FederationError> {
    cast::output(list, types::of_data_type(list.data_type()), context)
}

/// All arguments from one on, printed.
pub(super) fn all_printed(call: &Call<'_>, from: usize) -> Result<Vec<StringArray>, FederationError> {
    (from..call.count()).map(|index| printed(call, index)).collect()
}

fn concat(call: &Call<'_>) -> Outcome {
    let columns = all_printed(call, 0)?;
    call.text(|row, out| {
        for (index, column) in columns.iter().enumerate() {
            let at = call.arguments[index].at(row);
            if column.is_valid(at) {
                out.push_str(column.value(at));
            }
        }
        Ok(true)
    })
}

fn concat_ws(call: &Call<'_>) -> Outcome {
    let separators = call.texts(0);
    let columns = all_printed(call, 1)?;
    call.text(|row, out| {
        let Some(separator) = separators.optional(row) else {
            return Ok(false);
        };
        let mut first = true;
        for (index, column) in columns.iter().enumerate() {
            let at = call.arguments[index + 1].at(row);
            if column.is_valid(at) {
                if !first {
                    out.push_str(separator);
                }
                out.push_str(column.value(at));
                first = false;
            }
        }
        Ok(true)
    })
}

/// One letter for one letter: `ß` has no single upper-case form and stays.
fn mapped<I: ExactSizeIterator<Item = char>>(character: char, mut mapping: I) -> char {
    match (mapping.len(), mapping.next()) {
        (1, Some(mapped)) => mapped,
        _ => character,
    }
}

fn upper(call: &Call<'_>) -> Outcome {
    let texts = call.texts(0);
    call.text(|row, out| {
        out.extend(
            texts
                .get(row)
                .chars()
                .map(|character| mapped(character, character.to_uppercase())),
        );
        Ok(true)
    })
}

fn lower(call: &Call<'_>) -> Outcome {
    let texts = call.texts(0);
    call.text(|row, out| {
        out.extend(
            texts
                .get(row)
                .chars()
                .map(|character| mapped(character, character.to_lowercase())),
        );
        Ok(true)
    })
}

fn initcap(call: &Call<'_>) -> Outcome {
    let texts = call.texts(0);
    call.text(|row, out| {
        let mut within = false;
        for character in texts.get(row).chars() {
            out.push(if within {
                mapped(character, character.to_lowercase())
            } else {
                mapped(character, character.to_uppercase())
            });
            within = character.is_alphanumeric();
        }
        Ok(true)
    })
}

fn characters(call: &Call<'_>) -> Outcome {
    let texts = call.texts(0);
    call.each::<Int32Type>(|row| Ok(Some(texts.get(row).chars().count() as i32)))
}

fn byte_count(call: &Call<'_>) -> Outcome {
    let argument = &call.arguments[0];
    let values = argument.array.as_binary::<i32>();
    call.each::<Int32Type>(|row| Ok(Some(values.value(argument.at(row)).len() as i32)))
}

/// Characters `from..until`, counted from 1.
fn slice(text: &str, from: i64, until: i64, out: &mut String) {
    if until <= from || until <= 1 {
        return;
    }
    let skip = usize::try_from(from.max(1) - 1).unwrap_or(usize::MAX);
    let take = usize::try_from(until - from.max(1)).unwrap_or(usize::MAX);
    if text.is_ascii() {
        let start = skip.min(text.len());
        out.push_str(&text[start..start.saturating_add(take).min(text.len())]);
    } else {
        out.extend(text.chars().skip(skip).take(take));
    }
}

fn substring(call: &Call<'_>) -> Outcome {
    let (texts, starts) = (call.texts(0), call.values::<Int32Type>(1));
    let counts = call.values_if::<Int32Type>(2);
    call.text(|row, out| {
        let from = i64::from(starts.get(row));
        let until = match &counts {
            Some(counts) => {
                let count = counts.get(row);
                if count < 0 {
                    return Err(value_error("22011", "negative substring length not allowed"));
                }
                from + i64::from(count)
            }
            None => i64::MAX,
        };
        slice(texts.get(row), from, until, out);
        Ok(true)
    })
}

fn substring_of_bytes(call: &Call<'_>) -> Outcome {
    let argument = &call.arguments[0];
    let values = argument.array.as_binary::<i32>();
    let starts = call.values::<Int32Type>(1);
    let counts = call.values_if::<Int32Type>(2);
    bytes_of(call, |row| {
        let value = values.value(argument.at(row));
        let from = i64::from(starts.get(row));
        let until = match &counts {
            Some(counts) if counts.get(row) < 0 => {
                return Err(value_error("22011", "negative substring length not allowed"));
            }
            Some(counts) => from + i64::from(counts.get(row)),
            None => i64::MAX,
        };
        let clamp = |place: i64| usize::try_from(place - 1).unwrap_or(0).min(value.len());
        Ok(value[clamp(from)..clamp(until.max(from.max(1)))].to_vec())
    })
}

fn bytes_of(call: &Call<'_>, value: impl Fn(usize) -> Result<Vec<u8>, FederationError>) -> Outcome {
    let mut out = BinaryBuilder::new();
    for row in 0..call.rows {
        if call.skips(row) {
            out.append_null();
        } else {
            out.append_value(value(row)?);
        }
    }
    Ok(Arc::new(out.finish()))
}

fn chr(call: &Call<'_>) -> Outcome {
    let codes = call.values::<Int32Type>(0);
    call.text(|row, out| {
        let code = codes.get(row);
        if code == 0 {
            return Err(value_error("54000", "null character not permitted"));
        }
        let character = u32::try_from(code).ok().and_then(char::from_u32).ok_or_else(|| {
            value_error(
                "54000",
                format!("requested character too large for encoding: {code}"),
            )
        })?;
        out.push(character);
        Ok(true)
    })
}

fn encode(call: &Call<'_>) -> Outcome {
    let argument = &call.arguments[0];
    let values = argument.array.as_binary::<i32>();
    let formats = call.texts(1);
    call.text(|row, out| {
        let value = values.value(argument.at(row));
        match formats.get(row).to_ascii_lowercase().as_str() {
            "hex" => value.iter().for_each(|byte| {
                let _ = write!(out, "{byte:02x}");
            }),
            "base64" => {
                // a line holds 76 characters
                let encoded = STANDARD.encode(value);
                for (index, character) in encoded.chars().enumerate() {
                    if index > 0 && index % 76 == 0 {
                        out.push('\n');
                    }
                    out.push(character);
                }
            }
            "escape" => {
                for byte in value {
                    match byte {
                        b'\\' => out.push_str("\\\\"),
                        0 | 0x80.. => {
                            let _ = write!(out, "\\{byte:03o}");
                        }
                        other => out.push(char::from(*other)),
                    }
                }
            }
            other => {
                return Err(value_error(
                    "22023",
                    format!("unrecognized encoding: \"{other}\""),
                ));
            }
        }
        Ok(true)
    })
}

fn decode(call: &Call<'_>) -> Outcome {
    let (texts, formats) = (call.texts(0), call.texts(1));
    bytes_of(call, |row| {
        let text = texts.get(row);
        match formats.get(row).to_ascii_lowercase().as_str() {
            "hex" => bytes::hex(text),
            "base64" => {
                let compact: String = text
                    .chars()
                    .filter(|character| !character.is_ascii_whitespace())
                    .collect();
                STANDARD
                    .decode(compact)
                    .map_err(|error| value_error("22023", format!("invalid base64 data: {error}")))
            }
            "escape" => bytes::bytea(text),
            other => Err(value_error(
                "22023",
                format!("unrecognized encoding: \"{other}\""),
            )),
        }
    })
}

fn string_to_array(call: &Call<'_>) -> Outcome {
    let (texts, delimiters) = (call.texts(0), call.texts(1));
    let nulls = call.texts_if(2);
    call.text_lists(|row| {
        let Some(text) = texts.optional(row) else {
            return Ok(None);
        };
        let null = nulls.as_ref().and_then(|nulls| nulls.optional(row));
        let element = |part: &str| (null != Some(part)).then(|| part.to_owned());
        if text.is_empty() {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(match delimiters.optional(row) {
            // without a delimiter each character is an element
            None => text
                .chars()
                .map(|character| element(character.encode_utf8(&mut [0; 4])))
                .collect(),
            Some("") => vec![element(text)],
            Some(delimiter) => text.split(delimiter).map(element).collect(),
        }))
    })
}

fn array_to_string(call: &Call<'_>) -> Outcome {
    let delimiters = call.texts(1);
    let nulls = call.texts_if(2);
    call.text(|row, out| {
        let (Some(list), Some(delimiter)) = (call.list(0, row), delimiters.optional(row)) else {
            return Ok(false);
        };
        let null = nulls.as_ref().and_then(|nulls| nulls.optional(row));
        let pg_type = types::of_data_type(list.data_type());
        let printed = cast::output(&flat(&list), pg_type, call.context)?;
        let mut first = true;
        for element in &printed {
            let Some(text) = element.or(null) else { continue };
            if !first {
                out.push_str(delimiter);
            }
            out.push_str(text);
            first = false;
        }
        Ok(true)
    })
}

/// The elements of nested lists, one after the other.
fn flat(list: &ArrayRef) -> ArrayRef {
    match list.data_type() {
        DataType::List(_) => flat(list.as_list::<i32>().values()),
        _ => Arc::clone(list),
    }
}

fn bytea_concat(call: &Call<'_>) -> Outcome {
    let sides: Vec<_> = call
        .arguments
        .iter()
        .map(|argument| (argument, argument.array.as_binary::<i32>()))
        .collect();
    bytes_of(call, |row| {
        Ok(sides
            .iter()
            .flat_map(|(argument, values)| values.value(argument.at(row)).iter().copied())
            .collect())
    })
}

fn strpos(call: &Call<'_>) -> Outcome {
    let (texts, parts) = (call.texts(0), call.texts(1));
    call.each::<Int32Type>(|row| {
        let text = texts.get(row);
        Ok(Some(match text.find(parts.get(row)) {
            Some(at) => text[..at].chars().count() as i32 + 1,
            None => 0,
        }))
    })
}

fn starts_with(call: &Call<'_>) -> Outcome {
    let (texts, prefixes) = (call.texts(0), call.texts(1));
    call.truth(|row| Ok(Some(texts.get(row).starts_with(prefixes.get(row)))))
}

fn overlay(call: &Call<'_>) -> Outcome {
    let (texts, parts) = (call.texts(0), call.texts(1));
    let starts = call.values::<Int32Type>(2);
    let counts = call.values_if::<Int32Type>(3);
    call.text(|row, out| {
        let (text, part, from) = (texts.get(row), parts.get(row), i64::from(starts.get(row)));
        if from <= 0 {
            return Err(value_error("22011", "negative substring length not allowed"));
        }
        let count = counts.as_ref().map_or_else(
            || part.chars().count() as i64,
            |counts| i64::from(counts.get(row)),
        );
        slice(text, 1, from, out);
        out.push_str(part);
        slice(text, from + count, i64::MAX, out);
        Ok(true)
    })
}

pub(super) fn functions() -> Vec<Function> {
    const ANY: Kind = Kind::Any;
    let text_of_text = |name: &'static str, body| function(name, [overload(&[TEXT], TEXT_RESULT, body)]);
    let mut functions = vec![
        text_of_text("upper", upper),
        text_of_text("lower", lower),
        text_of_text("initcap", initcap),
        function(
            "concat",
            [overload(&[ANY], TEXT_RESULT, concat).variadic().nullable()],
        )
        .stable(),
        function(
            "concat_ws",
            [overload(&[TEXT, ANY], TEXT_RESULT, concat_ws)
                .variadic()
                .nullable()],
        )
        .stable(),
        function(
            "length",
            [
                overload(&[TEXT], INT4_RESULT, characters),
                overload(&[BYTEA], INT4_RESULT, byte_count),
            ],
        ),
        function("chr", [overload(&[INT4], TEXT_RESULT, chr)]),
        function("encode", [overload(&[BYTEA, TEXT], TEXT_RESULT, encode)]),
        function("decode", [overload(&[TEXT, TEXT], BYTEA_RESULT, decode)]),
        text_of_text("quote_ident", quote_ident),
        function("quote_literal", [overload(&[ANY], TEXT_RESULT, quote_literal)]).stable(),
        function(
            "quote_nullable",
            [overload(&[ANY], TEXT_RESULT, quote_nullable).nullable()],
        )
        .stable(),
        function(
            "format",
            [overload(&[TEXT, ANY], TEXT_RESULT, format).variadic().nullable()],
        )
        .stable(),
        function(
            "parse_ident",
            [overload(&[TEXT], Returns::ArrayOf(&types::TEXT), parse_ident)],
        ),
        function(
            "string_to_array",
            [overload(
                &[TEXT, TEXT, TEXT],
                Returns::ArrayOf(&types::TEXT),
                string_to_array,
            )
            .optional(1)
            .nullable()],
        ),
        function(
            "array_to_string",
            [overload(&[Kind::Array, TEXT, TEXT], TEXT_RESULT, array_to_string)
                .optional(1)
                .nullable()],
        )
        .stable(),
        function(
            "lakegate_bytea_concat",
            [overload(&[BYTEA, BYTEA], BYTEA_RESULT, bytea_concat)],
        )
        .shown("||"),
        function("strpos", [overload(&[TEXT, TEXT], INT4_RESULT, strpos)]),
        function(
            "starts_with",
            [overload(&[TEXT, TEXT], Returns::Type(&types::BOOL), starts_with)],
        ),
        function(
            "overlay",
            [overload(&[TEXT, TEXT, INT4, INT4], TEXT_RESULT, overlay).optional(1)],
        ),
    ];
    for name in ["char_length", "character_length"] {
        functions.push(function(name, [overload(&[TEXT], INT4_RESULT, characters)]));
    }
    for name in ["substring", "substr"] {
        functions.push(function(
            name,
            [
                overload(&[TEXT, INT4, INT4], TEXT_RESULT, substring).optional(1),
                overload(&[BYTEA, INT4, INT4], BYTEA_RESULT, substring_of_bytes).optional(1),
                overload(&[TEXT, TEXT], TEXT_RESULT, pattern::substring),
                overload(&[TEXT, TEXT, TEXT], TEXT_RESULT, pattern::substring_similar),
            ],
        ));
    }
    functions
}
