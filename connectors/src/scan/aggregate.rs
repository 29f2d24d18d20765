//! Which of the engine's aggregates a store can be asked for.
//!
//! The one table of functions: a function is taken by its name, the type of its
//! argument and the type of its result together, because only the three say what
//! it computes. One that another implementation of the same name would compute
//! otherwise is told apart by its result.

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::Predicate;
use super::expression::{Resolve, Typed, is_decimal, is_integer};
use super::request::{AggregateCall, Expression, Function, Rounding, Sampling};

/// Digits behind the point that PostgreSQL's averages have at least.
const AVERAGE_SCALE: i8 = 16;

/// Digits behind the point of an exact variance, and of its root.
const SPREAD_SCALE: i8 = 16;

/// Of how many digits numbers may be whose squares, times the square of how many there are, fit 256 bits with the digits
/// that a root needs: then it is the same whoever computes it.
const SPREAD_DIGITS: u8 = 19;

/// Reads one aggregate expression over `input`.
///
/// # Errors
/// The reason why it is computed here, as `EXPLAIN` shows it.
pub(super) fn aggregate(
    expr: &Expr,
    input: &DFSchema,
    resolve: &Resolve<'_>,
) -> Result<AggregateCall, String> {
    let call = match expr {
        Expr::Alias(alias) => return aggregate(&alias.expr, input, resolve),
        Expr::AggregateFunction(call) => call,
        other => return Err(format!("{other} is computed here")),
    };
    let name = call.func.name().to_ascii_lowercase();
    let parameters = &call.params;
    if !parameters.order_by.is_empty() || parameters.null_treatment.is_some() {
        return Err(format!("{name} with an order is computed here"));
    }
    let result = expr.get_type(input).map_err(|error| error.to_string())?;
    let argument = match parameters.args.as_slice() {
        // count(*), and count of what is never NULL.
        [Expr::Literal(value, _)] if name == "count" && !value.is_null() && !parameters.distinct => None,
        [] if name == "count" => None,
        [argument] => Some(argument),
        _ => return Err(format!("{name} of several arguments is computed here")),
    };
    let argument_type = match argument {
        Some(argument) => Some(argument.get_type(input).map_err(|error| error.to_string())?),
        None => None,
    };
    let typed = match argument {
        Some(argument) => Some(Typed::of(argument, resolve)?),
        None => None,
    };
    let function = recognise(&name, argument_type.as_ref(), typed.as_ref(), &result)?;
    let argument = typed.map(|typed| typed.expression);
    // A maximum of different values is the maximum of all.
    let distinct = parameters.distinct
        && !matches!(
            function,
            Function::Minimum | Function::Maximum | Function::Every | Function::Any
        );
    // Different values can have one square.
    let squares = matches!(function, Function::Variance(_) | Function::Deviation(_));
    if distinct && (squares || !matches!(argument, Some(Expression::Column(_)))) {
        return Err(format!("{name} of these different values is computed here"));
    }
    let filter = match &parameters.filter {
        Some(filter) => Some(condition(filter, resolve)?),
        None => None,
    };
    Ok(AggregateCall {
        function,
        argument,
        distinct,
        filter,
        result,
    })
}

/// The condition of FILTER.
fn condition(filter: &Expr, resolve: &Resolve<'_>) -> Result<Predicate, String> {
    let column = |column: &Column| {
        let typed = resolve(column)?;
        match typed.expression {
            Expression::Column(index) => Ok((index, typed.data_type)),
            _ => Err(format!("{column} is computed here")),
        }
    };
    Predicate::resolved(filter, &column).map_err(|reason| format!("FILTER (WHERE {filter}): {reason}"))
}

/// The table.
///
/// | function | argument | result | asked for |
/// |---|---|---|---|
/// | count | any | bigint | count |
/// | sum | whole number | bigint | exact sum |
/// | sum | bigint | decimal of scale 0 | exact sum |
/// | sum | decimal | decimal of the same scale | exact sum |
/// | avg | smallint, integer as float | double precision | sum and count, divided as floats: the same below 2^53 |
/// | avg | decimal(p,s) | decimal(p+4,s+4) | quotient, cut |
/// | avg | whole number, decimal(p,s) | decimal(38 or 76, 16 or s) | quotient, rounded |
/// | min, max | not float, boolean, list | its own | the same |
/// | `bool_and`, `bool_or` | boolean | boolean | the same |
/// | `var_…`, `stddev_…` | exact, of 19 digits at the most, as decimal(76,s) | decimal(76,16) | by exact sums |
fn recognise(
    name: &str,
    argument: Option<&DataType>,
    typed: Option<&Typed>,
    result: &DataType,
) -> Result<Function, String> {
    let other = || format!("{name} of this type is computed here");
    let rounds = || format!("{name} of floats depends on the order of the values, so it is computed here");
    let Some(argument) = argument else {
        return if name == "count" && *result == DataType::Int64 {
            Ok(Function::Count)
        } else {
            Err(other())
        };
    };
    let float = matches!(argument, DataType::Float32 | DataType::Float64);
    match name {
        "count" if *result == DataType::Int64 => Ok(Function::Count),
        "sum" => match (argument, result) {
            (integer, DataType::Int64) if is_integer(integer) => Ok(Function::Sum),
            (DataType::Int64, DataType::Decimal128(38, 0)) => Ok(Function::Sum),
            (DataType::Decimal128(_, scale), DataType::Decimal128(_, summed))
            | (DataType::Decimal256(_, scale), DataType::Decimal256(_, summed))
                if scale == summed =>
            {
                Ok(Function::Sum)
            }
            _ if float => Err(rounds()),
            _ => Err(other()),
        },
        "avg" => match (argument, result) {
            (DataType::Float64, DataType::Float64) => match typed.map(|typed| &typed.expression) {
                Some(Expression::Convert { .. }) => Ok(Function::Mean),
                _ => Err(rounds()),
            },
            (exact, decimal) if (is_integer(exact) || is_decimal(exact)) && is_decimal(decimal) => {
                average(exact, decimal).ok_or_else(other)
            }
            _ if float => Err(rounds()),
            _ => Err(other()),
        },
        "min" | "max" if argument == result => match argument {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Err(format!(
                "{name} of floats is computed here, where zero has two forms"
            )),
            DataType::Boolean | DataType::List(_) | DataType::Binary => Err(other()),
            _ if name == "min" => Ok(Function::Minimum),
            _ => Ok(Function::Maximum),
        },
        "var_samp" | "variance" | "var_pop" | "stddev" | "stddev_samp" | "stddev_pop" => {
            spread(name, argument, typed, result).ok_or_else(|| {
                if float {
                    format!("{name} of floats is rounded at every value, so it is computed here")
                } else {
                    other()
                }
            })
        }
        "bool_and" if *argument == DataType::Boolean && argument == result => Ok(Function::Every),
        "bool_or" if *argument == DataType::Boolean && argument == result => Ok(Function::Any),
        _ => Err(other()),
    }
}

/// A variance or deviation that is computed from exact sums, as its type tells.
fn spread(name: &str, argument: &DataType, typed: Option<&Typed>, result: &DataType) -> Option<Function> {
    let exact = matches!(argument, DataType::Decimal256(DECIMAL256_MAX_PRECISION, _))
        && *result == DataType::Decimal256(DECIMAL256_MAX_PRECISION, SPREAD_SCALE);
    if !exact || !typed?.has_digits(SPREAD_DIGITS) {
        return None;
    }
    let sampling = if name.ends_with("_pop") {
        Sampling::Population
    } else {
        Sampling::Sample
    };
    Some(if name.starts_with("stddev") {
        Function::Deviation(sampling)
    } else {
        Function::Variance(sampling)
    })
}

/// Which of two ways to average exact numbers has this type; none if both have.
fn average(argument: &DataType, result: &DataType) -> Option<Function> {
    let cut = match argument {
        DataType::Decimal128(precision, scale) => {
            let most = DECIMAL128_MAX_PRECISION;
            Some(DataType::Decimal128(
                most.min(*precision + 4),
                (*scale + 4).min(i8::try_from(most).ok()?),
            ))
        }
        DataType::Decimal256(precision, scale) => {
            let most = DECIMAL256_MAX_PRECISION;
            Some(DataType::Decimal256(
                most.min(*precision + 4),
                (*scale + 4).min(i8::try_from(most).ok()?),
            ))
        }
        _ => None,
    };
    let own_scale = match argument {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale,
        _ => 0,
    };
    let rounded = match result {
        DataType::Decimal128(38, scale) | DataType::Decimal256(76, scale) => {
            *scale == own_scale.max(AVERAGE_SCALE)
        }
        _ => false,
    };
    match (cut.as_ref() == Some(result), rounded) {
        (true, false) => Some(Function::Average(Rounding::Truncate)),
        (false, true) => Some(Function::Average(Rounding::HalfAwayFromZero)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_told_apart_by_their_type() {
        let decimal = DataType::Decimal128;
        let cut = Some(Function::Average(Rounding::Truncate));
        let rounded = Some(Function::Average(Rounding::HalfAwayFromZero));
        for (argument, result, expected) in [
            (decimal(15, 2), decimal(19, 6), cut),
            (decimal(38, 2), decimal(38, 6), cut),
            (decimal(15, 2), decimal(38, 16), rounded),
            (DataType::Int32, decimal(38, 16), rounded),
            (decimal(30, 20), decimal(38, 20), rounded),
            (decimal(38, 12), decimal(38, 16), None),
            (decimal(15, 2), decimal(15, 2), None),
        ] {
            assert_eq!(average(&argument, &result), expected, "{argument} {result}");
        }
    }
}
