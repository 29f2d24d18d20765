//! Our finalizer among those of others, and what keeps an object from being let go of.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use lakegate_crds::{EXPORT_DATA_FINALIZER, Export, Kind};
use lakegate_store::{Event, SecretError, Secrets, Store};
use serde_json::json;

use super::{apply, eventually, export, get, objects, open, shared, wait_for};

#[tokio::test]
async fn finalizers_of_others_are_left_alone() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let store = open(client.clone(), &[&namespace]).await;
    let exports: &dyn Store<Export> = &*store;
    let mut manifest = export(&namespace, "orders", "0 3 * * *");
    manifest["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    apply(&client, &manifest).await;
    let entry = wait_for::<Export>(&store, &namespace, "orders", |_| true).await;
    let api = objects(&client, Kind::Export, &namespace);
    let finalizers = async || api.get("orders").await.unwrap().finalizers().to_vec();
    exports.hold(&entry.key, &entry.uid).await.unwrap();
    assert_eq!(
        finalizers().await,
        ["example.com/a", "example.com/b", EXPORT_DATA_FINALIZER]
    );
    // Somebody applies the manifest anew, as GitOps tools do all day.
    apply(&client, &manifest).await;
    assert!(finalizers().await.contains(&EXPORT_DATA_FINALIZER.to_owned()));
    api.delete("orders", &DeleteParams::default()).await.unwrap();
    wait_for::<Export>(&store, &namespace, "orders", |entry| entry.deletion.is_some()).await;
    exports.release(&entry.key, &entry.uid).await.unwrap();
    // Still there, for others; and nothing holds it again.
    assert_eq!(finalizers().await, ["example.com/a", "example.com/b"]);
    let leaving = get::<Export>(&store, &namespace, "orders").await.unwrap();
    assert!(!leaving.is_held && leaving.deletion.is_some());
    assert!(exports.hold(&entry.key, &entry.uid).await.is_err());
    assert!(!exports.confirm_deletion(&entry.key, &entry.uid).await.unwrap());
    let mut watch = Store::<Export>::watch(&*store);
    let none = json!({"metadata": {"finalizers": null}});
    api.patch("orders", &PatchParams::default(), &Patch::Merge(&none))
        .await
        .unwrap();
    crate::until(&mut watch, |event| matches!(event, Event::Deleted(_))).await;
}

/// Whoever takes the finalizer off by hand wants the data to stay: what this process has seen last does not count.
#[tokio::test]
async fn a_deletion_is_confirmed_by_what_is_there_now() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let store = open(client.clone(), &[&namespace]).await;
    let exports: &dyn Store<Export> = &*store;
    let mut manifest = export(&namespace, "orders", "0 3 * * *");
    manifest["metadata"]["finalizers"] = json!(["example.com/a"]);
    apply(&client, &manifest).await;
    let entry = wait_for::<Export>(&store, &namespace, "orders", |_| true).await;
    exports.hold(&entry.key, &entry.uid).await.unwrap();
    let api = objects(&client, Kind::Export, &namespace);
    api.delete("orders", &DeleteParams::default()).await.unwrap();
    assert!(exports.confirm_deletion(&entry.key, &entry.uid).await.unwrap());
    assert!(!exports.confirm_deletion(&entry.key, "another").await.unwrap());
    let others = json!({"metadata": {"finalizers": ["example.com/a"]}});
    api.patch("orders", &PatchParams::default(), &Patch::Merge(&others))
        .await
        .unwrap();
    assert!(!exports.confirm_deletion(&entry.key, &entry.uid).await.unwrap());
    exports.release(&entry.key, &entry.uid).await.unwrap();
    let none = json!({"metadata": {"finalizers": null}});
    api.patch("orders", &PatchParams::default(), &Patch::Merge(&none))
        .await
        .unwrap();
    eventually("it is gone", async || {
        get::<Export>(&store, &namespace, "orders").await.is_none()
    })
    .await;
    assert!(!exports.confirm_deletion(&entry.key, &entry.uid).await.unwrap());
    exports.release(&entry.key, &entry.uid).await.unwrap();
}

/// An edit that is refused here, and a process that has never seen a good version: it is known to go all the same.
#[tokio::test]
async fn what_is_not_understood_is_held_and_goes_like_the_rest() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let mut manifest = export(&namespace, "orders", "0 25 * * *");
    manifest["metadata"]["finalizers"] = json!([EXPORT_DATA_FINALIZER]);
    apply(&client, &manifest).await;
    let store = open(client.clone(), &[&namespace]).await;
    let entry = get::<Export>(&store, &namespace, "orders").await.unwrap();
    assert!(entry.object.is_none() && entry.rejected.is_some() && entry.is_held);
    objects(&client, Kind::Export, &namespace)
        .delete("orders", &DeleteParams::default())
        .await
        .unwrap();
    let leaving = wait_for::<Export>(&store, &namespace, "orders", |entry| entry.deletion.is_some()).await;
    assert!(leaving.is_held);
    Store::<Export>::release(&*store, &entry.key, &entry.uid)
        .await
        .unwrap();
    assert!(get::<Export>(&store, &namespace, "orders").await.is_none());
}

#[tokio::test]
async fn a_secret_that_went_is_remembered_for_what_has_to_end_with_it() {
    let client = shared().client().await;
    let namespace = shared().namespace().await;
    let store = open(client.clone(), &[&namespace]).await;
    assert!(store.last_known(&namespace, "lake", "key").is_none());
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some("lake".to_owned()),
            ..ObjectMeta::default()
        },
        string_data: Some([("key".to_owned(), "canary".to_owned())].into()),
        ..Secret::default()
    };
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    Secrets::get(&*store, &namespace, "lake", "key").await.unwrap();
    secrets.delete("lake", &DeleteParams::default()).await.unwrap();
    eventually("it is seen to be gone", async || {
        let found = Secrets::get(&*store, &namespace, "lake", "key").await;
        matches!(found, Err(SecretError::NotFound { .. }))
    })
    .await;
    let known = store.last_known(&namespace, "lake", "key").unwrap();
    assert_eq!(known.expose(), "canary");
    assert!(store.last_known(&namespace, "lake", "another").is_none());
    assert!(!format!("{known:?}").contains("canary"));
}
