//! The shared part of a folder store: what the folder says, and what is created and written through the store.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use lakegate_crds::{AnyResource, Kind};
use tokio::sync::Mutex;

use super::{
    FileProblem, FolderOptions, Vanished,
    desired::Desired,
    plan::{Moment, Plan, plan},
    scan::{self, Scan},
    typed,
};
use crate::{
    Created, Key, StateDir, StoreError,
    object::{clean_status, creation_time, new_uid, prepare_create, with_status},
    secrets::FolderSecrets,
    shelf::{Shelved, Shelves},
    state::{ObjectRecord, RunRecord},
};

/// How often what looks half written is read before it counts as it is. An editor takes far less than this many
/// debounce times for one file.
const TRIES: usize = 4;

pub(super) struct Inner {
    /// `None`: opened without it, to look at what a stopped instance left.
    pub folder: Option<PathBuf>,

    pub state: StateDir,

    pub shelves: Shelves,

    pub secrets: FolderSecrets,

    debounce: Duration,

    /// How long the manifest of a held object may be away before its deletion takes effect.
    deletion_grace: SignedDuration,

    problems: RwLock<Vec<FileProblem>>,

    /// Held while the folder is read and made so: the only one that changes anything of an object but its status.
    /// Taken before `records`.
    pub(super) reader: Mutex<Reader>,

    /// By uid, those that vanished too. Held over each write, so that database and memory change in the same
    /// order; never while waiting for a folder.
    pub(super) records: Mutex<BTreeMap<String, ObjectRecord>>,
}

#[derive(Default)]
pub(super) struct Reader {
    /// Good versions of living objects, by uid.
    resources: Arc<HashMap<String, AnyResource>>,

    scan: Arc<Scan>,

    /// Whether the folder was read once.
    is_loaded: bool,

    /// Kinds whose first document was told to be skipped.
    skipped: BTreeSet<String>,
}

/// Runs a change in a task of its own: a caller that goes away (a timeout, a closed connection) must not stop it
/// between the database and memory.
pub(super) async fn run_to_end<T: Send + 'static>(
    action: &'static str,
    change: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::spawn(change)
        .await
        .map_err(|_| StoreError::Stopped { action })?
}

impl Inner {
    /// Memory as the state left it.
    pub async fn start(
        folder: Option<PathBuf>,
        state: StateDir,
        options: &FolderOptions,
    ) -> Result<Self, StoreError> {
        let shelves = Shelves::default();
        let mut records = BTreeMap::new();
        let served = match &folder {
            Some(folder) => folder.clone(),
            None => state.folder().await?.unwrap_or_default(),
        };
        for record in state.objects().await? {
            // With a folder, `reload` shows them: first it must be known which are still there.
            if folder.is_none() && record.is_shown() {
                let resource = record
                    .manifest
                    .as_ref()
                    .and_then(|manifest| typed::decode(record.kind, manifest));
                typed::show_object(&shelves, &served, &record, resource.as_ref());
            }
            records.insert(record.uid.clone(), record);
        }
        for record in state.runs().await? {
            if !typed::show_run(&shelves, &record) {
                let (kind, key) = (record.kind, &record.key);
                tracing::warn!(%kind, %key, "a stored run is not understood by this version and is left out");
            }
        }
        Ok(Self {
            folder,
            state,
            shelves,
            secrets: FolderSecrets::new(options.secrets_dir.clone()),
            debounce: options.debounce,
            deletion_grace: SignedDuration::try_from(options.deletion_grace).unwrap_or(SignedDuration::MAX),
            problems: RwLock::default(),
            reader: Mutex::default(),
            records: Mutex::new(records),
        })
    }

    /// Reads the folder and makes it so. What looks half written must look the same twice before it counts.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut reader = self.reader.lock().await;
        let mut scan = self.scan(folder, &reader.scan).await?;
        let mut tries = TRIES;
        let (desired, plan) = loop {
            let (desired, plan) = self.plan(&scan, &reader.resources).await?;
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

        let mut records = self.records.lock().await;
        self.state.put_objects(&plan.changed).await?;
        // From here on nothing can fail: memory follows what is on the disk.
        for mut record in plan.changed {
            let before = records.get(&record.uid);
            // It may have been written since the plan was made.
            record.status = before.and_then(|before| before.status.clone());
            report(&record, before, !reader.is_loaded);
            typed::show_object(&self.shelves, folder, &record, plan.resources.get(&record.uid));
            records.insert(record.uid.clone(), record);
        }
        if !reader.is_loaded {
            for record in records.values().filter(|record| record.is_shown()) {
                typed::show_object(&self.shelves, folder, record, plan.resources.get(&record.uid));
            }
        }
        drop(records);
        for (kind, place) in &desired.skipped {
            if reader.skipped.insert(kind.clone()) {
                tracing::info!(%kind, at = %place, "documents of a kind that is not Lakegate's are skipped");
            }
        }
        self.secrets.set_manifests(desired.secrets);
        self.report_problems(plan.problems);
        reader.resources = Arc::new(plan.resources);
        reader.scan = scan;
        reader.is_loaded = true;
        Ok(())
    }

    async fn scan(&self, folder: &Path, previous: &Arc<Scan>) -> Result<Arc<Scan>, StoreError> {
        let (folder, previous) = (folder.to_owned(), Arc::clone(previous));
        let skip = BTreeSet::from([self.state.path().to_owned()]);
        tokio::task::spawn_blocking(move || scan::scan(&folder, &skip, &previous).map(Arc::new))
            .await
            .map_err(|_| StoreError::Stopped {
                action: "reading the folder",
            })?
    }

    /// Validating takes milliseconds an object: off the threads that serve, and without a lock.
    async fn plan(
        &self,
        scan: &Arc<Scan>,
        resources: &Arc<HashMap<String, AnyResource>>,
    ) -> Result<(Desired, Plan), StoreError> {
        let (scan, resources) = (Arc::clone(scan), Arc::clone(resources));
        let (records, secrets) = (self.records.lock().await.clone(), self.secrets.manifests());
        let moment = Moment {
            now: Timestamp::now(),
            grace: self.deletion_grace,
        };
        tokio::task::spawn_blocking(move || {
            let mut desired = Desired::new(&scan);
            let Desired {
                secrets: next,
                broken,
                ..
            } = &mut desired;
            next.keep_last_good(&secrets, |file| {
                scan.is_hidden(file).is_some() || broken.contains_key(file)
            });
            let plan = plan(&scan, &desired, &records, &resources, moment, new_uid);
            (desired, plan)
        })
        .await
        .map_err(|_| StoreError::Stopped {
            action: "reading the folder",
        })
    }

    pub fn problems(&self) -> Vec<FileProblem> {
        self.problems
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn has_new(&self, problems: &[FileProblem]) -> bool {
        let known = self.problems.read().unwrap_or_else(PoisonError::into_inner);
        problems.iter().any(|problem| !known.contains(problem))
    }

    /// Logs what is new or over, once.
    fn report_problems(&self, problems: Vec<FileProblem>) {
        let redactor = self.secrets.redactor_handle();
        let mut known = self.problems.write().unwrap_or_else(PoisonError::into_inner);
        for problem in problems.iter().filter(|problem| !known.contains(problem)) {
            let reason = problem.reason;
            tracing::warn!(%reason, "{}", redactor.redact(&problem.to_string()));
        }
        if !known.is_empty() && problems.is_empty() {
            tracing::info!("all manifests are good again");
        }
        *known = problems;
    }

    pub async fn write_status<K: Shelved>(
        &self,
        key: &Key,
        uid: &str,
        status: K::Status,
    ) -> Result<(), StoreError> {
        let (status, json) = clean_status::<K>(self.secrets.redactor_handle(), key, &status)?;
        let mut records = self.records.lock().await;
        let objects = K::shelf(&self.shelves);
        let gone = || StoreError::Gone {
            kind: K::KIND,
            key: key.clone(),
            uid: uid.to_owned(),
        };
        let mut entry = objects
            .get(key)
            .filter(|entry| entry.uid == uid)
            .ok_or_else(gone)?;
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
        if let Some(record) = records.get_mut(uid) {
            record.status = Some(json);
        }
        entry.object = entry.object.map(|object| with_status(object, Some(&status)));
        entry.status = Some(status);
        objects.put(&entry);
        Ok(())
    }

    pub async fn create<K: Shelved>(&self, object: K) -> Result<Created<K>, StoreError> {
        if K::KIND != Kind::ExportRun {
            return Err(StoreError::ReadOnly {
                kind: K::KIND,
                key: Key::of(&object),
            });
        }
        let (key, object) = prepare_create(object)?;
        let _records = self.records.lock().await;
        let objects = K::shelf(&self.shelves);
        if let Some(entry) = objects.get(&key) {
            return Ok(Created::Already(entry));
        }
        let unfit = |error: serde_json::Error| StoreError::Corrupt {
            path: self.state.path().to_owned(),
            what: format!("{}/{key}", K::KIND),
            source: error.into(),
        };
        let record = RunRecord {
            kind: K::KIND,
            key: key.clone(),
            uid: new_uid(),
            generation: 1,
            created: creation_time(Timestamp::now()),
            object: serde_json::to_value(&object).map_err(unfit)?,
            status: None,
        };
        if !self.state.create_run(&record).await? {
            // Its row is there and was not understood at start: never write over what another version knows.
            return Err(StoreError::NotUnderstood { kind: K::KIND, key });
        }
        typed::show_run(&self.shelves, &record);
        let entry = objects.get(&key).ok_or(StoreError::Stopped {
            action: "creating a run",
        })?;
        Ok(Created::New(entry))
    }

    pub async fn delete<K: Shelved>(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let _records = self.records.lock().await;
        let objects = K::shelf(&self.shelves);
        if objects.get(key).is_none_or(|entry| entry.uid != uid) {
            return Ok(());
        }
        if K::KIND != Kind::ExportRun {
            return Err(StoreError::ReadOnly {
                kind: K::KIND,
                key: key.clone(),
            });
        }
        self.state.delete_run(uid).await?;
        objects.remove(key);
        Ok(())
    }

    pub async fn vanished(&self) -> Vec<Vanished> {
        let records = self.records.lock().await;
        let mut vanished: Vec<_> = records
            .values()
            .filter(|record| !record.is_shown())
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

    pub async fn forget(&self, uid: &str) -> Result<(), StoreError> {
        // A plan that is being made may bring the object back.
        let _reader = self.reader.lock().await;
        let mut records = self.records.lock().await;
        if self.state.forget_object(uid).await? {
            records.remove(uid);
        }
        Ok(())
    }

    pub async fn close(&self) {
        let _reader = self.reader.lock().await;
        let _records = self.records.lock().await;
        self.state.close().await;
    }
}

/// Tells the log what became of one object.
fn report(record: &ObjectRecord, before: Option<&ObjectRecord>, is_first: bool) {
    let (kind, key, at) = (record.kind, &record.key, &record.place);
    if let (Some(_), Some(deletion)) = (record.vanished, record.deletion) {
        tracing::info!(%kind, %key, %deletion, "manifest is gone, object is to be deleted");
    } else if record.vanished.is_some() {
        tracing::info!(%kind, %key, "manifest is gone, object removed");
    } else if let Some(rejected) = &record.rejected {
        // The problem itself is told once, with its file.
        let last_good_kept = record.manifest.is_some();
        tracing::debug!(%kind, %key, %rejected, last_good_kept, "edit refused");
    } else if is_first {
        tracing::debug!(%kind, %key, %at, generation = record.generation, "manifest read");
    } else if before.is_none_or(|before| before.generation != record.generation || before.rejected.is_some())
    {
        tracing::info!(%kind, %key, %at, generation = record.generation, "manifest applied");
    }
}

#[cfg(test)]
mod tests {
    use lakegate_crds::{DataSource, ExportRun};

    use super::*;

    fn run(name: &str) -> ExportRun {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun",
            "metadata": {"name": name, "annotations": {"note": "x".repeat(4000)}},
            "spec": {"exportRef": {"name": "orders"}}
        }))
        .unwrap()
    }

    fn source(path: &str) -> String {
        format!(
            "apiVersion: lakegate.dev/v1alpha1\nkind: DataSource\nmetadata: {{name: a, annotations: {{note: {}}}}}\nspec: {{sqlite: {{path: {path}}}}}\n",
            "y".repeat(8000)
        )
    }

    /// A database that may not grow stands for a disk without space: SQLite reports both as SQLITE_FULL.
    #[tokio::test]
    async fn a_full_disk_is_an_error_and_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let manifest = root.path().join("a.yaml");
        std::fs::write(&manifest, source("1.db")).unwrap();
        let state = StateDir::open_with(root.path().join("state"), Some(60))
            .await
            .unwrap();
        let options = FolderOptions {
            debounce: Duration::ZERO,
            ..FolderOptions::default()
        };
        let inner = Inner::start(Some(root.path().to_owned()), state, &options)
            .await
            .unwrap();
        inner.reload().await.unwrap();
        let mut created = Vec::new();
        let error = loop {
            match inner.create(run(&format!("r{}", created.len()))).await {
                Ok(entry) => created.push(entry.into_entry()),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(error, StoreError::DiskFull { .. }) && error.is_transient(),
            "{error}"
        );
        assert!(error.to_string().contains("free space"));
        assert!(created.len() > 3);
        let shelf = ExportRun::shelf(&inner.shelves);
        assert_eq!(shelf.list().len(), created.len(), "what failed is not shown");
        // An edit that cannot be kept is not applied, and the folder is read again later.
        std::fs::write(&manifest, source("2.db")).unwrap();
        let full = inner.reload().await;
        let path = || {
            DataSource::shelf(&inner.shelves).list()[0]
                .object
                .clone()
                .unwrap()
                .spec
                .sqlite
                .clone()
                .unwrap()
                .path
        };
        if let Err(error) = full {
            assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
            assert_eq!(path(), "1.db");
        }
        // Space again: everything goes on.
        for entry in &created {
            inner.delete::<ExportRun>(&entry.key, &entry.uid).await.unwrap();
        }
        inner.reload().await.unwrap();
        assert_eq!(path(), "2.db");
        inner.create(run("again")).await.unwrap();
        inner.close().await;
        drop(inner);
        let state = StateDir::open(root.path().join("state")).await.unwrap();
        assert_eq!(state.runs().await.unwrap().len(), 1);
    }

    /// A caller that is dropped in the middle leaves database and memory in agreement.
    #[tokio::test]
    async fn a_caller_that_goes_away_tears_nothing() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDir::open(root.path().join("state")).await.unwrap();
        let inner = Arc::new(
            Inner::start(None, state, &FolderOptions::default())
                .await
                .unwrap(),
        );
        for number in 0..40_u64 {
            let change = {
                let inner = Arc::clone(&inner);
                run_to_end("creating", async move {
                    inner.create(run(&format!("r{number}"))).await
                })
            };
            // At another point each time, most of them before it ends.
            let _ = tokio::time::timeout(Duration::from_micros(number * 25), change).await;
        }
        inner.close().await;
        let shown: BTreeSet<_> = ExportRun::shelf(&inner.shelves)
            .list()
            .into_iter()
            .map(|entry| entry.uid)
            .collect();
        drop(inner);
        let state = StateDir::open(root.path().join("state")).await.unwrap();
        let stored: BTreeSet<_> = state
            .runs()
            .await
            .unwrap()
            .into_iter()
            .map(|run| run.uid)
            .collect();
        assert_eq!(shown, stored);
    }
}
