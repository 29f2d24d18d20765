//! The client side of the MySQL protocol, as far as a reader needs it: connect,
//! run a statement, stream the rows of a prepared one.
//!
//! Why not a driver of somebody else: docs/adr/0015. The layouts are those of
//! MySQL's "Client/Server Protocol" and MariaDB's "Client/Server Protocol"
//! documentation, protocol version 10, without any of the optional extensions.

mod column;
mod handshake;
mod packets;
mod reader;
#[cfg(test)]
mod scripted;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::time::timeout;

pub(super) use column::{ColumnDefinition, ColumnType};
pub(super) use packets::MAX_ROW_BYTES;
pub(super) use reader::Reader;

use self::handshake::Greeting;
use self::packets::Packets;
use self::transport::Transport;

/// What went wrong between this client and a server. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the connection was lost")]
    Closed,

    #[error("{0}")]
    Io(#[source] std::io::Error),

    #[error("{0}")]
    Tls(String),

    #[error("it did not answer in {} s", .0.as_secs())]
    Silent(Duration),

    #[error("{message} (error {code}, SQLSTATE {state})")]
    Server {
        code: u16,
        state: String,
        message: String,
    },

    /// Before the rest of it was received.
    #[error("the server sends a row of at least {bytes} bytes")]
    TooLarge { bytes: usize },

    /// The user cannot be authenticated by any means this client has.
    #[error("{0}")]
    Authentication(String),

    #[error("the server does not speak the protocol: {0}")]
    Protocol(&'static str),
}

/// Whom to connect to, and as whom.
pub(super) struct Target<'a> {
    pub host: &'a str,
    pub port: u16,
    pub username: &'a str,
    pub password: &'a str,
    /// The default database of the session.
    pub database: Option<&'a str>,
    /// None: plain text.
    pub tls: Option<Arc<ClientConfig>>,
    /// How long the server may be silent before it counts as gone.
    pub patience: Duration,
}

/// The next event of a result, if it has been received.
pub(super) enum Step {
    Row(Bytes),
    End,
    /// Call [`Client::receive`].
    Wait,
}

/// The names of the columns, and every row's values as text.
pub(super) type NamedRows = (Vec<String>, Vec<Vec<Option<String>>>);

/// A prepared statement without parameters.
#[derive(Debug)]
pub(super) struct Statement {
    id: u32,
}

/// One connection.
pub(super) struct Client {
    transport: Transport,
    packets: Packets,
    patience: Duration,
    /// The server's number of this connection, for KILL.
    pub id: u32,
    /// As the server prints it.
    pub version: String,
    /// A command was sent whose answer has not been read to its end.
    busy: bool,
    /// The server is gone, or what it says makes no sense any more.
    broken: bool,
}

mod command {
    pub const QUIT: u8 = 0x01;
    pub const QUERY: u8 = 0x03;
    pub const STMT_PREPARE: u8 = 0x16;
    pub const STMT_EXECUTE: u8 = 0x17;
    pub const STMT_CLOSE: u8 = 0x19;
}

const OK: u8 = 0x00;
const NULL: u8 = 0xFB;
const EOF: u8 = 0xFE;
const ERROR: u8 = 0xFF;

/// An EOF packet is shorter; a longer one with its first byte is a row whose
/// first value has a length of eight bytes.
const EOF_BELOW: usize = 9;

impl Client {
    pub(super) async fn connect(target: &Target<'_>) -> Result<Self, WireError> {
        let transport = Transport::connect(target.host, target.port).await?;
        let mut client = Self {
            transport,
            packets: Packets::default(),
            patience: target.patience,
            id: 0,
            version: String::new(),
            busy: false,
            broken: false,
        };
        let greeting = Greeting::parse(&client.packet().await?)?;
        client.id = greeting.connection;
        client.version.clone_from(&greeting.version);
        client.authenticate(&greeting, target).await?;
        Ok(client)
    }

    /// Whether the server runs something for this connection.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Whether the connection is of no more use.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Runs a statement that has no rows.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), WireError> {
        self.command(command::QUERY, sql.as_bytes()).await?;
        let packet = self.answer().await?;
        if packet.first() != Some(&OK) {
            return Err(self.protocol("rows where none were expected"));
        }
        self.busy = false;
        Ok(())
    }

    /// All rows of a small result, every value as its text.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, WireError> {
        Ok(self.query_named(sql).await?.1)
    }

    /// Like [`Self::query`], with the names of the columns: for answers whose columns differ between versions.
    pub(super) async fn query_named(&mut self, sql: &str) -> Result<NamedRows, WireError> {
        self.command(command::QUERY, sql.as_bytes()).await?;
        let header = self.result_header().await?;
        let names: Vec<String> = header.into_iter().map(|column| column.name).collect();
        let columns = names.len();
        let mut rows = Vec::new();
        loop {
            let packet = match self.step()? {
                Step::Row(packet) => packet,
                Step::End => return Ok((names, rows)),
                Step::Wait => {
                    self.receive().await?;
                    continue;
                }
            };
            let Some(row) = text_row(&packet, columns) else {
                return Err(self.protocol("a row cannot be read"));
            };
            rows.push(row);
        }
    }

    /// Prepares a statement without parameters.
    pub(super) async fn prepare(&mut self, sql: &str) -> Result<Statement, WireError> {
        self.command(command::STMT_PREPARE, sql.as_bytes()).await?;
        let packet = self.answer().await?;
        let mut reader = Reader::new(&packet);
        let parsed = (|| {
            let status = reader.u8()?;
            let id = reader.u32()?;
            let columns = reader.u16()?;
            let parameters = reader.u16()?;
            (status == OK).then_some((id, columns, parameters))
        })();
        let Some((id, columns, parameters)) = parsed else {
            return Err(self.protocol("the answer to PREPARE cannot be read"));
        };
        for count in [parameters, columns] {
            if count > 0 {
                self.definitions(count.into()).await?;
            }
        }
        self.busy = false;
        if parameters > 0 {
            return Err(self.protocol("a statement without parameters has some"));
        }
        Ok(Statement { id })
    }

    /// Starts a prepared statement; its rows, in the binary form, follow by
    /// [`Self::step`].
    pub(super) async fn execute(
        &mut self,
        statement: &Statement,
    ) -> Result<Vec<ColumnDefinition>, WireError> {
        const NO_CURSOR: u8 = 0;
        const ITERATIONS: u32 = 1;
        let mut body = statement.id.to_le_bytes().to_vec();
        body.push(NO_CURSOR);
        body.extend(ITERATIONS.to_le_bytes());
        self.command(command::STMT_EXECUTE, &body).await?;
        self.result_header().await
    }

    /// Frees a prepared statement in the server, which does not answer.
    pub(super) async fn forget(&mut self, statement: &Statement) -> Result<(), WireError> {
        self.command(command::STMT_CLOSE, &statement.id.to_le_bytes())
            .await?;
        self.busy = false;
        Ok(())
    }

    /// The next event of the running result, without waiting.
    pub(super) fn step(&mut self) -> Result<Step, WireError> {
        let Some(packet) = self.received()? else {
            return Ok(Step::Wait);
        };
        match packet.first() {
            Some(&ERROR) => {
                self.busy = false;
                Err(server_error(&packet))
            }
            Some(&EOF) if packet.len() < EOF_BELOW => {
                self.busy = false;
                Ok(Step::End)
            }
            _ => Ok(Step::Row(packet)),
        }
    }

    /// Waits for more of the answer; the number of bytes that came.
    pub(super) async fn receive(&mut self) -> Result<usize, WireError> {
        let read = self.transport.read(self.packets.space());
        let outcome = match timeout(self.patience, read).await {
            Ok(Ok(0)) => Err(WireError::Closed),
            Ok(outcome) => outcome,
            Err(_) => Err(WireError::Silent(self.patience)),
        };
        if outcome.is_err() {
            self.broken = true;
        }
        outcome
    }

    /// Says goodbye and closes.
    pub(super) async fn quit(mut self) {
        if !self.broken && !self.busy {
            // The server may be gone already, which is as good.
            let _ = self.command(command::QUIT, &[]).await;
        }
        self.transport.shutdown().await;
    }

    async fn command(&mut self, command: u8, body: &[u8]) -> Result<(), WireError> {
        if self.busy || self.broken {
            return Err(WireError::Closed);
        }
        self.packets.restart();
        let mut payload = Vec::with_capacity(body.len() + 1);
        payload.push(command);
        payload.extend_from_slice(body);
        self.busy = true;
        self.send(&payload).await
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), WireError> {
        let framed = self.packets.frame(payload)?;
        let write = self.transport.write(&framed);
        let outcome = match timeout(self.patience, write).await {
            Ok(outcome) => outcome,
            Err(_) => Err(WireError::Silent(self.patience)),
        };
        if outcome.is_err() {
            self.broken = true;
        }
        outcome
    }

    fn received(&mut self) -> Result<Option<Bytes>, WireError> {
        let packet = self.packets.next();
        if packet.is_err() {
            self.broken = true;
        }
        packet
    }

    async fn packet(&mut self) -> Result<Bytes, WireError> {
        loop {
            if let Some(packet) = self.received()? {
                return Ok(packet);
            }
            self.receive().await?;
        }
    }

    /// The first packet of an answer; the server's refusal is an error.
    async fn answer(&mut self) -> Result<Bytes, WireError> {
        let packet = self.packet().await?;
        if packet.first() == Some(&ERROR) {
            self.busy = false;
            return Err(server_error(&packet));
        }
        Ok(packet)
    }

    /// The columns of a result that follows.
    async fn result_header(&mut self) -> Result<Vec<ColumnDefinition>, WireError> {
        let packet = self.answer().await?;
        let count = match packet.first() {
            // 0x00 is an answer without rows, 0xFB a wish for a local file.
            Some(&(OK | NULL)) | None => None,
            Some(_) => Reader::new(&packet).length(),
        };
        match count.and_then(|count| usize::try_from(count).ok()) {
            Some(count) => self.definitions(count).await,
            None => Err(self.protocol("an answer without rows where some were expected")),
        }
    }

    async fn definitions(&mut self, count: usize) -> Result<Vec<ColumnDefinition>, WireError> {
        let mut columns = Vec::new();
        for _ in 0..count {
            let packet = self.answer().await?;
            let Some(column) = ColumnDefinition::parse(&packet) else {
                return Err(self.protocol("a column definition cannot be read"));
            };
            columns.push(column);
        }
        let packet = self.answer().await?;
        if packet.first() != Some(&EOF) || packet.len() >= EOF_BELOW {
            return Err(self.protocol("column definitions do not end"));
        }
        Ok(columns)
    }

    /// After nonsense the stream cannot be followed any more.
    fn protocol(&mut self, message: &'static str) -> WireError {
        self.broken = true;
        WireError::Protocol(message)
    }
}

/// Values of a text row; none if it is not one.
fn text_row(packet: &[u8], columns: usize) -> Option<Vec<Option<String>>> {
    let mut reader = Reader::new(packet);
    let mut row = Vec::with_capacity(columns);
    for _ in 0..columns {
        row.push(if reader.peek()? == NULL {
            reader.u8()?;
            None
        } else {
            Some(String::from_utf8_lossy(reader.counted()?).into_owned())
        });
    }
    reader.is_empty().then_some(row)
}

/// Layout: 0xFF, u16 code, and since protocol 4.1 `#` with five bytes SQLSTATE;
/// then the message.
fn server_error(packet: &[u8]) -> WireError {
    let mut reader = Reader::new(packet);
    let Some((_, code)) = reader.u8().zip(reader.u16()) else {
        return WireError::Protocol("an error without a code");
    };
    let state = if reader.peek() == Some(b'#') {
        reader.bytes(6).map(|state| &state[1..])
    } else {
        None
    };
    WireError::Server {
        code,
        state: String::from_utf8_lossy(state.unwrap_or(b"HY000")).into_owned(),
        message: String::from_utf8_lossy(reader.rest()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_with_and_without_state() {
        let with = server_error(b"\xff\x15\x04#28000Access denied");
        assert_eq!(with.to_string(), "Access denied (error 1045, SQLSTATE 28000)");
        let without = server_error(b"\xff\x10\x04Too many connections");
        assert_eq!(
            without.to_string(),
            "Too many connections (error 1040, SQLSTATE HY000)"
        );
    }

    #[test]
    fn text_rows() {
        assert_eq!(
            text_row(b"\x01a\xfb\x00", 3),
            Some(vec![Some("a".to_owned()), None, Some(String::new())])
        );
        assert_eq!(text_row(b"\x02a", 1), None);
        assert_eq!(text_row(b"\x01ab", 1), None);
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = server_error(&bytes);
            let _ = text_row(&bytes, 3);
            let _ = ColumnDefinition::parse(&bytes);
            let _ = Greeting::parse(&bytes);
        }
    }
}
