//! RetentionPolicy: how long rows stay in a store, or files in a lake.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Compression, Duration, HistorySpec, PartitionField, ResourceReference, ResourceRequirements, RetrySpec,
    RunSummary, ScheduleSpec, TableReference,
};

/// How long data is kept: `rows` archives old rows of a live table into a lake, verifies the
/// copy, and then deletes them; `files` tiers and expires a table of a lake.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "lakegate.dev",
    version = "v1alpha1",
    kind = "RetentionPolicy",
    plural = "retentionpolicies",
    shortname = "ret",
    category = "data",
    namespaced,
    status = "RetentionPolicyStatus",
    derive = "PartialEq",
    doc = "How long data is kept: rows archives old rows of a live table into a lake, verifies the copy, and then deletes them; files tiers and expires a table of a lake.",
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
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule.cron"),
    printcolumn(name = "Last-Run", type_ = "string", json_path = ".status.lastRun.outcome"),
    printcolumn(
        name = "Marked",
        type_ = "integer",
        json_path = ".status.marked.rows",
        priority = 1
    ),
    printcolumn(name = "Deleted", type_ = "integer", json_path = ".status.deleted.rows"),
    printcolumn(name = "Last-Pass", type_ = "date", json_path = ".status.lastEvaluationTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.rows) != has(self.files)",
        "message": "set exactly one of rows and files",
    },
    {
        "rule": "has(self.rows) == has(oldSelf.rows)",
        "message": "a policy stays one of rows and files; create another RetentionPolicy",
    },
]))]
pub struct RetentionPolicySpec {
    /// Archive old rows of a live table into a lake, verify the copy, then delete them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<RowsRetention>,

    /// Tier and expire a table of a lake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesRetention>,

    /// When passes start. Absent: only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSpec>,

    /// True starts no new pass; an active one stops at its next safe point. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// Longest time a pass may take. Default: 6h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,

    /// Repetition of failed attempts within a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,

    /// How many ended passes are kept as objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistorySpec>,

    /// Any change of this text starts one pass now.
    #[schemars(length(max = 256))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_token: Option<String>,

    /// Compute of each pass. Default: 1 cpu and 512Mi of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// What this policy is for, for people.
    #[schemars(length(max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Archive old rows of a live table, verify, then delete them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.sourceRef == oldSelf.sourceRef && self.table == oldSelf.table && self.timeColumn == oldSelf.timeColumn",
    "message": "sourceRef, table and timeColumn are immutable; create another RetentionPolicy",
}]))]
pub struct RowsRetention {
    /// The DataSource that has the table, in the same namespace. Immutable.
    pub source_ref: ResourceReference,

    /// The table. Immutable.
    pub table: TableReference,

    /// Column that says how old a row is; rows where it is null are never touched. Immutable.
    #[schemars(length(min = 1, max = 128))]
    pub time_column: String,

    /// Zone of a time column without one. Default: `Etc/UTC`.
    #[schemars(length(min = 1, max = 64))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,

    /// Age from which rows are archived and deleted, such as `180d`.
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "self.matches('[1-9]')",
        "message": "olderThan must be longer than 0, else every row would go",
    }]))]
    pub older_than: Duration,

    /// Only rows that meet this SQL condition as well.
    #[schemars(length(min = 1, max = 4096))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#where: Option<String>,

    /// The lake table that keeps the rows.
    pub archive: ArchiveSpec,

    /// `DryRun` (the default) reports what a pass would do, `Archive` copies and verifies but
    /// deletes nothing, `Enforce` deletes what was verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<RowsMode>,

    /// Time between the verified copy and the delete. Default: 24h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Duration>,

    /// How the delete spares the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<ThrottleSpec>,

    /// Whether deletes reach change streams of the source: `Propagate` or `Suppress`. Must be set
    /// where the table is published to a change stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_streams: Option<ChangeStreams>,
}

/// What a pass over rows does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum RowsMode {
    /// Reports only.
    #[default]
    DryRun,
    /// Copies and verifies.
    Archive,
    /// Copies, verifies and deletes.
    Enforce,
}

/// Whether deletes reach change streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum ChangeStreams {
    Propagate,
    Suppress,
}

/// The lake table that keeps archived rows, with all their columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.lakeRef == oldSelf.lakeRef && self.schema == oldSelf.schema && self.table == oldSelf.table",
    "message": "lakeRef, schema and table are immutable, because the archive is there; create another RetentionPolicy",
}]))]
pub struct ArchiveSpec {
    /// The DataSource of kind lake to write to, in the same namespace. Immutable.
    pub lake_ref: ResourceReference,

    /// Schema of the lake table. Immutable.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z_][a-z0-9_]*$"),
        extend("x-kubernetes-validations" = [{
            "rule": "!(self in ['lakegate', 'views', 'information_schema']) && !self.startsWith('pg_')",
            "message": "the schemas lakegate, views, information_schema and those that begin with pg_ are in every database; name another",
        }])
    )]
    pub schema: String,

    /// Name of the lake table. Immutable.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub table: String,

    /// How the table is cut into partitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub partition_by: Vec<PartitionField>,

    /// Codec of the data files: `Zstd` (the default) or `Snappy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// How deletes spare the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThrottleSpec {
    /// Rows deleted in one transaction at most. Default: 10000.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch_rows: Option<u32>,

    /// Time one transaction aims at. Default: 100ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_batch_time: Option<Duration>,

    /// Replica lag above which deleting pauses. Default: 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replica_lag: Option<Duration>,
}

/// Tier and expire a table of a lake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.keep) || (has(self.tiers) && self.tiers.size() > 0)",
        "message": "set keep, tiers or both",
    },
    {
        "rule": "self.lakeRef == oldSelf.lakeRef && self.schema == oldSelf.schema && self.table == oldSelf.table",
        "message": "lakeRef, schema and table are immutable; create another RetentionPolicy",
    },
]))]
pub struct FilesRetention {
    /// The DataSource of kind lake that has the table, in the same namespace. Immutable.
    pub lake_ref: ResourceReference,

    /// Schema of the lake table. Immutable.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub schema: String,

    /// Name of the lake table. Immutable.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub table: String,

    /// What is kept: whatever any of the rules keeps. Absent: everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<KeepSpec>,

    /// What is counted: `Snapshot` (the default) or `Partition`, whose age is its upper bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<RetentionUnit>,

    /// Moves of old files to cheaper storage, by rising age.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub tiers: Vec<TierSpec>,

    /// Time between the mark and the delete; an edit in between rescues. Default: 24h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Duration>,

    /// A pass that would remove more than this share of the table stops and asks. Default: 50.
    #[schemars(range(min = 1, max = 100))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_delete_percent: Option<u32>,

    /// `DryRun` (the default) reports what a pass would do, `Enforce` does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<FilesMode>,
}

/// What a pass over files does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum FilesMode {
    /// Reports only.
    #[default]
    DryRun,
    /// Moves and deletes.
    Enforce,
}

/// What a files policy counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum RetentionUnit {
    #[default]
    Snapshot,
    Partition,
}

/// What is kept: whatever any of the rules keeps. The newest is always kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.within) || has(self.hourly) || has(self.daily) || has(self.weekly) || has(self.monthly) || has(self.yearly) || has(self.last)",
    "message": "set at least one of within, hourly, daily, weekly, monthly, yearly and last",
}]))]
pub struct KeepSpec {
    /// Everything younger than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Duration>,

    /// The newest of each of the last so many hours.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hourly: Option<u32>,

    /// The newest of each of the last so many days.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,

    /// The newest of each of the last so many weeks.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u32>,

    /// The newest of each of the last so many months.
    #[schemars(range(min = 0, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u32>,

    /// The newest of each of the last so many years.
    #[schemars(range(min = 0, max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u32>,

    /// The last so many, at least 1.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
}

/// A move of old files to cheaper storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TierSpec {
    /// Age from which files are moved.
    pub after: Duration,

    /// Storage class, such as `STANDARD_IA` or `GLACIER_IR`. Classes that must be restored before
    /// they are read are not allowed: queries would miss rows.
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "self in ['STANDARD_IA', 'ONEZONE_IA', 'INTELLIGENT_TIERING', 'GLACIER_IR']",
        "message": "storageClass is one of STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING and GLACIER_IR: others must be restored before they are read",
    }]), length(min = 1, max = 64))]
    pub storage_class: String,
}

impl RetentionPolicySpec {
    /// Whether no new pass starts by the user's wish.
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or(false)
    }
}

/// What Lakegate knows about the policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionPolicyStatus {
    /// Generation of the spec that this status describes; -1 before the first look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, LastRunSucceeded, Suspended, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Last value of the annotation `lakegate.dev/requestedAt` that started a pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// Mode in force: DryRun, Archive or Enforce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,

    /// End of the last pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_evaluation_time: Option<Time>,

    /// Next slot of the schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_evaluation_time: Option<Time>,

    /// The newest ended pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<RunSummary>,

    /// Name of the run that is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_run: Option<String>,

    /// Value of `runToken` for which a pass was last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run_token: Option<String>,

    /// What the last pass marked for removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marked: Option<RetentionCounts>,

    /// What the last pass removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<RetentionCounts>,

    /// Age of the oldest data kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_kept: Option<Time>,

    /// Passes that failed since the last success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<i64>,
}

/// Amounts of one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetentionCounts {
    /// Rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,

    /// Files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,

    /// Partitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i64>,

    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}
