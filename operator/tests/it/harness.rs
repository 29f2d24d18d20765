//! A world for an operator: a store in memory, a lake that remembers commits, workers that do as they are told, and a
//! clock that stands still.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use lakegate_crds::{
    DataSource, DestinationSpec, Export, ExportRun, ExportRunStatus, ExportStatus, LakegateResource,
};
use lakegate_federation::{SourceHealth, ViewHealth};
use lakegate_lake::{Dropped, TableOwner};
use lakegate_operator::{
    Operator, OperatorHandle, OperatorOptions, WorkerLauncher,
    clock::{Clock, ManualClock},
    launcher::{Exit, LaunchFailure, Worker, WorkerEvent},
    protocol::{Failure, Phase, Progress, Report, WorkOrder, WorkerMessage},
    surroundings::Surroundings,
};
use lakegate_store::{Key, MemoryStore, Notices, ResourceStore, Secrets, StoreOf};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

/// When every test begins.
pub const START: &str = "2026-05-11T00:00:00Z";

/// The lake of the tests, and what is known of stores.
#[derive(Debug)]
pub struct FakeSurroundings {
    pub commits: Mutex<BTreeMap<String, Report>>,
    pub health: Mutex<BTreeMap<Key, SourceHealth>>,
    pub lake_is_away: Mutex<bool>,
    /// Whose each table is: the uid of the Export that wrote it last.
    pub tables: Mutex<BTreeMap<String, String>>,
    pub changes: watch::Sender<u64>,
}

impl Default for FakeSurroundings {
    fn default() -> Self {
        Self {
            commits: Mutex::default(),
            health: Mutex::default(),
            lake_is_away: Mutex::default(),
            tables: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl FakeSurroundings {
    /// Commits a run, as the real lake does: once, and `already` from then on.
    pub fn commit(&self, run_uid: &str) -> Report {
        let mut commits = self.commits.lock().unwrap();
        if let Some(report) = commits.get(run_uid) {
            return Report {
                already: true,
                rows_read: None,
                ..report.clone()
            };
        }
        let snapshot_id = commits.len() as i64 + 1;
        let report = Report {
            rows_read: Some(9),
            rows: 9,
            bytes: 99,
            files: 1,
            snapshot_id,
            ..Report::default()
        };
        commits.insert(run_uid.to_owned(), report.clone());
        report
    }

    /// Commits the run of an order into its table.
    pub fn publish(&self, order: &WorkOrder) -> Report {
        let report = self.commit(&order.run.uid);
        let owner = order.run.export_uid.clone().unwrap_or_default();
        self.tables
            .lock()
            .unwrap()
            .insert(table_of(&order.spec.destination), owner);
        report
    }

    pub fn commit_count(&self) -> usize {
        self.commits.lock().unwrap().len()
    }

    /// A store that answers, as far as its exports care.
    pub fn answers(&self, name: &str) {
        self.set_health(
            name,
            SourceHealth {
                reachable: Some(true),
                ..SourceHealth::default()
            },
        );
    }

    pub fn set_health(&self, name: &str, health: SourceHealth) {
        self.health.lock().unwrap().insert(Key::named(name), health);
        self.changes.send_modify(|count| *count += 1);
    }
}

fn table_of(destination: &DestinationSpec) -> String {
    format!("{}.{}", destination.schema, destination.table)
}

#[async_trait]
impl Surroundings for FakeSurroundings {
    fn source_health(&self, key: &Key) -> Option<SourceHealth> {
        self.health.lock().unwrap().get(key).cloned()
    }

    fn view_health(&self, _key: &Key) -> Option<ViewHealth> {
        None
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn find_commit(
        &self,
        _lake: &DataSource,
        _destination: &DestinationSpec,
        run_uid: &str,
    ) -> Result<Option<Report>, String> {
        if *self.lake_is_away.lock().unwrap() {
            return Err("the lake is away".to_owned());
        }
        Ok(self.commits.lock().unwrap().get(run_uid).cloned())
    }

    async fn drop_table(
        &self,
        _lake: &DataSource,
        destination: &DestinationSpec,
        owner: &TableOwner,
    ) -> Result<Dropped, String> {
        if *self.lake_is_away.lock().unwrap() {
            return Err("the lake is away".to_owned());
        }
        let mut tables = self.tables.lock().unwrap();
        let table = table_of(destination);
        Ok(match tables.get(&table) {
            None => Dropped::Absent,
            Some(uid) if *uid == owner.export_uid => {
                tables.remove(&table);
                Dropped::Removed
            }
            Some(_) => Dropped::Foreign("another Export".to_owned()),
        })
    }

    async fn sweep(
        &self,
        _lake: &DataSource,
        _destination: &DestinationSpec,
        _run_uid: &str,
    ) -> Result<u64, String> {
        Ok(0)
    }
}

/// A worker in the test's hands.
pub struct FakeWorker {
    pub order: Box<WorkOrder>,
    events: mpsc::Sender<WorkerEvent>,
    stopped: oneshot::Receiver<()>,
}

impl FakeWorker {
    pub async fn progress(&self, rows: u64) {
        let progress = Progress {
            phase: Phase::Copying,
            rows,
            bytes: rows * 11,
            total_rows: None,
        };
        let _ = self
            .events
            .send(WorkerEvent::Message(WorkerMessage::Progress(progress)))
            .await;
    }

    /// Told to end, or its operator is gone.
    pub fn is_stopped(&mut self) -> bool {
        self.stopped.try_recv() != Err(oneshot::error::TryRecvError::Empty)
    }

    /// Commits, says so and ends, unless it was told to end.
    pub async fn finish(mut self, lake: &FakeSurroundings) {
        if self.is_stopped() {
            return self.dies().await;
        }
        let report = lake.publish(&self.order);
        let _ = self
            .events
            .send(WorkerEvent::Message(WorkerMessage::Finished(report)))
            .await;
        self.exits("exit status: 0").await;
    }

    pub async fn fail(self, reason: &str, terminal: bool) {
        let failure = Failure {
            reason: reason.to_owned(),
            message: "it broke".to_owned(),
            terminal,
        };
        let _ = self
            .events
            .send(WorkerEvent::Message(WorkerMessage::Failed(failure)))
            .await;
        self.exits("exit status: 1").await;
    }

    pub async fn dies(self) {
        self.exits("signal: 9 (SIGKILL)").await;
    }

    async fn exits(self, how: &str) {
        let _ = self.events.send(WorkerEvent::Exited(Exit::now(how))).await;
    }

    /// Waits to be told to end, and ends.
    pub async fn ends_when_told(mut self) {
        let _ = (&mut self.stopped).await;
        self.exits("exit status: 75").await;
    }
}

/// Hands each worker to the test.
#[derive(Debug)]
pub struct FakeLauncher {
    pub workers: mpsc::UnboundedSender<FakeWorker>,
}

impl std::fmt::Debug for FakeWorker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.order.run.fmt(formatter)
    }
}

#[async_trait]
impl WorkerLauncher for FakeLauncher {
    async fn launch(&self, order: WorkOrder, _secrets: &dyn Secrets) -> Result<Worker, LaunchFailure> {
        let (events_in, events) = mpsc::channel(64);
        let (stop, stopped) = oneshot::channel();
        let id = format!("fake-{}", order.run.attempt);
        let attempt_id = order.run.attempt_id.clone();
        let _ = self.workers.send(FakeWorker {
            order: Box::new(order),
            events: events_in,
            stopped,
        });
        Ok(Worker {
            id,
            attempt_id,
            events,
            stop,
        })
    }
}

/// A running operator. Dropping it is kill -9: every task of it vanishes between two instructions.
pub struct Running {
    runtime: Option<tokio::runtime::Runtime>,
    shutdown: Option<oneshot::Sender<()>>,
    ended: Option<tokio::task::JoinHandle<()>>,
    pub handle: OperatorHandle,
}

impl Running {
    pub fn start(
        store: Arc<dyn ResourceStore>,
        surroundings: Arc<dyn Surroundings>,
        launcher: Arc<dyn WorkerLauncher>,
        options: OperatorOptions,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let operator = Operator::with_surroundings(store, surroundings, launcher, options);
        let handle = operator.handle();
        let (shutdown, told) = oneshot::channel::<()>();
        let ended = runtime.spawn(operator.run(async {
            let _ = told.await;
        }));
        Self {
            runtime: Some(runtime),
            shutdown: Some(shutdown),
            ended: Some(ended),
            handle,
        }
    }

    /// SIGTERM.
    pub async fn shut_down(&mut self) {
        let _ = self.shutdown.take().unwrap().send(());
        tokio::time::timeout(PATIENCE, self.ended.as_mut().unwrap())
            .await
            .expect("the operator does not end")
            .unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// Everything.
pub struct World {
    pub store: Arc<MemoryStore>,
    pub clock: Arc<ManualClock>,
    pub surroundings: Arc<FakeSurroundings>,
    pub workers: mpsc::UnboundedReceiver<FakeWorker>,
    launcher: Arc<FakeLauncher>,
    state_dir: tempfile::TempDir,
}

impl World {
    /// With a source `shop` and a lake `lake`, both of which answer.
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START.parse().unwrap()));
        let time = Arc::clone(&clock);
        let store = Arc::new(MemoryStore::with_clock(move || time.now()));
        store.put(source("shop", json!({"sqlite": {"path": "shop.db"}})));
        store.put(source("lake", json!({"lake": {"directory": {}}})));
        let (workers_in, workers) = mpsc::unbounded_channel();
        let surroundings = FakeSurroundings::default();
        surroundings.answers("shop");
        surroundings.answers("lake");
        Self {
            store,
            clock,
            surroundings: Arc::new(surroundings),
            workers,
            launcher: Arc::new(FakeLauncher { workers: workers_in }),
            state_dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn options(&self) -> OperatorOptions {
        let mut options = OperatorOptions::new(self.state_dir.path());
        options.clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        options
    }

    pub fn start(&self) -> Running {
        self.start_with(self.options())
    }

    pub fn start_with(&self, options: OperatorOptions) -> Running {
        Running::start(
            Arc::clone(&self.store) as Arc<dyn ResourceStore>,
            Arc::clone(&self.surroundings) as _,
            Arc::clone(&self.launcher) as _,
            options,
        )
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub fn set_time(&self, text: &str) {
        self.clock.set(text.parse::<Timestamp>().unwrap());
    }

    /// The next worker that is started.
    pub async fn worker(&mut self) -> FakeWorker {
        tokio::time::timeout(PATIENCE, self.workers.recv())
            .await
            .expect("no worker was started")
            .unwrap()
    }

    pub fn no_worker(&mut self) -> bool {
        self.workers.try_recv().is_err()
    }

    pub async fn export(&self, name: &str) -> ExportStatus {
        self.status::<Export>(name).await
    }

    pub async fn run(&self, name: &str) -> ExportRunStatus {
        self.status::<ExportRun>(name).await
    }

    async fn status<K: LakegateResource>(&self, name: &str) -> K::Status
    where
        dyn ResourceStore: StoreOf<K>,
    {
        let store: &dyn ResourceStore = self.store.as_ref();
        let entry = store.of_kind::<K>().get(&Key::named(name)).await.unwrap();
        entry.and_then(|entry| entry.status).unwrap_or_default()
    }

    /// Names of all runs, in order.
    pub async fn runs(&self) -> Vec<(String, ExportRunStatus)> {
        let store: &dyn ResourceStore = self.store.as_ref();
        let runs = store.of_kind::<ExportRun>().list().await.unwrap();
        runs.into_iter()
            .map(|run| (run.key.name, run.status.unwrap_or_default()))
            .collect()
    }

    /// Waits until the status of an Export is as wanted, and gives it back.
    pub async fn until_export(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&ExportStatus) -> bool,
    ) -> ExportStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.export(name).await;
            if wanted(&status) {
                return status;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain until {what}: {status:#?}, runs {:#?}",
                self.runs().await
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn until_run(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&ExportRunStatus) -> bool,
    ) -> ExportRunStatus {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.run(name).await;
            if wanted(&status) {
                return status;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain until {what}: {status:#?}"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Reasons of all notices about an object of this name.
    pub async fn told(&self, name: &str) -> Vec<String> {
        let mut notices = self.store.list_notices().await.unwrap();
        notices.reverse();
        notices
            .into_iter()
            .filter(|notice| notice.key.name == name)
            .map(|notice| notice.reason)
            .collect()
    }
}

/// How long a test waits for what must happen. Only a failing test waits that long.
pub const PATIENCE: Duration = Duration::from_mins(3);

pub trait OfKind {
    fn of_kind<K: LakegateResource>(&self) -> &dyn lakegate_store::Store<K>
    where
        Self: StoreOf<K>;
}

impl OfKind for dyn ResourceStore {
    fn of_kind<K: LakegateResource>(&self) -> &dyn lakegate_store::Store<K>
    where
        Self: StoreOf<K>,
    {
        StoreOf::<K>::of(self)
    }
}

pub fn source(name: &str, spec: serde_json::Value) -> DataSource {
    serde_json::from_value(json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "DataSource", "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

/// An Export of `shop.main.<name>` into `lake.shop.<name>`, with the members of `spec` in place of the usual ones.
pub fn export(name: &str, spec: serde_json::Value) -> Export {
    let mut full = json!({
        "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "main", "name": name}},
        "allColumns": {},
        "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": name},
    });
    for (member, value) in spec.as_object().unwrap() {
        full[member] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "Export", "metadata": {"name": name}, "spec": full,
    }))
    .unwrap()
}

/// The condition as `status/reason`.
pub fn condition<'a>(conditions: &'a [lakegate_crds::Condition], name: &str) -> Option<(&'a str, &'a str)> {
    conditions
        .iter()
        .find(|condition| condition.type_ == name)
        .map(|condition| (condition.status.as_str(), condition.reason.as_str()))
}
