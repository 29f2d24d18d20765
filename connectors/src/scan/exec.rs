//! The leaf of a plan that reads from a store.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{Stream, StreamExt};

use super::{RemoteMetrics, RemoteTable, ScanContext, ScanRequest};

/// A filter that is evaluated here, with the reason: shown in `EXPLAIN`.
#[derive(Debug, Clone)]
pub(super) struct LocalFilter {
    pub filter: String,
    pub reason: String,
}

/// Sends one [`ScanRequest`] and streams its rows.
///
/// `supports_limit_pushdown` stays false: a leaf that returns true makes
/// DataFusion drop the limit node above it, OFFSET included. A limit arrives by
/// `with_fetch` instead, and is always applied here too, whether or not the
/// store was asked for it.
#[derive(Debug, Clone)]
pub struct RemoteScanExec {
    remote: Arc<dyn RemoteTable>,
    request: ScanRequest,
    local: Vec<LocalFilter>,
    fetch: Option<usize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl RemoteScanExec {
    pub(super) fn new(remote: Arc<dyn RemoteTable>, request: ScanRequest, local: Vec<LocalFilter>) -> Self {
        let schema = request.schema();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            remote,
            fetch: request.limit,
            request,
            local,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }

    /// The request as it is sent to the store.
    pub fn rendered(&self) -> String {
        self.remote.render(&self.request)
    }

    /// The structured request.
    pub fn request(&self) -> &ScanRequest {
        &self.request
    }
}

impl DisplayAs for RemoteScanExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match format {
            DisplayFormatType::TreeRender => "\n",
            _ => ", ",
        };
        if !matches!(format, DisplayFormatType::TreeRender) {
            write!(f, "RemoteScanExec: ")?;
        }
        write!(
            f,
            "source={}{separator}request={}",
            self.remote.source(),
            self.rendered()
        )?;
        if self.request.limit.is_none()
            && let Some(fetch) = self.fetch
        {
            write!(f, "{separator}fetch={fetch}")?;
        }
        if !self.local.is_empty() {
            let local = self
                .local
                .iter()
                .map(|local| format!("{} ({})", local.filter, local.reason))
                .collect::<Vec<_>>();
            write!(f, "{separator}local=[{}]", local.join("; "))?;
        }
        Ok(())
    }
}

impl ExecutionPlan for RemoteScanExec {
    fn name(&self) -> &'static str {
        "RemoteScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(DataFusionError::Internal(format!(
                "a remote scan has one partition, {partition} was asked for"
            )));
        }
        let metrics = RemoteMetrics {
            rows: MetricBuilder::new(&self.metrics).counter("remote_rows", partition),
            bytes: MetricBuilder::new(&self.metrics).counter("remote_bytes", partition),
            time: MetricBuilder::new(&self.metrics).subset_time("remote_time", partition),
        };
        let batch_size = context.session_config().batch_size();
        let stream = self.remote.execute(
            self.request.clone(),
            ScanContext {
                task: context,
                metrics,
                batch_size,
            },
        )?;
        Ok(make_cooperative(Box::pin(ScanStream {
            inner: Some(stream),
            source: self.remote.source(),
            schema: Arc::clone(&self.schema),
            remaining: self.fetch,
            baseline: BaselineMetrics::new(&self.metrics, partition),
        })))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        _arguments: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        // Never exact: the store goes on changing after its catalog was read.
        let rows = self
            .request
            .table
            .rows
            .filter(|_| self.request.predicates.is_empty())
            .and_then(|rows| usize::try_from(rows).ok());
        statistics.num_rows = match (rows, self.fetch) {
            (Some(rows), Some(fetch)) => Precision::Inexact(rows.min(fetch)),
            (Some(rows), None) => Precision::Inexact(rows),
            (None, Some(fetch)) => Precision::Inexact(fetch),
            (None, None) => Precision::Absent,
        };
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        let mut scan = self.clone();
        scan.metrics = ExecutionPlanMetricsSet::new();
        scan.fetch = limit;
        // A filter that also runs here sits between the limit and this leaf, so
        // the store must not cut; a limit directly above may still end the
        // stream early.
        scan.request.limit = limit.filter(|_| scan.local.is_empty());
        Some(Arc::new(scan))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }
}

/// Counts, checks and cuts the rows of a store.
struct ScanStream {
    /// Dropped as soon as enough rows came, which stops the remote work.
    inner: Option<SendableRecordBatchStream>,
    source: String,
    schema: SchemaRef,
    remaining: Option<usize>,
    baseline: BaselineMetrics,
}

impl ScanStream {
    /// The batch under the planned schema. Columns are matched by position; a
    /// type that differs from the plan is an error, never a silent cast.
    fn conform(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.schema.fields();
        let matches = batch.num_columns() == fields.len()
            && fields
                .iter()
                .zip(batch.columns())
                .all(|(field, column)| field.data_type() == column.data_type());
        if !matches {
            return Err(DataFusionError::Internal(format!(
                "{} answered with other columns than planned: {} instead of {}",
                self.source,
                batch.schema(),
                self.schema
            )));
        }
        let rows = match self.remaining {
            Some(remaining) => batch.num_rows().min(remaining),
            None => batch.num_rows(),
        };
        if let Some(remaining) = &mut self.remaining {
            *remaining -= rows;
            if *remaining == 0 {
                self.inner = None;
            }
        }
        let batch = batch.slice(0, rows);
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            batch.columns().to_vec(),
            &RecordBatchOptions::new().with_row_count(Some(rows)),
        )?)
    }
}

impl Stream for ScanStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.remaining == Some(0) {
            self.inner = None;
        }
        let Some(inner) = &mut self.inner else {
            self.baseline.done();
            return Poll::Ready(None);
        };
        let polled = inner.poll_next_unpin(context).map(|item| match item {
            Some(Ok(batch)) => {
                let conformed = self.conform(&batch);
                if conformed.is_err() {
                    self.inner = None;
                }
                Some(conformed)
            }
            Some(Err(error)) => {
                self.inner = None;
                Some(Err(error))
            }
            None => {
                self.inner = None;
                None
            }
        });
        self.baseline.record_poll(polled)
    }
}

impl RecordBatchStream for ScanStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
