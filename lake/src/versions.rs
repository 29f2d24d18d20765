//! Which version of a table is the newest, and what it says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{
    DataContentType, FormatVersion, Manifest, ManifestContentType, ManifestEntry, ManifestFile, ManifestList,
    ManifestStatus, Schema as IcebergSchema, SnapshotRef, TableMetadata,
};
use object_store::path::Path;
use tokio::sync::OnceCell;

use crate::error::LakeError;
use crate::live::LiveFiles;
use crate::name::LakeTableName;
use crate::objects::Objects;
use crate::portable::{ArrowForm, arrow_schema};
use crate::table::MetadataFile;
use crate::types::{Changed, Commit};

/// Keys of the snapshot summary.
pub(crate) mod summary {
    pub const RUN: &str = "lakegate.run-id";
    pub const ATTEMPT: &str = "lakegate.attempt-id";
    pub const EXPORT: &str = "lakegate.export";
    pub const EXPORT_UID: &str = "lakegate.export-uid";
    pub const VERSION: &str = "lakegate.version";
    /// The attempt's data directory, relative to the table.
    pub const DIRECTORY: &str = "lakegate.data-directory";
    /// Where the stores stood that were read, as JSON.
    pub const SOURCES: &str = "lakegate.source-positions";
    /// The masked columns as JSON, by name.
    pub const MASKS: &str = "lakegate.masks";
    pub const ROWS: &str = "added-records";
    pub const BYTES: &str = "added-files-size";
    pub const FILES: &str = "added-data-files";
    pub const TOTAL_ROWS: &str = "total-records";
    pub const TOTAL_BYTES: &str = "total-files-size";
    pub const TOTAL_FILES: &str = "total-data-files";
    /// Rows that a merge has added or changed; what it only wrote again is not among them.
    pub const CHANGED_ROWS: &str = "lakegate.changed-records";
    /// How far an incremental export has come.
    pub const CURSOR: &str = "lakegate.cursor";
}

/// Older snapshots of a table that are kept at hand.
const OLDER: usize = 4;

/// Manifests read at the same time.
const PARALLEL_READS: usize = 8;

/// The name of [`TablePaths::committing`].
pub(crate) const COMMITTING: &str = "_committing";

/// The directories and files of one table.
#[derive(Debug, Clone)]
pub(crate) struct TablePaths {
    pub root: Path,
}

impl TablePaths {
    pub fn new(table: &LakeTableName) -> Self {
        Self {
            root: Path::default()
                .join(table.schema.as_str())
                .join(table.name.as_str()),
        }
    }

    pub fn metadata(&self) -> Path {
        self.root.clone().join("metadata")
    }

    /// Where the manifests of a run go.
    pub fn run_metadata(&self, run_id: &str) -> Path {
        self.metadata().join(run_id)
    }

    pub fn version(&self, number: u64) -> Path {
        self.metadata().join(format!("v{number}.metadata.json"))
    }

    pub fn hint(&self) -> Path {
        self.metadata().join("version-hint.text")
    }

    /// What a drop on behalf of an Export writes first and removes last.
    pub fn drop_note(&self, export_uid: &str) -> Path {
        self.root.clone().join("_dropping").join(export_uid)
    }

    pub fn run_data(&self, run_id: &str) -> Path {
        self.root.clone().join("data").join(run_id)
    }

    pub fn runs(&self) -> Path {
        self.root.clone().join("_runs")
    }

    /// In the directory of an attempt whose commit is under way, of plain files in a bucket.
    pub fn committing(directory: &Path) -> Path {
        directory.clone().join(COMMITTING)
    }

    pub fn run_manifest(&self, run_id: &str) -> Path {
        self.runs().join(format!("{run_id}.json"))
    }
}

/// N of `vN.metadata.json`.
pub(crate) fn version_of(file_name: &str) -> Option<u64> {
    file_name
        .strip_prefix('v')?
        .strip_suffix(".metadata.json")?
        .parse()
        .ok()
}

/// One committed version of a table, immutable.
#[derive(Debug)]
pub(crate) struct Version {
    pub table: LakeTableName,
    pub number: u64,
    /// Tells a dropped and created-again table from the same one.
    e_tag: Option<String>,
    pub metadata: TableMetadata,
    /// What is read: the current snapshot, unless an older one was asked for. None before the first one.
    pub snapshot: Option<SnapshotRef>,
    /// That snapshot's schema, with ids.
    pub schema: Arc<IcebergSchema>,
    /// The columns as queries see them.
    pub arrow: SchemaRef,
    pub live: OnceCell<Arc<LiveFiles>>,
    /// Older snapshots that were asked for, the last one last.
    older: Mutex<Vec<Arc<Version>>>,
}

impl Version {
    pub fn new(
        table: LakeTableName,
        number: u64,
        e_tag: Option<String>,
        metadata: TableMetadata,
        snapshot: Option<SnapshotRef>,
    ) -> Result<Self, iceberg::Error> {
        let schema = match &snapshot {
            Some(snapshot) => snapshot.schema(&metadata)?,
            None => Arc::clone(metadata.current_schema()),
        };
        let arrow = arrow_schema(&schema, ArrowForm::Read);
        Ok(Self {
            table,
            number,
            e_tag,
            metadata,
            snapshot,
            schema,
            arrow,
            live: OnceCell::new(),
            older: Mutex::default(),
        })
    }

    /// The table as of one of its snapshots, with that one's columns.
    pub fn at(&self, snapshot: &SnapshotRef) -> Result<Arc<Self>, iceberg::Error> {
        // pushed and removed one by one, so that a panic elsewhere leaves it whole
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        let known = older.iter().position(|version| {
            let read = version.snapshot.as_ref();
            read.is_some_and(|read| read.snapshot_id() == snapshot.snapshot_id())
        });
        let version = match known {
            Some(position) => older.remove(position),
            None => Arc::new(Self::new(
                self.table.clone(),
                self.number,
                self.e_tag.clone(),
                self.metadata.clone(),
                Some(Arc::clone(snapshot)),
            )?),
        };
        if older.len() == OLDER {
            older.remove(0);
        }
        older.push(Arc::clone(&version));
        Ok(version)
    }

    /// The commit of a run, in whichever snapshot.
    pub fn find_run(&self, run_id: &str) -> Option<(&SnapshotRef, Commit)> {
        self.metadata
            .snapshots()
            .find(|snapshot| property(snapshot, summary::RUN) == Some(run_id))
            .map(|snapshot| (snapshot, commit_of(snapshot, true)))
    }
}

/// What a snapshot of ours says of its run.
fn commit_of(snapshot: &SnapshotRef, already: bool) -> Commit {
    let number = |key| {
        property(snapshot, key)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    };
    let changed = property(snapshot, summary::CHANGED_ROWS).map(|rows| Changed {
        rows: rows.parse().unwrap_or_default(),
        bytes: number(summary::BYTES),
        files: number(summary::FILES),
    });
    Commit {
        snapshot_id: snapshot.snapshot_id(),
        version: number(summary::VERSION),
        rows: number(summary::TOTAL_ROWS),
        bytes: number(summary::TOTAL_BYTES),
        files: number(summary::TOTAL_FILES),
        changed,
        cursor: property(snapshot, summary::CURSOR).map(str::to_owned),
        already,
    }
}

pub(crate) fn property<'a>(snapshot: &'a SnapshotRef, key: &str) -> Option<&'a str> {
    snapshot
        .summary()
        .additional_properties
        .get(key)
        .map(String::as_str)
}

/// Finds and caches the newest version of each table.
#[derive(Debug)]
pub(crate) struct Versions {
    pub objects: Objects,
    cache: Mutex<HashMap<LakeTableName, Arc<Version>>>,
}

impl Versions {
    pub fn new(objects: Objects) -> Self {
        Self {
            objects,
            cache: Mutex::default(),
        }
    }

    /// The newest committed version; `None` when there is none.
    ///
    /// With a cached version this costs two look-ups: that it is still the same object, and that no newer exists.
    pub async fn newest(&self, table: &LakeTableName) -> Result<Option<Arc<Version>>, LakeError> {
        let paths = TablePaths::new(table);
        let cached = self.cache().get(table).cloned();
        if let Some(cached) = cached {
            let (here, next) = (paths.version(cached.number), paths.version(cached.number + 1));
            let (here, next) = futures::join!(self.objects.head(&here), self.objects.head(&next));
            if here?.is_some_and(|meta| meta.e_tag == cached.e_tag) {
                if next?.is_none() {
                    return Ok(Some(cached));
                }
                return self.read_from(table, &paths, cached.number + 1).await;
            }
            self.forget(table);
        }
        // A dropped table may vanish between two requests: then look again.
        match self.lower_bound(&paths).await? {
            None => Ok(None),
            Some(number) => self.read_from(table, &paths, number).await,
        }
    }

    /// The file of the newest version.
    pub async fn metadata_file(&self, table: &LakeTableName) -> Result<Option<MetadataFile>, LakeError> {
        let paths = TablePaths::new(table);
        // a table that is dropped in between is looked for once more: it may be back
        for _ in 0..2 {
            let Some(version) = self.newest(table).await? else {
                return Ok(None);
            };
            let path = paths.version(version.number);
            if let Some(content) = self.objects.get(&path).await? {
                return Ok(Some(MetadataFile {
                    location: self.objects.uri(&path),
                    content,
                }));
            }
            self.forget(table);
        }
        Ok(None)
    }

    pub fn forget(&self, table: &LakeTableName) {
        self.cache().remove(table);
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<LakeTableName, Arc<Version>>> {
        // the map is replaced entry by entry, so a panic elsewhere leaves it whole
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version that exists: by the hint, which may lag, else by listing (the first commit may have died before
    /// its hint).
    async fn lower_bound(&self, paths: &TablePaths) -> Result<Option<u64>, LakeError> {
        if let Some(hint) = self.hint(paths).await?
            && self.objects.head(&paths.version(hint)).await?.is_some()
        {
            return Ok(Some(hint));
        }
        let listed = self.objects.children(Some(&paths.metadata())).await?;
        Ok(listed
            .objects
            .iter()
            .filter_map(|object| version_of(object.location.filename()?))
            .max())
    }

    pub async fn hint(&self, paths: &TablePaths) -> Result<Option<u64>, LakeError> {
        let content = self.objects.get(&paths.hint()).await?;
        Ok(content.and_then(|content| std::str::from_utf8(&content).ok()?.trim().parse().ok()))
    }

    async fn read_from(
        &self,
        table: &LakeTableName,
        paths: &TablePaths,
        mut number: u64,
    ) -> Result<Option<Arc<Version>>, LakeError> {
        while self.objects.head(&paths.version(number + 1)).await?.is_some() {
            number += 1;
        }
        let path = paths.version(number);
        let e_tag = self.objects.head(&path).await?.and_then(|meta| meta.e_tag);
        let Some(content) = self.objects.get(&path).await? else {
            return Ok(None);
        };
        let version = Arc::new(self.parse(table, number, e_tag, &path, &content)?);
        self.cache().insert(table.clone(), Arc::clone(&version));
        Ok(Some(version))
    }

    fn parse(
        &self,
        table: &LakeTableName,
        number: u64,
        e_tag: Option<String>,
        path: &Path,
        content: &[u8],
    ) -> Result<Version, LakeError> {
        let metadata: TableMetadata =
            serde_json::from_slice(content).map_err(|error| self.objects.corrupt(path, error))?;
        let snapshot = metadata.current_snapshot().cloned();
        Version::new(table.clone(), number, e_tag, metadata, snapshot)
            .map_err(|error| self.objects.corrupt(path, error))
    }

    /// The manifests of a snapshot.
    pub async fn manifest_list(
        &self,
        table: &LakeTableName,
        snapshot: &SnapshotRef,
        format: FormatVersion,
    ) -> Result<Vec<ManifestFile>, LakeError> {
        let (path, content) = self.read_uri(table, snapshot.manifest_list()).await?;
        let list = ManifestList::parse_with_version(&content, format)
            .map_err(|error| self.objects.corrupt(&path, error))?;
        Ok(list.entries().to_vec())
    }

    pub async fn manifest(&self, table: &LakeTableName, file: &ManifestFile) -> Result<Manifest, LakeError> {
        let (path, content) = self.read_uri(table, &file.manifest_path).await?;
        Manifest::parse_avro(&content).map_err(|error| self.objects.corrupt(&path, error))
    }

    async fn read_uri(&self, table: &LakeTableName, uri: &str) -> Result<(Path, bytes::Bytes), LakeError> {
        let path = self.objects.path_of(table, uri)?;
        if let Some(content) = self.objects.get(&path).await? {
            return Ok((path, content));
        }
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        Err(self.objects.error("find", &path, missing))
    }

    /// The data manifests of a version's snapshot that have live files, each with its live entries.
    ///
    /// Row-level deletes are refused: leaving them out would bring deleted rows back.
    pub async fn live_manifests(&self, version: &Version) -> Result<Vec<LiveManifest>, LakeError> {
        let Some(snapshot) = &version.snapshot else {
            return Ok(Vec::new());
        };
        let files = self
            .manifest_list(&version.table, snapshot, version.metadata.format_version())
            .await?;
        futures::stream::iter(files.into_iter().filter(may_have_live_files))
            .map(|file| async move {
                let manifest = self.manifest(&version.table, &file).await?;
                Ok::<_, LakeError>(LiveManifest { file, manifest })
            })
            .buffered(PARALLEL_READS)
            .try_filter(|live| futures::future::ready(live.entries().next().is_some()))
            .try_collect()
            .await
    }
}

fn may_have_live_files(file: &ManifestFile) -> bool {
    // absent counts mean unknown
    file.added_files_count != Some(0) || file.existing_files_count != Some(0)
}

/// A manifest and what the list says about it.
#[derive(Debug)]
pub(crate) struct LiveManifest {
    pub file: ManifestFile,
    pub manifest: Manifest,
}

impl LiveManifest {
    pub fn entries(&self) -> impl Iterator<Item = &ManifestEntry> {
        self.manifest
            .entries()
            .iter()
            .map(AsRef::as_ref)
            .filter(|entry| entry.is_alive())
    }

    pub fn is_delete(&self) -> bool {
        self.file.content == ManifestContentType::Deletes
            || self
                .entries()
                .any(|entry| entry.content_type() != DataContentType::Data)
    }

    /// Data and file sequence number of an entry: those that are absent are the manifest's own.
    pub fn sequence_numbers(&self, entry: &ManifestEntry) -> (i64, i64) {
        debug_assert_ne!(entry.status(), ManifestStatus::Deleted);
        let inherited = self.file.sequence_number;
        (
            entry.sequence_number().unwrap_or(inherited),
            entry.file_sequence_number.unwrap_or(inherited),
        )
    }

    pub fn snapshot_id(&self, entry: &ManifestEntry) -> i64 {
        entry.snapshot_id().unwrap_or(self.file.added_snapshot_id)
    }
}
