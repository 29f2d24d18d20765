//! Objects that are held, deleted and released.

use lakegate_crds::{DataSource, EXPORT_DATA_FINALIZER, Export, Kind};
use serde_json::{Value, json};

use super::{Home, Watch, data_source, get, of, source_status, wait_for, with};
use crate::{Entry, Key, StoreError};

fn export(name: &str) -> Value {
    json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "Export", "metadata": {"name": name},
        "spec": {
            "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "main", "name": "orders"}},
            "allColumns": {},
            "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "orders"},
            "deletionPolicy": "Delete",
        }
    })
}

fn finalizers(entry: &Entry<Export>) -> Vec<String> {
    let object = entry.object.as_ref().expect("a good version");
    object.metadata.finalizers.clone().unwrap_or_default()
}

pub(super) async fn what_is_held_stays_until_it_is_released(home: &mut dyn Home) {
    let store = home.store();
    let exports = of::<Export>(&store);
    home.apply(&export("orders")).await;
    let entry = wait_for::<Export>(&store, "orders", |_| true).await;
    let (key, uid) = (entry.key.clone(), entry.uid.clone());
    assert!(!entry.is_held && entry.deletion.is_none() && finalizers(&entry).is_empty());
    for _ in 0..2 {
        exports.hold(&key, &uid).await.expect("hold");
    }
    // Read your own write.
    let held = get::<Export>(&store, "orders").await.expect("there");
    assert!(held.is_held && held.deletion.is_none());
    assert_eq!(
        (finalizers(&held), held.generation),
        (vec![EXPORT_DATA_FINALIZER.to_owned()], entry.generation)
    );
    assert!(
        !exports.confirm_deletion(&key, &uid).await.expect("an answer"),
        "nobody asked for it"
    );
    // An edit leaves it held.
    home.apply(&with(export("orders"), "/spec/suspend", json!(true)))
        .await;
    let edited = wait_for::<Export>(&store, "orders", |entry| entry.generation > held.generation).await;
    assert!(edited.is_held && edited.uid == uid);

    let mut watch = Watch::<Export>::new(&store);
    watch.synced().await;
    home.remove(Kind::Export, &key).await;
    let leaving = watch.until(|entry| entry.deletion.is_some()).await;
    assert_eq!(leaving.uid, uid);
    let object = leaving.object.as_ref().expect("its last good version");
    assert!(object.metadata.deletion_timestamp.is_some() && object.spec.suspend == Some(true));
    assert_eq!(finalizers(&leaving), [EXPORT_DATA_FINALIZER]);
    assert!(exports.confirm_deletion(&key, &uid).await.expect("an answer"));
    // Who works on it says so.
    let mut status = lakegate_crds::ExportStatus {
        consecutive_failures: Some(3),
        ..Default::default()
    };
    exports
        .write_status(&key, &uid, status.clone())
        .await
        .expect("status");
    // One that is about to go cannot be held anew, one that is not there neither.
    for uid in [uid.as_str(), "another"] {
        let held = exports.hold(&key, uid).await;
        match held {
            Ok(()) => assert_eq!(uid, leaving.uid, "it is held already"),
            Err(error) => assert!(matches!(error, StoreError::Gone { .. }), "{error}"),
        }
    }
    exports.release(&key, "another").await.expect("no error");
    exports
        .release(&Key::named("missing"), &uid)
        .await
        .expect("no error");
    // The manifest comes back: that changes nothing any more.
    home.apply(&export("orders")).await;
    assert!(exports.confirm_deletion(&key, &uid).await.expect("an answer"));

    status.consecutive_failures = Some(4);
    exports.write_status(&key, &uid, status).await.expect("status");
    home.remove(Kind::Export, &key).await;
    for _ in 0..2 {
        exports.release(&key, &uid).await.expect("release");
    }
    assert!(get::<Export>(&store, "orders").await.is_none());
    assert_eq!(watch.until_deleted().await.uid, uid);
    assert!(!exports.confirm_deletion(&key, &uid).await.expect("an answer"));
    let error = exports.hold(&key, &uid).await.expect_err("it is gone");
    assert!(matches!(error, StoreError::Gone { .. }), "{error}");
    home.apply(&export("orders")).await;
    let next = wait_for::<Export>(&store, "orders", |_| true).await;
    assert!(next.uid != uid && !next.is_held && next.deletion.is_none() && next.status.is_none());
}

pub(super) async fn what_is_not_held_any_more_goes_at_once(home: &mut dyn Home) {
    let store = home.store();
    let exports = of::<Export>(&store);
    home.apply(&export("orders")).await;
    let entry = wait_for::<Export>(&store, "orders", |_| true).await;
    exports.hold(&entry.key, &entry.uid).await.expect("hold");
    exports.release(&entry.key, &entry.uid).await.expect("release");
    let released = get::<Export>(&store, "orders").await.expect("there");
    assert!(!released.is_held && finalizers(&released).is_empty() && released.uid == entry.uid);
    let mut watch = Watch::<Export>::new(&store);
    watch.synced().await;
    home.remove(Kind::Export, &entry.key).await;
    assert_eq!(watch.until_deleted().await.uid, entry.uid);
    assert!(get::<Export>(&store, "orders").await.is_none());
}

pub(super) async fn what_is_held_survives_restarts(home: &mut dyn Home) {
    let store = home.store();
    home.apply(&data_source("lake", "1.db")).await;
    home.apply(&export("orders")).await;
    let lake = wait_for::<DataSource>(&store, "lake", |_| true).await;
    let entry = wait_for::<Export>(&store, "orders", |_| true).await;
    let (key, uid) = (entry.key.clone(), entry.uid.clone());
    of::<DataSource>(&store)
        .hold(&lake.key, &lake.uid)
        .await
        .expect("hold");
    of::<Export>(&store).hold(&key, &uid).await.expect("hold");
    drop(store);
    if !home.restart().await {
        return;
    }
    let store = home.store();
    assert!(get::<Export>(&store, "orders").await.expect("there").is_held);
    home.remove(Kind::Export, &key).await;
    home.remove(Kind::DataSource, &lake.key).await;
    wait_for::<Export>(&store, "orders", |entry| entry.deletion.is_some()).await;
    let asked = wait_for::<DataSource>(&store, "lake", |entry| entry.deletion.is_some()).await;
    drop(store);
    home.restart().await;
    let store = home.store();
    let exports = of::<Export>(&store);
    let leaving = get::<Export>(&store, "orders").await.expect("there");
    assert!(leaving.is_held && leaving.deletion.is_some() && leaving.object.is_some() && leaving.uid == uid);
    assert!(exports.confirm_deletion(&key, &uid).await.expect("an answer"));
    let lake_after = get::<DataSource>(&store, "lake").await.expect("there");
    assert_eq!(
        (lake_after.deletion, super::path_of(&lake_after)),
        (asked.deletion, super::path_of(&asked))
    );
    of::<DataSource>(&store)
        .write_status(&lake.key, &lake.uid, source_status("kept"))
        .await
        .expect("status");
    drop(store);
    home.restart().await;
    let store = home.store();
    let exports = of::<Export>(&store);
    assert!(exports.confirm_deletion(&key, &uid).await.expect("an answer"));
    let kept = get::<DataSource>(&store, "lake").await.expect("there");
    assert_eq!(kept.status, Some(source_status("kept")));
    exports.release(&key, &uid).await.expect("release");
    of::<DataSource>(&store)
        .release(&lake.key, &lake.uid)
        .await
        .expect("release");
    drop(store);
    home.restart().await;
    let store = home.store();
    assert!(get::<Export>(&store, "orders").await.is_none());
    assert!(get::<DataSource>(&store, "lake").await.is_none());
}
