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

/// Rows are gone over by row and then by column while they are in the nearest cache.
const STRETCH_BYTES: usize = 16 * 1024;

/// The type of a protocol message with COPY data; its header is that and an int32
/// length, which counts itself.
pub(super) const COPY_DATA: u8 = b'd';
pub(super) const MESSAGE_HEADER_BYTES: usize = 5;
/// Before each value.
const LENGTH_BYTES: usize = 4;

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
    LongInterval,
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

/// Turns the messages of COPY, which may cut the data anywhere, into batches.
///
/// Each stretch of rows is gone over twice: once by row, to find where its values
/// are, and once by column, to append them.
#[derive(Debug)]
pub(super) struct CopyDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Where values are that were found and not appended, row by row.
    positions: Vec<u32>,
    rows: usize,
    bytes: usize,
    max_rows: usize,
    /// Messages to be decoded.
    chunk: Bytes,
    /// Data that no message of the chunk holds any more: most often the start of a
    /// row whose end has not arrived.
    pending: BytesMut,
    header_seen: bool,
    trailer_seen: bool,
}

impl CopyDecoder {
    /// `wires` are the columns of `schema`, by position.
    pub(super) fn new(schema: SchemaRef, wires: &[Wire], max_rows: usize) -> Self {
        Self {
            schema,
            columns: wires.iter().map(Column::new).collect(),
            positions: Vec::new(),
            rows: 0,
            bytes: 0,
            max_rows: max_rows.max(1),
            chunk: Bytes::new(),
            pending: BytesMut::new(),
            header_seen: false,
            trailer_seen: false,
        }
    }

    /// Takes whole messages of COPY data, to be decoded by [`Self::fill`]; those
    /// before must have been.
    pub(super) fn push(&mut self, messages: Bytes) {
        self.chunk = messages;
    }

    /// Decodes until a batch should be taken, which is true, or all is decoded.
    pub(super) fn fill(&mut self) -> Result<bool, DecodeFailure> {
        loop {
            if self.header_seen && !self.pending.is_empty() {
                let data = self.pending.split().freeze();
                let end = self.find_rows(&data, 0)?;
                self.append_rows(&data)?;
                self.pending.extend_from_slice(&data[end..]);
            }
            if self.is_full() {
                return Ok(true);
            }
            if self.chunk.is_empty() {
                return Ok(false);
            }
            let chunk = std::mem::take(&mut self.chunk);
            let end = if self.header_seen && self.pending.is_empty() {
                self.decode(&chunk)?
            } else {
                // Rare: PostgreSQL sends each row as one message.
                let end = message_end(&chunk, 0)?;
                self.pending.extend_from_slice(&chunk[MESSAGE_HEADER_BYTES..end]);
                self.skip_header()?;
                end
            };
            self.chunk = chunk.slice(end..);
        }
    }

    /// Decodes messages of whole rows; how many bytes of them it went through.
    fn decode(&mut self, chunk: &[u8]) -> Result<usize, DecodeFailure> {
        let mut at = 0;
        let mut appended = 0;
        while at < chunk.len() && !self.is_full() {
            if at - appended >= STRETCH_BYTES {
                self.append_rows(chunk)?;
                appended = at;
            }
            let end = message_end(chunk, at)?;
            let decoded = self.find_rows(&chunk[..end], at + MESSAGE_HEADER_BYTES)?;
            at = end;
            if decoded < end {
                self.pending.extend_from_slice(&chunk[decoded..end]);
                break;
            }
        }
        self.append_rows(chunk)?;
        Ok(at)
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

    /// To be asked at the end of a COPY: an answer that was cut off is an error, never
    /// a shorter answer. Rows of another COPY may follow.
    pub(super) fn end(&mut self) -> Result<(), DecodeFailure> {
        if self.trailer_seen && self.pending.is_empty() {
            self.header_seen = false;
            self.trailer_seen = false;
            Ok(())
        } else {
            Err(DecodeFailure::Framing("COPY ended before its trailer"))
        }
    }

    /// Rows waiting for [`Self::take`].
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn is_full(&self) -> bool {
        self.rows >= self.max_rows || self.bytes >= BATCH_BYTES
    }

    /// Takes the file header off what is pending, if it is all there.
    fn skip_header(&mut self) -> Result<(), DecodeFailure> {
        if !self.header_seen
            && let Some(length) = header_length(&self.pending)?
        {
            self.pending.advance(length);
            self.header_seen = true;
        }
        Ok(())
    }

    /// Finds the values of the rows from `at` on, until a batch is full; the end of
    /// the last row that is all there.
    fn find_rows(&mut self, data: &[u8], mut at: usize) -> Result<usize, DecodeFailure> {
        while at < data.len() && !self.is_full() {
            if self.trailer_seen {
                return Err(DecodeFailure::Framing("data after the end of COPY"));
            }
            let Some(count) = data.get(at..at + 2) else {
                break;
            };
            let count = i16::from_be_bytes([count[0], count[1]]);
            if count == -1 {
                self.trailer_seen = true;
                at += 2;
                continue;
            }
            if usize::try_from(count) != Ok(self.columns.len()) {
                return Err(DecodeFailure::Framing("a row has another number of columns"));
            }
            let Some(end) = self.find_values(data, at + 2)? else {
                break;
            };
            self.rows += 1;
            self.bytes += end - at;
            at = end;
        }
        Ok(at)
    }

    /// Finds the values of one row; its end, none if it is not all there.
    fn find_values(&mut self, data: &[u8], start: usize) -> Result<Option<usize>, DecodeFailure> {
        let found = self.positions.len();
        self.positions.resize(found + self.columns.len(), 0);
        let mut at = start;
        for (column, position) in self.positions[found..].iter_mut().enumerate() {
            let Some(length) = length_at(data, at) else {
                at = usize::MAX;
                break;
            };
            // A message is at most 128 MiB long, and so is all that is pending.
            *position = at as u32;
            at += LENGTH_BYTES;
            match usize::try_from(length) {
                Ok(length) if length <= MAX_VALUE_BYTES => at += length,
                Ok(bytes) => {
                    let problem = Problem::TooLarge { bytes };
                    return Err(DecodeFailure::Value { column, problem });
                }
                Err(_) if length == -1 => {}
                Err(_) => return Err(DecodeFailure::Framing("a value has a negative length")),
            }
        }
        if at <= data.len() {
            return Ok(Some(at));
        }
        self.positions.truncate(found);
        Ok(None)
    }

    /// Appends the values that were found in `data`.
    fn append_rows(&mut self, data: &[u8]) -> Result<(), DecodeFailure> {
        for (column, values) in self.columns.iter_mut().enumerate() {
            let positions = Positions {
                rows: &self.positions,
                columns: self.schema.fields().len(),
                column,
            };
            values
                .append(data, positions)
                .map_err(|problem| DecodeFailure::Value { column, problem })?;
        }
        self.positions.clear();
        Ok(())
    }
}

/// Where the values of one column are: of each row, where its value begins with its
/// length.
#[derive(Debug, Clone, Copy)]
struct Positions<'a> {
    /// Those of all columns, row by row.
    rows: &'a [u32],
    columns: usize,
    column: usize,
}

impl<'a> Positions<'a> {
    /// Of one column by itself.
    fn of_values(rows: &'a [u32]) -> Self {
        Self {
            rows,
            columns: 1,
            column: 0,
        }
    }

    fn len(self) -> usize {
        self.rows.len() / self.columns
    }

    fn iter(self) -> impl Iterator<Item = u32> {
        self.rows
            .chunks_exact(self.columns)
            .filter_map(move |row| row.get(self.column).copied())
    }
}

fn length_at(data: &[u8], at: usize) -> Option<i32> {
    let bytes = data.get(at..)?.first_chunk::<LENGTH_BYTES>()?;
    Some(i32::from_be_bytes(*bytes))
}

/// The value whose length is at this position, none if it is NULL.
#[inline]
fn value_at(data: &[u8], position: u32) -> Result<Option<&[u8]>, Problem> {
    const CUT: Problem = Problem::Malformed("value");
    let bytes = data.get(position as usize..).ok_or(CUT)?;
    let (length, bytes) = bytes.split_first_chunk::<LENGTH_BYTES>().ok_or(CUT)?;
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) => bytes.get(..length).map(Some).ok_or(CUT),
        Err(_) => Ok(None),
    }
}

/// The end of the message that begins there.
fn message_end(chunk: &[u8], at: usize) -> Result<usize, DecodeFailure> {
    let framing = || DecodeFailure::Framing("a message is cut off");
    let header = chunk.get(at..at + MESSAGE_HEADER_BYTES).ok_or_else(framing)?;
    // The length counts itself, but not the type before it.
    let length = length_at(header, 1).and_then(|length| usize::try_from(length).ok());
    let end = at + 1 + length.ok_or_else(framing)?;
    if header[0] == COPY_DATA && (at + MESSAGE_HEADER_BYTES..=chunk.len()).contains(&end) {
        Ok(end)
    } else {
        Err(framing())
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
mod tests;
