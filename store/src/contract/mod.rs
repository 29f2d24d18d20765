//! The suite that every home passes, so that the code above may not care which one it has.
//!
//! A home's tests implement [`Home`] and call [`run`]. A check that fails panics with what it saw.

// A test suite that other crates' tests call: a failed check is a panic, as in any test.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod around;
mod created;
mod deletion;
mod objects;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use jiff::Timestamp;
use lakegate_crds::conditions::{ConditionType, ConditionsMut, Reason};
use lakegate_crds::{DataSource, DataSourceStatus, ExportRun, ExportRunStatus, Kind, LakegateResource};
use serde_json::{Value, json};

use crate::{Entry, Event, Key, ResourceStore, Store, StoreOf};

/// How long a check waits for something that must come. Only a failing check waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A home and the ways in which the world outside changes it.
#[async_trait]
pub trait Home: Send + Sync {
    fn store(&self) -> Arc<dyn ResourceStore>;

    /// Does what a user does: writes a manifest, or applies it to an API server. An invalid one is refused, now
    /// or when it is read.
    async fn apply(&mut self, manifest: &Value);

    /// Removes what [`Home::apply`] applied. What is held is to go at once when it is removed.
    async fn remove(&mut self, kind: Kind, key: &Key);

    async fn put_secret(&mut self, namespace: &str, name: &str, key: &str, value: &str);

    /// Ends the process and begins another. `false`: the home keeps nothing, there is nothing to check.
    async fn restart(&mut self) -> bool;
}

/// Runs every check, each in a home of its own.
pub async fn run<H: Home, F: Future<Output = H>>(make: impl Fn() -> F) {
    objects::watch_begins_with_what_is_there(&mut make().await).await;
    objects::watch_tells_every_change(&mut make().await).await;
    objects::a_slow_watch_sees_the_last_state(&mut make().await).await;
    objects::many_watches_see_the_same(&mut make().await).await;
    objects::kinds_and_namespaces_are_apart(&mut make().await).await;
    objects::identity_is_stable_and_generation_follows_the_spec(&mut make().await).await;
    objects::an_invalid_edit_changes_nothing(&mut make().await).await;
    objects::an_immutable_field_stays(&mut make().await).await;
    created::a_create_is_new_once(&mut make().await).await;
    created::one_of_many_creates_is_new(&mut make().await).await;
    created::an_invalid_create_is_refused(&mut make().await).await;
    created::a_status_is_kept_apart(&mut make().await).await;
    created::an_equal_status_is_not_news(&mut make().await).await;
    created::a_status_of_another_object_is_refused(&mut make().await).await;
    created::a_delete_is_idempotent(&mut make().await).await;
    created::a_name_used_again_is_another_object(&mut make().await).await;
    around::secrets_are_found_by_name_and_key(&mut make().await).await;
    around::no_secret_reaches_a_status_or_a_notice(&mut make().await).await;
    around::notices_are_counted(&mut make().await).await;
    around::notices_are_bounded(&mut make().await).await;
    around::everything_acknowledged_survives_a_restart(&mut make().await).await;
    deletion::what_is_held_stays_until_it_is_released(&mut make().await).await;
    deletion::what_is_not_held_any_more_goes_at_once(&mut make().await).await;
    deletion::what_is_held_survives_restarts(&mut make().await).await;
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

    /// Reads until an object is told to be gone.
    async fn until_deleted(&mut self) -> Entry<K> {
        loop {
            if let Event::Deleted(entry) = self.next().await {
                return entry;
            }
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
