//! A set of files as DataFusion sees it. The files are listed anew for each scan.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::file_format::FileFormat as _;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;

use super::SCHEMA;
use super::files::{Definition, Directory, Format, Found};
use super::memory::Memory;
use super::parquet::{self, PinnedReaderFactory};
use super::text::{self, TextSource, TextTable};
use crate::ConnectorError;

/// Beyond this many files their footers are not read while planning.
const MAX_FOOTERS: usize = 1000;

/// Footers read at the same time.
const FOOTERS_IN_FLIGHT: usize = 16;

/// The files of one table.
#[derive(Debug)]
pub struct FilesTable {
    pub(super) catalog: String,
    pub(super) directory: Directory,
    pub(super) definition: Arc<Definition>,
    pub(super) memory: Arc<Memory>,
    /// All columns: those of the files, then those of the paths.
    pub(super) schema: SchemaRef,
    pub(super) file_schema: SchemaRef,
    pub(super) partitions: Vec<FieldRef>,
}

impl FilesTable {
    fn unreadable(
        &self,
        message: String,
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    ) -> DataFusionError {
        ConnectorError::TableUnreadable {
            catalog: self.catalog.clone(),
            schema: SCHEMA.to_owned(),
            table: self.definition.name.clone(),
            message,
            source,
        }
        .into()
    }

    /// A filter over nothing but the paths, which is decided while planning.
    fn is_about_paths(&self, filter: &Expr) -> bool {
        let names: HashSet<&str> = self
            .partitions
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let columns = filter.column_refs();
        !columns.is_empty()
            && columns.iter().all(|column| names.contains(column.name.as_str()))
            && !filter.is_volatile()
            && !filter.contains_outer()
            && !filter.contains_scalar_subquery()
    }

    /// The values a path gives the partition columns.
    fn partition_values(&self, file: &Found) -> Result<Vec<ScalarValue>> {
        self.partitions
            .iter()
            .map(|field| {
                let value = file
                    .partitions
                    .iter()
                    .find(|(name, _)| name == field.name())
                    .and_then(|(_, value)| value.as_deref());
                partition_value(value, field.data_type()).ok_or_else(|| {
                    let remedy = if self.definition.partitions.is_none() {
                        self.memory.is_text(&self.definition.name, field.name());
                        "; it is text from the next discovery on"
                    } else {
                        ""
                    };
                    self.unreadable(
                        format!(
                            "partition column \"{}\" is no {} in {}{remedy}",
                            field.name(),
                            field.data_type(),
                            file.shown
                        ),
                        None,
                    )
                })
            })
            .collect()
    }

    /// The files that the filters over paths leave.
    fn prune(
        &self,
        state: &dyn Session,
        files: Vec<(Found, Vec<ScalarValue>)>,
        filters: &[Expr],
    ) -> Result<Vec<(Found, Vec<ScalarValue>)>> {
        let Some(filter) = conjunction(filters.iter().map(unqualified).collect::<Result<Vec<_>>>()?) else {
            return Ok(files);
        };
        if files.is_empty() {
            return Ok(files);
        }
        let schema = Arc::new(Schema::new(self.partitions.clone()));
        let columns: Vec<ArrayRef> = (0..self.partitions.len())
            .map(|index| ScalarValue::iter_to_array(files.iter().map(|(_, values)| values[index].clone())))
            .collect::<Result<_>>()?;
        let batch = RecordBatch::try_new_with_options(
            Arc::clone(&schema),
            columns,
            &RecordBatchOptions::new().with_row_count(Some(files.len())),
        )?;
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema)?)?;
        let kept = filter.evaluate(&batch)?.into_array(files.len())?;
        let kept: &BooleanArray = kept.as_boolean();
        Ok(files
            .into_iter()
            .zip(kept.iter())
            .filter_map(|(file, kept)| (kept == Some(true)).then_some(file))
            .collect())
    }

    /// What the footer of a Parquet file says: the number of rows, and bounds of
    /// the columns that are stored in the table's own type.
    async fn footer(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        file: &Found,
    ) -> Result<Statistics> {
        let format = parquet::format();
        let own = format
            .infer_schema(state, store, std::slice::from_ref(&file.meta))
            .await?;
        let mut statistics = format
            .infer_stats(state, store, Arc::clone(&self.file_schema), &file.meta)
            .await?;
        for (field, column) in self
            .file_schema
            .fields()
            .iter()
            .zip(&mut statistics.column_statistics)
        {
            let same = own
                .field_with_name(field.name())
                .is_ok_and(|own| own.data_type() == field.data_type() && !own.data_type().is_nested());
            if !same {
                *column = ColumnStatistics::new_unknown();
            }
        }
        Ok(statistics)
    }

    fn partitioned(
        file: &Found,
        values: Vec<ScalarValue>,
        statistics: Option<Statistics>,
    ) -> PartitionedFile {
        let nulls: Vec<bool> = values.iter().map(ScalarValue::is_null).collect();
        let mut partitioned = PartitionedFile::new_from_meta(file.meta.clone()).with_partition_values(values);
        if let Some(statistics) = statistics {
            let first = statistics.column_statistics.len();
            let rows = statistics.num_rows;
            partitioned = partitioned.with_statistics(Arc::new(statistics));
            if let Some(shared) = &mut partitioned.statistics {
                let statistics = Arc::make_mut(shared);
                for (index, is_null) in nulls.into_iter().enumerate() {
                    // A NULL of a path is counted as a value by `with_statistics`.
                    if is_null && let Some(column) = statistics.column_statistics.get_mut(first + index) {
                        *column = ColumnStatistics {
                            null_count: rows,
                            ..ColumnStatistics::new_unknown()
                        };
                    }
                }
            }
        }
        partitioned
    }
}

/// The value of a path segment in its column's type.
pub(super) fn partition_value(text: Option<&str>, data_type: &DataType) -> Option<ScalarValue> {
    let Some(text) = text else {
        return ScalarValue::try_from(data_type).ok();
    };
    match data_type {
        DataType::Utf8 => Some(ScalarValue::Utf8(Some(text.to_owned()))),
        DataType::Int64 => text.parse().ok().map(|value| ScalarValue::Int64(Some(value))),
        DataType::Date32 => text::date(text).map(|days| ScalarValue::Date32(Some(days))),
        other => ScalarValue::Utf8(Some(text.to_owned())).cast_to(other).ok(),
    }
}

/// The filter over bare column names, whatever the table is called in the query.
fn unqualified(filter: &Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    Ok(filter
        .clone()
        .transform(|expr| {
            Ok(match expr {
                Expr::Column(column) if column.relation.is_some() => Transformed::yes(Expr::Column(
                    datafusion::common::Column::new_unqualified(column.name),
                )),
                other => Transformed::no(other),
            })
        })?
        .data)
}

#[async_trait]
impl TableProvider for FilesTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let store = Arc::clone(&self.directory.store);
        let url = self.directory.url.clone();
        // The plan finds its store in the environment it runs in, by this address;
        // paths are absolute, so that no two sources ever mean different files.
        state
            .runtime_env()
            .register_object_store(url.as_ref(), Arc::clone(&store));

        let (format, files) = self
            .directory
            .files(&self.definition)
            .await
            .map_err(|error| self.unreadable(error.to_string(), Some(Box::new(error))))?;
        let files = files
            .into_iter()
            .map(|file| self.partition_values(&file).map(|values| (file, values)))
            .collect::<Result<Vec<_>>>()?;
        let about_paths: Vec<Expr> = filters
            .iter()
            .filter(|filter| self.is_about_paths(filter))
            .cloned()
            .collect();
        let files = self.prune(state, files, &about_paths)?;
        let (Some(format), false) = (format, files.is_empty()) else {
            let schema = match projection {
                Some(projection) => Arc::new(self.schema.project(projection)?),
                None => Arc::clone(&self.schema),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        };

        let table_schema = TableSchema::builder(Arc::clone(&self.file_schema))
            .with_table_partition_cols(self.partitions.clone())
            .build();
        let footers =
            format == Format::Parquet && files.len() <= MAX_FOOTERS && state.config().collect_statistics();
        let source: Arc<dyn FileSource> = match format {
            Format::Parquet => {
                let readers = PinnedReaderFactory::new(Arc::clone(&store), Arc::clone(state.runtime_env()));
                let options = state.default_table_options().parquet;
                Arc::new(
                    ParquetSource::new(table_schema)
                        .with_table_parquet_options(options)
                        .with_parquet_file_reader_factory(Arc::new(readers)),
                )
            }
            Format::Csv | Format::JsonLines => {
                let table = TextTable {
                    catalog: self.catalog.clone(),
                    definition: Arc::clone(&self.definition),
                    format,
                    root: self.directory.root.clone(),
                    memory: Arc::clone(&self.memory),
                };
                Arc::new(TextSource::new(Arc::new(table), table_schema))
            }
        };
        let files: Vec<PartitionedFile> = if footers {
            futures::stream::iter(files)
                .map(|(file, values)| {
                    let store = &store;
                    async move {
                        let statistics = self.footer(state, store, &file).await.map_err(|error| {
                            self.unreadable(
                                format!("{} cannot be read as Parquet: {error}", file.shown),
                                Some(Box::new(error)),
                            )
                        })?;
                        Ok::<_, DataFusionError>(Self::partitioned(&file, values, Some(statistics)))
                    }
                })
                .buffered(FOOTERS_IN_FLIGHT)
                .try_collect()
                .await?
        } else {
            files
                .into_iter()
                .map(|(file, values)| Self::partitioned(&file, values, None))
                .collect()
        };
        let statistics = if footers {
            let each: Vec<&Statistics> = files
                .iter()
                .filter_map(|file| file.statistics.as_deref())
                .collect();
            Statistics::try_merge_iter(each, &self.schema)?
        } else {
            let mut unknown = Statistics::new_unknown(&self.schema);
            let bytes: u64 = files.iter().map(|file| file.object_meta.size).sum();
            unknown.total_byte_size = Precision::Inexact(usize::try_from(bytes).unwrap_or(usize::MAX));
            unknown
        };
        let groups = FileGroup::new(files).split_files(state.config().target_partitions().max(1));
        let config = FileScanConfigBuilder::new(url, source)
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Others reach Parquet readers as physical filters, for pruning only.
        Ok(filters
            .iter()
            .map(|filter| {
                if self.is_about_paths(filter) {
                    TableProviderFilterPushDown::Exact
                } else {
                    TableProviderFilterPushDown::Unsupported
                }
            })
            .collect())
    }
}

/// A column named in a path, as a field.
pub(super) fn partition_field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}
