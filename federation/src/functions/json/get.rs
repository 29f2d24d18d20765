//! Parts of JSON values, and questions about them.

use arrow::datatypes::{Field, FieldRef, Int32Type};

use crate::error::FederationError;
use crate::functions::scaffold::{
    Call, Function, INT4, JSON, JSONB, Kind, Outcome, Returns, TEXT, TEXTS, function, overload,
};
use crate::json;
use crate::types::{self, PgType};
use crate::values::read::value_error;

fn put(part: Option<&str>, out: &mut String) -> bool {
    match part {
        Some(part) => {
            out.push_str(part);
            true
        }
        None => false,
    }
}

fn put_text(part: Option<&str>, out: &mut String) -> Result<bool, FederationError> {
    Ok(match part {
        Some(part) => put(json::text_of(part)?.as_deref(), out),
        None => false,
    })
}

fn by_key(call: &Call<'_>) -> Outcome {
    let (values, keys) = (call.texts(0), call.texts(1));
    call.text(|row, out| Ok(put(json::at_key(values.get(row), keys.get(row))?, out)))
}

fn by_index(call: &Call<'_>) -> Outcome {
    let (values, indexes) = (call.texts(0), call.values::<Int32Type>(1));
    call.text(|row, out| {
        Ok(put(
            json::at_index(values.get(row), indexes.get(row).into())?,
            out,
        ))
    })
}

fn text_by_key(call: &Call<'_>) -> Outcome {
    let (values, keys) = (call.texts(0), call.texts(1));
    call.text(|row, out| put_text(json::at_key(values.get(row), keys.get(row))?, out))
}

fn text_by_index(call: &Call<'_>) -> Outcome {
    let (values, indexes) = (call.texts(0), call.values::<Int32Type>(1));
    call.text(|row, out| put_text(json::at_index(values.get(row), indexes.get(row).into())?, out))
}

/// The steps of a path; None where one is NULL.
fn steps(call: &Call<'_>, row: usize) -> Option<Vec<String>> {
    call.text_list(1, row).into_iter().collect()
}

fn by_path(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| match steps(call, row) {
        Some(path) => Ok(put(json::at_path(values.get(row), &path)?, out)),
        None => Ok(false),
    })
}

fn text_by_path(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| match steps(call, row) {
        Some(path) => put_text(json::at_path(values.get(row), &path)?, out),
        None => Ok(false),
    })
}

/// The path of `json_extract_path(value, 'a', 'b')`.
fn argument_path(call: &Call<'_>, row: usize) -> Vec<String> {
    (1..call.count())
        .map(|index| call.texts(index).get(row).to_owned())
        .collect()
}

fn extract_path(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| {
        Ok(put(
            json::at_path(values.get(row), &argument_path(call, row))?,
            out,
        ))
    })
}

fn extract_path_text(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| put_text(json::at_path(values.get(row), &argument_path(call, row))?, out))
}

fn contains(call: &Call<'_>) -> Outcome {
    let (left, right) = (call.texts(0), call.texts(1));
    // the right side is nearly always one constant
    let mut known: Option<(String, json::Value)> = None;
    call.truth(|row| {
        let wanted = right.get(row);
        if known.as_ref().is_none_or(|(text, _)| text != wanted) {
            known = Some((wanted.to_owned(), json::parse(wanted)?.normal()));
        }
        let value = json::parse(left.get(row))?.normal();
        Ok(known.as_ref().map(|(_, wanted)| value.contains(wanted)))
    })
}

/// Whether a text is a key of an object, a string of an array or the string itself.
fn has_key(value: &json::Value, key: &str) -> bool {
    match value {
        json::Value::Object(members) => members.iter().any(|(name, _)| name == key),
        json::Value::Array(elements) => elements
            .iter()
            .any(|element| matches!(element, json::Value::String(text) if text == key)),
        json::Value::String(text) => text == key,
        _ => false,
    }
}

fn has(call: &Call<'_>) -> Outcome {
    let (values, keys) = (call.texts(0), call.texts(1));
    call.truth(|row| Ok(Some(has_key(&json::parse(values.get(row))?, keys.get(row)))))
}

fn has_any(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.truth(|row| {
        let value = json::parse(values.get(row))?;
        let keys = call.text_list(1, row);
        Ok(Some(keys.iter().flatten().any(|key| has_key(&value, key))))
    })
}

fn has_all(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.truth(|row| {
        let value = json::parse(values.get(row))?;
        let keys = call.text_list(1, row);
        Ok(Some(keys.iter().flatten().all(|key| has_key(&value, key))))
    })
}

fn type_of(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| {
        out.push_str(json::kind(values.get(row)).name());
        Ok(true)
    })
}

fn array_length(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.each::<Int32Type>(|row| {
        let value = values.get(row);
        match json::kind(value) {
            json::Kind::Array => Ok(Some(json::members(value)?.len() as i32)),
            json::Kind::Object => Err(value_error("22023", "cannot get array length of a non-array")),
            _ => Err(value_error("22023", "cannot get array length of a scalar")),
        }
    })
}

/// The members of an object or the elements of an array.
fn parts<'a>(
    value: &'a str,
    wanted: json::Kind,
    what: &str,
) -> Result<Vec<(Option<String>, &'a str)>, FederationError> {
    if json::kind(value) != wanted {
        return Err(value_error("22023", format!("cannot {what}")));
    }
    json::members(value)
}

const ELEMENTS: &str = "extract elements from a value that is no array";
const MEMBERS: &str = "deconstruct a value that is no object";

fn elements(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text_lists(|row| {
        let parts = parts(values.get(row), json::Kind::Array, ELEMENTS)?;
        Ok(Some(
            parts.into_iter().map(|(_, raw)| Some(raw.to_owned())).collect(),
        ))
    })
}

fn elements_text(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text_lists(|row| {
        let parts = parts(values.get(row), json::Kind::Array, ELEMENTS)?;
        parts
            .into_iter()
            .map(|(_, raw)| json::text_of(raw))
            .collect::<Result<_, _>>()
            .map(Some)
    })
}

fn keys(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text_lists(|row| {
        let parts = parts(values.get(row), json::Kind::Object, MEMBERS)?;
        Ok(Some(parts.into_iter().map(|(key, _)| key).collect()))
    })
}

fn member_values(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text_lists(|row| {
        let parts = parts(values.get(row), json::Kind::Object, MEMBERS)?;
        Ok(Some(
            parts.into_iter().map(|(_, raw)| Some(raw.to_owned())).collect(),
        ))
    })
}

fn member_texts(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text_lists(|row| {
        let parts = parts(values.get(row), json::Kind::Object, MEMBERS)?;
        parts
            .into_iter()
            .map(|(_, raw)| json::text_of(raw))
            .collect::<Result<_, _>>()
            .map(Some)
    })
}

/// A list of values that are known as JSON.
fn list_of(base: &'static types::BaseType) -> Field {
    use arrow::datatypes::DataType;
    let item = types::field("item", PgType::scalar(base), DataType::Utf8, true);
    Field::new("", DataType::List(std::sync::Arc::new(item)), true)
}

fn json_list(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(list_of(&types::JSON))
}

fn jsonb_list(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(list_of(&types::JSONB))
}

/// As text lists are built, their items do not say that they are JSON.
macro_rules! known_as_json {
    ($name:ident, $body:ident) => {
        fn $name(call: &Call<'_>) -> Outcome {
            super::build::with_item(call, $body(call)?)
        }
    };
}

known_as_json!(json_elements, elements);
known_as_json!(json_values, member_values);

pub(super) fn functions() -> Vec<Function> {
    type Variant = (
        &'static str,
        &'static str,
        Kind,
        Returns,
        fn(&[FieldRef]) -> Result<Field, FederationError>,
    );
    const JSON_RESULT: Returns = Returns::Type(&types::JSON);
    const JSONB_RESULT: Returns = Returns::Type(&types::JSONB);
    const TEXT_RESULT: Returns = Returns::Type(&types::TEXT);
    const INT4_RESULT: Returns = Returns::Type(&types::INT4);
    const TRUTH: Returns = Returns::Type(&types::BOOL);
    const LIST: Returns = Returns::ArrayOf(&types::TEXT);
    let mut functions = vec![
        function(
            "lakegate_jsonb_contains",
            [overload(&[JSONB, JSONB], TRUTH, contains)],
        )
        .shown("@>"),
        function("lakegate_jsonb_has", [overload(&[JSONB, TEXT], TRUTH, has)]).shown("?"),
        function(
            "lakegate_jsonb_has_any",
            [overload(&[JSONB, TEXTS], TRUTH, has_any)],
        )
        .shown("?|"),
        function(
            "lakegate_jsonb_has_all",
            [overload(&[JSONB, TEXTS], TRUTH, has_all)],
        )
        .shown("?&"),
    ];
    let variants: [Variant; 2] = [
        ("json", "lakegate_json", JSON, JSON_RESULT, json_list),
        ("jsonb", "lakegate_jsonb", JSONB, JSONB_RESULT, jsonb_list),
    ];
    for (name, prefix, kind, own, list) in variants {
        let json = kind == JSON;
        let of = |params: &'static [Kind], other: &'static [Kind]| if json { params } else { other };
        functions.extend([
            function(
                format!("{prefix}_get"),
                [
                    overload(of(&[JSON, TEXT], &[JSONB, TEXT]), own, by_key),
                    overload(of(&[JSON, INT4], &[JSONB, INT4]), own, by_index),
                ],
            )
            .shown("->"),
            function(
                format!("{prefix}_text"),
                [
                    overload(of(&[JSON, TEXT], &[JSONB, TEXT]), TEXT_RESULT, text_by_key),
                    overload(of(&[JSON, INT4], &[JSONB, INT4]), TEXT_RESULT, text_by_index),
                ],
            )
            .shown("->>"),
            function(
                format!("{prefix}_path"),
                [overload(of(&[JSON, TEXTS], &[JSONB, TEXTS]), own, by_path)],
            )
            .shown("#>"),
            function(
                format!("{prefix}_path_text"),
                [overload(
                    of(&[JSON, TEXTS], &[JSONB, TEXTS]),
                    TEXT_RESULT,
                    text_by_path,
                )],
            )
            .shown("#>>"),
            function(
                format!("{name}_extract_path"),
                [overload(of(&[JSON, TEXT], &[JSONB, TEXT]), own, extract_path).variadic()],
            ),
            function(
                format!("{name}_extract_path_text"),
                [overload(of(&[JSON, TEXT], &[JSONB, TEXT]), TEXT_RESULT, extract_path_text).variadic()],
            ),
            function(
                format!("{name}_typeof"),
                [overload(of(&[JSON], &[JSONB]), TEXT_RESULT, type_of)],
            ),
            function(
                format!("{name}_array_length"),
                [overload(of(&[JSON], &[JSONB]), INT4_RESULT, array_length)],
            ),
            function(
                format!("{prefix}_elements"),
                [overload(
                    of(&[JSON], &[JSONB]),
                    Returns::From(list),
                    json_elements,
                )],
            )
            .shown(format!("{name}_array_elements")),
            function(
                format!("{prefix}_elements_text"),
                [overload(of(&[JSON], &[JSONB]), LIST, elements_text)],
            )
            .shown(format!("{name}_array_elements_text")),
            function(
                format!("{prefix}_keys"),
                [overload(of(&[JSON], &[JSONB]), LIST, keys)],
            )
            .shown(format!("{name}_object_keys")),
            function(
                format!("{prefix}_values"),
                [overload(of(&[JSON], &[JSONB]), Returns::From(list), json_values)],
            )
            .shown(format!("{name}_each")),
            function(
                format!("{prefix}_values_text"),
                [overload(of(&[JSON], &[JSONB]), LIST, member_texts)],
            )
            .shown(format!("{name}_each_text")),
        ]);
    }
    functions
}
