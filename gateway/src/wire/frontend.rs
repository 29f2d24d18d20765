//! Messages of the client.
//!
//! A frame is taken apart only once it has arrived whole, and every length in it is checked against the
//! frame: a malformed message is an error of that message (08P01), never a misread of the next one.

use bytes::{Buf, Bytes, BytesMut};

use crate::encode::Format;
use crate::fault::Fault;

/// Largest message of a client that has not authenticated (as PostgreSQL's `PQ_SMALL_MESSAGE_LIMIT`).
pub const SMALL_MESSAGE: usize = 10_000;
/// Largest message of all: a statement or the parameters of one.
pub const LARGE_MESSAGE: usize = 64 << 20;

/// What Describe and Close name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

/// The fields of Bind.
#[derive(Debug, PartialEq, Eq)]
pub struct Bind {
    /// The portal to make; empty for the unnamed one.
    pub portal: String,
    /// The prepared statement it is made of.
    pub statement: String,
    /// The formats of the parameters, as [`crate::encode::format_of`] reads them.
    pub parameter_formats: Vec<Format>,
    /// The parameters; None is NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// The formats of the result columns.
    pub result_formats: Vec<Format>,
}

/// A message of the client after start-up.
#[derive(Debug, PartialEq, Eq)]
pub enum Frontend {
    /// Simple query.
    Query(String),
    /// Prepare a statement.
    Parse {
        /// Empty for the unnamed statement.
        name: String,
        /// Its text.
        sql: String,
        /// Types of the first parameters; 0 leaves one open.
        types: Vec<u32>,
    },
    /// Make a portal.
    Bind(Bind),
    /// Ask for the types of a statement or portal.
    Describe(Target, String),
    /// Run a portal.
    Execute {
        /// Empty for the unnamed portal.
        portal: String,
        /// Stop after as many rows; None means all.
        max_rows: Option<u64>,
    },
    /// Forget a statement or portal.
    Close(Target, String),
    /// End of a pipeline.
    Sync,
    /// Send what there is.
    Flush,
    /// The client leaves.
    Terminate,
    /// Password or SASL message.
    Password(Bytes),
    /// Data, end or failure of a COPY FROM, which is never in progress here.
    Copy,
    /// The old function call protocol.
    FunctionCall,
    /// A message that could not be read; `extended` says which protocol it belongs to.
    Malformed {
        /// Whether the client now waits for the answer to a Sync.
        extended: bool,
        /// What is wrong with it.
        fault: Fault,
    },
}

impl Frontend {
    /// Whether an error in this message is followed by skipping to the next Sync.
    pub fn is_extended(&self) -> bool {
        match self {
            Frontend::Parse { .. }
            | Frontend::Bind(_)
            | Frontend::Describe(..)
            | Frontend::Execute { .. }
            | Frontend::Close(..)
            | Frontend::Flush => true,
            Frontend::Malformed { extended, .. } => *extended,
            _ => false,
        }
    }

    /// Bytes the message holds, for bounding what waits.
    pub fn size(&self) -> usize {
        64 + match self {
            Frontend::Query(sql) | Frontend::Parse { sql, .. } => sql.len(),
            Frontend::Bind(bind) => bind
                .parameters
                .iter()
                .flatten()
                .map(|value| value.len() + 32)
                .sum(),
            Frontend::Password(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// Takes the next whole frame off `buffer`: its type and its body. None means that more bytes are needed.
pub fn split_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<(u8, Bytes)>, Fault> {
    let [kind, a, b, c, d, ..] = buffer[..] else {
        return Ok(None);
    };
    let length = i32::from_be_bytes([a, b, c, d]);
    let small = !matches!(kind, b'Q' | b'P' | b'B' | b'd' | b'F');
    let limit = if small { limit.min(SMALL_MESSAGE) } else { limit };
    match usize::try_from(length) {
        Ok(length) if (4..=limit).contains(&length) => {
            if buffer.len() < length + 1 {
                buffer.reserve(length + 1 - buffer.len());
                return Ok(None);
            }
            let mut frame = buffer.split_to(length + 1).freeze();
            frame.advance(5);
            Ok(Some((kind, frame)))
        }
        _ => Err(Fault::fatal(
            "08P01",
            format!("invalid length {length} of message type {:?}", char::from(kind)),
        )),
    }
}

/// Reads a frame's body.
pub fn parse(kind: u8, body: Bytes) -> Result<Frontend, Fault> {
    let mut reader = Reader { body };
    let extended = matches!(kind, b'P' | b'B' | b'D' | b'E' | b'C' | b'H');
    let parsed = match kind {
        b'Q' => reader.text().map(Frontend::Query),
        b'P' => reader.parse(),
        b'B' => reader.bind(),
        b'D' => reader
            .target()
            .map(|(target, name)| Frontend::Describe(target, name)),
        b'C' => reader
            .target()
            .map(|(target, name)| Frontend::Close(target, name)),
        b'E' => reader.execute(),
        b'S' => Ok(Frontend::Sync),
        b'H' => Ok(Frontend::Flush),
        b'X' => return Ok(Frontend::Terminate),
        b'p' => Ok(Frontend::Password(reader.body.split_off(0))),
        b'd' | b'c' | b'f' => return Ok(Frontend::Copy),
        b'F' => return Ok(Frontend::FunctionCall),
        other => {
            return Err(Fault::fatal(
                "08P01",
                format!("invalid frontend message type {other}"),
            ));
        }
    };
    let whole = parsed.and_then(|message| {
        if reader.body.is_empty() || kind == b'p' {
            Ok(message)
        } else {
            Err(Fault::protocol("invalid message format"))
        }
    });
    Ok(whole.unwrap_or_else(|fault| Frontend::Malformed { extended, fault }))
}

struct Reader {
    body: Bytes,
}

impl Reader {
    fn short() -> Fault {
        Fault::protocol("insufficient data left in message")
    }

    fn text(&mut self) -> Result<String, Fault> {
        let end = self
            .body
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(|| Fault::protocol("invalid string in message"))?;
        let text = self.body.split_to(end);
        self.body.advance(1);
        utf8(&text).map(str::to_owned)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        if self.body.is_empty() {
            Err(Self::short())
        } else {
            Ok(self.body.get_u8())
        }
    }

    fn short_integer(&mut self) -> Result<u16, Fault> {
        if self.body.len() < 2 {
            Err(Self::short())
        } else {
            Ok(self.body.get_u16())
        }
    }

    fn integer(&mut self) -> Result<i32, Fault> {
        if self.body.len() < 4 {
            Err(Self::short())
        } else {
            Ok(self.body.get_i32())
        }
    }

    fn formats(&mut self) -> Result<Vec<Format>, Fault> {
        let count = self.short_integer()?;
        (0..count)
            .map(|_| match self.short_integer()? {
                0 => Ok(Format::Text),
                1 => Ok(Format::Binary),
                other => Err(Fault::error("22023", format!("unsupported format code: {other}"))),
            })
            .collect()
    }

    fn parse(&mut self) -> Result<Frontend, Fault> {
        let (name, sql) = (self.text()?, self.text()?);
        let count = self.short_integer()?;
        let types = (0..count)
            .map(|_| self.integer().map(|oid| oid as u32))
            .collect::<Result<_, _>>()?;
        Ok(Frontend::Parse { name, sql, types })
    }

    fn bind(&mut self) -> Result<Frontend, Fault> {
        let (portal, statement) = (self.text()?, self.text()?);
        let parameter_formats = self.formats()?;
        let count = self.short_integer()?;
        let parameters = (0..count)
            .map(|_| match self.integer()? {
                -1 => Ok(None),
                length => match usize::try_from(length) {
                    Ok(length) if length <= self.body.len() => Ok(Some(self.body.split_to(length))),
                    _ => Err(Self::short()),
                },
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        let result_formats = self.formats()?;
        if parameter_formats.len() > 1 && parameter_formats.len() != parameters.len() {
            return Err(Fault::protocol(format!(
                "bind message has {} parameter formats but {} parameters",
                parameter_formats.len(),
                parameters.len()
            )));
        }
        Ok(Frontend::Bind(Bind {
            portal,
            statement,
            parameter_formats,
            parameters,
            result_formats,
        }))
    }

    fn target(&mut self) -> Result<(Target, String), Fault> {
        let target = match self.byte()? {
            b'S' => Target::Statement,
            b'P' => Target::Portal,
            other => return Err(Fault::protocol(format!("invalid message subtype {other}"))),
        };
        Ok((target, self.text()?))
    }

    fn execute(&mut self) -> Result<Frontend, Fault> {
        let portal = self.text()?;
        let max_rows = u64::try_from(self.integer()?).ok().filter(|rows| *rows > 0);
        Ok(Frontend::Execute { portal, max_rows })
    }
}

/// The text of some bytes.
pub fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or(0);
        Fault::error(
            "22021",
            format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_wait_until_they_are_whole() {
        let mut buffer = BytesMut::from(&b"Q\0\0\0\x0dselect 1"[..]);
        assert_eq!(split_frame(&mut buffer, LARGE_MESSAGE), Ok(None));
        buffer.extend_from_slice(b"\0S\0\0\0\x04");
        let (kind, body) = split_frame(&mut buffer, LARGE_MESSAGE).unwrap().unwrap();
        assert_eq!(parse(kind, body), Ok(Frontend::Query("select 1".into())));
        let (kind, body) = split_frame(&mut buffer, LARGE_MESSAGE).unwrap().unwrap();
        assert_eq!(parse(kind, body), Ok(Frontend::Sync));
        assert_eq!(split_frame(&mut buffer, LARGE_MESSAGE), Ok(None));
    }

    #[test]
    fn impossible_lengths_end_the_session() {
        for frame in [
            &b"Q\0\0\0\x03"[..],
            b"Q\xff\xff\xff\xff",
            b"Q\x7f\xff\xff\xff",
            b"S\0\0\x40\0",
        ] {
            let fault = split_frame(&mut BytesMut::from(frame), LARGE_MESSAGE).unwrap_err();
            assert!(fault.is_fatal() && fault.code == "08P01", "{fault:?}");
        }
    }

    #[test]
    fn malformed_messages_are_errors_of_their_own() {
        let cases: [(u8, &[u8], bool, &str); 6] = [
            (b'Q', b"no end", false, "08P01"),
            (b'Q', b"\xff\0", false, "22021"),
            (b'B', b"\0\0\0\0\0\x01\0\0\0\x09x", true, "08P01"),
            (b'B', b"\0\0\0\x01\0\x07\0\0\0\0", true, "22023"),
            (b'D', b"Zname\0", true, "08P01"),
            (b'E', b"portal\0\0\0", true, "08P01"),
        ];
        for (kind, body, extended, code) in cases {
            match parse(kind, Bytes::copy_from_slice(body)).unwrap() {
                Frontend::Malformed {
                    extended: actual,
                    fault,
                } => {
                    assert_eq!((actual, fault.code), (extended, code), "{body:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(parse(b'?', Bytes::new()).unwrap_err().is_fatal());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in any::<u8>()) {
            let mut buffer = BytesMut::from(&bytes[..]);
            let _ = split_frame(&mut buffer, LARGE_MESSAGE);
            let _ = parse(kind, Bytes::from(bytes));
        }
    }
}
