//! The real worker, as a child process and with a real lake: this test executable, started again.

use std::{io::Write as _, path::Path, sync::Arc};

use lakegate_crds::{DataSource, Export, RunState, View};
use lakegate_federation::{Federation, FederationOptions};
use lakegate_lake::Lake;
use lakegate_operator::{
    Operator, OperatorOptions, ProcessLauncher, WorkerLauncher as _,
    launcher::{Worker, WorkerEvent},
    protocol::{PROTOCOL_VERSION, Phase, RunIdentity, WorkOrder, WorkerMessage},
};
use lakegate_store::{Key, MemoryStore, ResourceStore};
use serde_json::json;

use crate::harness::{OfKind as _, PATIENCE, export, source};

/// Not a test: what the child process runs.
#[test]
#[ignore = "run as a child process by the tests below"]
fn child() {
    // the test harness may have begun a line
    println!();
    std::io::stdout().flush().unwrap();
    lakegate_operator::worker::run(std::io::stdin(), std::io::stdout());
}

pub fn launcher() -> ProcessLauncher {
    let arguments = [
        "--exact",
        "worker::child",
        "--ignored",
        "--nocapture",
        "--test-threads=2",
    ];
    ProcessLauncher::new(std::env::current_exe().unwrap(), arguments)
}

fn shop(directory: &Path) -> DataSource {
    std::fs::write(
        directory.join("orders.csv"),
        "id,email,total\n1,a@x,10.5\n2,b@x,20\n3,,7.25\n",
    )
    .unwrap();
    source(
        "shop",
        json!({"objectStore": {
            "directory": {"path": directory}, "tables": [{"name": "orders", "path": "orders.csv", "format": "Csv"}],
        }}),
    )
}

fn lake(directory: &Path) -> DataSource {
    source(
        "lake",
        json!({"lake": {"directory": {"path": directory.join("lake")}}}),
    )
}

fn orders(spec: serde_json::Value) -> Export {
    let mut full = json!({
        "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "default", "name": "orders"}},
        "allColumns": null,
        "columns": [{"name": "id"}, {"name": "total", "as": "amount"}],
        "where": "id <> 2",
    });
    for (name, value) in spec.as_object().unwrap() {
        full[name] = value.clone();
    }
    export("orders", full)
}

pub fn order(directory: &Path, spec: serde_json::Value, attempt: u32) -> WorkOrder {
    let spec = orders(spec).spec;
    WorkOrder {
        version: PROTOCOL_VERSION,
        run: RunIdentity {
            namespace: "default".to_owned(),
            name: "orders-1".to_owned(),
            uid: "run-1".to_owned(),
            export: "orders".to_owned(),
            export_uid: None,
            attempt,
            attempt_id: format!("attempt-{attempt}"),
        },
        sources: if spec.from.query.is_some() {
            Vec::new()
        } else {
            vec![shop(directory)]
        },
        lake: lake(directory),
        views: Vec::new(),
        deadline: jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1),
        state_dir: directory.to_owned(),
        threads: 1,
        memory_bytes: spec.effective_memory_pool() as usize,
        spec,
    }
}

/// The last message of a worker, and how it ended.
pub async fn outcome(worker: &mut Worker) -> (Option<WorkerMessage>, String) {
    let mut last = None;
    loop {
        let event = tokio::time::timeout(PATIENCE, worker.events.recv())
            .await
            .expect("the worker neither speaks nor ends");
        match event.expect("the last event is Exited") {
            WorkerEvent::Message(message) => last = Some(message),
            WorkerEvent::Exited(exit) => return (last, exit.how),
            other => panic!("a child process is at work from its start: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_publishes_and_a_second_one_finds_it_done() {
    let directory = tempfile::tempdir().unwrap();
    let mut worker = launcher()
        .launch(order(directory.path(), json!({}), 1), &MemoryStore::new())
        .await
        .unwrap();
    let (last, how) = outcome(&mut worker).await;
    let Some(WorkerMessage::Finished(first)) = last else {
        panic!("{last:?}, {how}")
    };
    assert_eq!(
        (first.rows, first.rows_read, first.files, first.already),
        (2, Some(2), 1, false)
    );

    let opened = Lake::open_directory(&directory.path().join("lake"))
        .await
        .unwrap();
    let table = opened.load("shop", "orders").await.unwrap().unwrap();
    let columns: Vec<String> = table
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(
        (columns, table.rows()),
        (vec!["id".to_owned(), "amount".to_owned()], Some(2))
    );

    let mut worker = launcher()
        .launch(order(directory.path(), json!({}), 2), &MemoryStore::new())
        .await
        .unwrap();
    let (last, how) = outcome(&mut worker).await;
    let Some(WorkerMessage::Finished(second)) = last else {
        panic!("{last:?}, {how}")
    };
    assert_eq!(
        (second.already, second.snapshot_id, second.rows),
        (true, first.snapshot_id, 2)
    );
    assert!(
        !directory.path().join("attempts/attempt-1").exists(),
        "scratch files are gone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_name_the_field_and_say_whether_to_try_again() {
    let cases = [
        (
            json!({"columns": [{"name": "nothing"}]}),
            "InvalidSpec",
            true,
            "spec.columns[0].name",
        ),
        (
            json!({"columns": [{"name": "id", "mask": {"email": {}}}]}),
            "InvalidSpec",
            true,
            "spec.columns[0].mask.email",
        ),
        (json!({"where": "nothing = 1"}), "ColumnNotFound", true, "nothing"),
        (
            json!({"from": {"sourceRef": {"name": "shop"}, "table": {"schema": "default", "name": "gone"}}}),
            "TableNotFound",
            true,
            "gone",
        ),
        (
            json!({"columns": [{"name": "email", "cast": "bigint"}], "where": null}),
            "CastFailed",
            false,
            "a value of column email cannot be cast: it is not spelt as a bigint",
        ),
    ];
    for (spec, reason, terminal, text) in cases {
        let directory = tempfile::tempdir().unwrap();
        let mut worker = launcher()
            .launch(order(directory.path(), spec.clone(), 1), &MemoryStore::new())
            .await
            .unwrap();
        let (last, how) = outcome(&mut worker).await;
        let Some(WorkerMessage::Failed(failure)) = last else {
            panic!("{spec}: {last:?}, {how}")
        };
        assert_eq!(
            (failure.reason.as_str(), failure.terminal),
            (reason, terminal),
            "{spec}: {failure:?}"
        );
        assert!(failure.message.contains(text), "{spec}: {failure:?}");
        assert!(
            !failure.message.contains("a@x"),
            "{spec}: a status shows no data: {failure:?}"
        );
        let opened = Lake::open_directory(&directory.path().join("lake"))
            .await
            .unwrap();
        assert!(
            opened.list().await.unwrap().is_empty(),
            "{spec}: nothing may be published"
        );
    }
}

/// Work that would take hours of computing.
pub const ENDLESS: &str = "select max(a.value::bigint * b.value % 7) as m from generate_series(1, 1000000) a(value), generate_series(1, 1000000) b(value)";

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_ends_with_its_parent_while_it_computes() {
    let directory = tempfile::tempdir().unwrap();
    let endless = json!({"from": {"query": ENDLESS}, "columns": null, "where": null});
    let worker = launcher()
        .launch(order(directory.path(), endless, 1), &MemoryStore::new())
        .await
        .unwrap();
    let Worker {
        id,
        attempt_id,
        mut events,
        stop,
    } = worker;
    loop {
        let event = tokio::time::timeout(PATIENCE, events.recv())
            .await
            .expect("no sign of life")
            .unwrap();
        match event {
            WorkerEvent::Message(WorkerMessage::Progress(progress)) if progress.phase == Phase::Copying => {
                break;
            }
            WorkerEvent::Message(WorkerMessage::Progress(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(stop);
    let (sender, _) = tokio::sync::oneshot::channel();
    let mut worker = Worker {
        id,
        attempt_id,
        events,
        stop: sender,
    };
    let (_, how) = outcome(&mut worker).await;
    assert!(how.contains("exit status: 75"), "it ends by itself: {how}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_together() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(MemoryStore::new());
    store.put(shop(directory.path()));
    store.put(lake(directory.path()));
    let view: View = serde_json::from_value(json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "View", "metadata": {"name": "big-orders"},
        "spec": {"sql": "select id from shop.\"default\".orders where total > 10"},
    }))
    .unwrap();
    store.put(view);
    store.put(orders(json!({"runToken": "go"})));
    store.put(export(
        "big",
        json!({"from": {"query": "select id from views.big_orders"}, "allColumns": null, "runToken": "go"}),
    ));
    let resources: Arc<dyn ResourceStore> = Arc::clone(&store) as _;
    let federation = Federation::new(FederationOptions {
        threads: 1,
        ..FederationOptions::default()
    })
    .unwrap();
    let options = OperatorOptions::new(directory.path());
    let operator = Operator::new(Arc::clone(&resources), federation, Arc::new(launcher()), options);
    let (shutdown, told) = tokio::sync::oneshot::channel::<()>();
    let ended = tokio::spawn(operator.run(async {
        let _ = told.await;
    }));
    for (name, rows) in [("orders", 2), ("big", 2)] {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let last = loop {
            let entry = resources
                .of_kind::<Export>()
                .get(&Key::named(name))
                .await
                .unwrap()
                .unwrap();
            if let Some(last) = entry.status.and_then(|status| status.last_run) {
                break last;
            }
            assert!(tokio::time::Instant::now() < deadline, "{name} has no run");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        };
        assert_eq!(
            (last.outcome.as_str(), last.rows),
            ("Succeeded", Some(rows)),
            "{name}: {last:?}"
        );
    }
    let runs = resources
        .of_kind::<lakegate_crds::ExportRun>()
        .list()
        .await
        .unwrap();
    assert!(
        runs.iter()
            .all(|run| run.status.as_ref().unwrap().state() == RunState::Complete)
    );
    shutdown.send(()).unwrap();
    ended.await.unwrap();
}
