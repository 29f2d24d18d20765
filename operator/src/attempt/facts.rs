//! What a step looks at, and what it says.

use jiff::{SignedDuration, Timestamp};

use crate::protocol::{Failure, Progress, Report};

/// What the run's status remembers between two looks, over restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Attempts begun.
    pub attempts: u32,

    /// When the first one began.
    pub started: Option<Timestamp>,

    /// The operator process under which an attempt is running.
    pub session: Option<String>,

    /// Why the last attempt published nothing.
    pub last_failure: Option<Failure>,

    /// When the next attempt is due.
    pub retry_at: Option<Timestamp>,
}

/// What this process knows of a worker of the run.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// There is none.
    Idle,

    /// It is running.
    Running {
        /// Which attempt.
        attempt: u32,

        /// When it was started.
        started: Timestamp,

        /// When it was last heard of.
        heard: Timestamp,

        /// What it said last.
        progress: Progress,

        /// What it waits for before it is at work, for people. Until then silence means nothing.
        pending: Option<String>,

        /// It was told to end.
        stopping: bool,
    },

    /// It is gone.
    Ended {
        /// Which attempt.
        attempt: u32,

        /// When it was started.
        started: Timestamp,

        /// When it was found gone.
        at: Timestamp,

        /// How.
        ending: Ending,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// By its own word, with the table published.
    Finished(Report),

    /// By its own word, with nothing published.
    Failed(Failure),

    /// Without a word.
    Exited(String),

    /// Before it existed.
    NotLaunched(String),

    /// Because it was told to.
    Stopped(StopCause),
}

/// Why a worker is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// A newer run takes its place.
    Replaced,

    /// The run took longer than its timeout.
    DeadlineExceeded,

    /// It was silent for [`super::SILENCE_LIMIT`].
    Silent,

    /// The operator is shutting down.
    Shutdown,

    /// The run's object was removed.
    RunRemoved,
}

/// Whether an attempt of the run may still commit although no worker of it is listened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// Nobody has looked.
    NotAsked,

    /// None can.
    Clear,

    /// One may; which, for people.
    Open(String),
}

/// What the lake says about a commit of this run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitLookup {
    /// It was not asked.
    NotAsked,

    /// There is none.
    Absent,

    /// The run has committed.
    Found(Report),

    /// The lake did not answer; why.
    Unknown(String),
}

/// The Export's rules for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the first attempt's start to the end of the run.
    pub timeout: SignedDuration,

    /// Attempts after the first one.
    pub retries: u32,

    /// Wait before the second attempt; doubles.
    pub backoff: SignedDuration,
}

/// Everything a step may look at.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// What the status says.
    pub record: &'a Record,

    /// The worker, if any.
    pub work: &'a Work,

    /// The lake's answer, when it was asked since the worker ended.
    pub commit: &'a CommitLookup,

    /// Whether an earlier attempt may still commit, when that was looked at.
    pub fence: &'a Fence,

    /// This operator process.
    pub session: &'a str,

    /// The run is to make room for another.
    pub cancelled: bool,

    /// An older unfinished run of the same Export.
    pub ahead: Option<&'a str>,

    /// Another worker may be started.
    pub capacity: bool,

    /// Why no attempt can begin, whatever is waited for.
    pub unable: Option<&'a Failure>,

    /// The Export's rules.
    pub limits: Limits,

    /// The clock.
    pub now: Timestamp,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Begin this attempt.
    Start {
        /// Its number, from 1.
        attempt: u32,
    },

    /// Tell the worker to end.
    Stop(StopCause),

    /// Ask the lake whether the run has committed, and step again.
    LookUpCommit,

    /// See to it that no attempt of the run can commit any more, forget what the lake has answered, and step again.
    Fence,

    /// Let the worker work.
    Watch {
        /// For the status.
        record: Record,

        /// For the status.
        progress: Progress,

        /// When to look again at the latest.
        until: Timestamp,
    },

    /// Nothing to do before `until`, or before something changes.
    Wait {
        /// For the status.
        record: Record,

        /// For what.
        waiting: Waiting,

        /// When to look again at the latest.
        until: Option<Timestamp>,
    },

    /// The run has ended.
    Done {
        /// For the status.
        record: Record,

        /// How.
        outcome: Outcome,
    },
}

/// What a run without a worker waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// An older run of the same Export, by name.
    Ahead(String),

    /// A free worker.
    Capacity,

    /// The time of its next attempt.
    Retry(Failure),

    /// The operator, which is going down, to come back.
    Interrupted,

    /// The lake, to say whether the run has committed.
    Lake(String),

    /// An attempt that may still commit, to be gone.
    Fence(String),

    /// The worker, to end.
    Stopping,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The table is published.
    Complete(Report),

    /// Nothing was published.
    Failed(Failure),
}
