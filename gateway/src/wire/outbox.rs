//! Messages to the client, gathered into large writes.

use std::io;

use bytes::{Buf, BytesMut};
use pgwire::error::PgWireError;
use pgwire::messages::Message;
use pgwire::messages::data::{FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::encode::Format;
use crate::fault::Fault;
use crate::types::PgType;

/// Bytes gathered before they are written unasked: 8 KiB writes, the usual default, cost a third of the
/// time of a large result.
pub const WRITE_SIZE: usize = 128 << 10;

/// The sending half of a connection.
pub struct Outbox<W> {
    stream: W,
    buffer: BytesMut,
    gone: CancellationToken,
    written: u64,
}

/// A column of a RowDescription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What the client shows.
    pub name: String,
    /// The one type of [`crate::types`].
    pub pg_type: PgType,
}

impl<W: AsyncWrite + Unpin> Outbox<W> {
    /// An outbox over `stream`; `gone` says that nobody reads the other end.
    pub fn new(stream: W, gone: CancellationToken) -> Self {
        Outbox {
            stream,
            buffer: BytesMut::with_capacity(8 << 10),
            gone,
            written: 0,
        }
    }

    /// Adds a message.
    pub fn put(&mut self, message: &impl Message) -> io::Result<()> {
        message.encode(&mut self.buffer).map_err(|error| match error {
            PgWireError::IoError(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
        })
    }

    /// Adds ready-made frames and writes once there is enough.
    pub async fn put_frames(&mut self, frames: BytesMut) -> io::Result<()> {
        if self.buffer.is_empty() {
            // the frames become the buffer: no copy of what is nearly always most of the result
            self.buffer = frames;
        } else {
            self.buffer.unsplit(frames);
        }
        if self.buffer.len() >= WRITE_SIZE {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Writes everything gathered. Ends with an error when the client leaves while it does not read.
    pub async fn flush(&mut self) -> io::Result<()> {
        let mut bytes = self.buffer.split();
        self.written += bytes.len() as u64;
        let write = async {
            while bytes.has_remaining() {
                self.stream.write_buf(&mut bytes).await?;
            }
            self.stream.flush().await
        };
        tokio::select! {
            biased;
            result = write => result,
            () = self.gone.cancelled() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Ends the stream.
    pub async fn close(&mut self) {
        // the client may be gone already: there is nobody left to tell
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
    }

    /// Bytes written since this was last asked.
    pub fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    /// Adds an ErrorResponse.
    pub fn error(&mut self, fault: &Fault) -> io::Result<()> {
        self.put(&ErrorResponse::new(fault.fields()))
    }

    /// Adds a NoticeResponse of severity WARNING.
    pub fn warning(&mut self, code: &str, message: &str) -> io::Result<()> {
        self.put(&NoticeResponse::new(vec![
            (b'S', "WARNING".to_owned()),
            (b'V', "WARNING".to_owned()),
            (b'C', code.to_owned()),
            (b'M', message.to_owned()),
        ]))
    }

    /// Adds a CommandComplete.
    pub fn complete(&mut self, tag: &str) -> io::Result<()> {
        self.put(&CommandComplete::new(tag.to_owned()))
    }

    /// Adds a ReadyForQuery.
    pub fn ready(&mut self, status: TransactionStatus) -> io::Result<()> {
        self.put(&ReadyForQuery::new(status))
    }

    /// Adds a RowDescription.
    pub fn row_description(&mut self, columns: &[Column], formats: &[Format]) -> io::Result<()> {
        let fields = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let format = match crate::encode::format_of(formats, index) {
                    Format::Text => 0,
                    Format::Binary => 1,
                };
                // a name with a NUL, which some stores allow, would end the field early
                let name = column.name.replace('\0', "\u{fffd}");
                let PgType { typmod, .. } = column.pg_type;
                FieldDescription::new(
                    name,
                    0,
                    0,
                    column.pg_type.oid(),
                    column.pg_type.length(),
                    typmod,
                    format,
                )
            })
            .collect();
        self.put(&RowDescription::new(fields))
    }

    /// Adds a ParameterDescription.
    pub fn parameter_description(&mut self, types: Vec<u32>) -> io::Result<()> {
        self.put(&ParameterDescription::new(types))
    }

    /// Adds NoData.
    pub fn no_data(&mut self) -> io::Result<()> {
        self.put(&NoData::new())
    }

    /// Adds ParseComplete.
    pub fn parse_complete(&mut self) -> io::Result<()> {
        self.put(&ParseComplete::new())
    }

    /// Adds BindComplete.
    pub fn bind_complete(&mut self) -> io::Result<()> {
        self.put(&BindComplete::new())
    }

    /// Adds CloseComplete.
    pub fn close_complete(&mut self) -> io::Result<()> {
        self.put(&CloseComplete::new())
    }

    /// Adds PortalSuspended.
    pub fn portal_suspended(&mut self) -> io::Result<()> {
        self.put(&PortalSuspended::new())
    }

    /// Adds EmptyQueryResponse.
    pub fn empty_query(&mut self) -> io::Result<()> {
        self.put(&EmptyQueryResponse::new())
    }
}
