//! A thousand Exports with five runs each. Long: `make full` runs it.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use kube::api::PostParams;
use lakegate_crds::{Export, ExportRun, ExportRunStatus, Kind};
use lakegate_store::{Event, Store};
use serde_json::{Value, json};

use super::{apply, exclusive, export, objects, open};

const EXPORTS: usize = 1_000;

const RUNS_EACH: usize = 5;

/// Writers at the same time.
const HANDS: usize = 8;

/// MiB of memory that this process has.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4 / 1024
}

fn run(namespace: &str, export: usize, number: usize, resolved: &Value) -> Value {
    json!({
        "apiVersion": lakegate_crds::API_VERSION, "kind": "ExportRun",
        "metadata": {"name": format!("export-{export}-{number}"), "namespace": namespace},
        "spec": {"exportRef": {"name": format!("export-{export}")}, "exportGeneration": 1, "resolved": resolved}
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: part of `make full`"]
async fn thousands_of_objects_are_followed_at_little_cost() {
    let cluster = exclusive().await;
    let client = cluster.client().await;
    let namespace = cluster.namespace().await;
    let manifests = (0..EXPORTS).flat_map(|number| {
        let manifest = export(&namespace, &format!("export-{number}"), "0 3 * * *");
        let runs: Vec<_> = (0..RUNS_EACH)
            .map(|run_number| run(&namespace, number, run_number, &manifest["spec"]))
            .collect();
        std::iter::once(manifest).chain(runs)
    });
    stream::iter(manifests)
        .for_each_concurrent(HANDS, |manifest| {
            let kind: Kind = manifest["kind"].as_str().unwrap().parse().unwrap();
            let api = objects(&client, kind, &namespace);
            async move {
                let object = serde_json::from_value(manifest).unwrap();
                api.create(&PostParams::default(), &object).await.unwrap();
            }
        })
        .await;

    let before = resident();
    let began = Instant::now();
    let store = open(client.clone(), &[&namespace]).await;
    let opened = began.elapsed();
    assert_eq!(Store::<Export>::list(&*store).await.unwrap().len(), EXPORTS);
    let runs = Store::<ExportRun>::list(&*store).await.unwrap();
    assert_eq!(runs.len(), EXPORTS * RUNS_EACH);
    let taken = resident().saturating_sub(before);

    let mut waits = Vec::new();
    let mut events = Store::<Export>::watch(&*store);
    crate::until(&mut events, |event| matches!(event, Event::Synced)).await;
    for number in 0..100 {
        let name = format!("export-{}", number * 7 % EXPORTS);
        let began = Instant::now();
        apply(
            &client,
            &export(&namespace, &name, &format!("{} 4 * * *", number % 60)),
        )
        .await;
        crate::until(
            &mut events,
            |event| matches!(event, Event::Applied(entry) if entry.key.name == name && entry.generation == 2),
        )
        .await;
        waits.push(began.elapsed());
    }
    waits.sort();
    let began = Instant::now();
    for (number, entry) in runs.iter().take(200).enumerate() {
        let status = ExportRunStatus {
            attempts: Some(i64::try_from(number).unwrap()),
            ..ExportRunStatus::default()
        };
        Store::<ExportRun>::write_status(&*store, &entry.key, &entry.uid, status)
            .await
            .unwrap();
    }
    let status = began.elapsed() / 200;
    println!(
        "opened in {opened:?}, {taken} MiB; a change is seen after {:?} (p50), {:?} (p99); a status takes {status:?}",
        waits[50], waits[98]
    );
    assert!(taken < 100, "{taken} MiB");
    assert!(waits[98] < Duration::from_secs(1), "{:?}", waits[98]);
}
