//! One column of binary values into one Arrow array.
//!
//! Values are appended many at a time, from where they are in the bytes that
//! arrived: one loop a type, with nothing to allocate and nothing to look up by
//! value. What can be checked of all values at once, as UTF-8, is checked when
//! the array is finished.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, NullBufferBuilder, PrimitiveArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, Field, FieldRef,
    Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNano,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType, i256,
};

use super::numeric::{Decimal, unscaled};
use super::{BATCH_BYTES, LENGTH_BYTES, Positions, Problem, value_at};
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
    Bool(Values<bool>),
    Int2(Values<i16>),
    Int4(Values<i32>),
    Int8(Values<i64>),
    Oid(Values<i64>),
    Float4(Values<f32>),
    Float8(Values<f64>),
    Numeric128 {
        values: Values<i128>,
        decimal: Decimal,
        precision: u8,
        scale: i8,
    },
    Numeric256 {
        values: Values<i256>,
        precision: u8,
        scale: i8,
    },
    Text(Strings),
    Bytes(Strings),
    Date(Values<i32>),
    Timestamp(Values<i64>),
    TimestampTz(Values<i64>),
    Time(Values<i64>),
    Interval(Values<IntervalMonthDayNano>),
    List(Box<ListColumn>),
}

/// Values of a fixed size, with one of no meaning for each NULL.
#[derive(Debug)]
pub(super) struct Values<T> {
    values: Vec<T>,
    validity: NullBufferBuilder,
}

/// Values of any length, one behind the other.
#[derive(Debug)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    /// Where each value begins, and where the last one ends.
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
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
    /// Where the elements are; empty but while values are appended.
    positions: Vec<u32>,
}

impl<T: Default + Copy> Values<T> {
    fn new() -> Self {
        Self {
            values: Vec::new(),
            validity: NullBufferBuilder::new(0),
        }
    }

    #[inline]
    fn append(
        &mut self,
        data: &[u8],
        positions: Positions<'_>,
        decode: impl Fn(&[u8]) -> Result<T, Problem>,
    ) -> Result<(), Problem> {
        let first = self.values.len();
        self.values.resize(first + positions.len(), T::default());
        // How many of these are in the validity.
        let mut known = 0;
        for (index, (position, value)) in positions.iter().zip(&mut self.values[first..]).enumerate() {
            if let Some(bytes) = value_at(data, position)? {
                *value = decode(bytes)?;
            } else {
                self.validity.append_n_non_nulls(index - known);
                self.validity.append_null();
                known = index + 1;
            }
        }
        self.validity.append_n_non_nulls(positions.len() - known);
        Ok(())
    }

    /// Values and validity. The next array will be about as long.
    fn take(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        let next = Vec::with_capacity(self.values.len());
        (std::mem::replace(&mut self.values, next), self.validity.finish())
    }

    fn finish<A: ArrowPrimitiveType<Native = T>>(&mut self) -> PrimitiveArray<A>
    where
        T: ArrowNativeType,
    {
        let (values, validity) = self.take();
        PrimitiveArray::new(ScalarBuffer::from(values), validity)
    }
}

impl Strings {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
            validity: NullBufferBuilder::new(0),
        }
    }

    fn append(&mut self, data: &[u8], positions: Positions<'_>) -> Result<(), Problem> {
        self.offsets.reserve(positions.len());
        let mut known = 0;
        for (index, position) in positions.iter().enumerate() {
            if let Some(bytes) = value_at(data, position)? {
                let rest = &data[position as usize + LENGTH_BYTES..];
                append_short::<16>(&mut self.bytes, bytes, rest)
                    .or_else(|| append_short::<48>(&mut self.bytes, bytes, rest))
                    .unwrap_or_else(|| self.bytes.extend_from_slice(bytes));
            } else {
                self.validity.append_n_non_nulls(index - known);
                self.validity.append_null();
                known = index + 1;
            }
            // A batch ends long before 2 GiB: after 8 MiB and one row of 128 MiB.
            self.offsets.push(self.bytes.len() as i32);
        }
        self.validity.append_n_non_nulls(positions.len() - known);
        Ok(())
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let mut next = Vec::with_capacity(self.offsets.len());
        next.push(0);
        let offsets = std::mem::replace(&mut self.offsets, next);
        let next = Vec::with_capacity(self.bytes.len().min(BATCH_BYTES));
        let bytes = std::mem::replace(&mut self.bytes, next);
        (
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(bytes),
            self.validity.finish(),
        )
    }
}

/// Appends a value of up to `N` bytes that `rest` begins with, if that has as many: a
/// copy of constant size, cut off behind the value, is no call.
#[inline]
fn append_short<const N: usize>(bytes: &mut Vec<u8>, value: &[u8], rest: &[u8]) -> Option<()> {
    let copied = rest.first_chunk::<N>().filter(|_| value.len() <= N)?;
    let end = bytes.len() + value.len();
    bytes.extend_from_slice(copied);
    bytes.truncate(end);
    Some(())
}

impl Column {
    /// A column whose arrays have exactly `wire.data_type()`.
    pub(super) fn new(wire: &Wire) -> Self {
        match wire {
            Wire::Bool => Self::Bool(Values::new()),
            Wire::Int2 => Self::Int2(Values::new()),
            Wire::Int4 => Self::Int4(Values::new()),
            Wire::Int8 => Self::Int8(Values::new()),
            Wire::Oid => Self::Oid(Values::new()),
            Wire::Float4 => Self::Float4(Values::new()),
            Wire::Float8 => Self::Float8(Values::new()),
            &Wire::Numeric128 { precision, scale } => Self::Numeric128 {
                values: Values::new(),
                decimal: Decimal::new(precision, scale),
                precision,
                scale,
            },
            &Wire::Numeric256 { precision, scale } => Self::Numeric256 {
                values: Values::new(),
                precision,
                scale,
            },
            Wire::Text(_) => Self::Text(Strings::new()),
            Wire::Bytea | Wire::Geometry => Self::Bytes(Strings::new()),
            Wire::Date => Self::Date(Values::new()),
            Wire::Timestamp => Self::Timestamp(Values::new()),
            Wire::TimestampTz => Self::TimestampTz(Values::new()),
            Wire::Time => Self::Time(Values::new()),
            Wire::Interval => Self::Interval(Values::new()),
            Wire::List(element) => Self::List(Box::new(ListColumn {
                element: Self::new(element),
                element_oid: element.oid(),
                field: Arc::new(Field::new_list_field(element.data_type(), true)),
                offsets: vec![0],
                lengths: 0,
                validity: NullBufferBuilder::new(0),
                positions: Vec::new(),
            })),
        }
    }

    /// Appends the values at these positions of `data`, where each begins with its
    /// length. After an error the column is of no more use.
    pub(super) fn append(&mut self, data: &[u8], positions: Positions<'_>) -> Result<(), Problem> {
        match self {
            Self::Bool(values) => values.append(data, positions, |bytes| match bytes {
                [0] => Ok(false),
                [1] => Ok(true),
                _ => Err(Problem::Malformed("boolean")),
            }),
            Self::Int2(values) => values.append(data, positions, |bytes| {
                Ok(i16::from_be_bytes(fixed(bytes, "smallint")?))
            }),
            Self::Int4(values) => values.append(data, positions, |bytes| {
                Ok(i32::from_be_bytes(fixed(bytes, "integer")?))
            }),
            Self::Int8(values) => values.append(data, positions, |bytes| {
                Ok(i64::from_be_bytes(fixed(bytes, "bigint")?))
            }),
            Self::Oid(values) => values.append(data, positions, |bytes| {
                Ok(i64::from(u32::from_be_bytes(fixed(bytes, "oid")?)))
            }),
            Self::Float4(values) => values.append(data, positions, |bytes| {
                let value = f32::from_be_bytes(fixed(bytes, "real")?);
                Ok(if value.is_nan() { f32::NAN } else { value })
            }),
            // PostgreSQL has one NaN, equal to itself and above every number, but
            // stores whatever bits the arithmetic left. Arrow orders NaNs by their
            // bits, so all become the positive one.
            Self::Float8(values) => values.append(data, positions, |bytes| {
                let value = f64::from_be_bytes(fixed(bytes, "double precision")?);
                Ok(if value.is_nan() { f64::NAN } else { value })
            }),
            Self::Numeric128 { values, decimal, .. } => {
                values.append(data, positions, |bytes| decimal.unscaled(bytes))
            }
            Self::Numeric256 {
                values,
                precision,
                scale,
            } => {
                let (precision, scale) = (*precision, i32::from(*scale));
                values.append(data, positions, |bytes| unscaled(bytes, precision, scale))
            }
            Self::Text(strings) | Self::Bytes(strings) => strings.append(data, positions),
            Self::Date(values) => values.append(data, positions, |bytes| {
                let days = i32::from_be_bytes(fixed(bytes, "date")?);
                if days == i32::MAX || days == i32::MIN {
                    return Err(Problem::Infinity("date"));
                }
                days.checked_add(EPOCH_DAYS).ok_or(Problem::OutOfRange("date"))
            }),
            Self::Timestamp(values) => values.append(data, positions, |bytes| instant(bytes, "timestamp")),
            Self::TimestampTz(values) => values.append(data, positions, |bytes| {
                instant(bytes, "timestamp with time zone")
            }),
            Self::Time(values) => values.append(data, positions, |bytes| {
                match i64::from_be_bytes(fixed(bytes, "time")?) {
                    micros @ 0..DAY_MICROS => Ok(micros),
                    DAY_MICROS => Err(Problem::EndOfDay),
                    _ => Err(Problem::Malformed("time")),
                }
            }),
            Self::Interval(values) => values.append(data, positions, interval),
            Self::List(list) => list.append(data, positions),
        }
    }

    /// The values so far; the column is empty afterwards.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, Problem> {
        let impossible = |_| Problem::Malformed("decimal type");
        Ok(match self {
            Self::Bool(values) => {
                let (values, validity) = values.take();
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), validity))
            }
            Self::Int2(values) => Arc::new(values.finish::<Int16Type>()),
            Self::Int4(values) => Arc::new(values.finish::<Int32Type>()),
            Self::Int8(values) | Self::Oid(values) => Arc::new(values.finish::<Int64Type>()),
            Self::Float4(values) => Arc::new(values.finish::<Float32Type>()),
            Self::Float8(values) => Arc::new(values.finish::<Float64Type>()),
            Self::Numeric128 {
                values,
                precision,
                scale,
                ..
            } => Arc::new(
                values
                    .finish::<Decimal128Type>()
                    .with_precision_and_scale(*precision, *scale)
                    .map_err(impossible)?,
            ),
            Self::Numeric256 {
                values,
                precision,
                scale,
            } => Arc::new(
                values
                    .finish::<Decimal256Type>()
                    .with_precision_and_scale(*precision, *scale)
                    .map_err(impossible)?,
            ),
            Self::Text(strings) => {
                let (offsets, bytes, validity) = strings.take();
                // Checks that all bytes together are UTF-8 and that every value begins
                // with a character, so each is UTF-8.
                Arc::new(StringArray::try_new(offsets, bytes, validity).map_err(|_| Problem::NotUtf8)?)
            }
            Self::Bytes(strings) => {
                let (offsets, bytes, validity) = strings.take();
                Arc::new(
                    BinaryArray::try_new(offsets, bytes, validity)
                        .map_err(|_| Problem::Malformed("bytea"))?,
                )
            }
            Self::Date(values) => Arc::new(values.finish::<Date32Type>()),
            Self::Timestamp(values) => Arc::new(values.finish::<TimestampMicrosecondType>()),
            Self::TimestampTz(values) => {
                Arc::new(values.finish::<TimestampMicrosecondType>().with_timezone("UTC"))
            }
            Self::Time(values) => Arc::new(values.finish::<Time64MicrosecondType>()),
            Self::Interval(values) => Arc::new(values.finish::<IntervalMonthDayNanoType>()),
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
    fn append(&mut self, data: &[u8], positions: Positions<'_>) -> Result<(), Problem> {
        self.positions.clear();
        for position in positions.iter() {
            match value_at(data, position)? {
                Some(bytes) => {
                    self.find_elements(bytes, position)?;
                    self.validity.append_non_null();
                }
                None => self.validity.append_null(),
            }
            self.offsets.push(self.lengths);
        }
        self.element.append(data, Positions::of_values(&self.positions))
    }

    /// Layout (`array_send`): int32 dimensions, int32 has-NULLs, element oid,
    /// then a pair (length, lower bound) per dimension, then the elements as
    /// int32 length (-1 = NULL) and bytes.
    fn find_elements(&mut self, bytes: &[u8], position: u32) -> Result<(), Problem> {
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
                    // Behind the length of the array, before that of the element; all
                    // of a message, which is no longer than 32 bits say.
                    let at = position + 4 + (bytes.len() - rest.len()) as u32;
                    let (size, after) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
                    rest = after;
                    match usize::try_from(i32::from_be_bytes(*size)) {
                        Ok(size) => rest = rest.get(size..).ok_or_else(malformed)?,
                        Err(_) if *size == (-1_i32).to_be_bytes() => {}
                        Err(_) => return Err(malformed()),
                    }
                    self.positions.push(at);
                }
                self.lengths = self.lengths.checked_add(length).ok_or_else(malformed)?;
            }
            _ => return Err(Problem::ArrayDimensions(dimensions)),
        }
        if !rest.is_empty() {
            return Err(malformed());
        }
        Ok(())
    }
}

fn fixed<const N: usize>(bytes: &[u8], kind: &'static str) -> Result<[u8; N], Problem> {
    bytes.try_into().map_err(|_| Problem::Malformed(kind))
}

/// Microseconds, days and months, each with its own sign.
fn interval(bytes: &[u8]) -> Result<IntervalMonthDayNano, Problem> {
    let [m0, m1, m2, m3, m4, m5, m6, m7, d0, d1, d2, d3, n0, n1, n2, n3] = fixed(bytes, "interval")?;
    let micros = i64::from_be_bytes([m0, m1, m2, m3, m4, m5, m6, m7]);
    let days = i32::from_be_bytes([d0, d1, d2, d3]);
    let months = i32::from_be_bytes([n0, n1, n2, n3]);
    // Infinite ones, of PostgreSQL 17, have the extremes of all three.
    if matches!(
        (micros, days, months),
        (i64::MAX, i32::MAX, i32::MAX) | (i64::MIN, i32::MIN, i32::MIN)
    ) {
        return Err(Problem::Infinity("interval"));
    }
    let nanos = micros.checked_mul(1_000).ok_or(Problem::LongInterval)?;
    Ok(IntervalMonthDayNano::new(months, days, nanos))
}

fn instant(bytes: &[u8], kind: &'static str) -> Result<i64, Problem> {
    let micros = i64::from_be_bytes(fixed(bytes, kind)?);
    if micros == i64::MAX || micros == i64::MIN {
        return Err(Problem::Infinity(kind));
    }
    micros.checked_add(EPOCH_MICROS).ok_or(Problem::OutOfRange(kind))
}
