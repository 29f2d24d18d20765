//! The data files of a snapshot, with what the manifests know about their values.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue, Statistics};
use iceberg::spec::{DataFile, DataFileFormat, Datum, PrimitiveLiteral, PrimitiveType};
use object_store::path::Path;

use crate::error::LakeError;
use crate::objects::Objects;
use crate::partition::{self, Bucket};
use crate::portable::UTC;
use crate::versions::{LiveManifest, Version, Versions, property, summary};

/// One data file of a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct LiveFile {
    pub path: Path,
    pub size: u64,
    pub rows: u64,
    pub columns: Vec<ColumnFacts>,
}

/// What the manifest says about one top-level column of one file.
#[derive(Debug, Clone)]
pub(crate) struct ColumnFacts {
    /// `None` when unknown.
    pub nulls: Option<u64>,
    /// Bounds: no value is outside, NaN apart.
    pub lower: Option<ScalarValue>,
    pub upper: Option<ScalarValue>,
    /// The bounds are values of the column.
    pub exact: bool,
    /// The bucket of all values that are not null.
    pub bucket: Option<Bucket>,
}

/// The files of a snapshot.
#[derive(Debug)]
pub(crate) struct LiveFiles {
    pub files: Vec<LiveFile>,
    /// Columns that hold NaN somewhere, or may. Bounds leave NaN out, while queries sort it above all numbers, so
    /// nothing may be skipped by the bounds of these.
    pub may_hold_nan: HashSet<usize>,
}

impl LiveFiles {
    /// Reads the manifests of the version's snapshot.
    pub async fn read(versions: &Versions, version: &Version) -> Result<Self, LakeError> {
        let manifests = versions.live_manifests(version).await?;
        Self::of(&versions.objects, version, &manifests)
    }

    /// The files of manifests.
    pub fn of(objects: &Objects, version: &Version, manifests: &[LiveManifest]) -> Result<Self, LakeError> {
        let table = &version.table;
        let unsupported = |feature: String| LakeError::UnsupportedTable {
            table: table.clone(),
            feature,
        };
        let is_own = |snapshot_id: i64| {
            let snapshot = version.metadata.snapshot_by_id(snapshot_id);
            snapshot.is_some_and(|snapshot| property(snapshot, summary::RUN).is_some())
        };
        let mut files = Vec::new();
        let mut may_hold_nan = HashSet::new();
        for manifest in manifests {
            if manifest.is_delete() {
                return Err(unsupported("row-level deletes by another engine".to_owned()));
            }
            for entry in manifest.entries() {
                let data = entry.data_file();
                if data.file_format() != DataFileFormat::Parquet {
                    return Err(unsupported(format!("{} data files", data.file_format())));
                }
                let own = is_own(manifest.snapshot_id(entry));
                let mut columns = columns_of(version, data, own, &mut may_hold_nan);
                partition::tighten(
                    &mut columns,
                    version,
                    manifest.manifest.metadata(),
                    data.partition(),
                    data.record_count(),
                );
                files.push(LiveFile {
                    path: objects.path_of(table, data.file_path())?,
                    size: data.file_size_in_bytes(),
                    rows: data.record_count(),
                    columns,
                });
            }
        }
        Ok(Self { files, may_hold_nan })
    }
}

/// `own`: Lakegate wrote the file. Its bounds are values themselves and it counts every column; other engines may cut
/// bounds and leave out what they like.
fn columns_of(
    version: &Version,
    data: &DataFile,
    own: bool,
    may_hold_nan: &mut HashSet<usize>,
) -> Vec<ColumnFacts> {
    version
        .schema
        .as_struct()
        .fields()
        .iter()
        .zip(version.arrow.fields())
        .enumerate()
        .map(|(position, (field, arrow))| {
            let floating = matches!(arrow.data_type(), DataType::Float32 | DataType::Float64);
            // a file older than the column holds no value of it
            let absent =
                own && !data.value_counts().is_empty() && !data.value_counts().contains_key(&field.id);
            if floating && !absent && data.nan_value_counts().get(&field.id) != Some(&0) {
                may_hold_nan.insert(position);
                return ColumnFacts {
                    nulls: data.null_value_counts().get(&field.id).copied(),
                    lower: None,
                    upper: None,
                    exact: false,
                    bucket: None,
                };
            }
            let primitive = field.field_type.is_primitive();
            let bound = |bounds: &std::collections::HashMap<i32, Datum>| {
                let datum = bounds.get(&field.id)?;
                scalar(datum.data_type(), datum.literal())?
                    .cast_to(arrow.data_type())
                    .ok()
            };
            ColumnFacts {
                nulls: if absent && primitive {
                    Some(data.record_count())
                } else {
                    data.null_value_counts()
                        .get(&field.id)
                        .copied()
                        .filter(|_| primitive)
                },
                lower: bound(data.lower_bounds()).map(|lower| zero(lower, -0.0)),
                upper: bound(data.upper_bounds()).map(|upper| zero(upper, 0.0)),
                // text bounds are cut at 64 bytes, and zero has two signs
                exact: own
                    && !floating
                    && !matches!(
                        arrow.data_type(),
                        DataType::Utf8View | DataType::BinaryView | DataType::Utf8 | DataType::Binary
                    ),
                bucket: None,
            }
        })
        .collect()
}

impl LiveFile {
    /// For DataFusion: counts are exact, bounds where they are values.
    pub fn statistics(&self) -> Statistics {
        let bound = |facts: &ColumnFacts, value: &Option<ScalarValue>| match value {
            Some(value) if facts.exact => Precision::Exact(value.clone()),
            Some(value) => Precision::Inexact(value.clone()),
            None => Precision::Absent,
        };
        Statistics {
            num_rows: Precision::Exact(self.rows as usize),
            total_byte_size: Precision::Inexact(self.size as usize),
            column_statistics: self
                .columns
                .iter()
                .map(|facts| ColumnStatistics {
                    null_count: facts
                        .nulls
                        .map_or(Precision::Absent, |nulls| Precision::Exact(nulls as usize)),
                    min_value: bound(facts, &facts.lower),
                    max_value: bound(facts, &facts.upper),
                    ..ColumnStatistics::new_unknown()
                })
                .collect(),
        }
    }
}

/// The bounds of many files as DataFusion's pruning wants them.
pub(crate) struct FileBounds<'a> {
    pub schema: &'a Schema,
    pub files: &'a [LiveFile],
}

impl FileBounds<'_> {
    fn bounds(
        &self,
        column: &Column,
        bound: impl Fn(&ColumnFacts) -> &Option<ScalarValue>,
    ) -> Option<ArrayRef> {
        let (position, field) = self.schema.column_with_name(&column.name)?;
        let unknown = ScalarValue::try_from(field.data_type()).ok()?;
        ScalarValue::iter_to_array(self.files.iter().map(|file| {
            bound(&file.columns[position])
                .clone()
                .unwrap_or_else(|| unknown.clone())
        }))
        .ok()
    }
}

impl PruningStatistics for FileBounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |facts| &facts.lower)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |facts| &facts.upper)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let (position, _) = self.schema.column_with_name(&column.name)?;
        let counts: UInt64Array = self
            .files
            .iter()
            .map(|file| file.columns[position].nulls)
            .collect();
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts: UInt64Array = self.files.iter().map(|file| Some(file.rows)).collect();
        Some(Arc::new(counts))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let (position, field) = self.schema.column_with_name(&column.name)?;
        let facts = || self.files.iter().map(|file| &file.columns[position]);
        if facts().all(|facts| facts.bucket.is_none()) {
            return None;
        }
        let none_of_them = facts().map(|facts| {
            let may = partition::may_contain(facts.bucket?, values, field.data_type())?;
            (!may).then_some(false)
        });
        Some(none_of_them.collect())
    }
}

/// A bound of zero with the sign that leaves nothing out: values may have either.
fn zero(bound: ScalarValue, zero: f64) -> ScalarValue {
    match bound {
        ScalarValue::Float32(Some(0.0)) => ScalarValue::Float32(Some(zero as f32)),
        ScalarValue::Float64(Some(0.0)) => ScalarValue::Float64(Some(zero)),
        other => other,
    }
}

/// A value of Iceberg's as DataFusion has it; None for types without an order that both agree on.
pub(crate) fn scalar(data_type: &PrimitiveType, literal: &PrimitiveLiteral) -> Option<ScalarValue> {
    Some(match (data_type, literal) {
        (PrimitiveType::Boolean, PrimitiveLiteral::Boolean(value)) => ScalarValue::Boolean(Some(*value)),
        (PrimitiveType::Int, PrimitiveLiteral::Int(value)) => ScalarValue::Int32(Some(*value)),
        (PrimitiveType::Long, PrimitiveLiteral::Long(value)) => ScalarValue::Int64(Some(*value)),
        (PrimitiveType::Float, PrimitiveLiteral::Float(value)) => ScalarValue::Float32(Some(value.0)),
        (PrimitiveType::Double, PrimitiveLiteral::Double(value)) => ScalarValue::Float64(Some(value.0)),
        (PrimitiveType::Date, PrimitiveLiteral::Int(value)) => ScalarValue::Date32(Some(*value)),
        (PrimitiveType::Timestamp, PrimitiveLiteral::Long(value)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), None)
        }
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(value)) => {
            ScalarValue::TimestampMicrosecond(Some(*value), Some(UTC.into()))
        }
        (PrimitiveType::Time, PrimitiveLiteral::Long(value)) => {
            ScalarValue::new_primitive::<arrow::datatypes::Time64MicrosecondType>(
                Some(*value),
                &DataType::Time64(TimeUnit::Microsecond),
            )
            .ok()?
        }
        (PrimitiveType::String, PrimitiveLiteral::String(value)) => ScalarValue::Utf8(Some(value.clone())),
        (PrimitiveType::Binary, PrimitiveLiteral::Binary(value)) => ScalarValue::Binary(Some(value.clone())),
        (PrimitiveType::Decimal { precision, scale }, PrimitiveLiteral::Int128(value)) => {
            // precision <= 38 and scale <= precision by the Iceberg specification
            ScalarValue::Decimal128(Some(*value), *precision as u8, *scale as i8)
        }
        _ => return None,
    })
}
