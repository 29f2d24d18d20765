//! The command line: what `--help` shows.

pub mod cluster;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Query every store and every export with one SQL, from a folder of manifests.
#[derive(Debug, Parser)]
#[command(
    name = "lakegate",
    version,
    about,
    long_about = "Lakegate reads a folder of manifests that name stores (Postgres, SQLite, files, ...), scheduled \
                  exports and saved queries. It keeps the exports running, and serves all stores and all exports as \
                  one Postgres server, for psql and any BI tool.",
    after_help = "First steps:\n  lakegate serve examples/flights\n  psql -h 127.0.0.1 -p 5432 -d lakegate\n  \
                  lakegate get exports"
)]
pub struct Cli {
    #[command(flatten)]
    pub logs: LogOptions,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub struct LogOptions {
    /// How log lines are written to standard error.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Human, env = "LAKEGATE_LOG_FORMAT", help_heading = "Logs")]
    pub log_format: LogFormat,

    /// What is logged: a level, or levels by module (info, debug, `lakegate_operator=debug,warn`).
    #[arg(
        long,
        global = true,
        env = "LAKEGATE_LOG",
        value_name = "FILTER",
        help_heading = "Logs"
    )]
    pub log: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a folder of manifests: gateway, schedules and exports in one process.
    Serve(ServeOptions),
    /// On Kubernetes: keep the resources of some namespaces true, with runs as Jobs.
    Operator(Box<cluster::OperatorOptions>),
    /// On Kubernetes: serve SQL over the resources of some namespaces.
    Gateway(Box<cluster::GatewayOptions>),
    /// Check a folder of manifests; prints every problem with file and line, exits 1 if there is one.
    Validate {
        /// The folder.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// List resources, as the operator sees them.
    Get {
        /// datasources, exports, exportruns, retentionpolicies or views (or ds, exp, run, ret, view).
        kind: String,
        /// One of them; all without.
        name: Option<String>,
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        state: StateOptions,
    },
    /// Show one resource with its conditions and events.
    Describe {
        /// For example export/orders or ds/shop.
        #[arg(value_name = "KIND/NAME")]
        resource: String,
        #[command(flatten)]
        state: StateOptions,
    },
    /// Start a run of an export now, and follow it to its end.
    Run {
        /// For example export/orders.
        #[arg(value_name = "export/NAME")]
        resource: String,
        /// Start it and return at once.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        state: StateOptions,
    },
    /// Decide at once about the table of an export with deletionPolicy Delete whose manifest is gone; without it the
    /// table is removed when the manifest has been gone for an hour.
    Delete {
        /// For example export/orders.
        #[arg(value_name = "export/NAME")]
        resource: String,
        /// Forget the export and leave its table as it is, instead of removing it.
        #[arg(long)]
        keep_data: bool,
        #[command(flatten)]
        state: StateOptions,
    },
    /// Print the CustomResourceDefinitions, for kubectl apply --server-side.
    Crds {
        /// Compare with the files in this folder instead; exits 1 if they differ.
        #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "crds/generated", conflicts_with = "write")]
        check: Option<PathBuf>,
        /// Write a file a kind into this folder instead.
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
    },
    /// Manage the users of a gateway's users file.
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Ask a gateway whether it answers; exits 1 if it does not.
    Ping(cluster::PingOptions),
    /// On Kubernetes: the finalizers of Lakegate's resources.
    Finalizers {
        #[command(subcommand)]
        command: cluster::FinalizersCommand,
    },
    /// Perform one attempt of a run; started by the operator, not by hand.
    #[command(hide = true)]
    Worker(WorkerOptions),
}

#[derive(Debug, Args)]
pub struct WorkerOptions {
    /// A file that holds the work order: for a Pod. Without, the order and its secrets are read from standard input, and
    /// the end of standard input ends the worker.
    #[arg(long, value_name = "FILE", requires_all = ["secrets_dir", "state_dir"])]
    pub order: Option<PathBuf>,

    /// The mounted Secrets: DIR/<secret>/<key>.
    #[arg(long, value_name = "DIR", requires = "order")]
    pub secrets_dir: Option<PathBuf>,

    /// Where scratch files go.
    #[arg(long, value_name = "DIR", requires = "order")]
    pub state_dir: Option<PathBuf>,

    /// Where the last message is left, if that file exists.
    #[arg(
        long,
        value_name = "FILE",
        requires = "order",
        default_value = "/dev/termination-log"
    )]
    pub last_word: PathBuf,
}

#[derive(Debug, Args)]
pub struct ServeOptions {
    /// The folder of manifests; read recursively, watched, never written.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,

    /// Where the gateway speaks the Postgres protocol. An address that is not loopback needs --users.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:5432",
        env = "LAKEGATE_LISTEN"
    )]
    pub listen: SocketAddr,

    /// Where /healthz, /readyz, /metrics and the lakes (/iceberg, for users) are served.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        env = "LAKEGATE_HTTP"
    )]
    pub http: SocketAddr,

    #[command(flatten)]
    pub state: StateOptions,

    /// A folder of secrets, as mounted: DIR/<secret>/<key>.
    #[arg(long, value_name = "DIR", env = "LAKEGATE_SECRETS_DIR")]
    pub secrets_dir: Option<PathBuf>,

    /// Users who may connect, a line each: name:SCRAM-SHA-256$... (see `lakegate user add`). Without it every name
    /// is trusted, on loopback only.
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

    /// Exports running at one time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub max_runs: usize,
}

#[derive(Debug, Clone, Args)]
pub struct StateOptions {
    /// Where status, runs and events are kept; also how get, describe and run find a running serve.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./.lakegate",
        env = "LAKEGATE_STATE_DIR"
    )]
    pub state_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Yaml,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Read a password from standard input and print the user's line for the users file.
    Add {
        /// The user's name.
        name: String,
    },
}
