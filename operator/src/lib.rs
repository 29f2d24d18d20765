//! Keeps what the manifests say true: schedules, runs, workers and status.
#![forbid(unsafe_code)]

pub mod attempt;
pub mod cache;
pub mod clock;
pub mod decide;
pub mod launcher;
mod measure;
pub mod names;
pub mod operator;
pub mod orders;
pub mod plan;
pub mod problems;
pub mod protocol;
pub mod queue;
pub mod schedule;
pub mod surroundings;
pub mod worker;
pub mod workers;

pub use launcher::{ProcessLauncher, WorkerLauncher};
pub use operator::{Operator, OperatorHandle, OperatorOptions, RunRefusal};
