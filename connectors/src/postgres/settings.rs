//! Where a database is and how it may be used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lakegate_crds::{PostgresSpec, SecretKeyReference, TlsMode};
use lakegate_store::{SecretError, SecretValue, Secrets};

use crate::{ConnectContext, ConnectorError};

/// One PostgreSQL database, with references to its secrets, never their values.
#[derive(Clone)]
pub(super) struct Settings {
    pub catalog: String,
    pub namespace: String,
    pub host: String,
    pub port: u16,
    pub database: String,
    pub username: SecretKeyReference,
    pub password: SecretKeyReference,
    pub tls: TlsMode,
    pub authority: Option<SecretKeyReference>,
    pub max_connections: usize,
    pub statement_timeout: Duration,
    secrets: Arc<dyn Secrets>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("catalog", &self.catalog)
            .field("endpoint", &self.endpoint())
            .field("tls", &self.tls)
            .field("max_connections", &self.max_connections)
            .field("statement_timeout", &self.statement_timeout)
            .finish_non_exhaustive()
    }
}

impl Settings {
    pub(super) fn new(spec: &PostgresSpec, context: &ConnectContext) -> Result<Self, ConnectorError> {
        if !spec.replicas.is_empty() {
            // Reading the primary instead would be the one thing the user of
            // replicas asked not to happen.
            return Err(ConnectorError::NotImplemented {
                catalog: context.catalog.clone(),
                field: "spec.postgres.replicas".to_owned(),
            });
        }
        let secret = &spec.credentials.secret_ref;
        let key = |key: &str| SecretKeyReference {
            name: secret.name.clone(),
            key: key.to_owned(),
        };
        let tls = spec.tls();
        let limits = spec.limits();
        Ok(Self {
            catalog: context.catalog.clone(),
            namespace: context.namespace.clone(),
            host: spec.primary.host.clone(),
            port: spec.primary.port.unwrap_or(PostgresSpec::DEFAULT_PORT),
            database: spec.database.clone(),
            username: key(secret.username_key()),
            password: key(secret.password_key()),
            tls: tls.mode(),
            authority: tls.ca_secret_ref,
            max_connections: limits.max_connections().max(1) as usize,
            statement_timeout: limits.statement_timeout(),
            secrets: Arc::clone(&context.secrets),
        })
    }

    /// `host:port/database`.
    pub(super) fn endpoint(&self) -> String {
        format!("{}/{}", self.address(), self.database)
    }

    /// `host:port`, as errors name the server.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Read anew for each connection, so that a rotated secret needs no restart.
    pub(super) async fn secret(&self, reference: &SecretKeyReference) -> Result<SecretValue, ConnectorError> {
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

    /// Opens a read-only transaction in which no setting of the server, the
    /// database or the user changes what a query means. One round trip, and the
    /// settings end with the transaction: nothing leaks through a connection
    /// pooler that hands out sessions per transaction.
    pub(super) fn begin(&self) -> String {
        // The server's limit is an i32; 0 would mean no timeout at all.
        let timeout = i32::try_from(self.statement_timeout.as_millis())
            .unwrap_or(i32::MAX)
            .max(1);
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             SET LOCAL statement_timeout = {timeout}; \
             SET LOCAL search_path = pg_catalog, pg_temp; \
             SET LOCAL TimeZone = 'UTC'; \
             SET LOCAL DateStyle = 'ISO, YMD'; \
             SET LOCAL IntervalStyle = 'iso_8601'; \
             SET LOCAL extra_float_digits = 3; \
             SET LOCAL bytea_output = 'hex'; \
             SET LOCAL standard_conforming_strings = on"
        )
    }
}
