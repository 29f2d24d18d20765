//! ExportRun: one execution of an Export or of a RetentionPolicy.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{ExportSpec, NulledColumnStatus, PersonalColumnStatus, ResourceReference, Shared};

/// One execution of an Export or of a RetentionPolicy. Created by the schedule, by a token, or by
/// a person; its spec never changes, and it always ends Complete or Failed.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "lakegate.dev",
    version = "v1alpha1",
    kind = "ExportRun",
    plural = "exportruns",
    shortname = "run",
    category = "data",
    namespaced,
    status = "ExportRunStatus",
    derive = "PartialEq",
    doc = "One execution of an Export or of a RetentionPolicy. Its spec never changes, and it always ends Complete or Failed.",
    selectable = ".spec.exportRef.name",
    printcolumn(name = "Status", type_ = "string", json_path = ".status.state"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.failure.reason",
        priority = 1
    ),
    printcolumn(name = "Export", type_ = "string", json_path = ".spec.exportRef.name"),
    printcolumn(name = "Cause", type_ = "string", json_path = ".spec.cause"),
    printcolumn(name = "Rows", type_ = "integer", json_path = ".status.rowsWritten"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
    printcolumn(name = "Started", type_ = "date", json_path = ".status.startTime"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self == oldSelf",
        "message": "the spec of a run is immutable; create another run",
    },
    {
        "rule": "has(self.exportRef) != has(self.retentionPolicyRef)",
        "message": "set exactly one of exportRef and retentionPolicyRef",
    },
    {
        "rule": "has(self.window) == (has(self.cause) && self.cause == 'Backfill')",
        "message": "set window with cause: Backfill, and only then",
        "fieldPath": ".window",
    },
]))]
pub struct ExportRunSpec {
    /// The Export that is run, in the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export_ref: Option<ResourceReference>,

    /// The RetentionPolicy that is run, in the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_policy_ref: Option<ResourceReference>,

    /// Why the run was created: Schedule, CatchUp, Create, Token, Annotation, Manual or Backfill.
    /// Default: Manual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<RunCause>,

    /// The slot of the schedule that it fills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_time: Option<Time>,

    /// Rows to export again, by the cursor column, with `cause: Backfill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<RunWindow>,

    /// The uid of the Export when the run was created.
    #[schemars(length(max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export_uid: Option<String>,

    /// The generation of the Export when the run was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export_generation: Option<i64>,

    /// The spec of the Export when the run was created, written by Lakegate, so that a later edit
    /// does not change this run. Absent from a run that a person created: its status has it.
    #[schemars(with = "Option<AnyObject>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Shared<ExportSpec>>,
}

impl ExportRunSpec {
    /// Cause in force.
    pub fn cause(&self) -> RunCause {
        self.cause.unwrap_or_default()
    }
}

/// Why a run was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum RunCause {
    /// A slot of the schedule.
    Schedule,
    /// A missed slot of the schedule.
    CatchUp,
    /// First sight of the resource, with `runOnCreate`.
    Create,
    /// A change of `runToken`.
    Token,
    /// The annotation `lakegate.dev/requestedAt`.
    Annotation,
    /// A person.
    #[default]
    Manual,
    /// A person, for a window of the past.
    Backfill,
}

impl std::fmt::Display for RunCause {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Schedule => "Schedule",
            Self::CatchUp => "CatchUp",
            Self::Create => "Create",
            Self::Token => "Token",
            Self::Annotation => "Annotation",
            Self::Manual => "Manual",
            Self::Backfill => "Backfill",
        })
    }
}

/// A range of the cursor column: `from` included, `to` excluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunWindow {
    /// First value, included.
    #[schemars(length(min = 1, max = 128))]
    pub from: String,

    /// Last value, excluded.
    #[schemars(length(min = 1, max = 128))]
    pub to: String,
}

/// Schema of an object that only Lakegate writes: any fields. Its Rust type is stricter.
pub(crate) struct AnyObject;

impl JsonSchema for AnyObject {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyObject".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum RunState {
    /// Created, no worker yet.
    #[default]
    Pending,
    /// A worker performs it.
    Running,
    /// Ended well.
    Complete,
    /// Ended badly.
    Failed,
}

impl RunState {
    /// Whether the run has ended.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed)
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
        })
    }
}

/// What Lakegate knows about the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportRunStatus {
    /// Generation of the spec that this status describes; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Complete or Failed, one of them in the end; Reconciling while it works.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Where the run stands: Pending, Running, Complete or Failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RunState>,

    /// Start of the first attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// End of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish_time: Option<Time>,

    /// Time from start to end, such as `1m30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,

    /// Attempts started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,

    /// Id of the attempt that may commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,

    /// When the next attempt starts, after a failed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Time>,

    /// The worker that performs the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerStatus>,

    /// How far the active attempt has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressStatus>,

    /// The spec that is run, where the run's own spec has none.
    #[schemars(with = "Option<AnyObject>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Shared<ExportSpec>>,

    /// Rows read from the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_read: Option<i64>,

    /// Rows written to the lake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_written: Option<i64>,

    /// Bytes written to the lake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_written: Option<i64>,

    /// Data files written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,

    /// The table after the run, where the run changed only a part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<TableSize>,

    /// Why an incremental export read everything, when it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_read: Option<String>,

    /// Where the run's manifest is, with its files, counts and checksums.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,

    /// Cursor range that was read, of an incremental export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<CursorRange>,

    /// Iceberg snapshot that the run published, as text because it may not fit a JSON number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<String>,

    /// Columns that look personal and were not masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub personal_columns: Vec<PersonalColumnStatus>,

    /// New columns of the source that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_columns: Vec<String>,

    /// Columns with values that did not fit their cast and became null.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nulled_columns: Vec<NulledColumnStatus>,

    /// Why the run, or its last attempt, failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureStatus>,
}

impl ExportRunStatus {
    /// Where the run stands.
    pub fn state(&self) -> RunState {
        self.state.unwrap_or_default()
    }
}

/// The worker that performs a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Process id, or name of the Job.
    pub id: String,

    /// Changes when the worker restarts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,

    /// Without a sign of life until then the worker counts as lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<Time>,
}

/// How far an attempt has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProgressStatus {
    /// Rows so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,

    /// Bytes so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,

    /// Rows expected, by the source's statistics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_rows: Option<i64>,

    /// When this was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// How large a table is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableSize {
    /// Rows.
    pub rows: i64,

    /// Bytes of its data files.
    pub bytes: i64,

    /// Data files.
    pub files: i64,
}

/// A range of cursor values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CursorRange {
    /// First value, included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,

    /// Last value, included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Why something failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailureStatus {
    /// One word.
    pub reason: String,

    /// What failed and what to do.
    pub message: String,
}
