//! A table as loaded at one version.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use iceberg::spec::SnapshotRef;

use crate::error::LakeError;
use crate::name::LakeTableName;
use crate::objects::Objects;
use crate::versions::{TablePaths, Version, property, summary};

/// A `vN.metadata.json`.
#[derive(Debug, Clone)]
pub struct MetadataFile {
    /// Its absolute URI.
    pub location: String,
    /// JSON, byte for byte as it was committed.
    pub content: Bytes,
}

/// Which state of a table is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// The snapshot of this id, as long as it is kept.
    Snapshot(i64),
    /// The snapshot that was current at this time.
    Time(jiff::Timestamp),
}

impl fmt::Display for AsOf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AsOf::Snapshot(id) => write!(formatter, "snapshot {id}"),
            AsOf::Time(time) => write!(formatter, "snapshot of {time}"),
        }
    }
}

/// A snapshot that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSnapshot {
    pub id: i64,
    pub parent_id: Option<i64>,
    pub committed_at: jiff::Timestamp,
    /// `append`, `overwrite`, `replace` or `delete`.
    pub operation: String,
    /// URI of its list of manifests.
    pub manifest_list: String,
    /// What its writer says of it.
    pub summary: BTreeMap<String, String>,
    /// The run that wrote it; `None` when another engine did.
    pub run_id: Option<String>,
}

impl TableSnapshot {
    fn new(snapshot: &SnapshotRef) -> Self {
        Self {
            id: snapshot.snapshot_id(),
            parent_id: snapshot.parent_snapshot_id(),
            committed_at: committed_at(snapshot),
            operation: snapshot.summary().operation.as_str().to_owned(),
            manifest_list: snapshot.manifest_list().to_owned(),
            summary: snapshot
                .summary()
                .additional_properties
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            run_id: property(snapshot, summary::RUN).map(str::to_owned),
        }
    }
}

/// Times that no calendar has are those of a damaged table, and the nearest is as good.
fn committed_at(snapshot: &SnapshotRef) -> jiff::Timestamp {
    let milliseconds = snapshot.timestamp_ms();
    jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(if milliseconds < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    })
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
        let snapshot = self.version.snapshot.as_ref()?;
        Some(snapshot.snapshot_id())
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
        self.number(summary::TOTAL_BYTES)
    }

    /// When the current snapshot was committed.
    pub fn committed_at(&self) -> Option<jiff::Timestamp> {
        self.version.snapshot.as_ref().map(committed_at)
    }

    /// The run that wrote the current snapshot; `None` when another engine did.
    pub fn run_id(&self) -> Option<&str> {
        property(self.version.snapshot.as_ref()?, summary::RUN)
    }

    /// The snapshots that are kept, the oldest first.
    pub fn snapshots(&self) -> Vec<TableSnapshot> {
        let mut snapshots: Vec<TableSnapshot> = self
            .version
            .metadata
            .snapshots()
            .map(TableSnapshot::new)
            .collect();
        snapshots.sort_by_key(|snapshot| (snapshot.committed_at, snapshot.id));
        snapshots
    }

    /// The table as it was, with the columns it had.
    pub(crate) fn as_of(&self, as_of: AsOf, objects: &Objects) -> Result<Self, LakeError> {
        let metadata = &self.version.metadata;
        let found = match as_of {
            AsOf::Snapshot(id) => metadata.snapshot_by_id(id),
            AsOf::Time(time) => {
                let log = metadata.history().iter();
                let current = log
                    .filter(|entry| entry.timestamp_ms <= time.as_millisecond())
                    .max_by_key(|entry| entry.timestamp_ms);
                current.and_then(|entry| metadata.snapshot_by_id(entry.snapshot_id))
            }
        };
        let Some(snapshot) = found else {
            let oldest = self.snapshots().into_iter().next();
            return Err(LakeError::NoSnapshot {
                table: self.version.table.clone(),
                as_of,
                oldest: oldest.map(|oldest| (oldest.id, oldest.committed_at)),
            });
        };
        let version = self.version.at(snapshot).map_err(|error| {
            objects.corrupt(
                &TablePaths::new(&self.version.table).version(self.version.number),
                error,
            )
        })?;
        Ok(Self { version })
    }

    /// The Export that wrote the current snapshot, by its uid.
    pub fn export_uid(&self) -> Option<&str> {
        property(self.version.metadata.current_snapshot()?, summary::EXPORT_UID)
    }

    /// What the commit of the current snapshot recorded under a key of `CommitInfo::summary`.
    pub fn recorded(&self, key: &str) -> Option<&str> {
        property(
            self.version.metadata.current_snapshot()?,
            &format!("lakegate.{key}"),
        )
    }

    /// Absolute URI of the table, as its metadata has it.
    pub fn location(&self) -> &str {
        self.version.metadata.location()
    }

    fn number(&self, key: &str) -> Option<u64> {
        property(self.version.snapshot.as_ref()?, key)?.parse().ok()
    }
}
