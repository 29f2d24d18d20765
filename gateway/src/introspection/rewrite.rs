//! Statements as the engine below can plan them, with PostgreSQL's meaning.
//!
//! General rules over the syntax tree, no fingerprints of particular clients:
//!
//! * `pg_catalog.` before a function, type or operator is taken off, `OPERATOR(pg_catalog.~)` becomes `~`;
//! * casts to `regclass`, `regtype`, `regnamespace`, `regrole`: a literal becomes the OID, an OID the name;
//! * a subquery or a SELECT over a catalog that is always empty here is that: NULL, or no rows;
//! * `ARRAY(SELECT …)` becomes an aggregate, and a correlated scalar subquery over catalogs a left join;
//! * CURRENT_USER and its kin become function calls.

mod empty;
mod joins;

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::{
    ast::{
        BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
        FunctionArgumentList, FunctionArguments, Ident, LambdaFunction, LambdaFunctionParameter,
        LambdaSyntax, ObjectName, ObjectNamePart, OneOrManyWithParens, OrderByKind, Query, Select,
        SelectItem, SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut,
    },
    tokenizer::Span,
};

use self::empty::{is_empty_query, is_plain, never_evaluated};
use super::names;

/// Rewrite a statement; see the module's rules.
pub fn rewrite(statement: &mut Statement) {
    let mut rules = Rules { joins: 0 };
    let _: ControlFlow<()> = VisitMut::visit(statement, &mut rules);
    if let Statement::Query(query) = statement {
        names::name_columns(query);
    }
}

struct Rules {
    /// Joins made so far, for names that are distinct.
    joins: usize,
}

impl VisitorMut for Rules {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Some(better) = expression_rule(expression) {
            *expression = better;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(with) = &mut query.with {
            for table in &mut with.cte_tables {
                names::name_columns(&mut table.query);
            }
        }
        // Before the expressions: what is never evaluated need not be planned.
        if matches!(query.body.as_ref(), SetExpr::Select(select) if never_evaluated(select)) {
            // ORDER BY may name what the projection no longer computes.
            query.order_by = query.order_by.take().filter(|order| match &order.kind {
                OrderByKind::Expressions(expressions) => {
                    expressions.iter().all(|one| matches!(&one.expr, Expr::Value(_)))
                }
                OrderByKind::All(_) => true,
            });
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if never_evaluated(select) {
            for item in &mut select.projection {
                nullify(item);
            }
            select.selection = None;
            select.distinct = None;
        } else {
            self.join_subqueries(select);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, .. } = table {
            names::name_columns(subquery);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for table in &mut select.from {
            table_rule(&mut table.relation);
            for join in &mut table.joins {
                table_rule(&mut join.relation);
            }
        }
        ControlFlow::Continue(())
    }
}

/// `pg_catalog.generate_series(…)` as a table.
fn table_rule(table: &mut TableFactor) {
    match table {
        TableFactor::Table {
            name, args: Some(_), ..
        }
        | TableFactor::Function { name, .. } => strip_catalog(name),
        _ => {}
    }
}

fn is_catalog(part: &ObjectNamePart) -> bool {
    matches!(part, ObjectNamePart::Identifier(identifier) if identifier.value.eq_ignore_ascii_case("pg_catalog"))
}

fn strip_catalog(name: &mut ObjectName) {
    if name.0.len() == 2 && is_catalog(&name.0[0]) {
        name.0.remove(0);
    }
}

fn null() -> Expr {
    Expr::Value(Value::Null.with_span(Span::empty()))
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments
                .into_iter()
                .map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)))
                .collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn is_text_literal(expression: &Expr) -> bool {
    matches!(expression, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_)))
}

fn cast(expression: Expr, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(expression),
        data_type,
        array: false,
        format: None,
    }
}

fn expression_rule(expression: &mut Expr) -> Option<Expr> {
    match expression {
        Expr::Function(function) => function_rule(function),
        Expr::BinaryOp { op, .. } => {
            if let BinaryOperator::PGCustomBinaryOperator(parts) = op
                && let Some(plain) = parts.last().and_then(|symbol| operator(symbol))
            {
                *op = plain;
            }
            None
        }
        Expr::Collate { expr, collation } => {
            let name = collation.0.last().map(ToString::to_string).unwrap_or_default();
            let name = name.trim_matches('"');
            // The engine compares text by bytes, which is what these collations do here.
            matches!(name, "default" | "C" | "POSIX" | "ucs_basic").then(|| expr.as_ref().clone())
        }
        Expr::Cast { expr, data_type, .. } => cast_rule(expr, data_type),
        Expr::Subquery(query) if is_empty_query(query) => Some(null()),
        _ => None,
    }
}

fn operator(symbol: &str) -> Option<BinaryOperator> {
    Some(match symbol {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "~~*" => BinaryOperator::PGILikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "!~~*" => BinaryOperator::PGNotILikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

fn function_rule(function: &mut Function) -> Option<Expr> {
    strip_catalog(&mut function.name);
    let name = function.name.to_string().to_lowercase();
    match (&name[..], &function.args) {
        (
            "current_user" | "session_user" | "user" | "current_catalog" | "current_schema" | "current_role",
            FunctionArguments::None,
        ) => Some(call(
            if name == "current_role" {
                "current_user"
            } else {
                &name
            },
            Vec::new(),
        )),
        ("array", FunctionArguments::Subquery(query)) => array_of(query),
        _ => None,
    }
}

/// `ARRAY(SELECT x … ORDER BY y)` as `lakegate_rows((SELECT array_agg(x ORDER BY y) FROM (SELECT x, y …)))`.
fn array_of(query: &Query) -> Option<Expr> {
    const ELEMENT: &str = "lakegate_element";
    if is_empty_query(query) {
        return Some(call("make_array", Vec::new()));
    }
    if let Some(transformed) = array_map(query) {
        return Some(transformed);
    }
    let mut inner = query.clone();
    let SetExpr::Select(select) = inner.body.as_mut() else {
        return None;
    };
    let [item] = select.projection.as_mut_slice() else {
        return None;
    };
    let (expression, name) = match item {
        SelectItem::UnnamedExpr(expression) => (expression.clone(), None),
        SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), Some(Expr::Identifier(alias.clone()))),
        _ => return None,
    };
    // what is sorted by is a column, too: an aggregate has no order of its input
    let mut items = vec![(expression.clone(), ELEMENT.to_owned())];
    let mut order = Vec::new();
    if let Some(by) = &mut inner.order_by
        && let OrderByKind::Expressions(keys) = &mut by.kind
    {
        for key in keys {
            let is_first = matches!(&key.expr, Expr::Value(value) if matches!(&value.value, Value::Number(place, _) if place == "1"));
            let is_element = is_first || key.expr == expression || name.as_ref() == Some(&key.expr);
            let column = if is_element {
                ELEMENT.to_owned()
            } else if select.distinct.is_some() {
                // rows would differ by what is not selected, which PostgreSQL refuses
                return None;
            } else {
                items.push((key.expr.clone(), format!("lakegate_key{}", items.len())));
                format!("lakegate_key{}", items.len() - 1)
            };
            key.expr = Expr::Identifier(Ident::new(column));
            order.push(key.to_string());
        }
    }
    select.projection = items
        .into_iter()
        .map(|(expr, alias)| SelectItem::ExprWithAlias {
            expr,
            alias: Ident::new(alias),
        })
        .collect();
    let order = if order.is_empty() {
        String::new()
    } else {
        format!(" order by {}", order.join(", "))
    };
    let text = format!("select array_agg({ELEMENT}{order}) from ({inner}) lakegate_elements");
    match lakegate_federation::parse(&text).ok()?.pop()? {
        // no rows are an array, too
        Statement::Query(query) => Some(call("lakegate_rows", vec![Expr::Subquery(query)])),
        _ => None,
    }
}

/// `ARRAY(SELECT f(x) FROM unnest(a) x)` as `array_transform(a, x -> f(x))`.
fn array_map(query: &Query) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none();
    if !plain || !is_plain(select) || select.distinct.is_some() || select.selection.is_some() {
        return None;
    }
    let [SelectItem::UnnamedExpr(body) | SelectItem::ExprWithAlias { expr: body, .. }] =
        select.projection.as_slice()
    else {
        return None;
    };
    let [table] = select.from.as_slice() else {
        return None;
    };
    let (array, variable) = match &table.relation {
        TableFactor::UNNEST {
            array_exprs,
            alias: Some(alias),
            with_offset: false,
            with_ordinality: false,
            ..
        } => (array_exprs.as_slice().first()?.clone(), alias.name.clone()),
        TableFactor::Table {
            name,
            args: Some(arguments),
            alias: Some(alias),
            with_ordinality: false,
            ..
        } => {
            let ObjectNamePart::Identifier(last) = name.0.last()? else {
                return None;
            };
            if !last.value.eq_ignore_ascii_case("unnest") {
                return None;
            }
            match arguments.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => (array.clone(), alias.name.clone()),
                _ => return None,
            }
        }
        _ => return None,
    };
    if !table.joins.is_empty() {
        return None;
    }
    let lambda = Expr::Lambda(LambdaFunction {
        params: OneOrManyWithParens::One(LambdaFunctionParameter {
            name: variable,
            data_type: None,
        }),
        body: Box::new(body.clone()),
        syntax: LambdaSyntax::Arrow,
    });
    Some(call("array_transform", vec![array, lambda]))
}

/// The name of a type without `pg_catalog`, for the types that the engine does not know.
fn custom_name(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Regclass => Some("regclass".into()),
        DataType::Custom(name, _) => match name.0.last()? {
            ObjectNamePart::Identifier(identifier) => Some(identifier.value.to_lowercase()),
            ObjectNamePart::Function(_) => None,
        },
        _ => None,
    }
}

/// A type of ours for a type that only catalogs have.
fn plain_type(name: &str) -> Option<DataType> {
    Some(match name {
        "regoper" | "pg_node_tree" | "cstring" | "unknown" => DataType::Text,
        "xid" => DataType::BigInt(None),
        _ => return None,
    })
}

fn cast_rule(expression: &Expr, data_type: &mut DataType) -> Option<Expr> {
    let name = custom_name(data_type)?;
    match &name[..] {
        "regclass" | "regtype" | "regnamespace" => {
            let way = if is_text_literal(expression) { "in" } else { "out" };
            Some(call(&format!("lakegate_{name}_{way}"), vec![expression.clone()]))
        }
        "regrole" => Some(call("lakegate_regrole_out", vec![expression.clone()])),
        "oid" => match expression {
            // `format(…)::regclass::oid`: the OID of the name, not the name of an OID.
            Expr::Function(function) if function.name.to_string() == "lakegate_regclass_out" => {
                let FunctionArguments::List(list) = &function.args else {
                    return None;
                };
                match list.args.first()? {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => {
                        Some(call("lakegate_regclass_in", vec![argument.clone()]))
                    }
                    _ => None,
                }
            }
            _ => Some(cast(expression.clone(), DataType::BigInt(None))),
        },
        "regproc" | "regprocedure" => {
            // Functions are known by name: `'pg_catalog.array_in'::regproc` is `array_in`.
            match expression {
                Expr::Value(value) => match &value.value {
                    Value::SingleQuotedString(text) => {
                        let bare = text.strip_prefix("pg_catalog.").unwrap_or(text).to_owned();
                        Some(Expr::Value(
                            Value::SingleQuotedString(bare).with_span(Span::empty()),
                        ))
                    }
                    _ => None,
                },
                other => Some(cast(other.clone(), DataType::Text)),
            }
        }
        _ => plain_type(&name).map(|plain| cast(expression.clone(), plain)),
    }
}

/// Replace an expression that is never evaluated by a NULL of the same name.
fn nullify(item: &mut SelectItem) {
    match item {
        SelectItem::UnnamedExpr(expression)
            if !matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) =>
        {
            let mut named = [item.clone()];
            names::name_items(&mut named);
            let [named] = named;
            *item = named;
            nullify(item);
        }
        SelectItem::ExprWithAlias { expr, .. } => *expr = cast(null(), DataType::Text),
        _ => {}
    }
}
