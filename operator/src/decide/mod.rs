//! What every object's status should say, and what is to be done about it. Pure and infallible: an error is something
//! observed, and what was observed becomes a status.
//!
//! The caller observes, decides, acts on the effects and decides again, until a decision has no effects; only then is
//! its status written. So a status never claims what was not seen.

mod deletion;
mod export;
mod others;
mod personal;
mod run;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use lakegate_crds::{
    ExportRun, Kind, LakegateResource,
    conditions::{ConditionStatus, ConditionType, ConditionsExt as _, ConditionsMut as _, Reason},
};
use lakegate_store::{Entry, Key, Notice, NoticeType, Problem, Rejected};

use crate::attempt::StopCause;

pub use deletion::TableFate;
pub use export::{ObservedExport, TOKEN_ANNOTATION, TRIGGER_LABEL, decide_export, run_for};
pub use others::{ObservedPolicy, ObservedSource, ObservedView, decide_policy, decide_source, decide_view};
pub use run::{ObservedRun, decide_run, limits_of, record_of, summarise};

/// The outcome of a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<S> {
    /// To be written once there are no effects.
    pub status: S,

    /// To be done, in order, before deciding again.
    pub effects: Vec<Effect>,

    /// To be published when the status is written.
    pub notices: Vec<Notice>,

    /// When to look again at the latest, should nothing happen before.
    pub next: Option<Timestamp>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Create this run; that it exists already is fine.
    CreateRun(Box<ExportRun>),

    /// Ask the run to make room.
    CancelRun(Key),

    /// Remove an ended run from the history.
    DeleteRun {
        /// Of the run.
        key: Key,

        /// Of the run.
        uid: String,
    },

    /// Start a worker for this attempt of the run at hand.
    StartWorker {
        /// From 1.
        attempt: u32,
    },

    /// End the worker of the run at hand.
    StopWorker(StopCause),

    /// Ask the lake whether the run at hand has committed.
    LookUpCommit,

    /// See to it that no attempt of the run at hand commits any more.
    Fence,

    /// Keep the Export at hand, and before it its lake, from being gone before they are let go of.
    Hold,

    /// See to it that nothing writes the table of the Export at hand any more.
    FenceTable,

    /// Make the deletion of the Export at hand final, and remove its table.
    DropTable,

    /// Publish what there is to tell, and let go of the object at hand.
    Release(Option<Box<Notice>>),
}

/// The conditions `Ready`, `Reconciling` and `Stalled` of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    ready: ConditionStatus,
    reason: Reason,
    message: String,
    outlook: Outlook,
}

/// What has to happen for `Ready` to become True.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlook {
    /// Nothing: it is as it should be, or it may stay as it is.
    Settled,

    /// Lakegate works on it.
    Reconciling,

    /// A person must act.
    Stalled,
}

impl Verdict {
    fn ready(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            ready: ConditionStatus::True,
            reason,
            message: message.into(),
            outlook: Outlook::Settled,
        }
    }

    /// First checks are under way: `Ready` is Unknown, not False, for False means degraded to those who watch.
    fn progressing(message: impl Into<String>) -> Self {
        Self {
            ready: ConditionStatus::Unknown,
            reason: Reason::Progressing,
            message: message.into(),
            outlook: Outlook::Reconciling,
        }
    }

    /// Not in service, and Lakegate keeps trying.
    fn retrying(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            ready: ConditionStatus::False,
            reason,
            message: message.into(),
            outlook: Outlook::Reconciling,
        }
    }

    /// Not in service until a person acts.
    fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            ready: ConditionStatus::False,
            reason,
            message: message.into(),
            outlook: Outlook::Stalled,
        }
    }

    /// What the conditions already say of this generation.
    ///
    /// It stands while nothing newer is known: after a restart nobody has looked at a store for a moment, and an object
    /// that is Unknown with each restart would hold up every deployment that waits for it.
    fn standing(conditions: &[Condition], generation: i64) -> Option<Self> {
        let ready = conditions
            .find(ConditionType::Ready)
            .filter(|ready| ready.observed_generation == Some(generation))?;
        let outlook = if conditions.is_true(ConditionType::Stalled) {
            Outlook::Stalled
        } else if conditions.is_true(ConditionType::Reconciling) {
            Outlook::Reconciling
        } else {
            Outlook::Settled
        };
        Some(Self {
            ready: match ready.status.as_str() {
                "True" => ConditionStatus::True,
                "False" => ConditionStatus::False,
                _ => ConditionStatus::Unknown,
            },
            reason: ready.reason.parse().ok()?,
            message: ready.message.clone(),
            outlook,
        })
    }

    fn apply(self, conditions: &mut Vec<Condition>, generation: i64, now: Timestamp) {
        let Self {
            ready,
            reason,
            message,
            outlook,
        } = self;
        match outlook {
            Outlook::Settled => {
                conditions.unset(ConditionType::Reconciling);
                conditions.unset(ConditionType::Stalled);
            }
            Outlook::Reconciling => {
                let why = match reason {
                    Reason::Progressing | Reason::Deleting => reason,
                    _ => Reason::Retrying,
                };
                conditions.set(
                    now,
                    ConditionType::Reconciling,
                    true,
                    why,
                    message.clone(),
                    generation,
                );
                conditions.unset(ConditionType::Stalled);
            }
            Outlook::Stalled => {
                conditions.unset(ConditionType::Reconciling);
                conditions.set(
                    now,
                    ConditionType::Stalled,
                    true,
                    reason,
                    message.clone(),
                    generation,
                );
            }
        }
        conditions.set(now, ConditionType::Ready, ready, reason, message, generation);
    }
}

/// The verdict on what is wrong with the manifest itself, if anything: it comes before all others.
fn refusal<K: LakegateResource>(entry: &Entry<K>, problems: &[Problem]) -> Option<Verdict> {
    if let Some(rejected) = &entry.rejected {
        let reason = reason_of(&rejected.problems).unwrap_or(Reason::InvalidSpec);
        let last_good = entry
            .object
            .as_deref()
            .map(|object| object.meta().generation.unwrap_or(entry.generation));
        let message = rejection(rejected, last_good);
        return Some(Verdict::stalled(reason, message));
    }
    let reason = reason_of(problems)?;
    let message = problems.iter().map(describe).collect::<Vec<_>>().join("; ");
    // What is missing may come with the next file of the same commit; everything else waits for an edit of this object.
    Some(match reason {
        Reason::DependencyNotFound | Reason::DependencyNotReady => Verdict::retrying(reason, message),
        _ => Verdict::stalled(reason, message),
    })
}

/// The reason that tells most: one that only an edit can cure before one that another object may.
fn reason_of(problems: &[Problem]) -> Option<Reason> {
    let reasons = || problems.iter().map(|problem| problem.reason);
    reasons()
        .find(|reason| !matches!(reason, Reason::DependencyNotFound | Reason::DependencyNotReady))
        .or_else(|| reasons().next())
}

fn describe(problem: &Problem) -> String {
    if problem.field.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.field, problem.message)
    }
}

/// `orders.yaml:12: spec.schedule.cron: …; generation 3 stays in force`
fn rejection(rejected: &Rejected, last_good: Option<i64>) -> String {
    match last_good {
        Some(generation) => {
            format!("{rejected}; the last good version (generation {generation}) stays in force")
        }
        None => rejected.to_string(),
    }
}

/// A warning when a person's attention is asked for that was not asked for before.
fn attention<K: LakegateResource>(
    entry: &Entry<K>,
    before: &[Condition],
    after: &[Condition],
    now: Timestamp,
) -> Option<Notice> {
    let stalled = after.find(ConditionType::Stalled)?;
    let known = before.find(ConditionType::Stalled);
    if known.is_some_and(|known| known.reason == stalled.reason && known.message == stalled.message) {
        return None;
    }
    Some(notice(
        entry,
        NoticeType::Warning,
        &stalled.reason,
        stalled.message.clone(),
        now,
    ))
}

fn notice<K: LakegateResource>(
    entry: &Entry<K>,
    notice_type: NoticeType,
    reason: impl std::fmt::Display,
    message: String,
    now: Timestamp,
) -> Notice {
    notice_about(
        K::KIND,
        entry.key.clone(),
        &entry.uid,
        notice_type,
        reason,
        message,
        now,
    )
}

fn notice_about(
    kind: Kind,
    key: Key,
    uid: &str,
    notice_type: NoticeType,
    reason: impl std::fmt::Display,
    message: String,
    now: Timestamp,
) -> Notice {
    Notice::new(now, notice_type, kind, key, uid, reason, message)
}

/// `1h30m`, `90s` below two minutes as `1m30s`, `450ms` below ten seconds with its fraction: `2.3s`.
pub fn format_duration(duration: SignedDuration) -> String {
    let millis = duration.as_millis().max(0);
    if millis < 1000 {
        return format!("{millis}ms");
    }
    if millis < 10_000 {
        return format!("{}.{}s", millis / 1000, millis % 1000 / 100);
    }
    let seconds = millis / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

fn instant(time: Option<&Time>) -> Option<Timestamp> {
    time.map(|time| time.0)
}

/// As the API has its numbers: signed.
pub(crate) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
