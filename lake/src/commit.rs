//! The commit: one conditional create of `vN.metadata.json`.
//!
//! Everything before it writes objects nobody refers to yet; everything after it is repaired by whoever comes
//! next. The run id in the snapshot summary makes the commit safe to repeat: a run that is found in any snapshot is
//! not committed again.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::{
    FormatVersion, MAIN_BRANCH, Operation, Schema as IcebergSchema, Snapshot, SortOrder, Summary,
    TableMetadata, TableMetadataBuilder,
};
use object_store::path::Path;

use crate::bloom;
use crate::error::LakeError;
use crate::manifests::{Carried, Manifests, carried, kept_size, leaving_size};
use crate::name::LakeTableName;
use crate::objects::{Objects, pause};
use crate::portable::{first_difference, next_schema};
use crate::types::{Commit, CommitInfo, WrittenFiles};
use crate::versions::{TablePaths, Version, Versions, property, summary};

/// Lost races after which a run gives up; each loss is another run's success.
const RACES: u32 = 200;
/// Tries of the conditional create while the store says neither yes nor no.
const CREATES: u32 = 4;

/// What became of one try to create the object that is a commit.
pub(crate) enum Outcome {
    Won,
    /// Somebody else created it.
    Lost,
    /// It did not happen and never will.
    Failed(LakeError),
    /// It may have happened, or may still.
    Unknown(LakeError),
}

pub(crate) struct Committer<'a> {
    pub versions: &'a Versions,
    pub files: &'a WrittenFiles,
    pub info: &'a CommitInfo,
}

/// A committed run and whether its files are the ones at hand.
pub(crate) struct Committed {
    pub commit: Commit,
    pub version: Arc<Version>,
    /// False when an earlier attempt won: the files at hand are not part of the table.
    pub ours: bool,
}

impl Committer<'_> {
    fn objects(&self) -> &Objects {
        &self.versions.objects
    }

    /// Commits, or finds that the run is committed. Removes its manifests, never the data files, when it fails.
    pub async fn run(&self) -> Result<Committed, LakeError> {
        let table = &self.files.table;
        for race in 0..RACES {
            let base = self.versions.newest(table).await?;
            if let Some(version) = &base
                && let Some((snapshot, commit)) = version.find_run(&self.files.run_id)
            {
                let ours = property(snapshot, summary::DIRECTORY) == Some(self.directory().as_str());
                return Ok(Committed {
                    commit,
                    version: Arc::clone(version),
                    ours,
                });
            }
            if let Some(merge) = &self.files.merge
                && base
                    .as_ref()
                    .is_none_or(|base| !merge.is_based_on(base.number, &base.metadata))
            {
                // what a merge keeps and writes again was decided on one version and is wrong on any other
                return Err(LakeError::BaseMoved { table: table.clone() });
            }
            let mut written = Vec::new();
            let outcome = match self.prepare(base.as_deref(), &mut written).await {
                Ok(prepared) => self.create(&prepared).await,
                Err(error) => Outcome::Failed(error),
            };
            match outcome {
                Outcome::Won => {
                    let Some(version) = self.versions.newest(table).await? else {
                        return Err(LakeError::TooManyRaces {
                            table: table.clone(),
                            run_id: self.files.run_id.clone(),
                            times: race,
                        });
                    };
                    // another run may have committed on top since
                    if let Some((_, commit)) = version.find_run(&self.files.run_id) {
                        let commit = Commit {
                            already: false,
                            ..commit
                        };
                        return Ok(Committed {
                            commit,
                            version,
                            ours: true,
                        });
                    }
                }
                Outcome::Lost => {
                    self.remove(&written).await;
                    // spread the losers: their order is as random as their snapshot ids
                    pause(race.min(4) + (random_id() % 3) as u32).await;
                }
                Outcome::Failed(error) => {
                    self.remove(&written).await;
                    return Err(error);
                }
                Outcome::Unknown(source) => {
                    return Err(LakeError::CommitUnknown {
                        table: table.clone(),
                        run_id: self.files.run_id.clone(),
                        source: Box::new(source),
                    });
                }
            }
        }
        Err(LakeError::TooManyRaces {
            table: table.clone(),
            run_id: self.files.run_id.clone(),
            times: RACES,
        })
    }

    /// The attempt's data directory, relative to the table.
    fn directory(&self) -> String {
        relative(&TablePaths::new(&self.files.table).root, &self.files.directory)
    }

    async fn remove(&self, paths: &[Path]) {
        self.objects().tidy(paths, "manifests of a lost commit").await;
    }

    /// Writes manifests and manifest list for a commit on top of `base`; pushes each path before it is written.
    async fn prepare(&self, base: Option<&Version>, written: &mut Vec<Path>) -> Result<Prepared, LakeError> {
        let files = self.files;
        let table = &files.table;
        let paths = TablePaths::new(table);
        let now = jiff::Timestamp::now().as_millisecond();
        let number = base.map_or(1, |base| base.number + 1);

        let builder = self.start(base, &paths)?;
        let start = builder
            .clone()
            .build()
            .map_err(|error| self.encode("the table's metadata", error))?
            .metadata;
        // the builder assigns ids of its own to a new table: the files already hold ours
        if let Some(column) = first_difference(&files.schema, start.current_schema()) {
            return Err(LakeError::ColumnsMoved {
                table: table.clone(),
                column,
            });
        }
        let schema = Arc::clone(start.current_schema());
        let snapshot_id = unused_snapshot_id(&start);
        let sequence_number = start.next_sequence_number();
        let parent = start.current_snapshot_id();

        let live = match base {
            Some(base) => self.versions.live_manifests(base).await?,
            None => Vec::new(),
        };
        let carried = carried(self.objects(), table, &live, files.merge.as_deref())?;
        let manifests = Manifests {
            objects: self.objects(),
            table,
            metadata: &start,
            snapshot_id,
            directory: paths.run_metadata(&files.run_id),
            nonce: uuid::Uuid::new_v4().simple().to_string(),
        };
        let mut listed = manifests.carry(&carried, written).await?;
        if !files.files.is_empty() {
            listed.push(manifests.added(&files.files, written).await?);
        }
        let list_path = manifests.list(listed, parent, sequence_number, written).await?;

        let snapshot = Snapshot::builder()
            .with_snapshot_id(snapshot_id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(sequence_number)
            // a clock that is behind the last writer's must not fail the commit
            .with_timestamp_ms(base.map_or(now, |base| now.max(base.metadata.last_updated_ms() + 1)))
            .with_manifest_list(self.objects().uri(&list_path))
            .with_schema_id(schema.schema_id())
            .with_summary(self.summary(number, parent.is_some(), &carried)?)
            .build();
        let metadata = builder
            .set_branch_snapshot(snapshot, MAIN_BRANCH)
            .and_then(TableMetadataBuilder::build)
            .map_err(|error| self.encode("the table's metadata", error))?
            .metadata;
        let content =
            serde_json::to_vec(&metadata).map_err(|error| self.encode("the table's metadata", error))?;
        Ok(Prepared {
            path: paths.version(number),
            content: content.into(),
            snapshot_id,
        })
    }

    /// The metadata to add the snapshot to: the base with the schema of the new rows as its current one.
    fn start(&self, base: Option<&Version>, paths: &TablePaths) -> Result<TableMetadataBuilder, LakeError> {
        let files = self.files;
        let location = self.objects().uri(&paths.root);
        let spec = files.partitioning.spec();
        let spec = spec.map_err(|error| self.encode("the table's partitions", error))?;
        let built = match base {
            None => TableMetadataBuilder::new(
                files.schema.as_ref().clone(),
                spec,
                SortOrder::unsorted_order(),
                location,
                FormatVersion::V2,
                HashMap::from([
                    ("write.format.default".to_owned(), "parquet".to_owned()),
                    ("write.parquet.compression-codec".to_owned(), "zstd".to_owned()),
                ])
                .into_iter()
                .chain(bloom::properties(&files.bloom_filters))
                .collect(),
            ),
            Some(base) => {
                if base.metadata.format_version() != FormatVersion::V2 {
                    return Err(LakeError::UnsupportedTable {
                        table: files.table.clone(),
                        feature: format!("Iceberg format {}", base.metadata.format_version()),
                    });
                }
                let previous = self.objects().uri(&paths.version(base.number));
                let mut builder = base.metadata.clone().into_builder(Some(previous));
                if base.metadata.location() != location {
                    builder = builder.set_location(location);
                }
                builder
                    .add_current_schema(self.rebased_schema(&base.metadata)?)
                    .and_then(|builder| builder.add_default_partition_spec(spec))
                    .and_then(|builder| {
                        let known = base.metadata.properties();
                        builder.remove_properties(&bloom::stale_properties(known, &files.bloom_filters))
                    })
                    .and_then(|builder| builder.set_properties(bloom::properties(&files.bloom_filters)))
            }
        };
        built.map_err(|error| self.encode("the table's metadata", error))
    }

    /// The written columns on top of a base that may be newer than the one they were planned on.
    ///
    /// Allowed when each column has the id and type it was written with. Otherwise another run has taken the id for
    /// another column, or has changed a type, and only writing again can help.
    fn rebased_schema(&self, base: &TableMetadata) -> Result<IcebergSchema, LakeError> {
        let files = self.files;
        let fields = crate::portable::portable_of(&files.schema);
        let schema = next_schema(&files.table, Some(base), &fields)?;
        match first_difference(&files.schema, &schema) {
            Some(column) => Err(LakeError::ColumnsMoved {
                table: files.table.clone(),
                column,
            }),
            None => Ok(schema),
        }
    }

    fn summary(&self, number: u64, has_parent: bool, carried: &[Carried<'_>]) -> Result<Summary, LakeError> {
        let files = self.files;
        let mut properties: HashMap<String, String> = self
            .info
            .summary
            .iter()
            .map(|(key, value)| (format!("lakegate.{key}"), value.clone()))
            .collect();
        let mut set = |key: &str, value: String| {
            properties.insert(key.to_owned(), value);
        };
        if let Some(export) = &self.info.export {
            set(summary::EXPORT, export.clone());
        }
        if let Some(uid) = &self.info.export_uid {
            set(summary::EXPORT_UID, uid.clone());
        }
        if !self.info.sources.is_empty() {
            let sources = serde_json::to_string(&self.info.sources);
            set(
                summary::SOURCES,
                sources.map_err(|error| self.encode("the snapshot's summary", error))?,
            );
        }
        if !files.masks.is_empty() {
            let masks = serde_json::to_string(&files.masks);
            set(
                summary::MASKS,
                masks.map_err(|error| self.encode("the snapshot's summary", error))?,
            );
        }
        set(summary::RUN, files.run_id.clone());
        set(summary::ATTEMPT, files.attempt_id.clone());
        set(summary::VERSION, number.to_string());
        set(summary::DIRECTORY, self.directory());
        set(summary::FILES, files.files().to_string());
        set(summary::ROWS, files.rows().to_string());
        set(summary::BYTES, files.bytes().to_string());
        let (kept, leaving) = (kept_size(carried), leaving_size(carried));
        if let Some(merge) = &files.merge {
            set(summary::CHANGED_ROWS, merge.changed_rows.to_string());
        }
        if leaving.files > 0 {
            set("deleted-data-files", leaving.files.to_string());
            set("deleted-records", leaving.rows.to_string());
            set("removed-files-size", leaving.bytes.to_string());
        }
        set(summary::TOTAL_FILES, (kept.files + files.files()).to_string());
        set(summary::TOTAL_ROWS, (kept.rows + files.rows()).to_string());
        set(summary::TOTAL_BYTES, (kept.bytes + files.bytes()).to_string());
        for key in [
            "total-delete-files",
            "total-position-deletes",
            "total-equality-deletes",
        ] {
            set(key, "0".to_owned());
        }
        Ok(Summary {
            // a merge that rewrites nothing only adds rows
            operation: if has_parent && (files.merge.is_none() || leaving.files > 0) {
                Operation::Overwrite
            } else {
                Operation::Append
            },
            additional_properties: properties,
        })
    }

    /// The commit itself.
    async fn create(&self, prepared: &Prepared) -> Outcome {
        let (table, run_id) = (&self.files.table, &self.files.run_id);
        let is_ours = |there: &[u8]| {
            let there: TableMetadata = serde_json::from_slice(there)?;
            Ok(there.snapshot_by_id(prepared.snapshot_id).is_some())
        };
        let content = prepared.content.clone();
        create_once(self.objects(), table, run_id, &prepared.path, content, &is_ours).await
    }

    fn encode(
        &self,
        what: &'static str,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> LakeError {
        LakeError::Encode {
            table: self.files.table.clone(),
            what,
            source: error.into(),
        }
    }
}

/// Creates the object whose creation is the commit of a run.
///
/// After any error its content decides, not the error: a store may apply a request whose reply it loses, and answer its own
/// retry, or a mere conflict, with "already exists".
pub(crate) async fn create_once(
    objects: &Objects,
    table: &LakeTableName,
    run_id: &str,
    path: &Path,
    content: Bytes,
    is_ours: &(dyn Fn(&[u8]) -> Result<bool, serde_json::Error> + Send + Sync),
) -> Outcome {
    let mut last = None;
    for attempt in 1..=CREATES {
        let error = match objects.create(path, content.clone()).await {
            Ok(()) => return Outcome::Won,
            Err(error) => error,
        };
        let exists = matches!(error, object_store::Error::AlreadyExists { .. });
        let error = objects.error("create", path, error);
        match objects.get(path).await {
            Ok(Some(there)) => {
                return match is_ours(&there) {
                    Ok(true) => Outcome::Won,
                    Ok(false) => Outcome::Lost,
                    Err(error) => Outcome::Failed(objects.corrupt(path, error)),
                };
            }
            Ok(None) if objects.failures_are_final && !exists => return Outcome::Failed(error),
            Ok(None) => {
                last = Some(error);
                pause(attempt).await;
            }
            Err(_) => return Outcome::Unknown(error),
        }
    }
    Outcome::Unknown(last.unwrap_or_else(|| LakeError::TooManyRaces {
        table: table.clone(),
        run_id: run_id.to_owned(),
        times: CREATES,
    }))
}

struct Prepared {
    path: Path,
    content: Bytes,
    snapshot_id: i64,
}

/// `path` below `root`.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    path.prefix_match(root)
        .map(|parts| {
            parts
                .map(|part| part.as_ref().to_owned())
                .collect::<Vec<_>>()
                .join("/")
        })
        .unwrap_or_default()
}

/// Positive, as Iceberg's readers expect.
pub(crate) fn random_id() -> i64 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    (high >> 1) as i64
}

fn unused_snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let id = random_id();
        if metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}
