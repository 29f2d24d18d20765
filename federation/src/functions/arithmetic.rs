//! Arithmetic of numerics, and remainders.
//!
//! The quotient of numerics has the digits that PostgreSQL gives it in ordinary cases: sixteen behind the point.

use arrow::array::{ArrowNativeTypeOp, ArrowPrimitiveType};
use arrow::datatypes::{DataType, Field, FieldRef, Int16Type, Int32Type, Int64Type, i256};

use super::scaffold::{Call, Function, Kind, NUMERIC, Outcome, Returns, function, overload};
use crate::cast;
use crate::error::{Cause, FederationError};
use crate::types::{self, BaseType, FREE_NUMERIC};
use crate::values::read::number::{divide_half_away, power_of_ten};
/// Precision and scale of a decimal.
pub(crate) fn digits(data_type: &DataType) -> Option<(i32, i32)> {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Some((i32::from(*precision), i32::from(*scale))),
        _ => None,
    }
}

/// The decimal with so many digits, or the widest with that scale.
pub(crate) fn widest(precision: i32, scale: i32) -> DataType {
    let scale = scale.clamp(0, 38);
    types::decimal_type(precision.clamp(scale.max(1), 76), scale).unwrap_or(FREE_NUMERIC)
}

fn operands(fields: &[FieldRef]) -> ((i32, i32), (i32, i32)) {
    let of = |index: usize| {
        fields
            .get(index)
            .and_then(|field| digits(field.data_type()))
            .unwrap_or((76, 38))
    };
    (of(0), of(1))
}

fn numeric_field(data_type: DataType) -> Field {
    Field::new("", data_type, true)
}

/// Digits behind the point of a quotient.
const QUOTIENT_SCALE: i32 = 16;

fn quotient(fields: &[FieldRef]) -> Result<Field, FederationError> {
    let ((precision, scale), (_, by_scale)) = operands(fields);
    let result = QUOTIENT_SCALE.max(scale).max(by_scale);
    Ok(numeric_field(widest(
        precision - scale + by_scale + result,
        result,
    )))
}

fn product(fields: &[FieldRef]) -> Result<Field, FederationError> {
    let ((precision, scale), (by_precision, by_scale)) = operands(fields);
    Ok(numeric_field(widest(
        precision + by_precision + 1,
        scale + by_scale,
    )))
}

fn divide(call: &Call<'_>) -> Outcome {
    let (left, right) = (call.decimals(0), call.decimals(1));
    let (_, scale) = digits(call.returns.data_type()).unwrap_or((76, 38));
    let shift = u32::try_from(scale - left.scale + right.scale).unwrap_or(0);
    let factor = power_of_ten(shift).ok_or_else(cast::overflow)?;
    call.decimal(|row| {
        let (dividend, divisor) = (left.get(row), right.get(row));
        if divisor == i256::ZERO {
            return Err(Cause::DivisionByZero.into());
        }
        let quotient = match dividend.checked_mul(factor) {
            Some(scaled) => signed_quotient(scaled, divisor),
            // digit by digit where the dividend has no room for them
            None => long_division(dividend, divisor, shift).ok_or_else(cast::overflow)?,
        };
        Ok(Some((quotient, scale)))
    })
}

fn signed_quotient(dividend: i256, divisor: i256) -> i256 {
    if divisor.is_negative() {
        divide_half_away(dividend.wrapping_neg(), divisor.wrapping_neg())
    } else {
        divide_half_away(dividend, divisor)
    }
}

fn long_division(dividend: i256, divisor: i256, digits: u32) -> Option<i256> {
    let negative = dividend.is_negative() != divisor.is_negative();
    let (mut rest, divisor) = (dividend.wrapping_abs(), divisor.wrapping_abs());
    let ten = i256::from(10);
    let mut quotient = rest.wrapping_div(divisor);
    rest = rest.wrapping_rem(divisor);
    for _ in 0..digits {
        rest = rest.checked_mul(ten)?;
        quotient = quotient
            .checked_mul(ten)?
            .checked_add(rest.wrapping_div(divisor))?;
        rest = rest.wrapping_rem(divisor);
    }
    if rest >= divisor.wrapping_sub(rest) {
        quotient = quotient.checked_add(i256::ONE)?;
    }
    Some(if negative {
        quotient.wrapping_neg()
    } else {
        quotient
    })
}

fn multiply(call: &Call<'_>) -> Outcome {
    let (left, right) = (call.decimals(0), call.decimals(1));
    call.decimal(|row| {
        let product = left
            .get(row)
            .checked_mul(right.get(row))
            .ok_or_else(cast::overflow)?;
        Ok(Some((product, left.scale + right.scale)))
    })
}

/// `numeric / numeric`, and `*` where DataFusion's decimals have no room for the digits.
pub(super) fn functions() -> Vec<Function> {
    vec![
        function(
            "lakegate_numeric_divide",
            [overload(&[NUMERIC, NUMERIC], Returns::From(quotient), divide)],
        )
        .shown("/"),
        function(
            "lakegate_numeric_multiply",
            [overload(&[NUMERIC, NUMERIC], Returns::From(product), multiply)],
        )
        .shown("*"),
        function("mod", modulo()),
        function(
            "div",
            [overload(
                &[NUMERIC, NUMERIC],
                Returns::From(whole_quotient),
                whole_division,
            )],
        ),
    ]
}

fn whole_quotient(fields: &[FieldRef]) -> Result<Field, FederationError> {
    let ((precision, scale), (_, by_scale)) = operands(fields);
    Ok(numeric_field(widest(precision - scale + by_scale, 0)))
}

fn whole_division(call: &Call<'_>) -> Outcome {
    let (left, right) = (call.decimals(0), call.decimals(1));
    let scale = left.scale.max(right.scale);
    let up = |value: i256, from: i32| {
        crate::values::read::number::rescale(value, from, scale).ok_or_else(cast::overflow)
    };
    call.decimal(|row| {
        let (dividend, divisor) = (up(left.get(row), left.scale)?, up(right.get(row), right.scale)?);
        if divisor == i256::ZERO {
            return Err(Cause::DivisionByZero.into());
        }
        Ok(Some((dividend.wrapping_div(divisor), 0)))
    })
}

const INT2: Kind = Kind::Type(&types::INT2);
const INT4: Kind = Kind::Type(&types::INT4);
const INT8: Kind = Kind::Type(&types::INT8);

fn modulo() -> Vec<super::scaffold::Overload> {
    fn of<T: ArrowPrimitiveType>(call: &Call<'_>) -> Outcome {
        let (left, right) = (call.values::<T>(0), call.values::<T>(1));
        call.each::<T>(|row| {
            let divisor = right.get(row);
            if divisor.is_zero() {
                return Err(Cause::DivisionByZero.into());
            }
            Ok(Some(left.get(row).mod_wrapping(divisor)))
        })
    }
    const fn returns(base: &'static BaseType) -> Returns {
        Returns::Type(base)
    }
    vec![
        overload(&[INT2, INT2], returns(&types::INT2), of::<Int16Type>),
        overload(&[INT4, INT4], returns(&types::INT4), of::<Int32Type>),
        overload(&[INT8, INT8], returns(&types::INT8), of::<Int64Type>),
        overload(&[NUMERIC, NUMERIC], Returns::From(remainder), numeric_remainder),
    ]
}

fn remainder(fields: &[FieldRef]) -> Result<Field, FederationError> {
    let ((precision, scale), (by_precision, by_scale)) = operands(fields);
    let result = scale.max(by_scale);
    Ok(numeric_field(widest(
        (precision - scale).min(by_precision - by_scale) + result,
        result,
    )))
}

fn numeric_remainder(call: &Call<'_>) -> Outcome {
    let (left, right) = (call.decimals(0), call.decimals(1));
    let scale = left.scale.max(right.scale);
    let up = |value: i256, from: i32| {
        crate::values::read::number::rescale(value, from, scale).ok_or_else(cast::overflow)
    };
    call.decimal(|row| {
        let (dividend, divisor) = (up(left.get(row), left.scale)?, up(right.get(row), right.scale)?);
        if divisor == i256::ZERO {
            return Err(Cause::DivisionByZero.into());
        }
        Ok(Some((dividend.wrapping_rem(divisor), scale)))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn long_division_rounds_as_the_short_one() {
        let big = power_of_ten(70).unwrap();
        let quotient = long_division(big, i256::from(3), 5).unwrap();
        assert_eq!(quotient, power_of_ten(75).unwrap().wrapping_div(i256::from(3)));
        for (dividend, divisor) in [(20, 3), (-20, 3), (20, -3), (1, 6), (5, 2)] {
            let (dividend, divisor) = (i256::from(dividend), i256::from(divisor));
            let short = signed_quotient(dividend * i256::from(1000), divisor);
            assert_eq!(long_division(dividend, divisor, 3), Some(short));
        }
    }

    #[test]
    fn quotients_have_sixteen_digits() {
        let field = |data_type| Arc::new(Field::new("", data_type, true));
        for (left, right, expected) in [
            (
                DataType::Decimal128(2, 1),
                DataType::Decimal128(1, 0),
                DataType::Decimal128(17, 16),
            ),
            (
                DataType::Decimal128(12, 2),
                DataType::Decimal128(12, 2),
                DataType::Decimal128(28, 16),
            ),
            (
                DataType::Decimal128(38, 2),
                DataType::Decimal128(20, 0),
                DataType::Decimal256(52, 16),
            ),
            (FREE_NUMERIC, DataType::Decimal128(1, 0), FREE_NUMERIC),
        ] {
            let result = quotient(&[field(left), field(right)]).unwrap();
            assert_eq!(result.data_type(), &expected);
        }
    }
}
