//! Parts of a JSON value, as text.

use super::parse::{self, Kind, kind, members};
use super::value::Value;
use crate::error::FederationError;

/// The member of an object, as it is written; of several the last one counts.
pub(crate) fn at_key<'a>(text: &'a str, key: &str) -> Result<Option<&'a str>, FederationError> {
    if kind(text) != Kind::Object {
        return Ok(None);
    }
    let members = members(text)?;
    Ok(members
        .into_iter()
        .rev()
        .find(|(name, _)| name.as_deref() == Some(key))
        .map(|(_, raw)| raw))
}

/// The element of an array; a negative index counts from the end.
pub(crate) fn at_index(text: &str, index: i64) -> Result<Option<&str>, FederationError> {
    if kind(text) != Kind::Array {
        return Ok(None);
    }
    let elements = members(text)?;
    let at = if index < 0 {
        elements
            .len()
            .checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX))
    } else {
        usize::try_from(index).ok()
    };
    Ok(at.and_then(|at| elements.get(at)).map(|(_, raw)| *raw))
}

/// What a path of keys and indexes leads to.
pub(crate) fn at_path<'a>(text: &'a str, path: &[String]) -> Result<Option<&'a str>, FederationError> {
    let mut current = text.trim();
    for step in path {
        let next = match kind(current) {
            Kind::Object => at_key(current, step)?,
            Kind::Array => match step.trim().parse() {
                Ok(index) => at_index(current, index)?,
                Err(_) => None,
            },
            _ => None,
        };
        match next {
            Some(next) => current = next,
            None => return Ok(None),
        }
    }
    Ok(Some(current))
}

/// The text of a value: a string without its quotes, None of `null`, anything else as it is.
pub(crate) fn text_of(raw: &str) -> Result<Option<String>, FederationError> {
    Ok(match kind(raw) {
        Kind::Null => None,
        Kind::String => match parse::parse(raw)? {
            Value::String(text) => Some(text),
            _ => None,
        },
        _ => Some(raw.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_parts() {
        let text = r#"{"a": [1, {"b": "x"}], "a2": null}"#;
        let path = |steps: &[&str]| {
            let steps: Vec<String> = steps.iter().map(|step| (*step).to_owned()).collect();
            at_path(text, &steps).unwrap()
        };
        assert_eq!(path(&["a", "1", "b"]), Some("\"x\""));
        assert_eq!(path(&["a", "-1"]), Some("{\"b\": \"x\"}"));
        assert_eq!(path(&["a", "x"]), None);
        assert_eq!(path(&["a2"]), Some("null"));
        assert_eq!(path(&[]), Some(text));
        assert_eq!(text_of("\"a\\nb\"").unwrap().as_deref(), Some("a\nb"));
        assert_eq!(text_of("null").unwrap(), None);
        assert_eq!(text_of("{\"a\": 1}").unwrap().as_deref(), Some("{\"a\": 1}"));
    }
}
