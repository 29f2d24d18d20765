//! `format: Parquet`: each run is a directory of files, and there is no Iceberg metadata.
//!
//! The create of `_runs/<run>.json` is the commit: it names the directory of the attempt that won, and its columns, files
//! and hashes. Readers take the newest of them, by `committedAt`. Runs never touch each other's files.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use crate::commit::{Outcome, create_once, relative};
use crate::drop::{Dropped, TableOwner};
use crate::error::LakeError;
use crate::finish::{RunFile, RunManifest, RunPartitionField, columns_of, schema_hash};
use crate::name::LakeTableName;
use crate::objects::Objects;
use crate::sweep::delete_all;
use crate::types::{Commit, CommitInfo, WrittenFiles};
use crate::versions::{TablePaths, Versions};

/// Manifests read at the same time.
const PARALLEL_READS: usize = 8;

/// Commits the files of a run; what it is, and whether the files at hand are its own.
pub(crate) async fn publish(
    objects: &Objects,
    files: &WrittenFiles,
    info: &CommitInfo,
) -> Result<(Commit, bool), LakeError> {
    let table = &files.table;
    let paths = TablePaths::new(table);
    if let Some(known) = manifest_of(objects, &paths, &files.run_id).await? {
        let ours = known.directory == relative(&paths.root, &files.directory);
        succeed(objects, table, &known).await?;
        return Ok((commit_of(&known, true), ours));
    }
    let manifest = manifest(files, info, &paths)?;
    let content = serde_json::to_vec_pretty(&manifest).map_err(|error| LakeError::Encode {
        table: table.clone(),
        what: "the run manifest",
        source: error.into(),
    })?;
    let path = paths.run_manifest(&files.run_id);
    let is_ours = |there: &[u8]| {
        let there: RunManifest = serde_json::from_slice(there)?;
        Ok(there.directory == manifest.directory)
    };
    let committing = TablePaths::committing(&files.directory);
    if !objects.failures_are_final {
        // Until it is known what became of the request, a sweep has to leave the files alone.
        objects.put(&committing, Bytes::new()).await?;
    }
    let outcome = create_once(objects, table, &files.run_id, &path, content.into(), &is_ours).await;
    if !objects.failures_are_final && matches!(outcome, Outcome::Lost | Outcome::Failed(_)) {
        objects.tidy(&[committing], "the mark of a lost commit").await;
    }
    match outcome {
        Outcome::Won => {
            succeed(objects, table, &manifest).await?;
            Ok((commit_of(&manifest, false), true))
        }
        Outcome::Lost => {
            let Some(known) = manifest_of(objects, &paths, &files.run_id).await? else {
                return Err(LakeError::TooManyRaces {
                    table: table.clone(),
                    run_id: files.run_id.clone(),
                    times: 1,
                });
            };
            succeed(objects, table, &known).await?;
            Ok((commit_of(&known, true), false))
        }
        Outcome::Failed(error) => Err(error),
        Outcome::Unknown(source) => Err(LakeError::CommitUnknown {
            table: table.clone(),
            run_id: files.run_id.clone(),
            source: Box::new(source),
        }),
    }
}

fn manifest(files: &WrittenFiles, info: &CommitInfo, paths: &TablePaths) -> Result<RunManifest, LakeError> {
    let encode = |source: serde_json::Error| LakeError::Encode {
        table: files.table.clone(),
        what: "the run manifest",
        source: source.into(),
    };
    let mut columns = columns_of(&files.schema).map_err(encode)?;
    let schema_hash = schema_hash(&columns).map_err(encode)?;
    for column in &mut columns {
        column.mask = files.masks.get(&column.name).cloned();
    }
    Ok(RunManifest {
        run_id: files.run_id.clone(),
        attempt_id: files.attempt_id.clone(),
        export: info.export.clone(),
        export_uid: info.export_uid.clone(),
        table: files.table.to_string(),
        snapshot_id: None,
        version: None,
        committed_at: jiff::Timestamp::now().to_string(),
        directory: relative(&paths.root, &files.directory),
        rows: files.rows(),
        bytes: files.bytes(),
        files: files
            .files
            .iter()
            .map(|file| RunFile {
                path: relative(&paths.root, &file.path),
                size: file.size,
                rows: file.metrics.rows,
                sha256: file.sha256.clone(),
                partition: files.partitioning.texts(&file.partition),
            })
            .collect(),
        merge: None,
        cursor: None,
        sources: info.sources.clone(),
        schema_hash,
        partition_fields: partition_fields(files),
        columns,
        summary: info.summary.clone(),
    })
}

fn partition_fields(files: &WrittenFiles) -> Vec<RunPartitionField> {
    let fields = files.partitioning.names();
    fields
        .map(|(name, column, transform)| RunPartitionField {
            name: name.to_owned(),
            column: files
                .schema
                .name_by_field_id(column)
                .unwrap_or_default()
                .to_owned(),
            transform: transform.to_string(),
        })
        .collect()
}

/// What a run committed, if it did and it is plain files; completes what a killed attempt has left undone.
pub(crate) async fn find(
    objects: &Objects,
    table: &LakeTableName,
    run_id: &str,
) -> Result<Option<Commit>, LakeError> {
    let paths = TablePaths::new(table);
    let Some(manifest) = manifest_of(objects, &paths, run_id).await? else {
        return Ok(None);
    };
    succeed(objects, table, &manifest).await?;
    Ok(Some(commit_of(&manifest, true)))
}

/// The names of the columns of the newest run; None where there is no run of plain files.
pub(crate) async fn newest_columns(
    objects: &Objects,
    table: &LakeTableName,
) -> Result<Option<BTreeSet<String>>, LakeError> {
    let newest = newest(objects, &TablePaths::new(table)).await?;
    Ok(newest.map(|run| run.columns.into_iter().map(|column| column.name).collect()))
}

/// Removes every run when the newest is the owner's.
pub(crate) async fn drop_owned(
    versions: &Versions,
    table: &LakeTableName,
    owner: &TableOwner,
) -> Result<Dropped, LakeError> {
    let objects = &versions.objects;
    let paths = TablePaths::new(table);
    let Some(newest) = newest(objects, &paths).await? else {
        return Ok(Dropped::Absent);
    };
    let is_owners = match &newest.export_uid {
        Some(uid) => *uid == owner.export_uid,
        None => owner.runs.contains(&newest.run_id),
    };
    if !is_owners {
        let export = newest.export.unwrap_or_else(|| "somebody".to_owned());
        return Ok(Dropped::Foreign(format!(
            "Export {export}, in run {}",
            newest.run_id
        )));
    }
    // the newest manifest goes last: until then a repetition finds whose it was
    let last = paths.run_manifest(&newest.run_id);
    let all = objects.list(&paths.root).await?;
    let rest: Vec<Path> = all
        .into_iter()
        .map(|object| object.location)
        .filter(|path| *path != last)
        .collect();
    delete_all(versions, &rest).await?;
    objects.delete(&last).await?;
    Ok(Dropped::Removed)
}

/// The directory that a run published, below the lake.
pub(crate) async fn directory_of(
    objects: &Objects,
    table: &LakeTableName,
    run_id: &str,
) -> Result<Option<Path>, LakeError> {
    let paths = TablePaths::new(table);
    let manifest = manifest_of(objects, &paths, run_id).await?;
    Ok(manifest.map(|manifest| below(&paths, &manifest.directory)))
}

/// Whether any run of the table is plain files.
pub(crate) async fn exists(objects: &Objects, table: &LakeTableName) -> Result<bool, LakeError> {
    Ok(newest(objects, &TablePaths::new(table)).await?.is_some())
}

fn below(paths: &TablePaths, directory: &str) -> Path {
    paths.root.parts().chain(Path::from(directory).parts()).collect()
}

async fn manifest_of(
    objects: &Objects,
    paths: &TablePaths,
    run_id: &str,
) -> Result<Option<RunManifest>, LakeError> {
    let path = paths.run_manifest(run_id);
    let Some(content) = objects.get(&path).await? else {
        return Ok(None);
    };
    let manifest: RunManifest =
        serde_json::from_slice(&content).map_err(|error| objects.corrupt(&path, error))?;
    // those of Iceberg tables follow a commit that is elsewhere
    Ok(manifest.version.is_none().then_some(manifest))
}

async fn newest(objects: &Objects, paths: &TablePaths) -> Result<Option<RunManifest>, LakeError> {
    let listed = objects.list(&paths.runs()).await?;
    let runs: Vec<String> = listed
        .iter()
        .filter_map(|object| Some(object.location.filename()?.strip_suffix(".json")?.to_owned()))
        .collect();
    let manifests: Vec<Option<RunManifest>> = futures::stream::iter(runs)
        .map(|run| async move { manifest_of(objects, paths, &run).await })
        .buffered(PARALLEL_READS)
        .try_collect()
        .await?;
    let time = |run: &RunManifest| run.committed_at.parse::<jiff::Timestamp>().ok();
    Ok(manifests
        .into_iter()
        .flatten()
        .max_by_key(|run| (time(run), run.run_id.clone())))
}

async fn succeed(objects: &Objects, table: &LakeTableName, manifest: &RunManifest) -> Result<(), LakeError> {
    let paths = TablePaths::new(table);
    let directory = below(&paths, &manifest.directory);
    objects
        .put(&directory.clone().join("_SUCCESS"), Bytes::new())
        .await
        .map_err(|error| LakeError::CommitUnfinished {
            table: table.clone(),
            run_id: manifest.run_id.clone(),
            what: "_SUCCESS".to_owned(),
            source: Box::new(error),
        })?;
    if !objects.failures_are_final {
        let committing = TablePaths::committing(&directory);
        objects.tidy(&[committing], "the mark of a commit").await;
    }
    Ok(())
}

fn commit_of(manifest: &RunManifest, already: bool) -> Commit {
    Commit {
        snapshot_id: 0,
        version: 0,
        rows: manifest.rows,
        bytes: manifest.bytes,
        files: manifest.files.len() as u64,
        changed: None,
        cursor: None,
        already,
    }
}
