//! How far a replica is behind, and what became of it lately.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lakegate_crds::conditions::Reason;
use tokio::time::Instant;

use super::pool::CONNECT_TIMEOUT;
use crate::{ConnectorError, ReplicaHealth};

/// How long a measurement is good for.
const KEPT: Duration = Duration::from_secs(1);
/// A replica that failed is left aside so long; twice as long after each further failure.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

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
    pub lag: Duration,
    pub instance: String,
    pub asked: Instant,
}

impl Measured {
    pub(super) fn is_good(&self, bound: Duration) -> bool {
        self.asked.elapsed() < KEPT && self.is_within(bound)
    }

    /// Whether even now, so long after the question, the server cannot be further behind.
    pub(super) fn is_within(&self, bound: Duration) -> bool {
        self.lag.saturating_add(self.asked.elapsed()) <= bound
    }
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
pub(super) struct Problem {
    /// Names the replica.
    pub text: String,
    pub reason: Reason,
}

impl Problem {
    /// Whether nobody has to do anything about it.
    pub(super) fn may_pass(&self) -> bool {
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

    pub(super) fn measured(&self, lag: &Lag, asked: Instant) {
        let mut known = self.locked();
        known.last = Some((lag.clone(), asked));
        known.failure = None;
    }

    pub(super) fn failed(&self, problem: &Problem) {
        let mut known = self.locked();
        let times = known.failure.as_ref().map_or(0, |failure| failure.times);
        known.failure = Some(Failure {
            times: times.saturating_add(1),
            until: Instant::now() + rest(times),
            problem: problem.clone(),
        });
    }

    pub(super) fn rests(&self) -> Option<Problem> {
        let known = self.locked();
        let failure = known.failure.as_ref()?;
        (Instant::now() < failure.until).then(|| failure.problem.clone())
    }

    /// Keeps everybody else away from one that failed, while it is tried.
    pub(super) fn claim(&self) {
        if let Some(failure) = &mut self.locked().failure {
            failure.until = Instant::now() + CONNECT_TIMEOUT;
        }
    }

    /// Why it is not read, if it was asked a moment ago.
    pub(super) fn refused_just_now(&self, address: &str, bound: Duration) -> Option<Problem> {
        let known = self.locked();
        let (lag, asked) = known.last.as_ref()?;
        (asked.elapsed() < KEPT)
            .then(|| refusal(lag, address, bound))
            .flatten()
    }

    pub(super) fn is_recent(&self) -> bool {
        let known = self.locked();
        known
            .last
            .as_ref()
            .is_some_and(|(_, asked)| asked.elapsed() < KEPT)
    }

    pub(super) fn health(&self, address: String, bound: Duration) -> ReplicaHealth {
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

pub(super) fn not_within(lag: &Lag, address: &str) -> Problem {
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

/// What an error says beside the source's name.
pub(super) fn problem_of(error: &ConnectorError) -> Problem {
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
