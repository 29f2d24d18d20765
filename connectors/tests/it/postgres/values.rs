//! Every type, with NULLs and edge values: what arrives against the server's
//! own text.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType,
};
use serde_json::json;

use super::*;

/// One column: its type, what it must become, SQL that is its exact text, and
/// the values (NULL and, in arrays, NULL elements are added).
struct Case {
    sql_type: &'static str,
    arrow: DataType,
    oracle: &'static str,
    values: Vec<String>,
}

fn case(sql_type: &'static str, arrow: DataType, oracle: &'static str, values: &[&str]) -> Case {
    Case {
        sql_type,
        arrow,
        oracle,
        values: values.iter().map(|value| format!("'{value}'")).collect(),
    }
}

const TEXT: &str = "v::text";
/// Exact since PostgreSQL 14, where extract() gives numeric.
const MICROS: &str = "trunc(extract(epoch FROM v) * 1000000)::text";
const DAYS: &str = "(v - date '1970-01-01')::text";
/// A cast to text would strip the blanks.
const PADDED: &str = "CASE WHEN v IS NOT NULL THEN format('%s', v) END";
/// Arrays as JSON of their elements' texts.
const ELEMENTS: &str = "CASE WHEN v IS NOT NULL THEN (SELECT coalesce(jsonb_agg(e::text ORDER BY o), '[]')::text \
     FROM unnest(v) WITH ORDINALITY AS u(e, o)) END";

fn cases() -> Vec<Case> {
    let timestamp = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let nines = "9".repeat(38);
    let many_nines = "9".repeat(76);
    let small = format!("0.{}1", "0".repeat(37));
    let instants = [
        "1970-01-01 00:00:00",
        "1969-12-31 23:59:59.999999",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59.999999",
        "1582-10-10 12:00:00",
        "4713-01-02 00:00:00 BC",
        "294246-12-31 23:59:59.999999",
        "2026-02-28 23:59:60",
        "2000-01-01 00:00:00.000001",
    ];
    let texts = [
        "",
        "x",
        "it''s",
        "a\\b",
        "\"quoted\"",
        "x LIMIT 5",
        "😀 4-byte",
        "ß LIMIT é",
        "İ",
        "e\u{301}",
        "\t\n\r",
        "NULL",
        "∅",
        " padded ",
    ];
    vec![
        case("bool", DataType::Boolean, TEXT, &["true", "false"]),
        case("int2", DataType::Int16, TEXT, &["-32768", "0", "32767"]),
        case("int4", DataType::Int32, TEXT, &["-2147483648", "0", "2147483647"]),
        case(
            "int8",
            DataType::Int64,
            TEXT,
            &["-9223372036854775808", "0", "9223372036854775807"],
        ),
        case("oid", DataType::Int64, TEXT, &["0", "2147483648", "4294967295"]),
        case(
            "float4",
            DataType::Float32,
            TEXT,
            &[
                "0",
                "-0",
                "1.1",
                "3.4028235e38",
                "1e-45",
                "NaN",
                "Infinity",
                "-Infinity",
            ],
        ),
        case(
            "float8",
            DataType::Float64,
            TEXT,
            &[
                "0",
                "-0",
                "0.1",
                "1.7976931348623157e308",
                "5e-324",
                "NaN",
                "Infinity",
                "-Infinity",
            ],
        ),
        case(
            "numeric(38,0)",
            DataType::Decimal128(38, 0),
            TEXT,
            &["0", &nines, &format!("-{nines}"), "10000", "100000000"],
        ),
        case(
            "numeric(38,38)",
            DataType::Decimal128(38, 38),
            TEXT,
            &["0", &small, &format!("-{small}"), &format!("0.{nines}")],
        ),
        case(
            "numeric(10,2)",
            DataType::Decimal128(10, 2),
            TEXT,
            &["0", "-0.01", "99999999.99", "1.5", "100"],
        ),
        case("numeric(1,0)", DataType::Decimal128(1, 0), TEXT, &["-9", "9"]),
        case(
            "numeric(5,-3)",
            DataType::Decimal128(8, 0),
            TEXT,
            &["12345678", "-999", "1500"],
        ),
        case(
            "numeric(3,5)",
            DataType::Decimal128(5, 5),
            TEXT,
            &["0.00123", "-0.00999"],
        ),
        case(
            "numeric(76,10)",
            DataType::Decimal256(76, 10),
            TEXT,
            &["0", "1e60", "-1e65", "0.0000000001"],
        ),
        case(
            "numeric(76,0)",
            DataType::Decimal256(76, 0),
            TEXT,
            &[&many_nines, &format!("-{many_nines}")],
        ),
        case("numeric(100,3)", DataType::Utf8, TEXT, &["1e90", "0.001"]),
        case(
            "numeric",
            DataType::Decimal256(76, 38),
            "v::numeric(76,38)::text",
            &[
                "0.10",
                "-12345678901234.5678",
                &nines,
                &format!("-{nines}"),
                &small,
                "1.000",
                "0",
            ],
        ),
        case("text", DataType::Utf8, TEXT, &texts),
        case("varchar(20)", DataType::Utf8, TEXT, &texts),
        case("char(12)", DataType::Utf8, PADDED, &["", "ab", "ab   ", "😀"]),
        case("name", DataType::Utf8, TEXT, &["", "abc", "😀"]),
        case("citext", DataType::Utf8, TEXT, &["Abc", "aBC"]),
        case("mood", DataType::Utf8, TEXT, &["sad", "o''k"]),
        case(
            "bytea",
            DataType::Binary,
            "encode(v, 'hex')",
            &["", "\\x00", "\\xff00ff", "\\x5c27"],
        ),
        case(
            "date",
            DataType::Date32,
            DAYS,
            &[
                "1970-01-01",
                "1969-12-31",
                "0001-01-01",
                "9999-12-31",
                "4713-01-01 BC",
                "5874897-12-31",
            ],
        ),
        case("timestamp", timestamp(None), MICROS, &instants),
        case(
            "timestamp(0)",
            timestamp(None),
            MICROS,
            &["1969-12-31 23:59:59.4"],
        ),
        case(
            "timestamptz",
            timestamp(Some("UTC")),
            MICROS,
            &[
                "1969-12-31 23:59:59.999999+00",
                "2026-11-23 12:00:00+09",
                "2026-03-29 02:30:00 Europe/Vilnius",
                "0001-01-01 00:00:00+00",
                "9999-12-31 23:59:59.999999+00",
            ],
        ),
        case(
            "time",
            DataType::Time64(TimeUnit::Microsecond),
            MICROS,
            &["00:00:00", "23:59:59.999999", "12:34:56.7"],
        ),
        case(
            "timetz",
            DataType::Utf8,
            TEXT,
            &["24:00:00+00", "12:00:00.5+09:30"],
        ),
        case(
            "interval",
            DataType::Interval(IntervalUnit::MonthDayNano),
            "CASE WHEN v IS NOT NULL THEN concat_ws(' ', (extract(year FROM v) * 12 + extract(month FROM v))::int8, \
             extract(day FROM v)::int8, (extract(hour FROM v) * 3600000000 + extract(minute FROM v) * 60000000 \
             + extract(microseconds FROM v))::numeric(20,0) * 1000) END",
            &[
                "1 mon",
                "30 days",
                "-1 year 2 days 03:04:05.678",
                "0",
                "-1 mon 1 day -00:00:00.000001",
                "2562047:47:16.854775",
                "-178956970 years",
            ],
        ),
        case(
            "uuid",
            DataType::Utf8,
            TEXT,
            &["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
        ),
        case(
            "json",
            DataType::Utf8,
            TEXT,
            &["{\"b\": 1,  \"a\": 12345678901234567890}", "null"],
        ),
        case(
            "jsonb",
            DataType::Utf8,
            TEXT,
            &["{\"b\": 1,  \"a\": [1, null]}", "\"😀\""],
        ),
        case("xml", DataType::Utf8, TEXT, &["<a>1</a>"]),
        case("inet", DataType::Utf8, TEXT, &["10.0.0.1", "::1", "10.1.0.0/16"]),
        case("cidr", DataType::Utf8, TEXT, &["10.1.0.0/16"]),
        case("macaddr", DataType::Utf8, TEXT, &["08:00:2b:01:02:03"]),
        case("bit(3)", DataType::Utf8, TEXT, &["101"]),
        case("varbit", DataType::Utf8, TEXT, &["", "1"]),
        case("money", DataType::Utf8, "v::numeric::text", &["-12345.67"]),
        case("int4range", DataType::Utf8, TEXT, &["[1,5)", "empty"]),
        case("tstzrange", DataType::Utf8, TEXT, &["[2026-01-01 00:00:00+09,)"]),
        case("tsvector", DataType::Utf8, TEXT, &["a b:1"]),
        case("point", DataType::Utf8, TEXT, &["(0.1,2)"]),
        case("pair", DataType::Utf8, TEXT, &["(,)", "(1,\"a b\")"]),
        case("hstore", DataType::Utf8, TEXT, &["a=>1, b=>NULL"]),
        case("price", DataType::Decimal128(8, 2), TEXT, &["1.20"]),
        case("regclass", DataType::Utf8, TEXT, &["pg_class"]),
        case("int2vector", DataType::Utf8, TEXT, &["1 2 3"]),
        case("pg_lsn", DataType::Utf8, TEXT, &["16/B374D848"]),
        case(
            "bool[]",
            DataType::new_list(DataType::Boolean, true),
            ELEMENTS,
            &["{}", "{true,NULL,false}"],
        ),
        case(
            "int2[]",
            DataType::new_list(DataType::Int16, true),
            ELEMENTS,
            &["{}", "{1,NULL,-3}"],
        ),
        case(
            "int4[]",
            DataType::new_list(DataType::Int32, true),
            ELEMENTS,
            &["{}", "{NULL}", "{1,NULL,-3}"],
        ),
        case(
            "int8[]",
            DataType::new_list(DataType::Int64, true),
            ELEMENTS,
            &["{9223372036854775807}"],
        ),
        case(
            "float8[]",
            DataType::new_list(DataType::Float64, true),
            ELEMENTS,
            &["{1.5,NULL}"],
        ),
        case(
            "numeric(10,2)[]",
            DataType::new_list(DataType::Decimal128(10, 2), true),
            ELEMENTS,
            &["{1.5,NULL,-99999999.99}"],
        ),
        case(
            "numeric[]",
            DataType::new_list(DataType::Decimal256(76, 38), true),
            "CASE WHEN v IS NOT NULL THEN (SELECT coalesce(jsonb_agg(e::numeric(76,38)::text ORDER BY o), '[]')::text \
             FROM unnest(v) WITH ORDINALITY AS u(e, o)) END",
            &["{1.5,NULL,-1e37}"],
        ),
        case(
            "text[]",
            DataType::new_list(DataType::Utf8, true),
            ELEMENTS,
            &["{}", "{a,NULL,\"NULL\",\"\",\"{,}\",😀}"],
        ),
        case(
            "varchar(3)[]",
            DataType::new_list(DataType::Utf8, true),
            ELEMENTS,
            &["{abc}"],
        ),
        case(
            "uuid[]",
            DataType::new_list(DataType::Utf8, true),
            ELEMENTS,
            &["{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11,NULL}"],
        ),
        case(
            "jsonb[]",
            DataType::new_list(DataType::Utf8, true),
            ELEMENTS,
            &["{\"{\\\"a\\\": 1}\",NULL}"],
        ),
        case(
            "mood[]",
            DataType::new_list(DataType::Utf8, true),
            ELEMENTS,
            &["{sad,NULL}"],
        ),
        case(
            "price[]",
            DataType::new_list(DataType::Decimal128(8, 2), true),
            ELEMENTS,
            &["{1.20,NULL}"],
        ),
        case(
            "date[]",
            DataType::new_list(DataType::Date32, true),
            "CASE WHEN v IS NOT NULL THEN (SELECT coalesce(jsonb_agg((e - date '1970-01-01')::text ORDER BY o), '[]')::text \
             FROM unnest(v) WITH ORDINALITY AS u(e, o)) END",
            &["{1969-12-31,NULL}"],
        ),
    ]
}

/// The exact text of one value, to be compared with the oracle's.
fn text_of(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => float_text(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float_text(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, _) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(_, _) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => {
            array
                .as_binary::<i32>()
                .value(row)
                .iter()
                .fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                })
        }
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => array
            .as_primitive::<TimestampMicrosecondType>()
            .value(row)
            .to_string(),
        DataType::Time64(TimeUnit::Microsecond) => array
            .as_primitive::<Time64MicrosecondType>()
            .value(row)
            .to_string(),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            format!("{} {} {}", value.months, value.days, value.nanoseconds)
        }
        DataType::List(_) => {
            let elements = array.as_list::<i32>().value(row);
            let texts: Vec<_> = (0..elements.len()).map(|row| text_of(&elements, row)).collect();
            serde_json::to_string(&texts).unwrap()
        }
        other => panic!("{other} is not expected"),
    })
}

/// By bits, so that -0 is not 0.
fn float_text(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

/// The oracle's text in the form of [`text_of`].
fn normalized(text: &str, data_type: &DataType) -> String {
    let parse = |text: &str| match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        number => number.parse().unwrap(),
    };
    match data_type {
        DataType::Float32 => float_text((parse(text) as f32).into()),
        DataType::Float64 => float_text(parse(text)),
        DataType::List(element) => {
            let texts: Vec<Option<String>> = serde_json::from_str(text).unwrap();
            let texts: Vec<_> = texts
                .into_iter()
                .map(|text| text.map(|text| normalized(&text, element.data_type())))
                .collect();
            serde_json::to_string(&texts).unwrap()
        }
        _ => text.to_owned(),
    }
}

const TYPES: &str = "CREATE EXTENSION citext; CREATE EXTENSION hstore; \
     CREATE TYPE mood AS ENUM ('sad', 'o''k'); CREATE TYPE pair AS (x int, y text); \
     CREATE DOMAIN price AS numeric(8,2)";

#[tokio::test]
async fn every_type_arrives_as_the_server_prints_it() {
    let server = PostgresServer::shared();
    let admin = server.database("every_type").await;
    admin.batch_execute(TYPES).await.unwrap();
    let cases = cases();
    for (number, case) in cases.iter().enumerate() {
        let table = format!("t{number}");
        admin
            .batch_execute(&format!("CREATE TABLE {table} (id int, v {})", case.sql_type))
            .await
            .unwrap();
        let values = std::iter::once("NULL").chain(case.values.iter().map(String::as_str));
        for (id, value) in values.enumerate() {
            let insert = format!("INSERT INTO {table} VALUES ({id}, {value})");
            if let Err(error) = admin.batch_execute(&insert).await {
                panic!("{} {insert}: {:?}", case.sql_type, error.as_db_error());
            }
        }
    }
    let connector = connector_of(&server, "every_type", json!({})).await;
    let (session, _) = sessions(&connector).await;
    for (number, case) in cases.iter().enumerate() {
        let table = format!("t{number}");
        let oracle: Vec<Option<String>> = admin
            .query(&format!("SELECT {} FROM {table} ORDER BY id", case.oracle), &[])
            .await
            .unwrap_or_else(|error| panic!("{}: {error:?}", case.sql_type))
            .into_iter()
            .map(|row| row.get(0))
            .collect();
        let batches = collect(&session, &format!("SELECT v FROM {table} ORDER BY id"))
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", case.sql_type));
        let mut seen = Vec::new();
        for batch in &batches {
            let column = batch.column(0);
            assert_eq!(column.data_type(), &case.arrow, "{}", case.sql_type);
            seen.extend((0..column.len()).map(|row| text_of(column, row)));
        }
        let expected: Vec<_> = oracle
            .iter()
            .map(|text| text.as_ref().map(|text| normalized(text, &case.arrow)))
            .collect();
        assert_eq!(seen, expected, "{}", case.sql_type);
        assert_eq!(seen.len(), case.values.len() + 1);
    }
}

#[tokio::test]
async fn other_encodings_are_transcoded_or_refused() {
    let server = PostgresServer::shared();
    let admin = server.admin("postgres").await;
    for (name, encoding) in [("latin", "LATIN1"), ("ascii", "SQL_ASCII")] {
        admin
            .batch_execute(&format!(
                "CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
            ))
            .await
            .unwrap();
    }
    let latin = server.admin("latin").await;
    latin
        .batch_execute("CREATE TABLE t AS SELECT 'é'::text AS v")
        .await
        .unwrap();
    let connector = connector_of(&server, "latin", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let all = rows(&session, "SELECT v FROM t").await.1;
    assert_eq!(all, [[Some("é".to_owned())]]);
    assert_eq!(rows(&session, "SELECT v FROM t WHERE v = 'é'").await.1, all);
    // Not in LATIN1: sent to the server it would be an error.
    assert_eq!(rows(&session, "SELECT v FROM t WHERE v <> '😀'").await.1, all);

    let ascii = server.admin("ascii").await;
    ascii
        .batch_execute("CREATE TABLE t AS SELECT convert_from('\\xe9'::bytea, 'SQL_ASCII') AS v")
        .await
        .unwrap();
    let connector = connector_of(&server, "ascii", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let error = collect(&session, "SELECT v FROM t")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("shop.public.t") && error.contains("0xe9"),
        "{error}"
    );
}
