//! Scalar columns in text and binary.

use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType,
    IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use bytes::{BufMut, BytesMut};

use super::datetime::{
    DAY_MICROS, Interval, POSTGRES_EPOCH_DAYS, ZoneCache, put_date, put_time, put_timestamp, put_timestamptz,
};
use super::number::{Decimal, put_f32, put_f64, put_integer, put_unsigned};
use super::{BoxedCells, EncodeContext, EncodeFailure, Written, with};
use crate::types::{FREE_NUMERIC, GEOMETRY, PgType};

/// Cells of a primitive array, each by its native value.
pub(super) fn primitive<'a, T: ArrowPrimitiveType>(
    array: &'a dyn Array,
    write: impl Fn(T::Native, &mut BytesMut) -> Written + 'a,
) -> BoxedCells<'a> {
    with(
        array.as_primitive::<T>(),
        move |array: &PrimitiveArray<T>, row, out| write(array.value(row), out),
    )
}

/// Cells of any integer column, widened; `UInt64` is not one of them.
fn integer<'a>(array: &'a dyn Array, write: impl Fn(i64, &mut BytesMut) + 'a) -> Option<BoxedCells<'a>> {
    macro_rules! widen {
        ($t:ty) => {
            primitive::<$t>(array, move |value, out| {
                write(i64::from(value), out);
                Ok(())
            })
        };
    }
    Some(match array.data_type() {
        DataType::Int8 => widen!(Int8Type),
        DataType::Int16 => widen!(Int16Type),
        DataType::Int32 => widen!(Int32Type),
        DataType::Int64 => widen!(Int64Type),
        DataType::UInt8 => widen!(UInt8Type),
        DataType::UInt16 => widen!(UInt16Type),
        DataType::UInt32 => widen!(UInt32Type),
        _ => return None,
    })
}

/// Cells of a text column.
fn string<'a>(
    array: &'a dyn Array,
    write: impl Fn(&str, &mut BytesMut) -> Written + 'a,
) -> Option<BoxedCells<'a>> {
    Some(match array.data_type() {
        DataType::Utf8 => with(array.as_string::<i32>(), move |array, row, out| {
            write(array.value(row), out)
        }),
        DataType::LargeUtf8 => with(array.as_string::<i64>(), move |array, row, out| {
            write(array.value(row), out)
        }),
        DataType::Utf8View => with(array.as_string_view(), move |array, row, out| {
            write(array.value(row), out)
        }),
        _ => return None,
    })
}

/// Cells of a column of bytes.
fn bytes<'a>(array: &'a dyn Array, write: impl Fn(&[u8], &mut BytesMut) + 'a) -> Option<BoxedCells<'a>> {
    macro_rules! each {
        ($array:expr) => {
            with($array, move |array, row, out| {
                write(array.value(row), out);
                Ok(())
            })
        };
    }
    Some(match array.data_type() {
        DataType::Binary => each!(array.as_binary::<i32>()),
        DataType::LargeBinary => each!(array.as_binary::<i64>()),
        DataType::BinaryView => each!(array.as_binary_view()),
        DataType::FixedSizeBinary(_) => each!(array.as_fixed_size_binary()),
        _ => return None,
    })
}

/// PostGIS prints capitals.
const fn hex_digit(value: u8) -> u8 {
    if value < 10 {
        b'0' + value
    } else {
        b'A' + value - 10
    }
}

/// Cells of a decimal column and of `UInt64`.
fn decimal<'a>(array: &'a dyn Array, write: impl Fn(Decimal, &mut BytesMut) + 'a) -> Option<BoxedCells<'a>> {
    macro_rules! each {
        ($t:ty, $scale:expr, $make:expr) => {{
            let scale = $scale;
            primitive::<$t>(array, move |value, out| {
                write($make(value.into(), scale), out);
                Ok(())
            })
        }};
    }
    Some(match array.data_type() {
        DataType::Decimal32(_, scale) => each!(Decimal32Type, *scale, Decimal::from_i128),
        DataType::Decimal64(_, scale) => each!(Decimal64Type, *scale, Decimal::from_i128),
        DataType::Decimal128(_, scale) => each!(Decimal128Type, *scale, Decimal::from_i128),
        free if *free == FREE_NUMERIC => each!(Decimal256Type, 38, |value, scale| {
            Decimal::from_i256(value, scale).trimmed()
        }),
        DataType::Decimal256(_, scale) => each!(Decimal256Type, *scale, Decimal::from_i256),
        DataType::UInt64 => each!(UInt64Type, 0, Decimal::from_i128),
        _ => return None,
    })
}

/// Days since 1970-01-01.
fn date<'a>(
    array: &'a dyn Array,
    write: impl Fn(i64, &mut BytesMut) -> Written + 'a,
) -> Option<BoxedCells<'a>> {
    Some(match array.data_type() {
        DataType::Date32 => primitive::<Date32Type>(array, move |value, out| write(i64::from(value), out)),
        DataType::Date64 => {
            primitive::<Date64Type>(array, move |value, out| write(value.div_euclid(86_400_000), out))
        }
        _ => return None,
    })
}

/// A number of `unit`s in microseconds; what is below them is cut off downwards.
fn to_micros(value: i64, unit: TimeUnit, what: &'static str) -> Result<i64, EncodeFailure> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond => Some(value.div_euclid(1_000)),
    }
    .ok_or(EncodeFailure::OutOfRange(what))
}

/// Microseconds of a timestamp, time or duration column.
pub(super) fn micros<'a>(
    array: &'a dyn Array,
    write: impl Fn(i64, &mut BytesMut) -> Written + 'a,
) -> Option<BoxedCells<'a>> {
    macro_rules! unit {
        ($t:ty, $unit:expr, $what:literal) => {
            primitive::<$t>(array, move |value, out| {
                write(to_micros(value.into(), $unit, $what)?, out)
            })
        };
    }
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    Some(match array.data_type() {
        DataType::Timestamp(Second, _) => unit!(TimestampSecondType, Second, "timestamp"),
        DataType::Timestamp(Millisecond, _) => unit!(TimestampMillisecondType, Millisecond, "timestamp"),
        DataType::Timestamp(Microsecond, _) => unit!(TimestampMicrosecondType, Microsecond, "timestamp"),
        DataType::Timestamp(Nanosecond, _) => unit!(TimestampNanosecondType, Nanosecond, "timestamp"),
        DataType::Time32(Second) => unit!(Time32SecondType, Second, "time"),
        DataType::Time32(_) => unit!(Time32MillisecondType, Millisecond, "time"),
        DataType::Time64(Microsecond) => unit!(Time64MicrosecondType, Microsecond, "time"),
        DataType::Time64(_) => unit!(Time64NanosecondType, Nanosecond, "time"),
        DataType::Duration(Second) => unit!(DurationSecondType, Second, "interval"),
        DataType::Duration(Millisecond) => unit!(DurationMillisecondType, Millisecond, "interval"),
        DataType::Duration(Microsecond) => unit!(DurationMicrosecondType, Microsecond, "interval"),
        DataType::Duration(Nanosecond) => unit!(DurationNanosecondType, Nanosecond, "interval"),
        _ => return None,
    })
}

/// Cells of an interval or duration column.
pub(super) fn interval<'a>(
    array: &'a dyn Array,
    write: impl Fn(Interval, &mut BytesMut) + 'a,
) -> Option<BoxedCells<'a>> {
    macro_rules! each {
        ($t:ty, $make:expr) => {
            primitive::<$t>(array, move |value, out| {
                write($make(value), out);
                Ok(())
            })
        };
    }
    Some(match array.data_type() {
        DataType::Interval(IntervalUnit::YearMonth) => {
            each!(IntervalYearMonthType, |months| Interval {
                months,
                days: 0,
                micros: 0
            })
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            each!(IntervalDayTimeType, |value: arrow::datatypes::IntervalDayTime| {
                Interval {
                    months: 0,
                    days: value.days,
                    micros: i64::from(value.milliseconds) * 1_000,
                }
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            each!(
                IntervalMonthDayNanoType,
                |value: arrow::datatypes::IntervalMonthDayNano| Interval {
                    months: value.months,
                    days: value.days,
                    micros: value.nanoseconds.div_euclid(1_000),
                }
            )
        }
        DataType::Duration(_) => {
            return micros(array, move |micros, out| {
                write(
                    Interval {
                        months: 0,
                        days: 0,
                        micros,
                    },
                    out,
                );
                Ok(())
            });
        }
        _ => return None,
    })
}

/// The groups above cover every type of today's Arrow; one added later prints as Arrow displays it.
fn displayed(array: &dyn Array) -> BoxedCells<'_> {
    let options = arrow::util::display::FormatOptions::default();
    match arrow::util::display::ArrayFormatter::try_new(array, &options) {
        Ok(formatter) => {
            let formatted: Vec<String> = (0..array.len())
                .map(|row| formatter.value(row).to_string())
                .collect();
            Box::new(Displayed {
                nulls: array.logical_nulls(),
                formatted,
            })
        }
        Err(_) => Box::new(super::AllNull),
    }
}

struct Displayed {
    nulls: Option<arrow::buffer::NullBuffer>,
    formatted: Vec<String>,
}

impl super::Cells for Displayed {
    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    fn write(&self, row: usize, out: &mut BytesMut) -> Written {
        out.put_slice(self.formatted[row].as_bytes());
        Ok(())
    }
}

/// `\x` and lower-case hexadecimal digits.
pub(super) fn put_hex(value: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.put_slice(b"\\x");
    for byte in value {
        out.put_u8(DIGITS[usize::from(byte >> 4)]);
        out.put_u8(DIGITS[usize::from(byte & 15)]);
    }
}

fn put_uuid(value: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in value.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.put_u8(b'-');
        }
        out.put_u8(DIGITS[usize::from(byte >> 4)]);
        out.put_u8(DIGITS[usize::from(byte & 15)]);
    }
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.bytes().filter(|byte| !matches!(byte, b'-' | b'{' | b'}'));
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        let (high, low) = (
            (digits.next()? as char).to_digit(16)?,
            (digits.next()? as char).to_digit(16)?,
        );
        *byte = (high << 4 | low) as u8;
    }
    digits.next().is_none().then_some(uuid)
}

/// Whether the type is one of Postgres' four-byte identifiers.
pub(super) fn is_identifier(oid: u32) -> bool {
    matches!(oid, 24 | 26 | 28 | 2202 | 2203 | 2205 | 2206 | 4089 | 4096)
}

/// A column in text format.
pub(super) fn text<'a>(array: &'a dyn Array, pg_type: PgType, context: &'a EncodeContext) -> BoxedCells<'a> {
    let oid = pg_type.base.oid;
    if is_identifier(oid) {
        let names = context.reg_names.as_deref().filter(|_| !matches!(oid, 26 | 28));
        if let Some(cells) = integer(array, move |value, out| {
            match names.and_then(|names| names.name(oid, value as u32)) {
                Some(name) => out.put_slice(name.as_bytes()),
                // regproc and its kin print the missing object 0 as a dash
                None if value == 0 && !matches!(oid, 26 | 28) => out.put_u8(b'-'),
                None => put_integer(value, out),
            }
        }) {
            return cells;
        }
    }
    if oid == 2950 && matches!(array.data_type(), DataType::FixedSizeBinary(16)) {
        return with(array.as_fixed_size_binary(), |array, row, out| {
            put_uuid(array.value(row), out);
            Ok(())
        });
    }
    if oid == GEOMETRY.oid
        && let Some(cells) = bytes(array, |value, out| {
            for byte in value {
                out.put_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
            }
        })
    {
        return cells;
    }
    let simple = match array.data_type() {
        DataType::Boolean => Some(with(array.as_boolean(), |array, row, out| {
            out.put_u8(if array.value(row) { b't' } else { b'f' });
            Ok(())
        })),
        DataType::Float16 => Some(primitive::<Float16Type>(array, |value, out| {
            put_f32(value.to_f32(), out);
            Ok(())
        })),
        DataType::Float32 => Some(primitive::<Float32Type>(array, |value, out| {
            put_f32(value, out);
            Ok(())
        })),
        DataType::Float64 => Some(primitive::<Float64Type>(array, |value, out| {
            put_f64(value, out);
            Ok(())
        })),
        DataType::UInt64 => Some(primitive::<UInt64Type>(array, |value, out| {
            put_unsigned(value, out);
            Ok(())
        })),
        DataType::Timestamp(_, None) => micros(array, |value, out| {
            put_timestamp(value, out);
            Ok(())
        }),
        DataType::Timestamp(_, Some(_)) => {
            let zone = ZoneCache::new(context.time_zone.clone());
            micros(array, move |value, out| {
                put_timestamptz(value, &zone, out);
                Ok(())
            })
        }
        DataType::Time32(_) | DataType::Time64(_) => micros(array, |value, out| {
            if !(0..=DAY_MICROS).contains(&value) {
                return Err(EncodeFailure::OutOfRange("time"));
            }
            put_time(value, out);
            Ok(())
        }),
        _ => None,
    };
    simple
        .or_else(|| integer(array, put_integer))
        .or_else(|| {
            string(array, |value, out| {
                out.put_slice(value.as_bytes());
                Ok(())
            })
        })
        .or_else(|| decimal(array, |value, out| value.put_text(out)))
        .or_else(|| {
            date(array, |days, out| {
                put_date(days, out);
                Ok(())
            })
        })
        .or_else(|| bytes(array, put_hex))
        .or_else(|| interval(array, Interval::put))
        .unwrap_or_else(|| displayed(array))
}

/// A column in binary format.
pub(super) fn binary(array: &dyn Array, pg_type: PgType) -> BoxedCells<'_> {
    let oid = pg_type.base.oid;
    let simple = match array.data_type() {
        DataType::Boolean => Some(with(array.as_boolean(), |array, row, out| {
            out.put_u8(u8::from(array.value(row)));
            Ok(())
        })),
        DataType::Float16 => Some(primitive::<Float16Type>(array, |value, out| {
            out.put_f32(value.to_f32());
            Ok(())
        })),
        DataType::Float32 => Some(primitive::<Float32Type>(array, |value, out| {
            out.put_f32(value);
            Ok(())
        })),
        DataType::Float64 => Some(primitive::<Float64Type>(array, |value, out| {
            out.put_f64(value);
            Ok(())
        })),
        DataType::Timestamp(_, _) => micros(array, |value, out| {
            let since = value
                .checked_sub(POSTGRES_EPOCH_DAYS * DAY_MICROS)
                .ok_or(EncodeFailure::OutOfRange("timestamp"))?;
            out.put_i64(since);
            Ok(())
        }),
        DataType::Time32(_) | DataType::Time64(_) => micros(array, |value, out| {
            if !(0..=DAY_MICROS).contains(&value) {
                return Err(EncodeFailure::OutOfRange("time"));
            }
            out.put_i64(value);
            Ok(())
        }),
        _ => None,
    };
    simple
        .or_else(|| match oid {
            21 => integer(array, |value, out| out.put_i16(value as i16)),
            23 => integer(array, |value, out| out.put_i32(value as i32)),
            _ if is_identifier(oid) => integer(array, |value, out| out.put_u32(value as u32)),
            _ => integer(array, |value, out| out.put_i64(value)),
        })
        .or_else(|| match oid {
            2950 => string(array, |value, out| {
                out.put_slice(&parse_uuid(value).ok_or(EncodeFailure::Invalid("uuid"))?);
                Ok(())
            }),
            18 => string(array, |value, out| {
                out.put_u8(value.bytes().next().unwrap_or(0));
                Ok(())
            }),
            22 | 30 => string(array, move |value, out| {
                super::nested::put_vector_text(value, oid, out)
            }),
            3802 => string(array, |value, out| {
                // jsonb's only version
                out.put_u8(1);
                out.put_slice(value.as_bytes());
                Ok(())
            }),
            _ => string(array, |value, out| {
                out.put_slice(value.as_bytes());
                Ok(())
            }),
        })
        .or_else(|| decimal(array, |value, out| value.put_binary(out)))
        .or_else(|| {
            date(array, |days, out| {
                let days = i32::try_from(days - POSTGRES_EPOCH_DAYS)
                    .map_err(|_| EncodeFailure::OutOfRange("date"))?;
                out.put_i32(days);
                Ok(())
            })
        })
        .or_else(|| bytes(array, |value, out| out.put_slice(value)))
        .or_else(|| {
            interval(array, |value, out| {
                out.put_i64(value.micros);
                out.put_i32(value.days);
                out.put_i32(value.months);
            })
        })
        .unwrap_or_else(|| displayed(array))
}
