//! Which server of a source is read: a replica that is close enough behind, or what the DataSource says of that case.
//!
//! How far a replica is behind is asked on the connection that will be used, for one name may lead to several servers.
//! The answer serves that connection for [`KEPT`] and counts as that much older.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lakegate_crds::OnReplicaLag;
use lakegate_crds::conditions::Reason;
use tokio::time::{Instant, sleep, timeout};

use super::pool::{CONNECT_TIMEOUT, Driver, Lease, PRIMARY, Pool};
use crate::{ConnectorError, ReplicaHealth};

/// How long a measurement is good for.
const KEPT: Duration = Duration::from_secs(1);
/// An answer that takes longer says nothing any more.
const LONGEST_MEASUREMENT: Duration = Duration::from_secs(5);
/// Between two looks of a query that waits for a replica.
const PAUSE: Duration = Duration::from_millis(250);
/// Discovery waits no longer for a replica: its source is looked at again anyway.
const LONGEST_WAIT_OF_DISCOVERY: Duration = Duration::from_secs(30);
/// A replica that failed is left aside so long; twice as long after each further failure.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Connections opened to one name until it leads to the server wanted.
const TRIES: usize = 5;

/// How far a server is behind the one it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lag {
    Behind(Duration),
    /// It does not know or does not tell, and why.
    Unknown(String),
    /// It follows nobody, and how that shows.
    NotAReplica(String),
}

/// What a server says of itself as a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub lag: Lag,
    /// Tells the servers behind one name apart.
    pub instance: String,
}

/// A [`Lag::Behind`] of one connection's server.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    lag: Duration,
    instance: String,
    asked: Instant,
}

impl Measured {
    fn is_good(&self, bound: Duration) -> bool {
        self.asked.elapsed() < KEPT && self.is_within(bound)
    }

    /// Whether even now, so long after the question, the server cannot be further behind.
    fn is_within(&self, bound: Duration) -> bool {
        self.lag.saturating_add(self.asked.elapsed()) <= bound
    }
}

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

/// What became of one replica lately.
#[derive(Debug, Default)]
pub(super) struct Record(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last: Option<(Lag, Instant)>,
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    times: u32,
    /// Until then it is left aside.
    until: Instant,
    problem: Problem,
}

/// Why a replica is not read.
#[derive(Debug, Clone)]
struct Problem {
    /// Names the replica.
    text: String,
    reason: Reason,
}

impl Problem {
    /// Whether nobody has to do anything about it.
    fn may_pass(&self) -> bool {
        matches!(
            self.reason,
            Reason::ReplicaLagging | Reason::ConnectionFailed | Reason::Timeout
        )
    }
}

impl Record {
    fn locked(&self) -> MutexGuard<'_, Known> {
        // Every change of it is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measured(&self, lag: &Lag, asked: Instant) {
        let mut known = self.locked();
        known.last = Some((lag.clone(), asked));
        known.failure = None;
    }

    fn failed(&self, problem: &Problem) {
        let mut known = self.locked();
        let times = known.failure.as_ref().map_or(0, |failure| failure.times);
        known.failure = Some(Failure {
            times: times.saturating_add(1),
            until: Instant::now() + rest(times),
            problem: problem.clone(),
        });
    }

    fn rests(&self) -> Option<Problem> {
        let known = self.locked();
        let failure = known.failure.as_ref()?;
        (Instant::now() < failure.until).then(|| failure.problem.clone())
    }

    /// Keeps everybody else away from one that failed, while it is tried.
    fn claim(&self) {
        if let Some(failure) = &mut self.locked().failure {
            failure.until = Instant::now() + CONNECT_TIMEOUT;
        }
    }

    /// Why it is not read, if it was asked a moment ago.
    fn refused_just_now(&self, address: &str, bound: Duration) -> Option<Problem> {
        let known = self.locked();
        let (lag, asked) = known.last.as_ref()?;
        (asked.elapsed() < KEPT)
            .then(|| refusal(lag, address, bound))
            .flatten()
    }

    fn is_recent(&self) -> bool {
        let known = self.locked();
        known
            .last
            .as_ref()
            .is_some_and(|(_, asked)| asked.elapsed() < KEPT)
    }

    fn health(&self, address: String, bound: Duration) -> ReplicaHealth {
        let known = self.locked();
        let (lag, problem) = match (&known.failure, &known.last) {
            (Some(failure), _) => (None, Some(failure.problem.text.clone())),
            (None, Some((lag, _))) => (
                match lag {
                    Lag::Behind(lag) => Some(*lag),
                    Lag::Unknown(_) | Lag::NotAReplica(_) => None,
                },
                refusal(lag, &address, bound).map(|problem| problem.text),
            ),
            (None, None) => (None, Some(format!("{address} was not asked yet"))),
        };
        ReplicaHealth {
            address,
            lag,
            problem,
        }
    }
}

/// How long a replica rests that has failed so many times before.
fn rest(times: u32) -> Duration {
    FIRST_REST.saturating_mul(1 << times.min(16)).min(LONGEST_REST)
}

/// Why a replica that is so far behind is not read, if it is not.
fn refusal(lag: &Lag, address: &str, bound: Duration) -> Option<Problem> {
    let is_within = matches!(lag, Lag::Behind(lag) if *lag <= bound);
    (!is_within).then(|| not_within(lag, address))
}

fn not_within(lag: &Lag, address: &str) -> Problem {
    Problem {
        text: match lag {
            Lag::Behind(lag) => format!("{address} is {} behind", spoken(*lag)),
            Lag::Unknown(why) => format!("how far {address} is behind is unknown: {why}"),
            Lag::NotAReplica(how) => format!("{address} is no replica: {how}"),
        },
        reason: Reason::ReplicaLagging,
    }
}

/// Coarse, so that what people read does not change all the time.
fn spoken(lag: Duration) -> String {
    match lag.as_secs() {
        0 => format!("{} ms", lag.as_millis()),
        seconds @ 1..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
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
        let pin = self.pinned().clone();
        let pinned_to_primary = matches!(pin, Pin::Held { site: PRIMARY, .. });
        if self.sites.len() == PRIMARY + 1 || pinned_to_primary {
            let permit = self.permit(patience).await?;
            return self.connect(PRIMARY, permit).await;
        }
        let policy = self.server().on_replica_lag;
        let began = Instant::now();
        loop {
            let problems = match self.choose(&pin, patience).await? {
                Ok(lease) => return Ok(self.chosen(lease)),
                Err(problems) => problems,
            };
            match policy {
                OnReplicaLag::UsePrimary if !matches!(pin, Pin::Held { .. }) => {
                    let permit = self.permit(patience).await?;
                    let lease = self.connect(PRIMARY, permit).await?;
                    return Ok(self.chosen(lease));
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

    /// A connection to a replica within its bounds, or why there is none.
    async fn choose(
        self: &Arc<Self>,
        pin: &Pin,
        patience: Duration,
    ) -> Result<Result<Lease<D>, Vec<Problem>>, ConnectorError> {
        let server = self.server();
        let candidates = self.candidates(pin);
        // Where nothing else is left, asking in vain is better than not asking.
        let all_rest = server.on_replica_lag != OnReplicaLag::UsePrimary
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

    fn chosen(self: &Arc<Self>, lease: Lease<D>) -> Lease<D> {
        let mut pin = self.pinned();
        if *pin == Pin::Wanted {
            *pin = Pin::Held {
                site: lease.site,
                instance: lease.measured.as_ref().map(|known| known.instance.clone()),
            };
        }
        drop(pin);
        if lease.is_replica() && self.has_idle(PRIMARY) {
            let pool = Arc::clone(self);
            self.spawn(async move { pool.close_idle(|idle| idle == PRIMARY).await });
        }
        lease
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

/// What an error says beside the source's name.
fn problem_of(error: &ConnectorError) -> Problem {
    let text = error.to_string();
    let text = match text.split_once(": ") {
        Some((_, rest)) => rest.to_owned(),
        None => text,
    };
    Problem {
        text,
        reason: error.reason(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_ages() {
        let seconds = Duration::from_secs;
        let now = Instant::now();
        let measured = |milliseconds_ago| Measured {
            lag: seconds(29),
            instance: String::new(),
            asked: now - Duration::from_millis(milliseconds_ago),
        };
        assert!(measured(0).is_good(seconds(30)));
        assert!(!measured(0).is_good(seconds(28)));
        assert!(
            !measured(500).is_good(seconds(29)),
            "by now it may be 29.5 s behind"
        );
        assert!(!measured(1500).is_within(seconds(30)));
        assert!(!measured(1500).is_good(seconds(60)), "too old to say anything");
    }

    #[test]
    fn a_replica_that_fails_rests() {
        let rests: Vec<u64> = (0..7).map(|times| rest(times).as_secs()).collect();
        assert_eq!(rests, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(rest(u32::MAX), LONGEST_REST);

        let record = Record::default();
        let down = Problem {
            text: "r:1 is down".to_owned(),
            reason: Reason::ConnectionFailed,
        };
        record.claim();
        assert!(record.rests().is_none(), "everybody may try what never failed");
        record.failed(&down);
        assert_eq!(
            record.rests().map(|problem| problem.text),
            Some(down.text.clone())
        );
        let health = record.health("r:1".to_owned(), LONGEST_REST);
        assert_eq!((health.lag, health.problem), (None, Some(down.text.clone())));
        if let Some(failure) = &mut record.locked().failure {
            failure.until = Instant::now();
        }
        assert!(record.rests().is_none());
        record.claim();
        assert!(record.rests().is_some(), "one tries, the others go on");
        record.measured(&Lag::Behind(Duration::ZERO), Instant::now());
        assert!(record.rests().is_none());
        let health = record.health("r:1".to_owned(), LONGEST_REST);
        assert_eq!((health.lag, health.problem), (Some(Duration::ZERO), None));
    }

    #[test]
    fn states_in_words() {
        let bound = Duration::from_secs(30);
        let said = |lag| refusal(&lag, "r:1", bound).map(|problem| problem.text);
        assert_eq!(said(Lag::Behind(bound)), None);
        for (milliseconds, words) in [
            (30_001, "r:1 is 30 s behind"),
            (125_000, "r:1 is 2 min behind"),
            (7_300_000, "r:1 is 2 h behind"),
        ] {
            let lag = Lag::Behind(Duration::from_millis(milliseconds));
            assert_eq!(said(lag).as_deref(), Some(words));
        }
        assert_eq!(
            said(Lag::NotAReplica("it is in no recovery".to_owned())).as_deref(),
            Some("r:1 is no replica: it is in no recovery")
        );
    }
}
