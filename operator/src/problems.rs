//! What keeps an object from being served although its manifest is valid.

use std::collections::BTreeSet;

use lakegate_crds::{
    AnyResource, DataSource, Export, LakegateResource, RetentionPolicy, View,
    conditions::Reason,
    validation::{Problem, unserved, validate_set},
};
use lakegate_store::{Entry, Key};

use crate::cache::Cache;

/// Of a DataSource: what no code serves, and a catalog name that another one has.
pub fn of_source(source: &Entry<DataSource>, cache: &Cache) -> Vec<Problem> {
    among(
        source,
        cache
            .sources
            .filter(|other| other.key != source.key)
            .iter()
            .filter_map(any),
    )
}

/// Of a View: what no code serves, and a name that another one has.
pub fn of_view(view: &Entry<View>, cache: &Cache) -> Vec<Problem> {
    among(
        view,
        cache
            .views
            .filter(|other| other.key != view.key)
            .iter()
            .filter_map(any),
    )
}

/// Of a RetentionPolicy: what no code serves.
pub fn of_policy(policy: &Entry<RetentionPolicy>) -> Vec<Problem> {
    any(policy)
        .map(|resource| unserved(&resource))
        .unwrap_or_default()
}

/// Of an Export: what no code serves, what it refers to and is not there, and a lake table that another one writes.
pub fn of_export(export: &Entry<Export>, cache: &Cache) -> Vec<Problem> {
    let Some(object) = export.object.as_deref() else {
        return Vec::new();
    };
    let namespace = &export.key.namespace;
    let destination = &object.spec.destination;
    let source = object.spec.from.source_ref.as_ref();
    let mut problems = Vec::new();
    for (field, reference) in [
        ("spec.from.sourceRef", source),
        ("spec.destination.lakeRef", Some(&destination.lake_ref)),
    ] {
        let Some(reference) = reference else { continue };
        let Some(found) = cache.sources.get(&Key::new(namespace, &reference.name)) else {
            continue;
        };
        let is_suspended = found
            .object
            .as_deref()
            .is_some_and(|source| source.spec.is_suspended());
        // What is not served of the store, the runs would miss or get wrong.
        let problem = match of_source(&found, cache).first() {
            Some(first) => Some(format!("DataSource {} is not served: {first}", reference.name)),
            None => is_suspended.then(|| format!("DataSource {} is suspended", reference.name)),
        };
        problems.extend(
            problem.map(|message| Problem::new(format!("{field}.name"), Reason::DependencyNotReady, message)),
        );
    }
    let referred = source
        .into_iter()
        .chain([&destination.lake_ref])
        .map(|reference| Key::new(namespace, &reference.name))
        .collect::<BTreeSet<_>>();
    let sources = referred
        .iter()
        .filter_map(|key| cache.sources.get(key).as_ref().and_then(any));
    let siblings = cache
        .exports
        .group(&export.key)
        .map(|table| cache.exports.members(&table))
        .unwrap_or_default();
    let siblings = siblings
        .iter()
        .filter(|other| other.key != export.key)
        .filter_map(any);
    let others = sources.chain(siblings);
    let mut all = among(export, others);
    all.extend(problems);
    all
}

/// The object's own problems, with those that `others` show.
fn among<K: LakegateResource>(entry: &Entry<K>, others: impl Iterator<Item = AnyResource>) -> Vec<Problem> {
    let Some(resource) = any(entry) else {
        return Vec::new();
    };
    let mut problems = unserved(&resource);
    let set: Vec<AnyResource> = std::iter::once(resource).chain(others).collect();
    let set: Vec<&AnyResource> = set.iter().collect();
    problems.extend(
        validate_set(&set)
            .into_iter()
            .filter(|found| found.index == 0)
            .map(|found| found.problem),
    );
    problems
}

fn any<K: LakegateResource>(entry: &Entry<K>) -> Option<AnyResource> {
    Some(entry.object.as_deref()?.clone().into_any())
}
