//! Rows as the protocol sends them.
//!
//! For each batch every column is resolved once to a writer of its cells, then rows are put together. No value is
//! looked at twice and none is held in memory besides its bytes in the frame.

pub mod copy;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{BufMut, BytesMut};
use lakegate_federation::values::{BoxedCells, Written, put_sized, resolve};
pub use lakegate_federation::values::{EncodeContext, EncodeFailure, Format, RegNames, datetime, number};

use crate::types::{self, PgType};

/// Encodes the batches of one result as DataRow frames.
#[derive(Clone)]
pub struct RowEncoder {
    columns: Arc<[(PgType, Format)]>,
    context: EncodeContext,
}

impl RowEncoder {
    /// An encoder for results of this schema. `formats` follows Bind: none means all text, one means that
    /// for all columns, otherwise one a column.
    pub fn new(schema: &SchemaRef, formats: &[Format], context: EncodeContext) -> Self {
        let columns = schema
            .fields()
            .iter()
            .enumerate()
            .map(|(index, field)| (types::of_field(field), format_of(formats, index)))
            .collect();
        RowEncoder { columns, context }
    }

    /// Appends a DataRow frame for each of the rows `from..until`, stopping early once `out` holds
    /// `enough` bytes. Returns the first row not written.
    pub fn encode(
        &self,
        batch: &RecordBatch,
        from: usize,
        until: usize,
        enough: usize,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeFailure> {
        let cells = self.resolve(batch);
        for row in from..until {
            if out.len() >= enough {
                return Ok(row);
            }
            out.put_u8(b'D');
            put_frame(out, |out| {
                out.put_i16(cells.len() as i16);
                for cell in &cells {
                    if cell.is_null(row) {
                        out.put_i32(-1);
                    } else {
                        put_sized(out, |out| cell.write(row, out))?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(until)
    }

    fn resolve<'a>(&'a self, batch: &'a RecordBatch) -> Vec<BoxedCells<'a>> {
        self.columns
            .iter()
            .zip(batch.columns())
            .map(|((pg_type, format), array)| resolve(array.as_ref(), *pg_type, *format, &self.context))
            .collect()
    }
}

/// Writes a message body behind its length, which counts itself.
fn put_frame(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> Written) -> Written {
    let start = out.len();
    out.put_i32(0);
    write(out)?;
    let length = out.len() - start;
    let length = i32::try_from(length).map_err(|_| EncodeFailure::TooLarge(length))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// The format of a column by the rule of Bind.
pub fn format_of(formats: &[Format], index: usize) -> Format {
    match formats {
        [] => Format::Text,
        [all] => *all,
        each => each.get(index).copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
