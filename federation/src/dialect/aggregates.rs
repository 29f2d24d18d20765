//! Aggregates that are functions of other aggregates.
//!
//! `json_agg(x ORDER BY y)` is a function of `array_agg(x ORDER BY y)`, `percentile_disc(p) WITHIN GROUP (ORDER BY x)`
//! one of `array_agg(x ORDER BY x)`: order, DISTINCT, FILTER and OVER are those of `array_agg`.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident,
    ObjectName, OrderByExpr,
};

use super::syntax::{call, cast_to};
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
        // DISTINCT loses the order of DataFusion's string_agg
        ("string_agg", 2) if is_distinct(function) && function.over.is_none() => {
            let array = with_arguments(function, "array_agg", vec![list.args[0].clone()]);
            Some(call("array_to_string", vec![array, argument(1)?]))
        }
        ("regr_count", 2) => {
            let count = Expr::Function(renamed(function, "lakegate_regr_count"));
            Some(cast_to(&Target::of(PgType::scalar(&types::INT8)), count))
        }
        _ => None,
    }
}
