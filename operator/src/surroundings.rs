//! What the operator asks of the crates below it, as one seam.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lakegate_crds::{DataSource, DestinationSpec, MANIFEST_ANNOTATION};
use lakegate_federation::{Federation, SourceHealth, ViewHealth};
use lakegate_lake::{Commit, Lake, LakeError};
use lakegate_store::Key;
use tokio::sync::watch;

use crate::protocol::Report;

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

    /// Removes what the dead attempts of an ended run left in the lake.
    async fn sweep(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        run_uid: &str,
    ) -> Result<u64, String>;
}

/// The real ones.
#[derive(Debug, Clone)]
pub struct RealSurroundings {
    federation: std::sync::Arc<Federation>,
    state_dir: PathBuf,
}

impl RealSurroundings {
    /// What the federation serves, with lakes as they lie on disk.
    pub fn new(federation: std::sync::Arc<Federation>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            federation,
            state_dir: state_dir.into(),
        }
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
            let lake = open_lake(lake, &self.state_dir).await?;
            lake.find_commit(&destination.schema, &destination.table, run_uid)
                .await
        };
        found
            .await
            .map(|commit| commit.as_ref().map(report_of))
            .map_err(|error| chain(&error))
    }

    async fn sweep(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        run_uid: &str,
    ) -> Result<u64, String> {
        let (lake, destination, run_uid) = (lake.clone(), destination.clone(), run_uid.to_owned());
        let state_dir = self.state_dir.clone();
        let runtime = tokio::runtime::Handle::current();
        // The lake's future is bound to its thread.
        let swept = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let lake = open_lake(&lake, &state_dir)
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
) -> Result<std::sync::Arc<Lake>, LakeError> {
    let Some(spec) = &source.spec.lake else {
        return Err(LakeError::NotImplemented {
            what: "a DataSource without spec.lake as a destination".to_owned(),
            remedy: "name a lake".to_owned(),
        });
    };
    Lake::open(spec, &base_dir(source), state_dir).await
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
