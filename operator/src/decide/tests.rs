//! What is decided of what is seen, as tables of cases.

mod others;
mod runs;

use std::sync::Arc;

use jiff::Timestamp;
use lakegate_crds::{
    Condition, DataSource, Export, ExportRun, ExportRunStatus, ExportStatus, FailureStatus, RetentionPolicy,
    RunState, View, WorkerStatus, conditions::time, validation::Problem,
};
use lakegate_federation::{SourceHealth, ViewHealth};
use serde_json::json;

use super::*;
use crate::{
    attempt::{CommitLookup, Ending, Fence, Work},
    protocol::{Failure, Phase, Progress, Report},
};

const NOW: &str = "2026-05-11T04:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn entry<K: LakegateResource>(object: serde_json::Value, generation: i64) -> Entry<K> {
    let mut object: K = serde_json::from_value(object).unwrap();
    object.meta_mut().generation = Some(generation);
    Entry {
        key: Key::of(&object),
        object: Some(Arc::new(object)),
        status: None,
        rejected: None,
        is_held: false,
        deletion: None,
        uid: "u1".to_owned(),
        generation,
    }
}

fn export_with(spec: &serde_json::Value) -> Entry<Export> {
    let mut full = json!({
        "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "public", "name": "orders"}},
        "allColumns": {},
        "schedule": {"cron": "0 3 * * *"},
        "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "orders"},
    });
    for (name, value) in spec.as_object().unwrap() {
        full[name] = value.clone();
    }
    entry(
        json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "Export", "metadata": {"name": "orders"}, "spec": full}),
        3,
    )
}

fn rejected(message: &str) -> Rejected {
    Rejected {
        problems: vec![Problem::invalid("spec.schedule.cron", message)],
        origin: "orders.yaml:12".to_owned(),
    }
}

/// The conditions as one line, in a fixed order.
fn words(conditions: &[Condition]) -> String {
    let mut words: Vec<_> = conditions
        .iter()
        .map(|condition| format!("{}={}/{}", condition.type_, condition.status, condition.reason))
        .collect();
    words.sort();
    words.join(" ")
}

/// `Ready` alone.
fn condition_of(conditions: &[Condition]) -> String {
    let ready = conditions.find(ConditionType::Ready).unwrap();
    format!("{}/{}", ready.status, ready.reason)
}

fn message_of(conditions: &[Condition], condition_type: ConditionType) -> &str {
    &conditions.find(condition_type).unwrap().message
}

fn observe(entry: &Entry<Export>) -> ObservedExport<'_> {
    ObservedExport {
        entry,
        problems: &[],
        runs: &[],
        source_down: None,
        lake_down: None,
        unchecked: None,
        failure: None,
        lake_is_held: true,
        rival: None,
        fence: &Fence::NotAsked,
        table: &TableFate::NotAsked,
        now: at(NOW),
    }
}

fn ended_run(name: &str, finished: &str, state: RunState, reason: &str) -> Entry<ExportRun> {
    let mut run: Entry<ExportRun> = entry(
        json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun", "metadata": {"name": name},
               "spec": {"exportRef": {"name": "orders"}, "exportUid": "u1", "exportGeneration": 3}}),
        1,
    );
    run.uid = format!("uid-{name}");
    run.status = Some(ExportRunStatus {
        state: Some(state),
        finish_time: Some(time(at(finished))),
        rows_written: Some(9),
        duration: Some("2s".to_owned()),
        snapshot_id: Some("77".to_owned()),
        failure: (state == RunState::Failed).then(|| FailureStatus {
            reason: reason.to_owned(),
            message: "it broke".to_owned(),
        }),
        ..ExportRunStatus::default()
    });
    run
}

fn source() -> Entry<DataSource> {
    entry(
        json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "DataSource", "metadata": {"name": "shop-db"},
               "spec": {"sqlite": {"path": "shop.db"}}}),
        2,
    )
}

fn healthy() -> SourceHealth {
    SourceHealth {
        reachable: Some(true),
        tables: 42,
        catalog_revision: 7,
        last_discovery: Some(at(NOW)),
        endpoint: "shop.db".to_owned(),
        uid: "u1".to_owned(),
        generation: 2,
        ..SourceHealth::default()
    }
}

#[test]
fn statuses_of_exports() {
    let unserved = [Problem::new(
        "spec.columns[0].mask",
        Reason::NotImplemented,
        "masks are not served",
    )];
    let dangling = [Problem::new(
        "spec.from.sourceRef.name",
        Reason::DependencyNotFound,
        "DataSource shop does not exist",
    )];
    let conflict = [Problem::new(
        "spec.destination.table",
        Reason::TableNameConflict,
        "is written by another",
    )];
    let scheduled = export_with(&json!({}));
    let on_request = export_with(&json!({"schedule": null}));
    let suspended = export_with(&json!({"suspend": true}));
    let mut edited_badly = export_with(&json!({}));
    edited_badly.rejected = Some(rejected("six fields"));
    let mut never_good = edited_badly.clone();
    never_good.object = None;
    never_good.generation = 0;
    let failed = [ended_run(
        "r1",
        "2026-05-11T03:00:09Z",
        RunState::Failed,
        "OutOfMemory",
    )];
    let succeeded = [ended_run("r1", "2026-05-11T03:00:09Z", RunState::Complete, "")];
    let cases: Vec<(&str, ObservedExport<'_>, &str)> = vec![
        (
            "scheduled",
            observe(&scheduled),
            "LastRunSucceeded=Unknown/NeverRun Ready=True/Scheduled",
        ),
        (
            "on request",
            observe(&on_request),
            "LastRunSucceeded=Unknown/NeverRun Ready=True/OnRequest",
        ),
        (
            "suspended",
            observe(&suspended),
            "LastRunSucceeded=Unknown/NeverRun Ready=True/Suspended Suspended=True/Suspended",
        ),
        (
            "the last run failed: Ready stays True",
            ObservedExport {
                runs: &failed,
                ..observe(&scheduled)
            },
            "LastRunSucceeded=False/OutOfMemory Ready=True/Scheduled",
        ),
        (
            "the last run succeeded",
            ObservedExport {
                runs: &succeeded,
                ..observe(&scheduled)
            },
            "LastRunSucceeded=True/Succeeded Ready=True/Scheduled",
        ),
        (
            "a field that no code serves",
            ObservedExport {
                problems: &unserved,
                ..observe(&scheduled)
            },
            "LastRunSucceeded=Unknown/NeverRun Ready=False/NotImplemented Stalled=True/NotImplemented",
        ),
        (
            "a dangling reference",
            ObservedExport {
                problems: &dangling,
                ..observe(&scheduled)
            },
            "LastRunSucceeded=Unknown/NeverRun Ready=False/DependencyNotFound Reconciling=True/Retrying",
        ),
        (
            "a taken table",
            ObservedExport {
                problems: &conflict,
                ..observe(&scheduled)
            },
            "LastRunSucceeded=Unknown/NeverRun Ready=False/TableNameConflict Stalled=True/TableNameConflict",
        ),
        (
            "a rejected edit",
            observe(&edited_badly),
            "LastRunSucceeded=Unknown/NeverRun Ready=False/InvalidSpec Stalled=True/InvalidSpec",
        ),
        (
            "never a good version",
            observe(&never_good),
            "Ready=False/InvalidSpec Stalled=True/InvalidSpec",
        ),
        (
            "the source is down",
            ObservedExport {
                source_down: Some("shop: refused"),
                ..observe(&scheduled)
            },
            "LastRunSucceeded=Unknown/NeverRun Ready=False/SourceNotReady Reconciling=True/Retrying",
        ),
        (
            "the lake is down",
            ObservedExport {
                lake_down: Some("lake: gone"),
                ..observe(&scheduled)
            },
            "LastRunSucceeded=Unknown/NeverRun Ready=False/DestinationNotReady Reconciling=True/Retrying",
        ),
        (
            "nobody has looked at the source yet",
            ObservedExport {
                unchecked: Some("DataSource shop is looked at for the first time"),
                ..observe(&scheduled)
            },
            "LastRunSucceeded=Unknown/NeverRun Ready=Unknown/Progressing Reconciling=True/Progressing",
        ),
        (
            "suspended while the source is down",
            ObservedExport {
                source_down: Some("shop: refused"),
                ..observe(&suspended)
            },
            "LastRunSucceeded=Unknown/NeverRun Ready=True/Suspended Suspended=True/Suspended",
        ),
        (
            "the state cannot be written",
            ObservedExport {
                failure: Some("disk full"),
                ..observe(&scheduled)
            },
            "LastRunSucceeded=Unknown/NeverRun Ready=Unknown/Retrying Reconciling=True/Retrying",
        ),
    ];
    for (what, observed, expected) in cases {
        let decision = decide_export(observed);
        assert_eq!(words(&decision.status.conditions), expected, "{what}");
        assert_eq!(
            decision.status.observed_generation,
            Some(observed.entry.generation),
            "{what}"
        );
        assert!(
            decision
                .status
                .conditions
                .iter()
                .all(|condition| condition.observed_generation == Some(observed.entry.generation)),
            "{what}"
        );
        assert!(decision.effects.is_empty(), "{what}: {:?}", decision.effects);
    }
}

#[test]
fn a_restart_unsettles_nothing() {
    let unchecked = |export: &Entry<Export>| {
        decide_export(ObservedExport {
            unchecked: Some("DataSource shop is looked at for the first time"),
            ..observe(export)
        })
    };
    let mut export = export_with(&json!({}));
    export.status = Some(decide_export(observe(&export)).status);
    assert_eq!(Some(unchecked(&export).status), export.status);
    let down = ObservedExport {
        source_down: Some("DataSource shop: refused"),
        ..observe(&export)
    };
    export.status = Some(decide_export(down).status);
    assert_eq!(Some(unchecked(&export).status), export.status);
    // An edit is another matter.
    export.generation = 4;
    assert_eq!(
        words(&unchecked(&export).status.conditions),
        "LastRunSucceeded=Unknown/NeverRun Ready=Unknown/Progressing Reconciling=True/Progressing"
    );

    let look = |source: &Entry<DataSource>, problems: &[Problem], health: Option<&SourceHealth>| {
        decide_source(ObservedSource {
            entry: source,
            problems,
            health,
            needed_by: None,
            now: at(NOW),
        })
        .status
    };
    let denied = SourceHealth {
        reachable: Some(false),
        reason: Some(Reason::AccessDenied),
        message: Some("shop_db: refused the credentials".to_owned()),
        ..healthy()
    };
    for health in [healthy(), denied] {
        let mut source = source();
        source.status = Some(look(&source, &[], Some(&health)));
        assert_eq!(Some(look(&source, &[], None)), source.status);
        source.generation = 3;
        assert_eq!(
            condition_of(&look(&source, &[], None).conditions),
            "Unknown/Progressing"
        );
    }
    // What was said of the name, not of the store, ends with the conflict.
    let mut source = source();
    source.status = Some(look(&source, &[], Some(&healthy())));
    let taken = [Problem::new("spec.catalogName", Reason::NameConflict, "taken")];
    source.status = Some(look(&source, &taken, None));
    assert_eq!(
        condition_of(&look(&source, &[], None).conditions),
        "Unknown/Progressing"
    );

    let mut view: Entry<View> = entry(
        json!({"apiVersion": "lakegate.dev/v1alpha1", "kind": "View", "metadata": {"name": "v"}, "spec": {"sql": "select 1 as a"}}),
        1,
    );
    let look = |view: &Entry<View>, health: Option<&ViewHealth>| {
        decide_view(ObservedView {
            entry: view,
            problems: &[],
            health,
            now: at(NOW),
        })
        .status
    };
    let good = ViewHealth {
        uid: "u1".to_owned(),
        generation: 1,
        ..ViewHealth::default()
    };
    view.status = Some(look(&view, Some(&good)));
    assert_eq!(Some(look(&view, None)), view.status);
}

#[test]
fn messages_name_place_and_remedy() {
    let mut export = export_with(&json!({}));
    export.rejected = Some(rejected("six fields"));
    let decision = decide_export(observe(&export));
    assert_eq!(
        message_of(&decision.status.conditions, ConditionType::Stalled),
        "orders.yaml:12: spec.schedule.cron: six fields; the last good version (generation 3) stays in force"
    );
    // On an API server the edit has a generation of its own.
    let mut newer = export.clone();
    newer.generation = 4;
    let newer = decide_export(observe(&newer)).status;
    assert!(message_of(&newer.conditions, ConditionType::Stalled).contains("(generation 3)"));
    assert_eq!(newer.observed_generation, Some(4));
    assert_eq!(decision.notices.len(), 1);
    // told once, not with every look
    export.status = Some(decision.status);
    assert!(decide_export(observe(&export)).notices.is_empty());
    // A cluster counts the rejected edit: the status is about it, the message about the version in force.
    export.generation = 4;
    let decision = decide_export(observe(&export));
    let message = message_of(&decision.status.conditions, ConditionType::Stalled);
    assert!(message.ends_with("(generation 3) stays in force"), "{message}");
    assert_eq!(decision.status.observed_generation, Some(4));
}

#[test]
fn a_rejected_edit_keeps_the_last_good_schedule() {
    let mut export = export_with(&json!({}));
    export.rejected = Some(rejected("six fields"));
    export.status = Some(ExportStatus {
        next_schedule_time: Some(time(at("2026-05-11T03:00:00Z"))),
        ..ExportStatus::default()
    });
    let decision = decide_export(observe(&export));
    let [Effect::CreateRun(run)] = decision.effects.as_slice() else {
        panic!("{:?}", decision.effects)
    };
    assert_eq!(run.spec.scheduled_time, Some(time(at("2026-05-11T03:00:00Z"))));
    assert_eq!(
        run.spec.resolved.as_deref(),
        Some(&export.object.as_ref().unwrap().spec)
    );
    let name = run.metadata.name.clone().unwrap();
    assert!(name.starts_with("orders-202605110300-"), "{name}");
}

#[test]
fn what_is_not_served_starts_nothing_and_a_dependency_that_comes_back_is_made_up_for() {
    let mut export =
        export_with(&json!({"runToken": "now", "schedule": {"cron": "0 3 * * *", "runOnCreate": true}}));
    let promised = Some(time(at("2026-05-11T03:00:00Z")));
    export.status = Some(ExportStatus {
        next_schedule_time: promised.clone(),
        ..ExportStatus::default()
    });
    for reason in [
        Reason::NotImplemented,
        Reason::DependencyNotFound,
        Reason::TableNameConflict,
    ] {
        let problems = [Problem::new("spec", reason, "m")];
        let decision = decide_export(ObservedExport {
            problems: &problems,
            ..observe(&export)
        });
        assert!(decision.effects.is_empty(), "{reason}");
        assert_eq!(decision.status.next_schedule_time, promised, "{reason}");
    }
    assert_eq!(decide_export(observe(&export)).effects.len(), 1);
}

#[test]
fn runs_are_accounted_for_once_and_then_trimmed() {
    let mut export = export_with(&json!({"history": {"succeeded": 1, "failed": 1}}));
    let runs = [
        ended_run("r1", "2026-05-07T03:00:09Z", RunState::Complete, ""),
        ended_run("r2", "2026-05-08T03:00:09Z", RunState::Failed, "WorkerLost"),
        ended_run("r3", "2026-05-09T03:00:09Z", RunState::Complete, ""),
        ended_run("r4", "2026-05-10T03:00:09Z", RunState::Failed, "OutOfMemory"),
        ended_run("r5", "2026-05-11T03:00:09Z", RunState::Failed, "DeadlineExceeded"),
    ];
    let first = decide_export(ObservedExport {
        runs: &runs,
        ..observe(&export)
    });
    assert!(
        first.effects.is_empty(),
        "nothing goes before the status tells of it"
    );
    let status = first.status;
    assert_eq!(status.consecutive_failures, Some(2));
    assert_eq!(
        status.last_successful_time,
        Some(time(at("2026-05-09T03:00:09Z")))
    );
    assert_eq!(status.snapshot.as_ref().unwrap().id, "77");
    let last = status.last_run.clone().unwrap();
    assert_eq!(
        (last.name.as_str(), last.outcome.as_str()),
        ("r5", "DeadlineExceeded")
    );

    export.status = Some(status.clone());
    let second = decide_export(ObservedExport {
        runs: &runs,
        ..observe(&export)
    });
    assert_eq!(second.status, status, "accounted for once");
    let deleted: Vec<_> = second
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::DeleteRun { key, .. } => key.name.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(deleted, ["r4", "r2", "r1"]);
    let third = decide_export(ObservedExport {
        runs: &[runs[2].clone(), runs[4].clone()],
        ..observe(&export)
    });
    assert!(third.effects.is_empty());
    assert_eq!(third.status, status);
}

#[test]
fn replace_cancels_and_forbid_waits() {
    let mut active = ended_run("r1", "2026-05-11T03:00:09Z", RunState::Running, "");
    active.status.as_mut().unwrap().finish_time = None;
    let runs = [active];
    for (policy, expected) in [
        ("Forbid", Vec::new()),
        ("Replace", vec![Effect::CancelRun(Key::named("r1"))]),
    ] {
        let mut export =
            export_with(&json!({"schedule": {"cron": "0 3 * * *", "concurrencyPolicy": policy}}));
        export.status = Some(ExportStatus {
            next_schedule_time: Some(time(at("2026-05-11T03:00:00Z"))),
            ..ExportStatus::default()
        });
        let decision = decide_export(ObservedExport {
            runs: &runs,
            ..observe(&export)
        });
        assert_eq!(decision.effects, expected, "{policy}");
        assert_eq!(decision.status.active_run.as_deref(), Some("r1"));
    }
}

#[test]
fn durations_read_well() {
    for (millis, expected) in [
        (0, "0ms"),
        (450, "450ms"),
        (2349, "2.3s"),
        (59_900, "59s"),
        (90_000, "1m30s"),
        (5_400_000, "1h30m0s"),
    ] {
        assert_eq!(format_duration(SignedDuration::from_millis(millis)), expected);
    }
}

#[test]
fn columns_that_look_personal_are_a_condition_until_somebody_acts() {
    let columns = json!([{"name": "id"}, {"name": "email"}, {"name": "tel", "as": "phone"}]);
    let mut export = export_with(&json!({"allColumns": null, "columns": columns}));
    let mut run = ended_run("orders-1", "2026-05-11T03:00:00Z", RunState::Complete, "");
    run.status.as_mut().unwrap().personal_columns =
        [("email", "e-mail addresses"), ("phone", "phone numbers")]
            .map(|(name, holds)| lakegate_crds::PersonalColumnStatus {
                name: name.to_owned(),
                holds: holds.to_owned(),
            })
            .into();
    let runs = [run];
    let decide = |export: &Entry<Export>| {
        decide_export(ObservedExport {
            runs: &runs,
            ..observe(export)
        })
    };
    let warned = |decision: &Decision<ExportStatus>| {
        let notices = decision.notices.iter();
        notices
            .filter(|notice| notice.reason == Reason::LooksPersonal.as_str())
            .count()
    };
    let decision = decide(&export);
    assert_eq!(
        words(&decision.status.conditions),
        "LastRunSucceeded=True/Succeeded PersonalDataUnmasked=True/LooksPersonal Ready=True/Scheduled"
    );
    let message = message_of(&decision.status.conditions, ConditionType::PersonalDataUnmasked);
    assert!(
        message.contains("email (e-mail addresses), phone (phone numbers); mask"),
        "{message}"
    );
    assert_eq!(warned(&decision), 1);
    export.status = Some(decision.status);
    assert_eq!(warned(&decide(&export)), 0, "it has been told");

    // no run is needed to say that somebody has acted
    let status = export.status.clone();
    let columns =
        json!([{"name": "id"}, {"name": "email", "mask": {"redact": {}}}, {"name": "tel", "as": "phone"}]);
    for (acknowledged, expected) in [(json!([]), Some("clear: phone (")), (json!(["phone"]), None)] {
        let mut export = export_with(
            &json!({"allColumns": null, "columns": columns, "acknowledgePersonal": acknowledged}),
        );
        export.status.clone_from(&status);
        let decision = decide(&export);
        let condition = decision
            .status
            .conditions
            .find(ConditionType::PersonalDataUnmasked);
        match expected {
            Some(text) => assert!(condition.unwrap().message.contains(text)),
            None => assert!(condition.is_none()),
        }
    }
}

#[test]
fn new_columns_and_nulled_values_are_told_of() {
    let mut export = export_with(&json!({}));
    let mut run = ended_run("orders-1", "2026-05-11T03:00:00Z", RunState::Complete, "");
    let status = run.status.as_mut().unwrap();
    status.new_columns = vec!["note".to_owned(), "unit".to_owned()];
    status.nulled_columns = vec![lakegate_crds::NulledColumnStatus {
        name: "total".to_owned(),
        values: 3,
    }];
    let runs = [run];
    let decide = |export: &Entry<Export>| {
        decide_export(ObservedExport {
            runs: &runs,
            ..observe(export)
        })
    };
    let told = |decision: &Decision<ExportStatus>| {
        let notices = decision.notices.iter();
        let told: Vec<String> = notices
            .filter(|notice| notice.reason == Reason::NewColumnDropped.as_str())
            .map(|notice| notice.message.clone())
            .collect();
        told
    };
    let decision = decide(&export);
    let message = message_of(&decision.status.conditions, ConditionType::LastRunSucceeded);
    assert!(
        message.ends_with(
            "; new columns are left out: note, unit; values that did not fit their cast became null: 3 of total"
        ),
        "{message}"
    );
    let [notice] = told(&decision).try_into().unwrap();
    assert!(
        notice.contains("has not: note, unit; set spec.onNewColumn: Include"),
        "{notice}"
    );
    export.status = Some(decision.status);
    assert!(told(&decide(&export)).is_empty(), "it has been told");
}
