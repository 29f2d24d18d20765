//! Orders, groups and aggregates in PostgreSQL's SQL, and which of them it answers
//! as they are answered here.

use arrow::datatypes::{DataType, TimeUnit};

use super::render::RemoteShape;
use super::types::{TextForm, Wire, oid};
use crate::scan::{AggregateCall, Asked, Expression, Function, ROOT_PLACES, Rounding, Sampling, StoreJoin};
use crate::server::{Naming, condition};

impl RemoteShape {
    /// Why the server is not asked.
    pub(super) fn refusal_of(&self, asked: Asked<'_>) -> Option<&'static str> {
        match asked {
            Asked::Order(column) => self.order_refusal(column),
            Asked::Distinct(column) => self.distinct_refusal(column),
            Asked::Computed(expression) => self.computed_refusal(expression),
            Asked::Aggregate(call) => self.aggregate_refusal(call),
        }
    }

    /// The two tables as one.
    pub(super) fn joined(&self, other: &Self, join: &StoreJoin) -> Result<Self, &'static str> {
        let tables = self.with(other, join, |left, right| {
            let characters = |shape: &Self, column: usize| shape.columns.get(column)?.characters;
            self.distinct_refusal(left)
                .or_else(|| other.distinct_refusal(right))
                .or_else(|| {
                    (characters(self, left) != characters(other, right))
                        .then_some("PostgreSQL ignores trailing blanks of character(n)")
                })
        })?;
        Ok(Self(tables))
    }

    fn order_refusal(&self, column: usize) -> Option<&'static str> {
        let column = self.columns.get(column)?;
        match &column.wire {
            Wire::Int2
            | Wire::Int4
            | Wire::Int8
            | Wire::Numeric128 { .. }
            | Wire::Numeric256 { .. }
            | Wire::Bool
            | Wire::Bytea
            | Wire::Date
            | Wire::Timestamp
            | Wire::TimestampTz
            | Wire::Time => None,
            Wire::Interval => Some("intervals are sorted by their length, in which months have 30 days"),
            Wire::Float4 | Wire::Float8 => {
                Some("zero has two forms, which are sorted here and one in PostgreSQL")
            }
            // Sorted with COLLATE "C": by the bytes, as here.
            Wire::Text(TextForm::Native(oid::TEXT | oid::VARCHAR)) if column.bytewise => None,
            Wire::Text(TextForm::Native(oid::TEXT | oid::VARCHAR)) => {
                Some("the column's collation, encoding or origin may sort texts otherwise")
            }
            Wire::Text(_) | Wire::Geometry | Wire::Oid | Wire::List(_) => {
                Some("PostgreSQL sorts this type by its own rules")
            }
        }
    }

    fn distinct_refusal(&self, column: usize) -> Option<&'static str> {
        match &self.columns.get(column)?.wire {
            Wire::Float4 | Wire::Float8 => {
                Some("zero has two forms, which are different here and one in PostgreSQL")
            }
            // Padded to one length, different values differ in more than blanks.
            Wire::Text(TextForm::Native(oid::BPCHAR))
                if self
                    .columns
                    .get(column)
                    .is_some_and(|column| column.bytewise && column.characters.is_some()) =>
            {
                None
            }
            Wire::Text(_) => self
                .order_refusal(column)
                .map(|_| "the column's collation, encoding, type or origin may call different texts equal"),
            _ => self.order_refusal(column),
        }
    }

    fn computed_refusal(&self, expression: &Expression) -> Option<&'static str> {
        let is_exact = |column: &usize| {
            matches!(
                self.columns.get(*column).map(|column| &column.wire),
                Some(
                    Wire::Int2 | Wire::Int4 | Wire::Int8 | Wire::Numeric128 { .. } | Wire::Numeric256 { .. }
                )
            )
        };
        match expression {
            Expression::Column(column) => {
                (!is_exact(column)).then_some("PostgreSQL computes with this type by its own rules")
            }
            Expression::Constant(_) => None,
            Expression::Arithmetic { left, right, .. } => self
                .computed_refusal(left)
                .or_else(|| self.computed_refusal(right)),
            Expression::Convert {
                data_type: DataType::Float64,
                ..
            } => Some("floats are grouped here"),
            Expression::Convert { inner, .. } => self.computed_refusal(inner),
            Expression::Truncate { inner, .. } => match inner.as_ref() {
                Expression::Column(column)
                    if self.columns.get(*column).map(|column| &column.wire) == Some(&Wire::Timestamp) =>
                {
                    None
                }
                _ => Some("only a column of a timestamp is cut to a unit"),
            },
        }
    }

    fn aggregate_refusal(&self, call: &AggregateCall) -> Option<&'static str> {
        let Some(argument) = &call.argument else {
            return None;
        };
        let wire = |column: &usize| self.columns.get(*column).map(|column| &column.wire);
        match call.function {
            Function::Count => argument
                .columns()
                .iter()
                .any(|column| self.columns.get(*column).is_none_or(|column| column.composite))
                .then_some("a row of NULLs is itself NULL in PostgreSQL"),
            Function::Sum
            | Function::Average(_)
            | Function::Mean
            | Function::Variance(_)
            | Function::Deviation(_) => argument
                .columns()
                .iter()
                .any(|column| self.computed_refusal(&Expression::Column(*column)).is_some())
                .then_some("PostgreSQL adds this type up by its own rules"),
            Function::Minimum | Function::Maximum => match argument {
                Expression::Column(column) => match wire(column) {
                    Some(Wire::Bool | Wire::Bytea) => Some("PostgreSQL has no minimum of this type"),
                    _ => self.order_refusal(*column),
                },
                _ => Some("the minimum of an expression is computed here"),
            },
            Function::Every | Function::Any => match argument {
                Expression::Column(column) if wire(column) == Some(&Wire::Bool) => None,
                _ => Some("not a boolean column"),
            },
        }
    }

    /// The form in which an aggregate's values arrive; none for a type that no
    /// aggregate has.
    pub(super) fn aggregate_wire(&self, call: &AggregateCall) -> Option<Wire> {
        if let (Function::Minimum | Function::Maximum, Some(Expression::Column(column))) =
            (call.function, &call.argument)
        {
            return Some(match &self.columns.get(*column)?.wire {
                // The minimum of varchar is text.
                Wire::Text(_) => Wire::Text(TextForm::Native(oid::TEXT)),
                wire => wire.clone(),
            });
        }
        wire_of(&call.result)
    }

    /// An aggregate with the type of its result.
    pub(super) fn aggregate(&self, call: &AggregateCall, qualified: bool) -> String {
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let mut filter = String::new();
        if let Some(predicate) = &call.filter {
            filter.push_str(" FILTER (WHERE ");
            condition(predicate, self, &|index| self.name(index, qualified), &mut filter);
            filter.push(')');
        }
        let Some(argument) = &call.argument else {
            return format!("pg_catalog.count(*){filter}");
        };
        let value = self.expression(argument, qualified);
        let sum = format!("pg_catalog.sum({distinct}{value}){filter}");
        let count = format!("pg_catalog.count({distinct}{value}){filter}");
        match call.function {
            Function::Count => count,
            // An error where it does not fit.
            Function::Sum if call.result == DataType::Int64 => format!("{sum}::pg_catalog.int8"),
            Function::Sum => format!("{sum}::pg_catalog.numeric"),
            // The quotient of numerics is rounded somewhere; that of whole numbers,
            // by div, is not.
            Function::Average(rounding) => {
                let places = places(&call.result);
                let (large, small) = (
                    format!("'1e{places}'::pg_catalog.numeric"),
                    format!("'1e-{places}'::pg_catalog.numeric"),
                );
                let quotient = match rounding {
                    Rounding::Truncate => format!("pg_catalog.div({sum} * {large}, {count})"),
                    Rounding::HalfAwayFromZero => format!(
                        "pg_catalog.div({sum} * {large} * 2 + pg_catalog.sign({sum}::pg_catalog.numeric) * {count}, \
                         {count} * 2)"
                    ),
                };
                format!("({quotient} * {small})")
            }
            Function::Variance(sampling) => {
                let places = places(&call.result);
                let whole = variance(&value, &filter, sampling, places);
                format!("({whole} * '1e-{places}'::pg_catalog.numeric)")
            }
            Function::Deviation(sampling) => {
                let places = places(&call.result);
                let squared = variance(&value, &filter, sampling, ROOT_PLACES);
                // A root is rounded in the digits of what it is taken of. With these, none is rounded up to the next
                // whole number: the root of a whole number below 10^76 misses it by more than 10^-39.
                let root =
                    format!("pg_catalog.trunc(pg_catalog.sqrt({squared} + '0e-42'::pg_catalog.numeric))");
                format!("(pg_catalog.div({root} + 5, 10) * '1e-{places}'::pg_catalog.numeric)")
            }
            Function::Mean => {
                format!("({sum}::pg_catalog.float8 / {count}::pg_catalog.float8)")
            }
            Function::Minimum | Function::Maximum => {
                let name = if call.function == Function::Minimum {
                    "min"
                } else {
                    "max"
                };
                let collation = match self.aggregate_wire(call) {
                    Some(Wire::Text(_)) => " COLLATE pg_catalog.\"C\"",
                    _ => "",
                };
                format!("pg_catalog.{name}({value}{collation}){filter}")
            }
            Function::Every => format!("pg_catalog.bool_and({value}){filter}"),
            Function::Any => format!("pg_catalog.bool_or({value}){filter}"),
        }
    }
}

/// The variance of numerics as a whole number: with so many places, without its point. The quotient is rounded by
/// div, because that of numerics has places of its own choice.
fn variance(value: &str, filter: &str, sampling: Sampling, places: u32) -> String {
    let count = format!("pg_catalog.count({value}){filter}::pg_catalog.numeric");
    let sum = format!("pg_catalog.sum({value}){filter}");
    let squares = format!("pg_catalog.sum({value} * {value}){filter}");
    let less = match sampling {
        Sampling::Sample => format!("({count} - 1)"),
        Sampling::Population => count.clone(),
    };
    format!(
        "pg_catalog.div(({count} * {squares} - {sum} * {sum}) * '2e{places}'::pg_catalog.numeric + {count} * {less}, \
         NULLIF({count} * {less}, 0) * 2)"
    )
}

/// Digits behind the point.
fn places(result: &DataType) -> u32 {
    match result {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => u32::try_from(*scale).unwrap_or(0),
        _ => 0,
    }
}

/// The form in which computed values arrive; none for a type that none has.
pub(super) fn wire_of(data_type: &DataType) -> Option<Wire> {
    Some(match *data_type {
        DataType::Int16 => Wire::Int2,
        DataType::Int32 => Wire::Int4,
        DataType::Int64 => Wire::Int8,
        DataType::Float64 => Wire::Float8,
        DataType::Boolean => Wire::Bool,
        DataType::Decimal128(precision, scale) => Wire::Numeric128 { precision, scale },
        DataType::Decimal256(precision, scale) => Wire::Numeric256 { precision, scale },
        DataType::Timestamp(TimeUnit::Microsecond, None) => Wire::Timestamp,
        _ => return None,
    })
}
