//! Comparisons of `char(n)` columns with constants, as a store can be asked for them.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, InList, ScalarFunction};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

use super::rules::InFilters;
use crate::functions::cast::CastFunction;
use crate::types;

/// Compares the column with a constant padded as its values are, instead of its text without blanks.
///
/// Only just above a table, whose values certainly have the length that their type says: above a UNION the length may
/// be another branch's.
pub(super) const COMPARE_PADDED: InFilters = InFilters {
    name: "lakegate_compare_padded",
    above: is_table,
    rewrite: |expr, schema, _| padded(expr, schema),
};

fn is_table(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_table(&alias.input),
        _ => false,
    }
}

fn padded(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::Eq | Operator::NotEq),
            right,
        }) => {
            let sides = match (column(&left, schema), column(&right, schema)) {
                (Some((column, length)), None) => {
                    constant(&right, length).map(|value| (column.clone(), value))
                }
                (None, Some((column, length))) => {
                    constant(&left, length).map(|value| (column.clone(), value))
                }
                _ => None,
            };
            match sides {
                Some((column, value)) => Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
                    Box::new(column),
                    op,
                    Box::new(value),
                ))),
                None => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::InList(list) => {
            let found = column(&list.expr, schema).and_then(|(column, length)| {
                let items: Option<Vec<Expr>> = list.list.iter().map(|item| constant(item, length)).collect();
                Some(InList::new(Box::new(column.clone()), items?, list.negated))
            });
            match found {
                Some(list) => Transformed::yes(Expr::InList(list)),
                None => Transformed::no(Expr::InList(list)),
            }
        }
        other => Transformed::no(other),
    }
}

/// The `char(n)` column whose text without blanks the expression is, and n.
fn column<'a>(expr: &'a Expr, schema: &DFSchema) -> Option<(&'a Expr, usize)> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
        return None;
    };
    let target = func.inner().downcast_ref::<CastFunction>()?.target.pg_type;
    let [column @ Expr::Column(_)] = args.as_slice() else {
        return None;
    };
    let (_, field) = column.to_field(schema).ok()?;
    let from = types::of_field(&field);
    if target.base.oid != types::TEXT.oid || target.array || from.base.oid != types::BPCHAR.oid || from.array
    {
        return None;
    }
    let length = usize::try_from(from.typmod.checked_sub(4)?).ok()?;
    (length > 0).then_some((column, length))
}

/// A text that such a column's text may be, with the blanks that the column has.
fn constant(expr: &Expr, length: usize) -> Option<Expr> {
    let Expr::Literal(ScalarValue::Utf8(Some(text)), _) = expr else {
        return None;
    };
    let characters = text.chars().count();
    // No text of the column ends with a blank.
    if characters > length || text.ends_with(' ') {
        return None;
    }
    let padded = format!("{text}{}", " ".repeat(length - characters));
    Some(Expr::Literal(ScalarValue::Utf8(Some(padded)), None))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Schema};
    use datafusion::prelude::{col, lit};

    use super::*;
    use crate::cast::Target;
    use crate::functions::cast;
    use crate::types::PgType;

    #[test]
    fn constants_are_padded_as_the_column_is() {
        let field = types::field(
            "c",
            PgType {
                typmod: 8,
                ..PgType::scalar(&types::BPCHAR)
            },
            DataType::Utf8,
            true,
        );
        let schema = DFSchema::try_from(Schema::new(vec![field])).unwrap();
        let text = || cast::call(col("c"), Target::of(PgType::scalar(&types::TEXT)));
        for (expr, expected) in [
            (text().eq(lit("ab")), Some("c = Utf8(\"ab  \")")),
            (text().not_eq(lit("abcd")), Some("c != Utf8(\"abcd\")")),
            (lit("é").eq(text()), Some("c = Utf8(\"é   \")")),
            (
                text().in_list(vec![lit("a"), lit("")], true),
                Some("c NOT IN ([Utf8(\"a   \"), Utf8(\"    \")])"),
            ),
            // never equal
            (text().eq(lit("ab ")), None),
            (text().eq(lit("abcde")), None),
            (text().in_list(vec![lit("a"), lit("b ")], false), None),
            // ordered by what stands before the blanks
            (text().lt(lit("ab")), None),
            (col("c").eq(lit("ab")), None),
        ] {
            let shown = expr.to_string();
            let rewritten = padded(expr, &schema);
            assert_eq!(
                rewritten
                    .transformed
                    .then(|| rewritten.data.to_string())
                    .as_deref(),
                expected,
                "{shown}"
            );
        }
    }
}
