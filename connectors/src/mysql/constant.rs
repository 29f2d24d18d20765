//! Names and constants in MySQL's SQL.

use std::ops::RangeInclusive;

use datafusion::common::ScalarValue;

/// `NO_BACKSLASH_ESCAPES` is pinned.
pub(super) use crate::server::constant::quoted;
use crate::server::constant::{date, date_time, decimal, hexadecimal};

/// Those that MySQL says it supports.
const YEARS: RangeInclusive<i32> = 1000..=9999;

/// A name, quoted.
pub(super) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
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
        ScalarValue::Decimal128(..) | ScalarValue::Decimal256(..) => decimal(value)?,
        ScalarValue::Utf8(Some(text)) if !text.contains('\0') => quoted(text),
        ScalarValue::Binary(Some(bytes)) => format!("x'{}'", hexadecimal(bytes)),
        ScalarValue::Date32(Some(days)) => format!("DATE'{}'", date(*days, &YEARS)?),
        // The session's time zone is UTC, so both kinds are spelled alike.
        ScalarValue::TimestampMicrosecond(Some(micros), _) => {
            format!("TIMESTAMP'{}'", date_time(*micros, &YEARS)?)
        }
        _ => return None,
    })
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
