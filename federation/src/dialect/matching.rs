//! Text beside something else: PostgreSQL neither compares the two nor takes them for values of one column.
//!
//! DataFusion would cast the text to the other's type, to as many digits as that happens to have, so that `1.549` equals
//! 1.5 or fails on a row that another plan never reads. Strings that are still open have the type of what they stand
//! beside by now.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, NullEquality, Result as DataFusionResult};
use datafusion::logical_expr::expr::{BinaryExpr, Case, InList, InSubquery, SetComparison};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, Join, JoinConstraint, LogicalPlan, Operator, Union};

use super::operand::{self, field_of};
use super::operators::no_operator;
use super::plan::quantified;
use crate::error::{Cause, FederationError};
use crate::types::{self, PgType};

/// Refuses a plan in which text meets what is not text.
///
/// # Errors
/// `NoSuchOverload` of a comparison, `TypeMismatch` of a choice between values.
pub(super) fn check(plan: &LogicalPlan) -> DataFusionResult<()> {
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Join(join) => check_join(join)?,
            LogicalPlan::Union(union) => check_union(union)?,
            _ => {}
        }
        let schema = merge_schema(&node.inputs());
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                check_expression(expr, &schema)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// What decides whether two values meet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Other,
    /// NULL, an array, a row, a string whose type is open, or json: stores without that type keep it as text.
    Any,
}

fn kind(pg_type: PgType) -> Kind {
    if pg_type.array {
        return Kind::Any;
    }
    if operand::is_text(pg_type) {
        return Kind::Text;
    }
    let known = [
        &types::BOOL,
        &types::INT2,
        &types::INT4,
        &types::INT8,
        &types::OID,
        &types::FLOAT4,
        &types::FLOAT8,
        &types::NUMERIC,
        &types::DATE,
        &types::TIME,
        &types::TIMESTAMP,
        &types::TIMESTAMPTZ,
        &types::INTERVAL,
        &types::UUID,
        &types::BYTEA,
    ];
    if known.iter().any(|base| base.oid == pg_type.base.oid) {
        Kind::Other
    } else {
        Kind::Any
    }
}

/// The type of an expression; None where it may be any.
fn type_of(expr: &Expr, schema: &DFSchema) -> DataFusionResult<Option<PgType>> {
    if operand::is_open(expr) || operand::is_open_parameter(expr) {
        return Ok(None);
    }
    let field = field_of(expr, schema)?;
    if field.data_type().is_null() || field.data_type().is_nested() {
        return Ok(None);
    }
    Ok(Some(types::of_field(&field)))
}

fn differ(left: PgType, right: PgType) -> bool {
    matches!(
        (kind(left), kind(right)),
        (Kind::Text, Kind::Other) | (Kind::Other, Kind::Text)
    )
}

fn compared(left: Option<PgType>, symbol: &str, right: Option<PgType>) -> DataFusionResult<()> {
    match (left, right) {
        (Some(left), Some(right)) if differ(left, right) => Err(no_operator(left, symbol, right).into()),
        _ => Ok(()),
    }
}

/// Whether the values can be those of one column; `what` chooses between them.
fn one_type(what: &str, values: impl IntoIterator<Item = Option<PgType>>) -> DataFusionResult<()> {
    let mut first: Option<PgType> = None;
    for value in values.into_iter().flatten() {
        match first {
            Some(first) if differ(first, value) => return Err(mismatch(what, first, value).into()),
            Some(first) if kind(first) != Kind::Any => {}
            _ => first = Some(value),
        }
    }
    Ok(())
}

fn mismatch(what: &str, left: PgType, right: PgType) -> FederationError {
    let message = format!(
        "{what} types {} and {} cannot be matched",
        left.plain_name(),
        right.plain_name()
    );
    FederationError::from(Cause::TypeMismatch { message })
        .with_hint("You might need to add explicit type casts.")
}

fn check_expression(expr: &Expr, schema: &DFSchema) -> DataFusionResult<()> {
    let of = |expr: &Expr| type_of(expr, schema);
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(*op) => {
            let symbol = if is_distinction(*op) {
                "=".to_owned()
            } else {
                op.to_string()
            };
            compared(of(left)?, &symbol, of(right)?)
        }
        Expr::Between(between) => {
            let value = of(&between.expr)?;
            compared(value, ">=", of(&between.low)?)?;
            compared(value, "<=", of(&between.high)?)
        }
        Expr::InList(InList { expr, list, .. }) => {
            let value = of(expr)?;
            list.iter().try_for_each(|item| compared(value, "=", of(item)?))
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => {
            let found = types::of_field(subquery.subquery.schema().field(0));
            compared(of(expr)?, "=", Some(found))
        }
        Expr::SetComparison(SetComparison {
            expr, subquery, op, ..
        }) => {
            let found = types::of_field(subquery.subquery.schema().field(0));
            compared(of(expr)?, &op.to_string(), Some(found))
        }
        Expr::Case(Case {
            expr: value,
            when_then_expr,
            else_expr,
        }) => {
            if let Some(value) = value {
                let value = of(value)?;
                for (when, _) in when_then_expr {
                    compared(value, "=", of(when)?)?;
                }
            }
            let results = when_then_expr.iter().map(|(_, then)| then).chain(else_expr);
            let results = results
                .map(|expr| of(expr))
                .collect::<DataFusionResult<Vec<_>>>()?;
            one_type("CASE", results)
        }
        Expr::ScalarFunction(call) => {
            let name = call.name();
            if let (Some(symbol), [value, array]) = (quantified(name), call.args.as_slice()) {
                return compared(of(value)?, symbol, element_of(array, schema)?);
            }
            if !matches!(name, "coalesce" | "greatest" | "least" | "nullif") {
                return Ok(());
            }
            let args = call.args.iter().map(of).collect::<DataFusionResult<Vec<_>>>()?;
            match (name, args.as_slice()) {
                ("nullif", [left, right]) => compared(*left, "=", *right),
                _ => one_type(&name.to_uppercase(), args),
            }
        }
        _ => Ok(()),
    }
}

/// The type of an array's elements.
fn element_of(array: &Expr, schema: &DFSchema) -> DataFusionResult<Option<PgType>> {
    let field = field_of(array, schema)?;
    let pg_type = types::of_field(&field);
    Ok(pg_type.array.then_some(PgType {
        array: false,
        ..pg_type
    }))
}

fn is_comparison(op: Operator) -> bool {
    is_distinction(op)
        || matches!(
            op,
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
        )
}

fn is_distinction(op: Operator) -> bool {
    matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
}

/// The keys of JOIN … USING, and the columns of INTERSECT and EXCEPT.
fn check_join(join: &Join) -> DataFusionResult<()> {
    for (left, right) in &join.on {
        let left = type_of(left, join.left.schema())?;
        let right = type_of(right, join.right.schema())?;
        if join.null_equality == NullEquality::NullEqualsNull {
            one_type("INTERSECT or EXCEPT", [left, right])?;
        } else if join.join_constraint == JoinConstraint::Using {
            one_type("JOIN/USING", [left, right])?;
        } else {
            compared(left, "=", right)?;
        }
    }
    Ok(())
}

fn check_union(union: &Union) -> DataFusionResult<()> {
    for index in 0..union.schema.fields().len() {
        let columns = union.inputs.iter().map(|input| {
            let field = input.schema().field(index);
            let any = field.data_type().is_null() || field.data_type().is_nested();
            (!any).then(|| types::of_field(field))
        });
        one_type("UNION", columns)?;
    }
    Ok(())
}
