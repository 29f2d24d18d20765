//! `to_date` and `to_timestamp` of a text and a template.

use arrow::datatypes::{Date32Type, TimestampMicrosecondType};

use super::template::{DAYS, Field, Item, MONTHS, ROMAN_MONTHS, parse};
use crate::error::FederationError;
use crate::functions::scaffold::{Call, Function, Outcome, Overload, Returns, TEXT, function, overload};
use crate::types;
use crate::values::datetime::{DAY_MICROS, days_from_civil};
use crate::values::read::datetime::days_in_month;
use crate::values::read::value_error;
use crate::values::read::zone::{local_to_utc, offset};

/// What a text says about a time.
#[derive(Debug, Default)]
struct Found {
    year: Option<i64>,
    /// How many digits of the year were read: two mean the years around 2000.
    year_digits: usize,
    century: Option<i64>,
    before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    iso_year: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    julian: Option<i64>,
    hour: i64,
    afternoon: Option<bool>,
    twelve: bool,
    minute: i64,
    second: i64,
    micros: i64,
    seconds_of_day: Option<i64>,
    offset: Option<i64>,
}

fn invalid(text: &str, field: &str) -> FederationError {
    value_error("22007", format!("invalid value \"{text}\" for \"{field}\""))
}

fn out_of_range(text: &str) -> FederationError {
    value_error("22008", format!("date/time field value out of range: \"{text}\""))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// Up to `width` digits with a sign; all there are where another number does not follow at once.
    fn number(&mut self, width: usize, name: &str) -> Result<(i64, usize), FederationError> {
        self.blanks();
        let rest = self.rest();
        let signed = rest.starts_with(['-', '+']);
        let start = usize::from(signed);
        let digits = rest[start..]
            .bytes()
            .take(width)
            .take_while(u8::is_ascii_digit)
            .count();
        if digits == 0 {
            let shown: String = rest.chars().take(width.min(4)).collect();
            return Err(invalid(&shown, name));
        }
        let end = start + digits;
        let value = rest[start..end]
            .parse::<i64>()
            .map_err(|_| invalid(&rest[..end], name))?;
        self.at += end;
        Ok((if rest.starts_with('-') { -value } else { value }, digits))
    }

    /// One of several words, whatever their case; the longest that matches.
    fn word(&mut self, words: &[&str], name: &str) -> Result<usize, FederationError> {
        self.blanks();
        let rest = self.rest();
        let found = words
            .iter()
            .enumerate()
            .filter(|(_, word)| {
                rest.get(..word.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(word))
            })
            .max_by_key(|(_, word)| word.len());
        match found {
            Some((index, word)) => {
                self.at += word.len();
                Ok(index)
            }
            None => Err(invalid(&rest.chars().take(name.len()).collect::<String>(), name)),
        }
    }
}

/// Whether the item behind a number is a number as well: then the first takes no more than its width.
fn number_follows(items: &[Item]) -> bool {
    matches!(
        items.first(),
        Some(Item::Field { field, .. }) if !matches!(
            field,
            Field::Era { .. } | Field::Meridiem { .. } | Field::Day | Field::DayShort | Field::MonthName
                | Field::MonthShort | Field::MonthRoman | Field::Zone
        )
    )
}

fn read(text: &str, items: &[Item]) -> Result<Found, FederationError> {
    let mut found = Found::default();
    let mut reader = Reader { text, at: 0 };
    for (index, item) in items.iter().enumerate() {
        match item {
            Item::Field { field, ordinal, .. } => {
                if reader.rest().trim_start().is_empty() {
                    break;
                }
                let exact = number_follows(&items[index + 1..]);
                read_field(&mut reader, *field, exact, &mut found)?;
                if *ordinal != super::template::Ordinal::None {
                    let ending = reader
                        .rest()
                        .bytes()
                        .take(2)
                        .take_while(u8::is_ascii_alphabetic)
                        .count();
                    reader.at += ending;
                }
            }
            Item::Quoted(quoted) => {
                for _ in quoted.chars() {
                    if let Some(character) = reader.rest().chars().next() {
                        reader.at += character.len_utf8();
                    }
                }
            }
            // a separator in the template takes any separator of the text, or none
            Item::Other(other) => {
                if let Some(character) = reader.rest().chars().next() {
                    let separator = !character.is_alphanumeric();
                    let sign = matches!(character, '-' | '+') && !matches!(other, '-' | '+');
                    let taken = if other.is_alphanumeric() {
                        !character.is_whitespace()
                    } else {
                        separator && !sign
                    };
                    if taken || character == *other {
                        reader.at += character.len_utf8();
                    }
                }
            }
        }
    }
    Ok(found)
}

fn read_field(
    reader: &mut Reader<'_>,
    field: Field,
    exact: bool,
    found: &mut Found,
) -> Result<(), FederationError> {
    let width = |width: usize| if exact { width } else { 9 };
    match field {
        Field::Year(digits) => {
            let (year, read) = reader.number(if exact { digits } else { 9 }, "YYYY")?;
            found.year = Some(year);
            found.year_digits = read.min(digits.max(read));
            if digits < 4 && read <= digits {
                found.year_digits = digits;
            } else if digits == 4 {
                found.year_digits = 4;
            }
        }
        Field::YearComma => {
            let (thousands, _) = reader.number(2, "Y,YYY")?;
            reader.at += usize::from(reader.rest().starts_with(','));
            let (rest, _) = reader.number(3, "Y,YYY")?;
            found.year = Some(thousands * 1_000 + rest);
            found.year_digits = 4;
        }
        Field::Century => found.century = Some(reader.number(width(2), "CC")?.0),
        Field::Month => found.month = Some(reader.number(width(2), "MM")?.0),
        Field::DayOfMonth => found.day = Some(reader.number(width(2), "DD")?.0),
        Field::DayOfYear => found.day_of_year = Some(reader.number(width(3), "DDD")?.0),
        Field::Week => found.week = Some(reader.number(width(2), "WW")?.0),
        Field::IsoYear(digits) => found.iso_year = Some(reader.number(width(digits), "IYYY")?.0),
        Field::IsoWeek => found.iso_week = Some(reader.number(width(2), "IW")?.0),
        Field::IsoDayOfWeek => found.iso_day = Some(reader.number(1, "ID")?.0),
        Field::Julian => found.julian = Some(reader.number(9, "J")?.0),
        Field::Hour24 => found.hour = reader.number(width(2), "HH24")?.0,
        Field::Hour12 => {
            found.hour = reader.number(width(2), "HH12")?.0;
            found.twelve = true;
        }
        Field::Minute => found.minute = reader.number(width(2), "MI")?.0,
        Field::Second => found.second = reader.number(width(2), "SS")?.0,
        Field::SecondsOfDay => found.seconds_of_day = Some(reader.number(width(5), "SSSS")?.0),
        Field::Milliseconds => found.micros = fraction(reader, 3, "MS")?,
        Field::Microseconds => found.micros = fraction(reader, 6, "US")?,
        Field::Fraction(digits) => found.micros = fraction(reader, digits, "FF")?,
        Field::MonthName | Field::MonthShort => {
            let short: Vec<&str> = MONTHS.iter().map(|name| &name[..3]).collect();
            let words: Vec<&str> = MONTHS.iter().copied().chain(short).collect();
            found.month = Some(reader.word(&words, "Mon")? as i64 % 12 + 1);
        }
        Field::MonthRoman => found.month = Some(reader.word(&ROMAN_MONTHS, "RM")? as i64 + 1),
        Field::Day | Field::DayShort => {
            let short: Vec<&str> = DAYS.iter().map(|name| &name[..3]).collect();
            let words: Vec<&str> = DAYS.iter().copied().chain(short).collect();
            reader.word(&words, "Day")?;
        }
        Field::Meridiem { .. } => {
            let index = reader.word(&["AM", "PM", "A.M.", "P.M."], "AM")?;
            found.afternoon = Some(index % 2 == 1);
            found.twelve = true;
        }
        Field::Era { .. } => {
            let index = reader.word(&["AD", "BC", "A.D.", "B.C."], "AD")?;
            found.before_christ = index % 2 == 1;
        }
        Field::Offset | Field::ZoneHours => {
            reader.blanks();
            let rest = reader.rest();
            let end = rest
                .find(|character: char| !matches!(character, '+' | '-' | ':') && !character.is_ascii_digit())
                .unwrap_or(rest.len());
            let end = if field == Field::ZoneHours {
                end.min(3)
            } else {
                end
            };
            let seconds = offset(&rest[..end]).ok_or_else(|| invalid(&rest[..end], "TZH"))?;
            found.offset = Some(i64::from(seconds));
            reader.at += end;
        }
        Field::ZoneMinutes => {
            reader.at += usize::from(reader.rest().starts_with(':'));
            let minutes = reader.number(2, "TZM")?.0 * 60;
            let hours = found.offset.unwrap_or(0);
            found.offset = Some(if hours < 0 {
                hours - minutes
            } else {
                hours + minutes
            });
        }
        Field::DayOfWeek | Field::WeekOfMonth | Field::Quarter => {
            reader.number(1, "D")?;
        }
        Field::IsoDayOfYear => found.day_of_year = Some(reader.number(width(3), "IDDD")?.0),
        Field::Zone => {
            return Err(value_error(
                "0A000",
                "formatting field \"TZ\" is only supported in to_char",
            ));
        }
    }
    Ok(())
}

/// Digits behind a second's point: `5` of `MS` is half a second.
fn fraction(reader: &mut Reader<'_>, digits: usize, name: &str) -> Result<i64, FederationError> {
    let (value, read) = reader.number(digits, name)?;
    Ok(value * 10_i64.pow(6 - u32::try_from(read.min(6)).unwrap_or(6)))
}

impl Found {
    fn days(&self, text: &str) -> Result<i64, FederationError> {
        let wrong = || out_of_range(text);
        if let Some(julian) = self.julian {
            return Ok(julian - 2_440_588);
        }
        if let Some(year) = self.iso_year {
            let fourth = days_from_civil(year, 1, 4);
            let monday = fourth - (fourth + 3).rem_euclid(7);
            let week = self.iso_week.unwrap_or(1);
            return Ok(monday + (week - 1) * 7 + self.iso_day.unwrap_or(1) - 1);
        }
        let mut year = match (self.year, self.century) {
            (Some(year), Some(century)) if self.year_digits < 4 => (century - 1) * 100 + year,
            (Some(year), _) => match self.year_digits {
                // the year nearest to 2020
                1 | 2 if year < 70 => year + 2000,
                1 | 2 => year + 1900,
                3 if year >= 520 => year + 1000,
                3 => year + 2000,
                _ => year,
            },
            (None, Some(century)) => (century - 1) * 100 + 1,
            (None, None) => 0,
        };
        if self.year.is_none() && self.century.is_none() {
            // PostgreSQL's date without a year is of 1 BC
            year = 0;
        } else if self.before_christ {
            year = 1 - year;
        } else if year < 0 {
            year += 1;
        }
        if let Some(day) = self.day_of_year {
            let length = if days_in_month(year, 2) == 29 { 366 } else { 365 };
            if !(1..=length).contains(&day) {
                return Err(wrong());
            }
            return Ok(days_from_civil(year, 1, 1) + day - 1);
        }
        if let Some(week) = self.week {
            return Ok(days_from_civil(year, 1, 1) + (week - 1) * 7);
        }
        let month = u32::try_from(self.month.unwrap_or(1)).map_err(|_| wrong())?;
        if !(1..=12).contains(&month) {
            return Err(wrong());
        }
        let day = u32::try_from(self.day.unwrap_or(1)).map_err(|_| wrong())?;
        if !(1..=days_in_month(year, month)).contains(&day) {
            return Err(wrong());
        }
        Ok(days_from_civil(year, month, day))
    }

    fn clock(&self, text: &str) -> Result<i64, FederationError> {
        if let Some(seconds) = self.seconds_of_day {
            return Ok(seconds * 1_000_000 + self.micros);
        }
        let mut hour = self.hour;
        if self.twelve && !(1..=12).contains(&hour) && self.afternoon.is_some() {
            return Err(value_error(
                "22007",
                format!("hour \"{hour}\" is invalid for the 12-hour clock"),
            ));
        }
        match self.afternoon {
            Some(true) if hour < 12 => hour += 12,
            Some(false) if hour == 12 => hour = 0,
            _ => {}
        }
        if !(0..=24).contains(&hour) || !(0..60).contains(&self.minute) || !(0..=60).contains(&self.second) {
            return Err(out_of_range(text));
        }
        Ok(((hour * 60 + self.minute) * 60 + self.second) * 1_000_000 + self.micros)
    }
}

/// Remembers the last template.
fn templates() -> impl FnMut(&str) -> Vec<Item> {
    let mut known: (String, Vec<Item>) = (String::new(), Vec::new());
    move |template| {
        if known.0 != template {
            known = (template.to_owned(), parse(template));
        }
        known.1.clone()
    }
}

fn to_date(call: &Call<'_>) -> Outcome {
    let (texts, formats) = (call.texts(0), call.texts(1));
    let mut items = templates();
    call.each::<Date32Type>(|row| {
        let text = texts.get(row);
        let days = read(text, &items(formats.get(row)))?.days(text)?;
        i32::try_from(days).map(Some).map_err(|_| out_of_range(text))
    })
}

fn to_timestamp_of_text(call: &Call<'_>) -> Outcome {
    let (texts, formats) = (call.texts(0), call.texts(1));
    let mut items = templates();
    call.each::<TimestampMicrosecondType>(|row| {
        let text = texts.get(row);
        let found = read(text, &items(formats.get(row)))?;
        let local = found
            .days(text)?
            .checked_mul(DAY_MICROS)
            .and_then(|micros| micros.checked_add(found.clock(text).ok()?))
            .ok_or_else(|| out_of_range(text));
        found.clock(text)?;
        Ok(Some(match found.offset {
            Some(offset) => local? - offset * 1_000_000,
            None => local_to_utc(local?, &call.context.zone),
        }))
    })
}

pub(super) fn to_timestamp(of_epoch: Overload) -> Function {
    function(
        "to_timestamp",
        [
            of_epoch,
            overload(
                &[TEXT, TEXT],
                Returns::Type(&types::TIMESTAMPTZ),
                to_timestamp_of_text,
            ),
        ],
    )
    .stable()
}

pub(super) fn functions() -> Vec<Function> {
    vec![function(
        "to_date",
        [overload(&[TEXT, TEXT], Returns::Type(&types::DATE), to_date)],
    )]
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn date(text: &str, template: &str) -> Result<String, &'static str> {
        let days = read(text, &parse(template)).and_then(|found| found.days(text));
        days.map(|days| {
            let mut out = BytesMut::new();
            crate::values::datetime::put_date(days, &mut out);
            String::from_utf8(out.to_vec()).unwrap()
        })
        .map_err(|error| error.sqlstate())
    }

    #[test]
    fn templates_read_dates() {
        for (text, template, expected) in [
            ("2024-02-29", "YYYY-MM-DD", Ok("2024-02-29")),
            ("29/02/2024", "DD/MM/YYYY", Ok("2024-02-29")),
            ("20240229", "YYYYMMDD", Ok("2024-02-29")),
            ("Feb 29 2024", "Mon DD YYYY", Ok("2024-02-29")),
            ("February 29, 2024", "Month DD, YYYY", Ok("2024-02-29")),
            ("2024-060", "YYYY-DDD", Ok("2024-02-29")),
            ("24-2-9", "YY-MM-DD", Ok("2024-02-09")),
            ("2024-W09", "IYYY-\"W\"IW", Ok("2024-02-26")),
            ("nonsense", "YYYY-MM-DD", Err("22007")),
            ("2024-02-30", "YYYY-MM-DD", Err("22008")),
        ] {
            assert_eq!(
                date(text, template).as_deref(),
                expected.as_deref(),
                "{text} {template}"
            );
        }
    }
}
