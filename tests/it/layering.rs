//! A crate may use only the crates before it in the layering of `docs/adr/0002-layers.md`.

use std::{collections::HashMap, process::Command};

/// Lowest first. Crates in one group do not know each other.
const LAYERS: &[&[&str]] = &[
    &["lakegate-crds"],
    &["lakegate-store"],
    &["lakegate-connectors", "lakegate-lake"],
    &["lakegate-federation"],
    &["lakegate-operator", "lakegate-gateway"],
    &["lakegate"],
];

#[test]
fn crates_use_only_lower_layers() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let layer_of: HashMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(layer, names)| names.iter().map(move |name| (*name, layer)))
        .collect();

    let packages = metadata["packages"].as_array().expect("packages");
    let mut seen = 0;
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().expect("name");
        let Some(layer) = layer_of.get(name) else {
            panic!("{name} has no layer: add it to LAYERS and to the record")
        };
        seen += 1;
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let used = dependency["name"].as_str().expect("name");
            if let Some(used_layer) = layer_of.get(used)
                && used_layer >= layer
            {
                wrong.push(format!("{name} may not use {used}"));
            }
        }
    }
    assert_eq!(seen, layer_of.len(), "every crate of LAYERS is in the workspace");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
