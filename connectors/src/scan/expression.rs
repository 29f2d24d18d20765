//! The planner's expressions as computations a store can be asked for.
//!
//! Only what has one exact result is taken: a whole number must be certain not to
//! overflow, so every expression carries the bounds of its values.

use arrow::datatypes::{DataType, TimeUnit, i256};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{Expr, Operator};

use super::request::{Arithmetic, CalendarUnit, Expression};

/// An expression with its type here and the values it can have.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Typed {
    pub expression: Expression,
    pub data_type: DataType,
    /// Of whole numbers and decimals, whose value is taken without its point.
    bounds: Option<(i256, i256)>,
}

/// What a column of the planner stands for, or why nothing.
pub(super) type Resolve<'a> = dyn Fn(&Column) -> Result<Typed, String> + 'a;

impl Typed {
    /// A column of the table.
    pub fn column(index: usize, data_type: DataType) -> Self {
        Self {
            expression: Expression::Column(index),
            bounds: range(&data_type),
            data_type,
        }
    }

    /// Whether no value has more digits, counted without the point.
    pub fn has_digits(&self, digits: u8) -> bool {
        let Some(((low, high), limit)) = self.bounds.zip(power_of_ten(digits)) else {
            return false;
        };
        low > limit.wrapping_neg() && high < limit
    }

    /// Converts an expression of the planner.
    ///
    /// # Errors
    /// The reason why it is computed here, as `EXPLAIN` shows it.
    pub fn of(expr: &Expr, resolve: &Resolve<'_>) -> Result<Self, String> {
        match expr {
            Expr::Column(column) => resolve(column),
            Expr::Alias(alias) => Self::of(&alias.expr, resolve),
            Expr::Literal(value, _) => Self::constant(value),
            Expr::Cast(cast) => Self::of(&cast.expr, resolve)?.converted(cast.field.data_type()),
            Expr::BinaryExpr(binary) => {
                let operator = match binary.op {
                    Operator::Plus => Arithmetic::Add,
                    Operator::Minus => Arithmetic::Subtract,
                    Operator::Multiply => Arithmetic::Multiply,
                    other => return Err(format!("operator {other} is computed here")),
                };
                let left = Self::of(&binary.left, resolve)?;
                let right = Self::of(&binary.right, resolve)?;
                left.combined(operator, right, false)
            }
            Expr::ScalarFunction(call) if call.name() == "date_trunc" => Self::truncated(&call.args, resolve),
            Expr::ScalarFunction(call) => {
                let operator = checked_operator(call.name())
                    .ok_or_else(|| format!("function {} is computed here", call.name()))?;
                let [left, right] = call.args.as_slice() else {
                    return Err(format!("function {} is computed here", call.name()));
                };
                Self::of(left, resolve)?.combined(operator, Self::of(right, resolve)?, true)
            }
            other => Err(format!("{other} is computed here")),
        }
    }

    fn constant(value: &ScalarValue) -> Result<Self, String> {
        let number = match value {
            ScalarValue::Int16(Some(number)) => i256::from_i128(i128::from(*number)),
            ScalarValue::Int32(Some(number)) => i256::from_i128(i128::from(*number)),
            ScalarValue::Int64(Some(number)) => i256::from_i128(i128::from(*number)),
            ScalarValue::Decimal128(Some(number), ..) => i256::from_i128(*number),
            ScalarValue::Decimal256(Some(number), ..) => *number,
            _ => return Err("a constant that is no exact number is computed with here".to_owned()),
        };
        Ok(Self {
            expression: Expression::Constant(value.clone()),
            data_type: value.data_type(),
            bounds: Some((number, number)),
        })
    }

    /// `date_trunc` of a date and time without a zone, which is the same whatever zone the session has.
    fn truncated(arguments: &[Expr], resolve: &Resolve<'_>) -> Result<Self, String> {
        let refused = || "date_trunc of this unit and type is computed here".to_owned();
        let [
            Expr::Literal(
                ScalarValue::Utf8(Some(unit))
                | ScalarValue::Utf8View(Some(unit))
                | ScalarValue::LargeUtf8(Some(unit)),
                _,
            ),
            argument,
        ] = arguments
        else {
            return Err(refused());
        };
        let unit = CalendarUnit::by_name(unit).ok_or_else(refused)?;
        let inner = Self::of(argument, resolve)?;
        if inner.data_type != DataType::Timestamp(TimeUnit::Microsecond, None) {
            return Err(refused());
        }
        Ok(Self {
            expression: Expression::Truncate {
                unit,
                inner: Box::new(inner.expression),
            },
            data_type: inner.data_type,
            bounds: None,
        })
    }

    /// The same value in another type, where every value has one.
    fn converted(self, to: &DataType) -> Result<Self, String> {
        if self.data_type == *to {
            return Ok(self);
        }
        let refused = || format!("a cast of {} to {to} is computed here", self.data_type);
        let (low, high) = self.bounds.ok_or_else(refused)?;
        let bounds = match (&self.data_type, to) {
            // Exact up to 2^53.
            (DataType::Int16 | DataType::Int32, DataType::Float64) => None,
            (from, to) => {
                let (from_scale, to_scale) =
                    (scale(from).ok_or_else(refused)?, scale(to).ok_or_else(refused)?);
                if to_scale < from_scale {
                    return Err(refused());
                }
                let factor = power_of_ten(to_scale - from_scale).ok_or_else(refused)?;
                let scaled = |value: i256| value.checked_mul(factor).ok_or_else(refused);
                let (low, high) = (scaled(low)?, scaled(high)?);
                let (least, most) = range(to).ok_or_else(refused)?;
                if low < least || high > most {
                    return Err(refused());
                }
                Some((low, high))
            }
        };
        Ok(Self {
            expression: Expression::Convert {
                inner: Box::new(self.expression),
                data_type: to.clone(),
            },
            data_type: to.clone(),
            bounds,
        })
    }

    /// `checked`: the operation is an error here, too, where it overflows.
    fn combined(self, operator: Arithmetic, right: Self, checked: bool) -> Result<Self, String> {
        let refused = || {
            format!(
                "{} {} {} is computed here",
                self.data_type,
                operator.sql(),
                right.data_type
            )
        };
        let integers = is_integer(&self.data_type) && self.data_type == right.data_type;
        let decimals = is_decimal(&self.data_type) && is_decimal(&right.data_type);
        if !integers && !decimals {
            return Err(refused());
        }
        let sql_operator = match operator {
            Arithmetic::Add => Operator::Plus,
            Arithmetic::Subtract => Operator::Minus,
            Arithmetic::Multiply => Operator::Multiply,
        };
        let data_type = BinaryTypeCoercer::new(&self.data_type, &sql_operator, &right.data_type)
            .get_result_type()
            .map_err(|_| refused())?;
        let (Some(left_bounds), Some(right_bounds)) = (self.bounds, right.bounds) else {
            return Err(refused());
        };
        let scales = (
            scale(&self.data_type).ok_or_else(refused)?,
            scale(&right.data_type).ok_or_else(refused)?,
        );
        let result_scale = scale(&data_type).ok_or_else(refused)?;
        let exact_scale = match operator {
            Arithmetic::Multiply => scales.0 + scales.1,
            Arithmetic::Add | Arithmetic::Subtract => scales.0.max(scales.1),
        };
        // A type that has no place for every digit would round here.
        if result_scale != exact_scale {
            return Err(refused());
        }
        let bounds = combined_bounds(operator, (left_bounds, scales.0), (right_bounds, scales.1));
        if integers && !checked {
            let fits = bounds
                .zip(range(&data_type))
                .is_some_and(|((low, high), (least, most))| low >= least && high <= most);
            if !fits {
                return Err(format!("{data_type} {} may overflow", operator.sql()));
            }
        }
        Ok(Self {
            expression: Expression::Arithmetic {
                operator,
                left: Box::new(self.expression),
                right: Box::new(right.expression),
            },
            bounds: bounds.or_else(|| range(&data_type)),
            data_type,
        })
    }
}

/// The scalar functions that are an operator with an error instead of an overflow.
fn checked_operator(name: &str) -> Option<Arithmetic> {
    Some(match name {
        "lakegate_add" => Arithmetic::Add,
        "lakegate_subtract" => Arithmetic::Subtract,
        "lakegate_multiply" => Arithmetic::Multiply,
        _ => return None,
    })
}

type Bounds = (i256, i256);

/// None where 256 bits do not hold them.
fn combined_bounds(
    operator: Arithmetic,
    (left, left_scale): (Bounds, u8),
    (right, right_scale): (Bounds, u8),
) -> Option<Bounds> {
    if operator == Arithmetic::Multiply {
        let products = [
            left.0.checked_mul(right.0)?,
            left.0.checked_mul(right.1)?,
            left.1.checked_mul(right.0)?,
            left.1.checked_mul(right.1)?,
        ];
        return products.iter().min().copied().zip(products.iter().max().copied());
    }
    let scale = left_scale.max(right_scale);
    let at_scale = |(low, high): Bounds, own: u8| {
        let factor = power_of_ten(scale - own)?;
        Some((low.checked_mul(factor)?, high.checked_mul(factor)?))
    };
    let (left, right) = (at_scale(left, left_scale)?, at_scale(right, right_scale)?);
    Some(if operator == Arithmetic::Add {
        (left.0.checked_add(right.0)?, left.1.checked_add(right.1)?)
    } else {
        (left.0.checked_sub(right.1)?, left.1.checked_sub(right.0)?)
    })
}

fn power_of_ten(exponent: u8) -> Option<i256> {
    i256::from_i128(10).checked_pow(u32::from(exponent))
}

pub(super) fn is_integer(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64)
}

pub(super) fn is_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal128(..) | DataType::Decimal256(..))
}

/// Digits behind the point; none for what is no exact number.
fn scale(data_type: &DataType) -> Option<u8> {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => u8::try_from(*scale).ok(),
        integer if is_integer(integer) => Some(0),
        _ => None,
    }
}

/// The least and the greatest value of a type, without its point.
fn range(data_type: &DataType) -> Option<Bounds> {
    let integer = |low: i64, high: i64| {
        Some((
            i256::from_i128(i128::from(low)),
            i256::from_i128(i128::from(high)),
        ))
    };
    match data_type {
        DataType::Int16 => integer(i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int32 => integer(i64::from(i32::MIN), i64::from(i32::MAX)),
        DataType::Int64 => integer(i64::MIN, i64::MAX),
        DataType::Decimal128(precision, _) | DataType::Decimal256(precision, _) => {
            let most = power_of_ten(*precision)?.checked_sub(i256::ONE)?;
            Some((most.wrapping_neg(), most))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{cast, col, date_trunc, lit};

    fn resolve(column: &Column) -> Result<Typed, String> {
        let (index, data_type) = match column.name.as_str() {
            "small" => (0, DataType::Int16),
            "num" => (1, DataType::Int32),
            "big" => (2, DataType::Int64),
            "price" => (3, DataType::Decimal128(15, 2)),
            "discount" => (4, DataType::Decimal128(15, 2)),
            "wide" => (5, DataType::Decimal128(30, 20)),
            "real" => (6, DataType::Float64),
            "at" => (7, DataType::Timestamp(TimeUnit::Microsecond, None)),
            "instant" => (8, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
            "day" => (9, DataType::Date32),
            _ => return Err("no such column".to_owned()),
        };
        Ok(Typed::column(index, data_type))
    }

    #[test]
    fn only_what_is_exact() {
        let one = lit(ScalarValue::Decimal128(Some(1), 20, 0));
        let yes = [
            col("price") * (one.clone() - col("discount")),
            cast(col("num"), DataType::Int64) + cast(col("small"), DataType::Int64),
            cast(col("num"), DataType::Int64) * lit(1_000_000_i64),
            cast(col("num"), DataType::Decimal128(10, 0)) * col("price"),
            cast(col("num"), DataType::Float64),
            date_trunc(lit("month"), col("at")),
        ];
        for expr in yes {
            Typed::of(&expr, &resolve).unwrap_or_else(|reason| panic!("{expr}: {reason}"));
        }
        let no = [
            col("big") + lit(1_i64),
            col("num") + col("num"),
            col("price") / col("discount"),
            col("wide") * col("wide"),
            col("real") + lit(1.0_f64),
            cast(col("big"), DataType::Float64),
            cast(col("price"), DataType::Decimal128(15, 1)),
            cast(col("price"), DataType::Int64),
            cast(col("big"), DataType::Decimal128(10, 0)),
            col("price") + lit(ScalarValue::Decimal128(None, 20, 0)),
            date_trunc(lit("decade"), col("at")),
            date_trunc(col("name"), col("at")),
            date_trunc(lit("month"), col("instant")),
            date_trunc(lit("month"), col("day")),
            date_trunc(lit(ScalarValue::Utf8(None)), col("at")),
        ];
        for expr in no {
            assert!(Typed::of(&expr, &resolve).is_err(), "{expr}");
        }
    }
}
