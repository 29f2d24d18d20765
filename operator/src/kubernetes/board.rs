//! What was last seen of our Jobs and their Pods, kept up to date by watches.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::{NamespaceResourceScope, api::batch::v1::Job, api::core::v1::Pod};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{
    SELECTOR,
    sight::{AttemptKey, JobSight, PodSight, State, state_of, who_may_commit},
};
use crate::surroundings::chain;

/// Objects in one page of a list: each may carry an order.
const PAGE: u32 = 50;

/// Seconds after which a watch begins anew: a connection that died without a word is found out by then.
const WATCH_SECONDS: u32 = 60;

/// See the module.
#[derive(Debug)]
pub(super) struct Board {
    attempts: Mutex<HashMap<AttemptKey, Attempt>>,
    changes: watch::Sender<u64>,
    watches: watch::Sender<Watches>,
}

/// What was seen of one attempt.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    job: Option<JobSight>,
    /// By namespace and name.
    pods: BTreeMap<(String, String), PodSight>,
}

/// The watches that have not listed everything yet, by namespace and kind, each with its last error.
type Watches = BTreeMap<(String, &'static str), Option<String>>;

impl Board {
    pub(super) fn new(namespaces: &[String]) -> Arc<Self> {
        let watches = namespaces
            .iter()
            .flat_map(|namespace| {
                [
                    (namespace.clone(), Job::KIND_NAME),
                    (namespace.clone(), Pod::KIND_NAME),
                ]
            })
            .map(|watch| (watch, None))
            .collect();
        Arc::new(Self {
            attempts: Mutex::default(),
            changes: watch::Sender::new(0),
            watches: watch::Sender::new(watches),
        })
    }

    /// Changes whenever anything seen does.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until every watch has listed what there is.
    pub(super) async fn complete(&self) {
        // The sender lives as long as `self`.
        let _ = self.watches.subscribe().wait_for(BTreeMap::is_empty).await;
    }

    /// A watch that has not listed what there is yet, with its last error.
    pub(super) fn incomplete(&self) -> Option<(String, String)> {
        let watches = self.watches.borrow();
        let ((namespace, kind), error) = watches.first_key_value()?;
        let error = error.as_deref().unwrap_or("the API server has not answered");
        Some((namespace.clone(), format!("{kind}s: {error}")))
    }

    /// The state of an attempt.
    pub(super) fn state(&self, key: &AttemptKey, now: Timestamp) -> State {
        let attempts = self.lock();
        let attempt = attempts.get(key);
        state_of(
            attempt.and_then(|attempt| attempt.job.as_ref()),
            attempt.into_iter().flat_map(|attempt| attempt.pods.values()),
            now,
        )
    }

    /// Every attempt whose Job is there.
    pub(super) fn jobs(&self, now: Timestamp) -> Vec<(AttemptKey, JobSight, State)> {
        let attempts = self.lock();
        attempts
            .iter()
            .filter_map(|(key, attempt)| {
                let job = attempt.job.clone()?;
                let state = state_of(Some(&job), attempt.pods.values(), now);
                Some((key.clone(), job, state))
            })
            .collect()
    }

    /// Jobs of earlier attempts of the run that may still commit. What has ended is left for people to look at.
    pub(super) fn unfinished_before(&self, key: &AttemptKey) -> Vec<JobSight> {
        let attempts = self.lock();
        attempts
            .iter()
            .filter(|(other, _)| other.run_uid == key.run_uid && other.attempt < key.attempt)
            .filter(|(_, attempt)| who_may_commit(attempt.job.as_ref(), attempt.pods.values()).is_some())
            .filter_map(|(_, attempt)| attempt.job.clone())
            .filter(|job| !job.is_going)
            .collect()
    }

    /// Takes in an object that was created, read or seen.
    pub(super) fn apply<K: Seen>(&self, object: &K) {
        if let Some(key) = AttemptKey::of(object) {
            object.enter(self.lock().entry(key).or_default());
            self.changed();
        }
    }

    /// Takes in what there is of an attempt, as the API server has it now.
    pub(super) fn replace(&self, key: &AttemptKey, job: Option<&Job>, pods: &[Pod]) {
        let mut attempt = Attempt::default();
        if let Some(job) = job {
            job.enter(&mut attempt);
        }
        for pod in pods {
            pod.enter(&mut attempt);
        }
        if attempt.job.is_none() && attempt.pods.is_empty() {
            self.lock().remove(key);
        } else {
            self.lock().insert(key.clone(), attempt);
        }
        self.changed();
    }

    fn remove<K: Seen>(&self, object: &K) {
        if let Some(key) = AttemptKey::of(object) {
            let mut attempts = self.lock();
            if let Some(attempt) = attempts.get_mut(&key) {
                object.leave(attempt);
                if attempt.job.is_none() && attempt.pods.is_empty() {
                    attempts.remove(&key);
                }
            }
            drop(attempts);
            self.changed();
        }
    }

    /// Forgets what is not among the objects that a list has shown.
    fn retain<K: Seen>(&self, namespace: &str, listed: &HashSet<String>) {
        self.lock().retain(|_, attempt| {
            K::retain(attempt, namespace, listed);
            attempt.job.is_some() || !attempt.pods.is_empty()
        });
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AttemptKey, Attempt>> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one kind of one namespace up to date, for ever.
    pub(super) async fn watch<K: Seen>(self: Arc<Self>, client: Client, namespace: String) {
        let api = Api::<K>::namespaced(client, &namespace);
        let config = watcher::Config::default()
            .labels(SELECTOR)
            .page_size(PAGE)
            .timeout(WATCH_SECONDS);
        let mut events = std::pin::pin!(watcher(api, config).default_backoff());
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    listed.insert(object.name_any());
                    self.apply(&object);
                }
                Ok(watcher::Event::InitDone) => {
                    self.retain::<K>(&namespace, &listed);
                    listed.clear();
                    self.watches.send_modify(|watches| {
                        watches.remove(&(namespace.clone(), K::KIND_NAME));
                    });
                }
                Ok(watcher::Event::Apply(object)) => self.apply(&object),
                Ok(watcher::Event::Delete(object)) => self.remove(&object),
                Err(error) => {
                    let error = chain(&error);
                    tracing::debug!(
                        kind = K::KIND_NAME,
                        namespace,
                        error,
                        "a watch was interrupted; it goes on"
                    );
                    self.watches.send_modify(|watches| {
                        if let Some(last) = watches.get_mut(&(namespace.clone(), K::KIND_NAME)) {
                            *last = Some(error);
                        }
                    });
                }
            }
        }
    }
}

/// A kind that the board shows.
pub(super) trait Seen:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static
{
    const KIND_NAME: &'static str;

    fn enter(&self, attempt: &mut Attempt);
    fn leave(&self, attempt: &mut Attempt);
    fn retain(attempt: &mut Attempt, namespace: &str, listed: &HashSet<String>);
}

impl Seen for Job {
    const KIND_NAME: &'static str = "Job";

    fn enter(&self, attempt: &mut Attempt) {
        attempt.job = JobSight::of(self);
    }

    fn leave(&self, attempt: &mut Attempt) {
        if attempt.job.as_ref().map(|job| &job.uid) == self.metadata.uid.as_ref() {
            attempt.job = None;
        }
    }

    fn retain(attempt: &mut Attempt, namespace: &str, listed: &HashSet<String>) {
        attempt
            .job
            .take_if(|job| job.namespace == namespace && !listed.contains(&job.name));
    }
}

impl Seen for Pod {
    const KIND_NAME: &'static str = "Pod";

    fn enter(&self, attempt: &mut Attempt) {
        let key = (self.namespace().unwrap_or_default(), self.name_any());
        attempt.pods.insert(key, PodSight::of(self));
    }

    fn leave(&self, attempt: &mut Attempt) {
        let key = (self.namespace().unwrap_or_default(), self.name_any());
        attempt.pods.remove(&key);
    }

    fn retain(attempt: &mut Attempt, namespace: &str, listed: &HashSet<String>) {
        attempt
            .pods
            .retain(|(of, name), _| of != namespace || listed.contains(name));
    }
}
