//! The TCP connection below TLS and the protocol, and when it is looked at.
//!
//! A socket that the runtime watches wakes a thread for each packet, and PostgreSQL
//! sends rows 8 KiB at a time: taken one by one, they cost as much as decoding them.
//! So while rows are diverted and flow, the runtime does not watch the socket. It is
//! read until it is empty and then again after a [`REST`], in which much arrives
//! without waking anybody. Once nothing came for some rests, as the server computes,
//! or the rows are over, it is watched as any other.
//!
//! A wait so always ends by time or by the first byte. Nothing here depends on what
//! the bytes mean, so it is the same below TLS.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::outlet::Outlet;

/// The runtime's timers end at the next full millisecond, so this is about one.
const REST: Duration = Duration::from_micros(100);
/// After so many rests without a byte the rows do not flow any more.
const EMPTY_RESTS: u32 = 4;
/// Rows flow once this much of them came.
const FLOW_BYTES: usize = 256 * 1024;

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    outlet: Outlet,
}

#[derive(Debug)]
enum Stream {
    Watched {
        stream: TcpStream,
        /// What came of the rows since the socket is watched.
        flow: usize,
    },
    Unwatched {
        stream: std::net::TcpStream,
        rest: Pin<Box<Sleep>>,
        /// Whether the socket was empty and the rest is not over.
        resting: bool,
        /// Rests since the last byte.
        empty: u32,
        /// Who waits for the end of a rest.
        reader: Option<Waker>,
    },
    /// The runtime refused to watch the socket, or to leave it.
    Lost,
}

/// Where to read to.
enum Space<'a, 'b> {
    Spare(&'a mut Vec<u8>),
    Buffer(&'a mut ReadBuf<'b>),
}

impl Space<'_, '_> {
    fn room(&self) -> usize {
        match self {
            Self::Spare(bytes) => bytes.capacity() - bytes.len(),
            Self::Buffer(buffer) => buffer.remaining(),
        }
    }

    fn poll_read(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Spare(bytes) => pin!(stream.read_buf(*bytes)).poll(context),
            Self::Buffer(buffer) => {
                let before = buffer.filled().len();
                ready!(Pin::new(stream).poll_read(context, buffer))?;
                Poll::Ready(Ok(buffer.filled().len() - before))
            }
        }
    }

    fn read(&mut self, mut stream: &std::net::TcpStream) -> io::Result<usize> {
        match self {
            Self::Spare(bytes) => Ok(rustix::io::read(stream, spare_capacity(bytes))?),
            Self::Buffer(buffer) => {
                let read = stream.read(buffer.initialize_unfilled())?;
                buffer.advance(read);
                Ok(read)
            }
        }
    }
}

impl Socket {
    /// Connects. Rows flow only while the outlet is open.
    pub(super) async fn connect(address: SocketAddr, outlet: Outlet) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(10))
            .with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(Self {
            stream: Stream::Watched { stream, flow: 0 },
            outlet,
        })
    }

    /// Reads into the room that the vector has: at least a byte, and none at the end.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.poll_into(context, &mut Space::Spare(bytes))
    }

    fn poll_into(&mut self, context: &mut Context<'_>, space: &mut Space<'_, '_>) -> Poll<io::Result<usize>> {
        let rows = self.outlet.is_open();
        loop {
            match &mut self.stream {
                Stream::Watched { flow, .. } if rows && *flow >= FLOW_BYTES => self.leave()?,
                Stream::Watched { stream, flow } => {
                    let read = ready!(space.poll_read(stream, context))?;
                    *flow = if rows { *flow + read } else { 0 };
                    return Poll::Ready(Ok(read));
                }
                Stream::Unwatched { empty, .. } if !rows || *empty > EMPTY_RESTS => self.watch()?,
                Stream::Unwatched {
                    stream,
                    rest,
                    resting,
                    empty,
                    reader,
                } => {
                    if *resting {
                        if rest.as_mut().poll(context).is_pending() {
                            *reader = Some(context.waker().clone());
                            return Poll::Pending;
                        }
                        *resting = false;
                    }
                    let room = space.room();
                    let read = match space.read(stream) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                        read => Some(read?),
                    };
                    if read.is_none_or(|read| read < room) {
                        *resting = true;
                        rest.as_mut().reset(Instant::now() + REST);
                    }
                    let Some(read) = read else {
                        *empty += 1;
                        continue;
                    };
                    *empty = 0;
                    return Poll::Ready(Ok(read));
                }
                Stream::Lost => return Poll::Ready(Err(lost())),
            }
        }
    }

    /// Lets the runtime watch the socket. What waits for a rest has to be polled again.
    fn watch(&mut self) -> io::Result<()> {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Unwatched { stream, .. } => Stream::Watched {
                stream: TcpStream::from_std(stream)?,
                flow: 0,
            },
            stream => stream,
        };
        Ok(())
    }

    fn leave(&mut self) -> io::Result<()> {
        self.stream = match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Watched { stream, .. } => Stream::Unwatched {
                // It stays one that never blocks.
                stream: stream.into_std()?,
                rest: Box::pin(sleep_until(Instant::now())),
                resting: false,
                empty: 0,
                reader: None,
            },
            stream => stream,
        };
        Ok(())
    }

    /// The watched stream, to write to: the driver writes while rows flow only to end
    /// the connection.
    fn writable(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Stream::Unwatched { reader, .. } = &mut self.stream {
            let reader = reader.take();
            self.watch()?;
            // There is no rest any more that would wake it.
            if let Some(reader) = reader {
                reader.wake();
            }
        }
        match &mut self.stream {
            Stream::Watched { stream, .. } => Ok(Pin::new(stream)),
            Stream::Unwatched { .. } | Stream::Lost => Err(lost()),
        }
    }
}

fn lost() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "the connection is not watched any more",
    )
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_into(context, &mut Space::Buffer(buffer)).map_ok(|_| ())
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writable()?.poll_write(context, bytes)
    }

    /// The kernel sends by itself what was written.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writable()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const MUCH: usize = 4 * FLOW_BYTES;

    async fn pair(outlet: &Outlet) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (socket, server) = tokio::join!(Socket::connect(address, outlet.clone()), listener.accept());
        (socket.unwrap(), server.unwrap().0)
    }

    fn is_watched(socket: &Socket) -> bool {
        matches!(socket.stream, Stream::Watched { .. })
    }

    /// What is read next, by the one way or the other; nothing at the end.
    async fn some(socket: &mut Socket, spare: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(100_000);
        if spare {
            poll_fn(|context| socket.poll_fill(context, &mut bytes))
                .await
                .unwrap();
        } else {
            bytes.resize(100_000, 0);
            let read = socket.read(&mut bytes).await.unwrap();
            bytes.truncate(read);
        }
        bytes
    }

    async fn exactly(socket: &mut Socket, count: usize, spare: bool) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            let more = some(socket, spare).await;
            assert!(!more.is_empty(), "{} of {count}", all.len());
            all.extend(more);
        }
        assert_eq!(all.len(), count);
        all
    }

    #[tokio::test]
    async fn flowing_rows_are_not_watched() {
        for spare in [true, false] {
            let outlet = Outlet::default();
            let (mut socket, mut server) = pair(&outlet).await;
            let many: Vec<u8> = (0..MUCH).map(|at| (at % 251) as u8).collect();

            // What is not rows does not count.
            let (read, sent) = tokio::join!(exactly(&mut socket, MUCH, spare), server.write_all(&many));
            sent.unwrap();
            assert!(read == many && is_watched(&socket));

            let _rows = outlet.divert();
            let (read, sent) = tokio::join!(exactly(&mut socket, MUCH, spare), server.write_all(&many));
            sent.unwrap();
            assert!(read == many && !is_watched(&socket));

            // The end of the rows, with bytes that follow and without.
            outlet.close();
            server.write_all(b"done").await.unwrap();
            assert_eq!(exactly(&mut socket, 4, spare).await, b"done");
            assert!(is_watched(&socket));
        }
    }

    #[tokio::test]
    async fn a_pause_ends_the_flow() {
        for spare in [true, false] {
            let outlet = Outlet::default();
            let _rows = outlet.divert();
            let (mut socket, mut server) = pair(&outlet).await;
            for _ in 0..2 {
                let many = vec![7; MUCH];
                let (read, sent) = tokio::join!(exactly(&mut socket, MUCH, spare), server.write_all(&many));
                sent.unwrap();
                assert!(read == many && !is_watched(&socket));
                let mut none = Vec::with_capacity(10);
                poll_fn(|context| {
                    assert!(socket.poll_fill(context, &mut none).is_pending());
                    if is_watched(&socket) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                server.write_all(b"a").await.unwrap();
                assert_eq!(exactly(&mut socket, 1, spare).await, b"a");
            }
        }
    }

    #[tokio::test]
    async fn an_end_and_a_write_while_rows_flow() {
        for spare in [true, false] {
            let outlet = Outlet::default();
            let _rows = outlet.divert();
            let (mut socket, mut server) = pair(&outlet).await;
            let many = vec![7; MUCH];
            let (read, sent) = tokio::join!(exactly(&mut socket, MUCH, spare), server.write_all(&many));
            sent.unwrap();
            assert!(read == many && !is_watched(&socket));

            // A reader that waits for a rest is woken when somebody writes.
            let (mut reader, mut writer) = tokio::io::split(socket);
            let reading = tokio::spawn(async move {
                let mut bytes = [0; 10];
                let read = reader.read(&mut bytes).await.unwrap();
                (reader, bytes[..read].to_vec())
            });
            tokio::task::yield_now().await;
            writer.write_all(b"ping").await.unwrap();
            let mut asked = [0; 4];
            server.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"ping");
            server.write_all(b"pong").await.unwrap();
            let (reader, read) = reading.await.unwrap();
            assert_eq!(read, b"pong");

            let mut socket = reader.unsplit(writer);
            let (read, sent) = tokio::join!(exactly(&mut socket, MUCH, spare), server.write_all(&many));
            sent.unwrap();
            assert!(read == many && !is_watched(&socket));
            drop(server);
            assert_eq!(some(&mut socket, spare).await, b"");
        }
    }
}
