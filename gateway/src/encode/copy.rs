//! Rows of `COPY … TO STDOUT` in text, CSV and binary form.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{BufMut, BytesMut};

use super::{BoxedCells, EncodeContext, EncodeFailure, Format, RowEncoder, put_frame, put_sized};

/// The options of `COPY` that shape its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// The row format.
    pub format: CopyFormat,
    /// Between two values.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// Whether the first line has the column names.
    pub header: bool,
    /// CSV: around values that need it.
    pub quote: u8,
    /// CSV: before a quote within quotes.
    pub escape: u8,
    /// CSV: every value that is not NULL is quoted.
    pub force_quote: bool,
}

/// `FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyFormat {
    /// `text`
    Text,
    /// `csv`
    Csv,
    /// `binary`
    Binary,
}

impl CopyOptions {
    /// Postgres' defaults for a format.
    pub fn of(format: CopyFormat) -> Self {
        let csv = format == CopyFormat::Csv;
        CopyOptions {
            format,
            delimiter: if csv { b',' } else { b'\t' },
            null: if csv { String::new() } else { "\\N".to_owned() },
            header: false,
            quote: b'"',
            escape: b'"',
            force_quote: false,
        }
    }
}

/// Encodes batches as CopyData frames, one a row as Postgres sends them.
pub struct CopyEncoder {
    rows: RowEncoder,
    options: CopyOptions,
}

impl CopyEncoder {
    /// An encoder for results of this schema.
    pub fn new(schema: &SchemaRef, options: CopyOptions, context: EncodeContext) -> Self {
        let format = if options.format == CopyFormat::Binary {
            Format::Binary
        } else {
            Format::Text
        };
        CopyEncoder {
            rows: RowEncoder::new(schema, &[format], context),
            options,
        }
    }

    /// What stands before the first row.
    pub fn start(&self, names: &[String], out: &mut BytesMut) {
        match self.options.format {
            CopyFormat::Binary => {
                // signature, flags, length of the header extension
                out.put_u8(b'd');
                out.put_i32(4 + 19);
                out.put_slice(b"PGCOPY\n\xff\r\n\0");
                out.put_i32(0);
                out.put_i32(0);
            }
            _ if self.options.header => {
                let mut line = BytesMut::new();
                self.put_header(names, &mut line);
                out.put_u8(b'd');
                out.put_i32(4 + line.len() as i32);
                out.put_slice(&line);
            }
            _ => {}
        }
    }

    /// The line with the names of the columns, without a frame.
    pub fn put_header(&self, names: &[String], out: &mut BytesMut) {
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                out.put_u8(self.options.delimiter);
            }
            self.put_value(name.as_bytes(), names.len() == 1, false, out);
        }
        out.put_u8(b'\n');
    }

    /// As [`CopyEncoder::encode`] for text and CSV, without frames.
    pub fn put_lines(
        &self,
        batch: &RecordBatch,
        from: usize,
        until: usize,
        enough: usize,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeFailure> {
        let cells = self.rows.resolve(batch);
        let mut scratch = BytesMut::new();
        for row in from..until {
            if out.len() >= enough {
                return Ok(row);
            }
            self.put_line(&cells, row, &mut scratch, out)?;
        }
        Ok(until)
    }

    /// What stands behind the last row.
    pub fn finish(&self, out: &mut BytesMut) {
        if self.options.format == CopyFormat::Binary {
            out.put_u8(b'd');
            out.put_i32(6);
            out.put_i16(-1);
        }
    }

    /// As [`RowEncoder::encode`], with CopyData frames.
    pub fn encode(
        &self,
        batch: &RecordBatch,
        from: usize,
        until: usize,
        enough: usize,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeFailure> {
        let cells = self.rows.resolve(batch);
        let mut scratch = BytesMut::new();
        for row in from..until {
            if out.len() >= enough {
                return Ok(row);
            }
            out.put_u8(b'd');
            put_frame(out, |out| match self.options.format {
                CopyFormat::Binary => {
                    out.put_i16(cells.len() as i16);
                    for cell in &cells {
                        if cell.is_null(row) {
                            out.put_i32(-1);
                        } else {
                            put_sized(out, |out| cell.write(row, out))?;
                        }
                    }
                    Ok(())
                }
                _ => self.put_line(&cells, row, &mut scratch, out),
            })?;
        }
        Ok(until)
    }

    fn put_line(
        &self,
        cells: &[BoxedCells<'_>],
        row: usize,
        scratch: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<(), EncodeFailure> {
        for (index, cell) in cells.iter().enumerate() {
            if index > 0 {
                out.put_u8(self.options.delimiter);
            }
            if cell.is_null(row) {
                out.put_slice(self.options.null.as_bytes());
            } else {
                scratch.clear();
                cell.write(row, scratch)?;
                self.put_value(scratch, cells.len() == 1, self.options.force_quote, out);
            }
        }
        out.put_u8(b'\n');
        Ok(())
    }

    fn put_value(&self, text: &[u8], single: bool, force_quote: bool, out: &mut BytesMut) {
        if self.options.format == CopyFormat::Text {
            return self.put_escaped(text, out);
        }
        let CopyOptions {
            delimiter,
            quote,
            escape,
            ref null,
            ..
        } = self.options;
        // a value that reads as NULL, or a lone `\.` that ends the data, must be quoted (CopyAttributeOutCSV)
        let quoted = force_quote
            || text == null.as_bytes()
            || (single && text == b"\\.")
            || text
                .iter()
                .any(|byte| *byte == delimiter || *byte == quote || matches!(byte, b'\n' | b'\r'));
        if !quoted {
            out.put_slice(text);
            return;
        }
        out.put_u8(quote);
        for byte in text {
            if *byte == quote || *byte == escape {
                out.put_u8(escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(quote);
    }

    fn put_escaped(&self, text: &[u8], out: &mut BytesMut) {
        for byte in text {
            let letter = match byte {
                b'\\' => b'\\',
                0x08 => b'b',
                0x0c => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x0b => b'v',
                other if *other == self.options.delimiter => *other,
                other => {
                    out.put_u8(*other);
                    continue;
                }
            };
            out.put_u8(b'\\');
            out.put_u8(letter);
        }
    }
}
