use proptest::prelude::*;

use super::*;
use crate::protocol::{Progress, Report};

const SESSION: &str = "this-process";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn limits() -> Limits {
    Limits {
        timeout: SignedDuration::from_secs(3600),
        retries: 2,
        backoff: SignedDuration::from_secs(30),
    }
}

fn failure(reason: Reason, terminal: bool) -> Failure {
    Failure {
        reason: reason.to_string(),
        message: "m".to_owned(),
        terminal,
    }
}

fn report() -> Report {
    Report {
        rows_read: Some(9),
        rows: 9,
        bytes: 99,
        files: 1,
        snapshot_id: 7,
        ..Report::default()
    }
}

/// One row of the table: what differs from an idle fresh run at second 100.
struct Case {
    record: Record,
    work: Work,
    commit: CommitLookup,
    fence: Fence,
    cancelled: Option<StopCause>,
    ahead: Option<&'static str>,
    capacity: bool,
    unable: Option<Failure>,
    now: i64,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            record: Record::default(),
            work: Work::Idle,
            commit: CommitLookup::NotAsked,
            fence: Fence::Clear,
            cancelled: None,
            ahead: None,
            capacity: true,
            unable: None,
            now: 100,
        }
    }
}

impl Case {
    fn step(&self) -> Step {
        next_step(&Facts {
            record: &self.record,
            work: &self.work,
            commit: &self.commit,
            fence: &self.fence,
            session: SESSION,
            cancelled: self.cancelled,
            ahead: self.ahead,
            capacity: self.capacity,
            unable: self.unable.as_ref(),
            limits: limits(),
            now: at(self.now),
        })
    }
}

fn running(attempt: u32, started: i64, heard: i64) -> Work {
    Work::Running {
        attempt,
        started: at(started),
        heard: at(heard),
        progress: Progress::default(),
        pending: None,
        stopping: false,
    }
}

fn pending(attempt: u32, started: i64) -> Work {
    Work::Running {
        attempt,
        started: at(started),
        heard: at(started),
        progress: Progress::default(),
        pending: Some("waits for a node".to_owned()),
        stopping: false,
    }
}

fn ended(attempt: u32, ending: Ending) -> Work {
    Work::Ended {
        attempt,
        started: at(0),
        at: at(90),
        ending,
    }
}

fn begun(attempts: u32) -> Record {
    Record {
        attempts,
        started: Some(at(0)),
        ..Record::default()
    }
}

/// The step in one word and the reason in it: what the table compares.
fn word(step: &Step) -> String {
    match step {
        Step::Start { attempt } => format!("start {attempt}"),
        Step::Stop(cause) => format!("stop {cause:?}"),
        Step::LookUpCommit => "look up".to_owned(),
        Step::Fence => "fence".to_owned(),
        Step::Watch { until, .. } => format!("watch until {}", until.as_second() - at(0).as_second()),
        Step::Wait {
            waiting,
            until,
            record,
        } => {
            let until = until.map_or_else(
                || "woken".to_owned(),
                |until| (until.as_second() - at(0).as_second()).to_string(),
            );
            let session = if record.session.is_some() { ", open" } else { "" };
            match waiting {
                Waiting::Ahead(run) => format!("wait for {run} until {until}"),
                Waiting::Retry(failure) => {
                    format!("retry after {} {} until {until}", record.attempts, failure.reason)
                }
                other => format!("wait {other:?} until {until}{session}"),
            }
        }
        Step::Done {
            outcome: Outcome::Complete(report),
            ..
        } => format!("complete {}", report.rows),
        Step::Done {
            outcome: Outcome::Failed(failure),
            ..
        } => format!("failed {}", failure.reason),
    }
}

#[test]
fn steps() {
    let oom = || Ending::Failed(failure(Reason::OutOfMemory, false));
    let refused = || Ending::Failed(failure(Reason::InvalidSpec, true));
    let exited = || Ending::Exited("signal: 9".to_owned());
    let left_behind = || Record {
        session: Some("another".to_owned()),
        ..begun(1)
    };
    let retrying = || Record {
        retry_at: Some(at(120)),
        last_failure: Some(failure(Reason::OutOfMemory, false)),
        ..begun(1)
    };
    let cases: Vec<(&str, Case, &str)> = vec![
        ("fresh", Case::default(), "start 1"),
        (
            "behind another",
            Case {
                ahead: Some("orders-1"),
                ..Case::default()
            },
            "wait for orders-1 until woken",
        ),
        (
            "no free worker",
            Case {
                capacity: false,
                ..Case::default()
            },
            "wait Capacity until woken",
        ),
        (
            "cannot ever",
            Case {
                unable: Some(failure(Reason::DependencyNotFound, true)),
                ..Case::default()
            },
            "failed DependencyNotFound",
        ),
        (
            "cancelled before it began",
            Case {
                cancelled: Some(StopCause::Replaced),
                ..Case::default()
            },
            "failed Replaced",
        ),
        (
            "at work",
            Case {
                work: running(1, 0, 95),
                ..Case::default()
            },
            "watch until 155",
        ),
        (
            "at work near its deadline",
            Case {
                work: running(1, 0, 3590),
                now: 3595,
                ..Case::default()
            },
            "watch until 3600",
        ),
        (
            "too long",
            Case {
                work: running(1, 0, 3599),
                now: 3600,
                ..Case::default()
            },
            "stop DeadlineExceeded",
        ),
        (
            "too long over two attempts",
            Case {
                record: begun(1),
                work: running(2, 3000, 3599),
                now: 3600,
                ..Case::default()
            },
            "stop DeadlineExceeded",
        ),
        (
            "silent",
            Case {
                work: running(1, 0, 40),
                ..Case::default()
            },
            "stop Silent",
        ),
        (
            "not at work yet: silence means nothing",
            Case {
                work: pending(1, 0),
                now: 1000,
                ..Case::default()
            },
            "watch until 3600",
        ),
        (
            "not at work yet, and too late",
            Case {
                work: pending(1, 0),
                now: 3600,
                ..Case::default()
            },
            "stop DeadlineExceeded",
        ),
        (
            "replaced",
            Case {
                work: running(1, 0, 95),
                cancelled: Some(StopCause::Replaced),
                ..Case::default()
            },
            "stop Replaced",
        ),
        (
            "told to end already",
            Case {
                work: Work::Running {
                    attempt: 1,
                    started: at(0),
                    heard: at(0),
                    progress: Progress::default(),
                    pending: None,
                    stopping: true,
                },
                cancelled: Some(StopCause::Replaced),
                ..Case::default()
            },
            "wait Stopping until woken, open",
        ),
        (
            "finished",
            Case {
                work: ended(1, Ending::Finished(report())),
                ..Case::default()
            },
            "complete 9",
        ),
        (
            "finished although cancelled",
            Case {
                work: ended(1, Ending::Finished(report())),
                cancelled: Some(StopCause::Replaced),
                ..Case::default()
            },
            "complete 9",
        ),
        (
            "failed: ask the lake first",
            Case {
                work: ended(1, oom()),
                ..Case::default()
            },
            "look up",
        ),
        (
            "killed: ask the lake first",
            Case {
                work: ended(1, exited()),
                ..Case::default()
            },
            "look up",
        ),
        (
            "replaced: ask the lake first",
            Case {
                work: ended(1, Ending::Stopped(StopCause::Replaced)),
                ..Case::default()
            },
            "look up",
        ),
        (
            "killed after its commit",
            Case {
                work: ended(1, exited()),
                commit: CommitLookup::Found(report()),
                ..Case::default()
            },
            "complete 9",
        ),
        (
            "replaced after its commit",
            Case {
                work: ended(1, Ending::Stopped(StopCause::Replaced)),
                commit: CommitLookup::Found(report()),
                ..Case::default()
            },
            "complete 9",
        ),
        (
            "failed once",
            Case {
                work: ended(1, oom()),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "retry after 1 OutOfMemory until 120",
        ),
        (
            "failed twice",
            Case {
                record: begun(1),
                work: ended(2, oom()),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "retry after 2 OutOfMemory until 150",
        ),
        (
            "failed thrice: the limit",
            Case {
                record: begun(2),
                work: ended(3, oom()),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "failed OutOfMemory",
        ),
        (
            "no use trying again",
            Case {
                work: ended(1, refused()),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "failed InvalidSpec",
        ),
        (
            "killed",
            Case {
                work: ended(1, exited()),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "retry after 1 WorkerLost until 120",
        ),
        (
            "killed, the last time",
            Case {
                record: begun(2),
                work: ended(3, exited()),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "failed WorkerLost",
        ),
        (
            "not even started",
            Case {
                work: ended(1, Ending::NotLaunched("no memory".into())),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "retry after 1 WorkerStartFailed until 120",
        ),
        (
            "silence ended",
            Case {
                work: ended(1, Ending::Stopped(StopCause::Silent)),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "retry after 1 WorkerLost until 120",
        ),
        (
            "replaced and ended",
            Case {
                work: ended(1, Ending::Stopped(StopCause::Replaced)),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "failed Replaced",
        ),
        (
            "failed and cancelled",
            Case {
                work: ended(1, oom()),
                commit: CommitLookup::Absent,
                cancelled: Some(StopCause::Replaced),
                ..Case::default()
            },
            "failed Replaced",
        ),
        (
            "deadline, ended",
            Case {
                work: ended(1, Ending::Stopped(StopCause::DeadlineExceeded)),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "failed DeadlineExceeded",
        ),
        (
            "shut down",
            Case {
                work: ended(1, Ending::Stopped(StopCause::Shutdown)),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "wait Interrupted until 100",
        ),
        (
            "the lake is away",
            Case {
                work: ended(1, oom()),
                commit: CommitLookup::Unknown("down".into()),
                ..Case::default()
            },
            "wait Lake(\"down\") until 115, open",
        ),
        (
            "the lake is away for too long",
            Case {
                work: ended(1, oom()),
                commit: CommitLookup::Unknown("down".into()),
                now: 3600,
                ..Case::default()
            },
            "failed OutOfMemory",
        ),
        (
            "left by another process: ask the lake first",
            Case {
                record: left_behind(),
                ..Case::default()
            },
            "look up",
        ),
        (
            "left by another process, committed",
            Case {
                record: left_behind(),
                commit: CommitLookup::Found(report()),
                ..Case::default()
            },
            "complete 9",
        ),
        (
            "left by another process",
            Case {
                record: left_behind(),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "retry after 1 WorkerLost until 100",
        ),
        (
            "left by another process, limit",
            Case {
                record: Record {
                    attempts: 3,
                    ..left_behind()
                },
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "failed WorkerLost",
        ),
        (
            "between attempts",
            Case {
                record: retrying(),
                ..Case::default()
            },
            "retry after 1 OutOfMemory until 120",
        ),
        (
            "time for the next attempt",
            Case {
                record: retrying(),
                now: 120,
                ..Case::default()
            },
            "start 2",
        ),
        (
            "cancelled between attempts: ask the lake once more",
            Case {
                record: retrying(),
                cancelled: Some(StopCause::Replaced),
                ..Case::default()
            },
            "look up",
        ),
        (
            "cancelled between attempts",
            Case {
                record: retrying(),
                cancelled: Some(StopCause::Replaced),
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "failed Replaced",
        ),
        (
            "cancelled between attempts, and a lost one had committed",
            Case {
                record: retrying(),
                cancelled: Some(StopCause::Replaced),
                commit: CommitLookup::Found(report()),
                ..Case::default()
            },
            "complete 9",
        ),
        (
            "deadline between attempts",
            Case {
                record: retrying(),
                now: 3600,
                commit: CommitLookup::Absent,
                ..Case::default()
            },
            "failed DeadlineExceeded",
        ),
        (
            "failed for good: see that nobody commits",
            Case {
                work: ended(1, refused()),
                commit: CommitLookup::Absent,
                fence: Fence::NotAsked,
                ..Case::default()
            },
            "fence",
        ),
        (
            "failed for good, nobody commits: ask the lake after that",
            Case {
                work: ended(1, refused()),
                fence: Fence::Clear,
                ..Case::default()
            },
            "look up",
        ),
        (
            "failed for good, and an attempt may commit",
            Case {
                work: ended(1, refused()),
                commit: CommitLookup::Absent,
                fence: Fence::Open("a Pod".into()),
                ..Case::default()
            },
            "wait Fence(\"a Pod\") until 115, open",
        ),
        (
            "cancelled between attempts, and an attempt may commit",
            Case {
                record: retrying(),
                cancelled: Some(StopCause::Replaced),
                fence: Fence::Open("a Pod".into()),
                ..Case::default()
            },
            "wait Fence(\"a Pod\") until 115",
        ),
        (
            "an attempt that may commit does not hinder another of the same run",
            Case {
                work: ended(1, exited()),
                commit: CommitLookup::Absent,
                fence: Fence::Open("a Pod".into()),
                ..Case::default()
            },
            "retry after 1 WorkerLost until 120",
        ),
        (
            "after its deadline no attempt begins a commit, after the margin none ends one",
            Case {
                work: ended(1, refused()),
                commit: CommitLookup::Absent,
                fence: Fence::Open("a Pod".into()),
                now: 3719,
                ..Case::default()
            },
            "wait Fence(\"a Pod\") until 3720, open",
        ),
        (
            "after the margin",
            Case {
                work: ended(1, refused()),
                commit: CommitLookup::Absent,
                fence: Fence::Open("a Pod".into()),
                now: 3720,
                ..Case::default()
            },
            "failed InvalidSpec",
        ),
    ];
    for (what, case, expected) in cases {
        assert_eq!(word(&case.step()), expected, "{what}");
    }
}

#[test]
fn an_interrupted_attempt_costs_nothing() {
    let case = Case {
        record: begun(1),
        work: ended(2, Ending::Stopped(StopCause::Shutdown)),
        commit: CommitLookup::Absent,
        ..Case::default()
    };
    let Step::Wait { record, .. } = case.step() else {
        panic!("{:?}", case.step())
    };
    assert_eq!(
        (record.attempts, record.started, record.session),
        (1, Some(at(0)), None)
    );
    let case = Case {
        work: ended(1, Ending::Stopped(StopCause::Shutdown)),
        commit: CommitLookup::Absent,
        ..Case::default()
    };
    let Step::Wait { record, .. } = case.step() else {
        panic!("{:?}", case.step())
    };
    assert_eq!(
        (record.attempts, record.started),
        (0, None),
        "it begins anew, with all its time"
    );
}

/// What may happen to a run at one moment of the simulation below.
#[derive(Debug, Clone)]
enum Happening {
    Passes(i64),
    Speaks,
    Finishes,
    CommitsAndDies,
    Dies,
    Fails(bool),
    OperatorDies,
    OperatorLeaves,
    Cancelled,
    LakeAway(bool),
    /// Its node is lost: it is taken for dead, and works on.
    Lost,
    LostOneCommits,
    LostOnesDie,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (1_i64..90).prop_map(Happening::Passes),
        1 => (500_i64..1500).prop_map(Happening::Passes),
        3 => Just(Happening::Speaks),
        1 => Just(Happening::Finishes),
        1 => Just(Happening::CommitsAndDies),
        2 => Just(Happening::Dies),
        2 => any::<bool>().prop_map(Happening::Fails),
        2 => Just(Happening::OperatorDies),
        1 => Just(Happening::OperatorLeaves),
        1 => Just(Happening::Cancelled),
        1 => any::<bool>().prop_map(Happening::LakeAway),
        2 => Just(Happening::Lost),
        1 => Just(Happening::LostOneCommits),
        1 => Just(Happening::LostOnesDie),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever happens, in whatever order: a run that committed ends Complete, one that did not ends Failed and will not
    /// commit any more, it commits at most once, begins no more attempts than it may, and it does end.
    #[test]
    fn a_run_always_ends_and_tells_the_truth(events in prop::collection::vec(happening(), 0..40)) {
        let mut now = 0_i64;
        let mut record = Record::default();
        let mut work = Work::Idle;
        let mut session = 0_u32;
        let mut cancelled = None;
        let mut committed = 0_u32;
        let mut lake_away = false;
        let mut starts = 0_u32;
        let mut interruptions = 0_u32;
        let mut outcome = None;
        let mut lost_ones = 0_u32;
        // A worker commits nothing after the deadline of the first attempt it knows of.
        let mut deadline = i64::MAX;
        // after the storm, time passes and the lake answers
        let calm = std::iter::repeat_n(Happening::LakeAway(false), 1).chain(std::iter::repeat_n(Happening::Passes(61), 200));
        'life: for event in events.into_iter().chain(calm) {
            let is_running = matches!(work, Work::Running { .. });
            let end = |work: &Work, ending: Ending, now: i64| match work {
                Work::Running { attempt, started, .. } => Work::Ended { attempt: *attempt, started: *started, at: at(now), ending },
                other => other.clone(),
            };
            match event {
                Happening::Passes(seconds) => now += seconds,
                Happening::Speaks => if let Work::Running { heard, .. } = &mut work { *heard = at(now) },
                // a worker that finds the run committed says so and does not commit again
                Happening::Finishes if is_running => { committed = committed.max(1); work = end(&work, Ending::Finished(report()), now) }
                Happening::CommitsAndDies if is_running => { committed = committed.max(1); work = end(&work, Ending::Exited("9".into()), now) }
                Happening::Dies if is_running => work = end(&work, Ending::Exited("9".into()), now),
                Happening::Fails(terminal) if is_running => work = end(&work, Ending::Failed(failure(Reason::OutOfMemory, terminal)), now),
                Happening::OperatorDies => { session += 1; work = Work::Idle; cancelled = None }
                Happening::OperatorLeaves if is_running => { interruptions += 1; work = end(&work, Ending::Stopped(StopCause::Shutdown), now) }
                Happening::Cancelled => cancelled = Some(StopCause::Replaced),
                Happening::LakeAway(away) => lake_away = away,
                Happening::Lost if is_running => { lost_ones += 1; work = end(&work, Ending::Exited("lost".into()), now) }
                Happening::LostOneCommits if lost_ones > 0 && now < deadline => committed = committed.max(1),
                Happening::LostOnesDie => lost_ones = 0,
                _ => {}
            }
            let mut commit = CommitLookup::NotAsked;
            let mut fence = Fence::NotAsked;
            for _ in 0..8 {
                let name = session.to_string();
                let step = next_step(&Facts { record: &record, work: &work, commit: &commit, fence: &fence, session: &name, cancelled, ahead: None, capacity: true, unable: None, limits: limits(), now: at(now) });
                match step {
                    Step::Start { attempt } => {
                        prop_assert_eq!(&work, &Work::Idle);
                        prop_assert_eq!(attempt, record.attempts + 1);
                        starts += 1;
                        if record.started.is_none() { deadline = now + 3600 }
                        work = running(attempt, now, now);
                    }
                    Step::Stop(cause) => work = end(&work, Ending::Stopped(cause), now),
                    Step::LookUpCommit => commit = match (lake_away, committed) {
                        (true, _) => CommitLookup::Unknown("away".into()),
                        (false, 0) => CommitLookup::Absent,
                        (false, _) => CommitLookup::Found(report()),
                    },
                    Step::Fence => {
                        fence = if lost_ones > 0 { Fence::Open("a Pod".into()) } else { Fence::Clear };
                        commit = CommitLookup::NotAsked;
                    }
                    Step::Watch { record: new, .. } => { record = new; break }
                    Step::Wait { record: new, waiting, .. } => {
                        if matches!(work, Work::Ended { .. }) && !matches!(waiting, Waiting::Lake(_) | Waiting::Fence(_)) { work = Work::Idle }
                        record = new;
                        break;
                    }
                    Step::Done { outcome: reached, .. } => { outcome = Some(reached); break 'life }
                }
            }
        }
        let outcome = outcome.expect("a run always ends");
        // An hour without an answer of the lake is the one way to miss a commit.
        if !matches!(&outcome, Outcome::Failed(_) if now >= 3600) {
            prop_assert_eq!(matches!(outcome, Outcome::Complete(_)), committed > 0, "{:?}", outcome);
        }
        if matches!(outcome, Outcome::Failed(_)) {
            prop_assert!(lost_ones == 0 || now >= deadline + 120, "an attempt may still commit");
        }
        prop_assert!(starts <= limits().retries + 1 + interruptions + session, "{starts} attempts");
    }
}
