//! JSON lines: one object a line.

use std::borrow::Cow;
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A line longer than this is refused: it could not be held in bounded memory.
pub const MAX_LINE_BYTES: usize = 64 << 20;

/// The members of an object with their values as written; of a name that occurs
/// twice the last one counts.
#[derive(Default)]
pub struct Object<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A string that borrows where it holds no escape.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// The content of a string, and any other value as it is written.
pub fn text_of(raw: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    if raw.get().starts_with('"') {
        serde_json::from_str::<Name<'_>>(raw.get()).map(|name| name.0)
    } else {
        Ok(Cow::Borrowed(raw.get()))
    }
}

/// Cuts chunks of bytes into lines.
#[derive(Default)]
pub struct Lines {
    /// The part of the current chunk that has not been given out.
    chunk: Bytes,
    /// The beginning of a line that no chunk has ended yet.
    partial: BytesMut,
    ended: bool,
    /// Number of the line given out last; the first is 1.
    pub number: usize,
}

impl Lines {
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty());
        self.chunk = chunk;
    }

    /// No chunk follows.
    pub fn end(&mut self) {
        self.ended = true;
    }

    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The next line without its end; None when another chunk is needed, or after
    /// the last line.
    ///
    /// # Errors
    /// The line is too long.
    pub fn next_line(&mut self) -> Result<Option<Bytes>, String> {
        let end = self.chunk.iter().position(|byte| *byte == b'\n');
        let line = if let Some(end) = end {
            let line = self.chunk.split_to(end);
            self.chunk.advance(1);
            if self.partial.is_empty() {
                line
            } else {
                self.partial.extend_from_slice(&line);
                self.partial.split().freeze()
            }
        } else {
            self.partial.extend_from_slice(&self.chunk);
            self.chunk.clear();
            if self.partial.len() > MAX_LINE_BYTES {
                return Err(format!(
                    "line {} is longer than {MAX_LINE_BYTES} bytes",
                    self.number + 1
                ));
            }
            if !self.ended || self.partial.is_empty() {
                return Ok(None);
            }
            self.partial.split().freeze()
        };
        self.number += 1;
        let line = if self.number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.slice(3..)
        } else {
            line
        };
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, size: usize) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut chunks = text.as_bytes().chunks(size);
        loop {
            while let Some(line) = lines.next_line().unwrap() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
            if lines.is_ended() {
                return found;
            }
            match chunks.next() {
                Some(chunk) => lines.push(Bytes::copy_from_slice(chunk)),
                None => lines.end(),
            }
        }
    }

    #[test]
    fn lines_over_chunks() {
        for size in 1..12 {
            assert_eq!(cut("ab\n\ncd\nlast", size), ["ab", "", "cd", "last"], "{size}");
            assert_eq!(cut("\u{feff}ab\n", size), ["ab"], "{size}");
            assert!(cut("", size).is_empty());
        }
    }

    #[test]
    fn members_as_written() {
        let object: Object<'_> =
            serde_json::from_str(r#"{"a": 1.50, "b\n": "x\u00e9", "c": {"d": [1, 2]}}"#).unwrap();
        let members: Vec<(String, String)> = object
            .0
            .iter()
            .map(|(name, value)| (name.to_string(), text_of(value).unwrap().into_owned()))
            .collect();
        let expected = [("a", "1.50"), ("b\n", "xé"), ("c", "{\"d\": [1, 2]}")];
        assert_eq!(
            members,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert!(serde_json::from_str::<Object<'_>>("[1]").is_err());
    }
}
