use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use lakegate_crds::Kind;
use lakegate_store::{
    Key, KubernetesStore, ResourceStore,
    contract::{self, Home},
};
use serde_json::{Value, json};

use super::{Cluster, ensure_namespace, eventually, objects, open, shared, try_apply};

/// The namespaces that the suite knows. No other test uses them.
const NAMESPACES: [&str; 2] = ["default", "team"];

struct Cleared {
    client: Client,
    store: Option<Arc<KubernetesStore>>,
    secrets: BTreeMap<Key, BTreeMap<String, String>>,
}

impl Cleared {
    async fn new(cluster: &Cluster) -> Self {
        let client = cluster.client().await;
        ensure_namespace(&client, "team").await;
        for namespace in NAMESPACES {
            clear(&client, namespace).await;
        }
        let mut home = Self {
            client,
            store: None,
            secrets: BTreeMap::new(),
        };
        home.start().await;
        home
    }

    async fn start(&mut self) {
        self.store = Some(open(self.client.clone(), &NAMESPACES).await);
    }
}

/// Removes all that a test left.
async fn clear(client: &Client, namespace: &str) {
    let (delete, all) = (DeleteParams::default(), ListParams::default());
    for kind in Kind::ALL {
        let api = objects(client, kind, namespace);
        api.delete_collection(&delete, &all).await.unwrap();
        eventually("nothing is left", async || {
            api.list(&all).await.unwrap().items.is_empty()
        })
        .await;
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets.delete_collection(&delete, &all).await.unwrap();
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    events.delete_collection(&delete, &all).await.unwrap();
}

#[async_trait]
impl Home for Cleared {
    fn store(&self) -> Arc<dyn ResourceStore> {
        self.store.clone().unwrap()
    }

    async fn apply(&mut self, manifest: &Value) {
        if let Err(error) = try_apply(&self.client, manifest).await {
            // A refusal is what the suite wants of an invalid manifest.
            assert!(matches!(error, kube::Error::Api(_)), "{error}");
        }
    }

    async fn remove(&mut self, kind: Kind, key: &Key) {
        objects(&self.client, kind, &key.namespace)
            .delete(&key.name, &DeleteParams::default())
            .await
            .unwrap();
    }

    async fn put_secret(&mut self, namespace: &str, name: &str, key: &str, value: &str) {
        let secret = self.secrets.entry(Key::new(namespace, name)).or_default();
        secret.insert(key.to_owned(), value.to_owned());
        let manifest = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": secret
        });
        Api::<Secret>::namespaced(self.client.clone(), namespace)
            .patch(
                name,
                &PatchParams::apply(super::USER).force(),
                &Patch::Apply(&manifest),
            )
            .await
            .unwrap();
    }

    async fn restart(&mut self) -> bool {
        let store = self.store.take().unwrap();
        store.close().await;
        assert_eq!(Arc::strong_count(&store), 1);
        drop(store);
        self.start().await;
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_contract() {
    contract::run(async || Cleared::new(shared()).await).await;
}
