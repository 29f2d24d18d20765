//! What a catalog is made of: a store behind a connector, or a lake.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;

use crate::metadata::TableMetadata;

/// Why a source cannot serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// In words; names the source and what to do, holds no secret.
    pub message: String,
    /// The condition's reason.
    pub reason: String,
    /// No retry will help until the spec (or a Secret) changes.
    pub terminal: bool,
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
    /// The kind of store, as the spec's field names it.
    fn kind(&self) -> &'static str;

    /// Where it is; no secret.
    fn endpoint(&self) -> String;

    /// Asks the store for a sign of life; returns its version.
    async fn probe(&self) -> Result<Option<String>, SourceError>;

    /// Every relation it admits to.
    async fn discover(&self) -> Result<Vec<DiscoveredTable>, SourceError>;

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
}

pub(crate) fn schemas_equal(left: &SchemaRef, right: &SchemaRef) -> bool {
    Arc::ptr_eq(left, right) || left == right
}
