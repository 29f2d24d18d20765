use std::{
    fmt::Write as _,
    io,
    sync::{Arc, RwLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::SecretValue;

/// What stands where a secret value stood.
pub const REDACTED: &str = "[redacted]";

/// A shorter value is replaced only where it stands alone: replacing every `ab` would destroy every text.
const SHORT: usize = 4;

/// Keys that name or prove a public identity. Their values help a person to act and are not hidden.
const PUBLIC_KEYS: [&str; 4] = ["username", "user", "ca.crt", "tls.crt"];

/// The secret values this process has seen; replaces them in any text, also in the encoded forms in which they
/// reach messages (URL, form, JSON and base64).
///
/// Cheap to clone: all clones share one registry.
#[derive(Clone, Default)]
pub struct Redactor {
    patterns: Arc<RwLock<Vec<Zeroizing<String>>>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Redactor")
    }
}

impl Redactor {
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers the value of a secret's key, unless the key is one that holds a public name or certificate.
    pub fn register_key(&self, key: &str, value: &SecretValue) {
        if !PUBLIC_KEYS.contains(&key) {
            self.register(value);
        }
    }

    /// Registers a value. An empty or blank one hides nothing and is ignored.
    pub fn register(&self, value: &SecretValue) {
        let text = value.expose().trim();
        if text.is_empty() {
            return;
        }
        let mut patterns = self
            .patterns
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if patterns.iter().any(|pattern| pattern.as_str() == text) {
            return;
        }
        for form in forms(text) {
            if !patterns.contains(&form) {
                patterns.push(form);
            }
        }
        // A value that contains another one must go first, else its rest would stay readable.
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
    }

    pub fn redact(&self, text: &str) -> String {
        let patterns = self
            .patterns
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut clean = text.to_owned();
        for pattern in patterns.iter() {
            if !clean.contains(pattern.as_str()) {
                continue;
            }
            clean = if pattern.len() < SHORT {
                replace_alone(&clean, pattern)
            } else {
                clean.replace(pattern.as_str(), REDACTED)
            };
        }
        clean
    }

    /// Whether `text` holds a registered value.
    pub fn finds_in(&self, text: &str) -> bool {
        self.redact(text) != text
    }

    /// Cleans the members `message`, `detail`, `note` and `error` of a JSON value, at any depth.
    ///
    /// Other members are written by code from names and enums; replacing inside them would break references when
    /// somebody's password is the name of a table.
    pub(crate) fn redact_messages(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, member) in members {
                    match member {
                        serde_json::Value::String(text)
                            if matches!(name.as_str(), "message" | "detail" | "note" | "error") =>
                        {
                            *text = self.redact(text);
                        }
                        _ => self.redact_messages(member),
                    }
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.redact_messages(item)),
            _ => {}
        }
    }

    /// A writer that cleans each buffer before it goes on; for log formatters, which write one line at a time.
    pub fn writer<W: io::Write>(&self, inner: W) -> RedactingWriter<W> {
        RedactingWriter {
            redactor: self.clone(),
            inner,
        }
    }
}

/// See [`Redactor::writer`].
#[derive(Debug)]
pub struct RedactingWriter<W> {
    redactor: Redactor,
    inner: W,
}

impl<W: io::Write> io::Write for RedactingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let clean = self.redactor.redact(&String::from_utf8_lossy(buffer));
        self.inner.write_all(clean.as_bytes())?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// `text` and its encodings, without repeats of `text` itself.
fn forms(text: &str) -> Vec<Zeroizing<String>> {
    // RFC 3986 unreserved; the user-info set of the WHATWG URL standard keeps the sub-delimiters; form encoding.
    let strict = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let userinfo = |byte: u8| strict(byte) || b"!$&'()*+,%".contains(&byte);
    let form = |byte: u8| byte.is_ascii_alphanumeric() || b"*-._".contains(&byte);
    let json = serde_json::to_string(text).unwrap_or_default();
    let mut forms = vec![
        text.to_owned(),
        percent(text, strict, true),
        percent(text, strict, false),
        percent(text, userinfo, true),
        percent(text, form, true).replace("%20", "+"),
        json.get(1..json.len().saturating_sub(1))
            .unwrap_or_default()
            .to_owned(),
        STANDARD.encode(text),
    ];
    // Logs and errors often show one line of a key file.
    if text.contains('\n') {
        forms.extend(
            text.lines()
                .map(str::trim)
                .filter(|line| line.len() >= 16 && !line.starts_with("-----"))
                .map(str::to_owned),
        );
    }
    forms.retain(|form| !form.is_empty());
    forms.dedup();
    forms.into_iter().map(Zeroizing::new).collect()
}

fn percent(text: &str, keep: impl Fn(u8) -> bool, upper: bool) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        // Writing to a String cannot fail.
        let _ = if keep(byte) {
            encoded.push(byte as char);
            Ok(())
        } else if upper {
            write!(encoded, "%{byte:02X}")
        } else {
            write!(encoded, "%{byte:02x}")
        };
    }
    encoded
}

fn replace_alone(text: &str, pattern: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut end = 0;
    for (start, found) in text.match_indices(pattern) {
        let before = text[..start]
            .chars()
            .next_back()
            .is_some_and(char::is_alphanumeric);
        let after = text[start + found.len()..]
            .chars()
            .next()
            .is_some_and(char::is_alphanumeric);
        if !before && !after {
            clean.push_str(&text[end..start]);
            clean.push_str(REDACTED);
            end = start + found.len();
        }
    }
    clean.push_str(&text[end..]);
    clean
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_encoding_of_a_canary_is_replaced() {
        let canary = "c@nary/ 7\"x+é\\~!";
        let redactor = Redactor::new();
        redactor.register(&SecretValue::new(canary));
        let json = serde_json::to_string(canary).unwrap();
        for text in [
            format!("password={canary} end"),
            format!("{{\"password\":{json}}}"),
            "postgres://u:c%40nary%2F%207%22x%2B%C3%A9%5C~%21@h/d".to_owned(),
            "postgres://u:c%40nary%2f%207%22x%2b%c3%a9%5c~%21@h/d".to_owned(),
            "postgres://u:c%40nary%2F%207%22x+%C3%A9%5C~!@h/d".to_owned(),
            "p=c%40nary%2F+7%22x%2B%C3%A9%5C%7E%21&q=1".to_owned(),
            STANDARD.encode(canary),
        ] {
            let clean = redactor.redact(&text);
            assert!(clean.contains(REDACTED), "{text} stayed {clean}");
            assert!(!clean.contains("nary"), "{text} became {clean}");
        }
        assert_eq!(redactor.redact("nothing here"), "nothing here");
    }

    #[test]
    fn short_values_are_replaced_only_where_they_stand_alone() {
        let redactor = Redactor::new();
        redactor.register(&SecretValue::new("pw"));
        assert_eq!(
            redactor.redact("user pw, pwd: 'pw'"),
            "user [redacted], pwd: '[redacted]'"
        );
    }

    #[test]
    fn a_value_that_contains_another_leaves_no_rest() {
        let redactor = Redactor::new();
        redactor.register(&SecretValue::new("abcd"));
        redactor.register(&SecretValue::new("abcdefgh"));
        assert_eq!(redactor.redact("x abcdefgh y abcd"), "x [redacted] y [redacted]");
    }

    #[test]
    fn public_keys_stay_readable() {
        let redactor = Redactor::new();
        redactor.register_key("username", &SecretValue::new("analyst"));
        redactor.register_key("password", &SecretValue::new("hunter22"));
        assert_eq!(redactor.redact("analyst: hunter22"), "analyst: [redacted]");
    }

    #[test]
    fn one_line_of_a_key_file_is_replaced() {
        let redactor = Redactor::new();
        redactor.register(&SecretValue::new(
            "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\n-----END KEY-----\n",
        ));
        assert_eq!(
            redactor.redact("bad line MIIEvQIBADANBgkqhkiG9w0B"),
            "bad line [redacted]"
        );
    }

    #[test]
    fn only_free_text_of_a_status_is_cleaned() {
        let redactor = Redactor::new();
        redactor.register(&SecretValue::new("orders"));
        let mut status = serde_json::json!({
            "lastRun": "orders-1", "conditions": [{"type": "Ready", "message": "password orders refused"}]
        });
        redactor.redact_messages(&mut status);
        assert_eq!(
            status,
            serde_json::json!({
                "lastRun": "orders-1",
                "conditions": [{"type": "Ready", "message": "password [redacted] refused"}]
            })
        );
    }

    #[test]
    fn the_writer_cleans_and_reports_the_length_given() {
        let redactor = Redactor::new();
        redactor.register(&SecretValue::new("hunter22"));
        let mut out = Vec::new();
        assert_eq!(redactor.writer(&mut out).write(b"p=hunter22\n").unwrap(), 11);
        assert_eq!(out, b"p=[redacted]\n");
    }

    proptest! {
        #[test]
        fn no_value_survives(value in "\\PC{4,24}", before in "\\PC{0,8}", after in "\\PC{0,8}") {
            prop_assume!(!value.trim().is_empty() && value.trim().len() >= SHORT && !REDACTED.contains(value.trim()));
            let redactor = Redactor::new();
            redactor.register(&SecretValue::new(value.clone()));
            let clean = redactor.redact(&format!("{before} {value} {after}"));
            // What stands around it may spell the value again together with the mark; count, do not search.
            prop_assert!(clean.contains(REDACTED));
        }
    }
}
