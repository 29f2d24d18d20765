//! Plain data that crosses the crate's boundary.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use iceberg::spec::{Schema, TableMetadata};
use lakegate_crds::{PartitionField, Profile, TableFormat};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::metrics::FileMetrics;
use crate::name::LakeTableName;
use crate::partition::{PartitionValue, Partitioning};

/// Compression of the Parquet pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Zstandard, level 3.
    #[default]
    Zstd,
    Snappy,
}

/// What a writer has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    pub rows: u64,
    /// Encoded bytes handed to the store so far.
    pub bytes: u64,
    /// Finished files.
    pub files: u64,
}

/// Called after every batch and every finished file.
pub type ProgressCallback = Arc<dyn Fn(Progress) + Send + Sync>;

/// How the values of a column were hidden before they came here, as the snapshot and the run manifest record it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnMask {
    /// The method, as a manifest names it.
    pub method: String,
    /// Columns of one domain and key hold the same hash or token for the same value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// `name/key` of the Secret that held the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Tells keys apart and reveals nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

impl ColumnMask {
    /// Whether the column has bounds in footers and manifests. Of what leaves parts of a text in the clear they would
    /// show the first and the last where anyone looks.
    pub(crate) fn has_bounds(&self) -> bool {
        !matches!(self.method.as_str(), "partial" | "email" | "phone")
    }

    /// Whether the texts have nothing in common that compression could find but their alphabet. Looking for more makes
    /// it three times as slow and the result 4 % larger (zstd 3 beside 1, hexadecimal digits).
    pub(crate) fn is_random(&self) -> bool {
        matches!(self.method.as_str(), "hmac" | "tokenize")
    }
}

/// Where in its log a store stood when a run read it, as the snapshot and the run manifest record it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourcePosition {
    /// The catalog name of the store.
    pub catalog: String,
    /// Of PostgreSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsn: Option<String>,
    /// Of MySQL and MariaDB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
    /// Whether a replica was read.
    pub replica: bool,
}

/// How one attempt of a run writes.
#[derive(Clone)]
pub struct WriteOptions {
    /// Identifies the run over all its attempts: a run is committed at most once.
    pub run_id: String,
    /// Identifies this attempt of the run.
    pub attempt_id: String,
    pub compression: Compression,
    /// Threads that encode.
    pub threads: usize,
    /// Most rows of a row group.
    pub row_group_rows: usize,
    /// Bytes of Arrow data after which a row group ends. Three times as many bound the writer's memory: what is gathered,
    /// and what is being encoded.
    pub row_group_bytes: usize,
    /// Rows after which a file ends, at a row group boundary. No row group has more.
    pub file_rows: u64,
    /// Bytes after which a file ends, at a row group boundary.
    pub file_bytes: u64,
    /// Which types the columns become.
    pub profile: Profile,
    /// An Iceberg table, or a plain directory a run.
    pub format: TableFormat,
    /// The masked columns, by their names in the schema that is written.
    pub masks: BTreeMap<String, ColumnMask>,
    /// How the table is parted, by columns of the schema that is written.
    pub partition_by: Vec<PartitionField>,
    /// Columns with bloom filters, by the names that `partition_by` has.
    pub bloom_filters: Vec<String>,
    pub progress: Option<ProgressCallback>,
    /// Memory and disk that rows of a partitioned table are sorted in; None has no bounds.
    pub runtime: Option<Arc<RuntimeEnv>>,
}

impl WriteOptions {
    /// The defaults: zstd, one thread, row groups of 1 Mi rows or 32 MiB, files of 128 MiB.
    pub fn new(run_id: impl Into<String>, attempt_id: impl Into<String>) -> Self {
        Self {
            run_id: run_id.into(),
            attempt_id: attempt_id.into(),
            compression: Compression::default(),
            threads: 1,
            row_group_rows: 1024 * 1024,
            row_group_bytes: 32 * 1024 * 1024,
            file_rows: u64::MAX,
            file_bytes: 128 * 1024 * 1024,
            profile: Profile::default(),
            format: TableFormat::default(),
            masks: BTreeMap::new(),
            partition_by: Vec::new(),
            bloom_filters: Vec::new(),
            progress: None,
            runtime: None,
        }
    }
}

impl fmt::Debug for WriteOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WriteOptions")
            .field("run_id", &self.run_id)
            .field("attempt_id", &self.attempt_id)
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

/// One finished data file.
#[derive(Debug, Clone)]
pub(crate) struct WrittenFile {
    pub path: Path,
    pub size: u64,
    pub sha256: String,
    pub metrics: FileMetrics,
    /// What its rows have in common.
    pub partition: PartitionValue,
}

/// The finished data files of one attempt, to be committed by `Lake::replace`.
#[derive(Debug, Clone)]
pub struct WrittenFiles {
    pub(crate) table: LakeTableName,
    /// Root of the lake they were written into.
    pub(crate) base: Arc<str>,
    /// The table's schema as planned when writing began; the files hold its field ids.
    pub(crate) schema: Arc<Schema>,
    pub(crate) run_id: String,
    pub(crate) attempt_id: String,
    pub(crate) directory: Path,
    pub(crate) files: Vec<WrittenFile>,
    pub(crate) format: TableFormat,
    /// The masked columns, by their names in the table.
    pub(crate) masks: BTreeMap<String, ColumnMask>,
    /// How the table is parted from now on.
    pub(crate) partitioning: Arc<Partitioning>,
    /// Columns with bloom filters, by their names in the table.
    pub(crate) bloom_filters: Vec<String>,
    /// What stays of the table beside these files; without it, nothing does.
    pub(crate) merge: Option<Arc<Merged>>,
}

/// What a merge decided on one version of its table.
#[derive(Debug)]
pub(crate) struct Merged {
    /// N of `vN.metadata.json`.
    pub version: u64,
    pub snapshot_id: Option<i64>,
    /// Data files that leave the table.
    pub replaced: HashSet<Path>,
    /// Rows that are new or changed, without those that are only written again.
    pub changed_rows: u64,
}

impl Merged {
    pub fn is_based_on(&self, version: u64, metadata: &TableMetadata) -> bool {
        self.version == version && self.snapshot_id == metadata.current_snapshot_id()
    }
}

impl WrittenFiles {
    pub fn table(&self) -> &LakeTableName {
        &self.table
    }

    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    pub fn attempt_id(&self) -> &str {
        &self.attempt_id
    }

    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.metrics.rows).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Number of data files; a run without rows has none.
    pub fn files(&self) -> u64 {
        self.files.len() as u64
    }
}

/// What a commit records beside the data.
#[derive(Debug, Clone, Default)]
pub struct CommitInfo {
    pub run_id: String,
    pub attempt_id: String,
    /// `namespace/name` of the Export, for people who read the snapshot.
    pub export: Option<String>,
    /// Uid of the Export: whose table it is, when it comes to removing it.
    pub export_uid: Option<String>,
    /// Where the stores stood; those that keep no log are not among them.
    pub sources: Vec<SourcePosition>,
    /// Further properties of the snapshot summary; keys get the prefix `lakegate.`.
    pub summary: BTreeMap<String, String>,
}

/// What a merge has changed of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// Rows that were new or changed.
    pub rows: u64,
    /// Bytes of the data files that were written for it.
    pub bytes: u64,
    /// Number of those files.
    pub files: u64,
}

/// A committed run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// 0 of plain files, which have none.
    pub snapshot_id: i64,
    /// N of `vN.metadata.json`; 0 of plain files.
    pub version: u64,
    /// Rows of the table.
    pub rows: u64,
    /// Bytes of its data files.
    pub bytes: u64,
    /// Number of its data files.
    pub files: u64,
    /// What a merge has changed; without one, everything.
    pub changed: Option<Changed>,
    /// How far an incremental export has come.
    pub cursor: Option<String>,
    /// True when the run had been committed before this call; the numbers are the earlier commit's.
    pub already: bool,
}
