//! Export: what to read, how to shape it, when, and the lake table it becomes.

mod destination;
mod incremental;
mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use destination::{DestinationSpec, PartitionField, PartitionTransform, Profile, TableFormat};
pub use incremental::IncrementalSpec;
pub(crate) use incremental::key_mask_problem;
pub use status::{ExportStatus, NulledColumnStatus, PersonalColumnStatus, RunSummary, SnapshotSummary};

use crate::{
    Duration, HistorySpec, MaskSpec, Memory, ResourceReference, ResourceRequirements, RetrySpec,
    ScheduleSpec, TableReference,
};

/// Copies one table, or the rows of a query, into a table of a lake: chosen columns, renamed,
/// masked, cast and filtered, on a schedule or on request.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "lakegate.dev",
    version = "v1alpha1",
    kind = "Export",
    plural = "exports",
    shortname = "exp",
    category = "data",
    namespaced,
    status = "ExportStatus",
    derive = "PartialEq",
    doc = "Copies one table, or the rows of a query, into a table of a lake: chosen columns, renamed, masked, cast and filtered, on a schedule or on request.",
    selectable = ".spec.from.sourceRef.name",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.from.sourceRef.name"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule.cron"),
    printcolumn(
        name = "Suspend",
        type_ = "boolean",
        json_path = ".spec.suspend",
        priority = 1
    ),
    printcolumn(name = "Last-Run", type_ = "string", json_path = ".status.lastRun.outcome"),
    printcolumn(
        name = "Rows",
        type_ = "integer",
        json_path = ".status.lastRun.rows",
        priority = 1
    ),
    printcolumn(
        name = "Last-Success",
        type_ = "date",
        json_path = ".status.lastSuccessfulTime"
    ),
    printcolumn(
        name = "Next",
        type_ = "string",
        json_path = ".status.nextScheduleTime",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.from.query) ? !(has(self.columns) && has(self.allColumns)) : has(self.columns) != has(self.allColumns)",
        "message": "set exactly one of columns (the list of columns to export) and allColumns; with from.query both may be absent",
    },
    {
        "rule": "!has(self.onNewColumn) || has(self.allColumns)",
        "message": "onNewColumn belongs to allColumns: a list of columns never gains one",
        "fieldPath": ".onNewColumn",
    },
]))]
pub struct ExportSpec {
    /// What is read.
    pub from: ExportFrom,

    /// The columns to export, in order; nothing else is read. Or set `allColumns`.
    #[schemars(length(min = 1, max = 2000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<ColumnSpec>>,

    /// Every column except those named. Or set `columns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_columns: Option<AllColumns>,

    /// What happens when the source has a column that the last published table has not, with
    /// `allColumns`: `Drop` (the default) leaves it out and says so, `Fail` ends the run,
    /// `Include` adds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_new_column: Option<OnNewColumn>,

    /// Rows to export, as an SQL condition on the source's columns, such as `status <> 'draft'`.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,

    /// Reads only what changed since the last run and replaces rows by key. Absent: each run
    /// replaces the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incremental: Option<IncrementalSpec>,

    /// When runs start. Absent: only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSpec>,

    /// True starts no new run; an active one finishes. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// Longest time a run may take, over all its attempts. Default: 6h.
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "!self.matches('^([0-9]{1,3}ms|0+s)$')",
        "message": "must be at least 1s",
    }]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,

    /// Repetition of failed attempts within a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,

    /// How many ended runs are kept as objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistorySpec>,

    /// Any change of this text starts one run now.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_token: Option<String>,

    /// The lake table that the rows become.
    pub destination: DestinationSpec,

    /// What happens to the lake table when this Export is deleted: `Retain` (the default) keeps
    /// it, `Delete` removes it with every snapshot, for good. Whatever deletes this object then
    /// deletes the data, a prune of a GitOps tool included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// Readers of the source that work at the same time, where it can be read in parts: large tables
    /// of PostgreSQL, all under one snapshot and with at most one connection fewer than
    /// limits.maxConnections, and files of an objectStore. One a cpu at least. Default: 1.
    #[schemars(range(min = 1, max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<u32>,

    /// Compute of each run. Default: 1 cpu and 512Mi of memory.
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "!has(self.limits) || !has(self.limits.memory) || quantity(string(self.limits.memory)).compareTo(quantity('256Mi')) >= 0",
        "message": "must be at least 256Mi",
        "fieldPath": ".limits.memory",
    }]))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Conditions that the exported rows must meet, else nothing is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assert: Option<AssertSpec>,

    /// Exported columns that look personal and are meant to be exported as they are. A run reports
    /// those that are neither masked nor named here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000), inner(length(min = 1, max = 128)))]
    pub acknowledge_personal: Vec<String>,

    /// What this export is for, for people.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What is read. Exactly one of `table`, `query`, `index` and `keyspace`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.table), has(self.query), has(self.index), has(self.keyspace)].filter(it, it).size() == 1",
        "message": "set exactly one of table, query, index and keyspace",
    },
    {
        "rule": "has(self.query) != has(self.sourceRef)",
        "message": "set sourceRef with table, index or keyspace; a query names its catalogs itself and takes no sourceRef",
        "fieldPath": ".sourceRef",
    },
    {
        "rule": "has(self.sourceRef) == has(oldSelf.sourceRef) && (!has(self.sourceRef) || self.sourceRef == oldSelf.sourceRef)",
        "message": "sourceRef is immutable, because the lake table holds that store's rows; create another Export",
        "fieldPath": ".sourceRef",
    },
    {
        "rule": "has(self.table) == has(oldSelf.table) && (!has(self.table) || self.table == oldSelf.table)",
        "message": "table is immutable, because the lake table holds its rows; create another Export",
        "fieldPath": ".table",
    },
    {
        "rule": "has(self.index) == has(oldSelf.index) && (!has(self.index) || self.index == oldSelf.index)",
        "message": "index is immutable, because the lake table holds its rows; create another Export",
        "fieldPath": ".index",
    },
    {
        "rule": "has(self.keyspace) == has(oldSelf.keyspace) && (!has(self.keyspace) || self.keyspace == oldSelf.keyspace)",
        "message": "keyspace is immutable, because the lake table holds its rows; create another Export",
        "fieldPath": ".keyspace",
    },
]))]
pub struct ExportFrom {
    /// The DataSource to read, in the same namespace. Not with `query`. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<ResourceReference>,

    /// A table or view of the store. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableReference>,

    /// A query over any catalogs, such as `select … from shop.public.orders join crm.main.users …`.
    #[schemars(length(min = 1, max = 16384))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,

    /// An index of Elasticsearch or OpenSearch. Immutable.
    #[schemars(length(min = 1, max = 255))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,

    /// A keyspace that a Redis DataSource declares. Immutable.
    #[schemars(length(min = 1, max = 63))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
}

/// One column of the lake table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.name) != has(self.expression)",
        "message": "set exactly one of name (a column of the source) and expression",
    },
    {
        "rule": "!has(self.expression) || has(self.__as__)",
        "message": "an expression needs a column name: set as",
        "fieldPath": ".expression",
    },
]))]
pub struct ColumnSpec {
    /// Column of the source, as the source spells it.
    #[schemars(length(min = 1, max = 128))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Name in the lake table. Default: `name`.
    #[schemars(length(min = 1, max = 128))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#as: Option<String>,

    /// SQL expression over the source's columns, such as `date_trunc('day', created_at)`.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,

    /// SQL type of the exported column, such as `decimal(18,2)`; a value that does not fit fails
    /// the run.
    #[schemars(length(min = 1, max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cast: Option<String>,

    /// What happens to a value that does not fit `cast`: `Fail` (the default) ends the run,
    /// `Null` exports null and counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_cast_error: Option<OnCastError>,

    /// How the column's values are hidden before anything is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<Box<MaskSpec>>,

    /// What this column holds, for people.
    #[schemars(length(max = 1024))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl ColumnSpec {
    /// Name of the column in the lake table: `as`, else `name`.
    pub fn output_name(&self) -> Option<&str> {
        self.r#as.as_deref().or(self.name.as_deref())
    }
}

/// What happens to a value that does not fit a cast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum OnCastError {
    #[default]
    Fail,
    Null,
}

/// Every column except those named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllColumns {
    /// Columns of the source that are not exported; each must exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000), inner(length(min = 1, max = 128)))]
    pub except: Vec<String>,
}

/// What happens when the source has a new column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum OnNewColumn {
    /// It is left out, and the status says so.
    #[default]
    Drop,
    /// The run fails.
    Fail,
    /// It is exported.
    Include,
}

/// What happens to data when its resource is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum DeletionPolicy {
    /// It stays.
    #[default]
    Retain,
    /// It is removed.
    Delete,
}

/// Conditions that the exported rows must meet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssertSpec {
    /// Every combination of some columns occurs in at least `k` rows of what is exported; null is
    /// a value like any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k_anonymity: Option<KAnonymity>,
}

/// Every combination of the columns occurs in at least `k` rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KAnonymity {
    /// Exported columns that together could identify a person.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 128)))]
    pub quasi: Vec<String>,

    /// Fewest rows of one combination.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub k: u32,
}

impl ExportSpec {
    /// Default of `timeout`, in seconds.
    pub const TIMEOUT_SECONDS: u64 = 6 * 3600;
    /// Default of `resources.limits.memory`, in bytes.
    pub const MEMORY_BYTES: u64 = 512 << 20;

    /// Timeout in force.
    pub fn effective_timeout(&self) -> std::time::Duration {
        self.timeout.as_ref().map_or(
            std::time::Duration::from_secs(Self::TIMEOUT_SECONDS),
            Duration::get,
        )
    }

    /// Retries in force.
    pub fn effective_retry(&self) -> RetrySpec {
        self.retry.clone().unwrap_or_default()
    }

    /// History in force.
    pub fn effective_history(&self) -> HistorySpec {
        self.history.clone().unwrap_or_default()
    }

    /// Readers of the source that work at the same time.
    pub fn effective_parallelism(&self) -> usize {
        self.parallelism.unwrap_or(1).max(1) as usize
    }

    /// Threads of a run: one per whole cpu of the limit, else of the request, at least one.
    pub fn effective_threads(&self) -> usize {
        let resources = self.resources.as_ref();
        let limit = resources.and_then(|it| it.limits.as_ref()?.cpu.as_ref());
        let request = resources.and_then(|it| it.requests.as_ref()?.cpu.as_ref());
        limit.or(request).map_or(1, crate::Cpu::threads)
    }

    /// Memory limit of a run, in bytes. At least 256Mi, also where only a smaller request is set.
    pub fn effective_memory_limit(&self) -> u64 {
        let resources = self.resources.as_ref();
        let limit = resources.and_then(|it| it.limits.as_ref()?.memory.as_ref());
        let request = resources.and_then(|it| it.requests.as_ref()?.memory.as_ref());
        let bytes = limit
            .map(Memory::bytes)
            .or_else(|| request.map(|it| it.bytes().max(Self::MEMORY_BYTES)))
            .unwrap_or(Self::MEMORY_BYTES);
        bytes.max(256 << 20)
    }

    /// Memory pool of a run, in bytes: 60 % of the limit.
    pub fn effective_memory_pool(&self) -> u64 {
        self.effective_memory_limit() / 10 * 6
    }

    /// Deletion policy in force.
    pub fn effective_deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy.unwrap_or_default()
    }

    /// Policy for new columns in force.
    pub fn effective_on_new_column(&self) -> OnNewColumn {
        self.on_new_column.unwrap_or_default()
    }

    /// Whether no new run starts by the user's wish.
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compute_has_safe_defaults() {
        let spec = |resources: serde_json::Value| -> ExportSpec {
            serde_json::from_value(serde_json::json!({
                "from": {"query": "select 1"},
                "destination": {"lakeRef": {"name": "lake"}, "schema": "a", "table": "b"},
                "resources": resources,
            }))
            .unwrap()
        };
        for (resources, threads, limit) in [
            (serde_json::json!(null), 1, 512_u64 << 20),
            (
                serde_json::json!({"limits": {"cpu": "2500m", "memory": "1Gi"}}),
                2,
                1 << 30,
            ),
            (
                serde_json::json!({"requests": {"cpu": 3, "memory": "64Mi"}}),
                3,
                512 << 20,
            ),
            (serde_json::json!({"limits": {"memory": "300Mi"}}), 1, 300 << 20),
        ] {
            let spec = spec(resources.clone());
            assert_eq!(spec.effective_threads(), threads, "{resources}");
            assert_eq!(spec.effective_memory_limit(), limit, "{resources}");
        }
    }
}
