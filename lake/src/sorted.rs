//! Writing a partitioned table: rows are sorted by partition on their way into files.
//!
//! However many partitions there are and in whatever order rows come, one file is open at a time and each partition gets
//! as few files as its size needs. Sorting takes memory from the run's pool and spills to its disk.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BinaryArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use iceberg::spec::Schema as IcebergSchema;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::convert::Converter;
use crate::error::LakeError;
use crate::files::FilePlace;
use crate::partition::{Parter, PartitionValue, Partitioning};
use crate::types::{WriteOptions, WrittenFile};
use crate::writer::{self, TableWriter, Work};

/// Batches that wait to be sorted.
const WAITING: usize = 2;

/// Sorts rows by partition and writes them.
pub(crate) struct SortedWriter {
    work: Arc<Work>,
    parter: Parter,
    /// With the columns that rows are sorted by.
    sorted: SchemaRef,
    rows: u64,
    sender: Option<mpsc::Sender<Result<RecordBatch, DataFusionError>>>,
    files: Ending,
}

/// A task that ends when nobody waits for it any more.
struct Ending(JoinHandle<Result<Vec<WrittenFile>, LakeError>>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for SortedWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SortedWriter")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl SortedWriter {
    pub fn start(work: Arc<Work>, partitioning: Arc<Partitioning>) -> Result<Self, LakeError> {
        let fields = work.encoding.converter().source.fields().iter().cloned();
        let by = [
            Field::new("partition", DataType::Binary, false),
            Field::new("row", DataType::UInt64, false),
        ];
        let sorted: SchemaRef = Arc::new(Schema::new(
            fields.chain(by.into_iter().map(Arc::new)).collect::<Vec<_>>(),
        ));
        let (sender, receiver) = mpsc::channel(WAITING);
        let plan = sort_plan(&sorted, receiver).map_err(|error| failed(&work, error))?;
        let runtime = work
            .options
            .runtime
            .clone()
            .unwrap_or_else(|| Arc::new(RuntimeEnv::default()));
        let context = Arc::new(TaskContext::default().with_runtime(runtime));
        let stream = execute_stream(plan, context).map_err(|error| failed(&work, error))?;
        let files = Files {
            parter: Parter::new(Arc::clone(&partitioning)),
            kept: Kept::new(&work, &partitioning)?,
            work: Arc::clone(&work),
            open: None,
            started: 0,
            finished: Vec::new(),
        };
        Ok(Self {
            parter: Parter::new(partitioning),
            work,
            sorted,
            rows: 0,
            sender: Some(sender),
            files: Ending(tokio::spawn(files.run(stream))),
        })
    }

    /// Appends rows in the form of the source.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        let mut keys: Vec<Option<Arc<[u8]>>> = vec![None; batch.num_rows()];
        let partitioning = &self.parter.partitioning;
        let columns = partitioning.columns(self.work.encoding.converter(), batch)?;
        let parts = self
            .parter
            .part(&columns)
            .map_err(|error| failed(&self.work, error))?;
        for part in parts {
            let key: Arc<[u8]> = part.key.row().data().into();
            for row in part.rows {
                keys[row as usize] = Some(Arc::clone(&key));
            }
        }
        let rows = batch.num_rows() as u64;
        let by: [ArrayRef; 2] = [
            Arc::new(BinaryArray::from_iter_values(
                keys.iter().map(|key| key.as_deref().unwrap_or_default()),
            )),
            Arc::new(UInt64Array::from_iter_values(self.rows..self.rows + rows)),
        ];
        let columns = batch.columns().iter().cloned().chain(by).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.sorted), columns);
        let batch = batch.map_err(|error| failed(&self.work, error))?;
        self.rows += rows;
        let sent = match &self.sender {
            Some(sender) => sender.send(Ok(batch)).await.is_ok(),
            None => false,
        };
        if sent {
            return Ok(());
        }
        match self.ending().await {
            Err(error) => Err(error),
            Ok(_) => Err(LakeError::WrongBatch {
                table: self.work.encoding.converter().table.clone(),
                problem: "the writer has ended before".to_owned(),
            }),
        }
    }

    /// The files, once all rows are in them.
    pub async fn finish(mut self) -> Result<Vec<WrittenFile>, LakeError> {
        self.sender = None;
        self.ending().await
    }

    /// Removes what was written.
    pub async fn discard(mut self) {
        if let Some(sender) = self.sender.take() {
            // what it ends with is this error, and it has removed its files by then
            let given_up = DataFusionError::External("the writer was given up".into());
            if sender.send(Err(given_up)).await.is_ok() {
                drop(sender);
                let _ = self.ending().await;
            }
        }
    }

    async fn ending(&mut self) -> Result<Vec<WrittenFile>, LakeError> {
        let ended = (&mut self.files.0).await;
        ended.map_err(|error| failed(&self.work, error))?
    }
}

fn failed(work: &Work, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LakeError {
    let error = error.into();
    if crate::error::is_storage_full(error.as_ref()) {
        return LakeError::StorageFull {
            location: "the run's scratch files".to_owned(),
            source: error,
        };
    }
    let table = work.encoding.converter().table.clone();
    let exhausted = error
        .downcast_ref::<DataFusionError>()
        .is_some_and(|error| matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)));
    if exhausted {
        LakeError::SortMemory { table, source: error }
    } else {
        LakeError::Sort { table, source: error }
    }
}

fn sort_plan(
    schema: &SchemaRef,
    receiver: mpsc::Receiver<Result<RecordBatch, DataFusionError>>,
) -> Result<Arc<SortExec>, DataFusionError> {
    let rows: Arc<dyn PartitionStream> = Arc::new(Incoming {
        schema: Arc::clone(schema),
        receiver: Mutex::new(Some(receiver)),
    });
    let input = StreamingTableExec::try_new(Arc::clone(schema), vec![rows], None, [], false, None)?;
    let columns = schema.fields().len();
    let by = [columns - 2, columns - 1].map(|position| {
        let column = Column::new(schema.field(position).name(), position);
        PhysicalSortExpr::new_default(Arc::new(column))
    });
    let order = LexOrdering::new(by)
        .ok_or_else(|| DataFusionError::Internal("an order without columns".to_owned()))?;
    Ok(Arc::new(SortExec::new(order, Arc::new(input))))
}

/// What was written, as a source of a plan.
struct Incoming {
    schema: SchemaRef,
    receiver: Mutex<Option<mpsc::Receiver<Result<RecordBatch, DataFusionError>>>>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Incoming").finish_non_exhaustive()
    }
}

impl PartitionStream for Incoming {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let receiver = self
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let rows = futures::stream::unfold(receiver, |receiver| async move {
            let mut receiver = receiver?;
            let batch = receiver.recv().await?;
            Some((batch, Some(receiver)))
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}

/// What of the rows is in the files.
struct Kept {
    positions: Vec<usize>,
    converter: Converter,
    schema: Arc<IcebergSchema>,
}

impl Kept {
    fn new(work: &Work, partitioning: &Partitioning) -> Result<Self, LakeError> {
        let positions = partitioning.kept_positions(&work.schema);
        let whole = work.encoding.converter();
        let project = |schema: &SchemaRef| {
            let schema = schema.project(&positions).map_err(|error| failed(work, error))?;
            Ok::<_, LakeError>(Arc::new(schema))
        };
        let columns = work.schema.as_struct().fields();
        let columns = positions.iter().map(|position| Arc::clone(&columns[*position]));
        let schema = IcebergSchema::builder().with_fields(columns).build();
        Ok(Self {
            converter: Converter {
                source: project(&whole.source)?,
                target: project(&whole.target)?,
                ..whole.clone()
            },
            schema: Arc::new(schema.map_err(|error| failed(work, error))?),
            positions,
        })
    }
}

/// Writes sorted rows, one partition after the other.
struct Files {
    work: Arc<Work>,
    parter: Parter,
    kept: Kept,
    open: Option<(Vec<u8>, PartitionValue, TableWriter)>,
    started: usize,
    finished: Vec<WrittenFile>,
}

impl Files {
    /// After an error it has removed what it wrote.
    async fn run(mut self, stream: SendableRecordBatchStream) -> Result<Vec<WrittenFile>, LakeError> {
        let error = match self.write(stream).await {
            Ok(()) => return Ok(self.finished),
            Err(error) => error,
        };
        if let Some((_, _, writer)) = self.open.take()
            && let Err(error) = writer.abort().await
        {
            tracing::warn!(table = %self.work.encoding.converter().table, error = &error as &dyn std::error::Error,
                "files of a failed attempt could not be removed; a sweep will remove them");
        }
        writer::remove(&self.work.objects, &self.finished).await;
        Err(error)
    }

    async fn write(&mut self, mut stream: SendableRecordBatchStream) -> Result<(), LakeError> {
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|error| failed(&self.work, error))?;
            let columns = batch.num_columns();
            let keys = batch.column(columns - 2).clone();
            let keys = arrow::array::AsArray::as_binary::<i32>(&keys);
            let rows: Vec<usize> = (0..columns - 2).collect();
            let rows = batch.project(&rows).map_err(|error| failed(&self.work, error))?;
            let rows = RecordBatch::try_new(
                Arc::clone(&self.work.encoding.converter().source),
                rows.columns().to_vec(),
            );
            let rows = rows.map_err(|error| failed(&self.work, error))?;
            let mut start = 0;
            while start < rows.num_rows() {
                let key = keys.value(start);
                let length = (start..rows.num_rows())
                    .take_while(|row| keys.value(*row) == key)
                    .count();
                let part = rows.slice(start, length);
                if self.open.as_ref().is_none_or(|(open, ..)| open != key) {
                    self.close().await?;
                    self.begin(key, &part)?;
                }
                let part = part.project(&self.kept.positions);
                let part = part.map_err(|error| failed(&self.work, error))?;
                if let Some((_, _, writer)) = &mut self.open {
                    // boxed: a writer of one partition is a writer, too
                    Box::pin(writer.write(part)).await?;
                }
                start += length;
            }
        }
        self.close().await
    }

    fn begin(&mut self, key: &[u8], part: &RecordBatch) -> Result<(), LakeError> {
        let partitioning = Arc::clone(&self.parter.partitioning);
        let first = partitioning.columns(self.work.encoding.converter(), &part.slice(0, 1))?;
        let parts = self
            .parter
            .part(&first)
            .map_err(|error| failed(&self.work, error))?;
        let value = parts
            .into_iter()
            .next()
            .map(|part| part.value)
            .unwrap_or_default();
        let work = &self.work;
        let options = WriteOptions {
            partition_by: Vec::new(),
            progress: None,
            ..work.options.clone()
        };
        let directory = partitioning.directory(&value, self.started);
        let directory = directory.map_err(|(column, problem)| LakeError::ValueRefused {
            table: work.table().clone(),
            column,
            problem: format!(
                "{problem}, so that it cannot name a partition's directory; leave such rows out with where, or partition \
                 by Bucket"
            ),
        })?;
        let place = FilePlace::of_partition(&work.place.directory, &directory, self.started);
        let place = place.map_err(|error| failed(work, error))?;
        self.started += 1;
        let writer = TableWriter::new(
            work.objects.clone(),
            self.kept.converter.clone(),
            Arc::clone(&self.kept.schema),
            options,
            place,
            Arc::default(),
        )?;
        self.open = Some((key.to_vec(), value, writer));
        Ok(())
    }

    async fn close(&mut self) -> Result<(), LakeError> {
        let Some((_, value, writer)) = self.open.take() else {
            return Ok(());
        };
        let written = Box::pin(writer.close()).await?;
        for file in written.files {
            self.work.tell(|progress| {
                progress.bytes += file.size;
                progress.files += 1;
            });
            self.finished.push(WrittenFile {
                partition: value.clone(),
                ..file
            });
        }
        Ok(())
    }
}
