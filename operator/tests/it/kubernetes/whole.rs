//! Operators over a real API server that come and go, and a run that stays.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
    runtime::watcher::{self, watcher},
};
use lakegate_crds::{DataSource, Export, ExportRun, ExportRunStatus, RunState};
use lakegate_operator::{
    Operator, OperatorOptions, kubernetes::ATTEMPT_ID_ANNOTATION, protocol::WorkerMessage,
    surroundings::Surroundings,
};
use lakegate_store::{KubernetesOptions, KubernetesStore, ResourceStore};
use serde_json::json;

use super::fixture::{Place, condition, progress, shared, until};
use crate::{
    harness::{FakeSurroundings, export},
    orders::{bucket, postgres},
};

/// The run that `fixture` makes in each namespace.
const RUN: &str = "orders-202605110000-abcdef";

/// An operator's process. Dropping it is kill -9.
struct Process(Option<tokio::runtime::Runtime>);

impl Process {
    fn start(place: &Place, lake: &Arc<FakeSurroundings>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (cluster, namespace, lake) = (place.cluster, place.namespace.clone(), Arc::clone(lake));
        runtime.spawn(async move {
            let client = cluster.client().await;
            let options = KubernetesOptions {
                namespaces: vec![namespace.clone()],
                component: "lakegate-operator".to_owned(),
            };
            let store = KubernetesStore::open(client.clone(), options).await.unwrap();
            let launcher = super::fixture::launcher(client, &namespace);
            let state_dir = tempfile::tempdir().unwrap();
            let mut options = OperatorOptions::new(state_dir.path());
            options.progress_interval = jiff::SignedDuration::from_secs(10);
            let store: Arc<dyn ResourceStore> = Arc::new(store);
            let operator = Operator::with_surroundings(
                store,
                lake as Arc<dyn Surroundings>,
                Arc::new(launcher),
                options,
            );
            operator.run(std::future::pending()).await;
        });
        Self(Some(runtime))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// What the run of the namespace needs.
async fn furnish(place: &Place, retry: serde_json::Value) {
    let created = PostParams::default();
    let sources = Api::<DataSource>::namespaced(place.client.clone(), &place.namespace);
    for source in [postgres("shop"), bucket()] {
        sources.create(&created, &source).await.unwrap();
    }
    // It makes no run of its own; the one there is was made by hand.
    let exports = Api::<Export>::namespaced(place.client.clone(), &place.namespace);
    exports
        .create(&created, &export("orders", json!({"retry": retry})))
        .await
        .unwrap();
}

async fn until_run(place: &Place, what: &str, wanted: impl Fn(&ExportRunStatus) -> bool) -> ExportRunStatus {
    let runs = Api::<ExportRun>::namespaced(place.client.clone(), &place.namespace);
    until(what, async || {
        let status = runs.get(RUN).await.unwrap().status.unwrap_or_default();
        wanted(&status).then_some(status)
    })
    .await
}

async fn attempts(place: &Place) -> Vec<String> {
    let mut names: Vec<String> = place
        .jobs()
        .list(&ListParams::default())
        .await
        .unwrap()
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_come_and_go_and_the_run_goes_on() {
    let place = shared().place().await;
    furnish(&place, json!({"limit": 0})).await;
    let lake = Arc::<FakeSurroundings>::default();

    // Killed as soon as its Job is there, whatever it has written down by then.
    let operator = Process::start(&place, &lake);
    let pod = place.pod(1).await;
    drop(operator);
    let attempt_id = place.pods().get(&pod).await.unwrap().annotations()[ATTEMPT_ID_ANNOTATION].clone();

    // Killed while it works.
    let operator = Process::start(&place, &lake);
    place.bind(&pod).await;
    place.runs(&pod).await;
    place.say(&pod, &progress(1));
    let status = until_run(&place, "it is heard", |status| {
        status
            .progress
            .as_ref()
            .is_some_and(|progress| progress.rows == Some(1))
    })
    .await;
    assert_eq!((status.state(), status.attempts), (RunState::Running, Some(1)));
    assert_eq!(status.attempt_id.as_ref(), Some(&attempt_id));
    assert_eq!(status.worker.unwrap().id, format!("{RUN}-1"));
    assert!(
        status.resolved.is_some(),
        "what a run made by hand performs is fixed"
    );

    // However often it speaks, what it says is written once in ten seconds.
    let runs = Api::<ExportRun>::namespaced(place.client.clone(), &place.namespace);
    let mut events = std::pin::pin!(watcher(runs, watcher::Config::default()));
    let mut writes = 0;
    let counting = tokio::time::timeout(Duration::from_secs(8), async {
        let mut rows = 1;
        let mut talk = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                _ = talk.tick() => {
                    rows += 1;
                    place.say(&pod, &progress(rows));
                }
                event = events.next() => writes += usize::from(matches!(event, Some(Ok(watcher::Event::Apply(_))))),
            }
        }
    });
    assert!(counting.await.is_err());
    assert!(writes <= 1, "{writes} writes");
    drop(operator);

    // Nobody is there when it ends.
    let report = lake.commit(&place.run_uid);
    place
        .ends(&pod, 0, "Completed", Some(&WorkerMessage::Finished(report)))
        .await;
    let operator = Process::start(&place, &lake);
    let status = until_run(&place, "it has ended", |status| status.state().is_terminal()).await;
    assert_eq!(
        (
            status.state(),
            status.attempts,
            status.rows_written,
            status.rows_read
        ),
        (RunState::Complete, Some(1), Some(9), Some(9))
    );
    assert_eq!(
        (attempts(&place).await, lake.commit_count()),
        (vec![format!("{RUN}-1")], 1)
    );
    drop(operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_attempt_is_repeated() {
    let place = shared().place().await;
    furnish(&place, json!({"limit": 1, "backoff": "1s"})).await;
    let lake = Arc::<FakeSurroundings>::default();
    let operator = Process::start(&place, &lake);
    let first = place.pod(1).await;
    place.bind(&first).await;
    place.runs(&first).await;
    let status = json!({
        "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
        "conditions": [condition("Ready", false)], "containerStatuses": null,
    });
    place.report(&first, status).await;
    let second = place.pod(2).await;
    let status = until_run(&place, "it says why", |status| status.failure.is_some()).await;
    let failure = status.failure.unwrap();
    assert_eq!(failure.reason, "WorkerLost");
    assert!(
        failure
            .message
            .contains("Evicted: The node was low on resource: memory."),
        "{}",
        failure.message
    );
    place.bind(&second).await;
    place.runs(&second).await;
    let report = lake.commit(&place.run_uid);
    place
        .ends(&second, 0, "Completed", Some(&WorkerMessage::Finished(report)))
        .await;
    let status = until_run(&place, "it has ended", |status| status.state().is_terminal()).await;
    assert_eq!((status.state(), status.attempts), (RunState::Complete, Some(2)));
    assert_eq!(attempts(&place).await, [format!("{RUN}-1"), format!("{RUN}-2")]);
    drop(operator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_deleted_takes_its_job_along() {
    let place = shared().place().await;
    furnish(&place, json!({"limit": 0})).await;
    let lake = Arc::<FakeSurroundings>::default();
    let operator = Process::start(&place, &lake);
    let pod = place.pod(1).await;
    place.bind(&pod).await;
    place.runs(&pod).await;
    until_run(&place, "it runs", |status| status.state() == RunState::Running).await;
    let runs = Api::<ExportRun>::namespaced(place.client.clone(), &place.namespace);
    runs.delete(RUN, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    place.let_go(&pod).await;
    until("its Job is gone", async || {
        attempts(&place).await.is_empty().then_some(())
    })
    .await;
    drop(operator);
}
