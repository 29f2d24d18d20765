//! `COPY … TO STDOUT (FORMAT binary)` into record batches.
//!
//! File layout (PostgreSQL documentation, COPY, "Binary Format"): an 11-byte
//! signature, int32 flags, int32 length of a header extension; then per row an
//! int16 number of fields and per field an int32 length (-1 = NULL) and bytes;
//! at the end an int16 -1.

mod column;
mod numeric;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::{Buf, Bytes, BytesMut};

use self::column::Column;
use super::types::Wire;

/// One value larger than this is refused.
pub(super) const MAX_VALUE_BYTES: usize = 64 * 1024 * 1024;
/// A batch is handed on once its values take this much, whatever its rows.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const HEADER_BYTES: usize = SIGNATURE.len() + 8;
/// Flag bits 16-31 are critical; none is known since oids left (PostgreSQL 12).
const CRITICAL_FLAGS: u32 = 0xFFFF_0000;

/// Why a value cannot be handed on unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    Infinity(&'static str),
    NotANumber,
    OutOfRange(&'static str),
    EndOfDay,
    NumericMisfit {
        precision: u8,
        scale: i32,
    },
    ArrayDimensions(i32),
    ArrayLowerBound(i32),
    NotUtf8,
    TooLarge {
        bytes: usize,
    },
    /// The bytes are not of the type the plan expects.
    Malformed(&'static str),
}

/// Why the stream cannot be decoded.
#[derive(Debug)]
pub(super) enum DecodeFailure {
    Value {
        column: usize,
        problem: Problem,
    },
    /// The stream is not what COPY is documented to send.
    Framing(&'static str),
    Arrow(ArrowError),
}

/// Turns chunks of COPY data, cut anywhere, into batches.
#[derive(Debug)]
pub(super) struct CopyDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
    max_rows: usize,
    /// The start of a row whose end has not arrived.
    pending: BytesMut,
    header_seen: bool,
    trailer_seen: bool,
}

impl CopyDecoder {
    /// `wires` are the columns of `schema`, by position.
    pub(super) fn new(schema: SchemaRef, wires: &[Wire], max_rows: usize) -> Result<Self, DecodeFailure> {
        let columns = wires
            .iter()
            .enumerate()
            .map(|(column, wire)| {
                Column::new(wire).map_err(|problem| DecodeFailure::Value { column, problem })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            schema,
            columns,
            rows: 0,
            bytes: 0,
            max_rows: max_rows.max(1),
            pending: BytesMut::new(),
            header_seen: false,
            trailer_seen: false,
        })
    }

    /// Takes one chunk; true once a batch should be taken.
    pub(super) fn push(&mut self, mut chunk: Bytes) -> Result<bool, DecodeFailure> {
        if self.trailer_seen && !chunk.is_empty() {
            return Err(DecodeFailure::Framing("data after the end of COPY"));
        }
        if !self.pending.is_empty() {
            // Rare: PostgreSQL sends each row as one message.
            self.pending.extend_from_slice(&chunk);
            chunk = self.pending.split().freeze();
        }
        if !self.header_seen {
            let Some(length) = header_length(&chunk)? else {
                self.pending.extend_from_slice(&chunk);
                return Ok(false);
            };
            chunk.advance(length);
            self.header_seen = true;
        }
        let mut rest = &chunk[..];
        while !rest.is_empty() && !self.trailer_seen {
            let Some(length) = self.row_length(rest)? else {
                break;
            };
            let (row, after) = rest.split_at(length);
            self.append_row(row)?;
            rest = after;
        }
        if self.trailer_seen && !rest.is_empty() {
            return Err(DecodeFailure::Framing("data after the end of COPY"));
        }
        self.pending.extend_from_slice(rest);
        Ok(self.rows >= self.max_rows || self.bytes >= BATCH_BYTES)
    }

    /// The rows so far as a batch; none if there are none.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>, DecodeFailure> {
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays = self
            .columns
            .iter_mut()
            .enumerate()
            .map(|(column, values)| {
                values
                    .finish()
                    .map_err(|problem| DecodeFailure::Value { column, problem })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), arrays, &options)
            .map(Some)
            .map_err(DecodeFailure::Arrow)
    }

    /// To be asked at the end of the stream: an answer that was cut off is an
    /// error, never a shorter answer.
    pub(super) fn check_complete(&self) -> Result<(), DecodeFailure> {
        if self.trailer_seen && self.pending.is_empty() {
            Ok(())
        } else {
            Err(DecodeFailure::Framing("COPY ended before its trailer"))
        }
    }

    /// Rows waiting for [`Self::take`].
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The length of the row at the start of `bytes`, none if it is not all
    /// there.
    fn row_length(&self, bytes: &[u8]) -> Result<Option<usize>, DecodeFailure> {
        let Some((count, mut rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            return Ok(Some(2));
        }
        if usize::try_from(count) != Ok(self.columns.len()) {
            return Err(DecodeFailure::Framing("a row has another number of columns"));
        }
        for column in 0..self.columns.len() {
            let Some((length, after)) = rest.split_first_chunk::<4>() else {
                return Ok(None);
            };
            rest = after;
            let length = i32::from_be_bytes(*length);
            if length == -1 {
                continue;
            }
            let length = usize::try_from(length)
                .map_err(|_| DecodeFailure::Framing("a value has a negative length"))?;
            if length > MAX_VALUE_BYTES {
                // Told before the rest of the value is waited for.
                return Err(DecodeFailure::Value {
                    column,
                    problem: Problem::TooLarge { bytes: length },
                });
            }
            let Some(after) = rest.get(length..) else {
                return Ok(None);
            };
            rest = after;
        }
        Ok(Some(bytes.len() - rest.len()))
    }

    /// Appends a row whose framing [`Self::row_length`] has checked.
    fn append_row(&mut self, row: &[u8]) -> Result<(), DecodeFailure> {
        let framing = || DecodeFailure::Framing("a row is cut off");
        let (count, mut rest) = row.split_first_chunk::<2>().ok_or_else(framing)?;
        if i16::from_be_bytes(*count) == -1 {
            self.trailer_seen = true;
            return Ok(());
        }
        for (column, values) in self.columns.iter_mut().enumerate() {
            let (length, after) = rest.split_first_chunk::<4>().ok_or_else(framing)?;
            rest = after;
            let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
                values.append_null();
                continue;
            };
            let (value, after) = rest.split_at_checked(length).ok_or_else(framing)?;
            values
                .append(value)
                .map_err(|problem| DecodeFailure::Value { column, problem })?;
            rest = after;
        }
        self.rows += 1;
        self.bytes += row.len();
        Ok(())
    }
}

/// The length of the file header, none if it is not all there.
fn header_length(bytes: &[u8]) -> Result<Option<usize>, DecodeFailure> {
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        return Ok(None);
    };
    let (signature, words) = header.split_at(SIGNATURE.len());
    let framing = || DecodeFailure::Framing("the answer is not binary COPY");
    if signature != SIGNATURE {
        return Err(framing());
    }
    let word = |at: usize| -> Result<u32, DecodeFailure> {
        let bytes: [u8; 4] = words
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(framing)?;
        Ok(u32::from_be_bytes(bytes))
    };
    if word(0)? & CRITICAL_FLAGS != 0 {
        return Err(DecodeFailure::Framing("COPY has an unknown critical flag"));
    }
    let length = HEADER_BYTES + word(4)? as usize;
    Ok((bytes.len() >= length).then_some(length))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Field, Int32Type, Schema};
    use proptest::prelude::*;

    fn header() -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([0; 8]);
        bytes
    }

    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = (values.len() as i16).to_be_bytes().to_vec();
        for value in values {
            match value {
                Some(value) => {
                    bytes.extend((value.len() as i32).to_be_bytes());
                    bytes.extend(*value);
                }
                None => bytes.extend((-1_i32).to_be_bytes()),
            }
        }
        bytes
    }

    fn decoder(wires: &[Wire], max_rows: usize) -> CopyDecoder {
        let fields: Vec<Field> = wires
            .iter()
            .enumerate()
            .map(|(index, wire)| Field::new(format!("c{index}"), wire.data_type(), true))
            .collect();
        CopyDecoder::new(Arc::new(Schema::new(fields)), wires, max_rows).unwrap()
    }

    fn text() -> Wire {
        Wire::Text(crate::postgres::types::TextForm::Native(25))
    }

    #[test]
    fn no_columns_still_count_rows() {
        let mut decoder = decoder(&[], 100);
        let mut bytes = header();
        for _ in 0..3 {
            bytes.extend(row(&[]));
        }
        bytes.extend((-1_i16).to_be_bytes());
        decoder.push(bytes.into()).unwrap();
        decoder.check_complete().unwrap();
        let batch = decoder.take().unwrap().unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns()), (3, 0));
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        let mut decoder = decoder(&[Wire::Int4], 100);
        let mut bytes = header();
        bytes.extend(row(&[Some(&[0, 0, 0, 1])]));
        decoder.push(bytes.into()).unwrap();
        assert!(matches!(decoder.check_complete(), Err(DecodeFailure::Framing(_))));
    }

    #[test]
    fn a_large_value_is_refused_before_it_arrives() {
        let mut decoder = decoder(&[Wire::Bytea], 100);
        let mut bytes = header();
        bytes.extend(1_i16.to_be_bytes());
        bytes.extend((MAX_VALUE_BYTES as i32 + 1).to_be_bytes());
        assert!(matches!(
            decoder.push(bytes.into()),
            Err(DecodeFailure::Value {
                column: 0,
                problem: Problem::TooLarge { .. }
            })
        ));
    }

    #[test]
    fn named_values_are_refused() {
        let one_column = |wire: Wire, value: &[u8]| {
            let mut decoder = decoder(&[wire], 10);
            let mut bytes = header();
            bytes.extend(row(&[Some(value)]));
            match decoder.push(bytes.into()) {
                Err(DecodeFailure::Value { problem, .. }) => Some(problem),
                Ok(_) => None,
                Err(other) => panic!("{other:?}"),
            }
        };
        let infinity = i64::MAX.to_be_bytes();
        let cases: Vec<(Wire, Vec<u8>, Problem)> = vec![
            (Wire::Timestamp, infinity.to_vec(), Problem::Infinity("timestamp")),
            (
                Wire::TimestampTz,
                i64::MIN.to_be_bytes().to_vec(),
                Problem::Infinity("timestamp with time zone"),
            ),
            (
                Wire::Date,
                i32::MAX.to_be_bytes().to_vec(),
                Problem::Infinity("date"),
            ),
            (
                Wire::Timestamp,
                (i64::MAX - 1).to_be_bytes().to_vec(),
                Problem::OutOfRange("timestamp"),
            ),
            (
                Wire::Time,
                86_400_000_000_i64.to_be_bytes().to_vec(),
                Problem::EndOfDay,
            ),
            (Wire::Int4, vec![0; 8], Problem::Malformed("integer")),
            (Wire::Bool, vec![2], Problem::Malformed("boolean")),
            (text(), vec![0xff], Problem::NotUtf8),
        ];
        for (wire, value, expected) in cases {
            assert_eq!(one_column(wire.clone(), &value), Some(expected), "{wire:?}");
        }
    }

    #[test]
    fn array_shapes() {
        let array = |dimensions: &[(i32, i32)], elements: &[Option<i32>]| {
            let mut bytes = (dimensions.len() as i32).to_be_bytes().to_vec();
            bytes.extend(1_i32.to_be_bytes());
            bytes.extend(23_i32.to_be_bytes());
            for (length, lower_bound) in dimensions {
                bytes.extend(length.to_be_bytes());
                bytes.extend(lower_bound.to_be_bytes());
            }
            for element in elements {
                match element {
                    Some(element) => {
                        bytes.extend(4_i32.to_be_bytes());
                        bytes.extend(element.to_be_bytes());
                    }
                    None => bytes.extend((-1_i32).to_be_bytes()),
                }
            }
            bytes
        };
        let wire = Wire::List(Box::new(Wire::Int4));
        let mut decoder = decoder(std::slice::from_ref(&wire), 10);
        let mut bytes = header();
        bytes.extend(row(&[Some(&array(&[(2, 1)], &[Some(7), None]))]));
        bytes.extend(row(&[None]));
        bytes.extend(row(&[Some(&array(&[], &[]))]));
        decoder.push(bytes.into()).unwrap();
        let batch = decoder.take().unwrap().unwrap();
        assert_eq!(batch.column(0).data_type(), &wire.data_type());
        let lists = batch.column(0).as_list::<i32>();
        let first = lists.value(0);
        let first = first.as_primitive::<Int32Type>();
        assert_eq!((first.len(), first.value(0), first.is_null(1)), (2, 7, true));
        assert!(lists.is_null(1));
        assert_eq!(lists.value(2).len(), 0);

        for (value, expected) in [
            (array(&[(1, 1), (1, 1)], &[Some(1)]), Problem::ArrayDimensions(2)),
            (array(&[(1, 0)], &[Some(1)]), Problem::ArrayLowerBound(0)),
            (array(&[(2, 1)], &[Some(1)]), Problem::Malformed("array")),
        ] {
            let mut bytes = row(&[Some(&value)]);
            let mut all = header();
            all.append(&mut bytes);
            let mut decoder = super::tests::decoder(std::slice::from_ref(&wire), 10);
            match decoder.push(all.into()) {
                Err(DecodeFailure::Value { problem, .. }) => assert_eq!(problem, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        /// However the stream is cut into chunks, the rows are the same.
        #[test]
        fn chunks_do_not_matter(
            values in proptest::collection::vec((any::<Option<i32>>(), proptest::option::of("[a-zß😀]{0,6}")), 0..20),
            cuts in proptest::collection::vec(1_usize..9, 0..80),
        ) {
            let mut bytes = header();
            for (number, name) in &values {
                let number = number.map(i32::to_be_bytes);
                bytes.extend(row(&[number.as_ref().map(<[u8; 4]>::as_slice), name.as_ref().map(String::as_bytes)]));
            }
            bytes.extend((-1_i16).to_be_bytes());
            let mut decoder = decoder(&[Wire::Int4, text()], 7);
            let mut rest = Bytes::from(bytes);
            let mut cuts = cuts.into_iter();
            let mut seen = Vec::new();
            loop {
                let take = cuts.next().unwrap_or(rest.len()).min(rest.len());
                let ready = decoder.push(rest.split_to(take)).unwrap();
                let last = rest.is_empty();
                if (ready || last) && let Some(batch) = decoder.take().unwrap() {
                    let numbers = batch.column(0).as_primitive::<Int32Type>();
                    let names = batch.column(1).as_string::<i32>();
                    prop_assert_eq!(batch.column(1).data_type(), &DataType::Utf8);
                    for index in 0..batch.num_rows() {
                        seen.push((
                            numbers.is_valid(index).then(|| numbers.value(index)),
                            names.is_valid(index).then(|| names.value(index).to_owned()),
                        ));
                    }
                }
                if last { break; }
            }
            decoder.check_complete().unwrap();
            prop_assert_eq!(seen, values);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut all = header();
            all.extend(bytes);
            let mut decoder = decoder(&[Wire::List(Box::new(Wire::Int4)), text()], 7);
            let _ = decoder.push(all.into());
            let _ = decoder.take();
        }
    }
}
