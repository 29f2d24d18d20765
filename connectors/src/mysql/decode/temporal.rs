//! Dates, instants and spans of the binary protocol.
//!
//! Layout (protocol, "Binary Protocol Value"): a length; of a date or instant 0,
//! 4 (u16 year, u8 month, u8 day), 7 (and u8 hour, minute, second) or 11 (and
//! u32 microseconds); of a span 0, 8 (u8 sign, u32 days, u8 hour, minute,
//! second) or 12 (and u32 microseconds). What is left out is zero.

use std::fmt::Write as _;

use chrono::{NaiveDate, NaiveDateTime};

use super::Problem;
use crate::mysql::wire::Reader;

/// Days since 1970-01-01.
pub(super) fn date(row: &mut Reader<'_>) -> Result<i32, Problem> {
    let instant = fields(row, "DATE")?;
    // Years of four digits: far from the limits.
    Ok(instant
        .date()
        .signed_duration_since(NaiveDate::default())
        .num_days() as i32)
}

/// Microseconds since 1970-01-01 00:00:00.
pub(super) fn instant(row: &mut Reader<'_>) -> Result<i64, Problem> {
    Ok(fields(row, "DATETIME")?.and_utc().timestamp_micros())
}

fn fields(row: &mut Reader<'_>, kind: &'static str) -> Result<NaiveDateTime, Problem> {
    let malformed = || Problem::Malformed(kind);
    let length = row.u8().ok_or_else(malformed)?;
    let mut value = Reader::new(row.bytes(length.into()).ok_or_else(malformed)?);
    let (mut year, mut month, mut day) = (0, 0, 0);
    let (mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0);
    if !value.is_empty() {
        year = value.u16().ok_or_else(malformed)?;
        month = value.u8().ok_or_else(malformed)?;
        day = value.u8().ok_or_else(malformed)?;
    }
    if !value.is_empty() {
        hour = value.u8().ok_or_else(malformed)?;
        minute = value.u8().ok_or_else(malformed)?;
        second = value.u8().ok_or_else(malformed)?;
    }
    if !value.is_empty() {
        micros = value.u32().ok_or_else(malformed)?;
    }
    if !value.is_empty() {
        return Err(malformed());
    }
    if (year, month, day) == (0, 0, 0) && (hour, minute, second, micros) == (0, 0, 0, 0) {
        return Err(Problem::ZeroDate);
    }
    NaiveDate::from_ymd_opt(year.into(), month.into(), day.into())
        .and_then(|date| date.and_hms_micro_opt(hour.into(), minute.into(), second.into(), micros))
        .ok_or(Problem::NoSuchDate)
}

/// A span as the server prints it, `-838:59:59.000000`, with this many digits
/// of its fraction.
pub(super) fn push_time(row: &mut Reader<'_>, fraction: u8, text: &mut String) -> Result<(), Problem> {
    let malformed = || Problem::Malformed("TIME");
    let length = row.u8().ok_or_else(malformed)?;
    let mut value = Reader::new(row.bytes(length.into()).ok_or_else(malformed)?);
    let mut negative = false;
    let (mut hours, mut minute, mut second, mut micros) = (0, 0, 0, 0);
    if !value.is_empty() {
        negative = value.u8().ok_or_else(malformed)? != 0;
        let days = value.u32().ok_or_else(malformed)?;
        hours = u64::from(days) * 24 + u64::from(value.u8().ok_or_else(malformed)?);
        minute = value.u8().ok_or_else(malformed)?;
        second = value.u8().ok_or_else(malformed)?;
    }
    if !value.is_empty() {
        micros = value.u32().ok_or_else(malformed)?;
    }
    if !value.is_empty() || micros > 999_999 || fraction > 6 {
        return Err(malformed());
    }
    if negative {
        text.push('-');
    }
    // Writing to a String cannot fail.
    let _ = write!(text, "{hours:02}:{minute:02}:{second:02}");
    let divisor = 10_u32.pow(6 - u32::from(fraction));
    if micros % divisor != 0 {
        return Err(malformed());
    }
    if fraction > 0 {
        let width = usize::from(fraction);
        let _ = write!(text, ".{:0width$}", micros / divisor);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(bytes: &[u8], fraction: u8) -> Result<String, Problem> {
        let mut text = String::new();
        push_time(&mut Reader::new(bytes), fraction, &mut text).map(|()| text)
    }

    #[test]
    fn spans() {
        let longest = [12, 1, 34, 0, 0, 0, 22, 59, 59, 63, 66, 15, 0];
        assert_eq!(time(&longest, 6).as_deref(), Ok("-838:59:59.999999"));
        assert_eq!(time(&[0], 0).as_deref(), Ok("00:00:00"));
        assert_eq!(time(&[0], 3).as_deref(), Ok("00:00:00.000"));
        assert_eq!(time(&[8, 0, 0, 0, 0, 0, 1, 2, 3], 0).as_deref(), Ok("01:02:03"));
        assert_eq!(
            time(&[12, 0, 0, 0, 0, 0, 1, 2, 3, 32, 161, 7, 0], 2).as_deref(),
            Ok("01:02:03.50")
        );
        assert!(time(&[3, 0, 0, 0], 0).is_err());
    }

    #[test]
    fn instants() {
        let at = |bytes: &[u8]| instant(&mut Reader::new(bytes));
        assert_eq!(at(&[4, 178, 7, 1, 1]), Ok(0));
        assert_eq!(at(&[7, 177, 7, 12, 31, 23, 59, 59]), Ok(-1_000_000));
        assert_eq!(at(&[11, 178, 7, 1, 1, 0, 0, 0, 1, 0, 0, 0]), Ok(1));
        assert_eq!(at(&[0]), Err(Problem::ZeroDate));
        // It says a time, which NULL would not.
        assert_eq!(at(&[7, 0, 0, 0, 0, 1, 0, 0]), Err(Problem::NoSuchDate));
        assert_eq!(at(&[4, 178, 7, 2, 30]), Err(Problem::NoSuchDate));
        assert!(at(&[5, 178, 7, 2, 1, 1]).is_err());
        assert_eq!(date(&mut Reader::new(&[4, 0xF, 0x27, 12, 31])), Ok(2_932_896));
    }
}
