//! One column of binary values into one Arrow builder.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder, ListArray, NullBufferBuilder,
    StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{Field, FieldRef, i256};

use super::numeric::unscaled;
use super::{MAX_VALUE_BYTES, Problem};
use crate::postgres::types::Wire;

/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's day zero.
const EPOCH_DAYS: i32 = 10_957;
/// The same distance in microseconds.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const DAY_MICROS: i64 = 86_400_000_000;

/// Appends values of one column, as the server's send function of its type
/// writes them.
#[derive(Debug)]
pub(super) enum Column {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Oid(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Numeric128 {
        values: Decimal128Builder,
        precision: u8,
        scale: i8,
    },
    Numeric256 {
        values: Decimal256Builder,
        precision: u8,
        scale: i8,
    },
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    TimestampTz(TimestampMicrosecondBuilder),
    Time(Time64MicrosecondBuilder),
    List(Box<ListColumn>),
}

/// Elements of one-dimensional arrays.
#[derive(Debug)]
pub(super) struct ListColumn {
    element: Column,
    element_oid: u32,
    field: FieldRef,
    offsets: Vec<i32>,
    lengths: i32,
    validity: NullBufferBuilder,
}

impl Column {
    /// A builder whose arrays have exactly `wire.data_type()`.
    pub(super) fn new(wire: &Wire) -> Result<Self, Problem> {
        let impossible = |_| Problem::Malformed("decimal type");
        Ok(match wire {
            Wire::Bool => Self::Bool(BooleanBuilder::new()),
            Wire::Int2 => Self::Int2(Int16Builder::new()),
            Wire::Int4 => Self::Int4(Int32Builder::new()),
            Wire::Int8 => Self::Int8(Int64Builder::new()),
            Wire::Oid => Self::Oid(Int64Builder::new()),
            Wire::Float4 => Self::Float4(Float32Builder::new()),
            Wire::Float8 => Self::Float8(Float64Builder::new()),
            &Wire::Numeric128 { precision, scale } => Self::Numeric128 {
                values: Decimal128Builder::new()
                    .with_precision_and_scale(precision, scale)
                    .map_err(impossible)?,
                precision,
                scale,
            },
            &Wire::Numeric256 { precision, scale } => Self::Numeric256 {
                values: Decimal256Builder::new()
                    .with_precision_and_scale(precision, scale)
                    .map_err(impossible)?,
                precision,
                scale,
            },
            Wire::Text(_) => Self::Text(StringBuilder::new()),
            Wire::Bytea => Self::Bytes(BinaryBuilder::new()),
            Wire::Date => Self::Date(Date32Builder::new()),
            Wire::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            Wire::TimestampTz => Self::TimestampTz(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Wire::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Wire::List(element) => Self::List(Box::new(ListColumn {
                element: Self::new(element)?,
                element_oid: element.oid(),
                field: Arc::new(Field::new_list_field(element.data_type(), true)),
                offsets: vec![0],
                lengths: 0,
                validity: NullBufferBuilder::new(0),
            })),
        })
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Self::Bool(values) => values.append_null(),
            Self::Int2(values) => values.append_null(),
            Self::Int4(values) => values.append_null(),
            Self::Int8(values) | Self::Oid(values) => values.append_null(),
            Self::Float4(values) => values.append_null(),
            Self::Float8(values) => values.append_null(),
            Self::Numeric128 { values, .. } => values.append_null(),
            Self::Numeric256 { values, .. } => values.append_null(),
            Self::Text(values) => values.append_null(),
            Self::Bytes(values) => values.append_null(),
            Self::Date(values) => values.append_null(),
            Self::Timestamp(values) | Self::TimestampTz(values) => values.append_null(),
            Self::Time(values) => values.append_null(),
            Self::List(list) => {
                list.offsets.push(list.lengths);
                list.validity.append_null();
            }
        }
    }

    /// Appends one value that is not NULL.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(Problem::TooLarge { bytes: bytes.len() });
        }
        match self {
            Self::Bool(values) => values.append_value(match bytes {
                [0] => false,
                [1] => true,
                _ => return Err(Problem::Malformed("boolean")),
            }),
            Self::Int2(values) => {
                values.append_value(i16::from_be_bytes(fixed(bytes, "smallint")?));
            }
            Self::Int4(values) => values.append_value(i32::from_be_bytes(fixed(bytes, "integer")?)),
            Self::Int8(values) => values.append_value(i64::from_be_bytes(fixed(bytes, "bigint")?)),
            Self::Oid(values) => {
                values.append_value(i64::from(u32::from_be_bytes(fixed(bytes, "oid")?)));
            }
            Self::Float4(values) => {
                let value = f32::from_be_bytes(fixed(bytes, "real")?);
                values.append_value(if value.is_nan() { f32::NAN } else { value });
            }
            Self::Float8(values) => {
                let value = f64::from_be_bytes(fixed(bytes, "double precision")?);
                // PostgreSQL has one NaN, equal to itself and above every number,
                // but stores whatever bits the arithmetic left. Arrow orders NaNs
                // by their bits, so all become the positive one.
                values.append_value(if value.is_nan() { f64::NAN } else { value });
            }
            Self::Numeric128 {
                values,
                precision,
                scale,
            } => values.append_value(unscaled::<i128>(bytes, *precision, i32::from(*scale))?),
            Self::Numeric256 {
                values,
                precision,
                scale,
            } => values.append_value(unscaled::<i256>(bytes, *precision, i32::from(*scale))?),
            Self::Text(values) => {
                values.append_value(std::str::from_utf8(bytes).map_err(|_| Problem::NotUtf8)?);
            }
            Self::Bytes(values) => values.append_value(bytes),
            Self::Date(values) => {
                let days = i32::from_be_bytes(fixed(bytes, "date")?);
                if days == i32::MAX || days == i32::MIN {
                    return Err(Problem::Infinity("date"));
                }
                values.append_value(days.checked_add(EPOCH_DAYS).ok_or(Problem::OutOfRange("date"))?);
            }
            Self::Timestamp(values) => values.append_value(instant(bytes, "timestamp")?),
            Self::TimestampTz(values) => {
                values.append_value(instant(bytes, "timestamp with time zone")?);
            }
            Self::Time(values) => match i64::from_be_bytes(fixed(bytes, "time")?) {
                micros @ 0..DAY_MICROS => values.append_value(micros),
                DAY_MICROS => return Err(Problem::EndOfDay),
                _ => return Err(Problem::Malformed("time")),
            },
            Self::List(list) => list.append(bytes)?,
        }
        Ok(())
    }

    /// The values so far; the builder is empty afterwards.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, Problem> {
        Ok(match self {
            Self::Bool(values) => Arc::new(values.finish()),
            Self::Int2(values) => Arc::new(values.finish()),
            Self::Int4(values) => Arc::new(values.finish()),
            Self::Int8(values) | Self::Oid(values) => Arc::new(values.finish()),
            Self::Float4(values) => Arc::new(values.finish()),
            Self::Float8(values) => Arc::new(values.finish()),
            Self::Numeric128 { values, .. } => Arc::new(values.finish()),
            Self::Numeric256 { values, .. } => Arc::new(values.finish()),
            Self::Text(values) => Arc::new(values.finish()),
            Self::Bytes(values) => Arc::new(values.finish()),
            Self::Date(values) => Arc::new(values.finish()),
            Self::Timestamp(values) | Self::TimestampTz(values) => Arc::new(values.finish()),
            Self::Time(values) => Arc::new(values.finish()),
            Self::List(list) => {
                let offsets = std::mem::replace(&mut list.offsets, vec![0]);
                list.lengths = 0;
                let values = list.element.finish()?;
                Arc::new(
                    ListArray::try_new(
                        Arc::clone(&list.field),
                        OffsetBuffer::new(ScalarBuffer::from(offsets)),
                        values,
                        list.validity.finish(),
                    )
                    .map_err(|_| Problem::Malformed("array"))?,
                )
            }
        })
    }
}

impl ListColumn {
    /// Layout (`array_send`): int32 dimensions, int32 has-NULLs, element oid,
    /// then a pair (length, lower bound) per dimension, then the elements as
    /// int32 length (-1 = NULL) and bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let malformed = || Problem::Malformed("array");
        let mut rest = bytes;
        let mut next = |count: usize| -> Result<&[u8], Problem> {
            let (taken, remaining) = rest.split_at_checked(count).ok_or_else(malformed)?;
            rest = remaining;
            Ok(taken)
        };
        let mut integer = || Ok::<_, Problem>(i32::from_be_bytes(fixed(next(4)?, "array")?));
        let dimensions = integer()?;
        let _has_nulls = integer()?;
        // An oid is unsigned; the bits are the same.
        if integer()? as u32 != self.element_oid {
            return Err(Problem::Malformed("array element type"));
        }
        match dimensions {
            0 => {}
            1 => {
                let length = integer()?;
                let lower_bound = integer()?;
                if lower_bound != 1 {
                    return Err(Problem::ArrayLowerBound(lower_bound));
                }
                if length < 0 {
                    return Err(malformed());
                }
                for _ in 0..length {
                    let size = i32::from_be_bytes(fixed(next(4)?, "array")?);
                    match usize::try_from(size) {
                        Ok(size) => {
                            let element = next(size)?;
                            self.element.append(element)?;
                        }
                        Err(_) if size == -1 => self.element.append_null(),
                        Err(_) => return Err(malformed()),
                    }
                }
                self.lengths = self.lengths.checked_add(length).ok_or_else(malformed)?;
            }
            _ => return Err(Problem::ArrayDimensions(dimensions)),
        }
        if !rest.is_empty() {
            return Err(malformed());
        }
        self.offsets.push(self.lengths);
        self.validity.append_non_null();
        Ok(())
    }
}

fn fixed<const N: usize>(bytes: &[u8], kind: &'static str) -> Result<[u8; N], Problem> {
    bytes.try_into().map_err(|_| Problem::Malformed(kind))
}

fn instant(bytes: &[u8], kind: &'static str) -> Result<i64, Problem> {
    let micros = i64::from_be_bytes(fixed(bytes, kind)?);
    if micros == i64::MAX || micros == i64::MIN {
        return Err(Problem::Infinity(kind));
    }
    micros.checked_add(EPOCH_MICROS).ok_or(Problem::OutOfRange(kind))
}
