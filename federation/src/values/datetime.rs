//! Dates, times and intervals as Postgres prints them with `DateStyle = ISO` and `IntervalStyle = postgres`.
//!
//! Written by hand: on time-series results the general formatter of a date library costs three times as
//! much as everything else in the row.

use std::cell::Cell;

use bytes::{BufMut, BytesMut};
use jiff::{Timestamp, tz::TimeZone};

use super::number::{put_padded, put_unsigned};

/// Days from 1970-01-01 to 2000-01-01, where Postgres' own calendar begins.
pub const POSTGRES_EPOCH_DAYS: i64 = 10_957;
/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// Year (astronomical: 0 is 1 BC), month and day of a day counted from 1970-01-01.
///
/// Howard Hinnant's `civil_from_days`; right for every `i32` day and far beyond.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_index + 2) / 5 + 1) as u32;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days since 1970-01-01 of a date; `year` is astronomical.
///
/// Howard Hinnant's `days_from_civil`.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let month_index = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_index + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Writes the date without its era and returns whether the era is BC.
fn put_year_month_day(days: i64, out: &mut BytesMut) -> bool {
    let (year, month, day) = civil_from_days(days);
    let before_christ = year <= 0;
    let printed = if before_christ { 1 - year } else { year };
    put_padded(printed as u64, 4, out);
    out.put_u8(b'-');
    put_padded(u64::from(month), 2, out);
    out.put_u8(b'-');
    put_padded(u64::from(day), 2, out);
    before_christ
}

/// `2024-02-29`, `0044-03-15 BC`.
pub fn put_date(days: i64, out: &mut BytesMut) {
    if put_year_month_day(days, out) {
        out.put_slice(b" BC");
    }
}

/// `04:05:06.789` of microseconds since midnight; 86400000000 is `24:00:00`.
pub fn put_time(micros: i64, out: &mut BytesMut) {
    let seconds = (micros / 1_000_000) as u64;
    put_padded(seconds / 3_600, 2, out);
    out.put_u8(b':');
    put_padded(seconds / 60 % 60, 2, out);
    out.put_u8(b':');
    put_padded(seconds % 60, 2, out);
    put_fraction((micros % 1_000_000) as u64, out);
}

fn put_fraction(micros: u64, out: &mut BytesMut) {
    if micros == 0 {
        return;
    }
    out.put_u8(b'.');
    let (mut value, mut width) = (micros, 6);
    while value % 10 == 0 {
        value /= 10;
        width -= 1;
    }
    put_padded(value, width, out);
}

/// A timestamp of `micros` since 1970-01-01 local time, with `separator` between date and time and
/// `offset` (seconds east of UTC) behind it.
fn put_datetime(micros: i64, separator: u8, offset: Option<i32>, out: &mut BytesMut) {
    let before_christ = put_year_month_day(micros.div_euclid(DAY_MICROS), out);
    out.put_u8(separator);
    put_time(micros.rem_euclid(DAY_MICROS), out);
    if let Some(offset) = offset {
        out.put_u8(if offset < 0 { b'-' } else { b'+' });
        let offset = u64::from(offset.unsigned_abs());
        put_padded(offset / 3_600, 2, out);
        let (minutes, seconds) = (offset / 60 % 60, offset % 60);
        if minutes != 0 || seconds != 0 {
            out.put_u8(b':');
            put_padded(minutes, 2, out);
        }
        if seconds != 0 {
            out.put_u8(b':');
            put_padded(seconds, 2, out);
        }
    }
    if before_christ {
        out.put_slice(b" BC");
    }
}

/// `2024-01-02 03:04:05.6`.
pub fn put_timestamp(micros: i64, out: &mut BytesMut) {
    put_datetime(micros, b' ', None, out);
}

/// `2024-01-02T03:04:05.6`, as `to_json` prints it.
pub fn put_json_timestamp(micros: i64, zone: Option<&ZoneCache>, out: &mut BytesMut) {
    match zone {
        None => put_datetime(micros, b'T', None, out),
        Some(zone) => {
            let offset = zone.offset(micros);
            put_datetime(
                micros.saturating_add(i64::from(offset) * 1_000_000),
                b'T',
                Some(offset),
                out,
            );
            // JSON always carries minutes: +00:00 (EncodeDateTime with USE_XSD_DATES)
            if offset % 3_600 == 0 {
                out.put_slice(b":00");
            }
        }
    }
}

/// `2024-01-02 03:04:05.6+09` of microseconds since 1970-01-01 UTC.
pub fn put_timestamptz(micros: i64, zone: &ZoneCache, out: &mut BytesMut) {
    let offset = zone.offset(micros);
    put_datetime(
        micros.saturating_add(i64::from(offset) * 1_000_000),
        b' ',
        Some(offset),
        out,
    );
}

/// A time zone that remembers the offset of the last value and how far it holds: neighbouring rows are
/// nearly always in the same half year.
pub struct ZoneCache {
    zone: TimeZone,
    known: Cell<(i64, i64, i32)>,
}

impl ZoneCache {
    /// A cache over `zone` that knows nothing yet.
    pub fn new(zone: TimeZone) -> Self {
        // an empty range: the first value looks the offset up
        ZoneCache {
            zone,
            known: Cell::new((1, 0, 0)),
        }
    }

    /// Seconds east of UTC at `micros` since 1970-01-01 UTC.
    pub fn offset(&self, micros: i64) -> i32 {
        let (from, until, offset) = self.known.get();
        if from <= micros && micros < until {
            return offset;
        }
        // outside jiff's years -9999..=9999 the nearest representable instant decides
        let at = Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        });
        let offset = self.zone.to_offset(at).seconds();
        let from = self
            .zone
            .preceding(at)
            .next()
            .map_or(i64::MIN, |transition| transition.timestamp().as_microsecond());
        let until = self
            .zone
            .following(at)
            .next()
            .map_or(i64::MAX, |transition| transition.timestamp().as_microsecond());
        // `preceding` excludes a transition at exactly `at`, whose offset the value already has
        let from = if self.zone.to_offset_info(at).offset().seconds() == offset && from <= micros {
            from
        } else {
            micros
        };
        let previous_differs = Timestamp::from_microsecond(from)
            .is_ok_and(|start| self.zone.to_offset(start).seconds() != offset);
        self.known
            .set((if previous_differs { micros } else { from }, until, offset));
        offset
    }
}

/// An interval as Postgres keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Whole months, years included.
    pub months: i32,
    /// Days, which need not have 24 hours.
    pub days: i32,
    /// The rest.
    pub micros: i64,
}

impl Interval {
    /// `1 year 2 mons 3 days 04:05:06.7` (EncodeInterval with INTSTYLE_POSTGRES, datetime.c).
    pub fn put(self, out: &mut BytesMut) {
        let mut first = true;
        let mut before = false;
        for (value, unit) in [
            (self.months / 12, "year"),
            (self.months % 12, "mon"),
            (self.days, "day"),
        ] {
            if value == 0 {
                continue;
            }
            if !first {
                out.put_u8(b' ');
            }
            if value < 0 {
                out.put_u8(b'-');
            } else if before {
                out.put_u8(b'+');
            }
            put_unsigned(u64::from(value.unsigned_abs()), out);
            out.put_u8(b' ');
            out.put_slice(unit.as_bytes());
            if value != 1 {
                out.put_u8(b's');
            }
            before = value < 0;
            first = false;
        }
        if first || self.micros != 0 {
            if !first {
                out.put_u8(b' ');
            }
            if self.micros < 0 {
                out.put_u8(b'-');
            } else if before {
                out.put_u8(b'+');
            }
            let micros = self.micros.unsigned_abs();
            let seconds = micros / 1_000_000;
            put_padded(seconds / 3_600, 2, out);
            out.put_u8(b':');
            put_padded(seconds / 60 % 60, 2, out);
            out.put_u8(b':');
            put_padded(seconds % 60, 2, out);
            put_fraction(micros % 1_000_000, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn dates_and_timestamps_read_as_postgres_prints_them() {
        let cases: [(i64, &str); 9] = [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59.999999"),
            (1_709_164_800_000_000, "2024-02-29 00:00:00"),
            (1_709_164_800_500_000, "2024-02-29 00:00:00.5"),
            (1_709_164_800_000_010, "2024-02-29 00:00:00.00001"),
            (253_402_300_800_000_000, "10000-01-01 00:00:00"),
            (-62_135_596_800_000_000, "0001-01-01 00:00:00"),
            (-62_135_596_800_000_001, "0001-12-31 23:59:59.999999 BC"),
            (-63_517_996_800_000_000, "0044-03-13 00:00:00 BC"),
        ];
        for (micros, expected) in cases {
            assert_eq!(text(|out| put_timestamp(micros, out)), expected);
        }
    }

    #[test]
    fn zones_follow_their_transitions() {
        let zone = ZoneCache::new(TimeZone::get("Europe/Berlin").unwrap());
        // 2024-03-31 01:00 UTC: from +01 to +02; 2024-10-27 01:00 UTC: back
        let spring = 1_711_846_800_000_000;
        let autumn = 1_729_990_800_000_000;
        for (micros, expected) in [
            (spring, "2024-03-31 03:00:00+02"),
            (spring - 1, "2024-03-31 01:59:59.999999+01"),
            (spring + 1, "2024-03-31 03:00:00.000001+02"),
            (autumn - 1, "2024-10-27 02:59:59.999999+02"),
            (autumn, "2024-10-27 02:00:00+01"),
            (spring, "2024-03-31 03:00:00+02"),
        ] {
            assert_eq!(text(|out| put_timestamptz(micros, &zone, out)), expected);
        }
        for (name, expected) in [
            ("Asia/Kolkata", "1970-01-01 05:30:00+05:30"),
            ("UTC", "1970-01-01 00:00:00+00"),
            ("America/St_Johns", "1969-12-31 20:30:00-03:30"),
        ] {
            let zone = ZoneCache::new(TimeZone::get(name).unwrap());
            assert_eq!(text(|out| put_timestamptz(0, &zone, out)), expected);
        }
        let old = ZoneCache::new(TimeZone::get("Europe/Amsterdam").unwrap());
        assert!(text(|out| put_timestamptz(-5_000_000_000_000_000, &old, out)).starts_with("1811-07"));
    }

    #[test]
    fn intervals_have_the_postgres_style() {
        let cases = [
            ((0, 0, 0), "00:00:00"),
            ((14, 3, 14_706_789_000), "1 year 2 mons 3 days 04:05:06.789"),
            ((1, 1, 0), "1 mon 1 day"),
            ((-1, 1, 0), "-1 mons +1 day"),
            ((0, -1, 3_600_000_000), "-1 days +01:00:00"),
            ((0, 0, -1_500_000), "-00:00:01.5"),
            ((-14, 0, 0), "-1 years -2 mons"),
            ((0, 0, 360_000_000_000), "100:00:00"),
        ];
        for ((months, days, micros), expected) in cases {
            assert_eq!(text(|out| Interval { months, days, micros }.put(out)), expected);
        }
    }

    #[test]
    fn days_agree_with_jiff() {
        for days in (-700_000..2_900_000).step_by(977) {
            let date = jiff::civil::date(1970, 1, 1)
                .checked_add(jiff::Span::new().days(days))
                .unwrap();
            let (year, month, day) = (i64::from(date.year()), date.month() as u32, date.day() as u32);
            assert_eq!(civil_from_days(days), (year, month, day), "{days}");
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
