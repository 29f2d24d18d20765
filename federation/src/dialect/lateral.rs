//! LATERAL subqueries over nothing but the outer row are flat maps: projections and UNNEST over that row.
//!
//! ```text
//! Join(t, Subquery(… Unnest(Projection[f(outer t.a)](Empty)))) is … Unnest(Projection[t.*, f(t.a)](t))
//! ```
//!
//! DataFusion decorrelates other subqueries itself; of this form it has no join to make.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{
    Column, DFSchema, NullHandling, Result as DataFusionResult, ScalarValue, TableReference,
};
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery};

use super::top;

/// Rewrites the LATERAL joins of a plan.
pub(super) fn flatten(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) => match flat_map(&join)? {
            Some(plan) => Ok(Transformed::yes(plan)),
            None => match top::rewrite(&join)? {
                Some(plan) => Ok(Transformed::yes(plan)),
                None => Ok(Transformed::no(LogicalPlan::Join(join))),
            },
        },
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
}

/// What stands above the empty relation of a subquery, from the bottom up.
enum Step {
    Project(Vec<Expr>),
    Filter(Expr),
    Unnest(datafusion::logical_expr::Unnest),
    Alias(TableReference),
}

fn steps(plan: &LogicalPlan, steps: &mut Vec<Step>) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Projection(projection) => {
            let known = self::steps(&projection.input, steps);
            steps.push(Step::Project(projection.expr.clone()));
            known
        }
        LogicalPlan::Filter(filter) => {
            let known = self::steps(&filter.input, steps);
            steps.push(Step::Filter(filter.predicate.clone()));
            known
        }
        LogicalPlan::Unnest(unnest) => {
            let known = self::steps(&unnest.input, steps);
            steps.push(Step::Unnest(unnest.clone()));
            known
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let known = self::steps(&alias.input, steps);
            steps.push(Step::Alias(alias.alias.clone()));
            known
        }
        LogicalPlan::Subquery(Subquery { subquery, .. }) => self::steps(subquery, steps),
        _ => false,
    }
}

/// Whether the plan is a subquery that reads the outer row.
fn is_correlated(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(subquery) => !subquery.outer_ref_columns.is_empty(),
        LogicalPlan::SubqueryAlias(alias) => is_correlated(&alias.input),
        _ => false,
    }
}

fn is_true(filter: Option<&Expr>) -> bool {
    match filter {
        None => true,
        Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _)) => true,
        Some(_) => false,
    }
}

/// References to the outer row as references to its columns.
fn own(expr: Expr) -> DataFusionResult<Expr> {
    expr.transform(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
}

fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.iter().map(Expr::from).collect()
}

fn flat_map(join: &Join) -> DataFusionResult<Option<LogicalPlan>> {
    let outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Ok(None),
    };
    if !is_correlated(&join.right) || !join.on.is_empty() || (outer && !is_true(join.filter.as_ref())) {
        return Ok(None);
    }
    let mut path = Vec::new();
    if !steps(&join.right, &mut path) {
        return Ok(None);
    }
    // a row that a filter takes away would have to come back with NULLs, and so would one of two series
    let unnests = path.iter().filter(|step| matches!(step, Step::Unnest(_))).count();
    if outer && (unnests > 1 || path.iter().any(|step| matches!(step, Step::Filter(_)))) {
        return Ok(None);
    }
    let left = join.left.as_ref().clone();
    let kept = columns(left.schema());
    let width = kept.len();
    let mut plan = left;
    for step in path {
        plan = match step {
            Step::Project(exprs) => {
                let mut all = columns(plan.schema());
                all.truncate(width);
                for expr in exprs {
                    all.push(own(expr)?);
                }
                LogicalPlanBuilder::from(plan).project(all)?.build()?
            }
            Step::Filter(predicate) => LogicalPlanBuilder::from(plan).filter(own(predicate)?)?.build()?,
            Step::Unnest(unnest) => {
                let mut options = unnest.options.clone();
                options.null_handling = if outer {
                    NullHandling::PreserveAndExpandEmpty
                } else {
                    NullHandling::Drop
                };
                LogicalPlanBuilder::from(plan)
                    .unnest_columns_with_options(unnest.exec_columns.clone(), options)?
                    .build()?
            }
            Step::Alias(alias) => {
                let schema = Arc::clone(plan.schema());
                let all = schema.iter().enumerate().map(|(index, (qualifier, field))| {
                    let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
                    if index < width {
                        column
                    } else {
                        column.alias_qualified(Some(alias.clone()), field.name())
                    }
                });
                LogicalPlanBuilder::from(plan)
                    .project(all.collect::<Vec<_>>())?
                    .build()?
            }
        };
    }
    if let Some(filter) = &join.filter
        && !is_true(Some(filter))
    {
        plan = LogicalPlanBuilder::from(plan).filter(filter.clone())?.build()?;
    }
    Ok(Some(plan))
}
