//! Text of manifests to documents that know their lines.
//!
//! YAML as kubectl reads it: several documents in a file, `kind: List` flattened, JSON too. A
//! document that cannot be read affects only itself.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Number, Value};

use crate::GROUP;

/// Deepest nesting of a document; every kind needs less than 20.
const MAX_DEPTH: usize = 64;

/// One object of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The object.
    pub value: Value,

    /// Line at which it begins, counted from 1.
    pub line: usize,

    /// Line of each field, by its path.
    lines: BTreeMap<String, usize>,
}

/// A document that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseProblem {
    /// Line of the problem, counted from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// What a document is to Lakegate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A resource of Lakegate, or something that lacks apiVersion or kind: to be validated.
    Lakegate,
    /// A Secret: for the store of secrets.
    Secret,
    /// A resource of somebody else: to be skipped.
    Foreign,
}

impl Document {
    /// A document that comes from no text; all its fields are on line 1.
    pub fn from_value(value: Value) -> Self {
        Self {
            value,
            line: 1,
            lines: BTreeMap::new(),
        }
    }

    /// Line of a field such as `spec.columns[2].mask`, else of the nearest field around it, else
    /// of the document.
    pub fn line_of(&self, field: &str) -> usize {
        let mut path = field;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.line,
            }
        }
    }

    /// `apiVersion`, where it is a text.
    pub fn api_version(&self) -> Option<&str> {
        self.value.get("apiVersion")?.as_str()
    }

    /// `kind`, where it is a text.
    pub fn kind(&self) -> Option<&str> {
        self.value.get("kind")?.as_str()
    }

    /// `metadata.name`, where it is a text.
    pub fn name(&self) -> Option<&str> {
        self.value.pointer("/metadata/name")?.as_str()
    }

    /// `metadata.namespace`, where it is a text.
    pub fn namespace(&self) -> Option<&str> {
        self.value.pointer("/metadata/namespace")?.as_str()
    }

    /// What the document is to Lakegate.
    pub fn class(&self) -> Class {
        match (self.api_version(), self.kind()) {
            (Some("v1"), Some("Secret")) => Class::Secret,
            (Some(version), Some(_)) if version.split('/').next() != Some(GROUP) => Class::Foreign,
            _ => Class::Lakegate,
        }
    }
}

/// Appends one step to a path; a key that is not a plain word stands in brackets.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match (plain, path.is_empty()) {
        (true, true) => key.to_owned(),
        (true, false) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{key}]"),
    }
}

/// Reads the documents of a file, in order. Empty documents are left out.
pub fn parse(text: &str) -> Vec<Result<Document, ParseProblem>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    for (first_line, chunk) in split(text) {
        match parse_chunk(chunk, first_line) {
            Ok(found) => documents.extend(found.into_iter().map(Ok)),
            Err(problem) => documents.push(Err(problem)),
        }
    }
    documents
}

/// Cuts a file at its `---` lines, which cannot stand at the start of a line inside a document,
/// so that a syntax error ends with its own document.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut chunks = Vec::new();
    let (mut chunk_start, mut chunk_line, mut offset) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if is_marker {
            chunks.push((chunk_line, &text[chunk_start..offset]));
            chunk_start = offset;
            chunk_line = index + 1;
        }
        offset += line.len();
    }
    chunks.push((chunk_line, &text[chunk_start..]));
    // What stands before a marker may be directives (`%YAML 1.2`) and comments only.
    chunks.retain(|(_, chunk)| {
        chunk.lines().any(|line| {
            let line = line.trim();
            !(line.is_empty() || line.starts_with('#') || line.starts_with('%') || line == "---")
        })
    });
    chunks
}

fn parse_chunk(chunk: &str, first_line: usize) -> Result<Vec<Document>, ParseProblem> {
    check_nesting(chunk, first_line)?;
    let nodes = MarkedYaml::load_from_str(chunk).map_err(|error| ParseProblem {
        line: first_line + error.marker().line().saturating_sub(1),
        message: format!("not YAML: {}", error.info()),
    })?;
    let mut documents = Vec::new();
    for node in &nodes {
        let mut reader = Reader {
            text: chunk,
            first_line,
            lines: BTreeMap::new(),
        };
        let value = reader.value(node, "", 0)?;
        if value.is_null() {
            continue;
        }
        let line = reader.line(node);
        if !value.is_object() {
            return Err(ParseProblem {
                line,
                message: "not a manifest: a mapping with apiVersion, kind and metadata is expected"
                    .to_owned(),
            });
        }
        flatten(
            Document {
                value,
                line,
                lines: reader.lines,
            },
            &mut documents,
        );
    }
    Ok(documents)
}

/// The parser recurses on nesting, so text that nests absurdly deep would exhaust its stack. The
/// count takes brackets in texts for nesting, which errs on the safe side.
fn check_nesting(chunk: &str, first_line: usize) -> Result<(), ParseProblem> {
    const MAX_FLOW: usize = 512;
    const MAX_INDENT: usize = 1024;
    let mut open = 0_usize;
    for (index, line) in chunk.lines().enumerate() {
        let mut deepest = open;
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => {
                    open += 1;
                    deepest = deepest.max(open);
                }
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
        }
        let indent = line.len() - line.trim_start_matches([' ', '\t', '-', '?', ':']).len();
        if deepest > MAX_FLOW || indent > MAX_INDENT {
            return Err(ParseProblem {
                line: first_line + index,
                message: "not a manifest: nested too deeply".to_owned(),
            });
        }
    }
    Ok(())
}

/// Replaces a `List` by its items.
fn flatten(document: Document, documents: &mut Vec<Document>) {
    let is_list =
        document.kind().is_some_and(|kind| kind.ends_with("List")) && document.value["items"].is_array();
    if !is_list {
        documents.push(document);
        return;
    }
    let Document {
        mut value,
        line,
        lines,
    } = document;
    let Value::Array(items) = value["items"].take() else {
        return;
    };
    for (index, item) in items.into_iter().enumerate() {
        let prefix = format!("items[{index}]");
        let item_line = lines.get(&prefix).copied().unwrap_or(line);
        let item_lines = lines
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter_map(|(path, line)| {
                let rest = path.strip_prefix(&prefix)?;
                Some((
                    rest.strip_prefix('.')
                        .or_else(|| rest.starts_with('[').then_some(rest))?
                        .to_owned(),
                    *line,
                ))
            })
            .collect();
        flatten(
            Document {
                value: item,
                line: item_line,
                lines: item_lines,
            },
            documents,
        );
    }
}

struct Reader<'a> {
    text: &'a str,
    first_line: usize,
    lines: BTreeMap<String, usize>,
}

impl Reader<'_> {
    fn line(&self, node: &MarkedYaml<'_>) -> usize {
        self.first_line + node.span.start.line().saturating_sub(1)
    }

    fn problem(&self, node: &MarkedYaml<'_>, message: impl Into<String>) -> ParseProblem {
        ParseProblem {
            line: self.line(node),
            message: message.into(),
        }
    }

    fn value(&mut self, node: &MarkedYaml<'_>, path: &str, depth: usize) -> Result<Value, ParseProblem> {
        if depth > MAX_DEPTH {
            return Err(self.problem(node, "not a manifest: nested too deeply"));
        }
        match &node.data {
            YamlData::Value(scalar) => self.scalar(node, scalar),
            YamlData::Sequence(items) => {
                let mut array = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.lines.insert(path.clone(), self.line(item));
                    array.push(self.value(item, &path, depth + 1)?);
                }
                Ok(Value::Array(array))
            }
            YamlData::Mapping(entries) => {
                let mut object = Map::new();
                let mut merged = Map::new();
                for (key, child) in entries {
                    let key_text = self.key(key)?;
                    if key_text == "<<" && self.is_plain(key) {
                        self.merge(child, path, depth, &mut merged)?;
                        continue;
                    }
                    let path = join(path, &key_text);
                    self.lines.insert(path.clone(), self.line(key));
                    let value = self.value(child, &path, depth + 1)?;
                    if object.insert(key_text.clone(), value).is_some() {
                        return Err(
                            self.problem(key, format!("the key \"{key_text}\" stands twice in one mapping"))
                        );
                    }
                }
                for (key, value) in merged {
                    object.entry(key).or_insert(value);
                }
                Ok(Value::Object(object))
            }
            YamlData::Tagged(_, inner) => self.value(inner, path, depth + 1),
            YamlData::Representation(text, ..) => Ok(Value::String(text.to_string())),
            YamlData::Alias(_) | YamlData::BadValue => {
                Err(self.problem(node, "not YAML: a value cannot be read"))
            }
        }
    }

    /// `<<: *anchor`: keys of other mappings, unless this one has them.
    fn merge(
        &mut self,
        node: &MarkedYaml<'_>,
        path: &str,
        depth: usize,
        merged: &mut Map<String, Value>,
    ) -> Result<(), ParseProblem> {
        let values = match self.value(node, path, depth + 1)? {
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let Value::Object(object) = value else {
                return Err(self.problem(node, "not YAML: << takes a mapping or a list of mappings"));
            };
            for (key, value) in object {
                merged.entry(key).or_insert(value);
            }
        }
        Ok(())
    }

    fn key(&self, node: &MarkedYaml<'_>) -> Result<String, ParseProblem> {
        match &node.data {
            YamlData::Value(Scalar::String(text)) => Ok(text.to_string()),
            YamlData::Value(Scalar::Integer(number)) => Ok(number.to_string()),
            YamlData::Value(Scalar::Boolean(boolean)) => Ok(boolean.to_string()),
            YamlData::Value(Scalar::FloatingPoint(number)) => Ok(number.to_string()),
            _ => Err(self.problem(node, "not a manifest: a key must be a text")),
        }
    }

    fn scalar(&self, node: &MarkedYaml<'_>, scalar: &Scalar<'_>) -> Result<Value, ParseProblem> {
        Ok(match scalar {
            Scalar::Null => Value::Null,
            Scalar::Boolean(boolean) => Value::Bool(*boolean),
            Scalar::Integer(number) => Value::Number((*number).into()),
            Scalar::FloatingPoint(number) => {
                let Some(number) = Number::from_f64(number.into_inner()) else {
                    return Err(self.problem(node, "not a manifest: infinity and NaN have no meaning here"));
                };
                Value::Number(number)
            }
            Scalar::String(text) => match yaml_1_1_boolean(text) {
                Some(boolean) if self.is_plain(node) => Value::Bool(boolean),
                _ => Value::String(text.to_string()),
            },
        })
    }

    /// Whether a scalar stands there without quotes.
    fn is_plain(&self, node: &MarkedYaml<'_>) -> bool {
        let first = self.text.chars().nth(node.span.start.index());
        !matches!(first, Some('"' | '\'' | '|' | '>'))
    }
}

/// Words that kubectl, whose YAML is 1.1 here, sends to the API server as booleans.
fn yaml_1_1_boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good(text: &str) -> Vec<Document> {
        parse(text).into_iter().map(|it| it.unwrap()).collect()
    }

    #[test]
    fn documents_know_their_lines() {
        let documents = good(
            "# first\nkind: A\nspec:\n  columns:\n    - {name: id}\n    - name: total\n      as: sum\n---\n\nkind: B\n",
        );
        assert_eq!(documents.len(), 2);
        let first = &documents[0];
        for (field, line) in [
            ("", 2),
            ("kind", 2),
            ("spec", 3),
            ("spec.columns", 4),
            ("spec.columns[0].name", 5),
            ("spec.columns[1]", 6),
            ("spec.columns[1].as", 7),
            ("spec.columns[1].cast", 6),
            ("spec.schedule.cron", 3),
            ("metadata.name", 2),
        ] {
            assert_eq!(first.line_of(field), line, "{field}");
        }
        assert_eq!((documents[1].line, documents[1].line_of("kind")), (10, 10));
    }

    #[test]
    fn a_bad_document_affects_only_itself() {
        let documents =
            parse("kind: A\n---\nkind: [B\n---\n- not\n- a manifest\n--- # comment\nkind: C\n...\n");
        assert_eq!(documents.len(), 4);
        assert_eq!(documents[0].as_ref().unwrap().kind(), Some("A"));
        let problem = documents[1].as_ref().unwrap_err();
        assert!(
            (3..=4).contains(&problem.line) && problem.message.starts_with("not YAML"),
            "{problem}"
        );
        assert_eq!(documents[2].as_ref().unwrap_err().line, 5);
        assert_eq!(documents[3].as_ref().unwrap().kind(), Some("C"));
    }

    #[test]
    fn lists_are_flattened() {
        let documents = good(
            "apiVersion: v1\nkind: List\nitems:\n- kind: A\n  spec: {a: 1}\n- kind: List\n  items:\n  - kind: B\n    spec:\n      b: 2\n",
        );
        assert_eq!(
            documents.iter().map(|it| it.kind().unwrap()).collect::<Vec<_>>(),
            ["A", "B"]
        );
        assert_eq!(documents[0].line_of("spec.a"), 5);
        assert_eq!(documents[1].line_of("spec.b"), 10);
    }

    #[test]
    fn scalars_read_as_kubectl_reads_them() {
        let document = good(
            "a: yes\nb: \"yes\"\nc: 0x10\nd: 1.5\ne: null\nf: 2026-11-01\ng: |\n  text\nh: ''\ni: off\nj: 3 * * * *\nk: ~\nl: '12'\n",
        );
        assert_eq!(
            document[0].value,
            json!({"a": true, "b": "yes", "c": 16, "d": 1.5, "e": null, "f": "2026-11-01", "g": "text\n", "h": "",
                   "i": false, "j": "3 * * * *", "k": null, "l": "12"})
        );
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let document = good("base: &base {x: 1, y: 2}\nspec: {<<: *base, y: 3}\n");
        assert_eq!(document[0].value["spec"], json!({"y": 3, "x": 1}));
    }

    #[test]
    fn files_without_documents_are_empty() {
        for text in [
            "",
            "\n# nothing\n",
            "---\n---\n",
            "%YAML 1.2\n---\n# nothing\n",
            "null\n",
        ] {
            assert_eq!(parse(text), [], "{text:?}");
        }
        assert_eq!(good("%YAML 1.2\n---\nkind: A\r\n").len(), 1);
        assert_eq!(good("{\"kind\": \"A\"}\n")[0].kind(), Some("A"));
    }

    #[test]
    fn unreadable_text_is_an_error_not_a_crash() {
        let deep_flow = "[".repeat(100_000);
        let deep_block = "- ".repeat(100_000);
        let deep_lines = "[\n".repeat(100_000);
        let deep_allowed = "[".repeat(500);
        let moderate = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
        for text in [
            "a: 1\na: 2\n",
            "a: .inf",
            "? [x]\n: y",
            &deep_flow,
            &deep_lines,
            &deep_allowed,
            &deep_block,
            &moderate,
        ] {
            assert!(parse(text)[0].is_err(), "{}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn documents_are_sorted_by_what_they_are() {
        for (text, class) in [
            ("apiVersion: lakegate.dev/v1alpha1\nkind: Export", Class::Lakegate),
            ("apiVersion: lakegate.dev/v9\nkind: Export", Class::Lakegate),
            ("kind: Export", Class::Lakegate),
            ("apiVersion: v1\nkind: Secret", Class::Secret),
            ("apiVersion: v1\nkind: ConfigMap", Class::Foreign),
            ("apiVersion: apps/v1\nkind: Deployment", Class::Foreign),
        ] {
            assert_eq!(good(text)[0].class(), class, "{text}");
        }
    }
}
