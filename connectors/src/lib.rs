//! The stores Lakegate reads: one module a kind of store, behind [`Connector`].
//!
//! A connector discovers tables and opens them as DataFusion tables. What a
//! store may be asked to do is decided by the shared leaf scan in [`scan`]:
//! push-down never changes an answer.

mod decimal;
mod error;
pub mod mysql;
pub mod object_store;
pub mod postgres;
pub mod scan;
mod server;
pub mod sqlite;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;
use lakegate_crds::DataSourceSpec;
pub use lakegate_crds::{PG_TYPE_METADATA, SourceKind};
use lakegate_store::Secrets;

pub use error::{ConnectorError, RefusedValue};

/// What a DataSource needs from its surroundings.
#[derive(Clone)]
pub struct ConnectContext {
    /// The catalog name: errors and EXPLAIN name the store by it.
    pub catalog: String,
    /// Where its Secrets are looked up.
    pub namespace: String,
    /// What relative paths of the spec are relative to.
    pub base_dir: PathBuf,
    pub secrets: Arc<dyn Secrets>,
    /// The environment queries will run in; object stores are registered here.
    pub runtime: Arc<RuntimeEnv>,
}

impl fmt::Debug for ConnectContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectContext")
            .field("catalog", &self.catalog)
            .field("namespace", &self.namespace)
            .field("base_dir", &self.base_dir)
            .finish_non_exhaustive()
    }
}

/// What a store said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probe {
    /// As the store prints it, without its name: `15.20`.
    pub server_version: Option<String>,
}

/// How a replica of a store was when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaHealth {
    /// `host:port`.
    pub address: String,
    /// How far it is behind; None where that is not known.
    pub lag: Option<Duration>,
    /// Why it is not read; names the replica. None: it may be read.
    pub problem: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    Foreign,
    /// Files read as one table.
    Files,
}

/// What a store says about one column, beside its Arrow field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnDetails {
    /// The type as the store spells it: `character varying(20)`.
    pub declared_type: String,
    pub comment: Option<String>,
    /// Facts only its connector reads, such as a collation. Thousands of columns have the same.
    pub facts: Arc<BTreeMap<String, String>>,
}

/// One table of a store, as discovered.
#[derive(Debug, Clone, PartialEq)]
pub struct TableDescription {
    pub schema: String,
    pub name: String,
    pub kind: TableKind,
    /// Every column; one of a type Lakegate does not know is text.
    pub columns: SchemaRef,
    /// In the order of `columns`; empty or of the same length.
    pub details: Vec<ColumnDetails>,
    pub comment: Option<String>,
    /// Estimate of the number of rows.
    pub rows: Option<u64>,
    /// Column names, in key order; empty when there is none.
    pub primary_key: Vec<String>,
    /// Facts only its connector reads.
    pub facts: BTreeMap<String, String>,
}

/// A connected store. Cheap to hold: it opens connections only to work.
#[async_trait]
pub trait Connector: fmt::Debug + Send + Sync {
    fn kind(&self) -> SourceKind;

    /// Where the store is, for people; never a secret.
    fn endpoint(&self) -> String;

    /// Reaches the store and asks who it is.
    async fn probe(&self) -> Result<Probe, ConnectorError>;

    /// The tables that `discovery` admits. One table that cannot be described
    /// does not hide the others, and a column of an unknown type becomes text.
    async fn discover(&self) -> Result<Vec<TableDescription>, ConnectorError>;

    /// How each replica is; empty for a store without any. Cheap, so that it can be asked often.
    async fn replicas(&self) -> Vec<ReplicaHealth> {
        Vec::new()
    }

    /// Makes all further reads go to one server, the next that is read, or fail: for an export, whose parts must not
    /// come from replicas of different ages.
    fn pin(&self) {}

    /// As [`Self::pin`], and where the store has a way to it, all further reads see it at one moment: for an export of a
    /// query that may read several tables. May keep a connection open as long as the connector is there.
    fn hold(&self) {
        self.pin();
    }

    /// A table as a query reads it. Its schema is `table.columns`.
    async fn open(&self, table: &TableDescription) -> Result<Arc<dyn TableProvider>, ConnectorError>;
}

/// The connector of a DataSource. No I/O over a network: [`Connector::probe`]
/// does that.
///
/// # Errors
/// A kind that no code serves yet, a spec that cannot be, or an unusable Secret.
#[allow(clippy::unused_async)] // kinds to come resolve their Secrets here
pub async fn connect(
    spec: &DataSourceSpec,
    context: ConnectContext,
) -> Result<Arc<dyn Connector>, ConnectorError> {
    let discovery = spec.discovery();
    if let Some(postgres) = &spec.postgres {
        return Ok(Arc::new(postgres::PostgresConnector::new(
            postgres, discovery, &context,
        )?));
    }
    if let Some(mysql) = &spec.mysql {
        return Ok(Arc::new(mysql::MysqlConnector::new(mysql, discovery, &context)?));
    }
    if let Some(sqlite) = &spec.sqlite {
        return Ok(Arc::new(sqlite::SqliteConnector::new(
            sqlite, discovery, &context,
        )?));
    }
    if let Some(object_store) = &spec.object_store {
        return Ok(Arc::new(object_store::ObjectStoreConnector::new(
            object_store,
            discovery,
            &context,
        )?));
    }
    let field = [
        ("spec.redis", spec.redis.is_some()),
        ("spec.elasticsearch", spec.elasticsearch.is_some()),
        ("spec.spreadsheet", spec.spreadsheet.is_some()),
    ]
    .into_iter()
    .find_map(|(field, set)| set.then_some(field));
    match field {
        Some(field) => Err(ConnectorError::NotImplemented {
            catalog: context.catalog,
            field: field.to_owned(),
        }),
        None => Err(ConnectorError::InvalidSpec {
            catalog: context.catalog,
            field: "spec".to_owned(),
            message: "names no store that a connector reads".to_owned(),
        }),
    }
}
