//! What can go wrong between Lakegate and a store.

use std::fmt;
use std::path::PathBuf;

use datafusion::error::DataFusionError;
use lakegate_crds::conditions::Reason;
use lakegate_store::s3::S3Error;

/// A failure of one DataSource. Messages name it by its catalog name, hold no
/// secret, and leave the cause to the source chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectorError {
    #[error("{catalog}: {field} is not implemented yet; remove it")]
    NotImplemented { catalog: String, field: String },

    #[error("{catalog}: {field}: {message}")]
    InvalidSpec {
        catalog: String,
        field: String,
        message: String,
    },

    #[error("{catalog}: there is no file {}; check the path in the DataSource", path.display())]
    FileMissing { catalog: String, path: PathBuf },

    #[error("{catalog}: there is no directory {}; check the path in the DataSource", path.display())]
    DirectoryMissing { catalog: String, path: PathBuf },

    #[error("{catalog}: {} cannot be read", path.display())]
    FileUnreadable {
        catalog: String,
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    #[error("{catalog}: {source}")]
    Bucket { catalog: String, source: S3Error },

    #[error("{catalog}: {} is not a SQLite database", path.display())]
    NotADatabase { catalog: String, path: PathBuf },

    #[error("{catalog}: {secret} cannot be used: {message}")]
    SecretUnusable {
        catalog: String,
        /// The reference, as `name/key`; never the value.
        secret: String,
        message: String,
        /// Whether the Secret is there but lacks the key.
        key_missing: bool,
    },

    #[error("{catalog}: cannot connect to {endpoint}: {message}")]
    Unreachable {
        catalog: String,
        endpoint: String,
        message: String,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    #[error("{catalog}: TLS with {endpoint} failed: {message}")]
    TlsFailed {
        catalog: String,
        endpoint: String,
        message: String,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    #[error("{catalog}: {endpoint} refused the credentials: {message}")]
    AccessDenied {
        catalog: String,
        endpoint: String,
        message: String,
    },

    #[error("{catalog}: {endpoint} did not answer in {seconds} s")]
    TimedOut {
        catalog: String,
        endpoint: String,
        seconds: u64,
    },

    /// Every replica is too far behind or cannot be asked, and the primary may not be read instead.
    #[error("{catalog}: {message}")]
    NoReplica {
        catalog: String,
        /// Each replica's state, and what to do.
        message: String,
        reason: Reason,
    },

    #[error(
        "{catalog}: the replica {endpoint} stopped the statement: {message}; try again, and if it happens often, set \
         hot_standby_feedback = on or raise max_standby_streaming_delay on the replica"
    )]
    RecoveryConflict {
        catalog: String,
        endpoint: String,
        message: String,
    },

    #[error(
        "{catalog}: all {connections} connections to {endpoint} stayed busy for {seconds} s; raise \
         limits.maxConnections of the DataSource or run fewer queries at once"
    )]
    Busy {
        catalog: String,
        endpoint: String,
        connections: usize,
        seconds: u64,
    },

    #[error(
        "{catalog}: {endpoint} stopped the statement after {milliseconds} ms, the \
         limits.statementTimeout of the DataSource; narrow the query or raise the limit"
    )]
    StatementTimeout {
        catalog: String,
        endpoint: String,
        milliseconds: u128,
    },

    #[error("{catalog}: the store failed: {message}")]
    Store {
        catalog: String,
        message: String,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    #[error("{catalog}: table {schema}.{table} does not exist any more")]
    TableMissing {
        catalog: String,
        schema: String,
        table: String,
    },

    /// A stored value has no exact form in its column's type.
    #[error("{0}")]
    ValueRefused(Box<RefusedValue>),

    #[error("{catalog}.{schema}.{table}: {message}")]
    TableUnreadable {
        catalog: String,
        schema: String,
        table: String,
        message: String,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Which value was refused, and why; never the value itself where it may be personal.
#[derive(Debug)]
pub struct RefusedValue {
    pub catalog: String,
    pub schema: String,
    pub table: String,
    pub column: String,
    /// Where, as the store names it: `of rowid 7`; may be empty.
    pub row: String,
    pub message: String,
}

impl fmt::Display for RefusedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}: column \"{}\"",
            self.catalog, self.schema, self.table, self.column
        )?;
        if !self.row.is_empty() {
            write!(f, " {}", self.row)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl ConnectorError {
    /// Whether only an edit of the DataSource (or its Secret) can help; else
    /// trying again may.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::NotImplemented { .. } | Self::InvalidSpec { .. } | Self::NotADatabase { .. } => true,
            Self::Bucket { source, .. } => source.is_terminal(),
            _ => false,
        }
    }

    /// The reason a DataSource's conditions give for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotImplemented { .. } => Reason::NotImplemented,
            Self::InvalidSpec { .. } => Reason::InvalidSpec,
            Self::SecretUnusable {
                key_missing: true, ..
            } => Reason::SecretKeyMissing,
            Self::SecretUnusable { .. } => Reason::SecretNotFound,
            Self::AccessDenied { .. } => Reason::AccessDenied,
            Self::TlsFailed { .. } => Reason::TlsFailed,
            Self::Bucket { source, .. } => source.reason().unwrap_or(Reason::DiscoveryFailed),
            Self::NoReplica { reason, .. } => *reason,
            Self::TimedOut { .. } | Self::StatementTimeout { .. } | Self::Busy { .. } => Reason::Timeout,
            Self::FileMissing { .. } | Self::DirectoryMissing { .. } => Reason::PathNotFound,
            Self::TableMissing { .. } => Reason::TableNotFound,
            Self::FileUnreadable { .. } | Self::NotADatabase { .. } | Self::Unreachable { .. } => {
                Reason::ConnectionFailed
            }
            Self::Store { .. }
            | Self::RecoveryConflict { .. }
            | Self::ValueRefused(_)
            | Self::TableUnreadable { .. } => Reason::DiscoveryFailed,
        }
    }
}

impl From<ConnectorError> for DataFusionError {
    fn from(error: ConnectorError) -> Self {
        Self::External(Box::new(error))
    }
}
