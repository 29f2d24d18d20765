//! Totals of intervals.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Int64Type, IntervalMonthDayNanoType};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::Accumulator;

use crate::cast;
use crate::functions::time::{divided, interval};
use crate::values::datetime::Interval;
use crate::values::read::value_error;

/// Months, days and microseconds, each added up on its own.
#[derive(Debug)]
pub(super) struct IntervalTotal {
    average: bool,
    months: i64,
    days: i64,
    micros: i128,
    count: i64,
}

impl IntervalTotal {
    pub(super) fn new(average: bool) -> Self {
        Self {
            average,
            months: 0,
            days: 0,
            micros: 0,
            count: 0,
        }
    }

    pub(super) fn state_fields(name: &str) -> Vec<FieldRef> {
        [
            ("months", DataType::Int64),
            ("days", DataType::Int64),
            ("micros", DataType::Decimal128(38, 0)),
            ("count", DataType::Int64),
        ]
        .into_iter()
        .map(|(part, data_type)| Arc::new(Field::new(format!("{name}[{part}]"), data_type, true)))
        .collect()
    }

    fn add(&mut self, values: &ArrayRef, sign: i64) {
        for value in values.as_primitive::<IntervalMonthDayNanoType>().iter().flatten() {
            let value = interval(value);
            self.months += sign * i64::from(value.months);
            self.days += sign * i64::from(value.days);
            self.micros += i128::from(sign) * i128::from(value.micros);
            self.count += sign;
        }
    }
}

impl Accumulator for IntervalTotal {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(&values[0], 1);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(&values[0], -1);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let (months, days, counts) = (
            states[0].as_primitive::<Int64Type>(),
            states[1].as_primitive::<Int64Type>(),
            states[3].as_primitive::<Int64Type>(),
        );
        let micros = states[2].as_primitive::<Decimal128Type>();
        for row in 0..months.len() {
            if counts.is_valid(row) {
                self.months += months.value(row);
                self.days += days.value(row);
                self.micros += micros.value(row);
                self.count += counts.value(row);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Int64(Some(self.months)),
            ScalarValue::Int64(Some(self.days)),
            ScalarValue::Decimal128(Some(self.micros), 38, 0),
            ScalarValue::Int64(Some(self.count)),
        ])
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        if self.count == 0 {
            return Ok(ScalarValue::IntervalMonthDayNano(None));
        }
        let out_of_range = || value_error("22008", "interval out of range");
        let total = Interval {
            months: i32::try_from(self.months).map_err(|_| out_of_range())?,
            days: i32::try_from(self.days).map_err(|_| out_of_range())?,
            micros: i64::try_from(self.micros).map_err(|_| out_of_range())?,
        };
        let result = if self.average {
            divided(total, self.count as f64)?
        } else {
            total
        };
        Ok(ScalarValue::IntervalMonthDayNano(Some(cast::arrow_interval(
            result,
        )?)))
    }

    fn size(&self) -> usize {
        std::mem::size_of_val(self)
    }
}
