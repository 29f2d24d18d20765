//! What is in a work order, and what is not.

use std::sync::Arc;

use lakegate_crds::{DataSource, View};
use lakegate_operator::{
    cache::Cache,
    kubernetes::{JobOptions, job_of},
    orders,
    protocol::{RunIdentity, WorkOrder},
};
use lakegate_store::{Entry, Key, MemoryStore};
use serde_json::json;

use crate::harness::{export, source};

pub fn identity() -> RunIdentity {
    RunIdentity {
        namespace: "default".to_owned(),
        name: "orders-202605110000-abcdef".to_owned(),
        uid: "8f0a6f3c-0000-4000-8000-000000000001".to_owned(),
        export: "orders".to_owned(),
        export_uid: None,
        attempt: 1,
        attempt_id: "0d8cb4a2-0000-4000-8000-000000000002".to_owned(),
    }
}

fn entry<K: lakegate_crds::LakegateResource>(object: K) -> Entry<K> {
    Entry {
        key: Key::of(&object),
        object: Some(Arc::new(object)),
        status: None,
        rejected: None,
        is_held: false,
        deletion: None,
        uid: "u1".to_owned(),
        generation: 1,
    }
}

fn view(name: &str, sql: &str) -> View {
    serde_json::from_value(json!({
        "apiVersion": "lakegate.dev/v1alpha1", "kind": "View", "metadata": {"name": name}, "spec": {"sql": sql},
    }))
    .unwrap()
}

/// A store with a password, where `kubectl apply` has noted the manifest.
pub fn postgres(name: &str) -> DataSource {
    let mut source = source(
        name,
        json!({"postgres": {
            "database": name, "primary": {"host": format!("{name}-db")}, "credentials": {"secretRef": {"name": format!("{name}-db")}},
            "tls": {"caSecretRef": {"name": "company-ca", "key": "ca.crt"}},
        }}),
    );
    source.metadata.annotations = Some(
        [(
            "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
            "{\"noted\":1}".to_owned(),
        )]
        .into(),
    );
    source
}

pub fn bucket() -> DataSource {
    source(
        "lake",
        json!({"lake": {"s3": {"bucket": "lake", "region": "eu-central-1", "credentials": {"ambient": {}}}}}),
    )
}

fn order(spec: serde_json::Value, views: Vec<View>) -> WorkOrder {
    let cache = Cache::default();
    for source in [postgres("shop"), postgres("crm"), bucket()] {
        cache.sources.apply(entry(source));
    }
    for view in views {
        cache.views.apply(entry(view));
    }
    let spec = export("orders", spec).spec;
    let inputs = orders::inputs("default", &spec, &cache).unwrap();
    let deadline = "2026-05-11T06:00:00Z".parse().unwrap();
    orders::order(
        identity(),
        spec,
        inputs,
        deadline,
        std::path::Path::new("/var/lib/lakegate"),
    )
}

fn names(order: &WorkOrder) -> (Vec<&str>, Vec<&str>) {
    (
        order
            .views
            .iter()
            .map(|view| view.metadata.name.as_deref().unwrap())
            .collect(),
        order
            .sources
            .iter()
            .map(|source| source.metadata.name.as_deref().unwrap())
            .collect(),
    )
}

#[test]
fn an_order_has_the_views_that_its_query_may_name_and_no_others() {
    let views = || {
        vec![
            view("big-orders", "select * from views.good_orders where total > 100"),
            view("good-orders", "select * from SHOP.public.orders"),
            view("contacts", "select * from crm.public.contacts"),
        ]
    };
    let by_query = |query: &str| order(json!({"from": {"query": query}, "allColumns": null}), views());
    for (query, expected_views, expected_sources) in [
        (
            "select * from views.BIG_orders",
            vec!["big-orders", "good-orders"],
            vec!["shop"],
        ),
        ("select * from views.contacts", vec!["contacts"], vec!["crm"]),
        (
            "select * from crm.public.contacts_of_2026",
            vec!["contacts"],
            vec!["crm"],
        ),
        ("select 1", vec![], vec![]),
    ] {
        let order = by_query(query);
        assert_eq!(names(&order), (expected_views, expected_sources), "{query}");
    }
    let order = order(json!({}), views());
    assert_eq!(names(&order), (vec![], vec!["shop"]), "a table names no view");
}

#[tokio::test]
async fn no_value_of_a_secret_is_in_an_order_or_in_a_job() {
    let order = order(json!({}), Vec::new());
    let store = MemoryStore::new();
    store.put_secret("default", "shop-db", "username", "canary-user");
    store.put_secret("default", "shop-db", "password", "canary-4711");
    store.put_secret("default", "company-ca", "ca.crt", "canary-certificate");
    let secrets = orders::secrets_of(&order, &store).await.unwrap();
    assert_eq!(
        secrets.get("default", "shop-db", "password").unwrap().expose(),
        "canary-4711"
    );

    let now = "2026-05-11T00:00:00Z".parse().unwrap();
    let job = job_of(&order, &JobOptions::default(), now).unwrap();
    for text in [
        serde_json::to_string(&job).unwrap(),
        serde_json::to_string(&order).unwrap(),
        format!("{order:?}{job:?}"),
    ] {
        assert!(!text.contains("canary"), "{text}");
        assert!(!text.contains("noted"), "nor what tools have noted: {text}");
        assert!(text.contains("shop-db"), "names are");
    }
}

#[tokio::test]
async fn keys_of_masks_reach_workers_as_other_secrets_do() {
    let columns = json!([
        {"name": "id"},
        {"name": "email", "mask": {"hmac": {"keyRef": {"name": "pii", "key": "hmac"}}}},
        {"name": "card", "mask": {"tokenize": {"keyRef": {"name": "pii", "key": "siv"}}}},
        {"name": "phone", "mask": {"hmac": {"keyRef": {"name": "pii", "key": "hmac"}}}},
    ]);
    let order = order(json!({"allColumns": null, "columns": columns}), Vec::new());
    let masks: Vec<String> = orders::secret_uses(&order)
        .into_iter()
        .filter(|used| used.name == "pii")
        .map(|used| format!("{} {}: {}", used.namespace, used.key, used.needed_by))
        .collect();
    assert_eq!(
        masks,
        [
            "default hmac: Export orders (spec.columns[1].mask.hmac.keyRef)",
            "default siv: Export orders (spec.columns[2].mask.tokenize.keyRef)",
            "default hmac: Export orders (spec.columns[3].mask.hmac.keyRef)",
        ]
    );
    let now = "2026-05-11T00:00:00Z".parse().unwrap();
    let job = job_of(&order, &JobOptions::default(), now).unwrap();
    let volumes = job.spec.unwrap().template.spec.unwrap().volumes.unwrap();
    let projected = volumes.into_iter().find_map(|volume| volume.projected).unwrap();
    let mounted: Vec<String> = projected
        .sources
        .unwrap()
        .into_iter()
        .filter_map(|source| source.secret)
        .filter(|secret| secret.name == "pii")
        .flat_map(|secret| secret.items.unwrap())
        .map(|item| item.path)
        .collect();
    assert_eq!(mounted, ["secrets/pii/hmac", "secrets/pii/siv"]);
}
