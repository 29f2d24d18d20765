//! Lake tables: Iceberg v2 tables on an object store, written by runs and read by the gateway.
//!
//! A table lives under `<root>/<schema>/<table>/`:
//!
//! ```text
//! data/<run>/<attempt>/<part>.parquet   one directory an attempt; never overwritten
//! data/<run>/<attempt>/_SUCCESS         written last, by the attempt that won
//! metadata/<run>/*.avro                 manifests and manifest lists
//! metadata/vN.metadata.json             creating this file IS the commit
//! metadata/version-hint.text            a lower bound of N
//! _runs/<run>.json                      what the run published: files, rows, hashes
//! ```

mod error;
mod table;
mod types;
mod writer;

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;

pub use error::LakeError;
pub use table::{LakeTable, LakeTableName};
pub use types::{Commit, CommitInfo, Compression, Progress, ProgressCallback, WriteOptions, WrittenFiles};
pub use writer::TableWriter;

/// One lake: a directory (later also a bucket) of Iceberg tables named `schema.table`.
#[derive(Debug)]
pub struct Lake {
    location: String,
}

impl Lake {
    /// Opens a lake in a local directory, creating the directory when absent.
    pub async fn open_directory(path: &Path) -> Result<Arc<Self>, LakeError> {
        let path = std::path::absolute(path).map_err(|source| LakeError::Directory {
            path: path.to_owned(),
            source,
        })?;
        tokio::fs::create_dir_all(&path)
            .await
            .map_err(|source| LakeError::Directory {
                path: path.clone(),
                source,
            })?;
        Ok(Arc::new(Self {
            location: format!("file://{}", path.display()),
        }))
    }

    /// Absolute URI of the lake's root, without a trailing slash.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Every table that has a committed version, sorted.
    pub async fn list(&self) -> Result<Vec<LakeTableName>, LakeError> {
        Err(LakeError::NotImplemented {
            what: "list".to_owned(),
        })
    }

    /// The newest committed version of a table; `None` when it has none.
    pub async fn load(&self, schema: &str, table: &str) -> Result<Option<LakeTable>, LakeError> {
        Err(LakeError::NotImplemented {
            what: format!("load {schema}.{table}"),
        })
    }

    /// Starts writing the data files of one attempt of a run. Nothing becomes visible before [`Lake::replace`].
    pub async fn write(
        &self,
        schema: &str,
        table: &str,
        _arrow_schema: SchemaRef,
        _options: WriteOptions,
    ) -> Result<TableWriter, LakeError> {
        Err(LakeError::NotImplemented {
            what: format!("write {schema}.{table}"),
        })
    }

    /// Makes the written files the whole content of the table, in one atomic commit.
    pub async fn replace(&self, _files: WrittenFiles, _info: CommitInfo) -> Result<Commit, LakeError> {
        Err(LakeError::NotImplemented {
            what: "replace".to_owned(),
        })
    }

    /// The commit of a run, if it has one.
    pub async fn find_commit(
        &self,
        schema: &str,
        table: &str,
        _run_id: &str,
    ) -> Result<Option<Commit>, LakeError> {
        Err(LakeError::NotImplemented {
            what: format!("find_commit {schema}.{table}"),
        })
    }

    /// A provider that reads exactly the snapshot of `table`, whatever is committed later.
    pub async fn provider(self: &Arc<Self>, table: &LakeTable) -> Result<Arc<dyn TableProvider>, LakeError> {
        Err(LakeError::NotImplemented {
            what: format!("provider {}", table.name()),
        })
    }

    /// Removes a table and all its files.
    pub async fn drop_table(&self, schema: &str, table: &str) -> Result<(), LakeError> {
        Err(LakeError::NotImplemented {
            what: format!("drop_table {schema}.{table}"),
        })
    }

    /// Removes the unreferenced files of a run that has ended; returns how many. The caller vouches that no
    /// attempt of the run is alive, or that the run has committed.
    pub async fn sweep(&self, schema: &str, table: &str, _run_id: &str) -> Result<usize, LakeError> {
        Err(LakeError::NotImplemented {
            what: format!("sweep {schema}.{table}"),
        })
    }
}
