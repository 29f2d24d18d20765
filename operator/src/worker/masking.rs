//! What masks need of a worker: their keys before anything is read, a record of them with what is published, and a look
//! at the rows that are.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use lakegate_crds::{KAnonymity, PersonalColumnStatus, conditions::Reason};
use lakegate_federation::mask::{MaskKeyError, MaskKeys, PersonalColumns};
use lakegate_federation::{Anonymity, Combinations, ExportPlan};
use lakegate_lake::ColumnMask;
use lakegate_store::Secrets;

use super::failures::{Stage, failure, federation_failure};
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

/// Part of a run's memory that combinations are counted in, or changed keys kept, where they are: one in so many bytes.
pub(super) const COUNTING_SHARE: usize = 8;

/// Bytes of the names of columns in a report: a Pod's last word has little room.
const REPORTED_BYTES: usize = 2048;

/// Bytes of the memory pool that the run's query has.
pub(super) fn query_memory(order: &WorkOrder) -> usize {
    let keeps_keys = order.spec.incremental.is_some() || k_anonymity(order).is_some();
    if keeps_keys {
        order.memory_bytes - order.memory_bytes / COUNTING_SHARE
    } else {
        order.memory_bytes
    }
}

fn k_anonymity(order: &WorkOrder) -> Option<&KAnonymity> {
    order.spec.assert.as_ref()?.k_anonymity.as_ref()
}

/// What looks at the rows on their way into the lake.
pub(super) struct Inspection {
    combinations: Option<Combinations>,
    personal: PersonalColumns,
}

impl Inspection {
    /// Of the rows of a plan.
    pub(super) fn new(order: &WorkOrder, plan: &ExportPlan) -> Result<Self, Failure> {
        let memory = order.memory_bytes / COUNTING_SHARE;
        let combinations = k_anonymity(order).map(|spec| Combinations::new(spec, plan.schema(), memory));
        let combinations = combinations
            .transpose()
            .map_err(|error| federation_failure(&error, Stage::Planning))?;
        let acknowledged = &order.spec.acknowledge_personal;
        let is_open = |index: usize| {
            let is_clear = plan.masks().get(index).is_none_or(Option::is_none);
            is_clear && !acknowledged.contains(plan.schema().field(index).name())
        };
        let source = |index: usize| plan.source_columns().get(index)?.as_deref();
        Ok(Self {
            combinations,
            personal: PersonalColumns::new(plan.schema(), is_open, source),
        })
    }

    /// Looks at rows.
    pub(super) fn look_at(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let reading = |error| federation_failure(&error, Stage::Reading);
        self.personal.look_at(batch).map_err(reading)?;
        let Some(combinations) = &mut self.combinations else {
            return Ok(());
        };
        combinations.add(batch).map_err(reading)?;
        match combinations.too_many() {
            None => Ok(()),
            Some(limit) => Err(failure(
                Reason::OutOfMemory,
                format!(
                    "spec.assert.kAnonymity: more than {limit} combinations cannot be counted in the run's memory: make \
                     a column of quasi coarser, or raise spec.resources.limits.memory"
                ),
                true,
            )),
        }
    }

    /// What the rows have to be to be published; what was counted, for the record.
    pub(super) fn verdict(&self) -> Result<Option<(String, String)>, Failure> {
        let Some(anonymity) = self.combinations.as_ref().map(Combinations::outcome) else {
            return Ok(None);
        };
        let Anonymity {
            columns,
            least,
            rows,
            combinations,
            rarest,
            rare_combinations,
            rare_rows,
        } = &anonymity;
        let columns = columns.join(", ");
        if anonymity.holds() {
            let record = format!("k={least} rarest={rarest} combinations={combinations} of {columns}");
            return Ok(Some(("k-anonymity".to_owned(), record)));
        }
        Err(failure(
            Reason::AssertionFailed,
            format!(
                "spec.assert.kAnonymity: {rare_combinations} of {combinations} combinations of {columns} have fewer than \
                 {least} rows ({rare_rows} of {rows} rows), so nothing is published: make a column of quasi coarser with \
                 a mask, or leave rows or a column out"
            ),
            true,
        ))
    }

    /// The columns that look personal and are open to everybody who reads the lake.
    pub(super) fn personal(&self) -> Vec<PersonalColumnStatus> {
        let mut bytes = 0;
        let found = self.personal.found().into_iter();
        found
            .map(|column| PersonalColumnStatus {
                name: column.name,
                holds: column.holds.as_str().to_owned(),
            })
            .take_while(|column| {
                bytes += column.name.len() + column.holds.len() + 24;
                bytes <= REPORTED_BYTES
            })
            .collect()
    }
}
