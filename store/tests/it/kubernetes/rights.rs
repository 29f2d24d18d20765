//! What a process may do, and what it says when it may not.

use std::path::Path;

use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use lakegate_crds::{ExportRun, Kind, conditions::Reason};
use lakegate_store::{
    KubernetesOptions, KubernetesStore, Notice, NoticeType, Notices, SecretError, Secrets, Store, StoreError,
    kubernetes::{
        self,
        lease::{self, LeaseOptions},
    },
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{run_of, shared};

/// Every right that the store and the Lease need, and no other. `docs/adr/0011-kubernetes-store.md` names them.
fn all_rights() -> Vec<PolicyRule> {
    rules(&json!([
        {"apiGroups": ["lakegate.dev"], "verbs": ["get", "list", "watch"],
         "resources": ["datasources", "exports", "exportruns", "retentionpolicies", "views"]},
        {"apiGroups": ["lakegate.dev"], "verbs": ["create", "delete"], "resources": ["exportruns"]},
        {"apiGroups": ["lakegate.dev"], "verbs": ["patch"],
         "resources": ["datasources/status", "exports/status", "exportruns/status", "retentionpolicies/status", "views/status"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "get", "list", "patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]},
    ]))
}

fn rules(value: &Value) -> Vec<PolicyRule> {
    serde_json::from_value(value.clone()).unwrap()
}

async fn grant(client: &Client, namespace: &str, user: &str, rules: Vec<PolicyRule>) {
    let metadata = || ObjectMeta {
        name: Some(user.to_owned()),
        ..ObjectMeta::default()
    };
    let role = Role {
        metadata: metadata(),
        rules: Some(rules),
    };
    Api::<Role>::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &role)
        .await
        .unwrap();
    let binding = RoleBinding {
        metadata: metadata(),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "Role".to_owned(),
            name: user.to_owned(),
        },
        subjects: Some(vec![Subject {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "User".to_owned(),
            name: user.to_owned(),
            namespace: None,
        }]),
    };
    Api::<RoleBinding>::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
}

/// The API server takes in new rights a moment after they are written.
async fn open(client: &Client, namespace: &str) -> KubernetesStore {
    let options = || KubernetesOptions {
        namespaces: vec![namespace.to_owned()],
        component: "lakegate-test".to_owned(),
    };
    for _ in 0..100 {
        if let Ok(store) = KubernetesStore::open(client.clone(), options()).await {
            return store;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    KubernetesStore::open(client.clone(), options()).await.unwrap()
}

fn notice(entry: &lakegate_store::Entry<ExportRun>) -> Notice {
    Notice::new(
        jiff::Timestamp::from_second(1_790_000_000).unwrap(),
        NoticeType::Normal,
        Kind::ExportRun,
        entry.key.clone(),
        &entry.uid,
        Reason::Succeeded,
        "done",
    )
}

async fn put_secret(client: &Client, namespace: &str) {
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "shop"}, "data": {"password": "aHVudGVyMgo=", "raw": "/w=="}
    }))
    .unwrap();
    Api::<Secret>::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_missing_right_is_named() {
    let client = shared().client_as("nobody").await;
    let namespace = shared().namespace().await;
    let options = KubernetesOptions {
        namespaces: vec![namespace.clone()],
        component: "lakegate-test".to_owned(),
    };
    let error = KubernetesStore::open(client.clone(), options).await.unwrap_err();
    assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
    let text = error.to_string();
    let expected = format!(
        "this process may not list datasources in namespace {namespace}: bind a Role with the verb list on datasources in apiGroup \"lakegate.dev\""
    );
    assert!(text.starts_with(&expected), "{text}");
    let options = LeaseOptions::new(&namespace, "lakegate-operator", "pod");
    let error = lease::acquire(client, options).await.unwrap_err().to_string();
    assert!(
        error.contains("leases in apiGroup \"coordination.k8s.io\""),
        "{error}"
    );
}

#[tokio::test]
async fn who_may_only_read_is_told_at_each_write() {
    let admin = shared().client().await;
    let namespace = shared().namespace().await;
    grant(&admin, &namespace, "reader", all_rights()[..1].to_vec()).await;
    put_secret(&admin, &namespace).await;
    super::apply(
        &admin,
        &serde_json::to_value(run_of::<ExportRun>(&namespace, "r")).unwrap(),
    )
    .await;
    let store = open(&shared().client_as("reader").await, &namespace).await;
    let entry = super::get::<ExportRun>(&store, &namespace, "r").await.unwrap();
    let runs = &store as &dyn Store<ExportRun>;
    let status = lakegate_crds::ExportRunStatus {
        attempts: Some(1),
        ..Default::default()
    };
    let refused = [
        (
            "create exportruns",
            runs.create(run_of(&namespace, "s")).await.map(drop),
        ),
        (
            "patch exportruns/status",
            runs.write_status(&entry.key, &entry.uid, status).await,
        ),
        ("delete exportruns", runs.delete(&entry.key, &entry.uid).await),
        ("list events", store.list_notices().await.map(drop)),
    ];
    for (action, refused) in refused {
        let error = refused.unwrap_err();
        assert!(matches!(error, StoreError::Forbidden { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("may not {action} in namespace {namespace}")),
            "{error}"
        );
    }
    let error = Secrets::get(&store, &namespace, "shop", "password")
        .await
        .unwrap_err();
    assert!(matches!(error, SecretError::Forbidden { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("the verb get on secrets in namespace") && !text.contains("hunter2"),
        "{text}"
    );
}

#[tokio::test]
async fn the_rights_that_are_written_down_are_enough() {
    let admin = shared().client().await;
    let namespace = shared().namespace().await;
    grant(&admin, &namespace, "operator", all_rights()).await;
    put_secret(&admin, &namespace).await;
    let client = shared().client_as("operator").await;
    let store = open(&client, &namespace).await;
    let runs = &store as &dyn Store<ExportRun>;
    let entry = runs.create(run_of(&namespace, "r")).await.unwrap().into_entry();
    let status = lakegate_crds::ExportRunStatus {
        attempts: Some(1),
        ..Default::default()
    };
    runs.write_status(&entry.key, &entry.uid, status).await.unwrap();
    for _ in 0..2 {
        store.publish(notice(&entry)).await;
        assert_eq!(store.list_notices().await.unwrap().len(), 1);
    }
    assert_eq!(store.list_notices().await.unwrap()[0].count, 2);
    runs.delete(&entry.key, &entry.uid).await.unwrap();
    // As a file of the Secret is read: without the newline at its end.
    let password = Secrets::get(&store, &namespace, "shop", "password")
        .await
        .unwrap();
    assert_eq!(password.expose(), "hunter2");
    let error = Secrets::get(&store, &namespace, "shop", "raw").await.unwrap_err();
    assert!(matches!(error, SecretError::NotText { .. }), "{error}");
    let options = LeaseOptions::new(&namespace, "lakegate-operator", "pod");
    lease::acquire(client, options).await.unwrap().release().await;
}

const CHILD: &str = "LAKEGATE_STORE_TEST_CONNECT";

/// Not a test of its own: what the child does when it is started as one.
#[tokio::test]
async fn child_that_connects() {
    let Ok(expected) = std::env::var(CHILD) else {
        return;
    };
    match kubernetes::connect().await {
        Ok((client, namespace)) => {
            assert_eq!(namespace, expected);
            assert_eq!(client.apiserver_version().await.unwrap().major, "1");
        }
        Err(error) => assert_eq!(expected, error.to_string()),
    }
}

#[tokio::test]
async fn the_cluster_is_found_by_the_environment() {
    let connect = async |kubeconfig: &Path, expected: &str| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kubernetes::rights::child_that_connects"])
            .env(CHILD, expected)
            .env("KUBECONFIG", kubeconfig)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .output()
            .await
            .unwrap();
        assert!(
            child.status.success(),
            "{}",
            String::from_utf8_lossy(&child.stdout)
        );
    };
    let directory = &shared().directory;
    connect(&directory.join("admin.kubeconfig"), "default").await;
    let nothing = "no cluster is known: run in a Pod with a service account, or set KUBECONFIG";
    connect(&directory.join("nothing"), nothing).await;
}
