//! The columns that a RIGHT or FULL JOIN … USING merges.
//!
//! DataFusion takes the left table's column for the merged one, which is NULL where only the right table has a row.
//! Here `x` is `coalesce(a.x, b.x)`, and `*` names it first, as PostgreSQL does.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, OrderByKind,
    Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, VisitMut, VisitorMut,
    WildcardAdditionalOptions,
};

use super::syntax::call;
use crate::error::{Cause, FederationError};

/// Rewrites the SELECTs of a query; those of its subqueries are queries of their own.
pub(super) fn merge(query: &mut Query) -> Result<(), FederationError> {
    let Query { body, order_by, .. } = query;
    let SetExpr::Select(select) = body.as_mut() else {
        return each_select(body);
    };
    let Some(merged) = merged(select)? else {
        return Ok(());
    };
    in_select(select, &merged)?;
    if let Some(order) = order_by
        && let OrderByKind::Expressions(keys) = &mut order.kind
    {
        let outputs: Vec<String> = select
            .projection
            .iter()
            .filter_map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
                _ => None,
            })
            .collect();
        for key in keys {
            // a name alone is that of an output column, if there is one
            let output = matches!(&key.expr, Expr::Identifier(name) if outputs.contains(&folded(name)));
            if !output {
                replace(&mut key.expr, &merged);
            }
        }
    }
    Ok(())
}

fn each_select(body: &mut SetExpr) -> Result<(), FederationError> {
    match body {
        SetExpr::Select(select) => match merged(select)? {
            Some(merged) => in_select(select, &merged),
            None => Ok(()),
        },
        SetExpr::SetOperation { left, right, .. } => {
            each_select(left)?;
            each_select(right)
        }
        _ => Ok(()),
    }
}

/// The merged columns of the one join that has any.
struct Merged {
    columns: Vec<Ident>,
    left: Ident,
    right: Ident,
    /// Whether the SELECT reads these two tables and no other.
    alone: bool,
}

impl Merged {
    fn value_of(&self, name: &Ident) -> Option<Expr> {
        let column = self
            .columns
            .iter()
            .find(|column| folded(column) == folded(name))?;
        let of = |table: &Ident| Expr::CompoundIdentifier(vec![table.clone(), column.clone()]);
        Some(call("coalesce", vec![of(&self.left), of(&self.right)]))
    }
}

fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() {
        name.value.clone()
    } else {
        name.value.to_lowercase()
    }
}

fn not_supported(message: &str) -> FederationError {
    FederationError::from(Cause::NotSupported {
        message: message.to_owned(),
    })
    .with_hint("Join with ON, and name the columns.")
}

fn merged(select: &Select) -> Result<Option<Merged>, FederationError> {
    let constraint = |operator: &JoinOperator| match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint) => Some((false, constraint.clone())),
        JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some((true, constraint.clone())),
        _ => None,
    };
    let mut found = None;
    let mut merging = 0;
    for table in &select.from {
        for (index, join) in table.joins.iter().enumerate() {
            let Some((outer, constraint)) = constraint(&join.join_operator) else {
                continue;
            };
            let columns = match constraint {
                JoinConstraint::Using(columns) => columns,
                JoinConstraint::Natural if outer => {
                    return Err(not_supported("NATURAL RIGHT and FULL JOIN are not supported"));
                }
                JoinConstraint::Natural => Vec::new(),
                JoinConstraint::On(_) | JoinConstraint::None => continue,
            };
            merging += 1;
            if outer {
                found = Some((&table.relation, index, &join.relation, columns));
            }
        }
    }
    let Some((left, index, right, columns)) = found else {
        return Ok(None);
    };
    let (Some(left), Some(right), 0, 1) = (name_of(left), name_of(right), index, merging) else {
        return Err(not_supported(
            "RIGHT and FULL JOIN … USING is supported as the only join with USING, between the first table and the second",
        ));
    };
    Ok(Some(Merged {
        columns: columns.iter().filter_map(last).collect(),
        left,
        right,
        alone: select.from.len() == 1 && select.from.iter().all(|table| table.joins.len() == 1),
    }))
}

fn last(name: &ObjectName) -> Option<Ident> {
    match name.0.last()? {
        ObjectNamePart::Identifier(name) => Some(name.clone()),
        ObjectNamePart::Function(_) => None,
    }
}

/// The name by which a table's columns are qualified.
fn name_of(table: &TableFactor) -> Option<Ident> {
    match table {
        TableFactor::Table {
            alias: Some(alias), ..
        }
        | TableFactor::Derived {
            alias: Some(alias), ..
        }
        | TableFactor::Function {
            alias: Some(alias), ..
        } => Some(alias.name.clone()),
        TableFactor::Table { name, .. } => last(name),
        _ => None,
    }
}

fn in_select(select: &mut Select, merged: &Merged) -> Result<(), FederationError> {
    let items = std::mem::take(&mut select.projection);
    for item in items {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                select.projection.push(match merged.value_of(&name) {
                    Some(expr) => SelectItem::ExprWithAlias { expr, alias: name },
                    None => SelectItem::UnnamedExpr(Expr::Identifier(name)),
                });
            }
            SelectItem::Wildcard(_) => everything(select, merged)?,
            other => select.projection.push(other),
        }
    }
    let mut replacing = Replacing { merged, depth: 0 };
    let _: ControlFlow<()> = VisitMut::visit(select, &mut replacing);
    Ok(())
}

/// `*`: the merged columns, then what else each table has.
fn everything(select: &mut Select, merged: &Merged) -> Result<(), FederationError> {
    if !merged.alone {
        return Err(not_supported(
            "* over a RIGHT or FULL JOIN … USING among others is not supported",
        ));
    }
    for column in &merged.columns {
        if let Some(expr) = merged.value_of(column) {
            select.projection.push(SelectItem::ExprWithAlias {
                expr,
                alias: column.clone(),
            });
        }
    }
    for table in [&merged.left, &merged.right] {
        // these are not folded by who reads them
        let columns = merged
            .columns
            .iter()
            .map(|column| ObjectName::from(vec![Ident::with_quote('"', folded(column))]))
            .collect();
        select.projection.push(SelectItem::QualifiedWildcard(
            SelectItemQualifiedWildcardKind::ObjectName(ObjectName::from(vec![table.clone()])),
            WildcardAdditionalOptions {
                opt_exclude: Some(ExcludeSelectItem::Multiple(columns)),
                ..WildcardAdditionalOptions::default()
            },
        ));
    }
    Ok(())
}

fn replace(expr: &mut Expr, merged: &Merged) {
    let mut replacing = Replacing { merged, depth: 0 };
    let _: ControlFlow<()> = VisitMut::visit(expr, &mut replacing);
}

/// Names of merged columns, but those in subqueries, whose tables come first.
struct Replacing<'a> {
    merged: &'a Merged,
    depth: usize,
}

impl VisitorMut for Replacing<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.depth == 0
            && let Expr::Identifier(name) = expr
            && let Some(value) = self.merged.value_of(name)
        {
            *expr = value;
        }
        ControlFlow::Continue(())
    }
}
