//! The byte stream below the protocol: TLS or plain, and a limit on messages.
//!
//! The protocol's codec buffers a whole message, up to 1 GiB, before anything
//! above it sees a byte. So the length in each message's header is looked at
//! here, and a row beyond [`MAX_ROW_BYTES`] ends the connection instead of the
//! process.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use futures::future::{BoxFuture, FutureExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A row larger than this is refused: two values of the largest allowed size.
pub(super) const MAX_ROW_BYTES: u32 = 128 * 1024 * 1024;

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
    pub oversized: Oversized,
}

impl MakeTlsConnect<Socket> for Guard {
    type Stream = Guarded;
    type TlsConnect = GuardConnect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<GuardConnect, io::Error> {
        let handshake = match &mut self.tls {
            Some(tls) => {
                let made = MakeTlsConnect::<Socket>::make_tls_connect(tls, host);
                Some(made.map_err(io::Error::other)?)
            }
            None => None,
        };
        Ok(GuardConnect {
            handshake,
            oversized: self.oversized.clone(),
        })
    }
}

pub(super) struct GuardConnect {
    handshake: Option<Handshake>,
    oversized: Oversized,
}

impl TlsConnect<Socket> for GuardConnect {
    type Stream = Guarded;
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Guarded, io::Error>>;

    fn connect(self, socket: Socket) -> Self::Future {
        async move {
            let inner = match self.handshake {
                Some(handshake) => Inner::Encrypted(Box::new(handshake.connect(socket).await?)),
                None => Inner::Plain(socket),
            };
            Ok(Guarded {
                inner,
                messages: Messages::default(),
                oversized: self.oversized,
            })
        }
        .boxed()
    }
}

enum Inner {
    Plain(Socket),
    Encrypted(Box<Encrypted>),
}

/// What the driver reads from.
pub(super) struct Guarded {
    inner: Inner,
    messages: Messages,
    oversized: Oversized,
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
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Inner::Encrypted(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        })?;
        if let Err(bytes) = self.messages.pass(&buffer.filled()[before..]) {
            self.oversized.0.store(bytes, Ordering::Release);
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the server sends a message of {bytes} bytes"),
            )));
        }
        Poll::Ready(Ok(()))
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

/// Follows the messages in a stream of bytes: each is a type byte, an int32
/// length that counts itself, and a body.
#[derive(Debug, Default)]
struct Messages {
    header: [u8; 5],
    /// How much of `header` has arrived.
    arrived: usize,
    /// How much of the body has not.
    body: u32,
}

impl Messages {
    /// Takes bytes in order; the length of a message that is too long.
    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), u32> {
        while !bytes.is_empty() {
            if self.body > 0 {
                let skipped = bytes.len().min(self.body as usize);
                // No more than `body`, so it fits.
                self.body -= skipped as u32;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = bytes.len().min(self.header.len() - self.arrived);
            self.header[self.arrived..self.arrived + taken].copy_from_slice(&bytes[..taken]);
            self.arrived += taken;
            bytes = &bytes[taken..];
            if self.arrived == self.header.len() {
                self.arrived = 0;
                let [_, length @ ..] = self.header;
                let length = u32::from_be_bytes(length);
                if length > MAX_ROW_BYTES {
                    return Err(length);
                }
                // A length below 4 is malformed, which the codec will say.
                self.body = length.saturating_sub(4);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: usize) -> Vec<u8> {
        let mut bytes = vec![b'd'];
        bytes.extend((body as u32 + 4).to_be_bytes());
        bytes.resize(bytes.len() + body, 0xFF);
        bytes
    }

    proptest! {
        /// However the stream is cut, the long message is found at its header and
        /// the bodies, which look like huge lengths, are not.
        #[test]
        fn finds_long_messages(
            bodies in proptest::collection::vec(0_usize..40, 0..10),
            cuts in proptest::collection::vec(1_usize..9, 0..100),
            long in MAX_ROW_BYTES + 1..,
        ) {
            let mut bytes: Vec<u8> = bodies.into_iter().flat_map(message).collect();
            bytes.push(b'd');
            bytes.extend(long.to_be_bytes());
            let mut messages = Messages::default();
            let mut cuts = cuts.into_iter();
            let mut rest = bytes.as_slice();
            let mut found = None;
            while !rest.is_empty() {
                prop_assert_eq!(found, None);
                let (now, later) = rest.split_at(cuts.next().unwrap_or(rest.len()).min(rest.len()));
                found = messages.pass(now).err();
                rest = later;
            }
            prop_assert_eq!(found, Some(long));
        }
    }
}
