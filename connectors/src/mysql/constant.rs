//! Names and constants in MySQL's SQL.

use std::fmt::Write as _;

use arrow::datatypes::{Decimal128Type, Decimal256Type, DecimalType};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use datafusion::common::ScalarValue;

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
pub(super) fn constant(value: &ScalarValue) -> String {
    literal(value).unwrap_or_else(|| "NULL".to_owned())
}

/// A constant that means the same whatever the server's settings are.
pub(super) fn literal(value: &ScalarValue) -> Option<String> {
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

    fn text(value: &str) -> ScalarValue {
        ScalarValue::Utf8(Some(value.to_owned()))
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
}
