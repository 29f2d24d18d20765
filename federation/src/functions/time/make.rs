//! Dates, times and intervals from their parts, and ages.

use arrow::datatypes::{
    Date32Type, Float64Type, Int32Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use jiff::Timestamp;

use super::arithmetic::interval_out_of_range;
use super::arrow;
use crate::cast::{timestamp_out_of_range, to_local};
use crate::error::FederationError;
use crate::functions::scaffold::{
    Call, DATE, FLOAT8, Function, INT4, Outcome, Returns, TEXT, TIMESTAMP, TIMESTAMPTZ, function, overload,
};
use crate::types;
use crate::values::datetime::{DAY_MICROS, Interval, ZoneCache, civil_from_days, days_from_civil};
use crate::values::read::datetime::{days_in_month, split};
use crate::values::read::value_error;
use crate::values::read::zone::{by_posix_name, local_to_utc};

fn wrong_date(year: i32, month: i32, day: i32) -> FederationError {
    value_error(
        "22008",
        format!("date field value out of range: {year}-{month:02}-{day:02}"),
    )
}

fn date(year: i32, month: i32, day: i32) -> Result<i64, FederationError> {
    let wrong = || wrong_date(year, month, day);
    if year == 0 {
        return Err(wrong());
    }
    // -1 is 1 BC
    let astronomical = i64::from(if year < 0 { year + 1 } else { year });
    let month = u32::try_from(month)
        .ok()
        .filter(|month| (1..=12).contains(month))
        .ok_or_else(wrong)?;
    let day = u32::try_from(day)
        .ok()
        .filter(|day| (1..=days_in_month(astronomical, month)).contains(day))
        .ok_or_else(wrong)?;
    Ok(days_from_civil(astronomical, month, day))
}

fn clock(hour: i32, minute: i32, second: f64) -> Result<i64, FederationError> {
    let seconds = (second * 1_000_000.0).round_ties_even();
    let fits =
        (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60_000_000.0).contains(&seconds);
    if fits {
        let micros = i64::from(hour) * 3_600_000_000 + i64::from(minute) * 60_000_000 + seconds as i64;
        if micros <= DAY_MICROS {
            return Ok(micros);
        }
    }
    Err(value_error(
        "22008",
        format!("time field value out of range: {hour}:{minute:02}:{second:02}"),
    ))
}

fn make_date(call: &Call<'_>) -> Outcome {
    let part = |index| call.values::<Int32Type>(index);
    let (year, month, day) = (part(0), part(1), part(2));
    call.each::<Date32Type>(|row| {
        let days = date(year.get(row), month.get(row), day.get(row))?;
        i32::try_from(days)
            .map(Some)
            .map_err(|_| timestamp_out_of_range())
    })
}

fn make_time(call: &Call<'_>) -> Outcome {
    let (hour, minute) = (call.values::<Int32Type>(0), call.values::<Int32Type>(1));
    let second = call.values::<Float64Type>(2);
    call.each::<Time64MicrosecondType>(|row| clock(hour.get(row), minute.get(row), second.get(row)).map(Some))
}

fn local(call: &Call<'_>, row: usize) -> Result<i64, FederationError> {
    let part = |index: usize| call.values::<Int32Type>(index).get(row);
    let days = date(part(0), part(1), part(2))?;
    let clock = clock(part(3), part(4), call.values::<Float64Type>(5).get(row))?;
    days.checked_mul(DAY_MICROS)
        .and_then(|midnight| midnight.checked_add(clock))
        .ok_or_else(timestamp_out_of_range)
}

fn make_timestamp(call: &Call<'_>) -> Outcome {
    call.each::<TimestampMicrosecondType>(|row| local(call, row).map(Some))
}

fn make_timestamptz(call: &Call<'_>) -> Outcome {
    let zones = call.texts_if(6);
    call.each::<TimestampMicrosecondType>(|row| {
        let local = local(call, row)?;
        let zone = match &zones {
            Some(zones) => by_posix_name(zones.get(row)).ok_or_else(|| {
                value_error(
                    "22023",
                    format!("time zone \"{}\" not recognized", zones.get(row)),
                )
            })?,
            None => call.context.zone.clone(),
        };
        Ok(Some(local_to_utc(local, &zone)))
    })
}

fn make_interval(call: &Call<'_>) -> Outcome {
    let seconds = call.values::<Float64Type>(6);
    call.each::<IntervalMonthDayNanoType>(|row| {
        let part = |index: usize| i64::from(call.values::<Int32Type>(index).get(row));
        let small = |value: i64| i32::try_from(value).map_err(|_| interval_out_of_range());
        let micros = (seconds.get(row) * 1_000_000.0).round_ties_even();
        if micros.abs() > 9e18 {
            return Err(interval_out_of_range());
        }
        arrow(Interval {
            months: small(part(0) * 12 + part(1))?,
            days: small(part(2) * 7 + part(3))?,
            micros: part(4) * 3_600_000_000 + part(5) * 60_000_000 + micros as i64,
        })
    })
}

/// Years, months and days between two points as a calendar counts them (timestamp_age, timestamp.c).
fn age(later: i64, earlier: i64) -> Interval {
    let parts = |micros: i64| {
        let (days, clock) = split(micros);
        let (year, month, day) = civil_from_days(days);
        (year, i64::from(month), i64::from(day), clock)
    };
    let negative = later < earlier;
    let (a, b) = (parts(later), parts(earlier));
    let sign = if negative { -1 } else { 1 };
    let mut clock = sign * (a.3 - b.3);
    let mut days = sign * (a.2 - b.2);
    let mut months = sign * ((a.0 * 12 + a.1) - (b.0 * 12 + b.1));
    if clock < 0 {
        clock += DAY_MICROS;
        days -= 1;
    }
    while days < 0 {
        // the month of the earlier point lends its days
        let (year, month) = if negative { (a.0, a.1) } else { (b.0, b.1) };
        days += i64::from(days_in_month(year, month as u32));
        months -= 1;
    }
    Interval {
        months: (sign * months) as i32,
        days: (sign * days) as i32,
        micros: sign * clock,
    }
}

fn age_plain(call: &Call<'_>) -> Outcome {
    let (later, earlier) = (
        call.values::<TimestampMicrosecondType>(0),
        call.values::<TimestampMicrosecondType>(1),
    );
    call.each::<IntervalMonthDayNanoType>(|row| arrow(age(later.get(row), earlier.get(row))))
}

fn age_zoned(call: &Call<'_>) -> Outcome {
    let (later, earlier) = (
        call.values::<TimestampMicrosecondType>(0),
        call.values::<TimestampMicrosecondType>(1),
    );
    let zone = ZoneCache::new(call.context.zone.clone());
    call.each::<IntervalMonthDayNanoType>(|row| {
        arrow(age(
            to_local(later.get(row), &zone),
            to_local(earlier.get(row), &zone),
        ))
    })
}

/// The age today.
fn age_now(call: &Call<'_>) -> Outcome {
    let zone = ZoneCache::new(call.context.zone.clone());
    let now = to_local(Timestamp::now().as_microsecond(), &zone);
    let midnight = now.div_euclid(DAY_MICROS) * DAY_MICROS;
    let values = call.values::<TimestampMicrosecondType>(0);
    call.each::<IntervalMonthDayNanoType>(|row| arrow(age(midnight, values.get(row))))
}

fn always(call: &Call<'_>) -> Outcome {
    call.truth(|_| Ok(Some(true)))
}

fn from_epoch(call: &Call<'_>) -> Outcome {
    let seconds = call.values::<Float64Type>(0);
    call.each::<TimestampMicrosecondType>(|row| {
        let micros = (seconds.get(row) * 1_000_000.0).round_ties_even();
        if micros.abs() < 9.2e18 {
            Ok(Some(micros as i64))
        } else {
            Err(value_error(
                "22008",
                format!("timestamp out of range: \"{}\"", seconds.get(row)),
            ))
        }
    })
}

pub(super) fn functions() -> Vec<Function> {
    const LENGTH: Returns = Returns::Type(&types::INTERVAL);
    const ZONED: Returns = Returns::Type(&types::TIMESTAMPTZ);
    const TRUTH: Returns = Returns::Type(&types::BOOL);
    vec![
        function(
            "make_date",
            [overload(
                &[INT4, INT4, INT4],
                Returns::Type(&types::DATE),
                make_date,
            )],
        ),
        function(
            "make_time",
            [overload(
                &[INT4, INT4, FLOAT8],
                Returns::Type(&types::TIME),
                make_time,
            )],
        ),
        function(
            "make_timestamp",
            [overload(
                &[INT4, INT4, INT4, INT4, INT4, FLOAT8],
                Returns::Type(&types::TIMESTAMP),
                make_timestamp,
            )],
        ),
        function(
            "make_timestamptz",
            [
                overload(&[INT4, INT4, INT4, INT4, INT4, FLOAT8], ZONED, make_timestamptz),
                overload(
                    &[INT4, INT4, INT4, INT4, INT4, FLOAT8, TEXT],
                    ZONED,
                    make_timestamptz,
                ),
            ],
        )
        .stable(),
        function(
            "lakegate_make_interval",
            [overload(
                &[INT4, INT4, INT4, INT4, INT4, INT4, FLOAT8],
                LENGTH,
                make_interval,
            )],
        )
        .shown("make_interval"),
        function(
            "age",
            [
                overload(&[TIMESTAMP, TIMESTAMP], LENGTH, age_plain),
                overload(&[TIMESTAMPTZ, TIMESTAMPTZ], LENGTH, age_zoned),
                overload(&[TIMESTAMP], LENGTH, age_now),
            ],
        )
        .stable(),
        function(
            "isfinite",
            [
                overload(&[DATE], TRUTH, always),
                overload(&[TIMESTAMP], TRUTH, always),
                overload(&[TIMESTAMPTZ], TRUTH, always),
            ],
        ),
        super::parse::to_timestamp(overload(&[FLOAT8], ZONED, from_epoch)),
    ]
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::values::read::datetime::timestamp;

    #[test]
    fn ages_count_by_the_calendar() {
        for (later, earlier, expected) in [
            ("2024-03-01", "2023-01-31", "1 year 1 mon 1 day"),
            ("2024-02-29", "2024-03-01", "-1 days"),
            (
                "2024-03-01 12:00",
                "2000-06-15 18:30",
                "23 years 8 mons 15 days 17:30:00",
            ),
            ("2024-01-01", "2024-01-01", "00:00:00"),
        ] {
            let mut out = BytesMut::new();
            age(timestamp(later).unwrap(), timestamp(earlier).unwrap()).put(&mut out);
            assert_eq!(
                std::str::from_utf8(&out).unwrap(),
                expected,
                "{later} - {earlier}"
            );
        }
    }
}
