use std::sync::Arc;

use lakegate_crds::{ExportRun, ExportRunStatus, LakegateResource, RunState};
use lakegate_store::{Entry, Key, Rejected};
use serde_json::json;

use super::*;
use crate::decide::decide_export;

const NOW: &str = "2026-05-11T04:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn entry<K: LakegateResource>(object: serde_json::Value) -> Entry<K> {
    let object: K = serde_json::from_value(object).unwrap();
    Entry {
        key: Key::of(&object),
        object: Some(Arc::new(object)),
        status: None,
        rejected: None,
        is_held: false,
        deletion: None,
        uid: "u1".to_owned(),
        generation: 1,
    }
}

fn export(policy: &str) -> Entry<Export> {
    entry(json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "Export", "metadata": {"name": "orders"},
        "spec": {
            "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "main", "name": "orders"}},
            "allColumns": {}, "schedule": {"cron": "* * * * *"}, "runToken": "go", "deletionPolicy": policy,
            "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "orders"},
        },
    }))
}

/// Held, and to be deleted at once.
fn leaving() -> Entry<Export> {
    Entry {
        is_held: true,
        deletion: Some(now()),
        ..export("Delete")
    }
}

fn run(state: RunState) -> Entry<ExportRun> {
    let mut run: Entry<ExportRun> = entry(json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun", "metadata": {"name": "orders-1"},
        "spec": {"exportRef": {"name": "orders"}, "exportUid": "u1"},
    }));
    run.status = Some(ExportRunStatus {
        state: Some(state),
        finish_time: state
            .is_terminal()
            .then(|| lakegate_crds::conditions::time(now())),
        ..ExportRunStatus::default()
    });
    run
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
        now: now(),
    }
}

/// What is done, in a word or two; else `Ready` and when it is looked at again.
fn step_of(observed: ObservedExport<'_>) -> String {
    let decision = decide_export(observed);
    match decision.effects.as_slice() {
        [] => {
            let ready = decision.status.conditions.find(ConditionType::Ready).unwrap();
            let next = decision
                .next
                .map_or_else(String::new, |next| format!(" until {next}"));
            format!("{}/{}{next}", ready.status, ready.reason)
        }
        [Effect::Release(None)] => "release".to_owned(),
        [Effect::Release(Some(told))] => format!("release, {} {}", told.notice_type, told.reason),
        effects => format!("{effects:?}"),
    }
}

#[test]
fn the_table_goes_when_nothing_can_write_it_any_more() {
    let (leaving, active, ended) = (leaving(), [run(RunState::Running)], [run(RunState::Failed)]);
    let observed = observe(&leaving);
    let open = Fence::Open("Pod orders-1-1-x (node n1) has not ended".to_owned());
    let foreign = TableFate::Foreign("Export default/orders with uid u2, in run r2".to_owned());
    let unknown = TableFate::Unknown("the bucket does not answer".to_owned());
    let fenced = ObservedExport {
        fence: &Fence::Clear,
        runs: &ended,
        ..observed
    };
    let cases = [
        (
            "a run is active",
            ObservedExport {
                runs: &active,
                ..observed
            },
            "Unknown/Deleting",
        ),
        (
            "every run has ended",
            ObservedExport {
                runs: &ended,
                ..observed
            },
            "[FenceTable]",
        ),
        (
            "an attempt may commit",
            ObservedExport {
                fence: &open,
                ..fenced
            },
            "Unknown/Deleting until 2026-05-11T04:00:15Z",
        ),
        ("nothing can commit", fenced, "[DropTable]"),
        (
            "it is gone",
            ObservedExport {
                table: &TableFate::Gone,
                ..fenced
            },
            "release, Normal TableDeleted",
        ),
        (
            "somebody else wrote it",
            ObservedExport {
                table: &foreign,
                ..fenced
            },
            "release, Warning TableKept",
        ),
        (
            "another Export names it",
            ObservedExport {
                rival: Some("other"),
                ..fenced
            },
            "release, Warning TableKept",
        ),
        (
            "the lake is away",
            ObservedExport {
                table: &unknown,
                ..fenced
            },
            "False/DestinationNotReady",
        ),
        (
            "the lake is away, and there was no run",
            ObservedExport {
                table: &unknown,
                runs: &[],
                ..fenced
            },
            "release",
        ),
        (
            "the store cannot be written",
            ObservedExport {
                failure: Some("no answer"),
                ..fenced
            },
            "Unknown/Retrying",
        ),
    ];
    for (what, observed, expected) in cases {
        assert_eq!(step_of(observed), expected, "{what}");
    }
    // However it stands, no run begins and none is promised.
    let status = decide_export(ObservedExport {
        runs: &active,
        ..observed
    })
    .status;
    assert_eq!(
        (status.next_schedule_time, status.active_run.as_deref()),
        (None, Some("orders-1"))
    );
}

#[test]
fn what_speaks_against_it_keeps_the_table() {
    let retained = Entry {
        is_held: true,
        deletion: Some(now()),
        ..export("Retain")
    };
    assert_eq!(step_of(observe(&retained)), "release", "the policy was set back");
    let not_ours = Entry {
        is_held: false,
        ..leaving()
    };
    assert_eq!(
        step_of(observe(&not_ours)),
        "Unknown/Deleting",
        "somebody else holds it"
    );
    let invalid = Entry {
        object: None,
        rejected: Some(Rejected {
            problems: Vec::new(),
            origin: "generation 2".to_owned(),
        }),
        ..leaving()
    };
    let decision = decide_export(observe(&invalid));
    assert!(decision.effects.is_empty());
    let stalled = decision.status.conditions.find(ConditionType::Stalled).unwrap();
    assert!(
        stalled.reason == "InvalidSpec"
            && stalled
                .message
                .contains("take the finalizer lakegate.dev/export-data off"),
        "{stalled:?}"
    );
    assert_eq!(decision.notices.len(), 1);
    let later = Entry {
        deletion: Some("2026-05-11T05:00:00Z".parse().unwrap()),
        ..leaving()
    };
    assert_eq!(
        step_of(observe(&later)),
        "Unknown/Deleting until 2026-05-11T05:00:00Z",
        "the manifest may come back"
    );
}

#[test]
fn a_lake_that_is_away_is_told_once_with_what_to_do() {
    let leaving = leaving();
    let ended = [run(RunState::Complete)];
    let unknown = TableFate::Unknown("there is no DataSource lake".to_owned());
    let observed = |entry| ObservedExport {
        fence: &Fence::Clear,
        table: &unknown,
        runs: &ended,
        ..observe(entry)
    };
    let first = decide_export(observed(&leaving));
    let [told] = first.notices.as_slice() else {
        panic!("{:?}", first.notices)
    };
    assert_eq!(
        (told.notice_type, told.reason.as_str()),
        (NoticeType::Warning, "DestinationNotReady")
    );
    for part in [
        "shop.orders",
        "there is no DataSource lake",
        "deletionPolicy to Retain",
        "--keep-data",
    ] {
        assert!(told.message.contains(part), "{}", told.message);
    }
    let told = Entry {
        status: Some(first.status.clone()),
        ..leaving.clone()
    };
    let second = decide_export(observed(&told));
    assert_eq!((second.status, second.notices), (first.status, Vec::new()));
}

#[test]
fn an_export_is_held_before_anything_is_written_for_it() {
    let export = |policy, is_held| Entry {
        is_held,
        ..export(policy)
    };
    let cases = [
        ("Delete", false, true, "[Hold, CreateRun]"),
        ("Delete", true, false, "[Hold, CreateRun]"),
        ("Delete", true, true, "[CreateRun]"),
        ("Retain", false, false, "[CreateRun]"),
        ("Retain", true, true, "[Release, CreateRun]"),
    ];
    for (policy, is_held, lake_is_held, expected) in cases {
        let entry = export(policy, is_held);
        let decision = decide_export(ObservedExport {
            lake_is_held,
            ..observe(&entry)
        });
        let effects: Vec<_> = decision
            .effects
            .iter()
            .map(|effect| match effect {
                Effect::Hold => "Hold",
                Effect::Release(None) => "Release",
                Effect::CreateRun(_) => "CreateRun",
                _ => "another",
            })
            .collect();
        assert_eq!(
            format!("[{}]", effects.join(", ")),
            expected,
            "{policy}, held {is_held}, lake held {lake_is_held}"
        );
    }
}
