//! Sums and differences of dates, times and intervals.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float64Type, Int32Type, IntervalMonthDayNanoType,
    Time64MicrosecondType, TimestampMicrosecondType, i256,
};
use datafusion::logical_expr::ScalarUDF;
use jiff::tz::TimeZone;

use super::{arrow, interval_at};
use crate::cast::{day_start, timestamp_out_of_range, to_local};
use crate::error::{Cause, FederationError};
use crate::functions::scaffold::{
    Call, DATE, FLOAT8, Function, INT4, INTERVAL, Outcome, Returns, TIME, TIMESTAMP, TIMESTAMPTZ, function,
    overload,
};
use crate::types;
use crate::values::datetime::{DAY_MICROS, Interval, ZoneCache};
use crate::values::read::datetime::{add_months, in_range};
use crate::values::read::value_error;
use crate::values::read::zone::local_to_utc;

pub(super) fn interval_out_of_range() -> FederationError {
    value_error("22008", "interval out of range")
}

/// A timestamp and an interval: months by the calendar, then days, then time.
pub(in crate::functions) fn add(micros: i64, interval: Interval, sign: i32) -> Result<i64, FederationError> {
    let months = interval
        .months
        .checked_mul(sign)
        .ok_or_else(interval_out_of_range)?;
    let moved = if months == 0 {
        Some(micros)
    } else {
        add_months(micros, months)
    };
    moved
        .and_then(|micros| {
            micros.checked_add(i64::from(interval.days).checked_mul(DAY_MICROS * i64::from(sign))?)
        })
        .and_then(|micros| micros.checked_add(interval.micros.checked_mul(i64::from(sign))?))
        .filter(|micros| in_range(*micros))
        .ok_or_else(timestamp_out_of_range)
}

/// As [`add`] for an instant: months and days are those of the session's calendar.
pub(in crate::functions) fn add_zoned(
    micros: i64,
    interval: Interval,
    sign: i32,
    zone: &TimeZone,
    cache: &ZoneCache,
) -> Result<i64, FederationError> {
    let mut instant = micros;
    if interval.months != 0 || interval.days != 0 {
        let calendar = Interval {
            micros: 0,
            ..interval
        };
        instant = local_to_utc(add(to_local(instant, cache), calendar, sign)?, zone);
    }
    let time = Interval {
        months: 0,
        days: 0,
        ..interval
    };
    add(instant, time, sign)
}

fn date_and_days(call: &Call<'_>, date: usize, sign: i64) -> Outcome {
    let (dates, days) = (
        call.values::<Date32Type>(date),
        call.values::<Int32Type>(1 - date),
    );
    call.each::<Date32Type>(|row| {
        let day = i64::from(dates.get(row)) + sign * i64::from(days.get(row));
        i32::try_from(day)
            .map(Some)
            .map_err(|_| value_error("22008", "date out of range"))
    })
}

fn date_plus_days(call: &Call<'_>) -> Outcome {
    date_and_days(call, 0, 1)
}

fn days_plus_date(call: &Call<'_>) -> Outcome {
    date_and_days(call, 1, 1)
}

fn date_minus_days(call: &Call<'_>) -> Outcome {
    date_and_days(call, 0, -1)
}

fn date_minus_date(call: &Call<'_>) -> Outcome {
    let (left, right) = (call.values::<Date32Type>(0), call.values::<Date32Type>(1));
    call.each::<Int32Type>(|row| {
        left.get(row)
            .checked_sub(right.get(row))
            .map(Some)
            .ok_or_else(|| value_error("22008", "date out of range"))
    })
}

fn date_and_interval(call: &Call<'_>, date: usize, sign: i32) -> Outcome {
    let dates = call.values::<Date32Type>(date);
    call.each::<TimestampMicrosecondType>(|row| {
        add(day_start(dates.get(row))?, interval_at(call, 1 - date, row), sign).map(Some)
    })
}

fn date_plus_interval(call: &Call<'_>) -> Outcome {
    date_and_interval(call, 0, 1)
}

fn interval_plus_date(call: &Call<'_>) -> Outcome {
    date_and_interval(call, 1, 1)
}

fn date_minus_interval(call: &Call<'_>) -> Outcome {
    date_and_interval(call, 0, -1)
}

fn date_and_time(call: &Call<'_>, date: usize) -> Outcome {
    let (dates, times) = (
        call.values::<Date32Type>(date),
        call.values::<Time64MicrosecondType>(1 - date),
    );
    call.each::<TimestampMicrosecondType>(|row| {
        day_start(dates.get(row))?
            .checked_add(times.get(row))
            .map(Some)
            .ok_or_else(timestamp_out_of_range)
    })
}

fn date_plus_time(call: &Call<'_>) -> Outcome {
    date_and_time(call, 0)
}

fn time_plus_date(call: &Call<'_>) -> Outcome {
    date_and_time(call, 1)
}

fn timestamp_and_interval(call: &Call<'_>, timestamp: usize, sign: i32) -> Outcome {
    let values = call.values::<TimestampMicrosecondType>(timestamp);
    if matches!(call.returns.data_type(), DataType::Timestamp(_, None)) {
        return call.each::<TimestampMicrosecondType>(|row| {
            add(values.get(row), interval_at(call, 1 - timestamp, row), sign).map(Some)
        });
    }
    let cache = ZoneCache::new(call.context.zone.clone());
    call.each::<TimestampMicrosecondType>(|row| {
        let interval = interval_at(call, 1 - timestamp, row);
        add_zoned(values.get(row), interval, sign, &call.context.zone, &cache).map(Some)
    })
}

fn timestamp_plus(call: &Call<'_>) -> Outcome {
    timestamp_and_interval(call, 0, 1)
}

fn plus_timestamp(call: &Call<'_>) -> Outcome {
    timestamp_and_interval(call, 1, 1)
}

fn timestamp_minus(call: &Call<'_>) -> Outcome {
    timestamp_and_interval(call, 0, -1)
}

/// Days and time between two points: PostgreSQL's difference has no months.
fn difference(call: &Call<'_>) -> Outcome {
    let (left, right) = (
        call.values::<TimestampMicrosecondType>(0),
        call.values::<TimestampMicrosecondType>(1),
    );
    call.each::<IntervalMonthDayNanoType>(|row| {
        let micros = left
            .get(row)
            .checked_sub(right.get(row))
            .ok_or_else(interval_out_of_range)?;
        arrow(Interval {
            months: 0,
            days: i32::try_from(micros / DAY_MICROS).map_err(|_| interval_out_of_range())?,
            micros: micros % DAY_MICROS,
        })
    })
}

fn time_and_interval(call: &Call<'_>, time: usize, sign: i64) -> Outcome {
    let times = call.values::<Time64MicrosecondType>(time);
    call.each::<Time64MicrosecondType>(|row| {
        let micros = interval_at(call, 1 - time, row).micros % DAY_MICROS;
        Ok(Some((times.get(row) + sign * micros).rem_euclid(DAY_MICROS)))
    })
}

fn time_plus(call: &Call<'_>) -> Outcome {
    time_and_interval(call, 0, 1)
}

fn plus_time(call: &Call<'_>) -> Outcome {
    time_and_interval(call, 1, 1)
}

fn time_minus(call: &Call<'_>) -> Outcome {
    time_and_interval(call, 0, -1)
}

fn time_difference(call: &Call<'_>) -> Outcome {
    let (left, right) = (
        call.values::<Time64MicrosecondType>(0),
        call.values::<Time64MicrosecondType>(1),
    );
    call.each::<IntervalMonthDayNanoType>(|row| {
        arrow(Interval {
            months: 0,
            days: 0,
            micros: left.get(row) - right.get(row),
        })
    })
}

fn sum_of_intervals(call: &Call<'_>, sign: i32) -> Outcome {
    call.each::<IntervalMonthDayNanoType>(|row| {
        let (left, right) = (interval_at(call, 0, row), interval_at(call, 1, row));
        let sum = || {
            Some(Interval {
                months: left.months.checked_add(right.months.checked_mul(sign)?)?,
                days: left.days.checked_add(right.days.checked_mul(sign)?)?,
                micros: left
                    .micros
                    .checked_add(right.micros.checked_mul(i64::from(sign))?)?,
            })
        };
        arrow(sum().ok_or_else(interval_out_of_range)?)
    })
}

fn interval_plus(call: &Call<'_>) -> Outcome {
    sum_of_intervals(call, 1)
}

fn interval_minus(call: &Call<'_>) -> Outcome {
    sum_of_intervals(call, -1)
}

fn whole(value: f64) -> Result<i32, FederationError> {
    if value.is_nan() || value.abs() >= 2_147_483_648.0 {
        return Err(interval_out_of_range());
    }
    Ok(value as i32)
}

/// The microseconds of a computed interval.
fn whole_micros(value: f64) -> Result<i64, FederationError> {
    let micros = value.round_ties_even();
    if micros.is_nan() || micros.abs() >= 9.223_372_036_854_775e18 {
        return Err(interval_out_of_range());
    }
    Ok(micros as i64)
}

/// An interval times a factor: parts of months become days, parts of days time (interval_mul, timestamp.c).
pub(crate) fn scaled(interval: Interval, factor: f64) -> Result<Interval, FederationError> {
    let months = whole(f64::from(interval.months) * factor)?;
    let days = whole(f64::from(interval.days) * factor)?;
    let round_micros = |value: f64| (value * 1_000_000.0).round_ties_even() / 1_000_000.0;
    let mut month_days = round_micros((f64::from(interval.months) * factor - f64::from(months)) * 30.0);
    let mut rest =
        (f64::from(interval.days) * factor - f64::from(days) + month_days - month_days.trunc()) * 86_400.0;
    rest = round_micros(rest);
    // a day's worth of seconds is a day
    if rest.abs() >= 86_400.0 {
        month_days += (rest / 86_400.0).trunc();
        rest -= (rest / 86_400.0).trunc() * 86_400.0;
    }
    Ok(Interval {
        months,
        days: days
            .checked_add(whole(month_days.trunc())?)
            .ok_or_else(interval_out_of_range)?,
        micros: whole_micros(interval.micros as f64 * factor + rest * 1_000_000.0)?,
    })
}

fn multiply(call: &Call<'_>, interval: usize) -> Outcome {
    let factors = call.values::<Float64Type>(1 - interval);
    call.each::<IntervalMonthDayNanoType>(|row| {
        arrow(scaled(interval_at(call, interval, row), factors.get(row))?)
    })
}

fn interval_times(call: &Call<'_>) -> Outcome {
    multiply(call, 0)
}

fn times_interval(call: &Call<'_>) -> Outcome {
    multiply(call, 1)
}

/// An interval divided: as [`scaled`], by the quotient of each part (interval_div, timestamp.c).
pub(crate) fn divided(interval: Interval, divisor: f64) -> Result<Interval, FederationError> {
    if divisor == 0.0 {
        return Err(Cause::DivisionByZero.into());
    }
    let months = whole(f64::from(interval.months) / divisor)?;
    let days = whole(f64::from(interval.days) / divisor)?;
    let round_micros = |value: f64| (value * 1_000_000.0).round_ties_even() / 1_000_000.0;
    let mut month_days = round_micros((f64::from(interval.months) / divisor - f64::from(months)) * 30.0);
    let mut rest =
        (f64::from(interval.days) / divisor - f64::from(days) + month_days - month_days.trunc()) * 86_400.0;
    rest = round_micros(rest);
    if rest.abs() >= 86_400.0 {
        month_days += (rest / 86_400.0).trunc();
        rest -= (rest / 86_400.0).trunc() * 86_400.0;
    }
    Ok(Interval {
        months,
        days: days
            .checked_add(whole(month_days.trunc())?)
            .ok_or_else(interval_out_of_range)?,
        micros: whole_micros(interval.micros as f64 / divisor + rest * 1_000_000.0)?,
    })
}

fn divide(call: &Call<'_>) -> Outcome {
    let divisors = call.values::<Float64Type>(1);
    call.each::<IntervalMonthDayNanoType>(|row| arrow(divided(interval_at(call, 0, row), divisors.get(row))?))
}

fn key_field(_: &[FieldRef]) -> Result<Field, FederationError> {
    Ok(Field::new("", DataType::Decimal128(38, 0), true))
}

/// The length of an interval in microseconds, with months of 30 days.
fn key(call: &Call<'_>) -> Outcome {
    call.decimal(|row| {
        let interval = interval_at(call, 0, row);
        let days = i128::from(interval.months) * 30 + i128::from(interval.days);
        let micros = days * i128::from(DAY_MICROS) + i128::from(interval.micros);
        Ok(Some((i256::from_i128(micros), 0)))
    })
}

fn key_function() -> Function {
    function(
        "lakegate_interval_key",
        [overload(&[INTERVAL], Returns::From(key_field), key)],
    )
    .shown("length")
}

/// What intervals are compared and sorted by.
pub(crate) fn interval_key() -> Arc<ScalarUDF> {
    key_function().build()
}

fn justify(call: &Call<'_>, hours: bool, days: bool) -> Outcome {
    call.each::<IntervalMonthDayNanoType>(|row| {
        let mut interval = interval_at(call, 0, row);
        if hours {
            interval.days = i32::try_from(i64::from(interval.days) + interval.micros / DAY_MICROS)
                .map_err(|_| interval_out_of_range())?;
            interval.micros %= DAY_MICROS;
        }
        if days {
            interval.months = interval
                .months
                .checked_add(interval.days / 30)
                .ok_or_else(interval_out_of_range)?;
            interval.days %= 30;
        }
        // the parts have one sign
        if hours && days {
            let positive_above = interval.months > 0;
            if positive_above && (interval.days < 0 || (interval.days == 0 && interval.micros < 0)) {
                interval.days += 30;
                interval.months -= 1;
            } else if interval.months < 0
                && (interval.days > 0 || (interval.days == 0 && interval.micros > 0))
            {
                interval.days -= 30;
                interval.months += 1;
            }
        }
        if hours {
            if interval.days > 0 && interval.micros < 0 {
                interval.micros += DAY_MICROS;
                interval.days -= 1;
            } else if interval.days < 0 && interval.micros > 0 {
                interval.micros -= DAY_MICROS;
                interval.days += 1;
            }
        }
        if days && !hours {
            if interval.months > 0 && interval.days < 0 {
                interval.days += 30;
                interval.months -= 1;
            } else if interval.months < 0 && interval.days > 0 {
                interval.days -= 30;
                interval.months += 1;
            }
        }
        arrow(interval)
    })
}

fn justify_hours(call: &Call<'_>) -> Outcome {
    justify(call, true, false)
}

fn justify_days(call: &Call<'_>) -> Outcome {
    justify(call, false, true)
}

fn justify_interval(call: &Call<'_>) -> Outcome {
    justify(call, true, true)
}

/// Two stretches of time, each from its lower to its higher bound, share a point; the end does not count.
fn overlaps(call: &Call<'_>) -> Outcome {
    let bounds: Vec<_> = (0..4)
        .map(|index| call.values::<TimestampMicrosecondType>(index))
        .collect();
    call.truth(|row| {
        let at = |index: usize| bounds[index].get(row);
        let order = |left: i64, right: i64| {
            if left <= right {
                (left, right)
            } else {
                (right, left)
            }
        };
        let ((from, until), (other_from, other_until)) = (order(at(0), at(1)), order(at(2), at(3)));
        Ok(Some(match from.cmp(&other_from) {
            Ordering::Equal => true,
            Ordering::Greater => from < other_until,
            Ordering::Less => other_from < until,
        }))
    })
}

pub(super) fn functions() -> Vec<Function> {
    const DATE_RESULT: Returns = Returns::Type(&types::DATE);
    const TIME_RESULT: Returns = Returns::Type(&types::TIME);
    const PLAIN: Returns = Returns::Type(&types::TIMESTAMP);
    const ZONED: Returns = Returns::Type(&types::TIMESTAMPTZ);
    const LENGTH: Returns = Returns::Type(&types::INTERVAL);
    vec![
        function(
            "lakegate_time_add",
            [
                overload(&[DATE, INT4], DATE_RESULT, date_plus_days),
                overload(&[INT4, DATE], DATE_RESULT, days_plus_date),
                overload(&[DATE, INTERVAL], PLAIN, date_plus_interval),
                overload(&[INTERVAL, DATE], PLAIN, interval_plus_date),
                overload(&[DATE, TIME], PLAIN, date_plus_time),
                overload(&[TIME, DATE], PLAIN, time_plus_date),
                overload(&[TIMESTAMP, INTERVAL], PLAIN, timestamp_plus),
                overload(&[INTERVAL, TIMESTAMP], PLAIN, plus_timestamp),
                overload(&[TIMESTAMPTZ, INTERVAL], ZONED, timestamp_plus),
                overload(&[INTERVAL, TIMESTAMPTZ], ZONED, plus_timestamp),
                overload(&[TIME, INTERVAL], TIME_RESULT, time_plus),
                overload(&[INTERVAL, TIME], TIME_RESULT, plus_time),
                overload(&[INTERVAL, INTERVAL], LENGTH, interval_plus),
            ],
        )
        .stable()
        .shown("+"),
        function(
            "lakegate_time_subtract",
            [
                overload(&[DATE, INT4], DATE_RESULT, date_minus_days),
                overload(&[DATE, DATE], Returns::Type(&types::INT4), date_minus_date),
                overload(&[DATE, INTERVAL], PLAIN, date_minus_interval),
                overload(&[TIMESTAMP, INTERVAL], PLAIN, timestamp_minus),
                overload(&[TIMESTAMPTZ, INTERVAL], ZONED, timestamp_minus),
                overload(&[TIMESTAMP, TIMESTAMP], LENGTH, difference),
                overload(&[TIMESTAMPTZ, TIMESTAMPTZ], LENGTH, difference),
                overload(&[TIME, INTERVAL], TIME_RESULT, time_minus),
                overload(&[TIME, TIME], LENGTH, time_difference),
                overload(&[INTERVAL, INTERVAL], LENGTH, interval_minus),
            ],
        )
        .stable()
        .shown("-"),
        function(
            "lakegate_time_multiply",
            [
                overload(&[INTERVAL, FLOAT8], LENGTH, interval_times),
                overload(&[FLOAT8, INTERVAL], LENGTH, times_interval),
            ],
        )
        .shown("*"),
        function(
            "lakegate_time_divide",
            [overload(&[INTERVAL, FLOAT8], LENGTH, divide)],
        )
        .shown("/"),
        key_function(),
        function("justify_hours", [overload(&[INTERVAL], LENGTH, justify_hours)]),
        function("justify_days", [overload(&[INTERVAL], LENGTH, justify_days)]),
        function(
            "justify_interval",
            [overload(&[INTERVAL], LENGTH, justify_interval)],
        ),
        function(
            "overlaps",
            [
                overload(
                    &[TIMESTAMP, TIMESTAMP, TIMESTAMP, TIMESTAMP],
                    Returns::Type(&types::BOOL),
                    overlaps,
                ),
                overload(
                    &[TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ, TIMESTAMPTZ],
                    Returns::Type(&types::BOOL),
                    overlaps,
                ),
            ],
        )
        .stable(),
    ]
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::values::read::interval::{Range, interval};

    fn printed(interval: Interval) -> String {
        let mut out = BytesMut::new();
        interval.put(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn parts_of_months_are_days() {
        let read = |text| interval(text, Range::default()).unwrap();
        for (text, factor, expected) in [
            ("1 day", 1.5, "1 day 12:00:00"),
            ("1 month", 1.5, "1 mon 15 days"),
            ("1 day", 0.1, "02:24:00"),
            ("1 month", 0.5, "15 days"),
        ] {
            assert_eq!(
                printed(scaled(read(text), factor).unwrap()),
                expected,
                "{text} * {factor}"
            );
        }
        assert_eq!(printed(divided(read("1 month"), 2.0).unwrap()), "15 days");
        assert_eq!(printed(divided(read("1 day"), 2.0).unwrap()), "12:00:00");
        assert_eq!(divided(read("1 day"), 0.0).unwrap_err().sqlstate(), "22012");
    }
}
