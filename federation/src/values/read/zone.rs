//! Time zones by the names PostgreSQL takes.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::super::datetime::{DAY_MICROS, civil_from_days};

/// Hours east of UTC of the abbreviations that PostgreSQL's default list has, as far as they are unambiguous
/// in practice; in quarters of an hour.
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("acst", 38),
    ("aedt", 44),
    ("aest", 40),
    ("akdt", -32),
    ("akst", -36),
    ("art", -12),
    ("ast", -16),
    ("adt", -12),
    ("awst", 32),
    ("brt", -12),
    ("bst", 4),
    ("cdt", -20),
    ("cest", 8),
    ("cet", 4),
    ("cst", -24),
    ("edt", -16),
    ("eest", 12),
    ("eet", 8),
    ("est", -20),
    ("gmt", 0),
    ("hkt", 32),
    ("hst", -40),
    ("idt", 12),
    ("ist", 8),
    ("jst", 36),
    ("kst", 36),
    ("mdt", -24),
    ("met", 4),
    ("msk", 12),
    ("mst", -28),
    ("nzdt", 52),
    ("nzst", 48),
    ("pdt", -28),
    ("pst", -32),
    ("sast", 8),
    ("sgt", 32),
    ("ut", 0),
    ("utc", 0),
    ("wat", 4),
    ("west", 4),
    ("wet", 0),
    ("z", 0),
    ("zulu", 0),
];

/// A zone by IANA name, abbreviation or offset in ISO's sense: `+09:00` is east of Greenwich, as in the setting
/// `TimeZone` here.
pub fn by_name(name: &str) -> Option<TimeZone> {
    let name = name.trim();
    if let Some(offset) = offset(name) {
        return Some(TimeZone::fixed(Offset::from_seconds(offset).ok()?));
    }
    abbreviation(name)
        .and_then(|seconds| Offset::from_seconds(seconds).ok())
        .map(TimeZone::fixed)
        .or_else(|| TimeZone::get(name).ok())
}

/// A zone as `AT TIME ZONE` takes it, where an offset has POSIX's sign: `'+05:30'` is west of Greenwich.
pub fn by_posix_name(name: &str) -> Option<TimeZone> {
    match offset(name.trim()) {
        Some(offset) => Some(TimeZone::fixed(Offset::from_seconds(-offset).ok()?)),
        None => by_name(name),
    }
}

/// Seconds east of UTC of an abbreviation.
pub fn abbreviation(name: &str) -> Option<i32> {
    let folded = name.to_ascii_lowercase();
    ABBREVIATIONS
        .iter()
        .find(|(abbreviation, _)| *abbreviation == folded)
        .map(|(_, quarters)| quarters * 900)
}

/// Seconds of `+09`, `-0530`, `+05:30`, `+5:30:15`.
pub fn offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+')?),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
        return None;
    }
    let mut parts = [0_i32; 3];
    if digits.contains(':') {
        for (index, part) in digits.split(':').enumerate() {
            *parts.get_mut(index)? = part.parse().ok()?;
        }
    } else {
        match digits.len() {
            1 | 2 => parts[0] = digits.parse().ok()?,
            3 | 4 => {
                let split = digits.len() - 2;
                parts[0] = digits[..split].parse().ok()?;
                parts[1] = digits[split..].parse().ok()?;
            }
            _ => return None,
        }
    }
    let [hours, minutes, seconds] = parts;
    (hours <= 15 && minutes < 60 && seconds < 60).then(|| sign * (hours * 3_600 + minutes * 60 + seconds))
}

/// Microseconds since 1970 UTC of a local time in microseconds since 1970.
///
/// As PostgreSQL does: a time that the clocks skipped is read with the offset before, one that they showed twice
/// is the second.
pub fn local_to_utc(local: i64, zone: &TimeZone) -> i64 {
    let (year, month, day) = civil_from_days(local.div_euclid(DAY_MICROS));
    let clock = local.rem_euclid(DAY_MICROS);
    let civil = i16::try_from(year).ok().and_then(|year| {
        DateTime::new(
            year,
            month as i8,
            day as i8,
            (clock / 3_600_000_000) as i8,
            (clock / 60_000_000 % 60) as i8,
            (clock / 1_000_000 % 60) as i8,
            (clock % 1_000_000 * 1_000) as i32,
        )
        .ok()
    });
    let instant = civil.and_then(|civil| zone.to_ambiguous_timestamp(civil).later().ok());
    match instant {
        Some(instant) => instant.as_microsecond(),
        // beyond the years that zones are known for, their last offset holds
        None => {
            let at = if local < 0 { Timestamp::MIN } else { Timestamp::MAX };
            local.saturating_sub(i64::from(zone.to_offset(at).seconds()) * 1_000_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read() {
        for (text, expected) in [
            ("+09", Some(32_400)),
            ("-0530", Some(-19_800)),
            ("+05:30", Some(19_800)),
            ("+5:30:15", Some(19_815)),
            ("+530", Some(19_800)),
            ("09", None),
            ("+", None),
            ("+99", None),
        ] {
            assert_eq!(offset(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_found() {
        let at = Timestamp::UNIX_EPOCH;
        for (name, expected) in [
            ("Asia/Seoul", Some(32_400)),
            ("asia/seoul", Some(32_400)),
            ("KST", Some(32_400)),
            ("utc", Some(0)),
            ("+05:30", Some(19_800)),
            ("Nowhere/City", None),
        ] {
            let found = by_name(name).map(|zone| zone.to_offset(at).seconds());
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn gaps_and_folds_are_read_as_postgres_reads_them() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let local = |text: &str| {
            let civil: DateTime = text.parse().unwrap();
            civil
                .to_zoned(TimeZone::UTC)
                .unwrap()
                .timestamp()
                .as_microsecond()
        };
        let utc = |text: &str| {
            Timestamp::from_microsecond(local_to_utc(local(text), &zone))
                .unwrap()
                .to_string()
        };
        assert_eq!(utc("2024-03-10T02:30:00"), "2024-03-10T07:30:00Z");
        assert_eq!(utc("2024-11-03T01:30:00"), "2024-11-03T06:30:00Z");
        assert_eq!(utc("2024-07-01T12:00:00"), "2024-07-01T16:00:00Z");
    }
}
