//! The decision about an ExportRun: one step of its life, told as a status.

use jiff::{SignedDuration, Timestamp};
use lakegate_crds::{
    CursorRange, ExportRun, ExportRunStatus, ExportSpec, FailureStatus, NulledColumnStatus, ProgressStatus,
    RunState, RunSummary, Shared, TableSize, WorkerStatus,
    conditions::{ConditionType, ConditionsMut as _, Reason, time},
};
use lakegate_store::{Entry, NoticeType};

use super::{Decision, Effect, count, format_duration, instant, notice};
use crate::{
    attempt::{
        CommitLookup, Facts, Fence, Limits, Outcome, Record, SILENCE_LIMIT, Step, StopCause, Waiting, Work,
        next_step,
    },
    protocol::{Failure, Progress, Report, Size},
};

/// The lease in the status is rounded up to this, so that a heartbeat that brings no news costs no write.
const LEASE_STEP_SECONDS: i64 = 15;

/// Everything a decision about a run may look at.
#[derive(Debug, Clone, Copy)]
pub struct ObservedRun<'a> {
    /// The run.
    pub entry: &'a Entry<ExportRun>,

    /// The spec it performs.
    pub spec: Option<&'a ExportSpec>,

    /// Its worker in this process.
    pub work: &'a Work,

    /// Who the worker is.
    pub worker_id: Option<&'a str>,

    /// Which attempt may commit.
    pub attempt_id: Option<&'a str>,

    /// The lake's answer, when it was asked since the worker ended.
    pub commit: &'a CommitLookup,

    /// Whether an earlier attempt may still commit, when that was looked at.
    pub fence: &'a Fence,

    /// Shortest time between two writes of a running attempt's progress.
    pub progress_interval: SignedDuration,

    /// This operator process.
    pub session: &'a str,

    /// Why it is to end, whatever it is at.
    pub cancelled: Option<StopCause>,

    /// An older unfinished run of the same Export.
    pub ahead: Option<&'a str>,

    /// Another worker may be started.
    pub capacity: bool,

    /// Why no attempt can begin.
    pub unable: Option<&'a Failure>,

    /// Why the effects of the last decision could not be done.
    pub failure: Option<&'a str>,

    /// The clock.
    pub now: Timestamp,

    /// How far the clock was set forwards since the run was taken up. What is known of its worker, and the times in its
    /// record, are by the clock before that.
    pub set_by: SignedDuration,
}

impl ObservedRun<'_> {
    /// What time it is by the clock as it was when the run was taken up.
    fn run_time(&self) -> Timestamp {
        self.now.checked_sub(self.set_by).unwrap_or(self.now)
    }

    /// When the clock as it is now shows what that clock calls `instant`.
    fn on_the_clock(&self, instant: Timestamp) -> Timestamp {
        instant.checked_add(self.set_by).unwrap_or(instant)
    }
}

/// Decides about a run.
pub fn decide_run(observed: ObservedRun<'_>) -> Decision<ExportRunStatus> {
    let ObservedRun { entry, now, .. } = observed;
    let before = entry.status.clone().unwrap_or_default();
    if before.state().is_terminal() {
        return Decision {
            status: before,
            effects: Vec::new(),
            notices: Vec::new(),
            next: None,
        };
    }
    let record = record_of(&before);
    let limits = limits_of(observed.spec);
    let step = next_step(&Facts {
        record: &record,
        work: observed.work,
        commit: observed.commit,
        fence: observed.fence,
        session: observed.session,
        cancelled: observed.cancelled,
        ahead: observed.ahead,
        capacity: observed.capacity,
        unable: observed.unable,
        limits,
        now: observed.run_time(),
    });

    let mut status = before.clone();
    status.observed_generation = Some(entry.generation);
    keep_resolved(&mut status, entry, observed.spec);
    let mut decision = Decision {
        status,
        effects: Vec::new(),
        notices: Vec::new(),
        next: None,
    };
    let effect = match step {
        Step::Start { attempt } => Effect::StartWorker { attempt },
        Step::Stop(cause) => Effect::StopWorker(cause),
        Step::LookUpCommit => Effect::LookUpCommit,
        Step::Fence => Effect::Fence,
        Step::Watch {
            record,
            progress,
            until,
        } => {
            let until = observed.on_the_clock(until);
            let withheld = watch(&mut decision, &observed, &record, progress);
            decision.next = Some(withheld.map_or(until, |at| at.min(until)));
            return decision;
        }
        Step::Wait {
            record,
            waiting,
            until,
        } => {
            wait(&mut decision, &observed, &record, &waiting);
            decision.next = until.map(|until| observed.on_the_clock(until));
            return decision;
        }
        Step::Done { record, outcome } => {
            end(&mut decision, &observed, &record, &outcome);
            return decision;
        }
    };
    if let Some(failure) = observed.failure {
        // What was to be done cannot be done: that is the status, and the effect is tried again later.
        let conditions = &mut decision.status.conditions;
        conditions.set(
            now,
            ConditionType::Reconciling,
            true,
            Reason::Retrying,
            failure,
            entry.generation,
        );
    } else {
        decision.effects.push(effect);
    }
    decision
}

/// What a status remembers of the run's attempts.
pub fn record_of(status: &ExportRunStatus) -> Record {
    Record {
        attempts: status
            .attempts
            .and_then(|attempts| u32::try_from(attempts).ok())
            .unwrap_or(0),
        started: instant(status.start_time.as_ref()),
        session: status
            .worker
            .as_ref()
            .map(|worker| worker.session.clone().unwrap_or_default()),
        last_failure: status.failure.as_ref().map(|failure| Failure {
            reason: failure.reason.clone(),
            message: failure.message.clone(),
            terminal: false,
        }),
        retry_at: instant(status.next_attempt_time.as_ref()),
    }
}

/// The rules of a run that performs this spec.
pub fn limits_of(spec: Option<&ExportSpec>) -> Limits {
    let longest =
        |duration: std::time::Duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    let default = std::time::Duration::from_secs(ExportSpec::TIMEOUT_SECONDS);
    let retry = spec.map(ExportSpec::effective_retry).unwrap_or_default();
    Limits {
        timeout: longest(spec.map_or(default, ExportSpec::effective_timeout)),
        retries: retry.limit(),
        backoff: longest(retry.backoff()),
    }
}

/// A run made by a person has no spec of its own: what it performs is fixed with its first look.
fn keep_resolved(status: &mut ExportRunStatus, entry: &Entry<ExportRun>, spec: Option<&ExportSpec>) {
    let own = entry.object.as_deref().and_then(|run| run.spec.resolved.as_ref());
    if own.is_none() && status.resolved.is_none() {
        status.resolved = spec.cloned().map(Shared::new);
    }
}

fn put_record(status: &mut ExportRunStatus, record: &Record) {
    status.attempts = Some(i64::from(record.attempts));
    status.start_time = record.started.map(time);
    status.next_attempt_time = record.retry_at.map(time);
    status.failure = record.last_failure.as_ref().map(|failure| FailureStatus {
        reason: failure.reason.clone(),
        message: failure.message.clone(),
    });
    match &record.session {
        // The worker's id stays: it tells who may still be there.
        Some(session) => status.worker.get_or_insert_default().session = Some(session.clone()),
        None => status.worker = None,
    }
}

/// Tells of an attempt at work. Gives back when to look again, if what there is to tell is withheld because the last
/// time was not long ago.
fn watch(
    decision: &mut Decision<ExportRunStatus>,
    observed: &ObservedRun<'_>,
    record: &Record,
    progress: Progress,
) -> Option<Timestamp> {
    let ObservedRun { entry, now, .. } = *observed;
    let (heard, pending) = match observed.work {
        Work::Running { heard, pending, .. } => (observed.on_the_clock(*heard), pending.as_deref()),
        _ => (now, None),
    };
    let is_known = entry.status.as_ref().is_some_and(|status| {
        status.state() == RunState::Running && status.attempts == Some(i64::from(record.attempts))
    });
    let before = decision.status.clone();
    let status = &mut decision.status;
    put_record(status, record);
    status.state = Some(RunState::Running);
    status.attempt_id = observed.attempt_id.map(str::to_owned);
    status.worker = Some(WorkerStatus {
        id: observed.worker_id.unwrap_or_default().to_owned(),
        session: record.session.clone(),
        // Who is not at work yet gives no sign of life.
        lease_until: pending.is_none().then(|| lease(heard)).flatten(),
    });
    let told = before
        .progress
        .as_ref()
        .and_then(|progress| progress.time.clone());
    status.progress = Some(ProgressStatus {
        rows: Some(count(progress.rows)),
        bytes: Some(count(progress.bytes)),
        total_rows: progress.total_rows.map(count),
        time: told.clone(),
    });
    let doing = pending.unwrap_or(progress.phase.as_str());
    status.conditions.set(
        now,
        ConditionType::Reconciling,
        true,
        Reason::Running,
        format!("attempt {}: {doing}", record.attempts),
        entry.generation,
    );
    if !is_known {
        let worker = observed.worker_id.unwrap_or("unknown");
        let message = format!("attempt {} started (worker {worker})", record.attempts);
        decision
            .notices
            .push(notice(entry, NoticeType::Normal, Reason::Running, message, now));
    } else if *status == before {
        return None;
    } else if let Some(told) = &told {
        let due = told
            .0
            .checked_add(observed.progress_interval)
            .unwrap_or(Timestamp::MAX);
        // A clock that was set back must not hold the progress back for as long.
        if now < due && told.0 <= now {
            *status = before;
            return Some(due);
        }
    }
    if let Some(progress) = &mut status.progress {
        progress.time = Some(time(now));
    }
    None
}

fn lease(heard: Timestamp) -> Option<lakegate_crds::Time> {
    let until = heard.as_second() + SILENCE_LIMIT.as_secs();
    let rounded = (until + LEASE_STEP_SECONDS - 1).div_euclid(LEASE_STEP_SECONDS) * LEASE_STEP_SECONDS;
    Timestamp::from_second(rounded).ok().map(time)
}

fn wait(
    decision: &mut Decision<ExportRunStatus>,
    observed: &ObservedRun<'_>,
    record: &Record,
    waiting: &Waiting,
) {
    let ObservedRun { entry, now, .. } = *observed;
    let failed_before = entry
        .status
        .as_ref()
        .and_then(|status| status.next_attempt_time.as_ref());
    let status = &mut decision.status;
    put_record(status, record);
    let is_worked_on = matches!(waiting, Waiting::Stopping | Waiting::Lake(_) | Waiting::Fence(_));
    status.state = Some(if is_worked_on {
        RunState::Running
    } else {
        RunState::Pending
    });
    if !is_worked_on {
        status.attempt_id = None;
        status.progress = None;
    }
    let (reason, message) = match waiting {
        Waiting::Ahead(run) => (Reason::Pending, format!("waits for run {run} of the same Export")),
        Waiting::Capacity => (Reason::Pending, "waits for a free worker".to_owned()),
        Waiting::Interrupted => (
            Reason::Pending,
            "interrupted by a shutdown; goes on when Lakegate is back".to_owned(),
        ),
        Waiting::Stopping => (Reason::Running, "the worker is being ended".to_owned()),
        Waiting::Lake(why) => (
            Reason::Retrying,
            format!("the lake does not say whether the run has committed: {why}"),
        ),
        Waiting::Fence(who) => (
            Reason::Retrying,
            format!("it has failed unless an attempt that may still commit does: {who}"),
        ),
        Waiting::Retry(failure) => {
            let message = format!(
                "attempt {} failed and is repeated: {}",
                record.attempts, failure.message
            );
            if failed_before != status.next_attempt_time.as_ref() {
                decision.notices.push(notice(
                    entry,
                    NoticeType::Warning,
                    &failure.reason,
                    message.clone(),
                    now,
                ));
            }
            (Reason::Retrying, message)
        }
    };
    decision.status.conditions.set(
        now,
        ConditionType::Reconciling,
        true,
        reason,
        message,
        entry.generation,
    );
}

fn end(
    decision: &mut Decision<ExportRunStatus>,
    observed: &ObservedRun<'_>,
    record: &Record,
    outcome: &Outcome,
) {
    let ObservedRun { entry, now, .. } = *observed;
    let finished = match observed.work {
        Work::Ended { at, .. } => *at,
        _ => observed.run_time(),
    };
    let status = &mut decision.status;
    put_record(status, record);
    status.worker = None;
    status.next_attempt_time = None;
    status.progress = None;
    status.finish_time = Some(time(observed.on_the_clock(finished)));
    // Finer than the times in the status, where the worker is still known.
    let started = match observed.work {
        Work::Ended { started, .. } if record.attempts <= 1 => Some(*started),
        _ => record.started,
    };
    let duration = started.map(|started| format_duration(finished.duration_since(started)));
    status.duration.clone_from(&duration);
    status.conditions.unset(ConditionType::Reconciling);
    match outcome {
        Outcome::Complete(report) => {
            status.state = Some(RunState::Complete);
            status.failure = None;
            status.rows_read = report.rows_read.map(count);
            let table = Size {
                rows: report.rows,
                bytes: report.bytes,
                files: report.files,
            };
            let written = report.changed.unwrap_or(table);
            status.rows_written = Some(count(written.rows));
            status.bytes_written = Some(count(written.bytes));
            status.files = Some(count(written.files));
            status.table = report.changed.map(|_| TableSize {
                rows: count(table.rows),
                bytes: count(table.bytes),
                files: count(table.files),
            });
            status.full_read.clone_from(&report.full_read);
            status.cursor = report.cursor.as_ref().map(|cursor| CursorRange {
                from: cursor.from.clone(),
                to: Some(cursor.to.clone()),
            });
            status.snapshot_id = (report.snapshot_id != 0).then(|| report.snapshot_id.to_string());
            status.personal_columns.clone_from(&report.personal);
            status.new_columns.clone_from(&report.new_columns);
            status.nulled_columns.clone_from(&report.nulled_columns);
            let mut message = said(report);
            for more in shaped(&report.new_columns, &report.nulled_columns) {
                message = format!("{message}; {more}");
            }
            status.conditions.set(
                now,
                ConditionType::Complete,
                true,
                Reason::Succeeded,
                message.clone(),
                entry.generation,
            );
            decision
                .notices
                .push(notice(entry, NoticeType::Normal, Reason::Succeeded, message, now));
        }
        Outcome::Failed(failure) => {
            status.state = Some(RunState::Failed);
            status.failure = Some(FailureStatus {
                reason: failure.reason.clone(),
                message: failure.message.clone(),
            });
            let reason = failure.reason.parse().unwrap_or(Reason::RunFailed);
            let message = match record.attempts {
                0 | 1 => failure.message.clone(),
                attempts => format!("after {attempts} attempts: {}", failure.message),
            };
            status.conditions.set(
                now,
                ConditionType::Failed,
                true,
                reason,
                message.clone(),
                entry.generation,
            );
            decision
                .notices
                .push(notice(entry, NoticeType::Warning, reason, message, now));
        }
    }
}

/// What a run did to columns and values on its way, in words.
pub(super) fn shaped(new: &[String], nulled: &[NulledColumnStatus]) -> Vec<String> {
    let mut words = Vec::new();
    if !new.is_empty() {
        words.push(format!("new columns are left out: {}", new.join(", ")));
    }
    if !nulled.is_empty() {
        let columns = nulled
            .iter()
            .map(|column| format!("{} of {}", column.values, column.name));
        let columns: Vec<String> = columns.collect();
        words.push(format!(
            "values that did not fit their cast became null: {}",
            columns.join(", ")
        ));
    }
    words
}

/// An ended run in short.
pub fn summarise(name: &str, status: &ExportRunStatus) -> RunSummary {
    let failure = status
        .failure
        .as_ref()
        .filter(|_| status.state() == RunState::Failed);
    RunSummary {
        name: name.to_owned(),
        outcome: failure.map_or_else(|| Reason::Succeeded.to_string(), |failure| failure.reason.clone()),
        rows: status.rows_written,
        bytes: status.bytes_written,
        duration: status.duration.clone(),
        start_time: status.start_time.clone(),
        finish_time: status.finish_time.clone(),
        message: failure.map(|failure| failure.message.clone()),
    }
}

/// A successful run in words.
fn said(report: &Report) -> String {
    let files = if report.files == 1 { "file" } else { "files" };
    let table = format!(
        "{} rows, {} bytes in {} {files}",
        report.rows, report.bytes, report.files
    );
    match (&report.changed, &report.full_read) {
        (Some(changed), _) => format!("{} rows new or changed; the table has {table}", changed.rows),
        (None, Some(why)) => format!("{table}; everything was read: {why}"),
        (None, None) => table,
    }
}

#[cfg(test)]
mod tests;
