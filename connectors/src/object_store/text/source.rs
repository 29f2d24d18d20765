//! Text files as a source of DataFusion's file scan, which brings the partitions,
//! partition columns, metrics and limits.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileOpenFuture, FileOpener, FileScanConfig, FileSource};
use datafusion::datasource::projection::{ProjectionOpener, SplitProjection};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, apply_expression_roots};
use futures::StreamExt;
use object_store::ObjectStore;

use super::read::{Decoding, TextFailure, TextFile, decode};
use crate::object_store::files::{Definition, Format, by_ending};
use crate::object_store::memory::Memory;
use crate::{ConnectorError, RefusedValue};

/// Everything an opener needs to know of its table.
#[derive(Debug)]
pub struct TextTable {
    pub catalog: String,
    pub definition: Arc<Definition>,
    pub format: Format,
    /// The source's directory in the store, left out of messages.
    pub root: object_store::path::Path,
    /// Columns found wrong while reading are noted here.
    pub memory: Arc<Memory>,
}

impl TextTable {
    fn file(&self, location: &object_store::path::Path) -> TextFile {
        let (_, compression, tabs) = by_ending(location.filename().unwrap_or_default());
        TextFile {
            location: location.clone(),
            format: self.format,
            compression: self.definition.compression.unwrap_or(compression),
            tabs,
            dialect: self.definition.csv.clone(),
        }
    }

    fn shown(&self, location: &object_store::path::Path) -> String {
        match location.prefix_match(&self.root) {
            Some(parts) => parts
                .map(|part| part.as_ref().to_owned())
                .collect::<Vec<_>>()
                .join("/"),
            None => location.to_string(),
        }
    }

    fn failed(&self, failure: TextFailure, location: &object_store::path::Path) -> DataFusionError {
        let schema = crate::object_store::SCHEMA.to_owned();
        match failure {
            TextFailure::Store(error) => ConnectorError::TableUnreadable {
                catalog: self.catalog.clone(),
                schema,
                table: self.definition.name.clone(),
                message: format!("{} cannot be read: {error}", self.shown(location)),
                source: Some(Box::new(error)),
            },
            TextFailure::Format(message) => ConnectorError::TableUnreadable {
                catalog: self.catalog.clone(),
                schema,
                table: self.definition.name.clone(),
                message: format!("{}: {message}", self.shown(location)),
                source: None,
            },
            TextFailure::Value { column, row, message } => {
                let remedy = if self.definition.columns.is_empty() {
                    self.memory.is_text(&self.definition.name, &column);
                    "; the column is text from the next discovery on, or as its `columns` entry declares it"
                } else {
                    "; declare the column as text"
                };
                let unit = if self.format == Format::Csv {
                    "record"
                } else {
                    "line"
                };
                ConnectorError::ValueRefused(Box::new(RefusedValue {
                    catalog: self.catalog.clone(),
                    schema,
                    table: self.definition.name.clone(),
                    column,
                    row: format!("in {unit} {row} of {}", self.shown(location)),
                    message: format!("is {message}{remedy}"),
                }))
            }
        }
        .into()
    }
}

/// Reads CSV and JSON lines files of one table.
#[derive(Clone)]
pub struct TextSource {
    table: Arc<TextTable>,
    schema: TableSchema,
    names: Arc<[String]>,
    projection: SplitProjection,
    batch_size: usize,
    metrics: ExecutionPlanMetricsSet,
}

impl TextSource {
    pub fn new(table: Arc<TextTable>, schema: TableSchema) -> Self {
        Self {
            projection: SplitProjection::unprojected(&schema),
            names: schema
                .file_schema()
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .collect(),
            schema,
            table,
            batch_size: 8192,
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl FileSource for TextSource {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        _config: &FileScanConfig,
        _partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let schema = Arc::new(self.schema.file_schema().project(&self.projection.file_indices)?);
        let opener = TextOpener {
            table: Arc::clone(&self.table),
            store: object_store,
            decoding: Decoding {
                schema,
                names: Arc::clone(&self.names),
                declared: !self.table.definition.columns.is_empty(),
                batch_size: self.batch_size,
            },
        };
        ProjectionOpener::try_new(
            self.projection.clone(),
            Arc::new(opener),
            self.schema.file_schema(),
        )
    }

    fn table_schema(&self) -> &TableSchema {
        &self.schema
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self {
            batch_size,
            ..self.clone()
        })
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let merged = self.projection.source.try_merge(projection)?;
        Ok(Some(Arc::new(Self {
            projection: SplitProjection::new(self.schema.file_schema(), &merged),
            ..self.clone()
        })))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        Some(&self.projection.source)
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        &self.metrics
    }

    fn file_type(&self) -> &'static str {
        self.table.format.name()
    }

    fn fmt_extra(&self, _format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, ", source={} (objectStore)", self.table.catalog)
    }

    /// A quoted value may hold a line end, so a file is read from its start.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.projection.source.iter(), visit)
    }
}

struct TextOpener {
    table: Arc<TextTable>,
    store: Arc<dyn ObjectStore>,
    decoding: Decoding,
}

impl FileOpener for TextOpener {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        let table = Arc::clone(&self.table);
        let store = Arc::clone(&self.store);
        let decoding = self.decoding.clone();
        let location = file.object_meta.location;
        Ok(Box::pin(async move {
            let text = table.file(&location);
            let rows = decode(text, store, decoding)
                .await
                .map_err(|failure| table.failed(failure, &location))?;
            Ok(rows
                .map(move |batch: std::result::Result<RecordBatch, TextFailure>| {
                    batch.map_err(|failure| table.failed(failure, &location))
                })
                .boxed())
        }))
    }
}
