//! What connectors to a database server share: where it is, how it is reached,
//! and how many connections it grants.

mod condition;
pub(crate) mod constant;
mod lag;
mod pool;
mod replicas;
mod statement;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lakegate_crds::{
    ConnectionLimits, Credentials, Endpoint, OnReplicaLag, PrimaryEndpoint, SecretKeyReference, TlsMode,
    TlsSpec,
};
use lakegate_store::{SecretError, SecretValue, Secrets};
use tokio::time::timeout;

pub(crate) use condition::{Spelling, condition};
pub(crate) use lag::{Lag, Standing};
pub(crate) use pool::{Driver, Lease, Pool};
pub(crate) use statement::{Named, Naming, Tables, conditions};

use crate::{ConnectContext, ConnectorError};

/// Beyond the statement timeout a server is not waited for: it ends the statement itself, or it is gone.
const GRACE: Duration = Duration::from_secs(15);
/// How far a replica may be behind when nothing else is said.
const DEFAULT_MAX_REPLICA_LAG: Duration = Duration::from_secs(30);

/// One database server, with references to its secrets, never their values.
#[derive(Clone)]
pub(crate) struct Server {
    pub catalog: String,
    pub namespace: String,
    pub host: String,
    pub port: u16,
    pub username: SecretKeyReference,
    pub password: SecretKeyReference,
    pub tls: TlsMode,
    pub authority: Option<SecretKeyReference>,
    pub max_connections: usize,
    pub statement_timeout: Duration,
    /// What is read instead of the primary.
    pub replicas: Arc<[Address]>,
    pub max_replica_lag: Duration,
    pub on_replica_lag: OnReplicaLag,
    secrets: Arc<dyn Secrets>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

/// What the spec of a kind of store says about its server.
pub(crate) struct ServerSpec<'a> {
    pub primary: &'a PrimaryEndpoint,
    pub default_port: u16,
    pub replicas: &'a [Endpoint],
    pub max_replica_lag: Option<Duration>,
    pub on_replica_lag: Option<OnReplicaLag>,
    pub credentials: &'a Credentials,
    pub tls: TlsSpec,
    pub limits: ConnectionLimits,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("catalog", &self.catalog)
            .field("address", &self.address())
            .field("tls", &self.tls)
            .field("max_connections", &self.max_connections)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn new(spec: ServerSpec<'_>, context: &ConnectContext) -> Self {
        let secret = &spec.credentials.secret_ref;
        let key = |key: &str| SecretKeyReference {
            name: secret.name.clone(),
            key: key.to_owned(),
        };
        let replica = |endpoint: &Endpoint| Address {
            host: endpoint.host.clone(),
            port: endpoint.port.unwrap_or(spec.default_port),
        };
        Self {
            catalog: context.catalog.clone(),
            namespace: context.namespace.clone(),
            host: spec.primary.host.clone(),
            port: spec.primary.port.unwrap_or(spec.default_port),
            username: key(secret.username_key()),
            password: key(secret.password_key()),
            tls: spec.tls.mode(),
            authority: spec.tls.ca_secret_ref,
            max_connections: spec.limits.max_connections().max(1) as usize,
            statement_timeout: spec.limits.statement_timeout(),
            replicas: spec.replicas.iter().map(replica).collect(),
            max_replica_lag: spec.max_replica_lag.unwrap_or(DEFAULT_MAX_REPLICA_LAG),
            on_replica_lag: spec.on_replica_lag.unwrap_or_default(),
            secrets: Arc::clone(&context.secrets),
        }
    }

    /// The same user with the same settings on another server.
    pub(crate) fn at(&self, address: &Address) -> Self {
        Self {
            host: address.host.clone(),
            port: address.port,
            ..self.clone()
        }
    }

    /// `host:port`, as errors name the server.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// How long the server may be silent.
    pub(crate) fn patience(&self) -> Duration {
        self.statement_timeout + GRACE
    }

    /// What the server answers, unless it stays silent: a connection may lead to a server that hangs, or to nobody, and
    /// be open for ever.
    pub(crate) async fn answered<T>(&self, answer: impl Future<Output = T>) -> Result<T, ConnectorError> {
        timeout(self.patience(), answer)
            .await
            .map_err(|_| ConnectorError::TimedOut {
                catalog: self.catalog.clone(),
                endpoint: self.address(),
                seconds: self.patience().as_secs(),
            })
    }

    /// Read anew for each connection, so that a rotated secret needs no restart.
    pub(crate) async fn secret(&self, reference: &SecretKeyReference) -> Result<SecretValue, ConnectorError> {
        self.secrets
            .get(&self.namespace, &reference.name, &reference.key)
            .await
            .map_err(|error| ConnectorError::SecretUnusable {
                catalog: self.catalog.clone(),
                secret: format!("{}/{}", reference.name, reference.key),
                key_missing: matches!(error, SecretError::KeyMissing { .. }),
                message: error.to_string(),
            })
    }
}
