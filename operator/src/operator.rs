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

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt as _;
use lakegate_crds::{
    DataSource, Export, ExportRun, Kind, LakegateResource, RetentionPolicy, RunCause, View,
    conditions::Reason, validation::summary,
};
use lakegate_federation::Federation;
use lakegate_store::{Created, Entry, Event, Key, ResourceStore, StoreError, StoreOf};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    attempt::{CommitLookup, Ending, StopCause, Work},
    cache::{Cache, Change, ShelfOf, export_of},
    clock::{Clock, SystemClock},
    decide::{
        Decision, Effect, ObservedExport, ObservedPolicy, ObservedRun, ObservedSource, ObservedView,
        decide_export, decide_policy, decide_run, decide_source, decide_view, run_for,
    },
    launcher::{WorkerEvent, WorkerLauncher},
    measure,
    names::Trigger,
    orders, problems,
    protocol::{Failure, RunIdentity},
    queue::{WorkQueue, backoff},
    surroundings::{RealSurroundings, Surroundings, chain},
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
        let surroundings = Arc::new(RealSurroundings::new(federation, options.state_dir.clone()));
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

    /// Works until `shutdown` completes, then ends its workers. What they did not finish is taken up by the next
    /// operator, and costs no attempt.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) {
        let inner = self.inner;
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
                        looks.spawn(async move { inner.look(&lease).await });
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
        inner.lock(&inner.requested).insert(key.clone());
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
                        let change = ShelfOf::<K>::shelf(&inner.cache).apply(entry);
                        inner.changed(K::KIND, &key, change);
                    }
                    Event::Deleted(entry) => {
                        if ShelfOf::<K>::shelf(&inner.cache).remove(&entry.key, &entry.uid) {
                            inner.changed(K::KIND, &entry.key, Change::Object);
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
    std::future::pending().await
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        // A fault of ours. The object is looked at again with its next event or timer; the others go on.
        tracing::error!(%error, "looking at an object panicked");
    }
}

impl Inner {
    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> std::sync::MutexGuard<'a, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
            Kind::Export if change == Change::Object => self.wake_all(Kind::Export),
            Kind::View if change == Change::Object => self.wake_all(Kind::View),
            Kind::ExportRun => {
                if let Some(run) = self.cache.runs.get(key).and_then(|run| run.object) {
                    self.wake_siblings(key, run.as_ref());
                }
            }
            _ => {}
        }
    }

    /// Wakes the Export of a run and its other unfinished runs.
    fn wake_siblings<K: LakegateResource>(&self, key: &Key, run: &K) {
        let AnyRun(export) = AnyRun::of(key, run);
        if let Some(export) = export {
            for run in self
                .cache
                .runs
                .keys(|run| !is_ended(run) && export_of(run).as_ref() == Some(&export))
            {
                if run != *key {
                    self.wake(Kind::ExportRun, run);
                }
            }
            self.wake(Kind::Export, export);
        }
    }

    /// One look at one object. Whatever fails is this object's matter alone, and is tried again later.
    async fn look(self: &Arc<Self>, target: &Target) {
        let Target { kind, key } = target;
        let looked = match kind {
            Kind::DataSource => self.look_at_source(key).await,
            Kind::View => self.look_at_view(key).await,
            Kind::RetentionPolicy => self.look_at_policy(key).await,
            Kind::Export => self.look_at_export(key).await,
            Kind::ExportRun => self.look_at_run(key).await,
        };
        let timer = match looked {
            Ok(Looked::Done { next }) => {
                self.lock(&self.failures).remove(target);
                next
            }
            Ok(Looked::Unfinished) => {
                self.queue.add(target.clone());
                None
            }
            Err(failure) => {
                let failures = {
                    let mut failures = self.lock(&self.failures);
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

    async fn look_at_source(&self, key: &Key) -> Result<Looked, String> {
        let Some(entry) = self.cache.sources.get(key) else {
            return Ok(Looked::gone());
        };
        let problems = problems::of_source(&entry, &self.cache);
        let health = self.surroundings.source_health(key);
        let now = self.options.clock.now();
        let decision = decide_source(ObservedSource {
            entry: &entry,
            problems: &problems,
            health: health.as_ref(),
            now,
        });
        self.conclude(&entry, decision).await
    }

    async fn look_at_view(&self, key: &Key) -> Result<Looked, String> {
        let Some(entry) = self.cache.views.get(key) else {
            return Ok(Looked::gone());
        };
        let problems = problems::of_view(&entry, &self.cache);
        let health = self.surroundings.view_health(key);
        let now = self.options.clock.now();
        let decision = decide_view(ObservedView {
            entry: &entry,
            problems: &problems,
            health: health.as_ref(),
            now,
        });
        self.conclude(&entry, decision).await
    }

    async fn look_at_policy(&self, key: &Key) -> Result<Looked, String> {
        let Some(entry) = self.cache.policies.get(key) else {
            return Ok(Looked::gone());
        };
        let problems = problems::of_policy(&entry);
        let now = self.options.clock.now();
        let decision = decide_policy(ObservedPolicy {
            entry: &entry,
            problems: &problems,
            now,
        });
        self.conclude(&entry, decision).await
    }

    async fn look_at_export(&self, key: &Key) -> Result<Looked, String> {
        if !self.options.schedules {
            return Ok(Looked::gone());
        }
        let mut failure: Option<String> = None;
        for _ in 0..DECISIONS_PER_LOOK {
            let Some(entry) = self.cache.exports.get(key) else {
                return Ok(Looked::gone());
            };
            let problems = problems::of_export(&entry, &self.cache);
            let runs = self.cache.runs_of(key);
            let (source_down, lake_down) = self.dependencies_down(&entry);
            let decision = decide_export(ObservedExport {
                entry: &entry,
                problems: &problems,
                runs: &runs,
                source_down: source_down.as_deref(),
                lake_down: lake_down.as_deref(),
                failure: failure.as_deref(),
                now: self.options.clock.now(),
            });
            if decision.effects.is_empty() {
                measure::export(&entry.key, &decision.status);
                let looked = self.conclude(&entry, decision).await?;
                return match failure {
                    Some(failure) => Err(failure),
                    None => Ok(looked),
                };
            }
            let waits_for_run = decision
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::CancelRun(_)));
            for effect in &decision.effects {
                if let Err(error) = self.act_on_export(effect).await {
                    failure = Some(error);
                    break;
                }
            }
            if waits_for_run && failure.is_none() {
                // Its end wakes this Export again.
                return Ok(Looked::Done { next: decision.next });
            }
        }
        Ok(Looked::Unfinished)
    }

    /// Why the source and the lake of an Export cannot be used now, as far as known.
    fn dependencies_down(&self, entry: &Entry<Export>) -> (Option<String>, Option<String>) {
        let Some(object) = entry.object.as_deref() else {
            return (None, None);
        };
        let down = |name: &str| {
            let health = self
                .surroundings
                .source_health(&Key::new(&entry.key.namespace, name))?;
            (health.reachable == Some(false)).then(|| {
                let message = health.message.unwrap_or_else(|| "it does not answer".to_owned());
                format!("DataSource {name}: {message}")
            })
        };
        let source = object
            .spec
            .from
            .source_ref
            .as_ref()
            .and_then(|reference| down(&reference.name));
        (source, down(&object.spec.destination.lake_ref.name))
    }

    async fn act_on_export(&self, effect: &Effect) -> Result<(), String> {
        let runs = StoreOf::<ExportRun>::of(self.store.as_ref());
        match effect {
            Effect::CreateRun(run) => {
                let name = run.metadata.name.clone().unwrap_or_default();
                let created = runs
                    .create(run.as_ref().clone())
                    .await
                    .map_err(|error| format!("the run {name} cannot be recorded: {}", chain(&error)))?;
                if let Created::Already(existing) = &created
                    && existing
                        .object
                        .as_deref()
                        .and_then(|run| run.spec.export_uid.as_ref())
                        != run.spec.export_uid.as_ref()
                {
                    return Err(format!(
                        "the run {name} exists and belongs to another Export: delete it"
                    ));
                }
                self.cache.runs.apply(created.into_entry());
                self.wake(Kind::ExportRun, Key::of(run.as_ref()));
            }
            Effect::CancelRun(key) => {
                if let Some(run) = self.cache.runs.get(key) {
                    self.lock(&self.cancelled).insert(run.uid);
                    self.wake(Kind::ExportRun, key.clone());
                }
            }
            Effect::DeleteRun { key, uid } => {
                runs.delete(key, uid).await.map_err(|error| {
                    format!(
                        "the run {key} cannot be removed from the history: {}",
                        chain(&error)
                    )
                })?;
                self.cache.runs.remove(key, uid);
            }
            Effect::StartWorker { .. } | Effect::StopWorker(_) | Effect::LookUpCommit => {}
        }
        Ok(())
    }

    async fn look_at_run(self: &Arc<Self>, key: &Key) -> Result<Looked, String> {
        let mut commit = CommitLookup::NotAsked;
        for _ in 0..DECISIONS_PER_LOOK {
            let Some(entry) = self.cache.runs.get(key) else {
                return Ok(Looked::gone());
            };
            if is_ended(&entry) || !(self.options.schedules || self.lock(&self.requested).contains(key)) {
                return Ok(Looked::gone());
            }
            let export = export_of(&entry);
            let spec = self.spec_of(&entry, export.as_ref());
            let unable = orders::missing_dependency(&entry, spec.as_ref(), &self.cache);
            let view = self.workers.view(&entry.uid);
            let ahead = export.as_ref().and_then(|export| self.ahead_of(&entry, export));
            let decision = decide_run(ObservedRun {
                entry: &entry,
                spec: spec.as_ref(),
                work: &view.work,
                worker_id: view.worker_id.as_deref(),
                attempt_id: view.attempt_id.as_deref(),
                commit: &commit,
                session: &self.session,
                cancelled: self.lock(&self.cancelled).contains(&entry.uid),
                ahead: ahead.as_deref(),
                capacity: self.workers.has_capacity(),
                unable: unable.as_ref(),
                failure: None,
                now: self.options.clock.now(),
            });
            let Some(effect) = decision.effects.first() else {
                return self
                    .conclude_run(&entry, &view.work, export.as_ref(), decision)
                    .await;
            };
            match effect {
                Effect::StartWorker { attempt } => {
                    let (Some(export), Some(spec)) = (&export, spec) else {
                        return Ok(Looked::gone());
                    };
                    if !self.start_worker(&entry, export, spec, *attempt).await {
                        // Another run of this Export, or the last free place, was faster: its end wakes this one.
                        continue;
                    }
                }
                Effect::StopWorker(cause) => self.workers.stop(&entry.uid, *cause),
                Effect::LookUpCommit => commit = self.look_up_commit(&entry, spec.as_ref()).await,
                Effect::CreateRun(_) | Effect::CancelRun(_) | Effect::DeleteRun { .. } => {}
            }
        }
        Ok(Looked::Unfinished)
    }

    /// The spec a run performs: its own, the one fixed with its first look, or its Export's.
    fn spec_of(&self, run: &Entry<ExportRun>, export: Option<&Key>) -> Option<lakegate_crds::ExportSpec> {
        let own = run.object.as_deref().and_then(|run| run.spec.resolved.as_deref());
        let fixed = run.status.as_ref().and_then(|status| status.resolved.as_deref());
        if let Some(spec) = own.or(fixed) {
            return Some(spec.clone());
        }
        self.cache
            .exports
            .get(export?)?
            .object
            .as_deref()
            .map(|export| export.spec.clone())
    }

    /// The unfinished run of the same Export that goes first: one at work, else the oldest.
    fn ahead_of(&self, run: &Entry<ExportRun>, export: &Key) -> Option<String> {
        if let Some(at_work) = self.workers.run_of_export(export) {
            return (at_work != run.key).then_some(at_work.name);
        }
        let order = |run: &Entry<ExportRun>| {
            let created = run
                .object
                .as_deref()
                .and_then(|object| object.metadata.creation_timestamp.clone());
            let attempted = run
                .status
                .as_ref()
                .and_then(|status| status.attempts)
                .unwrap_or(0)
                > 0;
            (!attempted, created.map(|created| created.0), run.key.name.clone())
        };
        let mine = order(run);
        let requested = self.lock(&self.requested);
        self.cache
            .runs_of(export)
            .iter()
            // Without schedules nobody performs the others, so nobody waits for them.
            .filter(|other| !is_ended(other) && (self.options.schedules || requested.contains(&other.key)))
            .map(order)
            .filter(|other| *other < mine)
            .min()
            .map(|(_, _, name)| name)
    }

    async fn look_up_commit(
        &self,
        run: &Entry<ExportRun>,
        spec: Option<&lakegate_crds::ExportSpec>,
    ) -> CommitLookup {
        let lake = spec.and_then(|spec| {
            let key = Key::new(&run.key.namespace, &spec.destination.lake_ref.name);
            Some((self.cache.sources.get(&key)?.object?, spec))
        });
        // Without its lake a run has nowhere to have committed to.
        let Some((lake, spec)) = lake else {
            return CommitLookup::Absent;
        };
        match self
            .surroundings
            .find_commit(&lake, &spec.destination, &run.uid)
            .await
        {
            Ok(Some(report)) => CommitLookup::Found(report),
            Ok(None) => CommitLookup::Absent,
            Err(why) => CommitLookup::Unknown(why),
        }
    }

    /// Starts an attempt. False when there is no place for it; whatever else goes wrong is the attempt's own end.
    async fn start_worker(
        self: &Arc<Self>,
        run: &Entry<ExportRun>,
        export: &Key,
        spec: lakegate_crds::ExportSpec,
        attempt: u32,
    ) -> bool {
        let attempt_id = uuid::Uuid::new_v4().to_string();
        let clock = &self.options.clock;
        if !self
            .workers
            .reserve(&run.key, &run.uid, export, attempt, &attempt_id, clock.now())
        {
            return false;
        }
        let not_started = |ending: Ending| self.workers.not_started(&run.uid, ending, clock.now());
        let Some(inputs) = orders::inputs(&run.key.namespace, &spec, &self.cache) else {
            not_started(Ending::Failed(Failure {
                reason: Reason::DependencyNotFound.to_string(),
                message: "a DataSource of the run was removed".to_owned(),
                terminal: true,
            }));
            return true;
        };
        let identity = RunIdentity {
            namespace: run.key.namespace.clone(),
            name: run.key.name.clone(),
            uid: run.uid.clone(),
            export: export.name.clone(),
            attempt,
            attempt_id: attempt_id.clone(),
        };
        let order = orders::order(
            identity,
            spec,
            inputs,
            self.store.as_ref(),
            &self.options.state_dir,
        )
        .await;
        let order = match order {
            Ok(order) => order,
            Err(failure) => {
                not_started(Ending::Failed(failure));
                return true;
            }
        };
        match self.launcher.launch(order).await {
            Ok(worker) => {
                tracing::info!(run = %run.key, attempt, worker = worker.id, "a worker started");
                let events = self.workers.started(&run.uid, worker);
                let target = Target {
                    kind: Kind::ExportRun,
                    key: run.key.clone(),
                };
                tokio::spawn(Arc::clone(self).attend(run.uid.clone(), attempt_id, target, events));
            }
            Err(error) => not_started(Ending::NotLaunched(chain(&error))),
        }
        true
    }

    /// Listens to one worker until it is gone.
    async fn attend(
        self: Arc<Self>,
        run_uid: String,
        attempt_id: String,
        target: Target,
        mut events: mpsc::Receiver<WorkerEvent>,
    ) {
        let mut exit = None;
        while let Some(event) = events.recv().await {
            match event {
                WorkerEvent::Message(message) => {
                    if self.workers.heard(&run_uid, message, self.options.clock.now()) {
                        self.queue.add(target.clone());
                    }
                }
                WorkerEvent::Exited(how) => {
                    exit = Some(how);
                    break;
                }
            }
        }
        let exit = exit.unwrap_or_else(|| crate::launcher::Exit {
            how: "its launcher lost sight of it".to_owned(),
        });
        let scratch = orders::scratch_dir(&self.options.state_dir, &attempt_id);
        match tokio::fs::remove_dir_all(&scratch).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %scratch.display(), %error, "scratch files of a worker could not be removed");
            }
            _ => {}
        }
        self.workers.exited(&run_uid, exit, self.options.clock.now());
        self.queue.add(target);
        // A place is free.
        for run in self.cache.runs.keys(|run| !is_ended(run)) {
            self.wake(Kind::ExportRun, run);
        }
    }

    async fn conclude_run(
        &self,
        entry: &Entry<ExportRun>,
        work: &Work,
        export: Option<&Key>,
        decision: Decision<lakegate_crds::ExportRunStatus>,
    ) -> Result<Looked, String> {
        let status = decision.status.clone();
        let looked = self.conclude(entry, decision).await?;
        // The status tells of the attempt's end, so the memory of it may go. While it is not known whether the attempt
        // has committed, the status still names its worker.
        if matches!(work, Work::Ended { .. }) && status.worker.is_none() {
            self.workers.forget(&entry.uid);
        }
        if status.state().is_terminal() {
            measure::run(export, &status);
            self.lock(&self.cancelled).remove(&entry.uid);
            self.lock(&self.requested).remove(&entry.key);
            self.sweep(entry, &status, export).await;
        }
        Ok(looked)
    }

    /// Removes what dead attempts of an ended run left behind. A courtesy: what stays costs space, nothing else.
    async fn sweep(
        &self,
        run: &Entry<ExportRun>,
        status: &lakegate_crds::ExportRunStatus,
        export: Option<&Key>,
    ) {
        let clean = status.state() == lakegate_crds::RunState::Complete && status.attempts.unwrap_or(0) <= 1;
        let spec = self.spec_of(run, export);
        let Some(spec) = spec.filter(|_| !clean && status.attempts.unwrap_or(0) > 0) else {
            return;
        };
        let lake = Key::new(&run.key.namespace, &spec.destination.lake_ref.name);
        let Some(lake) = self.cache.sources.get(&lake).and_then(|lake| lake.object) else {
            return;
        };
        match self.surroundings.sweep(&lake, &spec.destination, &run.uid).await {
            Ok(0) => {}
            Ok(files) => {
                tracing::info!(run = %run.key, files, "removed what unfinished attempts had written")
            }
            Err(error) => {
                tracing::warn!(run = %run.key, error, "what unfinished attempts had written is still there")
            }
        }
    }

    /// Writes the status, when it is news, and publishes the notices that go with it.
    async fn conclude<K>(&self, entry: &Entry<K>, decision: Decision<K::Status>) -> Result<Looked, String>
    where
        K: LakegateResource,
        dyn ResourceStore: StoreOf<K>,
        Cache: ShelfOf<K>,
    {
        let Decision {
            status,
            notices,
            next,
            ..
        } = decision;
        if entry.status.as_ref() != Some(&status) {
            let written = StoreOf::<K>::of(self.store.as_ref())
                .write_status(&entry.key, &entry.uid, status.clone())
                .await;
            match written {
                Ok(()) => {
                    ShelfOf::<K>::shelf(&self.cache).wrote(&entry.key, &entry.uid, status);
                    // The watch will bring nothing that the cache does not know now.
                    self.changed(K::KIND, &entry.key, Change::Status);
                }
                // Removed meanwhile: the watch will say so.
                Err(StoreError::Gone { .. }) => return Ok(Looked::gone()),
                Err(error) => return Err(format!("the status cannot be written: {}", chain(&error))),
            }
        }
        for notice in notices {
            self.store.publish(notice).await;
        }
        Ok(Looked::Done { next })
    }

    /// Ends every worker and writes down where its run stands.
    async fn end_workers(self: &Arc<Self>) {
        let runs = self.workers.stop_all(StopCause::Shutdown);
        if runs.is_empty() {
            return;
        }
        tracing::info!(workers = runs.len(), "ending workers");
        // Each launcher bounds how long an end takes; the bound here is for one that does not.
        let all_gone = async {
            while self.workers.running() > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(2 * SHUTDOWN_PATIENCE, all_gone)
            .await
            .is_err()
        {
            tracing::warn!(
                "not every worker has ended; what they work on is found unfinished at the next start"
            );
        }
        for key in runs {
            // A failure to write is logged: the next operator finds the run open, and takes the attempt for lost.
            if let Err(error) = self.write_down(&key).await {
                tracing::warn!(run = %key, error, "where a run stands could not be written");
            }
        }
    }

    /// One look at a run that starts nothing.
    async fn write_down(&self, key: &Key) -> Result<(), String> {
        let mut commit = CommitLookup::NotAsked;
        for _ in 0..3 {
            let Some(entry) = self.cache.runs.get(key) else {
                return Ok(());
            };
            let view = self.workers.view(&entry.uid);
            if is_ended(&entry) || !matches!(view.work, Work::Ended { .. }) {
                return Ok(());
            }
            let export = export_of(&entry);
            let spec = self.spec_of(&entry, export.as_ref());
            let decision = decide_run(ObservedRun {
                entry: &entry,
                spec: spec.as_ref(),
                work: &view.work,
                worker_id: view.worker_id.as_deref(),
                attempt_id: view.attempt_id.as_deref(),
                commit: &commit,
                session: &self.session,
                cancelled: false,
                ahead: None,
                capacity: false,
                unable: None,
                failure: None,
                now: self.options.clock.now(),
            });
            if decision.effects.contains(&Effect::LookUpCommit) {
                commit = self.look_up_commit(&entry, spec.as_ref()).await;
                continue;
            }
            let status = decision.status.clone();
            self.conclude(&entry, decision).await?;
            if status.state().is_terminal() {
                measure::run(export.as_ref(), &status);
            }
            return Ok(());
        }
        Ok(())
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
