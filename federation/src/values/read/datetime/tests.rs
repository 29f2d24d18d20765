use bytes::BytesMut;

use super::super::super::datetime::{put_date, put_time, put_timestamp};
use super::*;

fn text(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn dates_have_many_forms() {
    for form in [
        "2024-02-29",
        "20240229",
        "2024-2-29",
        "2/29/2024",
        "Feb 29, 2024",
        "February 29 2024",
        "29 Feb 2024",
        "29-Feb-2024",
        "2024-Feb-29",
        "2024-060",
        "Thu, 29 Feb 2024",
        "2024-02-29 12:34:56",
        "2024-02-29T12:34:56Z",
        " 2024-02-29 ",
        "2/29/24",
    ] {
        assert_eq!(
            date(form)
                .map(|days| text(|out| put_date(days.into(), out)))
                .as_deref(),
            Ok("2024-02-29"),
            "{form}"
        );
    }
    assert_eq!(
        date("0044-03-15 BC")
            .map(|days| text(|out| put_date(days.into(), out)))
            .as_deref(),
        Ok("0044-03-15 BC")
    );
    for (form, code) in [
        ("2024-02-30", "22008"),
        ("2024-13-01", "22008"),
        ("2023-02-29", "22008"),
        ("nonsense", "22007"),
        ("", "22007"),
        ("2024-02", "22007"),
        ("infinity", "0A000"),
        ("12:34", "22007"),
    ] {
        assert_eq!(date(form).unwrap_err().sqlstate(), code, "{form}");
    }
}

#[test]
fn times_have_many_forms() {
    for (form, expected) in [
        ("12:34", "12:34:00"),
        ("12:34:56.789", "12:34:56.789"),
        ("1:02 pm", "13:02:00"),
        ("12:00 am", "00:00:00"),
        ("24:00:00", "24:00:00"),
        ("12:34:56.1234567", "12:34:56.123457"),
        ("2024-01-01 03:04", "03:04:00"),
        ("23:59:60", "24:00:00"),
    ] {
        assert_eq!(
            time(form)
                .map(|micros| text(|out| put_time(micros, out)))
                .as_deref(),
            Ok(expected),
            "{form}"
        );
    }
    for (form, code) in [
        ("25:00", "22008"),
        ("12:61:00", "22008"),
        ("24:00:01", "22008"),
        ("x", "22007"),
    ] {
        assert_eq!(time(form).unwrap_err().sqlstate(), code, "{form}");
    }
}

#[test]
fn zones_count_for_timestamptz_alone() {
    let seoul = TimeZone::get("Asia/Seoul").unwrap();
    let with = |form: &str| timestamptz(form, &seoul).map(|micros| text(|out| put_timestamp(micros, out)));
    for (form, expected) in [
        ("2024-07-01 12:00:00", "2024-07-01 03:00:00"),
        ("2024-07-01 12:00:00+00", "2024-07-01 12:00:00"),
        ("2024-07-01T12:00:00.5Z", "2024-07-01 12:00:00.5"),
        ("2024-07-01 12:00-05:30", "2024-07-01 17:30:00"),
        ("2024-07-01 12:00 America/New_York", "2024-07-01 16:00:00"),
        ("2024-07-01 12:00 EST", "2024-07-01 17:00:00"),
        ("2024-07-01", "2024-06-30 15:00:00"),
        ("20240701T120000Z", "2024-07-01 12:00:00"),
        ("epoch", "1970-01-01 00:00:00"),
    ] {
        assert_eq!(with(form).as_deref(), Ok(expected), "{form}");
    }
    assert_eq!(
        with("2024-07-01 12:00 Nowhere/City").unwrap_err().sqlstate(),
        "22023"
    );
    let without = |form: &str| timestamp(form).map(|micros| text(|out| put_timestamp(micros, out)));
    for (form, expected) in [
        ("2024-07-01 12:00:00+02", "2024-07-01 12:00:00"),
        ("2024-07-01 24:00", "2024-07-02 00:00:00"),
        ("Mon Jul 1 12:00:00 2024", "2024-07-01 12:00:00"),
        ("2024-07-01", "2024-07-01 00:00:00"),
    ] {
        assert_eq!(without(form).as_deref(), Ok(expected), "{form}");
    }
    assert_eq!(without("2024-07-01 25:00").unwrap_err().sqlstate(), "22008");
}

#[test]
fn months_end_where_they_end() {
    let add = |form: &str, months| {
        add_months(timestamp(form).unwrap(), months).map(|micros| text(|out| put_timestamp(micros, out)))
    };
    assert_eq!(add("2024-01-31 10:00", 1).as_deref(), Some("2024-02-29 10:00:00"));
    assert_eq!(add("2024-03-31", -1).as_deref(), Some("2024-02-29 00:00:00"));
    assert_eq!(add("2024-01-15", -13).as_deref(), Some("2022-12-15 00:00:00"));
}
