//! Traces, sent by the OpenTelemetry protocol to where the usual variables say.

use std::{
    env::{self, VarError},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lakegate_operator::trace::SpanIds;
use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::runtime::Runtime;

/// Base address of the collector; spans go to its `/v1/traces`.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Full address for spans alone; comes first.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// `grpc`, `http/protobuf` or `http/json`; the second is spoken here.
const PROTOCOLS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
];

/// What a worker's Pod takes over from its operator. Not the headers: they hold tokens, and a Pod's variables are read
/// by many.
pub const FOR_WORKERS: [&str; 5] = [
    ENDPOINT,
    TRACES_ENDPOINT,
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_RESOURCE_ATTRIBUTES",
    "LAKEGATE_TRACES",
];

/// Longest wait at the end of a process for its last spans to be taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why there are no traces although they were asked for.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The address holds what must not be shown.
    #[error(
        "{variable} holds a user or password; put it into OTEL_EXPORTER_OTLP_HEADERS: addresses are shown"
    )]
    Credentials {
        /// Of the environment.
        variable: &'static str,
    },

    /// A protocol that is not spoken.
    #[error("{variable}={protocol} is not served: use http/protobuf, and the collector's port for it (4318)")]
    Protocol {
        /// Of the environment.
        variable: &'static str,

        /// As asked for.
        protocol: String,
    },

    /// Not UTF-8.
    #[error("{variable} is not text")]
    NotText {
        /// Of the environment.
        variable: &'static str,
    },

    /// The collector's address cannot be used.
    #[error("{ENDPOINT} cannot be used")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),

    /// No client.
    #[error("no HTTP client for traces can be made")]
    Client(#[source] reqwest::Error),

    /// No runtime for it.
    #[error("no runtime for traces can be started")]
    Runtime(#[source] std::io::Error),
}

/// Traces of this process. Dropped at its end, it sends what is left.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// What to send by, when the environment names a collector.
    ///
    /// # Errors
    /// [`TraceError`], when it does in a way that cannot be served.
    pub fn from_environment(service: &str) -> Result<Option<Self>, TraceError> {
        let named = [TRACES_ENDPOINT, ENDPOINT].map(|variable| Ok((variable, read(variable)?)));
        let mut is_wanted = false;
        for named in named {
            let (variable, value) = named?;
            let Some(address) = value else { continue };
            let authority = address
                .split_once("://")
                .map_or(address.as_str(), |(_, rest)| rest);
            if authority.split('/').next().is_some_and(|host| host.contains('@')) {
                return Err(TraceError::Credentials { variable });
            }
            is_wanted = true;
        }
        if !is_wanted {
            return Ok(None);
        }
        for variable in PROTOCOLS {
            if let Some(protocol) = read(variable)?.filter(|protocol| protocol != "http/protobuf") {
                return Err(TraceError::Protocol { variable, protocol });
            }
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new()?)
            .build()
            .map_err(TraceError::Exporter)?;
        let mut resource = Resource::builder();
        if read("OTEL_SERVICE_NAME")?.is_none() {
            resource = resource.with_service_name(service.to_owned());
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_id_generator(SpanIds::default())
            .with_resource(resource.build())
            .build();
        global::set_tracer_provider(provider.clone());
        Ok(Some(Self { provider }))
    }

    /// For spans of the `tracing` crate.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("lakegate")
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(PATIENCE) {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

fn read(variable: &'static str) -> Result<Option<String>, TraceError> {
    match env::var(variable) {
        // An empty variable is one that is not set, by the specification.
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(TraceError::NotText { variable }),
    }
}

/// Sends from the exporter's own thread, which has no runtime: this one is used by it alone.
struct Client {
    client: reqwest::Client,
    runtime: Mutex<Runtime>,
    is_failing: AtomicBool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    fn new() -> Result<Self, TraceError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(TraceError::Runtime)?;
        let client = reqwest::Client::builder()
            // The exporter's own default; a collector that hangs holds back nothing but traces.
            .timeout(Duration::from_secs(10))
            // Headers hold tokens: they go to the address that was given and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(TraceError::Client)?;
        Ok(Self {
            client,
            runtime: Mutex::new(runtime),
            is_failing: AtomicBool::new(false),
        })
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        runtime.block_on(async {
            let answer = self.client.execute(request).await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(answer.headers());
            }
            Ok(response.body(answer.bytes().await?)?)
        })
    }

    /// Tells once that it fails and once that it goes on.
    fn note(&self, outcome: &Result<Response<Bytes>, HttpError>) {
        let failure = match outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(super::chain(error.as_ref())),
        };
        let was_failing = self.is_failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !was_failing => {
                tracing::warn!(
                    error,
                    "traces are not taken by the collector; they are lost until it does"
                );
            }
            None if was_failing => tracing::info!("the collector takes traces again"),
            _ => {}
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let outcome = self.send(request);
        self.note(&outcome);
        outcome
    }
}
