//! What the operator tells the metrics recorder.

use jiff::Timestamp;
use lakegate_crds::{ExportRunStatus, ExportStatus, RunState, conditions::Reason};
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

/// Shows an Export as its status has it: right after a restart, too.
pub(crate) fn export(key: &Key, status: &ExportStatus) {
    let seconds = |time: &Option<lakegate_crds::Time>| time.as_ref().map(|time| seconds_of(time.0));
    if let Some(seconds) = seconds(&status.last_successful_time) {
        metrics::gauge!("lakegate_export_last_success_timestamp_seconds", "export" => key.to_string())
            .set(seconds);
    }
    metrics::gauge!("lakegate_export_consecutive_failures", "export" => key.to_string())
        .set(status.consecutive_failures.unwrap_or(0) as f64);
    metrics::gauge!("lakegate_export_active", "export" => key.to_string())
        .set(if status.active_run.is_some() { 1.0 } else { 0.0 });
}

fn seconds_of(time: Timestamp) -> f64 {
    time.as_second() as f64
}
