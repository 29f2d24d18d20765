//! What Lakegate knows about an Export.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What Lakegate knows about the export.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportStatus {
    /// Generation of the spec that this status describes; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, LastRunSucceeded, Suspended, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Last value of the annotation `lakegate.dev/requestedAt` that started a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// Newest slot of the schedule that was acted upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,

    /// Next slot of the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,

    /// End of the newest successful run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_successful_time: Option<Time>,

    /// The newest ended run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunSummary>,

    /// Name of the run that is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_run: Option<String>,

    /// Value of `runToken` for which a run was last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_token: Option<String>,

    /// The uid for which `runOnCreate` has been done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_on_create_uid: Option<String>,

    /// Cursor up to which rows are published, of an incremental export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,

    /// The published snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotSummary>,

    /// Columns of the published table that look personal and were not masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub personal_columns: Vec<PersonalColumnStatus>,

    /// New columns of the source that the published table has not, since `onNewColumn` leaves them out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_columns: Vec<String>,

    /// Columns of the published table with values that did not fit their cast and became null.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nulled_columns: Vec<NulledColumnStatus>,

    /// Runs that failed since the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<i64>,

    /// Slots that were not run, since the resource was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed_runs: Option<i64>,
}

/// A column that looks personal and was not masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonalColumnStatus {
    /// Name in the lake table.
    pub name: String,

    /// What it seems to hold, such as `phone numbers`.
    pub holds: String,
}

/// A column with values that did not fit their cast and became null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NulledColumnStatus {
    /// Name of the exported column.
    pub name: String,

    /// How many of its values became null.
    pub values: i64,
}

/// An ended run in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Name of the ExportRun.
    pub name: String,

    /// `Succeeded`, or the reason of the failure.
    pub outcome: String,

    /// Rows written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,

    /// Bytes written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,

    /// Time from start to end, such as `1m30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,

    /// Start of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// End of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,

    /// What failed and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The published snapshot of a lake table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotSummary {
    /// Iceberg snapshot id, as text because it may not fit a JSON number.
    pub id: String,

    /// Rows of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,

    /// Bytes of the table's data files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,

    /// Data files of the table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,

    /// When it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}
