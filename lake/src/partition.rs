//! Partitions: which rows share a file, by transforms exactly as Iceberg's specification has them.
//!
//! Rows of one file have one value of each field, so that readers skip files by them. Of an Iceberg table manifests tell the
//! values, of plain files their directories.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Decimal128Array, Int32Array, PrimitiveArray, StringArray,
};
use arrow::compute::kernels::arity::unary;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Field, FieldRef, Int32Type, Int64Type, Schema,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;
use iceberg::spec::{
    Literal, PrimitiveLiteral, PrimitiveType, Schema as IcebergSchema, Struct, Transform, Type,
    UnboundPartitionSpec,
};
use lakegate_crds::{PartitionField, PartitionTransform, Profile, TableFormat};

use crate::convert::Converter;
use crate::directories;
use crate::error::LakeError;
use crate::name::{LakeTableName, portable_column_name};
use crate::portable::UTC;
use crate::types::ColumnMask;

const MICROSECONDS_AN_HOUR: i64 = 3_600_000_000;
const MICROSECONDS_A_DAY: i64 = 24 * MICROSECONDS_AN_HOUR;

/// How the rows of a table are parted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partitioning {
    fields: Vec<PartField>,
    /// Whether values are to be read from the names of directories, as of plain files.
    by_directory: bool,
}

#[derive(Debug, Clone)]
struct PartField {
    name: String,
    /// Position of the column in the table's schema.
    position: usize,
    source_id: i32,
    kind: PrimitiveType,
    transform: Transform,
    /// What the column's values are parted as, where that is not what the table keeps of them.
    parted_as: Option<FieldRef>,
}

/// What a table of some format and profile is parted by.
pub(crate) struct Parted<'a> {
    /// The planned schema.
    pub schema: &'a IcebergSchema,
    /// The columns as they come, in the same order.
    pub source: &'a Schema,
    /// The masked columns, by their names in the table.
    pub masks: &'a BTreeMap<String, ColumnMask>,
    pub profile: Profile,
    pub format: TableFormat,
}

/// One value of each partition field: what the rows of one file have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartitionValue(pub Vec<Option<PrimitiveLiteral>>);

impl PartitionValue {
    /// As a manifest has it.
    pub fn to_struct(&self) -> Struct {
        self.0
            .iter()
            .map(|value| value.clone().map(Literal::Primitive))
            .collect()
    }
}

impl Partitioning {
    /// Of a spec's `partitionBy`.
    pub fn new(
        table: &LakeTableName,
        partition_by: &[PartitionField],
        parted: &Parted<'_>,
    ) -> Result<Self, LakeError> {
        let by_directory = parted.format == TableFormat::Parquet;
        let mut fields: Vec<PartField> = Vec::with_capacity(partition_by.len());
        for (index, spec) in partition_by.iter().enumerate() {
            let refused = |problem: &str| LakeError::PartitionRefused {
                table: table.clone(),
                field: format!("spec.destination.partitionBy[{index}]"),
                column: spec.column.clone(),
                problem: problem.to_owned(),
            };
            let column = portable_column_name(&spec.column);
            let columns = parted.schema.as_struct().fields();
            let Some(position) = columns.iter().position(|field| field.name == column) else {
                return Err(refused("is not exported; name a column as it is exported"));
            };
            if parted.masks.contains_key(&column) {
                return Err(refused(
                    "is masked; a table cannot be partitioned by a masked column",
                ));
            }
            let Type::Primitive(kind) = columns[position].field_type.as_ref() else {
                return Err(refused("has several values in a row; name another column"));
            };
            let transform = transform_of(spec).ok_or_else(|| refused("lacks buckets or width"))?;
            let parted_as = (parted.profile == Profile::Hive3)
                .then(|| as_time(transform, parted.source.field(position)))
                .flatten();
            let kind = match parted_as.as_ref().map(|field| field.data_type()) {
                Some(DataType::Timestamp(_, None)) => &PrimitiveType::Timestamp,
                Some(_) => &PrimitiveType::Timestamptz,
                None => kind,
            };
            if let Some(problem) = problem_with(transform, kind) {
                return Err(refused(problem));
            }
            if by_directory
                && matches!(transform, Transform::Identity | Transform::Truncate(_))
                && *kind == PrimitiveType::Binary
            {
                return Err(refused(
                    "has bytes, which have no form in the name of a directory",
                ));
            }
            let source_id = columns[position].id;
            let is_time = |transform: Transform| {
                matches!(
                    transform,
                    Transform::Year | Transform::Month | Transform::Day | Transform::Hour
                )
            };
            let same = |known: &PartField| {
                known.source_id == source_id
                    && (known.transform == transform || is_time(known.transform) && is_time(transform))
            };
            if fields.iter().any(same) {
                return Err(refused(
                    "is partitioned by already; by Hour tells the day, month and year as well",
                ));
            }
            let mut name = match transform {
                Transform::Bucket(buckets) => format!("{column}_bucket_{buckets}"),
                Transform::Truncate(width) => format!("{column}_trunc_{width}"),
                Transform::Identity => column,
                other => format!("{column}_{other}"),
            };
            // engines know columns and partitions by one name space
            while transform != Transform::Identity && columns.iter().any(|field| field.name == name) {
                name.push_str("_part");
            }
            fields.push(PartField {
                name,
                position,
                source_id,
                kind: kind.clone(),
                transform,
                parted_as,
            });
        }
        let partitioning = Self { fields, by_directory };
        if by_directory
            && let Some(last) = partition_by.len().checked_sub(1)
            && partitioning.kept_positions(parted.schema).is_empty()
        {
            return Err(LakeError::PartitionRefused {
                table: table.clone(),
                field: format!("spec.destination.partitionBy[{last}]"),
                column: partition_by[last].column.clone(),
                problem:
                    "is the last column that files would have; leave one that is not partitioned by Identity"
                        .to_owned(),
            });
        }
        Ok(partitioning)
    }

    /// Whether a column of the table is told by directories, and not in the files.
    pub fn is_directory_only(&self, column: &str) -> bool {
        self.by_directory
            && self
                .fields
                .iter()
                .any(|field| field.transform == Transform::Identity && field.name == column)
    }

    /// The columns of a schema that are in the files, by position.
    pub fn kept_positions(&self, schema: &IcebergSchema) -> Vec<usize> {
        let columns = schema.as_struct().fields().iter().enumerate();
        columns
            .filter(|(_, column)| !self.is_directory_only(&column.name))
            .map(|(position, _)| position)
            .collect()
    }

    /// The directory of a partition below the run's; the `number`th that is written. Or the name of a column and what is
    /// wrong with its value.
    pub fn directory(&self, value: &PartitionValue, number: usize) -> Result<String, (String, String)> {
        let levels = self.levels(value);
        if self.by_directory {
            return directories::hive_path(&levels).map_err(|(column, problem)| (column.to_owned(), problem));
        }
        Ok(directories::iceberg_path(&levels).unwrap_or_else(|| format!("{number:05}")))
    }

    /// Names and values of the fields, as text.
    pub fn texts(&self, value: &PartitionValue) -> BTreeMap<String, Option<String>> {
        let levels = self.levels(value);
        levels
            .into_iter()
            .map(|level| (level.name.to_owned(), level.text()))
            .collect()
    }

    /// Name, column and transform of each field, outermost first.
    pub fn names(&self) -> impl Iterator<Item = (&str, i32, Transform)> {
        self.fields
            .iter()
            .map(|field| (field.name.as_str(), field.source_id, field.transform))
    }

    fn levels<'a>(&'a self, value: &'a PartitionValue) -> Vec<directories::Level<'a>> {
        let pairs = self.fields.iter().zip(&value.0);
        pairs
            .map(|(field, value)| directories::Level {
                name: &field.name,
                transform: field.transform,
                kind: &field.kind,
                value: value.as_ref(),
            })
            .collect()
    }

    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// For the table's metadata.
    pub fn spec(&self) -> iceberg::Result<UnboundPartitionSpec> {
        let mut spec = UnboundPartitionSpec::builder();
        for field in &self.fields {
            spec = spec.add_partition_field(field.source_id, &field.name, field.transform)?;
        }
        Ok(spec.build())
    }

    /// The columns of the fields in the form that they are parted by; a batch has the columns of `converter`'s source.
    pub fn columns(&self, converter: &Converter, batch: &RecordBatch) -> Result<Vec<ArrayRef>, LakeError> {
        let columns = self.fields.iter().map(|field| {
            let array = batch.column(field.position);
            let Some(form) = &field.parted_as else {
                return converter.column_at(field.position, array);
            };
            let schema = |field: &FieldRef| Arc::new(Schema::new(vec![Arc::clone(field)]));
            let converter = Converter {
                table: converter.table.clone(),
                source: schema(&converter.source.fields()[field.position]),
                target: schema(form),
                profile: Profile::Portable,
            };
            converter.column_at(0, array)
        });
        columns.collect()
    }

    /// The value of each field for each row; `columns` are those of [`Self::columns`].
    pub fn transform(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>, arrow::error::ArrowError> {
        let columns = self.fields.iter().zip(columns);
        columns
            .map(|(field, column)| transformed(field.transform, column))
            .collect()
    }

    /// The value at a row of what [`Self::transform`] gave.
    pub fn value(&self, transformed: &[ArrayRef], row: usize) -> Option<PartitionValue> {
        let values = self.fields.iter().zip(transformed);
        let values = values.map(|(field, array)| {
            if array.is_null(row) {
                return Some(None);
            }
            literal(&field.kind, array, row).map(Some)
        });
        values.collect::<Option<Vec<_>>>().map(PartitionValue)
    }
}

fn transform_of(spec: &PartitionField) -> Option<Transform> {
    Some(match spec.by {
        PartitionTransform::Identity => Transform::Identity,
        PartitionTransform::Year => Transform::Year,
        PartitionTransform::Month => Transform::Month,
        PartitionTransform::Day => Transform::Day,
        PartitionTransform::Hour => Transform::Hour,
        PartitionTransform::Bucket => Transform::Bucket(spec.buckets.filter(|buckets| *buckets > 0)?),
        PartitionTransform::Truncate => Transform::Truncate(spec.width.filter(|width| *width > 0)?),
    })
}

/// Why a transform cannot take values of a type.
fn problem_with(transform: Transform, kind: &PrimitiveType) -> Option<&'static str> {
    use PrimitiveType::{
        Binary, Boolean, Date, Decimal, Double, Fixed, Float, Int, Long, String, Time, Timestamp,
        Timestamptz, Uuid,
    };
    match transform {
        Transform::Identity => match kind {
            Float | Double => Some("has no exact values; use a decimal or an integer"),
            Boolean | Int | Long | Date | Decimal { .. } | Timestamp | Timestamptz | String | Binary => None,
            _ => Some("has a type that cannot be a partition"),
        },
        Transform::Year | Transform::Month | Transform::Day => {
            (!matches!(kind, Date | Timestamp | Timestamptz)).then_some("is neither a date nor a timestamp")
        }
        Transform::Hour => (!matches!(kind, Timestamp | Timestamptz)).then_some("is no timestamp"),
        Transform::Bucket(_) => match kind {
            Int
            | Long
            | Date
            | Decimal { .. }
            | Time
            | Timestamp
            | Timestamptz
            | String
            | Binary
            | Uuid
            | Fixed(_) => None,
            _ => Some(
                "has a type that has no buckets; use whole numbers, decimals, times, text, UUIDs or bytes",
            ),
        },
        Transform::Truncate(_) => match kind {
            Int | Long | Decimal { .. } | String | Binary => None,
            _ => Some("has a type that cannot be truncated; use whole numbers, decimals, text or bytes"),
        },
        _ => Some("has a transform that cannot be written"),
    }
}

fn unsupported(transform: Transform, array: &ArrayRef) -> arrow::error::ArrowError {
    arrow::error::ArrowError::NotYetImplemented(format!("{transform} of {}", array.data_type()))
}

fn transformed(transform: Transform, array: &ArrayRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    match transform {
        Transform::Identity => Ok(Arc::clone(array)),
        Transform::Year => times(transform, array, |days, _| civil(days).0 - 1970),
        Transform::Month => times(transform, array, |days, _| {
            let (year, month, _) = civil(days);
            (year - 1970) * 12 + month - 1
        }),
        Transform::Day => times(transform, array, |days, _| days),
        Transform::Hour => times(transform, array, |_, hours| hours),
        Transform::Bucket(buckets) => bucket(array, buckets).ok_or_else(|| unsupported(transform, array)),
        Transform::Truncate(width) => truncate(array, width).ok_or_else(|| unsupported(transform, array)),
        _ => Err(unsupported(transform, array)),
    }
}

/// Of days and hours since 1970.
fn times(
    transform: Transform,
    array: &ArrayRef,
    of: impl Fn(i64, i64) -> i64,
) -> Result<ArrayRef, arrow::error::ArrowError> {
    // microseconds of 64 bits are fewer than 2^31 hours but for the ends of time, where nothing is written
    #[expect(clippy::cast_possible_truncation, reason = "see above")]
    let of = |days: i64, hours: i64| of(days, hours) as i32;
    let values: Int32Array = match array.data_type() {
        DataType::Date32 => unary(array.as_primitive::<Date32Type>(), |days| {
            of(days.into(), i64::from(days) * 24)
        }),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            unary(array.as_primitive::<TimestampMicrosecondType>(), |micros| {
                of(
                    micros.div_euclid(MICROSECONDS_A_DAY),
                    micros.div_euclid(MICROSECONDS_AN_HOUR),
                )
            })
        }
        _ => return Err(unsupported(transform, array)),
    };
    Ok(Arc::new(values))
}

/// The form in which the timestamps of a column are parted that Hive 3 gets as text.
fn as_time(transform: Transform, source: &Field) -> Option<FieldRef> {
    let is_of_time = matches!(
        transform,
        Transform::Year | Transform::Month | Transform::Day | Transform::Hour
    );
    let DataType::Timestamp(_, zone) = source.data_type() else {
        return None;
    };
    let zone = zone.as_ref().map(|_| UTC.into());
    let form = DataType::Timestamp(TimeUnit::Microsecond, zone);
    is_of_time.then(|| Arc::new(Field::new(source.name(), form, true)))
}

/// Year, month and day of a day since 1970-01-01 in the proleptic Gregorian calendar: the algorithm `civil_from_days` of
/// Howard Hinnant, which knows no bounds of years.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn bucket(array: &ArrayRef, buckets: u32) -> Option<ArrayRef> {
    let of_bytes = |bytes: &[u8]| bucket_of(hash(bytes), buckets);
    // all whole numbers and times are hashed as 64 bits
    let of_long = |value: i64| of_bytes(&value.to_le_bytes());
    let values: Int32Array = match array.data_type() {
        DataType::Int32 => unary(array.as_primitive::<Int32Type>(), |value| of_long(value.into())),
        DataType::Date32 => unary(array.as_primitive::<Date32Type>(), |value| of_long(value.into())),
        DataType::Int64 => unary(array.as_primitive::<Int64Type>(), of_long),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            unary(array.as_primitive::<TimestampMicrosecondType>(), of_long)
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            unary(array.as_primitive::<Time64MicrosecondType>(), of_long)
        }
        DataType::Decimal128(_, _) => unary(array.as_primitive::<Decimal128Type>(), |value| {
            of_bytes(shortest(&value.to_be_bytes()))
        }),
        DataType::Utf8 => array
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(|text| of_bytes(text.as_bytes())))
            .collect(),
        DataType::Binary => array
            .as_binary::<i32>()
            .iter()
            .map(|bytes| bytes.map(of_bytes))
            .collect(),
        // UUIDs among them: 16 bytes, the most significant first
        DataType::FixedSizeBinary(_) => array
            .as_fixed_size_binary()
            .iter()
            .map(|bytes| bytes.map(of_bytes))
            .collect(),
        _ => return None,
    };
    Some(Arc::new(values))
}

/// `(hash & Integer.MAX_VALUE) % N`.
fn bucket_of(hash: u32, buckets: u32) -> i32 {
    ((hash & 0x7fff_ffff) % buckets).cast_signed()
}

/// Murmur3, 32 bits, x86, seed 0.
fn hash(bytes: &[u8]) -> u32 {
    // a slice in memory can be read
    murmur3::murmur3_32(&mut Cursor::new(bytes), 0).unwrap_or_default()
}

/// The fewest bytes that hold a two's complement number, most significant first.
fn shortest(bytes: &[u8; 16]) -> &[u8] {
    let sign = if bytes[0] & 0x80 == 0 { 0 } else { 0xff };
    let first = bytes
        .windows(2)
        .position(|pair| pair[0] != sign || (pair[1] ^ sign) & 0x80 != 0)
        .unwrap_or(bytes.len() - 1);
    &bytes[first..]
}

fn truncate(array: &ArrayRef, width: u32) -> Option<ArrayRef> {
    fn whole<T: ArrowPrimitiveType>(
        array: &ArrayRef,
        of: impl Fn(T::Native) -> T::Native,
    ) -> PrimitiveArray<T> {
        unary(array.as_primitive::<T>(), of)
    }
    let long = i64::from(width);
    Some(match array.data_type() {
        // in 64 bits: the floor of the smallest number has no place in 32, and Java's wraps in the same way
        #[expect(clippy::cast_possible_truncation, reason = "wraps on purpose")]
        DataType::Int32 => Arc::new(whole::<Int32Type>(array, |value| {
            (i64::from(value) - i64::from(value).rem_euclid(long)) as i32
        })),
        DataType::Int64 => Arc::new(whole::<Int64Type>(array, |value| {
            value.wrapping_sub(value.rem_euclid(long))
        })),
        DataType::Decimal128(precision, scale) => {
            let values: Decimal128Array =
                whole::<Decimal128Type>(array, |value| value - value.rem_euclid(i128::from(width)));
            Arc::new(values.with_precision_and_scale(*precision, *scale).ok()?)
        }
        DataType::Utf8 => {
            let texts = array.as_string::<i32>().iter();
            let cut = |text: &str| -> usize {
                text.char_indices()
                    .nth(width as usize)
                    .map_or(text.len(), |(end, _)| end)
            };
            Arc::new(
                texts
                    .map(|text| text.map(|text| &text[..cut(text)]))
                    .collect::<StringArray>(),
            )
        }
        DataType::Binary => {
            let all = array.as_binary::<i32>().iter();
            let cut = |bytes: &'_ [u8]| bytes.len().min(width as usize);
            Arc::new(
                all.map(|bytes| bytes.map(|bytes| &bytes[..cut(bytes)]))
                    .collect::<BinaryArray>(),
            )
        }
        _ => return None,
    })
}

/// A value that is not null, of a column of type `kind` or of its transform.
fn literal(kind: &PrimitiveType, array: &ArrayRef, row: usize) -> Option<PrimitiveLiteral> {
    Some(match array.data_type() {
        DataType::Boolean => PrimitiveLiteral::Boolean(array.as_boolean().value(row)),
        DataType::Int32 => PrimitiveLiteral::Int(array.as_primitive::<Int32Type>().value(row)),
        DataType::Date32 => PrimitiveLiteral::Int(array.as_primitive::<Date32Type>().value(row)),
        DataType::Int64 => PrimitiveLiteral::Long(array.as_primitive::<Int64Type>().value(row)),
        DataType::Timestamp(_, _) => {
            PrimitiveLiteral::Long(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Decimal128(_, _) if matches!(kind, PrimitiveType::Decimal { .. }) => {
            PrimitiveLiteral::Int128(array.as_primitive::<Decimal128Type>().value(row))
        }
        DataType::Utf8 => PrimitiveLiteral::String(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => PrimitiveLiteral::Binary(array.as_binary::<i32>().value(row).to_vec()),
        _ => return None,
    })
}

mod parter;
#[cfg(test)]
mod tests;

pub(crate) use parter::Parter;
