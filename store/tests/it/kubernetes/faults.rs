//! What happens to an API server and to the way to it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::{
    api::core::v1::Secret, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, WatchEvent, WatchParams},
};
use lakegate_crds::{ExportRun, Kind, View};
use lakegate_store::{Event, Key, KubernetesOptions, KubernetesStore, Secrets, Store, StoreError};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::{
    Cluster, apply, eventually, exclusive, get, install, objects, open, run_of, scripts, view, wait_for,
};

/// A port that stands for another, until it is closed.
pub(super) struct Way {
    pub port: u16,
    is_open: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

impl Way {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (is_open, state) = watch::channel(true);
        let listener = tokio::spawn(async move {
            while let Ok((mut inward, _)) = listener.accept().await {
                let mut state = state.clone();
                tokio::spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let Ok(mut outward) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut inward, &mut outward) => {}
                        _ = state.wait_for(|is_open| !*is_open) => {}
                    }
                });
            }
        });
        Self {
            port: own,
            is_open,
            listener,
        }
    }

    /// Ends every connection, and takes no new one.
    pub fn close(&self) {
        self.is_open.send_replace(false);
    }

    pub fn open(&self) {
        self.is_open.send_replace(true);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.close();
        self.listener.abort();
    }
}

impl Cluster {
    fn pid(&self, name: &str) -> String {
        let file = self.directory.join(format!("{name}.pid"));
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }

    fn kill_api_server(&self) {
        let process = self.pid("apiserver");
        let killed = Command::new("kill").args(["-KILL", &process]).status().unwrap();
        assert!(killed.success());
        // It takes a moment to go, and its port with it. Who started it may not have taken note of its end yet.
        let stat = format!("/proc/{process}/stat");
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts what of the cluster does not run.
    async fn start_again(&self) {
        let mut command = tokio::process::Command::new("bash");
        command
            .arg(scripts().join("up.sh"))
            .arg("--api")
            .arg(&self.directory);
        let started = command.output().await.unwrap();
        assert!(
            started.status.success(),
            "{}",
            String::from_utf8_lossy(&started.stderr)
        );
    }

    /// Makes etcd forget every version but the newest.
    fn compact(&self) {
        let ports = std::fs::read_to_string(self.directory.join("ports")).unwrap();
        let port = ports
            .lines()
            .find_map(|line| line.strip_prefix("etcd_port="))
            .unwrap();
        let ask = |what: &str, body: Value| -> Value {
            let answer = Command::new("curl")
                .args(["-sS", "--fail-with-body", "-d", &body.to_string()])
                .arg(format!("http://127.0.0.1:{port}/v3/kv/{what}"))
                .output()
                .unwrap();
            assert!(
                answer.status.success(),
                "{}",
                String::from_utf8_lossy(&answer.stdout)
            );
            serde_json::from_slice(&answer.stdout).unwrap()
        };
        let newest = ask("range", json!({"key": "AA=="}))["header"]["revision"].clone();
        ask("compaction", json!({"revision": newest, "physical": true}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_while_nobody_could_watch_is_seen_afterwards() {
    let cluster = exclusive().await;
    let client = cluster.client().await;
    let namespace = cluster.namespace().await;
    for name in ["goes", "changes", "stays"] {
        apply(&client, &view(&namespace, name, "select 1")).await;
    }
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "shop"}, "stringData": {"password": "first-canary"}
    }))
    .unwrap();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    secrets
        .create(&kube::api::PostParams::default(), &secret)
        .await
        .unwrap();

    let way = Way::to(cluster.port().await).await;
    let store = open(cluster.client_at(way.port).await, &[&namespace]).await;
    let mut events = Store::<View>::watch(&*store);
    crate::until(&mut events, |event| matches!(event, Event::Synced)).await;
    Secrets::get(&*store, &namespace, "shop", "password")
        .await
        .unwrap();
    let last_seen = objects(&client, Kind::View, &namespace)
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();

    way.close();
    objects(&client, Kind::View, &namespace)
        .delete("goes", &DeleteParams::default())
        .await
        .unwrap();
    apply(&client, &view(&namespace, "changes", "select 2")).await;
    apply(&client, &view(&namespace, "comes", "select 1")).await;
    // What was known is still there, and a write says that it may be tried again.
    assert!(get::<View>(&store, &namespace, "goes").await.is_some());
    let error = Store::<ExportRun>::create(&*store, run_of(&namespace, "r"))
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(
        error.to_string().contains("create exportruns r in namespace"),
        "{error}"
    );
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let kept = Secrets::get(&*store, &namespace, "shop", "password")
        .await
        .unwrap();
    assert_eq!(kept.expose(), "first-canary");

    cluster.compact();
    cluster.kill_api_server();
    cluster.start_again().await;
    // There is no way to go on from where the watch was.
    let mut lost = objects(&client, Kind::View, &namespace)
        .watch(&WatchParams::default(), &last_seen)
        .await
        .unwrap()
        .boxed();
    let expired = lost.next().await.unwrap().unwrap();
    assert!(
        matches!(&expired, WatchEvent::Error(status) if status.code == 410),
        "{expired:?}"
    );

    way.open();
    let seen = crate::until(
        &mut events,
        |event| matches!(event, Event::Deleted(entry) if entry.key.name == "goes"),
    )
    .await;
    let mut told: Vec<_> = seen
        .iter()
        .map(|event| match event {
            Event::Applied(entry) => format!("applied {}", entry.key.name),
            Event::Deleted(entry) => format!("deleted {}", entry.key.name),
            Event::Synced => "synced".to_owned(),
        })
        .collect();
    told.sort();
    // Each change once, and nothing of what stayed.
    assert_eq!(told, ["applied changes", "applied comes", "deleted goes"]);
    let rotated = json!({"stringData": {"password": "second-canary"}});
    secrets
        .patch("shop", &PatchParams::default(), &Patch::Merge(&rotated))
        .await
        .unwrap();
    eventually("the rotated secret is used", async || {
        let value = Secrets::get(&*store, &namespace, "shop", "password")
            .await
            .unwrap();
        value.expose() == "second-canary"
    })
    .await;
    assert!(
        Store::<ExportRun>::create(&*store, run_of(&namespace, "r"))
            .await
            .unwrap()
            .is_new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_api_server_is_followed_again() {
    let cluster = exclusive().await;
    let client = cluster.client().await;
    let namespace = cluster.namespace().await;
    apply(&client, &view(&namespace, "daily", "select 1")).await;
    let store = open(client.clone(), &[&namespace]).await;
    let entry = Store::<ExportRun>::create(&*store, run_of(&namespace, "r"))
        .await
        .unwrap()
        .into_entry();
    cluster.kill_api_server();
    let status = lakegate_crds::ExportRunStatus {
        attempts: Some(1),
        ..Default::default()
    };
    let write = || Store::<ExportRun>::write_status(&*store, &entry.key, &entry.uid, status.clone());
    let began = Instant::now();
    let error = write().await.unwrap_err();
    assert!(
        error.is_transient() && began.elapsed() < Duration::from_secs(40),
        "{error}"
    );
    assert!(get::<View>(&store, &namespace, "daily").await.is_some());
    // One that begins now waits for it.
    let options = KubernetesOptions {
        namespaces: vec![namespace.clone()],
        component: "lakegate-test".to_owned(),
    };
    let late = tokio::spawn(KubernetesStore::open(client.clone(), options));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!late.is_finished());
    cluster.start_again().await;
    write().await.unwrap();
    apply(&client, &view(&namespace, "daily", "select 2")).await;
    let is_new = |entry: &lakegate_store::Entry<View>| {
        entry
            .object
            .as_ref()
            .is_some_and(|view| view.spec.sql == "select 2")
    };
    wait_for::<View>(&store, &namespace, "daily", is_new).await;
    let late = late.await.unwrap().unwrap();
    wait_for::<View>(&late, &namespace, "daily", is_new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_change_under_the_objects_hide_none() {
    let cluster = exclusive().await;
    let client = cluster.client().await;
    let namespace = cluster.namespace().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    apply(&client, &view(&namespace, "good", "select 1")).await;
    let store = open(client.clone(), &[&namespace]).await;

    // A definition that takes more than this version reads, as one of a later version may.
    let loose = json!([{
        "op": "replace",
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/sql",
        "value": {"x-kubernetes-preserve-unknown-fields": true}
    }]);
    let loose: kube::api::Patch<Value> = Patch::Json(serde_json::from_value(loose).unwrap());
    definitions
        .patch("views.lakegate.dev", &PatchParams::default(), &loose)
        .await
        .unwrap();
    let mut unreadable = view(&namespace, "bad", "");
    unreadable["spec"]["sql"] = json!(7);
    eventually("the loose definition is in force", async || {
        super::try_apply(&client, &unreadable).await.is_ok()
    })
    .await;
    apply(&client, &view(&namespace, "good", "select 2")).await;
    let bad = wait_for::<View>(&store, &namespace, "bad", |_| true).await;
    assert!(bad.object.is_none());
    assert!(
        bad.rejected
            .unwrap()
            .to_string()
            .contains("spec.sql: must be a text, not a whole number"),
    );
    wait_for::<View>(&store, &namespace, "good", |entry| entry.generation == 2).await;
    let other = open(client.clone(), &[&namespace]).await;
    assert_eq!(Store::<View>::list(&*other).await.unwrap().len(), 2);

    // Without the definition there are no objects, and nobody can start.
    definitions
        .delete("views.lakegate.dev", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the objects are gone with their definition", async || {
        Store::<View>::list(&*store).await.unwrap().is_empty()
    })
    .await;
    eventually("views are not served", async || {
        objects(&client, Kind::View, &namespace)
            .list(&ListParams::default())
            .await
            .is_err()
    })
    .await;
    let options = KubernetesOptions {
        namespaces: vec![namespace.clone()],
        component: "lakegate-test".to_owned(),
    };
    let error = KubernetesStore::open(client.clone(), options).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::NotInstalled { resource } if resource == "views.lakegate.dev"),
        "{error}"
    );
    install(&client).await;
    apply(&client, &view(&namespace, "again", "select 1")).await;
    eventually("the kind is followed again", async || {
        let key = Key::new(&namespace, "again");
        Store::<View>::get(&*store, &key).await.unwrap().is_some()
    })
    .await;
}
