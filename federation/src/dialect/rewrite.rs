//! Rules over the syntax tree: PostgreSQL's forms as calls of functions that have its meaning.
//!
//! * a cast, a typed literal and an interval are a call of [`crate::functions::cast`];
//! * a whole number is an `integer` where its type shows, as an argument or a result;
//! * BETWEEN, comparisons of rows, LIKE … ESCAPE, SIMILAR TO, AT TIME ZONE, OVERLAPS are what they stand for;
//! * FETCH FIRST is LIMIT; what stands in FROM is in [`super::from`].

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, Expr, Interval, LimitClause, OrderByKind, Query, Select,
    SelectItem, Statement, Subscript, UnaryOperator, Value, VisitMut, VisitorMut,
};

use super::literals::{each_values, large_number, narrow, narrow_parts, narrow_values, settle_values};
use super::syntax::{
    arguments, bare, builtin_name, call, cast_to, is_placeholder, literal_number, literal_text, null, number,
    target, text, unit_of, with_digits_of,
};
use super::{calls, from, rows, using};
use crate::cast::Target;
use crate::error::{Cause, FederationError};
use crate::types::{self, PgType};
use crate::values::read::interval::Range;

/// Rewrites a statement.
///
/// # Errors
/// What PostgreSQL can and this cannot.
pub(crate) fn rewrite(statement: &mut Statement) -> Result<(), FederationError> {
    match VisitMut::visit(statement, &mut Rules) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rules;

fn not_supported(message: &str) -> FederationError {
    Cause::NotSupported {
        message: message.to_owned(),
    }
    .into()
}

impl VisitorMut for Rules {
    type Break = FederationError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<FederationError> {
        if let Some(fetch) = query.fetch.take() {
            if fetch.with_ties || fetch.percent {
                return ControlFlow::Break(not_supported("FETCH … WITH TIES and PERCENT are not supported"));
            }
            let quantity = fetch.quantity.unwrap_or_else(|| number(1));
            query.limit_clause = Some(match query.limit_clause.take() {
                Some(LimitClause::LimitOffset { offset, limit_by, .. }) => LimitClause::LimitOffset {
                    limit: Some(quantity),
                    offset,
                    limit_by,
                },
                _ => LimitClause::LimitOffset {
                    limit: Some(quantity),
                    offset: None,
                    limit_by: Vec::new(),
                },
            });
        }
        each_values(&mut query.body, narrow_values);
        order_of_rows(query);
        match using::merge(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<FederationError> {
        each_values(&mut query.body, settle_values);
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<FederationError> {
        for item in &mut select.projection {
            // the parser takes the second of two strings for a name
            if let SelectItem::ExprWithAlias { alias, .. } = item
                && alias.quote_style == Some('\'')
            {
                return ControlFlow::Break(
                    Cause::Syntax {
                        message: format!("syntax error at or near \"'{}'\"", alias.value),
                    }
                    .into(),
                );
            }
            if let SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } =
                item
            {
                narrow(expression);
                from::series_of_rows(expression);
            }
        }
        match from::tables(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<FederationError> {
        match before(expression) {
            Ok(Some(better)) => *expression = better,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        narrow_parts(expression);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<FederationError> {
        if let Some(better) = after(expression) {
            *expression = better;
        }
        ControlFlow::Continue(())
    }
}

/// `ORDER BY x USING …` and the like stay; a number in ORDER BY is a place and stays, too.
fn order_of_rows(query: &mut Query) {
    if let Some(order) = &mut query.order_by
        && let OrderByKind::Expressions(expressions) = &mut order.kind
    {
        for one in expressions {
            if let Expr::Nested(inner) = &one.expr
                && !matches!(inner.as_ref(), Expr::Value(_))
            {
                one.expr = inner.as_ref().clone();
            }
        }
    }
}

/// What must be seen before its parts are.
fn before(expression: &mut Expr) -> Result<Option<Expr>, FederationError> {
    Ok(match expression {
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr,
            data_type,
            array: false,
            format: None,
        } => cast(expr, data_type),
        Expr::TypedString(typed) => match (target(&typed.data_type), typed.value.clone().into_string()) {
            (Some(target), Some(literal)) => special_time(&target, &literal).or_else(|| {
                let literal = text(literal);
                Some(cast_to(&with_digits_of(target, &literal), literal))
            }),
            _ => None,
        },
        Expr::Interval(interval) => interval_literal(interval),
        // the least bigint is a bigint, though its digits alone are not
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } if literal_number(expr).as_deref() == Some("9223372036854775808") => Some(cast_to(
            &Target::of(PgType::scalar(&types::INT8)),
            text("-9223372036854775808"),
        )),
        Expr::Between {
            expr,
            negated,
            low,
            high,
        } => {
            let part = |op, bound: &Expr| Expr::BinaryOp {
                left: expr.clone(),
                op,
                right: Box::new(bound.clone()),
            };
            let both = Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(part(BinaryOperator::GtEq, low)),
                op: BinaryOperator::And,
                right: Box::new(part(BinaryOperator::LtEq, high)),
            }));
            Some(if *negated {
                Expr::UnaryOp {
                    op: UnaryOperator::Not,
                    expr: Box::new(both),
                }
            } else {
                both
            })
        }
        Expr::BinaryOp { left, op, right } => match (bare(left), bare(right)) {
            (Expr::Tuple(left), Expr::Tuple(right)) => rows::compare(left, op, right)?,
            (left, right) if rows::is_row(left) && rows::is_row(right) => {
                rows::compare(&rows::parts(left), op, &rows::parts(right))?
            }
            _ => None,
        },
        Expr::InList { expr, list, negated } if rows::is_row(bare(expr)) => {
            rows::in_list(&rows::parts(bare(expr)), list, *negated)?
        }
        Expr::InSubquery {
            expr,
            subquery,
            negated: false,
        } if rows::is_row(bare(expr)) => Some(rows::in_subquery(&rows::parts(bare(expr)), subquery)),
        Expr::IsNull(inner) if rows::is_row(bare(inner)) => {
            Some(rows::all(&rows::parts(bare(inner)), Expr::IsNull))
        }
        Expr::IsNotNull(inner) if rows::is_row(bare(inner)) => {
            Some(rows::all(&rows::parts(bare(inner)), Expr::IsNotNull))
        }
        Expr::CompoundFieldAccess { access_chain, .. } => {
            access_chain.iter_mut().for_each(slice);
            None
        }
        Expr::Function(function) => calls::before(function)?,
        _ => None,
    })
}

/// `a[2:]` and `a[:2]` with the bound that is not written.
fn slice(access: &mut AccessExpr) {
    if let AccessExpr::Subscript(Subscript::Slice {
        lower_bound,
        upper_bound,
        ..
    }) = access
    {
        lower_bound.get_or_insert_with(|| number(1));
        upper_bound.get_or_insert_with(|| number(i64::from(i32::MAX)));
    }
}

fn cast(expr: &mut Box<Expr>, data_type: &datafusion::sql::sqlparser::ast::DataType) -> Option<Expr> {
    // the type of a parameter is the planner's to know
    if is_placeholder(expr) {
        return None;
    }
    let target = target(data_type)?;
    if let Some(literal) = literal_text(expr)
        && let Some(special) = special_time(&target, literal)
    {
        return Some(special);
    }
    let target = with_digits_of(target, expr);
    let mut inner = std::mem::replace(expr.as_mut(), null());
    if target.pg_type.base.oid == types::BOOL.oid {
        // there is a cast of integer, none of bigint
        narrow(&mut inner);
    }
    Some(cast_to(&target, inner))
}

/// `'now'::timestamp`, `date 'today'`: what the statement's start decides.
fn special_time(target: &Target, literal: &str) -> Option<Expr> {
    if !matches!(target.pg_type.base.oid, 1082 | 1114 | 1184) || target.pg_type.array {
        return None;
    }
    let days = match literal.trim().to_ascii_lowercase().as_str() {
        "now" => return Some(cast_to(target, call("now", Vec::new()))),
        "today" => 0,
        "yesterday" => -1,
        "tomorrow" => 1,
        _ => return None,
    };
    let day = Expr::BinaryOp {
        left: Box::new(call("current_date", Vec::new())),
        op: BinaryOperator::Plus,
        right: Box::new(number(days)),
    };
    Some(cast_to(target, Expr::Nested(Box::new(day))))
}

fn interval_literal(interval: &Interval) -> Option<Expr> {
    let literal = literal_text(&interval.value)?.to_owned();
    let leading = match &interval.leading_field {
        Some(field) => Some(unit_of(field)?),
        None => None,
    };
    let last = match &interval.last_field {
        Some(field) => Some(unit_of(field)?),
        None => leading,
    };
    let target = Target {
        seconds: interval
            .fractional_seconds_precision
            .map(|digits| digits.min(6) as u8),
        range: Range { leading, last },
        ..Target::of(PgType::scalar(&types::INTERVAL))
    };
    Some(cast_to(&target, text(literal)))
}

/// What is what it stands for once its parts are.
fn after(expression: &mut Expr) -> Option<Expr> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => large_number(digits),
            Value::UnicodeStringLiteral(literal) => Some(text(literal.clone())),
            _ => None,
        },
        Expr::AtTimeZone { timestamp, time_zone } => Some(call(
            "timezone",
            vec![time_zone.as_ref().clone(), timestamp.as_ref().clone()],
        )),
        Expr::Like {
            any: true,
            negated,
            expr,
            pattern,
            ..
        } => quantified(
            "lakegate_any",
            expr,
            &if *negated {
                BinaryOperator::PGNotLikeMatch
            } else {
                BinaryOperator::PGLikeMatch
            },
            pattern,
        ),
        Expr::ILike {
            any: true,
            negated,
            expr,
            pattern,
            ..
        } => quantified(
            "lakegate_any",
            expr,
            &if *negated {
                BinaryOperator::PGNotILikeMatch
            } else {
                BinaryOperator::PGILikeMatch
            },
            pattern,
        ),
        Expr::Like {
            negated,
            expr,
            pattern,
            ..
        } if is_all(pattern) => quantified_all(
            expr,
            if *negated {
                &BinaryOperator::PGNotLikeMatch
            } else {
                &BinaryOperator::PGLikeMatch
            },
            pattern,
        ),
        Expr::ILike {
            negated,
            expr,
            pattern,
            ..
        } if is_all(pattern) => quantified_all(
            expr,
            if *negated {
                &BinaryOperator::PGNotILikeMatch
            } else {
                &BinaryOperator::PGILikeMatch
            },
            pattern,
        ),
        Expr::Like {
            pattern, escape_char, ..
        }
        | Expr::ILike {
            pattern, escape_char, ..
        } => {
            if let Some(escape) = escape_char.take() {
                let escape = escape.into_string()?;
                **pattern = escaped_pattern(pattern, &escape);
            }
            None
        }
        Expr::SimilarTo {
            negated,
            expr,
            pattern,
            escape_char,
        } => {
            let escape = escape_char
                .take()
                .and_then(datafusion::logical_expr::sqlparser::ast::ValueWithSpan::into_string);
            let matched = call(
                "lakegate_similar_to",
                vec![
                    expr.as_ref().clone(),
                    pattern.as_ref().clone(),
                    text(escape.unwrap_or_else(|| "\\".into())),
                ],
            );
            Some(if *negated {
                Expr::UnaryOp {
                    op: UnaryOperator::Not,
                    expr: Box::new(matched),
                }
            } else {
                matched
            })
        }
        Expr::UnaryOp { op, expr } => {
            let name = match op {
                UnaryOperator::BitwiseNot => "lakegate_bit_not",
                UnaryOperator::PGAbs => "abs",
                UnaryOperator::PGSquareRoot => "sqrt",
                UnaryOperator::PGCubeRoot => "cbrt",
                _ => return None,
            };
            let mut argument = expr.as_ref().clone();
            narrow(&mut argument);
            Some(call(name, vec![argument]))
        }
        Expr::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => quantified("lakegate_any", left, compare_op, right),
        Expr::AllOp {
            left,
            compare_op,
            right,
        } => quantified("lakegate_all", left, compare_op, right),
        Expr::Tuple(parts) => Some(call("struct", parts.clone())),
        Expr::Function(function) => {
            calls::frame_bounds(function);
            None
        }
        _ => None,
    }
}

/// `LIKE ALL (…)` is parsed as a call of a function `all`.
fn is_all(pattern: &Expr) -> bool {
    matches!(pattern, Expr::Function(function) if builtin_name(&function.name).as_deref() == Some("all"))
}

fn quantified_all(left: &Expr, op: &BinaryOperator, pattern: &Expr) -> Option<Expr> {
    let Expr::Function(function) = pattern else {
        return None;
    };
    match arguments(function)?.as_slice() {
        [array] => quantified("lakegate_all", left, op, array),
        _ => None,
    }
}

/// A pattern with another escape character, as one with a backslash.
fn escaped_pattern(pattern: &Expr, escape: &str) -> Expr {
    match literal_text(pattern) {
        Some(literal) => text(crate::functions::like_pattern(literal, escape)),
        None => call("like_escape", vec![pattern.clone(), text(escape)]),
    }
}

fn quantified(name: &str, left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    if matches!(bare(right), Expr::Subquery(_)) {
        return None;
    }
    let mut left = left.clone();
    narrow(&mut left);
    Some(call(&format!("{name} {op}"), vec![left, bare(right).clone()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(sql: &str) -> String {
        let mut statement = crate::parse(sql).unwrap().remove(0);
        rewrite(&mut statement).unwrap();
        statement.to_string()
    }

    #[test]
    fn forms_become_calls() {
        let int4 = crate::functions::cast::name(&Target::of(PgType::scalar(&types::INT4)));
        for (sql, expected) in [
            ("SELECT 1", format!("SELECT \"{int4}\"(1)")),
            ("SELECT a + 1 FROM t", "SELECT a + 1 FROM t".to_owned()),
            (
                "SELECT a FROM t ORDER BY 1 LIMIT 5",
                "SELECT a FROM t ORDER BY 1 LIMIT 5".to_owned(),
            ),
            (
                "SELECT a FROM t FETCH FIRST 2 ROWS ONLY",
                "SELECT a FROM t LIMIT 2".to_owned(),
            ),
            (
                "SELECT a FROM t WHERE a BETWEEN 1 AND 2",
                "SELECT a FROM t WHERE (a >= 1 AND a <= 2)".to_owned(),
            ),
            (
                "SELECT a AT TIME ZONE 'UTC' FROM t",
                "SELECT \"timezone\"('UTC', a) FROM t".to_owned(),
            ),
            (
                "SELECT a FROM t WHERE a LIKE '5#%' ESCAPE '#'",
                "SELECT a FROM t WHERE a LIKE '5\\%'".to_owned(),
            ),
            (
                "SELECT round(a, 2) FROM t",
                "SELECT \"lakegate_round 2\"(a) FROM t".to_owned(),
            ),
            (
                "SELECT count(1) FROM t GROUP BY 1",
                "SELECT count(1) FROM t GROUP BY 1".to_owned(),
            ),
        ] {
            assert_eq!(rewritten(sql), expected);
        }
    }
}
