//! `round`, `trunc`, `ceil` and `floor`.

use arrow::datatypes::{Field, FieldRef, Int32Type, i256};

use super::arithmetic::{digits, widest};
use super::math::of_float;
use super::scaffold::{
    Call, FLOAT8, Function, INT4, NUMERIC, Outcome, Overload, Returns, function, overload,
};
use crate::cast;
use crate::error::FederationError;
use crate::types::{self, FREE_NUMERIC};
use crate::values::read::number::{divide_half_away, power_of_ten};

/// A numeric of which nothing stands behind the point.
fn whole(fields: &[FieldRef]) -> Result<Field, FederationError> {
    let (precision, scale) = fields
        .first()
        .and_then(|field| digits(field.data_type()))
        .unwrap_or((76, 38));
    Ok(Field::new("", widest(precision - scale + 1, 0), true))
}

/// A numeric with so many digits behind the point.
fn with_scale(fields: &[FieldRef], places: i32) -> Result<Field, FederationError> {
    let (precision, scale) = fields
        .first()
        .and_then(|field| digits(field.data_type()))
        .unwrap_or((76, 38));
    let places = places.clamp(0, 38);
    // of a free numeric half the digits are none
    let whole = if scale == 38 {
        38 - places
    } else {
        precision - scale + 1
    };
    Ok(Field::new("", widest(whole.max(1) + places, places), true))
}

pub(super) fn free(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(Field::new("", FREE_NUMERIC, true))
}

/// Towards what a digit is dropped.
#[derive(Clone, Copy)]
enum Rounding {
    Nearest,
    Zero,
    Up,
    Down,
}

fn drop_digits(value: i256, count: u32, rounding: Rounding) -> i256 {
    let Some(unit) = power_of_ten(count) else {
        return match rounding {
            Rounding::Up if value > i256::ZERO => i256::ONE,
            Rounding::Down if value < i256::ZERO => i256::MINUS_ONE,
            _ => i256::ZERO,
        };
    };
    let quotient = value.wrapping_div(unit);
    let exact = value.wrapping_rem(unit) == i256::ZERO;
    match rounding {
        Rounding::Nearest => divide_half_away(value, unit),
        Rounding::Up if !exact && value > i256::ZERO => quotient.wrapping_add(i256::ONE),
        Rounding::Down if !exact && value < i256::ZERO => quotient.wrapping_sub(i256::ONE),
        _ => quotient,
    }
}

/// A numeric with `places` digits behind the point, some of them below zero for `round(x, -2)`.
fn to_places(
    value: i256,
    scale: i32,
    places: i32,
    rounding: Rounding,
) -> Result<(i256, i32), FederationError> {
    if places >= scale {
        return Ok((value, scale));
    }
    let kept = drop_digits(value, scale.saturating_sub(places).unsigned_abs(), rounding);
    if places >= 0 {
        return Ok((kept, places));
    }
    if kept == i256::ZERO {
        return Ok((kept, 0));
    }
    let unit = power_of_ten(places.unsigned_abs()).ok_or_else(cast::overflow)?;
    Ok((kept.checked_mul(unit).ok_or_else(cast::overflow)?, 0))
}

macro_rules! numeric_rounding {
    ($name:ident, $rounding:expr) => {
        fn $name(call: &Call<'_>) -> Outcome {
            let values = call.decimals(0);
            call.decimal(|row| to_places(values.get(row), values.scale, 0, $rounding).map(Some))
        }
    };
}

numeric_rounding!(round_numeric, Rounding::Nearest);
numeric_rounding!(truncate_numeric, Rounding::Zero);
numeric_rounding!(ceil_numeric, Rounding::Up);
numeric_rounding!(floor_numeric, Rounding::Down);

fn round_places(call: &Call<'_>) -> Outcome {
    let values = call.decimals(0);
    call.decimal(|row| to_places(values.get(row), values.scale, call.number, Rounding::Nearest).map(Some))
}

fn truncate_places(call: &Call<'_>) -> Outcome {
    let values = call.decimals(0);
    call.decimal(|row| to_places(values.get(row), values.scale, call.number, Rounding::Zero).map(Some))
}

fn round_by(call: &Call<'_>) -> Outcome {
    let (values, places) = (call.decimals(0), call.values::<Int32Type>(1));
    call.decimal(|row| to_places(values.get(row), values.scale, places.get(row), Rounding::Nearest).map(Some))
}

fn truncate_by(call: &Call<'_>) -> Outcome {
    let (values, places) = (call.decimals(0), call.values::<Int32Type>(1));
    call.decimal(|row| to_places(values.get(row), values.scale, places.get(row), Rounding::Zero).map(Some))
}

fn round_float(call: &Call<'_>) -> Outcome {
    of_float(call, |value| Ok(value.round_ties_even()))
}

fn truncate_float(call: &Call<'_>) -> Outcome {
    of_float(call, |value| Ok(value.trunc()))
}

fn ceil_float(call: &Call<'_>) -> Outcome {
    of_float(call, |value| Ok(value.ceil()))
}

fn floor_float(call: &Call<'_>) -> Outcome {
    of_float(call, |value| Ok(value.floor()))
}

/// `round(x, 2)`, `trunc(x, 2)`: the digits are part of the type.
pub(super) fn rounding(name: &str) -> Option<Function> {
    let (shown, number) = name.strip_prefix("lakegate_")?.split_once(' ')?;
    let number: i32 = number.parse().ok()?;
    let body = match shown {
        "round" => round_places,
        "trunc" => truncate_places,
        _ => return None,
    };
    Some(
        function(name, [overload(&[NUMERIC], Returns::With(with_scale), body)])
            .number(number)
            .shown(format!("{shown}:{number}")),
    )
}

pub(super) fn functions() -> Vec<Function> {
    const FLOAT: Returns = Returns::Type(&types::FLOAT8);
    let pair = |float: fn(&Call<'_>) -> Outcome, numeric: fn(&Call<'_>) -> Outcome| -> Vec<Overload> {
        vec![
            overload(&[FLOAT8], FLOAT, float),
            overload(&[NUMERIC], Returns::From(whole), numeric),
        ]
    };
    let mut round = pair(round_float, round_numeric);
    round.push(overload(&[NUMERIC, INT4], Returns::From(free), round_by));
    let mut trunc = pair(truncate_float, truncate_numeric);
    trunc.push(overload(&[NUMERIC, INT4], Returns::From(free), truncate_by));
    vec![
        function("round", round),
        function("trunc", trunc),
        function("ceil", pair(ceil_float, ceil_numeric)),
        function("ceiling", pair(ceil_float, ceil_numeric)),
        function("floor", pair(floor_float, floor_numeric)),
    ]
}
