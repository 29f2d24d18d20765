//! The objects of the state table: manifests as the API server has them, with the status that the operator decides.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lakegate_crds::{
    DataSource, EXPORT_DATA_FINALIZER, Export, ExportRun, ExportRunStatus, FailureStatus, LakegateResource,
    RetentionPolicy, RunState, View,
    conditions::{Reason, time},
    validation::Problem,
};
use lakegate_federation::{SourceHealth, ViewHealth};
use lakegate_operator::{
    attempt::{CommitLookup, Ending, Fence, Work},
    decide::{
        ObservedExport, ObservedPolicy, ObservedRun, ObservedSource, ObservedView, TableFate, decide_export,
        decide_policy, decide_run, decide_source, decide_view,
    },
    protocol::{Failure, Phase, Progress, Report},
};
use lakegate_store::{Entry, Key, Rejected};
use serde_json::{Value, json};

const NOW: &str = "2026-05-11T04:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// An object as the API server has it, without a status.
struct Sample<K: LakegateResource> {
    object: K,
    entry: Entry<K>,
}

fn sample<K: LakegateResource>(name: &str, generation: i64, spec: &Value) -> Sample<K> {
    let mut object: K = serde_json::from_value(json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": K::KIND.as_str(),
        "metadata": {"name": name, "namespace": "data", "uid": "u1", "generation": generation,
                     "creationTimestamp": "2026-05-11T03:59:00Z"},
        "spec": spec,
    }))
    .unwrap();
    object.meta_mut().generation = Some(generation);
    let entry = Entry {
        key: Key::of(&object),
        object: Some(Arc::new(object.clone())),
        status: None,
        rejected: None,
        is_held: false,
        deletion: None,
        uid: "u1".to_owned(),
        generation,
    };
    Sample { object, entry }
}

impl<K: LakegateResource> Sample<K> {
    /// A manifest that the API server accepts and that means nothing: a time zone that does not exist, for one.
    fn refused(mut self, field: &str, message: &str) -> Self {
        self.entry.object = None;
        self.entry.rejected = Some(Rejected {
            problems: vec![Problem::invalid(field, message)],
            origin: format!("{} {}", K::KIND, self.entry.key),
        });
        self
    }

    fn with(&self, status: K::Status) -> Value {
        let mut object = self.object.clone();
        object.set_status(Some(status));
        serde_json::to_value(object).unwrap()
    }

    /// As the API server fills in the default.
    fn unseen(&self) -> Value {
        let mut object = serde_json::to_value(&self.object).unwrap();
        object["status"] = json!({"observedGeneration": -1});
        object
    }
}

fn deleted(mut object: Value, finalizers: &Value) -> Value {
    object["metadata"]["deletionTimestamp"] = json!(NOW);
    object["metadata"]["finalizers"] = finalizers.clone();
    object
}

/// Every object of the table, by the name of its file.
pub fn objects() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    sources(&mut all);
    exports(&mut all);
    views(&mut all);
    runs(&mut all);
    let policy: Sample<RetentionPolicy> = sample(
        "old",
        1,
        &json!({"files": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "orders", "keep": {"within": "90d"}}}),
    );
    let decision = decide_policy(ObservedPolicy {
        entry: &policy.entry,
        problems: &[],
        now: now(),
    });
    all.push((
        "retentionpolicy-not-served".to_owned(),
        policy.with(decision.status),
    ));
    all
}

fn sources(all: &mut Vec<(String, Value)>) {
    let spec = json!({"sqlite": {"path": "shop.db"}});
    let source: Sample<DataSource> = sample("shop", 1, &spec);
    let healthy = SourceHealth {
        reachable: Some(true),
        tables: 42,
        catalog_revision: 7,
        last_discovery: Some(now()),
        endpoint: "shop.db".to_owned(),
        uid: "u1".to_owned(),
        generation: 1,
        ..SourceHealth::default()
    };
    let down = |reason, message: &str| SourceHealth {
        reachable: Some(false),
        reason: Some(reason),
        message: Some(message.to_owned()),
        ..healthy.clone()
    };
    let says = |sample: &Sample<DataSource>, problems: &[Problem], health: Option<&SourceHealth>| {
        let decision = decide_source(ObservedSource {
            entry: &sample.entry,
            problems,
            health,
            needed_by: None,
            now: now(),
        });
        sample.with(decision.status)
    };
    let mut put = |name: &str, object| all.push((format!("datasource-{name}"), object));
    put("unseen", source.unseen());
    put("first-look", says(&source, &[], None));
    put("available", says(&source, &[], Some(&healthy)));
    let refused = down(
        Reason::ConnectionFailed,
        "shop: cannot connect to shop-db:5432: connection refused",
    );
    put("down", says(&source, &[], Some(&refused)));
    let missing = down(
        Reason::SecretNotFound,
        "shop: shop-db/password cannot be used: there is no Secret shop-db",
    );
    put("secret-missing", says(&source, &[], Some(&missing)));
    let denied = down(Reason::AccessDenied, "shop: shop-db:5432 refused the credentials");
    put("access-denied", says(&source, &[], Some(&denied)));
    let invalid = sample("shop", 1, &spec).refused("spec.catalogName", "shop-1 is not a name in SQL");
    put("invalid", says(&invalid, &[], None));
    let taken = [Problem::new(
        "spec.catalogName",
        Reason::NameConflict,
        "an older DataSource has the catalog shop",
    )];
    put("name-taken", says(&source, &taken, Some(&healthy)));
    let suspended = sample(
        "shop",
        2,
        &json!({"sqlite": {"path": "shop.db"}, "suspend": true}),
    );
    put("suspended", says(&suspended, &[], None));
    put(
        "deleting",
        deleted(says(&source, &[], Some(&healthy)), &json!(["example.com/audit"])),
    );
    let mut kept: Sample<DataSource> = sample("lake", 1, &json!({"lake": {"directory": {}}}));
    kept.entry.is_held = true;
    kept.entry.deletion = Some(now());
    let decision = decide_source(ObservedSource {
        entry: &kept.entry,
        problems: &[],
        health: Some(&healthy),
        needed_by: Some("data/orders"),
        now: now(),
    });
    put(
        "kept-for-export",
        deleted(kept.with(decision.status), &json!([EXPORT_DATA_FINALIZER])),
    );
}

fn export_spec(more: &Value) -> Value {
    let mut spec = json!({
        "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "public", "name": "orders"}},
        "allColumns": {},
        "schedule": {"cron": "0 3 * * *"},
        "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "orders"},
    });
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

fn ended_run(state: RunState) -> Entry<ExportRun> {
    let mut run: Entry<ExportRun> = sample(
        "orders-202605110300-1a2b3c",
        1,
        &json!({"exportRef": {"name": "orders"}, "exportUid": "u1", "exportGeneration": 1}),
    )
    .entry;
    run.status = Some(ExportRunStatus {
        state: Some(state),
        start_time: Some(time("2026-05-11T03:00:00Z".parse().unwrap())),
        finish_time: Some(time("2026-05-11T03:00:09Z".parse().unwrap())),
        duration: Some("9.1s".to_owned()),
        rows_written: (state == RunState::Complete).then_some(1200),
        snapshot_id: (state == RunState::Complete).then(|| "77".to_owned()),
        failure: (state == RunState::Failed).then(|| FailureStatus {
            reason: Reason::OutOfMemory.to_string(),
            message: "the run reached its limit of 1Gi; raise spec.resources.limits.memory".to_owned(),
        }),
        ..ExportRunStatus::default()
    });
    run
}

fn exports(all: &mut Vec<(String, Value)>) {
    fn observe(sample: &Sample<Export>) -> ObservedExport<'_> {
        ObservedExport {
            entry: &sample.entry,
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
    let says =
        |sample: &Sample<Export>, observed: ObservedExport<'_>| sample.with(decide_export(observed).status);
    let mut put = |name: &str, object| all.push((format!("export-{name}"), object));
    let export = sample("orders", 1, &export_spec(&json!({})));
    put("unseen", export.unseen());
    let unchecked = Some("DataSource shop is looked at for the first time");
    put(
        "first-look",
        says(
            &export,
            ObservedExport {
                unchecked,
                ..observe(&export)
            },
        ),
    );
    put("scheduled", says(&export, observe(&export)));
    let succeeded = [ended_run(RunState::Complete)];
    put(
        "succeeded",
        says(
            &export,
            ObservedExport {
                runs: &succeeded,
                ..observe(&export)
            },
        ),
    );
    let failed = [ended_run(RunState::Failed)];
    let last_failed = says(
        &export,
        ObservedExport {
            runs: &failed,
            ..observe(&export)
        },
    );
    put("last-run-failed", last_failed.clone());
    let source_down = Some("DataSource shop: shop: cannot connect to shop-db:5432: connection refused");
    put(
        "source-down",
        says(
            &export,
            ObservedExport {
                source_down,
                ..observe(&export)
            },
        ),
    );
    let lake_down = Some("DataSource lake: lake: the bucket does not answer");
    put(
        "lake-down",
        says(
            &export,
            ObservedExport {
                lake_down,
                ..observe(&export)
            },
        ),
    );
    let failure =
        Some("the run orders-202605110300-1a2b3c cannot be recorded: the API server does not answer");
    put(
        "not-recorded",
        says(
            &export,
            ObservedExport {
                failure,
                ..observe(&export)
            },
        ),
    );
    let dangling = [Problem::new(
        "spec.from.sourceRef.name",
        Reason::DependencyNotFound,
        "there is no DataSource shop",
    )];
    put(
        "source-missing",
        says(
            &export,
            ObservedExport {
                problems: &dangling,
                ..observe(&export)
            },
        ),
    );
    let unserved = [Problem::new(
        "spec.from.index",
        Reason::NotImplemented,
        "index is not served by this version yet; remove it",
    )];
    put(
        "not-served",
        says(
            &export,
            ObservedExport {
                problems: &unserved,
                ..observe(&export)
            },
        ),
    );
    let zone = export_spec(&json!({"schedule": {"cron": "0 3 * * *", "timeZone": "Asia/Soul"}}));
    let invalid =
        sample("orders", 2, &zone).refused("spec.schedule.timeZone", "Asia/Soul is no IANA time zone");
    put("invalid", says(&invalid, observe(&invalid)));
    let on_request = sample("orders", 1, &export_spec(&json!({"schedule": null})));
    put("on-request", says(&on_request, observe(&on_request)));
    let suspended = sample("orders", 2, &export_spec(&json!({"suspend": true})));
    put("suspended", says(&suspended, observe(&suspended)));
    let suspended_failed = ObservedExport {
        runs: &failed,
        ..observe(&suspended)
    };
    put("suspended-after-failure", says(&suspended, suspended_failed));
    // Edited, and not looked at since.
    let mut edited = last_failed;
    edited["metadata"]["generation"] = json!(2);
    put("edited", edited);
    let finalizers = json!([EXPORT_DATA_FINALIZER]);
    let mut leaving: Sample<Export> = sample("orders", 2, &export_spec(&json!({"deletionPolicy": "Delete"})));
    leaving.entry.is_held = true;
    leaving.entry.deletion = Some(now());
    let active = [ended_run(RunState::Running)];
    let waits = ObservedExport {
        runs: &active,
        ..observe(&leaving)
    };
    put("deleting", deleted(says(&leaving, waits), &finalizers));
    let blocked = ObservedExport {
        runs: &succeeded,
        fence: &Fence::Clear,
        table: &TableFate::Unknown("the bucket company-lake does not answer".to_owned()),
        ..observe(&leaving)
    };
    put("deletion-blocked", deleted(says(&leaving, blocked), &finalizers));
}

fn views(all: &mut Vec<(String, Value)>) {
    let view: Sample<View> = sample("shop-daily", 1, &json!({"sql": "select 1 as a"}));
    let good = ViewHealth {
        columns: vec![("a".to_owned(), "bigint".to_owned())],
        uid: "u1".to_owned(),
        generation: 1,
        ..ViewHealth::default()
    };
    let says = |sample: &Sample<View>, health: Option<&ViewHealth>| {
        let decision = decide_view(ObservedView {
            entry: &sample.entry,
            problems: &[],
            health,
            now: now(),
        });
        sample.with(decision.status)
    };
    let broken = |reason, message: &str| ViewHealth {
        reason: Some(reason),
        message: Some(message.to_owned()),
        columns: Vec::new(),
        ..good.clone()
    };
    let mut put = |name: &str, object| all.push((format!("view-{name}"), object));
    put("unseen", view.unseen());
    put("first-look", says(&view, None));
    put("available", says(&view, Some(&good)));
    let no_table = broken(Reason::PlanFailed, "there is no table shop.public.orders");
    put("no-such-table", says(&view, Some(&no_table)));
    let no_query = broken(Reason::InvalidSpec, "it is no query");
    put("no-query", says(&view, Some(&no_query)));
    let suspended = sample("shop-daily", 2, &json!({"sql": "select 1 as a", "suspend": true}));
    put("suspended", says(&suspended, None));
}

fn runs(all: &mut Vec<(String, Value)>) {
    let run: Sample<ExportRun> = sample(
        "orders-202605110300-1a2b3c",
        1,
        &json!({"exportRef": {"name": "orders"}, "exportUid": "u1", "exportGeneration": 1,
                "scheduledTime": "2026-05-11T03:00:00Z", "cause": "Schedule"}),
    );
    let started = "2026-05-11T03:00:00Z".parse().unwrap();
    let says = |work: &Work, commit: &CommitLookup, ahead: Option<&str>| {
        let decision = decide_run(ObservedRun {
            entry: &run.entry,
            spec: None,
            work,
            worker_id: Some("orders-202605110300-1a2b3c-1"),
            attempt_id: Some("a1"),
            commit,
            session: "s1",
            cancelled: None,
            ahead,
            capacity: true,
            unable: None,
            fence: &Fence::Clear,
            failure: None,
            progress_interval: SignedDuration::ZERO,
            now: now(),
            set_by: SignedDuration::ZERO,
        });
        assert!(decision.effects.is_empty(), "{:?}", decision.effects);
        run.with(decision.status)
    };
    let ended = |ending| Work::Ended {
        attempt: 1,
        started,
        at: now(),
        ending,
    };
    let mut put = |name: &str, object| all.push((format!("exportrun-{name}"), object));
    put("unseen", run.unseen());
    let ahead = Some("orders-202605110200-0a0a0a");
    put("waiting", says(&Work::Idle, &CommitLookup::NotAsked, ahead));
    let running = |progress, pending| Work::Running {
        attempt: 1,
        started,
        heard: now(),
        progress,
        pending,
        stopping: false,
    };
    let waits = Some("the Pod waits for a node: 0/3 nodes are available: 3 Insufficient memory".to_owned());
    let waits = running(Progress::default(), waits);
    put("starting", says(&waits, &CommitLookup::NotAsked, None));
    let progress = Progress {
        phase: Phase::Copying,
        rows: 700,
        bytes: 7000,
        total_rows: Some(1200),
    };
    let works = running(progress, None);
    put("running", says(&works, &CommitLookup::NotAsked, None));
    let report = Report {
        rows_read: Some(1200),
        rows: 1200,
        bytes: 9000,
        files: 1,
        snapshot_id: 77,
        ..Report::default()
    };
    put(
        "complete",
        says(&ended(Ending::Finished(report)), &CommitLookup::NotAsked, None),
    );
    let failure = Failure {
        reason: Reason::SchemaChanged.to_string(),
        message: "column total is text now".to_owned(),
        terminal: true,
    };
    put(
        "failed",
        says(&ended(Ending::Failed(failure)), &CommitLookup::Absent, None),
    );
}
