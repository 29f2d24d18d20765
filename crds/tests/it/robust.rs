//! Whatever stands in a folder, reading and validating it ends with a result.

use std::{path::PathBuf, sync::LazyLock};

use lakegate_crds::{manifest, validation};
use proptest::prelude::*;
use serde_json::Value;

static CORPUS: LazyLock<Vec<String>> = LazyLock::new(corpus_texts);

fn corpus_texts() -> Vec<String> {
    let mut texts = Vec::new();
    let mut folders: Vec<PathBuf> = vec![crate::crate_folder().join("../tests/manifests")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "yaml") {
                texts.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    texts.sort();
    texts
}

fn check(text: &str) {
    for document in manifest::parse(text).into_iter().flatten() {
        match validation::validate(&document.value, None) {
            Ok(resource) => {
                validation::unserved(&resource);
                validation::validate_set(&[&resource, &resource]);
            }
            Err(problems) => {
                assert!(!problems.is_empty());
                for problem in problems {
                    assert!(document.line_of(&problem.field) >= 1);
                    assert!(!problem.message.is_empty());
                }
            }
        }
    }
}

/// Replaces the value at the n-th node by another.
fn mutate(value: &mut Value, n: &mut usize, with: &Value) {
    if *n == 0 {
        *value = with.clone();
    }
    *n = n.wrapping_sub(1);
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|child| mutate(child, n, with)),
        Value::Array(items) => items.iter_mut().for_each(|child| mutate(child, n, with)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read(text in "[a-z:{}\\[\\]\"'|>&*!%@#?, \t\r\n-]{0,80}") {
        check(&text);
    }

    #[test]
    fn any_cut_of_a_manifest_is_read(index in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>()) {
        let texts = &*CORPUS;
        let text: &String = index.get(texts.as_slice());
        let end = text.floor_char_boundary(cut.index(text.len().max(1)));
        check(&text[..end]);
    }

    #[test]
    fn any_value_anywhere_is_validated(index in any::<prop::sample::Index>(), node in 0_usize..60, which in 0_usize..9) {
        let texts = &*CORPUS;
        let replacements = [
            Value::Null, Value::Bool(true), serde_json::json!(-1), serde_json::json!(1e300), serde_json::json!(u64::MAX),
            Value::String(String::new()), Value::String("x".repeat(20_000)), serde_json::json!([]), serde_json::json!({"a": {}}),
        ];
        for document in manifest::parse(index.get(texts.as_slice()).as_str()).into_iter().flatten() {
            let mut value = document.value.clone();
            mutate(&mut value, &mut node.clone(), &replacements[which]);
            if let Err(problems) = validation::validate(&value, Some(&document.value)) {
                for problem in problems {
                    prop_assert!(problem.message.len() < 2_000, "{}", problem);
                    prop_assert!(!problem.message.contains("please report"), "{}", problem);
                }
            }
        }
    }
}
