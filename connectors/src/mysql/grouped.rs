//! Orders, groups and aggregates in MySQL's SQL, and which of them it answers as
//! they are answered here.

use arrow::datatypes::DataType;
use lakegate_crds::ZeroDates;

use super::render::{Answer, RemoteShape, ZERO_DATE};
use super::types::{RemoteColumn, TextRule, Wire};
use crate::scan::{AggregateCall, Arithmetic, Asked, Expression, Function, Rounding, StoreJoin};
use crate::server::{Naming, condition};

/// Digits of a DECIMAL, and those of them behind the point.
const MAX_DIGITS: u32 = 65;
const MAX_SCALE: u32 = 30;
/// Digits that SUM adds to those of its argument.
const SUM_DIGITS: u32 = 22;
/// Digits behind the point that a division adds (`div_precision_increment`).
const DIVISION_DIGITS: u32 = 4;

const TOO_LONG: &str = "MySQL's decimals have no room for every digit of it";

impl RemoteShape {
    /// Why the server is not asked.
    pub(super) fn refusal_of(&self, asked: Asked<'_>) -> Option<&'static str> {
        match asked {
            Asked::Order(column) => self.order_refusal(column),
            // The same types: what is not padded or folded is sorted by its bytes.
            Asked::Distinct(column) => self.order_refusal(column),
            Asked::Computed(_) => Some("MySQL groups by columns alone"),
            Asked::Aggregate(call) => self.aggregate_refusal(call),
        }
    }

    /// The two tables as one.
    pub(super) fn joined(&self, other: &Self, join: &StoreJoin) -> Result<Self, &'static str> {
        let tables = self.with(other, join, |left, right| {
            let is_text = |column: &RemoteColumn| column.wire == Wire::Text;
            self.order_refusal(left)
                .or_else(|| other.order_refusal(right))
                .or_else(|| {
                    self.columns
                        .get(left)
                        .is_some_and(is_text)
                        .then_some("MySQL compares texts of two columns by a collation of its choice")
                })
        })?;
        Ok(Self {
            tables,
            zero_dates: self.zero_dates,
        })
    }

    fn zero_is_null(&self, column: &RemoteColumn) -> bool {
        column.wire.has_zero_dates() && self.zero_dates == ZeroDates::AsNull
    }

    fn order_refusal(&self, column: usize) -> Option<&'static str> {
        let column = self.columns.get(column)?;
        match &column.wire {
            Wire::Tiny { .. }
            | Wire::Small { .. }
            | Wire::Medium { .. }
            | Wire::Int { .. }
            | Wire::Big { .. }
            | Wire::Year
            | Wire::Decimal128 { .. }
            | Wire::Decimal256 { .. } => None,
            Wire::Date | Wire::DateTime | Wire::Timestamp => self.zero_is_null(column).then_some(ZERO_DATE),
            Wire::Text => match column.text {
                TextRule::Exact(_) => None,
                TextRule::Superset(_) => {
                    Some("the column's collation may call different texts equal, or order them otherwise")
                }
                TextRule::Local => Some("the column's character set or type has its own rules"),
            },
            Wire::Float | Wire::Double => Some("zero has two forms here and one in MySQL"),
            _ => Some("MySQL compares this type by its own rules"),
        }
    }

    fn aggregate_refusal(&self, call: &AggregateCall) -> Option<&'static str> {
        let Some(argument) = &call.argument else {
            return None;
        };
        match call.function {
            Function::Count => match argument {
                Expression::Column(column) => self
                    .columns
                    .get(*column)
                    .is_none_or(|column| self.zero_is_null(column))
                    .then_some(ZERO_DATE),
                computed => self.size(computed).err(),
            },
            Function::Minimum | Function::Maximum => match argument {
                Expression::Column(column) => self.order_refusal(*column),
                _ => Some("the minimum of an expression is computed here"),
            },
            Function::Every | Function::Any => Some("MySQL has no such aggregate"),
            Function::Variance(_) | Function::Deviation(_) => Some(TOO_LONG),
            Function::Sum | Function::Mean => match self.size(argument) {
                Ok(size) if size.digits + SUM_DIGITS <= MAX_DIGITS => None,
                Ok(_) => Some(TOO_LONG),
                Err(reason) => Some(reason),
            },
            Function::Average(_) => {
                let places = places(&call.result);
                match self.size(argument) {
                    // The doubled sum without its point, and the quotient with it.
                    Ok(size)
                        if size.digits + SUM_DIGITS + places + 2 <= MAX_DIGITS
                            && size.scale + DIVISION_DIGITS + places <= MAX_SCALE =>
                    {
                        None
                    }
                    Ok(_) => Some(TOO_LONG),
                    Err(reason) => Some(reason),
                }
            }
        }
    }

    /// How many digits the server gives an exact number.
    fn size(&self, expression: &Expression) -> Result<Size, &'static str> {
        let size = match expression {
            Expression::Column(column) => match self.columns.get(*column).map(|column| &column.wire) {
                Some(
                    Wire::Tiny { .. }
                    | Wire::Small { .. }
                    | Wire::Medium { .. }
                    | Wire::Int { .. }
                    | Wire::Big { .. },
                ) => Size::whole(20),
                Some(&Wire::Decimal128 { precision, scale } | &Wire::Decimal256 { precision, scale }) => {
                    Size {
                        digits: u32::from(precision),
                        scale: u32::from(scale.unsigned_abs()),
                    }
                }
                _ => return Err("MySQL adds this type up by its own rules"),
            },
            Expression::Constant(value) => match value.data_type() {
                DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => Size {
                    digits: u32::from(precision),
                    scale: u32::from(scale.unsigned_abs()),
                },
                _ => Size::whole(20),
            },
            Expression::Convert { inner, data_type } => {
                self.size(inner)?;
                match data_type {
                    DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => Size {
                        digits: u32::from(*precision),
                        scale: u32::from(scale.unsigned_abs()),
                    },
                    _ => Size::whole(20),
                }
            }
            Expression::Truncate { .. } => return Err("MySQL cuts times by its own rules"),
            Expression::Arithmetic {
                operator,
                left,
                right,
            } => {
                if expression
                    .columns()
                    .iter()
                    .any(|column| self.is_unsigned(*column))
                {
                    return Err("MySQL computes with unsigned numbers by its own rules");
                }
                let (left, right) = (self.size(left)?, self.size(right)?);
                match operator {
                    Arithmetic::Multiply => Size {
                        digits: left.digits + right.digits,
                        scale: left.scale + right.scale,
                    },
                    Arithmetic::Add | Arithmetic::Subtract => {
                        let scale = left.scale.max(right.scale);
                        Size {
                            digits: (left.digits - left.scale).max(right.digits - right.scale) + scale + 1,
                            scale,
                        }
                    }
                }
            }
        };
        if size.digits > MAX_DIGITS || size.scale > MAX_SCALE {
            return Err(TOO_LONG);
        }
        Ok(size)
    }

    fn is_unsigned(&self, column: usize) -> bool {
        matches!(
            self.columns.get(column).map(|column| &column.wire),
            Some(
                Wire::Tiny { unsigned: true }
                    | Wire::Small { unsigned: true }
                    | Wire::Medium { unsigned: true }
                    | Wire::Int { unsigned: true }
                    | Wire::Big { unsigned: true }
            )
        )
    }

    /// A key of the groups. A temporary table may widen the column's type, so the
    /// type is asked for.
    pub(super) fn key(&self, key: usize, qualified: bool, name: String) -> Option<Answer> {
        let column = self.columns.get(key)?;
        Some(certain(&column.wire, self.name(key, qualified), name))
    }

    /// An aggregate, in a type that holds it. None where its verdict was no.
    pub(super) fn aggregate(&self, call: &AggregateCall, qualified: bool, name: String) -> Option<Answer> {
        let answer = |sql: String, wire: Wire| Answer {
            sql,
            name: name.clone(),
            wire,
        };
        // MySQL has no FILTER; rows that do not count have NULL.
        let counting = |value: String| match &call.filter {
            Some(filter) => {
                let mut sql = "CASE WHEN ".to_owned();
                condition(filter, self, &|index| self.name(index, qualified), &mut sql);
                format!("{sql} THEN {value} END")
            }
            None => value,
        };
        let Some(argument) = &call.argument else {
            let rows = match &call.filter {
                Some(_) => counting("1".to_owned()),
                None => "*".to_owned(),
            };
            return Some(answer(format!("COUNT({rows})"), Wire::Big { unsigned: false }));
        };
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let value = counting(self.expression(argument, qualified));
        let (sum, count) = (
            format!("SUM({distinct}{value})"),
            format!("COUNT({distinct}{value})"),
        );
        let decimal = |sql: &str| {
            let scale = places(&call.result);
            let sql = format!("CAST({sql} AS DECIMAL({MAX_DIGITS},{scale}))");
            Some(answer(sql, decimal_wire(&call.result)))
        };
        match call.function {
            Function::Count => Some(answer(count, Wire::Big { unsigned: false })),
            Function::Sum => decimal(&sum),
            // A division is rounded somewhere, but not that of a multiple.
            Function::Average(rounding) => {
                let places = places(&call.result);
                let large = format!("1{}", "0".repeat(places as usize));
                let small = format!("0.{}1", "0".repeat((places as usize).saturating_sub(1)));
                let (dividend, divisor) = match rounding {
                    Rounding::Truncate => (format!("({sum} * {large})"), count),
                    Rounding::HalfAwayFromZero => (
                        format!("({sum} * {large} * 2 + SIGN({sum}) * {count})"),
                        format!("({count} * 2)"),
                    ),
                };
                decimal(&format!(
                    "(({dividend} - MOD({dividend}, {divisor})) / {divisor}) * {small}"
                ))
            }
            Function::Mean => Some(answer(format!("(({sum} + 0e0) / {count})"), Wire::Double)),
            Function::Minimum | Function::Maximum => {
                let Expression::Column(column) = argument else {
                    return None;
                };
                let function = if call.function == Function::Minimum {
                    "MIN"
                } else {
                    "MAX"
                };
                let wire = &self.columns.get(*column)?.wire;
                Some(certain(wire, format!("{function}({value})"), name))
            }
            Function::Every | Function::Any | Function::Variance(_) | Function::Deviation(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Size {
    digits: u32,
    scale: u32,
}

impl Size {
    fn whole(digits: u32) -> Self {
        Self { digits, scale: 0 }
    }
}

/// Digits behind the point of a result.
fn places(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => u32::from(scale.unsigned_abs()),
        _ => 0,
    }
}

pub(super) fn decimal_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("DECIMAL({precision},{scale})")
        }
        _ => format!("DECIMAL({MAX_DIGITS},0)"),
    }
}

/// The form of a sum or average: as planned, or with room to be looked at first.
fn decimal_wire(result: &DataType) -> Wire {
    match *result {
        DataType::Decimal128(precision, scale) => Wire::Decimal128 { precision, scale },
        DataType::Decimal256(precision, scale) => Wire::Decimal256 { precision, scale },
        _ => Wire::Decimal128 {
            precision: 38,
            scale: 0,
        },
    }
}

/// A value of a column's type in a type of the answer that no server changes.
fn certain(wire: &Wire, sql: String, name: String) -> Answer {
    let (sql, wire) = match wire {
        // AS SIGNED has one of two types, by the width of the column.
        Wire::Tiny { .. }
        | Wire::Small { .. }
        | Wire::Medium { .. }
        | Wire::Int { .. }
        | Wire::Big { .. }
        | Wire::Year => (
            format!("CAST({sql} AS DECIMAL(20,0))"),
            Wire::Decimal128 {
                precision: 20,
                scale: 0,
            },
        ),
        Wire::Decimal128 { precision, scale } | Wire::Decimal256 { precision, scale } => (
            format!("CAST({sql} AS DECIMAL({precision},{scale}))"),
            wire.clone(),
        ),
        Wire::Date => (format!("CAST({sql} AS DATE)"), Wire::Date),
        Wire::DateTime | Wire::Timestamp => (format!("CAST({sql} AS DATETIME(6))"), Wire::DateTime),
        other => (sql, other.clone()),
    };
    Answer { sql, name, wire }
}
