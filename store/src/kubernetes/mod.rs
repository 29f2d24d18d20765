//! The home on Kubernetes: objects live in the API server, in some namespaces.
//!
//! ```text
//!  API server ── watch, one a kind and namespace ──▶ Reflections ──▶ watch, get, list
//!       ▲                                               ▲
//!       └── create, apply of status, delete ── answer ──┘     own writes show at once
//! ```
//!
//! * Reads never ask the API server. They go on while it is away, and show what was known last.
//! * What this process wrote is taken in with the API server's answer; what a watch tells later and is older than that
//!   changes nothing.
//! * An object that this version cannot read, or finds invalid, is an [`Entry`] with [`Entry::rejected`] set, and
//!   disturbs no other. The last good version that this process has seen stays in force.
//! * Secrets are read one by one, by name. Notices are Events.

mod entry;
mod error;
mod events;
mod follow;
pub mod lease;
mod reflection;
mod secrets;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use kube::{
    Api, Client, Config,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
};
use lakegate_crds::{API_VERSION, DataSource, Export, ExportRun, Kind, RetentionPolicy, View};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinSet};

use self::{
    error::{Request, answer, problems_of},
    events::EventLog,
    follow::follow,
    reflection::Reflections,
    secrets::ClusterSecrets,
};
use crate::{
    Created, Entry, Event, Key, Notice, Notices, Redactor, SecretError, SecretValue, Secrets, Store,
    StoreError,
    object::{clean_status, prepare_create},
    shelf::Shelved,
};

/// Owner of the fields of a status.
const STATUS_MANAGER: &str = "lakegate/status";

/// Owner of the fields of an object that Lakegate creates.
const CREATE_MANAGER: &str = "lakegate/create";

/// Attempts to write a status over writes of others.
const CONFLICTS: usize = 5;

/// How long a connection may say nothing. Longer than a watch: what it ends is a list over a dead connection.
const SILENCE: Duration = Duration::from_mins(3);

/// Which part of a cluster is served.
#[derive(Debug, Clone)]
pub struct KubernetesOptions {
    /// Namespaces whose objects are served; at least one.
    pub namespaces: Vec<String>,

    /// What the Events name as their reporter, such as `lakegate-operator`.
    pub component: String,
}

/// A client of the cluster that this process runs in, else of that of the kubeconfig; and the namespace of the Pod, else
/// of the kubeconfig's context. It ends a connection that says nothing for three minutes: who follows something quieter
/// has to begin again.
pub async fn connect() -> Result<(Client, String), StoreError> {
    let mut config = Config::infer().await.map_err(|source| StoreError::NoCluster {
        source: Box::new(source),
    })?;
    config.read_timeout = Some(SILENCE);
    // Not from when the connection was used last.
    config.reset_reader_on_write = true;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| StoreError::Kubernetes {
        action: "take the credentials of this process".to_owned(),
        source: Box::new(error),
    })?;
    Ok((client, namespace))
}

/// See the module's text.
pub struct KubernetesStore {
    client: Client,
    namespaces: BTreeSet<String>,
    reflections: Arc<Reflections>,
    secrets: ClusterSecrets,
    events: EventLog,
    // What follows the cluster and writes Events. Ends when it is dropped.
    tasks: Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for KubernetesStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("KubernetesStore")
            .field("namespaces", &self.namespaces)
            .finish_non_exhaustive()
    }
}

impl KubernetesStore {
    /// Follows every kind in the namespaces. Everything that is there is known when this returns; while the API server
    /// does not answer, it is asked again.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] and [`StoreError::NotInstalled`].
    pub async fn open(client: Client, options: KubernetesOptions) -> Result<Self, StoreError> {
        let namespaces: BTreeSet<String> = options.namespaces.into_iter().collect();
        let listed = namespaces.iter().cloned().collect();
        let (events, write) = EventLog::new(client.clone(), listed, options.component);
        let mut tasks = JoinSet::new();
        tasks.spawn(write);
        let store = Self {
            secrets: ClusterSecrets::new(client.clone(), Redactor::new()),
            reflections: Arc::default(),
            tasks: Mutex::new(tasks),
            events,
            namespaces,
            client,
        };
        let mut synced = Vec::new();
        for namespace in &store.namespaces {
            synced.push(store.follow::<DataSource>(namespace));
            synced.push(store.follow::<Export>(namespace));
            synced.push(store.follow::<ExportRun>(namespace));
            synced.push(store.follow::<RetentionPolicy>(namespace));
            synced.push(store.follow::<View>(namespace));
        }
        for synced in synced {
            synced.await.unwrap_or(Err(StoreError::Stopped {
                action: "reading all objects",
            }))?;
        }
        Ok(store)
    }

    fn follow<K: Shelved>(&self, namespace: &str) -> oneshot::Receiver<Result<(), StoreError>> {
        let (tell, synced) = oneshot::channel();
        let (reflections, api) = (Arc::clone(&self.reflections), self.api::<K>(namespace));
        let follower = follow::<K>(reflections, api, namespace.to_owned(), tell);
        self.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(follower);
        synced
    }

    /// Writes the notices that wait, and stops following the cluster. Streams of [`Store::watch`] end when the store is
    /// dropped.
    pub async fn close(&self) {
        self.events.flush().await;
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }

    // Objects of any shape: one that this version cannot read must not hide the others.
    fn api<K: Shelved>(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<K>(&()))
    }

    /// Takes in the API server's answer to a write of ours.
    fn learn<K: Shelved>(&self, request: &Request, object: DynamicObject) -> Result<Entry<K>, StoreError> {
        self.reflections
            .learn(object)
            .ok_or_else(|| unfit(request, "the answer is an object without name or uid"))
    }

    /// Whether the API server has the object with this uid: what to make of it that it refused a write.
    async fn is_there<K: Shelved>(&self, key: &Key, uid: &str) -> Result<bool, StoreError> {
        let found = answer(self.api::<K>(&key.namespace).get_opt(&key.name))
            .await
            .map_err(|error| Request::of::<K>("get", key).failed(error))?;
        Ok(found.is_some_and(|object| object.metadata.uid.as_deref() == Some(uid)))
    }
}

#[async_trait]
impl<K: Shelved> Store<K> for KubernetesStore {
    fn watch(&self) -> BoxStream<'static, Event<K>> {
        self.reflections.shelf::<K>().watch()
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry<K>>, StoreError> {
        Ok(self.reflections.shelf::<K>().get(key))
    }

    async fn list(&self) -> Result<Vec<Entry<K>>, StoreError> {
        Ok(self.reflections.shelf::<K>().list())
    }

    async fn create(&self, object: K) -> Result<Created<K>, StoreError> {
        let (key, object) = prepare_create(object)?;
        if !self.namespaces.contains(&key.namespace) {
            return Err(StoreError::NamespaceNotServed {
                namespace: key.namespace,
            });
        }
        let request = Request::of::<K>("create", &key);
        let wanted = serde_json::to_value(&object)
            .map(with_owner)
            .and_then(serde_json::from_value::<DynamicObject>)
            .map_err(|error| unfit(&request, error))?;
        let parameters = PostParams {
            field_manager: Some(CREATE_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let api = self.api::<K>(&key.namespace);
        let taken = match answer(api.create(&parameters, &wanted)).await {
            Ok(created) => return self.learn(&request, created).map(Created::New),
            Err(kube::Error::Api(status)) if status.is_already_exists() => kube::Error::Api(status),
            Err(kube::Error::Api(status)) if status.is_invalid() => {
                return Err(StoreError::Invalid {
                    kind: K::KIND,
                    key,
                    problems: problems_of(&status),
                });
            }
            Err(error) => return Err(request.failed(error)),
        };
        match answer(api.get_opt(&key.name)).await {
            Ok(Some(there)) => self.learn(&request, there).map(Created::Already),
            // Gone again by now: who wanted it decides anew.
            Ok(None) => Err(request.failed(taken)),
            Err(error) => Err(Request::of::<K>("get", &key).failed(error)),
        }
    }

    async fn write_status(&self, key: &Key, uid: &str, status: K::Status) -> Result<(), StoreError> {
        let (status, value) = clean_status::<K>(self.secrets.redactor(), key, &status)?;
        let gone = || StoreError::Gone {
            kind: K::KIND,
            key: key.clone(),
            uid: uid.to_owned(),
        };
        let known = self
            .reflections
            .shelf::<K>()
            .get(key)
            .filter(|entry| entry.uid == uid)
            .ok_or_else(gone)?;
        if known.status.as_ref() == Some(&status) {
            return Ok(());
        }
        // With the uid the API server refuses to write to another object of the same name. Without a version it takes
        // the status whatever else was changed meanwhile.
        let patch = json!({
            "apiVersion": API_VERSION,
            "kind": K::KIND.as_str(),
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
            "status": value,
        });
        // Forced: nobody else has a say in a status.
        let parameters = PatchParams::apply(STATUS_MANAGER).force();
        let request = Request::status_of::<K>("patch", key);
        let api = self.api::<K>(&key.namespace);
        let mut attempts = 0;
        loop {
            attempts += 1;
            match answer(api.patch_status(&key.name, &parameters, &Patch::Apply(&patch))).await {
                Ok(object) => return self.learn::<K>(&request, object).map(drop),
                Err(kube::Error::Api(status)) if status.is_not_found() => return Err(gone()),
                Err(kube::Error::Api(status)) if status.is_conflict() => {
                    // Another uid, or so many writes of others that the API server gave up.
                    if !self.is_there::<K>(key, uid).await? {
                        return Err(gone());
                    }
                    if attempts == CONFLICTS {
                        return Err(request.failed(kube::Error::Api(status)));
                    }
                }
                Err(kube::Error::Api(status)) if status.is_invalid() => {
                    return Err(StoreError::Invalid {
                        kind: K::KIND,
                        key: key.clone(),
                        problems: problems_of(&status),
                    });
                }
                Err(error) => return Err(request.failed(error)),
            }
        }
    }

    async fn delete(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.to_owned()),
                resource_version: None,
            }),
            // What the object owns goes after it; nothing waits for that.
            ..DeleteParams::background()
        };
        let request = Request::of::<K>("delete", key);
        match answer(self.api::<K>(&key.namespace).delete(&key.name, &parameters)).await {
            Ok(deleted) => {
                match deleted.left() {
                    // It has finalizers: it goes when those who set them are done, and a watch will say so.
                    Some(object)
                        if object
                            .metadata
                            .finalizers
                            .as_ref()
                            .is_some_and(|all| !all.is_empty()) =>
                    {
                        self.learn::<K>(&request, object)?;
                    }
                    _ => self.reflections.delete::<K>(key, uid),
                }
                Ok(())
            }
            // Gone already, or another object has the name.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            Err(error) => Err(request.failed(error)),
        }
    }
}

/// A run belongs to its Export: Kubernetes removes it when the Export is deleted.
fn with_owner(mut object: Value) -> Value {
    if object["kind"] == Kind::ExportRun.as_str()
        && object["metadata"]["ownerReferences"].is_null()
        && let (Some(name), Some(uid)) = (
            object["spec"]["exportRef"]["name"].as_str(),
            object["spec"]["exportUid"].as_str(),
        )
    {
        // Without `blockOwnerDeletion`: it would make the deletion wait, and needs a right of its own.
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": API_VERSION,
            "kind": Kind::Export.as_str(),
            "name": name,
            "uid": uid,
            "controller": true,
        }]);
    }
    object
}

fn unfit(request: &Request, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Kubernetes {
        action: request.to_string(),
        source: source.into(),
    }
}

#[async_trait]
impl Secrets for KubernetesStore {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        self.secrets.get(namespace, name, key).await
    }

    fn redactor(&self) -> Redactor {
        self.secrets.redactor().clone()
    }
}

#[async_trait]
impl Notices for KubernetesStore {
    async fn publish(&self, mut notice: Notice) {
        notice.message = self.secrets.redactor().redact(&notice.message);
        self.events.publish(notice);
    }

    async fn list_notices(&self) -> Result<Vec<Notice>, StoreError> {
        self.events.list().await
    }
}
