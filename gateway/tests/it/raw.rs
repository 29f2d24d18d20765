//! The protocol by hand.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: char,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, code: u8) -> Option<String> {
        self.body
            .split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&code))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
    }

    pub fn sqlstate(&self) -> String {
        assert!(matches!(self.kind, 'E' | 'N'), "{self:?}");
        self.field(b'C').unwrap()
    }

    /// The values of a DataRow.
    pub fn values(&self) -> Vec<Option<Vec<u8>>> {
        assert_eq!(self.kind, 'D', "{self:?}");
        let mut rest = &self.body[2..];
        let mut values = Vec::new();
        while !rest.is_empty() {
            let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
            rest = &rest[4..];
            match usize::try_from(length) {
                Ok(length) => {
                    values.push(Some(rest[..length].to_vec()));
                    rest = &rest[length..];
                }
                Err(_) => values.push(None),
            }
        }
        values
    }

    /// The text of a message that is one string, such as a tag.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body.strip_suffix(&[0]).unwrap_or(&self.body)).into_owned()
    }

    /// In short: `T(a,b)`, `D(1,NULL)`, `C(SELECT 1)`, `E(42601)`, `Z(I)`, or the letter alone.
    pub fn short(&self) -> String {
        let detail = match self.kind {
            'D' => self
                .values()
                .into_iter()
                .map(|value| {
                    value.map_or("NULL".into(), |value| {
                        String::from_utf8_lossy(&value).into_owned()
                    })
                })
                .collect::<Vec<_>>()
                .join(","),
            'T' => self
                .columns()
                .into_iter()
                .map(|column| column.0)
                .collect::<Vec<_>>()
                .join(","),
            'C' | 'Z' | 'd' => self.text().trim_end().to_owned(),
            'E' | 'N' => self.sqlstate(),
            'S' => self.text().replace('\0', "="),
            't' => {
                let oids = self.body[2..]
                    .chunks(4)
                    .map(|oid| u32::from_be_bytes(oid.try_into().unwrap()).to_string());
                oids.collect::<Vec<_>>().join(",")
            }
            _ => return self.kind.to_string(),
        };
        format!("{}({detail})", self.kind)
    }

    /// Name, type, modifier and format of each column of a RowDescription.
    pub fn columns(&self) -> Vec<(String, u32, i32, i16)> {
        assert_eq!(self.kind, 'T', "{self:?}");
        let mut rest = &self.body[2..];
        let mut columns = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == 0).unwrap();
            let name = String::from_utf8_lossy(&rest[..end]).into_owned();
            let fixed = &rest[end + 1..];
            let number = |from: usize| i32::from_be_bytes(fixed[from..from + 4].try_into().unwrap());
            let format = i16::from_be_bytes(fixed[16..18].try_into().unwrap());
            columns.push((name, number(6) as u32, number(12), format));
            rest = &fixed[18..];
        }
        columns
    }
}

pub fn short(messages: &[Message]) -> String {
    messages.iter().map(Message::short).collect::<Vec<_>>().join(" ")
}

/// A connection.
pub struct Raw {
    pub stream: TcpStream,
    pub pid: i32,
    pub secret: i32,
}

pub fn start_up(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend(format!("{name}\0{value}\0").bytes());
    }
    body.push(0);
    let mut message = (body.len() as u32 + 4).to_be_bytes().to_vec();
    message.extend(body);
    message
}

/// A message with its type and length.
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    message
}

pub fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', format!("{sql}\0").as_bytes())
}

pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = format!("{name}\0{sql}\0").into_bytes();
    body.extend((types.len() as u16).to_be_bytes());
    body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
    frame(b'P', &body)
}

/// Bind with text parameters and one result format for all columns.
pub fn bind(portal: &str, statement: &str, parameters: &[Option<&str>], result_format: u16) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0").into_bytes();
    body.extend(0_u16.to_be_bytes());
    body.extend((parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        match parameter {
            Some(text) => {
                body.extend((text.len() as u32).to_be_bytes());
                body.extend(text.bytes());
            }
            None => body.extend((-1_i32).to_be_bytes()),
        }
    }
    body.extend(1_u16.to_be_bytes());
    body.extend(result_format.to_be_bytes());
    frame(b'B', &body)
}

pub fn describe(kind: char, name: &str) -> Vec<u8> {
    frame(b'D', format!("{kind}{name}\0").as_bytes())
}

pub fn close(kind: char, name: &str) -> Vec<u8> {
    frame(b'C', format!("{kind}{name}\0").as_bytes())
}

pub fn execute(portal: &str, max_rows: u32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.extend(max_rows.to_be_bytes());
    frame(b'E', &body)
}

pub fn sync() -> Vec<u8> {
    frame(b'S', &[])
}

impl Raw {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Raw {
            stream,
            pid: 0,
            secret: 0,
        }
    }

    /// A connection that was let in without a password.
    pub async fn session(address: SocketAddr, parameters: &[(&str, &str)]) -> Self {
        let mut raw = Self::connect(address).await;
        let messages = raw.start(parameters).await;
        assert_eq!(messages.last().unwrap().kind, 'Z', "{messages:?}");
        raw
    }

    /// Sends a start-up message and reads up to ReadyForQuery or an error.
    pub async fn start(&mut self, parameters: &[(&str, &str)]) -> Vec<Message> {
        self.send(&start_up(196_608, parameters)).await;
        let messages = self.until(|message| matches!(message.kind, 'Z' | 'E')).await;
        for message in &messages {
            if message.kind == 'K' {
                self.pid = i32::from_be_bytes(message.body[..4].try_into().unwrap());
                self.secret = i32::from_be_bytes(message.body[4..].try_into().unwrap());
            }
        }
        messages
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next message; None at the end of the stream.
    pub async fn next(&mut self) -> Option<Message> {
        let kind = self.stream.read_u8().await.ok()?;
        let length = self.stream.read_u32().await.ok()?;
        let mut body = vec![0; length as usize - 4];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Message {
            kind: char::from(kind),
            body,
        })
    }

    pub async fn until(&mut self, last: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            let done = last(&message);
            messages.push(message);
            if done {
                break;
            }
        }
        messages
    }

    /// Sends and reads up to ReadyForQuery.
    pub async fn ask(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.send(bytes).await;
        self.until(|message| message.kind == 'Z').await
    }

    /// As [`Raw::ask`] with a simple query, in short.
    pub async fn simple(&mut self, sql: &str) -> String {
        short(&self.ask(&query(sql)).await)
    }

    /// As [`Raw::ask`], in short.
    pub async fn asked(&mut self, messages: &[Vec<u8>]) -> String {
        short(&self.ask(&messages.concat()).await)
    }

    /// A cancel request on a connection of its own.
    pub async fn cancel(address: SocketAddr, pid: i32, secret: i32) {
        let mut raw = Self::connect(address).await;
        let mut request = 16_u32.to_be_bytes().to_vec();
        request.extend(80_877_102_u32.to_be_bytes());
        request.extend(pid.to_be_bytes());
        request.extend(secret.to_be_bytes());
        raw.send(&request).await;
        // the server says nothing and hangs up
        assert_eq!(raw.next().await, None);
    }
}
