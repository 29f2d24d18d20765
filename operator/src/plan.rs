//! Which run an Export wants next. Pure.
//!
//! What asks for a run is a [`Trigger`]; a trigger that has its run, recognised by fingerprint, is served and moves into
//! the memory. The plan only ever remembers what it sees, never what it is about to do: the caller creates the run, looks
//! again, finds it, and only then does the memory say so. A crash in between repeats the look, not the run.

use jiff::{SignedDuration, Timestamp};

use crate::{
    names::Trigger,
    schedule::{Outlook, Schedule},
};

/// What an Export asks for.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a wish of its own; any combination is meant"
)]
pub struct Wishes<'a> {
    /// Of the Export.
    pub uid: &'a str,

    /// Of the Export.
    pub generation: i64,

    /// Absent: runs only on request.
    pub schedule: Option<&'a Schedule>,

    /// Run once when first seen.
    pub run_on_create: bool,

    /// A slot ends the active run instead of waiting for it.
    pub replace: bool,

    /// The schedule stands still. Requests by a person are served all the same.
    pub suspended: bool,

    /// Runs cannot start now (a dependency is missing): nothing is created, and nothing is given up.
    pub blocked: bool,

    /// Value of `spec.runToken`.
    pub token: Option<&'a str>,

    /// Value of the run-now annotation.
    pub annotation: Option<&'a str>,
}

/// What the Export's status remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// First slot not yet served: what the status shows as the next run.
    pub promised: Option<Timestamp>,

    /// Newest slot that has its run.
    pub last_slot: Option<Timestamp>,

    /// The run token that has its run.
    pub token: Option<String>,

    /// The annotation value that has its run.
    pub annotation: Option<String>,

    /// `runOnCreate` is done for this uid.
    pub created: bool,

    /// The generation this was remembered at.
    pub generation: i64,

    /// Slots passed over, ever.
    pub missed: u64,
}

/// What the plan sees of a run of this Export.
#[derive(Debug, Clone, Copy)]
pub struct RunFact<'a> {
    /// Of the ExportRun.
    pub name: &'a str,

    /// Of its trigger.
    pub fingerprint: Option<&'a str>,

    /// The token it serves.
    pub token: Option<&'a str>,

    /// The Export's generation when it was created.
    pub generation: i64,

    /// The slot it serves.
    pub slot: Option<Timestamp>,

    /// It is Complete or Failed.
    pub ended: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// For the status.
    pub memory: Memory,

    /// The run to create. At most one, and only while none is active.
    pub create: Option<Creation>,

    /// Active runs to end, so that the due slot can start.
    pub cancel: Vec<String>,

    /// A trigger waits for the active run, or for what is missing.
    pub waiting: bool,

    /// When to look again at the latest.
    pub next: Option<Timestamp>,
}

/// A run to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// What asks for it.
    pub trigger: Trigger,

    /// The instant in its name: the slot, else now.
    pub time: Timestamp,

    /// It stands for older slots that were passed over.
    pub catch_up: bool,
}

/// What the Export wants at `now`.
pub fn plan(wishes: Wishes<'_>, remembered: &Memory, runs: &[RunFact<'_>], now: Timestamp) -> Plan {
    let has_run = |trigger: &Trigger| {
        let fingerprint = trigger.fingerprint(wishes.uid);
        runs.iter()
            .any(|run| run.fingerprint == Some(fingerprint.as_str()))
    };
    let mut memory = remembered.clone();
    memory.generation = wishes.generation;
    let mut pending: Vec<Creation> = Vec::new();

    let mut next = None;
    let mut slot_is_due = false;
    if let Some(schedule) = wishes.schedule.filter(|_| !wishes.suspended) {
        let outlook = schedule.outlook(memory.promised, now);
        next = outlook.next.map(|slot| schedule.start_of(slot));
        match &outlook.due {
            Some(due) if !has_run(&Trigger::Slot(due.slot)) => {
                slot_is_due = true;
                pending.push(Creation {
                    trigger: Trigger::Slot(due.slot),
                    time: due.slot,
                    catch_up: due.catch_up,
                });
                if let Some(deadline) = schedule.starting_deadline {
                    // look again when it is too late, so that the status does not promise a slot that will not come
                    let too_late = schedule
                        .start_of(due.slot)
                        .checked_add(deadline + SignedDuration::from_secs(1))
                        .ok();
                    next = next.into_iter().chain(too_late).min();
                }
            }
            Some(due) => {
                memory.missed += unserved_among(&outlook, memory.promised, due.slot, runs);
                memory.last_slot = memory.last_slot.max(Some(due.slot));
                memory.promised = outlook.next;
            }
            None => {
                memory.missed += outlook.missed;
                memory.promised = outlook.next;
            }
        }
    } else {
        // A schedule that is suspended or removed owes nothing when it comes back.
        memory.promised = None;
    }

    // Requests of people. Whether or not the schedule is suspended: they ask now.
    if let Some(token) = wishes
        .token
        .filter(|token| !token.is_empty() && memory.token.as_deref() != Some(token))
    {
        // Its run, if there is one, is not older than the memory: an older one served the same word another time.
        let is_served = runs
            .iter()
            .any(|run| run.token == Some(token) && run.generation >= remembered.generation);
        if is_served {
            memory.token = Some(token.to_owned());
        } else {
            let trigger = Trigger::Token {
                value: token.to_owned(),
                generation: wishes.generation,
            };
            pending.push(Creation {
                trigger,
                time: now,
                catch_up: false,
            });
        }
    }
    if let Some(value) = wishes
        .annotation
        .filter(|value| !value.is_empty() && memory.annotation.as_deref() != Some(value))
    {
        let trigger = Trigger::Annotation(value.to_owned());
        if has_run(&trigger) {
            memory.annotation = Some(value.to_owned());
        } else {
            pending.push(Creation {
                trigger,
                time: now,
                catch_up: false,
            });
        }
    }
    if wishes.run_on_create && !memory.created {
        // Whatever asked for it, a run there is will do.
        memory.created = !runs.is_empty();
        if !memory.created && !wishes.suspended && pending.is_empty() {
            pending.push(Creation {
                trigger: Trigger::Create,
                time: now,
                catch_up: false,
            });
        }
    }

    let active: Vec<&RunFact<'_>> = runs.iter().filter(|run| !run.ended).collect();
    let waiting = !pending.is_empty() && (wishes.blocked || !active.is_empty());
    let cancel = if slot_is_due && wishes.replace && !wishes.blocked {
        active.iter().map(|run| run.name.to_owned()).collect()
    } else {
        Vec::new()
    };
    let create = pending.into_iter().next().filter(|_| !waiting);
    Plan {
        memory,
        create,
        cancel,
        waiting,
        next,
    }
}

/// Slots passed over for `due`, less those that had a run all the same: created before a crash, seen only now.
fn unserved_among(
    outlook: &Outlook,
    promised: Option<Timestamp>,
    due: Timestamp,
    runs: &[RunFact<'_>],
) -> u64 {
    let served = runs
        .iter()
        .filter_map(|run| run.slot)
        .filter(|slot| promised.is_some_and(|promised| *slot >= promised) && *slot < due)
        .count();
    outlook.missed.saturating_sub(served as u64)
}

#[cfg(test)]
mod tests;
