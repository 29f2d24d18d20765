//! One process of several decides: the one that holds a Lease of `coordination.k8s.io`.
//!
//! The holder renews it; a candidate takes it when it has not seen the holder renew it for the time that the holder
//! promised. Both measure by their own monotonic clock, from what they saw themselves: the times that stand in a Lease
//! are for people, and no clock that is set, on any machine, makes two holders.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, task::JoinHandle};
use uuid::Uuid;

use super::error::Request;
use crate::{StoreError, error::chain};

/// Which Lease, and how it is held. Every candidate should have the same times.
#[derive(Debug, Clone)]
pub struct LeaseOptions {
    pub namespace: String,

    pub name: String,

    /// Who holds it, for people: the name of the Pod.
    pub holder: String,

    /// How long a candidate waits for a sign of the holder.
    pub duration: Duration,

    /// How long the holder goes on without having renewed. Shorter than `duration`: it must have stopped by then.
    pub renew_deadline: Duration,

    /// Between two attempts to renew, or to take.
    pub retry: Duration,
}

impl LeaseOptions {
    /// With the times that Kubernetes' own components use.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, holder: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            holder: holder.into(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// What a candidate knows of a Lease.
#[derive(Debug, Clone, PartialEq)]
struct Sighting {
    spec: LeaseSpec,

    /// When this content was seen for the first time, by the candidate's clock.
    since: Instant,
}

impl Sighting {
    /// What is known after the Lease was read at `now`: a content that was known already is no sign of life.
    fn next(before: Option<Self>, spec: LeaseSpec, now: Instant) -> Self {
        match before {
            Some(before) if before.spec == spec => before,
            _ => Self { spec, since: now },
        }
    }

    fn holder(&self) -> Option<&str> {
        self.spec
            .holder_identity
            .as_deref()
            .filter(|holder| !holder.is_empty())
    }

    /// Whether `candidate` may take the Lease at `now`.
    fn is_free(&self, candidate: &str, now: Instant) -> bool {
        let promised = self
            .spec
            .lease_duration_seconds
            .unwrap_or(0)
            .max(0)
            .unsigned_abs();
        match self.holder() {
            None => true,
            Some(holder) if holder == candidate => true,
            Some(_) => now.duration_since(self.since) >= Duration::from_secs(u64::from(promised)),
        }
    }
}

/// Whether a holder that renewed at `renewed` for the last time has to stop at `now`.
fn is_overdue(renewed: Instant, deadline: Duration, now: Instant) -> bool {
    now.duration_since(renewed) >= deadline
}

/// `base` and up to a fifth more, so that candidates do not come all at once. `chance` is any number.
fn with_jitter(base: Duration, chance: u8) -> Duration {
    base + base.mul_f64(f64::from(chance) / f64::from(u8::MAX) / 5.0)
}

fn pause(base: Duration) -> Duration {
    with_jitter(base, Uuid::new_v4().as_bytes()[0])
}

/// The Lease is held. Dropped without [`Leadership::release`], it is not given back: a candidate has to wait it out.
#[derive(Debug)]
pub struct Leadership {
    lost: watch::Receiver<bool>,
    release: watch::Sender<bool>,
    renewal: JoinHandle<()>,
    renewed: Arc<Mutex<Instant>>,
    deadline: Duration,
}

impl Leadership {
    /// Whether the Lease is held at this moment. A clock is asked, not only the task that renews: that may not have run.
    pub fn is_held(&self) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        !*self.lost.borrow() && !is_overdue(renewed, self.deadline, Instant::now())
    }

    /// Completes when the Lease is not held any more: whoever held it must act no further.
    pub async fn lost(&self) {
        // An error means that the task has ended, which it does only after it lost the Lease.
        let _ = self.lost.clone().wait_for(|lost| *lost).await;
    }

    /// Gives the Lease back, so that a candidate can take it at once.
    pub async fn release(mut self) {
        self.release.send_replace(true);
        let patience = self.deadline;
        if tokio::time::timeout(patience, &mut self.renewal).await.is_err() {
            tracing::warn!("the Lease could not be given back; it runs out by itself");
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Waits until the Lease is held.
///
/// # Errors
/// [`StoreError::Forbidden`] and [`StoreError::NamespaceTerminating`]; other failures are tried again.
pub async fn acquire(client: Client, options: LeaseOptions) -> Result<Leadership, StoreError> {
    let candidate = Candidate {
        api: Api::namespaced(client, &options.namespace),
        // Another life of the same Pod is another candidate: what the one before began may still be under way.
        identity: format!("{}_{}", options.holder, Uuid::new_v4()),
        options,
    };
    let mut known: Option<Sighting> = None;
    let mut told: Option<String> = None;
    loop {
        let began = Instant::now();
        match candidate.try_take(&mut known).await {
            Ok(Some(held)) => {
                let Candidate {
                    identity, options, ..
                } = &candidate;
                tracing::info!(
                    lease = options.name,
                    namespace = options.namespace,
                    identity,
                    "the Lease is held"
                );
                return Ok(candidate.hold(held, began));
            }
            Ok(None) => {
                let holder = known.as_ref().and_then(Sighting::holder).map(str::to_owned);
                if holder.is_some() && told != holder {
                    tracing::info!(
                        lease = candidate.options.name,
                        holder,
                        "another process holds the Lease; waiting"
                    );
                    told = holder;
                }
            }
            Err(error) => match candidate.request("update").failed(error) {
                error @ (StoreError::Forbidden { .. } | StoreError::NamespaceTerminating { .. }) => {
                    return Err(error);
                }
                error => tracing::debug!(error = chain(&error), "the Lease could not be read or taken"),
            },
        }
        tokio::time::sleep(pause(candidate.options.retry)).await;
    }
}

struct Candidate {
    api: Api<Lease>,
    identity: String,
    options: LeaseOptions,
}

impl Candidate {
    fn request(&self, verb: &'static str) -> Request {
        let LeaseOptions { namespace, name, .. } = &self.options;
        Request::foreign(verb, "coordination.k8s.io", "leases", namespace, Some(name))
    }

    /// The answer to a request, which is of no use after the time between two attempts has passed several times.
    async fn answer<T>(&self, request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let patience = self.options.renew_deadline / 2;
        tokio::time::timeout(patience, request).await.unwrap_or_else(|_| {
            let silence = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
            Err(kube::Error::Service(Box::new(silence)))
        })
    }

    /// Takes the Lease if it is free. `None` when it is not, or when another candidate was faster.
    async fn try_take(&self, known: &mut Option<Sighting>) -> kube::Result<Option<Lease>> {
        let Some(lease) = self.answer(self.api.get_opt(&self.options.name)).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.options.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.claim(None)),
            };
            return lost_race(self.answer(self.api.create(&PostParams::default(), &lease)).await);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let sighting = Sighting::next(known.take(), spec, Instant::now());
        let is_free = sighting.is_free(&self.identity, Instant::now());
        *known = Some(sighting);
        if !is_free {
            return Ok(None);
        }
        let claim = self.claim(lease.spec.as_ref());
        lost_race(self.replace(lease, claim).await)
    }

    /// The content of a Lease that this candidate takes or renews.
    fn claim(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        let renewed = before.filter(|before| before.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|before| before.lease_transitions).unwrap_or(0);
        let seconds = self.options.duration.as_secs().max(1);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
            acquire_time: renewed.map_or_else(|| now.clone(), |before| before.acquire_time.clone()),
            renew_time: now,
            lease_transitions: Some(match (before, renewed) {
                (Some(_), None) => transitions.saturating_add(1),
                _ => transitions,
            }),
            ..LeaseSpec::default()
        }
    }

    /// Writes a Lease over the very version that was read: the API server takes one such write alone.
    async fn replace(&self, mut lease: Lease, spec: LeaseSpec) -> kube::Result<Lease> {
        lease.spec = Some(spec);
        self.answer(
            self.api
                .replace(&self.options.name, &PostParams::default(), &lease),
        )
        .await
    }

    fn hold(self, lease: Lease, began: Instant) -> Leadership {
        let (lose, lost) = watch::channel(false);
        let (release, released) = watch::channel(false);
        let renewed = Arc::new(Mutex::new(began));
        let deadline = self.options.renew_deadline;
        let renewal = tokio::spawn(self.renew(lease, Arc::clone(&renewed), released, lose));
        Leadership {
            lost,
            release,
            renewal,
            renewed,
            deadline,
        }
    }

    /// Renews until the Lease is lost or given back.
    async fn renew(
        self,
        mut lease: Lease,
        renewed: Arc<Mutex<Instant>>,
        mut released: watch::Receiver<bool>,
        lose: watch::Sender<bool>,
    ) {
        let deadline = self.options.renew_deadline;
        loop {
            let last = *renewed.lock().unwrap_or_else(PoisonError::into_inner);
            let left = (last + deadline).saturating_duration_since(Instant::now());
            tokio::select! {
                biased;
                _ = released.wait_for(|released| *released) => break,
                () = tokio::time::sleep(pause(self.options.retry).min(left)) => {}
            }
            if is_overdue(last, deadline, Instant::now()) {
                lose.send_replace(true);
                tracing::error!(
                    lease = self.options.name,
                    "the Lease could not be renewed in time and is lost"
                );
                return;
            }
            // From before the request: the API server may have taken it at any time since.
            let began = Instant::now();
            match self.try_renew(&lease).await {
                Ok(Some(held)) => {
                    lease = held;
                    *renewed.lock().unwrap_or_else(PoisonError::into_inner) = began;
                }
                Ok(None) => {
                    lose.send_replace(true);
                    tracing::error!(lease = self.options.name, "another process has taken the Lease");
                    return;
                }
                Err(error) => {
                    let error = self.request("update").failed(error);
                    tracing::warn!(
                        lease = self.options.name,
                        error = chain(&error),
                        "the Lease is not renewed yet"
                    );
                }
            }
        }
        // Nobody acts by it any more when it is free.
        lose.send_replace(true);
        let free = LeaseSpec {
            holder_identity: Some(String::new()),
            // The least that the API server takes.
            lease_duration_seconds: Some(1),
            ..self.claim(lease.spec.as_ref())
        };
        if let Err(error) = self.replace(lease, free).await {
            let error = self.request("update").failed(error);
            tracing::warn!(
                error = chain(&error),
                "the Lease could not be given back; it runs out by itself"
            );
        }
    }

    /// `None` when the Lease is another's.
    async fn try_renew(&self, lease: &Lease) -> kube::Result<Option<Lease>> {
        let claim = self.claim(lease.spec.as_ref());
        match self.replace(lease.clone(), claim).await {
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {}
            answer => return answer.map(Some),
        }
        // Somebody wrote to it: a person who set a label, the answer to our own write that never came, or another holder.
        let Some(there) = self.answer(self.api.get_opt(&self.options.name)).await? else {
            return Ok(None);
        };
        let is_ours = there
            .spec
            .as_ref()
            .is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        if !is_ours {
            return Ok(None);
        }
        let claim = self.claim(there.spec.as_ref());
        self.replace(there, claim).await.map(Some)
    }
}

/// A refusal because another write came first is an answer.
fn lost_race(answer: kube::Result<Lease>) -> kube::Result<Option<Lease>> {
    match answer {
        Ok(lease) => Ok(Some(lease)),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..LeaseSpec::default()
        }
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_is_free_when_nobody_holds_it() {
        let now = Instant::now();
        for spec in [LeaseSpec::default(), spec("", 0), spec("me", 0)] {
            assert!(Sighting::next(None, spec, now).is_free("me", now));
        }
    }

    #[test]
    fn a_lease_is_taken_only_after_the_whole_time_without_a_sign() {
        let start = Instant::now();
        let mut known = Sighting::next(None, spec("other", 100), start);
        assert!(!known.is_free("me", start));
        for second in 1..15 {
            known = Sighting::next(Some(known), spec("other", 100), after(start, second));
            assert!(!known.is_free("me", after(start, second)));
        }
        // A sign of life begins the time anew.
        known = Sighting::next(Some(known), spec("other", 101), after(start, 14));
        assert!(!known.is_free("me", after(start, 28)));
        assert!(known.is_free("me", after(start, 29)));
    }

    #[test]
    fn the_clocks_of_others_do_not_count() {
        let start = Instant::now();
        // The holder's clock stands in 1970, or jumps back and forth: each renewal is a sign of life.
        let mut known = Sighting::next(None, spec("other", 0), start);
        for (second, renewed) in [(10, 4_000_000_000), (20, 5), (30, 4_000_000_000), (40, 6)] {
            known = Sighting::next(Some(known), spec("other", renewed), after(start, second));
            assert!(!known.is_free("me", after(start, second + 14)), "at {second}");
        }
        // And one from the future that comes no more keeps nobody waiting for ever.
        known = Sighting::next(Some(known), spec("other", 9_000_000_000), after(start, 50));
        assert!(known.is_free("me", after(start, 65)));
    }

    #[test]
    fn a_candidate_that_comes_new_waits_the_whole_time() {
        let start = Instant::now();
        // It cannot know how old what it reads is.
        let known = Sighting::next(None, spec("other", 0), start);
        assert!(!known.is_free("me", after(start, 14)));
    }

    #[test]
    fn a_holder_stops_before_a_candidate_may_begin() {
        let options = LeaseOptions::new("shop", "lakegate-operator", "pod-1");
        let renewed = Instant::now();
        let seen = Sighting::next(None, spec("other", 0), renewed);
        let mut second = 0;
        while !seen.is_free("me", after(renewed, second)) {
            second += 1;
        }
        assert!(is_overdue(
            renewed,
            options.renew_deadline,
            after(renewed, second)
        ));
        assert!(!is_overdue(renewed, options.renew_deadline, after(renewed, 9)));
    }

    #[test]
    fn pauses_differ_and_are_never_short() {
        let base = Duration::from_secs(2);
        assert_eq!(with_jitter(base, 0), base);
        assert_eq!(with_jitter(base, u8::MAX), Duration::from_millis(2400));
        let pauses: std::collections::BTreeSet<_> = (0..50).map(|_| pause(base)).collect();
        assert!(pauses.len() > 5);
    }
}
