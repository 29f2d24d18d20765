//! The result of one running query: batches over a small channel, and a supervisor
//! that ends the work when the client, the clock or another session says so.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::{FutureExt, Stream, StreamExt};
use lakegate_connectors::scan::SourcePosition;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{Cause, FederationError};
use crate::query_log::{QueryHandle, QueryState};
use crate::remote::ReadPositions;

/// Batches that may wait for the client: enough to overlap work and sending, few
/// enough that a slow client holds little memory.
const CHANNEL: usize = 2;

/// A running query. Dropping it cancels the work.
#[derive(Debug)]
pub struct QueryStream {
    schema: SchemaRef,
    batches: mpsc::Receiver<RecordBatch>,
    outcome: Option<oneshot::Receiver<Result<(), FederationError>>>,
    ended: bool,
    cancel: CancellationToken,
    query_id: u64,
    positions: ReadPositions,
    _guard: DropGuard,
}

impl QueryStream {
    /// Ends this query as a user's cancel request does.
    pub fn cancel_token(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// Its id in the query log.
    pub fn query_id(&self) -> u64 {
        self.query_id
    }

    /// Where in their logs the stores stood that were read so far; of an export only.
    pub fn positions(&self) -> Vec<SourcePosition> {
        self.positions.found()
    }

    /// The columns of every batch.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// As DataFusion's own stream type; its errors hold a [`FederationError`].
    pub fn into_sendable(self) -> SendableRecordBatchStream {
        Box::pin(Adapter(self))
    }

    fn fail(&mut self, error: FederationError) -> Poll<Option<Result<RecordBatch, FederationError>>> {
        self.ended = true;
        // what is buffered is of no use after an error
        self.batches.close();
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch, FederationError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // The outcome first: a cancelled query answers at once, however much is buffered.
        if let Some(outcome) = &mut self.outcome {
            match outcome.poll_unpin(context) {
                Poll::Ready(Ok(Ok(()))) => self.outcome = None,
                Poll::Ready(Ok(Err(error))) => return self.fail(error),
                Poll::Ready(Err(_)) => {
                    return self.fail(FederationError::internal("the query's supervisor is gone"));
                }
                Poll::Pending => {}
            }
        }
        match self.batches.poll_recv(context) {
            Poll::Ready(Some(batch)) => Poll::Ready(Some(Ok(batch))),
            Poll::Ready(None) if self.outcome.is_none() => {
                self.ended = true;
                Poll::Ready(None)
            }
            // the sender is gone; the outcome, already registered above, says why
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

struct Adapter(QueryStream);

impl Stream for Adapter {
    type Item = Result<RecordBatch, DataFusionError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0)
            .poll_next(context)
            .map_err(DataFusionError::from)
    }
}

impl RecordBatchStream for Adapter {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }
}

/// What [`supervise`] needs beside the work.
pub(crate) struct Supervision {
    /// Where the work runs.
    pub(crate) worker: Handle,
    /// Where the supervisor runs: never blocked by work.
    pub(crate) supervisor: Handle,
    pub(crate) schema: SchemaRef,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel: CancellationToken,
    /// Cancelled once the query is over, however it ended.
    pub(crate) stopped: CancellationToken,
    pub(crate) query: QueryHandle,
    pub(crate) positions: ReadPositions,
}

/// Starts `work` and returns its result stream.
///
/// The supervisor runs beside the work and aborts it on cancel, timeout or drop of
/// the stream; an aborted task drops its operators at their next await, which
/// closes remote cursors and aborts the tasks below them.
pub(crate) fn supervise<W>(supervision: Supervision, work: W) -> QueryStream
where
    W: Future<Output = Result<SendableRecordBatchStream, FederationError>> + Send + 'static,
{
    let Supervision {
        worker,
        supervisor,
        schema,
        timeout,
        cancel,
        stopped,
        query,
        positions,
    } = supervision;
    let (sender, batches) = mpsc::channel(CHANNEL);
    let (outcome_sender, outcome) = oneshot::channel();
    let dropped = CancellationToken::new();
    let rows = query.rows();
    let query_id = query.id();
    let mut task = worker.spawn(async move {
        let mut stream = work.await?;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        Ok(())
    });
    let guard = dropped.clone().drop_guard();
    let cancelled = cancel.clone();
    supervisor.spawn(async move {
        let deadline = async {
            match timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            biased;
            () = dropped.cancelled() => None,
            () = cancelled.cancelled() => Some(Err(Cause::Cancelled.into())),
            () = deadline => Some(Err(Cause::Timeout.into())),
            joined = &mut task => Some(match joined {
                Ok(outcome) => outcome,
                Err(error) => Err(FederationError::internal(panic_message(error))),
            }),
        };
        stopped.cancel();
        task.abort();
        match &outcome {
            Some(outcome) => query.end_with(outcome),
            None if cancelled.is_cancelled() => query.end_with(&Err(Cause::Cancelled.into())),
            None => query.end(QueryState::Closed, None),
        }
        // A gone receiver needs no outcome.
        if let Some(outcome) = outcome {
            let _ = outcome_sender.send(outcome);
        }
    });
    QueryStream {
        schema,
        batches,
        outcome: Some(outcome),
        ended: false,
        cancel,
        query_id,
        positions,
        _guard: guard,
    }
}

fn panic_message(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned());
            format!("the query's thread failed: {}", text.unwrap_or_default())
        }
        Err(error) => format!("the query's thread ended early: {error}"),
    }
}
