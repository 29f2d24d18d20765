//! The SQL of a scan, and what may be in it.
//!
//! A predicate is sent only where PostgreSQL certainly keeps the same rows as
//! Arrow would; everything else is local. Constants are typed, so that no
//! setting of the server and no search path decides what they mean.

use std::fmt::Write as _;

use arrow::datatypes::{Decimal128Type, Decimal256Type, DecimalType};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use datafusion::common::ScalarValue;

use super::types::{RemoteColumn, TextForm, Wire, oid};
use crate::scan::{Comparison, Predicate, Verdict};
use crate::server::{Spelling, condition};

/// A table as SQL names it, with its columns in the order of its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteShape {
    pub schema: String,
    pub name: String,
    pub columns: Vec<RemoteColumn>,
}

impl Spelling for RemoteShape {
    fn column(&self, index: usize) -> String {
        self.columns
            .get(index)
            .map(|column| identifier(&column.name))
            .unwrap_or_default()
    }

    fn constant(&self, value: &ScalarValue) -> String {
        constant(value)
    }

    fn holds(&self, column: &str) -> String {
        column.to_owned()
    }
}

impl RemoteShape {
    /// The query whose rows a scan reads.
    pub(super) fn select(
        &self,
        projection: &[usize],
        predicates: &[Predicate],
        limit: Option<usize>,
    ) -> String {
        let mut sql = "SELECT".to_owned();
        for (position, column) in projection
            .iter()
            .filter_map(|&index| self.columns.get(index))
            .enumerate()
        {
            sql.push_str(if position == 0 { " " } else { ", " });
            sql.push_str(&identifier(&column.name));
            sql.push_str(&column.cast);
        }
        sql.push_str(" FROM ");
        sql.push_str(&identifier(&self.schema));
        sql.push('.');
        sql.push_str(&identifier(&self.name));
        for (position, predicate) in predicates.iter().enumerate() {
            sql.push_str(if position == 0 { " WHERE " } else { " AND " });
            condition(predicate, self, &mut sql);
        }
        if let Some(limit) = limit {
            let _ = write!(sql, " LIMIT {limit}");
        }
        sql
    }

    /// The statement that streams those rows.
    pub(super) fn copy(select: &str) -> String {
        format!("COPY ({select}) TO STDOUT (FORMAT binary)")
    }

    /// What the server may be asked.
    pub(super) fn verdict(&self, predicate: &Predicate) -> Verdict {
        predicate.verdict_over(&|leaf| match self.refusal(leaf) {
            None => Verdict::Exact,
            Some(reason) => Verdict::unsupported(reason),
        })
    }

    /// Why a leaf predicate stays here; none if the server decides it alike.
    fn refusal(&self, leaf: &Predicate) -> Option<&'static str> {
        let column = |index: &usize| self.columns.get(*index);
        match leaf {
            Predicate::And(_) | Predicate::Or(_) | Predicate::Not(_) => Some("not a comparison"),
            Predicate::IsNull { column: index, .. } => match column(index) {
                Some(column) if !column.composite => None,
                _ => Some("a row of NULLs is itself NULL in PostgreSQL"),
            },
            Predicate::IsTrue { column: index } => match column(index)?.wire {
                Wire::Bool => None,
                _ => Some("not a boolean column"),
            },
            Predicate::Compare {
                column: index,
                comparison,
                value,
            } => refusal_of(column(index)?, *comparison, value),
            Predicate::In {
                column: index,
                values,
                ..
            } => values
                .iter()
                .find_map(|value| refusal_of(column(index)?, Comparison::Equal, value)),
            Predicate::Between {
                column: index,
                low,
                high,
                ..
            } => [low, high]
                .into_iter()
                .find_map(|value| refusal_of(column(index)?, Comparison::Less, value)),
        }
    }
}

const NO_FORM: &str = "the constant has no certain form in PostgreSQL";

/// Why a comparison of this column with this constant stays local.
fn refusal_of(column: &RemoteColumn, comparison: Comparison, value: &ScalarValue) -> Option<&'static str> {
    let allowed = match &column.wire {
        Wire::Int2
        | Wire::Int4
        | Wire::Int8
        | Wire::Numeric128 { .. }
        | Wire::Numeric256 { .. }
        | Wire::Date
        | Wire::Timestamp
        | Wire::TimestampTz
        | Wire::Time
        | Wire::Float4
        | Wire::Float8 => Ok(()),
        Wire::Bool | Wire::Bytea if comparison.is_equality() => Ok(()),
        Wire::Bool | Wire::Bytea => Err("only equality of this type is sent"),
        Wire::Text(TextForm::Native(oid::TEXT | oid::VARCHAR)) => {
            if !column.bytewise {
                Err("the column's collation, encoding or origin may call different texts equal")
            } else if comparison.is_equality() {
                Ok(())
            } else {
                Err("the order of text depends on the collation")
            }
        }
        Wire::Text(TextForm::Native(oid::BPCHAR)) => {
            Err("PostgreSQL ignores trailing blanks of character(n)")
        }
        Wire::Text(_) | Wire::Oid | Wire::List(_) => Err("PostgreSQL compares this type by its own rules"),
    };
    match allowed {
        Err(reason) => Some(reason),
        Ok(()) => match (&column.wire, value) {
            // -0.0 and 0.0 are one value there; here that depends on the operator
            // (comparing, hashing, sorting). NaN likewise.
            (Wire::Float4, ScalarValue::Float32(Some(float))) if !plain(f64::from(*float)) => {
                Some("zero and NaN have several forms, which PostgreSQL takes for one")
            }
            (Wire::Float8, ScalarValue::Float64(Some(float))) if !plain(*float) => {
                Some("zero and NaN have several forms, which PostgreSQL takes for one")
            }
            _ => match literal(value) {
                Some(_) => None,
                None => Some(NO_FORM),
            },
        },
    }
}

fn plain(float: f64) -> bool {
    float.is_finite() && float != 0.0
}

/// A name, quoted. Names hold no NUL, by the server's own rule.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text as a constant; `standard_conforming_strings` is pinned on, so only the
/// quote is special.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Only for constants whose verdict was Exact, so NULL stands for none.
fn constant(value: &ScalarValue) -> String {
    literal(value).unwrap_or_else(|| "NULL".to_owned())
}

/// A constant that means the same whatever the server's settings are.
fn literal(value: &ScalarValue) -> Option<String> {
    Some(match value {
        ScalarValue::Boolean(Some(value)) => if *value { "true" } else { "false" }.to_owned(),
        ScalarValue::Int16(Some(value)) => format!("'{value}'::pg_catalog.int2"),
        ScalarValue::Int32(Some(value)) => format!("'{value}'::pg_catalog.int4"),
        ScalarValue::Int64(Some(value)) => format!("'{value}'::pg_catalog.int8"),
        // Rust prints the shortest digits that read back as the same value.
        ScalarValue::Float32(Some(value)) if value.is_finite() => {
            format!("'{value:e}'::pg_catalog.float4")
        }
        ScalarValue::Float64(Some(value)) if value.is_finite() => {
            format!("'{value:e}'::pg_catalog.float8")
        }
        ScalarValue::Decimal128(Some(value), precision, scale) => format!(
            "'{}'::pg_catalog.numeric",
            Decimal128Type::format_decimal(*value, *precision, *scale)
        ),
        ScalarValue::Decimal256(Some(value), precision, scale) => format!(
            "'{}'::pg_catalog.numeric",
            Decimal256Type::format_decimal(*value, *precision, *scale)
        ),
        ScalarValue::Utf8(Some(text)) if !text.contains('\0') => {
            format!("{}::pg_catalog.text", quoted(text))
        }
        ScalarValue::Binary(Some(bytes)) => {
            let mut hex = String::with_capacity(bytes.len() * 2);
            for byte in bytes {
                let _ = write!(hex, "{byte:02x}");
            }
            format!("'\\x{hex}'::pg_catalog.bytea")
        }
        ScalarValue::Date32(Some(days)) => {
            /// Days from 0000-12-31, chrono's day zero, to 1970-01-01.
            const COMMON_ERA_DAYS: i32 = 719_163;
            let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(COMMON_ERA_DAYS)?)?;
            common_year(date.year())?;
            format!("'{}'::pg_catalog.date", date.format("%Y-%m-%d"))
        }
        ScalarValue::TimestampMicrosecond(Some(micros), None) => {
            format!("'{}'::pg_catalog.timestamp", date_time(*micros)?)
        }
        ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => {
            format!("'{}+00'::pg_catalog.timestamptz", date_time(*micros)?)
        }
        ScalarValue::Time64Microsecond(Some(micros)) => {
            let micros = u32::try_from(micros.div_euclid(1_000_000))
                .ok()
                .zip(u32::try_from(micros.rem_euclid(1_000_000)).ok())
                .and_then(|(seconds, micros)| {
                    chrono::NaiveTime::from_num_seconds_from_midnight_opt(seconds, micros * 1000)
                })?;
            format!("'{}'::pg_catalog.time", micros.format("%H:%M:%S%.6f"))
        }
        _ => return None,
    })
}

fn date_time(micros: i64) -> Option<String> {
    let instant: NaiveDateTime = DateTime::from_timestamp_micros(micros)?.naive_utc();
    common_year(instant.year())?;
    Some(instant.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

/// Years whose spelling nobody doubts.
fn common_year(year: i32) -> Option<()> {
    (1..=9999).contains(&year).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::types::ColumnFacts;

    fn shape() -> RemoteShape {
        let column = |name: &str, type_oid, modifier, bytewise| {
            RemoteColumn::new(
                name.to_owned(),
                &ColumnFacts {
                    type_oid,
                    modifier,
                    element: None,
                    composite: name == "row",
                    bytewise,
                },
            )
        };
        RemoteShape {
            schema: "public".to_owned(),
            name: "odd\"table".to_owned(),
            columns: vec![
                column("id", oid::INT8, -1, false),
                column("name", oid::TEXT, -1, true),
                column("ci", oid::TEXT, -1, false),
                column("flag", oid::BOOL, -1, false),
                column("uuid", 2950, -1, false),
                column("row", 2249, -1, false),
                column("ratio", oid::FLOAT8, -1, false),
                column("padded", oid::BPCHAR, 9, true),
            ],
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

    #[test]
    fn statements() {
        let shape = shape();
        insta::assert_snapshot!(shape.select(&[], &[], None), @r#"SELECT FROM "public"."odd""table""#);
        insta::assert_snapshot!(
            RemoteShape::copy(&shape.select(
                &[4, 0],
                &[
                    compare(0, Comparison::GreaterOrEqual, ScalarValue::Int64(Some(-5))),
                    Predicate::Or(vec![
                        Predicate::IsTrue { column: 3 },
                        Predicate::Not(Box::new(Predicate::In {
                            column: 1,
                            values: vec![text("it's"), text("a\\b LIMIT 5"), text("")],
                            negated: true,
                        })),
                    ]),
                    Predicate::IsNull { column: 2, negated: true },
                    Predicate::Between {
                        column: 0,
                        low: ScalarValue::Int64(Some(1)),
                        high: ScalarValue::Int64(Some(2)),
                        negated: false,
                    },
                ],
                Some(7),
            )),
            @r#"COPY (SELECT "uuid"::pg_catalog.text, "id" FROM "public"."odd""table" WHERE ("id" >= '-5'::pg_catalog.int8) AND ("flag" OR (NOT ("name" NOT IN ('it''s'::pg_catalog.text, 'a\b LIMIT 5'::pg_catalog.text, ''::pg_catalog.text)))) AND ("ci" IS NOT NULL) AND ("id" BETWEEN '1'::pg_catalog.int8 AND '2'::pg_catalog.int8) LIMIT 7) TO STDOUT (FORMAT binary)"#
        );
    }

    #[test]
    fn constants() {
        let cases = [
            (
                ScalarValue::Date32(Some(-719_162)),
                Some("'0001-01-01'::pg_catalog.date"),
            ),
            (ScalarValue::Date32(Some(-719_163)), None),
            (
                ScalarValue::Date32(Some(2_932_896)),
                Some("'9999-12-31'::pg_catalog.date"),
            ),
            (ScalarValue::Date32(Some(2_932_897)), None),
            (
                ScalarValue::TimestampMicrosecond(Some(-1), None),
                Some("'1969-12-31 23:59:59.999999'::pg_catalog.timestamp"),
            ),
            (
                ScalarValue::TimestampMicrosecond(Some(0), Some("Asia/Seoul".into())),
                Some("'1970-01-01 00:00:00.000000+00'::pg_catalog.timestamptz"),
            ),
            (ScalarValue::TimestampMicrosecond(Some(i64::MAX), None), None),
            (
                ScalarValue::Time64Microsecond(Some(86_399_999_999)),
                Some("'23:59:59.999999'::pg_catalog.time"),
            ),
            (ScalarValue::Time64Microsecond(Some(86_400_000_000)), None),
            (
                ScalarValue::Decimal128(Some(-5), 10, 2),
                Some("'-0.05'::pg_catalog.numeric"),
            ),
            (
                ScalarValue::Decimal128(Some(12345), 10, 2),
                Some("'123.45'::pg_catalog.numeric"),
            ),
            (
                ScalarValue::Float64(Some(1e300)),
                Some("'1e300'::pg_catalog.float8"),
            ),
            (ScalarValue::Float32(Some(0.1)), Some("'1e-1'::pg_catalog.float4")),
            (ScalarValue::Float64(Some(f64::NAN)), None),
            (
                ScalarValue::Binary(Some(vec![0, 255])),
                Some("'\\x00ff'::pg_catalog.bytea"),
            ),
            (text("a\0b"), None),
            (ScalarValue::Int64(None), None),
        ];
        for (value, expected) in cases {
            assert_eq!(literal(&value).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn verdicts() {
        let shape = shape();
        let exact = [
            compare(0, Comparison::Less, ScalarValue::Int64(Some(1))),
            compare(1, Comparison::NotEqual, text("a")),
            compare(6, Comparison::Less, ScalarValue::Float64(Some(1.5))),
            Predicate::IsTrue { column: 3 },
            Predicate::IsNull {
                column: 4,
                negated: false,
            },
        ];
        for predicate in exact {
            assert_eq!(shape.verdict(&predicate), Verdict::Exact, "{predicate:?}");
        }
        let local = [
            compare(1, Comparison::Less, text("a")),
            compare(1, Comparison::Equal, text("a\0")),
            compare(2, Comparison::Equal, text("a")),
            compare(4, Comparison::Equal, text("a")),
            compare(7, Comparison::Equal, text("a")),
            compare(6, Comparison::Equal, ScalarValue::Float64(Some(0.0))),
            compare(6, Comparison::Equal, ScalarValue::Float64(Some(f64::NAN))),
            Predicate::IsNull {
                column: 5,
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
}
