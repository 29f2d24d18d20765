//! What the long-lived subcommands (`serve`, `operator`, `gateway`) share: threads, readiness, the end.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use lakegate_crds::DataSource;
use lakegate_federation::{Federation, FederationOptions};
use lakegate_gateway::HttpState;
use lakegate_store::{ResourceStore, StoreOf};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::Failure;

/// Threads for the network and for waiting; queries have their own.
const IO_THREADS: usize = 2;

/// Longest wait for the first look at every store before /readyz says ready: one that hangs must not keep the
/// others from being used.
const FIRST_LOOKS: Duration = Duration::from_secs(30);

/// The runtime of a long-lived process.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .enable_all()
        .build()
}

/// Catalogs whose queries may hold `memory_mib` together and spill to the state directory past it.
pub fn federation(memory_mib: usize, state_dir: &Path) -> Result<Arc<Federation>, Failure> {
    Ok(Federation::new(FederationOptions {
        memory_bytes: memory_mib << 20,
        spill_dir: Some(state_dir.to_owned()),
        ..FederationOptions::default()
    })?)
}

/// Serves health and metrics at an address until `stop`.
///
/// # Errors
/// If the address cannot be listened on.
pub async fn serve_http(
    address: SocketAddr,
    state: HttpState,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, Failure> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address} (--http): {error}"))?;
    let routes = lakegate_gateway::http::router(state);
    Ok(tokio::spawn(lakegate_gateway::http::serve(
        listener, routes, stop,
    )))
}

/// The signals that ask a process to stop. Listening begins with [`StopSignals::new`]: one that comes earlier kills.
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the first.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => tracing::info!("stopping (interrupt)"),
            _ = self.terminate.recv() => tracing::info!("stopping (terminate)"),
        }
    }
}

/// Waits for a part of the process to end; that it panicked is told.
pub async fn ended(what: &'static str, task: JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(what, %error, "ended badly");
    }
}

/// Ready once every store has been looked at, well or not: a store that is down keeps nobody from the others.
pub async fn announce_ready(store: Arc<dyn ResourceStore>, federation: Arc<Federation>, http: HttpState) {
    let mut changes = federation.health_changes();
    let looked_at = async {
        loop {
            let sources = match StoreOf::<DataSource>::of(store.as_ref()).list().await {
                Ok(sources) => sources,
                Err(error) => {
                    tracing::warn!(%error, "data sources cannot be listed");
                    return;
                }
            };
            let waiting = sources.iter().any(|source| {
                let served = source
                    .object
                    .as_ref()
                    .is_some_and(|object| !object.spec.is_suspended());
                served && federation.health(&source.key).is_none()
            });
            if !waiting || changes.changed().await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout(FIRST_LOOKS, looked_at).await.is_err() {
        tracing::info!("some stores have not answered yet; serving the others");
    }
    http.set_ready();
}
