// Literals of JSON are handed over where they stand, and a table of cases is as large as it is.
#![allow(clippy::needless_pass_by_value, clippy::large_stack_arrays)]

use serde_json::json;

use super::*;
use crate::protocol::Report;

fn at(text: &str) -> Timestamp {
    format!("2026-05-11T{text}Z").parse().unwrap()
}

fn job(status: serde_json::Value, going: bool) -> Job {
    serde_json::from_value(json!({
        "metadata": {
            "name": "orders-1-1", "namespace": "shop", "uid": "j1", "creationTimestamp": "2026-05-11T00:00:00Z",
            "labels": {"lakegate.dev/run-uid": "u1", "lakegate.dev/attempt": "1"},
            "annotations": {"lakegate.dev/attempt-id": "a1"},
            "deletionTimestamp": going.then_some("2026-05-11T00:00:30Z"),
            "ownerReferences": [{"apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun", "name": "orders-1", "uid": "u1", "controller": true}],
        },
        "status": status,
    }))
    .unwrap()
}

fn pod(node: Option<&str>, metadata: serde_json::Value, status: serde_json::Value) -> Pod {
    let mut pod = json!({
        "metadata": {"name": "orders-1-1-x", "namespace": "shop", "creationTimestamp": "2026-05-11T00:00:00Z"},
        "spec": {"nodeName": node, "containers": [{"name": "worker", "resources": {"limits": {"memory": "512Mi"}}}]},
        "status": status,
    });
    for (name, value) in metadata.as_object().unwrap() {
        pod["metadata"][name] = value.clone();
    }
    serde_json::from_value(pod).unwrap()
}

fn container(state: serde_json::Value) -> serde_json::Value {
    json!([{"name": "worker", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
}

/// The state in a few words: what the table compares.
fn word(state: &State) -> String {
    match state {
        State::Waiting { why, is_due } => {
            let due = if *is_due { " (due)" } else { "" };
            format!("waiting: {why}{due}")
        }
        State::Running { pod, is_well } => format!("running: {pod}, well: {is_well}"),
        State::Over(end) => {
            let End {
                pod,
                how,
                last_word,
                verdict,
                at,
            } = end;
            let pod = if pod.is_some() { "seen" } else { "unseen" };
            let last = match last_word.as_deref() {
                None => "",
                Some(WorkerMessage::Finished(_)) => ", finished",
                Some(WorkerMessage::Failed(_)) => ", failed",
                Some(WorkerMessage::Progress(_)) => ", progress",
            };
            let verdict = verdict
                .as_ref()
                .map_or_else(String::new, |verdict| format!(", {verdict:?}"));
            let at = at.map_or_else(String::new, |at| format!(" at {at}"));
            format!("over {pod}{at}: {how}{last}{verdict}")
        }
    }
}

#[test]
fn states_of_attempts() {
    let fine = json!({"active": 1});
    let finished = serde_json::to_string(&WorkerMessage::Finished(Report::default())).unwrap();
    let failed = r#"{"type":"failed","reason":"ReadFailed","message":"m","terminal":false}"#;
    let scheduled =
        json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-05-11T00:00:05Z"});
    let ready = |status: &str| json!({"type": "Ready", "status": status});
    let running = || container(json!({"running": {"startedAt": "2026-05-11T00:00:10Z"}}));
    let ended = |ended: serde_json::Value| {
        let mut full = json!({"exitCode": 0, "finishedAt": "2026-05-11T00:05:00Z"});
        for (name, value) in ended.as_object().unwrap() {
            full[name] = value.clone();
        }
        container(json!({"terminated": full}))
    };
    let job_failed = |reason: &str| {
        json!({"conditions": [
            {"type": "FailureTarget", "status": "True", "reason": reason},
            {"type": "Failed", "status": "True", "reason": reason, "lastTransitionTime": "2026-05-11T00:06:00Z"},
        ]})
    };
    let none = json!({});
    let cases: Vec<(&str, Option<Job>, Vec<Pod>, &str)> = vec![
        (
            "created",
            Some(job(fine.clone(), false)),
            vec![],
            "waiting: waits for its Pod (see the events of Job orders-1-1)",
        ),
        (
            "no room",
            Some(job(fine.clone(), false)),
            vec![pod(
                None,
                none.clone(),
                json!({"phase": "Pending", "conditions": [{
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/3 nodes are available:\n 3 Insufficient memory.",
                }]}),
            )],
            "waiting: waits for a node: 0/3 nodes are available: 3 Insufficient memory.",
        ),
        (
            "not looked at by a scheduler yet",
            Some(job(fine.clone(), false)),
            vec![pod(None, none.clone(), json!({"phase": "Pending"}))],
            "waiting: waits for a node",
        ),
        (
            "on its node",
            Some(job(fine.clone(), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({
                    "phase": "Pending", "conditions": [scheduled],
                    "containerStatuses": container(json!({"waiting": {"reason": "ContainerCreating"}})),
                }),
            )],
            "waiting: its container is being made on node n1 (due)",
        ),
        (
            "no image",
            Some(job(fine.clone(), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({
                    "phase": "Pending", "conditions": [scheduled],
                    "containerStatuses": container(json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"lakegate:none\""}})),
                }),
            )],
            "waiting: its container does not start on node n1: ImagePullBackOff: Back-off pulling image \"lakegate:none\" (due)",
        ),
        (
            "at work",
            Some(job(fine.clone(), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({"phase": "Running", "conditions": [ready("True")], "containerStatuses": running()}),
            )],
            "running: orders-1-1-x, well: true",
        ),
        (
            "its node is silent",
            Some(job(fine.clone(), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({"phase": "Running", "conditions": [ready("False")], "containerStatuses": running()}),
            )],
            "running: orders-1-1-x, well: false",
        ),
        (
            "told to end",
            Some(job(fine.clone(), true)),
            vec![pod(
                Some("n1"),
                json!({"deletionTimestamp": "2026-05-11T00:59:45Z"}),
                json!({"phase": "Running", "conditions": [ready("True")], "containerStatuses": running()}),
            )],
            "running: orders-1-1-x, well: false",
        ),
        (
            "told to end long ago, and its node does not answer",
            Some(job(fine.clone(), true)),
            vec![pod(
                Some("n1"),
                json!({"deletionTimestamp": "2026-05-11T00:59:30Z"}),
                json!({
                    "phase": "Running", "conditions": [ready("False"), {
                        "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint",
                    }], "containerStatuses": running(),
                }),
            )],
            "over unseen: Pod orders-1-1-x on node n1 should be gone and is not: its node does not answer (DeletionByTaintManager: Taint manager: deleting due to NoExecute taint)",
        ),
        (
            "finished",
            Some(job(fine.clone(), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({"phase": "Succeeded", "containerStatuses": ended(json!({"reason": "Completed", "message": finished}))}),
            )],
            "over seen at 2026-05-11T00:05:00Z: exit code 0, finished",
        ),
        (
            "failed by its own word",
            Some(job(job_failed("BackoffLimitExceeded"), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({"phase": "Failed", "containerStatuses": ended(json!({"exitCode": 1, "reason": "Error", "message": failed}))}),
            )],
            "over seen at 2026-05-11T00:05:00Z: exit code 1, failed",
        ),
        (
            "killed without a word",
            Some(job(fine.clone(), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({"phase": "Failed", "containerStatuses": ended(json!({"exitCode": 137, "reason": "Error", "message": "not json"}))}),
            )],
            "over seen at 2026-05-11T00:05:00Z: signal 9",
        ),
        (
            "out of memory",
            Some(job(fine.clone(), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({"phase": "Failed", "containerStatuses": ended(json!({"exitCode": 137, "reason": "OOMKilled"}))}),
            )],
            "over seen at 2026-05-11T00:05:00Z: OOMKilled, signal 9, OutOfMemory(Some(\"512Mi\"))",
        ),
        (
            "evicted, its container unknown",
            Some(job(fine.clone(), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
            )],
            "over unseen: Pod orders-1-1-x on node n1 was ended: Evicted: The node was low on resource: memory.",
        ),
        (
            "evicted, its container seen",
            Some(job(fine.clone(), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({
                    "phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}],
                    "containerStatuses": ended(json!({"exitCode": 143, "reason": "Error"})),
                }),
            )],
            "over seen at 2026-05-11T00:05:00Z: EvictionByEvictionAPI: Eviction API: evicting; signal 15",
        ),
        (
            "too long, ended by its Job",
            Some(job(job_failed("DeadlineExceeded"), false)),
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({"phase": "Failed", "containerStatuses": ended(json!({"exitCode": 143, "reason": "Error"}))}),
            )],
            "over seen at 2026-05-11T00:05:00Z: signal 15, DeadlineExceeded",
        ),
        (
            "too long, its Pod gone",
            Some(job(job_failed("DeadlineExceeded"), false)),
            vec![],
            "over unseen at 2026-05-11T00:06:00Z: its time is over, DeadlineExceeded",
        ),
        (
            "its Pod was deleted",
            Some(job(job_failed("BackoffLimitExceeded"), false)),
            vec![],
            "over unseen at 2026-05-11T00:06:00Z: its Pod was removed (BackoffLimitExceeded)",
        ),
        (
            "complete, its Pod gone",
            Some(job(
                json!({"conditions": [{"type": "Complete", "status": "True"}]}),
                false,
            )),
            vec![],
            "over unseen: its Pod is gone",
        ),
        (
            "being removed",
            Some(job(fine.clone(), true)),
            vec![],
            "waiting: Job orders-1-1 is being removed",
        ),
        ("removed", None, vec![], "over unseen: its Job is gone"),
        (
            "removed, and its Pod is still there",
            None,
            vec![pod(
                Some("n1"),
                none.clone(),
                json!({"phase": "Running", "conditions": [ready("True")], "containerStatuses": running()}),
            )],
            "running: orders-1-1-x, well: true",
        ),
    ];
    for (what, job, pods, expected) in cases {
        let job = job.as_ref().map(|job| JobSight::of(job).unwrap());
        let pods: Vec<PodSight> = pods.iter().map(PodSight::of).collect();
        assert_eq!(
            word(&state_of(job.as_ref(), &pods, at("01:00:00"))),
            expected,
            "{what}"
        );
    }
}

#[test]
fn who_may_still_commit() {
    let alive = |metadata| {
        pod(
            Some("n1"),
            metadata,
            json!({"phase": "Running", "containerStatuses": container(json!({"running": {}}))}),
        )
    };
    let dead = pod(
        Some("n1"),
        json!({}),
        json!({"phase": "Running", "containerStatuses": container(json!({"terminated": {"exitCode": 1}}))}),
    );
    let evicted = pod(
        Some("n1"),
        json!({}),
        json!({"phase": "Failed", "reason": "Evicted"}),
    );
    let open = || Some(job(json!({"active": 1}), true));
    let failed = || {
        Some(job(
            json!({"conditions": [{"type": "Failed", "status": "True"}]}),
            false,
        ))
    };
    let cases = [
        ("nothing is left", None, vec![], None),
        (
            "a Job that may make its Pod yet",
            open(),
            vec![],
            Some("Job orders-1-1 is being removed"),
        ),
        (
            "a Job that has made its Pod makes no other",
            open(),
            vec![dead.clone()],
            None,
        ),
        ("all over", failed(), vec![dead, evicted], None),
        (
            "a Pod at work",
            open(),
            vec![alive(json!({}))],
            Some("Pod orders-1-1-x (node n1) has not ended"),
        ),
        (
            "a Pod on a lost node, whose Job is gone",
            None,
            vec![alive(json!({"deletionTimestamp": "2026-05-11T00:00:00Z"}))],
            Some("Pod orders-1-1-x (node n1) has not ended"),
        ),
    ];
    for (what, job, pods, expected) in cases {
        let job = job.as_ref().map(|job| JobSight::of(job).unwrap());
        let pods: Vec<PodSight> = pods.iter().map(PodSight::of).collect();
        let who = who_may_commit(job.as_ref(), &pods);
        assert_eq!(who.is_some(), expected.is_some(), "{what}");
        assert!(
            who.unwrap_or_default().starts_with(expected.unwrap_or_default()),
            "{what}"
        );
    }
}

#[test]
fn a_foreign_job_is_not_ours() {
    let mut foreign = job(json!({}), false);
    assert_eq!(AttemptKey::of(&foreign).unwrap().attempt, 1);
    foreign.metadata.annotations = None;
    assert_eq!(JobSight::of(&foreign), None);
    foreign.metadata.labels = None;
    assert_eq!(AttemptKey::of(&foreign), None);
}

#[test]
fn words_are_one_line_and_bounded() {
    assert_eq!(words(Some("a\n  b\tc")), "a b c");
    assert_eq!(words(Some(&"가".repeat(600))).chars().count(), 501);
    assert_eq!(words(None), "");
}
