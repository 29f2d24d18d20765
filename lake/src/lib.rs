//! Lake tables: Iceberg v2 tables on an object store, written by runs and read by the gateway.
//!
//! A table lives under `<root>/<schema>/<table>/`:
//!
//! ```text
//! data/<run>/<attempt>-<nonce>/<part>.parquet   one directory an attempt; never overwritten
//! data/<run>/<attempt>-<nonce>/<column>=<value>/…/<partition>-<part>.parquet   of a partitioned table
//! data/<run>/<attempt>-<nonce>/_SUCCESS         in the directory of the attempt that won, written last
//! metadata/<run>/*.avro                         manifests and manifest lists
//! metadata/vN.metadata.json                     creating this file IS the commit
//! metadata/version-hint.text                    a lower bound of N
//! _runs/<run>.json                              what the run published: files, rows, hashes
//! _dropping/<export uid>                        while the table of a deleted Export is being removed
//! ```
//!
//! With `format: Parquet` there is no `metadata/`, and creating `_runs/<run>.json` is the commit; in a bucket a
//! `_committing` is in the attempt's directory meanwhile.
//!
//! Any other engine reads the table by its newest `vN.metadata.json`; who reads plain Parquet reads the directory
//! that the newest run manifest names, unless it tells of a merge.
//!
//! Snapshots are kept: removing them is for the retention of the table, which knows who still reads. On a local
//! disk files are renamed or linked into place, which a killed process cannot leave half done; they are not synced,
//! so a power cut may lose the newest of them. A bucket keeps what it has acknowledged; parts of an upload whose
//! process was killed are no object and are left to the bucket's lifecycle rules.

mod bloom;
mod columns;
mod commit;
mod convert;
mod directories;
mod drop;
mod encode;
mod error;
mod files;
mod finish;
mod live;
mod manifests;
mod merge;
mod metrics;
mod name;
mod objects;
mod ordered;
mod parquet_schema;
mod partition;
mod partition_bounds;
mod plain;
mod portable;
mod proof;
mod provider;
#[cfg(test)]
mod pruning;
mod scan;
mod sorted;
mod sweep;
mod table;
mod types;
mod upload;
mod versions;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::execution::object_store::ObjectStoreUrl;
use futures::{StreamExt, TryStreamExt};
use lakegate_crds::{LakeSpec, S3Spec, TableFormat};
use lakegate_store::Secrets;
use lakegate_store::s3::{self, S3Context};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use tokio::sync::OnceCell;

pub use drop::{Dropped, TableOwner};
pub use error::LakeError;
pub use finish::{RunColumn, RunFile, RunManifest, RunMerge, RunPartitionField};
pub use lakegate_store::s3::{Patience, S3Error};
pub use merge::TableMerge;
pub use name::{LakeTableName, portable_column_name};
pub use table::{AsOf, LakeTable, MetadataFile, TableSnapshot};
pub use types::{
    Changed, ColumnMask, Commit, CommitInfo, Compression, Progress, ProgressCallback, SourcePosition,
    WriteOptions, WrittenFiles,
};
pub use writer::TableWriter;

use commit::{Committer, relative};
use convert::Converter;
use files::FilePlace;
use live::LiveFiles;
use name::check_key_part;
use objects::Objects;
use partition::{Parted, Partitioning};
use portable::{ArrowForm, arrow_schema, next_schema, portable_fields};
use provider::LakeProvider;
use versions::{TablePaths, Versions, version_of};

/// Tables looked at at the same time while a lake is listed.
const PARALLEL_LISTINGS: usize = 16;

/// What opening a lake needs beside its spec.
#[derive(Clone)]
pub struct LakeContext {
    /// The namespace of the DataSource: its Secrets are there.
    pub namespace: String,
    /// What a relative path is resolved against: the folder of the manifest.
    pub base_dir: PathBuf,
    /// A directory without a path is in it.
    pub state_dir: PathBuf,
    pub secrets: Arc<dyn Secrets>,
    /// How long a bucket that fails is asked again.
    pub patience: Patience,
}

impl fmt::Debug for LakeContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LakeContext")
            .field("namespace", &self.namespace)
            .field("base_dir", &self.base_dir)
            .field("state_dir", &self.state_dir)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// One lake: a directory or a bucket of Iceberg tables named `schema.table`.
#[derive(Debug)]
pub struct Lake {
    versions: Versions,
    /// Set once the store has shown that it refuses to create an object twice.
    proven: OnceCell<()>,
    /// Under which sessions find this lake's store; made up, and different for every opened lake.
    url: ObjectStoreUrl,
}

impl Lake {
    /// Opens the lake that a DataSource describes, creating its directory when absent.
    ///
    /// A bucket is not asked for anything yet: the first request finds out what is wrong with it.
    pub async fn open(spec: &LakeSpec, context: &LakeContext) -> Result<Arc<Self>, LakeError> {
        match (&spec.directory, &spec.s3) {
            (Some(directory), None) => {
                let path = match &directory.path {
                    Some(path) => context.base_dir.join(path),
                    None => context.state_dir.join("lake"),
                };
                Self::open_directory(&path).await
            }
            (None, Some(bucket)) => Self::open_bucket(bucket, context),
            _ => Err(LakeError::AmbiguousSpec),
        }
    }

    fn open_bucket(spec: &S3Spec, context: &LakeContext) -> Result<Arc<Self>, LakeError> {
        let bucket = s3::open(
            spec,
            &S3Context {
                field: "spec.lake.s3",
                namespace: &context.namespace,
                secrets: &context.secrets,
                patience: context.patience,
            },
        )
        .map_err(|error| LakeError::Bucket(Box::new(error)))?;
        let store: Arc<dyn ObjectStore> = if bucket.prefix.as_ref().is_empty() {
            bucket.store
        } else {
            Arc::new(PrefixStore::new(bucket.store, bucket.prefix))
        };
        Self::open_store(store, bucket.uri, false)
    }

    /// Opens a lake in a local directory, creating the directory when absent. The file system must support hard
    /// links: they are what makes a commit atomic.
    pub async fn open_directory(path: &Path) -> Result<Arc<Self>, LakeError> {
        let unusable = |source| LakeError::Directory {
            path: path.to_owned(),
            source,
        };
        let absolute = std::path::absolute(path).map_err(unusable)?;
        tokio::fs::create_dir_all(&absolute).await.map_err(unusable)?;
        let text = absolute.to_str().ok_or_else(|| {
            unusable(std::io::Error::new(
                std::io::ErrorKind::InvalidFilename,
                "the path is not UTF-8, which table metadata must be",
            ))
        })?;
        let base = format!("file://{}", text.trim_end_matches('/'));
        let store = LocalFileSystem::new_with_prefix(&absolute)
            .map_err(|error| unusable(std::io::Error::other(error)))?;
        Self::open_store(Arc::new(store), base, true)
    }

    /// Opens a lake in any store whose root has the URI `base` (no trailing slash).
    ///
    /// `failures_are_final` says that the store is a local disk, where a failed request is known to have had no effect.
    /// A bucket may apply a request whose reply was lost, and has to show that it refuses to create an object twice
    /// before anything is written into the lake.
    pub fn open_store(
        store: Arc<dyn ObjectStore>,
        base: String,
        failures_are_final: bool,
    ) -> Result<Arc<Self>, LakeError> {
        let url = format!("lakegate-lake://{}", uuid::Uuid::new_v4().simple());
        let url = ObjectStoreUrl::parse(url).map_err(|error| LakeError::Store {
            operation: "name",
            path: String::new(),
            location: base.clone(),
            source: Box::new(error),
        })?;
        let objects = Objects {
            store,
            base: base.into(),
            failures_are_final,
        };
        Ok(Arc::new(Self {
            versions: Versions::new(objects),
            proven: OnceCell::new(),
            url,
        }))
    }

    /// Absolute URI of the lake's root, without a trailing slash.
    pub fn location(&self) -> &str {
        &self.versions.objects.base
    }

    /// Every table that has a committed version, sorted.
    pub async fn list(&self) -> Result<Vec<LakeTableName>, LakeError> {
        let objects = &self.versions.objects;
        let schemas = objects.children(None).await?.common_prefixes;
        let schemas = schemas.into_iter().filter(|schema| {
            schema
                .filename()
                .is_some_and(|name| check_key_part("schema", name).is_ok())
        });
        let directories = futures::stream::iter(schemas)
            .map(|schema| async move { objects.children(Some(&schema)).await })
            .buffered(PARALLEL_LISTINGS)
            .try_collect::<Vec<_>>()
            .await?;
        let names = directories
            .into_iter()
            .flat_map(|listed| listed.common_prefixes)
            .filter_map(|table| {
                let mut parts = table.parts();
                let (schema, name) = (parts.next()?, parts.next()?);
                LakeTableName::new(schema.as_ref(), name.as_ref()).ok()
            });
        let mut tables = futures::stream::iter(names)
            .map(|name| async move {
                let metadata = objects.children(Some(&TablePaths::new(&name).metadata())).await?;
                let mut files = metadata
                    .objects
                    .iter()
                    .filter_map(|object| object.location.filename());
                Ok::<_, LakeError>(files.any(|file| version_of(file).is_some()).then_some(name))
            })
            .buffered(PARALLEL_LISTINGS)
            .try_filter_map(|name| futures::future::ready(Ok(name)))
            .try_collect::<Vec<_>>()
            .await?;
        tables.sort();
        Ok(tables)
    }

    /// The newest committed version of a table; `None` when it has none.
    ///
    /// Cheap enough for every plan: a version seen before costs two look-ups and no read.
    pub async fn load(&self, schema: &str, table: &str) -> Result<Option<LakeTable>, LakeError> {
        let name = LakeTableName::new(schema, table)?;
        Ok(self
            .versions
            .newest(&name)
            .await?
            .map(|version| LakeTable { version }))
    }

    /// A table as it was: its rows and its columns; `None` when there is no such table. Only snapshots that are kept can
    /// be read.
    ///
    /// # Errors
    /// [`LakeError::NoSnapshot`] beside those of [`Lake::load`].
    pub async fn load_as_of(
        &self,
        schema: &str,
        table: &str,
        as_of: AsOf,
    ) -> Result<Option<LakeTable>, LakeError> {
        let newest = self.load(schema, table).await?;
        newest
            .map(|table| table.as_of(as_of, &self.versions.objects))
            .transpose()
    }

    /// The newest committed metadata of a table as it stands in the lake, for engines that read the table themselves;
    /// `None` when it has none.
    pub async fn metadata_file(&self, schema: &str, table: &str) -> Result<Option<MetadataFile>, LakeError> {
        let name = LakeTableName::new(schema, table)?;
        self.versions.metadata_file(&name).await
    }

    /// Starts writing the data files of one attempt of a run. Nothing becomes visible before [`Lake::replace`].
    ///
    /// Fails at once, before any row is read, when the columns cannot be kept exactly, collide, or do not fit the
    /// table as it is ([`LakeError::SchemaChanged`]).
    pub async fn write(
        &self,
        schema: &str,
        table: &str,
        arrow_schema_in: SchemaRef,
        options: WriteOptions,
    ) -> Result<TableWriter, LakeError> {
        let name = LakeTableName::new(schema, table)?;
        check_key_part("run", &options.run_id)?;
        check_key_part("attempt", &options.attempt_id)?;
        let fields = portable_fields(&name, &arrow_schema_in, options.profile)?;
        if !self.versions.objects.failures_are_final {
            self.proven
                .get_or_try_init(|| proof::creates_once(&self.versions.objects))
                .await?;
        }
        let current = self.versions.newest(&name).await?;
        let there = match options.format {
            TableFormat::Parquet => current.is_some().then_some(("Iceberg", "Parquet")),
            TableFormat::Iceberg if current.is_some() => None,
            TableFormat::Iceberg => plain::exists(&self.versions.objects, &name)
                .await?
                .then_some(("Parquet", "Iceberg")),
        };
        if let Some((there, wanted)) = there {
            return Err(LakeError::FormatDiffers {
                table: name,
                there,
                wanted,
            });
        }
        let planned = next_schema(
            &name,
            current.as_deref().map(|version| &version.metadata),
            &fields,
        )?;
        let converter = Converter {
            table: name.clone(),
            source: arrow_schema_in,
            target: arrow_schema(&planned, ArrowForm::Write),
            profile: options.profile,
        };
        // the nonce keeps a second start under the same attempt id from overwriting anything
        let nonce = format!("{:08x}", commit::random_id() as u32);
        let directory = TablePaths::new(&name)
            .run_data(&options.run_id)
            .join(format!("{}-{nonce}", options.attempt_id));
        let masks = options.masks_of(&converter);
        let parted = Parted {
            schema: &planned,
            source: &converter.source,
            masks: &masks,
            profile: options.profile,
            format: options.format,
        };
        let partitioning = Partitioning::new(&name, &options.partition_by, &parted)?;
        bloom::check(&name, &options.bloom_filters, &planned, &masks, &partitioning)?;
        TableWriter::new(
            self.versions.objects.clone(),
            converter,
            Arc::new(planned),
            options,
            FilePlace::of(directory),
            Arc::new(partitioning),
        )
    }

    /// Begins to merge the rows of `writer` into the table as `base` shows it: they take the place of rows with the same
    /// values in the columns `keys`, which are positions in the writer's columns. `memory` is for the keys, in bytes.
    ///
    /// None when the writer's columns are not those of the table: then its rows can only replace the table.
    pub async fn merge(
        &self,
        base: &LakeTable,
        writer: &TableWriter,
        keys: &[usize],
        memory: usize,
    ) -> Result<Option<TableMerge>, LakeError> {
        let version = Arc::clone(&base.version);
        let live = self.live_files(&version).await?;
        TableMerge::new(version, live, self.url.clone(), writer, keys, memory)
    }

    async fn live_files(&self, version: &versions::Version) -> Result<Arc<LiveFiles>, LakeError> {
        let read = || async { LiveFiles::read(&self.versions, version).await.map(Arc::new) };
        version.live.get_or_try_init(read).await.map(Arc::clone)
    }

    /// Makes the written files the whole content of the table, in one atomic commit; those of a merge together with what
    /// it keeps.
    ///
    /// Safe to repeat with any attempt of the run: a run is committed once, and says `already` afterwards. A lost
    /// race is run again on top of the winner. When it fails for certain, the files are removed; after
    /// [`LakeError::CommitUnknown`] and [`LakeError::CommitUnfinished`] they stay, and the same run is to be
    /// repeated. A merge is not run again on another version of its table: it fails with [`LakeError::BaseMoved`].
    pub async fn replace(&self, files: WrittenFiles, info: CommitInfo) -> Result<Commit, LakeError> {
        if files.run_id != info.run_id {
            return Err(LakeError::WrongRun {
                table: files.table,
                written: files.run_id,
                committing: info.run_id,
            });
        }
        if files.base != self.versions.objects.base {
            return Err(LakeError::WrongLake {
                table: files.table,
                written: files.base.to_string(),
                committing: self.location().to_owned(),
            });
        }
        if files.format == TableFormat::Parquet {
            return self.publish_plain(&files, &info).await;
        }
        let attempt = Committer {
            versions: &self.versions,
            files: &files,
            info: &info,
        };
        let outcome = match attempt.run().await {
            Ok(outcome) => outcome,
            Err(error) => {
                if !matches!(error, LakeError::CommitUnknown { .. }) && !self.is_committed(&files).await {
                    self.remove(&files).await;
                }
                return Err(error);
            }
        };
        if !outcome.ours {
            self.remove(&files).await;
        }
        self.finish_run(&outcome.version, &files.run_id, outcome.ours.then_some(&files))
            .await?;
        Ok(outcome.commit)
    }

    /// The commit of a run, if it has one; also completes what a killed attempt may have left undone after it.
    pub async fn find_commit(
        &self,
        schema: &str,
        table: &str,
        run_id: &str,
    ) -> Result<Option<Commit>, LakeError> {
        let name = LakeTableName::new(schema, table)?;
        check_key_part("run", run_id)?;
        let Some(version) = self.versions.newest(&name).await? else {
            return plain::find(&self.versions.objects, &name, run_id).await;
        };
        let Some((_, commit)) = version.find_run(run_id) else {
            return Ok(None);
        };
        self.finish_run(&version, run_id, None).await?;
        Ok(Some(commit))
    }

    /// The names of the published columns, of an Iceberg table or of the newest run of plain files; `None` before the
    /// first run.
    pub async fn published_columns(
        &self,
        schema: &str,
        table: &str,
    ) -> Result<Option<BTreeSet<String>>, LakeError> {
        let name = LakeTableName::new(schema, table)?;
        match self.versions.newest(&name).await? {
            Some(version) => {
                let fields = version.arrow.fields().iter();
                Ok(Some(fields.map(|field| field.name().clone()).collect()))
            }
            None => plain::newest_columns(&self.versions.objects, &name).await,
        }
    }

    async fn publish_plain(&self, files: &WrittenFiles, info: &CommitInfo) -> Result<Commit, LakeError> {
        let objects = &self.versions.objects;
        match plain::publish(objects, files, info).await {
            Ok((commit, ours)) => {
                if !ours {
                    self.remove(files).await;
                }
                Ok(commit)
            }
            Err(error) => {
                let is_certain = !matches!(
                    error,
                    LakeError::CommitUnknown { .. } | LakeError::CommitUnfinished { .. }
                );
                let published = plain::directory_of(objects, &files.table, &files.run_id).await;
                if is_certain && published.is_ok_and(|published| published.as_ref() != Some(&files.directory))
                {
                    self.remove(files).await;
                }
                Err(error)
            }
        }
    }

    /// What a run published; `None` when it has not committed.
    pub async fn run_manifest(
        &self,
        schema: &str,
        table: &str,
        run_id: &str,
    ) -> Result<Option<RunManifest>, LakeError> {
        if self.find_commit(schema, table, run_id).await?.is_none() {
            return Ok(None);
        }
        let path = TablePaths::new(&LakeTableName::new(schema, table)?).run_manifest(run_id);
        let objects = &self.versions.objects;
        let Some(content) = objects.get(&path).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&content)
            .map(Some)
            .map_err(|error| objects.corrupt(&path, error))
    }

    /// A provider that reads exactly this version of the table, whatever is committed later. Its manifests are read
    /// once a version.
    pub async fn provider(&self, table: &LakeTable) -> Result<Arc<dyn TableProvider>, LakeError> {
        let version = &table.version;
        Ok(Arc::new(LakeProvider {
            version: Arc::clone(version),
            live: self.live_files(version).await?,
            store: Arc::clone(&self.versions.objects.store),
            url: self.url.clone(),
        }))
    }

    /// Removes a table and all its files. No run of the table may be alive: its commit would bring the table back,
    /// and readers of the table fail.
    pub async fn drop_table(&self, schema: &str, table: &str) -> Result<(), LakeError> {
        sweep::drop_table(&self.versions, &LakeTableName::new(schema, table)?).await
    }

    /// Removes a table and all its files when its current snapshot is the owner's, and says what became of it. Safe to
    /// repeat after an error or a crash. No run of the table may be alive, as for [`Lake::drop_table`].
    pub async fn drop_owned(
        &self,
        schema: &str,
        table: &str,
        owner: &TableOwner,
    ) -> Result<Dropped, LakeError> {
        let name = LakeTableName::new(schema, table)?;
        check_key_part("export uid", &owner.export_uid)?;
        drop::drop_owned(&self.versions, &name, owner).await
    }

    /// Removes the files of a run that no snapshot refers to, and returns how many there were.
    ///
    /// The caller vouches that no attempt of the run is alive, or that the run has committed (an attempt that is
    /// still alive then finds the commit and ends). What a snapshot refers to is never touched. In a bucket the files of a
    /// run stay whose commit was begun in the last half an hour and not answered: the request may be on its way, and
    /// would publish them.
    pub async fn sweep(&self, schema: &str, table: &str, run_id: &str) -> Result<u64, LakeError> {
        let name = LakeTableName::new(schema, table)?;
        check_key_part("run", run_id)?;
        sweep::sweep(&self.versions, &name, run_id).await
    }

    async fn finish_run(
        &self,
        version: &versions::Version,
        run_id: &str,
        files: Option<&WrittenFiles>,
    ) -> Result<(), LakeError> {
        match version.find_run(run_id) {
            Some((snapshot, _)) => finish::finish(&self.versions, version, snapshot, files).await,
            None => Ok(()),
        }
    }

    /// Whether these very files are in the table, or may be: after an error the answer decides if they may go.
    async fn is_committed(&self, files: &WrittenFiles) -> bool {
        self.versions.forget(&files.table);
        match self.versions.newest(&files.table).await {
            Ok(None) => false,
            Ok(Some(version)) => version.find_run(&files.run_id).is_some_and(|(snapshot, _)| {
                let directory = relative(&TablePaths::new(&files.table).root, &files.directory);
                versions::property(snapshot, versions::summary::DIRECTORY) == Some(&directory)
            }),
            Err(_) => true,
        }
    }

    async fn remove(&self, files: &WrittenFiles) {
        writer::remove(&self.versions.objects, &files.files).await;
    }
}
