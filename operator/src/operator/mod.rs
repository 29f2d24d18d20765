//! The loop: observe, decide, act, write status.
//!
//! ```text
//! store ── watch ──▶ Cache ──▶ WorkQueue ──▶ look at one object:
//!   ▲                                          observe ▶ decide ─ effects? ─▶ act ┐
//!   └──────────── status, notices ◀── no ──────────────────────────▲─────────────┘
//! worker ── heartbeat, result ──▶ Workers ──▶ WorkQueue
//! ```
//!
//! Everything an object's future depends on is in the store or can be asked for again, so killing this process at any
//! point loses nothing but time: what a decision did is found by the next one.

mod adoption;
mod objects;
mod runs;

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use jiff::SignedDuration;
use lakegate_crds::{
    DataSource, Export, ExportRun, Kind, LakegateResource, RetentionPolicy, RunCause, View,
    validation::summary,
};
use lakegate_federation::Federation;
use lakegate_store::{Entry, Event, Key, ResourceStore, Secrets, StoreError, StoreOf};
use tokio::{sync::mpsc, task::JoinSet};
use tracing::Instrument as _;

use crate::{
    cache::{Cache, Change, Group, ShelfOf},
    clock::{Clock, SystemClock},
    decide::run_for,
    gauges,
    launcher::WorkerLauncher,
    names::Trigger,
    orders, problems,
    queue::{WorkQueue, backoff},
    surroundings::{RealSurroundings, Surroundings},
    workers::Workers,
};

/// How long a shutdown waits for each of its steps.
const SHUTDOWN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Objects looked at in parallel. Looks are short; what takes long (runs) happens elsewhere.
const LOOKS_AT_ONCE: usize = 8;

/// Decisions of one look: each acts on what the one before asked for. A look that needs more comes again.
const DECISIONS_PER_LOOK: usize = 8;

/// How an operator works.
#[derive(Clone)]
pub struct OperatorOptions {
    /// Directory of the instance: lakes without a path and scratch files are in it.
    pub state_dir: PathBuf,

    /// Workers at the same time; further runs wait.
    pub max_workers: usize,

    /// Shortest time between two writes of a running attempt's progress into its run's status. Zero writes each
    /// heartbeat that brings news.
    pub progress_interval: SignedDuration,

    /// Whether schedules, tokens and annotations start runs and histories are trimmed. Without, only runs asked for at
    /// the [`OperatorHandle`] of this very operator are performed: for `lakegate run` while no `serve` is up.
    pub schedules: bool,

    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl OperatorOptions {
    /// As `serve` works: schedules on, two workers or one a processor, whichever is more.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            state_dir: state_dir.into(),
            max_workers: processors.max(2),
            progress_interval: SignedDuration::ZERO,
            schedules: true,
            clock: Arc::new(SystemClock),
        }
    }
}

impl std::fmt::Debug for OperatorOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("OperatorOptions")
            .field("state_dir", &self.state_dir)
            .field("max_workers", &self.max_workers)
            .field("progress_interval", &self.progress_interval)
            .field("schedules", &self.schedules)
            .finish_non_exhaustive()
    }
}

/// Why a run was not started on request.
#[derive(Debug, thiserror::Error)]
pub enum RunRefusal {
    /// There is no such Export.
    #[error("there is no Export {export}: `lakegate get exports` lists them")]
    NotFound {
        /// As it was asked for.
        export: Key,
    },

    /// The Export's manifest never was valid.
    #[error("Export {export} has no valid manifest: {message}")]
    Invalid {
        /// As it was asked for.
        export: Key,

        /// With file and line.
        message: String,
    },

    /// The Export cannot run as it is.
    #[error("Export {export} cannot run: {message}")]
    Unable {
        /// As it was asked for.
        export: Key,

        /// Names the field and what to do.
        message: String,
    },

    /// The run could not be recorded.
    #[error("the run of Export {export} could not be recorded")]
    Store {
        /// As it was asked for.
        export: Key,

        /// The store's answer.
        source: StoreError,
    },
}

/// The operator of one instance.
pub struct Operator {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Operator")
            .field("options", &self.inner.options)
            .finish_non_exhaustive()
    }
}

/// Asks a running operator for things.
#[derive(Clone)]
pub struct OperatorHandle {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for OperatorHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OperatorHandle")
    }
}

/// An object to look at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Target {
    kind: Kind,
    key: Key,
}

struct Inner {
    store: Arc<dyn ResourceStore>,
    surroundings: Arc<dyn Surroundings>,
    launcher: Arc<dyn WorkerLauncher>,
    options: OperatorOptions,
    /// Tells this process's attempts from those of one that was killed.
    session: String,
    cache: Cache,
    queue: Arc<WorkQueue<Target>>,
    workers: Workers,
    /// Uids of runs that are to make room.
    cancelled: Mutex<BTreeSet<String>>,
    /// Everything in the store is known.
    is_ready: tokio::sync::watch::Sender<bool>,
    /// Runs asked for at the handle.
    requested: Mutex<BTreeSet<Key>>,
    /// Failures in a row of each object's looks.
    failures: Mutex<HashMap<Target, u32>>,
}

impl Operator {
    /// An operator over a store, what the federation serves, and workers.
    pub fn new(
        store: Arc<dyn ResourceStore>,
        federation: Arc<Federation>,
        launcher: Arc<dyn WorkerLauncher>,
        options: OperatorOptions,
    ) -> Self {
        let secrets: Arc<dyn Secrets> = Arc::clone(&store) as Arc<dyn Secrets>;
        let surroundings = Arc::new(RealSurroundings::new(
            federation,
            secrets,
            options.state_dir.clone(),
        ));
        Self::with_surroundings(store, surroundings, launcher, options)
    }

    /// An operator in surroundings of the caller's making.
    pub fn with_surroundings(
        store: Arc<dyn ResourceStore>,
        surroundings: Arc<dyn Surroundings>,
        launcher: Arc<dyn WorkerLauncher>,
        options: OperatorOptions,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                store,
                surroundings,
                launcher,
                session: uuid::Uuid::new_v4().to_string(),
                cache: Cache::default(),
                queue: Arc::default(),
                workers: Workers::new(options.max_workers),
                cancelled: Mutex::default(),
                is_ready: tokio::sync::watch::Sender::new(false),
                requested: Mutex::default(),
                failures: Mutex::default(),
                options,
            }),
        }
    }

    /// Something to ask this operator with.
    pub fn handle(&self) -> OperatorHandle {
        OperatorHandle {
            inner: Arc::clone(&self.inner),
        }
    }

    /// Works until `shutdown` completes, then ends its workers, unless they outlive it. What they did not finish is taken
    /// up by the next operator, and costs no attempt.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let inner = self.inner;
        // What workers left behind whose operator was killed: they died with it, and the state directory has one user.
        let scratch = orders::scratch_root(&inner.options.state_dir);
        if let Err(error) = tokio::fs::remove_dir_all(&scratch).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %scratch.display(), %error, "scratch files of earlier workers could not be removed");
        }
        let mut tasks = JoinSet::new();
        let (synced, mut syncing) = mpsc::channel(5);
        let follow = Followers {
            inner: &inner,
            synced: &synced,
        };
        follow.kind::<DataSource>(&mut tasks);
        follow.kind::<Export>(&mut tasks);
        follow.kind::<ExportRun>(&mut tasks);
        follow.kind::<RetentionPolicy>(&mut tasks);
        follow.kind::<View>(&mut tasks);
        drop(synced);
        tokio::pin!(shutdown);
        // Before everything is known, a run that exists may look as if it did not.
        let all_known = async {
            for _ in 0..5 {
                syncing.recv().await;
            }
        };
        let all_known = async {
            all_known.await;
            // Nor may a run look as if it had no worker.
            inner.adopt().await;
        };
        let stopped_early = tokio::select! {
            () = all_known => false,
            () = &mut shutdown => true,
        };
        if !stopped_early {
            inner.is_ready.send_replace(true);
            inner.look_at_everything();
            tasks.spawn(follow_surroundings(Arc::clone(&inner)));
            let mut looks = JoinSet::new();
            loop {
                let room = looks.len() < LOOKS_AT_ONCE;
                tokio::select! {
                    biased;
                    () = &mut shutdown => break,
                    Some(ended) = looks.join_next() => report_panic(ended),
                    lease = inner.queue.next(inner.options.clock.as_ref()), if room => {
                        let inner = Arc::clone(&inner);
                        looks.spawn(Box::pin(async move { inner.look(&lease).await }));
                    }
                }
            }
            // Looks under way finish: they are short, and a half-done one would only be done again. One that waits for
            // a store that does not answer is given up.
            let finish = async {
                while let Some(ended) = looks.join_next().await {
                    report_panic(ended);
                }
            };
            if tokio::time::timeout(SHUTDOWN_PATIENCE, finish).await.is_err() {
                tracing::warn!(
                    "the store does not answer; what was being written is decided again at the next start"
                );
                looks.shutdown().await;
            }
            inner.end_workers().await;
        }
        tasks.shutdown().await;
    }
}

impl OperatorHandle {
    /// How the resources are, as metrics in Prometheus' text format; empty before the operator knows them all.
    pub fn gauges(&self) -> String {
        if *self.inner.is_ready.borrow() {
            gauges::render(&self.inner.cache)
        } else {
            String::new()
        }
    }

    /// Records a run of an Export, to start as soon as none of its other runs is active. A suspended Export runs, too:
    /// a person asks. Waits until the operator knows all objects, which needs [`Operator::run`] to be running.
    ///
    /// # Errors
    ///
    /// [`RunRefusal`], when the Export does not exist or cannot run as it is.
    pub async fn run_now(&self, export: &Key) -> Result<Key, RunRefusal> {
        let inner = &self.inner;
        // The sender lives as long as `inner`.
        let _ = inner.is_ready.subscribe().wait_for(|is_ready| *is_ready).await;
        let refused = |source| RunRefusal::Store {
            export: export.clone(),
            source,
        };
        let entry = match inner.cache.exports.get(export) {
            Some(entry) => Some(entry),
            None => StoreOf::<Export>::of(inner.store.as_ref())
                .get(export)
                .await
                .map_err(refused)?,
        };
        let entry = entry.ok_or_else(|| RunRefusal::NotFound {
            export: export.clone(),
        })?;
        let Some(object) = entry.object.clone() else {
            let message = entry
                .rejected
                .map_or_else(String::new, |rejected| rejected.to_string());
            return Err(RunRefusal::Invalid {
                export: export.clone(),
                message,
            });
        };
        let problems = problems::of_export(&entry, &inner.cache);
        if !problems.is_empty() {
            return Err(RunRefusal::Unable {
                export: export.clone(),
                message: summary(&problems),
            });
        }
        let trigger = Trigger::Request(uuid::Uuid::new_v4().to_string());
        let run = run_for(
            &entry,
            &object,
            &trigger,
            RunCause::Manual,
            inner.options.clock.now(),
        );
        let key = Key::of(&run);
        lock(&inner.requested).insert(key.clone());
        let created = StoreOf::<ExportRun>::of(inner.store.as_ref())
            .create(run)
            .await
            .map_err(refused)?;
        inner.cache.runs.apply(created.into_entry());
        inner.wake(Kind::ExportRun, key.clone());
        inner.wake(Kind::Export, export.clone());
        Ok(key)
    }
}

struct Followers<'a> {
    inner: &'a Arc<Inner>,
    synced: &'a mpsc::Sender<()>,
}

impl Followers<'_> {
    /// Keeps the cache of one kind up to date, and wakes what a change concerns.
    fn kind<K>(&self, tasks: &mut JoinSet<()>)
    where
        K: LakegateResource,
        dyn ResourceStore: StoreOf<K>,
        Cache: ShelfOf<K>,
    {
        let inner = Arc::clone(self.inner);
        let synced = self.synced.clone();
        let mut events = StoreOf::<K>::of(inner.store.as_ref()).watch();
        tasks.spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Event::Applied(entry) => {
                        let key = entry.key.clone();
                        let shelf = ShelfOf::<K>::shelf(&inner.cache);
                        let before = shelf.group(&key);
                        let change = shelf.apply(entry);
                        inner.changed(K::KIND, &key, change);
                        if change == Change::Object {
                            inner.left(K::KIND, before.as_ref());
                        }
                    }
                    Event::Deleted(entry) => {
                        let shelf = ShelfOf::<K>::shelf(&inner.cache);
                        let before = shelf.group(&entry.key);
                        if shelf.remove(&entry.key, &entry.uid) {
                            inner.changed(K::KIND, &entry.key, Change::Object);
                            inner.left(K::KIND, before.as_ref());
                            if K::KIND == Kind::ExportRun {
                                inner.workers.discard(&entry.uid);
                            }
                            if let (Kind::ExportRun, Some(object)) = (K::KIND, &entry.object) {
                                // its Export trims by what is left, and what waited behind it may go on
                                inner.wake_siblings(&entry.key, object.as_ref());
                            }
                        }
                    }
                    Event::Synced => {
                        let _ = synced.send(()).await;
                    }
                }
            }
        });
    }
}

/// Wakes whose status tells of the health of stores, when that changes.
async fn follow_surroundings(inner: Arc<Inner>) {
    let mut changes = inner.surroundings.changes();
    while changes.changed().await.is_ok() {
        inner.wake_all(Kind::DataSource);
        inner.wake_all(Kind::View);
        inner.wake_all(Kind::Export);
    }
    // The federation is gone: what is known stays, until this task is ended with the others.
    std::future::pending::<()>().await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is whole between any two statements that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // A fault of ours. The object is looked at again with its next event or timer; the others go on.
        tracing::error!(%error, "looking at an object panicked");
    }
}

impl Inner {
    fn wake(&self, kind: Kind, key: Key) {
        self.queue.add(Target { kind, key });
    }

    fn wake_all(&self, kind: Kind) {
        let keys = match kind {
            Kind::DataSource => self.cache.sources.keys(|_| true),
            Kind::Export => self.cache.exports.keys(|_| true),
            Kind::ExportRun => self.cache.runs.keys(|run| !is_ended(run)),
            Kind::RetentionPolicy => self.cache.policies.keys(|_| true),
            Kind::View => self.cache.views.keys(|_| true),
        };
        for key in keys {
            self.wake(kind, key);
        }
    }

    fn look_at_everything(&self) {
        for kind in Kind::ALL {
            self.wake_all(kind);
        }
    }

    /// Wakes what a change of one object concerns.
    fn changed(&self, kind: Kind, key: &Key, change: Change) {
        if change == Change::None {
            return;
        }
        self.wake(kind, key.clone());
        match kind {
            // Others may have waited for it, or for its name.
            Kind::DataSource if change == Change::Object => {
                self.wake_all(Kind::DataSource);
                self.wake_all(Kind::Export);
            }
            Kind::Export if change == Change::Object => {
                let table = self.cache.exports.group(key);
                self.left(kind, table.as_ref());
            }
            Kind::View if change == Change::Object => self.wake_all(Kind::View),
            Kind::ExportRun => {
                if let Some(run) = self.cache.runs.get(key).and_then(|run| run.object) {
                    self.wake_siblings(key, run.as_ref());
                }
            }
            _ => {}
        }
    }

    /// Wakes those who share, or shared, a lake table with an Export: it may be another's now.
    fn left(&self, kind: Kind, group: Option<&Group>) {
        if let (Kind::Export, Some(table)) = (kind, group) {
            for export in self.cache.exports.members(table) {
                self.wake(Kind::Export, export.key);
            }
        }
    }

    /// Wakes the Export of a run and its other unfinished runs.
    fn wake_siblings<K: LakegateResource>(&self, key: &Key, run: &K) {
        let AnyRun(export) = AnyRun::of(key, run);
        if let Some(export) = export {
            for run in self.cache.runs_of(&export) {
                if run.key != *key && !is_ended(&run) {
                    self.wake(Kind::ExportRun, run.key);
                }
            }
            self.wake(Kind::Export, export);
        }
    }

    /// One look at one object. Whatever fails is this object's matter alone, and is tried again later.
    async fn look(self: &Arc<Self>, target: &Target) {
        let Target { kind, key } = target;
        let span = tracing::debug_span!("look", lakegate.kind = %kind, lakegate.object = %key);
        let looked = async {
            match kind {
                Kind::DataSource => self.look_at_source(key).await,
                Kind::View => self.look_at_view(key).await,
                Kind::RetentionPolicy => self.look_at_policy(key).await,
                Kind::Export => self.look_at_export(key).await,
                Kind::ExportRun => Box::pin(self.look_at_run(key)).await,
            }
        };
        let looked = looked.instrument(span).await;
        let timer = match looked {
            Ok(Looked::Done { next }) => {
                lock(&self.failures).remove(target);
                next
            }
            Ok(Looked::Unfinished) => {
                self.queue.add(target.clone());
                None
            }
            Err(failure) => {
                let failures = {
                    let mut failures = lock(&self.failures);
                    let count = failures.entry(target.clone()).or_insert(0);
                    *count = count.saturating_add(1);
                    *count
                };
                let wait = backoff(failures, &key.to_string());
                tracing::warn!(%kind, %key, failures, retry_in = %wait, error = failure, "an object could not be served");
                self.options.clock.now().checked_add(wait).ok()
            }
        };
        self.queue.set_timer(target.clone(), timer);
    }
}

/// What a look came to.
enum Looked {
    /// Everything is as decided; look again at `next` at the latest.
    Done { next: Option<jiff::Timestamp> },

    /// There is more to do at once.
    Unfinished,
}

impl Looked {
    fn gone() -> Self {
        Self::Done { next: None }
    }
}

fn is_ended(run: &Entry<ExportRun>) -> bool {
    run.status
        .as_ref()
        .is_some_and(|status| status.state().is_terminal())
}

/// The Export that a resource names, if it is a run.
struct AnyRun(Option<Key>);

impl AnyRun {
    fn of<K: LakegateResource>(key: &Key, resource: &K) -> Self {
        let run = ExportRun::from_any(resource.clone().into_any());
        Self(run.and_then(|run| Some(Key::new(&key.namespace, run.spec.export_ref?.name))))
    }
}
