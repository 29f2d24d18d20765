//! Parameters of Bind as values.

use std::fmt::Write as _;
mod text;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, IntervalUnit, TimeUnit, i256};
use bytes::{Buf, Bytes};
use datafusion::scalar::ScalarValue;
use jiff::tz::TimeZone;

use crate::encode::Format;
use crate::encode::datetime::{DAY_MICROS, POSTGRES_EPOCH_DAYS};
use crate::fault::Fault;
use crate::types::{self, PgType};
use crate::wire::frontend::utf8;
use text::{text, text_array};

/// The Arrow type in which the planner sees a parameter of this Postgres type; None leaves it to the plan.
pub fn data_type(pg_type: PgType) -> Option<DataType> {
    let scalar = match pg_type.base.oid {
        16 => DataType::Boolean,
        17 | 16380 => DataType::Binary,
        21 => DataType::Int16,
        23 => DataType::Int32,
        20 | 24 | 26 | 28 | 2202..=2206 | 4089 | 4096 => DataType::Int64,
        700 => DataType::Float32,
        701 => DataType::Float64,
        1082 => DataType::Date32,
        1083 => DataType::Time64(TimeUnit::Microsecond),
        1114 => DataType::Timestamp(TimeUnit::Microsecond, None),
        1184 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        1186 => DataType::Interval(IntervalUnit::MonthDayNano),
        // precision and scale are those of the value: left to the plan, or to the literal
        1700 | 705 => return None,
        _ => DataType::Utf8,
    };
    Some(if pg_type.array {
        DataType::List(Arc::new(Field::new("item", scalar, true)))
    } else {
        scalar
    })
}

/// The value of a parameter.
///
/// `expected` is the type the plan wants, to which the value is cast where it differs.
pub fn decode(
    value: Option<&Bytes>,
    format: Format,
    pg_type: PgType,
    expected: Option<&DataType>,
    zone: &TimeZone,
) -> Result<ScalarValue, Fault> {
    let Some(bytes) = value else {
        let data_type = expected
            .cloned()
            .or_else(|| data_type(pg_type))
            .unwrap_or(DataType::Utf8);
        return ScalarValue::try_from(&data_type).map_err(|error| invalid(pg_type, &error.to_string()));
    };
    let decoded = match (format, pg_type.array) {
        (Format::Text, false) => text(utf8(bytes)?, pg_type, expected, zone)?,
        (Format::Binary, false) => binary(bytes.clone(), pg_type)?,
        (Format::Text, true) => text_array(utf8(bytes)?, pg_type, zone)?,
        (Format::Binary, true) => binary_array(bytes.clone(), pg_type)?,
    };
    match expected {
        Some(expected) if *expected != decoded.data_type() => decoded.cast_to(expected).map_err(|_| {
            Fault::error(
                "22003",
                format!(
                    "value of type {} is out of range for {expected}",
                    pg_type.sql_name()
                ),
            )
        }),
        _ => Ok(decoded),
    }
}

fn invalid(pg_type: PgType, text: &str) -> Fault {
    let code = if matches!(pg_type.base.oid, 1082 | 1083 | 1114 | 1184) {
        "22007"
    } else {
        "22P02"
    };
    let name = match pg_type.base.oid {
        1082 => "date",
        1083 => "time",
        1114 => "timestamp",
        1184 => "timestamp with time zone",
        _ => pg_type.base.sql_name,
    };
    Fault::error(code, format!("invalid input syntax for type {name}: \"{text}\""))
}

fn decimal(negative: bool, digits: &str, scale: i32) -> Option<ScalarValue> {
    let mut digits = digits.trim_start_matches('0').to_owned();
    let mut scale = scale;
    if scale < 0 {
        if scale < -76 {
            return None;
        }
        digits.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
        scale = 0;
    }
    let precision = digits.len().max(scale as usize).max(1);
    let signed = format!(
        "{}{}",
        if negative { "-" } else { "" },
        if digits.is_empty() { "0" } else { &digits }
    );
    let scale = i8::try_from(scale).ok()?;
    match precision {
        0..=38 => Some(ScalarValue::Decimal128(
            Some(signed.parse().ok()?),
            precision as u8,
            scale,
        )),
        39..=76 => Some(ScalarValue::Decimal256(
            Some(i256::from_string(&signed)?),
            precision as u8,
            scale,
        )),
        _ => None,
    }
}

fn binary(mut bytes: Bytes, pg_type: PgType) -> Result<ScalarValue, Fault> {
    let wrong = || {
        Fault::error(
            "22P03",
            format!("incorrect binary data format for type {}", pg_type.base.sql_name),
        )
    };
    let width = match pg_type.base.oid {
        16 => Some(1),
        21 => Some(2),
        23 | 24 | 26 | 28 | 700 | 1082 | 2202..=2206 | 4089 | 4096 => Some(4),
        20 | 701 | 1083 | 1114 | 1184 => Some(8),
        1186 | 2950 => Some(16),
        _ => None,
    };
    if width.is_some_and(|width| width != bytes.len()) {
        return Err(wrong());
    }
    let since_1970 = |micros: i64| micros.checked_add(POSTGRES_EPOCH_DAYS * DAY_MICROS);
    Ok(match pg_type.base.oid {
        16 => ScalarValue::from(bytes.get_u8() != 0),
        17 | 16380 => ScalarValue::Binary(Some(bytes.to_vec())),
        21 => ScalarValue::from(bytes.get_i16()),
        23 => ScalarValue::from(bytes.get_i32()),
        24 | 26 | 28 | 2202..=2206 | 4089 | 4096 => ScalarValue::from(i64::from(bytes.get_u32())),
        20 => ScalarValue::from(bytes.get_i64()),
        700 => ScalarValue::from(bytes.get_f32()),
        701 => ScalarValue::from(bytes.get_f64()),
        1082 => ScalarValue::Date32(Some(
            i32::try_from(i64::from(bytes.get_i32()) + POSTGRES_EPOCH_DAYS).map_err(|_| wrong())?,
        )),
        1083 => ScalarValue::Time64Microsecond(Some(bytes.get_i64())),
        1114 => ScalarValue::TimestampMicrosecond(Some(since_1970(bytes.get_i64()).ok_or_else(wrong)?), None),
        1184 => ScalarValue::TimestampMicrosecond(
            Some(since_1970(bytes.get_i64()).ok_or_else(wrong)?),
            Some("UTC".into()),
        ),
        1186 => {
            let (micros, days, months) = (bytes.get_i64(), bytes.get_i32(), bytes.get_i32());
            let nanoseconds = micros.checked_mul(1_000).ok_or_else(wrong)?;
            ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano {
                months,
                days,
                nanoseconds,
            }))
        }
        1700 => numeric_binary(bytes).ok_or_else(wrong)?,
        2950 => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
            ScalarValue::from(parts.join("-"))
        }
        3802 => {
            if bytes.first() != Some(&1) {
                return Err(wrong());
            }
            bytes.advance(1);
            ScalarValue::from(utf8(&bytes)?)
        }
        _ => ScalarValue::from(utf8(&bytes)?),
    })
}

fn numeric_binary(mut bytes: Bytes) -> Option<ScalarValue> {
    if bytes.len() < 8 {
        return None;
    }
    let (count, weight, sign, scale) = (bytes.get_u16(), bytes.get_i16(), bytes.get_u16(), bytes.get_u16());
    if bytes.len() != usize::from(count) * 2 || !matches!(sign, 0 | 0x4000) {
        return None;
    }
    let mut digits = String::new();
    for _ in 0..count {
        let group = bytes.get_u16();
        if group > 9_999 {
            return None;
        }
        let _ = write!(digits, "{group:04}");
    }
    // the last digit stands at the place 4 * (weight - count + 1)
    let actual = 4 * (i32::from(count) - 1 - i32::from(weight));
    let wanted = i32::from(scale);
    if actual > wanted {
        let cut = digits.len().checked_sub((actual - wanted) as usize)?;
        digits.truncate(cut);
    } else if wanted - actual <= 76 {
        digits.extend(std::iter::repeat_n('0', (wanted - actual) as usize));
    } else {
        return None;
    }
    decimal(sign == 0x4000, &digits, wanted)
}

fn list(values: &[ScalarValue], pg_type: PgType) -> ScalarValue {
    let item = values
        .iter()
        .find(|value| !value.is_null())
        .map(ScalarValue::data_type)
        .or_else(|| {
            data_type(PgType {
                array: false,
                ..pg_type
            })
        })
        .unwrap_or(DataType::Utf8);
    ScalarValue::List(ScalarValue::new_list_nullable(values, &item))
}

fn null_element(pg_type: PgType) -> ScalarValue {
    data_type(pg_type)
        .and_then(|data_type| ScalarValue::try_from(&data_type).ok())
        .unwrap_or(ScalarValue::Null)
}

fn binary_array(mut bytes: Bytes, pg_type: PgType) -> Result<ScalarValue, Fault> {
    let wrong = || {
        Fault::error(
            "22P03",
            format!("incorrect binary data format for type {}", pg_type.sql_name()),
        )
    };
    if bytes.len() < 12 {
        return Err(wrong());
    }
    let (dimensions, _has_null, oid) = (bytes.get_i32(), bytes.get_i32(), bytes.get_u32());
    let element = types::by_oid(oid).ok_or_else(wrong)?;
    let mut values = Vec::new();
    if dimensions == 0 {
        return Ok(list(&values, pg_type));
    }
    if dimensions != 1 {
        return Err(Fault::error(
            "0A000",
            "arrays of more than one dimension are not supported as parameters",
        ));
    }
    if bytes.len() < 8 {
        return Err(wrong());
    }
    let (length, _lower) = (bytes.get_i32(), bytes.get_i32());
    for _ in 0..length {
        if bytes.len() < 4 {
            return Err(wrong());
        }
        match bytes.get_i32() {
            -1 => values.push(null_element(element)),
            size => match usize::try_from(size) {
                Ok(size) if size <= bytes.len() => values.push(binary(bytes.split_to(size), element)?),
                _ => return Err(wrong()),
            },
        }
    }
    if bytes.is_empty() {
        Ok(list(&values, pg_type))
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{EncodeContext, RowEncoder};
    use arrow::array::RecordBatch;
    use bytes::BytesMut;

    /// Decodes a parameter and prints it as a result column does.
    fn through(value: &[u8], format: Format, oid: u32) -> Result<String, &'static str> {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        let pg_type = types::by_oid(oid).unwrap();
        let decoded = decode(Some(&Bytes::copy_from_slice(value)), format, pg_type, None, &zone)
            .map_err(|fault| fault.code)?;
        let batch = RecordBatch::try_from_iter([("c", decoded.to_array().unwrap())]).unwrap();
        let encoder = RowEncoder::new(
            &batch.schema(),
            &[],
            EncodeContext {
                time_zone: zone,
                reg_names: None,
            },
        );
        let mut out = BytesMut::new();
        encoder.encode(&batch, 0, 1, usize::MAX, &mut out).unwrap();
        Ok(String::from_utf8_lossy(&out[11..]).into_owned())
    }

    #[test]
    fn text_parameters() {
        let cases = [
            (16, "t", Ok("t")),
            (16, "maybe", Err("22P02")),
            (17, "\\x00fF", Ok("\\x00ff")),
            (17, "a\\\\b\\001", Ok("\\x615c6201")),
            (21, "32768", Err("22003")),
            (23, " 7 ", Ok("7")),
            (23, "7x", Err("22P02")),
            (20, "-9223372036854775808", Ok("-9223372036854775808")),
            (26, "4000000000", Ok("4000000000")),
            (701, "1e-7", Ok("1e-07")),
            (701, "NaN", Ok("NaN")),
            (1700, "0012.340", Ok("12.340")),
            (1700, "1.5e3", Ok("1500")),
            (1700, "-.5", Ok("-0.5")),
            (
                1700,
                "123456789012345678901234567890123456789.1",
                Ok("123456789012345678901234567890123456789.1"),
            ),
            (1700, "1,5", Err("22P02")),
            (1082, "2024-02-29", Ok("2024-02-29")),
            (1082, "2024-02-30", Err("22007")),
            (1083, "01:02:03.5", Ok("01:02:03.5")),
            (1114, "2024-02-29 12:00:00.25", Ok("2024-02-29 12:00:00.25")),
            (1114, "soon", Err("22007")),
            (1184, "2024-02-29 12:00:00+00", Ok("2024-02-29 21:00:00+09")),
            (1184, "2024-02-29 12:00:00", Ok("2024-02-29 12:00:00+09")),
            (1184, "2024-02-29T12:00:00Z", Ok("2024-02-29 21:00:00+09")),
            (1186, "1 mon 2 days 00:00:03", Ok("1 mon 2 days 00:00:03")),
            (
                1186,
                "1 years 2 mons 3 days 4 hours 5 mins 6.5 secs",
                Ok("1 year 2 mons 3 days 04:05:06.5"),
            ),
            (1186, "1.5 days ago", Ok("-36:00:00")),
            (1186, "-00:30", Ok("-00:30:00")),
            (1186, "1.5 months", Err("22P02")),
            (1186, "a while", Err("22P02")),
            (25, "text", Ok("text")),
            (1007, "{1,NULL,3}", Ok("{1,NULL,3}")),
            (1009, "{\"a b\",c,\"\\\"\"}", Ok("{\"a b\",c,\"\\\"\"}")),
            (1007, "{}", Ok("{}")),
            (1007, "1,2", Err("22P02")),
            (1007, "{1,}", Err("22P02")),
        ];
        for (oid, text, expected) in cases {
            assert_eq!(
                through(text.as_bytes(), Format::Text, oid)
                    .as_deref()
                    .map_err(|code| *code),
                expected,
                "{oid} {text}"
            );
        }
    }

    #[test]
    fn binary_parameters() {
        let cases: [(u32, &[u8], Result<&str, &str>); 14] = [
            (16, &[1], Ok("t")),
            (16, &[1, 2], Err("22P03")),
            (21, &[0xff, 0xff], Ok("-1")),
            (20, &[0, 0, 0, 0, 0, 0, 1, 0], Ok("256")),
            (701, &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], Ok("1.5")),
            (1082, &[0, 0, 0, 1], Ok("2000-01-02")),
            (1114, &[0, 0, 0, 0, 0, 0, 0, 1], Ok("2000-01-01 00:00:00.000001")),
            (1184, &[0, 0, 0, 0, 0, 0, 0, 0], Ok("2000-01-01 09:00:00+09")),
            (
                1186,
                &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
                Ok("3 mons 2 days 00:00:00.000001"),
            ),
            (
                1700,
                &[0, 2, 0, 0, 0x40, 0, 0, 2, 0, 123, 0x11, 0x94],
                Ok("-123.45"),
            ),
            (1700, &[0, 1, 0, 1, 0, 0, 0, 1, 0, 1], Ok("10000.0")),
            (1700, &[0, 1, 0, 0, 0xc0, 0, 0, 0, 0, 1], Err("22P03")),
            (
                1007,
                &[
                    0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 5,
                ],
                Ok("{5}"),
            ),
            (3802, b"\x01{}", Ok("{}")),
        ];
        for (oid, bytes, expected) in cases {
            assert_eq!(
                through(bytes, Format::Binary, oid)
                    .as_deref()
                    .map_err(|code| *code),
                expected,
                "{oid} {bytes:?}"
            );
        }
    }

    #[test]
    fn nulls_and_casts_follow_the_plan() {
        let zone = TimeZone::UTC;
        let integer = types::by_oid(23).unwrap();
        let null = decode(None, Format::Text, integer, Some(&DataType::Int64), &zone).unwrap();
        assert_eq!(null, ScalarValue::Int64(None));
        let five = decode(
            Some(&Bytes::from_static(b"5")),
            Format::Text,
            integer,
            Some(&DataType::Int64),
            &zone,
        )
        .unwrap();
        assert_eq!(five, ScalarValue::Int64(Some(5)));
        let wide = decode(
            Some(&Bytes::from_static(b"500")),
            Format::Text,
            integer,
            Some(&DataType::Int8),
            &zone,
        );
        assert_eq!(wide.unwrap_err().code, "22003");
    }
}
