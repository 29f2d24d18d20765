//! The resources of Lakegate: their types, their validation, and the vocabulary of their status.
//!
//! ```text
//! Export ──from.sourceRef──▶ DataSource        ExportRun ──exportRef──▶ Export
//!    └──destination.lakeRef─▶ DataSource(lake)     └─retentionPolicyRef─▶ RetentionPolicy
//! RetentionPolicy ──rows.sourceRef, rows.archive.lakeRef, files.lakeRef──▶ DataSource
//! View: names catalogs in its SQL
//! ```
//!
//! References stay within a namespace. Nothing in this crate does I/O or reads the clock; the
//! same [`validation::validate`] serves a folder of manifests, the command line and Kubernetes.

// The printer columns of a kind share their types and priorities; the lint takes that for an error.
#![allow(clippy::duplicated_attributes)]

mod common;
pub mod conditions;
mod data_source;
mod duration;
mod export;
mod export_run;
mod generated;
mod kind;
pub mod manifest;
mod mask;
mod quantity;
mod retention_policy;
pub mod schedule;
mod shared;
mod text;
pub mod validation;
mod view;

/// Field metadata key that overrides the Postgres type of a column, with the type's `pg_type.typname`
/// and, for `varchar` and `bpchar`, an optional length: `oid`, `uuid`, `jsonb`, `varchar(20)`.
///
/// The physical Arrow type must be one that the encoder of that Postgres type reads; where it is not, the
/// override is ignored and the Arrow type decides.
pub const PG_TYPE_METADATA: &str = "lakegate.pg_type";

pub use common::{
    BasicSecretReference, Compression, ConnectionLimits, Credentials, DeclaredColumn, HistorySpec,
    ResourceList, ResourceReference, ResourceRequirements, RetrySpec, SecretKeyReference, TableReference,
    TlsMode, TlsSpec,
};
pub use data_source::{
    AccessSpec, AmbientCredentials, AwsSigV4Credentials, CsvOptions, CsvUrlSpec, DataSource, DataSourceSpec,
    DataSourceStatus, DirectorySpec, DiscoverySpec, ElasticsearchCredentials, ElasticsearchSpec, Endpoint,
    FileCompression, FileFormat, GoogleCredentials, GoogleSheetSpec, Keyspace, KeyspaceType,
    LakeDirectorySpec, LakeSpec, MysqlSpec, ObjectStoreSpec, ObjectStoreTable, OnReplicaLag, PostgresSpec,
    PrimaryEndpoint, RedisCredentials, RedisPasswordReference, RedisSpec, S3Credentials, S3SecretReference,
    S3Spec, SheetRange, SourceKind, SpreadsheetSpec, SqliteSpec, UnconstrainedNumeric, ZeroDates,
};
pub use duration::{Duration, InvalidDuration};
pub use export::{
    AllColumns, AssertSpec, ColumnSpec, DeletionPolicy, DestinationSpec, Export, ExportFrom, ExportSpec,
    ExportStatus, IncrementalSpec, KAnonymity, NulledColumnStatus, OnCastError, OnNewColumn, PartitionField,
    PartitionTransform, PersonalColumnStatus, Profile, RunSummary, SnapshotSummary, TableFormat,
};
pub use export_run::{
    CursorRange, ExportRun, ExportRunSpec, ExportRunStatus, FailureStatus, ProgressStatus, RunCause,
    RunState, RunWindow, TableSize, WorkerStatus,
};
pub use generated::{crds, file_name, generated, render};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
pub use kind::{
    API_VERSION, AnyResource, CAUSE_LABEL, DEFAULT_NAMESPACE, EXPORT_DATA_FINALIZER, EXPORT_LABEL, GROUP,
    Kind, LakegateResource, MANIFEST_ANNOTATION, REQUESTED_AT_ANNOTATION, UnknownKind, VERSION,
};
pub use kube;
pub use mask::{
    BucketMask, ConstantMask, DateShiftMask, EmailMask, EmptyMask, HmacMask, IpPrefixMask, JsonPathMask,
    MaskKeyUse, MaskSpec, NoiseMask, PartialMask, PhoneMask, RegexReplaceMask, RoundMask, TokenizeMask,
    TruncateMask, TruncateUnit,
};
pub use quantity::{Cpu, InvalidQuantity, Memory};
pub use retention_policy::{
    ArchiveSpec, ChangeStreams, FilesMode, FilesRetention, KeepSpec, RetentionCounts, RetentionPolicy,
    RetentionPolicySpec, RetentionPolicyStatus, RetentionUnit, RowsMode, RowsRetention, ThrottleSpec,
    TierSpec,
};
pub use schedule::{ConcurrencyPolicy, Cron, InvalidCron, ScheduleSpec};
pub use shared::Shared;
pub use view::{View, ViewColumn, ViewColumnStatus, ViewParameter, ViewSpec, ViewStatus};
