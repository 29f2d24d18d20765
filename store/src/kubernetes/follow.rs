//! Keeps what is known up to date, through whatever happens to the connection and to the API server.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api,
    api::DynamicObject,
    runtime::{
        utils::Backoff,
        watcher::{self, DefaultBackoff, watcher},
    },
};
use tokio::sync::oneshot;

use super::{
    error::{Request, answer},
    reflection::Reflections,
};
use crate::{Key, StoreError, shelf::Shelved};

/// Between two attempts to reach the API server, at the most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// In seconds: the API server ends each watch after this time, so a connection over which nothing has come for longer is
/// a dead one.
const WATCH_TIME: u32 = 120;

/// Follows one kind in one namespace for ever. `synced` is told when everything that is there is known, or why it never
/// will be.
pub(super) async fn follow<K: Shelved>(
    reflections: Arc<Reflections>,
    api: Api<DynamicObject>,
    namespace: String,
    synced: oneshot::Sender<Result<(), StoreError>>,
) {
    let mut follower = Follower::<K> {
        reflections,
        api,
        namespace,
        synced: Some(synced),
        listed: BTreeMap::new(),
        is_cut: false,
        kind: PhantomData,
    };
    let mut backoff = DefaultBackoff::default();
    loop {
        // Lists once, then watches from there; tells each interruption, and goes on by itself.
        let mut events = Box::pin(watcher(
            follower.api.clone(),
            watcher::Config::default().timeout(WATCH_TIME),
        ));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // A list begins before it is known whether there will be an answer.
                    if !matches!(event, watcher::Event::Init) {
                        backoff.reset();
                    }
                    follower.take_in(event).await;
                }
                Err(error) => {
                    let is_expired = is_expired(&error);
                    if !follower.report(error) {
                        return;
                    }
                    tokio::time::sleep(backoff.next().unwrap_or(LONGEST_PAUSE)).await;
                    if is_expired {
                        // The watcher would ask for the same lost version again and again: begin with a new list.
                        break;
                    }
                }
            }
        }
    }
}

struct Follower<K> {
    reflections: Arc<Reflections>,
    api: Api<DynamicObject>,
    namespace: String,
    synced: Option<oneshot::Sender<Result<(), StoreError>>>,
    /// What the list that is being read holds so far: keys and uids.
    listed: BTreeMap<Key, String>,
    /// Nothing has been heard since an error.
    is_cut: bool,
    kind: PhantomData<fn() -> K>,
}

impl<K: Shelved> Follower<K> {
    async fn take_in(&mut self, event: watcher::Event<DynamicObject>) {
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                self.reflections.begin_list::<K>(&self.namespace);
                return;
            }
            watcher::Event::InitApply(object) => {
                if let Some(entry) = self.reflections.apply::<K>(object) {
                    self.listed.insert(entry.key, entry.uid);
                }
                return;
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                for (key, uid) in self.reflections.end_list::<K>(&self.namespace, &listed) {
                    self.ask(&key, &uid).await;
                }
                if let Some(synced) = self.synced.take() {
                    let _ = synced.send(Ok(()));
                }
            }
            watcher::Event::Apply(object) => drop(self.reflections.apply::<K>(object)),
            watcher::Event::Delete(object) => self.reflections.vanish::<K>(object),
        }
        if std::mem::take(&mut self.is_cut) {
            tracing::info!(kind = %K::KIND, namespace = self.namespace, "the API server is followed again");
        }
    }

    /// Asks for an object of which the list says nothing, because it was written meanwhile.
    async fn ask(&self, key: &Key, uid: &str) {
        match answer(self.api.get_opt(&key.name)).await {
            Ok(Some(object)) => drop(self.reflections.apply::<K>(object)),
            Ok(None) => self.reflections.delete::<K>(key, uid),
            // It was there when it was written; should it be gone, the next list says so.
            Err(error) => {
                tracing::debug!(kind = %K::KIND, %key, %error, "an object could not be asked for");
            }
        }
    }

    /// Tells of an interruption, once. Whether to go on.
    fn report(&mut self, error: watcher::Error) -> bool {
        let verb = if matches!(error, watcher::Error::InitialListFailed(_)) {
            "list"
        } else {
            "watch"
        };
        let request = Request::all(verb, K::KIND, &self.namespace);
        let error = match error {
            watcher::Error::InitialListFailed(source)
            | watcher::Error::WatchStartFailed(source)
            | watcher::Error::WatchFailed(source) => request.failed(source),
            watcher::Error::WatchError(status) => request.failed(kube::Error::Api(status)),
            error @ watcher::Error::NoResourceVersion => StoreError::Kubernetes {
                action: request.to_string(),
                source: Box::new(error),
            },
        };
        // Waiting does not help against a missing right or definition: whoever starts this should know at once.
        let is_final = matches!(
            error,
            StoreError::Forbidden { .. } | StoreError::NotInstalled { .. }
        );
        if is_final && let Some(synced) = self.synced.take() {
            let _ = synced.send(Err(error));
            return false;
        }
        // The end of a watch is no news: the API server ends each after some minutes, and all when it stops.
        if !std::mem::replace(&mut self.is_cut, true) {
            let error = crate::error::chain(&error);
            if is_final {
                tracing::error!(kind = %K::KIND, namespace = self.namespace, error, "changes are not seen any more");
            } else {
                tracing::info!(kind = %K::KIND, namespace = self.namespace, error, "the API server is not followed for now");
            }
        }
        true
    }
}

/// Whether the version to go on from is one that the API server does not remember any more.
fn is_expired(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        watcher::Error::WatchError(status) => status.code == 410,
        _ => false,
    }
}
