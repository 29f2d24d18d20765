//! PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use lakegate_crds::{DiscoverySpec, PostgresSpec};

use crate::{ConnectContext, Connector, ConnectorError, Probe, SourceKind, TableDescription};

/// A PostgreSQL database.
#[derive(Debug)]
pub struct PostgresConnector {
    catalog: String,
}

impl PostgresConnector {
    pub fn new(
        _spec: &PostgresSpec,
        _discovery: DiscoverySpec,
        context: ConnectContext,
    ) -> Result<Self, ConnectorError> {
        Ok(Self {
            catalog: context.catalog,
        })
    }

    fn not_implemented(&self) -> ConnectorError {
        ConnectorError::NotImplemented {
            catalog: self.catalog.clone(),
            field: "spec.postgres".to_owned(),
        }
    }
}

#[async_trait]
impl Connector for PostgresConnector {
    fn kind(&self) -> SourceKind {
        SourceKind::Postgres
    }

    fn endpoint(&self) -> String {
        String::new()
    }

    async fn probe(&self) -> Result<Probe, ConnectorError> {
        Err(self.not_implemented())
    }

    async fn discover(&self) -> Result<Vec<TableDescription>, ConnectorError> {
        Err(self.not_implemented())
    }

    async fn open(&self, _table: &TableDescription) -> Result<Arc<dyn TableProvider>, ConnectorError> {
        Err(self.not_implemented())
    }
}
