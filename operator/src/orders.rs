//! The work order of an attempt: everything a worker needs, secrets included, so that it asks nobody.

use std::path::{Path, PathBuf};

use lakegate_crds::{DataSource, DataSourceSpec, ExportRun, ExportSpec, View, conditions::Reason};
use lakegate_store::{Entry, Key, SecretError, Secrets};

use crate::{
    cache::{Cache, export_of},
    protocol::{Failure, PROTOCOL_VERSION, RunIdentity, SecretBundle, WorkOrder},
};

/// Why no worker could make anything of the order: a dependency is not there. Final for the run.
pub fn missing_dependency(
    run: &Entry<ExportRun>,
    spec: Option<&ExportSpec>,
    cache: &Cache,
) -> Option<Failure> {
    let failure = |reason: Reason, message: String| {
        Some(Failure {
            reason: reason.to_string(),
            message,
            terminal: true,
        })
    };
    let problems = run
        .object
        .as_deref()
        .map(|object| lakegate_crds::validation::unserved(&object.clone().into()))
        .unwrap_or_default();
    if let Some(problem) = problems.first() {
        return failure(problem.reason, problem.to_string());
    }
    let Some(spec) = spec else {
        let export = export_of(run).map_or_else(String::new, |export| format!(" {export}"));
        return failure(
            Reason::ExportDeleted,
            format!("the Export{export} does not exist, and the run has no spec of its own"),
        );
    };
    let namespace = &run.key.namespace;
    let source = spec.from.source_ref.as_ref().map(|reference| &reference.name);
    for name in source.into_iter().chain([&spec.destination.lake_ref.name]) {
        let found = cache.sources.get(&Key::new(namespace, name));
        if found.is_none_or(|found| found.object.is_none()) {
            return failure(
                Reason::DependencyNotFound,
                format!("DataSource {namespace}/{name} does not exist"),
            );
        }
    }
    None
}

/// What is in an order beside the run.
#[derive(Debug)]
pub struct Inputs {
    sources: Vec<DataSource>,
    lake: DataSource,
    views: Vec<View>,
}

/// The DataSources and Views that a spec reads and writes, as they are now. `None` when its lake or source is gone.
pub fn inputs(namespace: &str, spec: &ExportSpec, cache: &Cache) -> Option<Inputs> {
    let object = |name: &str| {
        cache
            .sources
            .get(&Key::new(namespace, name))?
            .object
            .as_deref()
            .cloned()
    };
    let lake = object(&spec.destination.lake_ref.name)?;
    let (sources, views) = match (&spec.from.source_ref, &spec.from.query) {
        (Some(reference), _) => (vec![object(&reference.name)?], Vec::new()),
        (None, Some(query)) => {
            let views: Vec<View> = cache
                .views
                .filter(|_| true)
                .iter()
                .filter_map(|view| view.object.as_deref().cloned())
                .collect();
            // A catalog that neither the query nor a view names cannot be read by it: it is not connected to, and its
            // secrets stay here.
            let texts: Vec<String> = std::iter::once(query)
                .chain(views.iter().map(|view| &view.spec.sql))
                .map(|sql| sql.to_lowercase())
                .collect();
            let sources = cache
                .sources
                .filter(|_| true)
                .iter()
                .filter_map(|source| source.object.as_deref())
                .filter(|source| {
                    let name = source.metadata.name.as_deref().unwrap_or_default();
                    let catalog = source.spec.catalog_name(name).to_lowercase();
                    texts.iter().any(|text| text.contains(&catalog))
                })
                .cloned()
                .collect();
            (sources, views)
        }
        (None, None) => return None,
    };
    Some(Inputs { sources, lake, views })
}

/// The order for one attempt.
///
/// # Errors
///
/// A secret that cannot be had, as the attempt's failure. It may be there the next time.
pub async fn order(
    run: RunIdentity,
    spec: ExportSpec,
    inputs: Inputs,
    secrets: &dyn Secrets,
    state_dir: &Path,
) -> Result<WorkOrder, Failure> {
    let mut bundle = SecretBundle::default();
    for source in inputs.sources.iter().chain([&inputs.lake]) {
        let namespace = source
            .metadata
            .namespace
            .as_deref()
            .unwrap_or(lakegate_crds::DEFAULT_NAMESPACE);
        for (name, key) in secret_references(&source.spec) {
            let value = secrets
                .get(namespace, name, key)
                .await
                .map_err(|error| secret_failure(source, &error))?;
            bundle.insert(namespace, name, key, value);
        }
    }
    let Inputs { sources, lake, views } = inputs;
    Ok(WorkOrder {
        version: PROTOCOL_VERSION,
        threads: spec.effective_threads(),
        memory_bytes: usize::try_from(spec.effective_memory_pool()).unwrap_or(usize::MAX),
        run,
        spec,
        sources,
        lake,
        views,
        secrets: bundle,
        state_dir: state_dir.to_owned(),
    })
}

/// Where an attempt keeps what outgrows its memory. Its own: what a killed attempt leaves is removed with it.
pub fn scratch_dir(state_dir: &Path, attempt_id: &str) -> PathBuf {
    scratch_root(state_dir).join(attempt_id)
}

/// Where all attempts have theirs.
pub(crate) fn scratch_root(state_dir: &Path) -> PathBuf {
    state_dir.join("attempts")
}

fn secret_failure(source: &DataSource, error: &SecretError) -> Failure {
    let reason = match error {
        SecretError::NotFound { .. } => Reason::SecretNotFound,
        SecretError::KeyMissing { .. } => Reason::SecretKeyMissing,
        _ => Reason::AccessDenied,
    };
    let name = source.metadata.name.as_deref().unwrap_or_default();
    Failure {
        reason: reason.to_string(),
        message: format!("DataSource {name}: {error}"),
        terminal: false,
    }
}

/// Name and key of every secret that a DataSource's connection needs.
fn secret_references(spec: &DataSourceSpec) -> Vec<(&str, &str)> {
    let servers = [
        spec.postgres
            .as_ref()
            .map(|server| (&server.credentials, &server.tls)),
        spec.mysql
            .as_ref()
            .map(|server| (&server.credentials, &server.tls)),
    ];
    let mut references = Vec::new();
    for (credentials, tls) in servers.into_iter().flatten() {
        let credentials = &credentials.secret_ref;
        references.push((credentials.name.as_str(), credentials.username_key()));
        references.push((credentials.name.as_str(), credentials.password_key()));
        if let Some(authority) = tls.as_ref().and_then(|tls| tls.ca_secret_ref.as_ref()) {
            references.push((&authority.name, &authority.key));
        }
    }
    references
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_server_names_its_secrets() {
        for kind in ["postgres", "mysql"] {
            let spec: DataSourceSpec = serde_json::from_value(serde_json::json!({kind: {
                "database": "shop",
                "primary": {"host": "db"},
                "credentials": {"secretRef": {"name": "login", "passwordKey": "pass"}},
                "tls": {"caSecretRef": {"name": "ca", "key": "ca.crt"}},
            }}))
            .unwrap();
            let expected = [("login", "username"), ("login", "pass"), ("ca", "ca.crt")];
            assert_eq!(secret_references(&spec), expected, "{kind}");
        }
    }
}
