use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures::FutureExt;
use lakegate_crds::{
    DataSource, Export, ExportRun, Kind, LakegateResource, RetentionPolicy, View, validation::validate,
};
use lakegate_store::{
    Key, MemoryStore, ResourceStore, Store,
    contract::{self, Home},
};
use serde_json::Value;

use crate::Served;

struct Memory(Arc<MemoryStore>);

macro_rules! for_kind {
    ($kind:expr, $self:ident.$method:ident($($argument:expr),*)) => {
        match $kind {
            Kind::DataSource => $self.$method::<DataSource>($($argument),*),
            Kind::Export => $self.$method::<Export>($($argument),*),
            Kind::ExportRun => $self.$method::<ExportRun>($($argument),*),
            Kind::RetentionPolicy => $self.$method::<RetentionPolicy>($($argument),*),
            Kind::View => $self.$method::<View>($($argument),*),
        }
    };
}

impl Memory {
    fn apply_as<K: LakegateResource + lakegate_store::Shelved>(&self, manifest: &Value) {
        let mut object: K = serde_json::from_value(manifest.clone()).unwrap();
        object.set_status(None);
        let key = Key::of(&object);
        let old = Store::<K>::get(&*self.0, &key)
            .now_or_never()
            .unwrap()
            .unwrap()
            .and_then(|entry| entry.object);
        let old = old.map(|old| serde_json::to_value(&*old).unwrap());
        match validate(manifest, old.as_ref()) {
            Ok(_) => drop(self.0.put(object)),
            Err(problems) => drop(self.0.reject::<K>(&key, problems, "memory:1")),
        }
    }

    fn remove_as<K: lakegate_store::Shelved>(&self, key: &Key) {
        self.0.remove::<K>(key);
    }
}

#[async_trait]
impl Home for Memory {
    fn store(&self) -> Arc<dyn ResourceStore> {
        self.0.clone()
    }

    async fn apply(&mut self, manifest: &Value) {
        let kind: Kind = manifest["kind"].as_str().unwrap().parse().unwrap();
        for_kind!(kind, self.apply_as(manifest));
    }

    async fn remove(&mut self, kind: Kind, key: &Key) {
        for_kind!(kind, self.remove_as(key));
    }

    async fn put_secret(&mut self, namespace: &str, name: &str, key: &str, value: &str) {
        self.0.put_secret(namespace, name, key, value);
    }

    async fn restart(&mut self) -> bool {
        false
    }
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::run(async || Memory(Arc::new(MemoryStore::new()))).await;
}

struct Folder {
    served: Served,
    secrets: BTreeMap<(String, String), BTreeMap<String, String>>,
}

impl Folder {
    fn file(kind: Kind, key: &Key) -> String {
        format!("{}/{kind}-{}.yaml", key.namespace, key.name)
    }

    fn write(&self, file: &str, text: &str) {
        // As `cp` and a mount do it: no reader ever sees a half.
        self.served.write("half", text);
        let target = self.served.folder().join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::rename(self.served.folder().join("half"), target).unwrap();
    }
}

#[async_trait]
impl Home for Folder {
    fn store(&self) -> Arc<dyn ResourceStore> {
        self.served.store().clone()
    }

    async fn apply(&mut self, manifest: &Value) {
        let kind: Kind = manifest["kind"].as_str().unwrap().parse().unwrap();
        let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or("default");
        let key = Key::new(namespace, manifest["metadata"]["name"].as_str().unwrap());
        self.write(&Self::file(kind, &key), &manifest.to_string());
        // A folder has no order but that of looks: one look for each act.
        self.served.look().await;
    }

    async fn remove(&mut self, kind: Kind, key: &Key) {
        self.served.delete(&Self::file(kind, key));
        self.served.look().await;
    }

    async fn put_secret(&mut self, namespace: &str, name: &str, key: &str, value: &str) {
        let secret = self.secrets.entry((namespace.into(), name.into())).or_default();
        secret.insert(key.into(), value.into());
        let manifest = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": secret,
            "metadata": {"namespace": namespace, "name": name}
        });
        self.write(&format!("{namespace}/Secret-{name}.yaml"), &manifest.to_string());
    }

    async fn restart(&mut self) -> bool {
        self.served.restart().await;
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_contract() {
    contract::run(async || Folder {
        served: Served::new(&[]).await,
        secrets: BTreeMap::new(),
    })
    .await;
}
