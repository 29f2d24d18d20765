//! Rows on their way to the client.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::BytesMut;
use futures::StreamExt;
use lakegate_federation::QueryStream;
use tokio::io::AsyncWrite;
use tokio_util::sync::CancellationToken;

use super::Answer;
use super::guard::Guard;
use crate::encode::copy::CopyEncoder;
use crate::encode::{EncodeFailure, RowEncoder};
use crate::fault::Fault;
use crate::wire::outbox::{Outbox, WRITE_SIZE};

/// The rows of one result, as far as they are not sent.
pub(super) struct Rows {
    source: Source,
    current: Option<(RecordBatch, usize)>,
}

enum Source {
    Running(QueryStream),
    Ready(std::vec::IntoIter<RecordBatch>),
}

/// How far sending came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// Rows sent now.
    pub(super) rows: u64,
    /// Whether the limit ended it, rather than the last row.
    pub(super) suspended: bool,
}

/// How rows become frames.
pub(super) trait Frames: Send + Sync {
    fn encode(
        &self,
        batch: &RecordBatch,
        from: usize,
        until: usize,
        enough: usize,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeFailure>;
}

impl Frames for RowEncoder {
    fn encode(
        &self,
        batch: &RecordBatch,
        from: usize,
        until: usize,
        enough: usize,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeFailure> {
        RowEncoder::encode(self, batch, from, until, enough, out)
    }
}

impl Frames for CopyEncoder {
    fn encode(
        &self,
        batch: &RecordBatch,
        from: usize,
        until: usize,
        enough: usize,
        out: &mut BytesMut,
    ) -> Result<usize, EncodeFailure> {
        CopyEncoder::encode(self, batch, from, until, enough, out)
    }
}

/// Rows that are read and not sent: `MOVE`.
pub(super) struct Skipped;

impl Frames for Skipped {
    fn encode(
        &self,
        _: &RecordBatch,
        _: usize,
        until: usize,
        _: usize,
        _: &mut BytesMut,
    ) -> Result<usize, EncodeFailure> {
        Ok(until)
    }
}

impl Rows {
    /// The rows of a running query.
    pub(super) fn running(stream: QueryStream) -> Self {
        Rows {
            source: Source::Running(stream),
            current: None,
        }
    }

    /// Rows in memory.
    pub(super) fn ready(batch: RecordBatch) -> Self {
        Rows {
            source: Source::Ready(vec![batch].into_iter()),
            current: None,
        }
    }

    /// Ends the work behind the rows.
    pub(super) fn cancel_token(&self) -> Option<CancellationToken> {
        match &self.source {
            Source::Running(stream) => Some(stream.cancel_token()),
            Source::Ready(_) => None,
        }
    }

    /// The schema of the rows.
    pub(super) fn schema(&self) -> Option<SchemaRef> {
        match &self.source {
            Source::Running(stream) => Some(stream.schema()),
            Source::Ready(batches) => batches.as_slice().first().map(RecordBatch::schema),
        }
    }

    async fn next(&mut self, sql: &str) -> Result<Option<RecordBatch>, Fault> {
        match &mut self.source {
            Source::Running(stream) => stream
                .next()
                .await
                .transpose()
                .map_err(|error| Fault::of(&error, sql)),
            Source::Ready(batches) => Ok(batches.next()),
        }
    }

    /// Sends rows up to `limit`. At most one batch and one write are held; a client that does not read
    /// holds the query back.
    pub(super) async fn send<W: AsyncWrite + Unpin>(
        &mut self,
        frames: &dyn Frames,
        limit: Option<u64>,
        sql: &str,
        outbox: &mut Outbox<W>,
        guard: &Guard,
    ) -> Answer<Sent> {
        let mut sent = 0;
        loop {
            let left = limit.map_or(u64::MAX, |limit| limit - sent);
            if left == 0 {
                return Ok(Sent {
                    rows: sent,
                    suspended: true,
                });
            }
            let (batch, from) = match self.current.take() {
                Some(current) => current,
                None => {
                    let next = {
                        let next = self.next(sql);
                        tokio::pin!(next);
                        match futures::poll!(&mut next) {
                            std::task::Poll::Ready(next) => next?,
                            std::task::Poll::Pending => {
                                // the query takes its time: the client may see what there is
                                outbox.flush().await?;
                                guard.run(next).await??
                            }
                        }
                    };
                    match next {
                        Some(batch) => (batch, 0),
                        None => {
                            return Ok(Sent {
                                rows: sent,
                                suspended: false,
                            });
                        }
                    }
                }
            };
            let until = batch
                .num_rows()
                .min(from.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
            let mut out = BytesMut::with_capacity(WRITE_SIZE + (8 << 10));
            let reached = frames
                .encode(&batch, from, until, WRITE_SIZE, &mut out)
                .map_err(Fault::from)?;
            sent += (reached - from) as u64;
            metrics::counter!("lakegate_gateway_sent_rows_total").increment((reached - from) as u64);
            if reached < batch.num_rows() {
                self.current = Some((batch, reached));
            }
            outbox.put_frames(out).await?;
            guard.check()?;
        }
    }
}
