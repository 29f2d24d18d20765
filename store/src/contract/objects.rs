//! Objects as the world outside changes them.

use lakegate_crds::{DataSource, Export, ExportRun, ExportRunStatus, Kind, RetentionPolicy, View};
use serde_json::json;

use super::{Home, Watch, data_source, get, of, path_of, run_of, view, wait_for, with};
use crate::{Entry, Key};

pub(super) async fn watch_begins_with_what_is_there(home: &mut dyn Home) {
    let store = home.store();
    assert!(Watch::<DataSource>::new(&store).synced().await.is_empty());
    home.apply(&data_source("b", "b.db")).await;
    home.apply(&data_source("a", "a.db")).await;
    wait_for::<DataSource>(&store, "a", |_| true).await;
    wait_for::<DataSource>(&store, "b", |_| true).await;
    let entries = Watch::<DataSource>::new(&store).synced().await;
    let listed = of::<DataSource>(&store).list().await.expect("list");
    for entries in [entries, listed] {
        assert_eq!(
            entries
                .iter()
                .map(|entry| entry.key.name.as_str())
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
        for entry in entries {
            let object = entry.object.as_ref().expect("a good version");
            assert_eq!(object.metadata.uid.as_ref(), Some(&entry.uid));
            assert_eq!(object.metadata.namespace.as_deref(), Some("default"));
            assert_eq!(object.metadata.generation, Some(entry.generation));
            assert!(object.metadata.creation_timestamp.is_some());
            assert!(entry.rejected.is_none() && entry.generation == 1 && !entry.uid.is_empty());
        }
    }
}

pub(super) async fn watch_tells_every_change(home: &mut dyn Home) {
    let store = home.store();
    let mut watch = Watch::<DataSource>::new(&store);
    assert!(watch.synced().await.is_empty());
    home.apply(&data_source("a", "1.db")).await;
    let first = watch
        .until(|entry| path_of(entry).as_deref() == Some("1.db"))
        .await;
    home.apply(&data_source("a", "2.db")).await;
    let second = watch
        .until(|entry| path_of(entry).as_deref() == Some("2.db"))
        .await;
    assert_eq!(first.uid, second.uid);
    home.remove(Kind::DataSource, &Key::named("a")).await;
    let gone = watch.deleted().await;
    assert_eq!(
        (gone.uid.as_str(), path_of(&gone).as_deref()),
        (first.uid.as_str(), Some("2.db"))
    );
    assert!(get::<DataSource>(&store, "a").await.is_none());
}

pub(super) async fn a_slow_watch_sees_the_last_state(home: &mut dyn Home) {
    let store = home.store();
    let mut slow = Watch::<ExportRun>::new(&store);
    slow.synced().await;
    let created = of::<ExportRun>(&store)
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    for attempt in 1..=200 {
        let status = ExportRunStatus {
            attempts: Some(attempt),
            ..ExportRunStatus::default()
        };
        of::<ExportRun>(&store)
            .write_status(&created.key, &created.uid, status)
            .await
            .expect("status");
    }
    let mut events = 0;
    loop {
        events += 1;
        assert!(events <= 201, "more events than changes");
        if slow
            .applied()
            .await
            .status
            .is_some_and(|status| status.attempts == Some(200))
        {
            break;
        }
    }
    of::<ExportRun>(&store)
        .delete(&created.key, &created.uid)
        .await
        .expect("delete");
    assert_eq!(slow.deleted().await.uid, created.uid);
}

pub(super) async fn many_watches_see_the_same(home: &mut dyn Home) {
    let store = home.store();
    // One that nobody reads, and one that is dropped, disturb nobody.
    let _unread = Watch::<View>::new(&store);
    drop(Watch::<View>::new(&store));
    let mut watches: Vec<_> = (0..3).map(|_| Watch::<View>::new(&store)).collect();
    home.apply(&view("v", "select 1")).await;
    let mut uids = Vec::new();
    for watch in &mut watches {
        uids.push(watch.until(|entry| entry.object.is_some()).await.uid);
    }
    uids.dedup();
    assert_eq!(uids.len(), 1);
}

pub(super) async fn kinds_and_namespaces_are_apart(home: &mut dyn Home) {
    let store = home.store();
    home.apply(&data_source("same", "a.db")).await;
    home.apply(&view("same", "select 1")).await;
    home.apply(&with(
        data_source("same", "b.db"),
        "/metadata/namespace",
        json!("team"),
    ))
    .await;
    wait_for::<View>(&store, "same", |_| true).await;
    let other = Key::new("team", "same");
    Watch::<DataSource>::new(&store)
        .until(|entry| entry.key == other)
        .await;
    let here = wait_for::<DataSource>(&store, "same", |_| true).await;
    let there = of::<DataSource>(&store)
        .get(&other)
        .await
        .expect("get")
        .expect("there");
    assert_eq!(
        (path_of(&here).as_deref(), path_of(&there).as_deref()),
        (Some("a.db"), Some("b.db"))
    );
    assert_ne!(here.uid, there.uid);
    assert_eq!(of::<DataSource>(&store).list().await.expect("list").len(), 2);
    assert_eq!(of::<View>(&store).list().await.expect("list").len(), 1);
    assert!(of::<Export>(&store).list().await.expect("list").is_empty());
    assert!(
        of::<RetentionPolicy>(&store)
            .list()
            .await
            .expect("list")
            .is_empty()
    );
}

pub(super) async fn identity_is_stable_and_generation_follows_the_spec(home: &mut dyn Home) {
    let store = home.store();
    home.apply(&data_source("a", "1.db")).await;
    let first = wait_for::<DataSource>(&store, "a", |_| true).await;
    // Metadata only: news, but the same generation.
    let labelled = with(
        data_source("a", "1.db"),
        "/metadata/labels",
        json!({"team": "data"}),
    );
    home.apply(&labelled).await;
    let second = wait_for::<DataSource>(&store, "a", |entry| {
        entry
            .object
            .as_ref()
            .is_some_and(|object| object.metadata.labels.is_some())
    })
    .await;
    assert_eq!((&second.uid, second.generation), (&first.uid, 1));
    home.apply(&with(labelled, "/spec/sqlite/path", json!("2.db")))
        .await;
    let third = wait_for::<DataSource>(&store, "a", |entry| path_of(entry).as_deref() == Some("2.db")).await;
    assert_eq!((&third.uid, third.generation), (&first.uid, 2));
    let created = |entry: &Entry<DataSource>| {
        entry
            .object
            .as_ref()
            .map(|it| it.metadata.creation_timestamp.clone())
    };
    assert_eq!(created(&third), created(&first));
}

pub(super) async fn an_invalid_edit_changes_nothing(home: &mut dyn Home) {
    let store = home.store();
    home.apply(&data_source("a", "1.db")).await;
    let good = wait_for::<DataSource>(&store, "a", |_| true).await;
    home.apply(&with(data_source("a", "2.db"), "/spec/noSuchField", json!(1)))
        .await;
    home.apply(&data_source("other", "3.db")).await;
    // In order: when this one is known, the edit before it was seen.
    wait_for::<DataSource>(&store, "other", |_| true).await;
    let kept = get::<DataSource>(&store, "a").await.expect("still there");
    assert_eq!(path_of(&kept).as_deref(), Some("1.db"));
    assert_eq!((&kept.uid, kept.generation), (&good.uid, 1));
    home.apply(&data_source("a", "4.db")).await;
    let fixed = wait_for::<DataSource>(&store, "a", |entry| path_of(entry).as_deref() == Some("4.db")).await;
    assert!(fixed.rejected.is_none() && fixed.uid == good.uid && fixed.generation == 2);
}

pub(super) async fn an_immutable_field_stays(home: &mut dyn Home) {
    let store = home.store();
    let named = |name: &str| with(data_source("a", "1.db"), "/spec/catalogName", json!(name));
    home.apply(&named("first")).await;
    wait_for::<DataSource>(&store, "a", |_| true).await;
    home.apply(&named("second")).await;
    home.apply(&data_source("other", "3.db")).await;
    wait_for::<DataSource>(&store, "other", |_| true).await;
    let kept = get::<DataSource>(&store, "a")
        .await
        .and_then(|entry| entry.object)
        .expect("still there");
    assert_eq!(kept.spec.catalog_name.as_deref(), Some("first"));
}
