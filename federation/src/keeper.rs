//! Keeps the catalogs as the resources say: one task a DataSource connects, discovers
//! and retries on its own, so that one broken store delays and disturbs no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use lakegate_crds::conditions::Reason;
use lakegate_crds::{
    DataSource, DataSourceSpec, DeletionPolicy, Export, ExportRun, LakegateResource, MANIFEST_ANNOTATION,
    View,
};
use lakegate_store::{Entry, Event, Key, ResourceStore, Secrets, StoreOf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Federation;
use crate::catalog::{Catalog, Served};
use crate::source::{CatalogSource, SourceContext, SourceError, open_source};
use crate::source_task::{LOOK, Task, silent};
use crate::views::{ViewEntry, refresh_views, served_views};

/// Changes within this time are taken together.
const SETTLE: Duration = Duration::from_millis(20);

/// One DataSource being kept.
struct Kept {
    uid: String,
    /// The connection as it is: everything but discovery and description.
    connection: DataSourceSpec,
    generation: i64,
    catalog: String,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Federation {
    /// Serves the DataSources and Views of a store until `shutdown`, then stops every
    /// task it started.
    ///
    /// Returns early only when the store ends its watches.
    pub async fn run_catalogs(
        self: Arc<Self>,
        store: Arc<dyn ResourceStore>,
        state_dir: PathBuf,
        shutdown: CancellationToken,
    ) {
        self.set_store(Arc::clone(&store));
        let mut sources = StoreOf::<DataSource>::of(store.as_ref()).watch();
        let mut views = StoreOf::<View>::of(store.as_ref()).watch();
        let mut runs = StoreOf::<ExportRun>::of(store.as_ref()).watch();
        let mut known_sources: BTreeMap<Key, Entry<DataSource>> = BTreeMap::new();
        let mut known_views: BTreeMap<Key, Entry<View>> = BTreeMap::new();
        let mut exports = StoreOf::<Export>::of(store.as_ref()).watch();
        let mut published: BTreeSet<String> = BTreeSet::new();
        let mut runs_synced = false;
        let mut kept: BTreeMap<Key, Kept> = BTreeMap::new();
        let mut revision = 0;
        let mut changes = self.catalog_changes();
        let keeper = Keeper {
            federation: Arc::clone(&self),
            store,
            state_dir,
        };
        loop {
            let mut sources_changed = false;
            let mut look_again = false;
            tokio::select! {
                () = shutdown.cancelled() => break,
                event = sources.next() => match event {
                    Some(event) => { apply(&mut known_sources, event); sources_changed = true; }
                    None => break,
                },
                event = views.next() => match event {
                    Some(event) => { apply(&mut known_views, event); look_again = true; }
                    None => break,
                },
                event = runs.next() => match event {
                    Some(Event::Applied(entry)) => {
                        // a run that has just published: its table shows at once
                        if let Some(snapshot) = entry.status.and_then(|status| status.snapshot_id)
                            && published.insert(format!("{}/{snapshot}", entry.uid))
                            && runs_synced
                        {
                            keeper.look_at_lakes(&kept, &known_sources);
                        }
                    }
                    Some(Event::Deleted(entry)) => published.retain(|seen| !seen.starts_with(&entry.uid)),
                    Some(Event::Synced) => runs_synced = true,
                    None => break,
                },
                event = exports.next() => match event {
                    // one that is gone may have taken its table along
                    Some(Event::Deleted(entry)) if takes_table(&entry) => {
                        keeper.look_at_lakes(&kept, &known_sources);
                    }
                    Some(_) => {}
                    None => break,
                },
                told = changes.changed() => match told {
                    Ok(()) => look_again = true,
                    Err(_) => break,
                },
            }
            // a folder with many manifests arrives as many events
            if sources_changed || look_again {
                tokio::time::sleep(SETTLE).await;
                sources_changed |= drain(&mut sources, &mut known_sources);
                drain(&mut views, &mut known_views);
            }
            if sources_changed {
                keeper.converge(&known_sources, &mut kept).await;
            }
            let now = *changes.borrow_and_update();
            if now != revision || look_again {
                revision = now;
                let entries: Vec<ViewEntry> = served_views(&known_views);
                refresh_views(&self, entries).await;
            }
        }
        for (_, source) in kept {
            source.cancel.cancel();
            // an aborted task is as good as an ended one
            let _ = source.task.await;
        }
    }

    /// Looks at a catalog's store now, and returns when that has been done (well or
    /// not). A catalog that is not kept by [`Self::run_catalogs`] is left as it is.
    pub async fn refresh(&self, catalog: &str) {
        let Some(looks) = self.looks().get(catalog).cloned() else {
            return;
        };
        let (done, wait) = oneshot::channel();
        if looks.send(done).await.is_ok() {
            // the task may end instead of looking
            let _ = wait.await;
        }
    }

    /// Connects, discovers and serves one DataSource, once and without keeping it up: for
    /// a worker, which lives as long as its run.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub async fn attach(
        &self,
        name: &str,
        spec: &DataSourceSpec,
        context: &SourceContext,
    ) -> Result<(), SourceError> {
        let catalog = spec.catalog_name(name);
        let source = open_source(spec, &catalog, context).await?;
        // All that a run reads is from one server, and so of one age.
        source.pin();
        self.attach_source(&catalog, name, source).await
    }

    /// As [`Self::attach`], for a query that may read several tables: all are read as they
    /// were at one moment, where the store has a way to it.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub async fn attach_at_one_moment(
        &self,
        name: &str,
        spec: &DataSourceSpec,
        context: &SourceContext,
    ) -> Result<(), SourceError> {
        let catalog = spec.catalog_name(name);
        let source = open_source(spec, &catalog, context).await?;
        source.hold();
        self.attach_source(&catalog, name, source).await
    }

    /// Serves a source under a catalog name, once and without keeping it up.
    ///
    /// # Errors
    /// Why it cannot be served.
    pub async fn attach_source(
        &self,
        catalog: &str,
        source_name: &str,
        source: Arc<dyn CatalogSource>,
    ) -> Result<(), SourceError> {
        let look = async {
            source.probe().await?;
            source.discover().await
        };
        let tables = tokio::time::timeout(LOOK, look)
            .await
            .map_err(|_| silent(catalog))??;
        self.put_catalog(Catalog {
            name: catalog.to_owned(),
            source_name: source_name.to_owned(),
            description: None,
            served: Some(Arc::new(Served::new(source, tables, None))),
            problem: None,
        });
        Ok(())
    }

    /// Stops serving a catalog that was attached. Running queries keep it.
    pub fn detach(&self, catalog: &str) {
        self.remove_catalog(catalog);
    }
}

fn takes_table(export: &Entry<Export>) -> bool {
    export
        .object
        .as_deref()
        .is_some_and(|export| export.spec.effective_deletion_policy() == DeletionPolicy::Delete)
}

fn apply<K: LakegateResource>(known: &mut BTreeMap<Key, Entry<K>>, event: Event<K>) {
    match event {
        Event::Applied(entry) => {
            known.insert(entry.key.clone(), entry);
        }
        Event::Deleted(entry) => {
            // a Deleted of an older uid may not take the newer object away
            if known.get(&entry.key).is_some_and(|known| known.uid == entry.uid) {
                known.remove(&entry.key);
            }
        }
        Event::Synced => {}
    }
}

/// Takes the events that are already there.
fn drain<K: LakegateResource>(
    events: &mut futures::stream::BoxStream<'static, Event<K>>,
    known: &mut BTreeMap<Key, Entry<K>>,
) -> bool {
    use futures::FutureExt;
    let mut any = false;
    while let Some(Some(event)) = events.next().now_or_never() {
        apply(known, event);
        any = true;
    }
    any
}

/// The spec without what can change under a living connection.
fn connection_of(spec: &DataSourceSpec) -> DataSourceSpec {
    DataSourceSpec {
        description: None,
        access: None,
        suspend: None,
        ..spec.clone()
    }
}

/// The catalog names of all DataSources with a good version, each with its owner: the
/// oldest keeps a name that two want, then namespace and name decide, as validation does.
fn owners(known: &BTreeMap<Key, Entry<DataSource>>) -> BTreeMap<String, Key> {
    let mut claims: Vec<_> = known
        .values()
        .filter_map(|entry| {
            let object = entry.object.as_ref()?;
            let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let catalog = object.spec.catalog_name(&entry.key.name);
            // an object without a creation time is the newest
            Some((created.unwrap_or(Timestamp::MAX), entry.key.clone(), catalog))
        })
        .collect();
    claims.sort();
    let mut owners = BTreeMap::new();
    for (_, key, catalog) in claims {
        owners.entry(catalog).or_insert(key);
    }
    owners
}

/// Why a DataSource with a good version is not served, whatever its store says.
fn unserved(object: &DataSource) -> Option<(Reason, String)> {
    if object.spec.is_suspended() {
        return Some((Reason::Suspended, "it is suspended".into()));
    }
    let problem = crate::unserved::first_problem(object)?;
    Some((problem.reason, format!("{}: {}", problem.field, problem.message)))
}

struct Keeper {
    federation: Arc<Federation>,
    store: Arc<dyn ResourceStore>,
    state_dir: PathBuf,
}

impl Keeper {
    /// Starts, restarts and stops tasks until they are what the resources say.
    async fn converge(&self, known: &BTreeMap<Key, Entry<DataSource>>, kept: &mut BTreeMap<Key, Kept>) {
        let owners = owners(known);
        let gone: Vec<Key> = kept
            .keys()
            .filter(|key| !known.contains_key(key))
            .cloned()
            .collect();
        for key in gone {
            self.stop(&key, kept).await;
            self.federation.health_map().remove_source(&key);
        }
        for entry in known.values() {
            let Some(object) = &entry.object else {
                self.stop(&entry.key, kept).await;
                self.federation.health_map().remove_source(&entry.key);
                continue;
            };
            let catalog = object.spec.catalog_name(&entry.key.name);
            let conflict = owners.get(&catalog).filter(|owner| **owner != entry.key);
            let refused = match conflict {
                Some(owner) => Some((
                    Reason::NameConflict,
                    format!(
                        "the catalog name {catalog} belongs to the older DataSource {owner}; set another spec.catalogName"
                    ),
                )),
                None => unserved(object),
            };
            if let Some((reason, message)) = refused {
                self.stop(&entry.key, kept).await;
                self.refuse(entry, object, &catalog, conflict.is_none(), reason, message);
                continue;
            }
            let connection = connection_of(&object.spec);
            if let Some(running) = kept.get(&entry.key)
                && running.uid == entry.uid
                && running.connection == connection
            {
                self.describe(&catalog, object.spec.description.as_ref());
                if running.generation != entry.generation {
                    self.federation
                        .health_map()
                        .update_source(&entry.key, |health| health.generation = entry.generation);
                    if let Some(running) = kept.get_mut(&entry.key) {
                        running.generation = entry.generation;
                    }
                }
                continue;
            }
            // The catalog stays as it was until the new connection has been tried.
            if let Some(old) = kept.remove(&entry.key) {
                old.cancel.cancel();
                let _ = old.task.await;
                if old.catalog != catalog {
                    self.federation.remove_catalog(&old.catalog);
                }
            }
            let started = self.start(entry, object, catalog, connection);
            kept.insert(entry.key.clone(), started);
        }
    }

    async fn stop(&self, key: &Key, kept: &mut BTreeMap<Key, Kept>) {
        if let Some(old) = kept.remove(key) {
            old.cancel.cancel();
            let _ = old.task.await;
            self.federation.looks().remove(&old.catalog);
            self.federation.remove_catalog(&old.catalog);
        }
    }

    /// Records a DataSource that is not connected; its name answers with the reason,
    /// unless the name is another's.
    fn refuse(
        &self,
        entry: &Entry<DataSource>,
        object: &DataSource,
        catalog: &str,
        owns_name: bool,
        reason: Reason,
        message: String,
    ) {
        if owns_name {
            self.federation.put_catalog(Catalog {
                name: catalog.to_owned(),
                source_name: entry.key.name.clone(),
                description: object.spec.description.clone(),
                served: None,
                problem: Some(message.clone()),
            });
        }
        self.federation.health_map().update_source(&entry.key, |health| {
            *health = crate::SourceHealth {
                reachable: None,
                reason: Some(reason),
                message: Some(message),
                terminal: true,
                catalog: catalog.to_owned(),
                uid: entry.uid.clone(),
                generation: entry.generation,
                ..crate::SourceHealth::default()
            };
        });
    }

    fn describe(&self, catalog: &str, description: Option<&String>) {
        let snapshot = self.federation.catalogs().current();
        if let Some(current) = snapshot.catalogs.get(catalog)
            && current.description.as_ref() != description
        {
            let current = Catalog {
                description: description.cloned(),
                ..Catalog::clone(current)
            };
            self.federation.put_catalog(current);
        }
    }

    fn start(
        &self,
        entry: &Entry<DataSource>,
        object: &Arc<DataSource>,
        catalog: String,
        connection: DataSourceSpec,
    ) -> Kept {
        let cancel = CancellationToken::new();
        let (looks, requests) = mpsc::channel(16);
        self.federation.looks().insert(catalog.clone(), looks);
        let manifest = object
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(MANIFEST_ANNOTATION));
        let base_dir = manifest
            .and_then(|path| Path::new(path).parent())
            .map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        let secrets: Arc<dyn Secrets> = Arc::clone(&self.store) as Arc<dyn Secrets>;
        let task = Task {
            federation: Arc::clone(&self.federation),
            key: entry.key.clone(),
            uid: entry.uid.clone(),
            generation: entry.generation,
            catalog: catalog.clone(),
            object: Arc::clone(object),
            context: SourceContext {
                namespace: entry.key.namespace.clone(),
                base_dir,
                state_dir: self.state_dir.clone(),
                secrets,
                runtime: Arc::clone(self.federation.runtime_env()),
            },
        };
        if !self
            .federation
            .catalogs()
            .current()
            .catalogs
            .contains_key(&catalog)
        {
            // the name is known at once; its tables follow
            self.federation.put_catalog(task.catalog(None, None));
        }
        let stop = cancel.clone();
        let handle = tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task.run(requests) => {}
            }
        });
        Kept {
            uid: entry.uid.clone(),
            connection,
            generation: entry.generation,
            catalog,
            cancel,
            task: handle,
        }
    }

    fn look_at_lakes(&self, kept: &BTreeMap<Key, Kept>, known: &BTreeMap<Key, Entry<DataSource>>) {
        for (key, source) in kept {
            let object = known.get(key).and_then(|entry| entry.object.as_ref());
            if object.is_some_and(|object| object.spec.lake.is_some()) {
                let looks = self.federation.looks().get(&source.catalog).cloned();
                if let Some(looks) = looks {
                    // nobody waits; a full queue means that a look is due anyway
                    let (done, _) = oneshot::channel();
                    let _ = looks.try_send(done);
                }
            }
        }
    }
}
