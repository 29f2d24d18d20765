//! The CustomResourceDefinitions: what the types give, plus what types cannot express.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value, json};

use crate::Kind;

/// Rules over a whole object, which see its name. A rule of a spec cannot. All of them are about
/// the name; they carry no `fieldPath`, because the API server takes only paths that the schema
/// declares, and `metadata` it does not.
fn root_rules(kind: Kind) -> Value {
    match kind {
        Kind::DataSource => json!([
            {
                "rule": "has(self.spec.catalogName) || self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')",
                "message": "the name cannot serve as a catalog name (at most 63 letters, digits and -, beginning with a letter); set spec.catalogName",
            },
            {
                "rule": "has(self.spec.catalogName) || (!(self.metadata.name in ['lakegate', 'views', 'information-schema']) && !self.metadata.name.startsWith('pg-'))",
                "message": "the names lakegate, views, information-schema and those that begin with pg- are reserved catalog names; set spec.catalogName",
            },
        ]),
        Kind::Export | Kind::RetentionPolicy => json!([{
            "rule": "self.metadata.name.size() <= 40",
            "message": "the name has at most 40 characters, because the names of runs begin with it",
        }]),
        Kind::ExportRun => json!([{
            "rule": "self.metadata.name.size() <= 63",
            "message": "the name of a run has at most 63 characters",
        }]),
        Kind::View => json!([{
            "rule": "has(self.spec.name) || self.metadata.name.matches('^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')",
            "message": "the name cannot serve as a name in SQL (at most 63 letters, digits and -, beginning with a letter); set spec.name",
        }]),
    }
}

/// Brings the derived schema to the form the API server keeps, in place.
fn complete(schema: &mut Value) {
    let Value::Object(node) = schema else { return };
    // Without `nullable` the API server drops a null, which then means "absent", as the types do.
    node.remove("nullable");
    node.remove("title");
    // Formats that it does not know make it warn at each write.
    if node
        .get("format")
        .and_then(Value::as_str)
        .is_some_and(|format| format.starts_with("uint"))
    {
        node.remove("format");
    }
    if node.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        node.insert(
            "anyOf".to_owned(),
            json!([{"type": "integer"}, {"type": "string"}]),
        );
    }
    if let Some(Value::Array(values)) = node.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    for key in ["minimum", "maximum"] {
        if let Some(limit) = node.get_mut(key)
            && let Some(number) = limit.as_f64().filter(|number| number.fract() == 0.0)
        {
            // Limits of the types are far within what a double holds exactly.
            *limit = json!(number as i64);
        }
    }
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        properties.values_mut().for_each(complete);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(key) {
            complete(child);
        }
    }
    sort_keys(node);
}

/// Puts what a reader looks for first, first.
fn sort_keys(node: &mut Map<String, Value>) {
    const FIRST: [&str; 5] = ["description", "type", "format", "enum", "default"];
    const LAST: [&str; 4] = ["required", "properties", "items", "x-kubernetes-validations"];
    let rank = |key: &str| match (
        FIRST.iter().position(|it| *it == key),
        LAST.iter().position(|it| *it == key),
    ) {
        (Some(rank), _) => rank,
        (None, Some(rank)) => FIRST.len() + 1 + rank,
        (None, None) => FIRST.len(),
    };
    let mut entries: Vec<(String, Value)> = std::mem::take(node).into_iter().collect();
    entries.sort_by(|(left, _), (right, _)| (rank(left), left).cmp(&(rank(right), right)));
    node.extend(entries);
}

/// The definition of one kind, complete, as JSON.
fn definition(kind: Kind) -> Value {
    let mut crd = serde_json::to_value(kind.derived_crd()).unwrap_or_default();
    let schema = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema");
    if let Some(schema) = schema {
        complete(schema);
        if let Value::Object(node) = schema {
            node.insert("x-kubernetes-validations".to_owned(), root_rules(kind));
            sort_keys(node);
        }
        if let Some(Value::Object(status)) = schema.pointer_mut("/properties/status") {
            // A new object would else count as settled before anybody looked at it (kstatus).
            status.insert("default".to_owned(), json!({"observedGeneration": -1}));
            sort_keys(status);
        }
    }
    crd
}

static DEFINITIONS: LazyLock<[Value; 5]> = LazyLock::new(|| Kind::ALL.map(definition));

/// The structural schema of a kind.
pub(crate) fn structural_schema(kind: Kind) -> &'static Value {
    static EMPTY: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
    DEFINITIONS[kind as usize]
        .pointer("/spec/versions/0/schema/openAPIV3Schema")
        .unwrap_or(&EMPTY)
}

/// The complete definitions, one a kind, in the order of [`Kind::ALL`].
pub fn crds() -> Vec<CustomResourceDefinition> {
    DEFINITIONS
        .iter()
        .filter_map(|it| serde_json::from_value(it.clone()).ok())
        .collect()
}

/// Name of the file that holds a kind's definition, such as `lakegate.dev_exports.yaml`.
pub fn file_name(kind: Kind) -> String {
    format!("{}_{}.yaml", crate::GROUP, kind.plural())
}

/// A kind's definition as the text of a YAML file.
pub fn render(kind: Kind) -> String {
    let body = serde_yaml::to_string(&DEFINITIONS[kind as usize]).unwrap_or_default();
    format!("# Generated from the types in crds/src by `lakegate crds`; do not edit.\n{body}")
}

/// Every definition with the name of its file.
pub fn generated() -> Vec<(String, String)> {
    Kind::ALL
        .into_iter()
        .map(|kind| (file_name(kind), render(kind)))
        .collect()
}
