//! Workers that outlive their operator: the next one takes them up, and nothing is done twice.

use std::sync::Arc;

use lakegate_crds::{ExportRun, RunState};
use lakegate_store::{Key, ResourceStore};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    cluster::{Cluster, Job},
    harness::{PATIENCE, Running, World, condition, export},
};

/// A world with a cluster in it.
struct Home {
    world: World,
    cluster: Arc<Cluster>,
    jobs: mpsc::UnboundedReceiver<Arc<Job>>,
}

impl Home {
    fn new() -> Self {
        let world = World::new();
        let (cluster, jobs) = Cluster::new(Arc::clone(&world.clock));
        Self { world, cluster, jobs }
    }

    fn start(&self) -> Running {
        Running::start(
            Arc::clone(&self.world.store) as Arc<dyn ResourceStore>,
            Arc::clone(&self.world.surroundings) as _,
            Arc::clone(&self.cluster) as _,
            self.world.options(),
        )
    }

    /// The next Job that is made.
    async fn job(&mut self) -> Arc<Job> {
        tokio::time::timeout(PATIENCE, self.jobs.recv())
            .await
            .expect("no Job was made")
            .unwrap()
    }

    async fn until_running(&self, job: &Job) {
        self.world
            .until_run(&job.order.run.name, "it runs", |status| {
                status.state() == RunState::Running
                    && status.attempt_id.as_deref() == Some(&job.order.run.attempt_id)
            })
            .await;
    }

    /// Moves the clock in steps until the run is as wanted.
    async fn pass(
        &self,
        name: &str,
        step: i64,
        what: &str,
        wanted: impl Fn(&lakegate_crds::ExportRunStatus) -> bool,
    ) {
        for _ in 0..400 {
            if wanted(&self.world.run(name).await) {
                return;
            }
            self.world.advance(step);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!(
            "time passes in vain until {what}: {:#?}",
            self.world.run(name).await
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heir_of_a_killed_operator_takes_up_its_job() {
    let mut home = Home::new();
    home.world
        .store
        .put(export("orders", json!({"runToken": "go", "retry": {"limit": 0}})));
    let operator = home.start();
    let job = home.job().await;
    home.until_running(&job).await;
    let before = home.world.run(&job.order.run.name).await;
    drop(operator);
    job.progress(7);
    let mut operator = home.start();
    let name = job.order.run.name.clone();
    let status = home
        .world
        .until_run(&name, "it is taken up", |status| {
            status.worker.as_ref().map(|worker| &worker.session)
                != before.worker.as_ref().map(|worker| &worker.session)
        })
        .await;
    assert_eq!(
        (
            status.state(),
            status.attempts,
            &status.attempt_id,
            &status.start_time
        ),
        (RunState::Running, Some(1), &before.attempt_id, &before.start_time)
    );
    home.world
        .until_run(&name, "what it says is heard", |status| {
            status
                .progress
                .as_ref()
                .is_some_and(|progress| progress.rows == Some(7))
        })
        .await;
    job.finish(&home.world.surroundings);
    let status = home
        .world
        .until_run(&name, "it ends", |status| status.state().is_terminal())
        .await;
    assert_eq!((status.state(), status.attempts), (RunState::Complete, Some(1)));
    assert_eq!(
        (home.cluster.count(), home.world.surroundings.commit_count()),
        (1, 1)
    );
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_no_operator_was_there_is_told_with_its_own_time() {
    let mut home = Home::new();
    for (name, retry) in [("good", 0), ("bad", 0)] {
        home.world
            .store
            .put(export(name, json!({"runToken": "go", "retry": {"limit": retry}})));
    }
    let operator = home.start();
    let (first, second) = (home.job().await, home.job().await);
    for job in [&first, &second] {
        home.until_running(job).await;
    }
    drop(operator);
    home.world.advance(90);
    for job in [&first, &second] {
        if job.order.run.export == "good" {
            job.finish(&home.world.surroundings);
        } else {
            job.fail("ReadFailed", false);
        }
    }
    home.world.advance(3600);
    let mut operator = home.start();
    for job in [&first, &second] {
        let status = home
            .world
            .until_run(&job.order.run.name, "its end is known", |status| {
                status.state().is_terminal()
            })
            .await;
        let expected = match job.order.run.export.as_str() {
            "good" => (RunState::Complete, None),
            _ => (RunState::Failed, Some("ReadFailed")),
        };
        let failure = status.failure.as_ref().map(|failure| failure.reason.as_str());
        assert_eq!((status.state(), failure), expected);
        assert_eq!(status.duration.as_deref(), Some("1m30s"));
    }
    assert_eq!(home.cluster.count(), 2);
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_leaves_jobs_alone() {
    let mut home = Home::new();
    home.world.store.put(export("orders", json!({"runToken": "go"})));
    let mut operator = home.start();
    let job = home.job().await;
    home.until_running(&job).await;
    for _ in 0..3 {
        operator.shut_down().await;
        drop(operator);
        assert!(!job.is_told_to_end());
        assert_eq!(
            home.world.run(&job.order.run.name).await.state(),
            RunState::Running
        );
        operator = home.start();
    }
    job.finish(&home.world.surroundings);
    let status = home
        .world
        .until_run(&job.order.run.name, "it ends", |status| {
            status.state().is_terminal()
        })
        .await;
    assert_eq!(
        (status.state(), status.attempts, home.cluster.count()),
        (RunState::Complete, Some(1), 1)
    );
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_nobody_is_ended() {
    let mut home = Home::new();
    home.world.store.put(export("orders", json!({"runToken": "go"})));
    let mut operator = home.start();
    let job = home.job().await;
    home.until_running(&job).await;
    let name = Key::named(&job.order.run.name);
    // while its operator is there, and while none is
    home.world.store.remove::<ExportRun>(&name);
    until("the Job is told to end", || job.is_told_to_end()).await;
    operator.shut_down().await;
    drop(operator);

    home.world.store.put(export("lines", json!({"runToken": "go"})));
    let operator = home.start();
    let job = home.job().await;
    home.until_running(&job).await;
    drop(operator);
    home.world
        .store
        .remove::<ExportRun>(&Key::named(&job.order.run.name));
    let mut operator = home.start();
    until("the Job is told to end", || job.is_told_to_end()).await;
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_not_failed_while_a_lost_attempt_may_commit() {
    let mut home = Home::new();
    home.world.store.put(export(
        "orders",
        json!({"runToken": "go", "retry": {"limit": 1, "backoff": "30s"}}),
    ));
    let mut operator = home.start();
    let lost = home.job().await;
    let name = lost.order.run.name.clone();
    home.until_running(&lost).await;
    lost.is_lost();
    home.world
        .until_run(&name, "it is tried again", |status| {
            status.next_attempt_time.is_some()
        })
        .await;
    // another attempt of the same run may work beside it
    home.world.advance(31);
    let second = home.job().await;
    home.until_running(&second).await;
    second.fail("ReadFailed", false);
    home.world
        .until_run(&name, "it waits for the lost one", |status| {
            status
                .conditions
                .iter()
                .any(|condition| condition.message.contains("the Pod of attempt 1"))
        })
        .await;
    // nothing follows meanwhile
    home.world.store.put(export(
        "orders",
        json!({"runToken": "again", "retry": {"limit": 1, "backoff": "30s"}}),
    ));
    home.world.advance(600);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(home.jobs.try_recv().is_err());
    assert_eq!(home.world.run(&name).await.state(), RunState::Running);
    // also not when the operator is another one
    drop(operator);
    operator = home.start();
    home.world
        .until_run(&name, "it waits for the lost one again", |status| {
            status
                .conditions
                .iter()
                .any(|condition| condition.message.contains("the Pod of attempt 1"))
        })
        .await;
    home.world.surroundings.commit(&lost.order.run.uid);
    lost.is_gone();
    home.pass(&name, 15, "its end is known", |status| {
        status.state().is_terminal()
    })
    .await;
    let status = home.world.run(&name).await;
    assert_eq!(
        condition(&status.conditions, "Complete"),
        Some(("True", "Succeeded"))
    );
    let next = home.job().await;
    assert_ne!(next.order.run.uid, lost.order.run.uid, "now the next run begins");
    next.finish(&home.world.surroundings);
    home.world
        .until_run(&next.order.run.name, "it ends", |status| {
            status.state() == RunState::Complete
        })
        .await;
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_seen_again_is_trusted_to_keep_its_deadline() {
    let mut home = Home::new();
    home.world.store.put(export(
        "orders",
        json!({"runToken": "go", "timeout": "1h", "retry": {"limit": 0}}),
    ));
    let mut operator = home.start();
    let lost = home.job().await;
    let name = lost.order.run.name.clone();
    home.until_running(&lost).await;
    lost.is_lost();
    home.pass(&name, 60, "it has failed", |status| status.state().is_terminal())
        .await;
    let status = home.world.run(&name).await;
    assert_eq!(
        condition(&status.conditions, "Failed"),
        Some(("True", "WorkerLost"))
    );
    let begun = status.start_time.unwrap().0;
    let waited = lakegate_operator::clock::Clock::now(home.world.clock.as_ref()).duration_since(begun);
    assert!(waited >= jiff::SignedDuration::from_mins(62), "{waited:#}");
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_node_is_not_silent() {
    let mut home = Home::new();
    home.world.store.put(export(
        "orders",
        json!({"runToken": "go", "timeout": "2h", "retry": {"limit": 0}}),
    ));
    let mut operator = home.start();
    let job = home.job().await;
    let name = job.order.run.name.clone();
    job.waits("waits for a node: 0/1 nodes are available");
    home.world
        .until_run(&name, "it says what it waits for", |status| {
            status
                .conditions
                .iter()
                .any(|condition| condition.message == "attempt 1: waits for a node: 0/1 nodes are available")
        })
        .await;
    home.world.advance(3600);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!job.is_told_to_end());
    job.progress(1);
    home.world
        .until_run(&name, "it works", |status| {
            status
                .progress
                .as_ref()
                .is_some_and(|progress| progress.rows == Some(1))
        })
        .await;
    // from here on silence counts
    home.world.advance(61);
    until("it is told to end", || job.is_told_to_end()).await;
    job.end("signal 15");
    let status = home
        .world
        .until_run(&name, "it ends", |status| status.state().is_terminal())
        .await;
    assert_eq!(status.failure.unwrap().reason, "WorkerLost");
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_gets_a_node_ends_with_its_time_and_says_why() {
    let mut home = Home::new();
    home.world
        .store
        .put(export("orders", json!({"runToken": "go", "timeout": "1h"})));
    let mut operator = home.start();
    let job = home.job().await;
    let name = job.order.run.name.clone();
    job.waits("waits for a node: 3 Insufficient memory");
    home.until_running(&job).await;
    home.world.advance(3600);
    until("it is told to end", || job.is_told_to_end()).await;
    job.end("its Job is gone");
    let status = home
        .world
        .until_run(&name, "it ends", |status| status.state().is_terminal())
        .await;
    let failure = status.failure.unwrap();
    assert_eq!(failure.reason, "DeadlineExceeded");
    assert!(
        failure.message.contains("3 Insufficient memory"),
        "{}",
        failure.message
    );
    operator.shut_down().await;
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain until {what}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}
