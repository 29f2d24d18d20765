//! What a catalog is made of: a store behind a connector, or a lake.

use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::{StreamExt, TryStreamExt};
use lakegate_connectors::{
    ConnectContext, Connector, ConnectorError, ReplicaHealth, TableDescription, TableKind,
};
use lakegate_crds::DataSourceSpec;
use lakegate_crds::conditions::Reason;
use lakegate_lake::{Lake, LakeContext, LakeError, LakeTable, Patience};
use lakegate_store::Secrets;

use crate::metadata::{RelationKind, TableMetadata, columns_of};
use crate::time_travel::{self, LakeRelation};

/// Why a source cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// In words; names the source and what to do, holds no secret.
    pub message: String,
    /// As a condition's reason.
    pub reason: Reason,
    /// No retry will help until the spec (or a Secret) changes.
    pub terminal: bool,
}

impl From<ConnectorError> for SourceError {
    fn from(error: ConnectorError) -> Self {
        Self {
            message: error.to_string(),
            reason: error.reason(),
            terminal: error.is_terminal(),
        }
    }
}

impl From<LakeError> for SourceError {
    fn from(error: LakeError) -> Self {
        let message = match &error {
            // what the store said is all there is to know
            LakeError::Store { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        Self {
            message,
            reason: error.reason().unwrap_or(Reason::DiscoveryFailed),
            terminal: error.is_terminal(),
        }
    }
}

/// One relation of a source, as discovered.
#[derive(Clone)]
pub struct DiscoveredTable {
    pub schema: String,
    pub metadata: Arc<TableMetadata>,
    /// What [`CatalogSource::open`] needs of it.
    pub handle: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for DiscoveredTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DiscoveredTable")
            .field("schema", &self.schema)
            .field("name", &self.metadata.name)
            .finish_non_exhaustive()
    }
}

/// A store or lake that can be served as a catalog.
#[async_trait]
pub trait CatalogSource: fmt::Debug + Send + Sync {
    /// Where it is; no secret.
    fn endpoint(&self) -> String;

    /// Asks the store for a sign of life; returns its version.
    async fn probe(&self) -> Result<Option<String>, SourceError>;

    /// Every relation it admits to.
    async fn discover(&self) -> Result<Vec<DiscoveredTable>, SourceError>;

    /// How each replica of the store is; empty without any.
    async fn replicas(&self) -> Vec<ReplicaHealth> {
        Vec::new()
    }

    /// Makes all further reads go to one server of the store, or fail.
    fn pin(&self) {}

    /// As [`Self::pin`], and all further reads see one moment where the store has a way to it.
    fn hold(&self) {
        self.pin();
    }

    /// A provider for a discovered relation.
    async fn open(&self, table: &DiscoveredTable) -> Result<Arc<dyn TableProvider>, DataFusionError>;

    /// The relation as it is now, for sources whose tables come and go between two
    /// discoveries (a lake, after a run). None: ask the last discovery.
    async fn newest(
        &self,
        _schema: &str,
        _table: &str,
    ) -> Option<Result<Option<DiscoveredTable>, DataFusionError>> {
        None
    }

    /// True when [`Self::open`] pins a version, so that a plan kept for later must
    /// open its tables anew when it starts.
    fn versioned(&self) -> bool {
        false
    }

    /// The lake, when the source is one.
    fn lake(&self) -> Option<&Arc<Lake>> {
        None
    }

    /// True when a provider opened for one serves the other.
    fn same(&self, left: &DiscoveredTable, right: &DiscoveredTable) -> bool {
        left.schema == right.schema && left.metadata == right.metadata
    }
}

pub(crate) fn schemas_equal(left: &SchemaRef, right: &SchemaRef) -> bool {
    Arc::ptr_eq(left, right) || left == right
}

/// A store behind a connector.
#[derive(Debug)]
pub(crate) struct ConnectorSource(pub(crate) Arc<dyn Connector>);

fn relation_kind(kind: TableKind) -> RelationKind {
    match kind {
        TableKind::PartitionedTable => RelationKind::PartitionedTable,
        TableKind::View => RelationKind::View,
        TableKind::MaterializedView => RelationKind::MaterializedView,
        TableKind::Foreign => RelationKind::ForeignTable,
        TableKind::Table | TableKind::Files => RelationKind::Table,
    }
}

fn described(table: TableDescription) -> DiscoveredTable {
    let mut columns = columns_of(&table.columns);
    for (column, details) in columns.iter_mut().zip(&table.details) {
        column.comment.clone_from(&details.comment);
    }
    let metadata = Arc::new(TableMetadata {
        name: table.name.clone(),
        kind: relation_kind(table.kind),
        comment: table.comment.clone(),
        rows: table.rows,
        columns,
        primary_key: table.primary_key.clone(),
        definition: None,
    });
    DiscoveredTable {
        schema: table.schema.clone(),
        metadata,
        handle: Arc::new(table),
    }
}

fn handle<T: Any>(table: &DiscoveredTable) -> Result<&T, DataFusionError> {
    let handle: &(dyn Any + Send + Sync) = table.handle.as_ref();
    handle.downcast_ref::<T>().ok_or_else(|| {
        DataFusionError::Internal(format!("{table:?} was discovered by another kind of source"))
    })
}

#[async_trait]
impl CatalogSource for ConnectorSource {
    fn endpoint(&self) -> String {
        self.0.endpoint()
    }

    async fn probe(&self) -> Result<Option<String>, SourceError> {
        Ok(self.0.probe().await?.server_version)
    }

    async fn discover(&self) -> Result<Vec<DiscoveredTable>, SourceError> {
        Ok(self.0.discover().await?.into_iter().map(described).collect())
    }

    async fn replicas(&self) -> Vec<ReplicaHealth> {
        self.0.replicas().await
    }

    fn pin(&self) {
        self.0.pin();
    }

    fn hold(&self) {
        self.0.hold();
    }

    async fn open(&self, table: &DiscoveredTable) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        Ok(self.0.open(handle::<TableDescription>(table)?).await?)
    }

    fn same(&self, left: &DiscoveredTable, right: &DiscoveredTable) -> bool {
        let tables = (
            handle::<TableDescription>(left),
            handle::<TableDescription>(right),
        );
        matches!(tables, (Ok(left), Ok(right)) if left == right)
    }
}

/// A lake: its tables are those with a committed version, each read at the newest.
#[derive(Debug)]
pub(crate) struct LakeSource(pub(crate) Arc<Lake>);

/// Tables of a lake whose metadata is read at the same time.
const LAKE_READERS: usize = 8;

fn lake_table(table: LakeTable) -> DiscoveredTable {
    let metadata = Arc::new(TableMetadata {
        name: table.name().name.clone(),
        kind: RelationKind::Table,
        comment: None,
        rows: table.rows(),
        columns: columns_of(table.schema()),
        primary_key: Vec::new(),
        definition: None,
    });
    DiscoveredTable {
        schema: table.name().schema.clone(),
        metadata,
        handle: Arc::new(table),
    }
}

/// The handle of a list of snapshots.
struct SnapshotsOf(LakeTable);

fn lake_snapshots(table: LakeTable) -> DiscoveredTable {
    let metadata = Arc::new(TableMetadata {
        name: format!("{}$snapshots", table.name().name),
        kind: RelationKind::Table,
        comment: None,
        rows: None,
        columns: columns_of(&time_travel::snapshots_schema()),
        primary_key: Vec::new(),
        definition: None,
    });
    DiscoveredTable {
        schema: table.name().schema.clone(),
        metadata,
        handle: Arc::new(SnapshotsOf(table)),
    }
}

fn lake_failed(error: LakeError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[async_trait]
impl CatalogSource for LakeSource {
    fn endpoint(&self) -> String {
        self.0.location().to_owned()
    }

    async fn probe(&self) -> Result<Option<String>, SourceError> {
        Ok(None)
    }

    async fn discover(&self) -> Result<Vec<DiscoveredTable>, SourceError> {
        let names = self.0.list().await?;
        let tables: Vec<Option<DiscoveredTable>> = futures::stream::iter(names)
            .map(|name| async move {
                match self.0.load(&name.schema, &name.name).await {
                    // it may have been dropped since the listing
                    Ok(table) => Ok(table.map(lake_table)),
                    Err(error) => {
                        // one unreadable table hides no other; naming it gives this error
                        tracing::warn!(table = %name, %error, "a lake table cannot be read");
                        Ok::<_, SourceError>(None)
                    }
                }
            })
            .buffered(LAKE_READERS)
            .try_collect()
            .await?;
        Ok(tables.into_iter().flatten().collect())
    }

    async fn open(&self, table: &DiscoveredTable) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        if let Ok(SnapshotsOf(table)) = handle::<SnapshotsOf>(table) {
            return time_travel::snapshots_table(table);
        }
        self.0
            .provider(handle::<LakeTable>(table)?)
            .await
            .map_err(lake_failed)
    }

    async fn newest(
        &self,
        schema: &str,
        table: &str,
    ) -> Option<Result<Option<DiscoveredTable>, DataFusionError>> {
        let relation = match LakeRelation::of(table) {
            Ok(relation) => relation,
            Err(error) => return Some(Err(error.into())),
        };
        Some(match relation {
            LakeRelation::Newest(table) => {
                let newest = self.0.load(schema, table).await;
                newest.map(|table| table.map(lake_table)).map_err(lake_failed)
            }
            LakeRelation::AsOf(base, as_of) => {
                let older = self.0.load_as_of(schema, base, as_of).await;
                older
                    .map(|table| table.map(lake_table))
                    .map_err(|error| time_travel::no_snapshot(error, table))
            }
            LakeRelation::Snapshots(table) => {
                let newest = self.0.load(schema, table).await;
                newest.map(|table| table.map(lake_snapshots)).map_err(lake_failed)
            }
        })
    }

    fn versioned(&self) -> bool {
        true
    }

    fn lake(&self) -> Option<&Arc<Lake>> {
        Some(&self.0)
    }
}

/// What opening a DataSource needs beside its spec.
#[derive(Clone)]
pub struct SourceContext {
    /// The namespace of the DataSource: its Secrets are there.
    pub namespace: String,
    /// What relative paths of the spec are relative to: the folder of its manifest.
    pub base_dir: PathBuf,
    /// The state directory: a lake without a path is in it.
    pub state_dir: PathBuf,
    pub secrets: Arc<dyn Secrets>,
    /// The environment that queries run in.
    pub runtime: Arc<RuntimeEnv>,
}

impl fmt::Debug for SourceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SourceContext")
            .field("namespace", &self.namespace)
            .field("base_dir", &self.base_dir)
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}

/// Opens what a DataSource names; no network yet, [`CatalogSource::probe`] does that.
///
/// # Errors
/// An unusable spec or Secret.
pub async fn open_source(
    spec: &DataSourceSpec,
    catalog: &str,
    context: &SourceContext,
) -> Result<Arc<dyn CatalogSource>, SourceError> {
    if let Some(lake) = &spec.lake {
        let context = LakeContext {
            namespace: context.namespace.clone(),
            base_dir: context.base_dir.clone(),
            state_dir: context.state_dir.clone(),
            secrets: Arc::clone(&context.secrets),
            patience: Patience::Short,
        };
        let lake = Lake::open(lake, &context).await?;
        return Ok(Arc::new(LakeSource(lake)));
    }
    let context = ConnectContext {
        catalog: catalog.to_owned(),
        namespace: context.namespace.clone(),
        base_dir: context.base_dir.clone(),
        secrets: Arc::clone(&context.secrets),
        runtime: Arc::clone(&context.runtime),
    };
    let connector = lakegate_connectors::connect(spec, context).await?;
    Ok(Arc::new(ConnectorSource(connector)))
}
