//! Mathematics.

use std::cmp::Ordering;
use std::fmt::Write as _;

use arrow::array::ArrowNativeTypeOp;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float64Type, Int16Type, Int32Type, Int64Type, i256,
};

use super::checked::out_of_range;
use super::rounding::free;
use super::scaffold::{
    Call, FLOAT8, Function, INT2, INT4, INT8, NUMERIC, Outcome, Returns, function, overload,
};
use crate::cast;
use crate::error::{Cause, FederationError};
use crate::types;
use crate::values::read::number::rescale;
use crate::values::read::value_error;

const FLOAT: Returns = Returns::Type(&types::FLOAT8);

fn float_error(sqlstate: &'static str, message: &str) -> FederationError {
    value_error(sqlstate, message)
}

fn input_out_of_range() -> FederationError {
    out_of_range("input is")
}

/// A function of one float. A finite argument with an infinite result is out of range.
pub(super) fn of_float(call: &Call<'_>, compute: impl Fn(f64) -> Result<f64, FederationError>) -> Outcome {
    let values = call.values::<Float64Type>(0);
    call.each::<Float64Type>(|row| {
        let value = values.get(row);
        let result = compute(value)?;
        if result.is_infinite() && value.is_finite() {
            return Err(Cause::OutOfRange {
                message: "value out of range: overflow".into(),
            }
            .into());
        }
        Ok(Some(result))
    })
}

macro_rules! float_functions {
    ($($name:literal => $compute:expr;)*) => {
        vec![$({
            fn body(call: &Call<'_>) -> Outcome {
                of_float(call, $compute)
            }
            function($name, [overload(&[FLOAT8], FLOAT, body)])
        }),*]
    };
}

fn within_one(value: f64) -> Result<f64, FederationError> {
    if (-1.0..=1.0).contains(&value) || value.is_nan() {
        Ok(value)
    } else {
        Err(input_out_of_range())
    }
}

fn finite(value: f64) -> Result<f64, FederationError> {
    if value.is_infinite() {
        Err(input_out_of_range())
    } else {
        Ok(value)
    }
}

fn logarithm(value: f64) -> Result<f64, FederationError> {
    if value == 0.0 {
        Err(float_error("2201E", "cannot take logarithm of zero"))
    } else if value < 0.0 {
        Err(float_error("2201E", "cannot take logarithm of a negative number"))
    } else {
        Ok(value)
    }
}

fn floats() -> Vec<Function> {
    float_functions! {
        "sqrt" => |value| if value < 0.0 {
            Err(float_error("2201F", "cannot take square root of a negative number"))
        } else {
            Ok(value.sqrt())
        };
        "cbrt" => |value| Ok(value.cbrt());
        "exp" => |value| Ok(value.exp());
        "ln" => |value| Ok(logarithm(value)?.ln());
        "log10" => |value| Ok(logarithm(value)?.log10());
        "degrees" => |value| Ok(value.to_degrees());
        "radians" => |value| Ok(value.to_radians());
        "sin" => |value| Ok(finite(value)?.sin());
        "cos" => |value| Ok(finite(value)?.cos());
        "tan" => |value| Ok(finite(value)?.tan());
        "cot" => |value| Ok(1.0 / finite(value)?.tan());
        "asin" => |value| Ok(within_one(value)?.asin());
        "acos" => |value| Ok(within_one(value)?.acos());
        "atan" => |value| Ok(value.atan());
        "sinh" => |value| Ok(value.sinh());
        "cosh" => |value| Ok(value.cosh());
        "tanh" => |value| Ok(value.tanh());
        "asinh" => |value| Ok(value.asinh());
        "acosh" => |value| if value < 1.0 { Err(input_out_of_range()) } else { Ok(value.acosh()) };
        "atanh" => |value| Ok(within_one(value)?.atanh());
    }
}

fn of_two_floats(call: &Call<'_>, compute: impl Fn(f64, f64) -> Result<f64, FederationError>) -> Outcome {
    let (left, right) = (call.values::<Float64Type>(0), call.values::<Float64Type>(1));
    call.each::<Float64Type>(|row| {
        let (left, right) = (left.get(row), right.get(row));
        let result = compute(left, right)?;
        if result.is_infinite() && left.is_finite() && right.is_finite() {
            return Err(Cause::OutOfRange {
                message: "value out of range: overflow".into(),
            }
            .into());
        }
        Ok(Some(result))
    })
}

fn power(call: &Call<'_>) -> Outcome {
    of_two_floats(call, |base, exponent| {
        if base == 0.0 && exponent < 0.0 {
            return Err(float_error(
                "2201F",
                "zero raised to a negative power is undefined",
            ));
        }
        if base < 0.0 && base.is_finite() && exponent.fract() != 0.0 && exponent.is_finite() {
            return Err(float_error(
                "2201F",
                "a negative number raised to a non-integer power yields a complex result",
            ));
        }
        Ok(base.powf(exponent))
    })
}

fn log_of_base(call: &Call<'_>) -> Outcome {
    of_two_floats(call, |base, value| {
        let divisor = logarithm(base)?.ln();
        if divisor == 0.0 {
            return Err(Cause::DivisionByZero.into());
        }
        // whole results come out whole more often this way than by one division
        let result = logarithm(value)?.ln() / divisor;
        let whole = result.round();
        #[expect(clippy::float_cmp)]
        let exact = base.powf(whole) == value;
        Ok(if exact && (result - whole).abs() < 1e-12 {
            whole
        } else {
            result
        })
    })
}

fn log(call: &Call<'_>) -> Outcome {
    of_float(call, |value| Ok(logarithm(value)?.log10()))
}

fn arctangent(call: &Call<'_>) -> Outcome {
    of_two_floats(call, |y, x| Ok(y.atan2(x)))
}

fn absolute<T: ArrowPrimitiveType>(call: &Call<'_>) -> Outcome
where
    T::Native: ArrowNativeTypeOp,
{
    let values = call.values::<T>(0);
    let name = types::of_data_type(&T::DATA_TYPE).sql_name();
    call.each::<T>(|row| {
        let value = values.get(row);
        if value.is_lt(T::Native::ZERO) {
            value.neg_checked().map(Some).map_err(|_| out_of_range(&name))
        } else {
            Ok(Some(value))
        }
    })
}

fn absolute_float(call: &Call<'_>) -> Outcome {
    of_float(call, |value| Ok(value.abs()))
}

fn absolute_numeric(call: &Call<'_>) -> Outcome {
    let values = call.decimals(0);
    call.decimal(|row| Ok(Some((values.get(row).wrapping_abs(), values.scale))))
}

fn sign_float(call: &Call<'_>) -> Outcome {
    of_float(call, |value| {
        Ok(if value > 0.0 {
            1.0
        } else if value < 0.0 {
            -1.0
        } else {
            value
        })
    })
}

fn sign_numeric(call: &Call<'_>) -> Outcome {
    let values = call.decimals(0);
    call.decimal(|row| Ok(Some((values.get(row).signum(), 0))))
}

fn sign_field(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(Field::new("", DataType::Decimal128(1, 0), true))
}

fn gcd(mut left: i128, mut right: i128) -> i128 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left.abs()
}

fn lcm(left: i128, right: i128) -> i128 {
    if left == 0 || right == 0 {
        0
    } else {
        (left / gcd(left, right) * right).abs()
    }
}

macro_rules! divisors {
    ($name:ident, $t:ty, $native:ty, $type_name:literal, $compute:expr) => {
        fn $name(call: &Call<'_>) -> Outcome {
            let (left, right) = (call.values::<$t>(0), call.values::<$t>(1));
            call.each::<$t>(|row| {
                let result = $compute(i128::from(left.get(row)), i128::from(right.get(row)));
                <$native>::try_from(result)
                    .map(Some)
                    .map_err(|_| out_of_range($type_name))
            })
        }
    };
}

divisors!(gcd_int4, Int32Type, i32, "integer", gcd);
divisors!(gcd_int8, Int64Type, i64, "bigint", gcd);
divisors!(lcm_int4, Int32Type, i32, "integer", lcm);
divisors!(lcm_int8, Int64Type, i64, "bigint", lcm);

fn factorial_field(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(Field::new("", DataType::Decimal256(76, 0), true))
}

fn factorial(call: &Call<'_>) -> Outcome {
    let values = call.values::<Int64Type>(0);
    call.decimal(|row| {
        let value = values.get(row);
        if value < 0 {
            return Err(out_of_range("factorial of a negative number is"));
        }
        let mut product = i256::ONE;
        for factor in 2..=value {
            product = product
                .checked_mul(i256::from_i128(i128::from(factor)))
                .ok_or_else(cast::overflow)?;
        }
        Ok(Some((product, 0)))
    })
}

fn bucket_count(count: i32) -> Result<i64, FederationError> {
    if count > 0 {
        Ok(i64::from(count))
    } else {
        Err(value_error("2201G", "count must be greater than zero"))
    }
}

fn equal_bounds() -> FederationError {
    value_error("2201G", "lower bound cannot equal upper bound")
}

fn bucket_float(call: &Call<'_>) -> Outcome {
    let (value, low, high) = (
        call.values::<Float64Type>(0),
        call.values::<Float64Type>(1),
        call.values::<Float64Type>(2),
    );
    let count = call.values::<Int32Type>(3);
    call.each::<Int32Type>(|row| {
        let buckets = bucket_count(count.get(row))?;
        let (value, low, high) = (value.get(row), low.get(row), high.get(row));
        // Only bounds that are exactly equal leave no place for a bucket.
        #[expect(clippy::float_cmp)]
        if low == high {
            return Err(equal_bounds());
        }
        let place = (value - low) / (high - low);
        let bucket = if place < 0.0 {
            0
        } else if place >= 1.0 {
            buckets + 1
        } else {
            (place * buckets as f64) as i64 + 1
        };
        Ok(Some(bucket as i32))
    })
}

fn bucket_numeric(call: &Call<'_>) -> Outcome {
    let (value, low, high) = (call.decimals(0), call.decimals(1), call.decimals(2));
    let count = call.values::<Int32Type>(3);
    let scale = value.scale.max(low.scale).max(high.scale);
    let up = |digits: i256, from: i32| rescale(digits, from, scale).ok_or_else(cast::overflow);
    call.each::<Int32Type>(|row| {
        let buckets = bucket_count(count.get(row))?;
        let value = up(value.get(row), value.scale)?;
        let (low, high) = (up(low.get(row), low.scale)?, up(high.get(row), high.scale)?);
        let (distance, width) = match low.cmp(&high) {
            Ordering::Less => (value - low, high - low),
            Ordering::Greater => (low - value, low - high),
            Ordering::Equal => return Err(equal_bounds()),
        };
        let bucket = if distance < i256::ZERO {
            0
        } else if distance >= width {
            buckets + 1
        } else {
            let place = distance
                .checked_mul(i256::from_i128(i128::from(buckets)))
                .ok_or_else(cast::overflow)?;
            place.wrapping_div(width).to_i128().unwrap_or(0) as i64 + 1
        };
        Ok(Some(bucket as i32))
    })
}

/// Digits behind the point that are no zeros at the end.
fn least_scale(value: i256, scale: i32) -> i32 {
    let ten = i256::from(10);
    let (mut value, mut scale) = (value, scale);
    if value == i256::ZERO {
        return 0;
    }
    while scale > 0 && value.wrapping_rem(ten) == i256::ZERO {
        value = value.wrapping_div(ten);
        scale -= 1;
    }
    scale
}

fn scale_of(call: &Call<'_>) -> Outcome {
    let values = call.decimals(0);
    call.each::<Int32Type>(|row| {
        Ok(Some(if values.scale == 38 {
            least_scale(values.get(row), values.scale)
        } else {
            values.scale
        }))
    })
}

fn min_scale(call: &Call<'_>) -> Outcome {
    let values = call.decimals(0);
    call.each::<Int32Type>(|row| Ok(Some(least_scale(values.get(row), values.scale))))
}

fn trim_scale(call: &Call<'_>) -> Outcome {
    let values = call.decimals(0);
    call.decimal(|row| Ok(Some((values.get(row), values.scale))))
}

fn hex_int4(call: &Call<'_>) -> Outcome {
    let values = call.values::<Int32Type>(0);
    call.text(|row, out| Ok(write!(out, "{:x}", values.get(row)).is_ok()))
}

fn hex_int8(call: &Call<'_>) -> Outcome {
    let values = call.values::<Int64Type>(0);
    call.text(|row, out| Ok(write!(out, "{:x}", values.get(row)).is_ok()))
}

macro_rules! bit_not {
    ($name:ident, $t:ty) => {
        fn $name(call: &Call<'_>) -> Outcome {
            let values = call.values::<$t>(0);
            call.each::<$t>(|row| Ok(Some(!values.get(row))))
        }
    };
}

bit_not!(bit_not_int2, Int16Type);
bit_not!(bit_not_int4, Int32Type);
bit_not!(bit_not_int8, Int64Type);

pub(super) fn functions() -> Vec<Function> {
    const INT4_RESULT: Returns = Returns::Type(&types::INT4);
    const INT8_RESULT: Returns = Returns::Type(&types::INT8);
    const TEXT_RESULT: Returns = Returns::Type(&types::TEXT);
    let mut functions = floats();
    functions.extend([
        function(
            "abs",
            [
                overload(&[INT2], Returns::Same(0), absolute::<Int16Type>),
                overload(&[INT4], Returns::Same(0), absolute::<Int32Type>),
                overload(&[INT8], Returns::Same(0), absolute::<Int64Type>),
                overload(&[FLOAT8], FLOAT, absolute_float),
                overload(&[NUMERIC], Returns::Same(0), absolute_numeric),
            ],
        ),
        function(
            "sign",
            [
                overload(&[FLOAT8], FLOAT, sign_float),
                overload(&[NUMERIC], Returns::From(sign_field), sign_numeric),
            ],
        ),
        function("power", [overload(&[FLOAT8, FLOAT8], FLOAT, power)]),
        function("pow", [overload(&[FLOAT8, FLOAT8], FLOAT, power)]),
        function(
            "log",
            [
                overload(&[FLOAT8], FLOAT, log),
                overload(&[FLOAT8, FLOAT8], FLOAT, log_of_base),
            ],
        ),
        function("atan2", [overload(&[FLOAT8, FLOAT8], FLOAT, arctangent)]),
        function(
            "gcd",
            [
                overload(&[INT4, INT4], INT4_RESULT, gcd_int4),
                overload(&[INT8, INT8], INT8_RESULT, gcd_int8),
            ],
        ),
        function(
            "lcm",
            [
                overload(&[INT4, INT4], INT4_RESULT, lcm_int4),
                overload(&[INT8, INT8], INT8_RESULT, lcm_int8),
            ],
        ),
        function(
            "factorial",
            [overload(&[INT8], Returns::From(factorial_field), factorial)],
        ),
        function(
            "width_bucket",
            [
                overload(&[FLOAT8, FLOAT8, FLOAT8, INT4], INT4_RESULT, bucket_float),
                overload(&[NUMERIC, NUMERIC, NUMERIC, INT4], INT4_RESULT, bucket_numeric),
            ],
        ),
        function("scale", [overload(&[NUMERIC], INT4_RESULT, scale_of)]),
        function("min_scale", [overload(&[NUMERIC], INT4_RESULT, min_scale)]),
        function(
            "trim_scale",
            [overload(&[NUMERIC], Returns::From(free), trim_scale)],
        ),
        function(
            "to_hex",
            [
                overload(&[INT4], TEXT_RESULT, hex_int4),
                overload(&[INT8], TEXT_RESULT, hex_int8),
            ],
        ),
        function(
            "lakegate_bit_not",
            [
                overload(&[INT2], Returns::Same(0), bit_not_int2),
                overload(&[INT4], Returns::Same(0), bit_not_int4),
                overload(&[INT8], Returns::Same(0), bit_not_int8),
            ],
        )
        .shown("~"),
    ]);
    functions
}
