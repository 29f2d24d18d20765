//! A snapshot as a table of queries.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result, Statistics, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::{conjunction as physical_conjunction, split_conjunction};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::{ObjectMeta, ObjectStore};

use crate::columns::ByFieldId;
use crate::live::{FileBounds, LiveFile, LiveFiles};
use crate::ordered::keeps_order;
use crate::portable::{ArrowForm, arrow_schema};
use crate::scan::{LakeScan, ScannedTable};
use crate::versions::Version;

/// Reads exactly one version of a table; files are never overwritten, so it stays readable whatever is committed.
#[derive(Debug)]
pub(crate) struct LakeProvider {
    pub version: Arc<Version>,
    pub live: Arc<LiveFiles>,
    pub store: Arc<dyn ObjectStore>,
    /// Under which the sessions find the store.
    pub url: ObjectStoreUrl,
}

impl LakeProvider {
    /// The files that may hold a row for which all filters are true.
    fn files_for(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<LiveFile>> {
        let files = &self.live.files;
        let Some(filter) = conjunction(filters.to_vec()) else {
            return Ok(files.clone());
        };
        let schema = DFSchema::try_from(Arc::clone(&self.version.arrow))?;
        let predicate = state.create_physical_expr(filter, &schema)?;
        let ordered = split_conjunction(&predicate).into_iter().map(Arc::clone);
        let ordered = ordered.filter_map(|predicate| {
            let keeps = keeps_order(&predicate, &self.version.arrow);
            keeps.map(|keeps| keeps.then_some(predicate)).transpose()
        });
        let predicate = physical_conjunction(ordered.collect::<Result<Vec<_>>>()?);
        let Ok(pruning) = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&self.version.arrow))
            .try_build(predicate)
        else {
            // not every filter can be turned into bounds; the rows are filtered all the same
            return Ok(files.clone());
        };
        let bounds = FileBounds {
            schema: &self.version.arrow,
            files,
        };
        let Ok(kept) = pruning.prune(&bounds) else {
            // a cast of a bound that no row needs may fail
            return Ok(files.clone());
        };
        Ok(files
            .iter()
            .zip(kept)
            .filter(|(_, keep)| *keep)
            .map(|(file, _)| file.clone())
            .collect())
    }
}

fn no_rows(schema: &Schema) -> Statistics {
    Statistics {
        num_rows: Precision::Exact(0),
        ..Statistics::new_unknown(schema)
    }
}

#[async_trait]
impl TableProvider for LakeProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.version.arrow)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        let statistics: Vec<Statistics> = self.live.files.iter().map(LiveFile::statistics).collect();
        if statistics.is_empty() {
            return Some(no_rows(&self.version.arrow));
        }
        Statistics::try_merge_iter(&statistics, &self.version.arrow).ok()
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // used to skip files; every row is checked again
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.files_for(state, filters)?;
        if self.live.files.is_empty() {
            let schema = project_schema(&self.version.arrow, projection)?;
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let runtime = state.runtime_env();
        // Registering is idempotent and the URL is this lake's own, so any session can read any lake.
        runtime.register_object_store(self.url.as_ref(), Arc::clone(&self.store));

        let statistics: Vec<Statistics> = files.iter().map(LiveFile::statistics).collect();
        let total = match &statistics[..] {
            [] => no_rows(&self.version.arrow),
            some => Statistics::try_merge_iter(some, &self.version.arrow)?,
        };
        let total = if files.len() == self.live.files.len() {
            total
        } else {
            total.to_inexact()
        };
        let partitioned = files.iter().zip(statistics).map(|(file, statistics)| {
            // the key as it is: a path made from text would be percent-encoded once more
            let meta = ObjectMeta {
                location: file.path.clone(),
                last_modified: DateTime::UNIX_EPOCH,
                size: file.size,
                e_tag: None,
                version: None,
            };
            PartitionedFile::new_from_meta(meta).with_statistics(Arc::new(statistics))
        });
        let mut groups =
            FileGroup::new(partitioned.collect()).split_files(state.config().target_partitions());
        if groups.is_empty() {
            // a scan of no file, which still tells in EXPLAIN that it is one
            groups.push(FileGroup::default());
        }

        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let footers = runtime.cache_manager.get_file_metadata_cache();
        let source = ParquetSource::new(Arc::clone(&self.version.arrow))
            .with_table_parquet_options(options)
            // data files never change, so neither do their footers
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(
                Arc::clone(&self.store),
                footers,
            )));
        let opaque = self
            .live
            .may_hold_nan
            .iter()
            .map(|position| self.version.arrow.field(*position).name().clone())
            .collect();
        let columns = ByFieldId {
            table: arrow_schema(&self.version.schema, ArrowForm::Write),
            opaque: Arc::new(opaque),
        };
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(total)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_expr_adapter(Some(Arc::new(columns)))
            .build();
        Ok(DataSourceExec::from_data_source(LakeScan {
            files: Arc::new(config),
            scanned: ScannedTable {
                table: self.version.table.clone(),
                snapshot: self
                    .version
                    .snapshot
                    .as_ref()
                    .map(|snapshot| snapshot.snapshot_id()),
                total: self.live.files.len(),
                kept: files.len(),
            },
        }))
    }
}
