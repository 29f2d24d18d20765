//! Rows as JSON, CSV and an Arrow stream.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use bytes::{BufMut, Bytes, BytesMut};
use flate2::write::GzEncoder;
use lakegate_federation::values::{BoxedCells, json_cells, resolve};
use serde_json::json;

use super::format::{Coding, ResultFormat};
use crate::encode::copy::{CopyEncoder, CopyFormat, CopyOptions};
use crate::encode::{EncodeContext, EncodeFailure, Format};
use crate::fault::Fault;
use crate::types::{self, PgType};
use crate::wire::outbox::Column;

/// Most bytes of an Arrow message that rows are gathered into.
const MESSAGE_BYTES: usize = 1 << 20;

/// The largest whole number to which every smaller one is a double, too.
const LARGEST_SAFE: u64 = (1 << 53) - 1;

/// Writes one result.
pub(super) enum ResultWriter {
    Json(JsonWriter),
    Csv { lines: CopyEncoder, names: Vec<String> },
    Arrow(Box<ArrowWriter>),
}

impl ResultWriter {
    /// A writer for results of this schema, whose columns the client sees as `columns`.
    pub(super) fn new(
        format: ResultFormat,
        schema: &SchemaRef,
        columns: Vec<Column>,
        context: EncodeContext,
    ) -> Result<Self, Fault> {
        Ok(match format {
            ResultFormat::Json => Self::Json(JsonWriter {
                columns,
                context,
                rows: 0,
            }),
            ResultFormat::Csv => {
                let options = CopyOptions {
                    header: true,
                    ..CopyOptions::of(CopyFormat::Csv)
                };
                Self::Csv {
                    lines: CopyEncoder::new(schema, options, context),
                    names: columns.into_iter().map(|column| column.name).collect(),
                }
            }
            ResultFormat::Arrow => Self::Arrow(Box::new(ArrowWriter::new(schema, &columns)?)),
        })
    }

    /// What stands before the first row.
    pub(super) fn start(&mut self, out: &mut BytesMut) {
        match self {
            Self::Json(writer) => writer.start(out),
            Self::Csv { lines, names } => lines.put_header(names, out),
            Self::Arrow(writer) => writer.take(out),
        }
    }

    /// Writes rows from `from` on until there are `enough` bytes; the first row not written.
    pub(super) fn rows(
        &mut self,
        batch: &RecordBatch,
        from: usize,
        enough: usize,
        out: &mut BytesMut,
    ) -> Result<usize, Fault> {
        match self {
            Self::Json(writer) => Ok(writer.rows(batch, from, enough, out)?),
            Self::Csv { lines, .. } => Ok(lines.put_lines(batch, from, batch.num_rows(), enough, out)?),
            Self::Arrow(writer) => writer.rows(batch, from, out),
        }
    }

    /// What stands behind the last row.
    pub(super) fn finish(&mut self, out: &mut BytesMut) -> Result<(), Fault> {
        match self {
            Self::Json(writer) => writer.finish(out),
            Self::Csv { .. } => {}
            Self::Arrow(writer) => {
                writer.stream.finish().map_err(|error| arrow_failed(&error))?;
                writer.take(out);
            }
        }
        Ok(())
    }
}

/// `{"columns": [{"name": …, "type": …}], "rows": [[…], …], "rowCount": …}`; the count comes last, so that a result
/// that was cut off is never one.
pub(super) struct JsonWriter {
    columns: Vec<Column>,
    context: EncodeContext,
    rows: u64,
}

impl JsonWriter {
    fn start(&self, out: &mut BytesMut) {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| json!({"name": column.name, "type": column.pg_type.sql_name()}))
            .collect();
        out.put_slice(format!("{{\"columns\":{},\"rows\":[", json!(columns)).as_bytes());
    }

    fn rows(
        &mut self,
        batch: &RecordBatch,
        from: usize,
        enough: usize,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeFailure> {
        let schema = batch.schema();
        let cells: Vec<JsonCells<'_>> = self
            .columns
            .iter()
            .zip(batch.columns().iter().zip(schema.fields()))
            .map(|(column, (array, field))| {
                JsonCells::of(array.as_ref(), field, column.pg_type, &self.context)
            })
            .collect();
        let mut scratch = BytesMut::new();
        for row in from..batch.num_rows() {
            if out.len() >= enough {
                return Ok(row);
            }
            out.put_slice(if self.rows == 0 { b"\n[" } else { b",\n[" });
            for (index, cell) in cells.iter().enumerate() {
                if index > 0 {
                    out.put_u8(b',');
                }
                cell.write(row, &mut scratch, out)?;
            }
            out.put_u8(b']');
            self.rows += 1;
        }
        Ok(batch.num_rows())
    }

    fn finish(&self, out: &mut BytesMut) {
        out.put_slice(format!("\n],\"rowCount\":{}}}\n", self.rows).as_bytes());
    }
}

/// How the values of a column stand in JSON.
enum JsonCells<'a> {
    /// As `to_json` writes them.
    Json(BoxedCells<'a>),
    /// Their text, in quotes: what a double would not hold exactly, and what has no form in JSON.
    Quoted(BoxedCells<'a>),
    /// A number, in quotes where a double would not hold it.
    Whole(BoxedCells<'a>),
}

impl<'a> JsonCells<'a> {
    fn of(
        array: &'a dyn arrow::array::Array,
        field: &Field,
        pg_type: PgType,
        context: &'a EncodeContext,
    ) -> Self {
        let text = || resolve(array, pg_type, Format::Text, context);
        if pg_type.array {
            return Self::Json(json_cells(array, field, context));
        }
        match pg_type.base.oid {
            // numeric, geometry, regclass and its kin
            1700 | 16380 | 24 | 2202..=2206 | 4089 | 4096 => Self::Quoted(text()),
            20 => Self::Whole(text()),
            _ => Self::Json(json_cells(array, field, context)),
        }
    }

    fn write(&self, row: usize, scratch: &mut BytesMut, out: &mut BytesMut) -> Result<(), EncodeFailure> {
        let cells = match self {
            Self::Json(cells) => return cells.write(row, out),
            Self::Quoted(cells) | Self::Whole(cells) => cells,
        };
        if cells.is_null(row) {
            out.put_slice(b"null");
            return Ok(());
        }
        scratch.clear();
        cells.write(row, scratch)?;
        let is_safe = || {
            let digits = scratch.strip_prefix(b"-").unwrap_or(scratch);
            let number = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| digits.parse().ok());
            number.is_some_and(|number: u64| number <= LARGEST_SAFE)
        };
        if matches!(self, Self::Whole(_)) && is_safe() {
            out.put_slice(scratch);
        } else {
            out.put_slice(json!(String::from_utf8_lossy(scratch)).to_string().as_bytes());
        }
        Ok(())
    }
}

/// The batches as they are computed, under the names that the client sees.
pub(super) struct ArrowWriter {
    schema: SchemaRef,
    stream: StreamWriter<Vec<u8>>,
}

fn arrow_failed(error: &ArrowError) -> Fault {
    Fault::error("XX000", format!("internal error: an Arrow stream: {error}"))
}

impl ArrowWriter {
    fn new(schema: &SchemaRef, columns: &[Column]) -> Result<Self, Fault> {
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .zip(columns)
            .map(|(field, column)| {
                // what Arrow cannot say of the type, as `jsonb` or `varchar(20)`
                let told = [(types::PG_TYPE_METADATA.to_owned(), column.pg_type.sql_name())];
                Field::new(&column.name, field.data_type().clone(), true).with_metadata(told.into())
            })
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let stream = StreamWriter::try_new(Vec::new(), &schema).map_err(|error| arrow_failed(&error))?;
        Ok(ArrowWriter { schema, stream })
    }

    fn rows(&mut self, batch: &RecordBatch, from: usize, out: &mut BytesMut) -> Result<usize, Fault> {
        let rows = batch.num_rows();
        let bytes = batch.get_array_memory_size().max(1);
        let each = (rows.saturating_mul(MESSAGE_BYTES) / bytes).max(1);
        let until = rows.min(from.saturating_add(each));
        let columns = batch.slice(from, until - from).columns().to_vec();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(until - from));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .and_then(|batch| self.stream.write(&batch))
            .map_err(|error| arrow_failed(&error))?;
        self.take(out);
        Ok(until)
    }

    fn take(&mut self, out: &mut BytesMut) {
        out.put_slice(&std::mem::take(self.stream.get_mut()));
    }
}

/// Packs the bytes of a result.
pub(super) enum Packer {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Packer {
    pub(super) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::fast())),
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
        })
    }

    /// What may be sent after these bytes; all of them are in it when `flush` is set.
    pub(super) fn pack(&mut self, bytes: BytesMut, flush: bool) -> io::Result<Bytes> {
        let packed = match self {
            Self::Identity => return Ok(bytes.freeze()),
            Self::Gzip(encoder) => {
                encoder.write_all(&bytes)?;
                if flush {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&bytes)?;
                if flush {
                    encoder.flush()?;
                }
                std::mem::take(encoder.get_mut())
            }
        };
        Ok(packed.into())
    }

    /// The last bytes.
    pub(super) fn finish(&mut self, bytes: BytesMut) -> io::Result<Bytes> {
        let packed = match std::mem::replace(self, Self::Identity) {
            Self::Identity => return Ok(bytes.freeze()),
            Self::Gzip(mut encoder) => {
                encoder.write_all(&bytes)?;
                encoder.finish()?
            }
            Self::Zstd(mut encoder) => {
                encoder.write_all(&bytes)?;
                encoder.finish()?
            }
        };
        Ok(packed.into())
    }
}
