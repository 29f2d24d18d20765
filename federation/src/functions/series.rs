//! `generate_series` as an array.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Builder, Decimal256Builder, Int32Builder, Int64Builder, ListBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, Int32Type, Int64Type, IntervalMonthDayNanoType, TimestampMicrosecondType, i256,
};

use super::scaffold::{
    Call, Function, INT4, INT8, INTERVAL, NUMERIC, Outcome, Returns, TIMESTAMP, TIMESTAMPTZ, function,
    overload,
};
use super::time;
use crate::cast;
use crate::error::{Cause, FederationError};
use crate::values::datetime::ZoneCache;
use crate::values::read::number::rescale;
use crate::values::read::value_error;

/// Elements of the series of one batch: all of them are in memory at once.
const MOST: usize = 20_000_000;

fn zero_step() -> FederationError {
    value_error("22023", "step size cannot equal zero")
}

fn check(count: usize) -> Result<(), FederationError> {
    if count >= MOST {
        return Err(Cause::TooComplex {
            message: format!("series of more than {MOST} elements at once are not supported"),
        }
        .into());
    }
    Ok(())
}

fn list_of(data_type: DataType) -> Field {
    Field::new("", DataType::new_list(data_type, true), true)
}

fn int4_list(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(list_of(DataType::Int32))
}

fn int8_list(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(list_of(DataType::Int64))
}

fn first_list(fields: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(list_of(
        fields
            .first()
            .map_or(DataType::Int32, |field| field.data_type().clone()),
    ))
}

macro_rules! integers {
    ($name:ident, $t:ty, $builder:ty) => {
        fn $name(call: &Call<'_>) -> Outcome {
            let (starts, stops) = (call.values::<$t>(0), call.values::<$t>(1));
            let steps = call.values_if::<$t>(2);
            let mut out = ListBuilder::new(<$builder>::new());
            let mut count = 0;
            for row in 0..call.rows {
                if call.skips(row) {
                    out.append(false);
                    continue;
                }
                let (mut value, stop) = (starts.get(row), stops.get(row));
                let step = steps.as_ref().map_or(1, |steps| steps.get(row));
                if step == 0 {
                    return Err(zero_step());
                }
                while if step > 0 {
                    value <= stop
                } else {
                    value >= stop
                } {
                    check(count)?;
                    out.values().append_value(value);
                    count += 1;
                    match value.checked_add(step) {
                        Some(next) => value = next,
                        None => break,
                    }
                }
                out.append(true);
            }
            Ok(Arc::new(out.finish()))
        }
    };
}

integers!(int4, Int32Type, Int32Builder);
integers!(int8, Int64Type, Int64Builder);

/// The decimal that holds all three.
fn numeric_list(fields: &[FieldRef]) -> Result<Field, FederationError> {
    let digits = |field: &FieldRef| super::arithmetic::digits(field.data_type()).unwrap_or((76, 38));
    let scale = fields.iter().map(|field| digits(field).1).max().unwrap_or(0);
    let whole = fields
        .iter()
        .map(|field| {
            let (precision, scale) = digits(field);
            precision - scale
        })
        .max()
        .unwrap_or(38);
    Ok(list_of(super::arithmetic::widest(whole + scale, scale)))
}

fn numeric(call: &Call<'_>) -> Outcome {
    let (starts, stops) = (call.decimals(0), call.decimals(1));
    let steps = (call.count() > 2).then(|| call.decimals(2));
    let DataType::List(item) = call.returns.data_type() else {
        return Err(FederationError::internal("a series is a list"));
    };
    let (_, scale) = super::arithmetic::digits(item.data_type()).unwrap_or((76, 38));
    let up = |value: i256, from: i32| rescale(value, from, scale).ok_or_else(cast::overflow);
    let mut rows: Vec<Option<Vec<i256>>> = Vec::with_capacity(call.rows);
    let mut count = 0;
    for row in 0..call.rows {
        if call.skips(row) {
            rows.push(None);
            continue;
        }
        let step = match &steps {
            Some(steps) => up(steps.get(row), steps.scale)?,
            None => up(i256::ONE, 0)?,
        };
        if step == i256::ZERO {
            return Err(zero_step());
        }
        let (mut value, stop) = (
            up(starts.get(row), starts.scale)?,
            up(stops.get(row), stops.scale)?,
        );
        let mut values = Vec::new();
        while if step > i256::ZERO {
            value <= stop
        } else {
            value >= stop
        } {
            check(count)?;
            count += 1;
            values.push(value);
            value = value.checked_add(step).ok_or_else(cast::overflow)?;
        }
        rows.push(Some(values));
    }
    let list: ArrayRef = if let DataType::Decimal128(..) = item.data_type() {
        let builder = Decimal128Builder::new().with_data_type(item.data_type().clone());
        let mut out = ListBuilder::new(builder).with_field(Arc::clone(item));
        for row in rows {
            for value in row.iter().flatten() {
                out.values().append_option(value.to_i128());
            }
            out.append(row.is_some());
        }
        Arc::new(out.finish())
    } else {
        let builder = Decimal256Builder::new().with_data_type(item.data_type().clone());
        let mut out = ListBuilder::new(builder).with_field(Arc::clone(item));
        for row in rows {
            for value in row.iter().flatten() {
                out.values().append_value(*value);
            }
            out.append(row.is_some());
        }
        Arc::new(out.finish())
    };
    Ok(list)
}

fn timestamps(call: &Call<'_>) -> Outcome {
    let (starts, stops) = (
        call.values::<TimestampMicrosecondType>(0),
        call.values::<TimestampMicrosecondType>(1),
    );
    let steps = call.values::<IntervalMonthDayNanoType>(2);
    let DataType::List(item) = call.returns.data_type() else {
        return Err(FederationError::internal("a series is a list"));
    };
    let zoned = matches!(item.data_type(), DataType::Timestamp(_, Some(_)));
    let zone = ZoneCache::new(call.context.zone.clone());
    let builder = TimestampMicrosecondBuilder::new().with_data_type(item.data_type().clone());
    let mut out = ListBuilder::new(builder).with_field(Arc::clone(item));
    let mut count = 0;
    for row in 0..call.rows {
        if call.skips(row) {
            out.append(false);
            continue;
        }
        let step = time::interval(steps.get(row));
        let length = i128::from(step.months) * 30 * 86_400_000_000
            + i128::from(step.days) * 86_400_000_000
            + i128::from(step.micros);
        if length == 0 {
            return Err(zero_step());
        }
        let (mut value, stop) = (starts.get(row), stops.get(row));
        while if length > 0 { value <= stop } else { value >= stop } {
            check(count)?;
            out.values().append_value(value);
            count += 1;
            value = if zoned {
                time::add_zoned(value, step, 1, &call.context.zone, &zone)?
            } else {
                time::add(value, step, 1)?
            };
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        function(
            "lakegate_series",
            [
                overload(&[INT4, INT4, INT4], Returns::From(int4_list), int4).optional(1),
                overload(&[INT8, INT8, INT8], Returns::From(int8_list), int8).optional(1),
                overload(&[NUMERIC, NUMERIC, NUMERIC], Returns::From(numeric_list), numeric).optional(1),
                overload(
                    &[TIMESTAMP, TIMESTAMP, INTERVAL],
                    Returns::From(first_list),
                    timestamps,
                ),
                overload(
                    &[TIMESTAMPTZ, TIMESTAMPTZ, INTERVAL],
                    Returns::From(first_list),
                    timestamps,
                ),
            ],
        )
        .stable()
        .shown("generate_series"),
    ]
}
