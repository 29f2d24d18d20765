//! Names and constants in PostgreSQL's SQL.

use std::ops::RangeInclusive;

use datafusion::common::ScalarValue;

/// `standard_conforming_strings` is pinned on.
pub(super) use crate::server::constant::quoted;
use crate::server::constant::{date, date_time, decimal, hexadecimal};

/// Those whose spelling nobody doubts.
const YEARS: RangeInclusive<i32> = 1..=9999;

/// A name, quoted. Names hold no NUL, by the server's own rule.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Only for constants whose verdict was Exact, so NULL stands for none.
pub(super) fn constant(value: &ScalarValue) -> String {
    literal(value).unwrap_or_else(|| "NULL".to_owned())
}

/// A constant that means the same whatever the server's settings are.
pub(super) fn literal(value: &ScalarValue) -> Option<String> {
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
        ScalarValue::Decimal128(..) | ScalarValue::Decimal256(..) => {
            format!("'{}'::pg_catalog.numeric", decimal(value)?)
        }
        ScalarValue::Utf8(Some(text)) if !text.contains('\0') => {
            format!("{}::pg_catalog.text", quoted(text))
        }
        ScalarValue::Binary(Some(bytes)) => {
            format!("'\\x{}'::pg_catalog.bytea", hexadecimal(bytes))
        }
        ScalarValue::Date32(Some(days)) => {
            format!("'{}'::pg_catalog.date", date(*days, &YEARS)?)
        }
        ScalarValue::TimestampMicrosecond(Some(micros), None) => {
            format!("'{}'::pg_catalog.timestamp", date_time(*micros, &YEARS)?)
        }
        ScalarValue::TimestampMicrosecond(Some(micros), Some(_)) => {
            format!("'{}+00'::pg_catalog.timestamptz", date_time(*micros, &YEARS)?)
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

/// From here a list is one array: a tenth of the text, and one constant to parse.
const LONG_LIST: usize = 151;

/// That a column has one of many whole numbers of one type. As IN, NULL among neither.
pub(super) fn any_of(column: &str, values: &[ScalarValue]) -> Option<String> {
    if values.len() < LONG_LIST {
        return None;
    }
    let (name, digits): (_, Vec<String>) = match values.first()? {
        ScalarValue::Int16(_) => ("int2", values.iter().map_while(whole).collect()),
        ScalarValue::Int32(_) => ("int4", values.iter().map_while(whole).collect()),
        ScalarValue::Int64(_) => ("int8", values.iter().map_while(whole).collect()),
        _ => return None,
    };
    // the type of the first is that of all, in a list that was made for one column
    (digits.len() == values.len()).then(|| {
        format!(
            "({column} = ANY ('{{{}}}'::pg_catalog.{name}[]))",
            digits.join(",")
        )
    })
}

fn whole(value: &ScalarValue) -> Option<String> {
    match value {
        ScalarValue::Int16(Some(value)) => Some(value.to_string()),
        ScalarValue::Int32(Some(value)) => Some(value.to_string()),
        ScalarValue::Int64(Some(value)) => Some(value.to_string()),
        _ => None,
    }
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
}
