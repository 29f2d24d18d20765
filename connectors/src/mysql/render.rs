//! The SQL of a scan, and what may be in it.
//!
//! A predicate is sent only where MySQL certainly keeps every row that it would
//! keep here; where it may keep more, the filter is applied here too. Everything
//! else is local. Constants mean one thing under the session's pinned settings.

use std::fmt::Write as _;

use arrow::datatypes::{Decimal128Type, Decimal256Type, DecimalType};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use datafusion::common::ScalarValue;
use lakegate_crds::ZeroDates;

use super::types::{RemoteColumn, TextRule, Wire};
use crate::scan::{Comparison, Predicate, Verdict};

/// A table as SQL names it, with its columns in the order of its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteShape {
    pub schema: String,
    pub name: String,
    pub columns: Vec<RemoteColumn>,
    pub zero_dates: ZeroDates,
}

/// Longer lists cost the server more than the rows they keep away.
const MAX_LIST: usize = 1000;

impl RemoteShape {
    /// The query whose rows a scan reads; without columns, their number.
    pub(super) fn select(
        &self,
        projection: &[usize],
        predicates: &[Predicate],
        limit: Option<usize>,
    ) -> String {
        let counted = projection.is_empty();
        let mut sql = match (counted, limit) {
            (true, None) => "SELECT COUNT(*)".to_owned(),
            (true, Some(_)) => "SELECT COUNT(*) FROM (SELECT 1".to_owned(),
            (false, _) => {
                let columns: Vec<String> = projection
                    .iter()
                    .filter_map(|&index| self.columns.get(index).map(selected))
                    .collect();
                format!("SELECT {}", columns.join(", "))
            }
        };
        let _ = write!(
            sql,
            " FROM {}.{}",
            identifier(&self.schema),
            identifier(&self.name)
        );
        for (position, predicate) in predicates.iter().enumerate() {
            sql.push_str(if position == 0 { " WHERE " } else { " AND " });
            self.condition(predicate, &mut sql);
        }
        if let Some(limit) = limit {
            let _ = write!(sql, " LIMIT {limit}");
            if counted {
                sql.push_str(") AS t");
            }
        }
        sql
    }

    fn condition(&self, predicate: &Predicate, sql: &mut String) {
        match predicate {
            Predicate::And(parts) => self.joined(parts, " AND ", sql),
            Predicate::Or(parts) => self.joined(parts, " OR ", sql),
            Predicate::Not(inner) => {
                sql.push_str("(NOT ");
                self.condition(inner, sql);
                sql.push(')');
            }
            Predicate::IsTrue { column } => {
                let _ = write!(sql, "({} = 1)", self.name_of(*column));
            }
            Predicate::IsNull { column, negated } => {
                let not = if *negated { "NOT " } else { "" };
                let _ = write!(sql, "({} IS {not}NULL)", self.name_of(*column));
            }
            Predicate::Compare {
                column,
                comparison,
                value,
            } => {
                let name = self.name_of(*column);
                let _ = write!(sql, "({name} {} {})", comparison.sql(), constant(value));
            }
            Predicate::In {
                column,
                values,
                negated,
            } => {
                let not = if *negated { "NOT " } else { "" };
                let values = values.iter().map(constant).collect::<Vec<_>>().join(", ");
                let _ = write!(sql, "({} {not}IN ({values}))", self.name_of(*column));
            }
            Predicate::Between {
                column,
                low,
                high,
                negated,
            } => {
                let not = if *negated { "NOT " } else { "" };
                let _ = write!(
                    sql,
                    "({} {not}BETWEEN {} AND {})",
                    self.name_of(*column),
                    constant(low),
                    constant(high)
                );
            }
        }
    }

    fn joined(&self, parts: &[Predicate], separator: &str, sql: &mut String) {
        sql.push('(');
        for (position, part) in parts.iter().enumerate() {
            if position > 0 {
                sql.push_str(separator);
            }
            self.condition(part, sql);
        }
        sql.push(')');
    }

    fn name_of(&self, column: usize) -> String {
        self.columns
            .get(column)
            .map(|column| identifier(&column.name))
            .unwrap_or_default()
    }

    /// What the server may be asked.
    pub(super) fn verdict(&self, predicate: &Predicate) -> Verdict {
        let negated = has_not(predicate);
        predicate.verdict_over(&|leaf| self.leaf(leaf, negated))
    }

    /// The verdict on a leaf. `below_not`: somewhere in the whole condition is a
    /// NOT, so that "false" and "unknown" must be told apart.
    fn leaf(&self, leaf: &Predicate, below_not: bool) -> Verdict {
        let column = leaf.columns().first().and_then(|index| self.columns.get(*index));
        let Some(column) = column else {
            return Verdict::unsupported("not a comparison");
        };
        let zero_is_null = column.wire.has_zero_dates() && self.zero_dates == ZeroDates::AsNull;
        let (comparison, values, list_negated): (Comparison, Vec<&ScalarValue>, bool) = match leaf {
            Predicate::And(_) | Predicate::Or(_) | Predicate::Not(_) => {
                return Verdict::unsupported("not a comparison");
            }
            Predicate::IsNull { negated, .. } => {
                return match (zero_is_null, negated) {
                    (false, _) => Verdict::Exact,
                    (true, true) => Verdict::inexact(ZERO_DATE),
                    (true, false) => Verdict::unsupported(ZERO_DATE),
                };
            }
            Predicate::IsTrue { .. } => {
                return if column.wire == Wire::Bool {
                    Verdict::Exact
                } else {
                    Verdict::unsupported("not a boolean column")
                };
            }
            Predicate::In { values, .. } if values.len() > MAX_LIST => {
                return Verdict::unsupported("the list is too long to be sent");
            }
            Predicate::Compare {
                comparison, value, ..
            } => (*comparison, vec![value], false),
            Predicate::In { values, negated, .. } => (Comparison::Equal, values.iter().collect(), *negated),
            Predicate::Between {
                low, high, negated, ..
            } => (Comparison::GreaterOrEqual, vec![low, high], *negated),
        };
        let mut superset = None;
        for value in values {
            match verdict_of(column, comparison, list_negated, value) {
                Verdict::Exact => {}
                inexact @ Verdict::Inexact(_) => superset = Some(inexact),
                unsupported @ Verdict::Unsupported(_) => return unsupported,
            }
        }
        if let Some(inexact) = superset {
            return inexact;
        }
        if !zero_is_null {
            return Verdict::Exact;
        }
        // A zero date is less than every constant. Where a condition wants no
        // less, the server answers false and here it is unknown: both drop the
        // row, as long as nothing negates them.
        let wants_less = matches!(
            comparison,
            Comparison::Less | Comparison::LessOrEqual | Comparison::NotEqual
        );
        if wants_less || list_negated || below_not {
            Verdict::inexact(ZERO_DATE)
        } else {
            Verdict::Exact
        }
    }
}

const ZERO_DATE: &str = "a zero date is NULL here and a value in MySQL";

/// Whether a condition has a NOT of its own.
fn has_not(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().any(has_not),
        Predicate::Not(_) => true,
        _ => false,
    }
}

/// What the server may be asked about this column and this constant, zero dates
/// aside. `negated`: the comparison's negation is meant.
fn verdict_of(column: &RemoteColumn, comparison: Comparison, negated: bool, value: &ScalarValue) -> Verdict {
    let no_form = || Verdict::unsupported("the constant has no certain form in MySQL");
    match (&column.wire, value) {
        (
            Wire::Tiny { .. }
            | Wire::Small { .. }
            | Wire::Medium { .. }
            | Wire::Int { .. }
            | Wire::Big { .. }
            | Wire::Decimal128 { .. }
            | Wire::Decimal256 { .. },
            _,
        ) => {}
        (Wire::Date | Wire::DateTime | Wire::Timestamp, _) => {}
        (Wire::Float | Wire::Double, _) if column.rounded => {
            return Verdict::unsupported("MySQL compares FLOAT(M,D) by its rounded digits");
        }
        // -0.0 and 0.0 are one value there; here that depends on the operator
        // (comparing, hashing, sorting). NaN and infinities it has none.
        (Wire::Float, ScalarValue::Float32(Some(float))) if plain(f64::from(*float)) => {}
        (Wire::Double, ScalarValue::Float64(Some(float))) if plain(*float) => {}
        (Wire::Float | Wire::Double, _) => {
            return Verdict::unsupported("zero has two forms and NaN none in MySQL");
        }
        // A year is compared with 70 as with 1970.
        (Wire::Year, ScalarValue::Int16(Some(1901..=2155))) => {}
        (Wire::Year, _) => return Verdict::unsupported("MySQL completes short years"),
        (Wire::Bits, ScalarValue::Int64(Some(0..))) => {}
        (Wire::Bits | Wire::WideBits, _) => {
            return Verdict::unsupported("MySQL compares this type by its own rules");
        }
        (Wire::Bool | Wire::Binary, _) if comparison.is_equality() => {}
        (Wire::Bool | Wire::Binary, _) => {
            return Verdict::unsupported("only equality of this type is sent");
        }
        (Wire::Text, ScalarValue::Utf8(Some(text))) => {
            return text_verdict(column, comparison, negated, text);
        }
        (Wire::Text | Wire::Cast | Wire::Geometry { .. } | Wire::Time { .. }, _) => {
            return Verdict::unsupported("MySQL compares this type by its own rules");
        }
    }
    match literal(value) {
        Some(_) => Verdict::Exact,
        None => no_form(),
    }
}

fn text_verdict(column: &RemoteColumn, comparison: Comparison, negated: bool, text: &str) -> Verdict {
    match column.text {
        TextRule::Exact(repertoire) | TextRule::Superset(repertoire) if !repertoire.holds(text) => {
            Verdict::unsupported("the constant has characters that the column cannot have")
        }
        TextRule::Exact(_) => Verdict::Exact,
        TextRule::Superset(_) if comparison == Comparison::Equal && !negated => {
            Verdict::inexact("the column's collation may call more texts equal")
        }
        TextRule::Superset(_) => Verdict::unsupported(
            "the column's collation may call different texts equal, or order them otherwise",
        ),
        TextRule::Local => Verdict::unsupported("the column's character set or type has its own rules"),
    }
}

fn plain(float: f64) -> bool {
    float.is_finite() && float != 0.0
}

/// A column in the select list.
fn selected(column: &RemoteColumn) -> String {
    let name = identifier(&column.name);
    match column.wire {
        Wire::Cast => format!("CAST({name} AS CHAR)"),
        Wire::Geometry { swapped: false } => format!("ST_AsWKB({name})"),
        Wire::Geometry { swapped: true } => format!("ST_AsWKB({name}, 'axis-order=long-lat')"),
        _ => name,
    }
}

/// A name, quoted.
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Text as a constant; `NO_BACKSLASH_ESCAPES` is pinned, so only the quote is
/// special.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Only for constants whose verdict was Exact or Inexact, so NULL stands for none.
fn constant(value: &ScalarValue) -> String {
    literal(value).unwrap_or_else(|| "NULL".to_owned())
}

/// A constant that means the same whatever the server's settings are.
fn literal(value: &ScalarValue) -> Option<String> {
    Some(match value {
        ScalarValue::Boolean(Some(value)) => u8::from(*value).to_string(),
        ScalarValue::Int16(Some(value)) => value.to_string(),
        ScalarValue::Int32(Some(value)) => value.to_string(),
        ScalarValue::Int64(Some(value)) => value.to_string(),
        // Rust prints the shortest digits that read back as the same value; the
        // exponent makes it a float, not a decimal.
        ScalarValue::Float32(Some(value)) if value.is_finite() => format!("{:e}", f64::from(*value)),
        ScalarValue::Float64(Some(value)) if value.is_finite() => format!("{value:e}"),
        ScalarValue::Decimal128(Some(value), precision, scale) => {
            Decimal128Type::format_decimal(*value, *precision, *scale)
        }
        ScalarValue::Decimal256(Some(value), precision, scale) => {
            Decimal256Type::format_decimal(*value, *precision, *scale)
        }
        ScalarValue::Utf8(Some(text)) if !text.contains('\0') => quoted(text),
        ScalarValue::Binary(Some(bytes)) => {
            let mut hex = String::with_capacity(bytes.len() * 2);
            for byte in bytes {
                let _ = write!(hex, "{byte:02x}");
            }
            format!("x'{hex}'")
        }
        ScalarValue::Date32(Some(days)) => {
            /// Days from 0000-12-31, chrono's day zero, to 1970-01-01.
            const COMMON_ERA_DAYS: i32 = 719_163;
            let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(COMMON_ERA_DAYS)?)?;
            documented_year(date.year())?;
            format!("DATE'{}'", date.format("%Y-%m-%d"))
        }
        // The session's time zone is UTC, so both kinds are spelled alike.
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            let instant: NaiveDateTime = DateTime::from_timestamp_micros(*micros)?.naive_utc();
            documented_year(instant.year())?;
            format!("TIMESTAMP'{}'", instant.format("%Y-%m-%d %H:%M:%S%.6f"))
        }
        _ => return None,
    })
}

/// Years that MySQL says it supports.
fn documented_year(year: i32) -> Option<()> {
    (1000..=9999).contains(&year).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::types::ColumnFacts;

    fn shape(zero_dates: ZeroDates) -> RemoteShape {
        let column = |name: &str, data_type: &str, collation: &str| {
            let facts = ColumnFacts {
                data_type: data_type.to_owned(),
                precision: Some(if data_type == "bit" { 1 } else { 10 }),
                scale: Some(2),
                charset: (!collation.is_empty()).then(|| "utf8mb4".to_owned()),
                collation: (!collation.is_empty()).then(|| collation.to_owned()),
                rounded: name == "rounded",
                ..ColumnFacts::default()
            };
            RemoteColumn::new(name.to_owned(), &facts)
        };
        RemoteShape {
            schema: "shop".to_owned(),
            name: "odd`table".to_owned(),
            columns: vec![
                column("id", "bigint", ""),
                column("name", "varchar", "utf8mb4_general_ci"),
                column("code", "varchar", "utf8mb4_nopad_bin"),
                column("flag", "bit", ""),
                column("day", "date", ""),
                column("place", "point", ""),
                column("ratio", "double", ""),
                column("rounded", "double", ""),
                column("ip", "inet6", ""),
                column("made", "year", ""),
            ],
            zero_dates,
        }
    }

    fn compare(column: usize, comparison: Comparison, value: ScalarValue) -> Predicate {
        Predicate::Compare {
            column,
            comparison,
            value,
        }
    }

    fn text(value: &str) -> ScalarValue {
        ScalarValue::Utf8(Some(value.to_owned()))
    }

    const DAY: ScalarValue = ScalarValue::Date32(Some(0));

    #[test]
    fn statements() {
        let shape = shape(ZeroDates::AsNull);
        insta::assert_snapshot!(shape.select(&[], &[], None), @"SELECT COUNT(*) FROM `shop`.`odd``table`");
        insta::assert_snapshot!(
            shape.select(&[], &[Predicate::IsTrue { column: 3 }], Some(4)),
            @"SELECT COUNT(*) FROM (SELECT 1 FROM `shop`.`odd``table` WHERE (`flag` = 1) LIMIT 4) AS t"
        );
        insta::assert_snapshot!(
            shape.select(
                &[5, 8, 0],
                &[
                    compare(0, Comparison::GreaterOrEqual, ScalarValue::Int64(Some(-5))),
                    Predicate::Or(vec![
                        Predicate::IsTrue { column: 3 },
                        Predicate::Not(Box::new(Predicate::In {
                            column: 2,
                            values: vec![text("it's"), text("a\\b LIMIT 5"), text("")],
                            negated: true,
                        })),
                    ]),
                    Predicate::IsNull { column: 1, negated: true },
                    Predicate::Between { column: 4, low: DAY, high: DAY, negated: false },
                ],
                Some(7),
            ),
            @"SELECT ST_AsWKB(`place`), CAST(`ip` AS CHAR), `id` FROM `shop`.`odd``table` WHERE (`id` >= -5) AND ((`flag` = 1) OR (NOT (`code` NOT IN ('it''s', 'a\\b LIMIT 5', '')))) AND (`name` IS NOT NULL) AND (`day` BETWEEN DATE'1970-01-01' AND DATE'1970-01-01') LIMIT 7"
        );
    }

    #[test]
    fn constants() {
        let cases = [
            (ScalarValue::Date32(Some(2_932_896)), Some("DATE'9999-12-31'")),
            (ScalarValue::Date32(Some(2_932_897)), None),
            (ScalarValue::Date32(Some(-719_162)), None),
            (
                ScalarValue::TimestampMicrosecond(Some(-1), None),
                Some("TIMESTAMP'1969-12-31 23:59:59.999999'"),
            ),
            (
                ScalarValue::TimestampMicrosecond(Some(0), Some("UTC".into())),
                Some("TIMESTAMP'1970-01-01 00:00:00.000000'"),
            ),
            (ScalarValue::TimestampMicrosecond(Some(i64::MAX), None), None),
            (ScalarValue::Decimal128(Some(-5), 10, 2), Some("-0.05")),
            (ScalarValue::Float64(Some(1e300)), Some("1e300")),
            (ScalarValue::Float32(Some(0.5)), Some("5e-1")),
            (ScalarValue::Float64(Some(f64::NAN)), None),
            (ScalarValue::Binary(Some(vec![0, 255])), Some("x'00ff'")),
            (text("a\0b"), None),
            (text("it's"), Some("'it''s'")),
            (ScalarValue::Int64(None), None),
        ];
        for (value, expected) in cases {
            assert_eq!(literal(&value).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn verdicts() {
        let shape = shape(ZeroDates::AsNull);
        let null = |column, negated| Predicate::IsNull { column, negated };
        let exact = [
            compare(0, Comparison::Less, ScalarValue::Int64(Some(1))),
            compare(2, Comparison::Less, text("a")),
            compare(2, Comparison::NotEqual, text("a")),
            compare(3, Comparison::Equal, ScalarValue::Boolean(Some(true))),
            compare(4, Comparison::GreaterOrEqual, DAY),
            compare(4, Comparison::Equal, DAY),
            compare(6, Comparison::Less, ScalarValue::Float64(Some(1.5))),
            compare(9, Comparison::Less, ScalarValue::Int16(Some(2026))),
            null(0, false),
            null(8, true),
        ];
        for predicate in exact {
            assert_eq!(shape.verdict(&predicate), Verdict::Exact, "{predicate:?}");
        }
        let inexact = [
            compare(1, Comparison::Equal, text("a")),
            compare(4, Comparison::Less, DAY),
            compare(4, Comparison::NotEqual, DAY),
            null(4, true),
            Predicate::In {
                column: 1,
                values: vec![text("a"), text("b")],
                negated: false,
            },
        ];
        for predicate in inexact {
            assert!(
                matches!(shape.verdict(&predicate), Verdict::Inexact(_)),
                "{predicate:?}"
            );
        }
        let local = [
            compare(1, Comparison::NotEqual, text("a")),
            compare(1, Comparison::Less, text("a")),
            compare(1, Comparison::Equal, text("a\0")),
            compare(6, Comparison::Equal, ScalarValue::Float64(Some(0.0))),
            compare(7, Comparison::Equal, ScalarValue::Float64(Some(1.0))),
            compare(8, Comparison::Equal, text("::1")),
            compare(9, Comparison::Equal, ScalarValue::Int16(Some(70))),
            null(4, false),
            Predicate::Not(Box::new(compare(4, Comparison::Equal, DAY))),
            Predicate::Not(Box::new(compare(1, Comparison::Equal, text("a")))),
            Predicate::In {
                column: 1,
                values: vec![text("a")],
                negated: true,
            },
            Predicate::In {
                column: 1,
                values: vec![text("a"), text("a\0")],
                negated: false,
            },
            Predicate::In {
                column: 0,
                values: vec![ScalarValue::Int64(Some(1)); MAX_LIST + 1],
                negated: false,
            },
        ];
        for predicate in local {
            assert!(
                matches!(shape.verdict(&predicate), Verdict::Unsupported(_)),
                "{predicate:?}"
            );
        }
    }

    #[test]
    fn refused_zero_dates_are_no_trap() {
        let shape = shape(ZeroDates::Fail);
        for predicate in [
            compare(4, Comparison::Less, DAY),
            Predicate::Not(Box::new(compare(4, Comparison::Equal, DAY))),
            Predicate::IsNull {
                column: 4,
                negated: false,
            },
        ] {
            assert_eq!(shape.verdict(&predicate), Verdict::Exact, "{predicate:?}");
        }
    }
}
