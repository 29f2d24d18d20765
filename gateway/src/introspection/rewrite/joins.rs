//! Correlated scalar subqueries over catalogs as left joins.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Join, JoinConstraint, JoinOperator, ObjectNamePart, Query, Select, SelectItem, SetExpr,
    TableAlias, TableFactor, TableWithJoins, Visit, VisitMut, Visitor, VisitorMut,
};

use super::{
    Rules,
    empty::{is_empty_query, is_plain},
    is_catalog,
};
use crate::introspection::names;

impl Rules {
    /// Correlated scalar subqueries of the projection as left joins, if they read nothing but catalogs: the engine
    /// decorrelates equalities only. A subquery that gives two rows is an error in PostgreSQL and would be two rows
    /// here; catalogs are keyed by what clients correlate on.
    pub(super) fn join_subqueries(&mut self, select: &mut Select) {
        let outer = aliases(&select.from);
        if outer.is_empty() || !is_plain(select) {
            return;
        }
        for item in &mut select.projection {
            let (expression, alias) = match item {
                SelectItem::UnnamedExpr(expression) => {
                    let mut named = [SelectItem::UnnamedExpr(expression.clone())];
                    names::name_items(&mut named);
                    let alias = match &named[0] {
                        SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
                        _ => None,
                    };
                    (expression, alias)
                }
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias.clone())),
                _ => continue,
            };
            let Expr::Subquery(query) = expression else {
                continue;
            };
            if is_empty_query(query) || !reads_catalogs(query) {
                continue;
            }
            let Some((joins, value)) = self.as_join(query, &outer) else {
                continue;
            };
            let Some(last) = select.from.last_mut() else {
                continue;
            };
            last.joins.extend(joins);
            *item = match alias {
                Some(alias) => SelectItem::ExprWithAlias { expr: value, alias },
                None => SelectItem::UnnamedExpr(value),
            };
        }
        // A join written after `FROM a, b` sees only b: all of them become one chain.
        if select.from.len() > 1 && select.from.iter().any(|table| table.joins.iter().any(is_ours)) {
            let mut tables = std::mem::take(&mut select.from).into_iter();
            if let Some(mut first) = tables.next() {
                let mut ours = Vec::new();
                for table in tables {
                    first.joins.push(Join {
                        relation: table.relation,
                        global: false,
                        join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
                    });
                    for join in table.joins {
                        if is_ours(&join) {
                            ours.push(join);
                        } else {
                            first.joins.push(join);
                        }
                    }
                }
                first.joins.extend(ours);
                select.from = vec![first];
            }
        }
    }

    /// `(SELECT e FROM x, y WHERE p)` as `LEFT JOIN (x CROSS JOIN y) ON p` with the value `e`.
    fn as_join(&mut self, query: &Query, outer: &[String]) -> Option<(Vec<Join>, Expr)> {
        let plain = query.with.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
        let SetExpr::Select(select) = query.body.as_ref() else {
            return None;
        };
        if !plain || !is_plain(select) || select.distinct.is_some() || !refers_to(select, outer) {
            return None;
        }
        let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
            select.projection.as_slice()
        else {
            return None;
        };
        let mut from = select.from.clone();
        let mut value = value.clone();
        let mut condition = select.selection.clone()?;
        self.joins += 1;
        let inner = aliases(&from);
        let mut rename = Rename {
            names: &inner,
            suffix: self.joins,
        };
        for table in &mut from {
            rename.table(&mut table.relation);
            for join in &mut table.joins {
                rename.table(&mut join.relation);
            }
            let _: ControlFlow<()> = VisitMut::visit(table, &mut rename);
        }
        let _: ControlFlow<()> = VisitMut::visit(&mut value, &mut rename);
        let _: ControlFlow<()> = VisitMut::visit(&mut condition, &mut rename);
        let mut tables = from.into_iter();
        let mut first = tables.next()?;
        for table in tables {
            first.joins.push(Join {
                relation: table.relation,
                global: false,
                join_operator: JoinOperator::CrossJoin(JoinConstraint::None),
            });
            first.joins.extend(table.joins);
        }
        let relation = if first.joins.is_empty() {
            first.relation
        } else {
            TableFactor::NestedJoin {
                table_with_joins: Box::new(first),
                alias: None,
            }
        };
        let join = Join {
            relation,
            global: false,
            join_operator: JoinOperator::LeftOuter(JoinConstraint::On(condition)),
        };
        Some((vec![join], value))
    }
}

/// The marker of a relation that a rule brought into a FROM clause.
fn reads_catalogs(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return false;
    };
    let is_catalog_table = |table: &TableFactor| match table {
        TableFactor::Table { name, args: None, .. } => match name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => name.value.starts_with("pg_"),
            [schema, _] => is_catalog(schema),
            _ => false,
        },
        _ => false,
    };
    select.from.iter().all(|table| {
        is_catalog_table(&table.relation) && table.joins.iter().all(|join| is_catalog_table(&join.relation))
    })
}

const OURS: &str = "lakegate_sub";

fn is_ours(join: &Join) -> bool {
    fn table(table: &TableFactor) -> bool {
        match table {
            TableFactor::Table {
                alias: Some(alias), ..
            } => alias.name.value.starts_with(OURS),
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self::is_ours_table(&table_with_joins.relation)
            }
            _ => false,
        }
    }
    table(&join.relation)
}

fn is_ours_table(table: &TableFactor) -> bool {
    matches!(table, TableFactor::Table { alias: Some(alias), .. } if alias.name.value.starts_with(OURS))
}

fn alias_of(table: &TableFactor) -> Option<String> {
    match table {
        TableFactor::Table {
            alias: Some(alias), ..
        }
        | TableFactor::Derived {
            alias: Some(alias), ..
        } => Some(alias.name.value.to_lowercase()),
        TableFactor::Table { name, .. } => match name.0.last()? {
            ObjectNamePart::Identifier(identifier) => Some(identifier.value.to_lowercase()),
            ObjectNamePart::Function(_) => None,
        },
        _ => None,
    }
}

fn aliases(from: &[TableWithJoins]) -> Vec<String> {
    from.iter()
        .flat_map(|table| {
            std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation))
        })
        .filter_map(alias_of)
        .collect()
}

/// Whether a subquery names a table of the query around it.
fn refers_to(select: &Select, outer: &[String]) -> bool {
    struct Finder<'a>(&'a [String], &'a [String], bool);
    impl Visitor for Finder<'_> {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if let Expr::CompoundIdentifier(parts) = expression
                && let Some(table) = parts.len().checked_sub(2).and_then(|index| parts.get(index))
            {
                let table = table.value.to_lowercase();
                self.2 |= self.0.contains(&table) && !self.1.contains(&table);
            }
            ControlFlow::Continue(())
        }
    }
    let inner = aliases(&select.from);
    let mut finder = Finder(outer, &inner, false);
    let _: ControlFlow<()> = Visit::visit(select, &mut finder);
    finder.2
}

/// Gives the tables of a subquery names that the query around it does not use.
struct Rename<'a> {
    names: &'a [String],
    suffix: usize,
}

impl Rename<'_> {
    fn name(&self, old: &str) -> String {
        format!("{OURS}{}_{old}", self.suffix)
    }

    fn table(&self, table: &mut TableFactor) {
        let Some(old) = alias_of(table) else { return };
        if let TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } = table {
            let columns = alias
                .as_ref()
                .map(|alias| alias.columns.clone())
                .unwrap_or_default();
            *alias = Some(TableAlias {
                explicit: true,
                name: Ident::new(self.name(&old)),
                columns,
                at: None,
            });
        }
    }
}

impl VisitorMut for Rename<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expression
            && let Some(index) = parts.len().checked_sub(2)
        {
            let table = parts[index].value.to_lowercase();
            if self.names.contains(&table) {
                let name = self.name(&table);
                let column = parts.pop();
                *parts = vec![Ident::new(name)];
                parts.extend(column);
            }
        }
        ControlFlow::Continue(())
    }
}
