//! Record batches in, Parquet data files out.
//!
//! Three things go on at the same time: rows are gathered for the next row group, the columns of those before it are
//! encoded by several threads, and what is encoded goes to the store. Rows that are gathered or being encoded are
//! bounded in bytes, so whoever writes waits when the threads or the store cannot keep up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef};
use arrow::record_batch::RecordBatch;
use iceberg::spec::Schema as IcebergSchema;
use object_store::path::Path;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::bloom;
use crate::convert::Converter;
use crate::encode;
use crate::error::LakeError;
use crate::files::{FilePlace, FileWriter, RowGroup};
use crate::name::LakeTableName;
use crate::objects::Objects;
use crate::partition::Partitioning;
use crate::sorted::SortedWriter;
use crate::types::{ColumnMask, Progress, WriteOptions, WrittenFile, WrittenFiles};

/// Rows of a slice; DataFusion's batches are of this size.
const SLICE_ROWS: usize = 8192;
/// Bytes of Arrow data above which a slice is halved, so that wide rows do not outgrow a row group.
const SLICE_BYTES: usize = 16 * 1024 * 1024;
/// Row groups that are encoded or on their way to the store at a time: while the last columns of one are encoded and
/// sent, the threads that have nothing left of it go on with the next.
const UNDER_WAY: usize = 2;

/// Writes the data files of one attempt of a run.
///
/// Files go to the store as their row groups fill; no file is ever held whole. A writer that is dropped without
/// [`close`](Self::close) or [`abort`](Self::abort) leaves unreferenced files, which `Lake::sweep` removes.
#[derive(Debug)]
pub struct TableWriter {
    pub(crate) work: Arc<Work>,
    /// The rows of the next row group.
    gathered: Gathered,
    /// From the first full row group on.
    pipeline: Option<Pipeline>,
    failed: bool,
    partitioning: Arc<Partitioning>,
    /// Takes the rows of a partitioned table.
    sorted: Option<SortedWriter>,
}

/// What the parts of a writer share.
#[derive(Debug)]
pub(crate) struct Work {
    pub objects: Objects,
    pub encoding: encode::Encoding,
    pub schema: Arc<IcebergSchema>,
    pub options: WriteOptions,
    pub place: FilePlace,
    progress: Mutex<Progress>,
}

impl Work {
    pub fn table(&self) -> &LakeTableName {
        &self.encoding.converter().table
    }

    fn progress(&self) -> Progress {
        // numbers are whole whatever panicked beside them
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how far the work is, and tells it.
    pub fn tell(&self, change: impl FnOnce(&mut Progress)) {
        let now = {
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut progress);
            *progress
        };
        if let Some(tell) = &self.options.progress {
            tell(now);
        }
    }
}

impl TableWriter {
    pub(crate) fn new(
        objects: Objects,
        converter: Converter,
        schema: Arc<IcebergSchema>,
        options: WriteOptions,
        place: FilePlace,
        partitioning: Arc<Partitioning>,
    ) -> Result<Self, LakeError> {
        let gathered = Gathered::new(&converter);
        let work = Arc::new(Work {
            objects,
            encoding: encode::Encoding::new(converter, &options)?,
            schema,
            options,
            place,
            progress: Mutex::default(),
        });
        let sorted = if partitioning.is_empty() {
            None
        } else {
            Some(SortedWriter::start(Arc::clone(&work), Arc::clone(&partitioning))?)
        };
        Ok(Self {
            work,
            gathered,
            pipeline: None,
            failed: false,
            partitioning,
            sorted,
        })
    }

    pub fn table(&self) -> &LakeTableName {
        self.work.table()
    }

    pub fn progress(&self) -> Progress {
        self.work.progress()
    }

    /// Appends rows. The batch must have the columns given to `Lake::write`.
    ///
    /// They are converted and encoded later, side by side with rows that follow: a value that is refused may come up
    /// with a later batch, or in [`close`](Self::close). After an error the writer has removed what it wrote and is of
    /// no further use.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
        self.check_alive()?;
        let result = match self.work.encoding.converter().check(&batch) {
            Ok(()) => self.append(&batch).await,
            Err(error) => {
                self.fail().await;
                Err(error)
            }
        };
        self.failed = result.is_err();
        result
    }

    fn check_alive(&self) -> Result<(), LakeError> {
        if self.failed {
            return Err(LakeError::WrongBatch {
                table: self.table().clone(),
                problem: "the writer has failed before".to_owned(),
            });
        }
        Ok(())
    }

    async fn append(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        match &mut self.sorted {
            Some(sorted) => sorted.write(batch).await?,
            None => self.gather(batch).await?,
        }
        self.work
            .tell(|progress| progress.rows += batch.num_rows() as u64);
        Ok(())
    }

    async fn gather(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let options = &self.work.options;
        let group_rows = options
            .row_group_rows
            .min(usize::try_from(options.file_rows).unwrap_or(usize::MAX))
            .max(1);
        let group_bytes = options.row_group_bytes;
        let mut start = 0;
        while start < batch.num_rows() {
            let mut rows = SLICE_ROWS
                .min(batch.num_rows() - start)
                .min(group_rows - self.gathered.rows);
            let mut bytes = slice_bytes(batch, start, rows);
            while rows > 1 && bytes > SLICE_BYTES.min(group_bytes) {
                rows /= 2;
                bytes = slice_bytes(batch, start, rows);
            }
            self.gathered.add(&batch.slice(start, rows), bytes);
            start += rows;
            if self.gathered.rows >= group_rows || self.gathered.bytes >= group_bytes {
                self.encode().await?;
            }
        }
        Ok(())
    }

    /// Hands on what is gathered.
    async fn encode(&mut self) -> Result<(), LakeError> {
        if self.gathered.rows == 0 {
            return Ok(());
        }
        let pipeline = self.pipeline.get_or_insert_with(|| Pipeline::start(&self.work));
        pipeline.encode(&self.work, self.gathered.take()).await
    }

    /// Finishes the files. Nothing is visible before they are committed by `Lake::replace`.
    pub async fn close(mut self) -> Result<WrittenFiles, LakeError> {
        self.check_alive()?;
        self.encode().await?;
        let files = match (self.sorted.take(), self.pipeline.take()) {
            (Some(sorted), _) => sorted.finish().await?,
            (None, Some(pipeline)) => pipeline.finish(&self.work).await?,
            (None, None) => Vec::new(),
        };
        let work = self.work;
        Ok(WrittenFiles {
            table: work.table().clone(),
            base: Arc::clone(&work.objects.base),
            schema: Arc::clone(&work.schema),
            run_id: work.options.run_id.clone(),
            attempt_id: work.options.attempt_id.clone(),
            directory: work.place.directory.clone(),
            files,
            format: work.options.format,
            masks: work.options.masks_of(work.encoding.converter()),
            bloom_filters: bloom::portable_names(&work.options.bloom_filters),
            partitioning: self.partitioning,
            merge: None,
        })
    }

    /// Deletes what this writer has written.
    pub async fn abort(mut self) -> Result<(), LakeError> {
        self.discard().await
    }

    async fn discard(&mut self) -> Result<(), LakeError> {
        if let Some(sorted) = self.sorted.take() {
            sorted.discard().await;
        }
        match self.pipeline.take() {
            // a failed one has removed its files
            Some(pipeline) if !self.failed => pipeline.discard(&self.work).await,
            _ => Ok(()),
        }
    }

    /// After an error: the first error is the one to report, so one here is logged.
    async fn fail(&mut self) {
        if let Err(error) = self.discard().await {
            tracing::warn!(table = %self.table(), directory = %self.work.place.directory,
                error = &error as &dyn std::error::Error,
                "files of a failed attempt could not be removed; a sweep will remove them");
        }
    }
}

impl WriteOptions {
    /// The masked columns, by their names in the table.
    pub(crate) fn masks_of(&self, converter: &Converter) -> BTreeMap<String, ColumnMask> {
        let columns = converter.source.fields().iter().zip(converter.target.fields());
        columns
            .filter_map(|(source, target)| {
                let mask = self.masks.get(source.name())?;
                Some((target.name().clone(), mask.clone()))
            })
            .collect()
    }
}

/// Removes the files of an attempt that is lost.
pub(crate) async fn remove(objects: &Objects, files: &[WrittenFile]) {
    let paths: Vec<Path> = files.iter().map(|file| file.path.clone()).collect();
    objects.tidy(&paths, "data files of a lost attempt").await;
}

/// Rows that wait for more, by column.
#[derive(Debug)]
struct Gathered {
    columns: Vec<Vec<ArrayRef>>,
    rows: usize,
    /// Of Arrow data.
    bytes: usize,
}

impl Gathered {
    fn new(converter: &Converter) -> Self {
        Self {
            columns: vec![Vec::new(); converter.source.fields().len()],
            rows: 0,
            bytes: 0,
        }
    }

    fn add(&mut self, slice: &RecordBatch, bytes: usize) {
        for (column, array) in self.columns.iter_mut().zip(slice.columns()) {
            column.push(Arc::clone(array));
        }
        self.rows += slice.num_rows();
        self.bytes += bytes;
    }

    fn take(&mut self) -> Self {
        let empty = Self {
            columns: vec![Vec::new(); self.columns.len()],
            rows: 0,
            bytes: 0,
        };
        std::mem::replace(self, empty)
    }
}

/// Threads that encode, and the task that writes files.
#[derive(Debug)]
struct Pipeline {
    /// None once no more come.
    groups: Option<mpsc::Sender<RowGroup>>,
    /// For row groups under way.
    room: Arc<Semaphore>,
    /// For columns that are encoded at a time. Closed, what waits is not encoded any more.
    threads: Arc<Semaphore>,
    cancelled: Arc<AtomicBool>,
    files: Ending,
}

/// A task that ends when nobody waits for it any more.
#[derive(Debug)]
struct Ending(JoinHandle<Result<Vec<WrittenFile>, LakeError>>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.threads.close();
    }
}

impl Pipeline {
    fn start(work: &Arc<Work>) -> Self {
        let room = Arc::new(Semaphore::new(UNDER_WAY));
        let cancelled = Arc::new(AtomicBool::new(false));
        let (groups, receiver) = mpsc::channel(UNDER_WAY);
        let files = FileWriter::new(Arc::clone(work)).run(receiver, Arc::clone(&cancelled));
        let closing = Arc::clone(&room);
        let files = tokio::spawn(async move {
            let result = files.await;
            // who waits for room learns that none will come
            closing.close();
            result
        });
        Self {
            groups: Some(groups),
            room,
            threads: Arc::new(Semaphore::new(work.options.threads.max(1))),
            cancelled,
            files: Ending(files),
        }
    }

    async fn encode(&mut self, work: &Arc<Work>, gathered: Gathered) -> Result<(), LakeError> {
        let Ok(room) = Arc::clone(&self.room).acquire_owned().await else {
            return Err(self.failure(work).await);
        };
        let rows = gathered.rows as u64;
        let columns = gathered.columns.into_iter().enumerate().map(|(column, arrays)| {
            let (work, threads) = (Arc::clone(work), Arc::clone(&self.threads));
            tokio::spawn(async move {
                let thread = threads.acquire_owned().await;
                let thread = thread.map_err(|error| encode_failed(&work, Box::new(error)))?;
                let encoding = Arc::clone(&work);
                let encoded = tokio::task::spawn_blocking(move || {
                    let encoded = encoding.encoding.encode(column, arrays);
                    drop(thread);
                    encoded
                });
                encoded
                    .await
                    .map_err(|error| encode_failed(&work, Box::new(error)))?
            })
        });
        let group = RowGroup {
            columns: columns.collect(),
            rows,
            room,
        };
        match &self.groups {
            Some(groups) if groups.send(group).await.is_ok() => Ok(()),
            _ => Err(self.failure(work).await),
        }
    }

    /// The files, once all is in them.
    async fn finish(mut self, work: &Work) -> Result<Vec<WrittenFile>, LakeError> {
        self.groups = None;
        self.ending(work).await
    }

    /// Removes what was written.
    async fn discard(mut self, work: &Work) -> Result<(), LakeError> {
        self.cancelled.store(true, Ordering::Release);
        self.threads.close();
        self.groups = None;
        self.ending(work).await.map(|_| ())
    }

    async fn ending(&mut self, work: &Work) -> Result<Vec<WrittenFile>, LakeError> {
        let ended = (&mut self.files.0).await;
        ended.map_err(|error| encode_failed(work, Box::new(error)))?
    }

    /// Why no more row groups are taken.
    async fn failure(&mut self, work: &Work) -> LakeError {
        match self.ending(work).await {
            Err(error) => error,
            Ok(_) => LakeError::WrongBatch {
                table: work.table().clone(),
                problem: "the writer has ended before".to_owned(),
            },
        }
    }
}

fn encode_failed(work: &Work, source: Box<dyn std::error::Error + Send + Sync>) -> LakeError {
    LakeError::Encode {
        table: work.table().clone(),
        what: "a Parquet file",
        source,
    }
}

/// Bytes of Arrow data of some rows.
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
