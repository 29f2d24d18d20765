//! Rows of a prepared statement into record batches.
//!
//! Layout of a row (protocol, "Binary Protocol Resultset Row"): 0x00, a bitmap
//! of NULLs that begins at bit 2, then the values that are not NULL.

mod column;
mod temporal;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use lakegate_crds::ZeroDates;

use self::column::Column;
use super::types::Wire;
use super::wire::Reader;

/// One value larger than this is refused.
pub(super) const MAX_VALUE_BYTES: usize = 64 * 1024 * 1024;
/// A batch is handed on once its values take this much, whatever its rows.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Why a value cannot be handed on unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// `0000-00-00`, where it is not to be NULL.
    ZeroDate,
    /// A zero month or day beside other fields, or the 31st of a short month.
    NoSuchDate,
    NumericMisfit {
        precision: u8,
        scale: i8,
    },
    NotUtf8,
    TooLarge {
        bytes: usize,
    },
    /// The bytes are not of the type the plan expects.
    Malformed(&'static str),
}

/// Why a row cannot be decoded.
#[derive(Debug)]
pub(super) enum DecodeFailure {
    Value {
        column: usize,
        problem: Problem,
    },
    /// The row is not what the protocol says.
    Framing(&'static str),
    Arrow(ArrowError),
}

/// Turns rows into batches.
#[derive(Debug)]
pub(super) struct RowDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    zero_dates: ZeroDates,
    zero_dates_seen: u64,
    rows: usize,
    bytes: usize,
    max_rows: usize,
}

impl RowDecoder {
    /// `wires` are the columns of `schema`, by position.
    pub(super) fn new(
        schema: SchemaRef,
        wires: &[Wire],
        zero_dates: ZeroDates,
        max_rows: usize,
    ) -> Result<Self, DecodeFailure> {
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
            zero_dates,
            zero_dates_seen: 0,
            rows: 0,
            bytes: 0,
            max_rows: max_rows.max(1),
        })
    }

    /// Takes one row; true once a batch should be taken.
    pub(super) fn push(&mut self, row: &[u8]) -> Result<bool, DecodeFailure> {
        let framing = || DecodeFailure::Framing("a row is cut off");
        let mut reader = Reader::new(row);
        if reader.u8().ok_or_else(framing)? != 0 {
            return Err(DecodeFailure::Framing("a row has an unknown form"));
        }
        let nulls = reader
            .bytes((self.columns.len() + 2).div_ceil(8))
            .ok_or_else(framing)?;
        for (column, values) in self.columns.iter_mut().enumerate() {
            let bit = column + 2;
            if nulls[bit / 8] & 1 << (bit % 8) != 0 {
                values.append_null();
                continue;
            }
            match values.append(&mut reader) {
                Ok(()) => {}
                Err(Problem::ZeroDate) if self.zero_dates == ZeroDates::AsNull => {
                    self.zero_dates_seen += 1;
                    values.append_null();
                }
                Err(problem) => return Err(DecodeFailure::Value { column, problem }),
            }
        }
        if !reader.is_empty() {
            return Err(DecodeFailure::Framing("a row has more than its columns"));
        }
        self.rows += 1;
        self.bytes += row.len();
        Ok(self.rows >= self.max_rows || self.bytes >= BATCH_BYTES)
    }

    /// The rows so far as a batch; none if there are none.
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>, DecodeFailure> {
        if self.rows == 0 {
            return Ok(None);
        }
        let arrays = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), arrays, &options)
            .map(Some)
            .map_err(DecodeFailure::Arrow)
    }

    /// Rows waiting for [`Self::take`].
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// How many zero dates became NULL.
    pub(super) fn zero_dates_seen(&self) -> u64 {
        self.zero_dates_seen
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Field, Int32Type, Schema};
    use proptest::prelude::*;

    fn decoder(wires: &[Wire], zero_dates: ZeroDates) -> RowDecoder {
        let fields: Vec<Field> = wires
            .iter()
            .enumerate()
            .map(|(index, wire)| Field::new(format!("c{index}"), wire.data_type(), true))
            .collect();
        RowDecoder::new(Arc::new(Schema::new(fields)), wires, zero_dates, 100).unwrap()
    }

    fn one(wire: Wire, value: &[u8], zero_dates: ZeroDates) -> Result<RecordBatch, Problem> {
        let mut decoder = decoder(&[wire], zero_dates);
        let mut row = vec![0, 0];
        row.extend_from_slice(value);
        match decoder.push(&row) {
            Ok(_) => Ok(decoder.take().unwrap().unwrap()),
            Err(DecodeFailure::Value { problem, .. }) => Err(problem),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn nulls_by_bit() {
        let int = Wire::Int { unsigned: false };
        let wires = vec![int; 8];
        let mut decoder = decoder(&wires, ZeroDates::AsNull);
        // The bitmap has ten bits: column 0 is bit 2, column 7 is bit 9.
        let mut row = vec![0, 0b0000_0100, 0b0000_0010];
        for value in 1..=6_i32 {
            row.extend(value.to_le_bytes());
        }
        decoder.push(&row).unwrap();
        let batch = decoder.take().unwrap().unwrap();
        let nulls: Vec<bool> = batch.columns().iter().map(|column| column.is_null(0)).collect();
        assert_eq!(nulls, [true, false, false, false, false, false, false, true]);
        assert_eq!(batch.column(6).as_primitive::<Int32Type>().value(0), 6);
        row.push(0);
        assert!(matches!(decoder.push(&row), Err(DecodeFailure::Framing(_))));
    }

    #[test]
    fn zero_and_impossible_dates() {
        let zero: &[u8] = &[0];
        for wire in [Wire::Date, Wire::DateTime, Wire::Timestamp] {
            let batch = one(wire.clone(), zero, ZeroDates::AsNull).unwrap();
            assert!(batch.column(0).is_null(0));
            assert_eq!(one(wire, zero, ZeroDates::Fail), Err(Problem::ZeroDate));
        }
        for date in [
            [4, 0xE8, 7, 0, 1],
            [4, 0xE8, 7, 2, 0],
            [4, 0xE8, 7, 2, 31],
            [4, 0, 0, 1, 1],
        ] {
            let outcome = one(Wire::Date, &date, ZeroDates::AsNull);
            if date[1..3] == [0, 0] {
                // The year 0 is a leap year like any other.
                assert!(outcome.is_ok());
            } else {
                assert_eq!(outcome, Err(Problem::NoSuchDate), "{date:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let wires = [
                Wire::Text,
                Wire::Date,
                Wire::Time { fraction: 6 },
                Wire::Bits,
                Wire::Decimal128 { precision: 10, scale: 2 },
                Wire::Decimal256 { precision: 65, scale: 30 },
                Wire::Big { unsigned: true },
                Wire::Double,
            ];
            let mut decoder = decoder(&wires, ZeroDates::Fail);
            let mut row = vec![0];
            row.extend(bytes);
            let _ = decoder.push(&row);
        }
    }
}
