//! `to_char` of dates, times and intervals.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, TimestampMicrosecondType};

use super::extract::iso_week;
use super::interval_at;
use super::template::{Case, DAYS, Field, Item, MONTHS, ROMAN_MONTHS, ordinal_ending, parse};
use crate::cast::to_local;
use crate::functions::number_format;
use crate::functions::scaffold::{
    Call, FLOAT8, Function, INT4, INT8, INTERVAL, NUMERIC, Outcome, Returns, TEXT, TIMESTAMP, TIMESTAMPTZ,
    function, overload,
};
use crate::types;
use crate::values::datetime::{DAY_MICROS, ZoneCache, civil_from_days, days_from_civil};

/// A time taken apart.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    /// Microseconds since midnight; of an interval all of its time.
    clock: i64,
    /// Days since 1970-01-01; none of an interval.
    days: Option<i64>,
    zone: Option<(i32, String)>,
}

impl Parts {
    fn of_timestamp(micros: i64) -> Self {
        let days = micros.div_euclid(DAY_MICROS);
        let (year, month, day) = civil_from_days(days);
        Self {
            year,
            month: i64::from(month),
            day: i64::from(day),
            clock: micros.rem_euclid(DAY_MICROS),
            days: Some(days),
            zone: None,
        }
    }

    fn hour(&self) -> i64 {
        self.clock / 3_600_000_000
    }

    fn fraction(&self) -> i64 {
        (self.clock % 1_000_000).abs()
    }

    fn day_of_year(&self) -> i64 {
        self.days
            .map_or(0, |days| days - days_from_civil(self.year, 1, 1) + 1)
    }

    fn weekday(&self) -> usize {
        self.days.map_or(0, |days| (days + 4).rem_euclid(7) as usize)
    }
}

fn cased(text: &str, case: Case) -> String {
    match case {
        Case::Upper => text.to_uppercase(),
        Case::Capital => text.to_owned(),
        Case::Lower => text.to_lowercase(),
    }
}

fn put_number(value: i64, width: usize, fill: bool, out: &mut String) {
    let width = if fill { width } else { 0 };
    let _ = if value < 0 {
        write!(out, "-{:0width$}", value.unsigned_abs())
    } else {
        write!(out, "{value:0width$}")
    };
}

/// The last digits of a year.
fn put_year(year: i64, digits: usize, fill: bool, out: &mut String) {
    // 1 BC is the year 0
    let shown = if year > 0 { year } else { 1 - year };
    let value = match digits {
        4 => shown,
        3 => shown % 1_000,
        2 => shown % 100,
        _ => shown % 10,
    };
    put_number(value, digits, fill, out);
}

fn put_word(word: &str, width: usize, case: Case, fill: bool, out: &mut String) {
    let word = cased(word, case);
    if fill {
        let _ = write!(out, "{word:<width$}");
    } else {
        out.push_str(&word);
    }
}

fn put_field(field: Field, case: Case, fill: bool, parts: &Parts, out: &mut String) -> Option<i64> {
    let mut number = |value: i64, width: usize| {
        put_number(value, width, fill, out);
        Some(value)
    };
    match field {
        Field::Hour24 => return number(parts.hour(), 2),
        Field::Hour12 => {
            let hour = parts.hour();
            let shown = if hour % 12 == 0 { 12 } else { hour % 12 };
            return number(shown, 2);
        }
        Field::Minute => return number(parts.clock / 60_000_000 % 60, 2),
        Field::Second => return number(parts.clock / 1_000_000 % 60, 2),
        Field::SecondsOfDay => {
            put_number(parts.clock / 1_000_000, 0, false, out);
            return Some(parts.clock / 1_000_000);
        }
        Field::Milliseconds => return number(parts.fraction() / 1_000, 3),
        Field::Microseconds => return number(parts.fraction(), 6),
        Field::Fraction(digits) => {
            let value = parts.fraction() / 10_i64.pow(6 - digits as u32);
            put_number(value, digits, true, out);
            return Some(value);
        }
        Field::Year(digits) => {
            put_year(parts.year, digits, fill, out);
            return Some(parts.year);
        }
        Field::YearComma => {
            let shown = if parts.year > 0 {
                parts.year
            } else {
                1 - parts.year
            };
            let _ = write!(out, "{},{:03}", shown / 1_000, shown % 1_000);
            return Some(parts.year);
        }
        Field::IsoYear(digits) => {
            let year = parts.days.map_or(parts.year, |days| iso_week(days).0);
            put_year(year, digits, fill, out);
            return Some(year);
        }
        Field::Month => return number(parts.month, 2),
        Field::DayOfMonth => return number(parts.day, 2),
        Field::DayOfYear => return number(parts.day_of_year(), 3),
        Field::DayOfWeek => return number(parts.weekday() as i64 + 1, 1),
        Field::IsoDayOfWeek => {
            let day = parts.weekday() as i64;
            return number(if day == 0 { 7 } else { day }, 1);
        }
        Field::IsoDayOfYear => {
            let days = parts.days?;
            let (_, week) = iso_week(days);
            let day = (week - 1) * 7 + (days + 3).rem_euclid(7) + 1;
            return number(day, 3);
        }
        Field::IsoWeek => return number(iso_week(parts.days?).1, 2),
        Field::Week => return number((parts.day_of_year() - 1) / 7 + 1, 2),
        Field::WeekOfMonth => return number((parts.day - 1) / 7 + 1, 1),
        Field::Quarter => {
            if parts.month == 0 {
                return None;
            }
            return number((parts.month - 1) / 3 + 1, 1);
        }
        Field::Century => {
            let century = if parts.year > 0 {
                (parts.year + 99) / 100
            } else {
                -((100 - parts.year) / 100)
            };
            return number(century, 2);
        }
        Field::Julian => return number(parts.days? + 2_440_588, 0),
        Field::MonthName | Field::MonthShort | Field::MonthRoman => {
            let index = usize::try_from(parts.month - 1).ok()?;
            match field {
                Field::MonthName => put_word(MONTHS.get(index)?, 9, case, fill, out),
                Field::MonthShort => out.push_str(&cased(&MONTHS.get(index)?[..3], case)),
                _ => put_word(ROMAN_MONTHS.get(index)?, 4, case, fill, out),
            }
        }
        Field::Day => put_word(DAYS[parts.weekday()], 9, case, fill, out),
        Field::DayShort => out.push_str(&cased(&DAYS[parts.weekday()][..3], case)),
        Field::Meridiem { dotted } => {
            let text = match (parts.hour().rem_euclid(24) >= 12, dotted) {
                (true, true) => "P.M.",
                (true, false) => "PM",
                (false, true) => "A.M.",
                (false, false) => "AM",
            };
            out.push_str(&cased(text, case));
        }
        Field::Era { dotted } => {
            let text = match (parts.year > 0, dotted) {
                (true, true) => "A.D.",
                (true, false) => "AD",
                (false, true) => "B.C.",
                (false, false) => "BC",
            };
            out.push_str(&cased(text, case));
        }
        Field::Zone => {
            if let Some((_, name)) = &parts.zone {
                out.push_str(&cased(name, case));
            }
        }
        Field::Offset | Field::ZoneHours | Field::ZoneMinutes => {
            let offset = parts.zone.as_ref().map_or(0, |(offset, _)| *offset);
            let sign = if offset < 0 { '-' } else { '+' };
            let (hours, minutes) = (offset.abs() / 3_600, offset.abs() / 60 % 60);
            let _ = match field {
                Field::ZoneHours => write!(out, "{sign}{hours:02}"),
                Field::ZoneMinutes => write!(out, "{minutes:02}"),
                _ if minutes == 0 => write!(out, "{sign}{hours:02}"),
                _ => write!(out, "{sign}{hours:02}:{minutes:02}"),
            };
        }
    }
    None
}

fn put(items: &[Item], parts: &Parts, out: &mut String) {
    for item in items {
        match item {
            Item::Field {
                field,
                case,
                fill,
                ordinal,
            } => {
                if let Some(number) = put_field(*field, *case, *fill, parts, out) {
                    out.push_str(ordinal_ending(number, *ordinal));
                }
            }
            Item::Quoted(text) => out.push_str(text),
            Item::Other(other) => out.push(*other),
        }
    }
}

/// Remembers the last template: there is nearly always just one.
struct Templates {
    text: String,
    items: Vec<Item>,
}

impl Templates {
    fn new() -> Self {
        Self {
            text: String::new(),
            items: Vec::new(),
        }
    }

    fn of(&mut self, template: &str) -> &[Item] {
        if self.text != template {
            self.items = parse(template);
            template.clone_into(&mut self.text);
        }
        &self.items
    }
}

fn of_timestamp(call: &Call<'_>) -> Outcome {
    let (values, templates) = (call.values::<TimestampMicrosecondType>(0), call.texts(1));
    let zoned = matches!(
        call.arguments[0].array.data_type(),
        DataType::Timestamp(_, Some(_))
    );
    let zone = ZoneCache::new(call.context.zone.clone());
    let mut known = Templates::new();
    call.text(|row, out| {
        let template = templates.get(row);
        if template.is_empty() {
            return Ok(false);
        }
        let mut parts;
        if zoned {
            let instant = values.get(row);
            parts = Parts::of_timestamp(to_local(instant, &zone));
            let at = jiff::Timestamp::from_microsecond(instant).unwrap_or_default();
            let info = call.context.zone.to_offset_info(at);
            parts.zone = Some((zone.offset(instant), info.abbreviation().to_owned()));
        } else {
            parts = Parts::of_timestamp(values.get(row));
        }
        put(known.of(template), &parts, out);
        Ok(true)
    })
}

fn of_interval(call: &Call<'_>) -> Outcome {
    let templates = call.texts(1);
    let mut known = Templates::new();
    call.text(|row, out| {
        let template = templates.get(row);
        if template.is_empty() {
            return Ok(false);
        }
        let interval = interval_at(call, 0, row);
        let parts = Parts {
            year: i64::from(interval.months / 12),
            month: i64::from(interval.months % 12),
            day: i64::from(interval.days),
            clock: interval.micros,
            days: None,
            zone: None,
        };
        put(known.of(template), &parts, out);
        Ok(true)
    })
}

pub(super) fn functions() -> Vec<Function> {
    const RESULT: Returns = Returns::Type(&types::TEXT);
    vec![
        function(
            "to_char",
            [
                overload(&[TIMESTAMP, TEXT], RESULT, of_timestamp),
                overload(&[TIMESTAMPTZ, TEXT], RESULT, of_timestamp),
                overload(&[INTERVAL, TEXT], RESULT, of_interval),
                overload(&[INT4, TEXT], RESULT, number_format::of_int4),
                overload(&[INT8, TEXT], RESULT, number_format::of_int8),
                overload(&[NUMERIC, TEXT], RESULT, number_format::of_numeric),
                overload(&[FLOAT8, TEXT], RESULT, number_format::of_float8),
            ],
        )
        .stable(),
    ]
}
