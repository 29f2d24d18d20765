//! Keeps what the manifests say true: schedules, runs, workers and status.
//!
//! ```text
//! [Export] ──▶ [ExportRun] ──▶ attempt ──▶ worker ──▶ commit in the [DataSource] of kind lake
//!    │              ▲
//!    └─ slot, token, annotation, request, first sight: each is a trigger, and each trigger is one run
//! ```
//!
//! The crate has a pure core and a shell. The core takes the clock as an argument and does no I/O:
//!
//! * [`schedule`]: when a slot is due; [`plan`]: which run an Export wants next; [`attempt`]: the next step of a run;
//! * [`decide`]: all of it as status, effects, notices and the next look.
//!
//! The shell is [`operator`] (the loop), over [`cache`] (what was last seen), [`queue`] (what to look at), [`workers`]
//! and [`launcher`] (who runs what: a child process, or a Job of [`kubernetes`]); [`gauges`] shows the cache to who
//! watches. What it asks of stores and lakes is one seam, [`surroundings`]. The worker's side is [`worker`], and
//! [`protocol`] is what the two say to each other.
#![forbid(unsafe_code)]

pub mod attempt;
pub mod cache;
pub mod clock;
pub mod decide;
pub mod gauges;
pub mod kubernetes;
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
pub mod trace;
pub mod worker;
pub mod workers;

pub use launcher::{ProcessLauncher, WorkerLauncher};
pub use measure::set_leader;
pub use operator::{Operator, OperatorHandle, OperatorOptions, RunRefusal};
