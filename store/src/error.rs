use std::path::PathBuf;

use lakegate_crds::Kind;
use lakegate_crds::validation::{Problem, summary};

use crate::Key;

/// Why a store could not do what it was asked. Nothing was changed when one of these is returned.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the folder {} cannot be read: check that it exists and its permissions", folder.display())]
    FolderUnreadable { folder: PathBuf, source: std::io::Error },

    #[error("the state directory {} cannot be used: check that it is a writable directory of this user", path.display())]
    StateUnusable { path: PathBuf, source: std::io::Error },

    #[error(
        "the state directory {} is in use by another lakegate{}: stop it, or give this one its own --state-dir",
        path.display(),
        holder.map(|id| format!(" (process {id})")).unwrap_or_default()
    )]
    Locked { path: PathBuf, holder: Option<u32> },

    #[error(
        "the state directory {} was written by a newer lakegate (schema {found}, this one knows {known}): run that version, or give this one an empty --state-dir",
        path.display()
    )]
    NewerState { path: PathBuf, found: i64, known: i64 },

    #[error("the state database {} could not be brought to this version's schema: restore it from a backup or move it away", path.display())]
    Migration {
        path: PathBuf,
        source: Box<sqlx::migrate::MigrateError>,
    },

    #[error("the disk of the state directory {} is full: free space, the operation is tried again", path.display())]
    DiskFull { path: PathBuf, source: sqlx::Error },

    #[error("the state database {} failed while {action}", path.display())]
    Database {
        path: PathBuf,
        action: &'static str,
        source: sqlx::Error,
    },

    #[error("the state database {} holds a row of {what} that cannot be read: restore it from a backup or move it away", path.display())]
    Corrupt {
        path: PathBuf,
        what: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    #[error("{kind}/{key} is invalid: {}", summary(problems))]
    Invalid {
        kind: Kind,
        key: Key,
        problems: Vec<Problem>,
    },

    #[error("{kind}/{key} lives in the manifests folder, which is never written: change its file instead")]
    ReadOnly { kind: Kind, key: Key },

    #[error(
        "{kind}/{key} was stored by another version of lakegate and is not understood by this one: choose another name"
    )]
    NotUnderstood { kind: Kind, key: Key },

    #[error("{kind}/{key} with uid {uid} is gone")]
    Gone { kind: Kind, key: Key, uid: String },

    #[error("the store stopped while {action}")]
    Stopped { action: &'static str },
}

impl StoreError {
    /// Whether trying the same again can succeed without anybody changing the request.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::FolderUnreadable { .. }
                | Self::DiskFull { .. }
                | Self::Database { .. }
                | Self::Locked { .. }
        )
    }
}
