//! How attempts end other than by their own word, and what is no end.

use std::time::Duration;

use kube::api::DeleteParams;
use lakegate_operator::{
    WorkerLauncher as _,
    launcher::{Worker, WorkerEvent},
    protocol::WorkerMessage,
};
use lakegate_store::Key;
use serde_json::json;

use super::fixture::{
    Cluster, Place, condition, container, end, failed, finished, next_such, progress, shared, until,
};

/// An attempt at work, and its Pod.
async fn at_work(place: &Place, launcher: &lakegate_operator::kubernetes::JobLauncher) -> (Worker, String) {
    let mut worker = place.launch(launcher, 1).await;
    let pod = place.pod(1).await;
    place.bind(&pod).await;
    place.runs(&pod).await;
    next_such(&mut worker, "it is at work", |event| *event == WorkerEvent::Alive).await;
    (worker, pod)
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_is_a_failure_with_a_name() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let (mut worker, pod) = at_work(&place, &launcher).await;
    place.ends(&pod, 137, "OOMKilled", None).await;
    let (last, exit) = end(&mut worker).await;
    let Some(WorkerMessage::Failed(failure)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(
        (failure.reason.as_str(), failure.terminal),
        ("OutOfMemory", false)
    );
    assert!(failure.message.contains("512Mi"), "{}", failure.message);
    assert!(exit.how.contains("signal 9"), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_only_in_the_log_counts() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let (mut worker, pod) = at_work(&place, &launcher).await;
    place.say(&pod, &failed("ReadFailed"));
    place.cluster.kubelet.say(&place.log(&pod), "INFO one more line");
    place.ends(&pod, 1, "Error", None).await;
    let (last, _) = end(&mut worker).await;
    assert_eq!(last, Some(failed("ReadFailed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_pod_ends_its_attempt_and_says_why() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let (mut worker, pod) = at_work(&place, &launcher).await;
    let status = json!({
        "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage.",
        "conditions": [condition("Ready", false)], "containerStatuses": null,
    });
    place.report(&pod, status).await;
    let (last, exit) = end(&mut worker).await;
    assert_eq!(last, None, "it said nothing");
    assert!(
        exit.how
            .contains("Evicted: The node was low on resource: ephemeral-storage."),
        "{exit:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_or_job_that_a_person_deletes_ends_its_attempt() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let (mut worker, pod) = at_work(&place, &launcher).await;
    place.pods().delete(&pod, &DeleteParams::default()).await.unwrap();
    place.let_go(&pod).await;
    let (last, exit) = end(&mut worker).await;
    assert_eq!(last, None);
    assert!(
        exit.how.contains("signal 15") || exit.how.contains("removed"),
        "{exit:?}"
    );

    let mut worker = place.launch(&launcher, 2).await;
    let pod = place.pod(2).await;
    place
        .jobs()
        .delete(&worker.id, &DeleteParams::background())
        .await
        .unwrap();
    until("the Pod is gone", async || {
        place.pods().get_opt(&pod).await.unwrap().is_none().then_some(())
    })
    .await;
    let (last, exit) = end(&mut worker).await;
    assert_eq!((last, exit.how.as_str()), (None, "its Job is gone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_a_job_is_limited_by_the_control_plane_too() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let mut order = place.order(1);
    order.deadline = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let mut worker = launcher
        .launch(order, &lakegate_store::MemoryStore::new())
        .await
        .unwrap();
    let pod = place.pod(1).await;
    place.bind(&pod).await;
    place.runs(&pod).await;
    place.let_go(&pod).await;
    let (last, _) = end(&mut worker).await;
    // Its own end may be seen before the Job's: then the operator, whose clock says the same, calls it so.
    match last {
        Some(WorkerMessage::Failed(failure)) => {
            assert_eq!(
                (failure.reason.as_str(), failure.terminal),
                ("DeadlineExceeded", true)
            );
        }
        other => assert_eq!(other, None),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_node_ends_the_attempt_but_not_the_doubt() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let (mut worker, pod) = at_work(&place, &launcher).await;
    place.cluster.kubelet.set_away(&place.log(&pod), true);
    place.cluster.kubelet.cut(&place.log(&pod));
    // As the node controller does: the Pod is not ready, and is to go. Its node confirms nothing.
    let status = json!({"conditions": [condition("Ready", false), {
        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "deleting due to NoExecute taint",
    }]});
    place.report(&pod, status).await;
    place
        .pods()
        .delete(&pod, &DeleteParams::default().grace_period(1))
        .await
        .unwrap();
    let (last, exit) = end(&mut worker).await;
    assert_eq!(last, None);
    assert!(
        exit.how.contains("node n1") && exit.how.contains("does not answer"),
        "{exit:?}"
    );
    let run = Key::new(&place.namespace, "orders-202605110000-abcdef");
    let who = launcher.fence(&run, &place.run_uid).await.unwrap();
    assert!(who.contains(&pod) && who.contains("--force"), "{who}");
    // another attempt may begin all the same
    let _next = place.launch(&launcher, 2).await;
    place.force(&pod).await;
    let second = place.pod(2).await;
    place.bind(&second).await;
    place.runs(&second).await;
    place.ends(&second, 1, "Error", Some(&failed("ReadFailed"))).await;
    until("nothing can commit any more", async || {
        launcher.fence(&run, &place.run_uid).await.is_none().then_some(())
    })
    .await;
    let jobs = place
        .jobs()
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    assert!(
        jobs.items
            .iter()
            .any(|job| job.metadata.name.as_deref() == Some("orders-202605110000-abcdef-2")),
        "what has ended is left for people to look at"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_api_server_is_no_end() {
    // Its own: others would not like it.
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start("jobs-restart")));
    let place = cluster.place().await;
    let launcher = place.launcher();
    launcher.adopt().await.unwrap();
    let (mut worker, pod) = at_work(&place, &launcher).await;
    place.say(&pod, &progress(1));
    next_such(&mut worker, "it is heard", |event| {
        *event == WorkerEvent::Message(progress(1))
    })
    .await;
    let runtime = tokio::runtime::Handle::current();
    let (mut worker, pod) = tokio::task::spawn_blocking(move || {
        cluster.restart_api_server(|| {
            // It cannot be heard, and counts as alive.
            runtime.block_on(next_such(&mut worker, "it counts as alive", |event| {
                *event == WorkerEvent::Alive
            }));
        });
        (worker, pod)
    })
    .await
    .unwrap();
    place.say(&pod, &progress(2));
    next_such(&mut worker, "it is heard again", |event| {
        *event == WorkerEvent::Message(progress(2))
    })
    .await;
    place.ends(&pod, 0, "Completed", Some(&finished(2))).await;
    let (last, _) = end(&mut worker).await;
    assert_eq!(last, Some(finished(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_heard_counts_as_alive_while_its_node_does() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let mut worker = place.launch(&launcher, 1).await;
    let pod = place.pod(1).await;
    place.cluster.kubelet.set_away(&place.log(&pod), true);
    place.bind(&pod).await;
    place.runs(&pod).await;
    for _ in 0..2 {
        next_such(&mut worker, "it counts as alive", |event| {
            *event == WorkerEvent::Alive
        })
        .await;
    }
    let status = json!({
        "conditions": [condition("Ready", false)], "containerStatuses": container(json!({"running": {}})),
    });
    place.report(&pod, status).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    while worker.events.try_recv().is_ok() {}
    let silence = tokio::time::timeout(Duration::from_secs(20), worker.events.recv()).await;
    assert!(silence.is_err(), "{silence:?}");
}
