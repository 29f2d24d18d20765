//! The keeping of one DataSource: connect, discover, wait, again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lakegate_crds::conditions::Reason;
use lakegate_crds::{DataSource, OnReplicaLag};
use lakegate_store::Key;
use tokio::sync::{mpsc, oneshot};

use crate::Federation;
use crate::catalog::{Catalog, Served};
use crate::source::{CatalogSource, SourceContext, SourceError, open_source};

/// First wait after a failure; doubles with each one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const LAST_RETRY: Duration = Duration::from_mins(1);
/// Longest time one look at a store may take.
pub(crate) const LOOK: Duration = Duration::from_mins(2);
/// Between two looks at the replicas of a source.
const SURVEY: Duration = Duration::from_secs(15);
/// Someone who waits for the next look.
type Waiter = oneshot::Sender<()>;

/// The keeping of one DataSource.
pub(crate) struct Task {
    pub(crate) federation: Arc<Federation>,
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) catalog: String,
    pub(crate) object: Arc<DataSource>,
    pub(crate) context: SourceContext,
}

impl Task {
    pub(crate) fn catalog(&self, served: Option<Arc<Served>>, problem: Option<String>) -> Catalog {
        Catalog {
            name: self.catalog.clone(),
            source_name: self.key.name.clone(),
            description: self.object.spec.description.clone(),
            served,
            problem,
        }
    }

    pub(crate) async fn run(self, mut requests: mpsc::Receiver<Waiter>) {
        let interval = self.object.spec.discovery().interval();
        let mut source: Option<Arc<dyn CatalogSource>> = None;
        let mut served: Option<Arc<Served>> = None;
        let mut failures = 0u32;
        let mut waiters: Vec<Waiter> = Vec::new();
        loop {
            let outcome = match tokio::time::timeout(LOOK, self.look(source.clone())).await {
                Ok(outcome) => outcome,
                Err(_) => Err(silent(&self.catalog)),
            };
            let wait = match outcome {
                Ok((opened, version, tables)) => {
                    failures = 0;
                    let next = Arc::new(Served::new(Arc::clone(&opened), tables, served.as_deref()));
                    self.succeed(&next, served.as_ref(), version);
                    source = Some(opened);
                    served = Some(next);
                    interval
                }
                Err(error) => {
                    self.fail(&error, served.is_some());
                    // the next attempt starts anew: a Secret may have changed
                    source = None;
                    failures = failures.saturating_add(1);
                    if error.terminal {
                        interval
                    } else {
                        backoff(failures, rand::random::<f64>())
                    }
                }
            };
            for waiter in waiters.drain(..) {
                // it may have given up
                let _ = waiter.send(());
            }
            let due = tokio::time::Instant::now() + wait;
            loop {
                let lost = match &served {
                    Some(served) => self.survey(served.source.as_ref(), source.is_some()).await,
                    None => false,
                };
                if lost {
                    break;
                }
                let next = due.min(tokio::time::Instant::now() + SURVEY);
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {
                        if next == due {
                            break;
                        }
                    }
                    request = requests.recv() => match request {
                        Some(waiter) => {
                            waiters.push(waiter);
                            break;
                        }
                        None => return,
                    },
                }
            }
            while let Ok(waiter) = requests.try_recv() {
                waiters.push(waiter);
            }
        }
    }

    async fn look(
        &self,
        source: Option<Arc<dyn CatalogSource>>,
    ) -> Result<
        (
            Arc<dyn CatalogSource>,
            Option<String>,
            Vec<crate::DiscoveredTable>,
        ),
        SourceError,
    > {
        let source = match source {
            Some(source) => source,
            None => open_source(&self.object.spec, &self.catalog, &self.context).await?,
        };
        self.federation
            .health_map()
            .update_source(&self.key, |health| health.endpoint = source.endpoint());
        let version = source.probe().await?;
        let tables = source.discover().await?;
        Ok((source, version, tables))
    }

    /// Asks how the replicas are. True when none can be read any more, though the last look went well, and the primary
    /// may not be read instead: the next look says so.
    async fn survey(&self, source: &dyn CatalogSource, is_well: bool) -> bool {
        let replicas = source.replicas().await;
        let all_refused = !replicas.is_empty() && replicas.iter().all(|replica| replica.problem.is_some());
        let health = self.federation.health_map();
        health.set_replicas(&self.key, replicas);
        let reads_primary = all_refused && self.uses_primary();
        health.update_source(&self.key, |health| health.reads_primary = reads_primary);
        is_well && all_refused && !reads_primary
    }

    fn uses_primary(&self) -> bool {
        let spec = &self.object.spec;
        let policies = [
            spec.postgres.as_ref().and_then(|spec| spec.on_replica_lag),
            spec.mysql.as_ref().and_then(|spec| spec.on_replica_lag),
        ];
        policies.contains(&Some(OnReplicaLag::UsePrimary))
    }

    fn succeed(&self, next: &Arc<Served>, old: Option<&Arc<Served>>, version: Option<String>) {
        let changed = old.is_none_or(|old| !old.shows_same(next));
        let new_source = old.is_none_or(|old| !Arc::ptr_eq(&old.source, &next.source));
        if changed || new_source {
            self.federation
                .put_catalog(self.catalog(Some(Arc::clone(next)), None));
        }
        tracing::debug!(
            catalog = self.catalog,
            tables = next.table_count(),
            changed,
            "discovered"
        );
        self.federation.health_map().update_source(&self.key, |health| {
            *health = crate::SourceHealth {
                reachable: Some(true),
                reason: None,
                message: None,
                terminal: false,
                server_version: version,
                reads_primary: health.reads_primary,
                tables: next.table_count(),
                catalog_revision: if changed {
                    next.revision()
                } else {
                    health.catalog_revision
                },
                last_discovery: Some(Timestamp::now()),
                endpoint: next.source.endpoint(),
                catalog: self.catalog.clone(),
                uid: self.uid.clone(),
                generation: self.generation,
            };
        });
    }

    fn fail(&self, error: &SourceError, keeps: bool) {
        tracing::warn!(
            catalog = self.catalog,
            data_source = %self.key,
            reason = %error.reason,
            "{error}"
        );
        if !keeps {
            self.federation
                .put_catalog(self.catalog(None, Some(error.message.clone())));
        }
        self.federation.health_map().update_source(&self.key, |health| {
            health.reachable = Some(false);
            health.reason = Some(error.reason);
            health.message = Some(error.message.clone());
            health.terminal = error.terminal;
            health.catalog.clone_from(&self.catalog);
            health.uid.clone_from(&self.uid);
            health.generation = self.generation;
            if !keeps {
                health.tables = 0;
            }
        });
    }
}

/// The store did not end a look in time.
pub(crate) fn silent(catalog: &str) -> SourceError {
    SourceError {
        message: format!("{catalog}: the store did not answer in {} s", LOOK.as_secs()),
        reason: Reason::Timeout,
        terminal: false,
    }
}

/// The wait after the n-th failure in a row: doubling, between half and all of it.
fn backoff(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY);
    full.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        for (failures, low, high) in [
            (1, 500, 1000),
            (2, 1000, 2000),
            (4, 4000, 8000),
            (30, 30_000, 60_000),
        ] {
            assert_eq!(backoff(failures, 0.0), Duration::from_millis(low));
            assert_eq!(backoff(failures, 1.0), Duration::from_millis(high));
        }
    }
}
