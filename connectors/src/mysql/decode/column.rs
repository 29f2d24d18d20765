//! One column of binary values into one Arrow builder.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};

use super::temporal::{date, instant, push_time};
use super::{MAX_VALUE_BYTES, Problem};
use crate::decimal::{Unscaled, parse_decimal};
use crate::mysql::types::Wire;
use crate::mysql::wire::Reader;

/// Appends values of one column, as the binary protocol writes its type.
#[derive(Debug)]
pub(super) enum Column {
    Bool(BooleanBuilder),
    Bits(Int64Builder),
    WideBits(Decimal128Builder),
    Tiny(Int16Builder),
    TinyUnsigned(Int16Builder),
    Small(Int16Builder),
    SmallUnsigned(Int32Builder),
    /// INT, and MEDIUMINT of either sign: four bytes.
    Int(Int32Builder),
    IntUnsigned(Int64Builder),
    Big(Int64Builder),
    BigUnsigned(Decimal128Builder),
    Year(Int16Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    Decimal128 {
        values: Decimal128Builder,
        precision: u8,
        scale: i8,
    },
    Decimal256 {
        values: Decimal256Builder,
        precision: u8,
        scale: i8,
    },
    Text(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Instant(TimestampMicrosecondBuilder),
    Time {
        values: StringBuilder,
        fraction: u8,
        text: String,
    },
}

impl Column {
    /// A builder whose arrays have exactly `wire.data_type()`.
    pub(super) fn new(wire: &Wire) -> Result<Self, Problem> {
        let impossible = |_| Problem::Malformed("decimal type");
        let big = || Decimal128Builder::new().with_data_type(wire.data_type());
        Ok(match *wire {
            Wire::Bool => Self::Bool(BooleanBuilder::new()),
            Wire::Bits => Self::Bits(Int64Builder::new()),
            Wire::WideBits => Self::WideBits(big()),
            Wire::Tiny { unsigned: false } => Self::Tiny(Int16Builder::new()),
            Wire::Tiny { unsigned: true } => Self::TinyUnsigned(Int16Builder::new()),
            Wire::Small { unsigned: false } => Self::Small(Int16Builder::new()),
            Wire::Small { unsigned: true } => Self::SmallUnsigned(Int32Builder::new()),
            Wire::Medium { .. } | Wire::Int { unsigned: false } => Self::Int(Int32Builder::new()),
            Wire::Int { unsigned: true } => Self::IntUnsigned(Int64Builder::new()),
            Wire::Big { unsigned: false } => Self::Big(Int64Builder::new()),
            Wire::Big { unsigned: true } => Self::BigUnsigned(big()),
            Wire::Year => Self::Year(Int16Builder::new()),
            Wire::Float => Self::Float(Float32Builder::new()),
            Wire::Double => Self::Double(Float64Builder::new()),
            Wire::Decimal128 { precision, scale } => Self::Decimal128 {
                values: Decimal128Builder::new()
                    .with_precision_and_scale(precision, scale)
                    .map_err(impossible)?,
                precision,
                scale,
            },
            Wire::Decimal256 { precision, scale } => Self::Decimal256 {
                values: Decimal256Builder::new()
                    .with_precision_and_scale(precision, scale)
                    .map_err(impossible)?,
                precision,
                scale,
            },
            Wire::Text | Wire::Cast => Self::Text(StringBuilder::new()),
            Wire::Binary | Wire::Geometry { .. } => Self::Binary(BinaryBuilder::new()),
            Wire::Date => Self::Date(Date32Builder::new()),
            Wire::DateTime => Self::Instant(TimestampMicrosecondBuilder::new()),
            Wire::Timestamp => Self::Instant(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Wire::Time { fraction } => Self::Time {
                values: StringBuilder::new(),
                fraction,
                text: String::new(),
            },
        })
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Self::Bool(values) => values.append_null(),
            Self::Tiny(values) | Self::TinyUnsigned(values) | Self::Small(values) | Self::Year(values) => {
                values.append_null();
            }
            Self::SmallUnsigned(values) | Self::Int(values) => values.append_null(),
            Self::Bits(values) | Self::IntUnsigned(values) | Self::Big(values) => values.append_null(),
            Self::WideBits(values) | Self::BigUnsigned(values) | Self::Decimal128 { values, .. } => {
                values.append_null();
            }
            Self::Decimal256 { values, .. } => values.append_null(),
            Self::Float(values) => values.append_null(),
            Self::Double(values) => values.append_null(),
            Self::Text(values) | Self::Time { values, .. } => values.append_null(),
            Self::Binary(values) => values.append_null(),
            Self::Date(values) => values.append_null(),
            Self::Instant(values) => values.append_null(),
        }
    }

    /// Appends the value that the row goes on with, which is not NULL.
    pub(super) fn append(&mut self, row: &mut Reader<'_>) -> Result<(), Problem> {
        match self {
            Self::Bool(values) => match bits(row)? {
                0 => values.append_value(false),
                1 => values.append_value(true),
                _ => return Err(Problem::Malformed("BIT(1)")),
            },
            Self::Bits(values) => {
                let bits = i64::try_from(bits(row)?).map_err(|_| Problem::Malformed("BIT"))?;
                values.append_value(bits);
            }
            Self::WideBits(values) => values.append_value(bits(row)?.into()),
            Self::Tiny(values) => values.append_value(i8::from_le_bytes(fixed(row, "TINYINT")?).into()),
            Self::TinyUnsigned(values) => {
                values.append_value(u8::from_le_bytes(fixed(row, "TINYINT UNSIGNED")?).into());
            }
            Self::Small(values) => values.append_value(i16::from_le_bytes(fixed(row, "SMALLINT")?)),
            Self::SmallUnsigned(values) => {
                values.append_value(u16::from_le_bytes(fixed(row, "SMALLINT UNSIGNED")?).into());
            }
            Self::Int(values) => values.append_value(i32::from_le_bytes(fixed(row, "INT")?)),
            Self::IntUnsigned(values) => {
                values.append_value(u32::from_le_bytes(fixed(row, "INT UNSIGNED")?).into());
            }
            Self::Big(values) => values.append_value(i64::from_le_bytes(fixed(row, "BIGINT")?)),
            Self::BigUnsigned(values) => {
                values.append_value(u64::from_le_bytes(fixed(row, "BIGINT UNSIGNED")?).into());
            }
            // At most 2155.
            Self::Year(values) => values.append_value(i16::from_le_bytes(fixed(row, "YEAR")?)),
            Self::Float(values) => values.append_value(f32::from_le_bytes(fixed(row, "FLOAT")?)),
            Self::Double(values) => values.append_value(f64::from_le_bytes(fixed(row, "DOUBLE")?)),
            Self::Decimal128 {
                values,
                precision,
                scale,
            } => values.append_value(decimal(row, *precision, *scale)?),
            Self::Decimal256 {
                values,
                precision,
                scale,
            } => values.append_value(decimal(row, *precision, *scale)?),
            Self::Text(values) => {
                let bytes = bytes(row, "text")?;
                values.append_value(std::str::from_utf8(bytes).map_err(|_| Problem::NotUtf8)?);
            }
            Self::Binary(values) => values.append_value(bytes(row, "binary")?),
            Self::Date(values) => values.append_value(date(row)?),
            Self::Instant(values) => values.append_value(instant(row)?),
            Self::Time {
                values,
                fraction,
                text,
            } => {
                text.clear();
                push_time(row, *fraction, text)?;
                values.append_value(&*text);
            }
        }
        Ok(())
    }

    /// The values so far; the builder is empty afterwards.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(values) => Arc::new(values.finish()),
            Self::Tiny(values) | Self::TinyUnsigned(values) | Self::Small(values) | Self::Year(values) => {
                Arc::new(values.finish())
            }
            Self::SmallUnsigned(values) | Self::Int(values) => Arc::new(values.finish()),
            Self::Bits(values) | Self::IntUnsigned(values) | Self::Big(values) => Arc::new(values.finish()),
            Self::WideBits(values) | Self::BigUnsigned(values) | Self::Decimal128 { values, .. } => {
                Arc::new(values.finish())
            }
            Self::Decimal256 { values, .. } => Arc::new(values.finish()),
            Self::Float(values) => Arc::new(values.finish()),
            Self::Double(values) => Arc::new(values.finish()),
            Self::Text(values) | Self::Time { values, .. } => Arc::new(values.finish()),
            Self::Binary(values) => Arc::new(values.finish()),
            Self::Date(values) => Arc::new(values.finish()),
            Self::Instant(values) => Arc::new(values.finish()),
        }
    }
}

fn fixed<const N: usize>(row: &mut Reader<'_>, kind: &'static str) -> Result<[u8; N], Problem> {
    row.fixed().ok_or(Problem::Malformed(kind))
}

fn bytes<'a>(row: &mut Reader<'a>, kind: &'static str) -> Result<&'a [u8], Problem> {
    let bytes = row.counted().ok_or(Problem::Malformed(kind))?;
    if bytes.len() > MAX_VALUE_BYTES {
        return Err(Problem::TooLarge { bytes: bytes.len() });
    }
    Ok(bytes)
}

/// The number a BIT is: its bytes, the highest first.
fn bits(row: &mut Reader<'_>) -> Result<u64, Problem> {
    let bytes = bytes(row, "BIT")?;
    if bytes.len() > size_of::<u64>() {
        return Err(Problem::Malformed("BIT"));
    }
    Ok(bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn decimal<T: Unscaled>(row: &mut Reader<'_>, precision: u8, scale: i8) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes(row, "DECIMAL")?).map_err(|_| Problem::Malformed("DECIMAL"))?;
    parse_decimal(text, precision, scale).ok_or(Problem::NumericMisfit { precision, scale })
}
