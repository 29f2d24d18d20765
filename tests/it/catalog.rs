//! The lake as a catalog of other engines.

use std::process::Command;

use crate::support::{binary, repository};

/// The readers that need no Java; `make full` asks Spark and Trino too.
#[test]
fn other_engines_read_what_psql_shows() {
    let output = Command::new("bash")
        .arg(repository().join("tests/readers/rest.sh"))
        .args(["pyiceberg", "duckdb"])
        .env("LAKEGATE_BINARY", binary())
        .output()
        .expect("bash runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
