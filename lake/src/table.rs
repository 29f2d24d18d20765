//! A table as loaded at one version.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use crate::name::LakeTableName;
use crate::versions::{Version, property, summary};

/// A `vN.metadata.json`.
#[derive(Debug, Clone)]
pub struct MetadataFile {
    /// Its absolute URI.
    pub location: String,
    /// JSON, byte for byte as it was committed.
    pub content: Bytes,
}

/// One committed version of a table. Cheap to clone; never changes.
#[derive(Debug, Clone)]
pub struct LakeTable {
    pub(crate) version: Arc<Version>,
}

impl LakeTable {
    pub fn name(&self) -> &LakeTableName {
        &self.version.table
    }

    /// N of `vN.metadata.json`; grows with every commit, so that it tells whether anything changed.
    pub fn version(&self) -> u64 {
        self.version.number
    }

    pub fn snapshot_id(&self) -> Option<i64> {
        self.version.metadata.current_snapshot_id()
    }

    /// The columns as queries see them.
    pub fn schema(&self) -> &SchemaRef {
        &self.version.arrow
    }

    /// Rows of the current snapshot, by its summary.
    pub fn rows(&self) -> Option<u64> {
        self.number(summary::TOTAL_ROWS)
    }

    /// Bytes of the current snapshot's data files, by its summary.
    pub fn bytes(&self) -> Option<u64> {
        self.number("total-files-size")
    }

    /// When the current snapshot was committed.
    pub fn committed_at(&self) -> Option<jiff::Timestamp> {
        let snapshot = self.version.metadata.current_snapshot()?;
        jiff::Timestamp::from_millisecond(snapshot.timestamp_ms()).ok()
    }

    /// The run that wrote the current snapshot; `None` when another engine did.
    pub fn run_id(&self) -> Option<&str> {
        property(self.version.metadata.current_snapshot()?, summary::RUN)
    }

    /// Absolute URI of the table, as its metadata has it.
    pub fn location(&self) -> &str {
        self.version.metadata.location()
    }

    fn number(&self, key: &str) -> Option<u64> {
        property(self.version.metadata.current_snapshot()?, key)?
            .parse()
            .ok()
    }
}
