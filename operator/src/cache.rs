//! What the operator last saw of every object, in memory.
//!
//! It reads its own writes: what the operator created, deleted or wrote shows here at once, not when the store's watch
//! brings it. The operator is the only writer of status, so a status it wrote itself is newer than any the watch brings
//! for the same object.

use std::{
    collections::BTreeMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use lakegate_crds::{DataSource, Export, ExportRun, LakegateResource, RetentionPolicy, View};
use lakegate_store::{Entry, Key};

/// The objects of one kind.
#[derive(Debug)]
pub struct Shelf<K: LakegateResource> {
    slots: RwLock<BTreeMap<Key, Slot<K>>>,
}

#[derive(Debug)]
struct Slot<K: LakegateResource> {
    entry: Entry<K>,
    /// The operator wrote this object's status: what a watch says about it is old.
    is_written: bool,
}

/// What an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that was not known.
    None,

    /// Its status only.
    Status,

    /// Its manifest, or that it exists.
    Object,
}

impl<K: LakegateResource> Default for Shelf<K> {
    fn default() -> Self {
        Self {
            slots: RwLock::default(),
        }
    }
}

impl<K: LakegateResource> Shelf<K> {
    /// Takes in an object as the watch or a create tells of it.
    pub fn apply(&self, mut entry: Entry<K>) -> Change {
        let mut slots = self.write();
        let known = slots.get(&entry.key).filter(|slot| slot.entry.uid == entry.uid);
        let is_written = known.is_some_and(|slot| slot.is_written);
        let change = match known {
            None => Change::Object,
            Some(slot) => {
                if slot.is_written {
                    entry.status.clone_from(&slot.entry.status);
                }
                let same_object = slot.entry.generation == entry.generation
                    && slot.entry.rejected == entry.rejected
                    && metadata_of(&slot.entry) == metadata_of(&entry);
                match (same_object, slot.entry.status == entry.status) {
                    (false, _) => Change::Object,
                    (true, false) => Change::Status,
                    (true, true) => Change::None,
                }
            }
        };
        slots.insert(entry.key.clone(), Slot { entry, is_written });
        change
    }

    /// Takes in that the object with this uid is gone. False when another one of its name is there.
    pub fn remove(&self, key: &Key, uid: &str) -> bool {
        let mut slots = self.write();
        let is_known = slots.get(key).is_some_and(|slot| slot.entry.uid == uid);
        if is_known {
            slots.remove(key);
        }
        is_known
    }

    /// Takes in a status that the operator wrote.
    pub fn wrote(&self, key: &Key, uid: &str, status: K::Status) {
        if let Some(slot) = self.write().get_mut(key).filter(|slot| slot.entry.uid == uid) {
            slot.entry.status = Some(status);
            slot.is_written = true;
        }
    }

    /// The object, if it is there.
    pub fn get(&self, key: &Key) -> Option<Entry<K>> {
        self.read().get(key).map(|slot| slot.entry.clone())
    }

    /// Every object that passes.
    pub fn filter(&self, mut passes: impl FnMut(&Entry<K>) -> bool) -> Vec<Entry<K>> {
        self.read()
            .values()
            .map(|slot| &slot.entry)
            .filter(|entry| passes(entry))
            .cloned()
            .collect()
    }

    /// Shows every object, in the order of keys. Nothing is taken in meanwhile.
    pub fn visit(&self, mut look: impl FnMut(&Entry<K>)) {
        self.read().values().for_each(|slot| look(&slot.entry));
    }

    /// The keys of every object that passes.
    pub fn keys(&self, mut passes: impl FnMut(&Entry<K>) -> bool) -> Vec<Key> {
        self.read()
            .values()
            .map(|slot| &slot.entry)
            .filter(|entry| passes(entry))
            .map(|entry| entry.key.clone())
            .collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Key, Slot<K>>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Key, Slot<K>>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of an object that can change without a new generation and that matters to us: annotations and labels.
fn metadata_of<K: LakegateResource>(entry: &Entry<K>) -> [Option<&BTreeMap<String, String>>; 2] {
    let metadata = entry.object.as_deref().map(lakegate_crds::kube::Resource::meta);
    [
        metadata.and_then(|metadata| metadata.annotations.as_ref()),
        metadata.and_then(|metadata| metadata.labels.as_ref()),
    ]
}

/// All shelves.
#[derive(Debug, Default)]
pub struct Cache {
    /// DataSources.
    pub sources: Shelf<DataSource>,

    /// Exports.
    pub exports: Shelf<Export>,

    /// Their runs.
    pub runs: Shelf<ExportRun>,

    /// RetentionPolicies.
    pub policies: Shelf<RetentionPolicy>,

    /// Views.
    pub views: Shelf<View>,
}

impl Cache {
    /// The runs that name an Export.
    pub fn runs_of(&self, export: &Key) -> Vec<Entry<ExportRun>> {
        self.runs.filter(|run| export_of(run).as_ref() == Some(export))
    }
}

/// The Export that a run names.
pub fn export_of(run: &Entry<ExportRun>) -> Option<Key> {
    let reference = run.object.as_deref()?.spec.export_ref.as_ref()?;
    Some(Key::new(&run.key.namespace, &reference.name))
}

/// Picks the shelf of one kind.
pub trait ShelfOf<K: LakegateResource> {
    /// The shelf.
    fn shelf(&self) -> &Shelf<K>;
}

macro_rules! shelf_of {
    ($($kind:ty: $field:ident),*) => {$(
        impl ShelfOf<$kind> for Cache {
            fn shelf(&self) -> &Shelf<$kind> {
                &self.$field
            }
        }
    )*};
}
shelf_of!(DataSource: sources, Export: exports, ExportRun: runs, RetentionPolicy: policies, View: views);
