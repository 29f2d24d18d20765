//! Reading JSON.

use super::value::Value;
use crate::error::{Cause, FederationError};

/// How deep values may nest: they are walked by recursion.
const DEPTH: usize = 500;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl Kind {
    /// As `json_typeof` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Null => "null",
        }
    }
}

/// The kind of a valid text, by its first character.
pub(crate) fn kind(text: &str) -> Kind {
    match text.trim_start().bytes().next() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}

fn wrong() -> FederationError {
    Cause::Value {
        sqlstate: "22P02",
        message: "invalid input syntax for type json".into(),
    }
    .into()
}

/// Whether a text is JSON.
///
/// # Errors
/// 22P02 if not.
pub(crate) fn check(text: &str) -> Result<(), FederationError> {
    let mut scanner = Scanner::new(text);
    scanner.skip_value(0)?;
    scanner.end()
}

/// The value of a text.
///
/// # Errors
/// 22P02, 54001.
pub(crate) fn parse(text: &str) -> Result<Value, FederationError> {
    let mut scanner = Scanner::new(text);
    let value = scanner.value(0)?;
    scanner.end()?;
    Ok(value)
}

/// The members of a valid object (key, raw text) or the elements of an array (no key), in order; none of a scalar.
///
/// # Errors
/// 22P02.
pub(crate) fn members(text: &str) -> Result<Vec<(Option<String>, &str)>, FederationError> {
    let mut scanner = Scanner::new(text);
    scanner.blanks();
    let mut members = Vec::new();
    match scanner.peek() {
        Some(b'{') => {
            scanner.at += 1;
            scanner.sequence(b'}', |scanner| {
                let key = scanner.string()?;
                scanner.expect(b':')?;
                let raw = scanner.raw()?;
                members.push((Some(key), raw));
                Ok(())
            })?;
        }
        Some(b'[') => {
            scanner.at += 1;
            scanner.sequence(b']', |scanner| {
                members.push((None, scanner.raw()?));
                Ok(())
            })?;
        }
        _ => {}
    }
    Ok(members)
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn end(&mut self) -> Result<(), FederationError> {
        self.blanks();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(wrong())
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), FederationError> {
        self.blanks();
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(wrong())
        }
    }

    fn word(&mut self, word: &str) -> Result<(), FederationError> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            if self
                .peek()
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            {
                return Err(wrong());
            }
            Ok(())
        } else {
            Err(wrong())
        }
    }

    /// What stands between commas, up to the closing bracket.
    fn sequence(
        &mut self,
        close: u8,
        mut each: impl FnMut(&mut Self) -> Result<(), FederationError>,
    ) -> Result<(), FederationError> {
        self.blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.blanks();
            each(self)?;
            self.blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(wrong()),
            }
        }
    }

    /// The text of the value that begins here.
    fn raw(&mut self) -> Result<&'a str, FederationError> {
        self.blanks();
        let from = self.at;
        self.skip_value(0)?;
        Ok(&self.text[from..self.at])
    }

    fn skip_value(&mut self, depth: usize) -> Result<(), FederationError> {
        if depth > DEPTH {
            return Err(too_deep());
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                self.sequence(b'}', |scanner| {
                    scanner.skip_string()?;
                    scanner.expect(b':')?;
                    scanner.skip_value(depth + 1)
                })
            }
            Some(b'[') => {
                self.at += 1;
                self.sequence(b']', |scanner| scanner.skip_value(depth + 1))
            }
            Some(b'"') => self.skip_string(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.number().map(|_| ()),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, FederationError> {
        if depth > DEPTH {
            return Err(too_deep());
        }
        self.blanks();
        Ok(match self.peek() {
            Some(b'{') => {
                self.at += 1;
                let mut members = Vec::new();
                self.sequence(b'}', |scanner| {
                    let key = scanner.string()?;
                    scanner.expect(b':')?;
                    members.push((key, scanner.value(depth + 1)?));
                    Ok(())
                })?;
                Value::Object(members)
            }
            Some(b'[') => {
                self.at += 1;
                let mut elements = Vec::new();
                self.sequence(b']', |scanner| {
                    elements.push(scanner.value(depth + 1)?);
                    Ok(())
                })?;
                Value::Array(elements)
            }
            Some(b'"') => Value::String(self.string()?),
            Some(b't') => {
                self.word("true")?;
                Value::Boolean(true)
            }
            Some(b'f') => {
                self.word("false")?;
                Value::Boolean(false)
            }
            Some(b'n') => {
                self.word("null")?;
                Value::Null
            }
            _ => Value::Number(self.number()?.to_owned()),
        })
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Result<&'a str, FederationError> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.peek();
        let whole = self.digits();
        // 01 is no number
        if whole == 0 || (whole > 1 && first == Some(b'0')) {
            return Err(wrong());
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(wrong());
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(wrong());
            }
        }
        if self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(wrong());
        }
        Ok(&self.text[from..self.at])
    }

    fn skip_string(&mut self) -> Result<(), FederationError> {
        self.blanks();
        if self.peek() != Some(b'"') {
            return Err(wrong());
        }
        self.at += 1;
        loop {
            match self.peek().ok_or_else(wrong)? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => match self.text.as_bytes().get(self.at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                    Some(b'u') => {
                        self.code_unit(self.at + 2)?;
                        self.at += 6;
                    }
                    _ => return Err(wrong()),
                },
                control if control < 0x20 => return Err(wrong()),
                _ => self.at += 1,
            }
        }
    }

    fn code_unit(&self, at: usize) -> Result<u32, FederationError> {
        let digits = self.text.get(at..at + 4).ok_or_else(wrong)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u32::from_str_radix(digits, 16).map_err(|_| wrong())
    }

    /// A string with its escapes resolved.
    fn string(&mut self) -> Result<String, FederationError> {
        self.blanks();
        let from = self.at + 1;
        self.skip_string()?;
        let raw = &self.text[from..self.at - 1];
        if !raw.contains('\\') {
            return Ok(raw.to_owned());
        }
        let mut text = String::with_capacity(raw.len());
        let mut at = from;
        let end = self.at - 1;
        while at < end {
            let rest = &self.text[at..end];
            let Some(character) = rest.chars().next() else {
                break;
            };
            if character != '\\' {
                text.push(character);
                at += character.len_utf8();
                continue;
            }
            at += 2;
            match rest.as_bytes().get(1) {
                Some(b'b') => text.push('\u{8}'),
                Some(b'f') => text.push('\u{c}'),
                Some(b'n') => text.push('\n'),
                Some(b'r') => text.push('\r'),
                Some(b't') => text.push('\t'),
                Some(b'u') => {
                    let mut unit = self.code_unit(at)?;
                    at += 4;
                    if (0xd800..0xdc00).contains(&unit) {
                        // the second half of a pair
                        if !self.text[at..end].starts_with("\\u") {
                            return Err(wrong());
                        }
                        let low = self.code_unit(at + 2)?;
                        at += 6;
                        if !(0xdc00..0xe000).contains(&low) {
                            return Err(wrong());
                        }
                        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    }
                    if unit == 0 {
                        return Err(Cause::Value {
                            sqlstate: "22P05",
                            message:
                                "unsupported Unicode escape sequence: \\u0000 cannot be converted to text"
                                    .into(),
                        }
                        .into());
                    }
                    text.push(char::from_u32(unit).ok_or_else(wrong)?);
                }
                Some(other) => text.push(char::from(*other)),
                None => return Err(wrong()),
            }
        }
        Ok(text)
    }
}

fn too_deep() -> FederationError {
    Cause::TooComplex {
        message: format!("a JSON value nests deeper than {DEPTH} levels"),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_is_json() {
        for text in [
            "1",
            "-0.5e+3",
            "\"a\\u00e9\"",
            "[]",
            "{}",
            " [1, {\"a\": null}] ",
            "true",
            "0",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "01",
            "1.",
            "tru",
            "{a: 1}",
            "{\"a\" 1}",
            "[1,]",
            "\"\\x\"",
            "\"a",
            "1 2",
            "nul",
            "+1",
            "\"\u{1}\"",
            "truely",
        ] {
            assert_eq!(check(text).unwrap_err().sqlstate(), "22P02", "{text}");
        }
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(check(&deep).unwrap_err().sqlstate(), "54001");
    }

    #[test]
    fn escapes_are_resolved() {
        let Ok(Value::String(text)) = parse(r#""a\n\u00e9\ud83d\ude00\"""#) else {
            panic!("a string")
        };
        assert_eq!(text, "a\né😀\"");
    }

    #[test]
    fn members_keep_their_text() {
        assert_eq!(
            members(r#"{"a": [1,  2], "b":"x"}"#).unwrap(),
            [(Some("a".to_owned()), "[1,  2]"), (Some("b".to_owned()), "\"x\"")]
        );
        assert_eq!(members("[1, null]").unwrap(), [(None, "1"), (None, "null")]);
        assert_eq!(members("5").unwrap(), []);
    }
}
