//! What is done for Exports whose table is to go with them: held from before their first run, removed at their end.

use std::collections::BTreeSet;

use lakegate_crds::{DataSource, DeletionPolicy, Export, ExportRun, LakegateResource};
use lakegate_lake::{Dropped, TableOwner};
use lakegate_store::{Entry, Key, ResourceStore, StoreError, StoreOf};

use super::{Inner, is_ended};
use crate::{
    attempt::{Fence, StopCause},
    cache::{Cache, Change, ShelfOf},
    decide::TableFate,
    surroundings::chain,
};

impl Inner {
    /// The DataSource of the lake that an Export writes to, if it is there.
    fn lake_of(&self, export: &Entry<Export>) -> Option<Entry<DataSource>> {
        let lake = &export.object.as_deref()?.spec.destination.lake_ref.name;
        self.cache.sources.get(&Key::new(&export.key.namespace, lake))
    }

    /// Whether the lake of an Export is held, or cannot be: it is not there, or on its way out.
    pub(super) fn lake_is_held(&self, export: &Entry<Export>) -> bool {
        self.lake_of(export)
            .is_none_or(|lake| lake.is_held || lake.deletion.is_some())
    }

    /// Whether an Export has to be held before anything may be written for it.
    pub(super) fn must_be_held(&self, export: &Entry<Export>) -> bool {
        let is_to_go = export
            .object
            .as_deref()
            .is_some_and(|object| object.spec.effective_deletion_policy() == DeletionPolicy::Delete);
        is_to_go && export.deletion.is_none() && !(export.is_held && self.lake_is_held(export))
    }

    /// Holds an Export, and before it its lake: whatever is deleted together with it, its table can be removed.
    pub(super) async fn hold(&self, export: &Entry<Export>) -> Result<(), String> {
        if let Some(lake) = self.lake_of(export).filter(|_| !self.lake_is_held(export)) {
            self.hold_one(&lake).await?;
        }
        if !export.is_held {
            self.hold_one(export).await?;
        }
        Ok(())
    }

    async fn hold_one<K>(&self, entry: &Entry<K>) -> Result<(), String>
    where
        K: LakegateResource,
        dyn ResourceStore: StoreOf<K>,
        Cache: ShelfOf<K>,
    {
        let held = StoreOf::<K>::of(self.store.as_ref())
            .hold(&entry.key, &entry.uid)
            .await;
        match held {
            // Removed meanwhile: what is left of it says what to do.
            Ok(()) | Err(StoreError::Gone { .. }) => self.take_in(entry).await,
            Err(error) => Err(format!(
                "{} {} cannot be held for deletionPolicy Delete: {}",
                K::KIND,
                entry.key,
                chain(&error)
            )),
        }
    }

    /// Lets go of an object.
    pub(super) async fn release<K>(&self, entry: &Entry<K>) -> Result<(), String>
    where
        K: LakegateResource,
        dyn ResourceStore: StoreOf<K>,
        Cache: ShelfOf<K>,
    {
        StoreOf::<K>::of(self.store.as_ref())
            .release(&entry.key, &entry.uid)
            .await
            .map_err(|error| format!("{} {} cannot be let go of: {}", K::KIND, entry.key, chain(&error)))?;
        self.take_in(entry).await
    }

    /// Takes in what the store has of an object right after it was changed there: the watch may be slow to tell it.
    async fn take_in<K>(&self, entry: &Entry<K>) -> Result<(), String>
    where
        K: LakegateResource,
        dyn ResourceStore: StoreOf<K>,
        Cache: ShelfOf<K>,
    {
        let found = StoreOf::<K>::of(self.store.as_ref()).get(&entry.key).await;
        let found = found.map_err(|error| format!("{} {}: {}", K::KIND, entry.key, chain(&error)))?;
        let shelf = ShelfOf::<K>::shelf(&self.cache);
        if let Some(found) = found.filter(|found| found.uid == entry.uid) {
            let change = shelf.apply(found);
            self.changed(K::KIND, &entry.key, change);
            return Ok(());
        }
        let before = shelf.group(&entry.key);
        if shelf.remove(&entry.key, &entry.uid) {
            self.changed(K::KIND, &entry.key, Change::Object);
            self.left(K::KIND, before.as_ref());
        }
        Ok(())
    }

    /// Why a run has to end although nothing is wrong with it: its Export is deleted.
    pub(super) fn end_of_export(&self, export: Option<&Key>) -> Option<StopCause> {
        let export = self.cache.exports.get(export?)?;
        let now = self.options.clock.now();
        export
            .deletion
            .is_some_and(|deletion| deletion <= now)
            .then_some(StopCause::ExportDeleted)
    }

    /// Wakes the runs that an Export waits for before it can go.
    pub(super) fn wake_unfinished_runs(&self, export: &Key) {
        for run in self.cache.runs_of(export) {
            if !is_ended(&run) {
                self.wake(lakegate_crds::Kind::ExportRun, run.key);
            }
        }
    }

    /// Another Export that names the table of this one, and does not want it removed.
    pub(super) fn rival_of(&self, export: &Entry<Export>) -> Option<String> {
        let table = self.cache.exports.group(&export.key)?;
        let wants_it = |other: &Entry<Export>| {
            let goes_too = other.deletion.is_some()
                && other
                    .object
                    .as_deref()
                    .is_some_and(|object| object.spec.effective_deletion_policy() == DeletionPolicy::Delete);
            other.key != export.key && !goes_too
        };
        let members = self.cache.exports.members(&table);
        members
            .into_iter()
            .find(wants_it)
            .map(|other| other.key.to_string())
    }

    /// The Export for which a lake is held, if any is left.
    pub(super) fn needed_by(&self, lake: &Entry<DataSource>) -> Option<String> {
        let needs_it = |export: &Entry<Export>| {
            export.key.namespace == lake.key.namespace
                && (export.deletion.is_none() || export.is_held)
                && export.object.as_deref().is_none_or(|object| {
                    object.spec.destination.lake_ref.name == lake.key.name
                        && object.spec.effective_deletion_policy() == DeletionPolicy::Delete
                })
                // Of one whose manifest is not understood only this is known.
                && (export.object.is_some() || export.is_held)
        };
        let needing = self.cache.exports.keys(needs_it);
        needing.first().map(ToString::to_string)
    }

    /// Sees to it that nothing writes the table of an Export any more.
    pub(super) async fn fence_table(&self, export: &Key) -> Fence {
        // Its run's object may be gone already.
        if let Some(run) = self.workers.run_of_export(export) {
            return Fence::Open(format!("the worker of run {run} has not ended"));
        }
        if !self.launcher.outlives_operator() {
            return Fence::Clear;
        }
        match self.launcher.fence_export(export).await {
            None => Fence::Clear,
            Some(who) => Fence::Open(who),
        }
    }

    /// Removes the table of an Export. `None` when its deletion is none any more: what there is to do instead, the store
    /// is about to tell.
    pub(super) async fn drop_table(
        &self,
        export: &Entry<Export>,
        runs: &[Entry<ExportRun>],
    ) -> Result<Option<TableFate>, String> {
        let Some(object) = export.object.as_deref() else {
            return Ok(None);
        };
        let destination = &object.spec.destination;
        let lake = self.lake_of(export).and_then(|lake| lake.object);
        let Some(lake) = lake else {
            let why = format!("there is no DataSource {}", destination.lake_ref.name);
            return Ok(Some(TableFate::Unknown(why)));
        };
        let is_final = StoreOf::<Export>::of(self.store.as_ref())
            .confirm_deletion(&export.key, &export.uid)
            .await
            .map_err(|error| format!("the deletion cannot be confirmed: {}", chain(&error)))?;
        if !is_final {
            return Ok(None);
        }
        let is_its_own = |run: &&Entry<ExportRun>| {
            let object = run.object.as_deref();
            object.is_some_and(|run| run.spec.export_uid.as_ref() == Some(&export.uid))
        };
        let owner = TableOwner {
            export_uid: export.uid.clone(),
            runs: runs
                .iter()
                .filter(is_its_own)
                .map(|run| run.uid.clone())
                .collect::<BTreeSet<_>>(),
        };
        let (schema, table) = (&destination.schema, &destination.table);
        Ok(Some(
            match self.surroundings.drop_table(&lake, destination, &owner).await {
                Ok(Dropped::Removed) => {
                    tracing::info!(export = %export.key, schema, table, "removed the table of a deleted Export");
                    TableFate::Gone
                }
                Ok(Dropped::Absent) => TableFate::Gone,
                Ok(Dropped::Foreign(who)) => TableFate::Foreign(who),
                Err(why) => TableFate::Unknown(why),
            },
        ))
    }
}
