//! Values written as text.
//!
//! A text is a number, date or boolean only in its canonical form, so that typing
//! a column loses nothing: `0123`, `+5`, ` 7` and `1.00000000000000000001` stay text.

use chrono::{NaiveDate, NaiveTime};

/// An integer without leading zeros, plus sign or negative zero.
pub fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let canonical = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if canonical { text.parse().ok() } else { None }
}

/// A finite decimal number that a 64-bit float holds exactly, in the sense that
/// writing the float gives the same digits (trailing zeros aside).
pub fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some((whole, fraction)) => (whole, fraction),
        None => (mantissa, ""),
    };
    let whole_ok = match whole.as_bytes() {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let exponent_ok = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !whole_ok || !exponent_ok || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    let digits = significant(whole, fraction);
    if digits.is_empty() {
        // A negative zero would lose its sign in comparisons.
        return (!text.starts_with('-')).then_some(value);
    }
    if !value.is_normal() {
        return None;
    }
    // Up to 15 digits always survive.
    if digits.len() > 15 {
        let shortest = format!("{:e}", value.abs());
        let shortest = shortest
            .split_once('e')
            .map_or(shortest.as_str(), |(mantissa, _)| mantissa);
        let (whole, fraction) = shortest.split_once('.').unwrap_or((shortest, ""));
        if significant(whole, fraction) != digits {
            return None;
        }
    }
    Some(value)
}

/// The digits of a number without leading and trailing zeros.
fn significant(whole: &str, fraction: &str) -> String {
    let digits = format!("{whole}{fraction}");
    digits.trim_matches('0').to_owned()
}

pub fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub fn date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| digits(&bytes[range]);
    let date = NaiveDate::from_ymd_opt(number(0..4)?.cast_signed(), number(5..7)?, number(8..10)?)?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// `YYYY-MM-DD HH:MM:SS` with `T` or a space between, up to six decimals and
/// perhaps `Z` or an offset: microseconds since 1970-01-01 (UTC where there is an
/// offset), and whether there was one.
pub fn timestamp(text: &str) -> Option<(i64, bool)> {
    let bytes = text.as_bytes();
    if bytes.len() < 19 || !text.is_ascii() || !matches!(bytes[10], b'T' | b' ') {
        return None;
    }
    let days = date(&text[..10])?;
    if bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let (hour, minute, second) = (
        digits(&bytes[11..13])?,
        digits(&bytes[14..16])?,
        digits(&bytes[17..19])?,
    );
    let time = NaiveTime::from_hms_opt(hour, minute, second)?;
    let mut rest = &text[19..];
    let mut micros = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 || length > 6 {
            return None;
        }
        micros = i64::from(digits(&fraction.as_bytes()[..length])?) * 10_i64.pow(6 - length as u32);
        rest = &fraction[length..];
    }
    let offset = match rest {
        "" => None,
        "Z" | "z" => Some(0),
        _ => Some(offset_seconds(rest)?),
    };
    let seconds = i64::from(days) * 86_400 + i64::from(chrono::Timelike::num_seconds_from_midnight(&time));
    Some((
        (seconds - offset.unwrap_or(0)) * 1_000_000 + micros,
        offset.is_some(),
    ))
}

/// `+HH`, `+HHMM` or `+HH:MM`.
fn offset_seconds(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let rest = &text[1..];
    let (hours, minutes) = match rest.len() {
        2 => (rest, "00"),
        4 => (&rest[..2], &rest[2..]),
        5 if rest.as_bytes()[2] == b':' => (&rest[..2], &rest[3..]),
        _ => return None,
    };
    let (hours, minutes) = (digits(hours.as_bytes())?, digits(minutes.as_bytes())?);
    (hours < 24 && minutes < 60).then(|| sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

/// At most nine digits.
fn digits(bytes: &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for byte in bytes {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u32::from(byte - b'0'))?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_integers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("0123", None),
            ("-0", None),
            ("+5", None),
            (" 5", None),
            ("", None),
            ("1_000", None),
        ] {
            assert_eq!(integer(text), expected, "{text:?}");
        }
    }

    #[test]
    fn exact_floats() {
        for (text, expected) in [
            ("1.5", Some(1.5)),
            ("-0.1", Some(-0.1)),
            ("1.10", Some(1.1)),
            ("3", Some(3.0)),
            ("0.0", Some(0.0)),
            ("1e3", Some(1000.0)),
            ("0.30000000000000004", Some(0.300_000_000_000_000_04)),
            ("-0.0", None),
            ("00.5", None),
            (".5", None),
            ("5.", None),
            ("1e", None),
            ("NaN", None),
            ("inf", None),
            ("1e999", None),
            ("1e-999", None),
            ("3.14159265358979323846", None),
            ("9007199254740993", None),
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
        ] {
            assert_eq!(float(text), expected, "{text:?}");
        }
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("1969-12-31"), Some(-1));
        assert_eq!(date("2024-02-30"), None);
        assert_eq!(date("2024-2-3"), None);
        for (text, expected) in [
            ("1970-01-01 00:00:01", Some((1_000_000, false))),
            ("1970-01-01T00:00:00.5Z", Some((500_000, true))),
            ("1970-01-01T09:00:00+09:00", Some((0, true))),
            ("1970-01-01 00:00:00-0130", Some((5_400_000_000, true))),
            ("1970-01-01 00:00:00.1234567", None),
            ("1970-01-01 24:00:00", None),
            ("1970-01-01", None),
            ("1970-01-01 00:00", None),
        ] {
            assert_eq!(timestamp(text), expected, "{text:?}");
        }
    }
}
