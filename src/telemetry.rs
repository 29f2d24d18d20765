//! Logs and metrics of this process.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, LogOptions};

/// What is logged when nobody asks for more: our own progress, others' troubles. The client of Kubernetes logs each
/// request that failed, and gives us the error as well.
const DEFAULT_FILTER: &str = "warn,kube_client=off,lakegate=info,lakegate_crds=info,lakegate_store=info,lakegate_connectors=info,\
                              lakegate_lake=info,lakegate_federation=info,lakegate_operator=info,lakegate_gateway=info";

/// Start logging to standard error. An unreadable filter is told and replaced by the default.
///
/// The lines of a worker that is a child process carry no time of their own: the process that started it logs them again,
/// with its time.
pub fn start_logs(options: &LogOptions, is_child: bool) {
    let filter = match options.log.as_deref().map(EnvFilter::try_new) {
        None => EnvFilter::new(DEFAULT_FILTER),
        Some(Ok(filter)) => filter,
        Some(Err(error)) => {
            eprintln!("lakegate: --log is not a filter ({error}); using the default");
            EnvFilter::new(DEFAULT_FILTER)
        }
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Human if is_child => builder.with_ansi(false).with_target(false).without_time().init(),
        LogFormat::Human => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// Collect metrics from here on; the handle renders them for `/metrics`.
///
/// # Errors
/// If this process collects metrics already.
pub fn start_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new().install_recorder()
}
