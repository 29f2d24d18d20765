//! Traces of runs, in the terms of OpenTelemetry.
//!
//! ```text
//! run                 the operator's: from the run's creation to its end
//! └─ attempt          the operator's: from the order to start a worker until it is gone
//!    └─ work          the worker's, and what it does beneath
//! ```
//!
//! A trace is found by its run: its id is the run's uid, and the ids of runs and attempts follow from it. So workers
//! need not be told where they belong, an operator that takes over goes on with the trace of the one before, and nothing
//! about traces is written into a status.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use lakegate_crds::{ExportRun, ExportRunStatus, RunState};
use lakegate_store::{Entry, Key};
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId, global,
    trace::{Span as _, SpanBuilder, SpanContext, Status, TraceContextExt as _, TraceState, Tracer as _},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use sha2::{Digest as _, Sha256};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    attempt::{Ending, Work},
    decide::count,
    protocol::RunIdentity,
    workers::WorkerView,
};

/// Name of the instrumentation scope.
const SCOPE: &str = "lakegate";

thread_local! {
    /// Ids of the span that this thread is about to begin.
    static PLANNED: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Gives spans of runs and attempts the ids that follow from the run, all others random ones.
#[derive(Debug, Default)]
pub struct SpanIds(RandomIdGenerator);

impl IdGenerator for SpanIds {
    fn new_trace_id(&self) -> TraceId {
        PLANNED
            .get()
            .map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        PLANNED
            .get()
            .map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// The trace of a run: its uid where that is a UUID, as it is in a cluster, else a digest of it.
pub fn trace_id(run_uid: &str) -> TraceId {
    let bytes = uuid::Uuid::parse_str(run_uid).map_or_else(|_| digest(run_uid), uuid::Uuid::into_bytes);
    TraceId::from_bytes(bytes)
}

fn run_span_id(run_uid: &str) -> SpanId {
    span_id(run_uid)
}

fn attempt_span_id(run_uid: &str, attempt: u32) -> SpanId {
    span_id(&format!("{run_uid}/{attempt}"))
}

fn span_id(of: &str) -> SpanId {
    let [a, b, c, d, e, f, g, h, ..] = digest(of);
    SpanId::from_bytes([a, b, c, d, e, f, g, h])
}

fn digest(text: &str) -> [u8; 16] {
    let mut first = [0; 16];
    first.copy_from_slice(&Sha256::digest(text)[..16]);
    first
}

/// A span of another process, as the parent of spans of this one.
fn parent(trace: TraceId, span: SpanId) -> Context {
    let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default());
    Context::new().with_remote_span_context(context)
}

/// Makes a span of a worker part of its attempt.
pub(crate) fn join_attempt(span: &tracing::Span, run: &RunIdentity) {
    let attempt = attempt_span_id(&run.uid, run.attempt);
    // Without traces there is nothing to join.
    let _ = span.set_parent(parent(trace_id(&run.uid), attempt));
}

/// Records an attempt that is over.
pub(crate) fn attempt(run: &Entry<ExportRun>, worker: &WorkerView) {
    let Work::Ended {
        attempt,
        started,
        at,
        ending,
    } = &worker.work
    else {
        return;
    };
    let mut attributes = vec![
        KeyValue::new("lakegate.run", run.key.to_string()),
        KeyValue::new("lakegate.attempt", i64::from(*attempt)),
    ];
    attributes.extend(
        worker
            .worker_id
            .clone()
            .map(|id| KeyValue::new("lakegate.worker", id)),
    );
    let error = match ending {
        Ending::Finished(report) => {
            attributes.push(KeyValue::new("lakegate.rows", count(report.rows)));
            attributes.push(KeyValue::new("lakegate.bytes", count(report.bytes)));
            None
        }
        Ending::Failed(failure) => {
            attributes.push(KeyValue::new("error.type", failure.reason.clone()));
            Some(failure.message.clone())
        }
        Ending::Exited(how) | Ending::NotLaunched(how) => Some(how.clone()),
        Ending::Stopped(cause) => Some(format!("stopped: {cause:?}")),
    };
    let trace = trace_id(&run.uid);
    record(
        SpanBuilder::from_name("attempt").with_attributes(attributes),
        (trace, attempt_span_id(&run.uid, *attempt)),
        &parent(trace, run_span_id(&run.uid)),
        (*started, *at),
        error,
    );
}

/// Records a run that has ended.
pub(crate) fn run(run: &Entry<ExportRun>, export: Option<&Key>, status: &ExportRunStatus, now: Timestamp) {
    let created = run
        .object
        .as_deref()
        .and_then(|object| object.metadata.creation_timestamp.as_ref());
    let begun = created.or(status.start_time.as_ref()).map_or(now, |time| time.0);
    let ended = status.finish_time.as_ref().map_or(now, |time| time.0);
    let mut attributes = vec![
        KeyValue::new("lakegate.run", run.key.to_string()),
        KeyValue::new("lakegate.attempts", status.attempts.unwrap_or(0)),
    ];
    attributes.extend(export.map(|export| KeyValue::new("lakegate.export", export.to_string())));
    let cause = run.object.as_deref().and_then(|run| run.spec.cause);
    attributes.extend(cause.map(|cause| KeyValue::new("lakegate.cause", cause.to_string())));
    attributes.extend(
        status
            .rows_written
            .map(|rows| KeyValue::new("lakegate.rows", rows)),
    );
    attributes.extend(
        status
            .snapshot_id
            .clone()
            .map(|id| KeyValue::new("lakegate.snapshot", id)),
    );
    // A run that succeeded may tell of an attempt that did not.
    let failure = status
        .failure
        .as_ref()
        .filter(|_| status.state() == RunState::Failed);
    attributes.extend(failure.map(|failure| KeyValue::new("error.type", failure.reason.clone())));
    record(
        SpanBuilder::from_name("run").with_attributes(attributes),
        (trace_id(&run.uid), run_span_id(&run.uid)),
        &Context::new(),
        (begun, ended),
        failure.map(|failure| failure.message.clone()),
    );
}

fn record(
    span: SpanBuilder,
    ids: (TraceId, SpanId),
    parent: &Context,
    (begun, ended): (Timestamp, Timestamp),
    error: Option<String>,
) {
    let tracer = global::tracer(SCOPE);
    PLANNED.set(Some(ids));
    let mut span = tracer.build_with_context(span.with_start_time(system(begun)), parent);
    PLANNED.set(None);
    span.set_status(error.map_or(Status::Ok, Status::error));
    // A clock that was set back must not make a span end before it began.
    span.end_with_timestamp(system(ended.max(begun)));
}

fn system(time: Timestamp) -> SystemTime {
    let since = Duration::try_from(time.as_duration()).unwrap_or_default();
    UNIX_EPOCH + since
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_found_by_the_uid_of_its_run() {
        let uid = "0198f3a2-7c1e-7d11-9c55-2f6d3a1b0c9d";
        assert_eq!(trace_id(uid).to_string(), uid.replace('-', ""));
        assert_ne!(trace_id("no uuid"), trace_id("another"));
        assert_ne!(trace_id("no uuid"), TraceId::INVALID);
        let ids = [run_span_id(uid), attempt_span_id(uid, 1), attempt_span_id(uid, 2)];
        assert!(
            ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2],
            "{ids:?}"
        );
    }
}
