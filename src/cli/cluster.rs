//! The command line of the two processes that serve a Kubernetes cluster.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use lakegate_crds::Duration;

/// Which part of which cluster. The cluster is the one the process runs in, else that of the kubeconfig.
#[derive(Debug, Args)]
pub struct ClusterOptions {
    /// A namespace whose resources are served; may be given several times. Default: the Pod's own.
    #[arg(
        long = "namespace",
        value_name = "NAME",
        env = "LAKEGATE_NAMESPACES",
        value_delimiter = ','
    )]
    pub namespaces: Vec<String>,

    /// For spill files and what else is only this process's.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/var/lib/lakegate",
        env = "LAKEGATE_STATE_DIR"
    )]
    pub state_dir: PathBuf,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "0.0.0.0:8080",
        env = "LAKEGATE_HTTP"
    )]
    pub http: SocketAddr,

    /// Name of this process among its replicas.
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide = true)]
    pub pod_name: Option<String>,

    /// Namespace of this process.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", hide = true)]
    pub pod_namespace: Option<String>,
}

#[derive(Debug, Args)]
pub struct OperatorOptions {
    #[command(flatten)]
    pub cluster: ClusterOptions,

    /// The Lease by which one of several replicas decides.
    #[arg(long, value_name = "NAME", default_value = "lakegate-operator")]
    pub lease_name: String,

    /// Runs at one time; further ones wait.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub max_runs: usize,

    #[command(flatten)]
    pub worker: WorkerPodOptions,
}

/// The Pods that perform runs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workers")]
pub struct WorkerPodOptions {
    /// Image of the workers; should be that of the operator.
    #[arg(long = "worker-image", value_name = "IMAGE", env = "LAKEGATE_WORKER_IMAGE")]
    pub image: String,

    /// When the image is pulled: Always, IfNotPresent or Never.
    #[arg(
        long = "worker-pull-policy",
        value_name = "POLICY",
        default_value = "IfNotPresent"
    )]
    pub pull_policy: String,

    /// Service account of the workers. It needs no rights in the cluster; a cloud's rights to the lake and the
    /// credentials of the image's registry may hang on it.
    #[arg(long = "worker-service-account", value_name = "NAME")]
    pub service_account: Option<String>,

    /// A label that a worker's node must have, as KEY=VALUE; may be given several times.
    #[arg(long = "worker-node-selector", value_name = "KEY=VALUE")]
    pub node_selector: Vec<String>,

    /// A taint that workers tolerate, as KEY[=VALUE]:EFFECT; may be given several times.
    #[arg(long = "worker-toleration", value_name = "KEY[=VALUE]:EFFECT")]
    pub toleration: Vec<String>,

    /// Workers share the network of their node.
    #[arg(long = "worker-host-network")]
    pub host_network: bool,

    /// Most disk that a worker may use for what outgrows its memory, such as 20Gi. Default: no limit.
    #[arg(long = "worker-scratch-limit", value_name = "SIZE")]
    pub scratch_limit: Option<String>,

    /// How long an ended Job is kept.
    #[arg(long = "worker-ttl", value_name = "DURATION", default_value = "1h")]
    pub ttl: Duration,
}

#[derive(Debug, Args)]
pub struct GatewayOptions {
    #[command(flatten)]
    pub cluster: ClusterOptions,

    /// Where the Postgres protocol is spoken. An address that is not loopback needs --users.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "0.0.0.0:5432",
        env = "LAKEGATE_LISTEN"
    )]
    pub listen: SocketAddr,

    /// Users who may connect, a line each: name:SCRAM-SHA-256$... (see `lakegate user add`).
    #[arg(long, value_name = "FILE", env = "LAKEGATE_USERS")]
    pub users: Option<PathBuf>,

    /// Certificate chain for TLS, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "LAKEGATE_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// Private key for TLS, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "LAKEGATE_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// Connections at one time.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub max_connections: usize,

    /// Memory for queries (sorts, joins, aggregates), in MiB; past it they spill to the state directory.
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub query_memory: usize,

    /// How long running statements may go on once the process is asked to stop.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub drain: Duration,
}

/// What `lakegate ping` asks; at least one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = true, args = ["postgres", "ready"])]
pub struct PingOptions {
    /// Whether the Postgres protocol is spoken there.
    #[arg(long, value_name = "HOST:PORT")]
    pub postgres: Option<String>,

    /// Whether this page says that it is ready.
    #[arg(long, value_name = "URL")]
    pub ready: Option<String>,

    /// How long it is tried.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub enum FinalizersCommand {
    /// Remove Lakegate's finalizers from the resources of some namespaces, so that they can be deleted without an
    /// operator. Exported data stays.
    Clear(ClusterOptions),
}
