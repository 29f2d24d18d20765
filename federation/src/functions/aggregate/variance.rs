//! Variance and standard deviation: exact of integers and numerics, DataFusion's own of floats.

use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal256Type, Field, FieldRef, Int64Type, i256};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::functions_aggregate::stddev::{stddev_pop_udaf, stddev_udaf};
use datafusion::functions_aggregate::variance::{var_pop_udaf, var_samp_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, TypeSignature, Volatility,
};

use super::distinct::Distinct;
use super::number::scale_of;
use crate::cast;
use crate::error::FederationError;
use crate::functions::scaffold::no_such_overload;
use crate::values::read::number::{divide_half_away, power_of_ten};

/// Digits behind the point of the result.
const SCALE: i32 = 16;

const RESULT: DataType = DataType::Decimal256(76, 16);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Measure {
    Variance,
    Deviation,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Spread {
    name: &'static str,
    measure: Measure,
    /// Of a sample: divided by one less than there are values.
    sample: bool,
    floats: Arc<AggregateUDF>,
    signature: Signature,
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float64)
}

impl AggregateUDFImpl for Spread {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let wanted = match arguments {
            [DataType::Null] => Some(DataType::Decimal256(76, 0)),
            [DataType::Float16 | DataType::Float32 | DataType::Float64] => Some(DataType::Float64),
            [argument] => match cast::canonical(argument) {
                DataType::Int16 | DataType::Int32 | DataType::Int64 => Some(DataType::Decimal256(76, 0)),
                DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => {
                    Some(DataType::Decimal256(76, scale))
                }
                _ => None,
            },
            _ => None,
        };
        match wanted {
            Some(wanted) => Ok(vec![wanted]),
            None => {
                let fields: Vec<FieldRef> = arguments
                    .iter()
                    .map(|data_type| Arc::new(Field::new("", data_type.clone(), true)))
                    .collect();
                Err(no_such_overload(self.name, &fields).into())
            }
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(if arguments.first().is_some_and(is_float) {
            DataType::Float64
        } else {
            RESULT
        })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let argument = &args.expr_fields[0];
        if is_float(argument.data_type()) {
            if args.is_distinct {
                let inner = self.floats.accumulator(AccumulatorArgs {
                    is_distinct: false,
                    ..args.clone_shallow()
                })?;
                return Ok(Box::new(Distinct::over(inner, argument)));
            }
            return self.floats.accumulator(args);
        }
        let exact: Box<dyn Accumulator> = Box::new(Exact {
            measure: self.measure,
            sample: self.sample,
            scale: scale_of(argument.data_type()),
            count: 0,
            sum: i256::ZERO,
            squares: i256::ZERO,
        });
        if args.is_distinct {
            return Ok(Box::new(Distinct::over(exact, argument)));
        }
        Ok(exact)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let argument = args.input_fields[0].data_type();
        let nullable =
            |part: &str, data_type| Arc::new(Field::new(format!("{}[{part}]", args.name), data_type, true));
        if args.is_distinct {
            return Ok(vec![nullable(
                "distinct",
                DataType::new_list(argument.clone(), true),
            )]);
        }
        if is_float(argument) {
            return self.floats.state_fields(args);
        }
        Ok(vec![
            nullable("count", DataType::Int64),
            nullable("sum", DataType::Decimal256(76, 0)),
            nullable("squares", DataType::Decimal256(76, 0)),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
            && is_float(args.expr_fields[0].data_type())
            && self.floats.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        self.floats.create_groups_accumulator(args)
    }
}

/// Arguments with one of them changed.
trait Shallow<'a> {
    fn clone_shallow(&self) -> AccumulatorArgs<'a>;
}

impl<'a> Shallow<'a> for AccumulatorArgs<'a> {
    fn clone_shallow(&self) -> AccumulatorArgs<'a> {
        AccumulatorArgs {
            return_field: Arc::clone(&self.return_field),
            schema: self.schema,
            ignore_nulls: self.ignore_nulls,
            order_bys: self.order_bys,
            is_reversed: self.is_reversed,
            name: self.name,
            is_distinct: self.is_distinct,
            exprs: self.exprs,
            expr_fields: self.expr_fields,
        }
    }
}

/// Count, sum and sum of squares, without any rounding.
#[derive(Debug)]
struct Exact {
    measure: Measure,
    sample: bool,
    scale: i32,
    count: i64,
    sum: i256,
    squares: i256,
}

impl Exact {
    fn add(&mut self, value: i256) -> Option<()> {
        self.count += 1;
        self.sum = self.sum.checked_add(value)?;
        self.squares = self.squares.checked_add(value.checked_mul(value)?)?;
        Some(())
    }

    fn take(&mut self, value: i256) -> Option<()> {
        self.count -= 1;
        self.sum = self.sum.checked_sub(value)?;
        self.squares = self.squares.checked_sub(value.checked_mul(value)?)?;
        Some(())
    }

    /// `(N Σx² − (Σx)²) / (N (N − 1))`.
    fn result(&self) -> Result<Option<i256>, FederationError> {
        if self.count == 0 || (self.sample && self.count == 1) {
            return Ok(None);
        }
        let count = i256::from_i128(i128::from(self.count));
        let divided_by = if self.sample { count - i256::ONE } else { count };
        let numerator = count
            .checked_mul(self.squares)
            .and_then(|all| all.checked_sub(self.sum.checked_mul(self.sum)?))
            .ok_or_else(cast::overflow)?;
        if numerator <= i256::ZERO {
            return Ok(Some(i256::ZERO));
        }
        let denominator = count.checked_mul(divided_by).ok_or_else(cast::overflow)?;
        // the numerator has twice the scale of the values
        let places = match self.measure {
            Measure::Variance => SCALE,
            // enough digits for the root to have its own
            Measure::Deviation => 2 * SCALE + 2,
        };
        let variance =
            quotient(numerator, denominator, places - 2 * self.scale).ok_or_else(cast::overflow)?;
        Ok(Some(match self.measure {
            Measure::Variance => variance,
            Measure::Deviation => divide_half_away(square_root(variance), i256::from(10)),
        }))
    }
}

/// `numerator · 10^shift / denominator`, rounded half away from zero; none if it does not fit. The whole part is shifted
/// apart from the rest, so that no product is much longer than the quotient.
fn quotient(numerator: i256, denominator: i256, shift: i32) -> Option<i256> {
    let factor = power_of_ten(shift.unsigned_abs())?;
    if shift < 0 {
        return Some(divide_half_away(numerator, denominator.checked_mul(factor)?));
    }
    let whole = numerator.checked_div(denominator)?.checked_mul(factor)?;
    let rest = numerator.checked_rem(denominator)?.checked_mul(factor)?;
    whole.checked_add(divide_half_away(rest, denominator))
}

/// The whole part of a root, by Newton's method.
fn square_root(value: i256) -> i256 {
    if value <= i256::ONE {
        return value;
    }
    // a start that is not below the root
    let digits = value.to_string().len() as u32;
    let mut root = power_of_ten(digits.div_ceil(2)).unwrap_or(value);
    loop {
        let next = (root + value.wrapping_div(root)).wrapping_div(i256::from(2));
        if next >= root {
            return root;
        }
        root = next;
    }
}

impl Accumulator for Exact {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        for value in values[0].as_primitive::<Decimal256Type>().iter().flatten() {
            self.add(value).ok_or_else(cast::overflow)?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        for value in values[0].as_primitive::<Decimal256Type>().iter().flatten() {
            self.take(value).ok_or_else(cast::overflow)?;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let counts = states[0].as_primitive::<Int64Type>();
        let (sums, squares) = (
            states[1].as_primitive::<Decimal256Type>(),
            states[2].as_primitive::<Decimal256Type>(),
        );
        for row in 0..counts.len() {
            if counts.is_valid(row) {
                self.count += counts.value(row);
                self.sum = self.sum.checked_add(sums.value(row)).ok_or_else(cast::overflow)?;
                self.squares = self
                    .squares
                    .checked_add(squares.value(row))
                    .ok_or_else(cast::overflow)?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Int64(Some(self.count)),
            ScalarValue::Decimal256(Some(self.sum), 76, 0),
            ScalarValue::Decimal256(Some(self.squares), 76, 0),
        ])
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        Ok(ScalarValue::Decimal256(self.result()?, 76, 16))
    }

    fn size(&self) -> usize {
        std::mem::size_of_val(self)
    }
}

pub(super) fn aggregates() -> Vec<(&'static str, Arc<AggregateUDF>)> {
    use Measure::{Deviation, Variance};
    [
        ("var_samp", Variance, true, var_samp_udaf()),
        ("variance", Variance, true, var_samp_udaf()),
        ("var_pop", Variance, false, var_pop_udaf()),
        ("stddev", Deviation, true, stddev_udaf()),
        ("stddev_samp", Deviation, true, stddev_udaf()),
        ("stddev_pop", Deviation, false, stddev_pop_udaf()),
    ]
    .into_iter()
    .map(|(name, measure, sample, floats)| {
        let spread = Spread {
            name,
            measure,
            sample,
            floats,
            signature: Signature::new(TypeSignature::UserDefined, Volatility::Immutable),
        };
        (name, Arc::new(AggregateUDF::new_from_impl(spread)))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[i32], scale: i32, measure: Measure) -> String {
        let mut exact = Exact {
            measure,
            sample: true,
            scale,
            count: 0,
            sum: i256::ZERO,
            squares: i256::ZERO,
        };
        for value in values {
            exact.add(i256::from(*value)).unwrap();
        }
        exact.result().unwrap().unwrap().to_string()
    }

    #[test]
    fn exact_numbers_have_exact_variances() {
        assert_eq!(of(&[1, 2, 3, 4], 0, Measure::Variance), "16666666666666667");
        assert_eq!(of(&[1, 2, 3, 4], 0, Measure::Deviation), "12909944487358056");
        assert_eq!(of(&[150, 225, 400], 2, Measure::Variance), "16458333333333333");
        assert_eq!(of(&[150, 225, 400], 2, Measure::Deviation), "12829003598617210");
    }

    #[test]
    fn roots_are_whole() {
        for (value, expected) in [(0, 0), (1, 1), (15, 3), (16, 4), (1_000_000, 1_000)] {
            assert_eq!(square_root(i256::from(value)), i256::from(expected));
        }
    }
}
