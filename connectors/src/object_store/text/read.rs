//! Reads one text file: to learn its columns, or to decode them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::csv::reader::Decoder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::{Buf, Bytes, BytesMut};
use datafusion::common::DataFusionError;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lakegate_crds::FileCompression;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};

use super::builder::{JsonBuilder, ScalarBuilder};
use super::csv::CsvDialect;
use super::evidence::Fields;
use super::json::{Lines, Object};
use crate::object_store::files::{Format, decompression};

/// A header longer than this is none.
const MAX_HEADER_BYTES: usize = 4 << 20;

/// A batch of JSON ends early after this much text.
const BATCH_BYTES: usize = 8 << 20;

/// Why a file was not read to its end.
#[derive(Debug)]
pub enum TextFailure {
    /// The store failed, or the compressed data is damaged.
    Store(DataFusionError),
    /// The file is not of its format.
    Format(String),
    /// A value does not fit its column.
    Value {
        column: String,
        /// CSV: number of the record after the header; JSON: number of the line.
        row: usize,
        message: &'static str,
    },
}

impl From<DataFusionError> for TextFailure {
    fn from(error: DataFusionError) -> Self {
        Self::Store(error)
    }
}

/// Where a text file is and how it is written.
#[derive(Debug, Clone)]
pub struct TextFile {
    pub location: Path,
    pub format: Format,
    pub compression: FileCompression,
    pub tabs: bool,
    pub dialect: CsvDialect,
}

impl TextFile {
    async fn bytes(
        &self,
        store: &dyn ObjectStore,
    ) -> Result<BoxStream<'static, Result<Bytes, DataFusionError>>, TextFailure> {
        // The whole file comes from one open file, so one that is replaced
        // meanwhile is read as it was.
        let result = store
            .get_opts(&self.location, GetOptions::default())
            .await
            .map_err(DataFusionError::from)?;
        let stream = result.into_stream().map_err(DataFusionError::from).boxed();
        Ok(decompression(self.compression).convert_stream(stream)?)
    }

    async fn records(
        &self,
        store: &dyn ObjectStore,
        names: Option<&[String]>,
    ) -> Result<Option<CsvRecords>, TextFailure> {
        CsvRecords::open(self.bytes(store).await?, &self.dialect, self.tabs, names).await
    }

    async fn lines(&self, store: &dyn ObjectStore) -> Result<JsonLines, TextFailure> {
        Ok(JsonLines {
            input: self.bytes(store).await?,
            lines: Lines::default(),
            read: 0,
        })
    }
}

/// The records of a CSV file as text.
struct CsvRecords {
    input: BoxStream<'static, Result<Bytes, DataFusionError>>,
    names: Vec<String>,
    header: bool,
    delimiter: u8,
    dialect: CsvDialect,
    pending: Bytes,
    ended: bool,
    decoder: Option<Decoder>,
    /// Decompressed bytes read so far.
    read: usize,
}

impl CsvRecords {
    /// Reads up to the end of the first record; None when there is none. Without a
    /// header the columns have the given names, by position.
    async fn open(
        mut input: BoxStream<'static, Result<Bytes, DataFusionError>>,
        dialect: &CsvDialect,
        tabs: bool,
        names: Option<&[String]>,
    ) -> Result<Option<Self>, TextFailure> {
        let delimiter = dialect.delimiter(tabs);
        let mut buffer = BytesMut::new();
        let mut ended = false;
        let record = loop {
            match input.try_next().await? {
                Some(chunk) => buffer.extend_from_slice(&chunk),
                None => ended = true,
            }
            // A mark that says "this is UTF-8" is no part of the first name.
            if buffer.starts_with(b"\xef\xbb\xbf") {
                buffer.advance(3);
            }
            match dialect.first_record(&buffer, delimiter, ended) {
                Some(record) => break record,
                None if ended => return Ok(None),
                None if buffer.len() > MAX_HEADER_BYTES => {
                    return Err(TextFailure::Format("the first record has no end".to_owned()));
                }
                None => {}
            }
        };
        let mut found = dialect.names(&record);
        if let Some(names) = names
            && !dialect.header
        {
            for (found, name) in found.iter_mut().zip(names) {
                found.clone_from(name);
            }
        }
        Ok(Some(Self {
            input,
            names: found,
            header: dialect.header,
            delimiter,
            dialect: dialect.clone(),
            read: buffer.len(),
            pending: buffer.freeze(),
            ended,
            decoder: None,
        }))
    }

    /// Chooses the columns of the batches, by position.
    fn select(&mut self, positions: Vec<usize>, batch_size: usize) {
        let fields: Vec<Field> = self
            .names
            .iter()
            .map(|name| Field::new(name, DataType::Utf8, true))
            .collect();
        let mut builder = arrow::csv::ReaderBuilder::new(Arc::new(Schema::new(fields)))
            .with_header(self.header)
            .with_delimiter(self.delimiter)
            .with_quote(self.dialect.quote)
            .with_batch_size(batch_size)
            .with_projection(positions);
        if let Some(escape) = self.dialect.escape {
            builder = builder.with_escape(escape);
        }
        self.decoder = Some(builder.build_decoder());
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, TextFailure> {
        let Some(decoder) = &mut self.decoder else {
            return Ok(None);
        };
        let broken = |error: arrow::error::ArrowError| TextFailure::Format(error.to_string());
        loop {
            if self.pending.is_empty() && !self.ended {
                match self.input.try_next().await? {
                    Some(chunk) => {
                        self.read += chunk.len();
                        self.pending = chunk;
                        continue;
                    }
                    None => self.ended = true,
                }
            }
            // An empty input tells the decoder that the last record ends here.
            let taken = decoder.decode(&self.pending).map_err(broken)?;
            self.pending.advance(taken);
            let finished = self.ended && self.pending.is_empty() && taken == 0;
            if finished || decoder.capacity() == 0 {
                return decoder.flush().map_err(broken);
            }
        }
    }
}

/// The lines of a JSON file.
struct JsonLines {
    input: BoxStream<'static, Result<Bytes, DataFusionError>>,
    lines: Lines,
    read: usize,
}

impl JsonLines {
    /// The next line that is not blank, with its number.
    async fn next(&mut self) -> Result<Option<(usize, Bytes)>, TextFailure> {
        loop {
            match self.lines.next_line().map_err(TextFailure::Format)? {
                Some(line) if line.iter().all(u8::is_ascii_whitespace) => {}
                Some(line) => return Ok(Some((self.lines.number, line))),
                None if self.lines.is_ended() => return Ok(None),
                None => match self.input.try_next().await? {
                    Some(chunk) => {
                        self.read += chunk.len();
                        self.lines.push(chunk);
                    }
                    None => self.lines.end(),
                },
            }
        }
    }
}

fn object(number: usize, line: &[u8]) -> Result<Object<'_>, TextFailure> {
    serde_json::from_slice(line).map_err(|error| {
        let hint = if number == 1 && line.trim_ascii_start().starts_with(b"[") {
            "; JsonLines takes one object a line, not an array"
        } else {
            ""
        };
        // The parser counts from the line's own start.
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        TextFailure::Format(format!(
            "line {number} is not a JSON object: {message} (at column {}){hint}",
            error.column()
        ))
    })
}

/// What a file says about its columns, and whether all of it was read. At most
/// `limit` decompressed bytes (and one batch) are.
pub async fn infer(
    file: &TextFile,
    store: &dyn ObjectStore,
    limit: usize,
) -> Result<(Fields, bool), TextFailure> {
    let mut fields = Fields::default();
    if file.format == Format::JsonLines {
        let mut lines = file.lines(store).await?;
        while let Some((number, line)) = lines.next().await? {
            for (name, value) in object(number, &line)?.0 {
                fields
                    .entry(&name)
                    .see_json(value, 0)
                    .map_err(|error| TextFailure::Format(format!("line {number}: {error}")))?;
            }
            if lines.read > limit {
                return Ok((fields, false));
            }
        }
        return Ok((fields, true));
    }
    let Some(mut records) = file.records(store, None).await? else {
        return Ok((fields, true));
    };
    let names = records.names.clone();
    records.select((0..names.len()).collect(), 1024);
    for name in &names {
        fields.entry(name);
    }
    while let Some(batch) = records.next().await? {
        for (name, column) in names.iter().zip(batch.columns()) {
            let evidence = fields.entry(name);
            for value in column.as_string::<i32>() {
                if let Some(value) = file.dialect.value(value, false) {
                    evidence.see_text(value);
                }
            }
        }
        if records.read > limit {
            return Ok((fields, false));
        }
    }
    Ok((fields, true))
}

/// What is decoded from a file.
#[derive(Debug, Clone)]
pub struct Decoding {
    /// The columns of the batches.
    pub schema: SchemaRef,
    /// All columns of the table's files, for those without a header.
    pub names: Arc<[String]>,
    /// The user declared the types.
    pub declared: bool,
    pub batch_size: usize,
}

/// The rows of a file. A column the file lacks is NULL.
pub async fn decode(
    file: TextFile,
    store: Arc<dyn ObjectStore>,
    decoding: Decoding,
) -> Result<BoxStream<'static, Result<RecordBatch, TextFailure>>, TextFailure> {
    if file.format == Format::JsonLines {
        let lines = file.lines(store.as_ref()).await?;
        return Ok(decode_json(lines, decoding));
    }
    match file.records(store.as_ref(), Some(&decoding.names)).await? {
        Some(records) => Ok(decode_csv(records, decoding)),
        None => Ok(futures::stream::empty().boxed()),
    }
}

fn unreadable(field: &Field) -> TextFailure {
    TextFailure::Format(format!(
        "column \"{}\" cannot be read as {}",
        field.name(),
        field.data_type()
    ))
}

fn decode_csv(
    mut records: CsvRecords,
    decoding: Decoding,
) -> BoxStream<'static, Result<RecordBatch, TextFailure>> {
    // Where each wanted column is among those that are read.
    let mut positions = Vec::new();
    let places: Vec<Option<usize>> = decoding
        .schema
        .fields()
        .iter()
        .map(|field| {
            let position = records.names.iter().position(|name| name == field.name())?;
            positions.push(position);
            Some(positions.len() - 1)
        })
        .collect();
    records.select(positions, decoding.batch_size);
    let state = (records, decoding, places, 0_usize);
    futures::stream::try_unfold(state, |(mut records, decoding, places, row)| async move {
        let Some(batch) = records.next().await? else {
            return Ok(None);
        };
        let length = batch.num_rows();
        let mut columns = Vec::with_capacity(places.len());
        for (field, place) in decoding.schema.fields().iter().zip(&places) {
            let Some(place) = place else {
                columns.push(arrow::array::new_null_array(field.data_type(), length));
                continue;
            };
            let mut builder = ScalarBuilder::new(field.data_type()).ok_or_else(|| unreadable(field))?;
            let text_column = *field.data_type() == DataType::Utf8;
            let texts = batch.column(*place).as_string::<i32>();
            for (index, text) in texts.iter().enumerate() {
                builder
                    .append(records.dialect.value(text, text_column), decoding.declared)
                    .map_err(|message| TextFailure::Value {
                        column: field.name().clone(),
                        row: row + index + 1,
                        message,
                    })?;
            }
            columns.push(builder.finish());
        }
        let batch = assemble(&decoding.schema, columns, length)?;
        Ok(Some((batch, (records, decoding, places, row + length))))
    })
    .boxed()
}

fn decode_json(lines: JsonLines, decoding: Decoding) -> BoxStream<'static, Result<RecordBatch, TextFailure>> {
    let positions: HashMap<String, usize> = decoding
        .schema
        .fields()
        .iter()
        .enumerate()
        .map(|(position, field)| (field.name().clone(), position))
        .collect();
    let state = (lines, decoding, positions);
    futures::stream::try_unfold(state, |(mut lines, decoding, positions)| async move {
        let fields = decoding.schema.fields();
        let mut builders = fields
            .iter()
            .map(|field| JsonBuilder::new(field.data_type()).ok_or_else(|| unreadable(field)))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut length, mut bytes) = (0, 0);
        while length < decoding.batch_size && bytes < BATCH_BYTES {
            let Some((number, line)) = lines.next().await? else {
                break;
            };
            let mut values = vec![None; builders.len()];
            let object = object(number, &line)?;
            for (name, value) in object.0 {
                if let Some(&position) = positions.get(name.as_ref()) {
                    values[position] = Some(value);
                }
            }
            for ((builder, value), field) in builders.iter_mut().zip(values).zip(fields) {
                builder
                    .append(value, decoding.declared)
                    .map_err(|message| TextFailure::Value {
                        column: field.name().clone(),
                        row: number,
                        message,
                    })?;
            }
            length += 1;
            bytes += line.len();
        }
        if length == 0 {
            return Ok(None);
        }
        let columns = builders.iter_mut().map(JsonBuilder::finish).collect();
        let batch = assemble(&decoding.schema, columns, length)?;
        Ok(Some((batch, (lines, decoding, positions))))
    })
    .boxed()
}

fn assemble(
    schema: &SchemaRef,
    columns: Vec<arrow::array::ArrayRef>,
    length: usize,
) -> Result<RecordBatch, TextFailure> {
    RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(length)),
    )
    .map_err(|error| TextFailure::Store(error.into()))
}
