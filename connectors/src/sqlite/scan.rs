//! Runs one request on a SQLite file.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use futures::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::mpsc::Sender;

use super::Database;
use super::decode::ColumnBuilder;
use super::dialect::SqliteLayout;
use super::statement::Parameter;
use crate::scan::{Asked, Predicate, RemoteTable, ScanContext, ScanRequest, StoreJoin, Verdict};
use crate::{ConnectorError, RefusedValue};

/// Batches waiting for a slow reader.
const BATCHES_IN_FLIGHT: usize = 2;

/// A batch ends early at this size, so that wide rows stay bounded.
const BATCH_BYTES: usize = 8 << 20;

/// SQLite looks this often (in steps of its virtual machine) whether to go on.
const STEPS_BETWEEN_CHECKS: i32 = 4096;

/// One table or view of a SQLite file.
#[derive(Debug)]
pub(super) struct SqliteTable {
    database: Database,
    layout: Arc<SqliteLayout>,
}

impl SqliteTable {
    pub fn new(database: Database, layout: SqliteLayout) -> Self {
        Self {
            database,
            layout: Arc::new(layout),
        }
    }
}

impl RemoteTable for SqliteTable {
    fn source(&self) -> String {
        format!("{} (sqlite)", self.database.catalog)
    }

    fn verdict(&self, predicate: &Predicate) -> Verdict {
        self.layout.verdict(predicate)
    }

    fn refusal(&self, asked: Asked<'_>) -> Option<Cow<'static, str>> {
        self.layout.refusal(asked).map(Cow::Borrowed)
    }

    fn joined(
        &self,
        other: &dyn RemoteTable,
        join: &StoreJoin,
    ) -> Result<Arc<dyn RemoteTable>, &'static str> {
        let other = (other as &dyn Any).downcast_ref::<Self>().ok_or("")?;
        if self.database != other.database {
            return Err("");
        }
        let layout = self.layout.joined(&other.layout, join)?;
        Ok(Arc::new(Self::new(self.database.clone(), layout)))
    }

    fn render(&self, request: &ScanRequest) -> String {
        self.layout.display(request)
    }

    fn execute(&self, request: ScanRequest, context: ScanContext) -> Result<SendableRecordBatchStream> {
        let mut builder = RecordBatchReceiverStreamBuilder::new(request.schema(), BATCHES_IN_FLIGHT);
        let run = Run {
            database: self.database.clone(),
            layout: Arc::clone(&self.layout),
            checked: self.layout.is_checked(&request),
            request,
            context,
            output: builder.tx(),
        };
        builder.spawn(async move { run.perform().await });
        Ok(builder.build())
    }
}

/// Raised when the stream is dropped: the task that owns it is aborted.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Run {
    database: Database,
    layout: Arc<SqliteLayout>,
    request: ScanRequest,
    /// Whether the answer says which values of another class its conditions met.
    checked: bool,
    context: ScanContext,
    output: Sender<Result<RecordBatch>>,
}

impl Run {
    async fn perform(self) -> Result<()> {
        let mut connection = self.database.connect().await?;
        // A statement that yields no row for long never notices that nobody
        // listens any more, so SQLite itself has to look.
        let stopped = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&stopped);
        connection
            .lock_handle()
            .await
            .map_err(|error| self.database.failed(error))?
            .set_progress_handler(STEPS_BETWEEN_CHECKS, move || !watched.load(Ordering::Relaxed));
        let _stop = StopOnDrop(stopped);

        let (sql, parameters) = self.layout.statement(&self.request);
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for parameter in parameters {
            query = match parameter {
                Parameter::Integer(value) => query.bind(value),
                Parameter::Real(value) => query.bind(value),
                Parameter::Text(value) => query.bind(value),
            };
        }
        let mut rows = query.fetch(&mut connection);
        if self.request.projection.is_empty() {
            let row = self.next(&mut rows).await?;
            let count: i64 = match &row {
                Some(row) => {
                    self.check(row, 1)?;
                    row.try_get(0).map_err(|error| self.database.failed(error))?
                }
                None => 0,
            };
            return self.send_counts(usize::try_from(count).unwrap_or(0)).await;
        }

        let mut batch = self.builders();
        let (mut length, mut bytes) = (0, 0);
        let columns = self.request.projection.len() + usize::from(self.rowid().is_some());
        while let Some(row) = self.next(&mut rows).await? {
            for (position, builder) in batch.iter_mut().enumerate() {
                bytes += builder.append(&row, position).map_err(|message| {
                    self.refused(&row, self.request.schema().field(position).name(), message)
                })?;
            }
            self.check(&row, columns)?;
            length += 1;
            if length >= self.context.batch_size || bytes >= BATCH_BYTES {
                if !self.send(&mut batch, length, bytes).await? {
                    return Ok(());
                }
                (length, bytes) = (0, 0);
            }
        }
        if length > 0 {
            self.send(&mut batch, length, bytes).await?;
        }
        Ok(())
    }

    async fn next<S>(&self, rows: &mut S) -> Result<Option<SqliteRow>>
    where
        S: futures::Stream<Item = Result<SqliteRow, sqlx::Error>> + Unpin + Send,
    {
        let started = Instant::now();
        let row = rows.try_next().await;
        self.context.metrics.time.add_duration(started.elapsed());
        let row = row.map_err(|error| self.read_failed(error))?;
        if row.is_some() {
            self.context.metrics.rows.add(1);
        }
        Ok(row)
    }

    fn builders(&self) -> Vec<ColumnBuilder> {
        self.layout
            .answers(&self.request)
            .into_iter()
            .map(|kind| ColumnBuilder::new(kind, !self.layout.view))
            .collect()
    }

    /// False when nobody reads any more.
    async fn send(&self, batch: &mut [ColumnBuilder], length: usize, bytes: usize) -> Result<bool> {
        self.context.metrics.bytes.add(bytes);
        let arrays = batch.iter_mut().map(ColumnBuilder::finish).collect();
        let batch = RecordBatch::try_new_with_options(
            self.request.schema(),
            arrays,
            &RecordBatchOptions::new().with_row_count(Some(length)),
        )?;
        Ok(self.output.send(Ok(batch)).await.is_ok())
    }

    async fn send_counts(&self, mut rows: usize) -> Result<()> {
        while rows > 0 {
            let length = rows.min(self.context.batch_size);
            rows -= length;
            if !self.send(&mut [], length, 0).await? {
                break;
            }
        }
        Ok(())
    }

    /// The name by which the answer's rows have their rowid, after its columns.
    fn rowid(&self) -> Option<&String> {
        let is_of_rows = self.request.grouping.is_none() && !self.request.projection.is_empty();
        self.layout.rowid.as_ref().filter(|_| is_of_rows)
    }

    /// An error if a condition met a value of another class: the one that reading it
    /// would be. `position`: of what says so, if it is asked for.
    fn check(&self, row: &SqliteRow, position: usize) -> Result<()> {
        if !self.checked {
            return Ok(());
        }
        let column: Option<i64> = row
            .try_get(position)
            .map_err(|error| self.database.failed(error))?;
        let column = column.and_then(|column| self.layout.columns.get(usize::try_from(column).ok()?));
        match column {
            Some(column) => {
                let message = format!("holds a value that is no {}", column.kind.name());
                Err(self.refused(row, &column.name, message))
            }
            None => Ok(()),
        }
    }

    fn refused(&self, row: &SqliteRow, column: &str, message: String) -> DataFusionError {
        let place = self
            .rowid()
            .and_then(|_| row.try_get::<i64, _>(self.request.projection.len()).ok())
            .map(|rowid| format!("of rowid {rowid}"));
        ConnectorError::ValueRefused(Box::new(RefusedValue {
            catalog: self.database.catalog.clone(),
            schema: self.request.table.schema.clone(),
            table: self.request.table.name.clone(),
            column: column.to_owned(),
            row: place.unwrap_or_else(|| "of some row".to_owned()),
            message,
        }))
        .into()
    }

    /// A statement that SQLite refuses is one about a table that changed since its
    /// catalog was read.
    fn read_failed(&self, error: sqlx::Error) -> DataFusionError {
        let table = &self.request.table;
        let message = error
            .as_database_error()
            .map(|error| error.message().to_owned())
            .unwrap_or_default();
        if message.starts_with("no such table") {
            return ConnectorError::TableMissing {
                catalog: self.database.catalog.clone(),
                schema: table.schema.clone(),
                table: table.name.clone(),
            }
            .into();
        }
        if message.starts_with("no such column") {
            return ConnectorError::TableUnreadable {
                catalog: self.database.catalog.clone(),
                schema: table.schema.clone(),
                table: table.name.clone(),
                message: format!("{message}; the table changed, its catalog follows at the next discovery"),
                source: Some(Box::new(error)),
            }
            .into();
        }
        self.database.failed(error).into()
    }
}
