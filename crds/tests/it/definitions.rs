//! The CustomResourceDefinitions: the files beside the code, their size, and the rules that the
//! API server sets for structural schemas.

use lakegate_crds::{Kind, crds, file_name, generated, render};
use serde_json::Value;

#[test]
fn files_are_what_the_types_give() {
    for (name, text) in generated() {
        crate::assert_file(&crate::crate_folder().join("generated").join(name), &text);
    }
}

#[test]
fn no_other_file_is_there() {
    let expected: Vec<String> = Kind::ALL.into_iter().map(file_name).collect();
    for entry in std::fs::read_dir(crate::crate_folder().join("generated")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(expected.contains(&name), "generated/{name} belongs to no kind");
    }
}

/// A definition over 256 KiB cannot be applied by `kubectl apply`, whose annotation holds it.
#[test]
fn definitions_stay_small() {
    for kind in Kind::ALL {
        let yaml = render(kind).len();
        let json = serde_json::to_string(&crds()[kind as usize]).unwrap().len();
        assert!(
            yaml < 100 * 1024 && json < 100 * 1024,
            "{kind}: {yaml} bytes as YAML, {json} as JSON"
        );
    }
}

#[test]
fn definitions_have_what_clients_rely_on() {
    let all = crds();
    assert_eq!(all.len(), Kind::ALL.len());
    for (kind, crd) in Kind::ALL.into_iter().zip(all) {
        let value = serde_json::to_value(&crd).unwrap();
        let at = |pointer: &str| value.pointer(pointer).unwrap_or(&Value::Null).clone();
        assert_eq!(at("/spec/names/kind"), kind.as_str());
        assert_eq!(at("/spec/names/categories"), serde_json::json!(["data"]));
        assert_eq!(at("/spec/scope"), "Namespaced");
        assert!(at("/spec/versions/0/subresources/status").is_object(), "{kind}");
        assert!(
            at("/spec/versions/0/additionalPrinterColumns")
                .as_array()
                .unwrap()
                .len()
                >= 5,
            "{kind}"
        );
        let schema = "/spec/versions/0/schema/openAPIV3Schema";
        assert_eq!(
            at(&format!("{schema}/properties/status/default")),
            serde_json::json!({"observedGeneration": -1}),
            "{kind}"
        );
        assert_eq!(
            at(&format!(
                "{schema}/properties/status/properties/conditions/x-kubernetes-list-map-keys"
            )),
            serde_json::json!(["type"]),
            "{kind}"
        );
    }
}

/// Walks a schema with the path of each node.
fn walk(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, schema);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, child) in properties {
            walk(child, &format!("{path}.{name}"), visit);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child) = schema.get(key).filter(|child| child.is_object()) {
            walk(child, &format!("{path}[]"), visit);
        }
    }
}

#[test]
fn schemas_are_structural_bounded_and_explained() {
    for (kind, crd) in Kind::ALL.into_iter().zip(crds()) {
        let value = serde_json::to_value(&crd).unwrap();
        let schema = value.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
        walk(schema, kind.as_str(), &mut |path, node| {
            let is_int_or_string = node.get("x-kubernetes-int-or-string").is_some();
            assert!(
                node["type"].is_string() || is_int_or_string,
                "{path} has no type: {node}"
            );
            for forbidden in [
                "oneOf",
                "allOf",
                "$ref",
                "nullable",
                "definitions",
                "const",
                "title",
            ] {
                assert!(node.get(forbidden).is_none(), "{path} has {forbidden}");
            }
            assert!(
                node.get("anyOf").is_none() || is_int_or_string,
                "{path} has anyOf"
            );
            let in_spec = path.starts_with(&format!("{kind}.spec"));
            // Unbounded texts and lists make the API server refuse rules over them as too dear.
            if in_spec {
                let bounded = match node["type"].as_str() {
                    Some("string") => {
                        node.get("maxLength").is_some()
                            || node.get("enum").is_some()
                            || node["format"] == "date-time"
                    }
                    Some("array") => node.get("maxItems").is_some(),
                    _ => true,
                };
                assert!(bounded, "{path} has no upper bound");
                // Argo CD and Flux see a difference for ever where a list's item has a default.
                assert!(node.get("default").is_none(), "{path} has a default");
                let is_item = path.ends_with("[]");
                assert!(
                    is_item || node["description"].is_string(),
                    "{path} has no description"
                );
            }
            for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
                assert!(
                    rule["message"].as_str().is_some_and(|text| !text.contains('\n')),
                    "{path}: {rule}"
                );
            }
        });
    }
}

/// The API server refuses a definition whose rules could cost too much, and rules that use names
/// they do not have.
#[test]
fn rules_stay_cheap_and_in_scope() {
    use lakegate_crds::kube::core::cel::{CompiledSchema, ScopeContext, analyze_rule, compile_schema};

    fn visit(schema: &Value, compiled: &CompiledSchema, path: &str, found: &mut Vec<String>) {
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let text = rule["rule"].as_str().unwrap();
            for warning in analyze_rule(text, compiled, ScopeContext::CrdValidation) {
                // The analysis knows no variables of comprehensions; ours are all named `it`.
                if !warning.message.starts_with("variable 'it'") {
                    found.push(format!("{path}: {text}: {warning:?}"));
                }
            }
        }
        for (name, child) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(compiled) = compiled.properties.get(name) {
                visit(child, compiled, &format!("{path}.{name}"), found);
            }
        }
        if let (Some(child), Some(compiled)) = (schema.get("items"), &compiled.items) {
            visit(child, compiled, &format!("{path}[]"), found);
        }
    }

    for (kind, crd) in Kind::ALL.into_iter().zip(crds()) {
        let value = serde_json::to_value(&crd).unwrap();
        let schema = value.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
        let mut found = Vec::new();
        visit(schema, &compile_schema(schema), kind.as_str(), &mut found);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
