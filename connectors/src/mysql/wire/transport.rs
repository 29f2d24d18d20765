//! The stream of bytes below the protocol: plain or TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::WireError;

pub(super) enum Transport {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
    /// A handshake failed.
    Gone,
}

impl Transport {
    pub(super) async fn connect(host: &str, port: u16) -> Result<Self, WireError> {
        let stream = TcpStream::connect((host, port)).await.map_err(WireError::Io)?;
        stream.set_nodelay(true).map_err(WireError::Io)?;
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(30))
            .with_interval(Duration::from_secs(10))
            .with_retries(3);
        SockRef::from(&stream)
            .set_tcp_keepalive(&keepalive)
            .map_err(WireError::Io)?;
        Ok(Self::Plain(stream))
    }

    /// Goes on encrypted.
    pub(super) async fn encrypt(&mut self, config: Arc<ClientConfig>, host: &str) -> Result<(), WireError> {
        let Self::Plain(stream) = std::mem::replace(self, Self::Gone) else {
            return Err(WireError::Protocol("TLS was asked for twice"));
        };
        let name =
            ServerName::try_from(host.to_owned()).map_err(|error| WireError::Tls(error.to_string()))?;
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| WireError::Tls(error.to_string()))?;
        *self = Self::Encrypted(Box::new(stream));
        Ok(())
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Encrypted(_))
    }

    /// Appends what there is, at least one byte; 0 at the end. Loses nothing
    /// when it is dropped while waiting.
    pub(super) async fn read(&mut self, buffer: &mut BytesMut) -> Result<usize, WireError> {
        let read = match self {
            Self::Plain(stream) => stream.read_buf(buffer).await,
            Self::Encrypted(stream) => stream.read_buf(buffer).await,
            Self::Gone => Ok(0),
        };
        read.map_err(lost)
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let written = match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Encrypted(stream) => match stream.write_all(bytes).await {
                Ok(()) => stream.flush().await,
                Err(error) => Err(error),
            },
            Self::Gone => return Err(WireError::Closed),
        };
        written.map_err(lost)
    }

    pub(super) async fn shutdown(&mut self) {
        // The other side may be gone already, which is as good.
        let _ = match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Encrypted(stream) => stream.shutdown().await,
            Self::Gone => Ok(()),
        };
    }
}

/// An end of the connection is one thing, whichever way it shows.
fn lost(error: io::Error) -> WireError {
    match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::UnexpectedEof => WireError::Closed,
        _ => WireError::Io(error),
    }
}
