//! Removing the table of an Export, and no other's.

use std::collections::BTreeSet;

use object_store::path::Path;

use crate::error::LakeError;
use crate::name::LakeTableName;
use crate::plain;
use crate::sweep::delete_all;
use crate::versions::{TablePaths, Version, Versions, property, summary, version_of};

/// Whose table may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOwner {
    /// The Export, by its uid.
    pub export_uid: String,

    /// Runs of that Export, by uid: tables that were written before a snapshot named its Export's uid are recognised by
    /// them.
    pub runs: BTreeSet<String>,
}

/// What became of a table that was to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dropped {
    /// It is gone, with all its files.
    Removed,

    /// There was none.
    Absent,

    /// Its current snapshot is somebody else's, so it stays; whose, for people.
    Foreign(String),
}

/// Removes a table whose current snapshot the owner wrote.
///
/// Readers see it whole until its newest version goes; older versions go first, so that no older content ever shows. A
/// note with the owner's name is written before the first version goes and removed last: by it, who finds files without
/// a version knows whether they are what a drop that was interrupted has left.
pub(crate) async fn drop_owned(
    versions: &Versions,
    table: &LakeTableName,
    owner: &TableOwner,
) -> Result<Dropped, LakeError> {
    let objects = &versions.objects;
    let paths = TablePaths::new(table);
    let note = paths.drop_note(&owner.export_uid);
    // Listed before the newest version is read: should somebody commit in between, that version stays.
    let all = objects.list(&paths.root).await?;
    versions.forget(table);
    let newest = versions.newest(table).await?;
    match &newest {
        Some(version) => {
            if let Some(other) = other_writer(version, owner) {
                return Ok(Dropped::Foreign(other));
            }
        }
        None if all.iter().any(|object| object.location == note) => {}
        None => return plain::drop_owned(versions, table, owner).await,
    }
    objects.put(&note, bytes::Bytes::new()).await?;
    let mut numbers: Vec<u64> = all
        .iter()
        .filter(|object| object.location.prefix_matches(&paths.metadata()))
        .filter_map(|object| version_of(object.location.filename()?))
        .chain(newest.as_ref().map(|version| version.number))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut gone = vec![note.clone(), paths.hint()];
    for number in numbers {
        let version = paths.version(number);
        objects.delete(&version).await?;
        gone.push(version);
    }
    versions.forget(table);
    objects.delete(&paths.hint()).await?;
    let rest: Vec<Path> = all
        .into_iter()
        .map(|object| object.location)
        .filter(|path| !gone.contains(path))
        .collect();
    delete_all(versions, &rest).await?;
    objects.delete(&note).await?;
    Ok(Dropped::Removed)
}

/// Who wrote the current snapshot of a version, unless it was the owner.
fn other_writer(version: &Version, owner: &TableOwner) -> Option<String> {
    let Some(snapshot) = version.metadata.current_snapshot() else {
        return Some("another engine, which left it without a snapshot".to_owned());
    };
    let (run, uid) = (
        property(snapshot, summary::RUN),
        property(snapshot, summary::EXPORT_UID),
    );
    let is_owners = match uid {
        Some(uid) => uid == owner.export_uid,
        None => run.is_some_and(|run| owner.runs.contains(run)),
    };
    if is_owners {
        return None;
    }
    let export = property(snapshot, summary::EXPORT);
    Some(match (export, run) {
        (Some(export), Some(run)) => {
            let uid = uid.map_or_else(String::new, |uid| format!(" with uid {uid}"));
            format!("Export {export}{uid}, in run {run}")
        }
        (None, Some(run)) => format!("run {run}"),
        _ => "another engine".to_owned(),
    })
}
