//! Casts between dates, times and intervals.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveBuilder};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use super::{Context, Target};
use crate::error::{Cause, FederationError};
use crate::values::datetime::{DAY_MICROS, ZoneCache};
use crate::values::read::zone::local_to_utc;

fn build<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    wanted: &DataType,
    value: impl Fn(usize) -> Result<T::Native, FederationError>,
) -> Result<ArrayRef, FederationError> {
    let mut out = PrimitiveBuilder::<T>::with_capacity(array.len()).with_data_type(wanted.clone());
    for row in 0..array.len() {
        if array.is_null(row) {
            out.append_null();
        } else {
            out.append_value(value(row)?);
        }
    }
    Ok(Arc::new(out.finish()))
}

pub(crate) fn timestamp_out_of_range() -> FederationError {
    Cause::Value {
        sqlstate: "22008",
        message: "timestamp out of range".into(),
    }
    .into()
}

/// Microseconds with so many digits of a second, rounded half away from zero.
pub(super) fn round(micros: i64, digits: Option<u8>) -> i64 {
    let Some(digits @ 0..=5) = digits else {
        return micros;
    };
    let unit = 10_i64.pow(6 - u32::from(digits));
    if micros >= 0 {
        micros.saturating_add(unit / 2) / unit * unit
    } else {
        -((unit / 2).saturating_sub(micros) / unit * unit)
    }
}

/// As [`round`] for a timestamp, which PostgreSQL counts from 2000.
pub(super) fn round_timestamp(micros: i64, digits: Option<u8>) -> i64 {
    const EPOCH: i64 = 946_684_800_000_000;
    round(micros.saturating_sub(EPOCH), digits).saturating_add(EPOCH)
}

/// The local time in a zone of an instant.
pub(crate) fn to_local(micros: i64, zone: &ZoneCache) -> i64 {
    micros.saturating_add(i64::from(zone.offset(micros)) * 1_000_000)
}

/// Microseconds of a day since 1970-01-01.
pub(crate) fn day_start(days: i32) -> Result<i64, FederationError> {
    i64::from(days)
        .checked_mul(DAY_MICROS)
        .filter(|micros| crate::values::read::datetime::in_range(*micros))
        .ok_or_else(timestamp_out_of_range)
}

/// Casts a column of dates, times, timestamps or intervals.
pub(super) fn cast(
    array: &ArrayRef,
    target: &Target,
    wanted: &DataType,
    context: &Context,
) -> Result<ArrayRef, FederationError> {
    use DataType::{Date32, Interval, Time64, Timestamp};
    let zone = ZoneCache::new(context.zone.clone());
    let zoned = |data_type: &DataType| matches!(data_type, Timestamp(_, Some(_)));
    match (array.data_type(), wanted) {
        (from, to) if from == to && target.seconds.is_none() => Ok(Arc::clone(array)),
        (Date32, Timestamp(..)) => {
            let days = array.as_primitive::<Date32Type>();
            build::<TimestampMicrosecondType>(array, wanted, |row| {
                let local = day_start(days.value(row))?;
                Ok(if zoned(wanted) {
                    local_to_utc(local, &context.zone)
                } else {
                    local
                })
            })
        }
        (from @ Timestamp(TimeUnit::Microsecond, _), to) => {
            let values = array.as_primitive::<TimestampMicrosecondType>();
            let from_zoned = zoned(from);
            let local = |row: usize| {
                let micros = values.value(row);
                if from_zoned {
                    to_local(micros, &zone)
                } else {
                    micros
                }
            };
            match to {
                Date32 => build::<Date32Type>(array, wanted, |row| {
                    i32::try_from(local(row).div_euclid(DAY_MICROS)).map_err(|_| timestamp_out_of_range())
                }),
                Time64(_) => build::<Time64MicrosecondType>(array, wanted, |row| {
                    Ok(round(local(row).rem_euclid(DAY_MICROS), target.seconds))
                }),
                Timestamp(..) => build::<TimestampMicrosecondType>(array, wanted, |row| {
                    let micros = match (from_zoned, zoned(wanted)) {
                        (true, false) => local(row),
                        (false, true) => local_to_utc(values.value(row), &context.zone),
                        _ => values.value(row),
                    };
                    Ok(round_timestamp(micros, target.seconds))
                }),
                other => Err(FederationError::internal(format!("{other} is no time"))),
            }
        }
        (Time64(TimeUnit::Microsecond), Time64(_)) => {
            let values = array.as_primitive::<Time64MicrosecondType>();
            build::<Time64MicrosecondType>(array, wanted, |row| Ok(round(values.value(row), target.seconds)))
        }
        (Time64(TimeUnit::Microsecond), Interval(IntervalUnit::MonthDayNano)) => {
            let values = array.as_primitive::<Time64MicrosecondType>();
            build::<IntervalMonthDayNanoType>(array, wanted, |row| {
                Ok(IntervalMonthDayNano {
                    months: 0,
                    days: 0,
                    nanoseconds: values.value(row) * 1_000,
                })
            })
        }
        (Interval(IntervalUnit::MonthDayNano), Time64(_)) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            build::<Time64MicrosecondType>(array, wanted, |row| {
                Ok(values
                    .value(row)
                    .nanoseconds
                    .div_euclid(1_000)
                    .rem_euclid(DAY_MICROS))
            })
        }
        (Interval(IntervalUnit::MonthDayNano), Interval(_)) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            build::<IntervalMonthDayNanoType>(array, wanted, |row| {
                let value = values.value(row);
                let micros = round(value.nanoseconds.div_euclid(1_000), target.seconds);
                Ok(IntervalMonthDayNano {
                    nanoseconds: micros.saturating_mul(1_000),
                    ..value
                })
            })
        }
        (from, to) => Err(FederationError::internal(format!("{from} cannot become {to}"))),
    }
}
