//! The scan of a snapshot's files, which says in EXPLAIN what is read and how many files were left out.

use std::any::Any;
use std::fmt::{self, Formatter};
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::datasource::source::{DataSource, OpenArgs};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::SchedulingType;
use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, Partitioning, SortOrderPushdownResult};

use crate::name::LakeTableName;
use crate::ordered::keeps_order;

/// What EXPLAIN tells of the table.
#[derive(Debug, Clone)]
pub(crate) struct ScannedTable {
    pub table: LakeTableName,
    pub snapshot: Option<i64>,
    /// Files of the snapshot.
    pub total: usize,
    /// Those that may hold a row that is asked for.
    pub kept: usize,
}

/// A scan of files that knows the table.
#[derive(Debug, Clone)]
pub(crate) struct LakeScan {
    pub files: Arc<dyn DataSource>,
    pub scanned: ScannedTable,
}

impl LakeScan {
    fn of(&self, files: Arc<dyn DataSource>) -> Arc<dyn DataSource> {
        Arc::new(Self {
            files,
            scanned: self.scanned.clone(),
        })
    }
}

impl DataSource for LakeScan {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.files.open(partition, context)
    }

    fn open_with_args(&self, args: OpenArgs) -> Result<SendableRecordBatchStream> {
        self.files.open_with_args(args)
    }

    fn fmt_as(&self, format: DisplayFormatType, formatter: &mut Formatter<'_>) -> fmt::Result {
        let ScannedTable {
            table,
            snapshot,
            total,
            kept,
        } = &self.scanned;
        let pruned = total - kept;
        match format {
            DisplayFormatType::TreeRender => {
                writeln!(formatter, "table={table}")?;
                writeln!(formatter, "files_read={kept} of {total}")?;
            }
            DisplayFormatType::Default | DisplayFormatType::Verbose => {
                write!(formatter, "table={table}, ")?;
                if let Some(snapshot) = snapshot {
                    write!(formatter, "snapshot={snapshot}, ")?;
                }
                write!(formatter, "files={total}, files_pruned={pruned}, ")?;
            }
        }
        self.files.fmt_as(format, formatter)
    }

    fn repartitioned(
        &self,
        target_partitions: usize,
        repartition_file_min_size: usize,
        output_ordering: Option<LexOrdering>,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        let files =
            self.files
                .repartitioned(target_partitions, repartition_file_min_size, output_ordering)?;
        Ok(files.map(|files| self.of(files)))
    }

    fn output_partitioning(&self) -> Partitioning {
        self.files.output_partitioning()
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        self.files.eq_properties()
    }

    fn scheduling_type(&self) -> SchedulingType {
        self.files.scheduling_type()
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        self.files.partition_statistics(partition)
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        self.files.with_fetch(limit).map(|files| self.of(files))
    }

    fn fetch(&self) -> Option<usize> {
        self.files.fetch()
    }

    fn metrics(&self) -> ExecutionPlanMetricsSet {
        self.files.metrics()
    }

    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn DataSource>>> {
        let files = self.files.try_swapping_with_projection(projection)?;
        Ok(files.map(|files| self.of(files)))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn DataSource>>> {
        // what is taken here is compared with the bounds of row groups and pages, too
        let properties = self.files.eq_properties();
        let taken = filters
            .iter()
            .map(|filter| keeps_order(filter, properties.schema()));
        let taken = taken.collect::<Result<Vec<_>>>()?;
        let ordered = filters.into_iter().zip(&taken);
        let ordered = ordered.filter(|(_, taken)| **taken).map(|(filter, _)| filter);
        let pushed = self.files.try_pushdown_filters(ordered.collect(), config)?;
        let mut answers = pushed.filters.into_iter();
        let answers = taken.iter().map(|taken| {
            let answer = taken.then(|| answers.next()).flatten();
            answer.unwrap_or(PushedDown::No)
        });
        Ok(FilterPushdownPropagation {
            filters: answers.collect(),
            updated_node: pushed.updated_node.map(|files| self.of(files)),
        })
    }

    fn try_pushdown_sort(
        &self,
        order: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn DataSource>>> {
        let pushed = self.files.try_pushdown_sort(order)?;
        Ok(pushed.map(|files| self.of(files)))
    }

    fn with_preserve_order(&self, preserve_order: bool) -> Option<Arc<dyn DataSource>> {
        self.files
            .with_preserve_order(preserve_order)
            .map(|files| self.of(files))
    }

    fn apply_expressions(
        &self,
        apply: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.files.apply_expressions(apply)
    }

    fn with_new_state(&self, state: Arc<dyn Any + Send + Sync>) -> Option<Arc<dyn DataSource>> {
        self.files.with_new_state(state).map(|files| self.of(files))
    }

    fn create_sibling_state(&self, config: &ConfigOptions) -> Option<Arc<dyn Any + Send + Sync>> {
        self.files.create_sibling_state(config)
    }
}
