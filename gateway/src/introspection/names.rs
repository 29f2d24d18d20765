//! Output columns named as PostgreSQL names them.
//!
//! A client of Postgres finds `select count(*)` under `count` and `select 1` under `?column?`, and may be given two
//! columns of one name. The engine below names columns by their expression and wants them distinct: each unnamed
//! expression gets Postgres' name as an alias, a repeated one with a marked suffix that [`shown`] takes off again.
//!
//! Source of the rule: `FigureColname` in PostgreSQL's parse_target.c.

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Function, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, TrimWhereField,
    Value,
};
use lakegate_federation::values::{NAME_MARK as MARK, shown_name};
use std::collections::HashSet;

/// The name that a client sees of a result column.
pub fn shown(name: &str) -> &str {
    shown_name(name)
}

/// Give the columns of a query Postgres' names.
pub fn name_columns(query: &mut Query) {
    name_set(&mut query.body);
}

fn name_set(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => name_items(&mut select.projection),
        SetExpr::Query(query) => name_columns(query),
        SetExpr::SetOperation { left, right, .. } => {
            name_set(left);
            name_set(right);
        }
        _ => {}
    }
}

pub(super) fn name_items(items: &mut [SelectItem]) {
    let mut taken = HashSet::new();
    for item in items {
        match item {
            SelectItem::UnnamedExpr(expression) => {
                let name = column_name(expression).unwrap_or_else(|| "?column?".to_owned());
                let plain = matches!(expression, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                let repeated = !taken.insert(name.clone());
                if plain && !repeated {
                    continue;
                }
                let alias = if repeated {
                    distinct(&name, &mut taken)
                } else {
                    name
                };
                *item = SelectItem::ExprWithAlias {
                    expr: expression.clone(),
                    alias: Ident::with_quote('"', alias),
                };
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = if alias.quote_style.is_none() {
                    alias.value.to_lowercase()
                } else {
                    alias.value.clone()
                };
                if !taken.insert(name.clone()) {
                    *alias = Ident::with_quote('"', distinct(&name, &mut taken));
                }
            }
            _ => {}
        }
    }
}

fn distinct(name: &str, taken: &mut HashSet<String>) -> String {
    let mut number = 2;
    loop {
        let candidate = format!("{name}{MARK}{number}");
        if taken.insert(candidate.clone()) {
            return candidate;
        }
        number += 1;
    }
}

fn folded(identifier: &Ident) -> String {
    if identifier.quote_style.is_none() {
        identifier.value.to_lowercase()
    } else {
        identifier.value.clone()
    }
}

fn last(name: &ObjectName) -> Option<String> {
    match name.0.last()? {
        ObjectNamePart::Identifier(identifier) => Some(folded(identifier)),
        ObjectNamePart::Function(function) => Some(folded(&function.name)),
    }
}

/// The name of an expression that stands for itself; `None` is `?column?`.
fn column_name(expression: &Expr) -> Option<String> {
    let word = |text: &str| Some(text.to_owned());
    match expression {
        Expr::Identifier(identifier) => Some(folded(identifier)),
        Expr::CompoundIdentifier(parts) => parts.last().map(folded),
        Expr::Function(Function { name, .. }) => last(name),
        Expr::Nested(inner)
        | Expr::Collate { expr: inner, .. }
        | Expr::CompoundFieldAccess { root: inner, .. } => column_name(inner),
        Expr::Cast { expr, data_type, .. } => match strong_name(expr) {
            Some(name) => Some(name),
            None => type_name(data_type),
        },
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Case { else_result, .. } => else_result
            .as_deref()
            .and_then(strong_name)
            .or_else(|| word("case")),
        Expr::Exists { .. } => word("exists"),
        Expr::Array(_) => word("array"),
        Expr::Tuple(_) => word("row"),
        Expr::Interval(_) => word("interval"),
        Expr::Extract { .. } => word("extract"),
        Expr::Ceil { .. } => word("ceil"),
        Expr::Floor { .. } => word("floor"),
        Expr::Position { .. } => word("position"),
        Expr::Substring { .. } => word("substring"),
        Expr::Overlay { .. } => word("overlay"),
        Expr::Trim { trim_where, .. } => word(match trim_where {
            Some(TrimWhereField::Leading) => "ltrim",
            Some(TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::AtTimeZone { .. } => word("timezone"),
        Expr::Subquery(query) => subquery_name(query),
        Expr::Value(value) if matches!(value.value, Value::Boolean(_)) => word("bool"),
        _ => None,
    }
}

/// A name that is stronger than a type's: a column's or a function's.
fn strong_name(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Value(_) | Expr::TypedString(_) | Expr::Case { .. } | Expr::Interval(_) => None,
        Expr::Cast { expr, .. } => strong_name(expr),
        other => column_name(other),
    }
}

fn subquery_name(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expression) => column_name(expression),
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        _ => None,
    }
}

/// `pg_type.typname` of a type as it is written.
pub fn type_name(data_type: &DataType) -> Option<String> {
    let name = match data_type {
        DataType::Boolean | DataType::Bool => "bool",
        DataType::SmallInt(_) | DataType::Int2(_) => "int2",
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4",
        DataType::BigInt(_) | DataType::Int8(_) => "int8",
        DataType::Real | DataType::Float4 => "float4",
        DataType::DoublePrecision | DataType::Double(_) | DataType::Float8 | DataType::Float(_) => "float8",
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
        DataType::Text => "text",
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => "varchar",
        DataType::Char(_) | DataType::Character(_) => "bpchar",
        DataType::Date => "date",
        DataType::Time(_, zone) => return Some(with_zone("time", *zone)),
        DataType::Timestamp(_, zone) => return Some(with_zone("timestamp", *zone)),
        DataType::Interval { .. } => "interval",
        DataType::Uuid => "uuid",
        DataType::JSON => "json",
        DataType::JSONB => "jsonb",
        DataType::Bytea => "bytea",
        DataType::Regclass => "regclass",
        DataType::Custom(name, _) => return last(name),
        DataType::Array(_) => return None,
        other => return Some(other.to_string().to_lowercase()),
    };
    Some(name.to_owned())
}

fn with_zone(name: &str, zone: datafusion::sql::sqlparser::ast::TimezoneInfo) -> String {
    use datafusion::sql::sqlparser::ast::TimezoneInfo;
    match zone {
        TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => format!("{name}tz"),
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::Statement;

    use super::*;

    /// What PostgreSQL 15 answers to the same statement.
    #[test]
    fn columns_are_named_as_postgres_names_them() {
        for (sql, expected) in [
            ("select 1", "?column?"),
            ("select 1, 2", "?column?,?column?"),
            ("select count(*), count(a) from t", "count,count"),
            ("select a, t.A, \"B\" from t", "a,a,B"),
            (
                "select a::text, 1::int, '1'::bigint, date '2020-01-01' from t",
                "a,int4,int8,date",
            ),
            (
                "select upper(a)::varchar(3), 'x'::timestamptz from t",
                "upper,timestamptz",
            ),
            (
                "select case when a then 1 else b end, case when a then 1 end from t",
                "b,case",
            ),
            (
                "select coalesce(a, b), nullif(a, b), a + b, -a, a is null from t",
                "coalesce,nullif,?column?,?column?,?column?",
            ),
            (
                "select exists(select 1), (select max(a) from t), array[1], true",
                "exists,max,array,bool",
            ),
            (
                "select extract(year from a), trim(a), a at time zone 'UTC' from t",
                "extract,btrim,timezone",
            ),
            ("select current_date, now()", "current_date,now"),
            ("select a as x, b as x from t", "x,x"),
            ("select NULL, NULL union select a, b from t", "?column?,?column?"),
        ] {
            let mut statements = lakegate_federation::parse(sql).expect(sql);
            let Some(Statement::Query(query)) = statements.first_mut() else {
                panic!("{sql}")
            };
            name_columns(query);
            let mut body = query.body.as_ref();
            while let SetExpr::SetOperation { left, .. } = body {
                body = left;
            }
            let SetExpr::Select(select) = body else {
                panic!("{sql}")
            };
            let names: Vec<String> = select
                .projection
                .iter()
                .map(|item| match item {
                    SelectItem::UnnamedExpr(expression) => column_name(expression).expect(sql),
                    SelectItem::ExprWithAlias { alias, .. } => shown(&alias.value).to_owned(),
                    other => other.to_string(),
                })
                .collect();
            assert_eq!(names.join(","), expected, "{sql}");
        }
    }
}
