//! Types that several kinds share: references, credentials, TLS, compute.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Cpu, Duration, Memory};

/// A reference to another Lakegate resource in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceReference {
    /// Name of the resource, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl ResourceReference {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

/// A reference to one key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key within the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A Secret that holds a user name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicSecretReference {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key of the user name. Default: `username`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_key: Option<String>,

    /// Key of the password. Default: `password`.
    #[schemars(length(min = 1, max = 253))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_key: Option<String>,
}

impl BasicSecretReference {
    /// Key of the user name within the Secret.
    pub fn username_key(&self) -> &str {
        self.username_key.as_deref().unwrap_or("username")
    }

    /// Key of the password within the Secret.
    pub fn password_key(&self) -> &str {
        self.password_key.as_deref().unwrap_or("password")
    }
}

/// User name and password, always by reference: no field of any Lakegate resource
/// takes a secret value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Secret in the same namespace with the keys `username` and `password`.
    pub secret_ref: BasicSecretReference,
}

/// How a connection is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// `VerifyFull` (the default) encrypts and checks the server's certificate and host name,
    /// `Require` encrypts without checking who answers, `Disable` sends plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsMode>,

    /// Certificate authority (PEM) that signed the server's certificate. Default: the
    /// authorities that this machine trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyReference>,
}

impl TlsSpec {
    /// The mode in force: `VerifyFull` unless the manifest says otherwise.
    pub fn mode(&self) -> TlsMode {
        self.mode.unwrap_or_default()
    }
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum TlsMode {
    /// Plain text.
    Disable,
    /// Encrypted, the server is not authenticated.
    Require,
    /// Encrypted, certificate and host name are checked.
    #[default]
    VerifyFull,
}

/// A column that the user declares because the store has no schema of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredColumn {
    /// Name of the column.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,

    /// SQL type, such as `bigint`, `text`, `timestamptz` or `decimal(18,2)`.
    #[schemars(length(min = 1, max = 64))]
    pub data_type: String,
}

/// A table of a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableReference {
    /// Schema of the table. Default: `public` for Postgres, the database for MySQL, `main` for
    /// SQLite, `db<N>` for Redis, `default` for other stores.
    #[schemars(length(min = 1, max = 128))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,

    /// Name of the table as the store spells it.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
}

/// Compute of one run, in the shape of a Pod's resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRequirements {
    /// What is set aside for the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceList>,

    /// What the run may use at most. The worker keeps 60 % of the memory limit for its buffers
    /// and spills to disk beyond that; it runs one thread per whole cpu, at least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceList>,
}

/// Amounts of compute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceList {
    /// Processors, such as `2` or `500m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,

    /// Memory, such as `512Mi` or `1Gi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

/// What a run may cost a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionLimits {
    /// Connections that Lakegate opens to the store at the same time, over all queries and
    /// exports. Default: 4.
    #[schemars(range(min = 1, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,

    /// Longest time one statement may run in the store. Default: 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement_timeout: Option<Duration>,
}

impl ConnectionLimits {
    /// Default of `maxConnections`.
    pub const MAX_CONNECTIONS: u32 = 4;
    /// Default of `statementTimeout`, in seconds.
    pub const STATEMENT_TIMEOUT_SECONDS: u64 = 300;

    /// Connections in force.
    pub fn max_connections(&self) -> u32 {
        self.max_connections.unwrap_or(Self::MAX_CONNECTIONS)
    }

    /// Statement timeout in force.
    pub fn statement_timeout(&self) -> std::time::Duration {
        self.statement_timeout.as_ref().map_or(
            std::time::Duration::from_secs(Self::STATEMENT_TIMEOUT_SECONDS),
            Duration::get,
        )
    }
}

/// Repetition of a failed attempt within one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetrySpec {
    /// Attempts after the first one. Default: 3.
    #[schemars(range(min = 0, max = 20))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,

    /// Wait before the first repetition; it doubles each time, up to ten minutes. Default: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

impl RetrySpec {
    /// Repetitions in force.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(3)
    }

    /// First wait in force.
    pub fn backoff(&self) -> std::time::Duration {
        self.backoff
            .as_ref()
            .map_or(std::time::Duration::from_secs(30), Duration::get)
    }
}

/// How many ended runs are kept as objects. Data is never removed by this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistorySpec {
    /// Successful runs to keep. Default: 5.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeded: Option<u32>,

    /// Failed runs to keep. Default: 5.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<u32>,
}

impl HistorySpec {
    /// Successful runs kept.
    pub fn succeeded(&self) -> u32 {
        self.succeeded.unwrap_or(5)
    }

    /// Failed runs kept.
    pub fn failed(&self) -> u32 {
        self.failed.unwrap_or(5)
    }
}

/// Codec of data files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum Compression {
    /// Zstandard: smallest files at little cost.
    #[default]
    Zstd,
    /// Snappy: for readers that know nothing else.
    Snappy,
}
