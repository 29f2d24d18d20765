//! `lakegate gateway`: SQL over the resources of a cluster's namespaces.
//!
//! Any number of replicas serve the same. Each reads the resources and connects to the stores itself; none writes.

use std::{process::ExitCode, sync::Arc};

use lakegate_gateway::{Gateway, GatewayOptions, HttpState, introspection::PgCatalog};
use lakegate_store::{KubernetesStore, ResourceStore};
use tokio_util::sync::CancellationToken;

use super::{
    Failure,
    cluster::Cluster,
    process::{self, StopSignals},
};
use crate::{cli::cluster::GatewayOptions as CommandOptions, telemetry};

pub fn gateway(options: CommandOptions) -> Result<ExitCode, Failure> {
    process::runtime()?.block_on(run(options))
}

async fn run(options: CommandOptions) -> Result<ExitCode, Failure> {
    let metrics = telemetry::start_metrics()?;
    let mut stop = StopSignals::new()?;
    let mut gateway = Gateway::bind(GatewayOptions {
        listen: options.listen,
        http: Some(options.cluster.http),
        tls_cert: options.tls_cert.clone(),
        tls_key: options.tls_key.clone(),
        users: options.users.clone(),
        max_connections: options.max_connections,
        drain: options.drain.get(),
    })
    .await?;
    metrics::gauge!("lakegate_gateway_max_connections").set(options.max_connections as f64);
    let state_dir = options.cluster.state_dir.clone();
    let federation = process::federation(options.query_memory, &state_dir)?;
    let http = HttpState::new({
        let federation = Arc::clone(&federation);
        move || metrics.render() + &federation.replica_gauges()
    });
    // Alive, and not ready, however long the API server takes.
    gateway.start_http(http.clone(), &federation);
    let shutdown = CancellationToken::new();
    let cluster = Cluster::connect(&options.cluster).await?;
    let store = tokio::select! {
        store = cluster.open_store("lakegate-gateway", None) => Arc::new(store?),
        () = stop.wait() => return Ok(ExitCode::SUCCESS),
    };
    let resources: Arc<dyn ResourceStore> = Arc::<KubernetesStore>::clone(&store);
    let catalogs = tokio::spawn(Arc::clone(&federation).run_catalogs(
        Arc::clone(&resources),
        state_dir,
        shutdown.clone(),
    ));
    let ready = tokio::spawn(process::announce_ready(
        resources,
        Arc::clone(&federation),
        http.clone(),
    ));
    tracing::info!(address = %gateway.address(), namespaces = cluster.namespaces.join(","), "the gateway listens");
    // The stores stay connected while the last statements drain.
    let draining = CancellationToken::new();
    let gateway = tokio::spawn(gateway.serve(federation, Arc::new(PgCatalog::new()), draining.clone()));
    stop.wait().await;
    ready.abort();
    draining.cancel();
    process::ended("gateway", gateway).await;
    shutdown.cancel();
    process::ended("catalogs", catalogs).await;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
