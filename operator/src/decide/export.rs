//! The decision about an Export: which runs it wants, and what its status says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lakegate_crds::{
    CAUSE_LABEL, ConcurrencyPolicy, DeletionPolicy, EXPORT_LABEL, Export, ExportRun, ExportRunSpec,
    ExportSpec, ExportStatus, ObjectMeta, REQUESTED_AT_ANNOTATION, ResourceReference, RunCause, RunState,
    RunSummary, Shared, SnapshotSummary,
    conditions::{ConditionStatus, ConditionType, ConditionsExt as _, ConditionsMut as _, Reason, time},
};
use lakegate_store::{Entry, Key, NoticeType, Problem};

use super::{
    Decision, Effect, Verdict, attention, count,
    deletion::{TableFate, decide_deletion},
    instant, notice,
    personal::personal_columns,
    refusal,
    run::{shaped, summarise},
};
use crate::{
    attempt::Fence,
    names::{self, Trigger},
    plan::{Creation, Memory, Plan, RunFact, Wishes, plan},
    schedule::Schedule,
};

/// Label of a run: the fingerprint of what caused it, by which its cause recognises it.
pub const TRIGGER_LABEL: &str = "lakegate.dev/trigger";

/// Annotation of a run: the run token it serves.
pub const TOKEN_ANNOTATION: &str = "lakegate.dev/run-token";

/// Everything a decision about an Export may look at.
#[derive(Debug, Clone, Copy)]
pub struct ObservedExport<'a> {
    /// The Export.
    pub entry: &'a Entry<Export>,

    /// Fields that no code serves, dangling references, taken names.
    pub problems: &'a [Problem],

    /// The runs that name it, of this uid and of others.
    pub runs: &'a [Entry<ExportRun>],

    /// Why its source cannot be read now; absent when it can, or nothing is known of it yet.
    pub source_down: Option<&'a str>,

    /// Why its lake cannot be written now.
    pub lake_down: Option<&'a str>,

    /// What of the two nobody has looked at yet, in words.
    pub unchecked: Option<&'a str>,

    /// Why the effects of the last decision could not be done.
    pub failure: Option<&'a str>,

    /// Its lake's DataSource is held, or is not there to be held.
    pub lake_is_held: bool,

    /// Another Export that names its table and does not want it removed.
    pub rival: Option<&'a str>,

    /// Whether anything may still write its table, when that was looked at.
    pub fence: &'a Fence,

    /// What became of its table, when it was to be removed.
    pub table: &'a TableFate,

    /// The clock.
    pub now: Timestamp,
}

/// Decides about an Export.
pub fn decide_export(observed: ObservedExport<'_>) -> Decision<ExportStatus> {
    let ObservedExport { entry, now, .. } = observed;
    if let Some(deletion) = entry.deletion {
        return decide_deletion(&observed, deletion);
    }
    let before = entry.status.clone().unwrap_or_default();
    let mut status = before.clone();
    status.observed_generation = Some(entry.generation);

    let Some(export) = entry.object.as_deref() else {
        // Never a good version: there is nothing to run and nothing to remember.
        let verdict = refusal(entry, observed.problems)
            .unwrap_or_else(|| Verdict::stalled(Reason::InvalidSpec, "the manifest is not valid"));
        verdict.apply(&mut status.conditions, entry.generation, now);
        let notices = attention(entry, &before.conditions, &status.conditions, now)
            .into_iter()
            .collect();
        return Decision {
            status,
            effects: Vec::new(),
            notices,
            next: None,
        };
    };

    let spec = &export.spec;
    let schedule = spec
        .schedule
        .as_ref()
        .map(|schedule| Schedule::of(schedule, &entry.uid));
    let (schedule, unreadable) = match schedule {
        Some(Ok(schedule)) => (Some(schedule), None),
        Some(Err(message)) => (None, Some(message)),
        None => (None, None),
    };
    // A rejected edit leaves the last good version in force; any other refusal starts nothing.
    let refused = refusal(entry, observed.problems);
    let blocked = !observed.problems.is_empty() || unreadable.is_some();
    let plan = plan_of(&observed, export, schedule.as_ref(), blocked);
    remember(&mut status, &plan.memory, &entry.uid);
    account_for_runs(&mut status, observed.runs);

    let suspended = spec.is_suspended();
    if suspended {
        status.conditions.set(
            now,
            ConditionType::Suspended,
            true,
            Reason::Suspended,
            "spec.suspend is true",
            entry.generation,
        );
    } else {
        status.conditions.unset(ConditionType::Suspended);
    }
    let (succeeded, reason, message) = last_run_verdict(&status);
    status.conditions.set(
        now,
        ConditionType::LastRunSucceeded,
        succeeded,
        reason,
        message,
        entry.generation,
    );
    let personal = personal_columns(spec, &status);
    match &personal {
        Some(message) => status.conditions.set(
            now,
            ConditionType::PersonalDataUnmasked,
            true,
            Reason::LooksPersonal,
            message,
            entry.generation,
        ),
        None => status.conditions.unset(ConditionType::PersonalDataUnmasked),
    }
    let verdict = refused
        .or_else(|| unreadable.map(|message| Verdict::stalled(Reason::InvalidSpec, message)))
        .unwrap_or_else(|| verdict(&observed, &plan, suspended, schedule.is_some()));
    verdict.apply(&mut status.conditions, entry.generation, now);

    let mut effects = Vec::new();
    if observed.failure.is_none() {
        // Before any run: what it writes is to be removed some day.
        effects.extend(holding(&observed, spec));
        effects.extend(
            plan.create
                .map(|creation| Effect::CreateRun(Box::new(run_of(entry, export, &creation, now)))),
        );
        effects.extend(
            plan.cancel
                .into_iter()
                .map(|name| Effect::CancelRun(Key::new(&entry.key.namespace, name))),
        );
        effects.extend(outdated_runs(spec, &before, observed.runs));
    }

    let mut notices: Vec<_> = attention(entry, &before.conditions, &status.conditions, now)
        .into_iter()
        .collect();
    notices.extend(run_news(entry, &before, &status, now));
    if let Some(message) =
        personal.filter(|_| !before.conditions.is_true(ConditionType::PersonalDataUnmasked))
    {
        notices.push(notice(
            entry,
            NoticeType::Warning,
            Reason::LooksPersonal,
            message,
            now,
        ));
    }
    if !status.new_columns.is_empty() && status.new_columns != before.new_columns {
        let message = format!(
            "the source has columns that the published table has not: {}; set spec.onNewColumn: Include to add them, or \
             name them in spec.allColumns.except",
            status.new_columns.join(", ")
        );
        notices.push(notice(
            entry,
            NoticeType::Warning,
            Reason::NewColumnDropped,
            message,
            now,
        ));
    }
    let missed = status.missed_runs.unwrap_or(0) - before.missed_runs.unwrap_or(0);
    if missed > 0 {
        let message = format!("{missed} slots of the schedule were passed over");
        notices.push(notice(
            entry,
            NoticeType::Warning,
            Reason::MissedSchedule,
            message,
            now,
        ));
    }
    Decision {
        status,
        effects,
        notices,
        next: plan.next,
    }
}

/// The finalizer is there as long as the policy is Delete: with Retain nothing has to be done at the end.
fn holding(observed: &ObservedExport<'_>, spec: &ExportSpec) -> Option<Effect> {
    let is_held = observed.entry.is_held;
    match spec.effective_deletion_policy() {
        DeletionPolicy::Delete => (!is_held || !observed.lake_is_held).then_some(Effect::Hold),
        DeletionPolicy::Retain => is_held.then_some(Effect::Release(None)),
    }
}

fn plan_of(
    observed: &ObservedExport<'_>,
    export: &Export,
    schedule: Option<&Schedule>,
    blocked: bool,
) -> Plan {
    let entry = observed.entry;
    let spec = &export.spec;
    let annotation = export
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(REQUESTED_AT_ANNOTATION));
    let wishes = Wishes {
        uid: &entry.uid,
        generation: entry.generation,
        schedule,
        run_on_create: spec
            .schedule
            .as_ref()
            .is_some_and(lakegate_crds::ScheduleSpec::run_on_create),
        replace: spec
            .schedule
            .as_ref()
            .is_some_and(|schedule| schedule.concurrency_policy() == ConcurrencyPolicy::Replace),
        suspended: spec.is_suspended(),
        blocked,
        token: spec.run_token.as_deref(),
        annotation: annotation.map(String::as_str),
    };
    let status = entry.status.as_ref();
    let memory = Memory {
        promised: instant(status.and_then(|status| status.next_schedule_time.as_ref())),
        last_slot: instant(status.and_then(|status| status.last_schedule_time.as_ref())),
        token: status.and_then(|status| status.last_run_token.clone()),
        annotation: status.and_then(|status| status.last_handled_reconcile_at.clone()),
        created: status.and_then(|status| status.run_on_create_uid.as_deref()) == Some(entry.uid.as_str()),
        generation: status.and_then(|status| status.observed_generation).unwrap_or(0),
        missed: status
            .and_then(|status| status.missed_runs)
            .unwrap_or(0)
            .max(0)
            .unsigned_abs(),
    };
    let facts: Vec<RunFact<'_>> = observed
        .runs
        .iter()
        .filter_map(|run| fact_of(run, &entry.uid))
        .collect();
    plan(wishes, &memory, &facts, observed.now)
}

fn fact_of<'a>(run: &'a Entry<ExportRun>, export_uid: &str) -> Option<RunFact<'a>> {
    let object = run.object.as_deref()?;
    let ended = state(run).is_terminal();
    // An ended run of an earlier Export of this name says nothing about this one; an active one writes the same table.
    let is_ours = object
        .spec
        .export_uid
        .as_deref()
        .is_none_or(|uid| uid == export_uid);
    if ended && !is_ours {
        return None;
    }
    let metadata = &object.metadata;
    Some(RunFact {
        name: &run.key.name,
        fingerprint: metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(TRIGGER_LABEL))
            .map(String::as_str),
        token: metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(TOKEN_ANNOTATION))
            .map(String::as_str)
            .filter(|_| is_ours),
        generation: object.spec.export_generation.unwrap_or(0),
        slot: instant(object.spec.scheduled_time.as_ref()).filter(|_| is_ours),
        ended,
    })
}

pub(super) fn state(run: &Entry<ExportRun>) -> RunState {
    run.status
        .as_ref()
        .map(lakegate_crds::ExportRunStatus::state)
        .unwrap_or_default()
}

fn remember(status: &mut ExportStatus, memory: &Memory, uid: &str) {
    status.next_schedule_time = memory.promised.map(time);
    status.last_schedule_time = memory.last_slot.map(time);
    status.last_run_token.clone_from(&memory.token);
    status.last_handled_reconcile_at.clone_from(&memory.annotation);
    if memory.created {
        status.run_on_create_uid = Some(uid.to_owned());
    }
    status.missed_runs = Some(count(memory.missed));
}

/// When and in which order runs ended; whole seconds, so the names decide between those of one second.
fn ended_at(run: &Entry<ExportRun>) -> Option<(Timestamp, Option<Timestamp>, &str)> {
    let finished = instant(run.status.as_ref()?.finish_time.as_ref())?;
    let created = run
        .object
        .as_deref()
        .and_then(|object| instant(object.metadata.creation_timestamp.as_ref()));
    Some((finished, created, &run.key.name))
}

fn ended_runs(runs: &[Entry<ExportRun>]) -> Vec<&Entry<ExportRun>> {
    let mut ended: Vec<_> = runs.iter().filter(|run| state(run).is_terminal()).collect();
    ended.sort_by_key(|run| ended_at(run));
    ended
}

/// Brings what the status says about runs up to date with the runs that ended since.
pub(super) fn account_for_runs(status: &mut ExportStatus, runs: &[Entry<ExportRun>]) {
    status.active_run = runs
        .iter()
        .filter(|run| !state(run).is_terminal())
        .min_by_key(|run| {
            let created = run
                .object
                .as_deref()
                .and_then(|object| instant(object.metadata.creation_timestamp.as_ref()));
            (state(run) != RunState::Running, created, &run.key.name)
        })
        .map(|run| run.key.name.clone());

    let ended = ended_runs(runs);
    let known = status
        .last_run
        .as_ref()
        .and_then(|last| ended.iter().position(|run| run.key.name == last.name));
    let known_until = status
        .last_run
        .as_ref()
        .and_then(|last| instant(last.finish_time.as_ref()));
    let news = ended.iter().enumerate().filter(|(index, run)| match known {
        Some(known) => *index > known,
        // the run the status tells of is gone from the history
        None => known_until.is_none_or(|until| ended_at(run).is_some_and(|(finished, ..)| finished > until)),
    });
    for (_, run) in news {
        let Some(run_status) = run.status.as_ref() else {
            continue;
        };
        let summary = summarise(&run.key.name, run_status);
        if run_status.state() == RunState::Complete {
            status.consecutive_failures = Some(0);
            status.last_successful_time.clone_from(&run_status.finish_time);
            status.personal_columns.clone_from(&run_status.personal_columns);
            status.new_columns.clone_from(&run_status.new_columns);
            status.nulled_columns.clone_from(&run_status.nulled_columns);
            status.cursor = run_status.cursor.as_ref().and_then(|cursor| cursor.to.clone());
            let table = run_status.table.as_ref();
            status.snapshot = run_status.snapshot_id.clone().map(|id| SnapshotSummary {
                id,
                rows: table.map(|table| table.rows).or(run_status.rows_written),
                bytes: table.map(|table| table.bytes).or(run_status.bytes_written),
                files: table.map(|table| table.files).or(run_status.files),
                time: run_status.finish_time.clone(),
            });
        } else {
            status.consecutive_failures = Some(status.consecutive_failures.unwrap_or(0) + 1);
        }
        status.last_run = Some(summary);
    }
}

pub(super) fn last_run_verdict(status: &ExportStatus) -> (ConditionStatus, Reason, String) {
    let Some(RunSummary {
        name,
        outcome,
        rows,
        duration,
        message,
        ..
    }) = &status.last_run
    else {
        return (
            ConditionStatus::Unknown,
            Reason::NeverRun,
            "there has been no run yet".to_owned(),
        );
    };
    let reason = outcome.parse().unwrap_or(Reason::RunFailed);
    if reason == Reason::Succeeded {
        let rows = rows.unwrap_or(0);
        let duration = duration.as_deref().unwrap_or("an unknown time");
        return (
            ConditionStatus::True,
            reason,
            [format!("{name}: {rows} rows in {duration}")]
                .into_iter()
                .chain(shaped(&status.new_columns, &status.nulled_columns))
                .collect::<Vec<_>>()
                .join("; "),
        );
    }
    (
        ConditionStatus::False,
        reason,
        format!("{name}: {}", message.as_deref().unwrap_or("no message")),
    )
}

/// A notice when a run has ended that the status did not tell of before.
fn run_news(
    entry: &Entry<Export>,
    before: &ExportStatus,
    after: &ExportStatus,
    now: Timestamp,
) -> Option<lakegate_store::Notice> {
    let name = |status: &ExportStatus| status.last_run.as_ref().map(|run| run.name.clone());
    name(after).filter(|ended| name(before).as_ref() != Some(ended))?;
    let (succeeded, reason, message) = last_run_verdict(after);
    let notice_type = match succeeded {
        ConditionStatus::True => NoticeType::Normal,
        _ => NoticeType::Warning,
    };
    Some(notice(entry, notice_type, reason, message, now))
}

fn verdict(observed: &ObservedExport<'_>, plan: &Plan, suspended: bool, scheduled: bool) -> Verdict {
    if let Some(failure) = observed.failure {
        return Verdict {
            ready: ConditionStatus::Unknown,
            reason: Reason::Retrying,
            message: failure.to_owned(),
            outlook: super::Outlook::Reconciling,
        };
    }
    if suspended {
        return Verdict::ready(Reason::Suspended, "suspended: runs start only on request");
    }
    if let Some(message) = observed.source_down {
        return Verdict::retrying(Reason::SourceNotReady, message);
    }
    if let Some(message) = observed.lake_down {
        return Verdict::retrying(Reason::DestinationNotReady, message);
    }
    if let Some(message) = observed.unchecked {
        let conditions = observed.entry.status.as_ref().map(|status| &status.conditions);
        let standing = conditions.and_then(|it| Verdict::standing(it, observed.entry.generation));
        match standing {
            Some(verdict) if matches!(verdict.reason, Reason::Scheduled | Reason::OnRequest) => {}
            Some(verdict)
                if matches!(
                    verdict.reason,
                    Reason::SourceNotReady | Reason::DestinationNotReady
                ) =>
            {
                return verdict;
            }
            _ => return Verdict::progressing(message),
        }
    }
    if !scheduled {
        return Verdict::ready(Reason::OnRequest, "runs start on request");
    }
    let message = match plan.memory.promised {
        Some(slot) if plan.waiting => format!("the run of {slot} waits for the active one"),
        Some(slot) => format!("next run {slot}"),
        None => "no next run".to_owned(),
    };
    Verdict::ready(Reason::Scheduled, message)
}

/// Ended runs beyond the history's limits. Only such as the status accounts for already: until then their objects are
/// the one record of what ran and what for.
fn outdated_runs(spec: &ExportSpec, known: &ExportStatus, runs: &[Entry<ExportRun>]) -> Vec<Effect> {
    let history = spec.effective_history();
    let accounted = known
        .last_run
        .as_ref()
        .and_then(|last| instant(last.finish_time.as_ref()));
    let ended = ended_runs(runs);
    let known_position = known
        .last_run
        .as_ref()
        .and_then(|last| ended.iter().position(|run| run.key.name == last.name));
    let mut kept = [(true, history.succeeded()), (false, history.failed())]
        .map(|(state, limit)| (state, limit as usize));
    let mut outdated = Vec::new();
    for (index, run) in ended.iter().enumerate().rev() {
        let succeeded = state(run) == RunState::Complete;
        let is_accounted = match known_position {
            Some(position) => index <= position,
            None => ended_at(run).map(|(finished, ..)| finished) <= accounted && accounted.is_some(),
        };
        for (kind, left) in &mut kept {
            if *kind == succeeded {
                if *left > 0 {
                    *left -= 1;
                } else if is_accounted {
                    outdated.push(Effect::DeleteRun {
                        key: run.key.clone(),
                        uid: run.uid.clone(),
                    });
                }
            }
        }
    }
    outdated
}

fn run_of(entry: &Entry<Export>, export: &Export, creation: &Creation, now: Timestamp) -> ExportRun {
    let cause = match &creation.trigger {
        Trigger::Slot(_) if creation.catch_up => RunCause::CatchUp,
        Trigger::Slot(_) => RunCause::Schedule,
        Trigger::Create => RunCause::Create,
        Trigger::Token { .. } => RunCause::Token,
        Trigger::Annotation(_) => RunCause::Annotation,
        Trigger::Request(_) => RunCause::Manual,
    };
    run_for(entry, export, &creation.trigger, cause, creation.time.min(now))
}

/// The run that serves a trigger. `time` stands in its name.
pub fn run_for(
    entry: &Entry<Export>,
    export: &Export,
    trigger: &Trigger,
    cause: RunCause,
    time_in_name: Timestamp,
) -> ExportRun {
    let fingerprint = trigger.fingerprint(&entry.uid);
    let scheduled_time = match trigger {
        Trigger::Slot(slot) => Some(time(*slot)),
        _ => None,
    };
    let token = match trigger {
        Trigger::Token { value, .. } => Some(BTreeMap::from([(TOKEN_ANNOTATION.to_owned(), value.clone())])),
        _ => None,
    };
    // A label's value has at most 63 characters, an Export's name at most 40 where runs are made of it.
    let labels = [
        (
            EXPORT_LABEL,
            entry.key.name.get(..63).unwrap_or(&entry.key.name).to_owned(),
        ),
        (CAUSE_LABEL, cause.to_string()),
        (TRIGGER_LABEL, fingerprint.clone()),
        ("app.kubernetes.io/managed-by", "lakegate".to_owned()),
    ];
    ExportRun {
        metadata: ObjectMeta {
            name: Some(names::run_name(&entry.key.name, time_in_name, &fingerprint)),
            namespace: Some(entry.key.namespace.clone()),
            labels: Some(
                labels
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            ),
            annotations: token,
            ..ObjectMeta::default()
        },
        spec: ExportRunSpec {
            export_ref: Some(ResourceReference::new(&entry.key.name)),
            retention_policy_ref: None,
            cause: Some(cause),
            scheduled_time,
            window: None,
            export_uid: Some(entry.uid.clone()),
            export_generation: Some(entry.generation),
            resolved: Some(Shared::new(export.spec.clone())),
        },
        status: None,
    }
}
