//! What objects say of themselves while the operator runs.

use lakegate_crds::{DataSource, RetentionPolicy, validation::Problem};
use lakegate_federation::SourceHealth;
use lakegate_store::{Key, ResourceStore};
use serde_json::json;

use crate::harness::{OfKind as _, PATIENCE, World, condition, export, source};

async fn until_source(world: &World, name: &str, ready: (&str, &str)) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let store: &dyn ResourceStore = world.store.as_ref();
    loop {
        let entry = store
            .of_kind::<DataSource>()
            .get(&Key::named(name))
            .await
            .unwrap()
            .unwrap();
        let conditions = entry.status.clone().unwrap_or_default().conditions;
        if condition(&conditions, "Ready") == Some(ready) {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{name} is not {ready:?}: {:#?}",
            entry.status
        );
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

async fn until_ready(world: &World, name: &str, ready: (&str, &str)) {
    world
        .until_export(name, "Ready is as wanted", |status| {
            condition(&status.conditions, "Ready") == Some(ready)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_shows_and_stops_nobody_else() {
    let mut world = World::new();
    world.store.put(export("good", json!({"runToken": "go"})));
    world.store.put(export(
        "unserved",
        json!({"runToken": "go", "from": {"sourceRef": {"name": "shop"}, "index": "orders"}}),
    ));
    world.store.put(export("dangling", json!({"runToken": "go", "from": {"sourceRef": {"name": "later"}, "table": {"schema": "main", "name": "t"}}})));
    world.store.put(export("suspended", json!({"suspend": true})));
    world.store.reject::<lakegate_crds::Export>(
        &Key::named("broken"),
        vec![Problem::invalid("spec.timeout", "no")],
        "broken.yaml:3",
    );
    world.advance(1);
    world.store.put(export("copycat", json!({"runToken": "go", "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "good"}})));
    let mut operator = world.start();
    let worker = world.worker().await;
    assert_eq!(worker.order.run.export, "good");
    until_ready(&world, "unserved", ("False", "NotImplemented")).await;
    until_ready(&world, "dangling", ("False", "DependencyNotFound")).await;
    until_ready(&world, "suspended", ("True", "Suspended")).await;
    until_ready(&world, "broken", ("False", "InvalidSpec")).await;
    until_ready(&world, "copycat", ("False", "TableNameConflict")).await;
    let unserved = world.export("unserved").await;
    assert!(
        unserved
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Stalled" && condition.message.contains("spec.from.index"))
    );
    let broken = world.export("broken").await;
    assert!(
        broken
            .conditions
            .iter()
            .all(|condition| condition.message.starts_with("broken.yaml:3: spec.timeout: no"))
    );
    worker.finish(&world.surroundings).await;
    world
        .until_export("good", "it ends", |status| status.last_run.is_some())
        .await;
    assert!(world.no_worker(), "nothing else may start");

    // what was missing comes
    world
        .store
        .put(source("later", json!({"sqlite": {"path": "later.db"}})));
    let worker = world.worker().await;
    assert_eq!(worker.order.run.export, "dangling");
    until_ready(&world, "dangling", ("Unknown", "Progressing")).await;
    world.surroundings.answers("later");
    until_ready(&world, "dangling", ("True", "OnRequest")).await;
    worker.finish(&world.surroundings).await;
    assert_eq!(world.runs().await.len(), 2);
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_is_refused_keeps_the_last_good_version() {
    let mut world = World::new();
    world
        .store
        .put(export("orders", json!({"schedule": {"cron": "0 3 * * *"}})));
    let mut operator = world.start();
    until_ready(&world, "orders", ("True", "Scheduled")).await;
    world.store.reject::<lakegate_crds::Export>(
        &Key::named("orders"),
        vec![Problem::invalid("spec.schedule.cron", "six fields")],
        "orders.yaml:7",
    );
    until_ready(&world, "orders", ("False", "InvalidSpec")).await;
    world.set_time("2026-05-11T03:00:00Z");
    world.worker().await.finish(&world.surroundings).await;
    world
        .until_export("orders", "it ran", |status| status.last_run.is_some())
        .await;
    until_ready(&world, "orders", ("False", "InvalidSpec")).await;
    world
        .store
        .put(export("orders", json!({"schedule": {"cron": "0 4 * * *"}})));
    until_ready(&world, "orders", ("True", "Scheduled")).await;
    assert_eq!(world.told("orders").await, ["InvalidSpec", "Succeeded"]);
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_export_starts_nothing_and_its_active_run_ends_well() {
    let mut world = World::new();
    world.store.put(export(
        "orders",
        json!({"schedule": {"cron": "0 3 * * *", "runOnCreate": true}}),
    ));
    let mut operator = world.start();
    let worker = world.worker().await;
    let name = worker.order.run.name.clone();
    world
        .until_export("orders", "it is active", |status| status.active_run.is_some())
        .await;
    world.store.remove::<lakegate_crds::Export>(&Key::named("orders"));
    worker.progress(3).await;
    worker.finish(&world.surroundings).await;
    world
        .until_run(&name, "it ends", |status| {
            status.state() == lakegate_crds::RunState::Complete
        })
        .await;
    world.set_time("2026-05-11T03:00:00Z");
    assert!(world.no_worker());
    // another one of the same name is another one
    world.store.put(export(
        "orders",
        json!({"schedule": {"cron": "0 3 * * *", "runOnCreate": true}}),
    ));
    let worker = world.worker().await;
    assert_ne!(worker.order.run.name, name);
    worker.finish(&world.surroundings).await;
    world
        .until_export("orders", "it ends", |status| status.last_run.is_some())
        .await;
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_go_and_come_show_in_source_and_export() {
    let world = World::new();
    world.store.put(export("orders", json!({})));
    let up = SourceHealth {
        reachable: Some(true),
        tables: 3,
        generation: 1,
        last_discovery: Some(jiff::Timestamp::UNIX_EPOCH),
        ..SourceHealth::default()
    };
    let with_uid = |health: SourceHealth, name: &str| {
        let store: &dyn ResourceStore = world.store.as_ref();
        let entry = futures::executor::block_on(store.of_kind::<DataSource>().get(&Key::named(name)))
            .unwrap()
            .unwrap();
        SourceHealth {
            uid: entry.uid,
            ..health
        }
    };
    let mut operator = world.start();
    until_source(&world, "shop", ("Unknown", "Progressing")).await;
    world
        .surroundings
        .set_health("shop", with_uid(up.clone(), "shop"));
    until_source(&world, "shop", ("True", "Available")).await;
    until_ready(&world, "orders", ("True", "OnRequest")).await;
    let down = SourceHealth {
        reachable: Some(false),
        reason: Some(lakegate_crds::conditions::Reason::ConnectionFailed),
        message: Some("refused".into()),
        ..up.clone()
    };
    world.surroundings.set_health("shop", with_uid(down, "shop"));
    until_source(&world, "shop", ("False", "ConnectionFailed")).await;
    until_ready(&world, "orders", ("False", "SourceNotReady")).await;
    world.surroundings.set_health("shop", with_uid(up, "shop"));
    until_source(&world, "shop", ("True", "Available")).await;
    until_ready(&world, "orders", ("True", "OnRequest")).await;
    assert_eq!(
        world.told("shop").await.len(),
        2,
        "up again is the same notice, counted: {:?}",
        world.told("shop").await
    );
    operator.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_policy_says_that_nothing_acts_on_it() {
    let world = World::new();
    let policy: RetentionPolicy = serde_json::from_value(json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "RetentionPolicy", "metadata": {"name": "old"},
        "spec": {"files": {"lakeRef": {"name": "lake"}, "schema": "a", "table": "b", "keep": {"within": "90d"}}},
    }))
    .unwrap();
    world.store.put(policy);
    let mut operator = world.start();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let store: &dyn ResourceStore = world.store.as_ref();
    loop {
        let entry = store
            .of_kind::<RetentionPolicy>()
            .get(&Key::named("old"))
            .await
            .unwrap()
            .unwrap();
        if condition(&entry.status.unwrap_or_default().conditions, "Stalled")
            == Some(("True", "NotImplemented"))
        {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    operator.shut_down().await;
}
