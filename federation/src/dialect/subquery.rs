//! Subqueries in expressions, in forms that DataFusion can plan.
//!
//! ```text
//! (SELECT y … ORDER BY k LIMIT 1)       first_value(y ORDER BY k)
//! (SELECT y …), correlated              the one element of array_agg(y), or an error
//! EXISTS (…), but in WHERE              (SELECT count(*) …) > 0
//! x IN (…), but in WHERE                x = ANY (array_agg)
//! ```
//!
//! Aggregates have one row whatever they are correlated by, and that is what DataFusion asks of a subquery.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result as DataFusionResult, ScalarValue};
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{
    AggregateFunction, AggregateFunctionParams, BinaryExpr, Exists, InSubquery, SetComparison, SetQuantifier,
    Sort,
};
use datafusion::logical_expr::{
    Expr, FetchType, LogicalPlan, LogicalPlanBuilder, Operator, SkipType, Subquery,
};

use crate::error::FederationError;
use crate::functions::{Library, same};
use crate::types;

/// Rewrites the subqueries of one node's expressions.
pub(super) fn rewrite(plan: LogicalPlan, library: &Library) -> DataFusionResult<Transformed<LogicalPlan>> {
    let mut needed = false;
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            needed |= matches!(
                expr,
                Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
            );
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if !needed {
        return Ok(Transformed::no(plan));
    }
    // of predicates DataFusion makes joins
    let predicate = matches!(plan, LogicalPlan::Filter(_));
    let names = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| match expr {
            Expr::ScalarSubquery(subquery) => scalar(subquery, library),
            Expr::Exists(exists) if !predicate => counted(exists).map(Transformed::yes),
            Expr::InSubquery(InSubquery {
                expr,
                subquery,
                negated,
            }) if !predicate => {
                let operator = if negated {
                    "lakegate_every <>"
                } else {
                    "lakegate_some ="
                };
                member(*expr, &subquery, operator, library).map(Transformed::yes)
            }
            Expr::SetComparison(SetComparison {
                expr,
                subquery,
                op,
                quantifier,
            }) if !predicate => {
                let quantifier = match quantifier {
                    SetQuantifier::Any => "lakegate_some",
                    SetQuantifier::All => "lakegate_every",
                };
                let symbol = if op == Operator::NotEq {
                    "<>".to_owned()
                } else {
                    op.to_string()
                };
                member(*expr, &subquery, &format!("{quantifier} {symbol}"), library).map(Transformed::yes)
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

fn with_plan(subquery: &Subquery, plan: LogicalPlan) -> Subquery {
    Subquery {
        subquery: Arc::new(plan),
        outer_ref_columns: subquery.outer_ref_columns.clone(),
        spans: subquery.spans.clone(),
    }
}

/// The column that a subquery returns.
fn only_column(plan: &LogicalPlan) -> Column {
    let (qualifier, field) = plan.schema().qualified_field(0);
    Column::new(qualifier.cloned(), field.name())
}

/// A plan of one column over a plan with at most one row.
fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        LogicalPlan::Subquery(subquery) => is_one_row(&subquery.subquery),
        LogicalPlan::Filter(filter) => is_one_row(&filter.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        _ => false,
    }
}

fn scalar(subquery: Subquery, library: &Library) -> DataFusionResult<Transformed<Expr>> {
    let plan = subquery.subquery.as_ref();
    if plan.schema().fields().len() != 1 {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    if subquery.outer_ref_columns.is_empty() {
        if plan.schema().field(0).is_nullable() {
            return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
        }
        // no row is NULL
        let column = only_column(plan);
        let name = column.name.clone();
        let plan = LogicalPlanBuilder::from(plan.clone())
            .project(vec![same::nullable(Expr::Column(column)).alias(name)])?
            .build()?;
        return Ok(Transformed::yes(Expr::ScalarSubquery(with_plan(&subquery, plan))));
    }
    if is_one_row(plan) {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    if let Some(plan) = first_of(plan)? {
        return Ok(Transformed::yes(Expr::ScalarSubquery(with_plan(&subquery, plan))));
    }
    let (_, field) = plan.schema().qualified_field(0);
    let pg_type = types::of_field(field);
    let named = !field.metadata().is_empty();
    let array = Expr::ScalarSubquery(with_plan(&subquery, gathered(plan)?));
    let one = call(library, "lakegate_only", vec![array])?;
    Ok(Transformed::yes(if named {
        same::typed(one, pg_type)
    } else {
        one
    }))
}

fn call(library: &Library, name: &str, args: Vec<Expr>) -> DataFusionResult<Expr> {
    let function = library
        .get(name)
        .ok_or_else(|| FederationError::internal(format!("no function {name}")))?;
    Ok(function.call(args))
}

/// Without an order that nothing sees.
fn unordered(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => unordered(&sort.input),
        other => other,
    }
}

fn aggregate(
    function: Arc<datafusion::logical_expr::AggregateUDF>,
    args: Vec<Expr>,
    order_by: Vec<Sort>,
) -> Expr {
    Expr::AggregateFunction(AggregateFunction {
        func: function,
        params: AggregateFunctionParams {
            args,
            distinct: false,
            filter: None,
            order_by,
            null_treatment: None,
        },
    })
}

/// All rows of a plan of one column, as one array.
fn gathered(plan: &LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let plan = unordered(plan);
    let value = Expr::Column(only_column(plan));
    LogicalPlanBuilder::from(plan.clone())
        .aggregate(
            Vec::<Expr>::new(),
            vec![aggregate(array_agg_udaf(), vec![value], Vec::new())],
        )?
        .build()
}

/// `… ORDER BY k LIMIT 1` as an aggregate, which can be correlated.
fn first_of(plan: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    let LogicalPlan::Limit(limit) = plan else {
        return Ok(None);
    };
    let one = matches!(limit.get_fetch_type()?, FetchType::Literal(Some(1)))
        && matches!(limit.get_skip_type()?, SkipType::Literal(0));
    if !one {
        return Ok(None);
    }
    let mut value = Expr::Column(only_column(plan));
    let mut below = limit.input.as_ref();
    // a key that is not selected is projected away above the sort
    if let LogicalPlan::Projection(projection) = below
        && let LogicalPlan::Sort(_) = projection.input.as_ref()
        && let [only] = projection.expr.as_slice()
    {
        value = only.clone().unalias();
        below = projection.input.as_ref();
    }
    let (order, input) = match below {
        LogicalPlan::Sort(sort) => (sort.expr.clone(), sort.input.as_ref()),
        other => (Vec::new(), other),
    };
    LogicalPlanBuilder::from(input.clone())
        .aggregate(
            Vec::<Expr>::new(),
            vec![aggregate(first_value_udaf(), vec![value], order)],
        )?
        .build()
        .map(Some)
}

/// EXISTS as a count.
fn counted(exists: Exists) -> DataFusionResult<Expr> {
    let Exists { subquery, negated } = exists;
    let mut plan = unordered(&subquery.subquery).clone();
    if subquery.outer_ref_columns.is_empty() {
        // one row is enough to know
        plan = LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?;
    }
    let count = aggregate(
        count_udaf(),
        vec![Expr::Literal(ScalarValue::Int64(Some(1)), None)],
        Vec::new(),
    );
    let plan = LogicalPlanBuilder::from(plan)
        .aggregate(Vec::<Expr>::new(), vec![count])?
        .build()?;
    let rows = Expr::ScalarSubquery(with_plan(&subquery, plan));
    Ok(Expr::BinaryExpr(BinaryExpr::new(
        Box::new(rows),
        if negated { Operator::Eq } else { Operator::Gt },
        Box::new(Expr::Literal(ScalarValue::Int64(Some(0)), None)),
    )))
}

/// A comparison with each row of a subquery as one with each element of an array.
fn member(value: Expr, subquery: &Subquery, function: &str, library: &Library) -> DataFusionResult<Expr> {
    let plan = gathered(&subquery.subquery)?;
    let array = Expr::ScalarSubquery(with_plan(subquery, plan));
    call(library, function, vec![value, array])
}
