//! The objects of one kind in memory, and those who watch them. Every home has its objects on such shelves.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures::{StreamExt, stream::BoxStream};
use lakegate_crds::{DataSource, Export, ExportRun, LakegateResource, RetentionPolicy, View};
use tokio::sync::Notify;

use crate::{Entry, Event, Key};

pub struct Shelf<K: LakegateResource> {
    // One lock for entries and mailboxes: a watch that begins sees each change either in its snapshot or in its
    // mailbox, never in neither.
    inner: Mutex<Inner<K>>,
}

struct Inner<K: LakegateResource> {
    entries: BTreeMap<Key, Entry<K>>,
    watchers: Vec<Weak<Mailbox<K>>>,
}

impl<K: LakegateResource> Default for Shelf<K> {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                entries: BTreeMap::new(),
                watchers: Vec::new(),
            }),
        }
    }
}

impl<K: Shelved> Shelf<K> {
    pub fn get(&self, key: &Key) -> Option<Entry<K>> {
        lock(&self.inner).entries.get(key).cloned()
    }

    pub fn list(&self) -> Vec<Entry<K>> {
        lock(&self.inner).entries.values().cloned().collect()
    }

    /// Puts an entry; tells the watchers when it differs from what was there. Whether it did.
    pub fn put(&self, entry: &Entry<K>) -> bool {
        let mut inner = lock(&self.inner);
        let replaced = match inner.entries.get(&entry.key) {
            Some(old) if same(old, entry) => return false,
            Some(old) if old.uid != entry.uid => Some(old.clone()),
            _ => None,
        };
        let mut entry = entry.clone();
        if let Some(object) = &mut entry.object {
            inner.share(&entry.key, object);
        }
        inner.entries.insert(entry.key.clone(), entry.clone());
        inner.tell(|mailbox| {
            if let Some(old) = &replaced {
                mailbox.push(old.key.clone(), Event::Deleted(old.clone()));
            }
            mailbox.push(entry.key.clone(), Event::Applied(entry.clone()));
        });
        true
    }

    pub fn remove(&self, key: &Key) -> Option<Entry<K>> {
        let mut inner = lock(&self.inner);
        let entry = inner.entries.remove(key)?;
        inner.tell(|mailbox| mailbox.push(key.clone(), Event::Deleted(entry.clone())));
        Some(entry)
    }

    pub fn watch(&self) -> BoxStream<'static, Event<K>> {
        let mut inner = lock(&self.inner);
        let snapshot: Vec<_> = inner.entries.values().cloned().map(Event::Applied).collect();
        let mailbox = Arc::new(Mailbox::default());
        inner.watchers.push(Arc::downgrade(&mailbox));
        let changes = futures::stream::unfold(mailbox, |mailbox| async move {
            let event = mailbox.next().await?;
            Some((event, mailbox))
        });
        futures::stream::iter(snapshot)
            .chain(futures::stream::iter([Event::Synced]))
            .chain(changes)
            .boxed()
    }
}

impl<K: Shelved> Inner<K> {
    /// What the object has in common with those beside it is held once.
    fn share(&self, key: &Key, object: &mut Arc<K>) {
        let after = (Bound::Excluded(key), Bound::Unbounded);
        let beside = [
            self.entries.get(key),
            self.entries.range(..key).next_back().map(|(_, entry)| entry),
            self.entries.range(after).next().map(|(_, entry)| entry),
        ];
        for other in beside.into_iter().flatten() {
            if let Some(other) = &other.object {
                K::share(object, other);
            }
        }
    }

    fn tell(&mut self, push: impl Fn(&Mailbox<K>)) {
        self.watchers.retain(|watcher| {
            let Some(mailbox) = watcher.upgrade() else {
                return false;
            };
            push(&mailbox);
            true
        });
    }
}

impl<K: LakegateResource> Drop for Shelf<K> {
    fn drop(&mut self) {
        for mailbox in lock(&self.inner).watchers.iter().filter_map(Weak::upgrade) {
            lock(&mailbox.queue).closed = true;
            mailbox.wake.notify_one();
        }
    }
}

/// What one watcher has not read yet: at most one deletion and one newest version per key, so that a slow reader
/// costs no more memory than the objects themselves.
struct Mailbox<K: LakegateResource> {
    queue: Mutex<Queue<K>>,
    wake: Notify,
}

struct Queue<K: LakegateResource> {
    order: VecDeque<Key>,
    pending: BTreeMap<Key, Pending<K>>,
    closed: bool,
}

/// In this order.
struct Pending<K: LakegateResource> {
    deleted: Option<Event<K>>,
    applied: Option<Event<K>>,
}

impl<K: LakegateResource> Default for Mailbox<K> {
    fn default() -> Self {
        let queue = Queue {
            order: VecDeque::new(),
            pending: BTreeMap::new(),
            closed: false,
        };
        Self {
            queue: Mutex::new(queue),
            wake: Notify::new(),
        }
    }
}

impl<K: LakegateResource> Mailbox<K> {
    fn push(&self, key: Key, event: Event<K>) {
        let mut guard = lock(&self.queue);
        let queue = &mut *guard;
        let pending = queue.pending.entry(key.clone()).or_insert_with(|| {
            queue.order.push_back(key);
            Pending {
                deleted: None,
                applied: None,
            }
        });
        match event {
            // The deletion that waits already is of the version this watcher knows; a later one was never seen.
            Event::Deleted(_) => {
                pending.applied = None;
                pending.deleted.get_or_insert(event);
            }
            Event::Applied(_) => pending.applied = Some(event),
            Event::Synced => {}
        }
        drop(guard);
        // `notify_one` keeps a permit when nobody waits, so a push between a look and a wait is not missed.
        self.wake.notify_one();
    }

    async fn next(&self) -> Option<Event<K>> {
        loop {
            {
                let mut queue = lock(&self.queue);
                let queue = &mut *queue;
                if let Some(key) = queue.order.front().cloned()
                    && let Some(pending) = queue.pending.get_mut(&key)
                {
                    let event = pending.deleted.take().or_else(|| pending.applied.take());
                    if pending.applied.is_none() {
                        // Off the front at once: an object that changes all the time does not starve the others.
                        queue.pending.remove(&key);
                        queue.order.pop_front();
                    }
                    if event.is_some() {
                        return event;
                    }
                }
                if queue.closed {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }
}

/// A lock whose data stays whole when a holder panicked: every change below is one insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn same<K: LakegateResource>(left: &Entry<K>, right: &Entry<K>) -> bool {
    left.uid == right.uid
        && left.generation == right.generation
        && left.is_held == right.is_held
        && left.deletion == right.deletion
        && left.status == right.status
        && left.rejected == right.rejected
        && match (&left.object, &right.object) {
            (None, None) => true,
            (Some(left), Some(right)) => {
                Arc::ptr_eq(left, right)
                    || matches!(
                        (serde_json::to_value(&**left), serde_json::to_value(&**right)),
                        (Ok(left), Ok(right)) if left == right
                    )
            }
            _ => false,
        }
}

/// One shelf for each kind.
#[derive(Default)]
pub struct Shelves {
    data_sources: Shelf<DataSource>,
    exports: Shelf<Export>,
    export_runs: Shelf<ExportRun>,
    retention_policies: Shelf<RetentionPolicy>,
    views: Shelf<View>,
}

/// A kind that has a shelf.
pub trait Shelved: LakegateResource {
    fn shelf(shelves: &Shelves) -> &Shelf<Self>;

    /// Takes from another object what this one has just the same, so that memory holds it once.
    fn share(_object: &mut Arc<Self>, _other: &Self) {}
}

macro_rules! shelved {
    ($($kind:ident => $field:ident),* $(,)?) => {$(
        impl Shelved for $kind {
            fn shelf(shelves: &Shelves) -> &Shelf<Self> {
                &shelves.$field
            }
        }
    )*};
}
shelved! {
    DataSource => data_sources,
    Export => exports,
    RetentionPolicy => retention_policies,
    View => views,
}

impl Shelved for ExportRun {
    fn shelf(shelves: &Shelves) -> &Shelf<Self> {
        &shelves.export_runs
    }

    /// A run has the whole spec that it performs. Its name begins with its Export's, so beside it stand other runs of that
    /// Export, and few edits are between them.
    fn share(object: &mut Arc<Self>, other: &Self) {
        if let (Some(own), Some(others)) = (&object.spec.resolved, &other.spec.resolved)
            && let Some(shared) = own.share(others)
        {
            Arc::make_mut(object).spec.resolved = Some(shared);
        }
    }
}

#[cfg(test)]
mod tests {
    use lakegate_crds::Shared;
    use serde_json::json;

    use super::*;

    fn run(name: &str, cron: &str) -> Entry<ExportRun> {
        let object: ExportRun = serde_json::from_value(json!({
            "apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun", "metadata": {"name": name},
            "spec": {"exportRef": {"name": "orders"}, "resolved": {
                "from": {"sourceRef": {"name": "shop"}, "table": {"name": "orders"}}, "allColumns": {},
                "schedule": {"cron": cron},
                "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": "orders"},
            }},
        }))
        .unwrap();
        Entry {
            key: Key::of(&object),
            object: Some(Arc::new(object)),
            status: None,
            rejected: None,
            uid: name.to_owned(),
            generation: 1,
            is_held: false,
            deletion: None,
        }
    }

    #[test]
    fn runs_of_one_spec_hold_it_once() {
        let shelf = Shelf::<ExportRun>::default();
        for (name, cron) in [
            ("a-1", "0 1 * * *"),
            ("a-3", "0 3 * * *"),
            ("a-4", "0 3 * * *"),
            ("a-2", "0 1 * * *"),
        ] {
            shelf.put(&run(name, cron));
        }
        let spec_of = |name: &str| {
            let entry = shelf.get(&Key::named(name)).unwrap();
            entry.object.unwrap().spec.resolved.clone().unwrap()
        };
        let is_one = |one: &str, other: &str| Shared::is(&spec_of(one), &spec_of(other));
        assert!(is_one("a-1", "a-2") && is_one("a-3", "a-4") && !is_one("a-2", "a-3"));
        // A version that is read anew, with a spec of its own, takes the one that is held.
        let held = spec_of("a-4");
        let mut again = run("a-4", "0 3 * * *");
        again.generation = 2;
        shelf.put(&again);
        assert!(spec_of("a-4").is(&held));
    }
}
