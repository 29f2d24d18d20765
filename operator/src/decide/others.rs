//! The decisions about DataSource, View and RetentionPolicy: what the federation knows of them, told as a status.

use jiff::Timestamp;
use lakegate_crds::{
    DataSource, DataSourceStatus, RetentionPolicy, RetentionPolicyStatus, View, ViewColumnStatus, ViewStatus,
    conditions::{ConditionStatus, ConditionType, ConditionsExt as _, ConditionsMut as _, Reason, time},
};
use lakegate_federation::{SourceHealth, ViewHealth};
use lakegate_store::{Entry, NoticeType, Problem};

use super::{Decision, Verdict, attention, count, notice, refusal};

/// Everything a decision about a DataSource may look at.
#[derive(Debug, Clone, Copy)]
pub struct ObservedSource<'a> {
    /// The DataSource.
    pub entry: &'a Entry<DataSource>,

    /// Fields that no code serves, taken names.
    pub problems: &'a [Problem],

    /// What the federation knows of it.
    pub health: Option<&'a SourceHealth>,

    /// An Export whose table is to be removed from this lake when that Export is deleted.
    pub needed_by: Option<&'a str>,

    /// The clock.
    pub now: Timestamp,
}

/// Decides about a DataSource.
pub fn decide_source(observed: ObservedSource<'_>) -> Decision<DataSourceStatus> {
    let ObservedSource {
        entry, problems, now, ..
    } = observed;
    let before = entry.status.clone().unwrap_or_default();
    let mut status = before.clone();
    status.observed_generation = Some(entry.generation);
    let mut notices = Vec::new();
    let suspended = entry
        .object
        .as_deref()
        .is_some_and(|source| source.spec.is_suspended());
    if let Some(source) = entry.object.as_deref() {
        status.r#type = source.spec.source_kind();
        status.catalog_name = Some(source.spec.catalog_name(&entry.key.name));
    }
    // What was learnt of an older spec says nothing about this one.
    let is_about_this =
        |health: &&SourceHealth| health.uid == entry.uid && health.generation >= entry.generation;
    let health = observed
        .health
        .filter(is_about_this)
        .filter(|_| problems.is_empty());
    let mut verdict =
        last_look(&before, entry.generation).unwrap_or_else(|| Verdict::progressing("connecting"));
    if suspended {
        status.conditions.unset(ConditionType::Reachable);
        status.conditions.unset(ConditionType::CatalogSynced);
        status.conditions.set(
            now,
            ConditionType::Suspended,
            true,
            Reason::Suspended,
            "spec.suspend is true",
            entry.generation,
        );
        verdict = Verdict::ready(Reason::Suspended, "suspended: its tables are not offered");
    } else {
        status.conditions.unset(ConditionType::Suspended);
        if let Some(health) = health {
            verdict = describe_health(&mut status, entry, health, now);
            if let Some(news) = reachability_news(entry, &before, &status, now) {
                notices.push(news);
            }
        }
    }
    let kept = entry.deletion.and(observed.needed_by).map(|export| Verdict {
        ready: ConditionStatus::Unknown,
        reason: Reason::Deleting,
        message: format!("it is being deleted, and kept until the table of Export {export} is gone"),
        outlook: super::Outlook::Reconciling,
    });
    kept.or_else(|| refusal(entry, problems))
        .unwrap_or(verdict)
        .apply(&mut status.conditions, entry.generation, now);
    notices.extend(attention(entry, &before.conditions, &status.conditions, now));
    // That a store was looked at again is no news: an idle instance writes nothing.
    let looked = std::mem::replace(
        &mut status.last_discovery_time,
        before.last_discovery_time.clone(),
    );
    if status != before {
        status.last_discovery_time = looked;
    }
    let release = entry.is_held && observed.needed_by.is_none();
    Decision {
        status,
        effects: release
            .then_some(super::Effect::Release(None))
            .into_iter()
            .collect(),
        notices,
        next: None,
    }
}

/// What the last look at the store came to, when it was one at this spec.
fn last_look(before: &DataSourceStatus, generation: i64) -> Option<Verdict> {
    let reachable = before
        .conditions
        .find(ConditionType::Reachable)
        .filter(|reachable| reachable.observed_generation == Some(generation))?;
    // A refusal, or a suspension, says nothing about the store.
    Verdict::standing(&before.conditions, generation).filter(|verdict| match reachable.status.as_str() {
        "True" => matches!(verdict.reason, Reason::Available | Reason::ReplicaLagging),
        "False" => verdict.reason.as_str() == reachable.reason,
        _ => false,
    })
}

fn describe_health(
    status: &mut DataSourceStatus,
    entry: &Entry<DataSource>,
    health: &SourceHealth,
    now: Timestamp,
) -> Verdict {
    let generation = entry.generation;
    if !health.endpoint.is_empty() {
        status.endpoint = Some(health.endpoint.clone());
    }
    if let Some(version) = &health.server_version {
        status.server_version = Some(version.clone());
    }
    if let Some(discovered) = health.last_discovery {
        status.tables = Some(count(health.tables));
        status.catalog_revision = Some(health.catalog_revision.to_string());
        status.last_discovery_time = Some(time(discovered));
    }
    let conditions = &mut status.conditions;
    match health.reachable {
        None => {
            conditions.set(
                now,
                ConditionType::Reachable,
                ConditionStatus::Unknown,
                Reason::Progressing,
                "connecting",
                generation,
            );
            Verdict::progressing("connecting")
        }
        Some(true) => {
            let plural = if health.tables == 1 { "" } else { "s" };
            let tables = format!("{} table{plural}", health.tables);
            conditions.set(
                now,
                ConditionType::Reachable,
                true,
                Reason::Connected,
                "the store answers",
                generation,
            );
            conditions.set(
                now,
                ConditionType::CatalogSynced,
                true,
                Reason::Discovered,
                tables.clone(),
                generation,
            );
            if health.reads_primary {
                let message = format!("{tables}; no replica is within maxReplicaLag, so the primary is read");
                Verdict::ready(Reason::ReplicaLagging, message)
            } else {
                Verdict::ready(Reason::Available, tables)
            }
        }
        Some(false) => {
            let reason = health.reason.unwrap_or(Reason::ConnectionFailed);
            let message = health
                .message
                .clone()
                .unwrap_or_else(|| "the store does not answer".to_owned());
            conditions.set(
                now,
                ConditionType::Reachable,
                false,
                reason,
                message.clone(),
                generation,
            );
            let synced = match health.last_discovery {
                Some(at) => format!("{} tables as of {}", health.tables, time(at).0),
                None => "no tables were read yet".to_owned(),
            };
            conditions.set(
                now,
                ConditionType::CatalogSynced,
                false,
                reason,
                synced,
                generation,
            );
            // Refused credentials wait for a person, although the store is asked again: the cure may come in the store, or
            // in a Secret, and no event tells of either.
            if health.terminal || reason == Reason::AccessDenied {
                Verdict::stalled(reason, message)
            } else {
                Verdict::retrying(reason, message)
            }
        }
    }
}

/// A notice when the store went away or came back.
fn reachability_news(
    entry: &Entry<DataSource>,
    before: &DataSourceStatus,
    after: &DataSourceStatus,
    now: Timestamp,
) -> Option<lakegate_store::Notice> {
    let reachable = after.conditions.find(ConditionType::Reachable)?;
    let known = before.conditions.find(ConditionType::Reachable);
    if known.is_some_and(|known| known.status == reachable.status && known.reason == reachable.reason) {
        return None;
    }
    match reachable.status.as_str() {
        "True" => {
            let message = match after.conditions.find(ConditionType::CatalogSynced) {
                Some(synced) => format!("{}, {}", reachable.message, synced.message),
                None => reachable.message.clone(),
            };
            Some(notice(entry, NoticeType::Normal, &reachable.reason, message, now))
        }
        "False" => Some(notice(
            entry,
            NoticeType::Warning,
            &reachable.reason,
            reachable.message.clone(),
            now,
        )),
        _ => None,
    }
}

/// Everything a decision about a View may look at.
#[derive(Debug, Clone, Copy)]
pub struct ObservedView<'a> {
    /// The View.
    pub entry: &'a Entry<View>,

    /// Fields that no code serves.
    pub problems: &'a [Problem],

    /// How its query plans.
    pub health: Option<&'a ViewHealth>,

    /// The clock.
    pub now: Timestamp,
}

/// Decides about a View.
pub fn decide_view(observed: ObservedView<'_>) -> Decision<ViewStatus> {
    let ObservedView {
        entry, problems, now, ..
    } = observed;
    let before = entry.status.clone().unwrap_or_default();
    let mut status = before.clone();
    status.observed_generation = Some(entry.generation);
    let suspended = entry
        .object
        .as_deref()
        .is_some_and(|view| view.spec.is_suspended());
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
    let is_about_this =
        |health: &&ViewHealth| health.uid == entry.uid && health.generation >= entry.generation;
    let verdict = match observed.health.filter(is_about_this) {
        _ if suspended => Verdict::ready(Reason::Suspended, "suspended: it is not served"),
        None => Verdict::standing(&before.conditions, entry.generation)
            .filter(|verdict| matches!(verdict.reason, Reason::Available | Reason::PlanFailed))
            .unwrap_or_else(|| Verdict::progressing("planning")),
        Some(ViewHealth {
            reason: Some(reason),
            message,
            ..
        }) => {
            let message = message.as_deref().unwrap_or("its query cannot be planned");
            // A view that does not plan may plan once its tables are there; one that is no query never will.
            match reason {
                Reason::InvalidSpec | Reason::NotImplemented | Reason::NameConflict => {
                    Verdict::stalled(*reason, message)
                }
                _ => Verdict::retrying(*reason, message),
            }
        }
        Some(health) => {
            let described = |name: &str| {
                let columns = &entry.object.as_deref()?.spec.columns;
                let column = columns.iter().find(|column| column.name == name)?;
                column.description.clone()
            };
            status.columns = health
                .columns
                .iter()
                .map(|(name, data_type)| ViewColumnStatus {
                    name: name.clone(),
                    r#type: data_type.clone(),
                    description: described(name),
                })
                .collect();
            status.dependencies.clone_from(&health.dependencies);
            let name = entry.object.as_deref().map_or_else(
                || entry.key.name.clone(),
                |view| view.spec.sql_name(&entry.key.name),
            );
            let name = format!("views.{name}");
            let mut message = format!("served as {name}");
            if !health.unknown_columns.is_empty() {
                let unknown = health.unknown_columns.join(", ");
                message = format!("{message}; spec.columns describes what it does not return: {unknown}");
            }
            let verdict = Verdict::ready(Reason::Available, message);
            status.sql_name = Some(name);
            verdict
        }
    };
    refusal(entry, problems)
        .unwrap_or(verdict)
        .apply(&mut status.conditions, entry.generation, now);
    let notices = attention(entry, &before.conditions, &status.conditions, now)
        .into_iter()
        .collect();
    Decision {
        status,
        effects: Vec::new(),
        notices,
        next: None,
    }
}

/// Everything a decision about a RetentionPolicy may look at.
#[derive(Debug, Clone, Copy)]
pub struct ObservedPolicy<'a> {
    /// The RetentionPolicy.
    pub entry: &'a Entry<RetentionPolicy>,

    /// Fields that no code serves: for now, all.
    pub problems: &'a [Problem],

    /// The clock.
    pub now: Timestamp,
}

/// Decides about a RetentionPolicy.
pub fn decide_policy(observed: ObservedPolicy<'_>) -> Decision<RetentionPolicyStatus> {
    let ObservedPolicy { entry, problems, now } = observed;
    let before = entry.status.clone().unwrap_or_default();
    let mut status = before.clone();
    status.observed_generation = Some(entry.generation);
    // A policy that would be taken for active while nothing acts on it is the worst of answers.
    let unserved = || {
        Verdict::stalled(
            Reason::NotImplemented,
            "spec: retention is not served by this version; nothing is deleted",
        )
    };
    refusal(entry, problems)
        .unwrap_or_else(unserved)
        .apply(&mut status.conditions, entry.generation, now);
    let notices = attention(entry, &before.conditions, &status.conditions, now)
        .into_iter()
        .collect();
    Decision {
        status,
        effects: Vec::new(),
        notices,
        next: None,
    }
}
