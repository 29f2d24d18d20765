//! Keeps what the manifests say true: schedules, runs, workers and status.
#![forbid(unsafe_code)]

pub mod attempt;
pub mod clock;
pub mod decide;
pub mod launcher;
pub mod names;
pub mod plan;
pub mod protocol;
pub mod queue;
pub mod schedule;
