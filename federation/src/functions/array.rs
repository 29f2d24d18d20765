//! Arrays.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, make_comparator, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type};

use super::scaffold::{Call, Function, INT4, Kind, Outcome, Returns, function, overload};
use crate::error::FederationError;
use crate::types;
use crate::values::read::value_error;

const LIST: Kind = Kind::Array;
const ANY: Kind = Kind::Any;

/// A list column of the given elements, row by row.
fn lists(call: &Call<'_>, rows: Vec<Option<ArrayRef>>) -> Outcome {
    let DataType::List(item) = call.returns.data_type() else {
        return Err(FederationError::internal(format!(
            "{} is no list",
            call.returns.data_type()
        )));
    };
    let valid: Vec<bool> = rows.iter().map(Option::is_some).collect();
    let lengths: Vec<usize> = rows
        .iter()
        .map(|row| row.as_ref().map_or(0, Array::len))
        .collect();
    let parts: Vec<ArrayRef> = rows
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .map(|part| {
            if part.data_type() == item.data_type() {
                Ok(part)
            } else {
                arrow::compute::cast(&part, item.data_type())
            }
        })
        .collect::<Result<_, _>>()?;
    let values = if parts.is_empty() {
        new_empty_array(item.data_type())
    } else {
        concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?
    };
    let list = ListArray::try_new(
        Arc::clone(item),
        OffsetBuffer::from_lengths(lengths),
        values,
        Some(NullBuffer::from(valid)),
    )?;
    Ok(Arc::new(list))
}

/// The type of an argument that is a list.
fn item_of(fields: &[FieldRef], index: usize) -> Result<FieldRef, FederationError> {
    match fields.get(index).map(|field| field.data_type()) {
        Some(DataType::List(item)) => Ok(Arc::clone(item)),
        _ => Err(FederationError::internal("an array function without an array")),
    }
}

fn element_field(fields: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(item_of(fields, 0)?.as_ref().clone())
}

/// `array[i]`: NULL outside of the bounds.
fn element(call: &Call<'_>) -> Outcome {
    let indexes = call.values::<Int32Type>(1);
    let argument = &call.arguments[0];
    let list = argument.array.as_list::<i32>();
    let places: UInt32Array = (0..call.rows)
        .map(|row| {
            if call.skips(row) {
                return None;
            }
            let offsets = list.value_offsets();
            let at = argument.at(row);
            let (from, until) = (offsets[at], offsets[at + 1]);
            let index = indexes.get(row);
            (index >= 1 && index <= until - from).then(|| (from + index - 1).unsigned_abs())
        })
        .collect();
    Ok(take(list.values(), &places, None)?)
}

/// The value of a subquery from all its rows.
fn only(call: &Call<'_>) -> Outcome {
    let argument = &call.arguments[0];
    let list = argument.array.as_list::<i32>();
    let offsets = list.value_offsets();
    let mut places = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let at = argument.at(row);
        let count = if list.is_null(at) {
            0
        } else {
            offsets[at + 1] - offsets[at]
        };
        places.push(match count {
            0 => None,
            1 => Some(offsets[at].unsigned_abs()),
            _ => {
                return Err(value_error(
                    "21000",
                    "more than one row returned by a subquery used as an expression",
                ));
            }
        });
    }
    Ok(take(list.values(), &UInt32Array::from(places), None)?)
}

fn slice(call: &Call<'_>) -> Outcome {
    let (from, until) = (call.values::<Int32Type>(1), call.values::<Int32Type>(2));
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let Some(list) = (if call.skips(row) { None } else { call.list(0, row) }) else {
            rows.push(None);
            continue;
        };
        let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
        let first = i64::from(from.get(row)).max(1);
        let last = i64::from(until.get(row)).min(length);
        let part = if last < first {
            list.slice(0, 0)
        } else {
            list.slice((first - 1) as usize, (last - first + 1) as usize)
        };
        rows.push(Some(part));
    }
    lists(call, rows)
}

/// The length of a dimension; None where there is none or it is empty.
fn dimension(list: &ArrayRef, number: i32) -> Option<usize> {
    if list.is_empty() {
        return None;
    }
    match number {
        1 => Some(list.len()),
        2.. => {
            let inner = list.as_list_opt::<i32>()?;
            inner
                .is_valid(0)
                .then(|| inner.value(0))
                .and_then(|inner| dimension(&inner, number - 1))
        }
        _ => None,
    }
}

fn dimensions(list: &ArrayRef) -> i32 {
    if list.is_empty() {
        return 0;
    }
    match list.as_list_opt::<i32>() {
        Some(inner) if inner.is_valid(0) => 1 + dimensions(&inner.value(0)),
        _ => 1,
    }
}

fn array_length(call: &Call<'_>) -> Outcome {
    let numbers = call.values::<Int32Type>(1);
    call.each::<Int32Type>(|row| {
        Ok(call
            .list(0, row)
            .and_then(|list| dimension(&list, numbers.get(row)))
            .map(|length| length as i32))
    })
}

fn array_lower(call: &Call<'_>) -> Outcome {
    let numbers = call.values::<Int32Type>(1);
    call.each::<Int32Type>(|row| {
        Ok(call
            .list(0, row)
            .and_then(|list| dimension(&list, numbers.get(row)))
            .map(|_| 1))
    })
}

fn array_ndims(call: &Call<'_>) -> Outcome {
    call.each::<Int32Type>(|row| {
        Ok(call
            .list(0, row)
            .map(|list| dimensions(&list))
            .filter(|count| *count > 0))
    })
}

fn array_dims(call: &Call<'_>) -> Outcome {
    call.text(|row, out| {
        let Some(list) = call.list(0, row) else {
            return Ok(false);
        };
        for number in 1.. {
            match dimension(&list, number) {
                // Writing to a string does not fail.
                Some(length) => {
                    let _ = write!(out, "[1:{length}]");
                }
                None => break,
            }
        }
        Ok(!out.is_empty())
    })
}

fn cardinality(call: &Call<'_>) -> Outcome {
    fn count(list: &ArrayRef) -> usize {
        match list.as_list_opt::<i32>() {
            Some(inner) => (0..inner.len()).map(|index| count(&inner.value(index))).sum(),
            None => list.len(),
        }
    }
    call.each::<Int32Type>(|row| Ok(call.list(0, row).map(|list| count(&list) as i32)))
}

/// Whether elements of two arrays are equal; NULLs are none's equal here.
fn same(left: &ArrayRef, at: usize, right: &ArrayRef, other: usize) -> Result<bool, FederationError> {
    if left.is_null(at) || right.is_null(other) {
        return Ok(false);
    }
    let compare = make_comparator(left.as_ref(), right.as_ref(), SortOptions::default())?;
    Ok(compare(at, other).is_eq())
}

/// Both in one type, for comparison.
fn alike(left: ArrayRef, right: ArrayRef) -> Result<(ArrayRef, ArrayRef), FederationError> {
    if left.data_type() == right.data_type() || left.is_empty() || right.is_empty() {
        return Ok((left, right));
    }
    let wider = datafusion::logical_expr::type_coercion::binary::comparison_coercion(
        left.data_type(),
        right.data_type(),
    )
    .ok_or_else(|| {
        value_error(
            "42883",
            format!(
                "operator does not exist: {}[] = {}[]",
                left.data_type(),
                right.data_type()
            ),
        )
    })?;
    Ok((
        arrow::compute::cast(&left, &wider)?,
        arrow::compute::cast(&right, &wider)?,
    ))
}

fn contains_all(left: &ArrayRef, right: &ArrayRef) -> Result<bool, FederationError> {
    for other in 0..right.len() {
        let mut found = false;
        for at in 0..left.len() {
            if same(left, at, right, other)? {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn pairwise(
    call: &Call<'_>,
    test: impl Fn(&ArrayRef, &ArrayRef) -> Result<bool, FederationError>,
) -> Outcome {
    call.truth(|row| {
        let (Some(left), Some(right)) = (call.list(0, row), call.list(1, row)) else {
            return Ok(None);
        };
        let (left, right) = alike(left, right)?;
        test(&left, &right).map(Some)
    })
}

fn array_contains(call: &Call<'_>) -> Outcome {
    pairwise(call, contains_all)
}

fn array_overlaps(call: &Call<'_>) -> Outcome {
    pairwise(call, |left, right| {
        for other in 0..right.len() {
            for at in 0..left.len() {
                if same(left, at, right, other)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    })
}

/// The array, which is empty where a subquery has no rows.
fn rows(call: &Call<'_>) -> Outcome {
    let rows = (0..call.rows)
        .map(|row| {
            let argument = &call.arguments[0];
            let empty = || {
                argument
                    .array
                    .as_list_opt::<i32>()
                    .map(|list| list.values().slice(0, 0))
            };
            call.list(0, row).or_else(empty)
        })
        .collect();
    lists(call, rows)
}

fn filled_field(fields: &[FieldRef]) -> Result<Field, FederationError> {
    let inner = fields
        .first()
        .map_or(DataType::Utf8, |field| field.data_type().clone());
    Ok(Field::new("", DataType::new_list(inner, true), true))
}

fn array_fill(call: &Call<'_>) -> Outcome {
    /// Elements of the arrays of one batch.
    const MOST: usize = 20_000_000;
    let mut rows = Vec::with_capacity(call.rows);
    let mut total = 0;
    for row in 0..call.rows {
        let Some(sizes) = call.list(1, row) else {
            rows.push(None);
            continue;
        };
        let sizes = sizes.as_primitive::<Int32Type>();
        if sizes.len() != 1 {
            return Err(value_error(
                "0A000",
                "arrays of more than one dimension are not filled",
            ));
        }
        let argument = &call.arguments[0];
        let place = argument.at(row) as u32;
        let count = sizes.value(0).max(0) as usize;
        total += count;
        if total > MOST {
            return Err(value_error("54000", "array size exceeds the maximum allowed"));
        }
        let places = UInt32Array::from_value(place, count);
        rows.push(Some(take(&argument.array, &places, None)?));
    }
    lists(call, rows)
}

fn trim_array(call: &Call<'_>) -> Outcome {
    let counts = call.values::<Int32Type>(1);
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let Some(list) = (if call.skips(row) { None } else { call.list(0, row) }) else {
            rows.push(None);
            continue;
        };
        let count = usize::try_from(counts.get(row))
            .ok()
            .filter(|count| *count <= list.len())
            .ok_or_else(|| {
                value_error(
                    "2202E",
                    format!("number of elements to trim must be between 0 and {}", list.len()),
                )
            })?;
        rows.push(Some(list.slice(0, list.len() - count)));
    }
    lists(call, rows)
}

fn int8_list(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(Field::new("", DataType::new_list(DataType::Int64, true), true))
}

fn int4_list(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(Field::new("", DataType::new_list(DataType::Int32, true), true))
}

/// 1, 2, … as far as the longest array: the numbers of WITH ORDINALITY.
fn ordinals(call: &Call<'_>) -> Outcome {
    use arrow::array::Int64Array;
    let rows = (0..call.rows)
        .map(|row| {
            let longest = (0..call.count())
                .filter_map(|index| call.list(index, row))
                .map(|list| list.len())
                .max()
                .unwrap_or(0);
            let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=longest as i64));
            Some(numbers)
        })
        .collect();
    lists(call, rows)
}

fn subscripts(call: &Call<'_>) -> Outcome {
    use arrow::array::Int32Array;
    let numbers = call.values::<Int32Type>(1);
    let backwards = (call.count() > 2).then(|| call.booleans(2));
    let rows = (0..call.rows)
        .map(|row| {
            let length = call
                .list(0, row)
                .and_then(|list| dimension(&list, numbers.get(row)))
                .unwrap_or(0) as i32;
            let reverse = backwards
                .as_ref()
                .is_some_and(|(argument, values)| values.value(argument.at(row)));
            let values: ArrayRef = if reverse {
                Arc::new(Int32Array::from_iter_values((1..=length).rev()))
            } else {
                Arc::new(Int32Array::from_iter_values(1..=length))
            };
            Some(values)
        })
        .collect();
    lists(call, rows)
}

fn positions(call: &Call<'_>, row: usize) -> Result<Option<Vec<i32>>, FederationError> {
    let Some(list) = call.list(0, row) else {
        return Ok(None);
    };
    let argument = &call.arguments[1];
    let wanted = argument.array.slice(argument.at(row), 1);
    let (list, wanted) = alike(list, wanted)?;
    let mut found = Vec::new();
    for at in 0..list.len() {
        let null = list.is_null(at) && wanted.is_null(0);
        if null || same(&list, at, &wanted, 0)? {
            found.push(at as i32 + 1);
        }
    }
    Ok(Some(found))
}

fn array_position(call: &Call<'_>) -> Outcome {
    let starts = call.values_if::<Int32Type>(2);
    call.each::<Int32Type>(|row| {
        let start = starts.as_ref().map_or(1, |starts| starts.get(row));
        Ok(positions(call, row)?.and_then(|found| found.into_iter().find(|place| *place >= start)))
    })
}

fn array_positions(call: &Call<'_>) -> Outcome {
    use arrow::array::Int32Array;
    let mut rows = Vec::with_capacity(call.rows);
    for row in 0..call.rows {
        let values = positions(call, row)?.map(|found| Arc::new(Int32Array::from(found)) as ArrayRef);
        rows.push(values);
    }
    lists(call, rows)
}

pub(super) fn functions() -> Vec<Function> {
    const INT4_RESULT: Returns = Returns::Type(&types::INT4);
    const TRUTH: Returns = Returns::Type(&types::BOOL);
    vec![
        function(
            "lakegate_only",
            [overload(&[LIST], Returns::From(element_field), only).nullable()],
        )
        .shown("only"),
        function(
            "lakegate_rows",
            [overload(&[LIST], Returns::Same(0), rows).nullable()],
        )
        .shown("array"),
        function(
            "lakegate_element",
            [overload(&[LIST, INT4], Returns::From(element_field), element)],
        )
        .shown("element"),
        function(
            "lakegate_slice",
            [overload(&[LIST, INT4, INT4], Returns::Same(0), slice)],
        )
        .shown("slice"),
        function(
            "array_length",
            [overload(&[LIST, INT4], INT4_RESULT, array_length)],
        ),
        function(
            "array_upper",
            [overload(&[LIST, INT4], INT4_RESULT, array_length)],
        ),
        function("array_lower", [overload(&[LIST, INT4], INT4_RESULT, array_lower)]),
        function("array_ndims", [overload(&[LIST], INT4_RESULT, array_ndims)]),
        function(
            "array_dims",
            [overload(&[LIST], Returns::Type(&types::TEXT), array_dims)],
        ),
        function("cardinality", [overload(&[LIST], INT4_RESULT, cardinality)]),
        function(
            "lakegate_array_contains",
            [overload(&[LIST, LIST], TRUTH, array_contains)],
        )
        .shown("@>"),
        function(
            "lakegate_array_overlaps",
            [overload(&[LIST, LIST], TRUTH, array_overlaps)],
        )
        .shown("&&"),
        function(
            "array_fill",
            [overload(
                &[ANY, Kind::ArrayOf(&types::INT4)],
                Returns::From(filled_field),
                array_fill,
            )
            .nullable()],
        ),
        function(
            "trim_array",
            [overload(&[LIST, INT4], Returns::Same(0), trim_array)],
        ),
        function(
            "lakegate_ordinals",
            [overload(&[LIST], Returns::From(int8_list), ordinals)
                .variadic()
                .nullable()],
        )
        .shown("ordinality"),
        function(
            "lakegate_subscripts",
            [overload(
                &[LIST, INT4, super::scaffold::BOOL],
                Returns::From(int4_list),
                subscripts,
            )
            .optional(1)],
        )
        .shown("generate_subscripts"),
        function(
            "array_position",
            [overload(&[LIST, ANY, INT4], INT4_RESULT, array_position)
                .optional(1)
                .nullable()],
        ),
        function(
            "array_positions",
            [overload(&[LIST, ANY], Returns::From(int4_list), array_positions).nullable()],
        ),
    ]
}
