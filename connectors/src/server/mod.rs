//! What connectors to a database server share: where it is, how it is reached,
//! and how many connections it grants.

mod pool;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lakegate_crds::{
    ConnectionLimits, Credentials, Endpoint, PrimaryEndpoint, SecretKeyReference, TlsMode, TlsSpec,
};
use lakegate_store::{SecretError, SecretValue, Secrets};

pub(crate) use pool::{Driver, Lease, Pool};

use crate::{ConnectContext, ConnectorError};

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
    secrets: Arc<dyn Secrets>,
}

/// What the spec of a kind of store says about its server.
pub(crate) struct ServerSpec<'a> {
    /// The field of `spec` that configures this kind.
    pub kind: &'static str,
    pub primary: &'a PrimaryEndpoint,
    pub default_port: u16,
    pub replicas: &'a [Endpoint],
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
    pub(crate) fn new(spec: ServerSpec<'_>, context: &ConnectContext) -> Result<Self, ConnectorError> {
        if !spec.replicas.is_empty() {
            // Reading the primary instead would be the one thing the user of
            // replicas asked not to happen.
            return Err(ConnectorError::NotImplemented {
                catalog: context.catalog.clone(),
                field: format!("spec.{}.replicas", spec.kind),
            });
        }
        let secret = &spec.credentials.secret_ref;
        let key = |key: &str| SecretKeyReference {
            name: secret.name.clone(),
            key: key.to_owned(),
        };
        Ok(Self {
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
            secrets: Arc::clone(&context.secrets),
        })
    }

    /// `host:port`, as errors name the server.
    pub(crate) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
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
