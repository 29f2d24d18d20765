//! The work order of an attempt: everything a worker needs but the values of secrets, so that it asks nobody.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lakegate_crds::{
    DEFAULT_NAMESPACE, DataSource, DataSourceSpec, ExportRun, ExportSpec, MANIFEST_ANNOTATION, ObjectMeta,
    View, conditions::Reason,
};
use lakegate_store::{Entry, Key, SecretError, Secrets};

use crate::{
    cache::{Cache, export_of},
    launcher::LaunchFailure,
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
        let entry = cache.sources.get(&Key::new(namespace, name))?;
        Some(bare_source(entry.object.as_deref()?))
    };
    let lake = object(&spec.destination.lake_ref.name)?;
    let (sources, views) = match (&spec.from.source_ref, &spec.from.query) {
        (Some(reference), _) => (vec![object(&reference.name)?], Vec::new()),
        (None, Some(query)) => {
            let views: Vec<View> = cache
                .views
                .filter(|_| true)
                .iter()
                .filter_map(|view| view.object.as_deref().map(bare_view))
                .collect();
            let views = named_views(query, views);
            // A catalog that neither the query nor a view names cannot be read by it: it is not connected to, and its
            // secrets stay where they are.
            let texts: Vec<String> = std::iter::once(query.to_lowercase())
                .chain(views.iter().map(text_of))
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
                .map(bare_source)
                .collect();
            (sources, views)
        }
        (None, None) => return None,
    };
    Some(Inputs { sources, lake, views })
}

/// The views that a query may name, and those that they may name in turn. A name that stands in a text by chance costs
/// a view too many, never one too few.
fn named_views(query: &str, mut others: Vec<View>) -> Vec<View> {
    let mut named: Vec<View> = Vec::new();
    let mut texts = vec![query.to_lowercase()];
    while let Some(text) = texts.pop() {
        let (found, rest): (Vec<View>, Vec<View>) = others.into_iter().partition(|view| {
            let name = view.metadata.name.as_deref().unwrap_or_default();
            text.contains(&view.spec.sql_name(name).to_lowercase())
        });
        texts.extend(found.iter().map(text_of));
        named.extend(found);
        others = rest;
    }
    named.sort_by_key(|view| view.metadata.name.clone());
    named
}

/// All SQL of a view, in small letters.
fn text_of(view: &View) -> String {
    let defaults = view
        .spec
        .parameters
        .iter()
        .filter_map(|parameter| parameter.default.as_deref());
    std::iter::once(view.spec.sql.as_str())
        .chain(defaults)
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}

/// What a worker needs to know of a DataSource: an order has little room, and what tools note in annotations is none of
/// its business.
fn bare_source(source: &DataSource) -> DataSource {
    DataSource {
        metadata: bare_metadata(&source.metadata),
        spec: source.spec.clone(),
        status: None,
    }
}

fn bare_view(view: &View) -> View {
    View {
        metadata: bare_metadata(&view.metadata),
        spec: view.spec.clone(),
        status: None,
    }
}

fn bare_metadata(metadata: &ObjectMeta) -> ObjectMeta {
    let manifest = metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get_key_value(MANIFEST_ANNOTATION))
        .map(|(name, value)| [(name.clone(), value.clone())].into());
    ObjectMeta {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        uid: metadata.uid.clone(),
        annotations: manifest,
        ..ObjectMeta::default()
    }
}

/// The order for one attempt, which may commit until `deadline`.
pub fn order(
    run: RunIdentity,
    spec: ExportSpec,
    inputs: Inputs,
    deadline: Timestamp,
    state_dir: &Path,
) -> WorkOrder {
    let Inputs { sources, lake, views } = inputs;
    WorkOrder {
        version: PROTOCOL_VERSION,
        threads: spec.effective_threads(),
        memory_bytes: usize::try_from(spec.effective_memory_pool()).unwrap_or(usize::MAX),
        run,
        spec,
        sources,
        lake,
        views,
        deadline,
        state_dir: state_dir.to_owned(),
    }
}

/// One key of a secret that an order's DataSources or masks refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse<'a> {
    /// Whose connection or which field needs it, for people.
    pub needed_by: String,

    /// Of the object that refers to it, and so of the secret.
    pub namespace: &'a str,

    /// Of the secret.
    pub name: &'a str,

    /// Within the secret.
    pub key: &'a str,
}

/// Every secret that the order's DataSources and masks refer to.
pub fn secret_uses(order: &WorkOrder) -> Vec<SecretUse<'_>> {
    let mut uses = Vec::new();
    for source in order.sources.iter().chain([&order.lake]) {
        let name = source.metadata.name.as_deref().unwrap_or_default();
        let namespace = source.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        uses.extend(
            secret_references(&source.spec)
                .into_iter()
                .map(|(secret, key)| SecretUse {
                    needed_by: format!("DataSource {name}"),
                    namespace,
                    name: secret,
                    key,
                }),
        );
    }
    uses.extend(order.spec.mask_keys().into_iter().map(|used| SecretUse {
        needed_by: format!("Export {} ({})", order.run.export, used.field),
        namespace: &order.run.namespace,
        name: &used.reference.name,
        key: &used.reference.key,
    }));
    uses
}

/// The values of the secrets that the order's DataSources and masks refer to.
///
/// # Errors
///
/// [`LaunchFailure::Secret`]: one cannot be had. It may be there the next time.
pub async fn secrets_of(order: &WorkOrder, secrets: &dyn Secrets) -> Result<SecretBundle, LaunchFailure> {
    let mut bundle = SecretBundle::default();
    for SecretUse {
        needed_by,
        namespace,
        name,
        key,
    } in secret_uses(order)
    {
        let value = secrets
            .get(namespace, name, key)
            .await
            .map_err(|source| LaunchFailure::Secret {
                needed_by,
                source: Box::new(source),
            })?;
        bundle.insert(namespace, name, key, value);
    }
    Ok(bundle)
}

/// Why a secret that cannot be had keeps an attempt from starting, in one word.
pub(crate) fn secret_reason(error: &SecretError) -> Reason {
    match error {
        SecretError::NotFound { .. } => Reason::SecretNotFound,
        SecretError::KeyMissing { .. } => Reason::SecretKeyMissing,
        SecretError::Unavailable { .. } => Reason::ConnectionFailed,
        SecretError::NotText { .. } => Reason::SecretInvalid,
        _ => Reason::AccessDenied,
    }
}

/// Where an attempt keeps what outgrows its memory. Its own: what a killed attempt leaves is removed with it.
pub fn scratch_dir(state_dir: &Path, attempt_id: &str) -> PathBuf {
    scratch_root(state_dir).join(attempt_id)
}

/// Where all attempts have theirs.
pub(crate) fn scratch_root(state_dir: &Path) -> PathBuf {
    state_dir.join("attempts")
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
    let buckets = [
        spec.lake.as_ref().and_then(|lake| lake.s3.as_ref()),
        spec.object_store.as_ref().and_then(|store| store.s3.as_ref()),
    ];
    for keys in buckets
        .into_iter()
        .flatten()
        .filter_map(|bucket| bucket.secret_ref())
    {
        references.extend(keys.keys().map(|key| (keys.name.as_str(), key)));
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
