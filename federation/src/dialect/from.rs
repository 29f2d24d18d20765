//! Functions that return rows, in FROM and in the SELECT list.
//!
//! Each has a sibling that returns the same values as an array, and the rows are the array's elements:
//!
//! ```text
//! FROM f(x) AS t(a)    is  FROM (SELECT unnest(lakegate_f(x)) AS a) AS t
//! WITH ORDINALITY      is  one more array: the numbers of the elements
//! ```
//!
//! A function sees the tables before it: the subquery is LATERAL, and [`super::lateral`] makes that a flat map.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Select, SelectItem, TableAlias,
    TableFactor, TableWithJoins, Visit, Visitor,
};

use super::literals::narrow;
use super::rows::{query, select};
use super::syntax::{
    arguments, builtin_name, call, cast_to, literal_integer, number, positional, target, text,
};
use crate::cast::Target;
use crate::error::{Cause, FederationError};
use crate::types::{self, PgType};
use crate::values::NAME_MARK;
use crate::values::read::value_error;

/// DataFusion's table function of whole numbers, under a name that no statement has.
pub(crate) const SERIES: &str = "lakegate_integers";

/// A function that returns rows: its columns, each with the function that returns the column as an array.
struct SetFunction {
    name: &'static str,
    /// Name of the column, None for that of the alias or function.
    columns: &'static [(Option<&'static str>, &'static str)],
}

const VALUE: Option<&str> = Some("value");
const KEY: Option<&str> = Some("key");

const SET_FUNCTIONS: &[SetFunction] = &[
    SetFunction {
        name: "generate_series",
        columns: &[(None, "lakegate_series")],
    },
    SetFunction {
        name: "generate_subscripts",
        columns: &[(None, "lakegate_subscripts")],
    },
    SetFunction {
        name: "regexp_matches",
        columns: &[(None, "lakegate_regexp_matches")],
    },
    SetFunction {
        name: "regexp_split_to_table",
        columns: &[(None, "regexp_split_to_array")],
    },
    SetFunction {
        name: "string_to_table",
        columns: &[(None, "string_to_array")],
    },
    SetFunction {
        name: "json_array_elements",
        columns: &[(VALUE, "lakegate_json_elements")],
    },
    SetFunction {
        name: "jsonb_array_elements",
        columns: &[(VALUE, "lakegate_jsonb_elements")],
    },
    SetFunction {
        name: "json_array_elements_text",
        columns: &[(VALUE, "lakegate_json_elements_text")],
    },
    SetFunction {
        name: "jsonb_array_elements_text",
        columns: &[(VALUE, "lakegate_jsonb_elements_text")],
    },
    SetFunction {
        name: "json_object_keys",
        columns: &[(None, "lakegate_json_keys")],
    },
    SetFunction {
        name: "jsonb_object_keys",
        columns: &[(None, "lakegate_jsonb_keys")],
    },
    SetFunction {
        name: "jsonb_path_query",
        columns: &[(None, "lakegate_jsonb_path_query")],
    },
    SetFunction {
        name: "json_each",
        columns: &[(KEY, "lakegate_json_keys"), (VALUE, "lakegate_json_values")],
    },
    SetFunction {
        name: "jsonb_each",
        columns: &[(KEY, "lakegate_jsonb_keys"), (VALUE, "lakegate_jsonb_values")],
    },
    SetFunction {
        name: "json_each_text",
        columns: &[(KEY, "lakegate_json_keys"), (VALUE, "lakegate_json_values_text")],
    },
    SetFunction {
        name: "jsonb_each_text",
        columns: &[
            (KEY, "lakegate_jsonb_keys"),
            (VALUE, "lakegate_jsonb_values_text"),
        ],
    },
];

fn set_function(name: &str) -> Option<&'static SetFunction> {
    SET_FUNCTIONS.iter().find(|function| function.name == name)
}

/// Whether a function of that name stands in FROM by the rules here.
pub(crate) fn returns_rows(name: &str) -> bool {
    set_function(name).is_some()
        || name == "unnest"
        || name.ends_with("_to_record")
        || name.ends_with("_to_recordset")
}

/// Set-returning functions within an item of the SELECT list.
pub(super) fn series_of_rows(expression: &mut Expr) {
    match expression {
        Expr::Function(function) => {
            if let Some(name) = builtin_name(&function.name)
                && let Some(set) = set_function(&name)
                && let [(_, array)] = set.columns
                && let Some(parts) = arguments(function)
            {
                *expression = rows_of(array, call(array, parts));
                return;
            }
            if let FunctionArguments::List(list) = &mut function.args {
                for argument in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(inner)) = argument {
                        series_of_rows(inner);
                    }
                }
            }
        }
        Expr::BinaryOp { left, right, .. } => {
            series_of_rows(left);
            series_of_rows(right);
        }
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } | Expr::Cast { expr: inner, .. } => {
            series_of_rows(inner);
        }
        _ => {}
    }
}

/// `unnest(array)`, whose elements are known to be JSON only while they are in the array.
fn rows_of(function: &str, array: Expr) -> Expr {
    let rows = call("unnest", vec![array]);
    let is = |endings: [&str; 3]| endings.iter().any(|ending| function.ends_with(ending));
    if !is(["_elements", "_values", "_path_query"]) {
        return rows;
    }
    let named = if function.starts_with("lakegate_jsonb") {
        "jsonb"
    } else {
        "json"
    };
    call(&format!("lakegate_same {named}"), vec![rows])
}

/// The tables of a SELECT.
pub(super) fn tables(select: &mut Select) -> Result<(), FederationError> {
    let mut first = true;
    for table in &mut select.from {
        table_with_joins(table, first)?;
        first = false;
    }
    Ok(())
}

fn table_with_joins(table: &mut TableWithJoins, first: bool) -> Result<(), FederationError> {
    factor(&mut table.relation, first)?;
    for join in &mut table.joins {
        factor(&mut join.relation, false)?;
    }
    Ok(())
}

/// A function call in FROM.
struct Called {
    name: String,
    arguments: Vec<Expr>,
    alias: Option<TableAlias>,
    ordinality: bool,
}

fn called(table: &TableFactor) -> Option<Called> {
    let of = |name: &ObjectName, arguments: &[FunctionArg], alias: &Option<TableAlias>, ordinality: bool| {
        Some(Called {
            name: builtin_name(name)?,
            arguments: positional(arguments)?,
            alias: alias.clone(),
            ordinality,
        })
    };
    match table {
        TableFactor::Table {
            name,
            args: Some(arguments),
            alias,
            with_ordinality,
            ..
        } => of(name, &arguments.args, alias, *with_ordinality),
        TableFactor::Function {
            name,
            args,
            alias,
            with_ordinality,
            ..
        } => of(name, args, alias, *with_ordinality),
        TableFactor::UNNEST {
            alias,
            array_exprs,
            with_offset: false,
            with_ordinality,
            ..
        } => Some(Called {
            name: "unnest".into(),
            arguments: array_exprs.clone(),
            alias: alias.clone(),
            ordinality: *with_ordinality,
        }),
        _ => None,
    }
}

fn factor(table: &mut TableFactor, first: bool) -> Result<(), FederationError> {
    if let TableFactor::NestedJoin {
        table_with_joins: inner,
        ..
    } = table
    {
        return table_with_joins(inner, first);
    }
    let Some(mut called) = called(table) else {
        return Ok(());
    };
    // a constant series of numbers is made as it is read, however long
    if called.name == "generate_series" && !called.ordinality {
        let bounds: Option<Vec<i64>> = called.arguments.iter().map(literal_integer).collect();
        if let Some(bounds) = bounds
            && matches!(bounds.len(), 2 | 3)
        {
            *table = constant_series(&called, &bounds)?;
            return Ok(());
        }
    }
    called.arguments.iter_mut().for_each(narrow);
    let columns: Vec<(Option<&str>, &str, Expr)> = match called.name.as_str() {
        "unnest" => called
            .arguments
            .iter()
            .map(|argument| (None, "unnest", argument.clone()))
            .collect(),
        "json_to_record" | "jsonb_to_record" | "json_to_recordset" | "jsonb_to_recordset" => {
            *table = records(&called, first)?;
            return Ok(());
        }
        name => match set_function(name) {
            Some(set) => set
                .columns
                .iter()
                .map(|(column, array)| (*column, *array, call(array, called.arguments.clone())))
                .collect(),
            None => return Ok(()),
        },
    };
    let lateral = !first && mentions_columns(&called.arguments);
    let fallback = Ident::new(called.name.clone());
    let alias_name = called
        .alias
        .as_ref()
        .map_or_else(|| fallback.clone(), |alias| alias.name.clone());
    let given: Vec<Ident> = called
        .alias
        .as_ref()
        .map(|alias| alias.columns.iter().map(|column| column.name.clone()).collect())
        .unwrap_or_default();
    let several = columns.len() > 1;
    let mut items: Vec<(Ident, &str, Expr)> = columns
        .into_iter()
        .enumerate()
        .map(|(index, (name, function, array))| {
            let name = match name {
                Some(name) => Ident::new(name),
                // the one column has the alias as its name, of several each has the function's
                None if several && index > 0 => {
                    Ident::with_quote('"', format!("{}{NAME_MARK}{}", called.name, index + 1))
                }
                None if several => fallback.clone(),
                None => alias_name.clone(),
            };
            (name, function, array)
        })
        .collect();
    if called.ordinality {
        let arrays: Vec<Expr> = items.iter().map(|(_, _, array)| array.clone()).collect();
        items.push((
            Ident::new("ordinality"),
            "unnest",
            call("lakegate_ordinals", arrays),
        ));
    }
    let projection = items
        .into_iter()
        .enumerate()
        .map(|(index, (name, function, array))| SelectItem::ExprWithAlias {
            expr: rows_of(function, array),
            alias: given.get(index).cloned().unwrap_or(name),
        })
        .collect();
    *table = derived(lateral, select(projection, Vec::new()), alias_name);
    Ok(())
}

fn derived(lateral: bool, inner: Select, alias: Ident) -> TableFactor {
    TableFactor::Derived {
        lateral,
        subquery: Box::new(query(inner)),
        alias: Some(TableAlias {
            explicit: true,
            name: alias,
            columns: Vec::new(),
            at: None,
        }),
        sample: None,
    }
}

/// `(SELECT value::int4 AS x FROM generate_series(1, 3)) AS x`
fn constant_series(called: &Called, bounds: &[i64]) -> Result<TableFactor, FederationError> {
    if bounds.get(2) == Some(&0) {
        return Err(value_error("22023", "step size cannot equal zero"));
    }
    let small = bounds.iter().all(|bound| i32::try_from(*bound).is_ok());
    let base = if small { &types::INT4 } else { &types::INT8 };
    let name = called
        .alias
        .as_ref()
        .map_or_else(|| Ident::new("generate_series"), |alias| alias.name.clone());
    let column = called
        .alias
        .as_ref()
        .and_then(|alias| alias.columns.first())
        .map_or_else(|| name.clone(), |column| column.name.clone());
    let series = TableFactor::Function {
        lateral: false,
        name: ObjectName::from(vec![Ident::new(SERIES)]),
        args: bounds
            .iter()
            .map(|bound| FunctionArg::Unnamed(FunctionArgExpr::Expr(number(*bound))))
            .collect(),
        with_ordinality: false,
        alias: None,
    };
    let item = SelectItem::ExprWithAlias {
        expr: cast_to(
            &Target::of(PgType::scalar(base)),
            Expr::Identifier(Ident::new("value")),
        ),
        alias: column,
    };
    let from = TableWithJoins {
        relation: series,
        joins: Vec::new(),
    };
    Ok(derived(false, select(vec![item], vec![from]), name))
}

/// `json_to_recordset(x) AS t(a int, b text)`: the members of each element, cast.
fn records(called: &Called, first: bool) -> Result<TableFactor, FederationError> {
    let wrong = |message: &str| {
        FederationError::from(Cause::Syntax {
            message: message.to_owned(),
        })
    };
    let Some(alias) = &called.alias else {
        return Err(wrong(
            "a column definition list is required for functions returning \"record\"",
        ));
    };
    let binary = called.name.starts_with("jsonb");
    let several = called.name.ends_with("set");
    let [value] = called.arguments.as_slice() else {
        return Err(wrong("a record is made of one JSON value"));
    };
    let prefix = if binary { "lakegate_jsonb" } else { "lakegate_json" };
    let source = if several {
        call(
            "unnest",
            vec![call(&format!("{prefix}_elements"), vec![value.clone()])],
        )
    } else {
        value.clone()
    };
    let projection = alias
        .columns
        .iter()
        .map(|column| {
            let key = if column.name.quote_style.is_some() {
                column.name.value.clone()
            } else {
                column.name.value.to_lowercase()
            };
            let member = call(&format!("{prefix}_text"), vec![source.clone(), text(key)]);
            let cast = match column.data_type.as_ref().map(target) {
                Some(Some(target)) => cast_to(&target, member),
                Some(None) => return Err(wrong("the type of a column of the record is not supported")),
                None => return Err(wrong("a column of the record has no type")),
            };
            Ok(SelectItem::ExprWithAlias {
                expr: cast,
                alias: column.name.clone(),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let lateral = !first && mentions_columns(&called.arguments);
    Ok(derived(
        lateral,
        select(projection, Vec::new()),
        alias.name.clone(),
    ))
}

/// Whether arguments may name columns of the tables before.
fn mentions_columns(arguments: &[Expr]) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if matches!(
                expression,
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::CompoundFieldAccess { .. }
            ) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        }
    }
    arguments
        .iter()
        .any(|argument| argument.visit(&mut Columns).is_break())
}
