//! `lakegate operator`: schedules, runs and status of the resources of a cluster's namespaces.
//!
//! Every replica watches; the one that holds the Lease decides. Losing the Lease ends the process: starting anew is the
//! one way to become a standby again that cannot go half wrong. Runs go on meanwhile, as Jobs.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use lakegate_gateway::HttpState;
use lakegate_operator::{
    Operator, OperatorHandle, OperatorOptions,
    kubernetes::{JobLauncher, JobOptions},
    set_leader,
};
use lakegate_store::{
    KubernetesStore, ResourceStore,
    kubernetes::{
        fence::Fence,
        lease::{LeaseOptions, acquire},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    Failure,
    cluster::Cluster,
    process::{self, StopSignals},
};
use crate::{
    cli::cluster::{OperatorOptions as CommandOptions, WorkerPodOptions},
    telemetry,
};

/// The operator only plans saved queries, and holds their columns.
const QUERY_MEMORY_MIB: usize = 64;

pub fn operator(options: CommandOptions) -> Result<ExitCode, Failure> {
    process::runtime()?.block_on(run(options))
}

async fn run(options: CommandOptions) -> Result<ExitCode, Failure> {
    let metrics = telemetry::start_metrics()?;
    let mut stop = StopSignals::new()?;
    let workers = job_options(&options.worker)?;
    let shutdown = CancellationToken::new();
    // Nobody decides here yet, so there is nothing to tell about the resources.
    let gauges: Arc<OnceLock<OperatorHandle>> = Arc::default();
    let state_dir = options.cluster.state_dir.clone();
    let federation = process::federation(QUERY_MEMORY_MIB, &state_dir)?;
    let http = HttpState::new({
        let (gauges, federation) = (Arc::clone(&gauges), Arc::clone(&federation));
        move || {
            let resources = gauges.get().map(OperatorHandle::gauges).unwrap_or_default();
            metrics.render() + &resources + &federation.replica_gauges()
        }
    });
    set_leader(false);
    let serving = process::serve_http(options.cluster.http, http.clone(), shutdown.clone()).await?;

    let mut cluster = Cluster::connect(&options.cluster).await?;
    let lease_client = cluster.client.clone();
    let fence = Fence::default();
    cluster.fence(&fence)?;
    let store = tokio::select! {
        store = cluster.open_store("lakegate-operator", options.role_binding) => Arc::new(store?),
        () = stop.wait() => return Ok(ExitCode::SUCCESS),
    };
    let resources: Arc<dyn ResourceStore> = Arc::<KubernetesStore>::clone(&store);
    let catalogs = tokio::spawn(Arc::clone(&federation).run_catalogs(
        Arc::clone(&resources),
        state_dir.clone(),
        shutdown.clone(),
    ));
    // A standby is ready to take over; what it would have to wait for is known.
    http.set_ready();

    let lease = LeaseOptions::new(&cluster.own_namespace, options.lease_name, &cluster.own_name);
    let leadership = tokio::select! {
        leadership = acquire(lease_client, lease) => Some(leadership?),
        () = stop.wait() => None,
    };
    let mut code = ExitCode::SUCCESS;
    if let Some(leadership) = leadership {
        set_leader(true);
        fence.open(&leadership);
        let mut settings = OperatorOptions::new(&state_dir);
        settings.max_workers = options.max_runs.max(1);
        let launcher = JobLauncher::new(cluster.client.clone(), cluster.namespaces.clone(), workers);
        let operator = Operator::new(resources, federation, Arc::new(launcher), settings);
        // The one writer; a second set cannot be.
        let _ = gauges.set(operator.handle());
        let deciding = CancellationToken::new();
        let operator = tokio::spawn({
            let deciding = deciding.clone();
            async move { operator.run(deciding.cancelled()).await }
        });
        tokio::select! {
            () = stop.wait() => {}
            () = leadership.lost() => {
                tracing::error!("the Lease is lost: another replica may decide now; this one starts anew");
                code = ExitCode::FAILURE;
            }
        }
        set_leader(false);
        if code == ExitCode::SUCCESS {
            deciding.cancel();
            process::ended("operator", operator).await;
            // What it has told of is written before another may decide.
            store.flush().await;
            leadership.release().await;
        } else {
            // Whatever it was about to do is another's to do.
            operator.abort();
        }
    }
    shutdown.cancel();
    process::ended("catalogs", catalogs).await;
    if code == ExitCode::SUCCESS {
        store.close().await;
    }
    process::ended("HTTP", serving).await;
    Ok(code)
}

fn job_options(options: &WorkerPodOptions) -> Result<JobOptions, Failure> {
    let mut node_selector = BTreeMap::new();
    for text in &options.node_selector {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("--worker-node-selector {text}: write KEY=VALUE"))?;
        node_selector.insert(key.to_owned(), value.to_owned());
    }
    let mut tolerations = Vec::new();
    for text in &options.toleration {
        tolerations.push(JobOptions::toleration(text)?);
    }
    let mut environment = BTreeMap::new();
    let log_variables = ["LAKEGATE_LOG", "LAKEGATE_LOG_FORMAT"];
    for name in log_variables
        .into_iter()
        .chain(telemetry::TRACE_VARIABLES_FOR_WORKERS)
    {
        if let Ok(value) = std::env::var(name) {
            environment.insert(name.to_owned(), value);
        }
    }
    Ok(JobOptions {
        image: options.image.clone(),
        pull_policy: Some(options.pull_policy.clone()),
        service_account: options.service_account.clone(),
        node_selector,
        tolerations,
        host_network: options.host_network,
        ttl: options.ttl.get(),
        scratch_limit: options.scratch_limit.clone(),
        environment,
    })
}
