//! What the constants of all dialects are made of.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use arrow::datatypes::{Decimal128Type, Decimal256Type, DecimalType};
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::ScalarValue;

/// Text as a constant where no setting makes a backslash special: only the quote is.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The digits of a decimal, with its point; none of what is no decimal.
pub(crate) fn decimal(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Decimal128(Some(value), precision, scale) => {
            Some(Decimal128Type::format_decimal(*value, *precision, *scale))
        }
        ScalarValue::Decimal256(Some(value), precision, scale) => {
            Some(Decimal256Type::format_decimal(*value, *precision, *scale))
        }
        _ => None,
    }
}

/// Two lower-case digits a byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// `2026-11-25`, so many days after 1970-01-01; none outside of these years.
pub(crate) fn date(days: i32, years: &RangeInclusive<i32>) -> Option<String> {
    /// Days from 0000-12-31, chrono's day zero, to 1970-01-01.
    const COMMON_ERA_DAYS: i32 = 719_163;
    let date = NaiveDate::from_num_days_from_ce_opt(days.checked_add(COMMON_ERA_DAYS)?)?;
    years
        .contains(&date.year())
        .then(|| date.format("%Y-%m-%d").to_string())
}

/// `2026-11-25 10:00:00.000000`, so many microseconds after 1970 in UTC; none outside of these years.
pub(crate) fn date_time(micros: i64, years: &RangeInclusive<i32>) -> Option<String> {
    let instant = DateTime::from_timestamp_micros(micros)?.naive_utc();
    years
        .contains(&instant.year())
        .then(|| instant.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}
