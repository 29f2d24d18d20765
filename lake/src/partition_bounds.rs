//! What the partition of a data file says about the values of its columns: a partition is a bound like any other.
//!
//! Lakegate's own tables may have no partitions; other engines' do, and leave out other bounds at will.

use std::collections::HashSet;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use iceberg::spec::{
    Datum, Literal, ManifestMetadata, PrimitiveLiteral, PrimitiveType, Struct, Transform, Type,
};
use iceberg::transform::create_transform_function;

use crate::live::{ColumnFacts, scalar};
use crate::versions::Version;

const MICROS_OF_HOUR: i64 = 3_600_000_000;
const MICROS_OF_DAY: i64 = 24 * MICROS_OF_HOUR;

/// The hash bucket that all values of a column fall into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub count: u32,
    pub number: i32,
    /// Of UUIDs: queries see them as text, and they are hashed as bytes.
    pub of_uuids: bool,
}

/// Adds what a file's partition says to what is known of its columns.
pub(crate) fn tighten(
    columns: &mut [ColumnFacts],
    version: &Version,
    written: &ManifestMetadata,
    partition: &Struct,
    rows: u64,
) {
    for (field, value) in written.partition_spec().fields().iter().zip(partition.iter()) {
        if matches!(field.transform, Transform::Void | Transform::Unknown) {
            continue;
        }
        let mut known = version.schema.as_struct().fields().iter();
        let position = known.position(|column| column.id == field.source_id);
        // with the type it had when the file was written: columns get wider
        let source = written.schema().field_by_id(field.source_id);
        let (Some(position), Some(Type::Primitive(source))) =
            (position, source.map(|column| column.field_type.as_ref()))
        else {
            continue;
        };
        let facts = &mut columns[position];
        let Some(Literal::Primitive(value)) = value else {
            // every transform makes a null of a null, and of nothing else
            facts.nulls.get_or_insert(rows);
            continue;
        };
        facts.nulls.get_or_insert(0);
        if let (Transform::Bucket(count), PrimitiveLiteral::Int(number)) = (field.transform, value) {
            facts.bucket = Some(Bucket {
                count,
                number: *number,
                of_uuids: *source == PrimitiveType::Uuid,
            });
        }
        // what the file itself says in whole values is as good and better known
        if facts.exact {
            continue;
        }
        let arrow = version.arrow.field(position).data_type();
        let (lower, upper) = range(field.transform, value, source);
        let bound = |value: Option<ScalarValue>| value?.cast_to(arrow).ok();
        facts.lower = tighter(facts.lower.take(), bound(lower), std::cmp::Ordering::Greater);
        facts.upper = tighter(facts.upper.take(), bound(upper), std::cmp::Ordering::Less);
    }
}

/// Of two bounds that both hold, the one that leaves less.
fn tighter(
    known: Option<ScalarValue>,
    other: Option<ScalarValue>,
    wanted: std::cmp::Ordering,
) -> Option<ScalarValue> {
    match (known, other) {
        (Some(known), Some(other)) if other.partial_cmp(&known) == Some(wanted) => Some(other),
        (None, other) => other,
        (known, _) => known,
    }
}

/// The least and the greatest value that a partition can hold; None where there is no bound, or none that is known.
fn range(
    transform: Transform,
    value: &PrimitiveLiteral,
    source: &PrimitiveType,
) -> (Option<ScalarValue>, Option<ScalarValue>) {
    let both = |lower: Option<PrimitiveLiteral>, upper: Option<PrimitiveLiteral>| {
        let value = |literal: Option<PrimitiveLiteral>| scalar(source, &literal?);
        (value(lower), value(upper))
    };
    match (transform, value) {
        // zero has two signs, and NaN no place
        (Transform::Identity, _) if matches!(source, PrimitiveType::Float | PrimitiveType::Double) => {
            (None, None)
        }
        (Transform::Identity, value) => both(Some(value.clone()), Some(value.clone())),
        (Transform::Truncate(width), PrimitiveLiteral::Int(value)) => {
            let last = value.checked_add_unsigned(width.saturating_sub(1));
            both(
                Some(PrimitiveLiteral::Int(*value)),
                last.map(PrimitiveLiteral::Int),
            )
        }
        (Transform::Truncate(width), PrimitiveLiteral::Long(value)) => {
            let last = value.checked_add_unsigned(u64::from(width.saturating_sub(1)));
            both(
                Some(PrimitiveLiteral::Long(*value)),
                last.map(PrimitiveLiteral::Long),
            )
        }
        (Transform::Truncate(width), PrimitiveLiteral::Int128(value)) => {
            let last = value.checked_add_unsigned(u128::from(width.saturating_sub(1)));
            both(
                Some(PrimitiveLiteral::Int128(*value)),
                last.map(PrimitiveLiteral::Int128),
            )
        }
        // a text that is shorter than what is kept is whole
        (Transform::Truncate(width), PrimitiveLiteral::String(prefix)) => {
            let whole = prefix.chars().count() < width as usize;
            both(Some(value.clone()), whole.then(|| value.clone()))
        }
        (Transform::Truncate(width), PrimitiveLiteral::Binary(prefix)) => {
            let whole = prefix.len() < width as usize;
            both(Some(value.clone()), whole.then(|| value.clone()))
        }
        (
            Transform::Year | Transform::Month | Transform::Day | Transform::Hour,
            PrimitiveLiteral::Int(number),
        ) => {
            let moment = |number: i64| moment(transform, number, source);
            // Older writers cut towards 1970 instead of towards the past, and put one period too late what is before it.
            let first = i64::from(*number) - i64::from(*number <= 0);
            let after = moment(i64::from(*number) + 1);
            both(moment(first), after.as_ref().and_then(before))
        }
        _ => (None, None),
    }
}

/// The first value of a period, counted from 1970.
fn moment(transform: Transform, number: i64, source: &PrimitiveType) -> Option<PrimitiveLiteral> {
    let days = match transform {
        Transform::Year => days_of_month(number.checked_mul(12)?)?,
        Transform::Month => days_of_month(number)?,
        Transform::Day => number,
        Transform::Hour if *source != PrimitiveType::Date => {
            return number.checked_mul(MICROS_OF_HOUR).map(PrimitiveLiteral::Long);
        }
        _ => return None,
    };
    match source {
        PrimitiveType::Date => i32::try_from(days).ok().map(PrimitiveLiteral::Int),
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => {
            days.checked_mul(MICROS_OF_DAY).map(PrimitiveLiteral::Long)
        }
        _ => None,
    }
}

/// Days from 1970-01-01 to the first of a month, counted from January 1970.
fn days_of_month(months: i64) -> Option<i64> {
    let year = i16::try_from(1970 + months.div_euclid(12)).ok()?;
    let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
    let first = jiff::civil::Date::new(year, month, 1).ok()?;
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.until(first).ok().map(|span| i64::from(span.get_days()))
}

fn before(value: &PrimitiveLiteral) -> Option<PrimitiveLiteral> {
    match value {
        PrimitiveLiteral::Int(value) => value.checked_sub(1).map(PrimitiveLiteral::Int),
        PrimitiveLiteral::Long(value) => value.checked_sub(1).map(PrimitiveLiteral::Long),
        _ => None,
    }
}

/// Whether a column that is all in one bucket may have one of these values; None when that is not known.
pub(crate) fn may_contain(bucket: Bucket, values: &HashSet<ScalarValue>, column: &DataType) -> Option<bool> {
    let function = create_transform_function(&Transform::Bucket(bucket.count)).ok()?;
    for value in values {
        let hashed = function
            .transform_literal(&datum(value, column, bucket.of_uuids)?)
            .ok()??;
        if *hashed.literal() == PrimitiveLiteral::Int(bucket.number) {
            return Some(true);
        }
    }
    Some(false)
}

/// A value of a column as Iceberg hashes it; None for a null, or when it is not of the column's type.
fn datum(value: &ScalarValue, column: &DataType, of_uuids: bool) -> Option<Datum> {
    if value.is_null() || value.data_type() != *column {
        return None;
    }
    Some(match value {
        ScalarValue::Int32(Some(value)) => Datum::int(*value),
        ScalarValue::Int64(Some(value)) => Datum::long(*value),
        ScalarValue::Date32(Some(days)) => Datum::date(*days),
        ScalarValue::TimestampMicrosecond(Some(value), None) => Datum::timestamp_micros(*value),
        ScalarValue::TimestampMicrosecond(Some(value), Some(_)) => Datum::timestamptz_micros(*value),
        ScalarValue::Time64Microsecond(Some(value)) => Datum::time_micros(*value).ok()?,
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) if of_uuids => {
            Datum::uuid(uuid::Uuid::try_parse(text).ok()?)
        }
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => Datum::string(text),
        ScalarValue::Binary(Some(bytes)) | ScalarValue::BinaryView(Some(bytes)) => {
            Datum::binary(bytes.iter().copied())
        }
        ScalarValue::Decimal128(Some(value), precision, scale) => {
            let decimal = PrimitiveType::Decimal {
                precision: u32::from(*precision),
                scale: u32::try_from(*scale).ok()?,
            };
            Datum::try_from_bytes(&value.to_be_bytes(), decimal).ok()?
        }
        _ => return None,
    })
}
