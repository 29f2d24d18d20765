//! What GitOps tools make of what the operator says: each row of the state table, from the decision to the verdict of
//! kstatus, Flux and Argo CD.
//!
//! `examples/argocd/testdata` holds the objects as the API server would show them; their status is what the operator
//! decides, so a change of it shows here. `examples/argocd/health_test.yaml` holds the expected verdicts.
//! `UPDATE_GENERATED=1` writes the objects and the patch of argocd-cm.

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use jiff::Timestamp;
use lakegate_crds::{
    DataSource, Export, ExportRun, ExportRunStatus, FailureStatus, Kind, LakegateResource, RetentionPolicy,
    RunState, View,
    conditions::{Reason, time},
    validation::Problem,
};
use lakegate_federation::{SourceHealth, ViewHealth};
use lakegate_operator::{
    attempt::{CommitLookup, Ending, Work},
    decide::{
        ObservedExport, ObservedPolicy, ObservedRun, ObservedSource, ObservedView, decide_export,
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

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn is_updating() -> bool {
    std::env::var_os("UPDATE_GENERATED").is_some()
}

fn assert_file(path: &Path, expected: &str) {
    if is_updating() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is not what the operator says; run UPDATE_GENERATED=1 cargo test -p lakegate-operator gitops, and look at \
         the difference:\n{expected}",
        path.display()
    );
}

fn read_yaml(path: &Path) -> Vec<Value> {
    use serde::Deserialize as _;
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
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
fn objects() -> Vec<(String, Value)> {
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
    all.push(("retentionpolicy-not-served".to_owned(), policy.with(decision.status)));
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
            now: now(),
        });
        sample.with(decision.status)
    };
    let mut put = |name: &str, object| all.push((format!("datasource-{name}"), object));
    put("unseen", source.unseen());
    put("first-look", says(&source, &[], None));
    put("available", says(&source, &[], Some(&healthy)));
    let refused = down(Reason::ConnectionFailed, "shop: cannot connect to shop-db:5432: connection refused");
    put("down", says(&source, &[], Some(&refused)));
    let missing = down(Reason::SecretNotFound, "shop: shop-db/password cannot be used: there is no Secret shop-db");
    put("secret-missing", says(&source, &[], Some(&missing)));
    let denied = down(Reason::AccessDenied, "shop: shop-db:5432 refused the credentials");
    put("access-denied", says(&source, &[], Some(&denied)));
    let invalid = sample(source_name(), 1, &spec).refused("spec.catalogName", "shop-1 is not a name in SQL");
    put("invalid", says(&invalid, &[], None));
    let taken = [Problem::new("spec.catalogName", Reason::NameConflict, "an older DataSource has the catalog shop")];
    put("name-taken", says(&source, &taken, Some(&healthy)));
    let suspended = sample("shop", 2, &json!({"sqlite": {"path": "shop.db"}, "suspend": true}));
    put("suspended", says(&suspended, &[], None));
    put("deleting", deleted(says(&source, &[], Some(&healthy)), &json!(["example.com/audit"])));
}

fn source_name() -> &'static str {
    "shop"
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
            now: now(),
        }
    }
    let says = |sample: &Sample<Export>, observed: ObservedExport<'_>| sample.with(decide_export(observed).status);
    let mut put = |name: &str, object| all.push((format!("export-{name}"), object));
    let export = sample("orders", 1, &export_spec(&json!({})));
    put("unseen", export.unseen());
    let unchecked = Some("DataSource shop is looked at for the first time");
    put("first-look", says(&export, ObservedExport { unchecked, ..observe(&export) }));
    put("scheduled", says(&export, observe(&export)));
    let succeeded = [ended_run(RunState::Complete)];
    put("succeeded", says(&export, ObservedExport { runs: &succeeded, ..observe(&export) }));
    let failed = [ended_run(RunState::Failed)];
    let last_failed = says(&export, ObservedExport { runs: &failed, ..observe(&export) });
    put("last-run-failed", last_failed.clone());
    let source_down = Some("DataSource shop: shop: cannot connect to shop-db:5432: connection refused");
    put("source-down", says(&export, ObservedExport { source_down, ..observe(&export) }));
    let lake_down = Some("DataSource lake: lake: the bucket does not answer");
    put("lake-down", says(&export, ObservedExport { lake_down, ..observe(&export) }));
    let failure = Some("the run orders-202605110300-1a2b3c cannot be recorded: the API server does not answer");
    put("not-recorded", says(&export, ObservedExport { failure, ..observe(&export) }));
    let dangling = [Problem::new(
        "spec.from.sourceRef.name",
        Reason::DependencyNotFound,
        "there is no DataSource shop",
    )];
    put("source-missing", says(&export, ObservedExport { problems: &dangling, ..observe(&export) }));
    let unserved = [Problem::new(
        "spec.columns[0].mask",
        Reason::NotImplemented,
        "masks are not served by this version yet",
    )];
    put("not-served", says(&export, ObservedExport { problems: &unserved, ..observe(&export) }));
    let zone = export_spec(&json!({"schedule": {"cron": "0 3 * * *", "timeZone": "Asia/Soul"}}));
    let invalid = sample("orders", 2, &zone).refused("spec.schedule.timeZone", "Asia/Soul is no IANA time zone");
    put("invalid", says(&invalid, observe(&invalid)));
    let on_request = sample("orders", 1, &export_spec(&json!({"schedule": null})));
    put("on-request", says(&on_request, observe(&on_request)));
    let suspended = sample("orders", 2, &export_spec(&json!({"suspend": true})));
    put("suspended", says(&suspended, observe(&suspended)));
    let suspended_failed = ObservedExport { runs: &failed, ..observe(&suspended) };
    put("suspended-after-failure", says(&suspended, suspended_failed));
    // Edited, and not looked at since.
    let mut edited = last_failed;
    edited["metadata"]["generation"] = json!(2);
    put("edited", edited);
    let finalizers = json!(["lakegate.dev/export-data"]);
    put("deleting", deleted(says(&export, observe(&export)), &finalizers));
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
            cancelled: false,
            ahead,
            capacity: true,
            unable: None,
            failure: None,
            now: now(),
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
    let running = Work::Running {
        attempt: 1,
        started,
        heard: now(),
        progress: Progress {
            phase: Phase::Copying,
            rows: 700,
            bytes: 7000,
            total_rows: Some(1200),
        },
        stopping: false,
    };
    put("running", says(&running, &CommitLookup::NotAsked, None));
    let report = Report {
        rows_read: Some(1200),
        rows: 1200,
        bytes: 9000,
        files: 1,
        snapshot_id: 77,
        already: false,
    };
    put("complete", says(&ended(Ending::Finished(report)), &CommitLookup::NotAsked, None));
    let failure = Failure {
        reason: Reason::SchemaChanged.to_string(),
        message: "column total is text now".to_owned(),
        terminal: true,
    };
    put("failed", says(&ended(Ending::Failed(failure)), &CommitLookup::Absent, None));
}

/// One line of `health_test.yaml`.
struct Expected {
    name: String,
    kstatus: String,
    argo: (String, String),
}

fn expected() -> Vec<Expected> {
    let file = examples().join("argocd/health_test.yaml");
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{}", value)).to_owned();
    let all: Vec<Expected> = read_yaml(&file)[0]["tests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|test| Expected {
            name: text(&test["inputPath"])
                .trim_start_matches("testdata/")
                .trim_end_matches(".yaml")
                .to_owned(),
            kstatus: text(&test["kstatus"]),
            argo: (text(&test["healthStatus"]["status"]), text(&test["healthStatus"]["message"])),
        })
        .collect();
    let told: Vec<_> = all.iter().map(|test| test.name.clone()).collect();
    let there: Vec<_> = objects().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        told.iter().collect::<BTreeSet<_>>(),
        there.iter().collect::<BTreeSet<_>>(),
        "each object has a verdict, and each verdict an object"
    );
    all
}

fn object(name: &str) -> Value {
    let (_, object) = objects().into_iter().find(|(each, _)| each == name).unwrap();
    object
}

#[test]
fn testdata_is_what_the_operator_says() {
    let folder = examples().join("argocd/testdata");
    let objects = objects();
    for (name, object) in &objects {
        let text = serde_yaml::to_string(object).unwrap();
        assert_file(&folder.join(format!("{name}.yaml")), &text);
    }
    for file in std::fs::read_dir(folder).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let known = objects.iter().any(|(name, _)| file == format!("{name}.yaml"));
        assert!(known, "testdata/{file} is no longer written");
    }
}

/// The generic rules of kstatus, which Flux, `kubectl` plugins and Config Sync share: the first that applies decides.
fn kstatus(object: &Value) -> &'static str {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating";
    }
    let status = &object["status"];
    if status["observedGeneration"].is_i64() && status["observedGeneration"] != object["metadata"]["generation"] {
        return "InProgress";
    }
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    for condition in &conditions {
        match (condition["type"].as_str(), condition["status"].as_str()) {
            (Some("Reconciling"), Some("True")) => return "InProgress",
            (Some("Stalled"), Some("True")) => return "Failed",
            _ => {}
        }
    }
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    match ready.and_then(|condition| condition["status"].as_str()) {
        Some("False" | "Unknown") => "InProgress",
        // A kind without known conditions counts as current.
        _ => "Current",
    }
}

#[test]
fn kstatus_says_what_the_state_table_says() {
    for Expected { name, kstatus: wanted, .. } in expected() {
        assert_eq!(kstatus(&object(&name)), wanted, "{name}");
    }
}

/// A value as a Lua expression.
fn lua(value: &Value) -> String {
    let quoted = |text: &str| {
        let bytes: String = text.bytes().map(|byte| format!("\\{byte:03}")).collect();
        format!("\"{bytes}\"")
    };
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("[{}]={}", quoted(name), lua(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// Runs a script of Argo CD over objects, with the names that Argo CD defines and no others. `show` prints one result.
fn run_lua(script: &str, objects: &[(String, Value)], show: &str) -> Vec<String> {
    let path = examples().join("argocd").join(script);
    let mut program = format!(
        "local script = assert(loadfile({}))\n\
         local function run(name, object)\n\
           local globals = {{obj = object, table = table}}\n\
           for _, each in ipairs({{'assert', 'error', 'ipairs', 'next', 'pairs', 'pcall', 'rawequal', 'rawget',\n\
             'rawset', 'select', 'tonumber', 'tostring', 'type', 'unpack'}}) do globals[each] = _G[each] end\n\
           globals.require = function(library) assert(library == 'os'); return {{date = os.date, time = os.time}} end\n\
           setfenv(script, globals)\n\
           local result = script()\n\
           print(name .. '\\t' .. {show})\n\
         end\n",
        lua(&json!(path.to_str().unwrap())),
    );
    for (name, object) in objects {
        program.push_str(&format!("run({}, {})\n", lua(&json!(name)), lua(object)));
    }
    // Argo CD interprets Lua 5.1.
    let mut child = Command::new("lua5.1")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("lua5.1 runs: apt-get install lua5.1");
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn argo_cd_says_what_the_state_table_says() {
    let said = run_lua("health.lua", &objects(), "result.status .. '\\t' .. result.message");
    let wanted: BTreeSet<String> = expected()
        .into_iter()
        .map(|Expected { name, argo: (health, message), .. }| format!("{name}\t{health}\t{message}"))
        .collect();
    assert_eq!(said.into_iter().collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn argo_cds_action_asks_for_a_run() {
    let bare = object("export-scheduled");
    let mut annotated = bare.clone();
    annotated["metadata"]["annotations"] = json!({"team": "shop"});
    let objects = [("bare".to_owned(), bare), ("annotated".to_owned(), annotated)];
    let show = "result.metadata.annotations['lakegate.dev/requestedAt'] .. ' ' .. tostring(result.metadata.annotations.team)";
    let said = run_lua("run-now.lua", &objects, show);
    for (line, (name, team)) in said.iter().zip([("bare", "nil"), ("annotated", "shop")]) {
        let rest = line.strip_prefix(&format!("{name}\t")).unwrap();
        let (at, found) = rest.split_once(' ').unwrap();
        assert!(at.parse::<Timestamp>().is_ok() && found == team, "{line}");
    }
}

/// The patch of Argo CD's settings holds the scripts as they are beside it: once, by an anchor.
#[test]
fn the_patch_of_argocd_cm_holds_the_scripts() {
    let folder = examples().join("argocd");
    let script = |name: &str, indent: &str| {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let lines = text.lines().map(|line| if line.is_empty() { String::new() } else { format!("{indent}{line}") });
        lines.collect::<Vec<_>>().join("\n")
    };
    let mut patch = String::from(
        "# Teaches Argo CD the health of Lakegate's kinds:\n\
         #   kubectl -n argocd patch configmap argocd-cm --patch-file examples/argocd/argocd-cm.yaml\n\
         # Written from health.lua and run-now.lua by the tests (UPDATE_GENERATED=1).\n\
         data:\n",
    );
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        let key = format!("  resource.customizations.health.{}_{kind}:", lakegate_crds::GROUP);
        if index == 0 {
            patch.push_str(&format!("{key} &health |\n{}\n", script("health.lua", "    ")));
        } else {
            patch.push_str(&format!("{key} *health\n"));
        }
    }
    patch.push_str(&format!(
        "  resource.customizations.actions.{}_Export: |\n    discovery.lua: |\n      return {{[\"run-now\"] = {{}}}}\n    \
         definitions:\n      - name: run-now\n        action.lua: |\n{}\n",
        lakegate_crds::GROUP,
        script("run-now.lua", "          "),
    ));
    assert_file(&folder.join("argocd-cm.yaml"), &patch);
    let data = &read_yaml(&folder.join("argocd-cm.yaml"))[0]["data"];
    let health = std::fs::read_to_string(folder.join("health.lua")).unwrap();
    for kind in Kind::ALL {
        assert_eq!(data[format!("resource.customizations.health.lakegate.dev_{kind}")], json!(health));
    }
    assert!(data["resource.customizations.actions.lakegate.dev_Export"].as_str().unwrap().contains("requestedAt"));
}

/// The expressions of a Flux Kustomization, evaluated as Flux does: an older generation first, then in this order.
fn by_expressions(checks: &Value, object: &Value) -> &'static str {
    if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        return "InProgress";
    }
    let mut context = cel::Context::default();
    for field in ["apiVersion", "kind", "metadata", "spec", "status"] {
        context.add_variable(field, &object[field]).unwrap();
    }
    for (field, verdict) in [("inProgress", "InProgress"), ("failed", "Failed"), ("current", "Current")] {
        let expression = checks[field].as_str().unwrap();
        let program = cel::Program::compile(expression).unwrap();
        match program.execute(&context) {
            Ok(cel::Value::Bool(true)) => return verdict,
            Ok(cel::Value::Bool(false)) => {}
            other => panic!("{expression}: {other:?}"),
        }
    }
    "InProgress"
}

#[test]
fn fluxs_expressions_fail_where_the_last_run_did() {
    let kustomizations = read_yaml(&examples().join("gitops/flux/kustomizations.yaml"));
    let checks = kustomizations
        .iter()
        .find_map(|it| it["spec"]["healthCheckExprs"].as_array())
        .unwrap();
    let [checks] = checks.as_slice() else {
        panic!("{checks:?}")
    };
    assert_eq!(checks["kind"], "Export");
    let mut failed = Vec::new();
    for (name, object) in objects() {
        if object["kind"] != "Export" || object["metadata"]["deletionTimestamp"].is_string() {
            continue;
        }
        let verdict = by_expressions(checks, &object);
        if verdict == kstatus(&object) {
            continue;
        }
        assert_eq!(verdict, "Failed", "{name}");
        failed.push(name);
    }
    assert_eq!(failed, ["export-last-run-failed", "export-suspended-after-failure"]);
}
