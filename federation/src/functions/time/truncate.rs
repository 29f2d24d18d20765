//! `date_trunc`, `date_bin`, `AT TIME ZONE`.

use arrow::datatypes::{DataType, IntervalMonthDayNanoType, TimestampMicrosecondType};
use jiff::tz::TimeZone;

use super::{arrow, interval_at};
use crate::cast::{timestamp_out_of_range, to_local};
use crate::error::{Cause, FederationError};
use crate::functions::scaffold::{
    Call, Function, INTERVAL, Outcome, Returns, TEXT, TIMESTAMP, TIMESTAMPTZ, function, overload,
};
use crate::types;
use crate::values::datetime::{DAY_MICROS, Interval, ZoneCache, civil_from_days, days_from_civil};
use crate::values::read::interval::Unit;
use crate::values::read::value_error;
use crate::values::read::zone::{by_posix_name, local_to_utc};

/// The unit of `date_trunc`.
pub(super) fn unit(name: &str, type_name: &str) -> Result<Unit, FederationError> {
    Unit::by_name(name.trim()).ok_or_else(|| unknown_unit(name, type_name))
}

pub(super) fn unknown_unit(name: &str, type_name: &str) -> FederationError {
    value_error(
        "22023",
        format!(
            "unit \"{}\" not recognized for type {type_name}",
            name.to_lowercase()
        ),
    )
}

/// Monday of the week of a day.
fn monday(days: i64) -> i64 {
    // 1970-01-01 was a Thursday
    days - (days + 3).rem_euclid(7)
}

/// A local time with everything below a unit cut off.
///
/// # Errors
/// The first instant of the unit is before those that fit.
pub(super) fn truncate(micros: i64, unit: Unit) -> Result<i64, FederationError> {
    let clock = |length: i64| micros.div_euclid(length).checked_mul(length);
    let midnight = |days: i64| days.checked_mul(DAY_MICROS);
    let (year, month, _) = civil_from_days(micros.div_euclid(DAY_MICROS));
    let start = |year: i64, month: u32| midnight(days_from_civil(year, month, 1));
    match unit {
        Unit::Microsecond => Some(micros),
        Unit::Millisecond => clock(1_000),
        Unit::Second => clock(1_000_000),
        Unit::Minute => clock(60_000_000),
        Unit::Hour => clock(3_600_000_000),
        Unit::Day => clock(DAY_MICROS),
        Unit::Week => midnight(monday(micros.div_euclid(DAY_MICROS))),
        Unit::Month => start(year, month),
        Unit::Quarter => start(year, (month - 1) / 3 * 3 + 1),
        Unit::Year => start(year, 1),
        Unit::Decade => start(year.div_euclid(10) * 10, 1),
        // the first century began with the year 1
        Unit::Century => start((year - 1).div_euclid(100) * 100 + 1, 1),
        Unit::Millennium => start((year - 1).div_euclid(1_000) * 1_000 + 1, 1),
    }
    .ok_or_else(timestamp_out_of_range)
}

fn truncate_plain(call: &Call<'_>) -> Outcome {
    let (units, values) = (call.texts(0), call.values::<TimestampMicrosecondType>(1));
    call.each::<TimestampMicrosecondType>(|row| {
        let unit = unit(units.get(row), "timestamp without time zone")?;
        truncate(values.get(row), unit).map(Some)
    })
}

fn truncate_in(micros: i64, unit: Unit, zone: &TimeZone, cache: &ZoneCache) -> Result<i64, FederationError> {
    let local = truncate(to_local(micros, cache), unit)?;
    if unit < Unit::Day {
        // within an hour that the clocks show twice the offset stays
        local
            .checked_sub(i64::from(cache.offset(micros)) * 1_000_000)
            .ok_or_else(timestamp_out_of_range)
    } else {
        Ok(local_to_utc(local, zone))
    }
}

fn truncate_zoned(call: &Call<'_>) -> Outcome {
    let (units, values) = (call.texts(0), call.values::<TimestampMicrosecondType>(1));
    let zones = call.texts_if(2);
    let mut known: Option<(String, TimeZone, ZoneCache)> = None;
    let session = ZoneCache::new(call.context.zone.clone());
    call.each::<TimestampMicrosecondType>(|row| {
        let unit = unit(units.get(row), "timestamp with time zone")?;
        let Some(zones) = &zones else {
            return truncate_in(values.get(row), unit, &call.context.zone, &session).map(Some);
        };
        let name = zones.get(row);
        if known.as_ref().is_none_or(|(known, ..)| known != name) {
            let zone = zone(name)?;
            known = Some((name.to_owned(), zone.clone(), ZoneCache::new(zone)));
        }
        known
            .as_ref()
            .map(|(_, zone, cache)| truncate_in(values.get(row), unit, zone, cache))
            .transpose()
    })
}

fn truncate_interval(call: &Call<'_>) -> Outcome {
    let units = call.texts(0);
    call.each::<IntervalMonthDayNanoType>(|row| {
        let unit = unit(units.get(row), "interval")?;
        let Interval { months, days, micros } = interval_at(call, 1, row);
        let years = |years: i32| Interval {
            months: months / (12 * years) * (12 * years),
            days: 0,
            micros: 0,
        };
        let time = |length: i64| Interval {
            months,
            days,
            micros: micros / length * length,
        };
        arrow(match unit {
            Unit::Millennium => years(1_000),
            Unit::Century => years(100),
            Unit::Decade => years(10),
            Unit::Year => years(1),
            Unit::Quarter => Interval {
                months: months / 3 * 3,
                days: 0,
                micros: 0,
            },
            Unit::Month => Interval {
                months,
                days: 0,
                micros: 0,
            },
            Unit::Week => {
                return Err(value_error(
                    "0A000",
                    "unit \"week\" not supported for type interval",
                ));
            }
            Unit::Day => Interval {
                months,
                days,
                micros: 0,
            },
            Unit::Hour => time(3_600_000_000),
            Unit::Minute => time(60_000_000),
            Unit::Second => time(1_000_000),
            Unit::Millisecond => time(1_000),
            Unit::Microsecond => time(1),
        })
    })
}

fn bin(call: &Call<'_>) -> Outcome {
    let (values, origins) = (
        call.values::<TimestampMicrosecondType>(1),
        call.values::<TimestampMicrosecondType>(2),
    );
    call.each::<TimestampMicrosecondType>(|row| {
        let stride = interval_at(call, 0, row);
        if stride.months != 0 {
            return Err(Cause::NotSupported {
                message: "timestamps cannot be binned into intervals containing months or years".into(),
            }
            .into());
        }
        let length = i64::from(stride.days)
            .checked_mul(DAY_MICROS)
            .and_then(|days| days.checked_add(stride.micros))
            .filter(|length| *length > 0)
            .ok_or_else(|| value_error("22008", "stride must be greater than zero"))?;
        let origin = origins.get(row);
        let distance = values
            .get(row)
            .checked_sub(origin)
            .ok_or_else(super::arithmetic::interval_out_of_range)?;
        distance
            .div_euclid(length)
            .checked_mul(length)
            .and_then(|distance| origin.checked_add(distance))
            .map(Some)
            .ok_or_else(timestamp_out_of_range)
    })
}

/// The zone of `AT TIME ZONE`.
fn zone(name: &str) -> Result<TimeZone, FederationError> {
    by_posix_name(name).ok_or_else(|| value_error("22023", format!("time zone \"{name}\" not recognized")))
}

fn at_zone(call: &Call<'_>) -> Outcome {
    let (names, values) = (call.texts(0), call.values::<TimestampMicrosecondType>(1));
    let to_instant = matches!(call.returns.data_type(), DataType::Timestamp(_, Some(_)));
    let mut known: Option<(String, TimeZone, ZoneCache)> = None;
    call.each::<TimestampMicrosecondType>(|row| {
        let name = names.get(row);
        if known.as_ref().is_none_or(|(known, ..)| known != name) {
            let zone = zone(name)?;
            known = Some((name.to_owned(), zone.clone(), ZoneCache::new(zone)));
        }
        Ok(known.as_ref().map(|(_, zone, cache)| {
            if to_instant {
                local_to_utc(values.get(row), zone)
            } else {
                to_local(values.get(row), cache)
            }
        }))
    })
}

fn at_offset(call: &Call<'_>) -> Outcome {
    let values = call.values::<TimestampMicrosecondType>(1);
    let to_instant = matches!(call.returns.data_type(), DataType::Timestamp(_, Some(_)));
    call.each::<TimestampMicrosecondType>(|row| {
        let offset = interval_at(call, 0, row);
        if offset.months != 0 || offset.days != 0 {
            return Err(value_error(
                "22023",
                "an interval time zone must not include months or days",
            ));
        }
        let value = values.get(row);
        if to_instant {
            value.checked_sub(offset.micros)
        } else {
            value.checked_add(offset.micros)
        }
        .map(Some)
        .ok_or_else(timestamp_out_of_range)
    })
}

pub(super) fn functions() -> Vec<Function> {
    const PLAIN: Returns = Returns::Type(&types::TIMESTAMP);
    const ZONED: Returns = Returns::Type(&types::TIMESTAMPTZ);
    vec![
        function(
            "date_trunc",
            [
                overload(&[TEXT, TIMESTAMP], PLAIN, truncate_plain),
                overload(&[TEXT, TIMESTAMPTZ], ZONED, truncate_zoned),
                overload(&[TEXT, TIMESTAMPTZ, TEXT], ZONED, truncate_zoned),
                overload(
                    &[TEXT, INTERVAL],
                    Returns::Type(&types::INTERVAL),
                    truncate_interval,
                ),
            ],
        )
        .stable(),
        function(
            "date_bin",
            [
                overload(&[INTERVAL, TIMESTAMP, TIMESTAMP], PLAIN, bin),
                overload(&[INTERVAL, TIMESTAMPTZ, TIMESTAMPTZ], ZONED, bin),
            ],
        ),
        function(
            "timezone",
            [
                overload(&[TEXT, TIMESTAMP], ZONED, at_zone),
                overload(&[TEXT, TIMESTAMPTZ], PLAIN, at_zone),
                overload(&[INTERVAL, TIMESTAMP], ZONED, at_offset),
                overload(&[INTERVAL, TIMESTAMPTZ], PLAIN, at_offset),
            ],
        )
        .stable(),
    ]
}
