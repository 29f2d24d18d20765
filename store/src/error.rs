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

    #[error(
        "this process may not {verb} {resource} in namespace {namespace}: bind a Role with the verb {verb} on {resource} in apiGroup {group:?} to its service account ({message})"
    )]
    Forbidden {
        verb: &'static str,
        /// Plural, with its subresource: `exports/status`.
        resource: String,
        /// Empty for Kubernetes' own core.
        group: &'static str,
        namespace: String,
        /// The API server's words.
        message: String,
    },

    #[error(
        "the API server does not know {resource}: install Lakegate's CustomResourceDefinitions (helm install lakegate-crds, or `lakegate crds | kubectl apply --server-side -f -`)"
    )]
    NotInstalled {
        /// `exports.lakegate.dev`.
        resource: String,
    },

    #[error("no cluster is known: run in a Pod with a service account, or set KUBECONFIG")]
    NoCluster {
        source: Box<kube::config::InferConfigError>,
    },

    #[error("namespace {namespace} is not served by this process: add it with --namespace {namespace}")]
    NamespaceNotServed { namespace: String },

    #[error("namespace {namespace} is being deleted; nothing is created in it")]
    NamespaceTerminating { namespace: String },

    #[error("the API server did not {action}")]
    Kubernetes {
        /// `list exports in namespace shop`.
        action: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },

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
                | Self::Kubernetes { .. }
                // Rights and definitions may come while it waits, as when all of a release is installed at once.
                | Self::Forbidden { .. }
                | Self::NotInstalled { .. }
        )
    }
}

/// An error with its causes, for a log line: `outer: inner: root`.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Many errors repeat their cause in their own words.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
