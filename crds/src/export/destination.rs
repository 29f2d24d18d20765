//! The lake table that an Export becomes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Compression, Memory, ResourceReference};

/// The lake table that an Export becomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.lakeRef == oldSelf.lakeRef && self.schema == oldSelf.schema && self.table == oldSelf.table",
        "message": "lakeRef, schema and table are immutable, because readers name the table; create another Export",
    },
    {
        "rule": "!has(self.profile) || self.profile != 'Hive3' || (has(self.format) && self.format == 'Parquet')",
        "message": "profile Hive3 needs format Parquet",
        "fieldPath": ".profile",
    },
]))]
pub struct DestinationSpec {
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

    /// How the table is cut into partitions, by exported columns. With `format: Parquet` each is a directory
    /// `COLUMN=VALUE` as Hive has them, and columns by Identity are in the directories' names alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub partition_by: Vec<PartitionField>,

    /// Exported columns whose values have a bloom filter in each row group of the data files, so that readers of one value
    /// skip the others. Worth its room for columns with many values in no order, as identifiers are. Neither masked
    /// columns nor those of truth values, floating-point numbers or several values. A change holds for files written
    /// from then on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 128)))]
    pub bloom_filters: Vec<String>,

    /// Codec of the data files: `Zstd` (the default) or `Snappy` (the default of profile Hive3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,

    /// Which types are written: `Portable` (the default) are those that every engine reads alike,
    /// `Iceberg` allows all of Iceberg's, `Hive3` those of Hive 3 with `format: Parquet`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,

    /// `Iceberg` (the default) is an Iceberg table, `Parquet` only a directory of files per run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<TableFormat>,

    /// Size at which a data file is closed. Default: 128Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_file_size: Option<Memory>,
}

impl DestinationSpec {
    /// Codec in force.
    pub fn compression(&self) -> Compression {
        let hive = self.profile() == Profile::Hive3;
        let default = if hive {
            Compression::Snappy
        } else {
            Compression::default()
        };
        self.compression.unwrap_or(default)
    }

    /// Profile in force.
    pub fn profile(&self) -> Profile {
        self.profile.unwrap_or_default()
    }

    /// Format in force.
    pub fn format(&self) -> TableFormat {
        self.format.unwrap_or_default()
    }

    /// Size at which a data file is closed, in bytes.
    pub fn target_file_size(&self) -> u64 {
        self.target_file_size.as_ref().map_or(128 << 20, Memory::bytes)
    }
}

/// One partition of a lake table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.buckets) == (self.by == 'Bucket')",
        "message": "set buckets with by: Bucket, and only then",
        "fieldPath": ".buckets",
    },
    {
        "rule": "has(self.width) == (self.by == 'Truncate')",
        "message": "set width with by: Truncate, and only then",
        "fieldPath": ".width",
    },
]))]
pub struct PartitionField {
    /// Column of the lake table, by its exported name.
    #[schemars(length(min = 1, max = 128))]
    pub column: String,

    /// How a value becomes a partition: Identity, Year, Month, Day, Hour, Bucket or Truncate.
    pub by: PartitionTransform,

    /// Number of hash buckets, with `by: Bucket`.
    #[schemars(range(min = 1, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<u32>,

    /// Width of the cut, with `by: Truncate`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
}

/// How a value becomes a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum PartitionTransform {
    Identity,
    Year,
    Month,
    Day,
    Hour,
    Bucket,
    Truncate,
}

/// Which types are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum Profile {
    /// Types that every engine reads alike.
    #[default]
    Portable,
    /// All types of Iceberg v2.
    Iceberg,
    /// Types of Hive 3.
    Hive3,
}

/// What an export writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::text::plain_enum)]
pub enum TableFormat {
    /// An Iceberg v2 table.
    #[default]
    Iceberg,
    /// A directory of Parquet files per run.
    Parquet,
}
