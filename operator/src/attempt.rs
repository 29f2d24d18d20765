//! The life of a run, one step at a time. Pure.
//!
//! ```text
//!            ┌────────── retry, interrupted ─────────┐
//!            ▼                                       │
//!  Wait ──▶ Start ──▶ Watch ──▶ (worker ends) ──▶ LookUpCommit ──▶ Fence ──▶ LookUpCommit ──▶ Done(Failed)
//!                       │                            │                            │
//!                       └─ Stop ─▶ (worker ends)     └─────▶ Done(Complete) ◀─────┘
//! ```
//!
//! Three rules carry everything else. A run always ends: each state has a timer or an event that leaves it. A run is
//! never called failed, nor tried again, before the lake was asked whether it has committed: a worker may die between
//! its commit and its last word. And it is not called failed while an attempt of it may still commit: the lake lets a
//! run commit once, so another attempt of the same run does no harm, but the next run of the Export would be undone by a
//! late commit of this one, and a sweep would take away what that commit refers to.

mod facts;

use jiff::{SignedDuration, Timestamp};
use lakegate_crds::conditions::Reason;

pub use self::facts::{
    CommitLookup, Ending, Facts, Fence, Limits, Outcome, Record, Step, StopCause, Waiting, Work,
};
use crate::{protocol::Failure, queue};

/// A worker says something each second, in a Pod each ten; after this much silence it is taken for dead.
pub const SILENCE_LIMIT: SignedDuration = SignedDuration::from_secs(60);

/// How long after the run's deadline an attempt that nobody sees any more is trusted to be over: it does not begin a
/// commit after the deadline, but its clock may be behind ours, and a commit takes a moment.
pub const DEADLINE_MARGIN: SignedDuration = SignedDuration::from_mins(2);

/// How often what cannot be waited for is asked again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(15);

/// Longest wait between two attempts.
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(10);

/// The next step of a run that has not ended.
pub fn next_step(facts: &Facts<'_>) -> Step {
    match step(facts) {
        // Without an attempt there is nothing that could commit.
        Step::Done {
            record,
            outcome: Outcome::Failed(failure),
        } if record.attempts > 0 => before_failing(facts, record, failure),
        step => step,
    }
}

/// A run fails only when none of its attempts can commit any more, and none had when the lake was asked after that.
fn before_failing(facts: &Facts<'_>, record: Record, failure: Failure) -> Step {
    match facts.fence {
        Fence::NotAsked => return Step::Fence,
        Fence::Open(why) => {
            let trusted = after(deadline_of(facts, &record), DEADLINE_MARGIN);
            if facts.now < trusted {
                return Step::Wait {
                    record: still_open(facts, record),
                    waiting: Waiting::Fence(why.clone()),
                    until: Some(after(facts.now, ASK_AGAIN).min(trusted)),
                };
            }
        }
        Fence::Clear => {}
    }
    after_lookup(facts, record, |record| Step::Done {
        record,
        outcome: Outcome::Failed(failure),
    })
}

fn step(facts: &Facts<'_>) -> Step {
    match facts.work {
        Work::Running {
            attempt,
            started,
            heard,
            progress,
            pending,
            stopping,
        } => {
            let record = Record {
                attempts: *attempt,
                started: facts.record.started.or(Some(*started)),
                session: Some(facts.session.to_owned()),
                last_failure: facts.record.last_failure.clone(),
                retry_at: None,
            };
            let deadline = after(record.started.unwrap_or(*started), facts.limits.timeout);
            let silent = match pending {
                Some(_) => Timestamp::MAX,
                None => after(*heard, SILENCE_LIMIT),
            };
            if *stopping {
                Step::Wait {
                    record,
                    waiting: Waiting::Stopping,
                    until: None,
                }
            } else if let Some(cause) = facts.cancelled {
                Step::Stop(cause)
            } else if facts.now >= deadline {
                Step::Stop(StopCause::DeadlineExceeded)
            } else if facts.now >= silent {
                Step::Stop(StopCause::Silent)
            } else {
                Step::Watch {
                    record,
                    progress: *progress,
                    until: deadline.min(silent),
                }
            }
        }
        Work::Ended {
            attempt,
            started,
            at,
            ending,
        } => {
            let record = Record {
                attempts: *attempt,
                started: facts.record.started.or(Some(*started)),
                session: None,
                last_failure: facts.record.last_failure.clone(),
                retry_at: None,
            };
            if let Ending::Finished(report) = ending {
                return Step::Done {
                    record,
                    outcome: Outcome::Complete(report.clone()),
                };
            }
            after_lookup(facts, record, |record| settle(facts, record, *at, ending))
        }
        Work::Idle if facts.record.session.is_some() => {
            // The operator that watched over this attempt is gone, and the worker with it: a child process ends when its
            // standard input does, and a Job that is still there was adopted. That is nobody's fault, so the next
            // attempt need not wait.
            let record = Record {
                session: None,
                ..facts.record.clone()
            };
            after_lookup(facts, record, |record| {
                let failure = Failure {
                    reason: Reason::WorkerLost.to_string(),
                    message: "the operator was restarted while the worker ran".to_owned(),
                    terminal: false,
                };
                fail_or_retry(facts, record, failure, |_| facts.now)
            })
        }
        Work::Idle => idle(facts),
    }
}

fn idle(facts: &Facts<'_>) -> Step {
    let record = facts.record.clone();
    let failed = |record: Record, failure: Failure| Step::Done {
        record,
        outcome: Outcome::Failed(failure),
    };
    let deadline = record.started.map(|started| after(started, facts.limits.timeout));
    if let Some(cause) = facts.cancelled {
        failed(record, failure_of(cause, facts))
    } else if deadline.is_some_and(|deadline| facts.now >= deadline) {
        let failure = failure_of(StopCause::DeadlineExceeded, facts);
        failed(record, failure)
    } else if let Some(unable) = facts.unable {
        failed(record, unable.clone())
    } else if let Some((at, failure)) = record
        .retry_at
        .zip(record.last_failure.clone())
        .filter(|(at, _)| *at > facts.now)
    {
        let until = deadline.map_or(at, |deadline| deadline.min(at));
        Step::Wait {
            record,
            waiting: Waiting::Retry(failure),
            until: Some(until),
        }
    } else if let Some(ahead) = facts.ahead {
        Step::Wait {
            record,
            waiting: Waiting::Ahead(ahead.to_owned()),
            until: deadline,
        }
    } else if !facts.capacity {
        Step::Wait {
            record,
            waiting: Waiting::Capacity,
            until: deadline,
        }
    } else {
        Step::Start {
            attempt: record.attempts + 1,
        }
    }
}

/// Goes on only when the lake has said that the run has not committed.
fn after_lookup(facts: &Facts<'_>, record: Record, absent: impl FnOnce(Record) -> Step) -> Step {
    match facts.commit {
        CommitLookup::NotAsked => Step::LookUpCommit,
        CommitLookup::Found(report) => Step::Done {
            record,
            outcome: Outcome::Complete(report.clone()),
        },
        CommitLookup::Absent => absent(record),
        CommitLookup::Unknown(why) => {
            // A lake that cannot be read can hardly be written, but "hardly" is no ground to call a run failed, before
            // the run's time is over.
            let deadline = deadline_of(facts, &record);
            if facts.now >= deadline {
                return absent(record);
            }
            Step::Wait {
                record: still_open(facts, record),
                waiting: Waiting::Lake(why.clone()),
                until: Some(after(facts.now, ASK_AGAIN).min(deadline)),
            }
        }
    }
}

/// The record of an attempt that is over, and of which it is not decided yet how it went: its session stays, by which the
/// next look finds it, here and after a restart.
fn still_open(facts: &Facts<'_>, record: Record) -> Record {
    let own = matches!(facts.work, Work::Ended { .. }).then(|| facts.session.to_owned());
    Record {
        session: facts.record.session.clone().or(own),
        ..record
    }
}

/// When the run's time is over.
fn deadline_of(facts: &Facts<'_>, record: &Record) -> Timestamp {
    after(record.started.unwrap_or(facts.now), facts.limits.timeout)
}

/// An attempt is over and published nothing.
fn settle(facts: &Facts<'_>, record: Record, at: Timestamp, ending: &Ending) -> Step {
    let lost = |message: String| Failure {
        reason: Reason::WorkerLost.to_string(),
        message,
        terminal: false,
    };
    let failure = match ending {
        Ending::Stopped(StopCause::Shutdown) => {
            // Our doing, so it costs no attempt; and a first attempt that will begin anew has all its time again.
            let attempts = record.attempts.saturating_sub(1);
            let started = record.started.filter(|_| attempts > 0);
            let record = Record {
                attempts,
                started,
                ..record
            };
            return Step::Wait {
                record,
                waiting: Waiting::Interrupted,
                until: Some(facts.now),
            };
        }
        Ending::Stopped(
            cause @ (StopCause::Replaced
            | StopCause::DeadlineExceeded
            | StopCause::RunRemoved
            | StopCause::ExportDeleted),
        ) => {
            return Step::Done {
                record,
                outcome: Outcome::Failed(failure_of(*cause, facts)),
            };
        }
        Ending::Stopped(StopCause::Silent) => failure_of(StopCause::Silent, facts),
        Ending::Failed(failure) => failure.clone(),
        Ending::Exited(how) => lost(format!("the worker ended without a result ({how})")),
        Ending::NotLaunched(message) => Failure {
            reason: Reason::WorkerStartFailed.to_string(),
            message: message.clone(),
            terminal: false,
        },
        Ending::Finished(report) => {
            return Step::Done {
                record,
                outcome: Outcome::Complete(report.clone()),
            };
        }
    };
    fail_or_retry(facts, record, failure, |attempts| {
        after(
            at,
            queue::doubled(facts.limits.backoff, attempts, LONGEST_BACKOFF),
        )
    })
}

fn fail_or_retry(
    facts: &Facts<'_>,
    record: Record,
    failure: Failure,
    retry_at: impl FnOnce(u32) -> Timestamp,
) -> Step {
    if let Some(cause) = facts.cancelled {
        return Step::Done {
            record,
            outcome: Outcome::Failed(failure_of(cause, facts)),
        };
    }
    let deadline = deadline_of(facts, &record);
    if failure.terminal || record.attempts > facts.limits.retries || facts.now >= deadline {
        return Step::Done {
            record,
            outcome: Outcome::Failed(failure),
        };
    }
    let at = retry_at(record.attempts);
    let record = Record {
        last_failure: Some(failure.clone()),
        retry_at: Some(at),
        ..record
    };
    Step::Wait {
        record,
        waiting: Waiting::Retry(failure),
        until: Some(at.min(deadline)),
    }
}

fn failure_of(cause: StopCause, facts: &Facts<'_>) -> Failure {
    let (reason, mut message) = match cause {
        StopCause::Replaced => (
            Reason::Replaced,
            "a newer run takes its place (concurrencyPolicy Replace)".to_owned(),
        ),
        StopCause::DeadlineExceeded => (
            Reason::DeadlineExceeded,
            format!("it took longer than spec.timeout ({:#})", facts.limits.timeout),
        ),
        StopCause::Silent => (
            Reason::WorkerLost,
            format!(
                "the worker was silent for {} s and was ended",
                SILENCE_LIMIT.as_secs()
            ),
        ),
        StopCause::Shutdown => (Reason::WorkerLost, "the operator was shut down".to_owned()),
        StopCause::RunRemoved => (Reason::Canceled, "the run was deleted".to_owned()),
        StopCause::ExportDeleted => (Reason::ExportDeleted, "the Export was deleted".to_owned()),
    };
    if cause == StopCause::DeadlineExceeded
        && let Some(last) = &facts.record.last_failure
    {
        message = format!("{message}; the last attempt had failed: {}", last.message);
    }
    let terminal = matches!(
        cause,
        StopCause::Replaced | StopCause::DeadlineExceeded | StopCause::RunRemoved | StopCause::ExportDeleted
    );
    Failure {
        reason: reason.to_string(),
        message,
        terminal,
    }
}

fn after(instant: Timestamp, duration: SignedDuration) -> Timestamp {
    instant.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
