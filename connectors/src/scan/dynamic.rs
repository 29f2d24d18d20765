//! The keys of a join's small side, sent to the store that has the other side.
//!
//! A hash join reads its build side first and then knows which keys can match:
//! DataFusion offers them as a filter that fills while the query runs. A scan that
//! is offered one waits a moment for it and adds what the store can be asked: a
//! list of the keys where it is short, or far shorter than the rows it keeps away,
//! else the range of an ordered type. The join looks at every row again, so a filter
//! that is late, too long or not to be sent costs rows and never an answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNullExpr, Literal,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use tokio::time::timeout;

use super::estimate::estimated_rows;
use super::expression::{is_decimal, is_integer};
use super::predicate::constant;
use super::{
    Comparison, Expression, GroupOutput, Predicate, RemoteScanExec, RemoteTable, ScanRequest, Verdict,
};

/// How long a scan waits for the keys of other sides, all of them together.
const PATIENCE: Duration = Duration::from_secs(1);
/// A build side of more rows has too many keys to be worth waiting for.
const MAX_BUILD_ROWS: usize = MAX_JOIN_KEYS;
/// The longest list of keys that a join offers, and its bytes in memory: for a session's
/// `hash_join_inlist_pushdown_max_distinct_values` and `…_max_size`. It holds the keys of a filtered
/// dimension, and a statement that lists as many has about two megabytes.
pub const MAX_JOIN_KEYS: usize = 200_000;
/// Bytes of [`MAX_JOIN_KEYS`] keys of sixteen bytes.
pub const MAX_JOIN_KEYS_BYTES: usize = MAX_JOIN_KEYS * 16;
/// A list that costs a store nothing worth counting, whatever it keeps away.
const FEW_KEYS: usize = 150;
/// Rows of the other side for each key of a longer list: with fewer, sending and looking up the keys
/// costs the store more than the rows cost that stay away.
const ROWS_A_KEY: usize = 8;

/// Decides which scans wait for the keys of which joins. Runs last: what it ties
/// together must stay together.
#[derive(Debug, Default)]
pub struct AwaitJoinKeys;

impl PhysicalOptimizerRule for AwaitJoinKeys {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        // Filters of other operators (the first rows of a sort, a minimum) are never
        // complete before the scan they filter has ended.
        let mut joins = HashSet::new();
        plan.apply(|node| {
            if let Some(join) = node.downcast_ref::<HashJoinExec>()
                && may_be_small(join.left())
            {
                let keys = join.dynamic_expressions_produced();
                joins.extend(keys.iter().filter_map(|filter| filter.expression_id()));
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let awaiting = plan.transform_down(|node| {
            Ok(
                match node
                    .downcast_ref::<RemoteScanExec>()
                    .and_then(|scan| scan.awaiting(&joins))
                {
                    Some(scan) => Transformed::yes(Arc::new(scan) as Arc<dyn ExecutionPlan>),
                    None => Transformed::no(node),
                },
            )
        })?;
        Ok(awaiting.data)
    }

    fn name(&self) -> &'static str {
        "await_join_keys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn may_be_small(build: &Arc<dyn ExecutionPlan>) -> bool {
    StatisticsContext::new()
        .compute(build.as_ref(), &StatisticsArgs::new())
        .ok()
        .and_then(|statistics| statistics.num_rows.get_value().copied())
        .is_none_or(|rows| rows <= MAX_BUILD_ROWS)
}

/// Whether rows of this request may be filtered further: not once they are cut.
pub(super) fn takes_keys(request: &ScanRequest) -> bool {
    request.limit.is_none()
}

/// The request with the keys that came in time.
pub(super) async fn with_keys(
    mut request: ScanRequest,
    filters: &[Arc<DynamicFilterPhysicalExpr>],
    remote: &dyn RemoteTable,
) -> Result<ScanRequest> {
    if filters.is_empty() {
        return Ok(request);
    }
    let all = async {
        for filter in filters {
            filter.wait_complete().await;
        }
    };
    // What is late is incomplete, and might hide rows.
    if timeout(PATIENCE, all).await.is_err() {
        return Ok(request);
    }
    let schema = request.schema();
    for filter in filters {
        let bound = Translation {
            request: &request,
            schema: &schema,
            remote,
        }
        .bound(&filter.current()?);
        match bound {
            Bound::All => {}
            // No key at all: no row is wanted.
            Bound::Nothing => request.limit = Some(0),
            Bound::Rows(predicate) => request.predicates.push(predicate),
        }
    }
    Ok(request)
}

/// A superset of the rows that a condition keeps.
#[derive(Debug, PartialEq)]
enum Bound {
    All,
    Nothing,
    Rows(Predicate),
}

impl Bound {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::All, bound) | (bound, Self::All) => bound,
            (Self::Rows(left), Self::Rows(right)) => {
                let mut parts = conjuncts(left);
                parts.extend(conjuncts(right));
                // A list of keys says more than their range.
                let listed: Vec<usize> = parts
                    .iter()
                    .filter_map(|part| match part {
                        Predicate::In { column, .. } => Some(*column),
                        _ => None,
                    })
                    .collect();
                parts.retain(
                    |part| !matches!(part, Predicate::Compare { column, .. } if listed.contains(column)),
                );
                Self::Rows(match parts.len() {
                    1 => parts.remove(0),
                    _ => Predicate::And(parts),
                })
            }
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Nothing, bound) | (bound, Self::Nothing) => bound,
            (
                Self::Rows(Predicate::In {
                    column,
                    mut values,
                    negated: false,
                }),
                Self::Rows(Predicate::In {
                    column: same,
                    values: more,
                    negated: false,
                }),
            ) if column == same => {
                let known: HashSet<ScalarValue> = values.iter().cloned().collect();
                values.extend(more.into_iter().filter(|value| !known.contains(value)));
                if values.len() > MAX_JOIN_KEYS {
                    return Self::All;
                }
                Self::Rows(Predicate::In {
                    column,
                    values,
                    negated: false,
                })
            }
            (Self::Rows(left), Self::Rows(right)) => Self::Rows(Predicate::Or(vec![left, right])),
        }
    }
}

fn conjuncts(predicate: Predicate) -> Vec<Predicate> {
    match predicate {
        Predicate::And(parts) => parts,
        other => vec![other],
    }
}

struct Translation<'a> {
    request: &'a ScanRequest,
    /// Of the answer.
    schema: &'a SchemaRef,
    remote: &'a dyn RemoteTable,
}

impl Translation<'_> {
    fn bound(&self, expr: &Arc<dyn PhysicalExpr>) -> Bound {
        if let Some(filter) = expr.downcast_ref::<DynamicFilterPhysicalExpr>() {
            return filter
                .current()
                .map_or(Bound::All, |current| self.bound(&current));
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            return match literal.value() {
                ScalarValue::Boolean(Some(false)) => Bound::Nothing,
                _ => Bound::All,
            };
        }
        if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
            return match binary.op() {
                Operator::And => self.bound(binary.left()).and(self.bound(binary.right())),
                Operator::Or => self.bound(binary.left()).or(self.bound(binary.right())),
                Operator::GtEq => self.range(binary, Comparison::GreaterOrEqual),
                Operator::LtEq => self.range(binary, Comparison::LessOrEqual),
                _ => Bound::All,
            };
        }
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            return if list.negated() {
                Bound::All
            } else {
                self.list(list)
            };
        }
        if let Some(case) = expr.downcast_ref::<CaseExpr>() {
            // Each partition of the build side has its own branch; a row may be of any.
            let branches = case.when_then_expr().iter().map(|(_, then)| self.bound(then));
            let last = case.else_expr().map_or(Bound::Nothing, |last| self.bound(last));
            return branches.fold(last, Bound::or);
        }
        if let Some(null) = expr.downcast_ref::<IsNullExpr>() {
            return match self.column(null.arg()) {
                Some((column, _)) => self.judged(Predicate::IsNull {
                    column,
                    negated: false,
                }),
                None => Bound::All,
            };
        }
        Bound::All
    }

    fn range(&self, binary: &BinaryExpr, comparison: Comparison) -> Bound {
        let (Some((column, data_type)), Some(literal)) = (
            self.column(binary.left()),
            binary.right().downcast_ref::<Literal>(),
        ) else {
            return Bound::All;
        };
        // The order of text is another in most stores, and never worth a mistake.
        if matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        ) {
            return Bound::All;
        }
        match Self::value(literal.value(), &data_type) {
            Some(value) => self.judged(Predicate::Compare {
                column,
                comparison,
                value,
            }),
            None => Bound::All,
        }
    }

    fn list(&self, list: &InListExpr) -> Bound {
        let values: Vec<&ScalarValue> = list
            .list()
            .iter()
            .filter_map(|item| item.downcast_ref::<Literal>().map(Literal::value))
            .collect();
        if values.len() != list.list().len() {
            return Bound::All;
        }
        if let Some((column, data_type)) = self.column(list.expr()) {
            return self.keys(column, &data_type, values.into_iter().cloned());
        }
        // The keys of several columns: each column's own.
        let Some(call) = list
            .expr()
            .downcast_ref::<ScalarFunctionExpr>()
            .filter(|call| call.name() == "struct")
        else {
            return Bound::All;
        };
        let mut bound = Bound::All;
        for (position, argument) in call.args().iter().enumerate() {
            let Some((column, data_type)) = self.column(argument) else {
                continue;
            };
            let parts: Option<Vec<ScalarValue>> = values
                .iter()
                .map(|value| match value {
                    ScalarValue::Struct(fields) => {
                        ScalarValue::try_from_array(fields.columns().get(position)?, 0).ok()
                    }
                    _ => None,
                })
                .collect();
            if let Some(parts) = parts {
                bound = bound.and(self.keys(column, &data_type, parts.into_iter()));
            }
        }
        bound
    }

    fn keys(&self, column: usize, data_type: &DataType, values: impl Iterator<Item = ScalarValue>) -> Bound {
        // NULL is equal to nothing, nor is a key that the column's type cannot hold.
        let mut known = HashSet::new();
        let keys: Vec<ScalarValue> = values
            .filter_map(|value| Self::value(&value, data_type))
            .filter(|key| known.insert(key.clone()))
            .collect();
        if keys.is_empty() {
            return Bound::Nothing;
        }
        let pays = |rows| keys.len().saturating_mul(ROWS_A_KEY) <= rows;
        if keys.len() > FEW_KEYS && !estimated_rows(self.request).is_some_and(pays) {
            return Bound::All;
        }
        self.judged(Predicate::In {
            column,
            values: keys,
            negated: false,
        })
    }

    fn judged(&self, predicate: Predicate) -> Bound {
        match self.remote.verdict(&predicate) {
            Verdict::Exact | Verdict::Inexact(_) => Bound::Rows(predicate),
            Verdict::Unsupported(_) => Bound::All,
        }
    }

    /// A column of the table and its type, below a cast that keeps every value.
    fn column(&self, expr: &Arc<dyn PhysicalExpr>) -> Option<(usize, DataType)> {
        if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            let (column, data_type) = self.column(cast.expr())?;
            let exact = |data_type: &DataType| is_integer(data_type) || is_decimal(data_type);
            return (exact(&data_type) && exact(cast.cast_type())).then_some((column, data_type));
        }
        let position = expr.downcast_ref::<Column>()?.index();
        let index = *self.request.projection.get(position)?;
        let data_type = self.schema.fields().get(position)?.data_type().clone();
        match &self.request.grouping {
            None => Some((index, data_type)),
            // Rows of other keys make groups of other keys.
            Some(grouping) => match grouping.outputs.get(index)? {
                GroupOutput::Key(Expression::Column(key)) => Some((*key, data_type)),
                GroupOutput::Key(_) | GroupOutput::Aggregate(_) => None,
            },
        }
    }

    /// The constant in the column's own type; none if the type has no such value.
    fn value(value: &ScalarValue, data_type: &DataType) -> Option<ScalarValue> {
        if let Ok(value) = constant(value, data_type) {
            return Some(value);
        }
        let exact = is_integer(data_type) || is_decimal(data_type);
        if !exact || value.is_null() {
            return None;
        }
        let converted = value.cast_to(data_type).ok()?;
        let back = converted.cast_to(&value.data_type()).ok()?;
        (!converted.is_null() && back == *value).then_some(converted)
    }
}
