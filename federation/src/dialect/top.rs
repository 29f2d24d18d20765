//! LATERAL subqueries that keep the first rows for each outer row.
//!
//! ```text
//! t, LATERAL (SELECT y FROM u WHERE u.k = t.a ORDER BY y LIMIT 2)   is
//! t JOIN (SELECT y, k, row_number() OVER (PARTITION BY k ORDER BY y) AS n FROM u) ON k = t.a AND n <= 2
//! ```
//!
//! DataFusion takes no correlation out from below a limit.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result as DataFusionResult, TableReference};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{BinaryExpr, Sort, WindowFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, FetchType, Join, JoinType, Limit, LogicalPlan, LogicalPlanBuilder, Operator,
    SkipType, Subquery, WindowFunctionDefinition, lit,
};

/// What a subquery is made of, from the top down.
struct Parts<'a> {
    alias: Option<TableReference>,
    /// What stands above the limit.
    selected: Vec<Vec<Expr>>,
    limit: &'a Limit,
    /// What stands between the limit and the rows, without their order.
    order: Vec<Sort>,
    computed: Vec<Vec<Expr>>,
    filter: Vec<Expr>,
    rows: &'a LogicalPlan,
}

fn parts(plan: &LogicalPlan) -> Option<Parts<'_>> {
    let (mut alias, mut selected, mut plan) = (None, Vec::new(), plan);
    let limit = loop {
        plan = match plan {
            LogicalPlan::SubqueryAlias(inner) if alias.is_none() && selected.is_empty() => {
                alias = Some(inner.alias.clone());
                &inner.input
            }
            LogicalPlan::Subquery(Subquery { subquery, .. }) => subquery,
            LogicalPlan::Projection(projection) => {
                selected.push(projection.expr.clone());
                &projection.input
            }
            LogicalPlan::Limit(limit) => break limit,
            _ => return None,
        };
    };
    // a key that is not selected is projected away above the sort
    let mut plan = limit.input.as_ref();
    let (mut order, mut computed, mut sorted) = (Vec::new(), Vec::new(), false);
    let mut filter = Vec::new();
    loop {
        plan = match plan {
            LogicalPlan::Projection(projection) if sorted || computed.is_empty() => {
                if sorted {
                    computed.push(projection.expr.clone());
                } else {
                    selected.push(projection.expr.clone());
                }
                &projection.input
            }
            LogicalPlan::Sort(sort) if !sorted && sort.fetch.is_none() => {
                order.clone_from(&sort.expr);
                sorted = true;
                &sort.input
            }
            LogicalPlan::Filter(found) => {
                filter.extend(split_conjunction_owned(found.predicate.clone()));
                if filter.iter().any(is_correlated) {
                    plan = &found.input;
                    break;
                }
                return None;
            }
            _ => return None,
        };
    }
    Some(Parts {
        alias,
        selected,
        limit,
        order,
        computed,
        filter,
        rows: plan,
    })
}

fn is_correlated(expr: &Expr) -> bool {
    expr.exists(|part| Ok(matches!(part, Expr::OuterReferenceColumn(_, _))))
        .unwrap_or(true)
}

/// Whether anything in a plan is correlated.
fn reads_outside(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= is_correlated(expr);
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The two sides of an equality of something inside with a column outside.
fn key(conjunct: &Expr) -> Option<(Expr, Column)> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = conjunct
    else {
        return None;
    };
    match (left.as_ref(), right.as_ref()) {
        (inner, Expr::OuterReferenceColumn(_, outer)) | (Expr::OuterReferenceColumn(_, outer), inner)
            if !is_correlated(inner) =>
        {
            Some((inner.clone(), outer.clone()))
        }
        _ => None,
    }
}

fn columns(plan: &LogicalPlan, count: usize) -> Vec<Expr> {
    plan.schema().iter().take(count).map(Expr::from).collect()
}

fn key_name(index: usize) -> String {
    format!("lakegate_key{index}")
}

const NUMBER: &str = "lakegate_number";

/// The projection, with the keys behind it.
fn project(plan: LogicalPlan, exprs: Vec<Expr>, keys: usize) -> DataFusionResult<LogicalPlan> {
    let mut exprs = exprs;
    exprs.extend((0..keys).map(|index| Expr::Column(Column::new_unqualified(key_name(index)))));
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// The join of such a subquery; None of any other.
pub(super) fn rewrite(join: &Join) -> DataFusionResult<Option<LogicalPlan>> {
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) || !join.on.is_empty() {
        return Ok(None);
    }
    let Some(parts) = parts(&join.right) else {
        return Ok(None);
    };
    let (FetchType::Literal(fetch), SkipType::Literal(skip)) =
        (parts.limit.get_fetch_type()?, parts.limit.get_skip_type()?)
    else {
        return Ok(None);
    };
    let above = parts.selected.iter().chain(&parts.computed).flatten();
    if above
        .chain(parts.order.iter().map(|sort| &sort.expr))
        .any(is_correlated)
        || reads_outside(parts.rows)?
    {
        return Ok(None);
    }
    let (correlated, plain): (Vec<Expr>, Vec<Expr>) = parts.filter.into_iter().partition(is_correlated);
    let Some(keys) = correlated.iter().map(key).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    // what lies further outside is none of this join's
    if keys
        .iter()
        .any(|(_, outer)| !join.left.schema().has_column(outer))
    {
        return Ok(None);
    }
    let mut plan = LogicalPlanBuilder::from(parts.rows.clone());
    if let Some(predicate) = conjunction(plain) {
        plan = plan.filter(predicate)?;
    }
    let width = plan.schema().fields().len();
    let mut exprs = columns(plan.plan(), width);
    exprs.extend(
        keys.iter()
            .enumerate()
            .map(|(index, (inner, _))| inner.clone().alias(key_name(index))),
    );
    let mut plan = plan.project(exprs)?.build()?;
    for exprs in parts.computed.into_iter().rev() {
        plan = project(plan, exprs, keys.len())?;
    }
    let mut number = Expr::from(WindowFunction::new(
        WindowFunctionDefinition::WindowUDF(row_number_udwf()),
        Vec::new(),
    ))
    .partition_by(
        (0..keys.len())
            .map(|index| Expr::Column(Column::new_unqualified(key_name(index))))
            .collect(),
    );
    if !parts.order.is_empty() {
        number = number.order_by(parts.order);
    }
    let number = number.build()?.alias(NUMBER);
    let known = plan.schema().fields().len();
    let plan_with_number = LogicalPlanBuilder::from(plan).window(vec![number])?.build()?;
    let (qualifier, field) = plan_with_number.schema().qualified_field(known);
    let number = Expr::Column(Column::new(qualifier.cloned(), field.name()));
    let skip = skip as u64;
    let mut kept = number.clone().gt(lit(skip));
    if let Some(fetch) = fetch {
        kept = kept.and(number.lt_eq(lit(skip.saturating_add(fetch as u64))));
    }
    let width = known - keys.len();
    let numbered = LogicalPlanBuilder::from(plan_with_number).filter(kept)?.build()?;
    let exprs = columns(&numbered, width);
    let mut plan = project(numbered, exprs, keys.len())?;
    for exprs in parts.selected.into_iter().rev() {
        plan = project(plan, exprs, keys.len())?;
    }
    let width = plan.schema().fields().len() - keys.len();
    let mut plan = LogicalPlanBuilder::from(plan);
    if let Some(alias) = parts.alias {
        plan = plan.alias(alias)?;
    }
    let right = plan.build()?;
    let inner: Vec<Column> = right.schema().columns().into_iter().skip(width).collect();
    let outer: Vec<Column> = keys.into_iter().map(|(_, outer)| outer).collect();
    let mut exprs = columns(&join.left, join.left.schema().fields().len());
    exprs.extend(columns(&right, width));
    let joined = LogicalPlanBuilder::from(join.left.as_ref().clone())
        .join(right, join.join_type, (outer, inner), join.filter.clone())?
        .project(exprs)?
        .build()?;
    Ok(Some(joined))
}
