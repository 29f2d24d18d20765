//! Logs, metrics and traces of this process.

mod traces;

use std::{error::Error, io::IsTerminal as _};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry, filter::FilterExt as _, filter::filter_fn, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub use self::traces::{FOR_WORKERS as TRACE_VARIABLES_FOR_WORKERS, Traces};

use crate::cli::{LogFormat, LogOptions};

/// What is logged when nobody asks for more: our own progress, others' troubles. The client of Kubernetes logs each
/// request that failed, and gives us the error as well.
const DEFAULT_FILTER: &str = "warn,kube_client=off,lakegate=info,lakegate_crds=info,lakegate_store=info,lakegate_connectors=info,\
                              lakegate_lake=info,lakegate_federation=info,lakegate_operator=info,lakegate_gateway=info";

/// Spans that are traced when nobody asks for more (`LAKEGATE_TRACES=debug`: each look of the operator at an object).
const DEFAULT_TRACES: &str = "off,lakegate=info,lakegate_operator=info";

/// Start logging to standard error, and tracing to where the environment says. An unreadable filter is told and replaced
/// by the default; traces that cannot be served are told and left out.
///
/// The lines of a worker that is a child process carry no time of their own: the process that started it logs them again,
/// with its time. `service` names this process in traces; without, it sends none.
pub fn start(options: &LogOptions, is_child: bool, service: Option<&str>) -> Option<Traces> {
    let log_filter = filter("--log", options.log.as_deref(), DEFAULT_FILTER);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match options.log_format {
        LogFormat::Human if is_child => lines.with_ansi(false).with_target(false).without_time().boxed(),
        LogFormat::Human => lines
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let traces = service.map(Traces::from_environment).transpose();
    let (traces, refusal) = match traces {
        Ok(traces) => (traces.flatten(), None),
        Err(error) => (None, Some(chain(&error))),
    };
    let spans = traces.as_ref().map(|traces| {
        let wanted = std::env::var("LAKEGATE_TRACES").ok();
        // Log lines stay out of traces: they are for those who may read logs.
        let filter = filter("LAKEGATE_TRACES", wanted.as_deref(), DEFAULT_TRACES)
            .and(filter_fn(|seen| seen.is_span()));
        tracing_opentelemetry::layer()
            .with_tracer(traces.tracer())
            .with_location(false)
            .with_threads(false)
            .with_filter(filter)
    });
    Registry::default()
        // A line says by itself what it is about.
        .with(lines.with_filter(log_filter.and(filter_fn(|seen| seen.is_event()))))
        .with(spans)
        .init();
    if let Some(error) = refusal {
        tracing::warn!(error, "no traces are sent");
    }
    traces
}

fn filter(option: &str, wanted: Option<&str>, default: &str) -> EnvFilter {
    match wanted.map(EnvFilter::try_new) {
        None => EnvFilter::new(default),
        Some(Ok(filter)) => filter,
        Some(Err(error)) => {
            eprintln!("lakegate: {option} is not a filter ({error}); using the default");
            EnvFilter::new(default)
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn Error) -> String {
    crate::commands::with_causes(error)
}

/// Collect metrics from here on; the handle renders them for `/metrics`.
///
/// # Errors
/// If this process collects metrics already.
pub fn start_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new().install_recorder()
}
