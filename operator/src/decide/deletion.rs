//! The decision about an Export that is being deleted: what becomes of its table.
//!
//! ```text
//!  runs active ─▶ wait ─▶ fence what may still commit ─▶ remove the table ─▶ let go
//! ```
//!
//! A table that is removed cannot be had again, so each step goes on only when the one before is known to be done, and
//! whatever speaks against it keeps the table: another Export that names it, a snapshot that somebody else wrote, a
//! policy that was set back. Nothing of it is remembered but in the store and the lake: who begins anew after a crash
//! finds where it stood.

use jiff::{SignedDuration, Timestamp};
use lakegate_crds::{
    DeletionPolicy, EXPORT_DATA_FINALIZER, Export, ExportStatus,
    conditions::{ConditionStatus, ConditionType, ConditionsExt as _, ConditionsMut as _, Reason},
};
use lakegate_store::NoticeType;

use super::{
    Decision, Effect, Outlook, Verdict, attention,
    export::{ObservedExport, account_for_runs, last_run_verdict, state},
    notice,
};
use crate::attempt::Fence;

/// How often what cannot be waited for is asked again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(15);

/// What one look has found out about the table of an Export that is being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableFate {
    /// Nobody has tried to remove it.
    NotAsked,

    /// It is not there, or not any more.
    Gone,

    /// It stays, for somebody else wrote it; who, for people.
    Foreign(String),

    /// It could not be removed; why.
    Unknown(String),
}

enum Step {
    Act(Effect),

    /// Nothing to do before the time, or before something changes.
    Wait(Verdict, Option<Timestamp>),
}

pub(super) fn decide_deletion(observed: &ObservedExport<'_>, deletion: Timestamp) -> Decision<ExportStatus> {
    let ObservedExport { entry, now, .. } = *observed;
    let before = entry.status.clone().unwrap_or_default();
    let mut status = before.clone();
    status.observed_generation = Some(entry.generation);
    account_for_runs(&mut status, observed.runs);
    // It promises no run any more.
    status.next_schedule_time = None;
    let (succeeded, reason, message) = last_run_verdict(&status);
    status.conditions.set(
        now,
        ConditionType::LastRunSucceeded,
        succeeded,
        reason,
        message,
        entry.generation,
    );
    let step = match observed.failure {
        Some(failure) => Step::Wait(working(Reason::Retrying, failure), None),
        None => step(observed, &status, deletion),
    };
    let mut decision = Decision {
        status,
        effects: Vec::new(),
        notices: Vec::new(),
        next: None,
    };
    match step {
        Step::Act(effect) => decision.effects.push(effect),
        Step::Wait(verdict, next) => {
            let is_blocked =
                verdict.ready == ConditionStatus::False && verdict.outlook == Outlook::Reconciling;
            verdict.apply(&mut decision.status.conditions, entry.generation, now);
            let conditions = &decision.status.conditions;
            let ready = conditions.find(ConditionType::Ready);
            let known = before.conditions.find(ConditionType::Ready);
            if let Some(ready) = ready.filter(|_| is_blocked)
                && known.is_none_or(|known| known.message != ready.message)
            {
                let message = ready.message.clone();
                decision
                    .notices
                    .push(notice(entry, NoticeType::Warning, &ready.reason, message, now));
            }
            decision
                .notices
                .extend(attention(entry, &before.conditions, conditions, now));
            decision.next = next;
        }
    }
    decision
}

fn step(observed: &ObservedExport<'_>, status: &ExportStatus, deletion: Timestamp) -> Step {
    let ObservedExport { entry, now, .. } = *observed;
    if !entry.is_held {
        return Step::Wait(
            working(Reason::Deleting, "it is being deleted; nothing of ours keeps it"),
            None,
        );
    }
    let Some(export) = entry.object.as_deref() else {
        let message = format!(
            "it is being deleted, and which table goes is not known, for the manifest is not valid: correct it, or {}",
            keep(&entry.key.name)
        );
        return Step::Wait(Verdict::stalled(Reason::InvalidSpec, message), None);
    };
    if export.spec.effective_deletion_policy() != DeletionPolicy::Delete {
        return Step::Act(Effect::Release(None));
    }
    let table = table_of(export);
    if deletion > now {
        let message = format!("{table} is removed at {deletion}, unless the manifest comes back before");
        return Step::Wait(working(Reason::Deleting, message), Some(deletion));
    }
    if let Some(run) = observed.runs.iter().find(|run| !state(run).is_terminal()) {
        let message = format!("{table} is removed when run {} has ended", run.key.name);
        return Step::Wait(working(Reason::Deleting, message), None);
    }
    let told = |notice_type, reason, message| {
        Effect::Release(Some(Box::new(notice(entry, notice_type, reason, message, now))))
    };
    let kept = |why: String| {
        Step::Act(told(
            NoticeType::Warning,
            Reason::TableKept,
            format!("{table} stays: {why}"),
        ))
    };
    if let Some(rival) = observed.rival {
        return kept(format!("Export {rival} names it, too"));
    }
    match observed.fence {
        Fence::NotAsked => return Step::Act(Effect::FenceTable),
        Fence::Open(who) => {
            let message = format!("{table} is removed when nothing can write it any more: {who}");
            let again = now.checked_add(ASK_AGAIN).unwrap_or(Timestamp::MAX);
            return Step::Wait(working(Reason::Deleting, message), Some(again));
        }
        Fence::Clear => {}
    }
    match observed.table {
        TableFate::NotAsked => Step::Act(Effect::DropTable),
        TableFate::Gone => {
            let message = format!("{table} was removed (deletionPolicy Delete)");
            Step::Act(told(NoticeType::Normal, Reason::TableDeleted, message))
        }
        TableFate::Foreign(who) => kept(format!("{who} wrote it last")),
        // Where no run ever began there is nothing to remove.
        TableFate::Unknown(_) if status.last_run.is_none() && observed.runs.is_empty() => {
            Step::Act(Effect::Release(None))
        }
        TableFate::Unknown(why) => {
            let message = format!(
                "{table} cannot be removed, which is tried again: {why}; mend that, or {}",
                keep(&entry.key.name)
            );
            Step::Wait(Verdict::retrying(Reason::DestinationNotReady, message), None)
        }
    }
}

/// Lakegate works on it, or waits for what will come.
fn working(reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict {
        ready: ConditionStatus::Unknown,
        reason,
        message: message.into(),
        outlook: Outlook::Reconciling,
    }
}

/// How a person keeps the table of an Export that is being deleted.
fn keep(name: &str) -> String {
    format!(
        "keep the table: set spec.deletionPolicy to Retain or take the finalizer {EXPORT_DATA_FINALIZER} off with kubectl; in a folder `lakegate delete export/{name} --keep-data`"
    )
}

fn table_of(export: &Export) -> String {
    let destination = &export.spec.destination;
    format!(
        "the table {}.{} of the lake {}",
        destination.schema, destination.table, destination.lake_ref.name
    )
}

#[cfg(test)]
mod tests;
