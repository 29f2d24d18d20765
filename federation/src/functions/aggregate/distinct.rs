//! DISTINCT within an aggregate of one argument.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::Accumulator;

/// Hands each value once to another accumulator.
#[derive(Debug)]
pub(super) struct Distinct {
    seen: HashSet<ScalarValue>,
    item: DataType,
    inner: Box<dyn Accumulator>,
}

impl Distinct {
    pub(super) fn over(inner: Box<dyn Accumulator>, argument: &FieldRef) -> Self {
        Self {
            seen: HashSet::new(),
            item: argument.data_type().clone(),
            inner,
        }
    }

    fn see(&mut self, values: &ArrayRef) -> DataFusionResult<()> {
        for row in 0..values.len() {
            if values.is_valid(row) {
                self.seen.insert(ScalarValue::try_from_array(values, row)?);
            }
        }
        Ok(())
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        values.iter().try_for_each(|values| self.see(values))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        for state in states {
            for list in state.as_list::<i32>().iter().flatten() {
                self.see(&list)?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self.seen.iter().cloned().collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(
            &values, &self.item,
        ))])
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        if !self.seen.is_empty() {
            let values = ScalarValue::iter_to_array(self.seen.iter().cloned())?;
            self.inner.update_batch(&[values])?;
        }
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        std::mem::size_of_val(self)
            + self.inner.size()
            + self.seen.iter().map(ScalarValue::size).sum::<usize>()
    }
}
