//! Objects that stay after their manifest went: held, deleted for good, released.
//!
//! Each change takes the reader's lock: a plan that is being made must neither overlook nor undo it.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::engine::Inner;
use crate::{
    Key, StoreError,
    object::{creation_time, mark},
    shelf::Shelved,
    state::ObjectRecord,
};

impl Inner {
    /// The record with this uid, if it is shown, of the kind and under the key.
    fn shown<'a, K: Shelved>(
        records: &'a BTreeMap<String, ObjectRecord>,
        key: &Key,
        uid: &str,
    ) -> Option<&'a ObjectRecord> {
        let record = records.get(uid)?;
        (record.kind == K::KIND && record.key == *key && record.is_shown()).then_some(record)
    }

    /// Writes a record whose life has changed, and shows it.
    async fn put<K: Shelved>(
        &self,
        records: &mut BTreeMap<String, ObjectRecord>,
        record: ObjectRecord,
    ) -> Result<(), StoreError> {
        self.state.put_objects(std::slice::from_ref(&record)).await?;
        let objects = K::shelf(&self.shelves);
        if let Some(mut entry) = objects.get(&record.key).filter(|entry| entry.uid == record.uid) {
            (entry.is_held, entry.deletion) = (record.held, record.deletion);
            entry.object = entry.object.map(|object| {
                let mut object = K::clone(&object);
                mark(object.meta_mut(), record.held, record.deletion);
                Arc::new(object)
            });
            objects.put(&entry);
        }
        records.insert(record.uid.clone(), record);
        Ok(())
    }

    pub async fn hold<K: Shelved>(&self, key: &Key, uid: &str) -> Result<(), StoreError> {
        let _reader = self.reader.lock().await;
        let mut records = self.records.lock().await;
        let record = Self::shown::<K>(&records, key, uid)
            .filter(|record| record.held || record.vanished.is_none())
            .cloned()
            .ok_or_else(|| StoreError::Gone {
                kind: K::KIND,
                key: key.clone(),
                uid: uid.to_owned(),
            })?;
        if record.held {
            return Ok(());
        }
        self.put::<K>(&mut records, ObjectRecord { held: true, ..record })
            .await
    }

    /// Whether an object went with it, for which another of its name may have waited.
    pub async fn release<K: Shelved>(&self, key: &Key, uid: &str) -> Result<bool, StoreError> {
        let _reader = self.reader.lock().await;
        let mut records = self.records.lock().await;
        let Some(record) = Self::shown::<K>(&records, key, uid).filter(|record| record.held) else {
            return Ok(false);
        };
        if record.vanished.is_none() {
            let record = ObjectRecord {
                held: false,
                ..record.clone()
            };
            return self.put::<K>(&mut records, record).await.map(|()| false);
        }
        if record.is_lost(Timestamp::now()) {
            self.state.remove_object(uid).await?;
            records.remove(uid);
        } else {
            // As what was never held: should its manifest come back, it is the same object.
            let record = ObjectRecord {
                held: false,
                deletion: None,
                ..record.clone()
            };
            self.put::<K>(&mut records, record).await?;
        }
        let objects = K::shelf(&self.shelves);
        if objects.get(key).is_some_and(|entry| entry.uid == uid) {
            objects.remove(key);
        }
        Ok(true)
    }

    pub async fn confirm_deletion<K: Shelved>(&self, key: &Key, uid: &str) -> Result<bool, StoreError> {
        let _reader = self.reader.lock().await;
        let mut records = self.records.lock().await;
        let Some(record) = Self::shown::<K>(&records, key, uid)
            .filter(|record| record.held && record.is_lost(Timestamp::now()))
            .cloned()
        else {
            return Ok(false);
        };
        if !record.deletion_is_final {
            let record = ObjectRecord {
                deletion_is_final: true,
                ..record
            };
            self.put::<K>(&mut records, record).await?;
        }
        Ok(true)
    }

    /// Has the deletion of a held object take effect now, whose manifest is gone. Whether there is such an object.
    pub async fn delete_now<K: Shelved>(&self, key: &Key) -> Result<bool, StoreError> {
        let _reader = self.reader.lock().await;
        let mut records = self.records.lock().await;
        let waiting = records
            .values()
            .find(|record| {
                record.kind == K::KIND && record.key == *key && record.held && record.vanished.is_some()
            })
            .cloned();
        let Some(record) = waiting else { return Ok(false) };
        let now = creation_time(Timestamp::now());
        let record = ObjectRecord {
            deletion: Some(record.deletion.map_or(now, |deletion| deletion.min(now))),
            ..record
        };
        self.put::<K>(&mut records, record).await.map(|()| true)
    }
}
