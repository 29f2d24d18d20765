//! A store's table as DataFusion sees it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::exec::LocalFilter;
use super::{Predicate, RemoteScanExec, RemoteTable, ScanRequest, Verdict};
use crate::{TableDescription, TableKind};

/// Reads one table of a store through [`RemoteTable`]. Read only: inserts and
/// deletes are not implemented on purpose.
#[derive(Debug)]
pub struct RemoteTableProvider {
    description: Arc<TableDescription>,
    remote: Arc<dyn RemoteTable>,
}

impl RemoteTableProvider {
    pub fn new(description: Arc<TableDescription>, remote: Arc<dyn RemoteTable>) -> Self {
        Self { description, remote }
    }

    fn judge(&self, filter: &Expr) -> (Option<Predicate>, Verdict) {
        match Predicate::from_expr(filter, &self.description.columns) {
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
        Arc::clone(&self.description.columns)
    }

    fn table_type(&self) -> TableType {
        match self.description.kind {
            TableKind::View | TableKind::MaterializedView => TableType::View,
            _ => TableType::Base,
        }
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut predicates = Vec::new();
        let mut local = Vec::new();
        for filter in filters {
            let (predicate, verdict) = self.judge(filter);
            match (predicate, verdict) {
                (Some(predicate), Verdict::Exact) => predicates.push(predicate),
                (Some(predicate), Verdict::Inexact(reason)) => {
                    predicates.push(predicate);
                    local.push(LocalFilter {
                        filter: filter.to_string(),
                        reason: reason.into_owned(),
                    });
                }
                (_, Verdict::Unsupported(reason)) => local.push(LocalFilter {
                    filter: filter.to_string(),
                    reason: reason.into_owned(),
                }),
                (None, _) => {
                    return Err(DataFusionError::Internal(format!(
                        "a filter without a remote form was judged sendable: {filter}"
                    )));
                }
            }
        }
        let columns = self.description.columns.fields().len();
        let request = ScanRequest {
            table: Arc::clone(&self.description),
            projection: projection.map_or_else(|| (0..columns).collect(), Clone::clone),
            predicates,
            // Below a filter that is (also) local a LIMIT would cut rows the
            // filter has yet to see.
            limit: limit.filter(|_| local.is_empty()),
        };
        Ok(Arc::new(RemoteScanExec::new(
            Arc::clone(&self.remote),
            request,
            local,
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
        let rows = usize::try_from(self.description.rows?).ok()?;
        let mut statistics = Statistics::new_unknown(&self.description.columns);
        statistics.num_rows = Precision::Inexact(rows);
        Some(statistics)
    }
}
