use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::schedule::{Timetable, jitter_offset};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(cron: &str) -> Schedule {
    Schedule {
        timetable: Timetable::new(&cron.parse().unwrap(), TimeZone::UTC),
        starting_deadline: None,
        offset: SignedDuration::ZERO,
    }
}

fn wishes(schedule: Option<&Schedule>) -> Wishes<'_> {
    Wishes {
        uid: "u1",
        generation: 1,
        schedule,
        run_on_create: false,
        replace: false,
        suspended: false,
        blocked: false,
        token: None,
        annotation: None,
    }
}

fn memory(promised: &str) -> Memory {
    Memory {
        promised: Some(at(promised)),
        created: true,
        generation: 1,
        ..Memory::default()
    }
}

const NOW: &str = "2026-05-11T03:00:10Z";

/// What, wishes, memory, runs; then the trigger of the run created, runs cancelled, whether anything waits.
type Case<'a> = (
    &'static str,
    Wishes<'a>,
    &'a Memory,
    Vec<RunFact<'a>>,
    Option<Trigger>,
    Vec<&'a str>,
    bool,
);

#[test]
fn plans() {
    let daily = schedule("0 3 * * *");
    let slot = Trigger::Slot(at("2026-05-11T03:00Z"));
    let slot_fingerprint = slot.fingerprint("u1");
    let token = Trigger::Token {
        value: "t1".into(),
        generation: 1,
    };
    let active = RunFact {
        name: "r1",
        fingerprint: None,
        token: None,
        generation: 1,
        slot: None,
        ended: false,
    };
    let ended = RunFact {
        ended: true,
        ..active
    };
    let of_slot = RunFact {
        name: "r2",
        fingerprint: Some(&slot_fingerprint),
        token: None,
        generation: 1,
        slot: Some(at("2026-05-11T03:00Z")),
        ended: false,
    };
    let of_token = RunFact {
        name: "r3",
        token: Some("t1"),
        ..ended
    };
    let of_token_before = RunFact {
        generation: 0,
        ..of_token
    };
    let base = wishes(Some(&daily));
    let due = memory("2026-05-11T03:00Z");
    let fresh = Memory::default();
    let cases: [Case<'_>; 19] = [
        ("due", base, &due, vec![ended], Some(slot.clone()), vec![], false),
        (
            "due, a run is active: it waits",
            base,
            &due,
            vec![active],
            None,
            vec![],
            true,
        ),
        (
            "due, a run is active: it replaces",
            Wishes {
                replace: true,
                ..base
            },
            &due,
            vec![active],
            None,
            vec!["r1"],
            true,
        ),
        (
            "served by an active run",
            Wishes {
                replace: true,
                ..base
            },
            &due,
            vec![of_slot],
            None,
            vec![],
            false,
        ),
        (
            "blocked",
            Wishes {
                blocked: true,
                ..base
            },
            &due,
            vec![],
            None,
            vec![],
            true,
        ),
        (
            "blocked replaces nothing",
            Wishes {
                blocked: true,
                replace: true,
                ..base
            },
            &due,
            vec![active],
            None,
            vec![],
            true,
        ),
        (
            "suspended",
            Wishes {
                suspended: true,
                ..base
            },
            &due,
            vec![],
            None,
            vec![],
            false,
        ),
        ("new", base, &fresh, vec![], None, vec![], false),
        (
            "new, to run at once",
            Wishes {
                run_on_create: true,
                ..base
            },
            &fresh,
            vec![],
            Some(Trigger::Create),
            vec![],
            false,
        ),
        (
            "new but suspended",
            Wishes {
                run_on_create: true,
                suspended: true,
                ..base
            },
            &fresh,
            vec![],
            None,
            vec![],
            false,
        ),
        (
            "seen before",
            Wishes {
                run_on_create: true,
                ..base
            },
            &fresh,
            vec![ended],
            None,
            vec![],
            false,
        ),
        (
            "new with a token: one run does",
            Wishes {
                run_on_create: true,
                token: Some("t1"),
                ..base
            },
            &fresh,
            vec![],
            Some(token.clone()),
            vec![],
            false,
        ),
        (
            "a token",
            Wishes {
                token: Some("t1"),
                ..wishes(None)
            },
            &fresh,
            vec![ended],
            Some(token.clone()),
            vec![],
            false,
        ),
        (
            "a token while suspended",
            Wishes {
                token: Some("t1"),
                suspended: true,
                ..base
            },
            &fresh,
            vec![ended],
            Some(token.clone()),
            vec![],
            false,
        ),
        (
            "a token has its run",
            Wishes {
                token: Some("t1"),
                ..wishes(None)
            },
            &fresh,
            vec![of_token],
            None,
            vec![],
            false,
        ),
        (
            "a token has a run, from another time",
            Wishes {
                token: Some("t1"),
                ..wishes(None)
            },
            &due,
            vec![of_token_before],
            Some(token.clone()),
            vec![],
            false,
        ),
        (
            "a token never replaces",
            Wishes {
                token: Some("t1"),
                replace: true,
                ..wishes(None)
            },
            &fresh,
            vec![active],
            None,
            vec![],
            true,
        ),
        (
            "an empty token is none",
            Wishes {
                token: Some(""),
                ..wishes(None)
            },
            &fresh,
            vec![],
            None,
            vec![],
            false,
        ),
        (
            "an annotation",
            Wishes {
                annotation: Some("now"),
                ..wishes(None)
            },
            &fresh,
            vec![],
            Some(Trigger::Annotation("now".into())),
            vec![],
            false,
        ),
    ];
    for (what, wishes, memory, runs, create, cancel, waiting) in cases {
        let plan = plan(wishes, memory, &runs, at(NOW));
        assert_eq!(
            plan.create.map(|creation| creation.trigger),
            create,
            "{what}: create"
        );
        assert_eq!(plan.cancel, cancel, "{what}: cancel");
        assert_eq!(plan.waiting, waiting, "{what}: waiting");
    }
}

#[test]
fn memory_follows_what_is_seen() {
    let daily = schedule("0 3 * * *");
    let due = memory("2026-05-09T03:00Z");
    let before = plan(wishes(Some(&daily)), &due, &[], at(NOW));
    assert_eq!(before.memory, due, "the run is not there yet");
    assert!(before.create.as_ref().unwrap().catch_up);
    let fingerprint = before.create.unwrap().trigger.fingerprint("u1");
    let run = RunFact {
        name: "r",
        fingerprint: Some(&fingerprint),
        token: None,
        generation: 1,
        slot: Some(at("2026-05-11T03:00Z")),
        ended: false,
    };
    let after = plan(wishes(Some(&daily)), &due, &[run], at(NOW));
    assert_eq!(after.create, None);
    assert_eq!(
        after.memory,
        Memory {
            promised: Some(at("2026-05-12T03:00Z")),
            last_slot: Some(at("2026-05-11T03:00Z")),
            missed: 2,
            ..due.clone()
        }
    );
    let resumed = plan(
        Wishes {
            suspended: true,
            ..wishes(Some(&daily))
        },
        &due,
        &[],
        at(NOW),
    );
    assert_eq!(
        resumed.memory.promised, None,
        "nothing is owed after a suspension"
    );
    let run = RunFact {
        name: "r",
        fingerprint: None,
        token: Some("t2"),
        generation: 1,
        slot: None,
        ended: true,
    };
    assert_eq!(
        plan(
            Wishes {
                token: Some("t2"),
                ..wishes(None)
            },
            &due,
            &[run],
            at(NOW)
        )
        .memory
        .token
        .as_deref(),
        Some("t2")
    );
    let created = plan(
        Wishes {
            run_on_create: true,
            ..wishes(None)
        },
        &Memory::default(),
        &[run],
        at(NOW),
    );
    assert!(created.memory.created && created.create.is_none());
}

#[derive(Debug, Clone)]
enum Happening {
    Passes(i64),
    RunEnds,
    /// The operator dies after this many effects of its next look.
    Crash(u8),
    Token(u8),
    Suspend(bool),
    Block(bool),
    HistoryIsTrimmed,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (1_i64..3000).prop_map(Happening::Passes),
        1 => (10_000_i64..90_000).prop_map(Happening::Passes),
        5 => Just(Happening::RunEnds),
        3 => (0..3_u8).prop_map(Happening::Crash),
        2 => any::<u8>().prop_map(Happening::Token),
        1 => prop::bool::weighted(0.3).prop_map(Happening::Suspend),
        1 => prop::bool::weighted(0.3).prop_map(Happening::Block),
        2 => Just(Happening::HistoryIsTrimmed),
    ]
}

struct SimulatedRun {
    name: String,
    fingerprint: String,
    token: Option<String>,
    generation: i64,
    slot: Option<Timestamp>,
    ended: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Time, crashes, people and slow runs in any order: never two active runs, never two runs of one cause, every token
    /// served, every slot served or counted.
    #[test]
    fn any_order_of_events(
        events in prop::collection::vec(happening(), 1..120), replace in any::<bool>(), run_on_create in any::<bool>(),
        deadline in prop::option::of(60_i64..5000), minutes in prop::sample::select(&["*/7", "0", "13,14"][..]),
    ) {
        let schedule = Schedule {
            timetable: Timetable::new(&format!("{minutes} * * * *").parse().unwrap(), TimeZone::get("America/New_York").unwrap()),
            starting_deadline: deadline.map(SignedDuration::from_secs),
            offset: jitter_offset("u1", SignedDuration::from_secs(90)),
        };
        let mut now = at("2026-03-07T20:00Z");
        let mut memory = Memory::default();
        let mut runs: Vec<SimulatedRun> = Vec::new();
        let mut every_fingerprint = std::collections::BTreeSet::new();
        let mut served_slots = 0_u64;
        let (mut token, mut suspended, mut blocked) = (None::<String>, false, false);
        let mut generation = 1;
        let mut tokens_served = Vec::new();
        let mut begun_at = None;
        let mut was_suspended = false;
        // the memory was written after the last look at the runs
        let mut trimmable = false;
        let calm = [Happening::Suspend(false), Happening::Block(false)].into_iter().chain((0..6).flat_map(|_| [Happening::RunEnds, Happening::Passes(1)]));
        for event in events.into_iter().chain(calm) {
            let mut crash_after = None;
            match event {
                Happening::Passes(seconds) => now += SignedDuration::from_secs(seconds),
                Happening::RunEnds => if let Some(run) = runs.iter_mut().find(|run| !run.ended) { run.ended = true },
                Happening::Crash(after) => crash_after = Some(after),
                Happening::Token(value) => { token = Some((value % 3).to_string()); generation += 1 }
                Happening::Suspend(value) => { suspended = value; was_suspended |= value }
                Happening::Block(value) => blocked = value,
                // only what the memory accounts for may go, and the memory accounts for every ended run once written
                Happening::HistoryIsTrimmed => if memory.generation == generation && trimmable { runs.retain(|run| !run.ended) },
            }
            trimmable = false;
            let mut effects = 0;
            while effects < 8 {
                if crash_after == Some(effects) { break }
                let facts: Vec<RunFact<'_>> = runs.iter().map(|run| RunFact { name: &run.name, fingerprint: Some(&run.fingerprint), token: run.token.as_deref(), generation: run.generation, slot: run.slot, ended: run.ended }).collect();
                let wishes = Wishes { uid: "u1", generation, schedule: Some(&schedule), run_on_create, replace, suspended, blocked, token: token.as_deref(), annotation: None };
                let plan = plan(wishes, &memory, &facts, now);
                effects += 1;
                if !plan.cancel.is_empty() {
                    for run in &mut runs { run.ended |= plan.cancel.contains(&run.name) }
                } else if let Some(creation) = plan.create {
                    prop_assert!(!suspended || !matches!(creation.trigger, Trigger::Slot(_) | Trigger::Create));
                    prop_assert!(!blocked);
                    let fingerprint = creation.trigger.fingerprint("u1");
                    prop_assert!(every_fingerprint.insert(fingerprint.clone()), "{:?} twice", creation.trigger);
                    let token = match &creation.trigger { Trigger::Token { value, .. } => Some(value.clone()), _ => None };
                    tokens_served.extend(token.clone());
                    let slot = match creation.trigger { Trigger::Slot(slot) => { served_slots += 1; Some(slot) } _ => None };
                    runs.push(SimulatedRun { name: fingerprint.clone(), fingerprint, token, generation, slot, ended: false });
                } else {
                    trimmable = plan.memory.generation == generation;
                    memory = plan.memory;
                    begun_at = begun_at.or(memory.promised);
                    break;
                }
                prop_assert!(runs.iter().filter(|run| !run.ended).count() <= 1, "two active runs");
            }
        }
        if let Some(token) = &token {
            prop_assert_eq!(tokens_served.last(), Some(token), "the newest token was not served");
        }
        if !was_suspended && memory.missed < crate::schedule::MISSED_COUNT_LIMIT && let (Some(first), Some(promised)) = (begun_at, memory.promised) {
            let all = std::iter::successors(Some(first), |slot| schedule.timetable.next_after(*slot)).take_while(|slot| *slot < promised).count() as u64;
            prop_assert_eq!(served_slots + memory.missed, all);
        }
    }
}
