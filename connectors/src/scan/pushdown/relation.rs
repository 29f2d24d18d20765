//! What a part of a plan would ask of one store.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, DataFusionError, JoinType, NullEquality, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Aggregate, Expr, Filter, Join, LogicalPlan, TableScan};

use crate::scan::aggregate::aggregate;
use crate::scan::estimate::estimated_rows;
use crate::scan::exec::Local;
use crate::scan::expression::{Typed, is_decimal, is_integer};
use crate::scan::request::{Asked, Expression, GroupOutput, Grouping};
use crate::scan::{Predicate, RemoteTable, RemoteTableProvider, ScanRequest, StoreJoin, Verdict};
use crate::{TableDescription, TableKind};

/// A part of a plan as a request to one store.
pub(super) struct Relation {
    pub remote: Arc<dyn RemoteTable>,
    pub request: ScanRequest,
    /// What each column of the part's output is, over the columns of the request;
    /// or why it is not.
    pub columns: Vec<std::result::Result<Typed, String>>,
}

/// Why a part of a plan is no request.
#[derive(Debug)]
pub(super) struct Stop {
    /// None where no store is concerned, or nothing is lost.
    reason: Option<String>,
}

impl Stop {
    pub(super) fn silent() -> Self {
        Self { reason: None }
    }

    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
        }
    }

    pub(super) fn note(self, what: impl FnOnce() -> String) -> Option<Local> {
        let reason = self.reason?;
        Some(Local { what: what(), reason })
    }
}

type Described = std::result::Result<Relation, Stop>;

/// What becomes of a part's rows above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Above {
    /// They are read as they are.
    Rows,
    /// They are grouped or cut by the store, too.
    Less,
}

/// Takes a plan apart down to its tables.
pub(super) fn describe(plan: &LogicalPlan, above: Above) -> Result<Described> {
    match plan {
        LogicalPlan::TableScan(scan) => table(scan),
        LogicalPlan::SubqueryAlias(alias) => describe(&alias.input, above),
        LogicalPlan::Join(join) => joined(join, above),
        LogicalPlan::Projection(projection) => Ok(describe(&projection.input, above)?.map(|mut relation| {
            relation.columns = {
                let resolve = |column: &Column| relation.resolve(&projection.input, column);
                projection
                    .expr
                    .iter()
                    .map(|expr| Typed::of(expr, &resolve))
                    .collect()
            };
            relation
        })),
        LogicalPlan::Filter(filter) => Ok(match describe(&filter.input, above)? {
            Ok(relation) => relation.kept(filter),
            Err(stop) => Err(stop),
        }),
        LogicalPlan::Aggregate(aggregate) => match describe(&aggregate.input, Above::Less)? {
            Ok(relation) => Ok(relation.grouped(aggregate)),
            Err(stop) => Ok(Err(stop)),
        },
        _ => Ok(Err(Stop::silent())),
    }
}

fn joined(join: &Join, above: Above) -> Result<Described> {
    let outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Ok(Err(Stop::silent())),
    };
    let left = match describe(&join.left, above)? {
        Ok(left) => left,
        Err(stop) => return Ok(Err(stop)),
    };
    let right = match describe(&join.right, above)? {
        Ok(right) => right,
        Err(stop) => return Ok(Err(stop)),
    };
    Ok(left.join(right, join, outer, above))
}

fn table(scan: &TableScan) -> Result<Described> {
    let provider = source_as_provider(&scan.source)?;
    let Some(table) = provider.downcast_ref::<RemoteTableProvider>() else {
        return Ok(Err(Stop::silent()));
    };
    let mut request = table.base().clone();
    for filter in &scan.filters {
        match table.judge(filter) {
            (Some(predicate), Verdict::Exact) => request.predicates.push(predicate),
            (_, Verdict::Inexact(reason) | Verdict::Unsupported(reason)) => {
                return Ok(Err(Stop::because(format!(
                    "the filter {filter} is evaluated here: {reason}"
                ))));
            }
            (None, Verdict::Exact) => return Ok(Err(Stop::silent())),
        }
    }
    request.limit = match (scan.fetch, request.limit) {
        (Some(fetch), Some(limit)) => Some(fetch.min(limit)),
        (fetch, limit) => fetch.or(limit),
    };
    let fields = Arc::clone(request.columns());
    let all = (0..fields.fields().len()).collect::<Vec<_>>();
    let columns = scan
        .projection
        .as_ref()
        .unwrap_or(&all)
        .iter()
        .map(|&index| Ok(Typed::column(index, fields.field(index).data_type().clone())))
        .collect();
    Ok(Ok(Relation {
        remote: Arc::clone(table.remote()),
        request,
        columns,
    }))
}

impl Relation {
    /// What a column of `input`, which this relation describes, is.
    fn resolve(&self, input: &LogicalPlan, column: &Column) -> std::result::Result<Typed, String> {
        let index = input
            .schema()
            .index_of_column(column)
            .map_err(|error| error.to_string())?;
        self.columns
            .get(index)
            .cloned()
            .unwrap_or_else(|| Err(format!("{column} is not of the table")))
    }

    /// Whether it is rows of whole tables, which may be joined.
    fn is_plain(&self) -> bool {
        self.request.grouping.is_none() && self.request.limit.is_none()
    }

    /// The column of the table that a join's key is.
    fn key(&self, input: &LogicalPlan, expr: &Expr) -> std::result::Result<usize, Stop> {
        let Expr::Column(column) = expr else {
            return Err(Stop::because("the join's key is computed here"));
        };
        match self.resolve(input, column).map_err(Stop::because)?.expression {
            Expression::Column(index) => Ok(index),
            _ => Err(Stop::because("the join's key is computed here")),
        }
    }

    fn join(self, right: Self, join: &Join, outer: bool, above: Above) -> Described {
        let other_store = StoreJoin {
            outer,
            on: Vec::new(),
            conditions: Vec::new(),
        };
        if let Err("") = self.remote.joined(right.remote.as_ref(), &other_store) {
            return Err(Stop::silent());
        }
        if !self.is_plain() || !right.is_plain() {
            return Err(Stop::because("groups or first rows are joined here"));
        }
        if join.filter.is_some()
            || join.on.is_empty()
            || join.null_equality != NullEquality::NullEqualsNothing
        {
            return Err(Stop::because("only a join on equal columns is sent"));
        }
        let mut on = Vec::with_capacity(join.on.len());
        for (left_key, right_key) in &join.on {
            on.push((
                self.key(&join.left, left_key)?,
                right.key(&join.right, right_key)?,
            ));
        }
        let rows = self.joined_rows(&right, &on, outer, above)?;
        let first = self.request.table.columns.fields().len();
        let spec = StoreJoin {
            outer,
            on,
            conditions: if outer {
                right.request.predicates.clone()
            } else {
                Vec::new()
            },
        };
        let remote = self
            .remote
            .joined(right.remote.as_ref(), &spec)
            .map_err(Stop::because)?;
        let mut request = self.request;
        if !outer {
            let moved = right
                .request
                .predicates
                .iter()
                .map(|predicate| predicate.moved(first));
            request.predicates.extend(moved);
        }
        request.table = Arc::new(both(&request.table, &right.request.table, outer, rows));
        let mut columns = self.columns;
        columns.extend(right.columns.into_iter().map(|column| match column?.expression {
            Expression::Column(index) => {
                let index = index + first;
                Ok(Typed::column(
                    index,
                    request.table.columns.field(index).data_type().clone(),
                ))
            }
            _ => Err("what a joined table computes is computed here".to_owned()),
        }));
        Ok(Self {
            remote,
            request,
            columns,
        })
    }

    /// The rows of the join without any condition, if the store may well make it:
    /// the key of one side is its primary key, so that no row is multiplied, and
    /// what comes back is less than both tables.
    fn joined_rows(
        &self,
        right: &Self,
        on: &[(usize, usize)],
        outer: bool,
        above: Above,
    ) -> std::result::Result<u64, Stop> {
        let (left_table, right_table) = (&self.request.table, &right.request.table);
        for table in [left_table, right_table] {
            if table.kind != TableKind::Table {
                return Err(Stop::because("only plain tables are joined by the store"));
            }
        }
        let unknown = || Stop::because("the sizes of the tables are unknown");
        let rows = |request: &ScanRequest| estimated_rows(request).ok_or_else(unknown);
        let (left_rows, right_rows) = (rows(&self.request)? as f64, rows(&right.request)? as f64);
        let (left_all, right_all) = (
            left_table.rows.ok_or_else(unknown)?,
            right_table.rows.ok_or_else(unknown)?,
        );
        let is_key = |table: &TableDescription, columns: Vec<usize>| {
            !table.primary_key.is_empty()
                && table.primary_key.iter().all(|name| {
                    columns
                        .iter()
                        .any(|column| table.columns.field(*column).name() == name)
                })
        };
        let (unfiltered, answered) = if is_key(right_table, on.iter().map(|(_, right)| *right).collect()) {
            let part = if outer {
                1.0
            } else {
                right_rows / right_all.max(1) as f64
            };
            (left_all, left_rows * part)
        } else if !outer && is_key(left_table, on.iter().map(|(left, _)| *left).collect()) {
            (right_all, right_rows * (left_rows / left_all.max(1) as f64))
        } else {
            return Err(Stop::because(
                "the join's key is no primary key, so the answer may be larger than the tables",
            ));
        };
        let (left_width, right_width) = (self.columns.len() as f64, right.columns.len() as f64);
        let apart = left_rows * left_width + right_rows * right_width;
        if above == Above::Rows && answered * (left_width + right_width) >= apart {
            return Err(Stop::because("the answer may be larger than the tables"));
        }
        Ok(unfiltered)
    }

    /// With a condition on groups.
    fn kept(mut self, filter: &Filter) -> Described {
        if self.request.limit.is_some() {
            return Err(Stop::silent());
        }
        let having = {
            let Some(grouping) = &self.request.grouping else {
                return Err(Stop::because("a filter is evaluated here"));
            };
            let resolve = |column: &Column| {
                let typed = self.resolve(&filter.input, column)?;
                match typed.expression {
                    Expression::Column(output) if is_exact(&typed.data_type) => {
                        match grouping.outputs.get(output) {
                            Some(GroupOutput::Aggregate(_)) => Ok((output, typed.data_type)),
                            _ => Err("a condition on a group's key is evaluated here".to_owned()),
                        }
                    }
                    _ => Err(format!("{} is compared here", typed.data_type)),
                }
            };
            split_conjunction(&filter.predicate)
                .into_iter()
                .map(|part| Predicate::resolved(part, &resolve))
                .collect::<std::result::Result<Vec<_>, _>>()
                .map_err(Stop::because)?
        };
        if let Some(grouping) = &mut self.request.grouping {
            grouping.having.extend(having);
        }
        Ok(self)
    }

    /// Put together into groups.
    fn grouped(mut self, aggregate_node: &Aggregate) -> Described {
        if self.request.limit.is_some() {
            return Err(Stop::because("a limit is below"));
        }
        if self.request.grouping.is_some() {
            return Err(Stop::because("groups are grouped again here"));
        }
        let (keys, outputs) = match self.outputs(aggregate_node) {
            Ok(outputs) => outputs,
            Err(reason) => return Err(Stop::because(reason)),
        };
        let mut fields: Vec<Field> = Vec::with_capacity(outputs.len());
        for (_, field) in aggregate_node.schema.iter() {
            let name = another_name(field.name(), &fields);
            fields.push(Field::new(name, field.data_type().clone(), field.is_nullable()));
        }
        if fields.len() != outputs.len() {
            return Err(Stop::because("grouping sets are made here"));
        }
        self.columns = fields
            .iter()
            .enumerate()
            .map(|(index, field)| Ok(Typed::column(index, field.data_type().clone())))
            .collect();
        self.request.grouping = Some(Grouping {
            keys,
            outputs,
            schema: Arc::new(Schema::new(fields)),
            having: Vec::new(),
        });
        Ok(self)
    }

    /// The keys and the columns of an aggregate, each of which the store answers
    /// alike.
    fn outputs(&self, node: &Aggregate) -> std::result::Result<(Vec<Expression>, Vec<GroupOutput>), String> {
        fn allowed(remote: &dyn RemoteTable, asked: Asked<'_>) -> std::result::Result<(), String> {
            match remote.refusal(asked) {
                Some(reason) => Err(reason.into_owned()),
                None => Ok(()),
            }
        }
        let remote = self.remote.as_ref();
        let resolve = |column: &Column| self.resolve(&node.input, column);
        let mut keys = Vec::with_capacity(node.group_expr.len());
        for expr in &node.group_expr {
            if matches!(expr, Expr::GroupingSet(_)) {
                return Err("grouping sets are made here".to_owned());
            }
            let key = Typed::of(expr, &resolve)
                .map_err(|reason| format!("GROUP BY {expr}: {reason}"))?
                .expression;
            let asked = match &key {
                Expression::Column(column) => Asked::Distinct(*column),
                // All rows are one group.
                constant if constant.columns().is_empty() => {
                    return Err(format!("GROUP BY {expr} is computed here"));
                }
                computed => Asked::Computed(computed),
            };
            allowed(remote, asked).map_err(|reason| format!("GROUP BY {expr}: {reason}"))?;
            keys.push(key);
        }
        let mut outputs: Vec<GroupOutput> = keys.iter().cloned().map(GroupOutput::Key).collect();
        for expr in &node.aggr_expr {
            let call = aggregate(expr, node.input.schema(), &resolve)?;
            if call.distinct
                && let Some(Expression::Column(column)) = call.argument
            {
                allowed(remote, Asked::Distinct(column)).map_err(|reason| format!("{expr}: {reason}"))?;
            }
            if let Some(filter) = &call.filter
                && let Verdict::Inexact(reason) | Verdict::Unsupported(reason) = remote.verdict(filter)
            {
                return Err(format!("{expr}: {reason}"));
            }
            allowed(remote, Asked::Aggregate(&call)).map_err(|reason| format!("{expr}: {reason}"))?;
            outputs.push(GroupOutput::Aggregate(call));
        }
        Ok((keys, outputs))
    }
}

/// Two joined tables as one, whose columns have different names.
fn both(left: &TableDescription, right: &TableDescription, outer: bool, rows: u64) -> TableDescription {
    let mut fields: Vec<Field> = left
        .columns
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    for field in right.columns.fields() {
        let nullable = field.is_nullable() || outer;
        fields.push(Field::new(
            another_name(field.name(), &fields),
            field.data_type().clone(),
            nullable,
        ));
    }
    TableDescription {
        schema: left.schema.clone(),
        name: format!("{} + {}", left.name, right.name),
        kind: TableKind::Table,
        columns: Arc::new(Schema::new(fields)),
        details: Vec::new(),
        comment: None,
        rows: Some(rows),
        primary_key: Vec::new(),
        facts: BTreeMap::new(),
    }
}

/// A name that no field has yet.
fn another_name(name: &str, fields: &[Field]) -> String {
    let mut unique = name.to_owned();
    let mut number = 1;
    while fields.iter().any(|field| *field.name() == unique) {
        number += 1;
        unique = format!("{name} {number}");
    }
    unique
}

/// Whether values of this type compare alike in every store.
pub(super) fn is_exact(data_type: &DataType) -> bool {
    is_integer(data_type) || is_decimal(data_type)
}

pub(super) fn not_a_column<T>(name: &str) -> Result<T> {
    Err(DataFusionError::Internal(format!(
        "{name} is no column of the store's answer"
    )))
}
