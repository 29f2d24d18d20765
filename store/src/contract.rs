//! The suite that every home passes, so that the code above may not care which one it has.
//!
//! A home's tests implement [`Home`] and call [`run`]. A check that fails panics with what it saw.

// A test suite that other crates' tests call: a failed check is a panic, as in any test.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, future::join_all, stream::BoxStream};
use jiff::{SignedDuration, Timestamp};
use lakegate_crds::conditions::{ConditionType, ConditionsMut, Reason};
use lakegate_crds::{
    DataSource, DataSourceStatus, Export, ExportRun, ExportRunStatus, Kind, LakegateResource,
    RetentionPolicy, View,
};
use serde_json::{Value, json};

use crate::{
    Created, Entry, Event, Key, NOTICES_KEPT, Notice, NoticeType, ResourceStore, SecretError, Secrets, Store,
    StoreError, StoreOf,
};

/// How long a check waits for something that must come. Only a failing check waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A home and the ways in which the world outside changes it.
#[async_trait]
pub trait Home: Send + Sync {
    fn store(&self) -> Arc<dyn ResourceStore>;

    /// Does what a user does: writes a manifest, or applies it to an API server. An invalid one is refused, now
    /// or when it is read.
    async fn apply(&mut self, manifest: &Value);

    /// Removes what [`Home::apply`] applied.
    async fn remove(&mut self, kind: Kind, key: &Key);

    async fn put_secret(&mut self, namespace: &str, name: &str, key: &str, value: &str);

    /// Ends the process and begins another. `false`: the home keeps nothing, there is nothing to check.
    async fn restart(&mut self) -> bool;
}

/// Runs every check, each in a home of its own.
pub async fn run<H: Home, F: Future<Output = H>>(make: impl Fn() -> F) {
    watch_begins_with_what_is_there(&mut make().await).await;
    watch_tells_every_change(&mut make().await).await;
    a_slow_watch_sees_the_last_state(&mut make().await).await;
    many_watches_see_the_same(&mut make().await).await;
    kinds_and_namespaces_are_apart(&mut make().await).await;
    identity_is_stable_and_generation_follows_the_spec(&mut make().await).await;
    an_invalid_edit_changes_nothing(&mut make().await).await;
    an_immutable_field_stays(&mut make().await).await;
    a_create_is_new_once(&mut make().await).await;
    one_of_many_creates_is_new(&mut make().await).await;
    an_invalid_create_is_refused(&mut make().await).await;
    a_status_is_kept_apart(&mut make().await).await;
    an_equal_status_is_not_news(&mut make().await).await;
    a_status_of_another_object_is_refused(&mut make().await).await;
    a_delete_is_idempotent(&mut make().await).await;
    a_name_used_again_is_another_object(&mut make().await).await;
    secrets_are_found_by_name_and_key(&mut make().await).await;
    no_secret_reaches_a_status_or_a_notice(&mut make().await).await;
    notices_are_counted(&mut make().await).await;
    notices_are_bounded(&mut make().await).await;
    everything_acknowledged_survives_a_restart(&mut make().await).await;
}

fn data_source(name: &str, path: &str) -> Value {
    json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "DataSource",
        "metadata": {"name": name}, "spec": {"sqlite": {"path": path}}
    })
}

fn view(name: &str, sql: &str) -> Value {
    json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "View", "metadata": {"name": name}, "spec": {"sql": sql}
    })
}

fn run_of(name: &str, export: &str) -> ExportRun {
    serde_json::from_value(json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun",
        "metadata": {"name": name}, "spec": {"exportRef": {"name": export}}
    }))
    .expect("the manifest of a run")
}

fn run_status(message: &str) -> ExportRunStatus {
    let mut status = ExportRunStatus {
        attempts: Some(1),
        ..ExportRunStatus::default()
    };
    status.conditions.set(
        second(7),
        ConditionType::Ready,
        true,
        Reason::Scheduled,
        message,
        1,
    );
    status
}

fn source_status(message: &str) -> DataSourceStatus {
    let mut status = DataSourceStatus {
        observed_generation: Some(1),
        ..DataSourceStatus::default()
    };
    status.conditions.set(
        second(7),
        ConditionType::Ready,
        true,
        Reason::Scheduled,
        message,
        1,
    );
    status
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("a time")
}

fn with(mut manifest: Value, pointer: &str, value: Value) -> Value {
    let (parent, last) = pointer.rsplit_once('/').expect("a pointer");
    manifest.pointer_mut(parent).expect("the parent")[last] = value;
    manifest
}

/// The store of one kind.
fn of<K: LakegateResource>(store: &Arc<dyn ResourceStore>) -> &dyn Store<K>
where
    dyn ResourceStore: StoreOf<K>,
{
    StoreOf::<K>::of(&**store)
}

struct Watch<K: LakegateResource>(BoxStream<'static, Event<K>>);

impl<K: LakegateResource> Watch<K>
where
    dyn ResourceStore: StoreOf<K>,
{
    fn new(store: &Arc<dyn ResourceStore>) -> Self {
        Self(of::<K>(store).watch())
    }

    async fn next(&mut self) -> Event<K> {
        tokio::time::timeout(PATIENCE, self.0.next())
            .await
            .unwrap_or_else(|_| panic!("no event of {} came", K::KIND))
            .expect("the watch goes on while the store lives")
    }

    async fn synced(&mut self) -> Vec<Entry<K>> {
        let mut entries = Vec::new();
        loop {
            match self.next().await {
                Event::Applied(entry) => entries.push(entry),
                Event::Synced => return entries,
                Event::Deleted(entry) => panic!("{} deleted before Synced", entry.key),
            }
        }
    }

    async fn applied(&mut self) -> Entry<K> {
        match self.next().await {
            Event::Applied(entry) => entry,
            other => panic!("expected Applied, got {other:?}"),
        }
    }

    async fn deleted(&mut self) -> Entry<K> {
        match self.next().await {
            Event::Deleted(entry) => entry,
            other => panic!("expected Deleted, got {other:?}"),
        }
    }

    /// Reads until an applied entry is as wanted.
    async fn until(&mut self, wanted: impl Fn(&Entry<K>) -> bool) -> Entry<K> {
        loop {
            if let Event::Applied(entry) = self.next().await
                && wanted(&entry)
            {
                return entry;
            }
        }
    }

    /// Nothing has come: a change made after it comes first.
    async fn is_quiet_until(&mut self, wanted: impl Fn(&Entry<K>) -> bool) {
        let entry = self.applied().await;
        assert!(wanted(&entry), "unexpected event {entry:?}");
    }
}

async fn wait_for<K: LakegateResource>(
    store: &Arc<dyn ResourceStore>,
    key: &str,
    wanted: impl Fn(&Entry<K>) -> bool,
) -> Entry<K>
where
    dyn ResourceStore: StoreOf<K>,
{
    let key = Key::named(key);
    Watch::<K>::new(store)
        .until(|entry| entry.key == key && wanted(entry))
        .await
}

fn path_of(entry: &Entry<DataSource>) -> Option<String> {
    entry
        .object
        .as_ref()?
        .spec
        .sqlite
        .as_ref()
        .map(|sqlite| sqlite.path.clone())
}

async fn get<K: LakegateResource>(store: &Arc<dyn ResourceStore>, key: &str) -> Option<Entry<K>>
where
    dyn ResourceStore: StoreOf<K>,
{
    of::<K>(store).get(&Key::named(key)).await.expect("get")
}

async fn watch_begins_with_what_is_there(home: &mut dyn Home) {
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

async fn watch_tells_every_change(home: &mut dyn Home) {
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

async fn a_slow_watch_sees_the_last_state(home: &mut dyn Home) {
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

async fn many_watches_see_the_same(home: &mut dyn Home) {
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

async fn kinds_and_namespaces_are_apart(home: &mut dyn Home) {
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

async fn identity_is_stable_and_generation_follows_the_spec(home: &mut dyn Home) {
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

async fn an_invalid_edit_changes_nothing(home: &mut dyn Home) {
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

async fn an_immutable_field_stays(home: &mut dyn Home) {
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

async fn a_create_is_new_once(home: &mut dyn Home) {
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

async fn one_of_many_creates_is_new(home: &mut dyn Home) {
    let store = home.store();
    let creates = (0..16).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            of::<ExportRun>(&store)
                .create(run_of("r", &format!("e{number}")))
                .await
        })
    });
    let created: Vec<_> = join_all(creates)
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

async fn an_invalid_create_is_refused(home: &mut dyn Home) {
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

async fn a_status_is_kept_apart(home: &mut dyn Home) {
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

async fn an_equal_status_is_not_news(home: &mut dyn Home) {
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

async fn a_status_of_another_object_is_refused(home: &mut dyn Home) {
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

async fn a_delete_is_idempotent(home: &mut dyn Home) {
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

async fn a_name_used_again_is_another_object(home: &mut dyn Home) {
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

async fn eventually_secret(store: &Arc<dyn ResourceStore>, name: &str, key: &str, value: &str) {
    let wait = async {
        loop {
            match Secrets::get(&**store, "default", name, key).await {
                Ok(found) if found.expose() == value => return,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("the secret is seen");
}

async fn secrets_are_found_by_name_and_key(home: &mut dyn Home) {
    let store = home.store();
    home.put_secret("default", "shop-db", "password", "first-canary")
        .await;
    eventually_secret(&store, "shop-db", "password", "first-canary").await;
    // Rotation is seen.
    home.put_secret("default", "shop-db", "password", "second-canary")
        .await;
    eventually_secret(&store, "shop-db", "password", "second-canary").await;
    let missing = Secrets::get(&*store, "default", "nothing", "password")
        .await
        .expect_err("missing");
    assert!(matches!(missing, SecretError::NotFound { .. }), "{missing}");
    let elsewhere = Secrets::get(&*store, "team", "shop-db", "password")
        .await
        .expect_err("another namespace");
    assert!(matches!(elsewhere, SecretError::NotFound { .. }), "{elsewhere}");
    let key = Secrets::get(&*store, "default", "shop-db", "nothing")
        .await
        .expect_err("missing");
    assert!(matches!(key, SecretError::KeyMissing { .. }), "{key}");
    for error in [missing, elsewhere, key] {
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

async fn no_secret_reaches_a_status_or_a_notice(home: &mut dyn Home) {
    let store = home.store();
    home.put_secret("default", "shop-db", "password", "c@nary value")
        .await;
    eventually_secret(&store, "shop-db", "password", "c@nary value").await;
    let message = "login c@nary value at postgres://u:c%40nary%20value@h failed";
    let runs = of::<ExportRun>(&store);
    let entry = runs
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    runs.write_status(&entry.key, &entry.uid, run_status(message))
        .await
        .expect("status");
    let notice = Notice::new(
        second(1),
        NoticeType::Warning,
        Kind::ExportRun,
        entry.key.clone(),
        &entry.uid,
        Reason::AccessDenied,
        message,
    );
    store.publish(notice).await;
    let status = get::<ExportRun>(&store, "r")
        .await
        .expect("there")
        .status
        .expect("a status");
    let notices = store.list_notices().await.expect("notices");
    for text in [
        format!("{status:?}"),
        format!("{notices:?}"),
        store.redactor().redact(message),
    ] {
        assert!(!text.contains("nary") && text.contains("[redacted]"), "{text}");
    }
}

fn notice(at: i64, message: &str) -> Notice {
    let key = Key::named("orders");
    Notice::new(
        second(at),
        NoticeType::Normal,
        Kind::Export,
        key,
        "uid",
        Reason::Scheduled,
        message,
    )
}

async fn notices_are_counted(home: &mut dyn Home) {
    let store = home.store();
    for at in [1, 5, 3] {
        store.publish(notice(at, "same")).await;
    }
    store.publish(notice(4, "other")).await;
    let warning = Notice {
        notice_type: NoticeType::Warning,
        ..notice(2, "same")
    };
    store.publish(warning.clone()).await;
    let notices = store.list_notices().await.expect("notices");
    let counted = Notice {
        count: 3,
        first: second(1),
        last: second(5),
        ..notice(1, "same")
    };
    assert_eq!(notices, [counted, notice(4, "other"), warning]);
}

async fn notices_are_bounded(home: &mut dyn Home) {
    let store = home.store();
    let extra = 5;
    for at in 0..NOTICES_KEPT + extra {
        store.publish(notice(at as i64, &format!("number {at}"))).await;
    }
    let notices = store.list_notices().await.expect("notices");
    assert_eq!(notices.len(), NOTICES_KEPT);
    assert_eq!(notices.last().expect("one").message, format!("number {extra}"));
    assert!(notices.windows(2).all(|pair| pair[0].last > pair[1].last));
}

async fn everything_acknowledged_survives_a_restart(home: &mut dyn Home) {
    let store = home.store();
    home.apply(&data_source("a", "1.db")).await;
    wait_for::<DataSource>(&store, "a", |_| true).await;
    home.apply(&data_source("a", "2.db")).await;
    let source = wait_for::<DataSource>(&store, "a", |entry| entry.generation == 2).await;
    of::<DataSource>(&store)
        .write_status(&source.key, &source.uid, source_status("reachable"))
        .await
        .expect("status");
    let runs = of::<ExportRun>(&store);
    let run = runs
        .create(run_of("r", "orders"))
        .await
        .expect("create")
        .into_entry();
    // Finer than a second, as a clock gives it: what is read back is what was shown before.
    let finer = second(1) + SignedDuration::from_millis(250);
    let status = ExportRunStatus {
        start_time: Some(lakegate_crds::Time(finer)),
        ..run_status("working")
    };
    runs.write_status(&run.key, &run.uid, status)
        .await
        .expect("status");
    let gone = runs
        .create(run_of("gone", "orders"))
        .await
        .expect("create")
        .into_entry();
    runs.delete(&gone.key, &gone.uid).await.expect("delete");
    store.publish(notice(1, "kept")).await;
    let source = get::<DataSource>(&store, "a").await.expect("there");
    let run = get::<ExportRun>(&store, "r").await.expect("there");
    drop(store);

    if !home.restart().await {
        return;
    }
    let store = home.store();
    let source_after = get::<DataSource>(&store, "a")
        .await
        .expect("there after the restart");
    let run_after = get::<ExportRun>(&store, "r")
        .await
        .expect("there after the restart");
    assert_eq!(format!("{source_after:?}"), format!("{source:?}"));
    assert_eq!(format!("{run_after:?}"), format!("{run:?}"));
    assert!(get::<ExportRun>(&store, "gone").await.is_none());
    assert_eq!(store.list_notices().await.expect("notices"), [notice(1, "kept")]);
    // A manifest that went while nobody looked is gone; its object comes back as itself.
    home.remove(Kind::DataSource, &source.key).await;
    drop(store);
    home.restart().await;
    assert!(get::<DataSource>(&home.store(), "a").await.is_none());
}
