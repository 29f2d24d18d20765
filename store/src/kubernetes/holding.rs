//! Our finalizer on objects: put there, looked at, taken off. Finalizers of others are left as they are.
//!
//! A namespace that is deleted loses its RoleBindings in no order, and with ours this process would lose the right to let
//! go of what it holds there: the namespace would stay for ever. So the binding is held first, and let go of last.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{
    Api, Client, Resource,
    api::{DynamicObject, ObjectMeta, Patch, PatchParams},
    runtime::watcher::DefaultBackoff,
};
use lakegate_crds::{DataSource, EXPORT_DATA_FINALIZER, Export, ExportRun, RetentionPolicy, View};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::sync::Mutex;

use super::{
    CONFLICTS, KubernetesStore,
    entry::is_held,
    error::{Request, answer},
    reflection::Reflections,
};
use crate::{Key, StoreError, shelf::Shelved};

/// Owner of our finalizer.
const MANAGER: &str = "lakegate/finalizer";

/// API group of RoleBindings.
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// Between two attempts to let go of a binding, at the most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is asked of one object.
struct Change<'a> {
    name: &'a str,

    /// No other object of the name is meant; `None` means whichever there is.
    uid: Option<&'a str>,

    /// Whether it is to be held.
    held: bool,

    get: Request,

    patch: Request,
}

/// What came of it.
enum Changed<T> {
    /// The object as it is now.
    To(T),

    /// It is gone, or another object has its name.
    Gone,

    /// It is being deleted: nothing can hold it any more.
    Leaving(T),
}

/// Changes the finalizers of the version that was read, and of no other.
async fn change<T>(api: &Api<T>, wanted: &Change<'_>) -> Result<Changed<T>, StoreError>
where
    T: Resource + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let found = answer(api.get_opt(wanted.name))
            .await
            .map_err(|error| wanted.get.failed(error))?;
        let found = found.filter(|object| wanted.uid.is_none() || object.meta().uid.as_deref() == wanted.uid);
        let Some(object) = found else {
            return Ok(Changed::Gone);
        };
        let metadata = object.meta();
        if is_held(metadata) == wanted.held {
            return Ok(Changed::To(object));
        }
        if wanted.held && metadata.deletion_timestamp.is_some() {
            return Ok(Changed::Leaving(object));
        }
        let patch = json!({"metadata": {
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
            "finalizers": finalizers(metadata, wanted.held),
        }});
        match answer(api.patch(wanted.name, &parameters, &Patch::Merge(&patch))).await {
            Ok(object) => return Ok(Changed::To(object)),
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Changed::Gone),
            // Written by others meanwhile; or, refused as invalid, deleted meanwhile.
            Err(kube::Error::Api(status))
                if (status.is_conflict() || status.is_invalid()) && attempts < CONFLICTS => {}
            Err(error) => return Err(wanted.patch.failed(error)),
        }
    }
}

fn finalizers(metadata: &ObjectMeta, held: bool) -> Vec<&str> {
    let others = metadata.finalizers.iter().flatten().map(String::as_str);
    others
        .filter(|finalizer| *finalizer != EXPORT_DATA_FINALIZER)
        .chain(held.then_some(EXPORT_DATA_FINALIZER))
        .collect()
}

/// Whether an object whose finalizers were changed is gone by that.
fn is_gone(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some() && metadata.finalizers.as_ref().is_none_or(Vec::is_empty)
}

impl KubernetesStore {
    pub(super) async fn hold_object<K: Shelved>(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let gone = || StoreError::Gone {
            kind: K::KIND,
            key: key.clone(),
            uid: uid.to_owned(),
        };
        let _order = self.bindings.order.lock().await;
        self.bindings.set(&key.namespace, true).await?;
        let patch = Request::of::<K>("patch", key);
        let wanted = Change {
            name: &key.name,
            uid: Some(uid),
            held: true,
            get: Request::of::<K>("get", key),
            patch: patch.clone(),
        };
        match change(&self.api::<K>(&key.namespace), &wanted).await? {
            Changed::To(object) => self.learn::<K>(&patch, object).map(drop),
            Changed::Gone => Err(gone()),
            Changed::Leaving(object) => {
                self.learn::<K>(&patch, object)?;
                Err(gone())
            }
        }
    }

    pub(super) async fn release_object<K: Shelved>(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let order = self.bindings.order.lock().await;
        let patch = Request::of::<K>("patch", key);
        let wanted = Change {
            name: &key.name,
            uid: Some(uid),
            held: false,
            get: Request::of::<K>("get", key),
            patch: patch.clone(),
        };
        match change(&self.api::<K>(&key.namespace), &wanted).await? {
            Changed::To(object) | Changed::Leaving(object) if !is_gone(&object.metadata) => {
                self.learn::<K>(&patch, object)?;
            }
            // A watch may be slow to tell it.
            Changed::To(_) | Changed::Leaving(_) | Changed::Gone => self.reflections.delete::<K>(key, uid),
        }
        drop(order);
        if self.bindings.name.is_some() {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that have ended make room.
            while tasks.try_join_next().is_some() {}
            tasks.spawn(Arc::clone(&self.bindings).let_go(key.namespace.clone()));
        }
        Ok(())
    }

    pub(super) async fn is_deletion_confirmed<K: Shelved>(
        &self,
        key: &Key,
        uid: &str,
    ) -> Result<bool, StoreError> {
        let found: Option<DynamicObject> = answer(self.api::<K>(&key.namespace).get_opt(&key.name))
            .await
            .map_err(|error| Request::of::<K>("get", key).failed(error))?;
        // Nothing takes a deletion back here; but a person may have taken the finalizer off, and with it our leave.
        Ok(found.is_some_and(|object| {
            let metadata = &object.metadata;
            metadata.uid.as_deref() == Some(uid) && metadata.deletion_timestamp.is_some() && is_held(metadata)
        }))
    }
}

/// What gives this process its rights in its namespaces.
pub(super) struct Bindings {
    pub client: Client,

    /// `None`: not something in the namespaces.
    pub name: Option<String>,

    pub reflections: Arc<Reflections>,

    /// A binding is not let go of while an object is about to be held.
    pub order: Mutex<()>,
}

impl Bindings {
    /// Lets go of the binding of a namespace in which nothing is held, however often it has to be tried.
    pub async fn let_go(self: Arc<Self>, namespace: String) {
        let mut backoff = DefaultBackoff::default();
        loop {
            let order = self.order.lock().await;
            if self.is_needed(&namespace) {
                return;
            }
            let Err(failure) = self.set(&namespace, false).await else {
                return;
            };
            drop(order);
            let error = crate::error::chain(&failure);
            tracing::warn!(
                namespace,
                error,
                "the RoleBinding of this process may still be held there"
            );
            // Without the right it cannot have been held, and waiting gives none.
            if matches!(failure, StoreError::Forbidden { .. }) {
                return;
            }
            tokio::time::sleep(backoff.next().unwrap_or(LONGEST_PAUSE)).await;
        }
    }

    fn is_needed(&self, namespace: &str) -> bool {
        fn any<K: Shelved>(reflections: &Reflections, namespace: &str) -> bool {
            let all = reflections.shelf::<K>().list();
            all.iter()
                .any(|entry| entry.is_held && entry.key.namespace == namespace)
        }
        let all = &*self.reflections;
        any::<Export>(all, namespace)
            || any::<DataSource>(all, namespace)
            || any::<ExportRun>(all, namespace)
            || any::<RetentionPolicy>(all, namespace)
            || any::<View>(all, namespace)
    }

    async fn set(&self, namespace: &str, held: bool) -> Result<(), StoreError> {
        let Some(name) = &self.name else {
            return Ok(());
        };
        let request = |verb| Request::foreign(verb, RBAC_GROUP, "rolebindings", namespace, Some(name));
        let wanted = Change {
            name,
            uid: None,
            held,
            get: request("get"),
            patch: request("patch"),
        };
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), namespace);
        // One that is not there, or on its way out, cannot be held: then these rights come from elsewhere, or end.
        change(&bindings, &wanted).await.map(drop)
    }
}
