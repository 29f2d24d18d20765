//! The byte stream below the protocol: TLS or plain, a limit on messages, and a way
//! past the driver for rows.
//!
//! The protocol's codec buffers a whole message, up to 1 GiB, before anything
//! above it sees a byte. So the length in each message's header is looked at
//! here, and a row beyond [`MAX_ROW_BYTES`] ends the connection instead of the
//! process.
//!
//! A COPY sends each row as a message of its own, and the driver would take each
//! apart, count references to it and pass it between two tasks. So while somebody
//! [diverts](Outlet::divert) them, these messages do not reach the driver: they are
//! handed on as they were read, many at a time. The driver sees the COPY begin and
//! end, or fail.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::decode::{COPY_DATA, MESSAGE_HEADER_BYTES};
use super::outlet::Outlet;
use super::socket::Socket;

/// A row larger than this is refused: two values of the largest allowed size.
pub(super) const MAX_ROW_BYTES: u32 = 128 * 1024 * 1024;
/// Rows are handed on once they are this many bytes, so that neither end wakes for
/// a few of them.
const CHUNK_BYTES: usize = 128 * 1024;
/// What is read at most at once while rows are diverted.
const COPY_BUFFER_BYTES: usize = 2 * CHUNK_BYTES;
/// The same of anything else: answers are short, and idle connections many.
const BUFFER_BYTES: usize = 8 * 1024;
/// Less room than this is not worth a system call.
const LEAST_ROOM: usize = 4 * 1024;

const COPY_DONE: u8 = b'c';
const ERROR_RESPONSE: u8 = b'E';

type Handshake = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type Encrypted = <Handshake as TlsConnect<Socket>>::Stream;

/// The size of the message that ended a connection, 0 if none did.
#[derive(Debug, Clone, Default)]
pub(super) struct Oversized(Arc<AtomicU32>);

impl Oversized {
    pub(super) fn bytes(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Acquire)).filter(|bytes| *bytes > 0)
    }
}

/// Makes guarded streams. Without `tls` they are plain: the driver then believes
/// to speak TLS from the first byte on, which is how a stream of ours gets below
/// it without one extra byte on the wire.
#[derive(Clone)]
pub(super) struct Guard {
    pub tls: Option<MakeRustlsConnect>,
    /// What the server's certificate is to be for.
    pub host: String,
    pub oversized: Oversized,
    pub outlet: Outlet,
}

impl TlsConnect<Socket> for Guard {
    type Stream = Guarded;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Guarded, io::Error>>;

    fn connect(self, socket: Socket) -> Self::Future {
        async move {
            let inner = match self.tls {
                Some(mut tls) => {
                    let handshake = MakeTlsConnect::<Socket>::make_tls_connect(&mut tls, &self.host);
                    let handshake = handshake.map_err(io::Error::other)?;
                    Inner::Encrypted(Box::new(handshake.connect(socket).await?))
                }
                None => Inner::Plain(socket),
            };
            Ok(Guarded {
                inner,
                incoming: Incoming::default(),
                oversized: self.oversized,
                outlet: self.outlet,
            })
        }
        .boxed()
    }
}

enum Inner {
    Plain(Socket),
    Encrypted(Box<Encrypted>),
}

impl Inner {
    /// Reads into the room that the vector has; nothing at the end.
    fn poll_fill(&mut self, context: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => socket.poll_fill(context, bytes),
            Self::Encrypted(stream) => pin!(stream.read_buf(bytes)).poll(context),
        }
    }
}

/// What the driver reads from.
pub(super) struct Guarded {
    inner: Inner,
    incoming: Incoming,
    oversized: Oversized,
    outlet: Outlet,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.outlet.close();
    }
}

impl TlsStream for Guarded {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.inner {
            Inner::Plain(_) => ChannelBinding::none(),
            Inner::Encrypted(stream) => stream.channel_binding(),
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        driver: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let guarded = &mut *self;
        loop {
            let diverting = guarded.outlet.is_open();
            match guarded.incoming.next(diverting) {
                Ok(Next::Rows(length)) => {
                    ready!(guarded.outlet.poll_ready(context));
                    guarded.outlet.send(guarded.incoming.take_rows(length));
                    continue;
                }
                Ok(Next::Driver(length)) => {
                    guarded.incoming.give(length.min(driver.remaining()), driver);
                    return Poll::Ready(Ok(()));
                }
                // Every row before it was handed on.
                Ok(Next::EndOfRows) => {
                    guarded.outlet.close();
                    continue;
                }
                Ok(Next::Unread) => {}
                Err(bytes) => {
                    guarded.oversized.0.store(bytes, Ordering::Release);
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("the server sends a message of {bytes} bytes"),
                    )));
                }
            }
            guarded.incoming.make_room(diverting);
            let read = guarded.inner.poll_fill(context, &mut guarded.incoming.buffer);
            if ready!(read)? == 0 {
                // The end of the connection, which the driver is told by no bytes.
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Inner::Encrypted(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(context),
            Inner::Encrypted(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Inner::Encrypted(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}

/// What comes next of what was read.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// This many bytes of whole rows.
    Rows(usize),
    /// This many bytes for the driver.
    Driver(usize),
    /// The message that ends a COPY, for better or worse.
    EndOfRows,
    /// Nothing before more is read.
    Unread,
}

/// What was read and not handed on. Follows its messages: each is a type byte, an
/// int32 length that counts itself, and a body.
#[derive(Debug, Default)]
struct Incoming {
    buffer: Vec<u8>,
    /// How many bytes at the start of the buffer are whole rows.
    rows: usize,
    /// How many bytes from the start of the buffer on, read or not, are messages for
    /// the driver.
    driver: usize,
    /// How many bytes of the row at the end of the buffer have not arrived.
    lacking: usize,
}

impl Incoming {
    /// # Errors
    /// The length of a message that is too long.
    fn next(&mut self, diverting: bool) -> Result<Next, u32> {
        if self.driver == 0 {
            self.lacking = 0;
            while let Some((tag, length)) = self.message_at(self.rows)? {
                if tag == COPY_DATA && diverting {
                    let arrived = self.buffer.len() - self.rows;
                    if arrived < length {
                        self.lacking = length - arrived;
                        break;
                    }
                    self.rows += length;
                    continue;
                }
                if self.rows > 0 {
                    return Ok(Next::Rows(self.rows));
                }
                if diverting && matches!(tag, COPY_DONE | ERROR_RESPONSE) {
                    return Ok(Next::EndOfRows);
                }
                self.driver = length;
                break;
            }
        }
        Ok(if self.driver > 0 {
            match self.driver.min(self.buffer.len()) {
                0 => Next::Unread,
                length => Next::Driver(length),
            }
        } else if self.rows >= CHUNK_BYTES || self.rows > 0 && self.room() < LEAST_ROOM {
            Next::Rows(self.rows)
        } else {
            Next::Unread
        })
    }

    /// The type and whole length of the message that begins there, none if its header
    /// has not arrived.
    fn message_at(&self, at: usize) -> Result<Option<(u8, usize)>, u32> {
        let Some(&[tag, a, b, c, d]) = self.buffer.get(at..at + MESSAGE_HEADER_BYTES) else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if length > MAX_ROW_BYTES {
            return Err(length);
        }
        // A length below 4 is malformed, which the driver will say.
        Ok(Some((tag, 1 + length.max(4) as usize)))
    }

    fn take_rows(&mut self, length: usize) -> Bytes {
        self.rows -= length;
        let left = self.buffer.split_off(length);
        Bytes::from(std::mem::replace(&mut self.buffer, left))
    }

    fn give(&mut self, length: usize, driver: &mut ReadBuf<'_>) {
        driver.put_slice(&self.buffer[..length]);
        self.buffer.drain(..length);
        self.driver -= length;
    }

    fn room(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    /// Makes the buffer ready to be read into. The one of before was handed on, so more
    /// room is a new buffer, which begins with what is left.
    fn make_room(&mut self, diverting: bool) {
        let least = if diverting {
            COPY_BUFFER_BYTES
        } else {
            BUFFER_BYTES
        };
        let left = self.buffer.len();
        let oversize = !diverting && left == 0 && self.room() > BUFFER_BYTES;
        if self.room() >= LEAST_ROOM && !oversize {
            return;
        }
        // A long row grows the buffer by doubling it, and never beyond its end.
        let room = least.max(self.lacking.min(left));
        let mut buffer = Vec::with_capacity(left + room);
        buffer.extend_from_slice(&self.buffer);
        self.buffer = buffer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(tag: u8, body: usize) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend((body as u32 + 4).to_be_bytes());
        bytes.resize(bytes.len() + body, 0xFF);
        bytes
    }

    /// Reads everything in these cuts: the rows, what the driver got, and whether the
    /// rows were ended before it got the end.
    fn follow(bytes: &[u8], cuts: Vec<usize>, diverting: bool) -> Result<(Vec<u8>, Vec<u8>, bool), u32> {
        let mut incoming = Incoming::default();
        let (mut rows, mut driver, mut ended) = (Vec::new(), Vec::new(), false);
        let mut cuts = cuts.into_iter();
        let mut rest = bytes;
        loop {
            match incoming.next(diverting && !ended)? {
                Next::Rows(length) => rows.extend(incoming.take_rows(length)),
                Next::EndOfRows => ended = true,
                Next::Driver(length) => {
                    let mut space = vec![0; length.min(7)];
                    let mut buffer = ReadBuf::new(&mut space);
                    incoming.give(length.min(7), &mut buffer);
                    driver.extend_from_slice(buffer.filled());
                }
                Next::Unread if rest.is_empty() => return Ok((rows, driver, ended)),
                Next::Unread => {
                    let (now, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
                    incoming.make_room(diverting);
                    incoming.buffer.extend_from_slice(now);
                    rest = later;
                }
            }
        }
    }

    proptest! {
        /// However the stream is cut, the long message is found at its header and
        /// the bodies, which look like huge lengths, are not.
        #[test]
        fn finds_long_messages(
            bodies in proptest::collection::vec(0_usize..40, 0..10),
            cuts in proptest::collection::vec(1_usize..9, 0..100),
            long in MAX_ROW_BYTES + 1..,
            diverting in any::<bool>(),
        ) {
            let mut bytes: Vec<u8> = bodies.into_iter().flat_map(|body| message(b'd', body)).collect();
            prop_assert!(follow(&bytes, cuts.clone(), diverting).is_ok());
            bytes.push(b'd');
            bytes.extend(long.to_be_bytes());
            prop_assert_eq!(follow(&bytes, cuts, diverting), Err(long));
        }

        /// However the stream is cut, rows and everything else go their ways in order.
        #[test]
        fn rows_are_diverted(
            before in proptest::collection::vec(0_usize..40, 0..4),
            rows in proptest::collection::vec((0_usize..40, any::<bool>()), 0..20),
            after in proptest::collection::vec(0_usize..40, 0..4),
            failed in any::<bool>(),
            cuts in proptest::collection::vec(1_usize..60, 0..100),
        ) {
            let (mut all, mut expected_rows, mut expected_driver) = (Vec::new(), Vec::new(), Vec::new());
            let mut add = |tag: u8, body: usize| {
                let message = message(tag, body);
                all.extend_from_slice(&message);
                if tag == b'd' { expected_rows.extend(message) } else { expected_driver.extend(message) }
            };
            for body in before { add(b'H', body); }
            for (body, notice) in rows { add(if notice { b'N' } else { b'd' }, body); }
            add(if failed { b'E' } else { b'c' }, 3);
            for body in after { add(b'C', body); }
            prop_assert_eq!(
                follow(&all, cuts.clone(), true),
                Ok((expected_rows, expected_driver, true))
            );
            prop_assert_eq!(follow(&all, cuts, false), Ok((Vec::new(), all, false)));
        }
    }

    #[test]
    fn a_long_row_waits_for_its_end() {
        let bytes = [message(b'd', 1_000_000), message(b'd', 10), message(b'c', 0)].concat();
        let (rows, _, _) = follow(&bytes, vec![4096; 300], true).unwrap();
        assert_eq!(rows.len(), bytes.len() - 5);
    }
}
