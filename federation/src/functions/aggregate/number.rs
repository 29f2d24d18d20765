//! Totals of numbers.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Builder, Decimal256Builder, Float32Builder, Float64Builder, Int64Builder,
};
use arrow::datatypes::{DataType, i256};

use crate::cast;
use crate::error::FederationError;
use crate::values::read::number::{divide_half_away, power_of_ten, rescale};

/// What totals are added up in.
pub(super) trait Total: Copy + Default + Send + Sync + 'static {
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
    fn number(self) -> Number;
}

/// What is added up, in a type with more room.
pub(super) trait Widen<T>: Copy {
    fn widen(self) -> T;

    /// The total of one batch, where its room is known to do and nothing depends on the order.
    fn total(values: &[Self]) -> Option<T>;
}

/// A batch has far fewer than 2³¹ values.
macro_rules! widen {
    ($from:ty, $to:ty) => {
        impl Widen<$to> for $from {
            fn widen(self) -> $to {
                self.into()
            }

            fn total(values: &[Self]) -> Option<$to> {
                i32::try_from(values.len())
                    .is_ok()
                    .then(|| values.iter().map(|value| <$to>::from(*value)).sum())
            }
        }
    };
}

widen!(i16, i64);
widen!(i32, i64);
widen!(i64, i128);

macro_rules! as_it_is {
    ($t:ty) => {
        impl Widen<$t> for $t {
            fn widen(self) -> $t {
                self
            }

            fn total(_: &[Self]) -> Option<$t> {
                None
            }
        }
    };
}

as_it_is!(i128);
as_it_is!(i256);
as_it_is!(f64);

impl Widen<f64> for f32 {
    fn widen(self) -> f64 {
        f64::from(self)
    }

    fn total(_: &[Self]) -> Option<f64> {
        None
    }
}

/// A total of any kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Exact(i256),
    Float(f64),
}

macro_rules! exact_total {
    ($t:ty, $number:expr) => {
        impl Total for $t {
            fn plus(self, other: Self) -> Option<Self> {
                self.checked_add(other)
            }

            fn minus(self, other: Self) -> Option<Self> {
                self.checked_sub(other)
            }

            fn number(self) -> Number {
                Number::Exact($number(self))
            }
        }
    };
}

exact_total!(i64, |value| i256::from_i128(i128::from(value)));
exact_total!(i128, i256::from_i128);
exact_total!(i256, |value| value);

impl Total for f64 {
    fn plus(self, other: Self) -> Option<Self> {
        Some(self + other)
    }

    fn minus(self, other: Self) -> Option<Self> {
        Some(self - other)
    }

    fn number(self) -> Number {
        Number::Float(self)
    }
}

/// Scale of a decimal, 0 of other types.
pub(super) fn scale_of(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => i32::from(*scale),
        _ => 0,
    }
}

/// A total divided by a count, with `scale` more digits behind the point than `from`.
pub(super) fn quotient(total: i256, from: i32, count: i64, scale: i32) -> Result<i256, FederationError> {
    let divisor = i256::from_i128(i128::from(count));
    let shift = u32::try_from(scale - from).unwrap_or(0);
    let factor = power_of_ten(shift).ok_or_else(cast::overflow)?;
    if let Some(scaled) = total.checked_mul(factor) {
        return Ok(divide_half_away(scaled, divisor));
    }
    // whole part and rest apart where there is no room for the digits
    let whole = total
        .wrapping_div(divisor)
        .checked_mul(factor)
        .ok_or_else(cast::overflow)?;
    let rest = total
        .wrapping_rem(divisor)
        .checked_mul(factor)
        .ok_or_else(cast::overflow)?;
    Ok(whole + divide_half_away(rest, divisor))
}

/// A column of results of the type; `scale` is that of the numbers given.
pub(super) fn column(
    values: impl Iterator<Item = Result<Option<Number>, FederationError>>,
    scale: i32,
    data_type: &DataType,
) -> Result<ArrayRef, FederationError> {
    let exact = |number: Number| match number {
        Number::Exact(value) => Ok(value),
        Number::Float(value) => Err(FederationError::internal(format!("{value} is no exact number"))),
    };
    let float = |number: Number| match number {
        Number::Exact(value) => cast::decimal_to_f64(value, scale),
        Number::Float(value) => value,
    };
    Ok(match data_type {
        DataType::Int64 => {
            let mut out = Int64Builder::new();
            for value in values {
                out.append_option(match value? {
                    Some(number) => exact(number)?
                        .to_i128()
                        .and_then(|value| i64::try_from(value).ok()),
                    None => None,
                });
            }
            Arc::new(out.finish())
        }
        DataType::Float64 => {
            let mut out = Float64Builder::new();
            for value in values {
                out.append_option(value?.map(float));
            }
            Arc::new(out.finish())
        }
        DataType::Float32 => {
            let mut out = Float32Builder::new();
            for value in values {
                out.append_option(value?.map(|number| float(number) as f32));
            }
            Arc::new(out.finish())
        }
        DataType::Decimal128(_, to) => {
            let mut out = Decimal128Builder::new().with_data_type(data_type.clone());
            for value in values {
                out.append_option(match value? {
                    Some(number) => Some(
                        rescale(exact(number)?, scale, i32::from(*to))
                            .and_then(i256::to_i128)
                            .ok_or_else(cast::overflow)?,
                    ),
                    None => None,
                });
            }
            Arc::new(out.finish())
        }
        DataType::Decimal256(_, to) => {
            let mut out = Decimal256Builder::new().with_data_type(data_type.clone());
            for value in values {
                out.append_option(match value? {
                    Some(number) => {
                        Some(rescale(exact(number)?, scale, i32::from(*to)).ok_or_else(cast::overflow)?)
                    }
                    None => None,
                });
            }
            Arc::new(out.finish())
        }
        other => return Err(FederationError::internal(format!("{other} is no number"))),
    })
}
