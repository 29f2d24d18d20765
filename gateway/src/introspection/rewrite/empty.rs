//! What is certain to have no rows, since its catalog never has any here.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, JoinOperator, ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor,
    TableWithJoins, Visit, Visitor,
};

use super::is_catalog;

/// Catalogs that never have a row here, since Lakegate has nothing of the kind.
const EMPTY: &[&str] = &[
    "pg_attrdef",
    "pg_policy",
    "pg_policies",
    "pg_statistic_ext",
    "pg_publication",
    "pg_publication_rel",
    "pg_publication_namespace",
    "pg_publication_tables",
    "pg_inherits",
    "pg_trigger",
    "pg_rewrite",
    "pg_rules",
    "pg_foreign_table",
    "pg_foreign_server",
    "pg_foreign_data_wrapper",
    "pg_sequence",
    "pg_sequences",
    "pg_enum",
    "pg_partitioned_table",
    "pg_event_trigger",
    "pg_extension",
    "pg_largeobject",
    "pg_largeobject_metadata",
    "pg_seclabel",
    "pg_shseclabel",
    "pg_subscription",
    "pg_depend",
    "pg_shdepend",
    "pg_default_acl",
    "pg_init_privs",
    "pg_cast",
    "pg_conversion",
    "pg_aggregate",
    "pg_statistic",
    "pg_transform",
    "pg_ts_config",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_user_mapping",
    "pg_user_mappings",
    "pg_auth_members",
    "pg_db_role_setting",
    "pg_prepared_xacts",
];

fn is_empty_table(table: &TableFactor) -> bool {
    let TableFactor::Table { name, args: None, .. } = table else {
        return false;
    };
    let [.., last] = name.0.as_slice() else {
        return false;
    };
    let qualified = match name.0.as_slice() {
        [_] => true,
        [schema, _] | [_, schema, _] => is_catalog(schema),
        _ => false,
    };
    qualified
        && matches!(last, ObjectNamePart::Identifier(identifier) if EMPTY.contains(&identifier.value.to_lowercase().as_str()))
}

/// Whether a FROM clause yields no row whatever else is in it: an empty catalog on a side that joins keep only
/// where the other side matches.
fn is_empty_from(from: &[TableWithJoins]) -> bool {
    from.iter().any(|table| {
        let mut empty = is_empty_table(&table.relation);
        for join in &table.joins {
            match &join.join_operator {
                JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                    empty |= is_empty_table(&join.relation);
                }
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => {}
                // A right or full join keeps the rows of the other side.
                _ => empty = false,
            }
        }
        empty
    })
}

pub(super) fn is_plain(select: &Select) -> bool {
    let grouped = match &select.group_by {
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
        GroupByExpr::All(_) => true,
    };
    !grouped && select.having.is_none() && !select.projection.iter().any(has_aggregate)
}

fn has_aggregate(item: &SelectItem) -> bool {
    /// Whether one was found, and how many subqueries deep the visitor is: an aggregate of a subquery is its own.
    struct Aggregates(bool, usize);
    impl Visitor for Aggregates {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.1 -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if let Expr::Function(function) = expression
                && self.1 == 0
            {
                let name = function
                    .name
                    .0
                    .last()
                    .map(ToString::to_string)
                    .unwrap_or_default()
                    .to_lowercase();
                // Of an empty input these have a row.
                self.0 |= matches!(
                    &name[..],
                    "count"
                        | "sum"
                        | "min"
                        | "max"
                        | "avg"
                        | "string_agg"
                        | "array_agg"
                        | "bool_or"
                        | "bool_and"
                        | "every"
                        | "json_agg"
                        | "jsonb_agg"
                        | "json_object_agg"
                        | "stddev"
                        | "variance"
                );
            }
            ControlFlow::Continue(())
        }
    }
    let mut aggregates = Aggregates(false, 0);
    let _: ControlFlow<()> = Visit::visit(item, &mut aggregates);
    aggregates.0
}

/// A SELECT whose expressions no row ever reaches.
pub(super) fn never_evaluated(select: &Select) -> bool {
    is_empty_from(&select.from) && is_plain(select)
}

pub(super) fn is_empty_query(query: &Query) -> bool {
    query.with.is_none() && matches!(query.body.as_ref(), SetExpr::Select(select) if never_evaluated(select))
}
