//! The types of `$1…` where the client leaves them open.
//!
//! PostgreSQL resolves them while it parses: `$1::int` is an int, `id = $1` has the type of `id`, and
//! `id = ANY($1)` takes an array of it, `LIMIT $1` a bigint. The planner below knows the second; the others are
//! found here.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Expr as AstExpr, Statement as Ast, Value, Visit, Visitor};
use lakegate_federation::FederationError;

use crate::fault::Fault;
use crate::types::{self, PgType};

/// Most parameters of a statement: Bind counts them with 16 bits.
const MOST: usize = 65_535;

/// The number of `$1` is 1.
fn number(name: &str) -> Option<usize> {
    name.strip_prefix('$')?
        .parse()
        .ok()
        .filter(|number| (1..=MOST).contains(number))
}

/// Gives parameters that are cast at once the type they are cast to.
pub(crate) fn declare_casts(statement: &Ast, declared: &mut Vec<Option<PgType>>) {
    let mut casts = Casts { declared };
    let _: ControlFlow<()> = statement.visit(&mut casts);
}

struct Casts<'a> {
    declared: &'a mut Vec<Option<PgType>>,
}

impl Visitor for Casts<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &AstExpr) -> ControlFlow<()> {
        if let AstExpr::Cast { expr, data_type, .. } = expression {
            let mut inner = expr.as_ref();
            while let AstExpr::Nested(nested) = inner {
                inner = nested;
            }
            if let AstExpr::Value(value) = inner
                && let Value::Placeholder(name) = &value.value
                && let Some(number) = number(name)
                && let Some(pg_type) = type_by_sql(&data_type.to_string())
            {
                if self.declared.len() < number {
                    self.declared.resize(number, None);
                }
                self.declared[number - 1].get_or_insert(pg_type);
            }
        }
        ControlFlow::Continue(())
    }
}

/// The type that this SQL names.
fn type_by_sql(sql: &str) -> Option<PgType> {
    let lower = sql.to_lowercase();
    let (name, array) = match lower.strip_suffix("[]") {
        Some(element) => (element, true),
        None => (lower.as_str(), false),
    };
    // a length or precision in the middle: `timestamp(3) with time zone`
    let plain: String = match (name.find('('), name.rfind(')')) {
        (Some(from), Some(until)) if from < until => format!("{}{}", &name[..from], &name[until + 1..]),
        _ => name.to_owned(),
    };
    let base = match plain.trim() {
        "int" => &types::INT4,
        "decimal" | "dec" => &types::NUMERIC,
        "float" | "double" => &types::FLOAT8,
        "char varying" | "nvarchar" | "string" => &types::VARCHAR,
        "char" => &types::BPCHAR,
        "timestamp" => &types::TIMESTAMP,
        "time" => &types::TIME,
        "\"char\"" => &types::CHAR,
        other => types::BASE_TYPES
            .iter()
            .find(|base| base.sql_name == other || base.name == other)?,
    };
    Some(PgType {
        base,
        array,
        typmod: -1,
    })
}

/// What a plan makes of a parameter.
#[derive(Debug, Clone)]
pub(crate) struct Inferred {
    pub(crate) data_type: DataType,
    pub(crate) pg_type: PgType,
}

impl Inferred {
    fn of_data_type(data_type: DataType) -> Self {
        Self {
            pg_type: types::of_data_type(&data_type),
            data_type,
        }
    }

    /// A parameter beside an oid or a geometry is one, for drivers look types up by their oid. Beside any other
    /// column it has the type of the column's form.
    fn of_field(field: &Field) -> Self {
        let named = types::of_field(field);
        if !named.array && [types::OID.oid, types::GEOMETRY.oid].contains(&named.base.oid) {
            return Self {
                data_type: field.data_type().clone(),
                pg_type: named,
            };
        }
        Self::of_data_type(field.data_type().clone())
    }
}

/// The types that the plan gives its parameters; None where it leaves them open.
pub(crate) fn of_plan(plan: &LogicalPlan) -> Result<Vec<Option<Inferred>>, Fault> {
    let mut found: Vec<Option<Inferred>> = Vec::new();
    let mut unknown = None;
    plan.apply_with_subqueries(|node| {
        let inputs = node.inputs();
        let schema = inputs
            .iter()
            .try_fold(DFSchema::empty(), |all, input| all.join(input.schema()));
        // inputs with columns of one name do not join into one schema; the node's own serves then
        let schema = schema.unwrap_or_else(|_| node.schema().as_ref().clone());
        node.apply_expressions(|expression| {
            expression.apply(|expression| {
                match expression {
                    Expr::Placeholder(Placeholder { id, field }) => match number(id) {
                        Some(number) => {
                            let limit = matches!(node, LogicalPlan::Limit(_))
                                .then(|| Inferred::of_data_type(DataType::Int64));
                            let inferred = field.as_ref().map(|field| Inferred::of_field(field)).or(limit);
                            note(&mut found, number, inferred);
                        }
                        None => unknown = Some(id.clone()),
                    },
                    Expr::ScalarFunction(call) if call.name() == "array_has" => {
                        if let [Expr::Placeholder(Placeholder { id, field: None }), element] = &call.args[..]
                            && let Some(number) = number(id)
                            && let Ok(element) = element.get_type(&schema)
                        {
                            let list = DataType::List(Arc::new(Field::new("item", element, true)));
                            note(&mut found, number, Some(Inferred::of_data_type(list)));
                        }
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(|error: DataFusionError| Fault::of(&FederationError::from(error), ""))?;
    match unknown {
        Some(name) => Err(Fault::error("42P02", format!("there is no parameter {name}"))),
        None => Ok(found),
    }
}

/// The first use that has a type decides; others are cast from it.
fn note(found: &mut Vec<Option<Inferred>>, number: usize, inferred: Option<Inferred>) {
    if found.len() < number {
        found.resize(number, None);
    }
    if found[number - 1].is_none() {
        found[number - 1] = inferred;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_declare() {
        let declared = |sql: &str| {
            let statement = lakegate_federation::parse(sql).unwrap().remove(0);
            let mut declared = Vec::new();
            declare_casts(&statement, &mut declared);
            let names = declared
                .into_iter()
                .map(|found| found.map_or("-".into(), |found| found.sql_name()));
            names.collect::<Vec<_>>().join(", ")
        };
        let cases = [
            (
                "select $1::int, $3::text[], cast($2 as numeric(12,2))",
                "integer, numeric, text[]",
            ),
            (
                "select ($1)::timestamp(3) with time zone, $2::varchar(20)",
                "timestamp with time zone, character varying",
            ),
            ("select $1::bigint where $1::text = 'x'", "bigint"),
            (
                "select $2::double precision, ($1 + 1)::int",
                "-, double precision",
            ),
            ("select $1::nonsense", ""),
        ];
        for (sql, expected) in cases {
            assert_eq!(declared(sql), expected, "{sql}");
        }
    }
}
