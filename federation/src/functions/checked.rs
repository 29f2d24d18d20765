//! Operators on numbers that fail where PostgreSQL's do: integers never wrap, and a division by zero is an error for
//! floats, too.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{try_binary, try_unary};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
};
use arrow::error::ArrowError;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};

use crate::error::{Cause, FederationError};

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
}
