//! The folder home: manifests in a folder that is only ever read, everything else in the state directory.
//!
//! * What a file says becomes what runs within a moment: changes are debounced, then read; what looks like a file
//!   half written (an object gone, an edit refused) is read again before it counts.
//! * An edit that is refused changes nothing: the last good version, kept in the state, goes on, also over a
//!   restart, and the entry says what is wrong and where.
//! * One bad document concerns only itself.

mod desired;
mod engine;
mod holding;
mod load;
mod plan;
mod scan;
mod typed;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use lakegate_crds::{AnyResource, Kind};

pub use desired::{FileProblem, Severity};
pub use load::{Loaded, LoadedEntry, load};

use crate::{
    Created, Entry, Event, Key, Notice, Notices, Redactor, SecretError, SecretValue, Secrets, StateDir,
    Store, StoreError, shelf::Shelved,
};
use engine::{Inner, run_to_end};

/// How a folder is served. The defaults are those of `lakegate serve`.
#[derive(Debug, Clone)]
pub struct FolderOptions {
    /// Secrets as files: `<secrets_dir>/<name>/<key>`.
    pub secrets_dir: Option<PathBuf>,

    /// How long a folder must be quiet before it is read, and how long what looks half written must stay the same.
    pub debounce: Duration,

    /// The folder is read this often without any sign of a change: network file systems send none.
    pub rescan: Duration,

    /// Read every [`FolderOptions::poll_interval`] instead of waiting for the operating system's events.
    pub poll: bool,

    /// How often to look when there are no events, by choice or because the system refuses them.
    pub poll_interval: Duration,

    /// How long the manifest of a held object may be away before its deletion takes effect: a checkout that is swapped,
    /// or a file moved in two steps, deletes nothing.
    pub deletion_grace: Duration,
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self {
            secrets_dir: None,
            debounce: Duration::from_millis(200),
            rescan: Duration::from_mins(1),
            poll: false,
            poll_interval: Duration::from_secs(1),
            deletion_grace: Duration::from_hours(1),
        }
    }
}

/// An object whose manifest is gone.
#[derive(Debug, Clone)]
pub struct Vanished {
    pub kind: Kind,

    pub key: Key,

    pub uid: String,

    pub vanished_at: Timestamp,

    /// The last good version, with its metadata but without status.
    pub resource: Option<AnyResource>,
}

/// See the module's text.
pub struct FolderStore {
    inner: Arc<Inner>,
    watcher: Option<watch::Watcher>,
}

impl std::fmt::Debug for FolderStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FolderStore")
            .field("folder", &self.inner.folder)
            .field("state", &self.inner.state.path())
            .finish_non_exhaustive()
    }
}

impl FolderStore {
    /// Serves `folder` with the state in `state_dir`, which is created when absent.
    ///
    /// Everything the folder defines has been read when this returns. Bad documents are no error: see
    /// [`FolderStore::problems`] and [`Entry::rejected`].
    pub async fn open(
        folder: impl Into<PathBuf>,
        state_dir: impl Into<PathBuf>,
        options: FolderOptions,
    ) -> Result<Self, StoreError> {
        let folder = folder.into();
        let unreadable = |source| StoreError::FolderUnreadable {
            folder: folder.clone(),
            source,
        };
        // Not canonical: a link that is swapped to another checkout must be followed anew each time.
        let absolute = std::path::absolute(&folder).map_err(unreadable)?;
        // Before the state: a mistyped folder should not create one, let alone make every object vanish.
        if !tokio::fs::metadata(&absolute).await.map_err(unreadable)?.is_dir() {
            return Err(unreadable(std::io::ErrorKind::NotADirectory.into()));
        }
        let state = StateDir::open(state_dir).await?;
        state.set_folder(&absolute).await?;
        let inner = Arc::new(Inner::start(Some(absolute), state, &options).await?);
        // Watching begins before the first read, so that no edit falls between them.
        let watcher = watch::Watcher::start(&inner, &options);
        inner.reload().await?;
        Ok(Self {
            inner,
            watcher: Some(watcher),
        })
    }

    /// Opens the state of a stopped instance, for `get`, `describe` and `run`: objects as they were known last,
    /// statuses, runs and notices. Runs can be created and deleted; nothing is watched.
    ///
    /// Takes the lock: [`StoreError::Locked`] means that the instance runs after all.
    pub async fn open_offline(state_dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let state = StateDir::open_existing(state_dir).await?;
        let inner = Inner::start(None, state, &FolderOptions::default()).await?;
        Ok(Self {
            inner: Arc::new(inner),
            watcher: None,
        })
    }

    /// Reads the folder now, without waiting for a sign of a change.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        run_to_end("reading the folder", async move { inner.reload().await }).await
    }

    /// Everything that is wrong in the folder now, also documents that define no object.
    pub fn problems(&self) -> Vec<FileProblem> {
        self.inner.problems()
    }

    /// The state directory, absolute.
    pub fn state_dir(&self) -> &Path {
        self.inner.state.path()
    }

    /// Objects that no manifest defines any more and that were not forgotten yet, oldest absence first.
    pub async fn vanished(&self) -> Vec<Vanished> {
        self.inner.vanished().await
    }

    /// Forgets an object that vanished: should its manifest come back, it is a new object. One that lives, or is
    /// not known, is left alone.
    pub async fn forget(&self, uid: &str) -> Result<(), StoreError> {
        let (inner, uid) = (Arc::clone(&self.inner), uid.to_owned());
        run_to_end("forgetting an object", async move { inner.forget(&uid).await }).await
    }

    /// Has the deletion of a held object take effect now, instead of when its manifest has been gone for
    /// [`FolderOptions::deletion_grace`]. Whether there is a held object of this name whose manifest is gone.
    pub async fn delete_now<K: Shelved>(&self, key: &Key) -> Result<bool, StoreError> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        run_to_end(
            "deleting an object",
            async move { inner.delete_now::<K>(&key).await },
        )
        .await
    }

    /// Stops watching, waits for the change that is under way and closes the database. The lock is given back
    /// when the store is dropped.
    pub async fn close(&self) {
        if let Some(watcher) = &self.watcher {
            watcher.stop();
        }
        self.inner.close().await;
    }
}

#[async_trait]
impl<K: Shelved> Store<K> for FolderStore {
    fn watch(&self) -> BoxStream<'static, Event<K>> {
        K::shelf(&self.inner.shelves).watch()
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry<K>>, StoreError> {
        Ok(K::shelf(&self.inner.shelves).get(key))
    }

    async fn list(&self) -> Result<Vec<Entry<K>>, StoreError> {
        Ok(K::shelf(&self.inner.shelves).list())
    }

    async fn create(&self, object: K) -> Result<Created<K>, StoreError> {
        let inner = Arc::clone(&self.inner);
        run_to_end("creating an object", async move { inner.create(object).await }).await
    }

    async fn write_status(&self, key: &Key, uid: &str, status: K::Status) -> Result<(), StoreError> {
        let (inner, key, uid) = (Arc::clone(&self.inner), key.clone(), uid.to_owned());
        run_to_end("writing a status", async move {
            inner.write_status::<K>(&key, &uid, status).await
        })
        .await
    }

    async fn delete(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let (inner, key, uid) = (Arc::clone(&self.inner), key.clone(), uid.to_owned());
        run_to_end("deleting an object", async move {
            inner.delete::<K>(&key, &uid).await
        })
        .await
    }

    async fn hold(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let (inner, key, uid) = (Arc::clone(&self.inner), key.clone(), uid.to_owned());
        run_to_end(
            "holding an object",
            async move { inner.hold::<K>(&key, &uid).await },
        )
        .await
    }

    async fn release(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let (inner, key, uid) = (Arc::clone(&self.inner), key.clone(), uid.to_owned());
        run_to_end("releasing an object", async move {
            if inner.release::<K>(&key, &uid).await?
                && let Err(error) = inner.reload().await
            {
                // What waited for the name is taken in by the next look, in a minute at the latest.
                let error = crate::error::chain(&error);
                tracing::info!(kind = %K::KIND, %key, error, "the folder cannot be read for now");
            }
            Ok(())
        })
        .await
    }

    async fn confirm_deletion(&self, key: &Key, uid: &str) -> Result<bool, StoreError> {
        let (inner, key, uid) = (Arc::clone(&self.inner), key.clone(), uid.to_owned());
        run_to_end("confirming a deletion", async move {
            inner.confirm_deletion::<K>(&key, &uid).await
        })
        .await
    }
}

#[async_trait]
impl Secrets for FolderStore {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        self.inner.secrets.get(namespace, name, key).await
    }

    fn redactor(&self) -> Redactor {
        self.inner.secrets.redactor()
    }
}

#[async_trait]
impl Notices for FolderStore {
    async fn publish(&self, mut notice: Notice) {
        notice.message = self.redactor().redact(&notice.message);
        let (inner, copy) = (Arc::clone(&self.inner), notice.clone());
        let published = run_to_end("writing a notice", async move {
            inner.state.publish_notice(&copy).await
        });
        if let Err(error) = published.await {
            let Notice {
                kind,
                key,
                reason,
                message,
                ..
            } = notice;
            tracing::error!(%kind, %key, reason, message, %error, "a notice could not be kept");
        }
    }

    async fn list_notices(&self) -> Result<Vec<Notice>, StoreError> {
        self.inner.state.notices().await
    }
}
