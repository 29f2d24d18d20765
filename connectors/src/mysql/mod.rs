//! MySQL, 5.7 and newer, and MariaDB, 10.2 and newer.
//!
//! Discovery reads information_schema; reads are prepared statements whose rows,
//! in the protocol's binary form, are decoded by position straight into Arrow.
//! Every session has pinned settings ([`settings::Settings::pins`]) and every
//! scan reads one consistent snapshot in a read-only transaction.
//!
//! What has an exact Arrow form gets it ([`types`]); everything else is the
//! server's own text. A value without an exact form in its column (a date with a
//! zero month) is an error that names the column, never another value; the date
//! `0000-00-00` alone is NULL, unless the DataSource says otherwise.

mod constant;
mod decode;
mod discover;
mod failure;
mod grouped;
mod pool;
mod position;
mod render;
mod scan;
mod settings;
mod standing;
mod types;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use lakegate_crds::{DiscoverySpec, MysqlSpec};

use self::failure::{failure, is_connection_lost};
use self::pool::{Lease, Pool};
use self::render::RemoteShape;
use self::scan::MysqlTable;
use self::settings::{BEGIN, Settings};
use self::types::{ColumnFacts, RemoteColumn};
use crate::scan::RemoteTableProvider;
use crate::server::Tables;
use crate::{ConnectContext, Connector, ConnectorError, Probe, ReplicaHealth, SourceKind, TableDescription};

/// One MySQL or MariaDB server, or one database of it.
#[derive(Debug)]
pub struct MysqlConnector {
    pool: Arc<Pool>,
    discovery: DiscoverySpec,
}

impl MysqlConnector {
    /// Connects to nothing yet. Must be called within a Tokio runtime, which
    /// will carry the connections.
    pub fn new(
        spec: &MysqlSpec,
        discovery: DiscoverySpec,
        context: &ConnectContext,
    ) -> Result<Self, ConnectorError> {
        let settings = Settings::new(spec, context);
        Ok(Self {
            pool: Arc::new(Pool::new(settings)?),
            discovery,
        })
    }

    /// A connection inside a read-only transaction. One that died while idle is
    /// replaced once.
    async fn begin(&self) -> Result<Lease, ConnectorError> {
        let patience = self.pool.patience_of_discovery();
        let mut lease = self.pool.acquire_to_discover().await?;
        loop {
            match lease.connection_mut()?.client.run(BEGIN).await {
                Ok(()) => return Ok(lease),
                Err(error) if lease.reused && is_connection_lost(&error) => {
                    drop(lease);
                    lease = self.pool.acquire_fresh(patience).await?;
                }
                Err(error) => return Err(failure(lease.driver(), &error)),
            }
        }
    }
}

#[async_trait]
impl Connector for MysqlConnector {
    fn kind(&self) -> SourceKind {
        SourceKind::Mysql
    }

    fn endpoint(&self) -> String {
        let addresses = self.pool.addresses();
        match &self.pool.driver().database {
            Some(database) => format!("{addresses}/{database}"),
            None => addresses,
        }
    }

    async fn probe(&self) -> Result<Probe, ConnectorError> {
        let lease = self.begin().await?;
        let server_version = lease.connection()?.version.text.clone();
        lease.release();
        Ok(Probe {
            server_version: Some(server_version),
        })
    }

    async fn discover(&self) -> Result<Vec<TableDescription>, ConnectorError> {
        let mut lease = self.begin().await?;
        let settings = self.pool.driver();
        let tables = discover::tables(lease.connection_mut()?, settings, &self.discovery)
            .await
            .map_err(|error| failure(lease.driver(), &error))?;
        lease.release();
        Ok(tables)
    }

    async fn replicas(&self) -> Vec<ReplicaHealth> {
        self.pool.survey().await
    }

    fn pin(&self) {
        self.pool.pin();
    }

    async fn open(&self, table: &TableDescription) -> Result<Arc<dyn TableProvider>, ConnectorError> {
        let settings = self.pool.driver();
        let foreign = || ConnectorError::Store {
            catalog: settings.catalog.clone(),
            message: format!(
                "the description of {}.{} was not made by the discovery of a MySQL server",
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
        let shape = RemoteShape {
            tables: Tables::new(table.schema.clone(), table.name.clone(), columns),
            zero_dates: settings.zero_dates,
        };
        let remote = Arc::new(MysqlTable::new(Arc::clone(&self.pool), shape));
        Ok(Arc::new(RemoteTableProvider::new(
            Arc::new(table.clone()),
            remote,
        )))
    }
}
