//! Literals and their types: in VALUES, and where a number's type shows.

use datafusion::sql::sqlparser::ast::{
    Array, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, SetExpr, UnaryOperator, Value,
    Values,
};

use super::syntax::{
    bare, builtin_name, cast_of, cast_to, literal_integer, literal_number, literal_text, text, with_digits_of,
};
use crate::cast::Target;
use crate::types::{self, PgType};
use crate::values::read::number;

/// A whole number literal as the `integer` that PostgreSQL takes it for.
pub(super) fn narrow(expression: &mut Expr) {
    let inner = match expression {
        Expr::Nested(inner) => return narrow(inner),
        other => other,
    };
    let is_number = matches!(inner, Expr::Value(value) if matches!(value.value, Value::Number(..)))
        || matches!(inner, Expr::UnaryOp { op: UnaryOperator::Minus, expr } if literal_number(expr).is_some());
    if is_number && literal_integer(inner).is_some_and(|value| i32::try_from(value).is_ok()) {
        *inner = cast_to(&Target::of(PgType::scalar(&types::INT4)), inner.clone());
    }
}

/// Narrows the literals whose type makes the type of what they are in.
pub(super) fn narrow_parts(expression: &mut Expr) {
    match expression {
        Expr::Case {
            conditions,
            else_result,
            ..
        } => {
            for when in conditions {
                narrow(&mut when.result);
            }
            if let Some(result) = else_result {
                narrow(result);
            }
        }
        Expr::Array(Array { elem, .. }) => elem.iter_mut().for_each(narrow),
        Expr::Tuple(parts) => parts.iter_mut().for_each(narrow),
        Expr::Function(function) => narrow_arguments(function),
        _ => {}
    }
}

fn narrow_arguments(function: &mut Function) {
    let name = builtin_name(&function.name).unwrap_or_default();
    // a cast looks at the digits, and count(1) is known by its literal
    if name == "count" || name.starts_with("lakegate_cast ") {
        return;
    }
    if let FunctionArguments::List(list) = &mut function.args {
        for argument in &mut list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))
            | FunctionArg::Named {
                arg: FunctionArgExpr::Expr(expression),
                ..
            }
            | FunctionArg::ExprNamed {
                arg: FunctionArgExpr::Expr(expression),
                ..
            } = argument
            {
                narrow(expression);
            }
        }
    }
}

/// A number that DataFusion reads otherwise or not at all: digits beyond a bigint are a numeric, and what has more
/// digits than a numeric here is a double precision.
pub(super) fn large_number(digits: &str) -> Option<Expr> {
    let digits = digits.replace('_', "");
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    let exponent = digits.contains(['e', 'E']) && !digits.starts_with("0x") && !digits.starts_with("0X");
    if !(exponent || whole && digits.parse::<i64>().is_err()) {
        return None;
    }
    let literal = text(digits.clone());
    let fits = number::numeric(&digits).is_ok_and(|value| value.precision <= 76 && value.scale <= 76);
    Some(if fits {
        let numeric = Target::of(PgType::scalar(&types::NUMERIC));
        cast_to(&with_digits_of(numeric, &literal), literal)
    } else {
        cast_to(&Target::of(PgType::scalar(&types::FLOAT8)), literal)
    })
}

/// VALUES, wherever in a set operation they are.
pub(super) fn each_values(body: &mut SetExpr, change: fn(&mut Values)) {
    match body {
        SetExpr::Values(values) => change(values),
        SetExpr::SetOperation { left, right, .. } => {
            each_values(left, change);
            each_values(right, change);
        }
        _ => {}
    }
}

/// Whole numbers in VALUES.
pub(super) fn narrow_values(values: &mut Values) {
    for row in &mut values.rows {
        for cell in &mut row.content {
            narrow(cell);
        }
    }
}

/// What is known of a cell of VALUES.
enum Cell {
    /// A string or NULL, of any type.
    Open,
    Number(Target),
    Cast(Target),
    Unknown,
}

fn cell(expression: &Expr) -> Cell {
    if literal_text(expression).is_some() {
        return Cell::Open;
    }
    match bare(expression) {
        Expr::Value(value) => match value.value {
            Value::Null => Cell::Open,
            Value::Number(..) => Cell::Number(Target::of(PgType::scalar(&types::NUMERIC))),
            _ => Cell::Unknown,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } if literal_number(expr).is_some() => Cell::Number(Target::of(PgType::scalar(&types::NUMERIC))),
        Expr::Function(_) => match cast_of(expression) {
            // a literal that `narrow` made an integer
            Some((target, argument))
                if target.pg_type.base.oid == types::INT4.oid && literal_number(argument).is_some() =>
            {
                Cell::Number(target)
            }
            Some((target, _)) => Cell::Cast(target),
            None => Cell::Unknown,
        },
        _ => Cell::Unknown,
    }
}

/// Literals of a column of VALUES in the type of the column.
///
/// DataFusion takes strings for text whatever is below them, and a numeric beside a double precision for the type of
/// both.
pub(super) fn settle_values(values: &mut Values) {
    let width = values.rows.first().map_or(0, |row| row.content.len());
    for column in 0..width {
        let mut found: Option<Target> = None;
        for row in &values.rows {
            match row.content.get(column).map(cell) {
                Some(Cell::Cast(target) | Cell::Number(target)) => {
                    let stronger = found.is_none_or(|known| weight(target) > weight(known));
                    if stronger {
                        found = Some(target);
                    }
                }
                Some(Cell::Unknown) | None => {
                    found = None;
                    break;
                }
                Some(Cell::Open) => {}
            }
        }
        let Some(mut target) = found else { continue };
        target = Target::of(PgType {
            typmod: -1,
            ..target.pg_type
        });
        let is_float = matches!(target.pg_type.base.oid, 700 | 701) && !target.pg_type.array;
        for row in &mut values.rows {
            let Some(expression) = row.content.get_mut(column) else {
                continue;
            };
            let needed = match cell(expression) {
                Cell::Open => literal_text(expression).is_some(),
                Cell::Number(from) | Cell::Cast(from) => {
                    is_float && from.pg_type.base.oid != target.pg_type.base.oid
                }
                Cell::Unknown => false,
            };
            if needed {
                *expression = cast_to(&with_digits_of(target, expression), expression.clone());
            }
        }
    }
}

/// Numbers promote.
fn weight(target: Target) -> u32 {
    match target.pg_type.base.oid {
        21 => 1,
        23 => 2,
        20 => 3,
        1700 => 4,
        700 => 5,
        701 => 6,
        _ => 0,
    }
}
