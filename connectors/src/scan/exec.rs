//! The leaf of a plan that reads from a store.

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::{EmptyRecordBatchStream, RecordBatchStreamAdapter};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::{Stream, StreamExt, TryStreamExt};

use super::dynamic::{takes_keys, with_keys};
use super::estimate::estimated_rows;
use super::{PositionSlot, RemoteMetrics, RemoteTable, ScanContext, ScanRequest, Shared};

/// A filter, order or aggregate that is evaluated here, with the reason: shown in
/// `EXPLAIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Local {
    pub what: String,
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
    /// Filters that are also evaluated here, between this leaf and any limit.
    filters: Vec<Local>,
    /// What else the plan does here though the store might have been asked.
    notes: Vec<Local>,
    fetch: Option<usize>,
    /// The limit of the request itself, which no limit above may widen.
    bound: Option<usize>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    /// Filters that fill while the query runs, as they were offered.
    offered: Vec<Arc<dyn PhysicalExpr>>,
    /// Those of them that are keys of a join, which this scan waits for.
    awaited: Vec<Arc<DynamicFilterPhysicalExpr>>,
    /// How many connections may share the scan: what computes on its rows, too.
    readers: usize,
    /// The request as it went out, where keys were added to it.
    sent: Arc<OnceLock<String>>,
    position: Arc<PositionSlot>,
}

/// Bytes of a request that are kept to be shown; only one with many keys has more.
const MOST_SHOWN: usize = 8192;

impl RemoteScanExec {
    pub(super) fn new(
        remote: Arc<dyn RemoteTable>,
        request: ScanRequest,
        filters: Vec<Local>,
        notes: Vec<Local>,
        readers: usize,
    ) -> Self {
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
            bound: request.limit,
            request,
            filters,
            notes,
            schema,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            offered: Vec::new(),
            awaited: Vec::new(),
            readers,
            sent: Arc::default(),
            position: Arc::default(),
        }
    }

    /// The same scan, waiting for the keys of those of these joins that offered them;
    /// none if that changes nothing.
    pub(super) fn awaiting(&self, joins: &HashSet<u64>) -> Option<Self> {
        if self.offered.is_empty() {
            return None;
        }
        let mut awaiting = self.clone();
        awaiting.offered.clear();
        for filter in &self.offered {
            if filter.expression_id().is_some_and(|id| joins.contains(&id))
                && let Ok(filter) = downcast_filter(filter)
            {
                awaiting.awaited.push(filter);
            }
        }
        Some(awaiting)
    }

    /// The request that went out, with the keys of joins; none before it ran.
    pub fn sent(&self) -> Option<&str> {
        self.sent.get().map(String::as_str)
    }

    /// Waits for keys when the first row is asked for, before any connection is
    /// taken: a scan that waits keeps no other from running.
    fn execute_with_keys(&self, context: ScanContext) -> SendableRecordBatchStream {
        let (remote, request) = (Arc::clone(&self.remote), self.request.clone());
        let (awaited, sent) = (self.awaited.clone(), Arc::clone(&self.sent));
        let started = async move {
            let request = with_keys(request, &awaited, remote.as_ref()).await?;
            // The first execution is the one that is shown.
            let _ = sent.set(shown(remote.render(&request)));
            if request.limit == Some(0) {
                let nothing: SendableRecordBatchStream =
                    Box::pin(EmptyRecordBatchStream::new(request.schema()));
                return Ok(nothing);
            }
            remote.execute(request, context)
        };
        let batches = futures::stream::once(started).try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }

    /// The request as it is sent to the store.
    pub fn rendered(&self) -> String {
        self.remote.render(&self.request)
    }

    /// Where in its log the store stands: wanted before the scan runs, found after.
    pub fn position(&self) -> &Arc<PositionSlot> {
        &self.position
    }

    fn shared(&self) -> Option<Shared> {
        self.remote.shared(&self.request, self.readers)
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
            self.sent().map_or_else(|| self.rendered(), str::to_owned)
        )?;
        if let Some(shared) = self.shared() {
            write!(
                f,
                "{separator}readers={} (each a part at a time: {})",
                shared.readers, shared.part
            )?;
        }
        if self.sent().is_none() && !self.awaited.is_empty() {
            let filters = self.awaited.iter().flat_map(|filter| filter.children());
            let columns: Vec<String> = filters.map(ToString::to_string).collect();
            write!(f, "{separator}awaits=[keys of {}]", columns.join(", "))?;
        }
        if self.request.limit.is_none()
            && let Some(fetch) = self.fetch
        {
            write!(f, "{separator}fetch={fetch}")?;
        }
        if !self.filters.is_empty() || !self.notes.is_empty() {
            let local = self
                .filters
                .iter()
                .chain(&self.notes)
                .map(|local| format!("{} ({})", local.what, local.reason))
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
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        // A join makes its filter only if it finds it here.
        let awaited = self
            .awaited
            .iter()
            .map(|filter| Arc::clone(filter) as Arc<dyn PhysicalExpr>);
        for filter in self.offered.iter().cloned().chain(awaited) {
            if visit(&filter)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    /// Takes filters that fill while the query runs. They are answered No: their join
    /// looks at every row itself, and what other filter there is stays above.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        offers: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let offered: Vec<_> = offers
            .parent_filters
            .iter()
            .map(|offer| Arc::clone(&offer.filter))
            .filter(|filter| filter.downcast_ref::<DynamicFilterPhysicalExpr>().is_some())
            .collect();
        let answer = FilterPushdownPropagation::all_unsupported(offers);
        if phase != FilterPushdownPhase::Post || offered.is_empty() || !takes_keys(&self.request) {
            return Ok(answer);
        }
        let mut scan = self.clone();
        scan.offered.extend(offered);
        Ok(answer.with_updated_node(Arc::new(scan)))
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
        let shared = self.shared();
        let metrics = RemoteMetrics {
            rows: MetricBuilder::new(&self.metrics).counter("remote_rows", partition),
            bytes: MetricBuilder::new(&self.metrics).counter("remote_bytes", partition),
            time: MetricBuilder::new(&self.metrics).subset_time("remote_time", partition),
            readers: shared
                .as_ref()
                .map(|_| MetricBuilder::new(&self.metrics).counter("remote_readers", partition)),
        };
        let batch_size = context.session_config().batch_size();
        let context = ScanContext {
            task: context,
            metrics,
            batch_size,
            shared,
            position: self.position.to_fill(),
        };
        let stream = if self.awaited.is_empty() {
            self.remote.execute(self.request.clone(), context)?
        } else {
            self.execute_with_keys(context)
        };
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
        let rows = estimated_rows(&self.request);
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
        let limit = match (limit, scan.bound) {
            (Some(limit), Some(bound)) => Some(limit.min(bound)),
            (limit, bound) => limit.or(bound),
        };
        scan.fetch = limit;
        // A filter that also runs here sits between the limit and this leaf, so
        // the store must not cut there; a limit directly above may still end the
        // stream early.
        scan.request.limit = if scan.filters.is_empty() {
            limit
        } else {
            scan.bound
        };
        Some(Arc::new(scan))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }
}

/// The request as it is kept to be shown: without the middle of a long list of keys.
fn shown(request: String) -> String {
    if request.len() <= MOST_SHOWN {
        return request;
    }
    let half = MOST_SHOWN / 2;
    let head = request.floor_char_boundary(half);
    let tail = request.ceil_char_boundary(request.len() - half);
    format!(
        "{} … {} bytes left out … {}",
        &request[..head],
        tail - head,
        &request[tail..]
    )
}

fn downcast_filter(filter: &Arc<dyn PhysicalExpr>) -> Result<Arc<DynamicFilterPhysicalExpr>, ()> {
    let filter: Arc<dyn std::any::Any + Send + Sync> = Arc::clone(filter) as _;
    filter.downcast::<DynamicFilterPhysicalExpr>().map_err(|_| ())
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
