//! The operator dies, everywhere it can, and the next one goes on: no run lost, none performed twice.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use lakegate_crds::{DataSource, Export, ExportRun, LakegateResource, RetentionPolicy, RunState, View};
use lakegate_operator::{
    WorkerLauncher,
    clock::Clock as _,
    launcher::{Adopted, LaunchFailure, Worker},
    protocol::WorkOrder,
};
use lakegate_store::{
    Created, Entry, Event, Key, MemoryStore, Notice, Notices, Redactor, ResourceStore, SecretError,
    SecretValue, Secrets, Store, StoreError,
};
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    cluster::Cluster,
    harness::{FakeLauncher, FakeSurroundings, Running, World, export},
};

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_its_commit_the_attempt_is_repeated() {
    let mut world = World::new();
    world.store.put(export("orders", json!({"runToken": "go"})));
    let operator = world.start();
    let orphan = world.worker().await;
    let name = orphan.order.run.name.clone();
    world
        .until_run(&name, "it runs", |status| status.state() == RunState::Running)
        .await;
    drop(operator);
    orphan.ends_when_told().await;
    let mut operator = world.start();
    // at once: the worker's end was not its own doing
    let worker = world.worker().await;
    assert_eq!(
        (worker.order.run.name.as_str(), worker.order.run.attempt),
        (name.as_str(), 2)
    );
    worker.finish(&world.surroundings).await;
    let status = world
        .until_run(&name, "it ends", |status| status.state().is_terminal())
        .await;
    assert_eq!(status.state(), RunState::Complete);
    assert_eq!(
        (world.surroundings.commit_count(), world.runs().await.len()),
        (1, 1)
    );
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_commit_the_run_is_complete() {
    let mut world = World::new();
    world.store.put(export("orders", json!({"runToken": "go"})));
    let operator = world.start();
    let orphan = world.worker().await;
    let name = orphan.order.run.name.clone();
    world
        .until_run(&name, "it runs", |status| status.state() == RunState::Running)
        .await;
    drop(operator);
    world.surroundings.commit(&orphan.order.run.uid);
    *world.surroundings.lake_is_away.lock().unwrap() = true;
    let mut operator = world.start();
    world
        .until_run(&name, "it waits for the lake's word", |status| {
            status
                .conditions
                .iter()
                .any(|condition| condition.message.contains("the lake is away"))
        })
        .await;
    assert!(world.no_worker());
    *world.surroundings.lake_is_away.lock().unwrap() = false;
    let status = loop {
        // asked every 15 seconds
        world.advance(15);
        let status = world.run(&name).await;
        if status.state().is_terminal() {
            break status;
        }
        assert!(
            status
                .start_time
                .is_some_and(|started| world.clock.now().duration_since(started.0).as_hours() < 6)
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!(
        (status.state(), status.rows_written, status.attempts),
        (RunState::Complete, Some(9), Some(1))
    );
    assert!(world.no_worker());
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_costs_no_attempt() {
    let mut world = World::new();
    world
        .store
        .put(export("orders", json!({"runToken": "go", "retry": {"limit": 0}})));
    for _ in 0..3 {
        let mut operator = world.start();
        let worker = world.worker().await;
        assert_eq!(worker.order.run.attempt, 1);
        let name = worker.order.run.name.clone();
        world
            .until_run(&name, "it runs", |status| status.state() == RunState::Running)
            .await;
        tokio::join!(operator.shut_down(), worker.ends_when_told());
        let status = world.run(&name).await;
        assert_eq!(
            (status.state(), status.attempts, status.worker),
            (RunState::Pending, Some(0), None)
        );
    }
    let mut operator = world.start();
    let worker = world.worker().await;
    let name = worker.order.run.name.clone();
    worker.finish(&world.surroundings).await;
    world
        .until_run(&name, "it ends", |status| status.state() == RunState::Complete)
        .await;
    assert_eq!(
        (world.surroundings.commit_count(), world.runs().await.len()),
        (1, 1)
    );
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_during_shutdown_counts() {
    let mut world = World::new();
    world.store.put(export("orders", json!({"runToken": "go"})));
    let mut operator = world.start();
    let worker = world.worker().await;
    let name = worker.order.run.name.clone();
    world
        .until_run(&name, "it runs", |status| status.state() == RunState::Running)
        .await;
    world.surroundings.commit(&worker.order.run.uid);
    tokio::join!(operator.shut_down(), worker.ends_when_told());
    assert_eq!(world.run(&name).await.state(), RunState::Complete);
}

/// Where the operator dies: at its n-th effect, before it or right after.
#[derive(Debug)]
struct Fate {
    left: AtomicUsize,
    before: bool,
    died: Notify,
}

impl Fate {
    fn new(effect: usize, before: bool) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(effect),
            before,
            died: Notify::new(),
        })
    }

    /// Performs an effect, unless the operator is dead by then. A dead operator waits for ever.
    async fn effect<T>(&self, effect: impl Future<Output = T>) -> T {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                Some(left.saturating_sub(1))
            })
            .unwrap();
        match (left, self.before) {
            (0, _) => std::future::pending().await,
            (1, true) => {
                self.died.notify_one();
                std::future::pending().await
            }
            (1, false) => {
                effect.await;
                self.died.notify_one();
                std::future::pending().await
            }
            _ => effect.await,
        }
    }
}

/// A store whose user dies at some effect.
struct Mortal {
    store: Arc<MemoryStore>,
    fate: Arc<Fate>,
}

#[async_trait]
impl<K: LakegateResource> Store<K> for Mortal
where
    MemoryStore: Store<K>,
{
    fn watch(&self) -> BoxStream<'static, Event<K>> {
        Store::<K>::watch(self.store.as_ref())
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry<K>>, StoreError> {
        Store::<K>::get(self.store.as_ref(), key).await
    }

    async fn list(&self) -> Result<Vec<Entry<K>>, StoreError> {
        Store::<K>::list(self.store.as_ref()).await
    }

    async fn create(&self, object: K) -> Result<Created<K>, StoreError> {
        self.fate.effect(self.store.create(object)).await
    }

    async fn write_status(&self, key: &Key, uid: &str, status: K::Status) -> Result<(), StoreError> {
        self.fate
            .effect(Store::<K>::write_status(self.store.as_ref(), key, uid, status))
            .await
    }

    async fn delete(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        self.fate
            .effect(Store::<K>::delete(self.store.as_ref(), key, uid))
            .await
    }
}

#[async_trait]
impl Secrets for Mortal {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        Secrets::get(self.store.as_ref(), namespace, name, key).await
    }

    fn redactor(&self) -> Redactor {
        self.store.redactor()
    }
}

#[async_trait]
impl Notices for Mortal {
    async fn publish(&self, notice: Notice) {
        self.fate.effect(self.store.publish(notice)).await;
    }

    async fn list_notices(&self) -> Result<Vec<Notice>, StoreError> {
        self.store.list_notices().await
    }
}

/// Starts workers that do their work at once; starting one is an effect, too.
struct Diligent {
    fate: Arc<Fate>,
    lake: Arc<FakeSurroundings>,
    /// Runs that a worker committed, one entry for each worker that found nothing committed before it.
    performed: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl WorkerLauncher for Diligent {
    async fn launch(&self, order: WorkOrder, secrets: &dyn Secrets) -> Result<Worker, LaunchFailure> {
        let (workers, mut started) = tokio::sync::mpsc::unbounded_channel();
        let launched = self
            .fate
            .effect(FakeLauncher { workers }.launch(order, secrets))
            .await;
        let mut worker = started.recv().await.unwrap();
        let (lake, performed) = (Arc::clone(&self.lake), Arc::clone(&self.performed));
        tokio::spawn(async move {
            let uid = worker.order.run.uid.clone();
            // One step, as the lake's conditional create is: a worker that was stopped commits nothing, and of two
            // workers of a run one finds the commit of the other.
            {
                let mut performed = performed.lock().unwrap();
                if !worker.is_stopped() {
                    if !lake.commits.lock().unwrap().contains_key(&uid) {
                        performed.push(uid.clone());
                    }
                    lake.commit(&uid);
                }
            }
            worker.finish(&lake).await;
        });
        launched
    }
}

/// A cluster whose user dies at some effect. Its Jobs do not.
struct MortalCluster {
    fate: Arc<Fate>,
    cluster: Arc<Cluster>,
}

#[async_trait]
impl WorkerLauncher for MortalCluster {
    async fn launch(&self, order: WorkOrder, secrets: &dyn Secrets) -> Result<Worker, LaunchFailure> {
        self.fate.effect(self.cluster.launch(order, secrets)).await
    }

    fn outlives_operator(&self) -> bool {
        true
    }

    async fn adopt(&self) -> Result<Vec<Adopted>, LaunchFailure> {
        self.cluster.adopt().await
    }

    async fn fence(&self, run: &Key, run_uid: &str) -> Option<String> {
        self.cluster.fence(run, run_uid).await
    }
}

/// Where the runs of a day are performed.
#[derive(Debug, Clone, Copy)]
enum Home {
    /// In child processes, which end with their operator.
    Processes,

    /// In a cluster, where a Job takes this long.
    Cluster(std::time::Duration),
}

const fn assert_store<T: ResourceStore>() {}
const _: () = assert_store::<Mortal>();
const _: fn() = || {
    fn every_kind<
        T: Store<DataSource> + Store<Export> + Store<ExportRun> + Store<RetentionPolicy> + Store<View>,
    >() {
    }
    every_kind::<Mortal>();
};

/// The first day of an Export: a run when it is first seen, one by its schedule, one by a token, and a trim of the history.
/// Whoever reads what was recorded cannot tell whether the operator died in between.
async fn a_day(home: Home, effect: usize, before: bool) -> bool {
    let world = World::new();
    let (cluster, mut jobs) = Cluster::new(Arc::clone(&world.clock));
    let spec = |token: &str| json!({"schedule": {"cron": "0 3 * * *", "runOnCreate": true}, "runToken": token, "history": {"succeeded": 2}});
    world.store.put(export("orders", spec("")));
    let fate = Fate::new(effect, before);
    let performed: Arc<Mutex<Vec<String>>> = Arc::default();
    let nodes = tokio::spawn({
        let (lake, performed) = (Arc::clone(&world.surroundings), Arc::clone(&performed));
        async move {
            while let (Some(job), Home::Cluster(time)) = (jobs.recv().await, home) {
                tokio::time::sleep(time).await;
                performed.lock().unwrap().push(job.order.run.uid.clone());
                job.finish(&lake);
            }
        }
    });
    let start = |fate: &Arc<Fate>| {
        let store = Mortal {
            store: Arc::clone(&world.store),
            fate: Arc::clone(fate),
        };
        let launcher: Arc<dyn WorkerLauncher> = match home {
            Home::Processes => Arc::new(Diligent {
                fate: Arc::clone(fate),
                lake: Arc::clone(&world.surroundings),
                performed: Arc::clone(&performed),
            }),
            Home::Cluster(_) => Arc::new(MortalCluster {
                fate: Arc::clone(fate),
                cluster: Arc::clone(&cluster),
            }),
        };
        Running::start(
            Arc::new(store),
            Arc::clone(&world.surroundings) as _,
            launcher,
            world.options(),
        )
    };
    let operator = start(&fate);
    let when = if before { "before" } else { "after" };
    let what = format!("{home:?}, effect {effect}, {when}");
    let life = async {
        world
            .until_export("orders", &what, |status| {
                status.last_run.is_some() && status.next_schedule_time.is_some()
            })
            .await;
        world.set_time("2026-05-11T03:00:00Z");
        world
            .until_export("orders", &what, |status| {
                status.last_schedule_time.is_some() && status.active_run.is_none()
            })
            .await;
        world.store.put(export("orders", spec("again")));
        world
            .until_export("orders", &what, |status| {
                status.last_run_token.is_some() && status.active_run.is_none()
            })
            .await;
        let deadline = tokio::time::Instant::now() + crate::harness::PATIENCE;
        while world.runs().await.len() != 2
            || world
                .runs()
                .await
                .iter()
                .any(|(_, status)| status.state() != RunState::Complete)
        {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what}: {:#?}",
                world.runs().await
            );
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    let mut life = std::pin::pin!(life);
    let mut operator = Some(operator);
    let mut is_over = false;
    let orderly = async {
        (&mut life).await;
        is_over = true;
        if let Some(operator) = operator.as_mut() {
            operator.shut_down().await;
        }
    };
    let died = tokio::select! {
        () = orderly => false,
        () = fate.died.notified() => true,
    };
    let operator = operator.take();
    if died {
        drop(operator);
        let mut heir = start(&Fate::new(usize::MAX, true));
        if !is_over {
            life.await;
        }
        heir.shut_down().await;
    }
    let performed: Vec<String> = performed.lock().unwrap().clone();
    assert_eq!(
        (performed.len(), world.surroundings.commit_count()),
        (3, 3),
        "{what}: {performed:?}"
    );
    nodes.abort();
    if matches!(home, Home::Cluster(_)) {
        assert_eq!(
            cluster.count(),
            3,
            "{what}: one Job a run, whoever watches over it"
        );
        for (name, status) in world.runs().await {
            assert_eq!(status.attempts, Some(1), "{what}: {name}");
        }
    }
    let status = world.export("orders").await;
    assert_eq!(
        (status.missed_runs, status.consecutive_failures),
        (Some(0), Some(0)),
        "{what}"
    );
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_at_any_effect_loses_and_doubles_nothing() {
    let long = std::time::Duration::from_millis(20);
    for home in [
        Home::Processes,
        Home::Cluster(std::time::Duration::ZERO),
        Home::Cluster(long),
    ] {
        for before in [true, false] {
            let mut effect = 1;
            while a_day(home, effect, before).await {
                effect += 1;
            }
            assert!(
                effect > 15,
                "only {effect} effects: the scenario is too short to mean anything"
            );
        }
    }
}
