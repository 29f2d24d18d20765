//! Aggregates that are functions of other aggregates.
//!
//! `json_agg(x ORDER BY y)` is a function of `array_agg(x ORDER BY y)`, `percentile_disc(p) WITHIN GROUP (ORDER BY x)`
//! one of `array_agg(x ORDER BY x)`: order, DISTINCT, FILTER and OVER are those of `array_agg`.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, Ident, ObjectName, OrderByExpr, OrderByOptions,
};

use super::syntax::{call, cast_to, text};
use crate::cast::Target;
use crate::types::{self, PgType};

fn renamed(function: &Function, name: &str) -> Function {
    Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        ..function.clone()
    }
}

/// The call with these arguments in place of its own; ORDER BY and DISTINCT stay.
fn with_arguments(function: &Function, name: &str, arguments: Vec<FunctionArg>) -> Expr {
    let mut function = renamed(function, name);
    if let FunctionArguments::List(list) = &mut function.args {
        list.args = arguments;
    }
    Expr::Function(function)
}

fn is_distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
}

/// `array_agg(x ORDER BY x)` of `WITHIN GROUP (ORDER BY x)`.
fn ordered_array(function: &Function) -> Option<Expr> {
    let [order] = function.within_group.as_slice() else {
        return None;
    };
    let argument = FunctionArg::Unnamed(FunctionArgExpr::Expr(order.expr.clone()));
    let order: OrderByExpr = order.clone();
    let mut array = renamed(function, "array_agg");
    array.within_group = Vec::new();
    let FunctionArguments::List(list) = &mut array.args else {
        return None;
    };
    list.args = vec![argument];
    list.clauses = vec![FunctionArgumentClause::OrderBy(vec![order])];
    Some(Expr::Function(array))
}

/// `array_agg(DISTINCT x ORDER BY x)` as the sorted array of what differs: PostgreSQL orders by nothing else here, and
/// sorts where no order is named. DataFusion may hand out the values the other way round.
fn sorted_array(function: &Function, value: FunctionArg) -> Option<Expr> {
    let mut array = renamed(function, "lakegate_array_agg");
    let FunctionArguments::List(list) = &mut array.args else {
        return None;
    };
    let mut order = OrderByOptions {
        asc: None,
        nulls_first: None,
    };
    list.clauses.retain(|clause| match clause {
        FunctionArgumentClause::OrderBy(keys) => {
            if let [key, ..] = keys.as_slice() {
                order = key.options;
            }
            false
        }
        _ => true,
    });
    list.args = vec![value];
    let descending = order.asc == Some(false);
    let direction = if descending { "DESC" } else { "ASC" };
    let nulls = if order.nulls_first.unwrap_or(descending) {
        "NULLS FIRST"
    } else {
        "NULLS LAST"
    };
    Some(call(
        "array_sort",
        vec![Expr::Function(array), text(direction), text(nulls)],
    ))
}

/// The call as one of `array_agg`; None for every other function.
pub(super) fn rewrite(name: &str, function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return None;
    };
    let argument = |index: usize| match list.args.get(index) {
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))) => Some(expression.clone()),
        _ => None,
    };
    match (name, list.args.len()) {
        ("every", 1) => Some(Expr::Function(renamed(function, "bool_and"))),
        ("json_agg" | "jsonb_agg", 1) => {
            let array = Expr::Function(renamed(function, "array_agg"));
            Some(call(&format!("lakegate_{name}"), vec![array]))
        }
        ("json_object_agg" | "jsonb_object_agg", 2) => {
            let part = |index: usize| with_arguments(function, "array_agg", vec![list.args[index].clone()]);
            Some(call(&format!("lakegate_{name}"), vec![part(0), part(1)]))
        }
        ("percentile_disc" | "percentile_cont", 1) => {
            let array = ordered_array(function)?;
            Some(call(&format!("lakegate_{name}"), vec![argument(0)?, array]))
        }
        ("mode", 0) => Some(call("lakegate_mode", vec![ordered_array(function)?])),
        ("array_agg", 1) if is_distinct(function) && function.over.is_none() => {
            sorted_array(function, list.args[0].clone())
        }
        ("string_agg", 2) if is_distinct(function) && function.over.is_none() => {
            let array = sorted_array(function, list.args[0].clone())?;
            Some(call("array_to_string", vec![array, argument(1)?]))
        }
        ("regr_count", 2) => {
            let count = Expr::Function(renamed(function, "lakegate_regr_count"));
            Some(cast_to(&Target::of(PgType::scalar(&types::INT8)), count))
        }
        _ => None,
    }
}
