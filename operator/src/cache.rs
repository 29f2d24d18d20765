//! What the operator last saw of every object, in memory.
//!
//! It reads its own writes: what the operator created, deleted or wrote shows here at once, not when the store's watch
//! brings it. The operator is the only writer of status, so a status it wrote itself is newer than any the watch brings
//! for the same object.
//!
//! What is asked for at each look is found by a group, not by going through all objects: an instance has thousands of
//! runs, and a change of one Export must not cost a look at each of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use lakegate_crds::{DataSource, Export, ExportRun, LakegateResource, RetentionPolicy, View};
use lakegate_store::{Entry, Key};

/// What objects of a kind may have in common, in a form that compares.
pub type Group = (String, String);

/// The objects of one kind.
#[derive(Debug)]
pub struct Shelf<K: LakegateResource> {
    inner: RwLock<Inner<K>>,
    group_of: fn(&Entry<K>) -> Option<Group>,
}

#[derive(Debug)]
struct Inner<K: LakegateResource> {
    slots: BTreeMap<Key, Slot<K>>,
    groups: BTreeMap<Group, BTreeSet<Key>>,
}

#[derive(Debug)]
struct Slot<K: LakegateResource> {
    entry: Entry<K>,
    group: Option<Group>,
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
        Self::grouped(|_| None)
    }
}

impl<K: LakegateResource> Inner<K> {
    fn put(&mut self, slot: Slot<K>) {
        let key = slot.entry.key.clone();
        self.take(&key);
        if let Some(group) = &slot.group {
            self.groups.entry(group.clone()).or_default().insert(key.clone());
        }
        self.slots.insert(key, slot);
    }

    fn take(&mut self, key: &Key) {
        let Some(group) = self.slots.remove(key).and_then(|slot| slot.group) else {
            return;
        };
        if let Some(members) = self.groups.get_mut(&group) {
            members.remove(key);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
    }
}

impl<K: LakegateResource> Shelf<K> {
    /// Objects that are found by `group_of`.
    pub fn grouped(group_of: fn(&Entry<K>) -> Option<Group>) -> Self {
        let inner = Inner {
            slots: BTreeMap::new(),
            groups: BTreeMap::new(),
        };
        Self {
            inner: RwLock::new(inner),
            group_of,
        }
    }

    /// Takes in an object as the watch or a create tells of it.
    pub fn apply(&self, mut entry: Entry<K>) -> Change {
        let mut inner = self.write();
        let known = inner
            .slots
            .get(&entry.key)
            .filter(|slot| slot.entry.uid == entry.uid);
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
        let group = (self.group_of)(&entry);
        inner.put(Slot {
            entry,
            group,
            is_written,
        });
        change
    }

    /// Takes in that the object with this uid is gone. False when another one of its name is there.
    pub fn remove(&self, key: &Key, uid: &str) -> bool {
        let mut inner = self.write();
        let is_known = inner.slots.get(key).is_some_and(|slot| slot.entry.uid == uid);
        if is_known {
            inner.take(key);
        }
        is_known
    }

    /// Takes in a status that the operator wrote.
    pub fn wrote(&self, key: &Key, uid: &str, status: K::Status) {
        let mut inner = self.write();
        if let Some(slot) = inner.slots.get_mut(key).filter(|slot| slot.entry.uid == uid) {
            slot.entry.status = Some(status);
            slot.is_written = true;
        }
    }

    /// The object, if it is there.
    pub fn get(&self, key: &Key) -> Option<Entry<K>> {
        self.read().slots.get(key).map(|slot| slot.entry.clone())
    }

    /// The group of an object, if it is there and in one.
    pub fn group(&self, key: &Key) -> Option<Group> {
        self.read().slots.get(key)?.group.clone()
    }

    /// The objects of a group, by key.
    pub fn members(&self, group: &Group) -> Vec<Entry<K>> {
        let inner = self.read();
        let members = inner.groups.get(group).into_iter().flatten();
        members
            .filter_map(|key| inner.slots.get(key))
            .map(|slot| slot.entry.clone())
            .collect()
    }

    /// Every object that passes.
    pub fn filter(&self, mut passes: impl FnMut(&Entry<K>) -> bool) -> Vec<Entry<K>> {
        self.read()
            .slots
            .values()
            .map(|slot| &slot.entry)
            .filter(|entry| passes(entry))
            .cloned()
            .collect()
    }

    /// Shows every object, in the order of keys. Nothing is taken in meanwhile.
    pub fn visit(&self, mut look: impl FnMut(&Entry<K>)) {
        self.read().slots.values().for_each(|slot| look(&slot.entry));
    }

    /// The keys of every object that passes.
    pub fn keys(&self, mut passes: impl FnMut(&Entry<K>) -> bool) -> Vec<Key> {
        self.read()
            .slots
            .values()
            .map(|slot| &slot.entry)
            .filter(|entry| passes(entry))
            .map(|entry| entry.key.clone())
            .collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<K>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<K>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
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
#[derive(Debug)]
pub struct Cache {
    /// DataSources.
    pub sources: Shelf<DataSource>,

    /// Exports, in groups by the lake table they write.
    pub exports: Shelf<Export>,

    /// Their runs, in groups by Export.
    pub runs: Shelf<ExportRun>,

    /// RetentionPolicies.
    pub policies: Shelf<RetentionPolicy>,

    /// Views.
    pub views: Shelf<View>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            sources: Shelf::default(),
            exports: Shelf::grouped(|export| {
                let spec = &export.object.as_deref()?.spec.destination;
                // Neither a schema nor a table has a dot in its name.
                let table = format!("{}.{}.{}", spec.schema, spec.table, spec.lake_ref.name);
                Some((export.key.namespace.clone(), table))
            }),
            runs: Shelf::grouped(|run| export_of(run).map(|export| (export.namespace, export.name))),
            policies: Shelf::default(),
            views: Shelf::default(),
        }
    }
}

impl Cache {
    /// The runs that name an Export.
    pub fn runs_of(&self, export: &Key) -> Vec<Entry<ExportRun>> {
        self.runs
            .members(&(export.namespace.clone(), export.name.clone()))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn export(name: &str, uid: &str, table: &str) -> Entry<Export> {
        let object: Export = serde_json::from_value(json!({
            "apiVersion": "lakegate.dev/v1alpha1",
            "kind": "Export",
            "metadata": {"name": name},
            "spec": {
                "from": {"sourceRef": {"name": "shop"}, "table": {"schema": "public", "name": "orders"}},
                "allColumns": {},
                "destination": {"lakeRef": {"name": "lake"}, "schema": "shop", "table": table},
            },
        }))
        .unwrap();
        Entry {
            key: Key::of(&object),
            object: Some(Arc::new(object)),
            status: None,
            rejected: None,
            uid: uid.to_owned(),
            generation: 1,
        }
    }

    #[test]
    fn groups_follow_their_objects() {
        let shelf = Cache::default().exports;
        let names = |table: &str| -> Vec<String> {
            let group = ("default".to_owned(), format!("shop.{table}.lake"));
            shelf
                .members(&group)
                .into_iter()
                .map(|entry| entry.key.name)
                .collect()
        };
        shelf.apply(export("a", "1", "t"));
        shelf.apply(export("b", "2", "t"));
        assert_eq!(names("t"), ["a", "b"]);
        // Deleted and made anew under its name, for another table.
        shelf.apply(export("a", "3", "u"));
        assert_eq!((names("t"), names("u")), (vec!["b".into()], vec!["a".into()]));
        // News of the one that is gone already.
        assert!(!shelf.remove(&Key::named("a"), "1"));
        assert_eq!(names("u"), ["a"]);
        // A version that nobody understands is in no group.
        shelf.apply(Entry {
            object: None,
            ..export("a", "3", "u")
        });
        assert!(names("u").is_empty() && shelf.group(&Key::named("a")).is_none());
        assert!(shelf.remove(&Key::named("b"), "2"));
        assert!(names("t").is_empty());
    }
}
