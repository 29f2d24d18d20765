//! The manifests and the manifest list of a new snapshot.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    ManifestEntry, ManifestFile, ManifestListWriter, ManifestWriter, ManifestWriterBuilder, PartitionSpec,
    Schema as IcebergSchema, TableMetadata,
};
use object_store::path::Path;

use crate::error::LakeError;
use crate::name::LakeTableName;
use crate::objects::Objects;
use crate::types::{Merged, WrittenFile};
use crate::versions::LiveManifest;

/// Manifests that a snapshot takes over as they are; where it would be more, they are written as one a partition spec.
const CARRIED: usize = 64;

/// Writes the manifests of one try to commit.
pub(crate) struct Manifests<'a> {
    pub objects: &'a Objects,
    pub table: &'a LakeTableName,
    /// The table with the schema and partition spec of the new files as its current ones.
    pub metadata: &'a TableMetadata,
    pub snapshot_id: i64,
    /// Where they go.
    pub directory: Path,
    /// Keeps the names of several tries apart.
    pub nonce: String,
}

/// An old manifest, and which of its live files leave the table.
pub(crate) struct Carried<'a> {
    manifest: &'a LiveManifest,
    kept: Vec<&'a ManifestEntry>,
    leaving: Vec<&'a ManifestEntry>,
}

/// Parts the live files of a base into those that stay and those that leave; without a merge, all leave.
pub(crate) fn carried<'a>(
    objects: &Objects,
    table: &LakeTableName,
    base: &'a [LiveManifest],
    merge: Option<&Merged>,
) -> Result<Vec<Carried<'a>>, LakeError> {
    let mut found = HashSet::new();
    let mut carried = Vec::with_capacity(base.len());
    for manifest in base.iter().filter(|manifest| !manifest.is_delete()) {
        let (mut kept, mut leaving) = (Vec::new(), Vec::new());
        for entry in manifest.entries() {
            let Some(merge) = merge else {
                leaving.push(entry);
                continue;
            };
            let path = objects.path_of(table, entry.file_path())?;
            if merge.replaced.contains(&path) {
                found.insert(path);
                leaving.push(entry);
            } else {
                kept.push(entry);
            }
        }
        carried.push(Carried {
            manifest,
            kept,
            leaving,
        });
    }
    // what is written again must go, or its rows would be there twice
    match merge {
        Some(merge) if found.len() != merge.replaced.len() => {
            Err(LakeError::BaseMoved { table: table.clone() })
        }
        _ => Ok(carried),
    }
}

/// Files, rows and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

impl Size {
    fn of<'a>(entries: impl Iterator<Item = &'a ManifestEntry>) -> Self {
        entries.fold(Self::default(), |size, entry| Self {
            files: size.files + 1,
            rows: size.rows + entry.record_count(),
            bytes: size.bytes + entry.file_size_in_bytes(),
        })
    }
}

/// Of what stays in the table.
pub(crate) fn kept_size(carried: &[Carried<'_>]) -> Size {
    Size::of(carried.iter().flat_map(|carried| carried.kept.iter().copied()))
}

/// Of what leaves the table.
pub(crate) fn leaving_size(carried: &[Carried<'_>]) -> Size {
    Size::of(carried.iter().flat_map(|carried| carried.leaving.iter().copied()))
}

impl Manifests<'_> {
    /// The manifests of the files of a base, in the new snapshot. Pushes each path before it is written.
    pub async fn carry(
        &self,
        carried: &[Carried<'_>],
        written: &mut Vec<Path>,
    ) -> Result<Vec<ManifestFile>, LakeError> {
        let (whole, parted): (Vec<_>, Vec<_>) =
            carried.iter().partition(|carried| carried.leaving.is_empty());
        let mut manifests = Vec::new();
        for (position, carried) in parted.into_iter().enumerate() {
            let path = self
                .directory
                .clone()
                .join(format!("{}-d{position}.avro", self.nonce));
            written.push(path.clone());
            let old = carried.manifest;
            let schema = Arc::clone(old.manifest.metadata().schema());
            manifests.push(
                self.old_manifest(&path, schema, self.spec_of(old), &[carried])
                    .await?,
            );
        }
        if whole.len() <= CARRIED {
            manifests.extend(whole.iter().map(|carried| carried.manifest.file.clone()));
            return Ok(manifests);
        }
        let mut by_spec: BTreeMap<i32, Vec<&Carried<'_>>> = BTreeMap::new();
        for carried in whole {
            by_spec
                .entry(carried.manifest.file.partition_spec_id)
                .or_default()
                .push(carried);
        }
        for (position, carried) in by_spec.into_values().enumerate() {
            let path = self
                .directory
                .clone()
                .join(format!("{}-m{position}.avro", self.nonce));
            written.push(path.clone());
            let schema = Arc::clone(self.metadata.current_schema());
            let spec = self.spec_of(carried[0].manifest);
            manifests.push(self.old_manifest(&path, schema, spec, &carried).await?);
        }
        Ok(manifests)
    }

    fn spec_of(&self, old: &LiveManifest) -> PartitionSpec {
        self.metadata
            .partition_spec_by_id(old.file.partition_spec_id)
            .map_or_else(
                || old.manifest.metadata().partition_spec().clone(),
                |spec| spec.as_ref().clone(),
            )
    }

    /// A manifest of files that were there before: those that stay and those that leave.
    async fn old_manifest(
        &self,
        path: &Path,
        schema: Arc<IcebergSchema>,
        spec: PartitionSpec,
        carried: &[&Carried<'_>],
    ) -> Result<ManifestFile, LakeError> {
        self.write(path, schema, spec, |writer| {
            for Carried {
                manifest,
                kept,
                leaving,
            } in carried
            {
                for entry in kept {
                    let (sequence_number, file_sequence_number) = manifest.sequence_numbers(entry);
                    writer.add_existing_file(
                        entry.data_file().clone(),
                        manifest.snapshot_id(entry),
                        sequence_number,
                        Some(file_sequence_number),
                    )?;
                }
                for entry in leaving {
                    let (sequence_number, file_sequence_number) = manifest.sequence_numbers(entry);
                    writer.add_delete_file(
                        entry.data_file().clone(),
                        sequence_number,
                        Some(file_sequence_number),
                    )?;
                }
            }
            Ok(())
        })
        .await
    }

    /// The manifest of new files.
    pub async fn added(
        &self,
        files: &[WrittenFile],
        written: &mut Vec<Path>,
    ) -> Result<ManifestFile, LakeError> {
        let path = self.directory.clone().join(format!("{}-a0.avro", self.nonce));
        written.push(path.clone());
        let mut data_files = Vec::with_capacity(files.len());
        for file in files {
            let data_file = file.metrics.data_file(
                self.objects.uri(&file.path),
                file.size,
                file.partition.to_struct(),
                self.metadata.default_partition_spec_id(),
            );
            data_files.push(data_file.map_err(|error| self.encode("a manifest", error))?);
        }
        let schema = Arc::clone(self.metadata.current_schema());
        let spec = self.metadata.default_partition_spec().as_ref().clone();
        self.write(&path, schema, spec, |writer| {
            // no sequence number of their own: they inherit the list's
            data_files
                .into_iter()
                .try_for_each(|file| writer.add_file(file, -1))
        })
        .await
    }

    async fn write(
        &self,
        path: &Path,
        schema: Arc<IcebergSchema>,
        spec: PartitionSpec,
        add: impl FnOnce(&mut ManifestWriter) -> iceberg::Result<()>,
    ) -> Result<ManifestFile, LakeError> {
        let encode = |error| self.encode("a manifest", error);
        let memory = self.memory_file(path);
        let output = memory.output().map_err(encode)?;
        let mut writer =
            ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, spec).build_v2_data();
        add(&mut writer).map_err(encode)?;
        let manifest = writer.write_manifest_file().await.map_err(encode)?;
        self.objects
            .put(path, memory.content().await.map_err(encode)?)
            .await?;
        Ok(manifest)
    }

    /// The snapshot's manifest list. Pushes its path before it is written.
    pub async fn list(
        &self,
        manifests: Vec<ManifestFile>,
        parent: Option<i64>,
        sequence_number: i64,
        written: &mut Vec<Path>,
    ) -> Result<Path, LakeError> {
        let encode = |error| self.encode("a manifest list", error);
        let path = self
            .directory
            .clone()
            .join(format!("snap-{}-1-{}.avro", self.snapshot_id, self.nonce));
        let list = self.memory_file(&path);
        let sink = list.writer().await.map_err(encode)?;
        let mut writer = ManifestListWriter::v2(sink, self.snapshot_id, parent, sequence_number);
        writer.add_manifests(manifests.into_iter()).map_err(encode)?;
        writer.close().await.map_err(encode)?;
        written.push(path.clone());
        self.objects
            .put(&path, list.content().await.map_err(encode)?)
            .await?;
        Ok(path)
    }

    fn memory_file(&self, path: &Path) -> MemoryFile {
        MemoryFile {
            io: FileIO::new_with_memory(),
            uri: self.objects.uri(path),
        }
    }

    fn encode(
        &self,
        what: &'static str,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> LakeError {
        LakeError::Encode {
            table: self.table.clone(),
            what,
            source: error.into(),
        }
    }
}

/// A file in the iceberg crate's memory store, under its real URI: the crate writes manifests only through its own
/// `FileIO`, which must not reach our store. Dropped after the copy.
struct MemoryFile {
    io: FileIO,
    uri: String,
}

impl MemoryFile {
    fn output(&self) -> iceberg::Result<iceberg::io::OutputFile> {
        self.io.new_output(&self.uri)
    }

    async fn writer(&self) -> iceberg::Result<Box<dyn iceberg::io::FileWrite>> {
        self.output()?.writer().await
    }

    async fn content(&self) -> iceberg::Result<Bytes> {
        self.io.new_input(&self.uri)?.read().await
    }
}
