//! Removing what nobody refers to.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::error::LakeError;
use crate::name::LakeTableName;
use crate::plain;
use crate::versions::{COMMITTING, TablePaths, Version, Versions, property, summary, version_of};

/// Objects deleted at the same time.
const PARALLEL_DELETES: usize = 16;

/// How long a request may be on its way: stores refuse one that was signed more than 15 minutes before, by a clock that
/// may differ from ours by as much.
const LATEST: jiff::SignedDuration = jiff::SignedDuration::from_mins(30);

/// Removes the objects of a run that no snapshot refers to; see `Lake::sweep`.
pub(crate) async fn sweep(
    versions: &Versions,
    table: &LakeTableName,
    run_id: &str,
) -> Result<u64, LakeError> {
    let objects = &versions.objects;
    let paths = TablePaths::new(table);
    // Listed before the newest version is read: what a commit makes referenced in between is found referenced.
    let mut found = objects.list(&paths.run_data(run_id)).await?;
    found.extend(objects.list(&paths.run_metadata(run_id)).await?);
    if found.is_empty() {
        return Ok(0);
    }
    versions.forget(table);
    let newest = versions.newest(table).await?;
    let plain = match newest {
        Some(_) => None,
        None => plain::directory_of(objects, table, run_id).await?,
    };
    let is_published = plain.is_some()
        || newest
            .as_ref()
            .is_some_and(|version| version.find_run(run_id).is_some());
    if !is_published && !objects.failures_are_final && may_still_commit(&paths, run_id, &found) {
        tracing::info!(%table, run_id, files = found.len(),
            "an attempt ended in its commit, which may still reach the store: its files stay");
        return Ok(0);
    }
    let referenced = match newest {
        Some(version) => Referenced::read(versions, &version).await?,
        None => Referenced {
            directories: plain.into_iter().collect(),
            ..Referenced::default()
        },
    };
    let orphans: Vec<Path> = found
        .into_iter()
        .map(|object| object.location)
        .filter(|path| !referenced.holds(path))
        .collect();
    delete_all(versions, &orphans).await
}

/// Whether a dead attempt had begun its commit, and not long ago. Who gets an answer to it removes what tells so.
fn may_still_commit(paths: &TablePaths, run_id: &str, found: &[ObjectMeta]) -> bool {
    let manifests = paths.run_metadata(run_id);
    let now = jiff::Timestamp::now();
    found.iter().any(|object| {
        let begun =
            object.location.prefix_matches(&manifests) || object.location.filename() == Some(COMMITTING);
        let written = jiff::Timestamp::from_second(object.last_modified.timestamp());
        begun && written.is_ok_and(|written| now.duration_since(written) < LATEST)
    })
}

/// Removes a table. Readers see it whole until its newest version goes: older versions go first, so that no older
/// content ever shows.
pub(crate) async fn drop_table(versions: &Versions, table: &LakeTableName) -> Result<(), LakeError> {
    let objects = &versions.objects;
    let paths = TablePaths::new(table);
    let all = objects.list(&paths.root).await?;
    let mut numbers: Vec<u64> = all
        .iter()
        .filter(|object| object.location.prefix_matches(&paths.metadata()))
        .filter_map(|object| version_of(object.location.filename()?))
        .collect();
    numbers.sort_unstable();
    for number in numbers {
        objects.delete(&paths.version(number)).await?;
    }
    versions.forget(table);
    objects.delete(&paths.hint()).await?;
    let rest: Vec<Path> = all.into_iter().map(|object| object.location).collect();
    delete_all(versions, &rest).await?;
    Ok(())
}

pub(crate) async fn delete_all(versions: &Versions, paths: &[Path]) -> Result<u64, LakeError> {
    futures::stream::iter(paths)
        .map(|path| versions.objects.delete(path))
        .buffer_unordered(PARALLEL_DELETES)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(paths.len() as u64)
}

/// Everything any snapshot of a version refers to.
#[derive(Default)]
struct Referenced {
    files: HashSet<Path>,
    /// Data directories of committed attempts, for their `_SUCCESS`.
    directories: HashSet<Path>,
}

impl Referenced {
    async fn read(versions: &Versions, version: &Version) -> Result<Self, LakeError> {
        let table = &version.table;
        let root = TablePaths::new(table).root;
        let mut referenced = Self::default();
        for snapshot in version.metadata.snapshots() {
            if let Some(directory) = property(snapshot, summary::DIRECTORY) {
                let directory = root.parts().chain(Path::from(directory).parts()).collect();
                referenced.directories.insert(directory);
            }
            referenced
                .files
                .insert(versions.objects.path_of(table, snapshot.manifest_list())?);
            let list = versions
                .manifest_list(table, snapshot, version.metadata.format_version())
                .await?;
            for file in list {
                let path = versions.objects.path_of(table, &file.manifest_path)?;
                if !referenced.files.insert(path) {
                    continue;
                }
                for entry in versions.manifest(table, &file).await?.entries() {
                    referenced
                        .files
                        .insert(versions.objects.path_of(table, entry.file_path())?);
                }
            }
        }
        Ok(referenced)
    }

    fn holds(&self, path: &Path) -> bool {
        self.files.contains(path)
            || self
                .directories
                .iter()
                .any(|directory| path.prefix_matches(directory))
    }
}
