//! A predicate as SQL: what the dialects of database servers have in common.

use std::fmt::Write as _;

use datafusion::common::ScalarValue;

use crate::scan::Predicate;

/// How a dialect spells what is in a condition.
pub(crate) trait Spelling {
    /// A constant that the dialect's verdict admits beside the column of this index.
    fn constant(&self, column: usize, value: &ScalarValue) -> String;

    /// A column where it is not only compared for equality, spelt already.
    fn ordered(&self, column: usize, name: String) -> String;

    /// That a boolean column, spelt already, holds.
    fn holds(&self, column: &str) -> String;

    /// That the column, spelt already, has one of many values, where the dialect has a shorter form for it than IN.
    fn any_of(&self, column: &str, values: &[ScalarValue]) -> Option<String> {
        let _ = (column, values);
        None
    }
}

/// Appends a predicate whose verdict was Exact or Inexact. Every part is in parentheses, so that no precedence of a
/// dialect decides what it means.
///
/// `column` says what a column is called in the statement, quoted, by its index in the predicate.
pub(crate) fn condition(
    predicate: &Predicate,
    spelling: &impl Spelling,
    column: &dyn Fn(usize) -> String,
    sql: &mut String,
) {
    let not = |negated: bool| if negated { "NOT " } else { "" };
    // Writing to a string does not fail.
    let _ = match predicate {
        Predicate::And(parts) => return joined(parts, " AND ", spelling, column, sql),
        Predicate::Or(parts) => return joined(parts, " OR ", spelling, column, sql),
        Predicate::Not(inner) => {
            sql.push_str("(NOT ");
            condition(inner, spelling, column, sql);
            sql.push(')');
            return;
        }
        Predicate::IsTrue { column: index } => {
            sql.push_str(&spelling.holds(&column(*index)));
            return;
        }
        Predicate::IsNull {
            column: index,
            negated,
        } => {
            write!(sql, "({} IS {}NULL)", column(*index), not(*negated))
        }
        Predicate::Compare {
            column: index,
            comparison,
            value,
        } => write!(
            sql,
            "({} {} {})",
            if comparison.is_equality() {
                column(*index)
            } else {
                spelling.ordered(*index, column(*index))
            },
            comparison.sql(),
            spelling.constant(*index, value)
        ),
        Predicate::Like {
            column: index,
            pattern,
            negated,
        } => write!(
            sql,
            "({} {}LIKE {})",
            spelling.ordered(*index, column(*index)),
            not(*negated),
            spelling.constant(*index, &ScalarValue::Utf8(Some(pattern.clone())))
        ),
        Predicate::In {
            column: index,
            values,
            negated,
        } => {
            if !negated && let Some(any_of) = spelling.any_of(&column(*index), values) {
                sql.push_str(&any_of);
                return;
            }
            let values: Vec<String> = values
                .iter()
                .map(|value| spelling.constant(*index, value))
                .collect();
            write!(
                sql,
                "({} {}IN ({}))",
                column(*index),
                not(*negated),
                values.join(", ")
            )
        }
        Predicate::Between {
            column: index,
            low,
            high,
            negated,
        } => write!(
            sql,
            "({} {}BETWEEN {} AND {})",
            spelling.ordered(*index, column(*index)),
            not(*negated),
            spelling.constant(*index, low),
            spelling.constant(*index, high)
        ),
    };
}

fn joined(
    parts: &[Predicate],
    separator: &str,
    spelling: &impl Spelling,
    column: &dyn Fn(usize) -> String,
    sql: &mut String,
) {
    sql.push('(');
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            sql.push_str(separator);
        }
        condition(part, spelling, column, sql);
    }
    sql.push(')');
}
