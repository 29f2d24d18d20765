//! How messages show what a manifest says, and how schemas show enums.

use schemars::Schema;
use serde_json::{Value, json};

/// Longest text of a manifest that a message repeats, in characters.
const EXCERPT: usize = 64;

/// A text as a message repeats it: cut where it is long, because messages go into statuses,
/// events and logs.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Rewrites the schema of an enum whose variants have doc comments to the plain list of its
/// values. An optional field would else show the enum's description instead of its own.
pub(crate) fn plain_enum(schema: &mut Schema) {
    let object = schema.ensure_object();
    if let Some(Value::Array(variants)) = object.remove("oneOf") {
        let values: Vec<Value> = variants
            .iter()
            .flat_map(|variant| match (variant.get("const"), variant.get("enum")) {
                (Some(value), _) => vec![value.clone()],
                (None, Some(Value::Array(values))) => values.clone(),
                _ => Vec::new(),
            })
            .collect();
        object.insert("type".to_owned(), json!("string"));
        object.insert("enum".to_owned(), Value::Array(values));
    }
}
