//! What follows a commit: the version hint, the run manifest and `_SUCCESS`.
//!
//! None of it decides anything, so whoever finds a committed run without it writes it, an attempt that was not the
//! winner included.

use std::collections::BTreeMap;

use bytes::Bytes;
use iceberg::spec::{Schema, SnapshotRef};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::commit::relative;
use crate::error::LakeError;
use crate::files::hex;
use crate::name::LakeTableName;
use crate::types::{ColumnMask, SourcePosition, WrittenFiles};
use crate::versions::{TablePaths, Version, Versions, property, summary};

/// Bytes of a file read at a time to hash it.
const HASHED_AT_ONCE: u64 = 8 * 1024 * 1024;

/// `_runs/<run>.json`: what a run published. Who reads plain Parquet reads `directory` of the newest one, but of a merge:
/// then files of earlier runs belong to the table as well, and only its metadata tells which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunManifest {
    pub run_id: String,
    pub attempt_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// Uid of the Export; only of plain files, where no snapshot has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_uid: Option<String>,
    /// `schema.table`.
    pub table: String,
    /// Absent of plain files, which have no snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<i64>,
    /// N of `vN.metadata.json`; absent of plain files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// RFC 3339.
    pub committed_at: String,
    /// Directory of the data files, relative to the table.
    pub directory: String,
    pub rows: u64,
    pub bytes: u64,
    pub files: Vec<RunFile>,
    /// Of a run that changed only a part of the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<RunMerge>,
    /// How far an incremental export has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Where in their logs the stores stood that the run read. One has several where its tables were read at moments of
    /// their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourcePosition>,
    /// SHA-256 of the schema as JSON, in hexadecimal: equal as long as columns, types and field ids are.
    pub schema_hash: String,
    /// What the directories' names tell, outermost first; only of plain files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_fields: Vec<RunPartitionField>,
    pub columns: Vec<RunColumn>,
    /// What a snapshot's summary would say of the rows; only of plain files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub summary: BTreeMap<String, String>,
}

/// What a merge has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunMerge {
    /// Rows that were new or changed; the others of `rows` were written again beside them.
    pub changed_rows: u64,
    /// Rows of the table.
    pub table_rows: u64,
    /// Data files of the table.
    pub table_files: u64,
}

/// A data file of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFile {
    /// Relative to the table.
    pub path: String,
    pub size: u64,
    pub rows: u64,
    /// Of the whole file, in hexadecimal.
    pub sha256: String,
    /// The value of each partition field as text; only of plain files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partition: BTreeMap<String, Option<String>>,
}

/// A level of the directories of plain files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunPartitionField {
    pub name: String,
    /// The column that it is of.
    pub column: String,
    /// As Iceberg writes it, such as `day` and `bucket[16]`. A column by `identity` is in no file.
    pub transform: String,
}

/// A column of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunColumn {
    /// Iceberg field id.
    pub id: i32,
    pub name: String,
    /// Iceberg type; nested ones as JSON.
    pub data_type: serde_json::Value,
    pub required: bool,
    /// How its values were hidden; absent of a clear column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<ColumnMask>,
}

/// Writes what is missing of the commit of `snapshot`. `files` are the winner's, when they are at hand.
pub(crate) async fn finish(
    versions: &Versions,
    version: &Version,
    snapshot: &SnapshotRef,
    files: Option<&WrittenFiles>,
) -> Result<(), LakeError> {
    let objects = &versions.objects;
    let paths = TablePaths::new(&version.table);
    let run_id = property(snapshot, summary::RUN).unwrap_or_default();
    let unfinished = |what: &str, error: LakeError| LakeError::CommitUnfinished {
        table: version.table.clone(),
        run_id: run_id.to_owned(),
        what: what.to_owned(),
        source: Box::new(error),
    };
    // The hint is a lower bound: two writers may still put it back by one or two versions, and readers probe on.
    let hint = versions
        .hint(&paths)
        .await
        .map_err(|error| unfinished("the version hint", error))?;
    if hint.is_none_or(|hint| hint < version.number) {
        // digits only: DuckDB and PyIceberg fail on a line feed
        let content = Bytes::from(version.number.to_string());
        objects
            .put(&paths.hint(), content)
            .await
            .map_err(|error| unfinished("the version hint", error))?;
    }
    let manifest = paths.run_manifest(run_id);
    let directory = property(snapshot, summary::DIRECTORY).unwrap_or_default();
    let report = async {
        if objects.head(&manifest).await?.is_none() {
            let files = match files {
                Some(files) => files
                    .files
                    .iter()
                    .map(|file| RunFile {
                        path: relative(&paths.root, &file.path),
                        size: file.size,
                        rows: file.metrics.rows,
                        sha256: file.sha256.clone(),
                        partition: BTreeMap::new(),
                    })
                    .collect(),
                None => hash_files(versions, version, snapshot).await?,
            };
            let content =
                run_manifest(version, snapshot, directory, files).map_err(|source| LakeError::Encode {
                    table: version.table.clone(),
                    what: "the run manifest",
                    source: Box::new(source),
                })?;
            objects.put(&manifest, content.into()).await?;
        }
        Ok(())
    };
    report
        .await
        .map_err(|error| unfinished("the run manifest", error))?;
    let success = paths
        .root
        .parts()
        .chain(Path::from(directory).parts())
        .collect::<Path>()
        .join("_SUCCESS");
    objects
        .put(&success, Bytes::new())
        .await
        .map_err(|error| unfinished("_SUCCESS", error))
}

fn run_manifest(
    version: &Version,
    snapshot: &SnapshotRef,
    directory: &str,
    files: Vec<RunFile>,
) -> Result<Vec<u8>, serde_json::Error> {
    let schema = snapshot
        .schema(&version.metadata)
        .unwrap_or_else(|_| version.schema.clone());
    let mut columns = columns_of(&schema)?;
    let schema_hash = schema_hash(&columns)?;
    if let Some(masks) = property(snapshot, summary::MASKS) {
        let mut masks: BTreeMap<String, ColumnMask> = serde_json::from_str(masks)?;
        for column in &mut columns {
            column.mask = masks.remove(&column.name);
        }
    }
    let sources = property(snapshot, summary::SOURCES);
    let sources = sources.map_or_else(|| Ok(Vec::new()), serde_json::from_str)?;
    let text = |key| property(snapshot, key).map(str::to_owned);
    let number = |key| property(snapshot, key).and_then(|text| text.parse().ok());
    serde_json::to_vec_pretty(&RunManifest {
        run_id: text(summary::RUN).unwrap_or_default(),
        attempt_id: text(summary::ATTEMPT).unwrap_or_default(),
        export: text(summary::EXPORT),
        export_uid: None,
        table: version.table.to_string(),
        snapshot_id: Some(snapshot.snapshot_id()),
        version: text(summary::VERSION)
            .and_then(|number| number.parse().ok())
            .or(Some(0)),
        committed_at: jiff::Timestamp::from_millisecond(snapshot.timestamp_ms())
            .map(|time| time.to_string())
            .unwrap_or_default(),
        directory: directory.to_owned(),
        rows: files.iter().map(|file| file.rows).sum(),
        bytes: files.iter().map(|file| file.size).sum(),
        files,
        merge: number(summary::CHANGED_ROWS).map(|changed_rows| RunMerge {
            changed_rows,
            table_rows: number(summary::TOTAL_ROWS).unwrap_or_default(),
            table_files: number(summary::TOTAL_FILES).unwrap_or_default(),
        }),
        cursor: text(summary::CURSOR),
        sources,
        schema_hash,
        partition_fields: Vec::new(),
        columns,
        summary: BTreeMap::new(),
    })
}

/// The columns of a schema, in the clear.
pub(crate) fn columns_of(schema: &Schema) -> Result<Vec<RunColumn>, serde_json::Error> {
    let fields = schema.as_struct().fields().iter();
    fields
        .map(|field| {
            Ok(RunColumn {
                id: field.id,
                name: field.name.clone(),
                data_type: serde_json::to_value(&field.field_type)?,
                required: field.required,
                mask: None,
            })
        })
        .collect()
}

/// Of columns in the clear.
pub(crate) fn schema_hash(columns: &[RunColumn]) -> Result<String, serde_json::Error> {
    Ok(hex(&Sha256::digest(serde_json::to_vec(columns)?)))
}

/// The files a snapshot added, hashed by reading them again: for a winner that died before its run manifest.
async fn hash_files(
    versions: &Versions,
    version: &Version,
    snapshot: &SnapshotRef,
) -> Result<Vec<RunFile>, LakeError> {
    let table: &LakeTableName = &version.table;
    let root = TablePaths::new(table).root;
    let mut hashed = Vec::new();
    for file in versions
        .manifest_list(table, snapshot, version.metadata.format_version())
        .await?
    {
        if file.added_snapshot_id != snapshot.snapshot_id() || !file.has_added_files() {
            continue;
        }
        let manifest = versions.manifest(table, &file).await?;
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let path = versions.objects.path_of(table, entry.file_path())?;
            hashed.push(RunFile {
                path: relative(&root, &path),
                size: entry.file_size_in_bytes(),
                rows: entry.record_count(),
                sha256: hash_object(versions, &path, entry.file_size_in_bytes()).await?,
                partition: BTreeMap::new(),
            });
        }
    }
    Ok(hashed)
}

/// Reads in ranges: one request for a whole file could take longer than a store is waited for.
async fn hash_object(versions: &Versions, path: &Path, size: u64) -> Result<String, LakeError> {
    let objects = &versions.objects;
    let mut hash = Sha256::new();
    let mut start = 0;
    while start < size {
        let end = size.min(start + HASHED_AT_ONCE);
        let part = objects.store.get_range(path, start..end).await;
        hash.update(&part.map_err(|error| objects.error("read", path, error))?);
        start = end;
    }
    Ok(hex(&hash.finalize()))
}
