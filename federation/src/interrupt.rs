//! Makes plans stop soon after they are cancelled.
//!
//! An aborted task stops where it next yields. DataFusion yields by counting what the
//! leaves deliver, which is too seldom where a few input rows make very many: a join's
//! output is therefore counted too, and a join that finds no match looks for the end
//! itself, in its condition.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use datafusion::physical_plan::unnest::UnnestExec;
use tokio_util::sync::CancellationToken;

use crate::error::{Cause, FederationError};

/// The plan with points where it yields, and where it ends once `stopped` is cancelled.
pub(crate) fn interruptible(
    plan: Arc<dyn ExecutionPlan>,
    stopped: &CancellationToken,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        let node = match node.downcast_ref::<NestedLoopJoinExec>() {
            Some(join) => checked(join, stopped)?.unwrap_or(node),
            None => node,
        };
        let multiplies = node.downcast_ref::<NestedLoopJoinExec>().is_some()
            || node.downcast_ref::<CrossJoinExec>().is_some()
            || node.downcast_ref::<HashJoinExec>().is_some()
            || node.downcast_ref::<SortMergeJoinExec>().is_some()
            || node.downcast_ref::<UnnestExec>().is_some();
        Ok(if multiplies {
            Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>)
        } else {
            Transformed::no(node)
        })
    })
    .data()
}

/// A nested loop join with its condition wrapped; None without one.
fn checked(join: &NestedLoopJoinExec, stopped: &CancellationToken) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = join.filter() else {
        return Ok(None);
    };
    let expression = Arc::new(Checked {
        inner: Arc::clone(filter.expression()),
        stopped: stopped.clone(),
    });
    let filter = JoinFilter::new(
        expression,
        filter.column_indices().to_vec(),
        Arc::clone(filter.schema()),
    );
    let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
    let rebuilt = NestedLoopJoinExecBuilder::new(left, right, *join.join_type())
        .with_filter(Some(filter))
        .with_projection_ref(join.projection().clone())
        .build()?;
    Ok(Some(Arc::new(rebuilt)))
}

/// An expression that fails once the query has been stopped.
#[derive(Debug)]
struct Checked {
    inner: Arc<dyn PhysicalExpr>,
    stopped: CancellationToken,
}

impl fmt::Display for Checked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

impl PartialEq for Checked {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl PhysicalExpr for Checked {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.stopped.is_cancelled() {
            // nobody reads this: the supervisor has already said why
            return Err(FederationError::from(Cause::Cancelled).into());
        }
        self.inner.evaluate(batch)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(match children.into_iter().next() {
            Some(inner) => Arc::new(Self {
                inner,
                stopped: self.stopped.clone(),
            }),
            None => self,
        })
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(formatter)
    }
}
