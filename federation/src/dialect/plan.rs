//! Rules over the plan as the SQL planner made it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, DataFusionError, NullEquality, Result as DataFusionResult, ScalarValue,
};
use datafusion::config::ConfigOptions;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{
    BinaryExpr, Case, InList, Placeholder, ScalarFunction, Sort, WindowFunction,
};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, ExprSchemable, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Union,
    WindowFunctionDefinition,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;

use super::operand::{is_open, is_text};
use super::{lateral, matching, subquery};
use crate::cast::Target;
use crate::error::{Cause, FederationError};
use crate::functions::{Library, cast, same};
use crate::types::{self, BaseType, PgType};
use crate::values::read::number;

/// Gives a plan PostgreSQL's meaning, and its columns their final types.
pub(crate) fn settle(
    plan: LogicalPlan,
    library: &Library,
    options: &ConfigOptions,
) -> DataFusionResult<LogicalPlan> {
    let plan = lateral::flatten(plan)?;
    let plan = plan
        .transform_up_with_subqueries(|node| {
            let node = match node {
                LogicalPlan::Join(join) => match bag_operation(&join)? {
                    Some(plan) => plan,
                    None => LogicalPlan::Join(join),
                },
                LogicalPlan::Union(union) => union_literals(union)?,
                other => other,
            };
            settle_literals(node)?.transform_data(|node| subquery::rewrite(node, library))
        })?
        .data;
    // the columns of CASE and UNION have their types only now; what parameters are may not be known yet
    if has_open_parameter(&plan)? {
        return Ok(plan);
    }
    matching::check(&plan)?;
    TypeCoercion::new().analyze(plan, options)
}

fn has_open_parameter(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Placeholder(Placeholder { field: None, .. }) = expr {
                    found = true;
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// String literals in the type of what they stand beside.
fn settle_literals(plan: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    let mut needed = false;
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            needed |= matches!(expr, Expr::InList(_) | Expr::Case(_) | Expr::WindowFunction(_) | Expr::AggregateFunction(_))
                || matches!(expr, Expr::BinaryExpr(BinaryExpr {
                    op: Operator::IsDistinctFrom | Operator::IsNotDistinctFrom, ..
                }))
                || matches!(expr, Expr::ScalarFunction(call) if is_conditional(call.name()) || quantified(call.name()).is_some())
                || matches!(expr, Expr::Column(_)) && matches!(plan, LogicalPlan::Sort(_));
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if !needed {
        return Ok(Transformed::no(plan));
    }
    let schema = merge_schema(&plan.inputs());
    let sorts = matches!(plan, LogicalPlan::Sort(_));
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| settle_one(expr, &schema))?;
        if sorts {
            return expr.transform_data(|expr| Ok(sort_key(expr, &schema)));
        }
        Ok(expr.update_data(|expr| name.restore(expr)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

/// The type of an expression of which not everything is compared: blanks at the end of a `char(n)` do not count, and
/// of an interval only its length does.
fn keyed(expr: &Expr, schema: &DFSchema) -> Option<&'static BaseType> {
    let (_, field) = expr.to_field(schema).ok()?;
    let pg_type = types::of_field(&field);
    let keyed = matches!(pg_type.base.oid, 1042 | 1186) && !pg_type.array;
    keyed.then_some(pg_type.base)
}

/// What is compared of an expression beside one of this type.
fn key(expr: Expr, base: &'static BaseType, schema: &DFSchema) -> Expr {
    let (expr, base) = if is_open(&expr) {
        (cast_literal(expr, PgType::scalar(base)), Some(base))
    } else {
        let own = keyed(&expr, schema);
        (expr, own)
    };
    match base.map(|base| base.oid) {
        Some(1042) => cast::call(expr, Target::of(PgType::scalar(&types::TEXT))),
        Some(_) => crate::functions::interval_key().call(vec![expr]),
        None => expr,
    }
}

/// The type by whose key an expression compares its operands, if it is one of [`keyed`].
fn compares(expr: &Expr, schema: &DFSchema) -> Option<&'static BaseType> {
    match expr {
        Expr::InList(list) => keyed(&list.expr, schema),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::IsDistinctFrom | Operator::IsNotDistinctFrom,
            right,
        }) => keyed(left, schema).or_else(|| keyed(right, schema)),
        Expr::Case(Case {
            expr: Some(value), ..
        }) => keyed(value, schema),
        Expr::ScalarFunction(call) if quantified(call.name()).is_some() => match call.args.as_slice() {
            [_, Expr::Placeholder(_)] => None,
            [value, _] => keyed(value, schema),
            _ => None,
        },
        Expr::ScalarFunction(call) if matches!(call.name(), "greatest" | "least") => call
            .args
            .iter()
            .find_map(|arg| keyed(arg, schema))
            .filter(|base| base.oid == types::INTERVAL.oid),
        _ => None,
    }
}

/// An expression that [`compares`], with the keys of its operands in their places.
fn by_key(expr: Expr, base: &'static BaseType, schema: &DFSchema) -> DataFusionResult<Expr> {
    let of = |expr: Box<Expr>| Box::new(key(*expr, base, schema));
    Ok(match expr {
        Expr::InList(list) => Expr::InList(InList {
            expr: of(list.expr),
            list: list
                .list
                .into_iter()
                .map(|item| key(item, base, schema))
                .collect(),
            negated: list.negated,
        }),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            Expr::BinaryExpr(BinaryExpr::new(of(left), op, of(right)))
        }
        Expr::Case(case) => Expr::Case(Case {
            expr: case.expr.map(of),
            when_then_expr: case
                .when_then_expr
                .into_iter()
                .map(|(when, then)| (of(when), then))
                .collect(),
            else_expr: case.else_expr,
        }),
        Expr::ScalarFunction(call) if base.oid == types::INTERVAL.oid => {
            let name = if quantified(call.name()).is_some() {
                "ANY and ALL"
            } else {
                call.name()
            };
            return Err(not_of_intervals(name));
        }
        Expr::ScalarFunction(mut call) => {
            if let Some(value) = call.args.first_mut() {
                *value = key(std::mem::take(value), base, schema);
            }
            Expr::ScalarFunction(call)
        }
        other => other,
    })
}

/// Intervals sort by their length.
fn sort_key(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    if matches!(expr.get_type(schema), Ok(DataType::Interval(_))) {
        return Transformed::yes(crate::functions::interval_key().call(vec![expr]));
    }
    Transformed::no(expr)
}

fn is_conditional(name: &str) -> bool {
    matches!(name, "coalesce" | "nullif" | "greatest" | "least")
}

/// The operator of `x = ANY ($1)`, by the name of its function.
pub(super) fn quantified(name: &str) -> Option<&str> {
    name.strip_prefix("lakegate_any ")
        .or_else(|| name.strip_prefix("lakegate_all "))
}

/// The type of the expressions that are no string literals; None where it is text, unknown or of several kinds.
fn common<'a>(exprs: impl Iterator<Item = &'a Expr>, schema: &DFSchema) -> Option<PgType> {
    let mut found: Option<PgType> = None;
    for expr in exprs {
        if is_open(expr) {
            continue;
        }
        let Ok((_, field)) = expr.to_field(schema) else {
            return None;
        };
        if field.data_type().is_null() {
            continue;
        }
        let pg_type = types::of_field(&field);
        let nested = field.data_type().is_nested() && !pg_type.array;
        let padded = pg_type.base.oid == types::BPCHAR.oid;
        if nested || is_text(pg_type) && !padded && !pg_type.array {
            return None;
        }
        found.get_or_insert(PgType {
            typmod: -1,
            ..pg_type
        });
    }
    found
}

fn cast_literal(expr: Expr, pg_type: PgType) -> Expr {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), None) = &expr else {
        return expr;
    };
    let mut target = Target::of(pg_type);
    if pg_type.base.oid == types::NUMERIC.oid
        && !pg_type.array
        && let Ok(value) = number::numeric(text)
        && let (Ok(precision), Ok(scale)) = (u8::try_from(value.precision), i8::try_from(value.scale))
    {
        target.digits = Some((precision, scale));
    }
    cast::call(expr, target)
}

fn settle_one(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let compared = compares(&expr, schema);
    let expr = match compared {
        Some(base) => by_key(expr, base, schema)?,
        None => expr,
    };
    let settled = settle_types(expr, schema)?;
    let changed = settled.transformed || compared.is_some();
    Ok(Transformed::new_transformed(settled.data, changed))
}

/// Literals in the type of what they stand beside, and sort keys of intervals.
fn settle_types(expr: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    match expr {
        Expr::InList(list) if list.list.iter().any(is_open) => {
            let Some(pg_type) = common(std::iter::once(list.expr.as_ref()), schema) else {
                return Ok(Transformed::no(Expr::InList(list)));
            };
            let items = list
                .list
                .into_iter()
                .map(|item| cast_literal(item, pg_type))
                .collect();
            Ok(Transformed::yes(Expr::InList(InList { list: items, ..list })))
        }
        Expr::Case(case) => {
            let results = case
                .when_then_expr
                .iter()
                .map(|(_, then)| then.as_ref())
                .chain(case.else_expr.as_deref());
            let Some(pg_type) = common(results, schema) else {
                return Ok(Transformed::no(Expr::Case(case)));
            };
            let cast = |expr: Box<Expr>| Box::new(cast_literal(*expr, pg_type));
            let case = Expr::Case(Case {
                expr: case.expr,
                when_then_expr: case
                    .when_then_expr
                    .into_iter()
                    .map(|(when, then)| (when, cast(then)))
                    .collect(),
                else_expr: case.else_expr.map(cast),
            });
            Ok(Transformed::yes(with_type(case, pg_type, schema)))
        }
        Expr::ScalarFunction(mut call) if quantified(call.name()).is_some() => {
            let [value, Expr::Placeholder(array @ Placeholder { field: None, .. })] =
                call.args.as_mut_slice()
            else {
                return Ok(Transformed::no(Expr::ScalarFunction(call)));
            };
            // an array of what it is compared with
            let (_, field) = value.to_field(schema)?;
            if field.data_type().is_null() {
                return Ok(Transformed::no(Expr::ScalarFunction(call)));
            }
            let item = field.as_ref().clone().with_name("item").with_nullable(true);
            array.field = Some(Arc::new(Field::new("", DataType::List(Arc::new(item)), true)));
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        Expr::ScalarFunction(call) if is_conditional(call.name()) => {
            let Some(pg_type) = common(call.args.iter(), schema) else {
                return Ok(Transformed::no(Expr::ScalarFunction(call)));
            };
            let args = call
                .args
                .into_iter()
                .map(|expr| cast_literal(expr, pg_type))
                .collect();
            let call = Expr::ScalarFunction(ScalarFunction {
                func: call.func,
                args,
            });
            Ok(Transformed::yes(with_type(call, pg_type, schema)))
        }
        Expr::WindowFunction(mut window) => {
            let params = &mut window.params;
            if extreme(window.fun.name(), &params.args, schema).is_some() {
                return Err(not_of_intervals(&format!("{} over a window", window.fun.name())));
            }
            let mut changed = sort_keys(&mut params.order_by, schema);
            for expr in &mut params.partition_by {
                let key = sort_key(std::mem::take(expr), schema);
                changed |= key.transformed;
                *expr = key.data;
            }
            let window = Expr::WindowFunction(window);
            Ok(Transformed::new_transformed(window, changed))
        }
        Expr::AggregateFunction(mut call) => {
            let mut changed = sort_keys(&mut call.params.order_by, schema);
            if let Some((key, least)) = extreme(call.func.name(), &call.params.args, schema) {
                call.func = first_value_udaf();
                call.params.distinct = false;
                call.params.order_by = vec![Sort::new(key, least, false)];
                changed = true;
            }
            let call = Expr::AggregateFunction(call);
            Ok(Transformed::new_transformed(call, changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The error for what would compare all of an interval.
fn not_of_intervals(what: &str) -> DataFusionError {
    let message = format!("{what} of intervals: not supported");
    FederationError::from(Cause::NotSupported { message })
        .with_hint("Use their lengths: extract(epoch FROM …).")
        .into()
}

/// Of `min` and `max` of intervals, the key by which the first one is theirs, and whether that is the least.
fn extreme(name: &str, args: &[Expr], schema: &DFSchema) -> Option<(Expr, bool)> {
    let [arg] = args else {
        return None;
    };
    let least = match name {
        "min" => true,
        "max" => false,
        _ => return None,
    };
    let key = sort_key(arg.clone(), schema);
    key.transformed.then_some((key.data, least))
}

/// Whether any key became another.
fn sort_keys(keys: &mut [Sort], schema: &DFSchema) -> bool {
    let mut changed = false;
    for sort in keys {
        let key = sort_key(std::mem::take(&mut sort.expr), schema);
        changed |= key.transformed;
        sort.expr = key.data;
    }
    changed
}

/// An expression whose field forgets which type it is of, `jsonb` say, and has it from its branches.
fn with_type(expr: Expr, pg_type: PgType, schema: &DFSchema) -> Expr {
    let forgotten = match expr.to_field(schema) {
        Ok((_, field)) => {
            !field.data_type().is_null() && types::of_field(&field).base.oid != pg_type.base.oid && {
                // numbers have a type of their own
                let plain = types::arrow_type(pg_type);
                plain.is_some_and(|plain| plain == DataType::Utf8)
            }
        }
        Err(_) => false,
    };
    if forgotten {
        same::typed(expr, pg_type)
    } else {
        expr
    }
}

/// String literals of one branch in the type of the column in the others.
fn union_literals(mut union: Union) -> DataFusionResult<LogicalPlan> {
    let width = union.schema.fields().len();
    let mut changed = false;
    for index in 0..width {
        let is_literal = |input: &LogicalPlan| match input {
            LogicalPlan::Projection(projection) => {
                projection.expr.get(index).is_some_and(|expr| is_open(bare(expr)))
            }
            _ => false,
        };
        if !union.inputs.iter().any(|input| is_literal(input)) {
            continue;
        }
        let typed = union
            .inputs
            .iter()
            .filter(|input| !is_literal(input))
            .map(|input| input.schema().field(index))
            .find(|field| !field.data_type().is_null())
            .map(|field| types::of_field(field));
        let Some(pg_type) = typed.filter(|pg_type| pg_type.array || !is_text(*pg_type)) else {
            continue;
        };
        for input in &mut union.inputs {
            if !is_literal(input) {
                continue;
            }
            let LogicalPlan::Projection(projection) = input.as_ref() else {
                continue;
            };
            let mut exprs = projection.expr.clone();
            let name = projection.schema.field(index).name().clone();
            exprs[index] = cast_literal(bare(&exprs[index]).clone(), pg_type).alias(name);
            *input = Arc::new(
                LogicalPlanBuilder::from(projection.input.as_ref().clone())
                    .project(exprs)?
                    .build()?,
            );
            changed = true;
        }
    }
    if !changed {
        return Ok(LogicalPlan::Union(union));
    }
    Ok(LogicalPlan::Union(Union::try_new_with_loose_types(union.inputs)?))
}

fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        other => other,
    }
}

/// EXCEPT ALL and INTERSECT ALL count equal rows, which DataFusion's anti and semi joins do not: the rows are
/// numbered within their equals on both sides.
fn bag_operation(join: &Join) -> DataFusionResult<Option<LogicalPlan>> {
    const NUMBER: &str = "lakegate_number";
    let set_operation = matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len();
    if !set_operation || matches!(join.left.as_ref(), LogicalPlan::Distinct(_)) {
        return Ok(None);
    }
    let numbered = |plan: &LogicalPlan, side: &str| -> DataFusionResult<LogicalPlan> {
        let columns: Vec<Expr> = plan.schema().iter().map(Expr::from).collect();
        let function = Expr::from(WindowFunction::new(
            WindowFunctionDefinition::WindowUDF(row_number_udwf()),
            Vec::new(),
        ))
        .partition_by(columns.clone())
        .build()?
        .alias(format!("{NUMBER}_{side}"));
        let mut items = columns;
        let window = LogicalPlanBuilder::from(plan.clone())
            .window(vec![function])?
            .build()?;
        let (qualifier, field) = window.schema().qualified_field(items.len());
        items.push(Expr::Column(Column::new(qualifier.cloned(), field.name())));
        LogicalPlanBuilder::from(window).project(items)?.build()
    };
    let (left, right) = (numbered(&join.left, "left")?, numbered(&join.right, "right")?);
    let width = join.left.schema().fields().len();
    let column = |plan: &LogicalPlan, index: usize| {
        let (qualifier, field) = plan.schema().qualified_field(index);
        Column::new(qualifier.cloned(), field.name())
    };
    let keys = |plan: &LogicalPlan| (0..=width).map(|index| column(plan, index)).collect::<Vec<_>>();
    let (left_keys, right_keys) = (keys(&left), keys(&right));
    let kept: Vec<Expr> = left_keys[..width].iter().cloned().map(Expr::Column).collect();
    let joined = LogicalPlanBuilder::from(left)
        .join_detailed(
            right,
            join.join_type,
            (left_keys, right_keys),
            None,
            NullEquality::NullEqualsNull,
        )?
        .project(kept)?
        .build()?;
    Ok(Some(joined))
}
