use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn timetable(expression: &str, zone: &str) -> Timetable {
    Timetable::new(&expression.parse().unwrap(), TimeZone::get(zone).unwrap())
}

fn slots(table: &Timetable, from: &str, until: &str) -> Vec<String> {
    let (from, until) = (at(from), at(until));
    std::iter::successors(table.next_after(from), |slot| table.next_after(*slot))
        .take_while(|slot| *slot < until)
        .map(|slot| {
            slot.to_zoned(table.zone.clone())
                .strftime("%d %H:%M%:z")
                .to_string()
        })
        .collect()
}

#[test]
fn clock_changes_serve_each_slot_once() {
    // (expression, zone, a day before the change, two days later, the slots)
    let cases: &[(&str, &str, &str, &str, &[&str])] = &[
        // New York skips 02:00-03:00 on 8 March and repeats 01:00-02:00 on 1 November
        (
            "30 2 * * *",
            "America/New_York",
            "2026-03-07T12:00Z",
            "2026-03-10T00:00Z",
            &["08 03:00-04:00", "09 02:30-04:00"],
        ),
        (
            "0 2,14 * * *",
            "America/New_York",
            "2026-03-07T20:00Z",
            "2026-03-09T00:00Z",
            &["08 03:00-04:00", "08 14:00-04:00"],
        ),
        (
            "0,30 2-3 * * *",
            "America/New_York",
            "2026-03-08T00:00Z",
            "2026-03-08T12:00Z",
            &["08 03:00-04:00", "08 03:30-04:00"],
        ),
        (
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T12:00Z",
            "2026-11-03T00:00Z",
            &["01 01:30-04:00", "02 01:30-05:00"],
        ),
        (
            "*/30 1 * * *",
            "America/New_York",
            "2026-11-01T00:00Z",
            "2026-11-02T00:00Z",
            &[
                "01 01:00-04:00",
                "01 01:30-04:00",
                "01 01:00-05:00",
                "01 01:30-05:00",
            ],
        ),
        (
            "0 * * * *",
            "America/New_York",
            "2026-03-08T05:30Z",
            "2026-03-08T09:00Z",
            &["08 01:00-05:00", "08 03:00-04:00", "08 04:00-04:00"],
        ),
        // Lord Howe moves by half an hour
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-02T16:00Z",
            "2026-10-04T20:00Z",
            &["04 02:30+11:00", "05 02:15+11:00"],
        ),
        (
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-03T16:00Z",
            "2026-04-05T20:00Z",
            &["05 01:45+11:00", "06 01:45+10:30"],
        ),
        // Nuuk skips the last hour of a Saturday: the slot survives although the gap ends on a Sunday
        (
            "30 23 * * SAT",
            "America/Nuuk",
            "2026-03-28T12:00Z",
            "2026-03-30T00:00Z",
            &["29 00:00-01:00"],
        ),
        (
            "0 3 * * *",
            "Asia/Seoul",
            "2026-03-07T00:00Z",
            "2026-03-09T00:00Z",
            &["08 03:00+09:00", "09 03:00+09:00"],
        ),
        (
            "@daily",
            "Etc/UTC",
            "2026-03-07T00:00Z",
            "2026-03-09T00:01Z",
            &["08 00:00+00:00", "09 00:00+00:00"],
        ),
        (
            "0 0 29 2 *",
            "Etc/UTC",
            "2026-03-07T00:00Z",
            "2029-01-01T00:00Z",
            &["29 00:00+00:00"],
        ),
        (
            "0 12 L * *",
            "Etc/UTC",
            "2026-02-01T00:00Z",
            "2026-04-01T00:00Z",
            &["28 12:00+00:00", "31 12:00+00:00"],
        ),
    ];
    for (expression, zone, from, until, expected) in cases {
        assert_eq!(
            slots(&timetable(expression, zone), from, until),
            *expected,
            "{expression} {zone}"
        );
    }
}

#[test]
fn a_date_that_never_comes_is_no_slot() {
    let mut never = timetable("0 0 29 2 *", "Etc/UTC");
    never.cron = "0 0 30 2 *".parse().unwrap();
    assert_eq!(never.next_after(at("2026-01-01T00:00Z")), None);
    assert_eq!(never.latest_at(at("2026-01-01T00:00Z")), None);
}

#[test]
fn fractions_of_a_second_never_hide_a_slot() {
    let table = timetable("0 3 * * *", "Etc/UTC");
    assert_eq!(
        table.latest_at(at("2026-01-01T03:00:00.9Z")),
        Some(at("2026-01-01T03:00Z"))
    );
    assert_eq!(
        table.latest_at(at("2026-01-01T02:59:59.9Z")),
        Some(at("2025-12-31T03:00Z"))
    );
    assert_eq!(
        table.next_after(at("2026-01-01T02:59:59.9Z")),
        Some(at("2026-01-01T03:00Z"))
    );
    assert_eq!(
        table.next_after(at("2026-01-01T03:00:00.1Z")),
        Some(at("2026-01-02T03:00Z"))
    );
}

fn daily(deadline: Option<i64>, offset: i64) -> Schedule {
    Schedule {
        timetable: timetable("0 3 * * *", "Etc/UTC"),
        starting_deadline: deadline.map(SignedDuration::from_secs),
        offset: SignedDuration::from_secs(offset),
    }
}

#[test]
fn outlooks() {
    struct Case {
        what: &'static str,
        schedule: Schedule,
        promised: Option<&'static str>,
        now: &'static str,
        due: Option<(&'static str, bool)>,
        missed: u64,
        next: &'static str,
    }
    let cases = [
        Case {
            what: "a new schedule owes nothing",
            schedule: daily(None, 0),
            promised: None,
            now: "2026-05-10T04:00Z",
            due: None,
            missed: 0,
            next: "2026-05-11T03:00Z",
        },
        Case {
            what: "not yet",
            schedule: daily(None, 0),
            promised: Some("2026-05-11T03:00Z"),
            now: "2026-05-11T02:59:59Z",
            due: None,
            missed: 0,
            next: "2026-05-11T03:00Z",
        },
        Case {
            what: "on time",
            schedule: daily(None, 0),
            promised: Some("2026-05-11T03:00Z"),
            now: "2026-05-11T03:00Z",
            due: Some(("2026-05-11T03:00Z", false)),
            missed: 0,
            next: "2026-05-12T03:00Z",
        },
        Case {
            what: "late, once",
            schedule: daily(None, 0),
            promised: Some("2026-05-11T03:00Z"),
            now: "2026-05-11T20:00Z",
            due: Some(("2026-05-11T03:00Z", false)),
            missed: 0,
            next: "2026-05-12T03:00Z",
        },
        Case {
            what: "ten days asleep: one catch-up",
            schedule: daily(None, 0),
            promised: Some("2026-05-01T03:00Z"),
            now: "2026-05-11T20:00Z",
            due: Some(("2026-05-11T03:00Z", true)),
            missed: 10,
            next: "2026-05-12T03:00Z",
        },
        Case {
            what: "too late",
            schedule: daily(Some(3600), 0),
            promised: Some("2026-05-10T03:00Z"),
            now: "2026-05-11T04:00:01Z",
            due: None,
            missed: 2,
            next: "2026-05-12T03:00Z",
        },
        Case {
            what: "just in time",
            schedule: daily(Some(3600), 0),
            promised: Some("2026-05-11T03:00Z"),
            now: "2026-05-11T04:00Z",
            due: Some(("2026-05-11T03:00Z", false)),
            missed: 0,
            next: "2026-05-12T03:00Z",
        },
        Case {
            what: "edited: 02:00 is no slot of this timetable",
            schedule: daily(None, 0),
            promised: Some("2026-05-01T02:00Z"),
            now: "2026-05-11T20:00Z",
            due: None,
            missed: 0,
            next: "2026-05-12T03:00Z",
        },
        Case {
            what: "jitter waits",
            schedule: daily(None, 600),
            promised: Some("2026-05-11T03:00Z"),
            now: "2026-05-11T03:09:59Z",
            due: None,
            missed: 0,
            next: "2026-05-11T03:00Z",
        },
        Case {
            what: "jitter over",
            schedule: daily(None, 600),
            promised: Some("2026-05-11T03:00Z"),
            now: "2026-05-11T03:10Z",
            due: Some(("2026-05-11T03:00Z", false)),
            missed: 0,
            next: "2026-05-12T03:00Z",
        },
        Case {
            what: "the deadline counts from the jittered start",
            schedule: daily(Some(60), 600),
            promised: Some("2026-05-11T03:00Z"),
            now: "2026-05-11T03:11Z",
            due: Some(("2026-05-11T03:00Z", false)),
            missed: 0,
            next: "2026-05-12T03:00Z",
        },
        Case {
            what: "a clock set back breaks no promise",
            schedule: daily(None, 0),
            promised: Some("2026-05-11T03:00Z"),
            now: "2026-05-02T00:00Z",
            due: None,
            missed: 0,
            next: "2026-05-11T03:00Z",
        },
    ];
    for case in cases {
        let outlook = case.schedule.outlook(case.promised.map(at), at(case.now));
        let expected = Outlook {
            due: case.due.map(|(slot, catch_up)| Due {
                slot: at(slot),
                catch_up,
            }),
            missed: case.missed,
            next: Some(at(case.next)),
        };
        assert_eq!(outlook, expected, "{}", case.what);
    }
}

#[test]
fn missed_counts_saturate() {
    let minutely = Schedule {
        timetable: timetable("* * * * *", "Etc/UTC"),
        starting_deadline: None,
        offset: SignedDuration::ZERO,
    };
    let outlook = minutely.outlook(Some(at("2020-01-01T00:00Z")), at("2026-01-01T00:00:30Z"));
    assert_eq!(outlook.missed, MISSED_COUNT_LIMIT);
    assert_eq!(
        outlook.due,
        Some(Due {
            slot: at("2026-01-01T00:00Z"),
            catch_up: true
        })
    );
}

#[test]
fn jitter_is_the_same_for_ever_and_spread() {
    let jitter = SignedDuration::from_mins(10);
    let offsets: std::collections::BTreeSet<_> = (0..200)
        .map(|uid| jitter_offset(&format!("uid-{uid}"), jitter))
        .collect();
    assert!(offsets.len() > 120, "{} distinct", offsets.len());
    assert!(
        offsets
            .iter()
            .all(|offset| *offset >= SignedDuration::ZERO && *offset < jitter)
    );
    assert_eq!(jitter_offset("uid-1", jitter), jitter_offset("uid-1", jitter));
    assert_eq!(jitter_offset("uid-1", SignedDuration::ZERO), SignedDuration::ZERO);
}

const ZONES: [&str; 8] = [
    "Etc/UTC",
    "America/New_York",
    "Asia/Seoul",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "America/Nuuk",
    "Africa/Cairo",
    "Antarctica/Troll",
];

fn field(low: u8, high: u8) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (low..=high).prop_map(|value| value.to_string()),
        2 => Just("*".to_owned()),
        1 => (2..=30_u8).prop_map(|step| format!("*/{step}")),
        1 => (low..=high, low..=high).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (low..=high, low..=high).prop_map(|(a, b)| if a == b { a.to_string() } else { format!("{},{}", a.min(b), a.max(b)) }),
    ]
}

/// The schedule told by a person who watches the wall clock minute by minute: a fixed slot is served when the clock first
/// reads its time or later; a wildcard slot whenever the clock reads it.
fn watched(table: &Timetable, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let matches = |clock: DateTime| table.cron.is_time_matching(&clock).unwrap();
    let minute = SignedDuration::from_mins(1);
    let mut highest = table.zone.to_datetime(from);
    let mut slots = Vec::new();
    let mut instant = from;
    while instant < until {
        instant += minute;
        let clock = table.zone.to_datetime(instant);
        if table.fixed {
            let mut served = false;
            while highest < clock {
                highest = highest.checked_add(minute).unwrap();
                served |= matches(highest);
            }
            if served {
                slots.push(instant);
            }
        } else if matches(clock) {
            slots.push(instant);
        }
    }
    slots
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Three days round a clock change, both searches against the watcher.
    #[test]
    fn searches_agree_with_watching_the_clock(
        minute in field(0, 59), hour in field(0, 23), weekday in prop_oneof![4 => Just("*"), 1 => Just("SAT"), 1 => Just("1-5")],
        zone in prop::sample::select(&ZONES[..]), change in 0_usize..2,
    ) {
        let table = timetable(&format!("{minute} {hour} * * {weekday}"), zone);
        let transition = table.zone.following(at("2026-01-01T00:00Z")).nth(change).map_or(at("2026-05-05T00:00Z"), |found| found.timestamp());
        let (from, until) = (transition - SignedDuration::from_hours(36), transition + SignedDuration::from_hours(36));
        let expected = watched(&table, from, until);
        let forwards: Vec<_> = std::iter::successors(table.next_after(from), |slot| table.next_after(*slot)).take_while(|slot| *slot <= until).collect();
        prop_assert_eq!(&forwards, &expected);
        let second = SignedDuration::from_secs(1);
        let mut backwards: Vec<_> = std::iter::successors(table.latest_at(until), |slot| table.latest_at(*slot - second)).take_while(|slot| *slot > from).collect();
        backwards.reverse();
        prop_assert_eq!(&backwards, &expected);
    }

    /// A year of an operator that wakes at arbitrary instants and writes down each promise: every slot is either served
    /// once or counted as missed, in order, never twice, and never earlier than its start.
    #[test]
    fn a_year_of_irregular_waking_serves_or_counts_every_slot(
        minute in 0_u8..60, hour in field(0, 23), zone in prop::sample::select(&ZONES[..]),
        deadline in prop::option::of(60_i64..100_000), jitter in 0_i64..7200,
        sleeps in prop::collection::vec(prop_oneof![20..4000_i64, 3600..200_000_i64, 100_000..4_000_000_i64], 20..60),
    ) {
        let schedule = Schedule {
            timetable: timetable(&format!("{minute} {hour} * * *"), zone),
            starting_deadline: deadline.map(SignedDuration::from_secs),
            offset: jitter_offset("3f6c", SignedDuration::from_secs(jitter)),
        };
        let start = at("2026-01-01T00:00Z");
        let mut now = start;
        let mut promised = schedule.outlook(None, now).next;
        let first = promised.unwrap();
        let mut served: Vec<Timestamp> = Vec::new();
        let mut accounted = 0_u64;
        let mut saturated = false;
        for sleep in sleeps {
            now += SignedDuration::from_secs(sleep);
            let outlook = schedule.outlook(promised, now);
            saturated |= outlook.missed >= MISSED_COUNT_LIMIT;
            accounted += outlook.missed;
            if let Some(due) = &outlook.due {
                prop_assert!(served.last().is_none_or(|last| *last < due.slot));
                prop_assert!(schedule.start_of(due.slot) <= now);
                if let Some(deadline) = schedule.starting_deadline {
                    prop_assert!(now.duration_since(schedule.start_of(due.slot)) <= deadline + SignedDuration::from_secs(1));
                }
                served.push(due.slot);
                accounted += 1;
            }
            promised = outlook.next;
            // deciding again at the same instant, with the promise written, asks for nothing
            let again = schedule.outlook(promised, now);
            prop_assert_eq!((again.due, again.missed), (None, 0));
        }
        if !saturated {
            let reached = now - schedule.offset;
            let all = std::iter::successors(Some(first), |slot| schedule.timetable.next_after(*slot)).take_while(|slot| *slot <= reached).count();
            prop_assert_eq!(accounted, all as u64);
        }
    }
}
