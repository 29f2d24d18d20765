//! A predicate as SQL: what the dialects of database servers have in common.

use std::fmt::Write as _;

use datafusion::common::ScalarValue;

use crate::scan::Predicate;

/// How a dialect spells what is in a condition.
pub(crate) trait Spelling {
    /// A column of the table, quoted, by its index.
    fn column(&self, index: usize) -> String;

    /// A constant that the dialect's verdict admits.
    fn constant(&self, value: &ScalarValue) -> String;

    /// That a boolean column, spelt already, holds.
    fn holds(&self, column: &str) -> String;
}

/// Appends a predicate whose verdict was Exact or Inexact. Every part is in parentheses, so that no precedence of a
/// dialect decides what it means.
pub(crate) fn condition(predicate: &Predicate, spelling: &impl Spelling, sql: &mut String) {
    let not = |negated: bool| if negated { "NOT " } else { "" };
    // Writing to a string does not fail.
    let _ = match predicate {
        Predicate::And(parts) => return joined(parts, " AND ", spelling, sql),
        Predicate::Or(parts) => return joined(parts, " OR ", spelling, sql),
        Predicate::Not(inner) => {
            sql.push_str("(NOT ");
            condition(inner, spelling, sql);
            sql.push(')');
            return;
        }
        Predicate::IsTrue { column } => {
            sql.push_str(&spelling.holds(&spelling.column(*column)));
            return;
        }
        Predicate::IsNull { column, negated } => {
            write!(sql, "({} IS {}NULL)", spelling.column(*column), not(*negated))
        }
        Predicate::Compare {
            column,
            comparison,
            value,
        } => write!(
            sql,
            "({} {} {})",
            spelling.column(*column),
            comparison.sql(),
            spelling.constant(value)
        ),
        Predicate::In {
            column,
            values,
            negated,
        } => {
            let values: Vec<String> = values.iter().map(|value| spelling.constant(value)).collect();
            write!(
                sql,
                "({} {}IN ({}))",
                spelling.column(*column),
                not(*negated),
                values.join(", ")
            )
        }
        Predicate::Between {
            column,
            low,
            high,
            negated,
        } => write!(
            sql,
            "({} {}BETWEEN {} AND {})",
            spelling.column(*column),
            not(*negated),
            spelling.constant(low),
            spelling.constant(high)
        ),
    };
}

fn joined(parts: &[Predicate], separator: &str, spelling: &impl Spelling, sql: &mut String) {
    sql.push('(');
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            sql.push_str(separator);
        }
        condition(part, spelling, sql);
    }
    sql.push(')');
}
