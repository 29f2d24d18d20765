//! Whether a manifest is valid. One function serves every home: a folder, the command line and
//! the operator on Kubernetes, so that all of them accept and refuse the same manifests.
//!
//! In order: what it is (apiVersion, kind, name), unknown fields, the schema, the CEL rules of the
//! schema (the same text the API server runs), and what neither can express: cron, time zones,
//! names that must agree.

mod metadata;
mod schema;
mod semantic;
mod set;
mod unserved;

use std::{collections::HashSet, fmt};

use serde_json::Value;

pub use self::{
    set::{SetProblem, validate_set},
    unserved::unserved,
};
use crate::{API_VERSION, AnyResource, GROUP, Kind, conditions::Reason, text::excerpt};

/// What is wrong with a manifest, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// Path of the field, such as `spec.schedule.cron`; empty for the whole object.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
    /// One word.
    pub reason: Reason,
}

impl Problem {
    /// A problem of a field.
    pub fn new(field: impl Into<String>, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            reason,
        }
    }

    /// A problem of the manifest itself.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(field, Reason::InvalidSpec, message)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            formatter.write_str(&self.message)
        } else {
            write!(formatter, "{}: {}", self.field, self.message)
        }
    }
}

/// Problems as one line, for a condition's message.
pub fn summary(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Reads and checks an object. `old` is the version it replaces: with it, fields that are
/// immutable must not differ. A `status` in the manifest is ignored, as the API server does.
///
/// # Errors
/// Every problem found, in the order of the checks; never empty.
pub fn validate(value: &Value, old: Option<&Value>) -> Result<AnyResource, Vec<Problem>> {
    let kind = match identify(value) {
        Ok(kind) => kind,
        Err(problem) => return Err(vec![problem]),
    };
    let object = schema::normalize(kind, value);
    let mut problems = metadata::check(&object);
    problems.extend(schema::unknown_fields(kind, &object));
    let violations = schema::violations(kind, &object);
    // Rules assume values of the right type and size, so the API server skips them then, too.
    let well_formed = violations.is_empty();
    problems.extend(violations);
    if well_formed && object["metadata"]["name"].is_string() {
        let old = old.map(|old| schema::normalize(kind, old));
        problems.extend(schema::rules(kind, &object, old.as_ref()));
    }
    match AnyResource::from_value(kind, object) {
        Ok(resource) => {
            problems.extend(semantic::check(&resource));
            // A rule of the schema that is coarse (CEL knows no days) may be stated exactly again.
            let mut seen = HashSet::new();
            problems.retain(|problem| seen.insert(problem.clone()));
            if problems.is_empty() {
                Ok(resource)
            } else {
                Err(problems)
            }
        }
        Err(error) => {
            // The checks above name the field of everything that the types refuse.
            if problems.is_empty() {
                problems.push(Problem::invalid("spec", error.to_string()));
            }
            Err(problems)
        }
    }
}

fn identify(value: &Value) -> Result<Kind, Problem> {
    let text = |field: &str| match value.get(field) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
        Some(Value::Null) | None => Err(Problem::invalid(field, format!("{field} is required"))),
        Some(_) => Err(Problem::invalid(field, format!("{field} must be a text"))),
    };
    if !value.is_object() {
        return Err(Problem::invalid(
            "",
            "a manifest is a mapping with apiVersion, kind, metadata and spec",
        ));
    }
    let version = text("apiVersion")?;
    if version != API_VERSION {
        let shown = excerpt(version);
        let message = if version.split('/').next() == Some(GROUP) {
            format!("\"{shown}\" is not a served version; write {API_VERSION}")
        } else {
            format!("\"{shown}\" is not Lakegate's; write {API_VERSION}")
        };
        return Err(Problem::invalid("apiVersion", message));
    }
    let word = text("kind")?;
    Kind::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
        let hint = schema::nearest(word, Kind::ALL.iter().map(|kind| kind.as_str()))
            .map_or_else(String::new, |kind| format!("; did you mean \"{kind}\"?"));
        let word = excerpt(word);
        Problem::invalid(
            "kind",
            format!(
                "\"{word}\" is not a kind of {GROUP}: those are DataSource, Export, ExportRun, RetentionPolicy and View{hint}"
            ),
        )
    })
}
