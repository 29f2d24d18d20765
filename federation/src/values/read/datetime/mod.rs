//! Dates, times and timestamps in the forms that PostgreSQL reads with `DateStyle = ISO, MDY`.

#[cfg(test)]
mod tests;
mod tokens;

use jiff::tz::TimeZone;

use super::super::datetime::{DAY_MICROS, civil_from_days, days_from_civil};
use super::{value_error, zone};
use crate::error::FederationError;
use tokens::{Token, tokens};

/// What a text says, field by field.
#[derive(Debug, Default)]
struct Fields {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    days: Option<i64>,
    /// Microseconds since midnight.
    clock: Option<i64>,
    offset: Option<Offset>,
    before_christ: bool,
    afternoon: Option<bool>,
}

#[derive(Debug, Clone)]
enum Offset {
    Seconds(i32),
    Zone(TimeZone),
}

/// Why a text could not be read.
enum Wrong {
    Syntax,
    Range,
    Zone(String),
    Infinite,
}

/// The first microsecond of PostgreSQL's timestamps, 4713-11-24 BC, and the last that counts from 1970.
const LEAST: i64 = -210_866_803_200_000_000;
const MOST: i64 = i64::MAX;

fn failed(wrong: Wrong, type_name: &str, text: &str) -> FederationError {
    match wrong {
        Wrong::Syntax => value_error(
            "22007",
            format!("invalid input syntax for type {type_name}: \"{text}\""),
        ),
        Wrong::Range => value_error("22008", format!("date/time field value out of range: \"{text}\"")),
        Wrong::Zone(name) => value_error("22023", format!("time zone \"{name}\" not recognized")),
        Wrong::Infinite => value_error("0A000", format!("an infinite {type_name} is not supported")),
    }
}

/// Days since 1970-01-01.
///
/// # Errors
/// 22007, 22008.
pub fn date(text: &str) -> Result<i32, FederationError> {
    read(text)
        .and_then(|fields| fields.date())
        .and_then(|days| i32::try_from(days).map_err(|_| Wrong::Range))
        .map_err(|wrong| failed(wrong, "date", text))
}

/// Microseconds since midnight; a date and a zone before and behind it do not count.
///
/// # Errors
/// 22007, 22008.
pub fn time(text: &str) -> Result<i64, FederationError> {
    read(text)
        .and_then(|fields| fields.clock().and_then(|clock| clock.ok_or(Wrong::Syntax)))
        .map_err(|wrong| failed(wrong, "time", text))
}

/// Microseconds since 1970-01-01 of a local time; a zone behind it does not count.
///
/// # Errors
/// 22007, 22008.
pub fn timestamp(text: &str) -> Result<i64, FederationError> {
    read(text)
        .and_then(|fields| fields.timestamp())
        .map_err(|wrong| failed(wrong, "timestamp", text))
}

/// Microseconds since 1970-01-01 UTC; a time without a zone is local to `session`.
///
/// # Errors
/// 22007, 22008, and 22023 for an unknown zone.
pub fn timestamptz(text: &str, session: &TimeZone) -> Result<i64, FederationError> {
    read(text)
        .and_then(|fields| {
            let local = fields.timestamp()?;
            Ok(match &fields.offset {
                Some(Offset::Seconds(seconds)) => local - i64::from(*seconds) * 1_000_000,
                Some(Offset::Zone(named)) => zone::local_to_utc(local, named),
                None => zone::local_to_utc(local, session),
            })
        })
        .map_err(|wrong| failed(wrong, "timestamp with time zone", text))
}

impl Fields {
    fn date(&self) -> Result<i64, Wrong> {
        if let Some(days) = self.days {
            return Ok(days);
        }
        let mut year = self.year.ok_or(Wrong::Syntax)?;
        if self.before_christ {
            if year <= 0 {
                return Err(Wrong::Range);
            }
            year = 1 - year;
        } else if year <= 0 {
            return Err(Wrong::Range);
        }
        if let Some(day) = self.day_of_year {
            return if (1..=366).contains(&day) {
                Ok(days_from_civil(year, 1, 1) + i64::from(day) - 1)
            } else {
                Err(Wrong::Range)
            };
        }
        let (month, day) = (self.month.ok_or(Wrong::Syntax)?, self.day.ok_or(Wrong::Syntax)?);
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return Err(Wrong::Range);
        }
        Ok(days_from_civil(year, month, day))
    }

    fn clock(&self) -> Result<Option<i64>, Wrong> {
        const HOUR: i64 = 3_600_000_000;
        let Some(clock) = self.clock else {
            return if self.afternoon.is_some() {
                Err(Wrong::Syntax)
            } else {
                Ok(None)
            };
        };
        let clock = match (self.afternoon, clock / HOUR) {
            (None, _) => clock,
            (Some(_), hour) if hour > 12 => return Err(Wrong::Range),
            (Some(false), 12) => clock - 12 * HOUR,
            (Some(true), hour) if hour < 12 => clock + 12 * HOUR,
            (Some(_), _) => clock,
        };
        Ok(Some(clock))
    }

    fn timestamp(&self) -> Result<i64, Wrong> {
        let micros = self
            .date()?
            .checked_mul(DAY_MICROS)
            .and_then(|micros| micros.checked_add(self.clock().ok()??))
            .or_else(|| match self.clock() {
                Ok(None) => self.date().ok()?.checked_mul(DAY_MICROS),
                _ => None,
            });
        // the error of a wrong time is the time's
        self.clock()?;
        micros
            .filter(|micros| (LEAST..=MOST).contains(micros))
            .ok_or(Wrong::Range)
    }
}

/// Days of a month; `year` is astronomical.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The word's month, by its name or the name's first three letters.
pub fn month_by_name(word: &str) -> Option<u32> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let word = word.to_ascii_lowercase();
    if word == "sept" {
        return Some(9);
    }
    NAMES
        .iter()
        .position(|name| *name == word || (word.len() == 3 && name.starts_with(&word)))
        .map(|index| index as u32 + 1)
}

fn is_weekday(word: &str) -> bool {
    const NAMES: [&str; 7] = [
        "sunday",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
    ];
    const SHORT: [&str; 5] = ["tues", "wednes", "thur", "thurs", "weds"];
    NAMES
        .iter()
        .any(|name| *name == word || (word.len() == 3 && name.starts_with(word)))
        || SHORT.contains(&word)
}

fn read(text: &str) -> Result<Fields, Wrong> {
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Err(Wrong::Syntax);
    }
    let mut fields = Fields::default();
    let mut numbers: Vec<&str> = Vec::new();
    let mut after_t = false;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Clock(clock) => {
                if fields.clock.replace(read_clock(clock)?).is_some() {
                    return Err(Wrong::Syntax);
                }
            }
            Token::Date(date) => {
                if fields.month.is_some() || fields.days.is_some() {
                    return Err(Wrong::Syntax);
                }
                read_date(date, &mut fields)?;
            }
            Token::Offset(offset) => {
                // `2024-01-02 -05` has no time, and so no zone
                if fields.clock.is_none()
                    && fields.days.is_none()
                    && fields.month.is_none()
                    && fields.year.is_none()
                {
                    return Err(Wrong::Syntax);
                }
                let seconds = zone::offset(offset).ok_or(Wrong::Range)?;
                fields.offset = Some(Offset::Seconds(seconds));
            }
            Token::Number(number)
                if after_t || (number.len() == 6 && fields.has_date() && fields.clock.is_none()) =>
            {
                fields.clock = Some(read_packed_clock(number)?);
                after_t = false;
            }
            Token::Number(number) => numbers.push(number),
            // 20240701T120000
            Token::Word("T" | "t")
                if matches!(numbers.as_slice(), [date] if date.len() == 8)
                    && matches!(tokens.get(index + 1), Some(Token::Clock(_) | Token::Number(_))) =>
            {
                after_t = true;
            }
            Token::Word(word) => match read_word(word, &mut fields, tokens.get(index + 1))? {
                Meaning::TimeFollows => after_t = true,
                Meaning::Understood => {}
            },
        }
    }
    read_numbers(&numbers, &mut fields)?;
    Ok(fields)
}

impl Fields {
    fn has_date(&self) -> bool {
        self.days.is_some() || (self.year.is_some() && (self.month.is_some() || self.day_of_year.is_some()))
    }
}

enum Meaning {
    Understood,
    TimeFollows,
}

fn read_word(word: &str, fields: &mut Fields, next: Option<&Token<'_>>) -> Result<Meaning, Wrong> {
    let folded = word.to_ascii_lowercase();
    match folded.as_str() {
        "t" if fields.has_date() && matches!(next, Some(Token::Clock(_) | Token::Number(_))) => {
            return Ok(Meaning::TimeFollows);
        }
        "am" | "pm" => fields.afternoon = Some(folded == "pm"),
        "bc" | "ad" => fields.before_christ = folded == "bc",
        "epoch" => {
            fields.days = Some(0);
            fields.clock = Some(0);
            fields.offset = Some(Offset::Seconds(0));
        }
        "allballs" => {
            fields.clock = Some(0);
            fields.offset = Some(Offset::Seconds(0));
        }
        "infinity" | "+infinity" | "-infinity" => return Err(Wrong::Infinite),
        "on" | "at" | "th" | "st" | "nd" | "rd" => {}
        _ if is_weekday(&folded) => {}
        _ => {
            if let Some(month) = month_by_name(&folded) {
                if fields.month.replace(month).is_some() {
                    return Err(Wrong::Syntax);
                }
            } else if let Some(seconds) = zone::abbreviation(&folded) {
                fields.offset = Some(Offset::Seconds(seconds));
            } else if let Some(zone) = zone::by_name(word) {
                fields.offset = Some(Offset::Zone(zone));
            } else if word.contains('/') {
                return Err(Wrong::Zone(folded));
            } else {
                return Err(Wrong::Syntax);
            }
        }
    }
    Ok(Meaning::Understood)
}

/// `12:34`, `12:34:56.789`, `24:00:00`.
fn read_clock(text: &str) -> Result<i64, Wrong> {
    let mut parts = text.split(':');
    let number = |part: Option<&str>| {
        part.ok_or(Wrong::Syntax)?
            .parse::<i64>()
            .map_err(|_| Wrong::Syntax)
    };
    let hours = number(parts.next())?;
    let minutes = number(parts.next())?;
    let seconds = match parts.next() {
        Some(seconds) => micros_of(seconds)?,
        None => 0,
    };
    if parts.next().is_some() {
        return Err(Wrong::Syntax);
    }
    clock_of(hours, minutes, seconds)
}

/// `123456`, `123456.789`, `1234` of an ISO time without colons.
fn read_packed_clock(text: &str) -> Result<i64, Wrong> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let number = |text: &str| text.parse::<i64>().map_err(|_| Wrong::Syntax);
    match whole.len() {
        6 => clock_of(
            number(&whole[..2])?,
            number(&whole[2..4])?,
            micros_of(&format!("{}.{fraction}", &whole[4..]))?,
        ),
        4 if fraction.is_empty() => clock_of(number(&whole[..2])?, number(&whole[2..])?, 0),
        _ => Err(Wrong::Syntax),
    }
}

fn clock_of(hours: i64, minutes: i64, seconds: i64) -> Result<i64, Wrong> {
    let clock = hours
        .checked_mul(3_600_000_000)
        .and_then(|micros| {
            micros
                .checked_add(minutes.checked_mul(60_000_000)?)?
                .checked_add(seconds)
        })
        .ok_or(Wrong::Range)?;
    // a leap second is the next minute's first
    if hours > 24 || minutes > 59 || seconds > 60_000_000 || clock > DAY_MICROS {
        return Err(Wrong::Range);
    }
    Ok(clock)
}

/// Seconds with a fraction, in microseconds; digits beyond are rounded.
fn micros_of(text: &str) -> Result<i64, Wrong> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty()
        || !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|byte| byte.is_ascii_digit())
    {
        return Err(Wrong::Syntax);
    }
    let seconds: i64 = whole.parse().map_err(|_| Wrong::Range)?;
    let micros = if fraction.is_empty() {
        0
    } else {
        let fraction: f64 = format!("0.{fraction}").parse().map_err(|_| Wrong::Syntax)?;
        (fraction * 1_000_000.0).round_ties_even() as i64
    };
    seconds
        .checked_mul(1_000_000)
        .and_then(|seconds| seconds.checked_add(micros))
        .ok_or(Wrong::Range)
}

/// `2024-02-29`, `2/29/2024`, `29-Feb-2024`, `2024-060`.
fn read_date(text: &str, fields: &mut Fields) -> Result<(), Wrong> {
    let parts: Vec<&str> = text.split(['-', '/', '.']).collect();
    let number = |part: &str| {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Wrong::Syntax);
        }
        part.parse::<i64>().map_err(|_| Wrong::Range)
    };
    let small = |part: &str| u32::try_from(number(part)?).map_err(|_| Wrong::Range);
    match parts.as_slice() {
        // 2024-060
        [year, day] if year.len() >= 3 && day.len() == 3 => {
            fields.year = Some(number(year)?);
            fields.day_of_year = Some(small(day)?);
        }
        [first, second, third] => {
            let word = parts.iter().position(|part| month_by_name(part).is_some());
            match word {
                // 29-Feb-2024, 2024-Feb-29
                Some(1) => {
                    fields.month = month_by_name(second);
                    if first.len() >= 3 {
                        fields.year = Some(number(first)?);
                        fields.day = Some(small(third)?);
                    } else {
                        fields.day = Some(small(first)?);
                        fields.year = Some(year_of(third)?);
                    }
                }
                // Feb-29-2024
                Some(0) => {
                    fields.month = month_by_name(first);
                    fields.day = Some(small(second)?);
                    fields.year = Some(year_of(third)?);
                }
                Some(_) => return Err(Wrong::Syntax),
                None if first.len() >= 3 => {
                    fields.year = Some(number(first)?);
                    fields.month = Some(small(second)?);
                    fields.day = Some(small(third)?);
                }
                // the order of DateStyle
                None => {
                    fields.month = Some(small(first)?);
                    fields.day = Some(small(second)?);
                    fields.year = Some(year_of(third)?);
                }
            }
        }
        _ => return Err(Wrong::Syntax),
    }
    Ok(())
}

/// A year of two digits is of the century around 2000.
fn year_of(text: &str) -> Result<i64, Wrong> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Wrong::Syntax);
    }
    let year: i64 = text.parse().map_err(|_| Wrong::Range)?;
    Ok(match (text.len(), year) {
        (..=2, 0..=69) => year + 2000,
        (..=2, _) => year + 1900,
        _ => year,
    })
}

/// Numbers that stand alone: `20240229`, or the day and year beside a month's name.
fn read_numbers(numbers: &[&str], fields: &mut Fields) -> Result<(), Wrong> {
    let small = |text: &str| text.parse::<u32>().map_err(|_| Wrong::Syntax);
    match (numbers, fields.month) {
        ([], _) => Ok(()),
        ([packed, rest @ ..], None) if packed.len() == 8 && !fields.has_date() => {
            fields.year = Some(packed[..4].parse().map_err(|_| Wrong::Syntax)?);
            fields.month = Some(small(&packed[4..6])?);
            fields.day = Some(small(&packed[6..])?);
            match rest {
                [] => Ok(()),
                [clock] if fields.clock.is_none() => {
                    fields.clock = Some(read_packed_clock(clock)?);
                    Ok(())
                }
                _ => Err(Wrong::Syntax),
            }
        }
        ([first, second], Some(_)) if fields.year.is_none() => {
            let (day, year) = if first.len() >= 3 {
                (second, first)
            } else {
                (first, second)
            };
            fields.day = Some(small(day)?);
            fields.year = Some(year_of(year)?);
            Ok(())
        }
        // `3 pm`
        ([hour], _) if fields.afternoon.is_some() && fields.clock.is_none() => {
            fields.clock = Some(clock_of(i64::from(small(hour)?), 0, 0)?);
            Ok(())
        }
        _ => Err(Wrong::Syntax),
    }
}

/// A timestamp's day and time of day.
pub fn split(micros: i64) -> (i64, i64) {
    (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS))
}

/// Microseconds of a timestamp with whole months added; the day is the month's last where it has no such day.
pub fn add_months(micros: i64, months: i32) -> Option<i64> {
    let (days, clock) = split(micros);
    let (year, month, day) = civil_from_days(days);
    let total = year.checked_mul(12)? + i64::from(month) - 1 + i64::from(months);
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
    let day = day.min(days_in_month(year, month));
    days_from_civil(year, month, day)
        .checked_mul(DAY_MICROS)?
        .checked_add(clock)
}

/// Whether PostgreSQL has a timestamp of so many microseconds since 1970.
pub fn in_range(micros: i64) -> bool {
    (LEAST..=MOST).contains(&micros)
}
