//! `extract(field from …)` and `date_part`.

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Float64Type, Time64MicrosecondType, TimestampMicrosecondType, i256,
};
use datafusion::logical_expr::ScalarUDF;

use super::interval_at;
use super::truncate::unknown_unit;
use crate::cast::to_local;
use crate::error::{Cause, FederationError};
use crate::functions::scaffold::{
    Call, DATE, Function, INTERVAL, Outcome, Returns, TEXT, TIME, TIMESTAMP, TIMESTAMPTZ, function, overload,
};
use crate::types;
use crate::values::datetime::{DAY_MICROS, Interval, ZoneCache, civil_from_days, days_from_civil};
use crate::values::read::interval::Unit;

/// What is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Unit(Unit),
    Dow,
    IsoDow,
    Doy,
    IsoYear,
    Epoch,
    Julian,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

fn part(name: &str) -> Option<Part> {
    Some(match name.trim().to_ascii_lowercase().as_str() {
        "dow" => Part::Dow,
        "isodow" => Part::IsoDow,
        "doy" => Part::Doy,
        "isoyear" => Part::IsoYear,
        "epoch" => Part::Epoch,
        "julian" => Part::Julian,
        "timezone" => Part::Timezone,
        "timezone_hour" | "timezone_h" => Part::TimezoneHour,
        "timezone_minute" | "timezone_m" => Part::TimezoneMinute,
        other => Part::Unit(Unit::by_name(other)?),
    })
}

/// ISO year and week of a day.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    // the week's Thursday is in its year
    let thursday = days - (days + 3).rem_euclid(7) + 3;
    let (year, _, _) = civil_from_days(thursday);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

/// A value with six digits behind the point, in millionths.
fn of_local(micros: i64, part: Part) -> Option<i128> {
    of_day(micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS), part)
}

/// A part of a day since 1970 at so many microseconds: dates reach beyond the times that fit 64 bits.
fn of_day(days: i64, clock: i64, part: Part) -> Option<i128> {
    let (year, month, day) = civil_from_days(days);
    // years before Christ count from 1 BC
    let shown = if year > 0 { year } else { year - 1 };
    let whole = |value: i64| Some(i128::from(value) * 1_000_000);
    let centuries = |length: i64| {
        if year > 0 {
            (year + length - 1) / length
        } else {
            -((length - year) / length)
        }
    };
    match part {
        Part::Unit(unit) => match unit {
            Unit::Microsecond => whole(clock % 60_000_000),
            Unit::Millisecond => Some(i128::from(clock % 60_000_000) * 1_000),
            Unit::Second => Some(i128::from(clock % 60_000_000)),
            Unit::Minute => whole(clock / 60_000_000 % 60),
            Unit::Hour => whole(clock / 3_600_000_000),
            Unit::Day => whole(i64::from(day)),
            Unit::Week => whole(iso_week(days).1),
            Unit::Month => whole(i64::from(month)),
            Unit::Quarter => whole(i64::from(month - 1) / 3 + 1),
            Unit::Year => whole(shown),
            Unit::Decade => whole(year.div_euclid(10)),
            Unit::Century => whole(centuries(100)),
            Unit::Millennium => whole(centuries(1_000)),
        },
        Part::Dow => whole((days + 4).rem_euclid(7)),
        Part::IsoDow => whole((days + 3).rem_euclid(7) + 1),
        Part::Doy => whole(days - days_from_civil(year, 1, 1) + 1),
        Part::IsoYear => {
            let year = iso_week(days).0;
            whole(if year > 0 { year } else { year - 1 })
        }
        Part::Epoch => Some(i128::from(days) * i128::from(DAY_MICROS) + i128::from(clock)),
        // 2440588 is the Julian day of 1970-01-01
        Part::Julian => {
            let day = i128::from(days + 2_440_588) * 1_000_000;
            Some(day + i128::from(clock) * 1_000_000 / i128::from(DAY_MICROS))
        }
        Part::Timezone | Part::TimezoneHour | Part::TimezoneMinute => None,
    }
}

fn of_zoned(micros: i64, part: Part, zone: &ZoneCache) -> Option<i128> {
    let offset = i64::from(zone.offset(micros));
    let whole = |value: i64| Some(i128::from(value) * 1_000_000);
    match part {
        Part::Epoch => Some(i128::from(micros)),
        Part::Timezone => whole(offset),
        Part::TimezoneHour => whole(offset / 3_600),
        Part::TimezoneMinute => whole(offset / 60 % 60),
        other => of_local(to_local(micros, zone), other),
    }
}

/// Dates have no time.
fn of_date(days: i32, part: Part) -> Option<i128> {
    match part {
        Part::Unit(Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond | Unit::Microsecond) => None,
        other => of_day(i64::from(days), 0, other),
    }
}

fn of_time(micros: i64, part: Part) -> Option<i128> {
    match part {
        Part::Unit(Unit::Hour | Unit::Minute | Unit::Second | Unit::Millisecond | Unit::Microsecond) => {
            // 24:00 is the hour 24
            if micros == DAY_MICROS && part == Part::Unit(Unit::Hour) {
                return Some(24_000_000);
            }
            of_local(micros, part)
        }
        Part::Epoch => Some(i128::from(micros)),
        _ => None,
    }
}

fn of_interval(interval: Interval, part: Part) -> Option<i128> {
    let Interval { months, days, micros } = interval;
    let whole = |value: i64| Some(i128::from(value) * 1_000_000);
    let years = i64::from(months / 12);
    match part {
        Part::Unit(unit) => match unit {
            Unit::Microsecond => whole(micros % 60_000_000),
            Unit::Millisecond => Some(i128::from(micros % 60_000_000) * 1_000),
            Unit::Second => Some(i128::from(micros % 60_000_000)),
            Unit::Minute => whole(micros / 60_000_000 % 60),
            Unit::Hour => whole(micros / 3_600_000_000),
            Unit::Day => whole(i64::from(days)),
            Unit::Week => None,
            Unit::Month => whole(i64::from(months % 12)),
            Unit::Quarter => whole(i64::from(months % 12) / 3 + 1),
            Unit::Year => whole(years),
            Unit::Decade => whole(years / 10),
            Unit::Century => whole(years / 100),
            Unit::Millennium => whole(years / 1_000),
        },
        // a year is 365.25 days here
        Part::Epoch => {
            let seconds = i128::from(months / 12) * 31_557_600
                + i128::from(months % 12) * 30 * 86_400
                + i128::from(days) * 86_400;
            Some(seconds * 1_000_000 + i128::from(micros))
        }
        _ => None,
    }
}

fn type_name(call: &Call<'_>, index: usize) -> String {
    types::of_field(&call.arguments[index].field).sql_name()
}

fn not_supported(name: &str, type_name: &str) -> FederationError {
    Cause::NotSupported {
        message: format!(
            "unit \"{}\" not supported for type {type_name}",
            name.to_lowercase()
        ),
    }
    .into()
}

/// The value of a part of an argument in a row, in millionths.
fn value(
    call: &Call<'_>,
    index: usize,
    row: usize,
    name: &str,
    zone: &ZoneCache,
) -> Result<i128, FederationError> {
    let Some(part) = part(name) else {
        return Err(unknown_unit(name, &type_name(call, index)));
    };
    let found = match call.arguments[index].array.data_type() {
        DataType::Date32 => of_date(call.values::<Date32Type>(index).get(row), part),
        DataType::Time64(_) => of_time(call.values::<Time64MicrosecondType>(index).get(row), part),
        DataType::Timestamp(_, None) => {
            of_local(call.values::<TimestampMicrosecondType>(index).get(row), part)
        }
        DataType::Timestamp(_, Some(_)) => of_zoned(
            call.values::<TimestampMicrosecondType>(index).get(row),
            part,
            zone,
        ),
        _ => of_interval(interval_at(call, index, row), part),
    };
    found.ok_or_else(|| not_supported(name, &type_name(call, index)))
}

fn date_part(call: &Call<'_>) -> Outcome {
    let names = call.texts(0);
    let zone = ZoneCache::new(call.context.zone.clone());
    call.each::<Float64Type>(|row| {
        let value = value(call, 1, row, names.get(row), &zone)?;
        Ok(Some(value as f64 / 1_000_000.0))
    })
}

const PARTS: [&str; 22] = [
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
    "dow",
    "isodow",
    "doy",
    "isoyear",
    "epoch",
    "julian",
    "timezone",
    "timezone_hour",
    "timezone_minute",
];

fn extract(call: &Call<'_>) -> Outcome {
    let name = PARTS
        .get(call.number.unsigned_abs() as usize)
        .copied()
        .unwrap_or("nothing");
    let zone = ZoneCache::new(call.context.zone.clone());
    call.decimal(|row| {
        let value = value(call, 0, row, name, &zone)?;
        Ok(Some((i256::from_i128(value), 6)))
    })
}

/// Seconds keep their millionths, milliseconds their thousandths, the rest is whole.
fn extracted(fields: &[FieldRef], number: i32) -> Result<Field, FederationError> {
    let name = PARTS
        .get(number.unsigned_abs() as usize)
        .copied()
        .unwrap_or("nothing");
    let of_date = matches!(
        fields.first().map(|field| field.data_type()),
        Some(DataType::Date32)
    );
    let data_type = match name {
        "epoch" if of_date => DataType::Decimal128(20, 0),
        "second" | "epoch" => DataType::Decimal128(26, 6),
        "milliseconds" => DataType::Decimal128(9, 3),
        "julian" if !of_date => DataType::Decimal128(26, 6),
        _ => DataType::Decimal128(20, 0),
    };
    Ok(Field::new("", data_type, true))
}

/// The function of EXTRACT with a field's name: `lakegate_extract year`.
pub(crate) fn by_name(name: &str) -> Result<Arc<ScalarUDF>, FederationError> {
    const fn of(params: &'static [crate::functions::scaffold::Kind]) -> crate::functions::scaffold::Overload {
        overload(params, Returns::With(extracted), extract)
    }
    let field = name.strip_prefix("lakegate_extract ").unwrap_or(name);
    let wanted = part(field).ok_or_else(|| unknown_unit(field, "timestamp without time zone"))?;
    let number = PARTS
        .iter()
        .position(|known| part(known) == Some(wanted))
        .ok_or_else(|| unknown_unit(field, "timestamp without time zone"))?;
    Ok(function(
        format!("lakegate_extract {}", PARTS[number]),
        [
            of(&[DATE]),
            of(&[TIME]),
            of(&[TIMESTAMP]),
            of(&[TIMESTAMPTZ]),
            of(&[INTERVAL]),
        ],
    )
    .number(number as i32)
    .shown(format!("extract:{}", PARTS[number]))
    .stable()
    .build())
}

pub(super) fn functions() -> Vec<Function> {
    const RESULT: Returns = Returns::Type(&types::FLOAT8);
    vec![
        function(
            "date_part",
            [
                overload(&[TEXT, DATE], RESULT, date_part),
                overload(&[TEXT, TIME], RESULT, date_part),
                overload(&[TEXT, TIMESTAMP], RESULT, date_part),
                overload(&[TEXT, TIMESTAMPTZ], RESULT, date_part),
                overload(&[TEXT, INTERVAL], RESULT, date_part),
            ],
        )
        .stable(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::read::datetime::timestamp;

    #[test]
    fn parts_of_dates() {
        let of = |text: &str, name: &str| {
            of_local(timestamp(text).unwrap(), part(name).unwrap()).unwrap() / 1_000_000
        };
        for (text, name, expected) in [
            ("2024-12-30", "week", 1),
            ("2024-12-30", "isoyear", 2025),
            ("2024-03-03", "dow", 0),
            ("2024-03-03", "isodow", 7),
            ("2024-03-01", "doy", 61),
            ("2024-05-01", "quarter", 2),
            ("2024-05-01", "century", 21),
            ("2000-05-01", "century", 20),
            ("2024-02-29", "julian", 2_460_370),
            ("0001-05-01 BC", "year", -1),
        ] {
            assert_eq!(of(text, name), expected, "{name} of {text}");
        }
    }
}
