//! Objects that several hands write.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use lakegate_crds::conditions::{ConditionType, ConditionsMut, Reason};
use lakegate_crds::{Export, ExportRun, ExportRunStatus, ExportStatus, Kind, View};
use lakegate_store::{Created, Event, Key, Store, StoreError};
use serde_json::json;

use super::{apply, eventually, export, get, objects, open, run_of, shared, view, wait_for};

fn attempts(number: i64) -> ExportRunStatus {
    ExportRunStatus {
        attempts: Some(number),
        ..ExportRunStatus::default()
    }
}

fn seen(generation: i64) -> ExportStatus {
    let mut status = ExportStatus {
        observed_generation: Some(generation),
        ..ExportStatus::default()
    };
    let now = jiff::Timestamp::from_second(1_790_000_000).unwrap();
    let message = format!("generation {generation}");
    status.conditions.set(
        now,
        ConditionType::Ready,
        true,
        Reason::Scheduled,
        message,
        generation,
    );
    status
}

#[tokio::test]
async fn an_invalid_object_disturbs_no_other() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    apply(&client, &export(&namespace, "bad", "61 3 * * *")).await;
    apply(&client, &export(&namespace, "good", "0 3 * * *")).await;
    let store = open(client.clone(), &[&namespace]).await;
    let good = get::<Export>(&store, &namespace, "good").await.unwrap();
    assert!(good.object.is_some() && good.rejected.is_none());
    let bad = get::<Export>(&store, &namespace, "bad").await.unwrap();
    assert!(bad.object.is_none());
    let told = bad.rejected.as_ref().unwrap().to_string();
    assert!(
        told.starts_with("generation 1: spec.schedule.cron: \"61 3 * * *\" is not a cron expression"),
        "{told}"
    );
    // What is wrong can be said, and by whoever reads the object.
    Store::<Export>::write_status(&*store, &bad.key, &bad.uid, seen(bad.generation))
        .await
        .unwrap();
    let stored = objects(&client, Kind::Export, &namespace)
        .get("bad")
        .await
        .unwrap();
    assert_eq!(stored.data["status"]["observedGeneration"], 1);

    // The repair, and a new mistake, after which the repaired version stays in force.
    apply(&client, &export(&namespace, "bad", "30 3 * * *")).await;
    let repaired = wait_for::<Export>(&store, &namespace, "bad", |entry| entry.rejected.is_none()).await;
    assert_eq!(repaired.status, Some(seen(1)));
    apply(&client, &export(&namespace, "bad", "30 25 * * *")).await;
    let broken = wait_for::<Export>(&store, &namespace, "bad", |entry| entry.rejected.is_some()).await;
    let object = broken.object.unwrap();
    assert_eq!(object.spec.schedule.as_ref().unwrap().cron, "30 3 * * *");
    // The number of the newest edit, so that a status that names it is one of today; the good version has its own.
    assert_eq!((broken.generation, object.metadata.generation), (3, Some(2)));
    // Another process never saw the good version.
    let other = open(client, &[&namespace]).await;
    let entry = get::<Export>(&other, &namespace, "bad").await.unwrap();
    assert!(entry.object.is_none() && entry.rejected == broken.rejected && entry.status == Some(seen(1)));
}

#[tokio::test]
async fn two_processes_see_the_same() {
    let namespace = shared().namespace().await;
    let one = open(shared().client().await, &[&namespace]).await;
    let two = open(shared().client().await, &[&namespace]).await;
    let created = Store::<ExportRun>::create(&*one, run_of(&namespace, "r"))
        .await
        .unwrap();
    assert!(created.is_new());
    let entry = created.into_entry();
    // The other may not have heard of it: the name is taken all the same.
    let again = Store::<ExportRun>::create(&*two, run_of(&namespace, "r"))
        .await
        .unwrap();
    assert!(matches!(&again, Created::Already(there) if there.uid == entry.uid));
    Store::<ExportRun>::write_status(&*one, &entry.key, &entry.uid, attempts(1))
        .await
        .unwrap();
    wait_for::<ExportRun>(&two, &namespace, "r", |entry| entry.status == Some(attempts(1))).await;
    Store::<ExportRun>::write_status(&*two, &entry.key, &entry.uid, attempts(2))
        .await
        .unwrap();
    wait_for::<ExportRun>(&one, &namespace, "r", |entry| entry.status == Some(attempts(2))).await;
    let mut watch = Store::<ExportRun>::watch(&*one);
    Store::<ExportRun>::delete(&*two, &entry.key, &entry.uid)
        .await
        .unwrap();
    assert!(get::<ExportRun>(&two, &namespace, "r").await.is_none());
    crate::until(&mut watch, |event| matches!(event, Event::Deleted(_))).await;
    // By whatever way the first hears of it, it writes to none that came after.
    let replacement = Store::<ExportRun>::create(&*two, run_of(&namespace, "r"))
        .await
        .unwrap();
    assert!(replacement.is_new());
    let error = Store::<ExportRun>::write_status(&*one, &entry.key, &entry.uid, attempts(9))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Gone { .. }), "{error}");
    Store::<ExportRun>::delete(&*one, &entry.key, &entry.uid)
        .await
        .unwrap();
    wait_for::<ExportRun>(&one, &namespace, "r", |entry| {
        entry.uid == replacement.entry().uid
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_and_statuses_do_not_lose_each_other() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    apply(&client, &export(&namespace, "orders", "0 3 * * *")).await;
    let store = open(client.clone(), &[&namespace]).await;
    let entry = get::<Export>(&store, &namespace, "orders").await.unwrap();
    let edits = async {
        for minute in 1..=25 {
            apply(
                &client,
                &export(&namespace, "orders", &format!("{minute} 3 * * *")),
            )
            .await;
        }
    };
    let statuses = async {
        for generation in 1..=25 {
            Store::<Export>::write_status(&*store, &entry.key, &entry.uid, seen(generation))
                .await
                .unwrap();
        }
    };
    tokio::join!(edits, statuses);
    let last = wait_for::<Export>(&store, &namespace, "orders", |entry| entry.generation == 26).await;
    assert_eq!(last.status, Some(seen(25)));
    let spec = &last.object.unwrap().spec;
    assert_eq!(spec.schedule.as_ref().unwrap().cron, "25 3 * * *");
    // Each owns its own part, so a tool that compares the spec sees no difference.
    let stored = objects(&client, Kind::Export, &namespace)
        .get("orders")
        .await
        .unwrap();
    let owners: BTreeMap<_, _> = stored
        .metadata
        .managed_fields
        .unwrap()
        .into_iter()
        .map(|it| {
            let fields = serde_json::to_value(it.fields_v1.unwrap()).unwrap();
            (it.manager.unwrap(), fields)
        })
        .collect();
    assert!(owners["lakegate/status"].get("f:spec").is_none());
    assert!(owners["user"].get("f:status").is_none());
    assert_eq!(owners.len(), 2, "{owners:?}");
}

#[tokio::test]
async fn a_status_loses_what_is_not_written_again() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let store = open(client.clone(), &[&namespace]).await;
    let entry = Store::<ExportRun>::create(&*store, run_of(&namespace, "r"))
        .await
        .unwrap()
        .into_entry();
    let mut full = attempts(1);
    full.observed_generation = Some(1);
    full.conditions = seen(1).conditions;
    Store::<ExportRun>::write_status(&*store, &entry.key, &entry.uid, full)
        .await
        .unwrap();
    Store::<ExportRun>::write_status(&*store, &entry.key, &entry.uid, attempts(2))
        .await
        .unwrap();
    let stored = objects(&client, Kind::ExportRun, &namespace)
        .get("r")
        .await
        .unwrap();
    assert_eq!(stored.data["status"]["attempts"], 2);
    assert!(
        stored.data["status"].get("conditions").is_none(),
        "{}",
        stored.data["status"]
    );
    // One more time is no write at all.
    Store::<ExportRun>::write_status(&*store, &entry.key, &entry.uid, attempts(2))
        .await
        .unwrap();
    let again = objects(&client, Kind::ExportRun, &namespace)
        .get("r")
        .await
        .unwrap();
    assert_eq!(again.metadata.resource_version, stored.metadata.resource_version);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_writes_are_read_at_once_and_never_taken_back() {
    let namespace = shared().namespace().await;
    let store = open(shared().client().await, &[&namespace]).await;
    let mut watch = Store::<ExportRun>::watch(&*store);
    let tasks = (0..4).map(|task| {
        let (store, namespace) = (store.clone(), namespace.clone());
        tokio::spawn(async move {
            for round in 0..12 {
                let name = format!("r-{task}");
                let entry = Store::<ExportRun>::create(&*store, run_of(&namespace, &name))
                    .await
                    .unwrap();
                assert!(entry.is_new(), "{name} was there in round {round}");
                let entry = entry.into_entry();
                for number in 1..=3 {
                    Store::<ExportRun>::write_status(&*store, &entry.key, &entry.uid, attempts(number))
                        .await
                        .unwrap();
                    let known = get::<ExportRun>(&store, &namespace, &name).await.unwrap();
                    assert_eq!(
                        (known.uid.as_str(), known.status),
                        (entry.uid.as_str(), Some(attempts(number)))
                    );
                }
                Store::<ExportRun>::delete(&*store, &entry.key, &entry.uid)
                    .await
                    .unwrap();
                assert!(get::<ExportRun>(&store, &namespace, &name).await.is_none());
            }
        })
    });
    futures::future::join_all(tasks)
        .await
        .into_iter()
        .for_each(|task| task.unwrap());
    let mark = Store::<ExportRun>::create(&*store, run_of(&namespace, "mark"))
        .await
        .unwrap();
    let events = crate::until(
        &mut watch,
        |event| matches!(event, Event::Applied(entry) if entry.uid == mark.entry().uid),
    )
    .await;
    // Of each object the numbers rise, and after its end there is nothing.
    let mut states: BTreeMap<String, Option<i64>> = BTreeMap::new();
    for event in events {
        match event {
            Event::Applied(entry) => {
                let number = entry.status.and_then(|status| status.attempts).unwrap_or(0);
                let before = states.insert(entry.uid, Some(number));
                assert!(before.is_none_or(|before| before.is_some_and(|before| before <= number)));
            }
            Event::Deleted(entry) => drop(states.insert(entry.uid, None)),
            Event::Synced => {}
        }
    }
    eventually("the watch has told all ends", async || {
        while let Some(Some(Event::Deleted(_))) = watch.next().now_or_never() {}
        Store::<ExportRun>::list(&*store).await.unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn an_object_that_waits_for_a_finalizer_is_gone_when_it_is() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let store = open(client.clone(), &[&namespace]).await;
    let mut manifest = view(&namespace, "daily", "select 1");
    manifest["metadata"]["finalizers"] = json!(["example.com/hold"]);
    apply(&client, &manifest).await;
    let entry = wait_for::<View>(&store, &namespace, "daily", |_| true).await;
    let mut watch = Store::<View>::watch(&*store);
    // It neither hangs nor claims what is not so.
    Store::<View>::delete(&*store, &entry.key, &entry.uid)
        .await
        .unwrap();
    let leaving = get::<View>(&store, &namespace, "daily").await.unwrap();
    assert!(leaving.object.unwrap().metadata.deletion_timestamp.is_some());
    let release = json!({"metadata": {"finalizers": null}});
    objects(&client, Kind::View, &namespace)
        .patch("daily", &PatchParams::default(), &Patch::Merge(&release))
        .await
        .unwrap();
    crate::until(&mut watch, |event| matches!(event, Event::Deleted(_))).await;
    assert!(get::<View>(&store, &namespace, "daily").await.is_none());
}

#[tokio::test]
async fn only_its_namespaces_are_served() {
    let client = shared().client().await;
    let (served, other) = (shared().namespace().await, shared().namespace().await);
    let store = open(client.clone(), &[&served]).await;
    apply(&client, &view(&other, "elsewhere", "select 1")).await;
    apply(&client, &view(&served, "here", "select 1")).await;
    wait_for::<View>(&store, &served, "here", |_| true).await;
    assert_eq!(Store::<View>::list(&*store).await.unwrap().len(), 1);
    let error = Store::<ExportRun>::create(&*store, run_of(&other, "r"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains(&format!("--namespace {other}")),
        "{error}"
    );
}

#[tokio::test]
async fn a_run_belongs_to_its_export() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let created = apply(&client, &export(&namespace, "orders", "0 3 * * *")).await;
    let store = open(client, &[&namespace]).await;
    let mut run: ExportRun = run_of(&namespace, "r");
    run.spec.export_uid = created.metadata.uid.clone();
    let entry = Store::<ExportRun>::create(&*store, run)
        .await
        .unwrap()
        .into_entry();
    let owners = entry.object.unwrap().metadata.owner_references.clone().unwrap();
    assert_eq!(
        (
            owners[0].kind.as_str(),
            owners[0].name.as_str(),
            Some(&owners[0].uid)
        ),
        ("Export", "orders", created.metadata.uid.as_ref())
    );
}

#[tokio::test]
async fn a_namespace_that_is_deleted_takes_no_new_run() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let store = open(client.clone(), &[&namespace]).await;
    kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(client)
        .delete(&namespace, &DeleteParams::default())
        .await
        .unwrap();
    let error = Store::<ExportRun>::create(&*store, run_of(&namespace, "r"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, StoreError::NamespaceTerminating { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_with_the_field() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let store = open(client.clone(), &[&namespace]).await;
    let created = objects(&client, Kind::ExportRun, &namespace)
        .create(
            &PostParams::default(),
            &serde_json::from_value(serde_json::to_value(run_of::<ExportRun>(&namespace, "r")).unwrap())
                .unwrap(),
        )
        .await
        .unwrap();
    wait_for::<ExportRun>(&store, &namespace, "r", |_| true).await;
    let mut status = attempts(1);
    status.conditions = seen(1).conditions;
    // Longer than a condition's message may be.
    status.conditions[0].message = "x".repeat(40_000);
    let key = Key::new(&namespace, "r");
    let written =
        Store::<ExportRun>::write_status(&*store, &key, &created.metadata.uid.unwrap(), status).await;
    if let Err(error) = written {
        assert!(
            matches!(&error, StoreError::Invalid { problems, .. } if problems[0].field.contains("conditions")),
            "{error}"
        );
    }
}
