//! PostgreSQL's SQL over DataFusion's planner.
//!
//! ```text
//! statement ─ rewrite ─▶ SQL planner ─ settle ─▶ plan │ run: analyzer ─▶ optimizer ─▶ …
//!   syntax: casts,        Operators: by   LATERAL,    │   CheckArithmetic
//!   literals, FROM f(x)   operand types   types       │              COMPARE_DATES
//!                                                     │              COMPARE_PADDED
//! ```
//!
//! Functions are in [`crate::functions`], the text forms of values in [`crate::values`], casts in
//! [`crate::cast`]. What remains different from PostgreSQL is in `docs/sql.md`.

mod aggregates;
mod calls;
mod from;
mod lateral;
mod literals;
mod matching;
mod operand;
mod operators;
mod padded;
mod plan;
mod rewrite;
mod rows;
mod rules;
mod subquery;
mod syntax;
mod top;
mod using;

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast;
use lakegate_connectors::scan::optimizer_rules;

pub(crate) use from::{SERIES, returns_rows};
pub(crate) use plan::settle;
pub(crate) use rewrite::rewrite;
pub(crate) use syntax::{bare, literal_integer, literal_text, target};

use crate::functions::Library;

/// Makes the planners, rules and functions known.
pub(crate) fn install(builder: SessionStateBuilder, library: &Arc<Library>) -> SessionStateBuilder {
    let mut rules: Vec<_> = optimizer_rules().into_iter().map(rules::careful).collect();
    rules.insert(0, Arc::new(rules::StatementTime));
    // Before filters look for their scans; those that stood above a join are seen in the next pass.
    let place = rules
        .iter()
        .position(|rule| rule.name() == "push_down_filter")
        .unwrap_or(rules.len());
    rules.insert(place, Arc::new(padded::COMPARE_PADDED));
    rules.insert(place, Arc::new(rules::COMPARE_DATES));
    let mut builder = builder
        .with_analyzer_rule(Arc::new(rules::CheckArithmetic))
        .with_optimizer_rules(rules);
    let operators: Arc<dyn datafusion::logical_expr::planner::ExprPlanner> = Arc::new(operators::Operators {
        library: Arc::clone(library),
    });
    // before DataFusion's own, which take what is left
    builder
        .expr_planners()
        .get_or_insert_with(Vec::new)
        .insert(0, operators);
    builder
}

/// `SELECT` of this expression and nothing else.
pub(crate) fn select_of(expr: ast::Expr) -> ast::Statement {
    let alias = ast::Ident::new("value");
    let item = ast::SelectItem::ExprWithAlias { expr, alias };
    ast::Statement::Query(Box::new(rows::query(rows::select(vec![item], Vec::new()))))
}

/// SQL types by PostgreSQL's names; what is none of them is asked of another.
#[derive(Debug)]
pub(crate) struct SqlTypes(pub(crate) Option<Arc<dyn TypePlanner>>);

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> DataFusionResult<Option<FieldRef>> {
        if let Some(target) = syntax::target(sql_type) {
            let data_type = target.data_type(&DataType::Null)?;
            return Ok(Some(Arc::new(crate::types::field(
                "",
                target.pg_type,
                data_type,
                true,
            ))));
        }
        match &self.0 {
            Some(other) => other.plan_type_field(sql_type),
            None => Ok(None),
        }
    }
}
