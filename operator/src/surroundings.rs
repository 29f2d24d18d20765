//! What the operator asks of the crates below it, as one seam.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use lakegate_crds::{DEFAULT_NAMESPACE, DataSource, DestinationSpec, MANIFEST_ANNOTATION};
use lakegate_federation::{Federation, SourceHealth, ViewHealth};
use lakegate_lake::{Commit, Dropped, Lake, LakeContext, LakeError, Patience, TableOwner};
use lakegate_store::{Key, Redactor, SecretError, SecretValue, Secrets};
use tokio::sync::watch;

use crate::protocol::{CursorReport, Report, Size};

/// The stores and lakes round the operator.
#[async_trait]
pub trait Surroundings: Send + Sync + 'static {
    /// What is known of a DataSource.
    fn source_health(&self, key: &Key) -> Option<SourceHealth>;

    /// What is known of a View.
    fn view_health(&self, key: &Key) -> Option<ViewHealth>;

    /// Changes whenever one of the above does.
    fn changes(&self) -> watch::Receiver<u64>;

    /// What a run has published, if it has; in words why the lake does not say.
    async fn find_commit(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        run_uid: &str,
    ) -> Result<Option<Report>, String>;

    /// Removes the table of an Export that is being deleted, if it is that Export's; in words why it could not be done.
    async fn drop_table(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        owner: &TableOwner,
    ) -> Result<Dropped, String>;

    /// Removes what the dead attempts of an ended run left in the lake.
    async fn sweep(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        run_uid: &str,
    ) -> Result<u64, String>;
}

/// The real ones.
#[derive(Clone)]
pub struct RealSurroundings {
    federation: Arc<Federation>,
    secrets: Arc<dyn Secrets>,
    state_dir: PathBuf,
}

impl RealSurroundings {
    /// What the federation serves, with lakes as they lie on disk or in buckets.
    pub fn new(
        federation: Arc<Federation>,
        secrets: Arc<dyn Secrets>,
        state_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            federation,
            secrets,
            state_dir: state_dir.into(),
        }
    }

    async fn open_lake(&self, source: &DataSource) -> Result<Arc<Lake>, LakeError> {
        // What fails here is tried again by whoever asked.
        open_lake(source, &self.state_dir, &self.secrets, Patience::Short).await
    }
}

/// Secrets, also such as went not long ago: whoever deletes a namespace, or all manifests, deletes the keys of a lake
/// together with the Exports whose tables are to be removed from it.
struct Lasting(Arc<dyn Secrets>);

#[async_trait]
impl Secrets for Lasting {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        match self.0.get(namespace, name, key).await {
            Err(error @ (SecretError::NotFound { .. } | SecretError::Forbidden { .. })) => {
                self.0.last_known(namespace, name, key).ok_or(error)
            }
            found => found,
        }
    }

    fn redactor(&self) -> Redactor {
        self.0.redactor()
    }
}

impl fmt::Debug for RealSurroundings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RealSurroundings")
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Surroundings for RealSurroundings {
    fn source_health(&self, key: &Key) -> Option<SourceHealth> {
        self.federation.health(key)
    }

    fn view_health(&self, key: &Key) -> Option<ViewHealth> {
        self.federation.view_health(key)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.federation.health_changes()
    }

    async fn find_commit(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        run_uid: &str,
    ) -> Result<Option<Report>, String> {
        let found = async {
            let lake = self.open_lake(lake).await?;
            lake.find_commit(&destination.schema, &destination.table, run_uid)
                .await
        };
        found
            .await
            .map(|commit| commit.as_ref().map(report_of))
            .map_err(|error| chain(&error))
    }

    async fn drop_table(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        owner: &TableOwner,
    ) -> Result<Dropped, String> {
        let (lake, destination, owner) = (lake.clone(), destination.clone(), owner.clone());
        let secrets: Arc<dyn Secrets> = Arc::new(Lasting(Arc::clone(&self.secrets)));
        let state_dir = self.state_dir.clone();
        let runtime = tokio::runtime::Handle::current();
        // The lake's future is bound to its thread.
        let dropped = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let lake = open_lake(&lake, &state_dir, &secrets, Patience::Short)
                    .await
                    .map_err(|error| chain(&error))?;
                lake.drop_owned(&destination.schema, &destination.table, &owner)
                    .await
                    .map_err(|error| chain(&error))
            })
        });
        match dropped.await {
            Ok(dropped) => dropped,
            Err(error) => Err(error.to_string()),
        }
    }

    async fn sweep(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        run_uid: &str,
    ) -> Result<u64, String> {
        let (lake, destination, run_uid) = (lake.clone(), destination.clone(), run_uid.to_owned());
        let surroundings = self.clone();
        let runtime = tokio::runtime::Handle::current();
        // The lake's future is bound to its thread.
        let swept = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let lake = surroundings
                    .open_lake(&lake)
                    .await
                    .map_err(|error| chain(&error))?;
                lake.sweep(&destination.schema, &destination.table, &run_uid)
                    .await
                    .map_err(|error| chain(&error))
            })
        });
        match swept.await {
            Ok(swept) => swept,
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Opens the lake that a DataSource names.
pub(crate) async fn open_lake(
    source: &DataSource,
    state_dir: &Path,
    secrets: &Arc<dyn Secrets>,
    patience: Patience,
) -> Result<Arc<Lake>, LakeError> {
    let Some(spec) = &source.spec.lake else {
        return Err(LakeError::NotImplemented {
            what: "a DataSource without spec.lake as a destination".to_owned(),
            remedy: "name a lake".to_owned(),
        });
    };
    let context = LakeContext {
        namespace: source
            .metadata
            .namespace
            .clone()
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        base_dir: base_dir(source),
        state_dir: state_dir.to_owned(),
        secrets: Arc::clone(secrets),
        patience,
    };
    Lake::open(spec, &context).await
}

/// What relative paths of a DataSource are relative to: the folder of its manifest.
pub(crate) fn base_dir(source: &DataSource) -> PathBuf {
    let manifest = source
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(MANIFEST_ANNOTATION));
    manifest
        .and_then(|path| Path::new(path).parent())
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// A commit in the operator's words.
pub(crate) fn report_of(commit: &Commit) -> Report {
    Report {
        rows_read: None,
        rows: commit.rows,
        bytes: commit.bytes,
        files: commit.files,
        snapshot_id: commit.snapshot_id,
        already: commit.already,
        changed: commit.changed.map(|changed| Size {
            rows: changed.rows,
            bytes: changed.bytes,
            files: changed.files,
        }),
        cursor: commit
            .cursor
            .clone()
            .map(|to| Box::new(CursorReport { from: None, to })),
        ..Report::default()
    }
}

/// An error with its causes: `outer: inner: root`.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Many errors repeat their cause in their own words.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
