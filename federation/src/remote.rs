//! What a query asked of the stores.

use std::sync::{Arc, OnceLock};

use datafusion::physical_plan::ExecutionPlan;
use lakegate_connectors::scan::RemoteScanExec;

use crate::tables::RawScan;

/// Requests that are remembered of one query.
const KEPT: usize = 50;
/// Characters of a request that are remembered.
const KEPT_TEXT: usize = 4000;

/// The requests of one query and what came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteWork {
    /// As the stores got them, in no particular order; the first of very many.
    pub requests: Vec<String>,
    /// Rows received, before anything was filtered here.
    pub rows: u64,
    /// Bytes received, where the protocol tells; else the decoded size.
    pub bytes: u64,
}

/// The plan of a running query, once there is one. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunningPlan(Arc<OnceLock<Arc<dyn ExecutionPlan>>>);

impl RunningPlan {
    pub(crate) fn set(&self, plan: &Arc<dyn ExecutionPlan>) {
        // A query has one plan; a second one would be a mistake that changes nothing.
        let _ = self.0.set(Arc::clone(plan));
    }

    /// What its scans have done so far.
    pub(crate) fn work(&self) -> RemoteWork {
        let mut work = RemoteWork::default();
        if let Some(plan) = self.0.get() {
            add(plan.as_ref(), &mut work);
        }
        work
    }
}

fn add(plan: &dyn ExecutionPlan, work: &mut RemoteWork) {
    if let Some(raw) = plan.downcast_ref::<RawScan>() {
        return add(raw.inner().as_ref(), work);
    }
    if let Some(scan) = plan.downcast_ref::<RemoteScanExec>()
        && let Some(metrics) = scan.metrics()
    {
        let counted = |name| metrics.sum_by_name(name).map(|value| value.as_usize() as u64);
        // A scan that was never started has no counters and sent nothing.
        if let Some(rows) = counted("remote_rows") {
            work.rows += rows;
            work.bytes += counted("remote_bytes").unwrap_or(0);
            if work.requests.len() < KEPT {
                let sent = scan.sent().map_or_else(|| scan.rendered(), str::to_owned);
                work.requests.push(match sent.char_indices().nth(KEPT_TEXT) {
                    Some((end, _)) => format!("{}…", &sent[..end]),
                    None => sent,
                });
            }
        }
    }
    for child in plan.children() {
        add(child.as_ref(), work);
    }
}
