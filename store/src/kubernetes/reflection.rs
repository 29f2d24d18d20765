//! What this process knows of the objects of a cluster: what its watches told, and what it wrote itself.
//!
//! The two come on different ways and overtake each other. Each version of an object has a place in one order over the
//! whole cluster (`resourceVersion`, compared as the number that etcd makes it), so of two versions the newer one is
//! kept; and a uid that was seen to go never comes back, so nothing that was said before it went revives it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::api::DynamicObject;
use lakegate_crds::Kind;

use super::entry::Seen;
use crate::{
    Entry, Key,
    shelf::{Shelf, Shelved, Shelves},
};

/// How long an answer to a request of this process may be under way after a watch told that its object went.
const LATE_ANSWERS: Duration = Duration::from_mins(5);

/// All kinds.
#[derive(Default)]
pub(super) struct Reflections {
    shelves: Shelves,
    books: [Mutex<Book>; Kind::ALL.len()],
}

/// What is remembered of one kind beside its objects.
#[derive(Default)]
struct Book {
    /// Version of each object on the shelf.
    versions: HashMap<Key, u64>,

    /// Objects that went, by uid.
    gone: HashMap<String, Gone>,

    /// Objects that this process wrote or deleted while the list of their namespace was being read: the list may be
    /// older.
    touched: BTreeSet<Key>,
}

struct Gone {
    key: Key,

    /// When the watch had told all that it had to tell of the object.
    told: Option<Instant>,
}

impl Reflections {
    pub fn shelf<K: Shelved>(&self) -> &Shelf<K> {
        K::shelf(&self.shelves)
    }

    fn book<K: Shelved>(&self) -> MutexGuard<'_, Book> {
        // Each change is of one map, then of the shelf, which has its own lock: a panic leaves both usable.
        self.books[K::KIND as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a version that a watch or a list told. The entry as it is known then; `None` when the object is none.
    pub fn apply<K: Shelved>(&self, object: DynamicObject) -> Option<Entry<K>> {
        let seen = Seen::of(object)?;
        Some(self.take_in(&mut self.book::<K>(), seen))
    }

    /// Takes in a version that came as the answer to a request of this process.
    pub fn learn<K: Shelved>(&self, object: DynamicObject) -> Option<Entry<K>> {
        let seen = Seen::of(object)?;
        let mut book = self.book::<K>();
        book.touched.insert(seen.key.clone());
        Some(self.take_in(&mut book, seen))
    }

    fn take_in<K: Shelved>(&self, book: &mut Book, seen: Seen) -> Entry<K> {
        let shelf = self.shelf::<K>();
        let known = shelf.get(&seen.key);
        let version = book.versions.get(&seen.key).copied().unwrap_or(0);
        let is_older = seen.version != 0 && seen.version <= version;
        if let Some(known) = &known
            && is_older
            && known.uid == seen.uid
        {
            return known.clone();
        }
        let is_gone = book.gone.contains_key(&seen.uid);
        let (key, version) = (seen.key.clone(), seen.version);
        let entry = seen.into_entry(known.as_ref());
        let is_news = !is_older || known.is_none();
        if !is_gone && is_news {
            book.versions.insert(key, version);
            shelf.put(&entry);
        }
        entry
    }

    /// Takes in that this process deleted an object.
    pub fn delete<K: Shelved>(&self, key: &Key, uid: &str) {
        let mut book = self.book::<K>();
        book.touched.insert(key.clone());
        self.take_out::<K>(&mut book, key, uid, None);
    }

    /// Takes in that a watch told that an object is gone.
    pub fn vanish<K: Shelved>(&self, object: DynamicObject) {
        if let Some(seen) = Seen::of(object) {
            self.take_out::<K>(&mut self.book::<K>(), &seen.key, &seen.uid, Some(Instant::now()));
        }
    }

    fn take_out<K: Shelved>(&self, book: &mut Book, key: &Key, uid: &str, told: Option<Instant>) {
        book.gone
            .retain(|_, gone| gone.told.is_none_or(|told| told.elapsed() < LATE_ANSWERS));
        let gone = Gone {
            key: key.clone(),
            told,
        };
        book.gone.insert(uid.to_owned(), gone);
        let shelf = self.shelf::<K>();
        if shelf.get(key).is_some_and(|known| known.uid == uid) {
            book.versions.remove(key);
            shelf.remove(key);
        }
    }

    /// A list of a namespace begins.
    pub fn begin_list<K: Shelved>(&self, namespace: &str) {
        self.book::<K>().touched.retain(|key| key.namespace != namespace);
    }

    /// A list of a namespace ends, in which `listed` stood: what is known and does not stand there is gone. Of what this
    /// process wrote meanwhile the list says nothing: those are returned, with their uids, to be asked for.
    pub fn end_list<K: Shelved>(
        &self,
        namespace: &str,
        listed: &BTreeMap<Key, String>,
    ) -> Vec<(Key, String)> {
        let mut book = self.book::<K>();
        let now = Instant::now();
        let Book { gone, touched, .. } = &mut *book;
        for (uid, gone) in gone
            .iter_mut()
            .filter(|(_, gone)| gone.key.namespace == namespace)
        {
            // The watch goes on from the list: what stands there will be told to go.
            if !touched.contains(&gone.key) && listed.get(&gone.key) != Some(uid) {
                gone.told.get_or_insert(now);
            }
        }
        let mut doubtful = Vec::new();
        for entry in self.shelf::<K>().list() {
            if entry.key.namespace != namespace || listed.contains_key(&entry.key) {
                continue;
            }
            if book.touched.contains(&entry.key) {
                doubtful.push((entry.key, entry.uid));
            } else {
                self.take_out::<K>(&mut book, &entry.key, &entry.uid, Some(now));
            }
        }
        doubtful
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use lakegate_crds::ExportRun;
    use serde_json::json;

    use super::*;
    use crate::Event;

    fn run(uid: &str, version: u64, attempts: i64) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "lakegate.dev/v1alpha1", "kind": "ExportRun",
            "metadata": {
                "name": "r", "namespace": "shop", "uid": uid, "generation": 1, "resourceVersion": version.to_string()
            },
            "spec": {"exportRef": {"name": "orders"}},
            "status": {"attempts": attempts},
        }))
        .unwrap()
    }

    fn key() -> Key {
        Key::new("shop", "r")
    }

    /// Uid and attempts of the object on the shelf.
    fn shown(reflections: &Reflections) -> Option<(String, i64)> {
        let entry = reflections.shelf::<ExportRun>().get(&key())?;
        let attempts = entry.status?.attempts?;
        Some((entry.uid, attempts))
    }

    fn run_at(uid: &str, attempts: i64) -> (String, i64) {
        (uid.to_owned(), attempts)
    }

    #[test]
    fn an_older_version_changes_nothing() {
        let reflections = Reflections::default();
        reflections.apply::<ExportRun>(run("a", 10, 1));
        reflections.learn::<ExportRun>(run("a", 12, 2));
        // The watch is behind, and tells what was before the write.
        let entry = reflections.apply::<ExportRun>(run("a", 11, 9)).unwrap();
        assert_eq!(entry.status.unwrap().attempts, Some(2));
        assert_eq!(shown(&reflections), Some(run_at("a", 2)));
        // 9 is before 12, though its text is not.
        reflections.apply::<ExportRun>(run("a", 9, 9));
        assert_eq!(shown(&reflections), Some(run_at("a", 2)));
        reflections.apply::<ExportRun>(run("a", 13, 3));
        assert_eq!(shown(&reflections), Some(run_at("a", 3)));
    }

    #[test]
    fn what_was_deleted_is_not_revived_by_older_news() {
        let reflections = Reflections::default();
        let mut events = reflections.shelf::<ExportRun>().watch();
        reflections.learn::<ExportRun>(run("a", 10, 1));
        reflections.delete::<ExportRun>(&key(), "a");
        for version in [10, 11] {
            reflections.apply::<ExportRun>(run("a", version, 1));
        }
        assert_eq!(shown(&reflections), None);
        reflections.vanish::<ExportRun>(run("a", 12, 1));
        // The late answer to a write that came before the deletion.
        reflections.learn::<ExportRun>(run("a", 11, 7));
        assert_eq!(shown(&reflections), None);
        reflections.apply::<ExportRun>(run("b", 13, 1));
        assert_eq!(shown(&reflections), Some(run_at("b", 1)));
        let seen: Vec<_> = std::iter::from_fn(|| events.next().now_or_never().flatten())
            .map(|event| match event {
                Event::Applied(entry) => format!("applied {}", entry.uid),
                Event::Deleted(entry) => format!("deleted {}", entry.uid),
                Event::Synced => "synced".to_owned(),
            })
            .collect();
        // Of what nobody read in time only the last state of an object is told.
        assert_eq!(seen, ["synced", "deleted a", "applied b"]);
    }

    #[test]
    fn an_older_object_of_the_name_does_not_replace_the_newer() {
        let reflections = Reflections::default();
        reflections.learn::<ExportRun>(run("new", 20, 1));
        reflections.apply::<ExportRun>(run("old", 10, 1));
        reflections.vanish::<ExportRun>(run("old", 15, 1));
        assert_eq!(shown(&reflections), Some(run_at("new", 1)));
        // And a newer one does, with one deletion told of the older.
        reflections.apply::<ExportRun>(run("newest", 30, 1));
        assert_eq!(shown(&reflections), Some(run_at("newest", 1)));
    }

    #[test]
    fn a_list_takes_away_what_went_while_nobody_watched() {
        let reflections = Reflections::default();
        reflections.apply::<ExportRun>(run("a", 10, 1));
        reflections.begin_list::<ExportRun>("other");
        assert!(
            reflections
                .end_list::<ExportRun>("other", &BTreeMap::new())
                .is_empty()
        );
        assert_eq!(shown(&reflections), Some(run_at("a", 1)));
        reflections.begin_list::<ExportRun>("shop");
        assert!(
            reflections
                .end_list::<ExportRun>("shop", &BTreeMap::new())
                .is_empty()
        );
        assert_eq!(shown(&reflections), None);
    }

    #[test]
    fn a_list_says_nothing_of_what_was_written_meanwhile() {
        let reflections = Reflections::default();
        reflections.begin_list::<ExportRun>("shop");
        reflections.learn::<ExportRun>(run("a", 10, 1));
        let doubtful = reflections.end_list::<ExportRun>("shop", &BTreeMap::new());
        assert_eq!(doubtful, [(key(), "a".to_owned())]);
        assert_eq!(shown(&reflections), Some(run_at("a", 1)));
        // The list that a deletion overtook.
        reflections.begin_list::<ExportRun>("shop");
        reflections.delete::<ExportRun>(&key(), "a");
        reflections.apply::<ExportRun>(run("a", 10, 1));
        let listed = BTreeMap::from([(key(), "a".to_owned())]);
        assert!(reflections.end_list::<ExportRun>("shop", &listed).is_empty());
        reflections.apply::<ExportRun>(run("a", 11, 1));
        assert_eq!(shown(&reflections), None);
    }

    #[test]
    fn the_memory_of_what_went_is_bounded() {
        let reflections = Reflections::default();
        reflections.delete::<ExportRun>(&key(), "a");
        reflections.begin_list::<ExportRun>("shop");
        reflections.end_list::<ExportRun>("shop", &BTreeMap::new());
        let mut book = reflections.book::<ExportRun>();
        let told = book.gone["a"].told.unwrap();
        let Some(long_ago) = told.checked_sub(LATE_ANSWERS) else {
            return;
        };
        book.gone.get_mut("a").unwrap().told = Some(long_ago);
        drop(book);
        reflections.delete::<ExportRun>(&key(), "b");
        assert_eq!(
            reflections.book::<ExportRun>().gone.keys().collect::<Vec<_>>(),
            ["b"]
        );
    }
}
