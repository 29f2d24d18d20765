//! Problems that only a set of resources shows: references that lead nowhere, names that two
//! resources claim.

use std::collections::HashMap;

use super::Problem;
use crate::{AnyResource, DataSource, Kind, ResourceReference, conditions::Reason};

/// A problem of one resource of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetProblem {
    /// Position of the resource in the set as it was given.
    pub index: usize,
    /// The problem.
    pub problem: Problem,
}

/// Checks valid resources against each other. Of two that claim a name the oldest keeps it:
/// by creation time, then by namespace and name, so that the outcome never depends on the order
/// of files. An object that stands there twice is reported at each place, because neither can
/// be preferred.
pub fn validate_set(resources: &[&AnyResource]) -> Vec<SetProblem> {
    let set = Set::new(resources);
    let mut problems = set.duplicates();
    for (index, resource) in resources.iter().enumerate() {
        problems.extend(
            set.references(resource)
                .into_iter()
                .map(|problem| SetProblem { index, problem }),
        );
    }
    problems.extend(set.conflicts());
    problems.sort_by_key(|it| it.index);
    problems
}

/// Identity of an object.
type Identity<'a> = (Kind, &'a str, &'a str);

struct Set<'a> {
    resources: &'a [&'a AnyResource],
    by_identity: HashMap<Identity<'a>, Vec<usize>>,
}

impl<'a> Set<'a> {
    fn new(resources: &'a [&'a AnyResource]) -> Self {
        let mut by_identity: HashMap<Identity<'a>, Vec<usize>> = HashMap::new();
        for (index, resource) in resources.iter().enumerate() {
            by_identity
                .entry((resource.kind(), resource.namespace(), resource.name()))
                .or_default()
                .push(index);
        }
        Self {
            resources,
            by_identity,
        }
    }

    fn duplicates(&self) -> Vec<SetProblem> {
        let mut problems = Vec::new();
        for indexes in self.by_identity.values().filter(|indexes| indexes.len() > 1) {
            for index in indexes {
                problems.push(SetProblem {
                    index: *index,
                    problem: Problem::new(
                        "metadata.name",
                        Reason::DuplicateObject,
                        format!(
                            "{} is defined {} times; none is applied until one is left",
                            self.resources[*index],
                            indexes.len()
                        ),
                    ),
                });
            }
        }
        problems
    }

    fn data_source(&self, namespace: &str, name: &str) -> Option<&'a DataSource> {
        let index = *self
            .by_identity
            .get(&(Kind::DataSource, namespace, name))?
            .first()?;
        match self.resources[index] {
            AnyResource::DataSource(object) => Some(object),
            _ => None,
        }
    }

    fn references(&self, resource: &AnyResource) -> Vec<Problem> {
        let namespace = resource.namespace();
        let mut problems = Vec::new();
        let mut source = |field: &str, reference: &ResourceReference, lake: bool| {
            let problem = match self.data_source(namespace, &reference.name) {
                None => Some(missing(field, Kind::DataSource, namespace, &reference.name)),
                Some(found) if lake && found.spec.lake.is_none() => Some(Problem::invalid(
                    format!("{field}.name"),
                    format!(
                        "DataSource {namespace}/{} is not a lake; name one with spec.lake",
                        reference.name
                    ),
                )),
                Some(_) => None,
            };
            problems.extend(problem);
        };
        match resource {
            AnyResource::Export(object) => {
                if let Some(reference) = &object.spec.from.source_ref {
                    source("spec.from.sourceRef", reference, false);
                }
                source(
                    "spec.destination.lakeRef",
                    &object.spec.destination.lake_ref,
                    true,
                );
            }
            AnyResource::RetentionPolicy(object) => {
                if let Some(rows) = &object.spec.rows {
                    source("spec.rows.sourceRef", &rows.source_ref, false);
                    source("spec.rows.archive.lakeRef", &rows.archive.lake_ref, true);
                }
                if let Some(files) = &object.spec.files {
                    source("spec.files.lakeRef", &files.lake_ref, true);
                }
            }
            AnyResource::ExportRun(object) => {
                for (field, kind, reference) in [
                    ("spec.exportRef", Kind::Export, &object.spec.export_ref),
                    (
                        "spec.retentionPolicyRef",
                        Kind::RetentionPolicy,
                        &object.spec.retention_policy_ref,
                    ),
                ] {
                    if let Some(reference) = reference
                        && !self
                            .by_identity
                            .contains_key(&(kind, namespace, reference.name.as_str()))
                    {
                        problems.push(missing(field, kind, namespace, &reference.name));
                    }
                }
            }
            AnyResource::DataSource(_) | AnyResource::View(_) => {}
        }
        problems
    }

    /// Names that two resources claim; all but the oldest get a problem.
    fn conflicts(&self) -> Vec<SetProblem> {
        let mut claims: HashMap<Claim, Vec<usize>> = HashMap::new();
        for (index, resource) in self.resources.iter().enumerate() {
            if let Some(claim) = claim(resource) {
                claims.entry(claim).or_default().push(index);
            }
        }
        let mut problems = Vec::new();
        for (claim, mut indexes) in claims {
            indexes.sort_by_key(|index| {
                let resource = self.resources[*index];
                // An object without a creation time is new: older ones go first.
                let created = resource.meta().creation_timestamp.as_ref().map(|it| it.0);
                (
                    created.is_none(),
                    created,
                    resource.namespace(),
                    resource.name(),
                    *index,
                )
            });
            let owner = self.resources[indexes[0]];
            for index in &indexes[1..] {
                let resource = self.resources[*index];
                // The same object twice is a duplicate, not a conflict.
                if (resource.kind(), resource.namespace(), resource.name())
                    != (owner.kind(), owner.namespace(), owner.name())
                {
                    problems.push(SetProblem {
                        index: *index,
                        problem: claim.problem(resource, owner),
                    });
                }
            }
        }
        problems
    }
}

fn missing(field: &str, kind: Kind, namespace: &str, name: &str) -> Problem {
    Problem::new(
        format!("{field}.name"),
        Reason::DependencyNotFound,
        format!("{kind} {namespace}/{name} does not exist; create it or correct the name"),
    )
}

/// A name that only one resource may have.
#[derive(PartialEq, Eq, Hash)]
enum Claim {
    Catalog(String),
    View(String),
    LakeTable {
        namespace: String,
        lake: String,
        schema: String,
        table: String,
    },
}

fn claim(resource: &AnyResource) -> Option<Claim> {
    let table = |lake: &ResourceReference, schema: &str, table: &str| Claim::LakeTable {
        namespace: resource.namespace().to_owned(),
        lake: lake.name.clone(),
        schema: schema.to_owned(),
        table: table.to_owned(),
    };
    match resource {
        AnyResource::DataSource(object) => Some(Claim::Catalog(object.spec.catalog_name(resource.name()))),
        AnyResource::View(object) => Some(Claim::View(object.spec.sql_name(resource.name()))),
        AnyResource::Export(object) => {
            let it = &object.spec.destination;
            Some(table(&it.lake_ref, &it.schema, &it.table))
        }
        AnyResource::RetentionPolicy(object) => {
            let it = &object.spec.rows.as_ref()?.archive;
            Some(table(&it.lake_ref, &it.schema, &it.table))
        }
        AnyResource::ExportRun(_) => None,
    }
}

impl Claim {
    fn problem(&self, resource: &AnyResource, owner: &AnyResource) -> Problem {
        match self {
            Self::Catalog(name) => Problem::new(
                "spec.catalogName",
                Reason::NameConflict,
                format!(
                    "the catalog name \"{name}\" belongs to {owner}, which is older; set another catalogName"
                ),
            ),
            Self::View(name) => Problem::new(
                "spec.name",
                Reason::NameConflict,
                format!("the name views.{name} belongs to {owner}, which is older; set another name"),
            ),
            Self::LakeTable {
                lake, schema, table, ..
            } => {
                let field = match resource {
                    AnyResource::RetentionPolicy(_) => "spec.rows.archive.table",
                    _ => "spec.destination.table",
                };
                Problem::new(
                    field,
                    Reason::TableNameConflict,
                    format!(
                        "the table {schema}.{table} of lake {lake} is written by {owner}, which is older; name another table"
                    ),
                )
            }
        }
    }
}
