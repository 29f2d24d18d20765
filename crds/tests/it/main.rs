//! Tests of the resource definitions as files, and of validation over the corpus of manifests.

// Helpers of tests fail by panicking, as tests do; clippy.toml allows it only inside #[test].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod corpus;
mod definitions;
mod robust;
mod vocabulary;

use std::path::PathBuf;

/// Folder of this crate.
fn crate_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a file with what it should hold; with UPDATE_GENERATED=1 writes it instead.
fn assert_file(path: &std::path::Path, expected: &str) {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what the types give; run UPDATE_GENERATED=1 cargo test -p lakegate-crds",
        path.display()
    );
}
