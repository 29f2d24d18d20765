//! A store's table as DataFusion sees it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::estimate::estimated_rows;
use super::exec::Local;
use super::{Predicate, RemoteScanExec, RemoteTable, ScanRequest, Verdict};
use crate::{TableDescription, TableKind};

/// Reads one table of a store through [`RemoteTable`], or what [`super::PushDown`]
/// made of it. Read only: inserts and deletes are not implemented on purpose.
#[derive(Debug, Clone)]
pub struct RemoteTableProvider {
    remote: Arc<dyn RemoteTable>,
    /// What every scan asks for; each adds its projection, filters and limit.
    base: ScanRequest,
    /// What stays above this table though the store might have been asked.
    notes: Vec<Local>,
}

impl RemoteTableProvider {
    pub fn new(description: Arc<TableDescription>, remote: Arc<dyn RemoteTable>) -> Self {
        Self::asking(
            remote,
            ScanRequest {
                table: description,
                projection: Vec::new(),
                predicates: Vec::new(),
                grouping: None,
                order: Vec::new(),
                limit: None,
            },
        )
    }

    /// The answer to a request as a table of all its columns.
    pub(super) fn asking(remote: Arc<dyn RemoteTable>, base: ScanRequest) -> Self {
        Self {
            remote,
            base,
            notes: Vec::new(),
        }
    }

    pub(super) fn remote(&self) -> &Arc<dyn RemoteTable> {
        &self.remote
    }

    pub(super) fn base(&self) -> &ScanRequest {
        &self.base
    }

    /// The same table with one more thing to say in `EXPLAIN`; none if it says so
    /// already.
    pub(super) fn noting(&self, note: Local) -> Option<Self> {
        if self.notes.contains(&note) {
            return None;
        }
        let mut noting = self.clone();
        noting.notes.push(note);
        Some(noting)
    }

    /// Whether rows may still be filtered: not once they are grouped or cut.
    fn is_plain(&self) -> bool {
        self.base.grouping.is_none() && self.base.limit.is_none()
    }

    pub(super) fn judge(&self, filter: &Expr) -> (Option<Predicate>, Verdict) {
        if !self.is_plain() {
            return (
                None,
                Verdict::unsupported("it is above groups or a limit of the store's"),
            );
        }
        match Predicate::from_expr(filter, &self.base.table.columns) {
            Ok(predicate) => {
                let verdict = self.remote.verdict(&predicate);
                (Some(predicate), verdict)
            }
            Err(reason) => (None, Verdict::unsupported(reason)),
        }
    }
}

#[async_trait]
impl TableProvider for RemoteTableProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.base.columns())
    }

    fn table_type(&self) -> TableType {
        match self.base.table.kind {
            TableKind::View | TableKind::MaterializedView => TableType::View,
            _ => TableType::Base,
        }
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut request = self.base.clone();
        let mut local = Vec::new();
        for filter in filters {
            let (predicate, verdict) = self.judge(filter);
            match (predicate, verdict) {
                (Some(predicate), Verdict::Exact) => request.predicates.push(predicate),
                (Some(predicate), Verdict::Inexact(reason)) => {
                    request.predicates.push(predicate);
                    local.push(Local {
                        what: filter.to_string(),
                        reason: reason.into_owned(),
                    });
                }
                (_, Verdict::Unsupported(reason)) => local.push(Local {
                    what: filter.to_string(),
                    reason: reason.into_owned(),
                }),
                (None, _) => {
                    return Err(DataFusionError::Internal(format!(
                        "a filter without a remote form was judged sendable: {filter}"
                    )));
                }
            }
        }
        let columns = request.columns().fields().len();
        request.projection = projection.map_or_else(|| (0..columns).collect(), Clone::clone);
        // Below a filter that is (also) local a LIMIT would cut rows the filter
        // has yet to see.
        let limit = limit.filter(|_| local.is_empty());
        request.limit = match (limit, request.limit) {
            (Some(limit), Some(bound)) => Some(limit.min(bound)),
            (limit, bound) => limit.or(bound),
        };
        Ok(Arc::new(RemoteScanExec::new(
            Arc::clone(&self.remote),
            request,
            local,
            self.notes.clone(),
            state.config().target_partitions(),
        )))
    }

    /// Filters that stay local are answered `Inexact`, not `Unsupported`: both
    /// keep the local filter, but only the former reach `scan`, which needs them
    /// to say in EXPLAIN why they stayed, and never sends them.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match self.judge(filter).1 {
                Verdict::Exact => TableProviderFilterPushDown::Exact,
                Verdict::Inexact(_) | Verdict::Unsupported(_) => TableProviderFilterPushDown::Inexact,
            })
            .collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        let rows = estimated_rows(&self.base)?;
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Inexact(rows);
        Some(statistics)
    }
}
