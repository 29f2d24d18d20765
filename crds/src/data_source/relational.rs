//! Postgres, MySQL and SQLite.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ConnectionLimits, Credentials, Duration, TlsSpec};

/// A server's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,

    /// Port. Default: the store's usual one (5432, 3306, 6379).
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// The server that takes writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrimaryEndpoint {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,

    /// Port. Default: the store's usual one (5432, 3306).
    #[schemars(range(min = 1, max = 65535))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,

    /// Credentials with which retention policies delete archived rows. Nothing else ever writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_credentials: Option<Credentials>,
}

/// What happens when every replica lags behind by more than `maxReplicaLag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum OnReplicaLag {
    /// Wait for a replica to catch up, until the statement timeout.
    Wait,
    /// Refuse with an error that names the lag.
    #[default]
    Fail,
    /// Read the primary.
    UsePrimary,
}

/// How `numeric` columns without a precision are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum UnconstrainedNumeric {
    /// As numbers of up to 38 digits before the point and 38 behind it.
    #[default]
    Decimal,
    /// As text, with every digit.
    Text,
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresSpec {
    /// Name of the database.
    #[schemars(length(min = 1, max = 63))]
    pub database: String,

    /// The server that takes writes. It is read only while there are no replicas, or where
    /// `onReplicaLag` says so.
    pub primary: PrimaryEndpoint,

    /// Read replicas. With at least one, queries and exports read these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub replicas: Vec<Endpoint>,

    /// How far a replica may be behind and still be read. Default: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replica_lag: Option<Duration>,

    /// What happens when every replica is further behind: `Wait`, `Fail` (the default) or
    /// `UsePrimary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_replica_lag: Option<OnReplicaLag>,

    /// User and password.
    pub credentials: Credentials,

    /// Encryption of the connection. Default: mode VerifyFull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,

    /// What Lakegate may cost the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ConnectionLimits>,

    /// How `numeric` columns without a precision are read: `Decimal` (the default) as numbers of up
    /// to 38 digits before the point and 38 behind it, and a query or export that reads a value with
    /// more fails; `Text` as text, with every digit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unconstrained_numeric: Option<UnconstrainedNumeric>,
}

impl PostgresSpec {
    /// Port used when an endpoint names none.
    pub const DEFAULT_PORT: u16 = 5432;

    /// TLS in force, with its defaults.
    pub fn tls(&self) -> TlsSpec {
        self.tls.clone().unwrap_or_default()
    }

    /// Limits in force, with their defaults.
    pub fn limits(&self) -> ConnectionLimits {
        self.limits.clone().unwrap_or_default()
    }

    /// Reading of numeric columns without a precision in force.
    pub fn unconstrained_numeric(&self) -> UnconstrainedNumeric {
        self.unconstrained_numeric.unwrap_or_default()
    }
}

/// What becomes of `0000-00-00`, MySQL's date that is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum ZeroDates {
    /// It is read as NULL.
    #[default]
    AsNull,
    /// A query or export that reads one fails.
    Fail,
}

/// A MySQL or MariaDB server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MysqlSpec {
    /// Name of the database, which is the schema in SQL. Default: every database the user sees.
    #[schemars(length(min = 1, max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,

    /// The server that takes writes. It is read only while there are no replicas, or where
    /// `onReplicaLag` says so.
    pub primary: PrimaryEndpoint,

    /// Read replicas. With at least one, queries and exports read these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub replicas: Vec<Endpoint>,

    /// How far a replica may be behind and still be read. Default: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replica_lag: Option<Duration>,

    /// What happens when every replica is further behind: `Wait`, `Fail` (the default) or
    /// `UsePrimary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_replica_lag: Option<OnReplicaLag>,

    /// User and password.
    pub credentials: Credentials,

    /// Encryption of the connection. Default: mode VerifyFull.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,

    /// What Lakegate may cost the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ConnectionLimits>,

    /// What becomes of the date `0000-00-00`: `AsNull` (the default) reads it as NULL, `Fail` refuses
    /// it. A date with a zero month or day, such as `2026-02-00`, is always refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zero_dates: Option<ZeroDates>,
}

impl MysqlSpec {
    /// Port used when an endpoint names none.
    pub const DEFAULT_PORT: u16 = 3306;

    /// TLS in force, with its defaults.
    pub fn tls(&self) -> TlsSpec {
        self.tls.clone().unwrap_or_default()
    }

    /// Limits in force, with their defaults.
    pub fn limits(&self) -> ConnectionLimits {
        self.limits.clone().unwrap_or_default()
    }

    /// Treatment of zero dates in force.
    pub fn zero_dates(&self) -> ZeroDates {
        self.zero_dates.unwrap_or_default()
    }
}

/// A SQLite file, opened read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SqliteSpec {
    /// Path of the file; a relative one is resolved against the manifest's folder.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
}
