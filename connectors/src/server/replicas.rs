//! Which server of a source is read: a replica that is close enough behind, or what the DataSource says of that case.
//!
//! How far a replica is behind is asked on the connection that will be used, for one name may lead to several servers.
//! The answer serves that connection for a moment and counts as that much older.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use lakegate_crds::OnReplicaLag;
use lakegate_crds::conditions::Reason;
use tokio::time::{Instant, sleep, timeout};

use super::lag::{Lag, Measured, Problem, not_within, problem_of};
use super::pool::{Driver, Lease, PRIMARY, Pool};
use crate::{ConnectorError, ReplicaHealth};

/// An answer that takes longer says nothing any more.
const LONGEST_MEASUREMENT: Duration = Duration::from_secs(5);
/// Between two looks of a query that waits for a replica.
const PAUSE: Duration = Duration::from_millis(250);
/// Discovery waits no longer for a replica: its source is looked at again anyway.
const LONGEST_WAIT_OF_DISCOVERY: Duration = Duration::from_secs(30);
/// Connections opened to one name until it leads to the server wanted.
const TRIES: usize = 5;

/// Whether all reads keep to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pin {
    Free,
    /// The next server that is read is kept to.
    Wanted,
    /// Of the primary nothing but its place is known.
    Held {
        site: usize,
        instance: Option<String>,
    },
}

/// Why no server was chosen.
enum Refusal {
    /// Nothing to do with replicas.
    Other(ConnectorError),
    Replica(Problem),
}

impl<D: Driver> Pool<D> {
    /// A connection of its own for the caller, to a server that the DataSource lets be read.
    ///
    /// # Errors
    /// `Busy` when none becomes free in time, `NoReplica`, or why no connection can be made.
    pub(crate) async fn acquire(self: &Arc<Self>, patience: Duration) -> Result<Lease<D>, ConnectorError> {
        self.acquire_within(patience, self.server().statement_timeout)
            .await
    }

    /// Like [`Self::acquire`], for a look at the source.
    pub(crate) async fn acquire_to_discover(self: &Arc<Self>) -> Result<Lease<D>, ConnectorError> {
        let wait = self.server().statement_timeout.min(LONGEST_WAIT_OF_DISCOVERY);
        self.acquire_within(self.patience_of_discovery(), wait).await
    }

    /// Like [`Self::acquire`], for use after an idle connection turned out to be
    /// dead: the other idle ones are as old and are closed first.
    pub(crate) async fn acquire_fresh(
        self: &Arc<Self>,
        patience: Duration,
    ) -> Result<Lease<D>, ConnectorError> {
        self.close_idle(|_| true).await;
        self.acquire(patience).await
    }

    /// From the next connection on all are to one server, or there is an error: reads that belong together must not
    /// see the states of several.
    pub(crate) fn pin(&self) {
        let mut pin = self.pinned();
        if *pin == Pin::Free {
            *pin = Pin::Wanted;
        }
    }

    /// How each replica is, asked now where that takes no connection from a query.
    pub(crate) async fn survey(self: &Arc<Self>) -> Vec<ReplicaHealth> {
        let bound = self.server().max_replica_lag;
        let mut all = Vec::new();
        for site in PRIMARY + 1..self.sites.len() {
            let record = &self.sites[site].record;
            if record.rests().is_none()
                && !record.is_recent()
                && let Some(permit) = self.permit_now()
            {
                record.claim();
                match self.connect(site, permit).await {
                    Ok(mut lease) => match self.measure(&mut lease).await {
                        Ok(_) => lease.put_back(),
                        // One that died while idle says nothing about its server.
                        Err(_) if lease.reused => self.close_idle(|idle| idle == site).await,
                        Err(error) => self.failed(site, &error),
                    },
                    Err(error) => self.failed(site, &error),
                }
            }
            all.push(record.health(self.sites[site].driver.server().address(), bound));
        }
        if all.iter().any(|replica| replica.problem.is_none()) {
            self.close_idle(|idle| idle == PRIMARY).await;
        }
        all
    }

    fn pinned(&self) -> MutexGuard<'_, Pin> {
        // Every change of it is one assignment.
        self.pin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `patience` is for a free connection, `wait` for a replica to catch up.
    async fn acquire_within(
        self: &Arc<Self>,
        patience: Duration,
        wait: Duration,
    ) -> Result<Lease<D>, ConnectorError> {
        loop {
            let pin = self.pinned().clone();
            let lease = self.acquire_of(&pin, patience, wait).await?;
            if let Some(lease) = self.chosen(lease) {
                return Ok(lease);
            }
        }
    }

    async fn acquire_of(
        self: &Arc<Self>,
        pin: &Pin,
        patience: Duration,
        wait: Duration,
    ) -> Result<Lease<D>, ConnectorError> {
        let pinned_to_primary = matches!(pin, Pin::Held { site: PRIMARY, .. });
        if self.sites.len() == PRIMARY + 1 || pinned_to_primary {
            let permit = self.permit(patience).await?;
            return self.connect(PRIMARY, permit).await;
        }
        let policy = self.server().on_replica_lag;
        let (began, mut looks) = (Instant::now(), 0_u32);
        loop {
            // Where nothing else is left, asking in vain is better than not asking; but not all the time.
            let is_eager = policy == OnReplicaLag::Fail || policy == OnReplicaLag::Wait && looks == 0;
            looks += 1;
            let problems = match self.choose(pin, is_eager, patience).await? {
                Ok(lease) => return Ok(lease),
                Err(problems) => problems,
            };
            match policy {
                OnReplicaLag::UsePrimary if !matches!(pin, Pin::Held { .. }) => {
                    let permit = self.permit(patience).await?;
                    return self.connect(PRIMARY, permit).await;
                }
                OnReplicaLag::Wait
                    if problems.iter().any(Problem::may_pass) && began.elapsed() + PAUSE < wait =>
                {
                    sleep(PAUSE).await;
                }
                _ => return Err(self.no_replica(&problems, began.elapsed())),
            }
        }
    }

    /// A connection to a replica within its bounds, or why there is none. One who is eager asks those that rest, too,
    /// if all do.
    async fn choose(
        self: &Arc<Self>,
        pin: &Pin,
        is_eager: bool,
        patience: Duration,
    ) -> Result<Result<Lease<D>, Vec<Problem>>, ConnectorError> {
        let server = self.server();
        let candidates = self.candidates(pin);
        let all_rest = is_eager
            && candidates
                .iter()
                .all(|site| self.sites[*site].record.rests().is_some());
        let mut problems = Vec::new();
        for site in candidates {
            let record = &self.sites[site].record;
            let address = self.sites[site].driver.server().address();
            let known = match record.rests() {
                Some(problem) if !all_rest => Some(problem),
                Some(_) => None,
                None => record.refused_just_now(&address, server.max_replica_lag),
            };
            match known {
                Some(problem) => problems.push(problem),
                None => match self.try_replica(site, pin, patience).await {
                    Ok(lease) => return Ok(Ok(lease)),
                    Err(Refusal::Replica(problem)) => problems.push(problem),
                    Err(Refusal::Other(error)) => return Err(error),
                },
            }
        }
        Ok(Err(problems))
    }

    /// The replicas in the order in which they are to be tried. They take turns, but an idle connection is not closed
    /// for the sake of the order.
    fn candidates(&self, pin: &Pin) -> Vec<usize> {
        if let Pin::Held { site, .. } = pin {
            return vec![*site];
        }
        let replicas = self.sites.len() - 1;
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut order: Vec<usize> = (0..replicas)
            .map(|next| PRIMARY + 1 + (first.wrapping_add(next)) % replicas)
            .collect();
        if let Some(ready) = self.only_idle() {
            order.sort_by_key(|site| !ready.contains(site));
        }
        order
    }

    async fn try_replica(
        self: &Arc<Self>,
        site: usize,
        pin: &Pin,
        patience: Duration,
    ) -> Result<Lease<D>, Refusal> {
        let Self { sites, .. } = self.as_ref();
        let (record, server) = (&sites[site].record, sites[site].driver.server());
        let bound = server.max_replica_lag;
        for _ in 0..TRIES {
            let permit = self.permit(patience).await.map_err(Refusal::Other)?;
            record.claim();
            let mut lease = match self.connect(site, permit).await {
                Ok(lease) => lease,
                Err(error) => return Err(self.refused(site, &error)),
            };
            if !lease.measured.as_ref().is_some_and(|known| known.is_good(bound)) {
                let lag = match self.measure(&mut lease).await {
                    Ok(lag) => lag,
                    Err(_) if lease.reused => {
                        // It died while idle; so did the others.
                        drop(lease);
                        self.close_idle(|idle| idle == site).await;
                        continue;
                    }
                    Err(error) => return Err(self.refused(site, &error)),
                };
                let is_within = lease
                    .measured
                    .as_ref()
                    .is_some_and(|known| known.is_within(bound));
                if !is_within {
                    lease.put_back();
                    return Err(Refusal::Replica(not_within(&lag, &server.address())));
                }
            }
            let instance = lease.measured.as_ref().map(|known| &known.instance);
            match pin {
                // Dropped, so that the name is looked up anew.
                Pin::Held { instance: wanted, .. } if wanted.as_ref() != instance => drop(lease),
                _ => return Ok(lease),
            }
        }
        Err(Refusal::Replica(Problem {
            text: format!(
                "{} does not lead to the server any more that was read so far",
                server.address()
            ),
            reason: Reason::ConnectionFailed,
        }))
    }

    /// Asks how far the server is behind, and keeps the answer.
    async fn measure(&self, lease: &mut Lease<D>) -> Result<Lag, ConnectorError> {
        let site = &self.sites[lease.site];
        lease.measured = None;
        let asked = Instant::now();
        let standing = timeout(LONGEST_MEASUREMENT, site.driver.standing(lease.connection_mut()?))
            .await
            .map_err(|_| ConnectorError::TimedOut {
                catalog: site.driver.server().catalog.clone(),
                endpoint: site.driver.server().address(),
                seconds: LONGEST_MEASUREMENT.as_secs(),
            })??;
        site.record.measured(&standing.lag, asked);
        if let Lag::Behind(lag) = standing.lag {
            lease.measured = Some(Measured {
                lag,
                instance: standing.instance,
                asked,
            });
        }
        Ok(standing.lag)
    }

    fn refused(&self, site: usize, error: &ConnectorError) -> Refusal {
        self.failed(site, error);
        Refusal::Replica(problem_of(error))
    }

    fn failed(&self, site: usize, error: &ConnectorError) {
        tracing::debug!(%error, "a replica is left aside for a while");
        self.sites[site].record.failed(&problem_of(error));
    }

    /// The connection, unless in the meantime another one decided which server is read.
    fn chosen(self: &Arc<Self>, lease: Lease<D>) -> Option<Lease<D>> {
        let instance = lease.measured.as_ref().map(|known| known.instance.clone());
        let this = Pin::Held {
            site: lease.site,
            instance,
        };
        {
            let mut pin = self.pinned();
            match *pin {
                Pin::Wanted => *pin = this,
                Pin::Held { .. } if *pin != this => return None,
                Pin::Held { .. } | Pin::Free => {}
            }
        }
        if lease.is_replica() && self.has_idle(PRIMARY) {
            let pool = Arc::clone(self);
            self.spawn(async move { pool.close_idle(|idle| idle == PRIMARY).await });
        }
        Some(lease)
    }

    fn no_replica(&self, problems: &[Problem], waited: Duration) -> ConnectorError {
        let server = self.server();
        let lagging = problems
            .iter()
            .find(|problem| problem.reason == Reason::ReplicaLagging);
        let states: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
        let states = states.join("; ");
        let what = match lagging {
            Some(_) => format!(
                "no replica is within maxReplicaLag ({} s): {states}",
                server.max_replica_lag.as_secs_f64()
            ),
            None => format!("no replica can be read: {states}"),
        };
        let remedy = match (server.on_replica_lag, lagging) {
            (OnReplicaLag::Fail, Some(_)) => {
                "try again later, raise maxReplicaLag, or set onReplicaLag to Wait or UsePrimary".to_owned()
            }
            (OnReplicaLag::Fail, None) => {
                "see to the replicas, or set onReplicaLag to Wait or UsePrimary".to_owned()
            }
            (OnReplicaLag::Wait, _) => format!(
                "gave up after {} s; see to the replicas, or raise maxReplicaLag or limits.statementTimeout",
                waited.as_secs()
            ),
            (OnReplicaLag::UsePrimary, _) => {
                "what belongs together is read from one server only; try again".to_owned()
            }
        };
        ConnectorError::NoReplica {
            catalog: server.catalog.clone(),
            message: format!("{what}. {remedy}"),
            reason: lagging
                .or(problems.first())
                .map_or(Reason::ReplicaLagging, |problem| problem.reason),
        }
    }
}
