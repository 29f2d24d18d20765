//! A home in memory, for tests: the same semantics as the others without files.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jiff::Timestamp;
use lakegate_crds::validation::Problem;

use crate::{
    Created, Entry, Event, Key, Notice, Notices, Redactor, Rejected, SecretError, SecretValue, Secrets,
    Store, StoreError,
    notices::NOTICES_KEPT,
    object::{canonical_spec, clean_status, creation_time, fill, mark, new_uid, prepare_create, with_status},
    shelf::{Shelved, Shelves},
};

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Everything in memory. Unlike the folder it lets every kind be created and deleted through the store.
pub struct MemoryStore {
    shelves: Shelves,
    // Held over each read-modify-write of a shelf.
    write: Mutex<()>,
    secrets: RwLock<BTreeMap<(Key, String), SecretValue>>,
    redactor: Redactor,
    notices: Mutex<Vec<Notice>>,
    clock: Clock,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MemoryStore")
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    pub fn new() -> Self {
        Self::with_clock(Timestamp::now)
    }

    /// Creation times come from `clock`.
    pub fn with_clock(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            shelves: Shelves::default(),
            write: Mutex::default(),
            secrets: RwLock::default(),
            redactor: Redactor::new(),
            notices: Mutex::default(),
            clock: Arc::new(clock),
        }
    }

    /// Applies an object as an edit of its manifest does, without validating it: a living object keeps its uid
    /// and status, and its generation rises when the spec changed. Clears a rejection.
    pub fn put<K: Shelved>(&self, mut object: K) -> Entry<K> {
        let _guard = lock(&self.write);
        let key = Key::of(&object);
        let objects = K::shelf(&self.shelves);
        let old = objects.get(&key);
        let (uid, generation, status) = match &old {
            Some(old) => {
                let same = old
                    .object
                    .as_ref()
                    .is_some_and(|old| canonical_spec(&**old) == canonical_spec(&object));
                (
                    old.uid.clone(),
                    old.generation + i64::from(!same),
                    old.status.clone(),
                )
            }
            None => (new_uid(), 1, None),
        };
        let created = old
            .as_ref()
            .and_then(|old| {
                old.object
                    .as_ref()?
                    .meta()
                    .creation_timestamp
                    .as_ref()
                    .map(|time| time.0)
            })
            .unwrap_or_else(|| creation_time((self.clock)()));
        let (is_held, deletion) = old.map_or((false, None), |old| (old.is_held, old.deletion));
        fill(&mut object, &key, &uid, generation, created, status.clone());
        mark(object.meta_mut(), is_held, deletion);
        let entry = Entry {
            key,
            object: Some(Arc::new(object)),
            status,
            rejected: None,
            uid,
            generation,
            is_held,
            deletion,
        };
        objects.put(&entry);
        entry
    }

    /// Rejects the newest edit of an object, which need not exist; a last good version stays.
    pub fn reject<K: Shelved>(
        &self,
        key: &Key,
        problems: Vec<Problem>,
        origin: impl Into<String>,
    ) -> Entry<K> {
        let _guard = lock(&self.write);
        let objects = K::shelf(&self.shelves);
        let mut entry = objects.get(key).unwrap_or_else(|| Entry {
            key: key.clone(),
            object: None,
            status: None,
            rejected: None,
            uid: new_uid(),
            generation: 0,
            is_held: false,
            deletion: None,
        });
        entry.rejected = Some(Rejected {
            problems,
            origin: origin.into(),
        });
        objects.put(&entry);
        entry
    }

    /// Removes an object as the deletion of its manifest does: one that is held stays until it is released.
    pub fn remove<K: Shelved>(&self, key: &Key) -> Option<Entry<K>> {
        let _guard = lock(&self.write);
        self.take_out(key)
    }

    /// With the lock on writes.
    fn take_out<K: Shelved>(&self, key: &Key) -> Option<Entry<K>> {
        let objects = K::shelf(&self.shelves);
        let Some(mut entry) = objects.get(key).filter(|entry| entry.is_held) else {
            return objects.remove(key);
        };
        let now = creation_time((self.clock)());
        entry.deletion.get_or_insert(now);
        show_life(&mut entry);
        objects.put(&entry);
        Some(entry)
    }

    /// Sets one key of a secret.
    pub fn put_secret(&self, namespace: &str, name: &str, key: &str, value: &str) {
        let at = (Key::new(namespace, name), key.to_owned());
        self.secrets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(at, SecretValue::new(value));
    }

    /// Removes all keys of a secret.
    pub fn remove_secret(&self, namespace: &str, name: &str) {
        let gone = Key::new(namespace, name);
        self.secrets
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(secret, _), _| *secret != gone);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the object of an entry say what the entry does.
fn show_life<K: Shelved>(entry: &mut Entry<K>) {
    let (is_held, deletion) = (entry.is_held, entry.deletion);
    entry.object = entry.object.take().map(|object| {
        let mut object = K::clone(&object);
        mark(object.meta_mut(), is_held, deletion);
        Arc::new(object)
    });
}

#[async_trait]
impl<K: Shelved> Store<K> for MemoryStore {
    fn watch(&self) -> BoxStream<'static, Event<K>> {
        K::shelf(&self.shelves).watch()
    }

    async fn get(&self, key: &Key) -> Result<Option<Entry<K>>, StoreError> {
        Ok(K::shelf(&self.shelves).get(key))
    }

    async fn list(&self) -> Result<Vec<Entry<K>>, StoreError> {
        Ok(K::shelf(&self.shelves).list())
    }

    async fn create(&self, object: K) -> Result<Created<K>, StoreError> {
        let (key, mut object) = prepare_create(object)?;
        let _guard = lock(&self.write);
        let objects = K::shelf(&self.shelves);
        if let Some(entry) = objects.get(&key) {
            return Ok(Created::Already(entry));
        }
        let uid = new_uid();
        fill(&mut object, &key, &uid, 1, creation_time((self.clock)()), None);
        let entry = Entry {
            key,
            object: Some(Arc::new(object)),
            status: None,
            rejected: None,
            uid,
            generation: 1,
            is_held: false,
            deletion: None,
        };
        objects.put(&entry);
        Ok(Created::New(entry))
    }

    async fn write_status(&self, key: &Key, uid: &str, status: K::Status) -> Result<(), StoreError> {
        let (status, _) = clean_status::<K>(&self.redactor, key, &status)?;
        let _guard = lock(&self.write);
        let objects = K::shelf(&self.shelves);
        let mut entry =
            objects
                .get(key)
                .filter(|entry| entry.uid == uid)
                .ok_or_else(|| StoreError::Gone {
                    kind: K::KIND,
                    key: key.clone(),
                    uid: uid.to_owned(),
                })?;
        if entry.status.as_ref() == Some(&status) {
            return Ok(());
        }
        entry.object = entry.object.map(|object| with_status(object, Some(&status)));
        entry.status = Some(status);
        objects.put(&entry);
        Ok(())
    }

    async fn delete(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let _guard = lock(&self.write);
        let objects = K::shelf(&self.shelves);
        if objects.get(key).is_some_and(|entry| entry.uid == uid) {
            self.take_out::<K>(key);
        }
        Ok(())
    }

    async fn hold(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let _guard = lock(&self.write);
        let objects = K::shelf(&self.shelves);
        let mut entry = objects
            .get(key)
            .filter(|entry| entry.uid == uid && (entry.is_held || entry.deletion.is_none()))
            .ok_or_else(|| StoreError::Gone {
                kind: K::KIND,
                key: key.clone(),
                uid: uid.to_owned(),
            })?;
        entry.is_held = true;
        show_life(&mut entry);
        objects.put(&entry);
        Ok(())
    }

    async fn release(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let _guard = lock(&self.write);
        let objects = K::shelf(&self.shelves);
        let Some(mut entry) = objects.get(key).filter(|entry| entry.uid == uid) else {
            return Ok(());
        };
        if entry.deletion.is_some() {
            objects.remove(key);
            return Ok(());
        }
        entry.is_held = false;
        show_life(&mut entry);
        objects.put(&entry);
        Ok(())
    }

    async fn confirm_deletion(&self, key: &Key, uid: &str) -> Result<bool, StoreError> {
        let entry = K::shelf(&self.shelves).get(key).filter(|entry| entry.uid == uid);
        Ok(entry.is_some_and(|entry| entry.is_held && entry.deletion.is_some()))
    }
}

#[async_trait]
impl Secrets for MemoryStore {
    async fn get(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, SecretError> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        let secret = Key::new(namespace, name);
        if let Some(value) = secrets.get(&(secret.clone(), key.to_owned())) {
            self.redactor.register_key(key, value);
            return Ok(value.clone());
        }
        let remedy = "put it into the memory store".to_owned();
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        if secrets.keys().any(|(known, _)| *known == secret) {
            Err(SecretError::KeyMissing {
                namespace,
                name,
                key: key.to_owned(),
                remedy,
            })
        } else {
            Err(SecretError::NotFound {
                namespace,
                name,
                remedy,
            })
        }
    }

    fn redactor(&self) -> Redactor {
        self.redactor.clone()
    }
}

#[async_trait]
impl Notices for MemoryStore {
    async fn publish(&self, mut notice: Notice) {
        notice.message = self.redactor.redact(&notice.message);
        let mut notices = lock(&self.notices);
        if let Some(index) = notices.iter().position(|known| known.is_same(&notice)) {
            let known = notices.remove(index);
            notice.count += known.count;
            notice.first = notice.first.min(known.first);
            notice.last = notice.last.max(known.last);
        }
        let place = notices.partition_point(|known| known.last > notice.last);
        notices.insert(place, notice);
        notices.truncate(NOTICES_KEPT);
    }

    async fn list_notices(&self) -> Result<Vec<Notice>, StoreError> {
        Ok(lock(&self.notices).clone())
    }
}
