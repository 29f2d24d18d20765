//! Cursors: how far a column that grows with each change has been read.

use std::time::Duration;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use arrow::compute::max;
use arrow::datatypes::{
    DataType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

const NANOSECONDS: i128 = 1_000_000_000;
const A_DAY: u64 = 86_400;
/// The farthest that a clock on a wall is ahead of UTC.
const FARTHEST_ZONE: Duration = Duration::from_hours(14);

/// What a cursor counts in. Its values are whole numbers of the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorKind {
    /// Since 1970, in UTC where the column has a zone, else by a clock of a zone that nobody knows.
    Timestamp {
        unit: TimeUnit,
        zoned: bool,
    },
    /// Days since 1970.
    Date,
    Integer,
    /// Units of the last digit.
    Decimal {
        precision: u8,
        scale: i8,
    },
}

impl CursorKind {
    /// None of a type that does not grow, or not exactly.
    pub fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Timestamp(unit, zone) => Self::Timestamp {
                unit: *unit,
                zoned: zone.is_some(),
            },
            DataType::Date32 => Self::Date,
            data_type if data_type.is_integer() => Self::Integer,
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
                if *scale >= 0 =>
            {
                Self::Decimal {
                    precision: *precision,
                    scale: *scale,
                }
            }
            _ => return None,
        })
    }

    /// Whether values are times, so that `overlap` means something.
    pub fn is_time(self) -> bool {
        matches!(self, Self::Timestamp { .. } | Self::Date)
    }

    /// The highest value of a column of the kind; None without any.
    pub fn highest(self, column: &ArrayRef) -> Option<i128> {
        fn of<T: ArrowPrimitiveType<Native: Into<i128>>>(column: &ArrayRef) -> Option<i128> {
            max(column.as_primitive_opt::<T>()?).map(Into::into)
        }
        match column.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => of::<TimestampSecondType>(column),
            DataType::Timestamp(TimeUnit::Millisecond, _) => of::<TimestampMillisecondType>(column),
            DataType::Timestamp(TimeUnit::Microsecond, _) => of::<TimestampMicrosecondType>(column),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => of::<TimestampNanosecondType>(column),
            DataType::Date32 => of::<Date32Type>(column),
            DataType::Int8 => of::<Int8Type>(column),
            DataType::Int16 => of::<Int16Type>(column),
            DataType::Int32 => of::<Int32Type>(column),
            DataType::Int64 => of::<Int64Type>(column),
            DataType::UInt8 => of::<UInt8Type>(column),
            DataType::UInt16 => of::<UInt16Type>(column),
            DataType::UInt32 => of::<UInt32Type>(column),
            DataType::UInt64 => of::<UInt64Type>(column),
            DataType::Decimal32(..) => of::<Decimal32Type>(column),
            DataType::Decimal64(..) => of::<Decimal64Type>(column),
            DataType::Decimal128(..) => of::<Decimal128Type>(column),
            _ => None,
        }
    }

    /// As a snapshot and a status tell it, such as `2026-11-30T10:00:00.25Z`, `2026-11-30`, `42` or `42.50`. None of
    /// what calendars do not reach.
    pub fn text(self, value: i128) -> Option<String> {
        match self {
            Self::Timestamp { unit, zoned } => {
                let time = Timestamp::from_nanosecond(value.checked_mul(nanoseconds(unit))?).ok()?;
                let civil = TimeZone::UTC.to_datetime(time);
                (civil.year() > 0).then(|| {
                    if zoned {
                        time.to_string()
                    } else {
                        civil.to_string()
                    }
                })
            }
            Self::Date => {
                let days = i64::try_from(value).ok()?;
                let date = Date::constant(1970, 1, 1)
                    .checked_add(days.checked_days()?)
                    .ok()?;
                (date.year() > 0).then(|| date.to_string())
            }
            Self::Integer => Some(value.to_string()),
            Self::Decimal { scale, .. } => {
                let scale = usize::from(scale.unsigned_abs());
                let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                let sign = if value < 0 { "-" } else { "" };
                Some(if scale == 0 {
                    format!("{sign}{whole}")
                } else {
                    format!("{sign}{whole}.{fraction}")
                })
            }
        }
    }

    /// The value that [`Self::text`] has told; None of a text of another kind.
    pub fn parse(self, text: &str) -> Option<i128> {
        match self {
            Self::Timestamp { unit, zoned } => {
                let time = if zoned {
                    text.parse().ok()?
                } else {
                    text.parse::<DateTime>()
                        .ok()?
                        .to_zoned(TimeZone::UTC)
                        .ok()?
                        .timestamp()
                };
                Some(time.as_nanosecond().div_euclid(nanoseconds(unit)))
            }
            Self::Date => {
                let date: Date = text.parse().ok()?;
                let days = Date::constant(1970, 1, 1).until((jiff::Unit::Day, date)).ok()?;
                Some(days.get_days().into())
            }
            Self::Integer => text.parse().ok(),
            Self::Decimal { scale, .. } => {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                (fraction.len() == usize::from(scale.unsigned_abs()))
                    .then(|| format!("{whole}{fraction}").parse().ok())
                    .flatten()
            }
        }
    }

    /// Where to begin again for a cursor, so that what was committed up to `overlap` late is not missed. A number has
    /// no such thing.
    pub fn before(self, value: i128, overlap: Duration) -> i128 {
        let nanos = i128::try_from(overlap.as_nanos()).unwrap_or(i128::MAX);
        match self {
            Self::Timestamp { unit, .. } => value.saturating_sub(div_ceil(nanos, nanoseconds(unit))),
            Self::Date => value.saturating_sub(div_ceil(nanos, i128::from(A_DAY) * NANOSECONDS)),
            Self::Integer | Self::Decimal { .. } => value,
        }
    }

    /// The highest value that can be true at `now`: a time of the future must not hide what changes until then.
    pub fn ceiling(self, now: Timestamp) -> Option<i128> {
        let ahead = now.checked_add(FARTHEST_ZONE).unwrap_or(now);
        match self {
            Self::Timestamp { unit, zoned } => {
                let latest = if zoned { now } else { ahead };
                Some(latest.as_nanosecond().div_euclid(nanoseconds(unit)))
            }
            Self::Date => Some(i128::from(ahead.as_second().div_euclid(A_DAY.cast_signed()))),
            Self::Integer | Self::Decimal { .. } => None,
        }
    }

    /// What may be told of the cursor of a column that is not exported: the begin of its hour, which is hardly more than
    /// the time of the snapshot tells. None where nothing may be.
    pub fn coarse(self, value: i128) -> Option<i128> {
        match self {
            Self::Timestamp { unit, .. } => {
                let hour = 3600 * NANOSECONDS / nanoseconds(unit);
                Some(value.div_euclid(hour) * hour)
            }
            _ => None,
        }
    }

    /// The SQL type of [`Self::literal`].
    pub(super) fn sql_type(self, value: i128) -> String {
        match self {
            Self::Timestamp { zoned: true, .. } => "timestamptz".to_owned(),
            Self::Timestamp { zoned: false, .. } => "timestamp".to_owned(),
            Self::Date => "date".to_owned(),
            Self::Integer if i64::try_from(value).is_ok() => "bigint".to_owned(),
            Self::Integer => "numeric(20,0)".to_owned(),
            Self::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        }
    }

    /// The value as SQL reads it: of a timestamp whole microseconds, never later. None of what calendars do not reach.
    pub(super) fn literal(self, value: i128) -> Option<String> {
        match self {
            Self::Timestamp { unit, zoned } => {
                let micro = Self::Timestamp {
                    unit: TimeUnit::Microsecond,
                    zoned,
                };
                let micros = value.checked_mul(nanoseconds(unit))?.div_euclid(1000);
                micro.text(micros)
            }
            other => other.text(value),
        }
    }
}

fn nanoseconds(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => NANOSECONDS,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1,
    }
}

fn div_ceil(value: i128, by: i128) -> i128 {
    value / by + i128::from(value % by > 0)
}

/// As a span of days, where it is one.
trait Days {
    fn checked_days(self) -> Option<jiff::Span>;
}

impl Days for i64 {
    fn checked_days(self) -> Option<jiff::Span> {
        jiff::Span::new().try_days(self).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROS: CursorKind = CursorKind::Timestamp {
        unit: TimeUnit::Microsecond,
        zoned: true,
    };
    const LOCAL_NANOS: CursorKind = CursorKind::Timestamp {
        unit: TimeUnit::Nanosecond,
        zoned: false,
    };
    const CENTS: CursorKind = CursorKind::Decimal {
        precision: 10,
        scale: 2,
    };

    #[test]
    fn texts_are_read_back() {
        for (kind, value, text) in [
            (MICROS, 1_764_496_800_250_000, "2025-11-30T10:00:00.25Z"),
            (MICROS, -1, "1969-12-31T23:59:59.999999Z"),
            (
                LOCAL_NANOS,
                1_764_496_800_000_000_001,
                "2025-11-30T10:00:00.000000001",
            ),
            (CursorKind::Date, 0, "1970-01-01"),
            (CursorKind::Date, -1, "1969-12-31"),
            (CursorKind::Date, 20_422, "2025-11-30"),
            (CursorKind::Integer, -42, "-42"),
            (CursorKind::Integer, i128::from(u64::MAX), "18446744073709551615"),
            (CENTS, 4250, "42.50"),
            (CENTS, -5, "-0.05"),
        ] {
            assert_eq!(kind.text(value).as_deref(), Some(text));
            assert_eq!(kind.parse(text), Some(value), "{text}");
        }
        for (kind, text) in [
            (MICROS, "2025-11-30"),
            (CursorKind::Date, "x"),
            (CursorKind::Integer, "1.5"),
            (CENTS, "1.5"),
        ] {
            assert_eq!(kind.parse(text), None, "{text}");
        }
        // beyond all calendars, and before the year 1
        assert_eq!(MICROS.text(i128::from(i64::MAX)), None);
        assert_eq!(CursorKind::Date.text(-800_000), None);
    }

    #[test]
    fn an_overlap_never_begins_too_late() {
        let overlap = Duration::from_mins(10);
        assert_eq!(MICROS.before(1_000_000_000, overlap), 400_000_000);
        // a day is not cut
        assert_eq!(CursorKind::Date.before(10, overlap), 9);
        assert_eq!(CursorKind::Date.before(10, Duration::ZERO), 10);
        assert_eq!(CursorKind::Integer.before(10, overlap), 10);
        // SQL reads microseconds
        assert_eq!(
            LOCAL_NANOS.literal(1_999).as_deref(),
            Some("1970-01-01T00:00:00.000001")
        );
        assert_eq!(
            LOCAL_NANOS.literal(-1).as_deref(),
            Some("1969-12-31T23:59:59.999999")
        );
    }

    #[test]
    fn the_future_and_what_is_not_exported_are_cut() {
        let now: Timestamp = "2025-11-30T10:20:00Z".parse().unwrap();
        assert_eq!(
            MICROS
                .ceiling(now)
                .and_then(|value| MICROS.text(value))
                .as_deref(),
            Some("2025-11-30T10:20:00Z")
        );
        let local = LOCAL_NANOS.ceiling(now).and_then(|value| LOCAL_NANOS.text(value));
        assert_eq!(local.as_deref(), Some("2025-12-01T00:20:00"));
        let day = CursorKind::Date
            .ceiling(now)
            .and_then(|value| CursorKind::Date.text(value));
        assert_eq!(day.as_deref(), Some("2025-12-01"));
        assert_eq!(CursorKind::Integer.ceiling(now), None);
        let coarse = MICROS.coarse(1_764_496_800_250_000 + 1_800_000_000);
        assert_eq!(
            coarse.and_then(|value| MICROS.text(value)).as_deref(),
            Some("2025-11-30T10:00:00Z")
        );
        assert_eq!(CursorKind::Date.coarse(20_422), None);
    }
}
