//! The folder home: manifests in a folder that is only ever read, everything else in the state directory.
//!
//! * What a file says becomes what runs within a moment: changes are debounced, then read; what looks like a file
//!   half written (an object gone, an edit refused) is read again before it counts.
//! * An edit that is refused changes nothing: the last good version, kept in the state, goes on, also over a
//!   restart, and the entry says what is wrong and where.
//! * One bad document concerns only itself.

mod desired;
mod load;
mod plan;
mod scan;
mod typed;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use lakegate_crds::{AnyResource, Kind};
use tokio::sync::Mutex;

pub use desired::{FileProblem, Severity};
pub use load::{Loaded, LoadedEntry, load};

use crate::{
    Created, Entry, Event, Key, Notice, Notices, Redactor, SecretError, SecretValue, Secrets, StateDir,
    Store, StoreError,
    object::{clean_status, creation_time, new_uid, prepare_create, with_status},
    secrets::FolderSecrets,
    shelf::{Shelved, Shelves},
    state::{ObjectRecord, RunRecord},
};
use desired::Desired;
use scan::Scan;

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
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self {
            secrets_dir: None,
            debounce: Duration::from_millis(200),
            rescan: Duration::from_secs(60),
            poll: false,
            poll_interval: Duration::from_secs(1),
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

struct Inner {
    /// `None`: opened without it, to look at what a stopped instance left.
    folder: Option<PathBuf>,
    debounce: Duration,
    state: StateDir,
    shelves: Shelves,
    secrets: FolderSecrets,
    problems: RwLock<Vec<FileProblem>>,
    // Held over each change, so that database and memory change in the same order.
    writer: Mutex<Writer>,
}

#[derive(Default)]
struct Writer {
    /// By uid, those that vanished too.
    records: BTreeMap<String, ObjectRecord>,
    /// Good versions of living objects, by uid.
    resources: HashMap<String, AnyResource>,
    scan: Scan,
    /// Whether the folder was read once.
    is_loaded: bool,
    skipped: BTreeSet<String>,
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
        let inner = Inner::start(Some(absolute), state, &options).await?;
        let inner = Arc::new(inner);
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
        run_to_end("reading the folder", {
            let inner = Arc::clone(&self.inner);
            async move { inner.reload().await }
        })
        .await
    }

    /// Everything that is wrong in the folder now, also documents that define no object.
    pub fn problems(&self) -> Vec<FileProblem> {
        self.inner
            .problems
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The state directory, absolute.
    pub fn state_dir(&self) -> &Path {
        self.inner.state.path()
    }

    /// Objects that no manifest defines any more and that were not forgotten yet, oldest absence first.
    pub async fn vanished(&self) -> Vec<Vanished> {
        let writer = self.inner.writer.lock().await;
        let mut vanished: Vec<_> = writer
            .records
            .values()
            .filter_map(|record| {
                Some(Vanished {
                    kind: record.kind,
                    key: record.key.clone(),
                    uid: record.uid.clone(),
                    vanished_at: record.vanished?,
                    resource: record
                        .manifest
                        .as_ref()
                        .and_then(|manifest| typed::decode(record.kind, manifest)),
                })
            })
            .collect();
        vanished.sort_by_key(|vanished| vanished.vanished_at);
        vanished
    }

    /// Forgets an object that vanished: should its manifest come back, it is a new object. One that lives, or is
    /// not known, is left alone.
    pub async fn forget(&self, uid: &str) -> Result<(), StoreError> {
        let (inner, uid) = (Arc::clone(&self.inner), uid.to_owned());
        run_to_end("forgetting an object", async move {
            let mut writer = inner.writer.lock().await;
            if inner.state.forget_object(&uid).await? {
                writer.records.remove(&uid);
            }
            Ok(())
        })
        .await
    }

    /// Stops watching and closes the database. The lock is given back when the store is dropped.
    pub async fn close(&self) {
        if let Some(watcher) = &self.watcher {
            watcher.stop();
        }
        // After the change that is under way.
        let _writer = self.inner.writer.lock().await;
        self.inner.state.close().await;
    }
}

/// Runs a change in a task of its own: a caller that goes away (a timeout, a closed connection) must not stop it
/// between the database and memory.
async fn run_to_end<T: Send + 'static>(
    action: &'static str,
    change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(change)
        .await
        .map_err(|_| StoreError::Stopped { action })?
}

impl Inner {
    /// Memory as the state left it.
    async fn start(
        folder: Option<PathBuf>,
        state: StateDir,
        options: &FolderOptions,
    ) -> Result<Self, StoreError> {
        let shelves = Shelves::default();
        let mut writer = Writer::default();
        let shown = match &folder {
            Some(folder) => Some(folder.clone()),
            None => state.folder().await?,
        }
        .unwrap_or_default();
        for record in state.objects().await? {
            // With a folder, `reload` shows them: first it must be known which are still there.
            if folder.is_none() && record.vanished.is_none() {
                let resource = record
                    .manifest
                    .as_ref()
                    .and_then(|manifest| typed::decode(record.kind, manifest));
                typed::show_object(&shelves, &shown, &record, resource.as_ref());
            }
            writer.records.insert(record.uid.clone(), record);
        }
        for record in state.runs().await? {
            if !typed::show_run(&shelves, &record) {
                tracing::warn!(kind = %record.kind, key = %record.key, "a stored run is not understood by this version and is left out");
            }
        }
        Ok(Self {
            folder,
            debounce: options.debounce,
            state,
            shelves,
            secrets: FolderSecrets::new(options.secrets_dir.clone()),
            problems: RwLock::default(),
            writer: Mutex::new(writer),
        })
    }

    /// Reads the folder and makes it so. What looks half written must look the same twice before it counts.
    async fn reload(&self) -> Result<(), StoreError> {
        /// An editor takes far less than this many debounce times for one file.
        const TRIES: usize = 4;

        let Some(folder) = &self.folder else { return Ok(()) };
        let mut writer = self.writer.lock().await;
        let first_time = !writer.is_loaded;
        let mut scan = self.scan(folder, &writer.scan).await?;
        let mut tries = TRIES;
        let (desired, plan) = loop {
            let desired = self.desired(&scan);
            let plan = plan::plan(
                &scan,
                &desired,
                &writer.records,
                &writer.resources,
                Timestamp::now(),
                new_uid,
            );
            tries -= 1;
            let is_suspicious = plan.is_destructive || self.has_new(&plan.problems);
            if !is_suspicious || tries == 0 {
                break (desired, plan);
            }
            tokio::time::sleep(self.debounce).await;
            let again = self.scan(folder, &scan).await?;
            if again.same(&scan) {
                break (desired, plan);
            }
            scan = again;
        };

        self.state.put_objects(&plan.changed).await?;
        // From here on nothing can fail: memory follows what is on the disk.
        for record in &plan.changed {
            let resource = plan.resources.get(&record.uid);
            report(record, writer.records.get(&record.uid), first_time);
            writer.records.insert(record.uid.clone(), record.clone());
            typed::show_object(&self.shelves, folder, record, resource);
        }
        if first_time {
            for record in writer.records.values().filter(|record| record.vanished.is_none()) {
                typed::show_object(&self.shelves, folder, record, plan.resources.get(&record.uid));
            }
        }
        for (kind, place) in &desired.skipped {
            if writer.skipped.insert(kind.clone()) {
                tracing::info!(%kind, at = %place, "documents of a kind that is not Lakegate's are skipped");
            }
        }
        self.report_problems(plan.problems);
        self.secrets.set_manifests(desired.secrets);
        writer.resources = plan.resources;
        writer.scan = scan;
        writer.is_loaded = true;
        Ok(())
    }

    async fn scan(&self, folder: &Path, previous: &Scan) -> Result<Scan, StoreError> {
        let (folder, previous) = (folder.to_owned(), previous.clone());
        let skip = BTreeSet::from([self.state.path().to_owned()]);
        tokio::task::spawn_blocking(move || scan::scan(&folder, &skip, &previous))
            .await
            .map_err(|_| StoreError::Stopped {
                action: "reading the folder",
            })?
    }

    fn desired(&self, scan: &Scan) -> Desired {
        let mut desired = Desired::new(scan);
        let Desired { secrets, broken, .. } = &mut desired;
        secrets.keep_last_good(&self.secrets.manifests(), |file| {
            scan.is_hidden(file).is_some() || broken.contains_key(file)
        });
        desired
    }

    fn has_new(&self, problems: &[FileProblem]) -> bool {
        let known = self.problems.read().unwrap_or_else(PoisonError::into_inner);
        problems.iter().any(|problem| !known.contains(problem))
    }

    /// Logs what is new or over, once.
    fn report_problems(&self, problems: Vec<FileProblem>) {
        let mut known = self.problems.write().unwrap_or_else(PoisonError::into_inner);
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            let reason = problem.reason;
            tracing::warn!(%reason, "{}", self.secrets.redactor().redact(&problem.to_string()));
        }
        if !known.is_empty() && problems.is_empty() {
            tracing::info!("all manifests are good again");
        }
        *known = problems;
    }

    async fn write_status<K: Shelved>(
        &self,
        key: &Key,
        uid: &str,
        status: K::Status,
    ) -> Result<(), StoreError> {
        let (status, json) = clean_status::<K>(&self.secrets.redactor(), key, status)?;
        let mut writer = self.writer.lock().await;
        let shelf = K::shelf(&self.shelves);
        let gone = || StoreError::Gone {
            kind: K::KIND,
            key: key.clone(),
            uid: uid.to_owned(),
        };
        let mut entry = shelf.get(key).filter(|entry| entry.uid == uid).ok_or_else(gone)?;
        if entry.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let written = if K::KIND == Kind::ExportRun {
            self.state.write_run_status(uid, &json).await?
        } else {
            self.state.write_object_status(uid, &json).await?
        };
        if !written {
            return Err(gone());
        }
        if let Some(record) = writer.records.get_mut(uid) {
            record.status = Some(json);
        }
        entry.object = entry.object.map(|object| with_status(&object, Some(&status)));
        entry.status = Some(status);
        shelf.put(entry);
        Ok(())
    }

    async fn create<K: Shelved>(&self, object: K) -> Result<Created<K>, StoreError> {
        if K::KIND != Kind::ExportRun {
            return Err(StoreError::ReadOnly {
                kind: K::KIND,
                key: Key::of(&object),
            });
        }
        let (key, object) = prepare_create(object)?;
        let _writer = self.writer.lock().await;
        let shelf = K::shelf(&self.shelves);
        if let Some(entry) = shelf.get(&key) {
            return Ok(Created::Already(entry));
        }
        let record = RunRecord {
            kind: K::KIND,
            key: key.clone(),
            uid: new_uid(),
            generation: 1,
            created: creation_time(Timestamp::now()),
            object: serde_json::to_value(&object).map_err(|error| StoreError::Corrupt {
                path: self.state.path().to_owned(),
                what: format!("{}/{key}", K::KIND),
                source: error.into(),
            })?,
            status: None,
        };
        self.state.create_run(&record).await?;
        typed::show_run(&self.shelves, &record);
        let entry = shelf.get(&key).ok_or(StoreError::Stopped {
            action: "creating a run",
        })?;
        Ok(Created::New(entry))
    }

    async fn delete<K: Shelved>(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let _writer = self.writer.lock().await;
        let shelf = K::shelf(&self.shelves);
        if shelf.get(key).is_none_or(|entry| entry.uid != uid) {
            return Ok(());
        }
        if K::KIND != Kind::ExportRun {
            return Err(StoreError::ReadOnly {
                kind: K::KIND,
                key: key.clone(),
            });
        }
        self.state.delete_run(uid).await?;
        shelf.remove(key);
        Ok(())
    }
}

/// Tells the log what became of one object.
fn report(record: &ObjectRecord, before: Option<&ObjectRecord>, first_time: bool) {
    let (kind, key, at) = (record.kind, &record.key, &record.place);
    if record.vanished.is_some() {
        tracing::info!(%kind, %key, "manifest is gone, object removed");
    } else if let Some(rejected) = &record.rejected {
        let kept = record.manifest.is_some();
        tracing::debug!(%kind, %key, %rejected, last_good_kept = kept, "edit refused");
    } else if first_time {
        tracing::debug!(%kind, %key, %at, generation = record.generation, "manifest read");
    } else if before.is_none_or(|before| before.generation != record.generation || before.rejected.is_some())
    {
        tracing::info!(%kind, %key, %at, generation = record.generation, "manifest applied");
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
        notice.message = self.inner.secrets.redactor().redact(&notice.message);
        let inner = Arc::clone(&self.inner);
        let published = run_to_end("writing a notice", {
            let notice = notice.clone();
            async move { inner.state.publish_notice(&notice).await }
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
