//! What others ask of a running operator.

use std::sync::Arc;

use lakegate_crds::{Export, ExportRun, Kind, RunCause, validation::summary};
use lakegate_store::{Key, StoreError, StoreOf};

use super::{Inner, lock};
use crate::{decide::run_for, gauges, names::Trigger, problems};

/// Why a run was not started on request.
#[derive(Debug, thiserror::Error)]
pub enum RunRefusal {
    /// There is no such Export.
    #[error("there is no Export {export}: `lakegate get exports` lists them")]
    NotFound {
        /// As it was asked for.
        export: Key,
    },

    /// The Export's manifest never was valid.
    #[error("Export {export} has no valid manifest: {message}")]
    Invalid {
        /// As it was asked for.
        export: Key,

        /// With file and line.
        message: String,
    },

    /// The Export cannot run as it is.
    #[error("Export {export} cannot run: {message}")]
    Unable {
        /// As it was asked for.
        export: Key,

        /// Names the field and what to do.
        message: String,
    },

    /// The run could not be recorded.
    #[error("the run of Export {export} could not be recorded")]
    Store {
        /// As it was asked for.
        export: Key,

        /// The store's answer.
        source: StoreError,
    },
}

/// Asks a running operator for things.
#[derive(Clone)]
pub struct OperatorHandle {
    pub(super) inner: Arc<Inner>,
}

impl std::fmt::Debug for OperatorHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OperatorHandle")
    }
}

impl OperatorHandle {
    /// How the resources are, as metrics in Prometheus' text format; empty before the operator knows them all.
    pub fn gauges(&self) -> String {
        if *self.inner.is_ready.borrow() {
            gauges::render(&self.inner.cache)
        } else {
            String::new()
        }
    }

    /// Records a run of an Export, to start as soon as none of its other runs is active. A suspended Export runs, too:
    /// a person asks. Waits until the operator knows all objects, which needs [`Operator::run`] to be running.
    ///
    /// # Errors
    ///
    /// [`RunRefusal`], when the Export does not exist or cannot run as it is.
    pub async fn run_now(&self, export: &Key) -> Result<Key, RunRefusal> {
        let inner = &self.inner;
        // The sender lives as long as `inner`.
        let _ = inner.is_ready.subscribe().wait_for(|is_ready| *is_ready).await;
        let refused = |source| RunRefusal::Store {
            export: export.clone(),
            source,
        };
        let entry = match inner.cache.exports.get(export) {
            Some(entry) => Some(entry),
            None => StoreOf::<Export>::of(inner.store.as_ref())
                .get(export)
                .await
                .map_err(refused)?,
        };
        let entry = entry.ok_or_else(|| RunRefusal::NotFound {
            export: export.clone(),
        })?;
        let Some(object) = entry.object.clone() else {
            let message = entry
                .rejected
                .map_or_else(String::new, |rejected| rejected.to_string());
            return Err(RunRefusal::Invalid {
                export: export.clone(),
                message,
            });
        };
        if entry.deletion.is_some() {
            return Err(RunRefusal::Unable {
                export: export.clone(),
                message: "it is being deleted".to_owned(),
            });
        }
        let problems = problems::of_export(&entry, &inner.cache);
        if !problems.is_empty() {
            return Err(RunRefusal::Unable {
                export: export.clone(),
                message: summary(&problems),
            });
        }
        let trigger = Trigger::Request(uuid::Uuid::new_v4().to_string());
        let run = run_for(
            &entry,
            &object,
            &trigger,
            RunCause::Manual,
            inner.options.clock.now(),
        );
        let key = Key::of(&run);
        lock(&inner.requested).insert(key.clone());
        let created = StoreOf::<ExportRun>::of(inner.store.as_ref())
            .create(run)
            .await
            .map_err(refused)?;
        inner.cache.runs.apply(created.into_entry());
        inner.wake(Kind::ExportRun, key.clone());
        inner.wake(Kind::Export, export.clone());
        Ok(key)
    }
}
