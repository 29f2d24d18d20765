use std::sync::Arc;

use lakegate_crds::conditions::ConditionsExt as _;
use lakegate_store::Key;
use serde_json::json;

use super::*;
use crate::protocol::Phase;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn run() -> Entry<ExportRun> {
    let object = json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun", "metadata": {"name": "orders-1"},
                        "spec": {"exportRef": {"name": "orders"}}});
    Entry {
        key: Key::named("orders-1"),
        object: Some(Arc::new(serde_json::from_value(object).unwrap())),
        status: None,
        rejected: None,
        uid: "u1".to_owned(),
        generation: 1,
    }
}

fn work(second: i64, rows: u64, pending: Option<&str>) -> Work {
    Work::Running {
        attempt: 1,
        started: at(0),
        heard: at(second),
        progress: Progress {
            phase: Phase::Copying,
            rows,
            bytes: rows,
            total_rows: None,
        },
        pending: pending.map(str::to_owned),
        stopping: false,
    }
}

/// The decision at `second`, ten seconds the shortest time between two writes; the status is written when it is news.
fn decide(run: &mut Entry<ExportRun>, work: &Work, second: i64) -> (bool, Option<i64>) {
    let decision = decide_run(ObservedRun {
        entry: run,
        spec: None,
        work,
        worker_id: Some("orders-1-1"),
        attempt_id: Some("a1"),
        commit: &CommitLookup::NotAsked,
        fence: &Fence::NotAsked,
        progress_interval: SignedDuration::from_secs(10),
        session: "s1",
        cancelled: false,
        ahead: None,
        capacity: true,
        unable: None,
        failure: None,
        now: at(second),
    });
    let is_news = run.status.as_ref() != Some(&decision.status);
    run.status = Some(decision.status);
    (
        is_news,
        decision.next.map(|next| next.as_second() - at(0).as_second()),
    )
}

fn told(run: &Entry<ExportRun>) -> (String, Option<i64>) {
    let status = run.status.as_ref().unwrap();
    let reconciling = status.conditions.find(ConditionType::Reconciling).unwrap();
    (
        reconciling.message.clone(),
        status.progress.as_ref().unwrap().rows,
    )
}

#[test]
fn progress_is_written_each_ten_seconds_and_none_of_it_is_lost() {
    let mut run = run();
    assert!(
        decide(&mut run, &work(0, 1, None), 0).0,
        "that it runs is told at once"
    );
    for second in 1..10 {
        let (is_news, next) = decide(&mut run, &work(second, 1 + second as u64, None), second);
        assert_eq!(
            (is_news, next),
            (false, Some(10)),
            "{second}: withheld, and looked at again in time"
        );
        assert_eq!(told(&run).1, Some(1));
    }
    // nobody has said anything since
    assert!(decide(&mut run, &work(9, 10, None), 10).0);
    assert_eq!(told(&run).1, Some(10));
    assert!(!decide(&mut run, &work(9, 10, None), 30).0, "no news, no write");
    let mut writes = 0;
    for second in 30..330 {
        writes += usize::from(decide(&mut run, &work(second, second as u64, None), second).0);
    }
    assert!((29..=31).contains(&writes), "{writes}");
}

#[test]
fn a_clock_that_was_set_back_withholds_nothing() {
    let mut run = run();
    decide(&mut run, &work(3600, 1, None), 3600);
    assert!(decide(&mut run, &work(3600, 2, None), 5).0);
}

#[test]
fn what_is_not_at_work_says_what_it_waits_for_and_has_no_lease() {
    let mut run = run();
    let waiting = work(0, 0, Some("waits for a node: 0/1 nodes are available"));
    assert!(decide(&mut run, &waiting, 0).0);
    assert_eq!(
        told(&run).0,
        "attempt 1: waits for a node: 0/1 nodes are available"
    );
    let status = run.status.clone().unwrap();
    assert_eq!(status.state(), RunState::Running);
    assert_eq!(status.worker.unwrap().lease_until, None);
    assert!(
        !decide(&mut run, &waiting, 4000).0,
        "waiting costs no write, however long"
    );
    assert!(decide(&mut run, &work(4001, 0, None), 4020).0);
    assert_eq!(told(&run).0, "attempt 1: Copying");
    assert!(run.status.clone().unwrap().worker.unwrap().lease_until.is_some());
}

#[test]
fn who_may_still_commit_is_named() {
    let mut entry = run();
    let refused = Work::Ended {
        attempt: 1,
        started: at(0),
        at: at(5),
        ending: crate::attempt::Ending::Failed(Failure {
            reason: "TableNotFound".to_owned(),
            message: "m".to_owned(),
            terminal: true,
        }),
    };
    let fence = Fence::Open("Pod orders-1-1-x (node n1) has not ended".to_owned());
    let commit = CommitLookup::Absent;
    let decision = decide_run(ObservedRun {
        entry: &entry,
        spec: None,
        work: &refused,
        worker_id: Some("orders-1-1"),
        attempt_id: Some("a1"),
        commit: &commit,
        fence: &fence,
        progress_interval: SignedDuration::ZERO,
        session: "s1",
        cancelled: false,
        ahead: None,
        capacity: true,
        unable: None,
        failure: None,
        now: at(10),
    });
    assert_eq!(decision.status.state(), RunState::Running, "not failed yet");
    assert!(
        decision.status.worker.is_some(),
        "so that the attempt is not forgotten"
    );
    entry.status = Some(decision.status);
    let status = entry.status.as_ref().unwrap();
    let message = &status
        .conditions
        .find(ConditionType::Reconciling)
        .unwrap()
        .message;
    assert!(message.contains("node n1"), "{message}");
}
