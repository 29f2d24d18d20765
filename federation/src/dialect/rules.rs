//! Rules that run when a plan does: checks of arithmetic, and comparisons of dates with times.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DataFusionResult, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::{BinaryExpr, Cast, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};
use jiff::tz::TimeZone;

use crate::cast::Context;
use crate::functions::at_start;
use crate::functions::cast::CastFunction;
use crate::functions::checked::{Checked, Operation};
use crate::values::datetime::{DAY_MICROS, ZoneCache};
use crate::values::read::zone::local_to_utc;

/// Makes the arithmetic of integers fail where it would wrap, and that of floats where it divides by zero.
///
/// It runs after types are settled and parameters bound, so that no operator escapes it.
#[derive(Debug)]
pub(crate) struct CheckArithmetic;

fn operation(op: Operator) -> Option<Operation> {
    Some(match op {
        Operator::Plus => Operation::Add,
        Operator::Minus => Operation::Subtract,
        Operator::Multiply => Operation::Multiply,
        Operator::Divide => Operation::Divide,
        Operator::Modulo => Operation::Remainder,
        _ => return None,
    })
}

impl AnalyzerRule for CheckArithmetic {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DataFusionResult<LogicalPlan> {
        plan.transform_up_with_subqueries(|node| {
            let mut schema = None;
            let names = NamePreserver::new(&node);
            let inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                // from above: a function computes its type from the names and types of all below, an operator does not
                let expr = expr.transform_down(|expr| {
                    let arithmetic = match &expr {
                        Expr::BinaryExpr(BinaryExpr { op, .. }) => operation(*op),
                        Expr::Negative(_) => Some(Operation::Negate),
                        _ => None,
                    };
                    let Some(operation) = arithmetic else {
                        return Ok(Transformed::no(expr));
                    };
                    let schema =
                        schema.get_or_insert_with(|| merge_schema(&inputs.iter().collect::<Vec<_>>()));
                    // what a subquery takes from outside has its type in itself
                    let checked = match &expr {
                        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => {
                            match (left.get_type(schema), right.get_type(schema)) {
                                (Ok(left), Ok(right)) => left == right && Checked::applies(operation, &left),
                                _ => false,
                            }
                        }
                        Expr::Negative(inner) => inner.get_type(schema).is_ok_and(|data_type| {
                            data_type.is_integer() && Checked::applies(operation, &data_type)
                        }),
                        _ => false,
                    };
                    if !checked {
                        return Ok(Transformed::no(expr));
                    }
                    let args = match expr {
                        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => vec![*left, *right],
                        Expr::Negative(inner) => vec![*inner],
                        other => return Ok(Transformed::no(other)),
                    };
                    Ok(Transformed::yes(Checked::call(operation, args)))
                })?;
                Ok(expr.update_data(|expr| name.restore(expr)))
            })
        })
        .map(|transformed| transformed.data)
    }

    fn name(&self) -> &'static str {
        "lakegate_check_arithmetic"
    }
}

/// Makes constants of the names of the statement's start, before they are computed one by one.
#[derive(Debug)]
pub(crate) struct StatementTime;

impl OptimizerRule for StatementTime {
    fn name(&self) -> &'static str {
        "lakegate_statement_time"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> DataFusionResult<Transformed<LogicalPlan>> {
        let Some(start) = config.query_execution_start_time() else {
            return Ok(Transformed::no(plan));
        };
        let options = config.options();
        let mut context = None;
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let expr = expr.transform_up(|expr| {
                if !matches!(&expr, Expr::ScalarFunction(call) if call.args.is_empty()) {
                    return Ok(Transformed::no(expr));
                }
                let context = context.get_or_insert_with(|| Context::of(&options));
                Ok(match at_start(&expr, start.timestamp_micros(), context) {
                    Some(constant) => Transformed::yes(constant),
                    None => Transformed::no(expr),
                })
            })?;
            Ok(expr.update_data(|expr| name.restore(expr)))
        })
    }
}

/// DataFusion's rules, but for one that would add up sums: of a `bigint` that is a `numeric`, and the sum of sums
/// another type than the sum.
pub(super) fn careful(rule: Arc<dyn OptimizerRule + Send + Sync>) -> Arc<dyn OptimizerRule + Send + Sync> {
    if rule.name() == "single_distinct_aggregation_to_group_by" {
        Arc::new(WithoutSums(rule))
    } else {
        rule
    }
}

#[derive(Debug)]
struct WithoutSums(Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for WithoutSums {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> DataFusionResult<Transformed<LogicalPlan>> {
        let sums = matches!(&plan, LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(|expr| {
            matches!(expr, Expr::AggregateFunction(call) if call.func.name() == "sum" && !call.params.distinct)
        }));
        if sums {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

/// Rewrites expressions in filters, those within others first.
pub(super) struct InFilters {
    pub(super) name: &'static str,
    /// Whether filters above such a plan are looked at.
    pub(super) above: fn(&LogicalPlan) -> bool,
    pub(super) rewrite: fn(Expr, &DFSchema, &ConfigOptions) -> Transformed<Expr>,
}

impl fmt::Debug for InFilters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

impl OptimizerRule for InFilters {
    fn name(&self) -> &str {
        self.name
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> DataFusionResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(mut filter) = plan else {
            return Ok(Transformed::no(plan));
        };
        if !(self.above)(&filter.input) {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let schema = Arc::clone(filter.input.schema());
        let options = config.options();
        let rewritten = filter
            .predicate
            .transform_up(|expr| Ok((self.rewrite)(expr, &schema, &options)))?;
        filter.predicate = rewritten.data;
        Ok(Transformed::new(
            LogicalPlan::Filter(filter),
            rewritten.transformed,
            rewritten.tnr,
        ))
    }
}

/// Compares a date column with a constant time as dates, so that a store can be asked for it.
///
/// `date < timestamp` compares the date's midnight, in the session's zone if the timestamp has one.
pub(super) const COMPARE_DATES: InFilters = InFilters {
    name: "lakegate_compare_dates",
    above: |_| true,
    rewrite: |expr, schema, options| {
        let Expr::BinaryExpr(comparison) = expr else {
            return Transformed::no(expr);
        };
        let is_date = |expr: &Expr| expr.get_type(schema).is_ok_and(|found| found == DataType::Date32);
        match compare_date(&comparison, is_date, options) {
            Some(better) => Transformed::yes(better),
            None => Transformed::no(Expr::BinaryExpr(comparison)),
        }
    },
};

/// The date that is cast to a timestamp.
fn cast_date(expr: &Expr, is_date: impl Fn(&Expr) -> bool) -> Option<&Expr> {
    let inner = match expr {
        Expr::Cast(Cast { expr, field })
            if matches!(
                field.data_type(),
                DataType::Timestamp(TimeUnit::Microsecond, None)
            ) =>
        {
            expr.as_ref()
        }
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let cast = func.inner().downcast_ref::<CastFunction>()?;
            if !matches!(cast.target.pg_type.base.oid, 1114 | 1184) || cast.target.seconds.is_some() {
                return None;
            }
            args.first()?
        }
        _ => return None,
    };
    (matches!(inner, Expr::Column(_)) && is_date(inner)).then_some(inner)
}

fn compare_date(
    comparison: &BinaryExpr,
    is_date: impl Fn(&Expr) -> bool + Copy,
    options: &ConfigOptions,
) -> Option<Expr> {
    let (date, op, literal) = match (&*comparison.left, &*comparison.right) {
        (left, Expr::Literal(literal, _)) => (cast_date(left, is_date)?, comparison.op, literal),
        (Expr::Literal(literal, _), right) => (cast_date(right, is_date)?, comparison.op.swap()?, literal),
        _ => return None,
    };
    let ScalarValue::TimestampMicrosecond(Some(micros), zone) = literal else {
        return None;
    };
    let zone = match zone {
        Some(_) => Context::of(options).zone,
        None => TimeZone::UTC,
    };
    // the last date whose midnight is not after the literal
    let cache = ZoneCache::new(zone.clone());
    let local = micros + i64::from(cache.offset(*micros)) * 1_000_000;
    let mut day = local.div_euclid(DAY_MICROS);
    while local_to_utc(day * DAY_MICROS, &zone) > *micros {
        day -= 1;
    }
    while local_to_utc((day + 1) * DAY_MICROS, &zone) <= *micros {
        day += 1;
    }
    let at_midnight = local_to_utc(day * DAY_MICROS, &zone) == *micros;
    let op = match (op, at_midnight) {
        (
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq,
            true,
        ) => op,
        // between two midnights
        (Operator::Lt | Operator::LtEq, false) => Operator::LtEq,
        (Operator::Gt | Operator::GtEq, false) => Operator::Gt,
        _ => return None,
    };
    let day = i32::try_from(day).ok()?;
    Some(Expr::BinaryExpr(BinaryExpr::new(
        Box::new(date.clone()),
        op,
        Box::new(Expr::Literal(ScalarValue::Date32(Some(day)), None)),
    )))
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::col;

    use super::*;

    #[test]
    fn dates_are_compared_as_dates() {
        let timestamp = |text: &str| {
            let micros = crate::values::read::datetime::timestamp(text).unwrap();
            Expr::Literal(ScalarValue::TimestampMicrosecond(Some(micros), None), None)
        };
        let date = || {
            Expr::Cast(Cast::new(
                Box::new(col("d")),
                DataType::Timestamp(TimeUnit::Microsecond, None),
            ))
        };
        let compared = |op: Operator, text: &str| {
            let comparison = BinaryExpr::new(Box::new(date()), op, Box::new(timestamp(text)));
            compare_date(&comparison, |_| true, &ConfigOptions::default()).map(|expr| expr.to_string())
        };
        for (op, text, expected) in [
            (Operator::Lt, "2024-02-29", Some("d < Date32(\"2024-02-29\")")),
            (
                Operator::Lt,
                "2024-02-29 12:00",
                Some("d <= Date32(\"2024-02-29\")"),
            ),
            (
                Operator::LtEq,
                "2024-02-29 12:00",
                Some("d <= Date32(\"2024-02-29\")"),
            ),
            (Operator::GtEq, "2024-02-29", Some("d >= Date32(\"2024-02-29\")")),
            (
                Operator::GtEq,
                "2024-02-29 00:00:01",
                Some("d > Date32(\"2024-02-29\")"),
            ),
            (Operator::Eq, "2024-02-29", Some("d = Date32(\"2024-02-29\")")),
            (Operator::Eq, "2024-02-29 12:00", None),
        ] {
            assert_eq!(compared(op, text).as_deref(), expected, "{op} {text}");
        }
        let swapped = BinaryExpr::new(Box::new(timestamp("2024-02-29")), Operator::Gt, Box::new(date()));
        assert_eq!(
            compare_date(&swapped, |_| true, &ConfigOptions::default()).map(|expr| expr.to_string()),
            Some("d < Date32(\"2024-02-29\")".to_owned())
        );
    }
}
