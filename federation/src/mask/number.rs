//! `round`, `bucket` and `noise`: numbers made coarser. Columns come in their canonical types.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray, StringBuilder,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256,
};
use lakegate_crds::BucketMask;

use super::MaskRefusal;
use super::key::MaskKey;
use super::keyed::Hash;
use crate::error::FederationError;
use crate::values::read::number::{divide_half_away, power_of_ten};

fn wrong(data_type: &DataType) -> FederationError {
    FederationError::internal(format!("a mask of numbers was planned for {data_type}"))
}

/// Each value of an exact column by `change`, which sees it as a whole number of units of its last digit, and the
/// least and most that fit the column; of a float column by `change_float`.
fn changed(
    column: &ArrayRef,
    change: impl Fn(usize, i256, i256) -> i256,
    change_float: impl Fn(usize, f64) -> f64,
) -> Result<ArrayRef, FederationError> {
    fn each<T: ArrowPrimitiveType>(
        column: &ArrayRef,
        change: impl Fn(usize, T::Native) -> T::Native,
    ) -> ArrayRef {
        let column = column.as_primitive::<T>();
        let values: PrimitiveArray<T> = column
            .iter()
            .enumerate()
            .map(|(row, value)| value.map(|value| change(row, value)))
            .collect();
        Arc::new(values.with_data_type(column.data_type().clone()))
    }
    macro_rules! integers {
        ($kind:ty, $native:ty) => {
            each::<$kind>(column, |row, value| {
                let most = i256::from_i128(i128::from(<$native>::MAX));
                let changed = change(row, i256::from_i128(i128::from(value)), most).to_i128();
                // within the bounds by what `change` promises
                changed
                    .and_then(|value| <$native>::try_from(value).ok())
                    .unwrap_or(value)
            })
        };
    }
    let most_of = |precision: u8| {
        power_of_ten(u32::from(precision)).map_or(i256::MAX, |power| power.wrapping_sub(i256::ONE))
    };
    Ok(match column.data_type() {
        DataType::Int16 => integers!(Int16Type, i16),
        DataType::Int32 => integers!(Int32Type, i32),
        DataType::Int64 => integers!(Int64Type, i64),
        DataType::Decimal128(precision, _) => {
            let most = most_of(*precision);
            each::<Decimal128Type>(column, |row, value| {
                change(row, i256::from_i128(value), most)
                    .to_i128()
                    .unwrap_or(value)
            })
        }
        DataType::Decimal256(precision, _) => {
            let most = most_of(*precision);
            each::<Decimal256Type>(column, |row, value| change(row, value, most))
        }
        DataType::Float32 => {
            each::<Float32Type>(column, |row, value| change_float(row, f64::from(value)) as f32)
        }
        DataType::Float64 => each::<Float64Type>(column, change_float),
        other => return Err(wrong(other)),
    })
}

fn is_beyond(value: i256, most: i256) -> bool {
    value > most || value < most.wrapping_neg()
}

/// Half away from zero; towards zero where that is more than the type holds.
pub(super) fn round(column: &ArrayRef, digits: i32) -> Result<ArrayRef, FederationError> {
    let scale = match column.data_type() {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => i32::from(*scale),
        _ => 0,
    };
    let unit = power_of_ten(scale.saturating_sub(digits).max(0).unsigned_abs());
    let factor = 10_f64.powi(digits.abs());
    changed(
        column,
        |_, value, most| {
            // fewer digits than are rounded away
            let Some(unit) = unit else { return i256::ZERO };
            let nearest = divide_half_away(value, unit).checked_mul(unit);
            nearest
                .filter(|nearest| !is_beyond(*nearest, most))
                .unwrap_or_else(|| value.wrapping_sub(value.wrapping_rem(unit)))
        },
        |_, value| {
            let rounded = if digits < 0 {
                (value / factor).round() * factor
            } else {
                (value * factor).round() / factor
            };
            // so large a number has no such digits
            if rounded.is_finite() { rounded } else { value }
        },
    )
}

/// Ranges of numbers, lower bounds included.
pub(super) enum Buckets {
    Width(i128),
    /// Rising.
    Bounds(Vec<i128>),
}

impl Buckets {
    pub(super) fn new(spec: &BucketMask) -> Result<Self, MaskRefusal> {
        match (&spec.width, &spec.bounds) {
            (Some(width), None) if *width > 0 => Ok(Self::Width(i128::from(*width))),
            (None, Some(bounds)) if !bounds.is_empty() && bounds.is_sorted_by(|one, next| one < next) => {
                Ok(Self::Bounds(bounds.iter().copied().map(i128::from).collect()))
            }
            (None, Some(_)) => Err(MaskRefusal::new(
                "bucket.bounds",
                "each must be larger than the one before",
            )),
            _ => Err(MaskRefusal::new("bucket", "set exactly one of width and bounds")),
        }
    }

    /// As PostgreSQL writes ranges: `[20,30)`, `(,18)`, `[65,)`. NULL of what has no place among numbers (NaN,
    /// infinities) or more than 38 digits.
    pub(super) fn apply(&self, column: &ArrayRef) -> Result<ArrayRef, FederationError> {
        let whole = wholes(column)?;
        let mut ranges = StringBuilder::with_capacity(whole.len(), whole.len() * 8);
        let mut range = String::new();
        for value in whole {
            range.clear();
            match value.and_then(|value| self.put(value, &mut range)) {
                Some(()) => ranges.append_value(&range),
                None => ranges.append_null(),
            }
        }
        Ok(Arc::new(ranges.finish()))
    }

    fn put(&self, value: i128, range: &mut String) -> Option<()> {
        let written = match self {
            Self::Width(width) => {
                let from = value.checked_sub(value.rem_euclid(*width))?;
                write!(range, "[{from},{})", from.checked_add(*width)?)
            }
            Self::Bounds(bounds) => match bounds.partition_point(|bound| *bound <= value) {
                0 => write!(range, "(,{})", bounds.first()?),
                place => match bounds.get(place) {
                    Some(to) => write!(range, "[{},{to})", bounds.get(place - 1)?),
                    None => write!(range, "[{},)", bounds.get(place - 1)?),
                },
            },
        };
        written.ok()
    }
}

/// The largest whole number that is not above each value: bounds are whole, so it lies in the value's range.
fn wholes(column: &ArrayRef) -> Result<Vec<Option<i128>>, FederationError> {
    fn each<T: ArrowPrimitiveType>(
        column: &ArrayRef,
        whole: impl Fn(T::Native) -> Option<i128>,
    ) -> Vec<Option<i128>> {
        let values = column.as_primitive::<T>().iter();
        values.map(|value| value.and_then(&whole)).collect()
    }
    fn exact(value: i256, scale: i8) -> Option<i128> {
        let unit = power_of_ten(u32::try_from(scale).ok()?)?;
        let rest = value.wrapping_rem(unit);
        let whole = value.wrapping_div(unit);
        let whole = if rest.is_negative() {
            whole.wrapping_sub(i256::ONE)
        } else {
            whole
        };
        whole.to_i128()
    }
    // a float of more than 38 digits is cut to them
    let float = |value: f64| value.is_finite().then(|| value.floor() as i128);
    Ok(match column.data_type() {
        DataType::Int16 => each::<Int16Type>(column, |value| Some(value.into())),
        DataType::Int32 => each::<Int32Type>(column, |value| Some(value.into())),
        DataType::Int64 => each::<Int64Type>(column, |value| Some(value.into())),
        DataType::Decimal128(_, scale) => {
            let scale = *scale;
            each::<Decimal128Type>(column, |value| exact(i256::from_i128(value), scale))
        }
        DataType::Decimal256(_, scale) => {
            let scale = *scale;
            each::<Decimal256Type>(column, |value| exact(value, scale))
        }
        DataType::Float32 => each::<Float32Type>(column, |value| float(value.into())),
        DataType::Float64 => each::<Float64Type>(column, float),
        other => return Err(wrong(other)),
    })
}

/// Bits of the part of the percentage that a key draws.
const STEPS: u32 = 32;

/// A change of at most some percent, drawn from the value by a key.
pub(super) struct Noise {
    hash: Hash,
    percent: u32,
}

impl Noise {
    pub(super) fn new(key: &MaskKey, percent: u32) -> Self {
        Self {
            hash: Hash::new(key, "lakegate noise"),
            percent,
        }
    }

    /// Between -2^32 and 2^32.
    fn draw(&self, text: &str) -> i64 {
        // the remainder of 64 bits is even enough among 33
        (self.hash.number(text) % ((1 << (STEPS + 1)) + 1)) as i64 - (1 << STEPS)
    }

    pub(super) fn apply(&self, column: &ArrayRef, texts: &StringArray) -> Result<ArrayRef, FederationError> {
        let whole = i256::from_i128(100 << STEPS);
        let part = |row: usize| i128::from(self.draw(texts.value(row))) * i128::from(self.percent);
        changed(
            column,
            |row, value, most| {
                let part = i256::from_i128(part(row));
                // quotient and remainder apart: the product of 76 digits with a part has no type, and both have the
                // value's sign, so that rounding the remainder's share rounds the sum
                let rest = value.wrapping_rem(whole).wrapping_mul(part);
                let change = value.wrapping_div(whole).checked_mul(part);
                let change = change.and_then(|change| change.checked_add(divide_half_away(rest, whole)));
                match change.and_then(|change| value.checked_add(change)) {
                    Some(changed) if !is_beyond(changed, most) => changed,
                    _ if value.is_negative() => most.wrapping_neg(),
                    _ => most,
                }
            },
            |row, value| {
                // exact up to 2^53
                let changed = value + value * (part(row) as f64) / ((100_i64 << STEPS) as f64);
                if changed.is_finite() { changed } else { value }
            },
        )
    }
}
