//! Names, labels and annotations, by the rules of Kubernetes.

use serde_json::Value;

use super::{Problem, schema};
use crate::{manifest::join, text::excerpt};

/// Fields of `metadata` that a manifest may carry; those that a server fills are read and kept.
const FIELDS: [&str; 15] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "selfLink",
];

pub(super) fn check(object: &Value) -> Vec<Problem> {
    let Some(metadata) = object.get("metadata") else {
        return vec![Problem::invalid("metadata.name", "metadata.name is required")];
    };
    let Value::Object(fields) = metadata else {
        return vec![Problem::invalid(
            "metadata",
            "metadata must be a mapping with at least a name",
        )];
    };
    let mut problems = Vec::new();
    for key in fields.keys().filter(|key| !FIELDS.contains(&key.as_str())) {
        problems.push(schema::unknown_field(
            "metadata",
            key,
            FIELDS[..4].iter().copied(),
        ));
    }
    match fields.get("name") {
        Some(Value::String(name)) => {
            if !is_subdomain(name) {
                let name = excerpt(name);
                problems.push(Problem::invalid(
                    "metadata.name",
                    format!(
                        "\"{name}\" is not a name: at most 253 lower-case letters, digits, - and ., beginning and ending with a letter or digit"
                    ),
                ));
            }
        }
        Some(_) => problems.push(Problem::invalid("metadata.name", "metadata.name must be a text")),
        None => problems.push(Problem::invalid("metadata.name", "metadata.name is required")),
    }
    match fields.get("namespace") {
        Some(Value::String(name)) if !is_label(name) => problems.push(Problem::invalid(
            "metadata.namespace",
            format!(
                "\"{}\" is not a namespace: at most 63 lower-case letters, digits and -, beginning and ending with a letter or digit",
                excerpt(name)
            ),
        )),
        Some(Value::String(_)) | None => {}
        Some(_) => problems.push(Problem::invalid("metadata.namespace", "metadata.namespace must be a text")),
    }
    for field in ["labels", "annotations"] {
        let path = join("metadata", field);
        match fields.get(field) {
            Some(Value::Object(entries)) => {
                for (key, value) in entries.iter().filter(|(_, value)| !value.is_string()) {
                    problems.push(Problem::invalid(
                        join(&path, key),
                        format!("must be a text, not {}; quote it", schema::describe(value)),
                    ));
                }
            }
            None => {}
            Some(_) => problems.push(Problem::invalid(
                path,
                format!("metadata.{field} must be a mapping"),
            )),
        }
    }
    problems
}

/// RFC 1123 label.
fn is_label(text: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(inner)
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

/// RFC 1123 subdomain: labels joined by dots; its labels may be longer than 63.
fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            let bytes = part.as_bytes();
            !bytes.is_empty()
                && bytes
                    .iter()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
                && bytes.first() != Some(&b'-')
                && bytes.last() != Some(&b'-')
        })
}
