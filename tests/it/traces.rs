//! Traces of runs, as a collector gets them.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, status::StatusCode},
};
use prost::Message as _;

use crate::support::{Serve, Site, eventually};

/// Takes traces as collectors do, on a port of its own, until dropped.
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<(String, Span)>>>,
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let spans = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&spans);
        let take = move |body: axum::body::Bytes| {
            let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
            let mut taken = taken.lock().expect("the spans");
            for of_resource in request.resource_spans {
                let resource = of_resource.resource.expect("a resource");
                let service = resource
                    .attributes
                    .iter()
                    .find(|attribute| attribute.key == "service.name")
                    .and_then(|attribute| text(attribute.value.clone()?.value?));
                let of_scopes = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                taken.extend(of_scopes.map(|span| (service.clone().expect("a service"), span)));
            }
            std::future::ready(())
        };
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let app = axum::Router::new().route("/v1/traces", axum::routing::post(take));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self {
            endpoint,
            spans,
            _runtime: runtime,
        }
    }

    fn spans(&self) -> Vec<(String, Span)> {
        self.spans.lock().expect("the spans").clone()
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn number(span: &Span, key: &str) -> Option<i64> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match value.value.as_ref()?.value {
        Some(Value::IntValue(number)) => Some(number),
        _ => None,
    }
}

/// The uid of the only run, as the digits of a trace id.
fn run_uid(site: &Site) -> String {
    let listed = site.cli(&["get", "exportruns", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let runs = listed["items"].as_array().expect("runs");
    assert_eq!(runs.len(), 1, "{listed}");
    runs[0]["metadata"]["uid"]
        .as_str()
        .expect("a uid")
        .replace('-', "")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const SECRET: &str = "canary-8c41";

fn site(table: &str) -> Site {
    let site = Site::empty();
    std::fs::write(
        site.manifests().join("orders.csv"),
        "id,email\n1,a@example.com\n2,b@example.com\n",
    )
    .expect("a file");
    site.write(
        "site.yaml",
        &format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: unused}}
stringData: {{password: {SECRET}}}
---
apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {{name: files}}
spec: {{objectStore: {{directory: {{path: .}}, tables: [{{name: orders, path: \"*.csv\"}}]}}}}
---
apiVersion: lakegate.dev/v1alpha1
kind: DataSource
metadata: {{name: lake}}
spec: {{lake: {{directory: {{}}}}}}
---
apiVersion: lakegate.dev/v1alpha1
kind: Export
metadata: {{name: orders}}
spec:
  from: {{sourceRef: {{name: files}}, table: {{schema: default, name: {table}}}}}
  allColumns: {{}}
  schedule: {{cron: \"0 3 * * *\", timeZone: UTC, runOnCreate: true}}
  retry: {{limit: 0}}
  destination: {{lakeRef: {{name: lake}}, schema: shop, table: orders}}
"
        ),
    );
    site
}

#[test]
fn a_run_is_one_trace_over_operator_and_worker() {
    let collector = Collector::start();
    let site = site("orders");
    let serve = Serve::start_with(
        &site,
        &[],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)],
    );
    serve.sql_becomes("lakegate", "select last_run from lakegate.exports", "Succeeded");
    // The last spans are sent before it ends.
    serve.stop();

    let spans = collector.spans();
    let named = |name: &str| {
        let found: Vec<_> = spans.iter().filter(|(_, span)| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name} in {spans:#?}");
        found[0]
    };
    let (service, run) = named("run");
    assert_eq!(service, "lakegate");
    assert_eq!(hex(&run.trace_id), run_uid(&site));
    assert!(run.parent_span_id.is_empty(), "{run:?}");
    assert_eq!(number(run, "lakegate.rows"), Some(2));
    for (child, parent, service) in [
        ("attempt", "run", "lakegate"),
        ("work", "attempt", "lakegate-worker"),
        ("open lake", "work", "lakegate-worker"),
        ("connect", "work", "lakegate-worker"),
        ("plan", "work", "lakegate-worker"),
        ("copy", "work", "lakegate-worker"),
        ("commit", "work", "lakegate-worker"),
    ] {
        let (of, span) = named(child);
        assert_eq!(of, service, "{child}");
        assert_eq!(
            span.parent_span_id,
            named(parent).1.span_id,
            "{child} is of {parent}"
        );
        assert_eq!(span.trace_id, run.trace_id, "{child}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        assert!(span.events.is_empty(), "log lines stay in the log: {span:?}");
    }
    assert_eq!(number(&named("copy").1, "lakegate.rows"), Some(2));
    let all = format!("{spans:?}");
    assert!(!all.contains(SECRET) && !all.contains("example.com"), "{all}");
}

#[test]
fn a_run_that_failed_says_why_in_its_trace() {
    let collector = Collector::start();
    let site = site("nothing");
    let mut serve = Serve::start_with(
        &site,
        &[],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)],
    );
    serve.expect_log("a run failed");
    serve.expect_log("nothing");
    serve.sql_becomes(
        "lakegate",
        "select last_run from lakegate.exports",
        "TableNotFound",
    );
    serve.stop();
    let spans = collector.spans();
    for name in ["run", "attempt"] {
        let (_, span) = spans.iter().find(|(_, span)| span.name == name).expect(name);
        let status = span.status.clone().expect("a status");
        assert_eq!(status.code, StatusCode::Error as i32, "{span:?}");
        assert!(status.message.contains("nothing"), "{span:?}");
    }
}

#[test]
fn a_collector_that_is_not_there_costs_traces_only() {
    let site = site("orders");
    // Taken and let go: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let endpoint = format!("http://{port}");
    let mut serve = Serve::start_with(&site, &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    serve.expect_log("traces are not taken by the collector");
    serve.sql_becomes("lakegate", "select last_run from lakegate.exports", "Succeeded");
    eventually("the word that nobody takes traces", || {
        let log = serve.log();
        log.iter()
            .any(|line| line.contains("traces are not taken"))
            .then_some(())
    });
    serve.stop();
}

#[test]
fn an_address_with_a_password_is_refused_and_not_shown() {
    let site = site("orders");
    let endpoint = format!("http://me:{SECRET}@127.0.0.1:4318");
    let mut serve = Serve::start_with(&site, &[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]);
    serve.expect_log("no traces are sent");
    serve.sql_becomes("lakegate", "select last_run from lakegate.exports", "Succeeded");
    let log = serve.log().join("\n");
    assert!(
        log.contains("OTEL_EXPORTER_OTLP_HEADERS") && !log.contains(SECRET),
        "{log}"
    );
    serve.stop();
}
