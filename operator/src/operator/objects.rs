//! Looks at everything but runs, and the end of every look: status and notices.

use lakegate_crds::{Export, ExportRun, Kind, LakegateResource};
use lakegate_store::{Created, Entry, Key, ResourceStore, StoreError, StoreOf};

use super::{DECISIONS_PER_LOOK, Inner, Looked, lock};
use crate::{
    cache::{Cache, Change, ShelfOf},
    decide::{
        Decision, Effect, ObservedExport, ObservedPolicy, ObservedSource, ObservedView, decide_export,
        decide_policy, decide_source, decide_view,
    },
    problems,
    surroundings::chain,
};

/// What is known of the DataSources that an Export names, in words.
#[derive(Default)]
struct Dependencies {
    source_down: Option<String>,
    lake_down: Option<String>,
    unchecked: Option<String>,
}

impl Inner {
    pub(super) async fn look_at_source(&self, key: &Key) -> Result<Looked, String> {
        let Some(entry) = self.cache.sources.get(key) else {
            return Ok(Looked::gone());
        };
        let problems = problems::of_source(&entry, &self.cache);
        let health = self.surroundings.source_health(key);
        let now = self.options.clock.now();
        let decision = decide_source(ObservedSource {
            entry: &entry,
            problems: &problems,
            health: health.as_ref(),
            now,
        });
        self.conclude(&entry, decision).await
    }

    pub(super) async fn look_at_view(&self, key: &Key) -> Result<Looked, String> {
        let Some(entry) = self.cache.views.get(key) else {
            return Ok(Looked::gone());
        };
        let problems = problems::of_view(&entry, &self.cache);
        let health = self.surroundings.view_health(key);
        let now = self.options.clock.now();
        let decision = decide_view(ObservedView {
            entry: &entry,
            problems: &problems,
            health: health.as_ref(),
            now,
        });
        self.conclude(&entry, decision).await
    }

    pub(super) async fn look_at_policy(&self, key: &Key) -> Result<Looked, String> {
        let Some(entry) = self.cache.policies.get(key) else {
            return Ok(Looked::gone());
        };
        let problems = problems::of_policy(&entry);
        let now = self.options.clock.now();
        let decision = decide_policy(ObservedPolicy {
            entry: &entry,
            problems: &problems,
            now,
        });
        self.conclude(&entry, decision).await
    }

    pub(super) async fn look_at_export(&self, key: &Key) -> Result<Looked, String> {
        if !self.options.schedules {
            return Ok(Looked::gone());
        }
        let mut failure: Option<String> = None;
        for _ in 0..DECISIONS_PER_LOOK {
            let Some(entry) = self.cache.exports.get(key) else {
                return Ok(Looked::gone());
            };
            let problems = problems::of_export(&entry, &self.cache);
            let runs = self.cache.runs_of(key);
            let dependencies = self.dependencies(&entry);
            let decision = decide_export(ObservedExport {
                entry: &entry,
                problems: &problems,
                runs: &runs,
                source_down: dependencies.source_down.as_deref(),
                lake_down: dependencies.lake_down.as_deref(),
                unchecked: dependencies.unchecked.as_deref(),
                failure: failure.as_deref(),
                now: self.options.clock.now(),
            });
            if decision.effects.is_empty() {
                let looked = self.conclude(&entry, decision).await?;
                return match failure {
                    Some(failure) => Err(failure),
                    None => Ok(looked),
                };
            }
            let waits_for_run = decision
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::CancelRun(_)));
            for effect in &decision.effects {
                if let Err(error) = self.act_on_export(effect).await {
                    failure = Some(error);
                    break;
                }
            }
            if waits_for_run && failure.is_none() {
                // Its end wakes this Export again.
                return Ok(Looked::Done { next: decision.next });
            }
        }
        Ok(Looked::Unfinished)
    }

    /// What is known of the source and the lake of an Export.
    fn dependencies(&self, entry: &Entry<Export>) -> Dependencies {
        let mut found = Dependencies::default();
        let Some(object) = entry.object.as_deref() else {
            return found;
        };
        let mut down = |name: &str| {
            let key = Key::new(&entry.key.namespace, name);
            let health = self.surroundings.source_health(&key);
            let health = health.filter(|health| health.reachable.is_some());
            // One that does not exist, or is not served, is a problem of another kind.
            if health.is_none() && self.cache.sources.get(&key).is_some() {
                found.unchecked = Some(format!("DataSource {name} is looked at for the first time"));
            }
            let health = health.filter(|health| health.reachable == Some(false))?;
            let message = health.message.unwrap_or_else(|| "it does not answer".to_owned());
            Some(format!("DataSource {name}: {message}"))
        };
        let source = object.spec.from.source_ref.as_ref();
        let source = source.and_then(|reference| down(&reference.name));
        let lake = down(&object.spec.destination.lake_ref.name);
        Dependencies {
            source_down: source,
            lake_down: lake,
            ..found
        }
    }

    async fn act_on_export(&self, effect: &Effect) -> Result<(), String> {
        let runs = StoreOf::<ExportRun>::of(self.store.as_ref());
        match effect {
            Effect::CreateRun(run) => {
                let name = run.metadata.name.clone().unwrap_or_default();
                let created = runs
                    .create(run.as_ref().clone())
                    .await
                    .map_err(|error| format!("the run {name} cannot be recorded: {}", chain(&error)))?;
                if let Created::Already(existing) = &created
                    && existing
                        .object
                        .as_deref()
                        .and_then(|run| run.spec.export_uid.as_ref())
                        != run.spec.export_uid.as_ref()
                {
                    return Err(format!(
                        "the run {name} exists and belongs to another Export: delete it"
                    ));
                }
                self.cache.runs.apply(created.into_entry());
                self.wake(Kind::ExportRun, Key::of(run.as_ref()));
            }
            Effect::CancelRun(key) => {
                if let Some(run) = self.cache.runs.get(key) {
                    lock(&self.cancelled).insert(run.uid);
                    self.wake(Kind::ExportRun, key.clone());
                }
            }
            Effect::DeleteRun { key, uid } => {
                runs.delete(key, uid).await.map_err(|error| {
                    format!(
                        "the run {key} cannot be removed from the history: {}",
                        chain(&error)
                    )
                })?;
                self.cache.runs.remove(key, uid);
            }
            Effect::StartWorker { .. } | Effect::StopWorker(_) | Effect::LookUpCommit | Effect::Fence => {}
        }
        Ok(())
    }

    /// Writes the status, when it is news, and publishes the notices that go with it.
    pub(super) async fn conclude<K>(
        &self,
        entry: &Entry<K>,
        decision: Decision<K::Status>,
    ) -> Result<Looked, String>
    where
        K: LakegateResource,
        dyn ResourceStore: StoreOf<K>,
        Cache: ShelfOf<K>,
    {
        let Decision {
            status,
            notices,
            next,
            ..
        } = decision;
        if entry.status.as_ref() != Some(&status) {
            let written = StoreOf::<K>::of(self.store.as_ref())
                .write_status(&entry.key, &entry.uid, status.clone())
                .await;
            match written {
                Ok(()) => {
                    ShelfOf::<K>::shelf(&self.cache).wrote(&entry.key, &entry.uid, status);
                    // The watch will bring nothing that the cache does not know now.
                    self.changed(K::KIND, &entry.key, Change::Status);
                }
                // Removed meanwhile: the watch will say so.
                Err(StoreError::Gone { .. }) => return Ok(Looked::gone()),
                Err(error) => return Err(format!("the status cannot be written: {}", chain(&error))),
            }
        }
        for notice in notices {
            self.store.publish(notice).await;
        }
        Ok(Looked::Done { next })
    }
}
