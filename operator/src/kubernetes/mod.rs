//! Runs as Jobs: the home of workers in Kubernetes.
//!
//! ```text
//! [ExportRun] ──owns──▶ [Job <run>-<attempt>] ──owns──▶ [Pod]: lakegate worker --order … --secrets-dir …
//!                        │ order, as an annotation ─────▶  │ /etc/lakegate/order/order.json
//!              [Secret]s ┴ by name ─────────────────────▶  │ /etc/lakegate/secrets/<name>/<key>
//!                                                          ▼
//! JobLauncher ◀─ watch ─ Job, Pod ──▶ board ──▶ follow ◀─ log, termination message
//! ```
//!
//! One Job is one attempt, and it is never started again: what is tried again is the run, by the operator, which asks the
//! lake first. A Job goes on without its operator, and the next one adopts it. The operator holds no value of a secret
//! that a run needs, and the worker has no access to the API server.
//!
//! * [`job`]: the Job of an order. Pure.
//! * [`sight`]: what the API server says of a Job and its Pods, as the state of an attempt. Pure.
//! * `board`: what was last seen, from the watches; `log`: a Pod's log as messages; `follow`: both as the events of one
//!   worker; [`JobLauncher`]: the whole.

mod board;
mod follow;
pub mod job;
mod launcher;
mod log;
pub mod sight;

pub use job::{InvalidToleration, JobOptions, job_of};
pub use launcher::JobLauncher;

/// Label of a Job and its Pods: the ExportRun that it works for, shortened where it must be.
pub const RUN_LABEL: &str = "lakegate.dev/run";

/// Label of a Job and its Pods: the uid of the ExportRun.
pub const RUN_UID_LABEL: &str = "lakegate.dev/run-uid";

/// Label of a Job and its Pods: which attempt of the run, from 1.
pub const ATTEMPT_LABEL: &str = "lakegate.dev/attempt";

/// Annotation of a Job and its Pods: which attempt of all.
pub const ATTEMPT_ID_ANNOTATION: &str = "lakegate.dev/attempt-id";

/// Annotation of a Pod: its order, as JSON.
pub const ORDER_ANNOTATION: &str = "lakegate.dev/order";

/// Label that tells whose object it is.
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Label that tells workers from operator and gateway.
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// Finds our Jobs and their Pods.
const SELECTOR: &str = "app.kubernetes.io/managed-by=lakegate,app.kubernetes.io/component=worker";

/// Name of a Pod's one container.
const CONTAINER: &str = "worker";
