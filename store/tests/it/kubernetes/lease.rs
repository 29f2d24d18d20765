//! Two candidates for one Lease.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use lakegate_store::kubernetes::lease::{LeaseOptions, acquire};
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
