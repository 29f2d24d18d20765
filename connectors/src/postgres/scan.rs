//! Reading one table by binary COPY.

use std::any::Any;
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, stream, try_join};
use tokio::time::Instant;
use tokio_postgres::CopyOutStream;
use tokio_postgres::error::SqlState;

use super::decode::{CopyDecoder, DecodeFailure, MAX_VALUE_BYTES, Problem};
use super::failure::{answer_text, failure, is_connection_lost, is_recovery_conflict};
use super::guard::MAX_ROW_BYTES;
use super::pool::{Lease, Pool};
use super::render::{Answer, RemoteShape};
use crate::scan::{
    Asked, Predicate, RemoteMetrics, RemoteTable, ScanContext, ScanRequest, StoreJoin, Verdict,
};
use crate::{ConnectorError, RefusedValue};

/// One table of a PostgreSQL database.
#[derive(Debug)]
pub(super) struct PostgresTable {
    pool: Arc<Pool>,
    shape: Arc<RemoteShape>,
}

impl PostgresTable {
    pub(super) fn new(pool: Arc<Pool>, shape: RemoteShape) -> Self {
        Self {
            pool,
            shape: Arc::new(shape),
        }
    }
}

impl RemoteTable for PostgresTable {
    fn source(&self) -> String {
        format!("{} (postgres)", self.pool.driver().catalog)
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
        RemoteShape::copy(&self.shape.select(request))
    }

    fn execute(
        &self,
        request: ScanRequest,
        context: ScanContext,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let columns = self.shape.answers(&request);
        if columns.len() != request.projection.len() {
            return Err(DataFusionError::Internal(
                "a column was asked for that the table does not have".to_owned(),
            ));
        }
        let scan = Scan {
            pool: Arc::clone(&self.pool),
            shape: Arc::clone(&self.shape),
            select: self.shape.select(&request),
            schema: request.schema(),
            columns,
            batch_rows: context.batch_size,
            metrics: context.metrics,
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
    columns: Vec<Answer>,
    batch_rows: usize,
    metrics: RemoteMetrics,
}

/// A scan under way. Dropped at any point, it drops its [`Lease`], which stops
/// the statement in the server.
struct Reading {
    scan: Scan,
    lease: Lease,
    /// None once the server has sent everything.
    copy: Option<Pin<Box<CopyOutStream>>>,
    decoder: CopyDecoder,
    started: Instant,
}

enum State {
    Start(Scan),
    Reading(Box<Reading>),
}

impl State {
    async fn next(self) -> Result<Option<(RecordBatch, Self)>, ConnectorError> {
        match self {
            Self::Start(scan) => {
                let mut reading = Box::new(scan.start().await?);
                reading.next_batch().await.map(|batch| reading.after(batch))
            }
            Self::Reading(mut reading) => reading.next_batch().await.map(|batch| reading.after(batch)),
        }
    }
}

impl Scan {
    /// Sends the request. A connection that died while idle is replaced once;
    /// nothing was read yet, so nothing is read twice.
    async fn start(self) -> Result<Reading, ConnectorError> {
        let time = self.metrics.time.clone();
        let _timer = time.timer();
        let patience = self.pool.patience_of_a_query();
        let mut lease = self.pool.acquire(patience).await?;
        loop {
            let started = Instant::now();
            let outcome = self.send(&lease).await;
            match outcome {
                Ok(copy) => {
                    let wires: Vec<_> = self.columns.iter().map(|column| column.wire.clone()).collect();
                    let decoder = CopyDecoder::new(SchemaRef::clone(&self.schema), &wires, self.batch_rows)
                        .map_err(|problem| self.undecodable(problem))?;
                    return Ok(Reading {
                        lease,
                        copy: Some(Box::pin(copy)),
                        decoder,
                        started,
                        scan: self,
                    });
                }
                Err(Refusal::Server(error))
                    if lease.reused && oversized(&lease).is_none() && is_connection_lost(&error) =>
                {
                    drop(lease);
                    lease = self.pool.acquire_fresh(patience).await?;
                }
                Err(Refusal::Server(error)) => {
                    let meaning = self.refused(&lease, &error, started.elapsed());
                    if !is_connection_lost(&error) {
                        lease.release();
                    }
                    return Err(meaning);
                }
                Err(Refusal::Known(error)) => {
                    lease.release();
                    return Err(error);
                }
            }
        }
    }

    /// Two round trips: transaction, check and preparation, then the COPY.
    async fn send(&self, lease: &Lease) -> Result<CopyOutStream, Refusal> {
        let client = &lease.connection().map_err(Refusal::Known)?.client;
        let begin = self.pool.driver().begin();
        let copy = RemoteShape::copy(&self.select);
        let ((), select, copy) = try_join!(
            client.batch_execute(&begin),
            client.prepare(&self.select),
            client.prepare(&copy),
        )
        .map_err(Refusal::Server)?;
        // Values arrive without their types, so the types are compared first. The
        // transaction's lock keeps them from changing until the last row.
        if select.columns().len() != self.columns.len() {
            return Err(Refusal::Known(self.unreadable(
                "the server answers with another number of columns".to_owned(),
            )));
        }
        for (column, answered) in self.columns.iter().zip(select.columns()) {
            if answered.type_().oid() != column.wire.oid() {
                return Err(Refusal::Known(self.unreadable(format!(
                    "column \"{}\" has become {} since it was discovered; it is looked at again \
                     at the next discovery",
                    column.name,
                    answered.type_()
                ))));
            }
        }
        client.copy_out(&copy).await.map_err(Refusal::Server)
    }

    /// What the server's refusal of this table's statement means.
    fn refused(&self, lease: &Lease, error: &tokio_postgres::Error, elapsed: Duration) -> ConnectorError {
        let settings = lease.driver();
        if let Some(bytes) = oversized(lease) {
            return self.unreadable(format!(
                "ValueTooLarge: holds a row of {bytes} bytes, and at most {MAX_ROW_BYTES} are read; leave the \
                 large columns out"
            ));
        }
        let Some(answer) = error.as_db_error() else {
            return failure(settings, error);
        };
        let code = answer.code();
        if *code == SqlState::QUERY_CANCELED && elapsed >= settings.statement_timeout {
            return ConnectorError::StatementTimeout {
                catalog: settings.catalog.clone(),
                endpoint: settings.address(),
                milliseconds: settings.statement_timeout.as_millis(),
            };
        }
        if *code == SqlState::UNDEFINED_TABLE || *code == SqlState::INVALID_SCHEMA_NAME {
            return ConnectorError::TableMissing {
                catalog: settings.catalog.clone(),
                schema: self.shape.schema.clone(),
                table: self.shape.name.clone(),
            };
        }
        if is_connection_lost(error) || is_recovery_conflict(answer) {
            return failure(settings, error);
        }
        let remedy = if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            "; grant SELECT to the user of the DataSource"
        } else if *code == SqlState::UNDEFINED_COLUMN {
            "; the table changed since it was discovered and is looked at again at the next \
             discovery"
        } else {
            ""
        };
        self.unreadable(format!("{}{remedy}", answer_text(answer)))
    }

    fn unreadable(&self, message: String) -> ConnectorError {
        ConnectorError::TableUnreadable {
            catalog: self.pool.driver().catalog.clone(),
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
                    catalog: self.pool.driver().catalog.clone(),
                    schema: self.shape.schema.clone(),
                    table: self.shape.name.clone(),
                    column: self
                        .columns
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

/// The size of the row that ended the connection, if one did.
fn oversized(lease: &Lease) -> Option<u32> {
    lease.connection().ok()?.oversized()
}

/// Why a request was not started.
enum Refusal {
    Server(tokio_postgres::Error),
    Known(ConnectorError),
}

impl Reading {
    /// The state after a batch, or after the end.
    fn after(self: Box<Self>, batch: Option<RecordBatch>) -> Option<(RecordBatch, State)> {
        if let Some(batch) = batch {
            return Some((batch, State::Reading(self)));
        }
        // The transaction ends behind the caller's back: it has its rows.
        self.lease.release();
        None
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        let Some(copy) = &mut self.copy else {
            return Ok(None);
        };
        loop {
            let received = {
                let _timer = self.scan.metrics.time.timer();
                copy.next().await
            };
            let full = match received {
                Some(Ok(chunk)) => {
                    self.scan.metrics.bytes.add(chunk.len());
                    self.decoder
                        .push(chunk)
                        .map_err(|problem| self.scan.undecodable(problem))?
                }
                Some(Err(error)) => {
                    return Err(self.scan.refused(&self.lease, &error, self.started.elapsed()));
                }
                None => {
                    self.decoder
                        .check_complete()
                        .map_err(|problem| self.scan.undecodable(problem))?;
                    self.copy = None;
                    return self.take();
                }
            };
            if full {
                return self.take();
            }
        }
    }

    fn take(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        self.scan.metrics.rows.add(self.decoder.rows());
        self.decoder
            .take()
            .map_err(|problem| self.scan.undecodable(problem))
    }
}

/// What is wrong with a value and what to do, for people.
fn explain(problem: &Problem) -> String {
    const AS_TEXT: &str = "read the column as text through a view in the database";
    match problem {
        Problem::Infinity(kind) => format!(
            "holds an infinite {kind}, which has no exact form here; filter such rows out or \
             {AS_TEXT}"
        ),
        Problem::NotANumber => {
            format!("holds numeric NaN, which a decimal cannot hold; filter such rows out or {AS_TEXT}")
        }
        Problem::OutOfRange(kind) => format!(
            "holds a {kind} beyond the range of 64-bit microseconds since 1970; filter such rows \
             out or {AS_TEXT}"
        ),
        Problem::EndOfDay => format!(
            "holds the time 24:00:00, which is not a time of day here; filter such rows out or \
             {AS_TEXT}"
        ),
        Problem::NumericMisfit { precision, scale } => format!(
            "holds a number that does not fit numeric({precision},{scale}); if the column was \
             altered, it is looked at again at the next discovery"
        ),
        Problem::ArrayDimensions(dimensions) => {
            format!("holds an array of {dimensions} dimensions, and only one can be read; {AS_TEXT}")
        }
        Problem::ArrayLowerBound(bound) => {
            format!("holds an array that begins at index {bound}, and only 1 can be kept; {AS_TEXT}")
        }
        Problem::NotUtf8 => format!(
            "holds text that is not UTF-8; {}",
            "correct it in the database, or read the column as bytea through a view"
        ),
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
