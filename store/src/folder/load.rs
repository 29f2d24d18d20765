//! One look at a folder, without state: what `lakegate validate` prints.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use lakegate_crds::conditions::Reason;
use lakegate_crds::validation::{Problem, unserved, validate, validate_set};
use lakegate_crds::{AnyResource, DeletionPolicy};

use super::{
    desired::{Desired, FileProblem, Severity, duplicate_message, problem},
    scan::{self, Scan},
};
use crate::{Key, MANIFEST_ANNOTATION, StoreError};

/// What a folder holds.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The valid objects, ordered by kind and key.
    pub entries: Vec<LoadedEntry>,

    /// Everything that is wrong, ordered by file and line.
    pub problems: Vec<FileProblem>,
}

#[derive(Debug, Clone)]
pub struct LoadedEntry {
    pub resource: AnyResource,

    /// Path below the folder.
    pub file: String,

    /// From 1.
    pub line: usize,
}

impl Loaded {
    /// Whether anything would be refused; warnings would not.
    pub fn has_errors(&self) -> bool {
        self.problems
            .iter()
            .any(|problem| problem.severity == Severity::Error)
    }
}

/// What a person should know of a valid manifest before it is merged.
fn caution(resource: &AnyResource) -> Option<Problem> {
    let AnyResource::Export(export) = resource else {
        return None;
    };
    let is_to_go = export.spec.effective_deletion_policy() == DeletionPolicy::Delete;
    let message = "whatever deletes this manifest, a prune included, removes the lake table for good";
    is_to_go.then(|| Problem::new("spec.deletionPolicy", Reason::TableDeleted, message))
}

/// Reads a folder (or one file) with the code of [`super::FolderStore`], and checks in addition what only shows
/// over all objects together: dangling references and names taken twice.
///
/// Blocking. Fails only when the folder itself cannot be read.
pub fn load(folder: &Path) -> Result<Loaded, StoreError> {
    let unreadable = |source| StoreError::FolderUnreadable {
        folder: folder.to_owned(),
        source,
    };
    let absolute = std::path::absolute(folder).map_err(unreadable)?;
    let scan = scan::scan(&absolute, &BTreeSet::new(), &Scan::default())?;
    let desired = Desired::new(&scan);
    let mut problems = desired.problems.clone();
    let mut found = Vec::new();
    for ((kind, key), documents) in &desired.objects {
        let (kind, name) = (kind.to_string(), key.to_string());
        if documents.len() > 1 {
            let message = duplicate_message(&kind, key, documents.iter().map(|document| &document.place));
            problems.extend(documents.iter().map(|document| {
                let place = &document.place;
                problem(
                    &place.file,
                    document.document.line_of("metadata.name"),
                    (&kind, &name),
                    "metadata.name",
                    message.clone(),
                    Reason::DuplicateObject,
                )
            }));
        }
        for document in documents {
            let (place, document) = (&document.place, &document.document);
            match validate(&document.value, None) {
                Ok(mut resource) => {
                    let cautions = unserved(&resource).into_iter().chain(caution(&resource));
                    problems.extend(cautions.map(|wrong| FileProblem {
                        severity: Severity::Warning,
                        ..problem(
                            &place.file,
                            document.line_of(&wrong.field),
                            (&kind, &name),
                            &wrong.field,
                            wrong.message,
                            wrong.reason,
                        )
                    }));
                    let path: PathBuf = if absolute.is_dir() {
                        absolute.join(&place.file)
                    } else {
                        absolute.clone()
                    };
                    let meta = resource.meta_mut();
                    meta.namespace.get_or_insert_with(|| key.namespace.clone());
                    meta.annotations.get_or_insert_default().insert(
                        MANIFEST_ANNOTATION.to_owned(),
                        path.to_string_lossy().into_owned(),
                    );
                    found.push((resource, place.clone(), document.clone()));
                }
                Err(wrong) => problems.extend(wrong.into_iter().map(|wrong| {
                    problem(
                        &place.file,
                        document.line_of(&wrong.field),
                        (&kind, &name),
                        &wrong.field,
                        wrong.message,
                        wrong.reason,
                    )
                })),
            }
        }
    }
    let resources: Vec<_> = found.iter().map(|(resource, ..)| resource).collect();
    for wrong in validate_set(&resources) {
        let (resource, place, document) = &found[wrong.index];
        let wrong = wrong.problem;
        // Told above, with the places.
        if wrong.reason == Reason::DuplicateObject {
            continue;
        }
        problems.push(problem(
            &place.file,
            document.line_of(&wrong.field),
            (
                resource.kind().as_str(),
                &Key::new(resource.namespace(), resource.name()).to_string(),
            ),
            &wrong.field,
            wrong.message,
            wrong.reason,
        ));
    }
    problems.sort_by(|left, right| {
        (&left.file, left.line, &left.kind, &left.name, &left.field).cmp(&(
            &right.file,
            right.line,
            &right.kind,
            &right.name,
            &right.field,
        ))
    });
    let entries = found
        .into_iter()
        .map(|(resource, place, _)| LoadedEntry {
            resource,
            file: place.file,
            line: place.line,
        })
        .collect();
    Ok(Loaded { entries, problems })
}
