//! Casts from text: what each type's input function reads.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder,
    PrimitiveBuilder, StringArray, StringBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};

use super::{Context, Target, numeric, time};
use crate::error::{Cause, FederationError};
use crate::json;
use crate::spatial::Geometry;
use crate::values::datetime::Interval;
use crate::values::read;

fn primitive<T: ArrowPrimitiveType>(
    texts: &StringArray,
    data_type: &DataType,
    read: impl Fn(&str) -> Result<T::Native, FederationError>,
) -> Result<ArrayRef, FederationError> {
    let mut out = PrimitiveBuilder::<T>::with_capacity(texts.len()).with_data_type(data_type.clone());
    for text in texts {
        out.append_option(text.map(&read).transpose()?);
    }
    Ok(Arc::new(out.finish()))
}

/// Reads a column of text as the target's type.
pub(super) fn read(
    texts: &StringArray,
    target: &Target,
    wanted: &DataType,
    context: &Context,
) -> Result<ArrayRef, FederationError> {
    if target.pg_type.array {
        return lists(texts, target, wanted, context);
    }
    let integer = |least: i64, most: i64| {
        let name = target.pg_type.base.sql_name;
        move |text: &str| read::number::integer(text, least, most, name)
    };
    match target.pg_type.base.oid {
        16 => {
            let mut out = BooleanBuilder::with_capacity(texts.len());
            for text in texts {
                out.append_option(text.map(read::boolean).transpose()?);
            }
            Ok(Arc::new(out.finish()))
        }
        21 => {
            let read = integer(i64::from(i16::MIN), i64::from(i16::MAX));
            primitive::<Int16Type>(texts, wanted, |text| Ok(read(text)? as i16))
        }
        23 => {
            let read = integer(i64::from(i32::MIN), i64::from(i32::MAX));
            primitive::<Int32Type>(texts, wanted, |text| Ok(read(text)? as i32))
        }
        20 => primitive::<Int64Type>(texts, wanted, integer(i64::MIN, i64::MAX)),
        24 | 26 | 28 | 2202..=2206 | 4089 | 4096 => {
            primitive::<Int64Type>(texts, wanted, integer(0, i64::from(u32::MAX)))
        }
        700 => primitive::<Float32Type>(texts, wanted, read::number::float4),
        701 => primitive::<Float64Type>(texts, wanted, read::number::float8),
        1700 => decimals(texts, target, wanted),
        17 => {
            let mut out = BinaryBuilder::new();
            for text in texts {
                out.append_option(text.map(read::bytes::bytea).transpose()?);
            }
            Ok(Arc::new(out.finish()))
        }
        16380 => {
            let mut out = BinaryBuilder::new();
            for text in texts {
                out.append_option(text.map(read::geometry).transpose()?);
            }
            Ok(Arc::new(out.finish()))
        }
        1082 => primitive::<Date32Type>(texts, wanted, read::datetime::date),
        1083 => primitive::<Time64MicrosecondType>(texts, wanted, |text| {
            Ok(time::round(read::datetime::time(text)?, target.seconds))
        }),
        1114 => primitive::<TimestampMicrosecondType>(texts, wanted, |text| {
            Ok(time::round_timestamp(
                read::datetime::timestamp(text)?,
                target.seconds,
            ))
        }),
        1184 => primitive::<TimestampMicrosecondType>(texts, wanted, |text| {
            let micros = read::datetime::timestamptz(text, &context.zone)?;
            Ok(time::round_timestamp(micros, target.seconds))
        }),
        1186 => primitive::<IntervalMonthDayNanoType>(texts, wanted, |text| {
            let mut interval = read::interval::interval(text, target.range)?;
            interval.micros = time::round(interval.micros, target.seconds);
            arrow_interval(interval)
        }),
        2950 => strings(texts, read::bytes::uuid),
        114 => strings(texts, |text| {
            json::check(text)?;
            Ok(text.to_owned())
        }),
        3802 => strings(texts, json::normalize),
        _ => Ok(Arc::new(texts.clone())),
    }
}

/// Reads a column of WKB or EWKB as geometries, in the one spelling that is stored.
pub(super) fn geometries(values: &BinaryArray) -> Result<ArrayRef, FederationError> {
    let mut out = BinaryBuilder::new();
    for value in values {
        out.append_option(
            value
                .map(Geometry::from_ewkb)
                .transpose()?
                .map(|read| read.ewkb()),
        );
    }
    Ok(Arc::new(out.finish()))
}

fn strings(
    texts: &StringArray,
    read: impl Fn(&str) -> Result<String, FederationError>,
) -> Result<ArrayRef, FederationError> {
    let mut out = StringBuilder::with_capacity(texts.len(), texts.values().len());
    for text in texts {
        out.append_option(text.map(&read).transpose()?);
    }
    Ok(Arc::new(out.finish()))
}

/// An interval with Arrow's nanoseconds.
pub(crate) fn arrow_interval(interval: Interval) -> Result<IntervalMonthDayNano, FederationError> {
    let nanoseconds = interval.micros.checked_mul(1_000).ok_or_else(|| Cause::Value {
        sqlstate: "22008",
        message: "interval out of range".into(),
    })?;
    Ok(IntervalMonthDayNano {
        months: interval.months,
        days: interval.days,
        nanoseconds,
    })
}

fn decimals(texts: &StringArray, target: &Target, wanted: &DataType) -> Result<ArrayRef, FederationError> {
    let read = |text: &str, precision: u8, scale: i8| {
        let value = read::number::numeric(text)?;
        let (value, from) = match numeric::negative_scale(target) {
            // numeric(5,-2) keeps hundreds
            Some(coarse) => {
                let rounded = value.rescale(coarse).ok_or_else(numeric::overflow)?;
                (rounded, coarse)
            }
            None => (value.unscaled, value.scale),
        };
        numeric::fit(value, from, precision, scale)
    };
    match wanted {
        DataType::Decimal128(precision, scale) => {
            let mut out = Decimal128Builder::with_capacity(texts.len()).with_data_type(wanted.clone());
            for text in texts {
                let value = text.map(|text| read(text, *precision, *scale)).transpose()?;
                out.append_option(match value {
                    Some(value) => Some(value.to_i128().ok_or_else(numeric::overflow)?),
                    None => None,
                });
            }
            Ok(Arc::new(out.finish()))
        }
        DataType::Decimal256(precision, scale) => {
            let mut out = Decimal256Builder::with_capacity(texts.len()).with_data_type(wanted.clone());
            for text in texts {
                out.append_option(text.map(|text| read(text, *precision, *scale)).transpose()?);
            }
            Ok(Arc::new(out.finish()))
        }
        other => Err(FederationError::internal(format!("{other} is no decimal"))),
    }
}

/// Reads array literals.
fn lists(
    texts: &StringArray,
    target: &Target,
    wanted: &DataType,
    context: &Context,
) -> Result<ArrayRef, FederationError> {
    let DataType::List(item) = wanted else {
        return Err(FederationError::internal(format!("{wanted} is no list")));
    };
    let mut elements = StringBuilder::new();
    let mut lengths = Vec::with_capacity(texts.len());
    let mut valid = Vec::with_capacity(texts.len());
    for text in texts {
        let parsed = text.map(read::array::elements).transpose()?;
        valid.push(parsed.is_some());
        let parsed = parsed.unwrap_or_default();
        lengths.push(parsed.len());
        for element in parsed {
            elements.append_option(element);
        }
    }
    let values = read(&elements.finish(), &target.element(), item.data_type(), context)?;
    let list = arrow::array::ListArray::try_new(
        Arc::clone(item),
        OffsetBuffer::from_lengths(lengths),
        values,
        Some(NullBuffer::from(valid)),
    )?;
    Ok(Arc::new(list))
}
