//! JSON values made of others.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use arrow::datatypes::DataType;
use bytes::BytesMut;

use crate::cast::Context;
use crate::error::FederationError;
use crate::functions::scaffold::{
    Argument, BOOL, Call, Function, JSON, JSONB, Kind, Outcome, Returns, TEXTS, function, overload,
};
use crate::json;
use crate::types;
use crate::values::read::value_error;
use crate::values::{EncodeContext, json_cells};

/// The list with items of the type that the call returns.
pub(super) fn with_item(call: &Call<'_>, array: ArrayRef) -> Outcome {
    let DataType::List(item) = call.returns.data_type() else {
        return Ok(array);
    };
    let list = array.as_list::<i32>();
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(item),
        list.offsets().clone(),
        Arc::clone(list.values()),
        list.nulls().cloned(),
    )?))
}

/// A column's values as JSON, NULL as `null`.
fn member(argument: &Argument, context: &Context) -> Result<StringArray, FederationError> {
    values(&argument.array, &argument.field, context)
}

/// The values of a column as JSON.
pub(crate) fn values(
    array: &ArrayRef,
    field: &arrow::datatypes::Field,
    context: &Context,
) -> Result<StringArray, FederationError> {
    let pg_type = types::of_field(field);
    let is_json = matches!(pg_type.base.oid, 114 | 3802) && !pg_type.array && !array.data_type().is_nested();
    if let (true, Some(texts)) = (is_json, array.as_string_opt::<i32>()) {
        return Ok(texts.iter().map(|text| Some(text.unwrap_or("null"))).collect());
    }
    let encode = EncodeContext {
        time_zone: context.zone.clone(),
        reg_names: None,
    };
    let cells = json_cells(array.as_ref(), field, &encode);
    let mut scratch = BytesMut::new();
    (0..array.len())
        .map(|row| {
            scratch.clear();
            cells
                .write(row, &mut scratch)
                .map_err(|failure| value_error("22P02", failure.to_string()))?;
            std::str::from_utf8(&scratch)
                .map(|text| Some(text.to_owned()))
                .map_err(|error| FederationError::internal(error.to_string()))
        })
        .collect()
}

/// A built text in its final form.
fn finish(text: String, binary: bool, out: &mut String) -> Result<bool, FederationError> {
    out.push_str(&if binary { json::normalize(&text)? } else { text });
    Ok(true)
}

fn all(call: &Call<'_>) -> Result<Vec<StringArray>, FederationError> {
    call.arguments
        .iter()
        .map(|argument| member(argument, call.context))
        .collect()
}

fn object(call: &Call<'_>, binary: bool) -> Outcome {
    if !call.count().is_multiple_of(2) {
        return Err(value_error(
            "22023",
            "argument list must have even number of elements",
        ));
    }
    let values = all(call)?;
    let keys = (0..call.count())
        .step_by(2)
        .map(|index| crate::functions::text::printed(call, index))
        .collect::<Result<Vec<_>, _>>()?;
    call.text(|row, out| {
        let mut text = String::from("{");
        for (number, key) in keys.iter().enumerate() {
            if number > 0 {
                text.push_str(", ");
            }
            let at = call.arguments[number * 2].at(row);
            if key.is_null(at) {
                return Err(value_error(
                    "22004",
                    format!("argument {}: key must not be null", number * 2 + 1),
                ));
            }
            json::quote(key.value(at), &mut text);
            text.push_str(" : ");
            text.push_str(values[number * 2 + 1].value(call.arguments[number * 2 + 1].at(row)));
        }
        text.push('}');
        finish(text, binary, out)
    })
}

fn array(call: &Call<'_>, binary: bool) -> Outcome {
    let values = all(call)?;
    call.text(|row, out| {
        let mut text = String::from("[");
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            text.push_str(value.value(call.arguments[index].at(row)));
        }
        text.push(']');
        finish(text, binary, out)
    })
}

fn json_object_of(call: &Call<'_>) -> Outcome {
    object(call, false)
}

fn jsonb_object_of(call: &Call<'_>) -> Outcome {
    object(call, true)
}

fn json_array_of(call: &Call<'_>) -> Outcome {
    array(call, false)
}

fn jsonb_array_of(call: &Call<'_>) -> Outcome {
    array(call, true)
}

fn to(call: &Call<'_>, binary: bool) -> Outcome {
    let values = member(&call.arguments[0], call.context)?;
    call.text(|row, out| finish(values.value(call.arguments[0].at(row)).to_owned(), binary, out))
}

fn to_json(call: &Call<'_>) -> Outcome {
    to(call, false)
}

fn to_jsonb(call: &Call<'_>) -> Outcome {
    to(call, true)
}

/// `json_object('{a,1,b,2}')`, `json_object(keys, values)`.
fn object_of_texts(call: &Call<'_>, binary: bool) -> Outcome {
    call.text(|row, out| {
        let first = call.text_list(0, row);
        let pairs: Vec<(Option<String>, Option<String>)> = if call.count() > 1 {
            let second = call.text_list(1, row);
            if first.len() != second.len() {
                return Err(value_error("2202E", "mismatched array dimensions"));
            }
            first.into_iter().zip(second).collect()
        } else {
            if !first.len().is_multiple_of(2) {
                return Err(value_error("2202E", "array must have even number of elements"));
            }
            first
                .chunks(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect()
        };
        let mut text = String::from("{");
        for (index, (key, value)) in pairs.into_iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            let key = key.ok_or_else(|| value_error("22004", "null value not allowed for object key"))?;
            json::quote(&key, &mut text);
            text.push_str(" : ");
            match value {
                Some(value) => json::quote(&value, &mut text),
                None => text.push_str("null"),
            }
        }
        text.push('}');
        finish(text, binary, out)
    })
}

fn json_of_texts(call: &Call<'_>) -> Outcome {
    object_of_texts(call, false)
}

fn jsonb_of_texts(call: &Call<'_>) -> Outcome {
    object_of_texts(call, true)
}

fn without_nulls(value: json::Value) -> json::Value {
    match value {
        json::Value::Object(members) => json::Value::Object(
            members
                .into_iter()
                .filter(|(_, value)| *value != json::Value::Null)
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        json::Value::Array(elements) => json::Value::Array(elements.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn strip_json(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| {
        out.push_str(&without_nulls(json::parse(values.get(row))?).to_json());
        Ok(true)
    })
}

fn strip_jsonb(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| {
        out.push_str(&without_nulls(json::parse(values.get(row))?).normal().to_jsonb());
        Ok(true)
    })
}

fn pretty(call: &Call<'_>) -> Outcome {
    let values = call.texts(0);
    call.text(|row, out| {
        out.push_str(&json::parse(values.get(row))?.normal().pretty());
        Ok(true)
    })
}

pub(super) fn functions() -> Vec<Function> {
    const ANY: Kind = Kind::Any;
    const JSON_RESULT: Returns = Returns::Type(&types::JSON);
    const JSONB_RESULT: Returns = Returns::Type(&types::JSONB);
    let variadic = |name: &'static str, returns, body| {
        function(
            name,
            [
                overload(&[], returns, body).nullable(),
                overload(&[ANY], returns, body).variadic().nullable(),
            ],
        )
        .stable()
    };
    let mut functions = vec![
        variadic("json_build_object", JSON_RESULT, json_object_of),
        variadic("jsonb_build_object", JSONB_RESULT, jsonb_object_of),
        variadic("json_build_array", JSON_RESULT, json_array_of),
        variadic("jsonb_build_array", JSONB_RESULT, jsonb_array_of),
        function("to_jsonb", [overload(&[ANY], JSONB_RESULT, to_jsonb)]).stable(),
        function(
            "json_object",
            [
                overload(&[TEXTS], JSON_RESULT, json_of_texts),
                overload(&[TEXTS, TEXTS], JSON_RESULT, json_of_texts),
            ],
        ),
        function(
            "jsonb_object",
            [
                overload(&[TEXTS], JSONB_RESULT, jsonb_of_texts),
                overload(&[TEXTS, TEXTS], JSONB_RESULT, jsonb_of_texts),
            ],
        ),
        function("json_strip_nulls", [overload(&[JSON], JSON_RESULT, strip_json)]),
        function(
            "jsonb_strip_nulls",
            [overload(&[JSONB], JSONB_RESULT, strip_jsonb)],
        ),
        function(
            "jsonb_pretty",
            [overload(&[JSONB], Returns::Type(&types::TEXT), pretty)],
        ),
    ];
    for name in ["to_json", "row_to_json", "array_to_json"] {
        functions.push(
            function(
                name,
                [
                    overload(&[ANY], JSON_RESULT, to_json),
                    overload(&[ANY, BOOL], JSON_RESULT, to_json),
                ],
            )
            .stable(),
        );
    }
    functions
}
