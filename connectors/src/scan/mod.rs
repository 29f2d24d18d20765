//! The one leaf scan every store shares.
//!
//! A connector implements [`RemoteTable`]; [`RemoteTableProvider`] and
//! [`RemoteScanExec`] do the rest: they decide what may be sent, apply what may
//! not be left to the store, and show both in `EXPLAIN`. A remote request is a
//! structured [`ScanRequest`], rendered once per dialect, never edited as text.

mod aggregate;
mod dynamic;
mod estimate;
mod exec;
mod expression;
mod position;
mod predicate;
mod provider;
mod pushdown;
mod request;

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::{Count, Time};

pub use dynamic::{AwaitJoinKeys, MAX_JOIN_KEYS, MAX_JOIN_KEYS_BYTES};
pub use exec::RemoteScanExec;
pub use position::{LogPosition, PositionSlot, SourcePosition};
pub use predicate::{Comparison, Predicate};
pub use provider::RemoteTableProvider;
pub use pushdown::{PushDown, optimizer_rules};
pub(crate) use request::JoinedTable;
pub use request::{
    AggregateCall, Arithmetic, Asked, CalendarUnit, Expression, Function, GroupOutput, Grouping, ROOT_PLACES,
    Rounding, Sampling, SortKey, StoreJoin,
};

use crate::TableDescription;

/// What a store may be asked about one predicate. Default in doubt:
/// `Unsupported`. The reasons are shown in `EXPLAIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The store keeps exactly the rows the predicate keeps here.
    Exact,
    /// The store keeps those rows and maybe more: the filter is also applied here.
    Inexact(Cow<'static, str>),
    /// The store is not asked.
    Unsupported(Cow<'static, str>),
}

impl Verdict {
    pub fn inexact(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Inexact(reason.into())
    }

    pub fn unsupported(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unsupported(reason.into())
    }
}

/// What is asked of a store: rows of one table, or groups of them.
#[derive(Debug, Clone)]
pub struct ScanRequest {
    pub table: Arc<TableDescription>,
    /// Indexes into [`Self::columns`], in output order; empty when only the
    /// number of rows matters.
    pub projection: Vec<usize>,
    /// All must hold, before rows are grouped. Only predicates whose verdict was
    /// Exact or Inexact, and with `grouping`, `order` or `limit` only Exact ones.
    pub predicates: Vec<Predicate>,
    /// None asks for the rows themselves.
    pub grouping: Option<Grouping>,
    /// Which rows come first; only with a limit.
    pub order: Vec<SortKey>,
    /// At most this many rows; set only if every filter of the query is Exact.
    pub limit: Option<usize>,
}

impl ScanRequest {
    /// What the projection and the order choose from: the columns of the table, or
    /// the outputs of the groups.
    pub fn columns(&self) -> &SchemaRef {
        match &self.grouping {
            Some(grouping) => &grouping.schema,
            None => &self.table.columns,
        }
    }

    /// The schema of the answer: the projected columns, in order.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns().fields();
        Arc::new(Schema::new(
            self.projection
                .iter()
                .map(|&index| Arc::clone(&fields[index]))
                .collect::<Vec<_>>(),
        ))
    }

    /// The name of a column of the table, by its index in the full schema.
    pub fn column_name(&self, index: usize) -> &str {
        self.table.columns.field(index).name()
    }
}

/// Counters of what the store did, shown by `EXPLAIN ANALYZE`.
#[derive(Debug, Clone)]
pub struct RemoteMetrics {
    /// Rows received from the store, before any local filter or limit.
    pub rows: Count,
    /// Bytes received, where the protocol tells; else the decoded size.
    pub bytes: Count,
    /// Time spent waiting for the store, added up over the readers of a scan.
    pub time: Time,
    /// How many connections read side by side; none if the scan was not planned so.
    pub readers: Option<Count>,
}

/// What [`RemoteTable::execute`] gets besides the request.
#[derive(Debug, Clone)]
pub struct ScanContext {
    pub task: Arc<TaskContext>,
    pub metrics: RemoteMetrics,
    /// Rows a batch should have at most.
    pub batch_size: usize,
    /// How the scan was planned to be shared.
    pub shared: Option<Shared>,
    /// To be filled by a store that keeps a log, where somebody wants to know: it may cost a round trip.
    pub position: Option<Arc<PositionSlot>>,
}

/// How a scan is shared among several connections, each reading a part of the table
/// at a time. Together they read one snapshot of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// At most this many connections, which are taken if they are free at once.
    pub readers: usize,
    /// The condition that is added for one part, for people.
    pub part: &'static str,
}

/// One table of a store, able to answer a [`ScanRequest`].
pub trait RemoteTable: Any + Debug + Send + Sync + 'static {
    /// The catalog and kind, as `EXPLAIN` names them: `shop (postgres)`.
    fn source(&self) -> String;

    /// What the store may be asked about this predicate. Pure: no I/O.
    fn verdict(&self, predicate: &Predicate) -> Verdict;

    /// Why the store is not asked for this; none if its answer is the one that
    /// would be computed here. Default in doubt: a reason. Pure: no I/O.
    fn refusal(&self, asked: Asked<'_>) -> Option<Cow<'static, str>>;

    /// This table and another as one, joined by the store: the columns of this one,
    /// then those of the other. Pure: no I/O.
    ///
    /// # Errors
    /// The reason why the store is not asked to; empty where it is another store.
    fn joined(
        &self,
        other: &dyn RemoteTable,
        join: &StoreJoin,
    ) -> Result<Arc<dyn RemoteTable>, &'static str> {
        let _ = (other, join);
        Err("")
    }

    /// The exact request that [`Self::execute`] sends, with its constants.
    fn render(&self, request: &ScanRequest) -> String;

    /// How up to this many readers share a request; none where one reads it all, which
    /// they also may where it turns out to be better. Pure: no I/O.
    fn shared(&self, request: &ScanRequest, readers: usize) -> Option<Shared> {
        let _ = (request, readers);
        None
    }

    /// Starts the request. Columns of the batches match `request.schema()` by
    /// position and type; an empty projection yields batches with only a row
    /// count. At most two batches are in flight, and dropping the stream stops
    /// the work in the store. Nothing blocks here: I/O starts when the stream
    /// is polled or in a task the stream owns.
    fn execute(
        &self,
        request: ScanRequest,
        context: ScanContext,
    ) -> DataFusionResult<SendableRecordBatchStream>;
}

/// Rows of a table of these columns, for the dialects' tests.
#[cfg(test)]
pub(crate) fn rows_of(
    columns: Vec<arrow::datatypes::Field>,
    projection: &[usize],
    predicates: Vec<Predicate>,
    limit: Option<usize>,
) -> ScanRequest {
    ScanRequest {
        table: Arc::new(TableDescription {
            schema: "shop".to_owned(),
            name: "t".to_owned(),
            kind: crate::TableKind::Table,
            columns: Arc::new(Schema::new(columns)),
            details: Vec::new(),
            comment: None,
            rows: None,
            primary_key: Vec::new(),
            facts: std::collections::BTreeMap::new(),
        }),
        projection: projection.to_vec(),
        predicates,
        grouping: None,
        order: Vec::new(),
        limit,
    }
}
