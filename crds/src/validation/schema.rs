//! The schema pass: unknown fields, types and bounds, uniqueness, and CEL.
//!
//! Everything is driven by the structural schema that the API server gets, so the two agree by
//! construction; only the words differ.

use std::{fmt::Write as _, sync::LazyLock};

use jsonschema::{
    Draft, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::LocationSegment,
};
use kube::core::cel::{CompiledSchema, ErrorKind, compile_schema, validate_compiled};
use serde_json::{Map, Value};

use super::Problem;
use crate::{
    Cpu, Duration, Kind, Memory, duration::DURATION_PATTERN, generated::structural_schema, manifest::join,
    text::excerpt,
};

/// A kind's schema, compiled.
struct Compiled {
    validator: Option<Validator>,
    rules: CompiledSchema,
}

fn compile(kind: Kind) -> Compiled {
    let schema = structural_schema(kind);
    Compiled {
        validator: jsonschema::options()
            .with_draft(Draft::Draft7)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .build(schema)
            .ok(),
        rules: compile_schema(schema),
    }
}

fn compiled(kind: Kind) -> &'static Compiled {
    static DATA_SOURCE: LazyLock<Compiled> = LazyLock::new(|| compile(Kind::DataSource));
    static EXPORT: LazyLock<Compiled> = LazyLock::new(|| compile(Kind::Export));
    static EXPORT_RUN: LazyLock<Compiled> = LazyLock::new(|| compile(Kind::ExportRun));
    static RETENTION_POLICY: LazyLock<Compiled> = LazyLock::new(|| compile(Kind::RetentionPolicy));
    static VIEW: LazyLock<Compiled> = LazyLock::new(|| compile(Kind::View));
    match kind {
        Kind::DataSource => &DATA_SOURCE,
        Kind::Export => &EXPORT,
        Kind::ExportRun => &EXPORT_RUN,
        Kind::RetentionPolicy => &RETENTION_POLICY,
        Kind::View => &VIEW,
    }
}

/// The object without `status` and without nulls, as the API server sees it: it drops a null
/// where the schema does not say `nullable`, and none of ours does.
pub(super) fn normalize(kind: Kind, value: &Value) -> Value {
    let mut object = value.clone();
    if let Value::Object(fields) = &mut object {
        fields.remove("status");
    }
    prune_nulls(&mut object, structural_schema(kind));
    object
}

fn prune_nulls(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (key, value) in fields.iter_mut() {
                let child = schema
                    .get("properties")
                    .and_then(|it| it.get(key))
                    .unwrap_or(&Value::Null);
                prune_nulls(value, child);
            }
        }
        // A null among a list's items stays, and is refused by its type.
        Value::Array(items) => {
            let child = schema.get("items").unwrap_or(&Value::Null);
            items
                .iter_mut()
                .filter(|item| !item.is_null())
                .for_each(|item| prune_nulls(item, child));
        }
        _ => {}
    }
}

/// Fields that the schema does not have, with the nearest one that it has.
pub(super) fn unknown_fields(kind: Kind, object: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Value::Object(fields) = object {
        for (key, value) in fields {
            match key.as_str() {
                "apiVersion" | "kind" | "metadata" => {}
                "spec" => walk_unknown(
                    value,
                    &structural_schema(kind)["properties"]["spec"],
                    key,
                    &mut problems,
                ),
                _ => problems.push(unknown_field("", key, ["metadata", "spec"].into_iter())),
            }
        }
    }
    problems
}

fn walk_unknown(value: &Value, schema: &Value, path: &str, problems: &mut Vec<Problem>) {
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        return;
    }
    match value {
        Value::Object(fields) => {
            let empty = Map::new();
            let properties = schema
                .get("properties")
                .and_then(Value::as_object)
                .unwrap_or(&empty);
            if schema.get("type").and_then(Value::as_str) != Some("object") {
                return;
            }
            for (key, value) in fields {
                match properties.get(key) {
                    Some(child) => walk_unknown(value, child, &join(path, key), problems),
                    None => problems.push(unknown_field(path, key, properties.keys().map(String::as_str))),
                }
            }
        }
        Value::Array(items) => {
            let Some(child) = schema.get("items") else { return };
            for (index, item) in items.iter().enumerate() {
                walk_unknown(item, child, &format!("{path}[{index}]"), problems);
            }
        }
        _ => {}
    }
}

/// The problem of a field that does not exist. Its value is never repeated: it may be a password
/// that was written in the wrong place.
pub(super) fn unknown_field<'a>(
    path: &str,
    key: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Problem {
    let mut message = format!("unknown field \"{}\"", excerpt(key));
    let lower = key.to_ascii_lowercase();
    if let Some(near) = nearest(key, known.clone()) {
        let _ = write!(message, "; did you mean \"{near}\"?");
    } else if ["password", "secret", "token", "accesskey", "apikey"]
        .iter()
        .any(|word| lower.contains(word))
    {
        message.push_str(
            "; a manifest never holds secret values: refer to a Secret, as in credentials.secretRef",
        );
    } else {
        let mut known: Vec<&str> = known.collect();
        known.sort_unstable();
        match known.len() {
            0 => message.push_str("; there are no fields here"),
            1..=20 => {
                let _ = write!(message, "; known fields: {}", known.join(", "));
            }
            _ => {}
        }
    }
    Problem::invalid(join(path, key), message)
}

/// The known word that a mistyped one most likely stands for: the same but for case, `-` and `_`,
/// or within a third of its length in edits.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let fold = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    let folded = fold(word);
    known
        .map(|candidate| (edits(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance, a swap of neighbours counted as one.
fn edits(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (rows[i][j + 1] + 1)
                .min(row[j] + 1)
                .min(rows[i][j] + usize::from(a != b));
            if i > 0 && j > 0 && left[i - 1] == *b && right[j - 1] == *a {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

/// Types, bounds, patterns and uniqueness.
pub(super) fn violations(kind: Kind, object: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(validator) = &compiled(kind).validator else {
        return vec![Problem::new(
            "",
            crate::conditions::Reason::InternalError,
            "the schema of this kind does not compile; please report this",
        )];
    };
    for error in validator.iter_errors(object) {
        // metadata has a pass of its own
        let segments: Vec<LocationSegment<'_>> = error.instance_path().segments().collect();
        if matches!(segments.first(), Some(LocationSegment::Property(first)) if first == "metadata") {
            continue;
        }
        let mut path = String::new();
        for segment in &segments {
            match segment {
                LocationSegment::Property(key) => path = join(&path, key),
                LocationSegment::Index(index) => {
                    let _ = write!(path, "[{index}]");
                }
            }
        }
        let schema = schema_at(structural_schema(kind), &segments);
        problems.push(translate(path, error.kind(), error.instance(), schema));
    }
    if let Some(spec) = object.get("spec") {
        walk_leaves(
            spec,
            &structural_schema(kind)["properties"]["spec"],
            "spec",
            &mut problems,
        );
    }
    // One violation may be found by two keywords; the first says it.
    let mut seen = std::collections::HashSet::new();
    problems.retain(|problem| seen.insert(problem.field.clone()));
    problems
}

fn schema_at<'a>(root: &'a Value, segments: &[LocationSegment<'_>]) -> &'a Value {
    let mut schema = root;
    for segment in segments {
        let child = match segment {
            LocationSegment::Property(key) => schema.get("properties").and_then(|it| it.get(key.as_ref())),
            LocationSegment::Index(_) => schema.get("items"),
        };
        match child {
            Some(child) => schema = child,
            None => return &Value::Null,
        }
    }
    schema
}

/// What kind of value it is, in words, never the value itself.
pub(super) fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn type_words(name: &str) -> &str {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    }
}

/// A text as a message shows it: quoted, and cut where it is long.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", excerpt(text)),
        other => other.to_string(),
    }
}

fn plural(count: u64, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

fn translate(path: String, kind: &ValidationErrorKind, instance: &Value, schema: &Value) -> Problem {
    let message = match kind {
        ValidationErrorKind::Required { property } => {
            let property = property.as_str().unwrap_or_default();
            let field = join(&path, property);
            let about = schema["properties"][property]["description"]
                .as_str()
                .and_then(|text| text.split(['.', '\n']).next())
                .map_or_else(String::new, |text| format!(": {}", lower_first(text)));
            return Problem::invalid(field, format!("{property} is required{about}"));
        }
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(name) => type_words(name.as_str()).to_owned(),
                TypeKind::Multiple(_) => "another type".to_owned(),
            };
            let remedy = match (kind, instance) {
                (TypeKind::Single(name), Value::Bool(_) | Value::Number(_)) if name.as_str() == "string" => {
                    "; quote it"
                }
                (TypeKind::Single(name), Value::String(text))
                    if name.as_str() == "integer" && text.parse::<i64>().is_ok() =>
                {
                    "; remove the quotes"
                }
                (TypeKind::Single(name), Value::Object(_)) if name.as_str() == "array" => {
                    "; begin each item with -"
                }
                _ => "",
            };
            format!("must be {expected}, not {}{remedy}", describe(instance))
        }
        ValidationErrorKind::AnyOf { .. } => {
            format!(
                "must be a text or a whole number, not {}; quote it",
                describe(instance)
            )
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> = options
                .as_array()
                .map(|it| it.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let hint = instance
                .as_str()
                .and_then(|word| nearest(word, options.iter().copied()))
                .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
            format!("{} is not one of {}{hint}", quoted(instance), options.join(", "))
        }
        ValidationErrorKind::Pattern { pattern } => pattern_message(pattern, instance),
        ValidationErrorKind::Format { format } if format == "date-time" => {
            format!(
                "{} is not a time; write it as 2026-11-01T03:00:00Z",
                quoted(instance)
            )
        }
        ValidationErrorKind::Minimum { limit } | ValidationErrorKind::ExclusiveMinimum { limit } => {
            format!("must be at least {}, not {instance}", whole(limit))
        }
        ValidationErrorKind::Maximum { limit } | ValidationErrorKind::ExclusiveMaximum { limit } => {
            format!("must be at most {}, not {instance}", whole(limit))
        }
        ValidationErrorKind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        ValidationErrorKind::MinLength { limit } => {
            format!("must have at least {}", plural(*limit, "character"))
        }
        ValidationErrorKind::MaxLength { limit } => {
            format!("must have at most {}", plural(*limit, "character"))
        }
        ValidationErrorKind::MinItems { limit } => format!("must have at least {}", plural(*limit, "item")),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {}", plural(*limit, "item")),
        _ => format!(
            "does not fit the schema: {} of {}",
            kind.keyword(),
            describe(instance)
        ),
    };
    Problem::invalid(path, message)
}

fn whole(limit: &Value) -> String {
    match limit.as_f64() {
        Some(number) if number.fract() == 0.0 => format!("{number:.0}"),
        _ => limit.to_string(),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        // An acronym stays as it is.
        Some(first) if !chars.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

fn pattern_message(pattern: &str, instance: &Value) -> String {
    let text = instance.as_str().unwrap_or_default();
    match pattern {
        DURATION_PATTERN => match text.parse::<Duration>() {
            Err(error) => error.to_string(),
            Ok(_) => format!("{} is not a duration", quoted(instance)),
        },
        r"^[a-z_][a-z0-9_]*$" => format!(
            "{} must be lower-case letters, digits and _, beginning with a letter or _",
            quoted(instance)
        ),
        r"^https?://" => format!("{} must begin with http:// or https://", quoted(instance)),
        r"^[^/](.*[^/])?$" => format!("{} must not begin or end with /", quoted(instance)),
        _ => match (text.parse::<Cpu>(), text.parse::<Memory>()) {
            (Err(error), _) if pattern == Cpu::PATTERN => error.to_string(),
            (_, Err(error)) if pattern == Memory::PATTERN => error.to_string(),
            _ => format!("{} does not match {pattern}", quoted(instance)),
        },
    }
}

/// What the types refuse although the schema's pattern allows it (a duration of a million
/// centuries), and list items that must be unique by a key.
fn walk_leaves(value: &Value, schema: &Value, path: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let Some(child) = schema.get("properties").and_then(|it| it.get(key)) {
                    walk_leaves(value, child, &join(path, key), problems);
                }
            }
        }
        Value::Array(items) => {
            let Some(child) = schema.get("items") else { return };
            let keys: Vec<&str> = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
                .map(|keys| keys.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let mut seen = std::collections::HashSet::new();
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if let [key] = keys.as_slice()
                    && let Some(value) = item.get(key)
                    && !seen.insert(value)
                {
                    problems.push(Problem::invalid(
                        join(&path, key),
                        format!(
                            "{} stands twice in the list; each {key} must be unique",
                            quoted(value)
                        ),
                    ));
                }
                walk_leaves(item, child, &path, problems);
            }
        }
        Value::String(text) => {
            let error = match schema.get("pattern").and_then(Value::as_str) {
                Some(DURATION_PATTERN) => text.parse::<Duration>().err().map(|it| it.to_string()),
                Some(pattern) if pattern == Cpu::PATTERN => {
                    text.parse::<Cpu>().err().map(|it| it.to_string())
                }
                Some(pattern) if pattern == Memory::PATTERN => {
                    text.parse::<Memory>().err().map(|it| it.to_string())
                }
                _ => None,
            };
            problems.extend(error.map(|error| Problem::invalid(path, error)));
        }
        Value::Number(number) => {
            let error = match schema.get("pattern").and_then(Value::as_str) {
                Some(pattern) if pattern == Cpu::PATTERN => {
                    number.to_string().parse::<Cpu>().err().map(|it| it.to_string())
                }
                Some(pattern) if pattern == Memory::PATTERN => number
                    .to_string()
                    .parse::<Memory>()
                    .err()
                    .map(|it| it.to_string()),
                _ => None,
            };
            problems.extend(error.map(|error| Problem::invalid(path, error)));
        }
        _ => {}
    }
}

/// The CEL rules of the schema; those that compare with `oldSelf` only where there is an old
/// version.
pub(super) fn rules(kind: Kind, object: &Value, old: Option<&Value>) -> Vec<Problem> {
    match validate_compiled(&compiled(kind).rules, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| {
                // Rules of the whole object are about its name: `generated::root_rules`.
                let field = match error.field_path.trim_start_matches('.') {
                    "" => "metadata.name".to_owned(),
                    path => path.to_owned(),
                };
                match error.kind {
                    ErrorKind::ValidationFailure => Problem::invalid(field, error.message),
                    _ => Problem::new(
                        field,
                        crate::conditions::Reason::InternalError,
                        format!(
                            "a rule of the schema cannot be evaluated; please report this: {}",
                            error.message
                        ),
                    ),
                }
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_word() {
        let known = ["schedule", "suspend", "columns", "allColumns", "where"];
        for (word, expected) in [
            ("shedule", Some("schedule")),
            ("colums", Some("columns")),
            ("all_columns", Some("allColumns")),
            ("Where", Some("where")),
            ("whree", Some("where")),
            ("banana", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        }
    }

    #[test]
    fn every_schema_and_rule_compiles() {
        fn errors(schema: &CompiledSchema, found: &mut Vec<String>) {
            found.extend(
                schema
                    .compilation_errors()
                    .iter()
                    .map(|error| format!("{error:?}")),
            );
            schema.properties.values().for_each(|child| errors(child, found));
            schema.items.iter().for_each(|child| errors(child, found));
        }
        for kind in Kind::ALL {
            let compiled = compiled(kind);
            assert!(compiled.validator.is_some(), "{kind}");
            let mut found = Vec::new();
            errors(&compiled.rules, &mut found);
            assert!(found.is_empty(), "{kind}: {found:#?}");
        }
    }
}
