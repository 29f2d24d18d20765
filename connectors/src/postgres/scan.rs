//! Reading one table by binary COPY.

use std::any::Any;
use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use futures::channel::mpsc;
use futures::future::join_all;
use futures::{StreamExt, TryStreamExt, stream, try_join};
use tokio::time::Instant;
use tokio_postgres::error::SqlState;
use tokio_postgres::{CopyOutStream, Statement};

use super::blocks::{self, Blocks, Ranges};
use super::decode::{CopyDecoder, DecodeFailure};
use super::failure::{answer_text, explain, failure, is_connection_lost, is_recovery_conflict};
use super::guard::MAX_ROW_BYTES;
use super::moment::Moment;
use super::pool::{Connection, Lease, Pool};
use super::position::position;
use super::render::{Answer, RemoteShape};
use super::shared::{self, Snapshot};
use crate::scan::{
    Asked, PositionSlot, Predicate, RemoteMetrics, RemoteTable, ScanContext, ScanRequest, Shared, StoreJoin,
    Verdict,
};
use crate::{ConnectorError, RefusedValue};

/// One table of a PostgreSQL database.
#[derive(Debug)]
pub(super) struct PostgresTable {
    pool: Arc<Pool>,
    moment: Arc<Moment>,
    shape: Arc<RemoteShape>,
    /// Of a table that can be read by ranges of its blocks: about how many it has.
    blocks: Option<u32>,
}

impl PostgresTable {
    pub(super) fn new(pool: Arc<Pool>, moment: Arc<Moment>, shape: RemoteShape, blocks: Option<u32>) -> Self {
        Self {
            pool,
            moment,
            shape: Arc::new(shape),
            blocks,
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
            moment: Arc::clone(&self.moment),
            shape: Arc::new(self.shape.joined(&other.shape, join)?),
            blocks: None,
        }))
    }

    fn render(&self, request: &ScanRequest) -> String {
        RemoteShape::copy(&self.shape.select(request))
    }

    fn shared(&self, request: &ScanRequest, readers: usize) -> Option<Shared> {
        if request.grouping.is_some() || !request.order.is_empty() || request.limit.is_some() {
            return None;
        }
        // One connection stays free for the next query.
        let readers = readers.min(self.pool.driver().max_connections - 1);
        blocks::shared(self.blocks?, readers)
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
        let scan = Arc::new(Scan {
            pool: Arc::clone(&self.pool),
            moment: Arc::clone(&self.moment),
            shape: Arc::clone(&self.shape),
            select: self.shape.select(&request),
            schema: request.schema(),
            columns,
            batch_rows: context.batch_size,
            metrics: context.metrics,
            position: context.position,
            request,
        });
        let schema = SchemaRef::clone(&scan.schema);
        let batches = stream::once(scan.start(context.shared))
            .map_err(DataFusionError::from)
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// A scan as planned.
struct Scan {
    pool: Arc<Pool>,
    moment: Arc<Moment>,
    shape: Arc<RemoteShape>,
    request: ScanRequest,
    select: String,
    schema: SchemaRef,
    columns: Vec<Answer>,
    batch_rows: usize,
    metrics: RemoteMetrics,
    position: Option<Arc<PositionSlot>>,
}

/// How a transaction of a scan goes on.
enum Begun {
    Reading(Copying),
    /// Nothing is read yet, as several readers will.
    Shared(Snapshot),
}

impl Scan {
    /// Sends the request. A connection that died while idle is replaced once;
    /// nothing was read yet, so nothing is read twice.
    async fn start(
        self: Arc<Self>,
        mut shared: Option<Shared>,
    ) -> Result<SendableRecordBatchStream, ConnectorError> {
        let time = self.metrics.time.clone();
        let _timer = time.timer();
        let moment = self.moment.snapshot(&self.pool).await?;
        // Connections that other scans of the same query have become free.
        let patience = match moment {
            Some(_) => self.pool.patience_of_discovery(),
            None => self.pool.patience_of_a_query(),
        };
        let mut lease = self.pool.acquire(patience).await?;
        loop {
            let started = Instant::now();
            let outcome = self.send(&lease, moment.as_ref(), shared.is_some()).await;
            match (outcome, &shared) {
                (Ok(Begun::Shared(snapshot)), Some(shared)) => {
                    return self.share(lease, &snapshot, shared.readers, started).await;
                }
                (Ok(Begun::Reading(copying)), _) => {
                    if let Some(readers) = &self.metrics.readers {
                        readers.add(1);
                    }
                    return Ok(Reading::new(self, lease, Some(copying), None, started).into_stream());
                }
                (Ok(Begun::Shared(_)), None) => {
                    return Err(self.unreadable("a snapshot was exported that nobody asked for".to_owned()));
                }
                (Err(Refusal::Server(error)), _)
                    if lease.reused && oversized(&lease).is_none() && is_connection_lost(&error) =>
                {
                    drop(lease);
                    lease = self.pool.acquire_fresh(patience).await?;
                }
                // Not every server that speaks the protocol exports snapshots, and not to
                // everybody. If that was not the cause, the error comes again.
                (Err(Refusal::Server(error)), Some(_)) if !is_connection_lost(&error) => {
                    lease.release();
                    shared = None;
                    lease = self.pool.acquire(patience).await?;
                }
                (Err(Refusal::Server(error)), _) => {
                    let meaning = self.refused(&lease, &error, started.elapsed());
                    if !is_connection_lost(&error) {
                        lease.release();
                    }
                    return Err(meaning);
                }
                (Err(Refusal::Known(error)), _) => {
                    // Of one that hangs, what runs there is stopped.
                    if !matches!(error, ConnectorError::TimedOut { .. }) {
                        lease.release();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Two round trips: transaction, check and preparation, then the COPY.
    async fn send(&self, lease: &Lease, moment: Option<&Snapshot>, share: bool) -> Result<Begun, Refusal> {
        let connection = lease.connection().map_err(Refusal::Known)?;
        let client = &connection.client;
        let begin = self.pool.driver().begin();
        let copy = RemoteShape::copy(&self.select);
        let snapshot = async {
            if share {
                shared::export(client, &self.shape.schema, &self.shape.name, &self.select).await
            } else {
                Ok(None)
            }
        };
        let position = async {
            Ok(match (&self.position, moment) {
                (None, _) => None,
                (Some(_), Some(moment)) => moment.position.clone(),
                (Some(_), None) => position(client, &self.pool.driver().catalog).await,
            })
        };
        let begun = async {
            match moment {
                Some(moment) => shared::import(client, &begin, moment).await,
                None => client.batch_execute(&begin).await.map(|()| true),
            }
        };
        // Sent in this order, without waiting in between.
        let answers = async {
            try_join!(
                position,
                begun,
                client.prepare(&self.select),
                client.prepare(&copy),
                snapshot,
            )
        };
        let settings = lease.driver();
        let answers = settings.answered(answers).await.map_err(Refusal::Known)?;
        let (position, same_server, select, copy, snapshot) = answers.map_err(Refusal::Server)?;
        if !same_server {
            return Err(Refusal::Known(self.unreadable(
                "its server is another one than that of the other tables of the query".to_owned(),
            )));
        }
        self.check(&select).map_err(Refusal::Known)?;
        let begun = match snapshot {
            Some(snapshot) => Begun::Shared(snapshot),
            None => settings
                .answered(Copying::start(connection, &copy))
                .await
                .map_err(Refusal::Known)?
                .map(Begun::Reading)
                .map_err(Refusal::Server)?,
        };
        if let (Some(slot), Some(position)) = (&self.position, position) {
            slot.fill(position);
        }
        Ok(begun)
    }

    /// Values arrive without their types, so the types are compared first. The
    /// transaction's lock keeps them from changing until the last row.
    fn check(&self, select: &Statement) -> Result<(), ConnectorError> {
        if select.columns().len() != self.columns.len() {
            return Err(self.unreadable("the server answers with another number of columns".to_owned()));
        }
        for (column, answered) in self.columns.iter().zip(select.columns()) {
            if answered.type_().oid() != column.wire.oid() {
                return Err(self.unreadable(format!(
                    "column \"{}\" has become {} since it was discovered; it is looked at again \
                     at the next discovery",
                    column.name,
                    answered.type_()
                )));
            }
        }
        Ok(())
    }

    /// Reads by as many connections as are free. All have begun, with the snapshot and
    /// their lock on the table, before the first of them ends.
    async fn share(
        self: Arc<Self>,
        lease: Lease,
        snapshot: &Snapshot,
        readers: usize,
        started: Instant,
    ) -> Result<SendableRecordBatchStream, ConnectorError> {
        let others = (1..readers).map(|_| self.join(&lease, snapshot));
        let others: Vec<Lease> = join_all(others).await.into_iter().flatten().collect();
        if let Some(readers) = &self.metrics.readers {
            readers.add(1 + others.len());
        }
        let ranges = Arc::new(Ranges::new(snapshot.blocks, 1 + others.len(), self.select.len()));
        let mut answer = RecordBatchReceiverStream::builder(SchemaRef::clone(&self.schema), 1 + others.len());
        for lease in std::iter::once(lease).chain(others) {
            let ranges = Some(Arc::clone(&ranges));
            let mut batches = Reading::new(Arc::clone(&self), lease, None, ranges, started).into_stream();
            let sender = answer.tx();
            answer.spawn(async move {
                while let Some(batch) = batches.try_next().await? {
                    if sender.send(Ok(batch)).await.is_err() {
                        break;
                    }
                }
                Ok(())
            });
        }
        // One reader's failure fails the scan, and dropping it stops the others.
        Ok(answer.build())
    }

    /// Another connection that sees the same snapshot, if there is one.
    async fn join(&self, first: &Lease, snapshot: &Snapshot) -> Option<Lease> {
        let lease = first.another().await?;
        let client = &lease.connection().ok()?.client;
        let begin = self.pool.driver().begin();
        let begun = async {
            try_join!(
                shared::import(client, &begin, snapshot),
                client.prepare(&self.select),
            )
        };
        match lease.driver().answered(begun).await {
            Ok(Ok((true, select))) if self.check(&select).is_ok() => return Some(lease),
            Ok(Ok(_)) => lease.release(),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a scan goes on with fewer connections");
                lease.release();
            }
            Err(error) => tracing::debug!(%error, "a scan goes on with fewer connections"),
        }
        None
    }

    /// Reads a range of blocks. The statements of a scan together take no longer than
    /// one may.
    async fn copy_blocks(
        &self,
        lease: &Lease,
        blocks: &Blocks,
        started: Instant,
    ) -> Result<Copying, ConnectorError> {
        let connection = lease.connection()?;
        // Whatever the server prefers otherwise: without, each range reads the table.
        let settings = format!(
            "{}; SET LOCAL enable_tidscan = on",
            self.pool.driver().timeout_after(started.elapsed())
        );
        let copy = RemoteShape::copy(&self.shape.select_blocks(&self.request, blocks));
        let copying = async {
            let ((), copy) = try_join!(
                connection.client.batch_execute(&settings),
                connection.client.prepare(&copy),
            )?;
            Copying::start(connection, &copy).await
        };
        let copying = lease.driver().answered(copying).await?;
        copying.map_err(|error| self.refused(lease, &error, started.elapsed()))
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

/// A COPY under way.
struct Copying {
    /// Its rows, which go past the driver.
    rows: mpsc::Receiver<Bytes>,
    /// What the driver sees of it: its end.
    driver: Pin<Box<CopyOutStream>>,
}

impl Copying {
    async fn start(connection: &Connection, copy: &Statement) -> Result<Self, tokio_postgres::Error> {
        let rows = connection.divert();
        let driver = connection.client.copy_out(copy).await?;
        Ok(Self {
            rows,
            driver: Box::pin(driver),
        })
    }
}

/// One reader of a scan under way. Dropped at any point, it drops its [`Lease`],
/// which stops the statement in the server.
struct Reading {
    scan: Arc<Scan>,
    lease: Lease,
    /// None once the server has sent everything, or before it is asked.
    copying: Option<Copying>,
    /// What remains to be asked for, where several readers share a scan.
    ranges: Option<Arc<Ranges>>,
    decoder: CopyDecoder,
    started: Instant,
}

impl Reading {
    fn new(
        scan: Arc<Scan>,
        lease: Lease,
        copying: Option<Copying>,
        ranges: Option<Arc<Ranges>>,
        started: Instant,
    ) -> Self {
        let wires: Vec<_> = scan.columns.iter().map(|column| column.wire.clone()).collect();
        let decoder = CopyDecoder::new(SchemaRef::clone(&scan.schema), &wires, scan.batch_rows);
        Self {
            scan,
            lease,
            copying,
            ranges,
            decoder,
            started,
        }
    }

    fn into_stream(self) -> SendableRecordBatchStream {
        let schema = SchemaRef::clone(&self.scan.schema);
        let batches = stream::try_unfold(Box::new(self), |mut reading| async move {
            let Some(batch) = reading.next_batch().await? else {
                // The transaction ends behind the caller's back: it has its rows.
                reading.lease.release();
                return Ok(None);
            };
            Ok(Some((batch, reading)))
        });
        Box::pin(RecordBatchStreamAdapter::new(
            schema,
            batches.map_err(|error: ConnectorError| DataFusionError::from(error)),
        ))
    }

    async fn next_batch(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        loop {
            if self
                .decoder
                .fill()
                .map_err(|problem| self.scan.undecodable(problem))?
            {
                return self.take();
            }
            let time = self.scan.metrics.time.clone();
            let _timer = time.timer();
            let Some(copying) = &mut self.copying else {
                let Some(blocks) = self.ranges.as_ref().and_then(|ranges| ranges.take()) else {
                    return self.take();
                };
                let copying = self.scan.copy_blocks(&self.lease, &blocks, self.started).await?;
                self.copying = Some(copying);
                continue;
            };
            let server = self.lease.driver();
            if let Some(rows) = server.answered(copying.rows.next()).await? {
                self.scan.metrics.bytes.add(rows.len());
                self.decoder.push(rows);
                continue;
            }
            match server.answered(copying.driver.next()).await? {
                None => self
                    .decoder
                    .end()
                    .map_err(|problem| self.scan.undecodable(problem))?,
                Some(Err(error)) => {
                    return Err(self.scan.refused(&self.lease, &error, self.started.elapsed()));
                }
                Some(Ok(_)) => {
                    return Err(self.scan.unreadable("rows came after the end of COPY".to_owned()));
                }
            }
            self.copying = None;
        }
    }

    fn take(&mut self) -> Result<Option<RecordBatch>, ConnectorError> {
        self.scan.metrics.rows.add(self.decoder.rows());
        self.decoder
            .take()
            .map_err(|problem| self.scan.undecodable(problem))
    }
}
