//! Health, metrics, queries and the catalog of lakes over HTTP. Nothing here changes anything.

mod access;
mod client;
mod format;
mod iceberg;
mod problem;
mod query;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use lakegate_federation::Federation;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::Users;
use crate::gateway::SharedLater;
use access::Access;

/// What the HTTP side shows.
#[derive(Clone)]
pub struct HttpState {
    ready: Arc<AtomicBool>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl HttpState {
    /// `metrics` renders every metric in Prometheus' text format.
    pub fn new(metrics: impl Fn() -> String + Send + Sync + 'static) -> Self {
        HttpState {
            ready: Arc::default(),
            metrics: Arc::new(metrics),
        }
    }

    /// `/readyz` says 200 from here on: the manifests are read and the catalogs loaded as far as their
    /// stores answer.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }
}

/// Serves the routes until `stop`.
pub async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken) {
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::warn!(%error, "HTTP ended");
    }
}

/// `/healthz`, `/readyz` and `/metrics`, for whoever asks.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(state)
}

/// Those of [`router`], and queries and the lakes of a federation for its users (on a loopback address for everybody when
/// there are no users).
pub(crate) fn gateway_router(
    state: HttpState,
    federation: Arc<Federation>,
    shared: SharedLater,
    users: Option<Arc<Users>>,
    is_loopback: bool,
) -> Router {
    let access = Access::new(users, is_loopback);
    router(state)
        .merge(query::router(shared, access.clone()))
        .nest("/iceberg", iceberg::router(federation, access))
}

async fn ready(State(state): State<HttpState>) -> impl IntoResponse {
    if state.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "catalogs are loading\n")
    }
}

async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        (state.metrics)(),
    )
}
