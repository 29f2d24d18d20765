//! `kind: Secret` manifests: the same files that Kubernetes takes.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{Key, SecretValue};

/// One Secret manifest, decoded. Never persisted.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretManifest {
    pub key: Key,

    /// Where it stands, below the folder.
    pub file: String,

    /// `None`: the key is there, but its bytes are not UTF-8.
    pub values: BTreeMap<String, Option<SecretValue>>,
}

/// What is wrong with a Secret manifest: the field and a message that never holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretProblem {
    pub field: String,

    pub message: String,
}

/// The Secret manifests of a folder, and those that are defined twice.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct SecretManifests {
    pub secrets: BTreeMap<Key, SecretManifest>,

    /// Secrets that cannot be used, with the reason.
    pub rejected: BTreeMap<Key, String>,
}

impl SecretManifests {
    /// Keeps the values of `previous` for secrets whose newest edit cannot be used. `is_hidden` says whether a
    /// file may hold documents that could not be read.
    pub fn keep_last_good(&mut self, previous: &Self, is_hidden: impl Fn(&str) -> bool) {
        for (key, secret) in &previous.secrets {
            if !self.secrets.contains_key(key) && (self.rejected.contains_key(key) || is_hidden(&secret.file))
            {
                self.secrets.insert(key.clone(), secret.clone());
            }
        }
    }
}

impl SecretManifest {
    /// Reads `data` (base64) and `stringData` (text, wins), as Kubernetes does.
    pub fn parse(key: Key, file: &str, value: &Value) -> Result<Self, SecretProblem> {
        let problem = |field: &str, message: &str| SecretProblem {
            field: field.into(),
            message: message.into(),
        };
        let mut values = BTreeMap::new();
        if let Some(data) = value.get("data").filter(|data| !data.is_null()) {
            let data = data
                .as_object()
                .ok_or_else(|| problem("data", "must be a map of base64 texts"))?;
            for (name, encoded) in data {
                let field = format!("data.{name}");
                let encoded = encoded
                    .as_str()
                    .ok_or_else(|| problem(&field, "must be a base64 text"))?
                    .replace(['\n', ' '], "");
                let bytes = STANDARD
                    .decode(encoded)
                    .map_err(|_| problem(&field, "is not base64: encode it, or write it under stringData"))?;
                values.insert(name.clone(), String::from_utf8(bytes).ok().map(SecretValue::new));
            }
        }
        if let Some(data) = value.get("stringData").filter(|data| !data.is_null()) {
            let data = data
                .as_object()
                .ok_or_else(|| problem("stringData", "must be a map of texts"))?;
            for (name, text) in data {
                let text = text
                    .as_str()
                    .ok_or_else(|| problem(&format!("stringData.{name}"), "must be a text: quote it"))?;
                values.insert(name.clone(), Some(SecretValue::new(text)));
            }
        }
        Ok(Self {
            key,
            file: file.to_owned(),
            values,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_data_and_string_data() {
        let secret = SecretManifest::parse(
            Key::named("shop"),
            "a.yaml",
            &json!({"data": {"password": "aHVudGVyMg==", "both": "YQ==", "raw": "/w=="}, "stringData": {"both": "b"}}),
        )
        .unwrap_or_else(|problem| panic!("{problem:?}"));
        let text = |key: &str| secret.values[key].as_ref().map(|value| value.expose().to_owned());
        assert_eq!(text("password").as_deref(), Some("hunter2"));
        assert_eq!(text("both").as_deref(), Some("b"));
        assert_eq!(text("raw"), None);
    }

    #[test]
    fn problems_name_the_key_and_not_the_value() {
        for (value, field) in [
            (json!({"data": {"password": "hunter2!"}}), "data.password"),
            (json!({"data": {"password": 12_345}}), "data.password"),
            (json!({"stringData": {"pin": 12_345}}), "stringData.pin"),
            (json!({"data": "hunter2"}), "data"),
        ] {
            let problem = SecretManifest::parse(Key::named("shop"), "a.yaml", &value)
                .err()
                .unwrap();
            assert_eq!(problem.field, field);
            assert!(!problem.message.contains("hunter2") && !problem.message.contains("12345"));
        }
    }
}
