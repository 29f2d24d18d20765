//! `sum` and `avg`.
//!
//! | argument | sum | avg |
//! |---|---|---|
//! | smallint, integer | bigint | numeric |
//! | bigint, numeric | numeric | numeric |
//! | real | real | double precision |
//! | double precision | double precision | double precision |
//! | interval | interval | interval |

use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, Field, FieldRef, Float32Type, Float64Type,
    Int16Type, Int32Type, Int64Type, IntervalUnit,
};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, TypeSignature, Volatility,
};

use super::distinct::Distinct;
use super::interval::IntervalTotal;
use super::number::{Number, Total, Widen, column, quotient, scale_of};
use crate::cast;
use crate::error::{Cause, FederationError};
use crate::functions::scaffold::no_such_overload;
use crate::types::FREE_NUMERIC;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Summing {
    average: bool,
    signature: Signature,
}

/// Digits behind the point of an average.
const AVERAGE_SCALE: i8 = 16;

impl Summing {
    pub(super) fn sum() -> Self {
        Self {
            average: false,
            signature: Signature::new(TypeSignature::UserDefined, Volatility::Immutable),
        }
    }

    pub(super) fn average() -> Self {
        Self {
            average: true,
            ..Self::sum()
        }
    }

    /// The type that values are added up in.
    fn state(argument: &DataType) -> Option<DataType> {
        Some(match argument {
            DataType::Int16 | DataType::Int32 => DataType::Int64,
            DataType::Int64 => DataType::Decimal128(38, 0),
            DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
            DataType::Decimal256(_, scale) => DataType::Decimal256(76, *scale),
            DataType::Float32 | DataType::Float64 => DataType::Float64,
            _ => return None,
        })
    }

    fn result(&self, argument: &DataType) -> Option<DataType> {
        if let DataType::Interval(_) = argument {
            return Some(DataType::Interval(IntervalUnit::MonthDayNano));
        }
        let state = Self::state(argument)?;
        Some(match (self.average, argument) {
            (false, DataType::Float32) => DataType::Float32,
            (false, _) => state,
            (true, DataType::Float32 | DataType::Float64) => DataType::Float64,
            (true, DataType::Decimal256(_, 38)) => FREE_NUMERIC,
            (true, DataType::Decimal128(precision, scale)) => {
                let places = (*scale).max(AVERAGE_SCALE);
                if i16::from(*precision) - i16::from(*scale) + i16::from(places) <= 38 {
                    DataType::Decimal128(38, places)
                } else {
                    DataType::Decimal256(76, places)
                }
            }
            (true, DataType::Decimal256(_, scale)) => DataType::Decimal256(76, (*scale).max(AVERAGE_SCALE)),
            (true, _) => DataType::Decimal128(38, AVERAGE_SCALE),
        })
    }

    fn shape(&self, argument: &DataType) -> Result<Shape, FederationError> {
        let wrong = || FederationError::internal(format!("{argument} is not summed"));
        Ok(Shape {
            state: Self::state(argument).ok_or_else(wrong)?,
            result: self.result(argument).ok_or_else(wrong)?,
            average: self.average,
        })
    }
}

fn argument<'a>(args: &'a AccumulatorArgs<'_>) -> &'a FieldRef {
    &args.expr_fields[0]
}

impl AggregateUDFImpl for Summing {
    fn name(&self) -> &str {
        if self.average { "avg" } else { "sum" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let [argument] = arguments else {
            return Err(self.refused(arguments));
        };
        let canonical = match argument {
            // an untyped NULL is taken for an integer
            DataType::Null => DataType::Int32,
            other => cast::canonical(other),
        };
        if self.result(&canonical).is_none() {
            return Err(self.refused(arguments));
        }
        Ok(vec![canonical])
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        arguments
            .first()
            .and_then(|argument| self.result(argument))
            .ok_or_else(|| self.refused(arguments))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let field = argument(&args);
        let inner = accumulator(self, field.data_type())?;
        if args.is_distinct {
            return Ok(Box::new(Distinct::over(inner, field)));
        }
        Ok(inner)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let argument = args.input_fields[0].data_type();
        let name = |part: &str| format!("{}[{part}]", args.name);
        let nullable = |name: String, data_type| Arc::new(Field::new(name, data_type, true));
        if args.is_distinct {
            return Ok(vec![nullable(
                name("distinct"),
                DataType::new_list(argument.clone(), true),
            )]);
        }
        if let DataType::Interval(_) = argument {
            return Ok(IntervalTotal::state_fields(args.name));
        }
        let shape = self.shape(argument)?;
        Ok(vec![
            nullable(name("total"), shape.state),
            nullable(name("count"), DataType::Int64),
        ])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct && Self::state(argument(&args).data_type()).is_some()
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> DataFusionResult<Box<dyn GroupsAccumulator>> {
        let shape = self.shape(argument(&args).data_type())?;
        Ok(match argument(&args).data_type() {
            DataType::Int16 => Box::new(Groups::<Int16Type, Int64Type>::new(shape)),
            DataType::Int32 => Box::new(Groups::<Int32Type, Int64Type>::new(shape)),
            DataType::Int64 => Box::new(Groups::<Int64Type, Decimal128Type>::new(shape)),
            DataType::Decimal128(..) => Box::new(Groups::<Decimal128Type, Decimal128Type>::new(shape)),
            DataType::Decimal256(..) => Box::new(Groups::<Decimal256Type, Decimal256Type>::new(shape)),
            DataType::Float32 => Box::new(Groups::<Float32Type, Float64Type>::new(shape)),
            DataType::Float64 => Box::new(Groups::<Float64Type, Float64Type>::new(shape)),
            other => return Err(FederationError::internal(format!("{other} is not summed")).into()),
        })
    }
}

impl Summing {
    fn refused(&self, arguments: &[DataType]) -> datafusion::error::DataFusionError {
        let fields: Vec<FieldRef> = arguments
            .iter()
            .map(|data_type| Arc::new(Field::new("", data_type.clone(), true)))
            .collect();
        no_such_overload(self.name(), &fields).into()
    }
}

fn accumulator(summing: &Summing, argument: &DataType) -> Result<Box<dyn Accumulator>, FederationError> {
    if let DataType::Interval(_) = argument {
        return Ok(Box::new(IntervalTotal::new(summing.average)));
    }
    let shape = summing.shape(argument)?;
    Ok(match argument {
        DataType::Int16 => Box::new(One::<Int16Type, Int64Type>::new(shape)),
        DataType::Int32 => Box::new(One::<Int32Type, Int64Type>::new(shape)),
        DataType::Int64 => Box::new(One::<Int64Type, Decimal128Type>::new(shape)),
        DataType::Decimal128(..) => Box::new(One::<Decimal128Type, Decimal128Type>::new(shape)),
        DataType::Decimal256(..) => Box::new(One::<Decimal256Type, Decimal256Type>::new(shape)),
        DataType::Float32 => Box::new(One::<Float32Type, Float64Type>::new(shape)),
        DataType::Float64 => Box::new(One::<Float64Type, Float64Type>::new(shape)),
        other => return Err(FederationError::internal(format!("{other} is not summed"))),
    })
}

#[derive(Debug, Clone)]
struct Shape {
    state: DataType,
    result: DataType,
    average: bool,
}

fn overflow(shape: &Shape) -> FederationError {
    if shape.state == DataType::Int64 {
        Cause::OutOfRange {
            message: "bigint out of range".into(),
        }
        .into()
    } else {
        cast::overflow()
    }
}

impl Shape {
    fn finish<S: Total>(&self, total: S, count: i64) -> Result<Option<Number>, FederationError> {
        if count == 0 {
            return Ok(None);
        }
        if !self.average {
            return Ok(Some(total.number()));
        }
        Ok(Some(match total.number() {
            Number::Float(total) => Number::Float(total / count as f64),
            Number::Exact(total) => Number::Exact(quotient(
                total,
                scale_of(&self.state),
                count,
                scale_of(&self.result),
            )?),
        }))
    }

    /// The scale of what [`Self::finish`] makes.
    fn scale(&self) -> i32 {
        scale_of(if self.average { &self.result } else { &self.state })
    }

    fn totals<S: ArrowPrimitiveType>(&self, values: Vec<S::Native>, counts: &[i64]) -> PrimitiveArray<S> {
        let nulls = counts.iter().map(|count| *count > 0).collect::<Vec<_>>();
        PrimitiveArray::<S>::new(values.into(), Some(nulls.into())).with_data_type(self.state.clone())
    }
}

/// The total of one group.
struct One<I: ArrowPrimitiveType, S: ArrowPrimitiveType> {
    shape: Shape,
    total: S::Native,
    count: i64,
    input: PhantomData<fn(I)>,
}

impl<I: ArrowPrimitiveType, S: ArrowPrimitiveType> std::fmt::Debug for One<I, S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("One")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl<I, S> One<I, S>
where
    I: ArrowPrimitiveType,
    S: ArrowPrimitiveType,
    I::Native: Widen<S::Native>,
    S::Native: Total,
{
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            total: S::Native::default(),
            count: 0,
            input: PhantomData,
        }
    }

    fn add(&mut self, value: S::Native, count: i64) -> Result<(), FederationError> {
        self.total = self.total.plus(value).ok_or_else(|| overflow(&self.shape))?;
        self.count += count;
        Ok(())
    }
}

impl<I, S> Accumulator for One<I, S>
where
    I: ArrowPrimitiveType,
    S: ArrowPrimitiveType,
    I::Native: Widen<S::Native>,
    S::Native: Total,
{
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        let values = values[0].as_primitive::<I>();
        if values.null_count() > 0 {
            for value in values.iter().flatten() {
                self.add(value.widen(), 1)?;
            }
        } else if let Some(total) = I::Native::total(values.values()) {
            self.add(total, values.len() as i64)?;
        } else {
            for value in values.values() {
                self.add(value.widen(), 1)?;
            }
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        for value in values[0].as_primitive::<I>().iter().flatten() {
            self.total = self
                .total
                .minus(value.widen())
                .ok_or_else(|| overflow(&self.shape))?;
            self.count -= 1;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let (totals, counts) = (
            states[0].as_primitive::<S>(),
            states[1].as_primitive::<Int64Type>(),
        );
        for row in 0..totals.len() {
            if totals.is_valid(row) {
                self.add(totals.value(row), counts.value(row))?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let totals: ArrayRef = Arc::new(self.shape.totals::<S>(vec![self.total], &[self.count]));
        Ok(vec![
            ScalarValue::try_from_array(&totals, 0)?,
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        let value = self.shape.finish(self.total, self.count);
        let result = column(std::iter::once(value), self.shape.scale(), &self.shape.result)?;
        ScalarValue::try_from_array(&result, 0)
    }

    fn size(&self) -> usize {
        std::mem::size_of_val(self)
    }
}

/// The totals of many groups.
struct Groups<I: ArrowPrimitiveType, S: ArrowPrimitiveType> {
    shape: Shape,
    totals: Vec<S::Native>,
    counts: Vec<i64>,
    input: PhantomData<fn(I)>,
}

impl<I, S> Groups<I, S>
where
    I: ArrowPrimitiveType,
    S: ArrowPrimitiveType,
    I::Native: Widen<S::Native>,
    S::Native: Total,
{
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            totals: Vec::new(),
            counts: Vec::new(),
            input: PhantomData,
        }
    }

    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups, S::Native::default());
        self.counts.resize(groups, 0);
    }

    fn add(&mut self, group: usize, value: S::Native, count: i64) -> Result<(), FederationError> {
        self.totals[group] = self.totals[group]
            .plus(value)
            .ok_or_else(|| overflow(&self.shape))?;
        self.counts[group] += count;
        Ok(())
    }
}

impl<I, S> GroupsAccumulator for Groups<I, S>
where
    I: ArrowPrimitiveType,
    S: ArrowPrimitiveType,
    I::Native: Widen<S::Native>,
    S::Native: Total,
{
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> DataFusionResult<()> {
        self.resize(total_num_groups);
        let values = values[0].as_primitive::<I>();
        if values.null_count() == 0 && opt_filter.is_none() {
            for (value, group) in values.values().iter().zip(group_indices) {
                self.add(*group, value.widen(), 1)?;
            }
            return Ok(());
        }
        for (row, group) in group_indices.iter().enumerate() {
            let kept = opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if kept && values.is_valid(row) {
                self.add(*group, values.value(row).widen(), 1)?;
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> DataFusionResult<()> {
        self.resize(total_num_groups);
        let (totals, counts) = (
            values[0].as_primitive::<S>(),
            values[1].as_primitive::<Int64Type>(),
        );
        for (row, group) in group_indices.iter().enumerate() {
            if totals.is_valid(row) {
                self.add(*group, totals.value(row), counts.value(row))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        let (totals, counts) = (
            emit_to.take_needed(&mut self.totals),
            emit_to.take_needed(&mut self.counts),
        );
        let values = totals
            .into_iter()
            .zip(counts)
            .map(|(total, count)| self.shape.finish(total, count));
        Ok(column(values, self.shape.scale(), &self.shape.result)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        let (totals, counts) = (
            emit_to.take_needed(&mut self.totals),
            emit_to.take_needed(&mut self.counts),
        );
        let totals = self.shape.totals::<S>(totals, &counts);
        Ok(vec![Arc::new(totals), Arc::new(Int64Array::from(counts))])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> DataFusionResult<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<I>();
        let mut totals = Vec::with_capacity(values.len());
        let mut counts = Vec::with_capacity(values.len());
        for row in 0..values.len() {
            let kept = values.is_valid(row)
                && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            totals.push(if kept {
                values.value(row).widen()
            } else {
                S::Native::default()
            });
            counts.push(i64::from(kept));
        }
        let totals = self.shape.totals::<S>(totals, &counts);
        Ok(vec![Arc::new(totals), Arc::new(Int64Array::from(counts))])
    }

    fn size(&self) -> usize {
        self.totals.capacity() * std::mem::size_of::<S::Native>() + self.counts.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_postgres() {
        for (argument, sum, average) in [
            (DataType::Int16, DataType::Int64, DataType::Decimal128(38, 16)),
            (DataType::Int32, DataType::Int64, DataType::Decimal128(38, 16)),
            (
                DataType::Int64,
                DataType::Decimal128(38, 0),
                DataType::Decimal128(38, 16),
            ),
            (
                DataType::Decimal128(10, 2),
                DataType::Decimal128(38, 2),
                DataType::Decimal128(38, 16),
            ),
            (
                DataType::Decimal128(38, 2),
                DataType::Decimal128(38, 2),
                DataType::Decimal256(76, 16),
            ),
            (DataType::Float32, DataType::Float32, DataType::Float64),
            (DataType::Float64, DataType::Float64, DataType::Float64),
        ] {
            assert_eq!(Summing::sum().result(&argument), Some(sum));
            assert_eq!(Summing::average().result(&argument), Some(average));
        }
        assert_eq!(Summing::sum().result(&DataType::Utf8), None);
    }

    #[test]
    fn totals_do_not_wrap() {
        let mut total = One::<Decimal128Type, Decimal128Type>::new(
            Summing::sum().shape(&DataType::Decimal128(38, 0)).unwrap(),
        );
        total.add(i128::MAX, 1).unwrap();
        assert_eq!(total.add(1, 1).unwrap_err().sqlstate(), "22003");
    }
}
