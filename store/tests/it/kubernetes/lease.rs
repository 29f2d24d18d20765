//! Two candidates for one Lease.

use std::time::{Duration, Instant};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use lakegate_store::kubernetes::{
    fence::Fence,
    lease::{LeaseOptions, acquire, take_away},
};
use serde_json::json;

use super::{faults::Way, shared};

/// Short, so that the tests are; long against a machine that does other things as well.
fn options(namespace: &str, holder: &str) -> LeaseOptions {
    LeaseOptions {
        duration: Duration::from_secs(8),
        renew_deadline: Duration::from_secs(6),
        retry: Duration::from_millis(400),
        ..LeaseOptions::new(namespace, "operator", holder)
    }
}

async fn holder(client: &Client, namespace: &str) -> String {
    let lease = Api::<Lease>::namespaced(client.clone(), namespace)
        .get("operator")
        .await
        .unwrap();
    lease.spec.unwrap().holder_identity.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_handed_over_when_it_is_given_back() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let first = acquire(client.clone(), options(&namespace, "first"))
        .await
        .unwrap();
    assert!(first.is_held() && holder(&client, &namespace).await.starts_with("first_"));
    let waiting = tokio::spawn(acquire(client.clone(), options(&namespace, "second")));
    // It is renewed for longer than it would last.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(first.is_held() && !waiting.is_finished());
    let began = Instant::now();
    first.release().await;
    let second = waiting.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(second.is_held() && holder(&client, &namespace).await.starts_with("second_"));
    let lease = Api::<Lease>::namespaced(client, &namespace)
        .get("operator")
        .await
        .unwrap();
    assert_eq!(lease.spec.unwrap().lease_transitions, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_dies_is_waited_out() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let first = acquire(client.clone(), options(&namespace, "same"))
        .await
        .unwrap();
    let died = Instant::now();
    drop(first);
    // Even the same Pod: what its life before began may still be under way.
    let second = acquire(client, options(&namespace, "same")).await.unwrap();
    assert!(died.elapsed() >= Duration::from_secs(7), "{:?}", died.elapsed());
    assert!(second.is_held());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_is_cut_off_stops_before_another_begins() {
    let namespace = shared().namespace().await;
    let way = Way::to(shared().port().await).await;
    let first = acquire(shared().client_at(way.port).await, options(&namespace, "first"))
        .await
        .unwrap();
    let waiting = tokio::spawn(acquire(shared().client().await, options(&namespace, "second")));
    tokio::time::sleep(Duration::from_secs(1)).await;
    way.close();
    let second = waiting.await.unwrap().unwrap();
    assert!(!first.is_held() && second.is_held());
    tokio::time::timeout(Duration::from_secs(1), first.lost())
        .await
        .unwrap();
    // It cannot know, and does not come back when the way is open again.
    way.open();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!first.is_held() && second.is_held());
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_clocks_nor_people_move_a_lease() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let first = acquire(client.clone(), options(&namespace, "first"))
        .await
        .unwrap();
    let waiting = tokio::spawn(acquire(client.clone(), options(&namespace, "second")));
    let leases = Api::<Lease>::namespaced(client, &namespace);
    // As if the holder's clock stood in 1970, then in 2200; and a label that a person sets.
    for change in [
        json!({"spec": {"renewTime": "1970-01-01T00:00:00.000000Z"}}),
        json!({"metadata": {"labels": {"team": "data"}}}),
        json!({"spec": {"renewTime": "2200-01-01T00:00:00.000000Z"}}),
    ] {
        leases
            .patch("operator", &PatchParams::default(), &Patch::Merge(&change))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(first.is_held() && !waiting.is_finished());
    }
    // Who writes another's name into it takes it, though.
    let stolen = json!({"spec": {"holderIdentity": "somebody"}});
    leases
        .patch("operator", &PatchParams::default(), &Patch::Merge(&stolen))
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(20), first.lost())
        .await
        .unwrap();
    assert!(!first.is_held());
    // Nobody renews it in that name.
    waiting.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_without_the_lease() {
    let namespace = shared().namespace().await;
    let way = Way::to(shared().port().await).await;
    let fence = Fence::default();
    let fenced = Api::<ConfigMap>::namespaced(fence.client(shared().config().await).unwrap(), &namespace);
    let write = async |name: &str| {
        let object = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        fenced.create(&PostParams::default(), &object).await
    };
    let is_refused = |answer: kube::Result<ConfigMap>| match answer.unwrap_err() {
        kube::Error::Service(error) => error.to_string().contains("does not hold the Lease"),
        _ => false,
    };
    assert!(is_refused(write("before").await));
    let first = acquire(shared().client_at(way.port).await, options(&namespace, "first"))
        .await
        .unwrap();
    fence.open(&first);
    write("held").await.unwrap();
    // The Lease cannot be renewed, the rest of the API server is in reach.
    way.close();
    let held = Instant::now();
    while first.is_held() {
        assert!(held.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(is_refused(write("lost").await));
    assert!(is_refused(
        fenced
            .delete("held", &DeleteParams::default())
            .await
            .map(|_| ConfigMap::default())
    ));
    way.open();
    let second = acquire(shared().client().await, options(&namespace, "second"))
        .await
        .unwrap();
    fence.open(&second);
    assert!(is_refused(write("another's").await), "it is another's Lease");
    // Reads go on.
    let there = fenced.list(&ListParams::default()).await.unwrap();
    let names: Vec<_> = there
        .iter()
        .filter_map(|object| object.metadata.name.as_deref())
        .collect();
    assert!(
        names.contains(&"held") && !names.contains(&"before") && !names.contains(&"lost"),
        "{names:?}"
    );
}

/// Before an operator is taken away for good: nobody decides from here on, for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_taken_away_is_nobodys_for_a_while() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    assert!(
        !take_away(client.clone(), options(&namespace, "hook"))
            .await
            .unwrap(),
        "there is none"
    );
    let first = acquire(client.clone(), options(&namespace, "first"))
        .await
        .unwrap();
    let waiting = tokio::spawn(acquire(client.clone(), options(&namespace, "second")));
    let standstill = LeaseOptions {
        duration: Duration::from_secs(14),
        ..options(&namespace, "hook")
    };
    let began = Instant::now();
    assert!(take_away(client.clone(), standstill).await.unwrap());
    assert!(!first.is_held(), "it has stopped by now");
    assert!(began.elapsed() >= Duration::from_secs(8), "{:?}", began.elapsed());
    first.lost().await;
    assert!(holder(&client, &namespace).await.starts_with("hook_"));
    let second = waiting.await.unwrap().unwrap();
    assert!(
        began.elapsed() >= Duration::from_secs(13),
        "{:?}",
        began.elapsed()
    );
    assert!(second.is_held());
}
