//! Reading one table by a prepared statement.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use tokio::time::Instant;

use super::decode::{DecodeFailure, MAX_VALUE_BYTES, Problem, RowDecoder};
use super::failure::{code, failure, is_connection_lost};
use super::pool::{Lease, Pool};
use super::position::position;
use super::render::{Answer, RemoteShape};
use super::settings::BEGIN;
use super::types::Wire;
use super::wire::{MAX_ROW_BYTES, Step, WireError};
use crate::scan::{
    Asked, PositionSlot, Predicate, RemoteMetrics, RemoteTable, ScanContext, ScanRequest, SourcePosition,
    StoreJoin, Verdict,
};
use crate::{ConnectorError, RefusedValue};

/// One table of a MySQL server.
#[derive(Debug)]
pub(super) struct MysqlTable {
    pool: Arc<Pool>,
    shape: Arc<RemoteShape>,
}

impl MysqlTable {
    pub(super) fn new(pool: Arc<Pool>, shape: RemoteShape) -> Self {
        Self {
            pool,
            shape: Arc::new(shape),
        }
    }
}

impl RemoteTable for MysqlTable {
    fn source(&self) -> String {
        format!("{} (mysql)", self.pool.server().catalog)
    }

    fn verdict(&self, predicate: &Predicate) -> Verdict {
        self.shape.verdict(predicate)
    }

    fn refusal(&self, asked: Asked<'_>) -> Option<Cow<'static, str>> {
        self.shape.refusal_of(asked).map(Cow::Borrowed)
    }

    fn joined(
        &self,
        other: &dyn RemoteTable,
        join: &StoreJoin,
    ) -> Result<Arc<dyn RemoteTable>, &'static str> {
        let other = (other as &dyn Any).downcast_ref::<Self>().ok_or("")?;
        if !Arc::ptr_eq(&self.pool, &other.pool) {
            return Err("");
        }
        Ok(Arc::new(Self {
            pool: Arc::clone(&self.pool),
            shape: Arc::new(self.shape.joined(&other.shape, join)?),
        }))
    }

    fn render(&self, request: &ScanRequest) -> String {
        self.shape.select(request)
    }

    fn execute(
        &self,
        request: ScanRequest,
        context: ScanContext,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let counts = request.projection.is_empty();
        let answer = if counts {
            vec![Answer {
                sql: String::new(),
                name: "count".to_owned(),
                wire: Wire::Big { unsigned: false },
            }]
        } else {
            self.shape.answers(&request)
        };
        if !counts && answer.len() != request.projection.len() {
            return Err(DataFusionError::Internal(
                "a column was asked for that the table does not have".to_owned(),
            ));
        }
        let schema = request.schema();
        let scan = Scan {
            pool: Arc::clone(&self.pool),
            shape: Arc::clone(&self.shape),
            select: self.render(&request),
            answer_schema: Arc::new(Schema::new(
                answer
                    .iter()
                    .map(|column| Field::new(&column.name, column.wire.data_type(), true))
                    .collect::<Vec<_>>(),
            )),
            schema,
            answer,
            counts,
            batch_rows: context.batch_size.max(1),
            metrics: context.metrics,
            position: context.position,
        };
        let schema = SchemaRef::clone(&scan.schema);
        let batches = stream::try_unfold(State::Start(scan), |state| async move {
            state.next().await.map_err(DataFusionError::from)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// A scan as planned.
struct Scan {
    pool: Arc<Pool>,
    shape: Arc<RemoteShape>,
    select: String,
    schema: SchemaRef,
    /// What the server sends: the columns, or the count of a scan without any.
    answer: Vec<Answer>,
    answer_schema: SchemaRef,
    counts: bool,
    batch_rows: usize,
    metrics: RemoteMetrics,
    position: Option<Arc<PositionSlot>>,
}

/// A scan under way. Dropped at any point, it drops its [`Lease`], which stops
/// the statement in the server.
struct Reading {
    scan: Scan,
    lease: Lease,
    decoder: RowDecoder,
    started: Instant,
    ended: bool,
}

enum State {
    Start(Scan),
    Reading(Box<Reading>),
    /// Rows without columns that are still to be handed on.
    Counted(Scan, u64),
}

impl State {
    async fn next(self) -> Result<Option<(RecordBatch, Self)>, ConnectorError> {
        match self {
            Self::Start(scan) if scan.counts => {
                let (scan, rows) = scan.count().await?;
                scan.hand_on(rows)
            }
            Self::Start(scan) => {
                let mut reading = Box::new(scan.start().await?);
                reading.next_batch().await.map(|batch| reading.after(batch))
            }
            Self::Reading(mut reading) => reading.next_batch().await.map(|batch| reading.after(batch)),
            Self::Counted(scan, rows) => scan.hand_on(rows),
        }
    }
}

impl Scan {
    /// Sends the request. A connection that died while idle is replaced once,
    /// and a table that was altered just now is looked at once more; nothing was
    /// read yet, so nothing is read twice.
    async fn start(self) -> Result<Reading, ConnectorError> {
        let time = self.metrics.time.clone();
        let _timer = time.timer();
        let patience = self.pool.patience_of_a_query();
        let mut lease = self.pool.acquire(patience).await?;
        let mut altered = false;
        loop {
            let started = Instant::now();
            match self.send(&mut lease).await {
                Ok(()) => {
                    let wires: Vec<_> = self.answer.iter().map(|column| column.wire.clone()).collect();
                    let zero_dates = self.shape.zero_dates;
                    let schema = SchemaRef::clone(&self.answer_schema);
                    let decoder = RowDecoder::new(schema, &wires, zero_dates, self.batch_rows)
                        .map_err(|problem| self.undecodable(problem))?;
                    return Ok(Reading {
                        lease,
                        decoder,
                        started,
                        ended: false,
                        scan: self,
                    });
                }
                Err(Refusal::Server(error)) if lease.reused && is_connection_lost(&error) => {
                    drop(lease);
                    lease = self.pool.acquire_fresh(patience).await?;
                }
                Err(Refusal::Server(WireError::Server {
                    code: code::TABLE_CHANGED,
                    ..
                })) if !altered => {
                    altered = true;
                    lease.release();
                    lease = self.pool.acquire(patience).await?;
                }
                Err(Refusal::Server(error)) => {
                    let meaning = self.refused(&lease, &error, started.elapsed());
                    if !is_connection_lost(&error) {
                        lease.release();
                    }
                    return Err(meaning);
                }
                Err(Refusal::Known(error)) => {
                    // Its rows are not read: the statement is stopped.
                    drop(lease);
                    return Err(error);
                }
            }
        }
    }

    /// Three round trips: transaction, preparation, execution; one more for the position.
    async fn send(&self, lease: &mut Lease) -> Result<(), Refusal> {
        let is_replica = lease.is_replica();
        let connection = lease.connection_mut().map_err(Refusal::Known)?;
        let client = &mut connection.client;
        let catalog = &self.pool.server().catalog;
        let position = match self.position {
            Some(_) => position(client, &connection.version, catalog).await,
            None => Ok(None),
        };
        let position = position.map_err(Refusal::Server)?;
        client.run(BEGIN).await.map_err(Refusal::Server)?;
        let statement = client.prepare(&self.select).await.map_err(Refusal::Server)?;
        let statement = connection.statement.insert(statement);
        let answered = client.execute(statement).await.map_err(Refusal::Server)?;
        // Rows arrive without their types, so the types are compared first. The
        // transaction's lock keeps them from changing until the last row.
        if answered.len() != self.answer.len() {
            return Err(Refusal::Known(self.unreadable(
                "the server answers with another number of columns".to_owned(),
            )));
        }
        for (column, answered) in self.answer.iter().zip(&answered) {
            if !column.wire.matches(answered) {
                return Err(Refusal::Known(self.unreadable(format!(
                    "column \"{}\" has another type than when it was discovered; it is looked at \
                     again at the next discovery",
                    column.name
                ))));
            }
        }
        if let (Some(slot), Some(position)) = (&self.position, position) {
            slot.fill(SourcePosition {
                catalog: catalog.clone(),
                position,
                is_replica,
            });
        }
        Ok(())
    }

    /// The number of rows, as the server counts them.
    async fn count(self) -> Result<(Self, u64), ConnectorError> {
        let mut reading = self.start().await?;
        let mut rows = 0;
        while let Some(batch) = reading.next_batch().await? {
            // Never negative.
            rows += batch
                .column(0)
                .as_primitive::<Int64Type>()
                .iter()
                .flatten()
                .sum::<i64>() as u64;
        }
        let Reading { scan, lease, .. } = reading;
        lease.release();
        Ok((scan, rows))
    }

    /// A batch of so many rows without columns, and what is left.
    fn hand_on(self, rows: u64) -> Result<Option<(RecordBatch, State)>, ConnectorError> {
        if rows == 0 {
            return Ok(None);
        }
        let now = usize::try_from(rows).unwrap_or(usize::MAX).min(self.batch_rows);
        let options = RecordBatchOptions::new().with_row_count(Some(now));
        let batch = RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), Vec::new(), &options)
            .map_err(|error| self.undecodable(DecodeFailure::Arrow(error)))?;
        Ok(Some((batch, State::Counted(self, rows - now as u64))))
    }

    /// What the server's refusal of this table's statement means.
    fn refused(&self, lease: &Lease, error: &WireError, elapsed: Duration) -> ConnectorError {
        let settings = lease.driver();
        let WireError::Server { code, .. } = error else {
            return match error {
                WireError::TooLarge { bytes } => self.unreadable(format!(
                    "ValueTooLarge: holds a row of at least {bytes} bytes, and at most {MAX_ROW_BYTES} are \
                     read; leave the large columns out"
                )),
                other => failure(settings, other),
            };
        };
        let timed_out = [code::STATEMENT_TIMEOUT_MYSQL, code::STATEMENT_TIMEOUT_MARIADB].contains(code)
            || *code == code::QUERY_INTERRUPTED && elapsed >= settings.statement_timeout;
        if timed_out {
            return ConnectorError::StatementTimeout {
                catalog: settings.catalog.clone(),
                endpoint: settings.address(),
                milliseconds: settings.statement_timeout.as_millis(),
            };
        }
        if [code::NO_SUCH_TABLE, code::UNKNOWN_DATABASE].contains(code) {
            return ConnectorError::TableMissing {
                catalog: settings.catalog.clone(),
                schema: self.shape.schema.clone(),
                table: self.shape.name.clone(),
            };
        }
        if is_connection_lost(error) {
            return failure(settings, error);
        }
        let remedy = match *code {
            code::TABLE_ACCESS_DENIED | code::COLUMN_ACCESS_DENIED => {
                "; grant SELECT to the user of the DataSource"
            }
            code::UNKNOWN_COLUMN | code::VIEW_INVALID | code::TABLE_CHANGED => {
                "; the table changed since it was discovered and is looked at again at the next \
                 discovery"
            }
            _ => "",
        };
        self.unreadable(format!("{error}{remedy}"))
    }

    /// The rows in the types of the plan: an aggregate arrives in the one type that
    /// certainly holds it.
    fn planned(&self, batch: &RecordBatch) -> Result<RecordBatch, ConnectorError> {
        let exactly = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        self.schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| {
                if field.data_type() == column.data_type() {
                    Ok(Arc::clone(column))
                } else {
                    cast_with_options(column, field.data_type(), &exactly)
                }
            })
            .collect::<Result<Vec<_>, _>>()
            .and_then(|columns| RecordBatch::try_new(SchemaRef::clone(&self.schema), columns))
            .map_err(|error| self.unreadable(format!("an aggregate does not fit its type: {error}")))
    }

    fn unreadable(&self, message: String) -> ConnectorError {
        ConnectorError::TableUnreadable {
            catalog: self.pool.server().catalog.clone(),
            schema: self.shape.schema.clone(),
            table: self.shape.name.clone(),
            message,
            source: None,
        }
    }

    fn undecodable(&self, problem: DecodeFailure) -> ConnectorError {
        match problem {
            DecodeFailure::Value { column, problem } => {
                ConnectorError::ValueRefused(Box::new(RefusedValue {
                    catalog: self.pool.server().catalog.clone(),
                    schema: self.shape.schema.clone(),
                    table: self.shape.name.clone(),
                    column: self
                        .answer
                        .get(column)
                        .map(|column| column.name.clone())
                        .unwrap_or_default(),
                    row: "of some row".to_owned(),
                    message: explain(&problem),
                }))
            }
            DecodeFailure::Framing(message) => self.unreadable(message.to_owned()),
            DecodeFailure::Arrow(error) => {
                self.unreadable(format!("the rows do not fit the discovered columns: {error}"))
            }
        }
    }
}

/// Why a request was not started.
enum Refusal {
    Server(WireError),
    Known(ConnectorError),
}

impl Reading {
    /// The state after a batch, or after the end.
    fn after(self: Box<Self>, batch: Option<RecordBatch>) -> Option<(RecordBatch, State)> {
        if let Some(batch) = batch {
            return Some((batch, State::Reading(self)));
        }
        let zero_dates = self.decoder.zero_dates_seen();
        if zero_dates > 0 {
            tracing::warn!(
                catalog = self.scan.pool.server().catalog,
                schema = self.scan.shape.schema,
                table = self.scan.shape.name,
                zero_dates,
                "zero dates were read as NULL"
            );
        }
        // The transaction ends behind the caller's back: it has its rows.
        self.lease.release();
        None
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        while !self.ended {
            let client = &mut self.lease.connection_mut()?.client;
            match client.step() {
                Ok(Step::Row(row)) => {
                    let full = self.decoder.push(&row);
                    if full.map_err(|problem| self.scan.undecodable(problem))? {
                        break;
                    }
                }
                Ok(Step::End) => self.ended = true,
                Ok(Step::Wait) => {
                    let received = {
                        let _timer = self.scan.metrics.time.timer();
                        client.receive().await
                    };
                    match received {
                        Ok(bytes) => self.scan.metrics.bytes.add(bytes),
                        Err(error) => {
                            return Err(self.scan.refused(&self.lease, &error, self.started.elapsed()));
                        }
                    }
                }
                Err(error) => return Err(self.scan.refused(&self.lease, &error, self.started.elapsed())),
            }
        }
        self.scan.metrics.rows.add(self.decoder.rows());
        let batch = self
            .decoder
            .take()
            .map_err(|problem| self.scan.undecodable(problem))?;
        match batch {
            Some(batch) if !self.scan.counts => self.scan.planned(&batch).map(Some),
            batch => Ok(batch),
        }
    }
}

/// What is wrong with a value and what to do, for people.
fn explain(problem: &Problem) -> String {
    match problem {
        Problem::ZeroDate => "holds the date 0000-00-00, which is none; correct it in the database, or set \
             zeroDates of the DataSource to AsNull"
            .to_owned(),
        Problem::NoSuchDate => "holds a date that does not exist, such as one with a zero month or day; \
             correct it in the database, or read the column as text through a view"
            .to_owned(),
        Problem::NumericMisfit { precision, scale } => format!(
            "holds a number that does not fit decimal({precision},{scale}); if the column was \
             altered, it is looked at again at the next discovery"
        ),
        Problem::NotUtf8 => "holds text that is not UTF-8; correct it in the database, or read the column \
             as binary through a view"
            .to_owned(),
        Problem::TooLarge { bytes } => format!(
            "ValueTooLarge: holds a value of {bytes} bytes, and at most {MAX_VALUE_BYTES} are \
             read; leave the column out"
        ),
        Problem::Malformed(kind) => format!(
            "did not arrive as a {kind}; if the column was altered, it is looked at again at the \
             next discovery"
        ),
    }
}
