//! `lakegate serve DIR`: gateway, catalogs, schedules and runs of a folder in one process.

use std::{net::SocketAddr, path::Path, process::ExitCode, sync::Arc};

use jiff::Timestamp;
use lakegate_crds::{DataSource, Export, View};
use lakegate_gateway::{Gateway, GatewayOptions, HttpState, introspection::PgCatalog};
use lakegate_operator::{Operator, OperatorOptions, ProcessLauncher};
use lakegate_store::{FolderOptions, FolderStore, ResourceStore, Store, StoreOf};
use tokio_util::sync::CancellationToken;

use super::{
    Failure,
    process::{self, StopSignals},
};
use crate::{cli::ServeOptions, control, telemetry};

pub fn serve(options: ServeOptions) -> Result<ExitCode, Failure> {
    process::runtime()?.block_on(run(options))
}

async fn run(options: ServeOptions) -> Result<ExitCode, Failure> {
    let metrics = telemetry::start_metrics()?;
    let mut stop = StopSignals::new()?;
    // Before the state is touched: a refused address should leave no trace.
    let mut gateway = Gateway::bind(GatewayOptions {
        listen: options.listen,
        http: Some(options.http),
        tls_cert: options.tls_cert.clone(),
        tls_key: options.tls_key.clone(),
        users: options.users.clone(),
        max_connections: options.max_connections,
        ..GatewayOptions::default()
    })
    .await?;
    let folder = FolderOptions {
        secrets_dir: options.secrets_dir.clone(),
        ..FolderOptions::default()
    };
    let store = Arc::new(FolderStore::open(&options.directory, &options.state.state_dir, folder).await?);
    let state_dir = store.state_dir().to_owned();
    let resources: Arc<dyn ResourceStore> = Arc::<FolderStore>::clone(&store);
    let federation = process::federation(options.query_memory, &state_dir)?;
    let introspection = PgCatalog::new();
    let mut worker = OperatorOptions::new(&state_dir);
    worker.max_workers = options.max_runs.max(1);
    let launcher = ProcessLauncher::new(std::env::current_exe()?, ["worker"]);
    let operator = Operator::new(
        Arc::clone(&resources),
        Arc::clone(&federation),
        Arc::new(launcher),
        worker,
    );
    let gauges = operator.handle();
    let http = HttpState::new({
        let federation = Arc::clone(&federation);
        move || metrics.render() + &gauges.gauges() + &federation.replica_gauges()
    });

    let shutdown = CancellationToken::new();
    let banner = banner(&options, &gateway, resources.as_ref()).await?;
    let handle = operator.handle();
    let catalogs = tokio::spawn(Arc::clone(&federation).run_catalogs(
        Arc::clone(&resources),
        state_dir.clone(),
        shutdown.clone(),
    ));
    let operator = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { operator.run(shutdown.cancelled()).await }
    });
    let control = tokio::spawn({
        let (state_dir, folder, shutdown) = (state_dir.clone(), Arc::clone(&store), shutdown.clone());
        async move { control::serve(&state_dir, folder, handle, shutdown).await }
    });
    let ready = tokio::spawn(process::announce_ready(
        Arc::clone(&resources),
        Arc::clone(&federation),
        http.clone(),
    ));
    gateway.start_http(http, &federation);
    let gateway = tokio::spawn(gateway.serve(federation, Arc::new(introspection), shutdown.clone()));
    println!("{banner}");

    stop.wait().await;
    shutdown.cancel();
    ready.abort();
    process::ended("gateway", gateway).await;
    process::ended("operator", operator).await;
    process::ended("catalogs", catalogs).await;
    match control.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the control socket ended badly"),
        Err(error) => tracing::error!(%error, "the control socket ended badly"),
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// What is served, and the line to copy.
async fn banner(
    options: &ServeOptions,
    gateway: &Gateway,
    store: &dyn ResourceStore,
) -> Result<String, Failure> {
    let sources: &dyn Store<DataSource> = StoreOf::of(store);
    let exports: &dyn Store<Export> = StoreOf::of(store);
    let views: &dyn Store<View> = StoreOf::of(store);
    let counts = [
        count(sources.list().await?.len(), "data source"),
        count(exports.list().await?.len(), "export"),
        count(views.list().await?.len(), "view"),
    ];
    let address = gateway.address();
    let user = if options.users.is_some() { "-U <user> " } else { "" };
    let mut lines = vec![
        format!(
            "lakegate {} serves {} ({})",
            env!("CARGO_PKG_VERSION"),
            options.directory.display(),
            counts.join(", ")
        ),
        format!(
            "  SQL    psql -h {} -p {} {user}-d lakegate",
            reachable(address),
            address.port()
        ),
    ];
    if let Some(address) = gateway.http_address() {
        lines.push(format!(
            "  HTTP   http://{}:{}/metrics",
            reachable(address),
            address.port()
        ));
    }
    lines.push(format!("  State  {}", display(&options.state.state_dir)));
    lines.push(format!(
        "  since  {}",
        Timestamp::now().strftime("%Y-%m-%d %H:%M:%S UTC")
    ));
    Ok(lines.join("\n"))
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

/// An address that a client on this machine can use.
fn reachable(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        "127.0.0.1".into()
    } else if address.is_ipv6() {
        format!("[{}]", address.ip())
    } else {
        address.ip().to_string()
    }
}
