//! Exports that go: with their tables, or without.

use std::sync::Arc;

use async_trait::async_trait;
use lakegate_crds::{DataSource, DestinationSpec, Export, RunState};
use lakegate_federation::{SourceHealth, ViewHealth};
use lakegate_lake::{Dropped, TableOwner};
use lakegate_operator::{WorkerLauncher, protocol::Report, surroundings::Surroundings};
use lakegate_store::{Entry, Key, NoticeType, Notices as _, ResourceStore, Store};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    cluster::Cluster,
    crash::{Fate, Mortal, MortalCluster},
    harness::{FakeSurroundings, PATIENCE, Running, World, condition, export},
};

fn spec(more: serde_json::Value) -> serde_json::Value {
    let mut spec = json!({"runToken": "go", "deletionPolicy": "Delete"});
    for (member, value) in more.as_object().unwrap() {
        spec[member] = value.clone();
    }
    spec
}

impl World {
    async fn entry(&self, name: &str) -> Option<Entry<Export>> {
        Store::<Export>::get(self.store.as_ref(), &Key::named(name))
            .await
            .unwrap()
    }

    async fn lake(&self) -> Option<Entry<DataSource>> {
        Store::<DataSource>::get(self.store.as_ref(), &Key::named("lake"))
            .await
            .unwrap()
    }

    async fn lake_is_held(&self) -> bool {
        self.lake().await.is_some_and(|lake| lake.is_held)
    }

    fn tables(&self) -> Vec<String> {
        self.surroundings.tables.lock().unwrap().keys().cloned().collect()
    }

    async fn until(&self, what: &str, wanted: impl AsyncFn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !wanted().await {
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain until {what}: {:#?}",
                self.entry("orders").await.map(|entry| entry.status)
            );
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    async fn until_gone(&self, name: &str) {
        self.until("it is gone", async || self.entry(name).await.is_none())
            .await;
    }

    /// Warnings about an object of this name, with their messages.
    async fn warnings(&self, name: &str) -> Vec<String> {
        let notices = self.store.list_notices().await.unwrap();
        notices
            .into_iter()
            .filter(|notice| notice.key.name == name && notice.notice_type == NoticeType::Warning)
            .map(|notice| format!("{}: {}", notice.reason, notice.message))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_export_takes_its_table_along() {
    let mut world = World::new();
    world.store.put(export("orders", spec(json!({}))));
    let mut operator = world.start();
    let worker = world.worker().await;
    // From before the first run could write.
    assert!(world.entry("orders").await.unwrap().is_held && world.lake_is_held().await);
    let uid = world.entry("orders").await.unwrap().uid;
    assert_eq!(worker.order.run.export_uid.as_ref(), Some(&uid));
    worker.finish(&world.surroundings).await;
    world
        .until_export("orders", "it has run", |status| status.last_run.is_some())
        .await;
    // All of it, as a prune or the end of a namespace does it.
    world.store.remove::<DataSource>(&Key::named("lake"));
    world.store.remove::<DataSource>(&Key::named("shop"));
    world.store.remove::<Export>(&Key::named("orders"));
    world.until_gone("orders").await;
    world
        .until("the lake is gone", async || world.lake().await.is_none())
        .await;
    assert!(world.tables().is_empty());
    assert_eq!(world.told("orders").await.last().unwrap(), "TableDeleted");
    assert!(world.warnings("orders").await.is_empty());
    // Made anew under its name it is another one.
    world
        .store
        .put(crate::harness::source("lake", json!({"lake": {"directory": {}}})));
    world.store.put(crate::harness::source(
        "shop",
        json!({"sqlite": {"path": "shop.db"}}),
    ));
    world.store.put(export("orders", spec(json!({}))));
    let worker = world.worker().await;
    assert_ne!(worker.order.run.export_uid, Some(uid));
    worker.finish(&world.surroundings).await;
    world
        .until("there is a table", async || world.tables() == ["shop.orders"])
        .await;
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_active_run_is_ended_before_its_table_goes() {
    let mut world = World::new();
    world.store.put(export("orders", spec(json!({}))));
    let mut operator = world.start();
    let first = world.worker().await;
    first.finish(&world.surroundings).await;
    world
        .until_export("orders", "it has run", |status| status.last_run.is_some())
        .await;
    world
        .store
        .put(export("orders", spec(json!({"runToken": "again"}))));
    let mut second = world.worker().await;
    let name = second.order.run.name.clone();
    world
        .until_run(&name, "it runs", |status| status.state() == RunState::Running)
        .await;
    world.store.remove::<Export>(&Key::named("orders"));
    let status = world
        .until_export("orders", "it waits", |status| {
            condition(&status.conditions, "Ready") == Some(("Unknown", "Deleting"))
        })
        .await;
    let ready = status.conditions.iter().find(|it| it.type_ == "Ready").unwrap();
    assert!(
        ready.message.ends_with(&format!("when run {name} has ended")),
        "{}",
        ready.message
    );
    while !second.is_stopped() {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(world.tables(), ["shop.orders"], "the worker has not ended");
    let refused = operator.handle.run_now(&Key::named("orders")).await.unwrap_err();
    assert!(refused.to_string().contains("is being deleted"), "{refused}");
    second.dies().await;
    world.until_gone("orders").await;
    assert!(world.tables().is_empty() && world.no_worker());
    let run = world.run(&name).await;
    assert_eq!(
        (run.state(), run.failure.unwrap().reason.as_str()),
        (RunState::Failed, "ExportDeleted")
    );
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_table_stays_and_nothing_waits() {
    let mut world = World::new();
    world
        .store
        .put(export("orders", spec(json!({"deletionPolicy": "Retain"}))));
    let mut operator = world.start();
    let worker = world.worker().await;
    assert!(!world.entry("orders").await.unwrap().is_held && !world.lake_is_held().await);
    worker.finish(&world.surroundings).await;
    // There and back: the finalizer follows the policy.
    for (policy, is_held) in [("Delete", true), ("Retain", false)] {
        world
            .store
            .put(export("orders", spec(json!({"deletionPolicy": policy}))));
        world
            .until("the finalizer follows", async || {
                world.entry("orders").await.unwrap().is_held == is_held
                    && world.lake_is_held().await == is_held
            })
            .await;
    }
    world.store.remove::<Export>(&Key::named("orders"));
    assert!(
        world.entry("orders").await.is_none(),
        "nothing waits for anything"
    );
    assert_eq!(world.tables(), ["shop.orders"]);
    operator.shut_down().await;
    assert_eq!(world.tables(), ["shop.orders"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_its_own_stays() {
    let mut world = World::new();
    world.store.put(export("orders", spec(json!({}))));
    let mut operator = world.start();
    world.worker().await.finish(&world.surroundings).await;
    world
        .until_export("orders", "it has run", |status| status.last_run.is_some())
        .await;
    world
        .surroundings
        .tables
        .lock()
        .unwrap()
        .insert("shop.orders".to_owned(), "somebody".to_owned());
    world.store.remove::<Export>(&Key::named("orders"));
    world.until_gone("orders").await;
    assert_eq!(world.tables(), ["shop.orders"]);
    let warnings = world.warnings("orders").await;
    assert!(
        warnings[0].starts_with("TableKept: the table shop.orders of the lake lake stays"),
        "{warnings:?}"
    );

    // Another Export names the table, and waits for it.
    world.store.put(export("bills", spec(json!({}))));
    world.worker().await.finish(&world.surroundings).await;
    world
        .until_export("bills", "it has run", |status| status.last_run.is_some())
        .await;
    world.advance(5);
    let same = json!({"destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "bills"}, "deletionPolicy": "Retain"});
    world.store.put(export("younger", spec(same)));
    world
        .until_export("younger", "it is refused", |status| {
            condition(&status.conditions, "Ready") == Some(("False", "TableNameConflict"))
        })
        .await;
    world.store.remove::<Export>(&Key::named("bills"));
    world.until_gone("bills").await;
    assert!(world.tables().contains(&"shop.bills".to_owned()));
    let warnings = world.warnings("bills").await;
    assert!(
        warnings[0].contains("Export younger names it, too"),
        "{warnings:?}"
    );
    world.worker().await.dies().await;
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_that_is_away_keeps_the_export_and_says_what_to_do() {
    let mut world = World::new();
    world.store.put(export("orders", spec(json!({}))));
    let mut operator = world.start();
    world.worker().await.finish(&world.surroundings).await;
    world
        .until_export("orders", "it has run", |status| status.last_run.is_some())
        .await;
    *world.surroundings.lake_is_away.lock().unwrap() = true;
    world.store.remove::<Export>(&Key::named("orders"));
    world
        .until_export("orders", "it is blocked", |status| {
            condition(&status.conditions, "Ready") == Some(("False", "DestinationNotReady"))
        })
        .await;
    operator.shut_down().await;
    // The next operator finds it so, and tries again, with pauses.
    let mut operator = world.start();
    *world.surroundings.lake_is_away.lock().unwrap() = false;
    for _ in 0..200 {
        if world.entry("orders").await.is_none() {
            break;
        }
        world.advance(10);
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(world.entry("orders").await.is_none() && world.tables().is_empty());
    let warnings = world.warnings("orders").await;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    operator.shut_down().await;
}

/// A lake whose user dies at some effect.
struct MortalLake {
    lake: Arc<FakeSurroundings>,
    fate: Arc<Fate>,
}

#[async_trait]
impl Surroundings for MortalLake {
    fn source_health(&self, key: &Key) -> Option<SourceHealth> {
        self.lake.source_health(key)
    }

    fn view_health(&self, key: &Key) -> Option<ViewHealth> {
        self.lake.view_health(key)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.lake.changes()
    }

    async fn find_commit(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        run_uid: &str,
    ) -> Result<Option<Report>, String> {
        self.lake.find_commit(lake, destination, run_uid).await
    }

    async fn drop_table(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        owner: &TableOwner,
    ) -> Result<Dropped, String> {
        self.fate
            .effect(self.lake.drop_table(lake, destination, owner))
            .await
    }

    async fn sweep(
        &self,
        lake: &DataSource,
        destination: &DestinationSpec,
        run_uid: &str,
    ) -> Result<u64, String> {
        self.lake.sweep(lake, destination, run_uid).await
    }
}

/// The life of an Export with deletionPolicy Delete: a run, another one that its deletion ends, and its end. Whether the
/// operator died in it.
async fn a_life(effect: usize, before: bool) -> bool {
    let world = World::new();
    let (cluster, mut jobs) = Cluster::new(Arc::clone(&world.clock));
    world.store.put(export("orders", spec(json!({}))));
    let fate = Fate::new(effect, before);
    let start = |fate: &Arc<Fate>| {
        let store: Arc<dyn ResourceStore> = Arc::new(Mortal {
            store: Arc::clone(&world.store),
            fate: Arc::clone(fate),
        });
        let lake = MortalLake {
            lake: Arc::clone(&world.surroundings),
            fate: Arc::clone(fate),
        };
        let launcher: Arc<dyn WorkerLauncher> = Arc::new(MortalCluster {
            fate: Arc::clone(fate),
            cluster: Arc::clone(&cluster),
        });
        Running::start(store, Arc::new(lake), launcher, world.options())
    };
    let when = if before { "before" } else { "after" };
    let what = format!("effect {effect}, {when}");
    let life = async {
        let first = jobs.recv().await.unwrap();
        let held = world.entry("orders").await.unwrap().is_held && world.lake_is_held().await;
        assert!(held, "{what}: nothing may be written before");
        first.finish(&world.surroundings);
        world
            .until_export("orders", &what, |status| status.last_run.is_some())
            .await;
        world
            .store
            .put(export("orders", spec(json!({"runToken": "again"}))));
        let second = jobs.recv().await.unwrap();
        world.store.remove::<DataSource>(&Key::named("lake"));
        world.store.remove::<Export>(&Key::named("orders"));
        while !second.is_told_to_end() {
            assert!(
                world.entry("orders").await.is_some(),
                "{what}: its run may still commit"
            );
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(
            world.tables(),
            ["shop.orders"],
            "{what}: its run may still commit"
        );
        second.end("exit status: 75");
        let gone = async {
            while world.entry("orders").await.is_some() || world.lake_is_held().await {
                // What is asked again after a while is asked again.
                world.advance(5);
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone)
            .await
            .unwrap_or_else(|_| panic!("{what}: it stays"));
    };
    let mut life = std::pin::pin!(life);
    let mut operator = Some(start(&fate));
    let mut is_over = false;
    let orderly = async {
        (&mut life).await;
        is_over = true;
        if let Some(operator) = operator.as_mut() {
            operator.shut_down().await;
        }
    };
    let died = tokio::select! {
        () = orderly => false,
        () = fate.died.notified() => true,
    };
    let operator = operator.take();
    if died {
        drop(operator);
        let mut heir = start(&Fate::new(usize::MAX, true));
        if !is_over {
            life.await;
        }
        heir.shut_down().await;
    }
    assert!(world.tables().is_empty(), "{what}: {:?}", world.tables());
    let kept = world.warnings("orders").await;
    assert!(
        kept.iter().all(|warning| warning.starts_with("ExportDeleted")),
        "{what}: {kept:?}"
    );
    died
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_at_any_effect_leaves_neither_table_nor_export() {
    for before in [true, false] {
        let mut effect = 1;
        while a_life(effect, before).await {
            effect += 1;
        }
        assert!(
            effect > 15,
            "only {effect} effects: the scenario is too short to mean anything"
        );
    }
}
