//! `lakegate crds`: the CustomResourceDefinitions, from the types.

use std::{path::Path, process::ExitCode};

use super::Failure;

pub fn crds(check: Option<&Path>, write: Option<&Path>) -> Result<ExitCode, Failure> {
    let files = lakegate_crds::generated();
    if let Some(directory) = write {
        std::fs::create_dir_all(directory)?;
        for (name, text) in &files {
            std::fs::write(directory.join(name), text)?;
        }
        eprintln!("wrote {} files to {}", files.len(), directory.display());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(directory) = check {
        let stale: Vec<&str> = files
            .iter()
            .filter(|(name, text)| {
                std::fs::read_to_string(directory.join(name)).ok().as_deref() != Some(text.as_str())
            })
            .map(|(name, _)| name.as_str())
            .collect();
        if stale.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        return Err(format!(
            "{} in {} differ from the types: run `lakegate crds --write {}`",
            stale.join(", "),
            directory.display(),
            directory.display()
        )
        .into());
    }
    let texts: Vec<&str> = files.iter().map(|(_, text)| text.as_str()).collect();
    print!("{}", texts.join("---\n"));
    Ok(ExitCode::SUCCESS)
}
