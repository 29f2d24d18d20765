//! Intervals.

use super::value_error;
use crate::error::FederationError;
use crate::values::datetime::{DAY_MICROS, Interval};

/// Days of a month where a part of one is asked for.
const MONTH_DAYS: f64 = 30.0;

/// What a literal's qualifier (`year to month`) says about its bare numbers and its least field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Range {
    /// The first field named, if any.
    pub leading: Option<Unit>,
    /// The last one: fields below it are cut off.
    pub last: Option<Unit>,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
}

impl Unit {
    /// By any of the names that PostgreSQL takes in an interval.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds"
            | "microsecon" => Self::Microsecond,
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds"
            | "millisecon" => Self::Millisecond,
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Hour,
            "d" | "day" | "days" => Self::Day,
            "w" | "week" | "weeks" => Self::Week,
            "mon" | "mons" | "month" | "months" => Self::Month,
            "qtr" | "quarter" | "quarters" => Self::Quarter,
            "y" | "yr" | "yrs" | "year" | "years" => Self::Year,
            "dec" | "decs" | "decade" | "decades" => Self::Decade,
            "c" | "cent" | "century" | "centuries" => Self::Century,
            "mil" | "mils" | "millennium" | "millennia" => Self::Millennium,
            _ => return None,
        })
    }
}

/// Sums of each field, fractions spread over the lower ones.
#[derive(Default)]
struct Sum {
    months: f64,
    days: f64,
    micros: f64,
}

impl Sum {
    /// Adds `whole.fraction` of a unit; the fraction of a month is days, that of a day is time.
    fn add(&mut self, value: f64, unit: Unit) {
        let months = match unit {
            Unit::Month => 1.0,
            Unit::Quarter => 3.0,
            Unit::Year => 12.0,
            Unit::Decade => 120.0,
            Unit::Century => 1_200.0,
            Unit::Millennium => 12_000.0,
            Unit::Day => return self.add_days(value),
            Unit::Week => return self.add_days(value * 7.0),
            Unit::Hour => return self.micros += value * 3_600_000_000.0,
            Unit::Minute => return self.micros += value * 60_000_000.0,
            Unit::Second => return self.micros += value * 1_000_000.0,
            Unit::Millisecond => return self.micros += value * 1_000.0,
            Unit::Microsecond => return self.micros += value,
        };
        let total = value * months;
        // a part of a year is rounded to months, a part of a month is days
        if unit == Unit::Month {
            self.months += total.trunc();
            self.add_days(total.fract() * MONTH_DAYS);
        } else {
            self.months += value.trunc() * months + (value.fract() * months).round_ties_even();
        }
    }

    fn add_days(&mut self, days: f64) {
        self.days += days.trunc();
        self.micros += days.fract() * DAY_MICROS as f64;
    }

    fn interval(&self) -> Option<Interval> {
        let whole = |value: f64, limit: f64| (value.abs() < limit).then_some(value);
        Some(Interval {
            months: whole(self.months, 2_147_483_648.0)? as i32,
            days: whole(self.days, 2_147_483_648.0)? as i32,
            micros: whole(self.micros.round_ties_even(), 9.223_372_036_854_775e18)? as i64,
        })
    }
}

/// An interval in any of PostgreSQL's forms: `1 year 2 days 03:04:05`, `1-2`, `P1Y2M`, `90 minutes ago`.
///
/// # Errors
/// 22007, 22008 (`interval field value out of range`).
pub fn interval(text: &str, range: Range) -> Result<Interval, FederationError> {
    let wrong = || {
        value_error(
            "22007",
            format!("invalid input syntax for type interval: \"{text}\""),
        )
    };
    let trimmed = text.trim();
    let sum = if trimmed.starts_with(['P', 'p']) {
        iso(trimmed)
    } else {
        verbose(trimmed, range)
    };
    let mut interval = sum
        .ok_or_else(wrong)?
        .interval()
        .ok_or_else(|| value_error("22015", format!("interval field value out of range: \"{text}\"")))?;
    // `interval '1 day 02:03:04' day to minute` has no seconds
    match range.last {
        Some(Unit::Year) => {
            interval = Interval {
                months: interval.months / 12 * 12,
                days: 0,
                micros: 0,
            };
        }
        Some(Unit::Month) => (interval.days, interval.micros) = (0, 0),
        Some(Unit::Day) => interval.micros = 0,
        Some(Unit::Hour) => interval.micros -= interval.micros % 3_600_000_000,
        Some(Unit::Minute) => interval.micros -= interval.micros % 60_000_000,
        _ => {}
    }
    Ok(interval)
}

fn verbose(text: &str, range: Range) -> Option<Sum> {
    let mut sum = Sum::default();
    let mut words = text.split_whitespace().peekable();
    words.peek()?;
    let mut ago = false;
    // `-1 2:03`: the sign of a leading number without a unit counts for the time behind it
    let mut leading_sign = 1.0;
    while let Some(word) = words.next() {
        if word == "@" {
            continue;
        }
        if word.eq_ignore_ascii_case("ago") {
            words.peek().is_none().then_some(())?;
            ago = true;
            continue;
        }
        if word.contains(':') {
            let signed = word.starts_with(['-', '+']);
            let micros = clock(word, range)?;
            sum.micros += if signed { micros } else { micros * leading_sign };
            continue;
        }
        let end = word
            .find(|character: char| character.is_ascii_alphabetic())
            .unwrap_or(word.len());
        let number = &word[..end];
        if end < word.len() {
            add_units(word, &mut sum)?;
            continue;
        }
        // 1-2 is a year and two months
        if let Some((years, months)) = number
            .char_indices()
            .skip(1)
            .find(|(_, character)| *character == '-')
            .map(|(at, _)| (&number[..at], &number[at + 1..]))
        {
            let years = decimal(years)?;
            let months = decimal(months).filter(|months| *months < 12.0 && months.fract() == 0.0)?;
            sum.months += years * 12.0
                + if years < 0.0 || number.starts_with('-') {
                    -months
                } else {
                    months
                };
            continue;
        }
        let value = decimal(number)?;
        let unit = match words.peek() {
            Some(next) if next.contains(':') && range.leading.is_none() => {
                // `1 02:03`: days
                leading_sign = if number.starts_with('-') { -1.0 } else { 1.0 };
                Unit::Day
            }
            Some(next) if next.eq_ignore_ascii_case("ago") => range.last.unwrap_or(Unit::Second),
            Some(next) if next.contains(':') => {
                leading_sign = if number.starts_with('-') { -1.0 } else { 1.0 };
                Unit::Day
            }
            Some(next) => {
                if let Some(unit) = Unit::by_name(next) {
                    words.next();
                    unit
                } else {
                    return None;
                }
            }
            None => range.last.unwrap_or(Unit::Second),
        };
        sum.add(value, unit);
    }
    if ago {
        sum.months = -sum.months;
        sum.days = -sum.days;
        sum.micros = -sum.micros;
    }
    Some(sum)
}

/// `1d2h`, `7us`: numbers and units without blanks between.
fn add_units(mut word: &str, sum: &mut Sum) -> Option<()> {
    while !word.is_empty() {
        let digits = word.find(|character: char| character.is_ascii_alphabetic())?;
        let value = decimal(&word[..digits])?;
        let rest = &word[digits..];
        let end = rest
            .find(|character: char| !character.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        sum.add(value, Unit::by_name(&rest[..end])?);
        word = &rest[end..];
    }
    Some(())
}

/// `[-]hh:mm[:ss[.f]]`, and `mm:ss` where the qualifier says so.
fn clock(text: &str, range: Range) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let parts: Vec<&str> = text.split(':').collect();
    let whole = |part: &str| {
        decimal(part).filter(|_| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, seconds] if range.leading == Some(Unit::Minute) || seconds.contains('.') => {
            (0.0, whole(minutes)?, decimal(seconds)?)
        }
        [hours, minutes] => (whole(hours)?, whole(minutes)?, 0.0),
        [hours, minutes, seconds] => (whole(hours)?, whole(minutes)?, decimal(seconds)?),
        _ => return None,
    };
    if minutes >= 60.0 || seconds >= 60.0 + f64::EPSILON {
        return None;
    }
    Some(sign * (hours * 3_600_000_000.0 + minutes * 60_000_000.0 + seconds * 1_000_000.0))
}

/// `P1Y2M3DT4H5M6S`, `P0001-02-03T04:05:06`.
fn iso(text: &str) -> Option<Sum> {
    let (date, time) = text[1..]
        .split_once(['T', 't'])
        .map_or((&text[1..], None), |(date, time)| (date, Some(time)));
    let mut sum = Sum::default();
    if date.is_empty() && time.is_none_or(str::is_empty) {
        return None;
    }
    if date.contains('-')
        && !date.contains(|character: char| character.is_ascii_alphabetic())
        && !date.starts_with('-')
    {
        let parts: Vec<f64> = date.split('-').map(decimal).collect::<Option<_>>()?;
        for (value, unit) in parts.iter().zip([Unit::Year, Unit::Month, Unit::Day]) {
            sum.add(*value, unit);
        }
    } else {
        designated(date, &mut sum, |designator| {
            Some(match designator {
                'Y' => Unit::Year,
                'M' => Unit::Month,
                'W' => Unit::Week,
                'D' => Unit::Day,
                _ => return None,
            })
        })?;
    }
    match time {
        Some(time) if time.contains(':') => sum.micros += clock(time, Range::default())?,
        Some(time) => designated(time, &mut sum, |designator| {
            Some(match designator {
                'H' => Unit::Hour,
                'M' => Unit::Minute,
                'S' => Unit::Second,
                _ => return None,
            })
        })?,
        None => {}
    }
    Some(sum)
}

fn designated(mut text: &str, sum: &mut Sum, unit: impl Fn(char) -> Option<Unit>) -> Option<()> {
    while !text.is_empty() {
        let at = text.find(|character: char| character.is_ascii_alphabetic())?;
        let designator = text[at..].chars().next()?.to_ascii_uppercase();
        sum.add(decimal(&text[..at])?, unit(designator)?);
        text = &text[at + 1..];
    }
    Some(())
}

fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = unsigned.bytes().filter(u8::is_ascii_digit).count();
    (digits > 0 && unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn read(text: &str, range: Range) -> Result<String, FederationError> {
        interval(text, range).map(|interval| {
            let mut out = BytesMut::new();
            interval.put(&mut out);
            String::from_utf8(out.to_vec()).unwrap()
        })
    }

    #[test]
    fn intervals_have_many_forms() {
        for (text, expected) in [
            (
                "1 year 2 months 3 days 04:05:06.789",
                "1 year 2 mons 3 days 04:05:06.789",
            ),
            ("1-2", "1 year 2 mons"),
            ("-1-2", "-1 years -2 mons"),
            ("1-2 3 04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("-1 day 2 hours", "-1 days +02:00:00"),
            ("1 day ago", "-1 days"),
            ("90 minutes", "01:30:00"),
            ("1.5 hours", "01:30:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("0.5 months", "15 days"),
            ("1.5 years", "1 year 6 mons"),
            ("1.5 weeks", "10 days 12:00:00"),
            ("2 weeks", "14 days"),
            ("10:20", "10:20:00"),
            ("-10:20:30", "-10:20:30"),
            ("5", "00:00:05"),
            ("7 us", "00:00:00.000007"),
            ("1d2h", "1 day 02:00:00"),
            ("1 century", "100 years"),
            ("P1Y2M10DT2H30M", "1 year 2 mons 10 days 02:30:00"),
            ("PT36H", "36:00:00"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("P1W", "7 days"),
            ("0", "00:00:00"),
        ] {
            assert_eq!(read(text, Range::default()).as_deref(), Ok(expected), "{text}");
        }
        for (text, code) in [
            ("", "22007"),
            ("nonsense", "22007"),
            ("1 fortnight", "22007"),
            ("P", "22007"),
            ("3000000000 days", "22015"),
        ] {
            assert_eq!(
                read(text, Range::default()).unwrap_err().sqlstate(),
                code,
                "{text}"
            );
        }
    }

    #[test]
    fn qualifiers_give_units() {
        let range = |leading, last| Range {
            leading: Some(leading),
            last: Some(last),
        };
        for (text, range, expected) in [
            ("1", range(Unit::Year, Unit::Year), "1 year"),
            ("5", range(Unit::Hour, Unit::Hour), "05:00:00"),
            ("1-2", range(Unit::Year, Unit::Month), "1 year 2 mons"),
            ("1 02:03", range(Unit::Day, Unit::Minute), "1 day 02:03:00"),
            ("1 02:03:04", range(Unit::Day, Unit::Minute), "1 day 02:03:00"),
        ] {
            assert_eq!(read(text, range).as_deref(), Ok(expected), "{text}");
        }
    }
}
