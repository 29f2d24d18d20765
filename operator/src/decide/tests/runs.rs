//! The life of a run, as its status tells it.

use super::*;

fn run_entry() -> Entry<ExportRun> {
    entry(
        json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun", "metadata": {"name": "orders-1"},
               "spec": {"exportRef": {"name": "orders"}}}),
        1,
    )
}

fn observe_run<'a>(
    entry: &'a Entry<ExportRun>,
    export: &'a Entry<Export>,
    work: &'a Work,
    commit: &'a CommitLookup,
) -> ObservedRun<'a> {
    ObservedRun {
        entry,
        spec: export.object.as_deref().map(|export| &export.spec),
        work,
        worker_id: Some("4711"),
        attempt_id: Some("a1"),
        commit,
        fence: &Fence::Clear,
        progress_interval: SignedDuration::ZERO,
        session: "s1",
        cancelled: None,
        ahead: None,
        capacity: true,
        unable: None,
        failure: None,
        now: at(NOW),
        set_by: SignedDuration::ZERO,
    }
}

#[test]
fn the_life_of_a_run_in_statuses() {
    let export = export_with(&json!({}));
    let mut run = run_entry();
    let started = at("2026-05-11T03:59:00Z");
    let not_asked = CommitLookup::NotAsked;

    let decision = decide_run(observe_run(&run, &export, &Work::Idle, &not_asked));
    assert_eq!(decision.effects, [Effect::StartWorker { attempt: 1 }]);

    let working = Work::Running {
        attempt: 1,
        started,
        heard: at(NOW),
        progress: Progress {
            phase: Phase::Copying,
            rows: 5,
            bytes: 50,
            total_rows: Some(10),
        },
        pending: None,
        stopping: false,
    };
    let decision = decide_run(observe_run(&run, &export, &working, &not_asked));
    let status = &decision.status;
    assert_eq!(status.state(), RunState::Running);
    assert_eq!(words(&status.conditions), "Reconciling=True/Running");
    assert_eq!(
        status.worker,
        Some(WorkerStatus {
            id: "4711".to_owned(),
            session: Some("s1".to_owned()),
            lease_until: Some(time(at("2026-05-11T04:01:00Z")))
        })
    );
    assert_eq!(status.progress.as_ref().unwrap().rows, Some(5));
    assert_eq!(
        (status.attempts, status.start_time.clone()),
        (Some(1), Some(time(started)))
    );
    assert!(
        status.resolved.is_some(),
        "what a run made by hand performs is fixed with its first look"
    );
    assert_eq!(decision.notices.len(), 1);
    run.status = Some(decision.status);
    assert!(
        decide_run(observe_run(&run, &export, &working, &not_asked))
            .notices
            .is_empty()
    );

    let lost = Work::Ended {
        attempt: 1,
        started,
        at: at(NOW),
        ending: Ending::Exited("signal: 9 (SIGKILL)".to_owned()),
    };
    assert_eq!(
        decide_run(observe_run(&run, &export, &lost, &not_asked)).effects,
        [Effect::LookUpCommit]
    );
    let decision = decide_run(observe_run(&run, &export, &lost, &CommitLookup::Absent));
    let status = &decision.status;
    assert_eq!(status.state(), RunState::Pending);
    assert_eq!(words(&status.conditions), "Reconciling=True/Retrying");
    assert_eq!(status.failure.as_ref().unwrap().reason, "WorkerLost");
    assert_eq!(status.next_attempt_time, Some(time(at("2026-05-11T04:00:30Z"))));
    assert_eq!((status.worker.clone(), status.attempt_id.clone()), (None, None));
    run.status = Some(decision.status);

    let report = Report {
        rows_read: Some(9),
        rows: 9,
        bytes: 99,
        files: 1,
        snapshot_id: -7,
        ..Report::default()
    };
    let done = Work::Ended {
        attempt: 2,
        started: at(NOW),
        at: at("2026-05-11T04:01:00Z"),
        ending: Ending::Finished(report),
    };
    let decision = decide_run(observe_run(&run, &export, &done, &not_asked));
    let status = &decision.status;
    assert_eq!(status.state(), RunState::Complete);
    assert_eq!(words(&status.conditions), "Complete=True/Succeeded");
    assert_eq!(
        (status.rows_written, status.snapshot_id.as_deref()),
        (Some(9), Some("-7"))
    );
    assert_eq!(
        (status.duration.as_deref(), status.failure.clone()),
        (Some("2m0s"), None)
    );
    assert_eq!(status.finish_time, Some(time(at("2026-05-11T04:01:00Z"))));
    run.status = Some(decision.status.clone());
    let again = decide_run(observe_run(&run, &export, &done, &not_asked));
    assert_eq!(again.status, decision.status, "an ended run stays as it is");

    let summary = summarise("orders-1", &decision.status);
    assert_eq!((summary.outcome.as_str(), summary.rows), ("Succeeded", Some(9)));
}

#[test]
fn failed_and_interrupted_runs() {
    let export = export_with(&json!({}));
    let run = run_entry();
    let failure = Failure {
        reason: "SchemaChanged".to_owned(),
        message: "column a is text now".to_owned(),
        terminal: true,
    };
    let failed = Work::Ended {
        attempt: 1,
        started: at(NOW),
        at: at(NOW),
        ending: Ending::Failed(failure),
    };
    let decision = decide_run(observe_run(&run, &export, &failed, &CommitLookup::Absent));
    assert_eq!(words(&decision.status.conditions), "Failed=True/SchemaChanged");
    assert_eq!(
        message_of(&decision.status.conditions, ConditionType::Failed),
        "column a is text now"
    );
    assert_eq!(decision.notices[0].notice_type, NoticeType::Warning);

    let stopped = Work::Ended {
        attempt: 1,
        started: at(NOW),
        at: at(NOW),
        ending: Ending::Stopped(StopCause::Shutdown),
    };
    let decision = decide_run(observe_run(&run, &export, &stopped, &CommitLookup::Absent));
    assert_eq!(decision.status.state(), RunState::Pending);
    assert_eq!(
        (decision.status.attempts, decision.status.worker),
        (Some(0), None)
    );

    let waiting = decide_run(ObservedRun {
        ahead: Some("orders-0"),
        ..observe_run(&run, &export, &Work::Idle, &CommitLookup::NotAsked)
    });
    assert_eq!(words(&waiting.status.conditions), "Reconciling=True/Pending");
    assert!(message_of(&waiting.status.conditions, ConditionType::Reconciling).contains("orders-0"));
}
