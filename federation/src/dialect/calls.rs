//! Calls of functions that are something else than their names say to DataFusion.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Interval,
    WindowFrameBound, WindowType, helpers::attached_token::AttachedToken,
};

use super::aggregates;
use super::syntax::{
    arguments, builtin_name, call, cast_of, cast_to, literal_integer, literal_text, null, number, text,
};
use crate::cast::Target;
use crate::error::{Cause, FederationError};
use crate::types::{self, PgType};
use crate::values::read;

/// Calls whose arguments decide more than a value.
pub(super) fn before(function: &mut Function) -> Result<Option<Expr>, FederationError> {
    let Some(name) = builtin_name(&function.name) else {
        return Ok(None);
    };
    if let Some(better) = aggregates::rewrite(&name, function) {
        return Ok(Some(better));
    }
    let plain = function.over.is_none() && function.filter.is_none() && function.within_group.is_empty();
    match name.as_str() {
        // `row(1, 2)` is `(1, 2)`
        "row" if plain => Ok(arguments(function).map(|parts| call("struct", parts))),
        // equal as `=` has it
        "nullif" if plain => Ok(
            arguments(function).and_then(|parts| match <[Expr; 2]>::try_from(parts) {
                Ok([value, other]) => Some(null_if_equal(value, other)),
                Err(_) => None,
            }),
        ),
        // the digits behind the point are part of the type
        "round" | "trunc" if plain => {
            let Some(parts) = arguments(function) else {
                return Ok(None);
            };
            let [value, digits] = parts.as_slice() else {
                return Ok(None);
            };
            Ok(literal_integer(digits)
                .filter(|digits| (-1000..=1000).contains(digits))
                .map(|digits| call(&format!("lakegate_{name} {digits}"), vec![value.clone()])))
        }
        "make_interval" if plain => Ok(Some(named_interval(function)?)),
        "current_timestamp" | "localtimestamp" | "current_time" | "localtime" | "current_date" => {
            Ok(current_time(&name, function))
        }
        _ => Ok(None),
    }
}

/// The bounds of a window's frame are constants that DataFusion reads itself: intervals in its spelling.
pub(super) fn frame_bounds(function: &mut Function) {
    let Some(WindowType::WindowSpec(window)) = &mut function.over else {
        return;
    };
    let Some(frame) = &mut window.window_frame else {
        return;
    };
    for bound in std::iter::once(&mut frame.start_bound).chain(&mut frame.end_bound) {
        if let WindowFrameBound::Preceding(Some(value)) | WindowFrameBound::Following(Some(value)) = bound
            && let Some(spelt) = constant_interval(value)
        {
            **value = Expr::Interval(Interval {
                value: Box::new(text(spelt)),
                leading_field: None,
                leading_precision: None,
                last_field: None,
                fractional_seconds_precision: None,
            });
        }
    }
}

fn constant_interval(expression: &Expr) -> Option<String> {
    let (target, argument) = cast_of(expression)?;
    if target.pg_type.base.oid != types::INTERVAL.oid || target.pg_type.array {
        return None;
    }
    let value = read::interval::interval(literal_text(argument)?, target.range).ok()?;
    Some(format!(
        "{} months {} days {} microseconds",
        value.months, value.days, value.micros
    ))
}

fn null_if_equal(value: Expr, other: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen {
            condition: Expr::BinaryOp {
                left: Box::new(value.clone()),
                op: BinaryOperator::Eq,
                right: Box::new(other),
            },
            result: null(),
        }],
        else_result: Some(Box::new(value)),
    }
}

/// `make_interval(days => 10)` by position.
fn named_interval(function: &Function) -> Result<Expr, FederationError> {
    const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let mut places: Vec<Expr> = NAMES.iter().map(|_| number(0)).collect();
    let FunctionArguments::List(list) = &function.args else {
        return Ok(call("lakegate_make_interval", places));
    };
    for (index, argument) in list.args.iter().enumerate() {
        let (place, value) = match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => (Some(index), value),
            FunctionArg::Named {
                name,
                arg: FunctionArgExpr::Expr(value),
                ..
            } => (
                NAMES
                    .iter()
                    .position(|known| name.value.eq_ignore_ascii_case(known)),
                value,
            ),
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name),
                arg: FunctionArgExpr::Expr(value),
                ..
            } => (
                NAMES
                    .iter()
                    .position(|known| name.value.eq_ignore_ascii_case(known)),
                value,
            ),
            _ => (None, &places[0]),
        };
        let value = value.clone();
        match place.and_then(|place| places.get_mut(place)) {
            Some(place) => *place = value,
            None => {
                return Err(Cause::UnknownFunction {
                    function: function.to_string(),
                }
                .into());
            }
        }
    }
    Ok(call("lakegate_make_interval", places))
}

/// `current_timestamp(0)` is rounded.
fn current_time(name: &str, function: &Function) -> Option<Expr> {
    let parts = arguments(function)?;
    let plain = call(name, Vec::new());
    let [digits] = parts.as_slice() else {
        return matches!(function.args, FunctionArguments::None).then_some(plain);
    };
    let base = match name {
        "current_timestamp" => &types::TIMESTAMPTZ,
        "localtimestamp" => &types::TIMESTAMP,
        _ => &types::TIME,
    };
    let target = Target {
        seconds: literal_integer(digits).map(|digits| digits.clamp(0, 6) as u8),
        ..Target::of(PgType::scalar(base))
    };
    Some(cast_to(&target, plain))
}
