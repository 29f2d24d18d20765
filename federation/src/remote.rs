//! What a query asked of the stores.

use std::sync::{Arc, OnceLock};

use datafusion::physical_plan::ExecutionPlan;
use lakegate_connectors::scan::{PositionSlot, RemoteScanExec, SourcePosition};

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
            each_scan(plan.as_ref(), &mut |scan| add(scan, &mut work));
        }
        work
    }
}

/// Where in their logs the stores of one query stood when they were read. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadPositions(Arc<OnceLock<Vec<Arc<PositionSlot>>>>);

impl ReadPositions {
    /// Has the scans of a plan that does not run yet find it out.
    pub(crate) fn watch(&self, plan: &dyn ExecutionPlan) {
        let mut slots = Vec::new();
        each_scan(plan, &mut |scan| {
            scan.position().want();
            slots.push(Arc::clone(scan.position()));
        });
        // As a query has one plan.
        let _ = self.0.set(slots);
    }

    /// What was found so far, each once. A store has several where its tables were read at moments of their own.
    pub(crate) fn found(&self) -> Vec<SourcePosition> {
        let mut all: Vec<SourcePosition> = Vec::new();
        for position in self.0.get().into_iter().flatten().filter_map(|slot| slot.found()) {
            if !all.contains(position) {
                all.push(position.clone());
            }
        }
        all
    }
}

fn each_scan(plan: &dyn ExecutionPlan, visit: &mut dyn FnMut(&RemoteScanExec)) {
    if let Some(raw) = plan.downcast_ref::<RawScan>() {
        return each_scan(raw.inner().as_ref(), visit);
    }
    if let Some(scan) = plan.downcast_ref::<RemoteScanExec>() {
        visit(scan);
    }
    for child in plan.children() {
        each_scan(child.as_ref(), visit);
    }
}

fn add(scan: &RemoteScanExec, work: &mut RemoteWork) {
    let Some(metrics) = scan.metrics() else {
        return;
    };
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
