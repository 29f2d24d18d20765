//! Aggregates over an ordered array: what PostgreSQL computes over a sorted group.
//!
//! The dialect makes `percentile_disc(p) WITHIN GROUP (ORDER BY x)` of `array_agg(x ORDER BY x)`, and so on.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Float64Builder, ListBuilder, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};

use super::json;
use super::scaffold::{Call, FLOAT8, Function, Kind, Outcome, Returns, function, overload};
use super::text;
use crate::error::FederationError;
use crate::json as json_text;
use crate::types;
use crate::values::read::value_error;

const LIST: Kind = Kind::Array;
const FLOATS: Kind = Kind::ArrayOf(&types::FLOAT8);

fn item_field(fields: &[FieldRef]) -> Result<Field, FederationError> {
    let array = fields.last().map(|field| field.data_type());
    match array {
        Some(DataType::List(item)) => Ok(item.as_ref().clone()),
        _ => Err(FederationError::internal("an ordered aggregate without an array")),
    }
}

fn list_field(fields: &[FieldRef]) -> Result<Field, FederationError> {
    let item = item_field(fields)?;
    Ok(Field::new(
        "",
        DataType::new_list(item.data_type().clone(), true),
        true,
    ))
}

/// The array without NULLs.
fn values(call: &Call<'_>, row: usize) -> Result<Option<ArrayRef>, FederationError> {
    let Some(list) = call.list(call.count() - 1, row) else {
        return Ok(None);
    };
    if list.null_count() == 0 {
        return Ok((!list.is_empty()).then_some(list));
    }
    let places: UInt32Array = (0..list.len())
        .filter(|index| list.is_valid(*index))
        .map(|index| Some(index as u32))
        .collect();
    Ok((!places.is_empty())
        .then(|| take(&list, &places, None))
        .transpose()?)
}

fn fraction(value: f64) -> Result<f64, FederationError> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(value_error(
            "22003",
            format!("percentile value {value} is not between 0 and 1"),
        ))
    }
}

/// The value whose place is the first at or behind the fraction.
fn discrete_place(fraction: f64, length: usize) -> usize {
    let place = (fraction * length as f64).ceil() as usize;
    place.max(1) - 1
}

fn picked(call: &Call<'_>, pick: impl Fn(usize, &ArrayRef) -> Result<usize, FederationError>) -> Outcome {
    let parts = (0..call.rows)
        .map(|row| {
            Ok(match values(call, row)? {
                Some(values) => values.slice(pick(row, &values)?, 1),
                None => arrow::array::new_null_array(call.returns.data_type(), 1),
            })
        })
        .collect::<Result<Vec<_>, FederationError>>()?;
    if parts.is_empty() {
        return Ok(arrow::array::new_empty_array(call.returns.data_type()));
    }
    Ok(arrow::compute::concat(
        &parts.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
    )?)
}

fn percentile_disc(call: &Call<'_>) -> Outcome {
    let fractions = call.values::<Float64Type>(0);
    picked(call, |row, values| {
        Ok(discrete_place(fraction(fractions.get(row))?, values.len()))
    })
}

fn percentile_disc_list(call: &Call<'_>) -> Outcome {
    let mut parts = Vec::new();
    let mut lengths = Vec::new();
    let mut valid = Vec::new();
    for row in 0..call.rows {
        let (Some(values), Some(fractions)) = (values(call, row)?, call.list(0, row)) else {
            lengths.push(0);
            valid.push(false);
            continue;
        };
        let fractions = fractions.as_primitive::<Float64Type>().clone();
        lengths.push(fractions.len());
        valid.push(true);
        for value in fractions.iter().flatten() {
            parts.push(values.slice(discrete_place(fraction(value)?, values.len()), 1));
        }
    }
    let DataType::List(item) = call.returns.data_type() else {
        return Err(FederationError::internal("a list of percentiles"));
    };
    let values = if parts.is_empty() {
        arrow::array::new_empty_array(item.data_type())
    } else {
        arrow::compute::concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?
    };
    Ok(Arc::new(arrow::array::ListArray::try_new(
        Arc::clone(item),
        arrow::buffer::OffsetBuffer::from_lengths(lengths),
        values,
        Some(valid.into()),
    )?))
}

fn continuous(fraction: f64, values: &Float64Array) -> f64 {
    let place = fraction * (values.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let (low, high) = (values.value(below), values.value(above));
    if below == above {
        low
    } else {
        low + (place - below as f64) * (high - low)
    }
}

fn floats(values: &ArrayRef) -> Result<Float64Array, FederationError> {
    Ok(arrow::compute::cast(values, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .clone())
}

fn percentile_cont(call: &Call<'_>) -> Outcome {
    let fractions = call.values::<Float64Type>(0);
    call.each::<Float64Type>(|row| {
        Ok(match values(call, row)? {
            Some(values) => Some(continuous(fraction(fractions.get(row))?, &floats(&values)?)),
            None => None,
        })
    })
}

fn percentile_cont_list(call: &Call<'_>) -> Outcome {
    let mut out = ListBuilder::new(Float64Builder::new());
    for row in 0..call.rows {
        let (Some(values), Some(fractions)) = (values(call, row)?, call.list(0, row)) else {
            out.append(false);
            continue;
        };
        let values = floats(&values)?;
        for value in fractions.as_primitive::<Float64Type>() {
            let result = match value {
                Some(value) => Some(continuous(fraction(value)?, &values)),
                None => None,
            };
            out.values().append_option(result);
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

/// The most frequent value, the first of several.
fn mode(call: &Call<'_>) -> Outcome {
    picked(call, |_, values| {
        let compare = arrow::array::make_comparator(
            values.as_ref(),
            values.as_ref(),
            arrow::compute::SortOptions::default(),
        )?;
        let (mut best, mut most, mut from) = (0, 0, 0);
        for index in 0..values.len() {
            if compare(index, from).is_ne() {
                from = index;
            }
            if index - from + 1 > most {
                most = index - from + 1;
                best = from;
            }
        }
        Ok(best)
    })
}

/// `json_agg(x)` of `array_agg(x)`.
fn json_list(call: &Call<'_>, binary: bool) -> Outcome {
    call.text(|row, out| {
        let Some(list) = call.list(0, row) else {
            return Ok(false);
        };
        let DataType::List(item) = call.arguments[0].array.data_type() else {
            return Err(FederationError::internal("json_agg without an array"));
        };
        let values = json::values(&list, item, call.context)?;
        let mut all = String::from("[");
        for (index, value) in values.iter().flatten().enumerate() {
            if index > 0 {
                all.push_str(", ");
            }
            // rows stand on lines of their own
            if index > 0 && list.data_type().is_nested() && !binary {
                all.push('\n');
                all.push(' ');
            }
            all.push_str(value);
        }
        all.push(']');
        out.push_str(&if binary { json_text::normalize(&all)? } else { all });
        Ok(true)
    })
}

fn json_agg(call: &Call<'_>) -> Outcome {
    json_list(call, false)
}

fn jsonb_agg(call: &Call<'_>) -> Outcome {
    json_list(call, true)
}

/// `json_object_agg(k, v)` of two arrays.
fn object(call: &Call<'_>, binary: bool) -> Outcome {
    call.text(|row, out| {
        let (Some(keys), Some(list)) = (call.list(0, row), call.list(1, row)) else {
            return Ok(false);
        };
        let DataType::List(item) = call.arguments[1].array.data_type() else {
            return Err(FederationError::internal("json_object_agg without an array"));
        };
        let values = json::values(&list, item, call.context)?;
        let names = text::elements(&keys, call.context)?;
        let mut all = String::from("{ ");
        for (index, (name, value)) in names.iter().zip(values.iter().flatten()).enumerate() {
            if index > 0 {
                all.push_str(", ");
            }
            let name = name.ok_or_else(|| value_error("22004", "field name must not be null"))?;
            json_text::quote(name, &mut all);
            all.push_str(" : ");
            all.push_str(value);
        }
        all.push_str(" }");
        out.push_str(&if binary { json_text::normalize(&all)? } else { all });
        Ok(true)
    })
}

fn json_object_agg(call: &Call<'_>) -> Outcome {
    object(call, false)
}

fn jsonb_object_agg(call: &Call<'_>) -> Outcome {
    object(call, true)
}

pub(super) fn functions() -> Vec<Function> {
    const JSON_RESULT: Returns = Returns::Type(&types::JSON);
    const JSONB_RESULT: Returns = Returns::Type(&types::JSONB);
    vec![
        function(
            "lakegate_percentile_disc",
            [
                overload(&[FLOAT8, LIST], Returns::From(item_field), percentile_disc),
                overload(&[FLOATS, LIST], Returns::From(list_field), percentile_disc_list),
            ],
        )
        .shown("percentile_disc"),
        function(
            "lakegate_percentile_cont",
            [
                overload(&[FLOAT8, LIST], Returns::Type(&types::FLOAT8), percentile_cont),
                overload(
                    &[FLOATS, LIST],
                    Returns::ArrayOf(&types::FLOAT8),
                    percentile_cont_list,
                ),
            ],
        )
        .shown("percentile_cont"),
        function(
            "lakegate_mode",
            [overload(&[LIST], Returns::From(item_field), mode)],
        )
        .shown("mode"),
        function("lakegate_json_agg", [overload(&[LIST], JSON_RESULT, json_agg)])
            .stable()
            .shown("json_agg"),
        function("lakegate_jsonb_agg", [overload(&[LIST], JSONB_RESULT, jsonb_agg)])
            .stable()
            .shown("jsonb_agg"),
        function(
            "lakegate_json_object_agg",
            [overload(&[LIST, LIST], JSON_RESULT, json_object_agg)],
        )
        .stable()
        .shown("json_object_agg"),
        function(
            "lakegate_jsonb_object_agg",
            [overload(&[LIST, LIST], JSONB_RESULT, jsonb_object_agg)],
        )
        .stable()
        .shown("jsonb_object_agg"),
    ]
}
