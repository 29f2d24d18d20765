//! Charts, image and GitOps examples. What needs no binary of ours is checked in Python beside the charts' golden files.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{binary, repository};

fn cache() -> PathBuf {
    std::env::var_os("LAKEGATE_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/lakegate"),
        PathBuf::from,
    )
}

fn succeeds(command: &mut Command) -> String {
    let output = command
        .current_dir(repository())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; run bash tests/prepare.sh"));
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    text
}

fn check(script: &str) {
    let python = std::env::var_os("LAKEGATE_TEST_PYTHON")
        .map_or_else(|| cache().join("venv/bin/python"), PathBuf::from);
    let text = succeeds(Command::new(python).arg(Path::new("tests/charts").join(script)));
    // A suite that finds no test succeeds, too.
    assert!(text.contains("OK") && !text.contains("Ran 0 tests"), "{text}");
}

#[test]
fn charts_render_and_refuse_as_they_should() {
    check("check.py");
}

#[test]
fn the_image_holds_what_it_needs() {
    check("image.py");
}

#[test]
fn the_charts_definitions_are_current() {
    succeeds(Command::new(binary()).args(["crds", "--check", "charts/lakegate-crds/files"]));
}

/// The base, and what each overlay makes of it.
#[test]
fn the_gitops_examples_are_valid() {
    let is_clean = |folder: &Path| {
        let text = succeeds(Command::new(binary()).arg("validate").arg(folder));
        assert!(text.contains(" 4 objects, 0 errors, 0 warnings"), "{text}");
    };
    let examples = repository().join("examples/gitops");
    is_clean(&examples.join("base"));
    for overlay in ["dev", "prod"] {
        let folder = tempfile::tempdir().expect("a folder");
        let kustomize = cache().join("bin/kustomize");
        let overlay = examples.join("overlays").join(overlay);
        let built = succeeds(Command::new(kustomize).arg("build").arg(overlay));
        assert!(!built.contains("kind: Secret"), "{built}");
        std::fs::write(folder.path().join("built.yaml"), built).expect("a manifest");
        is_clean(folder.path());
    }
}

/// Every argument that a chart gives is one that the binary takes.
#[test]
fn the_charts_use_arguments_that_exist() {
    for (values, commands) in [("full", 4), ("bare", 4)] {
        let text = std::fs::read_to_string(repository().join(format!("tests/charts/golden/{values}.yaml")))
            .expect("a golden file");
        let mut seen = 0;
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = <serde_json::Value as serde::Deserialize>::deserialize(document).expect("YAML");
            for pointer in ["/spec/template/spec/containers/0/args", "/spec/containers/0/args"] {
                let Some(arguments) = object.pointer(pointer).and_then(|it| it.as_array()) else {
                    continue;
                };
                let (flags, words): (Vec<&str>, Vec<&str>) = arguments
                    .iter()
                    .map(|it| it.as_str().expect("text"))
                    .partition(|it| it.starts_with("--"));
                let help = succeeds(Command::new(binary()).args(words).arg("--help"));
                for flag in flags {
                    let name = flag.split('=').next().unwrap_or(flag);
                    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '-';
                    let is_known = help.split(|it| !is_part(it)).any(|word| word == name);
                    assert!(is_known, "{flag} is unknown:\n{help}");
                }
                seen += 1;
            }
        }
        assert_eq!(seen, commands, "{values}");
    }
}
