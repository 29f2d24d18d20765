//! Arithmetic that fails where PostgreSQL's does.
//!
//! Integers never wrap, a division by zero is an error for floats too, and the quotient of numerics has the digits
//! that PostgreSQL gives it in ordinary cases: sixteen behind the point.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{try_binary, try_unary};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, i256,
};
use arrow::error::ArrowError;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use super::scaffold::{Call, Function, Kind, NUMERIC, Outcome, Returns, function, overload};
use crate::cast;
use crate::error::{Cause, FederationError};
use crate::types::{self, BaseType, FREE_NUMERIC};
use crate::values::read::number::{divide_half_away, power_of_ten};

/// An operation on numbers of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Negate,
}

impl Operation {
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract | Self::Negate => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Add => "lakegate_add",
            Self::Subtract => "lakegate_subtract",
            Self::Multiply => "lakegate_multiply",
            Self::Divide => "lakegate_divide",
            Self::Remainder => "lakegate_remainder",
            Self::Negate => "lakegate_negate",
        }
    }
}

/// An operation on integers, or a division of floats, that fails where it has no result.
///
/// Both arguments have one type, which is the result's. The optimizer of a store's requests may see through it:
/// it is `left operation right`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Checked {
    pub(crate) operation: Operation,
    signature: Signature,
}

impl Checked {
    pub(crate) fn call(operation: Operation, args: Vec<Expr>) -> Expr {
        Arc::new(ScalarUDF::new_from_impl(Self {
            operation,
            signature: Signature::new(TypeSignature::UserDefined, Volatility::Immutable),
        }))
        .call(args)
    }

    /// Whether the operation on this type needs the check.
    pub(crate) fn applies(operation: Operation, data_type: &DataType) -> bool {
        match data_type {
            DataType::Int16 | DataType::Int32 | DataType::Int64 => true,
            DataType::Float32 | DataType::Float64 => {
                matches!(operation, Operation::Divide | Operation::Remainder)
            }
            _ => false,
        }
    }
}

fn overflow(name: &str) -> ArrowError {
    ArrowError::ExternalError(Box::new(out_of_range(name)))
}

pub(crate) fn out_of_range(name: &str) -> FederationError {
    Cause::OutOfRange {
        message: format!("{name} out of range"),
    }
    .into()
}

/// An operand of a batch: a column, or one value beside it.
struct Operand {
    array: ArrayRef,
    scalar: bool,
}

/// The operation on each pair of values that has no NULL.
fn pairs<T: ArrowPrimitiveType>(
    left: &Operand,
    right: &Operand,
    operation: impl Fn(T::Native, T::Native) -> Result<T::Native, ArrowError>,
) -> Result<PrimitiveArray<T>, ArrowError> {
    let (lefts, rights) = (left.array.as_primitive::<T>(), right.array.as_primitive::<T>());
    match (left.scalar, right.scalar) {
        (false, true) if rights.is_null(0) => Ok(PrimitiveArray::new_null(lefts.len())),
        (true, false) if lefts.is_null(0) => Ok(PrimitiveArray::new_null(rights.len())),
        (false, true) => {
            let value = rights.value(0);
            try_unary(lefts, |left| operation(left, value))
        }
        (true, false) => {
            let value = lefts.value(0);
            try_unary(rights, |right| operation(value, right))
        }
        _ => try_binary(lefts, rights, operation),
    }
}

/// A sum or difference without a branch a row; None if one does not fit, perhaps of values below NULLs.
fn fitting<T: ArrowPrimitiveType>(
    left: &Operand,
    right: &Operand,
    operation: impl Fn(T::Native, T::Native) -> (T::Native, bool),
) -> Option<PrimitiveArray<T>> {
    let (lefts, rights) = (left.array.as_primitive::<T>(), right.array.as_primitive::<T>());
    if left.scalar && lefts.is_null(0) || right.scalar && rights.is_null(0) {
        return None;
    }
    let mut wrapped = false;
    let mut one = |left: T::Native, right: T::Native| {
        let (value, wraps) = operation(left, right);
        wrapped |= wraps;
        value
    };
    let (values, nulls): (Vec<T::Native>, _) = match (left.scalar, right.scalar) {
        (false, true) => {
            let right = rights.value(0);
            (
                lefts.values().iter().map(|left| one(*left, right)).collect(),
                lefts.nulls().cloned(),
            )
        }
        (true, false) => {
            let left = lefts.value(0);
            (
                rights.values().iter().map(|right| one(left, *right)).collect(),
                rights.nulls().cloned(),
            )
        }
        _ if lefts.len() == rights.len() => (
            lefts
                .values()
                .iter()
                .zip(rights.values())
                .map(|(left, right)| one(*left, *right))
                .collect(),
            NullBuffer::union(lefts.nulls(), rights.nulls()),
        ),
        _ => return None,
    };
    (!wrapped).then(|| PrimitiveArray::new(values.into(), nulls))
}

fn integers<T: ArrowPrimitiveType>(
    operation: Operation,
    operands: &[Operand],
    name: &'static str,
) -> Result<ArrayRef, ArrowError> {
    let wide = |_| overflow(name);
    let zero = T::Native::default();
    let array = match (operation, operands) {
        (Operation::Negate, [operand]) => try_unary::<T, _, T>(operand.array.as_primitive(), |value| {
            value.neg_checked().map_err(wide)
        })?,
        (Operation::Add, [left, right]) => {
            let quick = fitting::<T>(left, right, |l, r| {
                let sum = l.add_wrapping(r);
                (sum, r.is_lt(zero) != sum.is_lt(l))
            });
            match quick {
                Some(array) => array,
                None => pairs::<T>(left, right, |l, r| l.add_checked(r).map_err(wide))?,
            }
        }
        (Operation::Subtract, [left, right]) => {
            let quick = fitting::<T>(left, right, |l, r| {
                let difference = l.sub_wrapping(r);
                (difference, r.is_gt(zero) != difference.is_lt(l))
            });
            match quick {
                Some(array) => array,
                None => pairs::<T>(left, right, |l, r| l.sub_checked(r).map_err(wide))?,
            }
        }
        (Operation::Multiply, [left, right]) => {
            pairs::<T>(left, right, |l, r| l.mul_checked(r).map_err(wide))?
        }
        (Operation::Divide, [left, right]) => pairs::<T>(left, right, |l, r| {
            if r.is_zero() {
                return Err(ArrowError::DivideByZero);
            }
            l.div_checked(r).map_err(wide)
        })?,
        // the least integer has a remainder by -1, and it is 0
        (Operation::Remainder, [left, right]) => pairs::<T>(left, right, |l, r| {
            if r.is_zero() {
                return Err(ArrowError::DivideByZero);
            }
            Ok(l.mod_wrapping(r))
        })?,
        _ => return Err(no_operands()),
    };
    Ok(Arc::new(array))
}

fn floats<T: ArrowPrimitiveType>(operation: Operation, operands: &[Operand]) -> Result<ArrayRef, ArrowError> {
    let [left, right] = operands else {
        return Err(no_operands());
    };
    let array = pairs::<T>(left, right, |l, r| {
        if r.is_zero() {
            return Err(ArrowError::DivideByZero);
        }
        Ok(if operation == Operation::Divide {
            l.div_wrapping(r)
        } else {
            l.mod_wrapping(r)
        })
    })?;
    Ok(Arc::new(array))
}

fn no_operands() -> ArrowError {
    ArrowError::ExternalError(Box::new(FederationError::internal(
        "an operator without its operands",
    )))
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.operation.name()
    }

    fn display_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        let symbol = self.operation.symbol();
        Ok(match args {
            [left, right] => format!("{left} {symbol} {right}"),
            [only] => format!("({symbol} {only})"),
            _ => symbol.to_owned(),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        arguments
            .first()
            .cloned()
            .ok_or_else(|| FederationError::internal("an operator without operands").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let types: Vec<DataType> = args
            .arg_fields
            .iter()
            .map(|field| field.data_type().clone())
            .collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(
            self.name(),
            self.return_type(&types)?,
            nullable,
        )))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let constant = args
            .args
            .iter()
            .all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let operands = args
            .args
            .into_iter()
            .map(|value| {
                Ok(match value {
                    ColumnarValue::Array(array) => Operand { array, scalar: false },
                    ColumnarValue::Scalar(value) => Operand {
                        array: value.to_array()?,
                        scalar: !constant,
                    },
                })
            })
            .collect::<DataFusionResult<Vec<_>>>()?;
        let result = match args.return_field.data_type() {
            DataType::Int16 => integers::<Int16Type>(self.operation, &operands, "smallint"),
            DataType::Int32 => integers::<Int32Type>(self.operation, &operands, "integer"),
            DataType::Int64 => integers::<Int64Type>(self.operation, &operands, "bigint"),
            DataType::Float32 => floats::<Float32Type>(self.operation, &operands),
            DataType::Float64 => floats::<Float64Type>(self.operation, &operands),
            other => {
                return Err(FederationError::internal(format!("{other} is not computed with here")).into());
            }
        };
        let result = result.map_err(FederationError::from)?;
        if constant {
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?))
        } else {
            Ok(ColumnarValue::Array(result))
        }
    }
}

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
    use super::*;

    #[test]
    fn sums_that_do_not_fit_fail_and_values_below_nulls_do_not() {
        let operand = |values: Vec<Option<i32>>, scalar| Operand {
            array: Arc::new(PrimitiveArray::<Int32Type>::from(values)),
            scalar,
        };
        let computed = |operation, left, right| {
            integers::<Int32Type>(operation, &[left, right], "integer")
                .map(|array| array.as_primitive::<Int32Type>().iter().collect::<Vec<_>>())
                .map_err(|error| FederationError::from(error).sqlstate())
        };
        let least = Some(i32::MIN);
        for (operation, left, right, expected) in [
            (
                Operation::Add,
                vec![Some(1), None],
                vec![Some(2), Some(3)],
                Ok(vec![Some(3), None]),
            ),
            (Operation::Add, vec![Some(i32::MAX)], vec![Some(1)], Err("22003")),
            (Operation::Add, vec![least], vec![Some(-1)], Err("22003")),
            (Operation::Subtract, vec![least], vec![Some(1)], Err("22003")),
            (Operation::Subtract, vec![Some(0)], vec![least], Err("22003")),
            (
                Operation::Subtract,
                vec![Some(-1)],
                vec![least],
                Ok(vec![Some(i32::MAX)]),
            ),
            (
                Operation::Remainder,
                vec![least],
                vec![Some(-1)],
                Ok(vec![Some(0)]),
            ),
            (Operation::Divide, vec![Some(1)], vec![Some(0)], Err("22012")),
        ] {
            let scalar = right.clone();
            assert_eq!(
                computed(operation, operand(left.clone(), false), operand(right, false)),
                expected
            );
            if scalar.len() == 1 {
                assert_eq!(
                    computed(operation, operand(left, false), operand(scalar, true)),
                    expected
                );
            }
        }
        let hidden = PrimitiveArray::<Int32Type>::new(vec![i32::MAX].into(), Some(vec![false].into()));
        let hidden = Operand {
            array: Arc::new(hidden),
            scalar: false,
        };
        assert_eq!(
            computed(Operation::Add, hidden, operand(vec![Some(1)], true)),
            Ok(vec![None])
        );
    }

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
