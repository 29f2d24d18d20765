//! `lakegate validate DIR`.

use std::{path::Path, process::ExitCode};

use lakegate_store::folder::{self, Severity};

use super::Failure;

pub fn validate(directory: &Path) -> Result<ExitCode, Failure> {
    let loaded = folder::load(directory)?;
    for problem in &loaded.problems {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        println!("{severity}: {problem}");
    }
    let errors = loaded
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    let warnings = loaded.problems.len() - errors;
    println!(
        "{}: {} objects, {errors} errors, {warnings} warnings",
        directory.display(),
        loaded.entries.len(),
    );
    Ok(if loaded.has_errors() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
