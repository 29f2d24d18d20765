//! Leaving groups and first rows to the store that has the table.
//!
//! An optimizer rule: where a part of a plan stands on one table of a store, and
//! the store certainly answers it alike, the part becomes a scan of a derived
//! table. Nothing is pushed above a filter that is also evaluated here, nor above
//! a limit. What stays is noted at the scan below, with the reason.

mod relation;

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, TableReference};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{
    Expr, LogicalPlan, Projection, SortExpr, SubqueryAlias, TableScan, TableScanBuilder,
};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use self::relation::{Above, Relation, Stop, describe};
use super::exec::Local;
use super::request::{Asked, Expression, SortKey};
use super::{GroupOutput, RemoteTableProvider};

/// DataFusion's rules, and [`PushDown`] in its place: after filters and limits
/// have found their scans, before `count(distinct)` is taken apart.
pub fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let place = rules
        .iter()
        .position(|rule| rule.name() == "single_distinct_aggregation_to_group_by")
        .unwrap_or(rules.len());
    rules.insert(place, Arc::new(PushDown));
    rules
}

/// The rule. It knows no setting: a table that is to be read raw hides behind
/// another provider.
#[derive(Debug, Default)]
pub struct PushDown;

impl OptimizerRule for PushDown {
    fn name(&self) -> &'static str {
        "push_down_to_stores"
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Sort(mut sort) => {
                let Some(rows) = sort.fetch else {
                    return Ok(Transformed::no(LogicalPlan::Sort(sort)));
                };
                let pushed = match sort_keys(&sort.expr, &sort.input) {
                    Ok(keys) => first_rows(&sort.input, &keys, rows)?,
                    Err(reason) => Err(Stop::because(reason)),
                };
                let input = match pushed {
                    Ok(input) => Some(input),
                    Err(stop) => noted(&sort.input, stop.note(|| first_keys(&sort.expr)))?,
                };
                Ok(match input {
                    // The rows are few: their order is made sure of here.
                    Some(input) => {
                        sort.input = Arc::new(input);
                        Transformed::yes(LogicalPlan::Sort(sort))
                    }
                    None => Transformed::no(LogicalPlan::Sort(sort)),
                })
            }
            // A condition on groups; one on rows has found its scan already.
            LogicalPlan::Filter(_) => Ok(match describe(&plan, Above::Rows)? {
                Ok(relation) => Transformed::yes(replaced(&plan, &relation)?),
                Err(_) => Transformed::no(plan),
            }),
            LogicalPlan::Join(mut join) => {
                let plan = LogicalPlan::Join(join.clone());
                let note = match describe(&plan, Above::Rows)? {
                    Ok(relation) => return Ok(Transformed::yes(replaced(&plan, &relation)?)),
                    Err(stop) => stop.note(|| "JOIN".to_owned()),
                };
                Ok(match noted(&join.left, note)? {
                    Some(left) => {
                        join.left = Arc::new(left);
                        Transformed::yes(LogicalPlan::Join(join))
                    }
                    None => Transformed::no(plan),
                })
            }
            LogicalPlan::Aggregate(_) => match describe(&plan, Above::Rows)? {
                Ok(relation) => Ok(Transformed::yes(replaced(&plan, &relation)?)),
                Err(stop) => {
                    let input = plan.inputs().first().map(|input| (*input).clone());
                    let note = stop.note(|| headline(&plan));
                    let noted = match &input {
                        Some(input) => noted(input, note)?,
                        None => None,
                    };
                    match noted {
                        Some(input) => {
                            let plan = plan.with_new_exprs(plan.expressions(), vec![input])?;
                            Ok(Transformed::yes(plan))
                        }
                        None => Ok(Transformed::no(plan)),
                    }
                }
            },
            other => Ok(Transformed::no(other)),
        }
    }
}

/// What an aggregate is called where it is noted.
fn headline(plan: &LogicalPlan) -> String {
    match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.is_empty() => "DISTINCT".to_owned(),
        _ => "aggregates".to_owned(),
    }
}

fn first_keys(keys: &[SortExpr]) -> String {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    format!("ORDER BY {} LIMIT", keys.join(", "))
}

/// A key by its index in the output of the plan that is sorted.
fn sort_keys(keys: &[SortExpr], input: &LogicalPlan) -> std::result::Result<Vec<SortKey>, String> {
    keys.iter()
        .map(|key| {
            let Expr::Column(column) = &key.expr else {
                return Err(format!("{} is computed here", key.expr));
            };
            let column = input
                .schema()
                .index_of_column(column)
                .map_err(|error| error.to_string())?;
            Ok(SortKey {
                column,
                descending: !key.asc,
                nulls_first: key.nulls_first,
            })
        })
        .collect()
}

/// The plan with its table replaced by one that yields only what can be among the
/// first `rows` rows.
fn first_rows(
    plan: &LogicalPlan,
    keys: &[SortKey],
    rows: usize,
) -> Result<std::result::Result<LogicalPlan, Stop>> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut below = Vec::with_capacity(keys.len());
            for key in keys {
                let Some(expr) = projection.expr.get(key.column) else {
                    return Ok(Err(Stop::silent()));
                };
                let Expr::Column(column) = expr.clone().unalias_nested().data else {
                    return Ok(Err(Stop::because(format!("{expr} is computed here"))));
                };
                below.push(SortKey {
                    column: projection.input.schema().index_of_column(&column)?,
                    ..*key
                });
            }
            let input = match first_rows(&projection.input, &below, rows)? {
                Ok(input) => Arc::new(input),
                Err(stop) => return Ok(Err(stop)),
            };
            Projection::try_new_with_schema(projection.expr.clone(), input, Arc::clone(&projection.schema))
                .map(|projection| Ok(LogicalPlan::Projection(projection)))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let input = match first_rows(&alias.input, keys, rows)? {
                Ok(input) => Arc::new(input),
                Err(stop) => return Ok(Err(stop)),
            };
            SubqueryAlias::try_new(input, alias.alias.clone())
                .map(|alias| Ok(LogicalPlan::SubqueryAlias(alias)))
        }
        _ => {
            let mut relation = match describe(plan, Above::Less)? {
                Ok(relation) => relation,
                Err(stop) => return Ok(Err(stop)),
            };
            Ok(match relation.cut(keys, rows) {
                Ok(()) => Ok(replaced(plan, &relation)?),
                Err(stop) => Err(stop),
            })
        }
    }
}

impl Relation {
    /// Asks for the first rows only.
    fn cut(&mut self, keys: &[SortKey], rows: usize) -> std::result::Result<(), Stop> {
        if self.request.limit.is_some() {
            return Err(Stop::silent());
        }
        let mut order = Vec::with_capacity(keys.len());
        for key in keys {
            let column = match self.columns.get(key.column) {
                Some(Ok(typed)) => match typed.expression {
                    Expression::Column(column) => column,
                    _ => return Err(Stop::because("an expression is sorted here")),
                },
                Some(Err(reason)) => return Err(Stop::because(reason.clone())),
                None => return Err(Stop::silent()),
            };
            if let Some(reason) = self.order_refusal(column) {
                return Err(Stop::because(reason));
            }
            order.push(SortKey { column, ..*key });
        }
        self.request.order = order;
        self.request.limit = Some(rows);
        Ok(())
    }

    /// Why the store's order of this column of the request may be another.
    fn order_refusal(&self, column: usize) -> Option<String> {
        let refusal = |column| {
            self.remote
                .refusal(Asked::Order(column))
                .map(std::borrow::Cow::into_owned)
        };
        let Some(grouping) = &self.request.grouping else {
            return refusal(column);
        };
        match grouping.outputs.get(column)? {
            GroupOutput::Key(Expression::Column(key)) => refusal(*key),
            // Numbers and times, which every store sorts alike.
            GroupOutput::Key(_) => None,
            GroupOutput::Aggregate(call) => match (&call.argument, relation::is_exact(&call.result)) {
                (_, true) => None,
                // A minimum or maximum was asked for, so its order is sure.
                (Some(Expression::Column(argument)), false) => refusal(*argument),
                _ => Some("floats are sorted here".to_owned()),
            },
        }
    }
}

/// The plan as a scan of what the relation asks for, under the plan's own names.
fn replaced(plan: &LogicalPlan, relation: &Relation) -> Result<LogicalPlan> {
    let provider = RemoteTableProvider::asking(Arc::clone(&relation.remote), relation.request.clone());
    if let LogicalPlan::TableScan(scan) = plan {
        return Ok(LogicalPlan::TableScan(TableScan {
            source: provider_as_source(Arc::new(provider)),
            filters: Vec::new(),
            fetch: None,
            ..scan.clone()
        }));
    }
    let name = TableReference::bare(relation.request.table.name.clone());
    let fields = Arc::clone(relation.request.columns());
    let scan = TableScanBuilder::new(name.clone(), provider_as_source(Arc::new(provider))).build()?;
    let names = plan
        .schema()
        .iter()
        .zip(&relation.columns)
        .map(|((qualifier, field), typed)| {
            let index = match typed {
                Ok(typed) => match typed.expression {
                    Expression::Column(index) => index,
                    _ => return relation::not_a_column(field.name()),
                },
                Err(_) => return relation::not_a_column(field.name()),
            };
            let column = Expr::Column(Column::new(Some(name.clone()), fields.field(index).name()));
            Ok(column.alias_qualified(qualifier.cloned(), field.name()))
        })
        .collect::<Result<Vec<_>>>()?;
    Projection::try_new(names, Arc::new(LogicalPlan::TableScan(scan))).map(LogicalPlan::Projection)
}

/// The plan with a note at its table; none if there is nothing new to say.
fn noted(plan: &LogicalPlan, note: Option<Local>) -> Result<Option<LogicalPlan>> {
    let Some(note) = note else {
        return Ok(None);
    };
    match plan {
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source)?;
            let noting = provider
                .downcast_ref::<RemoteTableProvider>()
                .and_then(|table| table.noting(note));
            Ok(noting.map(|table| {
                LogicalPlan::TableScan(TableScan {
                    source: provider_as_source(Arc::new(table)),
                    ..scan.clone()
                })
            }))
        }
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Aggregate(_) => {
            let Some(input) = plan.inputs().first().map(|input| (*input).clone()) else {
                return Ok(None);
            };
            match noted(&input, Some(note))? {
                Some(input) => plan.with_new_exprs(plan.expressions(), vec![input]).map(Some),
                None => Ok(None),
            }
        }
        _ => Ok(None),
    }
}
