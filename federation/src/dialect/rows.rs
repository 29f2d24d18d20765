//! Rows: `(a, b) < (c, d)` by what it means for the parts.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, Query, Select, SelectFlavor, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, UnaryOperator,
};

use super::syntax::{arguments, bare, builtin_name, call};
use crate::error::{Cause, FederationError};

/// Whether an expression is a row: `(a, b)`, `row(a, b)`.
pub(super) fn is_row(expression: &Expr) -> bool {
    match expression {
        Expr::Tuple(_) => true,
        Expr::Function(function) => {
            builtin_name(&function.name).as_deref() == Some("row") && arguments(function).is_some()
        }
        _ => false,
    }
}

/// The parts of a row.
pub(super) fn parts(expression: &Expr) -> Vec<Expr> {
    match expression {
        Expr::Tuple(parts) => parts.clone(),
        Expr::Function(function) => arguments(function).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    }
}

fn nested(expression: Expr) -> Expr {
    Expr::Nested(Box::new(expression))
}

fn chain(parts: impl IntoIterator<Item = Expr>, op: &BinaryOperator) -> Option<Expr> {
    parts
        .into_iter()
        .reduce(|all, part| binary(all, op.clone(), part))
        .map(nested)
}

/// A condition that holds for every part.
pub(super) fn all(parts: &[Expr], condition: impl Fn(Box<Expr>) -> Expr) -> Expr {
    chain(
        parts.iter().map(|part| condition(Box::new(part.clone()))),
        &BinaryOperator::And,
    )
    .unwrap_or_else(|| condition(Box::new(super::syntax::null())))
}

/// A comparison of two rows; None for operators that rows do not have.
pub(super) fn compare(
    left: &[Expr],
    op: &BinaryOperator,
    right: &[Expr],
) -> Result<Option<Expr>, FederationError> {
    use BinaryOperator::{And, Eq, Gt, GtEq, Lt, LtEq, NotEq, Or, Overlaps};
    if *op == Overlaps {
        let all: Vec<Expr> = left.iter().chain(right).cloned().collect();
        return Ok(Some(call("overlaps", all)));
    }
    if left.len() != right.len() {
        return Err(Cause::Syntax {
            message: "unequal number of entries in row expressions".into(),
        }
        .into());
    }
    let pairs = || left.iter().cloned().zip(right.iter().cloned());
    Ok(match op {
        Eq => chain(pairs().map(|(left, right)| binary(left, Eq, right)), &And),
        NotEq => chain(pairs().map(|(left, right)| binary(left, NotEq, right)), &Or),
        Lt | LtEq | Gt | GtEq => {
            // the first parts that differ decide: a < c OR a = c AND (b < d)
            let strict = if matches!(op, Lt | LtEq) { Lt } else { Gt };
            let mut pairs: Vec<(Expr, Expr)> = pairs().collect();
            let Some((left, right)) = pairs.pop() else {
                return Ok(None);
            };
            let mut result = binary(left, op.clone(), right);
            for (left, right) in pairs.into_iter().rev() {
                let smaller = binary(left.clone(), strict.clone(), right.clone());
                let same = nested(binary(nested(binary(left, Eq, right)), And, nested(result)));
                result = binary(nested(smaller), Or, same);
            }
            Some(nested(result))
        }
        _ => None,
    })
}

/// `(a, b) IN ((1, 2), (3, 4))`.
pub(super) fn in_list(left: &[Expr], list: &[Expr], negated: bool) -> Result<Option<Expr>, FederationError> {
    let mut any = Vec::with_capacity(list.len());
    for row in list {
        if !is_row(bare(row)) {
            return Ok(None);
        }
        match compare(left, &BinaryOperator::Eq, &parts(bare(row)))? {
            Some(equal) => any.push(equal),
            None => return Ok(None),
        }
    }
    Ok(chain(any, &BinaryOperator::Or).map(|any| {
        if negated {
            Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: Box::new(any),
            }
        } else {
            any
        }
    }))
}

/// `(a, b) IN (SELECT …)` as EXISTS: in a condition NULL and false are one.
pub(super) fn in_subquery(left: &[Expr], subquery: &Query) -> Expr {
    const ALIAS: &str = "lakegate_rows";
    let column = |index: usize| Ident::with_quote('"', format!("lakegate_{index}"));
    let condition = chain(
        left.iter().enumerate().map(|(index, part)| {
            let own = Expr::CompoundIdentifier(vec![Ident::new(ALIAS), column(index)]);
            binary(own, BinaryOperator::Eq, part.clone())
        }),
        &BinaryOperator::And,
    );
    let table = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(subquery.clone()),
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::new(ALIAS),
            columns: (0..left.len())
                .map(|index| TableAliasColumnDef {
                    name: column(index),
                    data_type: None,
                })
                .collect(),
            at: None,
        }),
        sample: None,
    };
    let mut exists = select_one(table);
    exists.selection = condition;
    Expr::Exists {
        subquery: Box::new(query(exists)),
        negated: false,
    }
}

/// `SELECT 1 FROM table`.
fn select_one(table: TableFactor) -> Select {
    select(
        vec![SelectItem::UnnamedExpr(super::syntax::number(1))],
        vec![TableWithJoins {
            relation: table,
            joins: Vec::new(),
        }],
    )
}

/// A SELECT of items from tables, and nothing more.
pub(super) fn select(projection: Vec<SelectItem>, from: Vec<TableWithJoins>) -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// A SELECT as a query.
pub(super) fn query(select: Select) -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    fn condition(sql: &str) -> String {
        let mut statement = crate::parse(&format!("SELECT a FROM t WHERE {sql}"))
            .unwrap()
            .remove(0);
        crate::dialect::rewrite(&mut statement).unwrap();
        statement.to_string().split_once("WHERE ").unwrap().1.to_owned()
    }

    #[test]
    fn rows_are_compared_by_their_parts() {
        for (sql, expected) in [
            ("(a, b) = (c, d)", "(a = c AND b = d)"),
            ("(a, b) <> (c, d)", "(a <> c OR b <> d)"),
            ("(a, b) < (c, d)", "((a < c) OR ((a = c) AND (b < d)))"),
            ("(a, b) >= (c, d)", "((a > c) OR ((a = c) AND (b >= d)))"),
            ("row(a, b) IS NULL", "(a IS NULL AND b IS NULL)"),
            (
                "(a, b) IN (SELECT x, y FROM u)",
                "EXISTS (SELECT 1 FROM (SELECT x, y FROM u) AS lakegate_rows (\"lakegate_0\", \"lakegate_1\") WHERE \
                 (lakegate_rows.\"lakegate_0\" = a AND lakegate_rows.\"lakegate_1\" = b))",
            ),
        ] {
            let actual = condition(sql);
            // the 1 of SELECT 1 is narrowed; its name does not matter here
            let actual = regex_free_one(&actual);
            assert_eq!(actual, expected, "{sql}");
        }
        let mut unequal = crate::parse("SELECT (1, 2) = (1, 2, 3)").unwrap().remove(0);
        assert_eq!(
            crate::dialect::rewrite(&mut unequal).unwrap_err().sqlstate(),
            "42601"
        );
    }

    fn regex_free_one(text: &str) -> String {
        match (text.find("\"lakegate_cast"), text.find("\"(1)")) {
            (Some(from), Some(until)) => format!("{}1{}", &text[..from], &text[until + 4..]),
            _ => text.to_owned(),
        }
    }
}
