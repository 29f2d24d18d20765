//! Objects and statuses as Lakegate writes them.

use std::sync::Arc;

use futures::future::join_all;
use lakegate_crds::{DataSource, ExportRun};
use serde_json::json;

use super::{Home, Watch, data_source, get, of, path_of, run_of, run_status, source_status, wait_for, with};
use crate::{Created, Key, StoreError};

pub(super) async fn a_create_is_new_once(home: &mut dyn Home) {
    let store = home.store();
    let runs = of::<ExportRun>(&store);
    let mut watch = Watch::<ExportRun>::new(&store);
    watch.synced().await;
    let mut object = run_of("r", "orders");
    object.metadata.uid = Some("mine".to_owned());
    object.metadata.labels = Some([("lakegate.dev/export".to_owned(), "orders".to_owned())].into());
    object.status = Some(run_status("not mine to write"));
    let Created::New(entry) = runs.create(object).await.expect("create") else {
        panic!("the name was free")
    };
    let created = entry.object.as_ref().expect("an object");
    assert_ne!(entry.uid, "mine");
    assert!(entry.status.is_none() && created.status.is_none());
    assert_eq!((entry.generation, created.metadata.generation), (1, Some(1)));
    assert!(created.metadata.creation_timestamp.is_some() && created.metadata.labels.is_some());
    assert_eq!(watch.applied().await.uid, entry.uid);
    // Read your own write.
    assert_eq!(get::<ExportRun>(&store, "r").await.expect("there").uid, entry.uid);
    let Created::Already(existing) = runs.create(run_of("r", "another")).await.expect("create") else {
        panic!("the name was taken")
    };
    assert_eq!(existing.uid, entry.uid);
    let reference = existing
        .object
        .as_ref()
        .and_then(|run| run.spec.export_ref.clone())
        .expect("a reference");
    assert_eq!(reference.name, "orders");
}

pub(super) async fn one_of_many_creates_is_new(home: &mut dyn Home) {
    let store = home.store();
    let tasks = (0..16).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            of::<ExportRun>(&store)
                .create(run_of("r", &format!("e{number}")))
                .await
        })
    });
    let created: Vec<_> = join_all(tasks)
        .await
        .into_iter()
        .map(|created| created.expect("task").expect("create"))
        .collect();
    assert_eq!(created.iter().filter(|created| created.is_new()).count(), 1);
    assert!(
        created
            .iter()
            .all(|each| each.entry().uid == created[0].entry().uid)
    );
}

pub(super) async fn an_invalid_create_is_refused(home: &mut dyn Home) {
    let store = home.store();
    let mut nothing = run_of("r", "orders");
    nothing.spec.export_ref = None;
    let mut nameless = run_of("r", "orders");
    nameless.metadata.name = None;
    for object in [nothing, nameless] {
        let error = of::<ExportRun>(&store).create(object).await.expect_err("invalid");
        assert!(
            matches!(&error, StoreError::Invalid { problems, .. } if !problems.is_empty()),
            "{error}"
        );
    }
    assert!(of::<ExportRun>(&store).list().await.expect("list").is_empty());
}

pub(super) async fn a_status_is_kept_apart(home: &mut dyn Home) {
    let store = home.store();
    home.apply(&data_source("a", "1.db")).await;
    let entry = wait_for::<DataSource>(&store, "a", |_| true).await;
    assert!(entry.status.is_none());
    let status = source_status("reachable");
    of::<DataSource>(&store)
        .write_status(&entry.key, &entry.uid, status.clone())
        .await
        .expect("status");
    let written = get::<DataSource>(&store, "a").await.expect("there");
    assert_eq!(written.status.as_ref(), Some(&status));
    assert_eq!(
        written.object.as_ref().and_then(|object| object.status.as_ref()),
        Some(&status)
    );
    assert_eq!((written.generation, path_of(&written)), (1, path_of(&entry)));
    // An edit leaves the status as it is.
    home.apply(&data_source("a", "2.db")).await;
    let edited = wait_for::<DataSource>(&store, "a", |entry| path_of(entry).as_deref() == Some("2.db")).await;
    assert_eq!(edited.status.as_ref(), Some(&status));
    // A status in a manifest is not a status.
    home.apply(&with(
        data_source("a", "3.db"),
        "/status",
        json!({"observedGeneration": 99}),
    ))
    .await;
    home.apply(&data_source("other", "3.db")).await;
    wait_for::<DataSource>(&store, "other", |_| true).await;
    assert_eq!(
        get::<DataSource>(&store, "a")
            .await
            .expect("there")
            .status
            .as_ref(),
        Some(&status)
    );
}

pub(super) async fn an_equal_status_is_not_news(home: &mut dyn Home) {
    let store = home.store();
    let runs = of::<ExportRun>(&store);
    let entry = runs
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    let mut watch = Watch::<ExportRun>::new(&store);
    watch.synced().await;
    for _ in 0..3 {
        runs.write_status(&entry.key, &entry.uid, run_status("one"))
            .await
            .expect("status");
    }
    runs.write_status(&entry.key, &entry.uid, run_status("two"))
        .await
        .expect("status");
    let mut messages = Vec::new();
    while messages.last().map(String::as_str) != Some("two") {
        let status = watch.applied().await.status.expect("a status");
        messages.push(status.conditions[0].message.clone());
    }
    messages.retain(|message| message == "one");
    assert!(
        messages.len() <= 1,
        "the same status came {} times",
        messages.len()
    );
    // And from now on nothing.
    runs.write_status(&entry.key, &entry.uid, run_status("two"))
        .await
        .expect("status");
    runs.create(run_of("next", "orders")).await.expect("create");
    watch.is_quiet_until(|entry| entry.key.name == "next").await;
}

pub(super) async fn a_status_of_another_object_is_refused(home: &mut dyn Home) {
    let store = home.store();
    let runs = of::<ExportRun>(&store);
    let entry = runs
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    for (name, uid) in [("r", "another"), ("missing", entry.uid.as_str())] {
        let error = runs
            .write_status(&Key::named(name), uid, run_status("x"))
            .await
            .expect_err("not there");
        assert!(matches!(error, StoreError::Gone { .. }), "{error}");
    }
    assert!(
        get::<ExportRun>(&store, "r")
            .await
            .expect("there")
            .status
            .is_none()
    );
}

pub(super) async fn a_delete_is_idempotent(home: &mut dyn Home) {
    let store = home.store();
    let runs = of::<ExportRun>(&store);
    let entry = runs
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    runs.delete(&entry.key, "another").await.expect("no error");
    runs.delete(&Key::named("missing"), &entry.uid)
        .await
        .expect("no error");
    assert!(get::<ExportRun>(&store, "r").await.is_some());
    for _ in 0..2 {
        runs.delete(&entry.key, &entry.uid).await.expect("no error");
        assert!(get::<ExportRun>(&store, "r").await.is_none());
    }
    let error = runs
        .write_status(&entry.key, &entry.uid, run_status("x"))
        .await
        .expect_err("gone");
    assert!(matches!(error, StoreError::Gone { .. }), "{error}");
}

pub(super) async fn a_name_used_again_is_another_object(home: &mut dyn Home) {
    let store = home.store();
    let runs = of::<ExportRun>(&store);
    let mut slow = Watch::<ExportRun>::new(&store);
    slow.synced().await;
    let first = runs
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    assert_eq!(slow.applied().await.uid, first.uid);
    runs.delete(&first.key, &first.uid).await.expect("delete");
    let second = runs
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    assert_ne!(first.uid, second.uid);
    assert_eq!(slow.deleted().await.uid, first.uid);
    assert_eq!(slow.applied().await.uid, second.uid);
    runs.delete(&first.key, &first.uid).await.expect("no error");
    assert_eq!(
        get::<ExportRun>(&store, "r").await.expect("there").uid,
        second.uid
    );
}
