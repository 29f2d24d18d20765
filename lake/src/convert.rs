//! Arrow values into the portable types, exactly or by a named refusal.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, GenericStringBuilder, ListArray, MapArray,
    OffsetSizeTrait, PrimitiveArray, StringArray, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowTemporalType, DataType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, DecimalType,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Field,
    IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, SchemaRef,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::record_batch::RecordBatch;

use chrono::Datelike as _;
use lakegate_crds::Profile;

use crate::error::LakeError;
use crate::name::LakeTableName;
use crate::portable::{child_path, is_uuid};

/// Largest single string or byte value, in bytes: beyond it readers and our own buffers fail.
pub(crate) const LARGEST_VALUE: u64 = 64 * 1024 * 1024;

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

/// 1582-10-15, in days since 1970.
const GREGORIAN: i32 = -141_427;

/// Converts batches of one source schema to the table's schema.
#[derive(Debug, Clone)]
pub(crate) struct Converter {
    pub table: LakeTableName,
    pub source: SchemaRef,
    pub target: SchemaRef,
    pub profile: Profile,
}

impl Converter {
    /// Whether the batch has the columns of the source.
    pub fn check(&self, batch: &RecordBatch) -> Result<(), LakeError> {
        let wrong = |problem: String| LakeError::WrongBatch {
            table: self.table.clone(),
            problem,
        };
        if batch.num_columns() != self.source.fields().len() {
            return Err(wrong(format!(
                "{} columns instead of {}",
                batch.num_columns(),
                self.source.fields().len()
            )));
        }
        for (source, column) in self.source.fields().iter().zip(batch.columns()) {
            if column.data_type() != source.data_type() {
                return Err(wrong(format!(
                    "column {} has type {} instead of {}",
                    source.name(),
                    column.data_type(),
                    source.data_type()
                )));
            }
        }
        Ok(())
    }

    /// All columns of the batch.
    pub fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, LakeError> {
        self.check(batch)?;
        let columns = batch.columns().iter().enumerate();
        columns
            .map(|(index, array)| self.column_at(index, array))
            .collect()
    }

    /// Values of the column at this place.
    pub fn column_at(&self, index: usize, array: &ArrayRef) -> Result<ArrayRef, LakeError> {
        let source = self.source.field(index);
        self.column(source.name(), source, array, self.target.field(index))
    }

    fn refused(&self, column: &str, problem: impl Into<String>) -> LakeError {
        LakeError::ValueRefused {
            table: self.table.clone(),
            column: column.to_owned(),
            problem: problem.into(),
        }
    }

    /// Arrow's own cast, where it is exact or fails.
    fn cast(&self, path: &str, array: &ArrayRef, target: &DataType) -> Result<ArrayRef, LakeError> {
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        cast_with_options(array, target, &options).map_err(|_| {
            // the cast's own message holds the value
            self.refused(
                path,
                format!(
                    "a value of type {} does not fit {target}; cast the column in the export",
                    array.data_type()
                ),
            )
        })
    }

    fn column(
        &self,
        path: &str,
        source: &Field,
        array: &ArrayRef,
        target: &Field,
    ) -> Result<ArrayRef, LakeError> {
        let target_type = target.data_type();
        match (array.data_type(), target_type) {
            (DataType::Null, _) => Ok(new_null_array(target_type, array.len())),
            (DataType::Dictionary(_, values), _) => {
                let plain = self.cast(path, array, values)?;
                self.column(
                    path,
                    &Field::new(source.name(), values.as_ref().clone(), true),
                    &plain,
                    target,
                )
            }
            (DataType::RunEndEncoded(_, values), _) => {
                let plain = self.cast(path, array, values.data_type())?;
                self.column(path, values, &plain, target)
            }
            (DataType::FixedSizeBinary(16), DataType::Utf8) if is_uuid(source) => Ok(uuid_text(array)),
            (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, DataType::FixedSizeBinary(16)) => {
                self.uuid_bytes(path, array)
            }
            (DataType::Time32(_) | DataType::Time64(_), DataType::Time64(_)) => {
                self.times_of_day(path, array)
            }
            (_, DataType::Utf8) => self.text(path, array),
            (
                DataType::Decimal32(_, _)
                | DataType::Decimal64(_, _)
                | DataType::Decimal128(_, _)
                | DataType::Decimal256(_, _),
                DataType::Decimal128(precision, _),
            ) => {
                let cast = self.cast(path, array, target_type)?;
                // Arrow does not promise that values keep to their precision; Parquet would cut them
                cast.as_primitive::<Decimal128Type>()
                    .validate_decimal_precision(*precision)
                    .map_err(|_| {
                        self.refused(
                            path,
                            format!(
                                "a value has more than {precision} digits; cast the column to a wider decimal"
                            ),
                        )
                    })?;
                Ok(cast)
            }
            (DataType::Date64, DataType::Date32) => self.days(path, array),
            (DataType::Date32, DataType::Date32) => {
                let days = array.as_primitive::<Date32Type>();
                self.check_finite(path, days, [i32::MAX, -i32::MAX])?;
                self.check_calendar(path, days)?;
                Ok(Arc::clone(array))
            }
            (DataType::Timestamp(unit, _), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
                let exact = self.microseconds(path, array, *unit)?;
                self.check_finite(path, &exact, [i64::MAX, -i64::MAX])?;
                Ok(Arc::new(exact.with_timezone_opt(zone.clone())))
            }
            (_, DataType::Binary) => {
                let bytes = self.cast(path, array, target_type)?;
                self.check_sizes(path, bytes.as_binary::<i32>().value_offsets())?;
                Ok(bytes)
            }
            (DataType::List(_), DataType::List(element)) => self.list(path, array.as_list::<i32>(), element),
            (
                DataType::LargeList(child)
                | DataType::FixedSizeList(child, _)
                | DataType::ListView(child)
                | DataType::LargeListView(child),
                DataType::List(element),
            ) => {
                let plain = self.cast(path, array, &DataType::List(Arc::clone(child)))?;
                self.list(path, plain.as_list::<i32>(), element)
            }
            (DataType::Struct(source_fields), DataType::Struct(target_fields)) => {
                let array = array.as_struct();
                let children = source_fields
                    .iter()
                    .zip(target_fields)
                    .zip(array.columns())
                    .map(|((source, target), column)| {
                        self.column(&child_path(path, source.name()), source, column, target)
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                StructArray::try_new(target_fields.clone(), children, array.nulls().cloned())
                    .map(|array| Arc::new(array) as ArrayRef)
                    .map_err(|error| self.refused(path, error.to_string()))
            }
            (DataType::Map(_, _), DataType::Map(entries, _)) => self.map(path, array.as_map(), entries),
            (from, to) if from == to => Ok(Arc::clone(array)),
            _ => self.cast(path, array, target_type),
        }
    }

    fn list(&self, path: &str, array: &ListArray, element: &Arc<Field>) -> Result<ArrayRef, LakeError> {
        let DataType::List(child) = array.data_type() else {
            return Err(self.refused(path, "a list that is none"));
        };
        let values = self.column(&child_path(path, "element"), child, array.values(), element)?;
        ListArray::try_new(
            Arc::clone(element),
            array.offsets().clone(),
            values,
            array.nulls().cloned(),
        )
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| self.refused(path, error.to_string()))
    }

    fn map(&self, path: &str, array: &MapArray, entries: &Arc<Field>) -> Result<ArrayRef, LakeError> {
        let (DataType::Map(source, _), DataType::Struct(target)) = (array.data_type(), entries.data_type())
        else {
            return Err(self.refused(path, "a map that is none"));
        };
        let DataType::Struct(source) = source.data_type() else {
            return Err(self.refused(path, "a map without key and value"));
        };
        let pairs = [("key", array.keys()), ("value", array.values())];
        let columns = pairs
            .into_iter()
            .zip(source)
            .zip(target)
            .map(|(((name, column), source), target)| {
                self.column(&child_path(path, name), source, column, target)
            })
            .collect::<Result<Vec<_>, _>>()?;
        StructArray::try_new(target.clone(), columns, None)
            .and_then(|pairs| {
                MapArray::try_new(
                    Arc::clone(entries),
                    array.offsets().clone(),
                    pairs,
                    array.nulls().cloned(),
                    false,
                )
            })
            .map(|array| Arc::new(array) as ArrayRef)
            .map_err(|error| self.refused(path, error.to_string()))
    }

    fn uuid_bytes(&self, path: &str, array: &ArrayRef) -> Result<ArrayRef, LakeError> {
        let texts = self.cast(path, array, &DataType::Utf8)?;
        let mut bytes = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
        for text in texts.as_string::<i32>() {
            match text.map(uuid::Uuid::try_parse) {
                None => bytes.append_null(),
                Some(Ok(uuid)) => bytes
                    .append_value(uuid.as_bytes())
                    .map_err(|error| self.refused(path, error.to_string()))?,
                Some(Err(_)) => {
                    return Err(self.refused(path, "a text is no UUID; cast the column to text"));
                }
            }
        }
        Ok(Arc::new(bytes.finish()))
    }

    /// Times as Iceberg has them: microseconds since midnight, before the next.
    fn times_of_day(&self, path: &str, array: &ArrayRef) -> Result<ArrayRef, LakeError> {
        let unfit = || {
            self.refused(
                path,
                "a time is 24:00:00 or finer than a microsecond, which Iceberg's time cannot hold; cast the column to \
                 text, or use the profile Portable",
            )
        };
        let array: PrimitiveArray<Time64MicrosecondType> = match array.data_type() {
            DataType::Time64(TimeUnit::Nanosecond) => array
                .as_primitive::<Time64NanosecondType>()
                .try_unary(|value| {
                    if value % 1_000 == 0 {
                        Ok(value / 1_000)
                    } else {
                        Err(())
                    }
                })
                .map_err(|()| unfit())?,
            // seconds and milliseconds of a day
            _ => self
                .cast(path, array, &DataType::Time64(TimeUnit::Microsecond))?
                .as_primitive::<Time64MicrosecondType>()
                .clone(),
        };
        let fits = |time: i64| (0..MICROSECONDS_A_DAY).contains(&time);
        if array.iter().flatten().all(fits) {
            Ok(Arc::new(array))
        } else {
            Err(unfit())
        }
    }

    /// Anything whose portable form is text.
    fn text(&self, path: &str, array: &ArrayRef) -> Result<ArrayRef, LakeError> {
        Ok(match array.data_type() {
            DataType::Time32(TimeUnit::Second) => {
                self.times::<Time32SecondType>(path, array, |value| i64::from(value).checked_mul(1_000_000))?
            }
            DataType::Time32(_) => {
                self.times::<Time32MillisecondType>(path, array, |value| i64::from(value).checked_mul(1_000))?
            }
            DataType::Time64(TimeUnit::Nanosecond) => {
                self.times::<Time64NanosecondType>(path, array, |value| {
                    (value % 1_000 == 0).then_some(value / 1_000)
                })?
            }
            DataType::Time64(_) => self.times::<Time64MicrosecondType>(path, array, Some)?,
            DataType::Interval(IntervalUnit::YearMonth) => {
                texts(array.as_primitive::<IntervalYearMonthType>(), |months| {
                    iso_interval(i64::from(months), 0, 0)
                })
            }
            DataType::Interval(IntervalUnit::DayTime) => {
                texts(array.as_primitive::<IntervalDayTimeType>(), |value| {
                    iso_interval(
                        0,
                        i64::from(value.days),
                        i128::from(value.milliseconds) * 1_000_000,
                    )
                })
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => {
                texts(array.as_primitive::<IntervalMonthDayNanoType>(), |value| {
                    iso_interval(
                        i64::from(value.months),
                        i64::from(value.days),
                        i128::from(value.nanoseconds),
                    )
                })
            }
            DataType::Duration(TimeUnit::Second) => durations::<DurationSecondType>(array, 1_000_000_000),
            DataType::Duration(TimeUnit::Millisecond) => {
                durations::<DurationMillisecondType>(array, 1_000_000)
            }
            DataType::Duration(TimeUnit::Microsecond) => durations::<DurationMicrosecondType>(array, 1_000),
            DataType::Duration(TimeUnit::Nanosecond) => durations::<DurationNanosecondType>(array, 1),
            DataType::Timestamp(unit, _) => {
                let exact = self.microseconds(path, array, *unit)?;
                let texts = exact.iter().map(|micros| micros.map(calendar_text).transpose());
                let texts: Result<StringArray, ()> = texts.collect();
                Arc::new(texts.map_err(|()| {
                    self.refused(
                        path,
                        "a timestamp is not in the years 1 to 9999, which Hive reads; leave such rows out with where, or cast \
                         the column to text",
                    )
                })?)
            }
            // A numeric without a precision: the zeros at its end are nobody's.
            DataType::Decimal256(76, 38) => texts(array.as_primitive::<Decimal256Type>(), |value| {
                let digits = Decimal256Type::format_decimal(value, 76, 38);
                digits.trim_end_matches('0').trim_end_matches('.').to_owned()
            }),
            _ => {
                let text = self.cast(path, array, &DataType::Utf8)?;
                self.check_sizes(path, text.as_string::<i32>().value_offsets())?;
                text
            }
        })
    }

    fn check_sizes<O: OffsetSizeTrait>(&self, path: &str, offsets: &[O]) -> Result<(), LakeError> {
        let total = match (offsets.first(), offsets.last()) {
            (Some(first), Some(last)) => last.as_usize() - first.as_usize(),
            _ => 0,
        };
        if total as u64 <= LARGEST_VALUE {
            return Ok(());
        }
        let largest = offsets
            .windows(2)
            .map(|pair| pair[1].as_usize() - pair[0].as_usize())
            .max()
            .unwrap_or(0) as u64;
        if largest > LARGEST_VALUE {
            return Err(LakeError::ValueTooLarge {
                table: self.table.clone(),
                column: path.to_owned(),
                bytes: largest,
                limit: LARGEST_VALUE,
            });
        }
        Ok(())
    }

    /// Refuses what DuckDB takes for infinity.
    fn check_finite<T: arrow::datatypes::ArrowPrimitiveType>(
        &self,
        path: &str,
        array: &PrimitiveArray<T>,
        infinite: [T::Native; 2],
    ) -> Result<(), LakeError> {
        let is_infinite = |value: T::Native| value == infinite[0] || value == infinite[1];
        // what stands below a NULL is nothing
        if array.values().iter().any(|value| is_infinite(*value)) && array.iter().flatten().any(is_infinite) {
            return Err(self.refused(
                path,
                "the last day or microsecond that the type can count reads as infinity in some engines; cast the column to \
                 text",
            ));
        }
        Ok(())
    }

    /// Hive 3 counts days before the Gregorian calendar by the Julian one.
    fn check_calendar(&self, path: &str, days: &PrimitiveArray<Date32Type>) -> Result<(), LakeError> {
        if self.profile == Profile::Hive3 && days.iter().flatten().any(|day| day < GREGORIAN) {
            return Err(self.refused(
                path,
                "a date is before 1582-10-15, which Hive 3 reads by another calendar; cast the column to text",
            ));
        }
        Ok(())
    }

    fn days(&self, path: &str, array: &ArrayRef) -> Result<ArrayRef, LakeError> {
        const MILLISECONDS_A_DAY: i64 = 86_400_000;
        let days: PrimitiveArray<Date32Type> = array
            .as_primitive::<Date64Type>()
            .try_unary(|milliseconds| {
                (milliseconds % MILLISECONDS_A_DAY == 0)
                    .then(|| i32::try_from(milliseconds / MILLISECONDS_A_DAY).ok())
                    .flatten()
                    .ok_or(())
            })
            .map_err(|()| self.refused(path, "a date holds a time of day; cast the column to timestamp"))?;
        self.check_calendar(path, &days)?;
        Ok(Arc::new(days))
    }

    fn microseconds(
        &self,
        path: &str,
        array: &ArrayRef,
        unit: TimeUnit,
    ) -> Result<PrimitiveArray<TimestampMicrosecondType>, LakeError> {
        let too_far = || {
            self.refused(
                path,
                "a timestamp is outside the range of microseconds since 1970; cast the column to text",
            )
        };
        match unit {
            TimeUnit::Microsecond => Ok(array.as_primitive::<TimestampMicrosecondType>().clone()),
            TimeUnit::Second => array
                .as_primitive::<TimestampSecondType>()
                .try_unary(|value| value.checked_mul(1_000_000).ok_or(()))
                .map_err(|()| too_far()),
            TimeUnit::Millisecond => array
                .as_primitive::<TimestampMillisecondType>()
                .try_unary(|value| value.checked_mul(1_000).ok_or(()))
                .map_err(|()| too_far()),
            TimeUnit::Nanosecond => array
                .as_primitive::<TimestampNanosecondType>()
                .try_unary(|value| if value % 1_000 == 0 { Ok(value / 1_000) } else { Err(()) })
                .map_err(|()| {
                    self.refused(
                        path,
                        "a timestamp has nanoseconds below the microsecond, which the lake cannot keep; truncate it to microseconds or cast the column to text",
                    )
                }),
        }
    }

    fn times<T: ArrowTemporalType>(
        &self,
        path: &str,
        array: &ArrayRef,
        microseconds: impl Fn(T::Native) -> Option<i64>,
    ) -> Result<ArrayRef, LakeError> {
        let array = array.as_primitive::<T>();
        let mut text = GenericStringBuilder::<i32>::with_capacity(array.len(), array.len() * 15);
        for value in array {
            let Some(value) = value else {
                text.append_null();
                continue;
            };
            // 24:00:00 is a time in SQL
            let time = microseconds(value)
                .filter(|time| (0..=MICROSECONDS_A_DAY).contains(time))
                .ok_or_else(|| {
                    self.refused(
                        path,
                        "a time is outside a day or finer than a microsecond; cast the column to text",
                    )
                })?;
            let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
            text.append_value(format!(
                "{:02}:{:02}:{:02}.{fraction:06}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            ));
        }
        Ok(Arc::new(text.finish()))
    }
}

/// `YYYY-MM-DD HH:MM:SS.ffffff` in UTC, as Hive casts to a timestamp.
fn calendar_text(micros: i64) -> Result<String, ()> {
    let time = chrono::DateTime::from_timestamp_micros(micros).ok_or(())?;
    if !(1..=9999).contains(&time.year()) {
        return Err(());
    }
    Ok(time.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

/// 16 bytes each as the 36 characters of a UUID.
pub(crate) fn uuid_text(array: &ArrayRef) -> ArrayRef {
    let texts: StringArray = array
        .as_fixed_size_binary()
        .iter()
        .map(|bytes| {
            let bytes = <[u8; 16]>::try_from(bytes?).ok()?;
            Some(uuid::Uuid::from_bytes(bytes).to_string())
        })
        .collect();
    Arc::new(texts)
}

fn texts<T: arrow::datatypes::ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    text: impl Fn(T::Native) -> String,
) -> ArrayRef {
    Arc::new(
        array
            .iter()
            .map(|value| value.map(&text))
            .collect::<StringArray>(),
    )
}

fn durations<T>(array: &ArrayRef, nanoseconds: i128) -> ArrayRef
where
    T: ArrowTemporalType<Native = i64>,
{
    texts(array.as_primitive::<T>(), |value| {
        iso_interval(0, 0, i128::from(value) * nanoseconds)
    })
}

/// ISO 8601: `P1Y2M3DT4H5M6.789S`, each part with its own sign, `PT0S` for nothing. Days and months stay what they
/// are, for neither has a fixed length.
fn iso_interval(months: i64, days: i64, nanoseconds: i128) -> String {
    let mut text = "P".to_owned();
    for (value, unit) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if value != 0 {
            let _ = write!(text, "{value}{unit}");
        }
    }
    if nanoseconds != 0 {
        let sign = if nanoseconds < 0 { "-" } else { "" };
        let rest = nanoseconds.unsigned_abs();
        let (seconds, fraction) = (rest / 1_000_000_000, rest % 1_000_000_000);
        text.push('T');
        for (value, unit) in [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M')] {
            if value != 0 {
                let _ = write!(text, "{sign}{value}{unit}");
            }
        }
        if fraction != 0 {
            let digits = format!("{fraction:09}");
            let _ = write!(text, "{sign}{}.{}S", seconds % 60, digits.trim_end_matches('0'));
        } else if seconds % 60 != 0 {
            let _ = write!(text, "{sign}{}S", seconds % 60);
        }
    }
    if text == "P" {
        text.push_str("T0S");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_as_iso_8601() {
        for (months, days, nanoseconds, text) in [
            (0, 0, 0, "PT0S"),
            (14, 3, 14_706_789_000_000, "P1Y2M3DT4H5M6.789S"),
            (0, 0, -1, "PT-0.000000001S"),
            (-13, 0, 3_600_000_000_000, "P-1Y-1MT1H"),
            (0, -2, 0, "P-2D"),
            (
                0,
                0,
                i128::from(i64::MAX) * 1_000_000_000,
                "PT2562047788015215H30M7S",
            ),
        ] {
            assert_eq!(iso_interval(months, days, nanoseconds), text);
        }
    }
}
