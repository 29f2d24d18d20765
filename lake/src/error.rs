//! What can go wrong with a lake, one variant per cause.

use std::error::Error;
use std::path::PathBuf;

use lakegate_crds::conditions::Reason;
use lakegate_store::s3::S3Error;

use crate::name::LakeTableName;
use crate::table::AsOf;

type Source = Box<dyn Error + Send + Sync>;

/// Why a lake operation failed.
///
/// Messages name the table, the column and what to do, and never hold a value of the data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LakeError {
    /// The directory cannot be created or used.
    #[error("lake directory {} cannot be used: create it or give lakegate the right to", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    /// Accepted by the API, served by no code yet.
    #[error("{what} is not implemented yet: {remedy}")]
    NotImplemented { what: String, remedy: String },
    /// A lake is in one place.
    #[error("spec.lake must have exactly one of directory and s3")]
    AmbiguousSpec,
    /// A schema, table, run or attempt name that cannot be part of an object's key.
    #[error("{kind} name {name:?} cannot be used in a lake: {problem}")]
    BadName {
        kind: &'static str,
        name: String,
        problem: &'static str,
    },
    /// Two columns have the same name once written portably.
    #[error(
        "table {table}: columns {first:?} and {second:?} would both be named {name:?} in the lake; rename one of them"
    )]
    ColumnCollision {
        table: LakeTableName,
        first: String,
        second: String,
        name: String,
    },
    /// A column's name is longer than catalogs take.
    #[error(
        "table {table}: column {column:?} has a name of {bytes} bytes, above the limit of {limit}; rename it with as, or leave it out"
    )]
    ColumnNameTooLong {
        table: LakeTableName,
        column: String,
        bytes: usize,
        limit: usize,
    },
    /// A table needs at least one column.
    #[error("table {table}: no column is exported; export at least one")]
    NoColumns { table: LakeTableName },
    /// A type that the lake cannot hold exactly.
    #[error("table {table}, column {column}: type {data_type} cannot be exported: {remedy}")]
    TypeRefused {
        table: LakeTableName,
        column: String,
        data_type: String,
        remedy: &'static str,
    },
    /// A value that the lake cannot hold exactly.
    #[error("table {table}, column {column}: {problem}")]
    ValueRefused {
        table: LakeTableName,
        column: String,
        problem: String,
    },
    /// One value above the limit of 64 MiB.
    #[error(
        "table {table}, column {column}: a value of {bytes} bytes is above the limit of {limit} bytes; exclude the column or shorten the value"
    )]
    ValueTooLarge {
        table: LakeTableName,
        column: String,
        bytes: u64,
        limit: u64,
    },
    /// The new rows have a column whose type the table's column cannot become.
    #[error(
        "table {table}, column {column}: the table has type {old}, the new rows have {new}; cast the column to {old}, export it under another name, or export into another table"
    )]
    SchemaChanged {
        table: LakeTableName,
        column: String,
        old: String,
        new: String,
    },
    /// Another run changed the table's columns after this one began to write.
    #[error(
        "table {table}: another run changed column {column} while this one was writing; run the export again"
    )]
    ColumnsMoved { table: LakeTableName, column: String },
    /// The table is an Iceberg table and the run writes plain files, or the other way round.
    #[error(
        "table {table} is written with format {there}: export with format {wanted} into another table, or delete this one"
    )]
    FormatDiffers {
        table: LakeTableName,
        there: &'static str,
        wanted: &'static str,
    },
    /// A batch does not have the schema the writer was started with.
    #[error("table {table}: a batch does not have the columns the writer was started with: {problem}")]
    WrongBatch { table: LakeTableName, problem: String },
    /// `CommitInfo` names another run than the files were written for.
    #[error("table {table}: the files were written by run {written}, not by {committing}")]
    WrongRun {
        table: LakeTableName,
        written: String,
        committing: String,
    },
    /// The files belong to another lake.
    #[error("table {table}: the files were written into {written}, not into {committing}")]
    WrongLake {
        table: LakeTableName,
        written: String,
        committing: String,
    },
    /// No space is left in the lake.
    #[error("no space left in lake {location}: free some, then run the export again")]
    StorageFull { location: String, source: Source },
    /// The spec names a bucket that cannot be one.
    #[error("{0}")]
    Bucket(Box<S3Error>),
    /// The bucket cannot be used, for a reason that is known.
    #[error("cannot {operation} {path} in lake {location}: {source}")]
    BucketFailed {
        operation: &'static str,
        path: String,
        location: String,
        source: Box<S3Error>,
    },
    /// The store creates objects over others, so that two commits could be one.
    #[error(
        "lake {location} cannot be written: its store does not refuse to create an object twice (If-None-Match: * on \
         PutObject), without which runs would overwrite each other; use a store that does, or a newer version of it"
    )]
    NoConditionalCreate {
        location: String,
        source: Option<Source>,
    },
    /// The object store failed.
    #[error("cannot {operation} {path} in lake {location}")]
    Store {
        operation: &'static str,
        path: String,
        location: String,
        source: Source,
    },
    /// The reply to the commit was lost and the store does not say what became of it.
    #[error(
        "table {table}: it is not known whether run {run_id} was committed; its files were kept, run it again under the same run id"
    )]
    CommitUnknown {
        table: LakeTableName,
        run_id: String,
        source: Source,
    },
    /// The run is committed, but what follows the commit could not be written.
    #[error(
        "table {table}: run {run_id} is committed, but {what} could not be written; run it again under the same run id"
    )]
    CommitUnfinished {
        table: LakeTableName,
        run_id: String,
        what: String,
        source: Source,
    },
    /// A column that the table cannot be parted by in this way.
    #[error("table {table}: {field}: \"{column}\" {problem}")]
    PartitionRefused {
        table: LakeTableName,
        field: String,
        column: String,
        problem: String,
    },
    /// A column that has no bloom filter.
    #[error("table {table}: spec.destination.bloomFilters[{index}]: \"{column}\" {problem}")]
    BloomFilterRefused {
        table: LakeTableName,
        index: usize,
        column: String,
        problem: &'static str,
    },
    /// Another run published while this one merged its changes into what was there before.
    #[error("table {table}: another run published while this one was merging its changes; run it again")]
    BaseMoved { table: LakeTableName },
    /// The keys of changed rows do not fit the memory for them.
    #[error(
        "table {table}: more than {limit} rows have changed, and their keys do not fit the run's memory; raise \
         spec.resources.limits.memory"
    )]
    TooManyChanges { table: LakeTableName, limit: usize },
    /// Other writers were faster each time.
    #[error("table {table}: run {run_id} lost {times} commit races in a row; run it again")]
    TooManyRaces {
        table: LakeTableName,
        run_id: String,
        times: u32,
    },
    /// A metadata or manifest file cannot be understood.
    #[error("{path} in lake {location} is not a readable Iceberg file")]
    Corrupt {
        path: String,
        location: String,
        source: Source,
    },
    /// A metadata file names an object outside the table.
    #[error("table {table}: {uri} is outside the lake {location}; restore the table's original location")]
    ForeignLocation {
        table: LakeTableName,
        uri: String,
        location: String,
    },
    /// A table written by another engine in a way this version cannot read or replace.
    #[error("table {table}: {feature} is not supported; rewrite the table without it")]
    UnsupportedTable { table: LakeTableName, feature: String },
    /// Rows could not be sorted by partition.
    #[error("table {table}: rows cannot be sorted by partition")]
    Sort { table: LakeTableName, source: Source },
    /// Sorting rows by partition takes more memory than the run has.
    #[error(
        "table {table}: rows cannot be sorted by partition in the run's memory; raise spec.resources.limits.memory"
    )]
    SortMemory { table: LakeTableName, source: Source },
    /// A state of the table was asked for that is not kept, or never was.
    #[error("table {table} has no {as_of}")]
    NoSnapshot {
        table: LakeTableName,
        as_of: AsOf,
        /// Id and time of the oldest snapshot there is.
        oldest: Option<(i64, jiff::Timestamp)>,
    },
    /// Metadata or Parquet could not be encoded.
    #[error("table {table}: {what} could not be encoded")]
    Encode {
        table: LakeTableName,
        what: &'static str,
        source: Source,
    },
}

impl LakeError {
    /// True when trying again cannot help: the export, its source or the table must change first.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Bucket(source) | Self::BucketFailed { source, .. } => source.is_terminal(),
            Self::NotImplemented { .. }
            | Self::NoConditionalCreate { .. }
            | Self::AmbiguousSpec
            | Self::BadName { .. }
            | Self::ColumnCollision { .. }
            | Self::ColumnNameTooLong { .. }
            | Self::NoColumns { .. }
            | Self::TypeRefused { .. }
            | Self::ValueRefused { .. }
            | Self::ValueTooLarge { .. }
            | Self::SchemaChanged { .. }
            | Self::PartitionRefused { .. }
            | Self::BloomFilterRefused { .. }
            | Self::FormatDiffers { .. }
            | Self::WrongRun { .. }
            | Self::WrongLake { .. }
            | Self::ForeignLocation { .. }
            | Self::NoSnapshot { .. }
            | Self::UnsupportedTable { .. } => true,
            Self::Directory { .. }
            | Self::ColumnsMoved { .. }
            | Self::WrongBatch { .. }
            | Self::StorageFull { .. }
            | Self::Store { .. }
            | Self::CommitUnknown { .. }
            | Self::CommitUnfinished { .. }
            | Self::BaseMoved { .. }
            | Self::TooManyChanges { .. }
            | Self::TooManyRaces { .. }
            | Self::Corrupt { .. }
            | Self::Sort { .. }
            | Self::SortMemory { .. }
            | Self::Encode { .. } => false,
        }
    }

    /// As a condition's reason; none where only whoever asked knows what the failure means: reading, or writing.
    pub fn reason(&self) -> Option<Reason> {
        Some(match self {
            Self::Bucket(source) | Self::BucketFailed { source, .. } => return source.reason(),
            Self::NotImplemented { .. } => Reason::NotImplemented,
            Self::Directory { .. } => Reason::PathNotFound,
            Self::ColumnCollision { .. } => Reason::ColumnNameConflict,
            Self::TypeRefused { .. } | Self::ValueRefused { .. } => Reason::ValueNotRepresentable,
            Self::ValueTooLarge { .. } => Reason::ValueTooLarge,
            Self::SchemaChanged { .. } | Self::ColumnsMoved { .. } => Reason::SchemaChanged,
            Self::StorageFull { .. } => Reason::StorageFull,
            Self::TooManyRaces { .. } | Self::BaseMoved { .. } => Reason::CommitConflict,
            Self::TooManyChanges { .. } | Self::SortMemory { .. } => Reason::OutOfMemory,
            Self::BadName { .. }
            | Self::ColumnNameTooLong { .. }
            | Self::NoColumns { .. }
            | Self::PartitionRefused { .. }
            | Self::BloomFilterRefused { .. }
            | Self::FormatDiffers { .. }
            | Self::AmbiguousSpec => Reason::InvalidSpec,
            _ => return None,
        })
    }
}

/// True when anything in the error's chain says that the device, the bucket or a quota is full.
pub(crate) fn is_storage_full(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(S3Error::Full { .. })) {
            return true;
        }
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            if matches!(
                io.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ) {
                return true;
            }
            // an io::Error that wraps another error does not show it as its source
            if let Some(inner) = io.get_ref()
                && is_storage_full(inner)
            {
                return true;
            }
        }
        next = error.source();
    }
    false
}
