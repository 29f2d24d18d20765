//! What masks need of a worker: their keys before anything is read, and a record of them with what is published.

use std::collections::BTreeMap;

use lakegate_federation::ExportPlan;
use lakegate_federation::mask::{MaskKeyError, MaskKeys};
use lakegate_lake::ColumnMask;
use lakegate_store::Secrets;

use super::failure;
use crate::{
    protocol::{Failure, WorkOrder},
    surroundings::chain,
};

/// The keys of the order's masks.
pub(super) async fn keys(order: &WorkOrder, secrets: &dyn Secrets) -> Result<MaskKeys, Failure> {
    MaskKeys::load(&order.spec, &order.run.namespace, secrets)
        .await
        .map_err(|error| {
            // A Secret may come; one with another content is a person's doing.
            let terminal = !matches!(error, MaskKeyError::Secret { .. });
            failure(error.reason(), chain(&error), terminal)
        })
}

/// The masked columns of what is written.
pub(super) fn record(plan: &ExportPlan) -> BTreeMap<String, ColumnMask> {
    let columns = plan.schema().fields().iter().zip(plan.masks());
    columns
        .filter_map(|(field, mask)| {
            let mask = mask.as_ref()?;
            let record = ColumnMask {
                method: mask.method.to_owned(),
                domain: mask.domain.clone(),
                key: mask.key.as_ref().map(|key| key.name.clone()),
                key_id: mask.key.as_ref().map(|key| key.id.clone()),
            };
            Some((field.name().clone(), record))
        })
        .collect()
}
