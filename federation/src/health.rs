//! What is known of each source and view, for whoever writes their status.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use lakegate_connectors::ReplicaHealth;
use lakegate_crds::conditions::Reason;
use lakegate_store::Key;
use tokio::sync::watch;

/// The last word about one source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceHealth {
    /// None until the first attempt ends.
    pub reachable: Option<bool>,
    /// Why not, as a condition's reason; None while reachable.
    pub reason: Option<Reason>,
    /// Why not, in words; names the source, holds no secret.
    pub message: Option<String>,
    /// No retry will help until the spec or a Secret changes.
    pub terminal: bool,
    pub server_version: Option<String>,
    /// No replica may be read, and the primary is read instead, as the spec says.
    pub reads_primary: bool,
    /// The tables served now; the last good ones while the source is down.
    pub tables: u64,
    /// Another number when a table or column appears, changes or goes; the same in every process that sees the same.
    pub catalog_revision: u64,
    /// The last discovery that succeeded.
    pub last_discovery: Option<Timestamp>,
    /// Where the source is; no secret.
    pub endpoint: String,
    /// The catalog name it is served under.
    pub catalog: String,
    /// The object this is about.
    pub uid: String,
    /// The generation of the spec this is about.
    pub generation: i64,
}

/// The last word about one view.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ViewHealth {
    /// Why it does not plan, as a condition's reason; None: it does.
    pub reason: Option<Reason>,
    /// Why it does not plan, in words.
    pub message: Option<String>,
    /// Name and SQL type of the columns it returns.
    pub columns: Vec<(String, String)>,
    /// What its query names: `catalog.schema.table`, `views.name`, `lakegate.table`; sorted.
    pub dependencies: Vec<String>,
    /// Columns that are described and that it does not return.
    pub unknown_columns: Vec<String>,
    /// The object this is about.
    pub uid: String,
    /// The generation of the spec this is about.
    pub generation: i64,
}

/// The health of everything, and a signal of each change.
#[derive(Debug)]
pub(crate) struct Health {
    sources: Mutex<BTreeMap<Key, SourceHealth>>,
    /// Of sources that have any. They differ every time they are asked, which is no change of the source's health.
    replicas: Mutex<BTreeMap<Key, Vec<ReplicaHealth>>>,
    views: Mutex<BTreeMap<Key, ViewHealth>>,
    changes: watch::Sender<u64>,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            sources: Mutex::default(),
            replicas: Mutex::default(),
            views: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Health {
    pub(crate) fn source(&self, key: &Key) -> Option<SourceHealth> {
        lock(&self.sources).get(key).cloned()
    }

    pub(crate) fn view(&self, key: &Key) -> Option<ViewHealth> {
        lock(&self.views).get(key).cloned()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn update_source(&self, key: &Key, update: impl FnOnce(&mut SourceHealth)) {
        let changed = {
            let mut sources = lock(&self.sources);
            let health = sources.entry(key.clone()).or_default();
            let before = health.clone();
            update(health);
            *health != before
        };
        if changed {
            self.changed();
        }
    }

    pub(crate) fn set_replicas(&self, key: &Key, replicas: Vec<ReplicaHealth>) {
        let mut all = lock(&self.replicas);
        if replicas.is_empty() {
            all.remove(key);
        } else {
            all.insert(key.clone(), replicas);
        }
    }

    pub(crate) fn replicas(&self) -> BTreeMap<Key, Vec<ReplicaHealth>> {
        lock(&self.replicas).clone()
    }

    pub(crate) fn remove_source(&self, key: &Key) {
        lock(&self.replicas).remove(key);
        if lock(&self.sources).remove(key).is_some() {
            self.changed();
        }
    }

    pub(crate) fn set_views(&self, views: BTreeMap<Key, ViewHealth>) {
        let changed = {
            let mut current = lock(&self.views);
            let changed = *current != views;
            *current = views;
            changed
        };
        if changed {
            self.changed();
        }
    }
}
