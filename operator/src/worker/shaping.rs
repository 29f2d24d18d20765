//! What an Export's columns have become and where its stores stood, for its run's status and the snapshot's summary.

use std::collections::BTreeSet;

use lakegate_crds::NulledColumnStatus;
use lakegate_federation::{ExportPlan, LogPosition, SourcePosition};
use lakegate_lake::Lake;

use super::failures::lake_failure;
use crate::{
    decide::count,
    protocol::{Failure, WorkOrder},
};

/// Bytes of each of these lists in a report: a Pod's last word has little room.
const REPORTED_BYTES: usize = 512;

/// The columns of the lake table as it is, where the Export asks which columns are new; None before its first run.
pub(super) async fn published(order: &WorkOrder, lake: &Lake) -> Result<Option<BTreeSet<String>>, Failure> {
    if order.spec.all_columns.is_none() {
        return Ok(None);
    }
    let destination = &order.spec.destination;
    let published = lake
        .published_columns(&destination.schema, &destination.table)
        .await;
    published.map_err(|error| lake_failure(&error))
}

/// For the snapshot's summary: all of them, however many.
pub(super) fn record(plan: &ExportPlan) -> impl Iterator<Item = (String, String)> {
    let list = |names: Vec<String>| (!names.is_empty()).then(|| serde_json::Value::from(names).to_string());
    let nulled: Vec<String> = plan
        .nulled()
        .filter(|(_, values)| *values > 0)
        .map(|(column, values)| format!("{column}={values}"))
        .collect();
    let columns = list(plan.left_out().to_vec());
    [("new-columns", columns), ("nulled", list(nulled))]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
}

/// Where the stores stood, as the lake records it.
pub(super) fn positions(found: Vec<SourcePosition>) -> Vec<lakegate_lake::SourcePosition> {
    let recorded = found.into_iter().map(|found| {
        let (lsn, gtid) = match found.position {
            LogPosition::Lsn(lsn) => (Some(lsn), None),
            LogPosition::Gtid(gtid) => (None, Some(gtid)),
        };
        lakegate_lake::SourcePosition {
            catalog: found.catalog,
            lsn,
            gtid,
            replica: found.is_replica,
        }
    });
    recorded.collect()
}

/// New columns of the source that were left out.
pub(super) fn new_columns(plan: &ExportPlan) -> Vec<String> {
    if !plan.left_out().is_empty() {
        tracing::info!(columns = ?plan.left_out(), "new columns of the source are left out");
    }
    within(plan.left_out().iter().cloned(), String::len)
}

/// Columns with values that did not fit their cast.
pub(super) fn nulled_columns(plan: &ExportPlan) -> Vec<NulledColumnStatus> {
    let nulled = plan.nulled().filter(|(_, values)| *values > 0);
    let status = nulled.map(|(name, values)| NulledColumnStatus {
        name,
        values: count(values),
    });
    within(status, |column| column.name.len() + 32)
}

/// As many as a report has room for.
fn within<T>(items: impl Iterator<Item = T>, bytes_of: impl Fn(&T) -> usize) -> Vec<T> {
    let mut bytes = 0;
    items
        .take_while(|item| {
            bytes += bytes_of(item) + 4;
            bytes <= REPORTED_BYTES
        })
        .collect()
}
