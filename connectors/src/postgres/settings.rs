//! Where a database is and how it may be used.

use std::ops::Deref;
use std::time::Duration;

use lakegate_crds::{PostgresSpec, UnconstrainedNumeric};

use crate::ConnectContext;
use crate::server::{Server, ServerSpec};

/// One PostgreSQL database.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub server: Server,
    pub database: String,
    pub unconstrained_numeric: UnconstrainedNumeric,
}

impl Deref for Settings {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Settings {
    pub(super) fn new(spec: &PostgresSpec, context: &ConnectContext) -> Self {
        let server = ServerSpec {
            primary: &spec.primary,
            default_port: PostgresSpec::DEFAULT_PORT,
            replicas: &spec.replicas,
            max_replica_lag: spec.max_replica_lag.as_ref().map(lakegate_crds::Duration::get),
            on_replica_lag: spec.on_replica_lag,
            credentials: &spec.credentials,
            tls: spec.tls(),
            limits: spec.limits(),
        };
        Self {
            server: Server::new(server, context),
            database: spec.database.clone(),
            unconstrained_numeric: spec.unconstrained_numeric(),
        }
    }

    /// Opens a read-only transaction in which no setting of the server, the
    /// database or the user changes what a query means. One round trip, and the
    /// settings end with the transaction: nothing leaks through a connection
    /// pooler that hands out sessions per transaction.
    pub(super) fn begin(&self) -> String {
        let timeout = self.timeout_after(Duration::ZERO);
        format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
             {timeout}; \
             SET LOCAL search_path = pg_catalog, pg_temp; \
             SET LOCAL TimeZone = 'UTC'; \
             SET LOCAL DateStyle = 'ISO, YMD'; \
             SET LOCAL IntervalStyle = 'iso_8601'; \
             SET LOCAL extra_float_digits = 3; \
             SET LOCAL bytea_output = 'hex'; \
             SET LOCAL standard_conforming_strings = on"
        )
    }

    /// The limit of a statement that is part of a work which has taken this long.
    pub(super) fn timeout_after(&self, elapsed: Duration) -> String {
        let left = self.statement_timeout.saturating_sub(elapsed);
        // The server's limit is an i32; 0 would mean no timeout at all.
        let timeout = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
        format!("SET LOCAL statement_timeout = {timeout}")
    }
}
