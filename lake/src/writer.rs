//! Record batches in, Parquet data files out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use iceberg::spec::Schema as IcebergSchema;
use object_store::path::Path;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::async_writer::{AsyncArrowWriter, AsyncFileWriter};
use parquet::basic::{Compression as PageCompression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use sha2::{Digest, Sha256};

use crate::convert::Converter;
use crate::error::LakeError;
use crate::metrics::FileMetrics;
use crate::name::LakeTableName;
use crate::objects::Objects;
use crate::parquet_schema::parquet_schema;
use crate::types::{ColumnMask, Compression, Progress, WriteOptions, WrittenFile, WrittenFiles};
use crate::upload::Upload;

/// Rows converted and encoded at a time; DataFusion's batches are of this size.
const SLICE_ROWS: usize = 8192;
/// Bytes of Arrow data above which a slice is halved, so that wide rows do not outgrow a row group.
const SLICE_BYTES: usize = 16 * 1024 * 1024;
/// Writes the data files of one attempt of a run.
///
/// Files go to the store as their row groups fill; no file is ever held whole. A writer that is dropped without
/// [`close`](Self::close) or [`abort`](Self::abort) leaves unreferenced files, which `Lake::sweep` removes.
#[derive(Debug)]
pub struct TableWriter {
    objects: Objects,
    converter: Converter,
    schema: Arc<IcebergSchema>,
    options: WriteOptions,
    /// `<schema>/<table>/data/<run>/<attempt>-<nonce>`
    directory: Path,
    open: Option<OpenFile>,
    finished: Vec<WrittenFile>,
    progress: Progress,
    failed: bool,
}

struct OpenFile {
    path: Path,
    writer: AsyncArrowWriter<Sink>,
    rows: u64,
    nan_counts: HashMap<i32, u64>,
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OpenFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl TableWriter {
    pub(crate) fn new(
        objects: Objects,
        converter: Converter,
        schema: Arc<IcebergSchema>,
        options: WriteOptions,
        directory: Path,
    ) -> Self {
        Self {
            objects,
            converter,
            schema,
            options,
            directory,
            open: None,
            finished: Vec::new(),
            progress: Progress::default(),
            failed: false,
        }
    }

    pub fn table(&self) -> &LakeTableName {
        &self.converter.table
    }

    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Appends rows. The batch must have the columns given to `Lake::write`.
    ///
    /// After an error the writer has removed what it wrote and is of no further use.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
        let result = self.append(&batch).await;
        if result.is_err() {
            self.fail().await;
        }
        result
    }

    async fn append(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        if self.failed {
            return Err(LakeError::WrongBatch {
                table: self.table().clone(),
                problem: "the writer has failed before".to_owned(),
            });
        }
        let mut start = 0;
        while start < batch.num_rows() {
            let mut rows = SLICE_ROWS.min(batch.num_rows() - start);
            while rows > 1 && slice_bytes(batch, start, rows) > SLICE_BYTES {
                rows /= 2;
            }
            self.append_slice(&batch.slice(start, rows)).await?;
            start += rows;
        }
        self.report();
        Ok(())
    }

    async fn append_slice(&mut self, slice: &RecordBatch) -> Result<(), LakeError> {
        let converted = self.converter.convert(slice)?;
        let mut file = match self.open.take() {
            Some(file) => file,
            None => self.start_file()?,
        };
        count_nans(&converted, &self.schema, &mut file.nan_counts);
        let rows = converted.num_rows() as u64;
        let result = file.writer.write(&converted).await;
        let result = match result {
            // the encoded size is an estimate that dictionaries can hide; what the encoders hold counts too
            Ok(())
                if file.writer.in_progress_size() >= self.options.row_group_bytes
                    || file.writer.memory_size() >= self.options.row_group_bytes.saturating_mul(2) =>
            {
                file.writer.flush().await
            }
            other => other,
        };
        if let Err(error) = result {
            let error = self.parquet_error(&file.path, error);
            self.open = Some(file);
            return Err(error);
        }
        file.rows += rows;
        self.progress.rows += rows;
        let full = file.rows >= self.options.file_rows
            || file.writer.bytes_written() as u64 >= self.options.file_bytes;
        self.open = Some(file);
        if full { self.finish_file().await } else { Ok(()) }
    }

    /// The masked columns, by their names in the table.
    fn masks(&self) -> BTreeMap<String, ColumnMask> {
        let converter = &self.converter;
        let columns = converter.source.fields().iter().zip(converter.target.fields());
        columns
            .filter_map(|(source, target)| {
                let mask = self.options.masks.get(source.name())?;
                Some((target.name().clone(), mask.clone()))
            })
            .collect()
    }

    fn start_file(&self) -> Result<OpenFile, LakeError> {
        let path = self
            .directory
            .clone()
            .join(format!("{:05}.parquet", self.finished.len()));
        let sink = Sink {
            upload: Upload::new(self.objects.clone(), path.clone()),
            hash: Sha256::new(),
        };
        let compression = match self.options.compression {
            Compression::Zstd => PageCompression::ZSTD(
                ZstdLevel::try_new(3).map_err(|error| self.parquet_error(&path, error))?,
            ),
            Compression::Snappy => PageCompression::SNAPPY,
        };
        let masks = self.masks();
        // What other readers need (see the crate's documentation): version 1.0 pages, page statistics and index.
        let mut properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(compression)
            .set_dictionary_enabled(true)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_offset_index_disabled(false)
            .set_max_row_group_row_count(Some(self.options.row_group_rows.max(1)))
            .set_created_by(concat!("lakegate version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_key_value_metadata(Some(vec![parquet::file::metadata::KeyValue::new(
                "lakegate.run-id".to_owned(),
                self.options.run_id.clone(),
            )]));
        for (column, _) in masks.iter().filter(|(_, mask)| !mask.has_bounds()) {
            let path = ColumnPath::from(column.as_str());
            properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
        let schema = parquet_schema(&self.converter.target, self.options.profile)
            .map_err(|error| self.parquet_error(&path, error))?;
        let options = ArrowWriterOptions::new()
            .with_parquet_schema(schema)
            .with_properties(properties.build())
            .with_skip_arrow_metadata(true);
        let writer =
            AsyncArrowWriter::try_new_with_options(sink, Arc::clone(&self.converter.target), options)
                .map_err(|error| self.parquet_error(&path, error))?;
        Ok(OpenFile {
            path,
            writer,
            rows: 0,
            nan_counts: HashMap::new(),
        })
    }

    async fn finish_file(&mut self) -> Result<(), LakeError> {
        let Some(mut file) = self.open.take() else {
            return Ok(());
        };
        let metadata = match file.writer.finish().await {
            Ok(metadata) => metadata,
            Err(error) => {
                let error = self.parquet_error(&file.path, error);
                self.open = Some(file);
                return Err(error);
            }
        };
        let metrics = FileMetrics::new(&metadata, &self.schema, file.nan_counts);
        let sink = file.writer.into_inner();
        let bytes = sink.upload.bytes();
        self.finished.push(WrittenFile {
            path: file.path,
            size: bytes,
            sha256: hex(&sink.hash.finalize()),
            metrics,
        });
        self.progress.bytes += bytes;
        self.progress.files += 1;
        self.report();
        Ok(())
    }

    /// Finishes the files. Nothing is visible before they are committed by `Lake::replace`.
    pub async fn close(mut self) -> Result<WrittenFiles, LakeError> {
        if let Err(error) = self.finish_file().await {
            self.fail().await;
            return Err(error);
        }
        let masks = self.masks();
        Ok(WrittenFiles {
            table: self.converter.table,
            base: Arc::clone(&self.objects.base),
            schema: self.schema,
            run_id: self.options.run_id,
            attempt_id: self.options.attempt_id,
            directory: self.directory,
            files: self.finished,
            format: self.options.format,
            masks,
        })
    }

    /// Deletes what this writer has written.
    pub async fn abort(mut self) -> Result<(), LakeError> {
        self.discard().await
    }

    async fn discard(&mut self) -> Result<(), LakeError> {
        if let Some(file) = self.open.take() {
            file.writer.into_inner().upload.discard().await?;
        }
        while let Some(file) = self.finished.pop() {
            self.objects.delete(&file.path).await?;
        }
        Ok(())
    }

    /// After an error: free the space at once, for the next attempt may need it. The first error is the one to
    /// report, so one here is logged.
    async fn fail(&mut self) {
        self.failed = true;
        if let Err(error) = self.discard().await {
            tracing::warn!(table = %self.table(), directory = %self.directory, error = &error as &dyn std::error::Error,
                "files of a failed attempt could not be removed; a sweep will remove them");
        }
    }

    fn report(&self) {
        if let Some(progress) = &self.options.progress {
            let mut now = self.progress;
            if let Some(file) = &self.open {
                now.bytes += file.writer.bytes_written() as u64;
            }
            progress(now);
        }
    }

    fn parquet_error(&self, path: &Path, error: ParquetError) -> LakeError {
        match error {
            ParquetError::External(source) => match unwrapped(source) {
                Ok(error) => *error,
                Err(source) => self.objects.error("write", path, source),
            },
            error => LakeError::Encode {
                table: self.table().clone(),
                what: "a Parquet file",
                source: Box::new(error),
            },
        }
    }
}

/// Our own error within the layers the Parquet writer puts around it.
fn unwrapped(
    source: Box<dyn std::error::Error + Send + Sync>,
) -> Result<Box<LakeError>, Box<dyn std::error::Error + Send + Sync>> {
    match source.downcast::<ParquetError>() {
        Ok(parquet) => match *parquet {
            ParquetError::External(source) => unwrapped(source),
            other => Err(Box::new(other)),
        },
        Err(source) => source.downcast::<LakeError>(),
    }
}

/// Hashes what goes to the store.
struct Sink {
    upload: Upload,
    hash: Sha256,
}

impl AsyncFileWriter for Sink {
    fn write(&mut self, content: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move {
            self.hash.update(&content);
            self.upload
                .write(content)
                .await
                .map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async move {
            self.upload
                .complete()
                .await
                .map_err(|error| ParquetError::External(Box::new(error)))
        }
        .boxed()
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

fn slice_bytes(batch: &RecordBatch, start: usize, rows: usize) -> usize {
    batch
        .columns()
        .iter()
        // views and dictionaries cannot be measured by slice; their whole size only makes slices smaller
        .map(|column| {
            let slice = column.slice(start, rows);
            slice
                .to_data()
                .get_slice_memory_size()
                .unwrap_or_else(|_| slice.get_array_memory_size())
        })
        .sum()
}

/// Counts NaN values of top-level columns: bounds leave NaN out, so a reader must know whether there are any.
fn count_nans(batch: &RecordBatch, schema: &IcebergSchema, counts: &mut HashMap<i32, u64>) {
    for (field, column) in schema.as_struct().fields().iter().zip(batch.columns()) {
        let nans = match column.data_type() {
            DataType::Float32 => column
                .as_primitive::<Float32Type>()
                .iter()
                .flatten()
                .filter(|value| value.is_nan())
                .count(),
            DataType::Float64 => column
                .as_primitive::<Float64Type>()
                .iter()
                .flatten()
                .filter(|value| value.is_nan())
                .count(),
            _ => continue,
        };
        *counts.entry(field.id).or_default() += nans as u64;
    }
}
