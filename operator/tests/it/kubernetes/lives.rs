//! From the create of a Job to its end.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lakegate_operator::{
    WorkerLauncher as _,
    clock::ManualClock,
    launcher::{LaunchFailure, Worker, WorkerEvent},
};
use lakegate_store::{Key, MemoryStore};
use serde_json::json;

use super::fixture::{condition, container, end, finished, next, next_such, progress, shared, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_a_job_that_is_heard_and_ends() {
    let place = shared().place().await;
    let launcher = place.launcher();
    assert!(launcher.adopt().await.unwrap().is_empty());
    let mut worker = place.launch(&launcher, 1).await;
    assert_eq!(worker.id, "orders-202605110000-abcdef-1");
    assert_eq!(worker.attempt_id, "attempt-1");
    assert!(matches!(next(&mut worker).await, WorkerEvent::Waiting(_)));
    let pod = place.pod(1).await;
    place
        .report(&pod, json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available",
        }]}))
        .await;
    let no_room = WorkerEvent::Waiting("waits for a node: 0/1 nodes are available".to_owned());
    next_such(&mut worker, "it waits", |event| *event == no_room).await;
    place.bind(&pod).await;
    place
        .report(&pod, json!({
            "conditions": [condition("PodScheduled", true)],
            "containerStatuses": container(json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})),
        }))
        .await;
    next_such(
        &mut worker,
        "it tells of its image",
        |event| matches!(event, WorkerEvent::Waiting(why) if why.contains("ImagePullBackOff: no such image")),
    )
    .await;
    place
        .cluster
        .kubelet
        .say(&place.log(&pod), "INFO a line of its log");
    place.say(&pod, &progress(1));
    place.runs(&pod).await;
    next_such(&mut worker, "it is at work", |event| *event == WorkerEvent::Alive).await;
    next_such(&mut worker, "it is heard", |event| {
        *event == WorkerEvent::Message(progress(1))
    })
    .await;

    // The connection breaks; from there on it is read again.
    place.cluster.kubelet.cut(&place.log(&pod));
    place.say(&pod, &progress(2));
    next_such(&mut worker, "it is heard again", |event| {
        *event == WorkerEvent::Message(progress(2))
    })
    .await;
    // What was said just before the cut may still have come over the first connection.
    let asked = until("the log is asked for again", async || {
        let asked = place.cluster.kubelet.asked(&place.log(&pod));
        (asked.len() > 1).then_some(asked)
    })
    .await;
    assert!(
        asked[0].contains("tailLines=100") && asked[0].contains("follow=true"),
        "{asked:?}"
    );
    assert!(asked.last().unwrap().contains("sinceTime="), "{asked:?}");

    let before = Timestamp::now() - SignedDuration::from_secs(1);
    place.ends(&pod, 0, "Completed", Some(&finished(9))).await;
    let (last, exit) = end(&mut worker).await;
    assert_eq!((last, exit.how.as_str()), (Some(finished(9)), "exit code 0"));
    assert!(exit.at.is_some_and(|at| at >= before), "{exit:?}");
    let job = until("the Job has ended", async || {
        let job = place.jobs().get(&worker.id).await.unwrap();
        let conditions = job.status.as_ref()?.conditions.clone()?;
        conditions
            .iter()
            .any(|condition| condition.type_ == "Complete")
            .then_some(job)
    })
    .await;
    assert_eq!(
        job.spec.unwrap().ttl_seconds_after_finished,
        Some(3600),
        "it is kept for a while"
    );
    assert_eq!(
        launcher
            .fence(
                &Key::new(&place.namespace, "orders-202605110000-abcdef"),
                &place.run_uid
            )
            .await,
        None
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_attempt_is_one_job_whoever_starts_it() {
    let place = shared().place().await;
    let (first, second) = (place.launcher(), place.launcher());
    let _worker = place.launch(&first, 1).await;
    let mut again = place.order(1);
    again.run.attempt_id = "another".to_owned();
    let worker = second.launch(again, &MemoryStore::new()).await.unwrap();
    assert_eq!(worker.attempt_id, "attempt-1", "it was at work already");
    let mut foreign = place.order(1);
    foreign.run.uid = "of-another-run".to_owned();
    let refused = second.launch(foreign, &MemoryStore::new()).await.unwrap_err();
    assert!(matches!(refused, LaunchFailure::NameTaken { .. }), "{refused}");
    assert_eq!(
        place
            .jobs()
            .list(&kube::api::ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_operator_finds_what_the_last_one_started() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let worker = place.launch(&launcher, 1).await;
    let pod = place.pod(1).await;
    place.bind(&pod).await;
    place.runs(&pod).await;
    // its operator is killed
    drop((worker, launcher));

    place.say(&pod, &progress(5));
    let heir = place.launcher();
    let mut found = heir.adopt().await.unwrap();
    assert_eq!(found.len(), 1);
    let adopted = found.pop().unwrap();
    assert_eq!(
        adopted.run,
        Key::new(&place.namespace, "orders-202605110000-abcdef")
    );
    assert_eq!(
        (
            &adopted.run_uid,
            adopted.attempt,
            adopted.attempt_id.as_str(),
            adopted.is_over
        ),
        (&place.run_uid, 1, "attempt-1", false)
    );
    let mut worker = (adopted.take_up)();
    next_such(&mut worker, "it is heard", |event| {
        *event == WorkerEvent::Message(progress(5))
    })
    .await;
    drop((worker, heir));

    // and while none is there, it ends
    place.ends(&pod, 0, "Completed", Some(&finished(5))).await;
    let heir = place.launcher();
    let adopted = heir.adopt().await.unwrap().pop().unwrap();
    assert!(adopted.is_over);
    let (last, _) = end(&mut (adopted.take_up)()).await;
    assert_eq!(last, Some(finished(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_end_has_ended_when_its_pod_is_gone() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let mut worker = place.launch(&launcher, 1).await;
    let pod = place.pod(1).await;
    place.bind(&pod).await;
    place.runs(&pod).await;
    next_such(&mut worker, "it is at work", |event| *event == WorkerEvent::Alive).await;
    let run = Key::new(&place.namespace, "orders-202605110000-abcdef");
    let Worker {
        mut events, stop, id, ..
    } = worker;
    stop.send(()).unwrap();
    until("the Pod is to go", async || {
        place.pods().get(&pod).await.unwrap().metadata.deletion_timestamp
    })
    .await;
    assert!(
        place.jobs().get_opt(&id).await.unwrap().is_some(),
        "the Job goes last"
    );
    let who = launcher.fence(&run, &place.run_uid).await.unwrap();
    assert!(who.contains(&pod) && who.contains("n1"), "{who}");
    while let Ok(event) = events.try_recv() {
        assert!(
            !matches!(event, WorkerEvent::Exited(_)),
            "it still works: {event:?}"
        );
    }
    place.let_go(&pod).await;
    let exit = loop {
        match tokio::time::timeout(crate::harness::PATIENCE, events.recv())
            .await
            .unwrap()
            .unwrap()
        {
            WorkerEvent::Exited(exit) => break exit,
            event => assert!(!matches!(event, WorkerEvent::Message(_)), "{event:?}"),
        }
    };
    assert!(
        exit.how.contains("signal 15") || exit.how.contains("gone"),
        "{exit:?}"
    );
    until("the Job is gone", async || {
        place.jobs().get_opt(&id).await.unwrap().is_none().then_some(())
    })
    .await;
    assert_eq!(launcher.fence(&run, &place.run_uid).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_nobody_follows_is_ended_before_the_next_and_by_the_fence() {
    let place = shared().place().await;
    let launcher = place.launcher();
    let _first = place.launch(&launcher, 1).await;
    let _second = place.launch(&launcher, 2).await;
    let jobs = place.jobs();
    until("the first goes", async || {
        let first = jobs.get_opt("orders-202605110000-abcdef-1").await.unwrap();
        first
            .is_none_or(|job| job.metadata.deletion_timestamp.is_some())
            .then_some(())
    })
    .await;
    let run = Key::new(&place.namespace, "orders-202605110000-abcdef");
    until("nothing can commit any more", async || {
        launcher.fence(&run, &place.run_uid).await.is_none().then_some(())
    })
    .await;
    assert!(
        jobs.list(&kube::api::ListParams::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_start_is_given_up() {
    let place = shared().place().await;
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let launcher = place.launcher_at(Arc::clone(&clock) as _);
    let mut worker = place.launch(&launcher, 1).await;
    let pod = place.pod(1).await;
    place.bind(&pod).await;
    let status = |message: &str| {
        json!({
            "conditions": [condition("PodScheduled", true)],
            "containerStatuses": container(json!({"waiting": {"reason": "ErrImagePull", "message": message}})),
        })
    };
    place.report(&pod, status("not found")).await;
    next_such(
        &mut worker,
        "it tells of its image",
        |event| matches!(event, WorkerEvent::Waiting(why) if why.contains("not found")),
    )
    .await;
    clock.advance(SignedDuration::from_mins(11));
    place.report(&pod, status("still not found")).await;
    place.let_go(&pod).await;
    let (last, _) = end(&mut worker).await;
    let Some(lakegate_operator::protocol::WorkerMessage::Failed(failure)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(
        (failure.reason.as_str(), failure.terminal),
        ("WorkerStartFailed", false)
    );
    // Which of the two was seen last depends on whether the clock or the report comes first.
    assert!(
        failure.message.contains("ErrImagePull: ") && failure.message.contains("not found"),
        "{}",
        failure.message
    );
}
