//! Casts between booleans, integers, floats and decimals.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Builder, Decimal256Builder, PrimitiveBuilder,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, i256,
};

use super::Target;
use crate::error::{Cause, FederationError};
use crate::types::PgType;
use crate::values::read::number::{Numeric, divide_half_away, power_of_ten, rescale};

fn out_of_range(name: &str) -> FederationError {
    Cause::OutOfRange {
        message: format!("{name} out of range"),
    }
    .into()
}

/// `numeric field overflow`.
pub(crate) fn overflow() -> FederationError {
    Cause::OutOfRange {
        message: "numeric field overflow".into(),
    }
    .into()
}

/// A scale below zero, which Arrow's type does not show: `numeric(5,-2)`.
pub(super) fn negative_scale(target: &Target) -> Option<i32> {
    if target.pg_type.typmod < 4 {
        return None;
    }
    let (_, scale) = crate::types::numeric_typmod(target.pg_type.typmod);
    (scale < 0).then_some(scale)
}

/// `value / 10^from` as a decimal of so many digits.
pub(crate) fn fit(value: i256, from: i32, precision: u8, scale: i8) -> Result<i256, FederationError> {
    let fitted = rescale(value, from, i32::from(scale)).ok_or_else(overflow)?;
    let limit = power_of_ten(u32::from(precision)).ok_or_else(overflow)?;
    if fitted >= limit || fitted <= -limit {
        return Err(overflow());
    }
    Ok(fitted)
}

/// The values of a column of numbers, one by one.
enum Numbers<'a> {
    Integer(Box<dyn Fn(usize) -> i64 + 'a>),
    Float(Box<dyn Fn(usize) -> f64 + 'a>, bool),
    Decimal(Box<dyn Fn(usize) -> i256 + 'a>, i32),
}

fn numbers(array: &ArrayRef) -> Option<Numbers<'_>> {
    macro_rules! read {
        ($t:ty, $make:expr) => {{
            let array = array.as_primitive::<$t>();
            Box::new(move |row| $make(array.value(row)))
        }};
    }
    Some(match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            Numbers::Integer(Box::new(move |row| i64::from(array.value(row))))
        }
        DataType::Int16 => Numbers::Integer(read!(Int16Type, i64::from)),
        DataType::Int32 => Numbers::Integer(read!(Int32Type, i64::from)),
        DataType::Int64 => Numbers::Integer(read!(Int64Type, |value| value)),
        DataType::Float32 => Numbers::Float(read!(Float32Type, f64::from), true),
        DataType::Float64 => Numbers::Float(read!(Float64Type, |value| value), false),
        DataType::Decimal128(_, scale) => {
            Numbers::Decimal(read!(Decimal128Type, i256::from_i128), i32::from(*scale))
        }
        DataType::Decimal256(_, scale) => {
            Numbers::Decimal(read!(Decimal256Type, |value| value), i32::from(*scale))
        }
        _ => return None,
    })
}

fn build<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    wanted: &DataType,
    value: impl Fn(usize) -> Result<T::Native, FederationError>,
) -> Result<ArrayRef, FederationError> {
    let mut out = PrimitiveBuilder::<T>::with_capacity(array.len()).with_data_type(wanted.clone());
    for row in 0..array.len() {
        if array.is_null(row) {
            out.append_null();
        } else {
            out.append_value(value(row)?);
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Casts a column of numbers or booleans.
pub(super) fn cast(
    array: &ArrayRef,
    target: &Target,
    wanted: &DataType,
    from: PgType,
) -> Result<ArrayRef, FederationError> {
    if array.data_type() == wanted && negative_scale(target).is_none() {
        return Ok(Arc::clone(array));
    }
    let numbers = numbers(array)
        .ok_or_else(|| FederationError::internal(format!("{} is no number", array.data_type())))?;
    let name = target.pg_type.base.sql_name;
    match wanted {
        DataType::Boolean => {
            let Numbers::Integer(value) = numbers else {
                return Err(FederationError::internal(format!(
                    "{} is no integer",
                    from.sql_name()
                )));
            };
            let values: BooleanArray = (0..array.len())
                .map(|row| (!array.is_null(row)).then(|| value(row) != 0))
                .collect();
            Ok(Arc::new(values))
        }
        DataType::Int16 => build::<Int16Type>(array, wanted, |row| {
            i16::try_from(integer(&numbers, row, name)?).map_err(|_| out_of_range(name))
        }),
        DataType::Int32 => build::<Int32Type>(array, wanted, |row| {
            i32::try_from(integer(&numbers, row, name)?).map_err(|_| out_of_range(name))
        }),
        DataType::Int64 => {
            let values = build::<Int64Type>(array, wanted, |row| integer(&numbers, row, name))?;
            Ok(values)
        }
        DataType::Float32 => build::<Float32Type>(array, wanted, |row| {
            let value = float(&numbers, row);
            let narrow = value as f32;
            if (narrow.is_infinite() && value.is_finite()) || (narrow == 0.0 && value != 0.0) {
                return Err(Cause::OutOfRange {
                    message: format!(
                        "value out of range: {}",
                        if narrow == 0.0 { "underflow" } else { "overflow" }
                    ),
                }
                .into());
            }
            Ok(narrow)
        }),
        DataType::Float64 => build::<Float64Type>(array, wanted, |row| Ok(float(&numbers, row))),
        DataType::Decimal128(precision, scale) => {
            let mut out = Decimal128Builder::with_capacity(array.len()).with_data_type(wanted.clone());
            for row in 0..array.len() {
                if array.is_null(row) {
                    out.append_null();
                } else {
                    let value = decimal(&numbers, row, target, *precision, *scale)?;
                    out.append_value(value.to_i128().ok_or_else(overflow)?);
                }
            }
            Ok(Arc::new(out.finish()))
        }
        DataType::Decimal256(precision, scale) => {
            let mut out = Decimal256Builder::with_capacity(array.len()).with_data_type(wanted.clone());
            for row in 0..array.len() {
                if array.is_null(row) {
                    out.append_null();
                } else {
                    out.append_value(decimal(&numbers, row, target, *precision, *scale)?);
                }
            }
            Ok(Arc::new(out.finish()))
        }
        other => Err(FederationError::internal(format!("{other} is no number"))),
    }
}

/// Floats round half to even, decimals half away from zero.
fn integer(numbers: &Numbers<'_>, row: usize, name: &str) -> Result<i64, FederationError> {
    match numbers {
        Numbers::Integer(value) => Ok(value(row)),
        Numbers::Float(value, _) => {
            let rounded = value(row).round_ties_even();
            // 2^63 itself is one too many, and NaN is in no range
            if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                Ok(rounded as i64)
            } else {
                Err(out_of_range(name))
            }
        }
        Numbers::Decimal(value, scale) => {
            let rounded = rescale(value(row), *scale, 0).ok_or_else(|| out_of_range(name))?;
            rounded
                .to_i128()
                .and_then(|value| i64::try_from(value).ok())
                .ok_or_else(|| out_of_range(name))
        }
    }
}

fn float(numbers: &Numbers<'_>, row: usize) -> f64 {
    match numbers {
        Numbers::Integer(value) => value(row) as f64,
        Numbers::Float(value, _) => value(row),
        Numbers::Decimal(value, scale) => decimal_to_f64(value(row), *scale),
    }
}

/// The float nearest to a decimal.
pub(crate) fn decimal_to_f64(value: i256, scale: i32) -> f64 {
    // exact as long as both are whole numbers of a float
    if let Some(small) = value.to_i128()
        && small.unsigned_abs() <= 1 << 53
        && (0..=22).contains(&scale)
    {
        return small as f64 / 10_f64.powi(scale);
    }
    // a decimal text reads back as the nearest float
    format!("{value}e{}", -scale).parse().unwrap_or(f64::NAN)
}

/// A float with the digits that it certainly has: 15, or 6 of a `real`.
pub(crate) fn float_digits(value: f64, single: bool) -> Result<Numeric, FederationError> {
    if !value.is_finite() {
        return Err(Cause::OutOfRange {
            message: format!("cannot convert {value} to an exact numeric"),
        }
        .into());
    }
    let text = if single {
        format!("{value:.5e}")
    } else {
        format!("{value:.14e}")
    };
    let mut digits = crate::values::read::number::numeric(&text)?;
    // zeros at the end were not in the float
    let ten = i256::from(10);
    while digits.scale > 0 && digits.unscaled.wrapping_rem(ten) == i256::ZERO {
        digits.unscaled = digits.unscaled.wrapping_div(ten);
        digits.scale -= 1;
    }
    Ok(digits)
}

fn decimal(
    numbers: &Numbers<'_>,
    row: usize,
    target: &Target,
    precision: u8,
    scale: i8,
) -> Result<i256, FederationError> {
    let (value, from) = match numbers {
        Numbers::Integer(value) => (i256::from_i128(i128::from(value(row))), 0),
        Numbers::Float(value, single) => {
            let digits = float_digits(value(row), *single)?;
            (digits.unscaled, digits.scale)
        }
        Numbers::Decimal(value, scale) => (value(row), *scale),
    };
    let Some(coarse) = negative_scale(target) else {
        return fit(value, from, precision, scale);
    };
    let unit = power_of_ten(coarse.unsigned_abs() + from.unsigned_abs()).ok_or_else(overflow)?;
    fit(divide_half_away(value, unit), coarse, precision, scale)
}
