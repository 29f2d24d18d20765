//! What the operator tells the metrics recorder: what happens. How things are is in [`crate::gauges`].

use lakegate_crds::{ExportRunStatus, RunState, conditions::Reason};
use lakegate_store::Key;

/// Counts an ended run. The labels are bounded: Exports, and the words of [`Reason`].
pub(crate) fn run(export: Option<&Key>, status: &ExportRunStatus) {
    let export = export.map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let outcome = match status.state() {
        RunState::Complete => "Complete",
        _ => "Failed",
    };
    metrics::counter!("lakegate_export_runs_total", "export" => export.clone(), "outcome" => outcome)
        .increment(1);
    if let Some(failure) = status
        .failure
        .as_ref()
        .filter(|_| status.state() == RunState::Failed)
    {
        let reason = failure.reason.parse().unwrap_or(Reason::RunFailed);
        metrics::counter!("lakegate_export_run_failures_total", "export" => export.clone(), "reason" => reason.as_str())
            .increment(1);
    }
    if let (Some(started), Some(finished)) = (&status.start_time, &status.finish_time) {
        let seconds = finished.0.duration_since(started.0).as_secs_f64();
        metrics::histogram!("lakegate_export_run_duration_seconds", "export" => export).record(seconds);
    }
}

/// Tells whether this replica decides, in the gauge `lakegate_operator_leader`. Every replica tells it, from its start.
pub fn set_leader(is_leader: bool) {
    metrics::gauge!("lakegate_operator_leader").set(if is_leader { 1.0 } else { 0.0 });
}
