//! PostgreSQL, 12 and newer.
//!
//! Discovery reads pg_catalog; reads are `COPY (SELECT …) TO STDOUT (FORMAT
//! binary)` decoded by position straight into Arrow. Every statement runs in a
//! read-only transaction with pinned settings ([`settings::Settings::begin`]).
//!
//! What has an exact Arrow form gets it ([`types`]); everything else is the
//! server's own text. A value without an exact
//! form in its column (an infinite date, NaN in a numeric, 24:00:00, an array
//! of two dimensions) is an error that names the column, never another value.

mod blocks;
mod constant;
mod decode;
mod discover;
mod failure;
mod grouped;
mod guard;
mod moment;
mod outlet;
mod pool;
mod position;
mod render;
mod scan;
mod settings;
mod shared;
mod socket;
mod standing;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use lakegate_crds::{DiscoverySpec, PostgresSpec};

use self::discover::{OLDEST_VERSION, Server};
use self::failure::{failure, is_connection_lost};
use self::moment::Moment;
use self::pool::{Lease, Pool};
use self::render::RemoteShape;
use self::scan::PostgresTable;
use self::settings::Settings;
use self::types::{ColumnFacts, RemoteColumn};
use crate::scan::RemoteTableProvider;
use crate::server::Tables;
use crate::{ConnectContext, Connector, ConnectorError, Probe, ReplicaHealth, SourceKind, TableDescription};

/// One PostgreSQL database.
#[derive(Debug)]
pub struct PostgresConnector {
    pool: Arc<Pool>,
    moment: Arc<Moment>,
    discovery: DiscoverySpec,
}

impl PostgresConnector {
    /// Connects to nothing yet. Must be called within a Tokio runtime, which
    /// will carry the connections.
    pub fn new(
        spec: &PostgresSpec,
        discovery: DiscoverySpec,
        context: &ConnectContext,
    ) -> Result<Self, ConnectorError> {
        let settings = Settings::new(spec, context);
        Ok(Self {
            pool: Arc::new(Pool::new(settings)?),
            moment: Arc::default(),
            discovery,
        })
    }

    /// A connection inside a transaction of pinned settings, and its server. A
    /// connection that died while idle is replaced once.
    async fn begin(&self) -> Result<(Lease, Server), ConnectorError> {
        let patience = self.pool.patience_of_discovery();
        let mut lease = self.pool.acquire_to_discover().await?;
        loop {
            let settings = lease.driver();
            let client = &lease.connection()?.client;
            let begun = match client.batch_execute(&settings.begin()).await {
                Ok(()) => discover::server(client).await,
                Err(error) => Err(error),
            };
            match begun {
                Ok(server) if server.version_number < OLDEST_VERSION => {
                    let catalog = settings.catalog.clone();
                    lease.release();
                    return Err(ConnectorError::Store {
                        catalog,
                        message: format!("PostgreSQL {} is not supported; 12 or newer is", server.version),
                        source: None,
                    });
                }
                Ok(server) => return Ok((lease, server)),
                Err(error) if lease.reused && is_connection_lost(&error) => {
                    drop(lease);
                    lease = self.pool.acquire_fresh(patience).await?;
                }
                Err(error) => return Err(failure(settings, &error)),
            }
        }
    }
}

#[async_trait]
impl Connector for PostgresConnector {
    fn kind(&self) -> SourceKind {
        SourceKind::Postgres
    }

    fn endpoint(&self) -> String {
        format!("{}/{}", self.pool.addresses(), self.pool.driver().database)
    }

    async fn probe(&self) -> Result<Probe, ConnectorError> {
        let (lease, server) = self.begin().await?;
        lease.release();
        Ok(Probe {
            server_version: Some(server.version),
        })
    }

    async fn discover(&self) -> Result<Vec<TableDescription>, ConnectorError> {
        let (lease, server) = self.begin().await?;
        let settings = lease.driver();
        let client = &lease.connection()?.client;
        let tables = discover::tables(client, &server, &self.discovery, settings.unconstrained_numeric)
            .await
            .map_err(|error| failure(settings, &error))?;
        lease.release();
        Ok(tables)
    }

    async fn replicas(&self) -> Vec<ReplicaHealth> {
        self.pool.survey().await
    }

    fn pin(&self) {
        self.pool.pin();
    }

    fn hold(&self) {
        self.pool.pin();
        self.moment.want();
    }

    async fn open(&self, table: &TableDescription) -> Result<Arc<dyn TableProvider>, ConnectorError> {
        let foreign = || ConnectorError::Store {
            catalog: self.pool.driver().catalog.clone(),
            message: format!(
                "the description of {}.{} was not made by the discovery of a PostgreSQL database",
                table.schema, table.name
            ),
            source: None,
        };
        let fields = table.columns.fields();
        if fields.len() != table.details.len() {
            return Err(foreign());
        }
        let columns = fields
            .iter()
            .zip(&table.details)
            .map(|(field, details)| {
                let facts = ColumnFacts::from_map(&details.facts).ok_or_else(foreign)?;
                let column = RemoteColumn::new(field.name().clone(), &facts);
                if column.wire.data_type() == *field.data_type() {
                    Ok(column)
                } else {
                    Err(foreign())
                }
            })
            .collect::<Result<_, _>>()?;
        let shape = RemoteShape(Tables::new(table.schema.clone(), table.name.clone(), columns));
        let blocks = blocks::of(&table.facts);
        let (pool, moment) = (Arc::clone(&self.pool), Arc::clone(&self.moment));
        let remote = Arc::new(PostgresTable::new(pool, moment, shape, blocks));
        Ok(Arc::new(RemoteTableProvider::new(
            Arc::new(table.clone()),
            remote,
        )))
    }
}
