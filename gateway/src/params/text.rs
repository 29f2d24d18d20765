//! Parameters in text format.

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::scalar::ScalarValue;
use jiff::tz::TimeZone;
use lakegate_federation::values::read::{self, bytes::uuid};

use super::{decimal, invalid, list, null_element};
use crate::fault::Fault;
use crate::types::PgType;

/// A text value. Arrow's parsers read the ISO forms that drivers send; what only PostgreSQL reads
/// (`yesterday`) is refused, never guessed.
pub(super) fn text(
    text: &str,
    pg_type: PgType,
    expected: Option<&DataType>,
    zone: &TimeZone,
) -> Result<ScalarValue, Fault> {
    let trimmed = text.trim();
    let wrong = || invalid(pg_type, text);
    let cast = |data_type: &DataType| {
        ScalarValue::Utf8(Some(trimmed.to_owned()))
            .cast_to(data_type)
            .ok()
            .filter(|value| !value.is_null())
            .ok_or_else(wrong)
    };
    match pg_type.base.oid {
        16 => match trimmed.to_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Ok(ScalarValue::from(true)),
            "f" | "false" | "n" | "no" | "off" | "0" => Ok(ScalarValue::from(false)),
            _ => Err(wrong()),
        },
        17 => bytea(trimmed)
            .map(|bytes| ScalarValue::Binary(Some(bytes)))
            .ok_or_else(wrong),
        16380 => read::geometry(text)
            .map(|bytes| ScalarValue::Binary(Some(bytes)))
            .map_err(|_| wrong()),
        21 | 23 | 20 | 24 | 26 | 28 | 2202..=2206 | 4089 | 4096 => {
            let number: i128 = trimmed.parse().map_err(|_| wrong())?;
            let out_of_range = || {
                Fault::error(
                    "22003",
                    format!(
                        "value \"{text}\" is out of range for type {}",
                        pg_type.base.sql_name
                    ),
                )
            };
            match pg_type.base.oid {
                21 => i16::try_from(number)
                    .map(ScalarValue::from)
                    .map_err(|_| out_of_range()),
                23 => i32::try_from(number)
                    .map(ScalarValue::from)
                    .map_err(|_| out_of_range()),
                _ => i64::try_from(number)
                    .map(ScalarValue::from)
                    .map_err(|_| out_of_range()),
            }
        }
        700 => trimmed.parse::<f32>().map(ScalarValue::from).map_err(|_| wrong()),
        701 => trimmed.parse::<f64>().map(ScalarValue::from).map_err(|_| wrong()),
        1700 => numeric_text(trimmed).ok_or_else(wrong),
        1082 => cast(&DataType::Date32),
        1083 => cast(&DataType::Time64(TimeUnit::Microsecond)),
        1114 => cast(&DataType::Timestamp(TimeUnit::Microsecond, None)),
        1184 => timestamptz(trimmed, zone).ok_or_else(wrong),
        1186 => interval_text(trimmed).ok_or_else(wrong),
        2950 => uuid(text).map(ScalarValue::from).map_err(|_| wrong()),
        _ => Ok(match expected {
            Some(DataType::LargeUtf8) => ScalarValue::LargeUtf8(Some(text.to_owned())),
            Some(DataType::Utf8View) => ScalarValue::Utf8View(Some(text.to_owned())),
            _ => ScalarValue::from(text),
        }),
    }
}

/// A time with an offset is an instant; one without is local to the session.
fn timestamptz(text: &str, zone: &TimeZone) -> Option<ScalarValue> {
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    let date_ends = text.find(['T', ' ']).unwrap_or(text.len());
    let clock = &text[date_ends..];
    let micros = if clock.ends_with(['Z', 'z']) || clock.contains(['+', '-']) {
        // PostgreSQL's short offset: +09
        let mut text = text.to_owned();
        if let Some(sign) = clock.rfind(['+', '-'])
            && clock[sign + 1..].len() == 2
        {
            text.push_str(":00");
        }
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        match ScalarValue::Utf8(Some(text)).cast_to(&utc).ok()? {
            ScalarValue::TimestampMicrosecond(micros, _) => micros?,
            _ => return None,
        }
    } else {
        match ScalarValue::Utf8(Some(text.to_owned())).cast_to(&local).ok()? {
            ScalarValue::TimestampMicrosecond(Some(micros), _) => {
                let civil = jiff::Timestamp::from_microsecond(micros)
                    .ok()?
                    .to_zoned(TimeZone::UTC)
                    .datetime();
                zone.to_ambiguous_timestamp(civil)
                    .compatible()
                    .ok()?
                    .as_microsecond()
            }
            _ => return None,
        }
    };
    Some(ScalarValue::TimestampMicrosecond(
        Some(micros),
        Some("UTC".into()),
    ))
}

/// `1 year 2 mons 3 days 04:05:06.7`, `90 minutes`, `1 day ago`; a part of a day is a time, a part of a
/// month is refused.
fn interval_text(text: &str) -> Option<ScalarValue> {
    let (mut months, mut days, mut nanos) = (0_i64, 0_i64, 0_i128);
    let mut words = text.split_whitespace().peekable();
    words.peek()?;
    let mut ago = false;
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case("ago") {
            ago = true;
            words.peek().is_none().then_some(())?;
            break;
        }
        if word.contains(':') {
            nanos += clock_nanos(word)?;
            continue;
        }
        let end = word.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(word.len());
        let number = &word[..end];
        let unit = if end < word.len() {
            &word[end..]
        } else {
            words.next().unwrap_or("seconds")
        };
        let unit = unit.to_lowercase();
        let singular = unit
            .strip_suffix('s')
            .filter(|unit| unit.len() > 1)
            .unwrap_or(&unit);
        let scaled = |nanos: i128| decimal_times(number, nanos);
        let whole = |factor: i64| number.parse::<i64>().ok()?.checked_mul(factor);
        match singular {
            "century" | "centurie" => months = months.checked_add(whole(1_200)?)?,
            "decade" => months = months.checked_add(whole(120)?)?,
            "year" | "yr" | "y" => months = months.checked_add(whole(12)?)?,
            "month" | "mon" => months = months.checked_add(whole(1)?)?,
            "week" | "w" => days = days.checked_add(whole(7)?)?,
            "day" | "d" => match whole(1) {
                Some(whole) => days = days.checked_add(whole)?,
                None => nanos += scaled(86_400_000_000_000)?,
            },
            "hour" | "hr" | "h" => nanos += scaled(3_600_000_000_000)?,
            "minute" | "min" | "m" => nanos += scaled(60_000_000_000)?,
            "second" | "sec" | "s" => nanos += scaled(1_000_000_000)?,
            "millisecond" | "msec" => nanos += scaled(1_000_000)?,
            "microsecond" | "usec" | "u" => nanos += scaled(1_000)?,
            _ => return None,
        }
    }
    let sign = if ago { -1 } else { 1 };
    Some(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano {
        months: i32::try_from(months * sign).ok()?,
        days: i32::try_from(days * sign).ok()?,
        nanoseconds: i64::try_from(nanos * i128::from(sign)).ok()?,
    })))
}

/// `[-]hh:mm[:ss[.f]]` in nanoseconds.
fn clock_nanos(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = text.split(':');
    let mut nanos =
        decimal_times(parts.next()?, 3_600_000_000_000)? + decimal_times(parts.next()?, 60_000_000_000)?;
    if let Some(seconds) = parts.next() {
        nanos += decimal_times(seconds, 1_000_000_000)?;
    }
    parts
        .next()
        .is_none()
        .then_some(if negative { -nanos } else { nanos })
}

/// A decimal number times `factor`, exactly as far as whole results go.
fn decimal_times(text: &str, factor: i128) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty())
        || !all_digits(whole)
        || !all_digits(fraction)
        || digits.len() > 18
    {
        return None;
    }
    let number = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse::<i128>().ok()
        }
    };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let value = number(whole)? * factor + number(fraction)? * factor / scale;
    Some(if negative { -value } else { value })
}

fn bytea(text: &str) -> Option<Vec<u8>> {
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = digits
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .collect();
        if !digits.len().is_multiple_of(2) {
            return None;
        }
        return digits
            .chunks(2)
            .map(|pair| Some(((pair[0] as char).to_digit(16)? << 4 | (pair[1] as char).to_digit(16)?) as u8))
            .collect();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next()? {
            b'\\' => bytes.push(b'\\'),
            high @ b'0'..=b'3' => {
                let octal = |digit: u8| (b'0'..=b'7').contains(&digit).then(|| digit - b'0');
                bytes.push(octal(high)? << 6 | octal(rest.next()?)? << 3 | octal(rest.next()?)?);
            }
            _ => return None,
        }
    }
    Some(bytes)
}

/// An exact decimal with the scale it is written with.
fn numeric_text(text: &str) -> Option<ScalarValue> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let unsigned = mantissa.strip_prefix(['-', '+']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = i32::try_from(fraction.len()).ok()? - exponent;
    decimal(mantissa.starts_with('-'), &digits, scale)
}

pub(super) fn text_array(text: &str, pg_type: PgType, zone: &TimeZone) -> Result<ScalarValue, Fault> {
    let element = PgType {
        array: false,
        ..pg_type
    };
    let malformed = || Fault::error("22P02", format!("malformed array literal: \"{text}\""));
    let inner = text
        .trim()
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(malformed)?;
    let mut values = Vec::new();
    let mut rest = inner.chars().peekable();
    if inner.trim().is_empty() {
        return Ok(list(&values, pg_type));
    }
    loop {
        while rest.next_if(|character| character.is_whitespace()).is_some() {}
        let (mut item, mut quoted) = (String::new(), false);
        if rest.next_if_eq(&'"').is_some() {
            quoted = true;
            loop {
                match rest.next().ok_or_else(malformed)? {
                    '"' => break,
                    '\\' => item.push(rest.next().ok_or_else(malformed)?),
                    other => item.push(other),
                }
            }
            while rest.next_if(|character| character.is_whitespace()).is_some() {}
        } else {
            while let Some(character) = rest.next_if(|character| *character != ',') {
                match character {
                    '{' | '}' | '"' => return Err(malformed()),
                    '\\' => item.push(rest.next().ok_or_else(malformed)?),
                    other => item.push(other),
                }
            }
        }
        if !quoted && item.trim().eq_ignore_ascii_case("null") {
            values.push(null_element(element));
        } else if !quoted && item.trim().is_empty() {
            return Err(malformed());
        } else {
            let item = if quoted { item.as_str() } else { item.trim() };
            values.push(self::text(item, element, None, zone)?);
        }
        match rest.next() {
            None => return Ok(list(&values, pg_type)),
            Some(',') => {}
            Some(_) => return Err(malformed()),
        }
    }
}
