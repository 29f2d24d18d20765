//! Every type, with NULLs and edge values: what arrives against the server's
//! own text.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType,
};
use serde_json::json;

use super::*;
use crate::common::{failure, rows, sessions};

/// One column: its type, what it must become, SQL that is its exact text, and
/// the values as SQL (NULL is added).
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
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

const TEXT: &str = "v";
const NUMBER: &str = "v + 0";
/// A FLOAT prints six digits; as a double it prints all.
const DOUBLE: &str = "CAST(v AS DOUBLE)";
const DAYS: &str = "DATEDIFF(v, '1970-01-01')";
const MICROS: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', v)";
const HEX: &str = "LOWER(HEX(v))";

fn cases() -> Vec<Case> {
    let timestamp = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    let nines = |count| "9".repeat(count);
    let texts = [
        "''",
        "'x'",
        "'it''s'",
        "'a\\\\b'",
        "'\"quoted\"'",
        "'x LIMIT 5'",
        "'😀 4-byte'",
        "'ß LIMIT é'",
        "'e\u{301}'",
        "'\\t\\n\\r'",
        "'NULL'",
        "' padded '",
        "CONCAT('a', CHAR(0), 'b')",
    ];
    let instants = [
        "'1970-01-01 00:00:00'",
        "'1969-12-31 23:59:59.999999'",
        "'1000-01-01 00:00:00'",
        "'0001-01-01 00:00:00'",
        "'9999-12-31 23:59:59.999999'",
        "'1582-10-10 12:00:00'",
        "'2000-01-01 00:00:00.000001'",
        "'2024-02-29 12:00:00'",
    ];
    vec![
        case("tinyint", DataType::Int16, TEXT, &["-128", "0", "127"]),
        case("tinyint(1)", DataType::Int16, TEXT, &["-1", "0", "1", "2"]),
        case("tinyint unsigned", DataType::Int16, TEXT, &["0", "255"]),
        case("smallint", DataType::Int16, TEXT, &["-32768", "32767"]),
        case("smallint unsigned", DataType::Int32, TEXT, &["0", "65535"]),
        case("mediumint", DataType::Int32, TEXT, &["-8388608", "8388607"]),
        case("mediumint unsigned", DataType::Int32, TEXT, &["0", "16777215"]),
        case("int", DataType::Int32, TEXT, &["-2147483648", "2147483647"]),
        case(
            "int(5) zerofill",
            DataType::Int64,
            NUMBER,
            &["0", "7", "4294967295"],
        ),
        case("int unsigned", DataType::Int64, TEXT, &["0", "4294967295"]),
        case(
            "bigint",
            DataType::Int64,
            TEXT,
            &["-9223372036854775808", "0", "9223372036854775807"],
        ),
        case(
            "bigint unsigned",
            DataType::Decimal128(20, 0),
            TEXT,
            &["0", "9223372036854775808", "18446744073709551615"],
        ),
        case("bit(1)", DataType::Boolean, NUMBER, &["0", "1"]),
        case("bit(9)", DataType::Int64, NUMBER, &["0", "1", "511"]),
        case("bit(63)", DataType::Int64, NUMBER, &["9223372036854775807"]),
        case(
            "bit(64)",
            DataType::Decimal128(20, 0),
            NUMBER,
            &["0", "18446744073709551615"],
        ),
        case("year", DataType::Int16, NUMBER, &["0", "1901", "2155", "'0000'"]),
        case(
            "float",
            DataType::Float32,
            DOUBLE,
            &["0", "-0e0", "1.1", "16777216", "3.40282e38", "1.2e-38", "-7.5"],
        ),
        case("float(7,2)", DataType::Float32, DOUBLE, &["1.005", "-99999.99"]),
        case(
            "double",
            DataType::Float64,
            TEXT,
            &[
                "0",
                "-0e0",
                "0.1",
                "1.7976931348623157e308",
                "2.2250738585072014e-308",
                "1e22",
            ],
        ),
        case(
            "decimal(38,0)",
            DataType::Decimal128(38, 0),
            TEXT,
            &["0", &nines(38), &format!("-{}", nines(38))],
        ),
        case(
            "decimal(38,38)",
            DataType::Decimal128(38, 38),
            TEXT,
            &[
                "0",
                &format!("0.{}1", "0".repeat(37)),
                &format!("-0.{}", nines(38)),
            ],
        ),
        case(
            "decimal(10,2)",
            DataType::Decimal128(10, 2),
            TEXT,
            &["0", "-0.01", "99999999.99", "1.5"],
        ),
        case(
            "decimal(8,2) unsigned zerofill",
            DataType::Decimal128(8, 2),
            "v + 0",
            &["0", "12.5"],
        ),
        case(
            "decimal(65,30)",
            DataType::Decimal256(65, 30),
            TEXT,
            &[
                &format!("{}.{}", nines(35), nines(30)),
                "-1",
                "0.000000000000000000000000000001",
            ],
        ),
        case("decimal(65,0)", DataType::Decimal256(65, 0), TEXT, &[&nines(65)]),
        case("varchar(40)", DataType::Utf8, TEXT, &texts),
        case("text", DataType::Utf8, TEXT, &texts),
        case("longtext", DataType::Utf8, TEXT, &texts),
        case(
            "char(12)",
            DataType::Utf8,
            TEXT,
            &["''", "'ab'", "'ab   '", "'😀'"],
        ),
        case(
            "varchar(40) character set latin1",
            DataType::Utf8,
            TEXT,
            &["'é'", "'ÿ'", "'€'", "''"],
        ),
        case(
            "varchar(40) character set sjis",
            DataType::Utf8,
            TEXT,
            &["'日本'", "'a'"],
        ),
        case(
            "varchar(40) character set utf8mb3",
            DataType::Utf8,
            TEXT,
            &["'é'", "'日本'"],
        ),
        case(
            "varchar(40) character set ucs2",
            DataType::Utf8,
            TEXT,
            &["'é'", "'日本'"],
        ),
        case(
            "enum('sad','o''k','')",
            DataType::Utf8,
            TEXT,
            &["'sad'", "'o''k'", "''", "'no label'"],
        ),
        case("set('a','b','c')", DataType::Utf8, TEXT, &["''", "'a'", "'c,a'"]),
        case(
            "json",
            DataType::Utf8,
            TEXT,
            &["'{\"b\": 1,  \"a\": 12345678901234567890}'", "'null'", "'\"😀\"'"],
        ),
        case(
            "uuid",
            DataType::Utf8,
            TEXT,
            &["'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"],
        ),
        case("inet4", DataType::Utf8, TEXT, &["'10.0.0.1'"]),
        case(
            "inet6",
            DataType::Utf8,
            TEXT,
            &["'::1'", "'2001:db8::ff00:42:8329'"],
        ),
        case("binary(3)", DataType::Binary, HEX, &["''", "'a'", "x'00ff00'"]),
        case(
            "varbinary(9)",
            DataType::Binary,
            HEX,
            &["''", "x'00'", "x'ff5c27'"],
        ),
        case("blob", DataType::Binary, HEX, &["''", "x'ff00ff'"]),
        case(
            "date",
            DataType::Date32,
            DAYS,
            &[
                "'1970-01-01'",
                "'1969-12-31'",
                "'0001-01-01'",
                "'9999-12-31'",
                "'2024-02-29'",
            ],
        ),
        case("datetime(6)", timestamp(None), MICROS, &instants),
        case("datetime", timestamp(None), MICROS, &["'1969-12-31 23:59:59'"]),
        case(
            "timestamp(6) null",
            timestamp(Some("UTC")),
            MICROS,
            &[
                "'1970-01-01 00:00:01'",
                "'2038-01-19 03:14:07.999999'",
                "'2026-03-29 01:30:00.5'",
            ],
        ),
        case(
            "time(6)",
            DataType::Utf8,
            TEXT,
            &[
                "'00:00:00'",
                "'23:59:59.999999'",
                "'838:59:59.999999'",
                "'-838:59:59.5'",
                "'-00:00:01'",
            ],
        ),
        case(
            "time",
            DataType::Utf8,
            TEXT,
            &["'24:00:00'", "'-01:02:03'", "'100:00:00'"],
        ),
        case("time(2)", DataType::Utf8, TEXT, &["'00:00:00.1'"]),
        case(
            "geometry",
            DataType::Binary,
            "LOWER(HEX(ST_AsWKB(v)))",
            &[
                "ST_GeomFromText('POINT(127.5 37.25)')",
                "ST_GeomFromText('LINESTRING(0 0,1 1)', 4326)",
            ],
        ),
        case(
            "point",
            DataType::Binary,
            "LOWER(HEX(ST_AsWKB(v)))",
            &["POINT(1, -2)"],
        ),
    ]
}

/// The exact text of one value, to be compared with the oracle's.
fn text_of(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => i32::from(array.as_boolean().value(row)).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => float_text(array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => float_text(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, _) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(_, _) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => array
            .as_primitive::<TimestampMicrosecondType>()
            .value(row)
            .to_string(),
        other => panic!("{other} is not expected"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By bits, so that -0 is not 0.
fn float_text(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

/// Texts that the server prints in hexadecimal, so that no byte is special.
fn oracle(server: &MariaDbServer, database: &str, sql: &str, arrow: &DataType) -> Vec<Option<String>> {
    server
        .sql(database, sql)
        .lines()
        .map(|line| {
            if line == "-" {
                return None;
            }
            let bytes: Vec<u8> = (0..line.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap())
                .collect();
            let text = String::from_utf8(bytes).unwrap();
            Some(match arrow {
                DataType::Float32 | DataType::Float64 => float_text(text.parse().unwrap()),
                _ => text,
            })
        })
        .collect()
}

#[tokio::test]
async fn every_type_arrives_as_the_server_prints_it() {
    let server = MariaDbServer::shared();
    let cases = cases();
    let mut tables = String::new();
    for (number, case) in cases.iter().enumerate() {
        let _ = writeln!(tables, "CREATE TABLE t{number} (id int, v {});", case.sql_type);
        let values = std::iter::once("NULL").chain(case.values.iter().map(String::as_str));
        for (id, value) in values.enumerate() {
            let _ = writeln!(tables, "INSERT INTO t{number} VALUES ({id}, {value});");
        }
    }
    server.database("every_type", &tables);
    let connector = connector_of(&server, "every_type", json!({})).await;
    let (session, _) = sessions(&connector).await;
    for (number, case) in cases.iter().enumerate() {
        let expected = oracle(
            &server,
            "every_type",
            &format!(
                "SELECT IFNULL(HEX(CONVERT({} USING utf8mb4)), '-') FROM t{number} ORDER BY id",
                case.oracle
            ),
            &case.arrow,
        );
        let batches = collect(&session, &format!("SELECT v FROM t{number} ORDER BY id"))
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", case.sql_type));
        let mut seen = Vec::new();
        for batch in &batches {
            let column = batch.column(0);
            assert_eq!(column.data_type(), &case.arrow, "{}", case.sql_type);
            seen.extend((0..column.len()).map(|row| text_of(column, row)));
        }
        assert_eq!(seen, expected, "{}", case.sql_type);
        assert_eq!(seen.len(), case.values.len() + 1, "{}", case.sql_type);
        assert_eq!(seen[0], None, "{}", case.sql_type);
    }
}

#[tokio::test]
async fn zero_dates_are_null_or_refused() {
    let server = MariaDbServer::shared();
    server.database(
        "zero_dates",
        "CREATE TABLE t (id int, d date NOT NULL, at datetime(6) NOT NULL, ts timestamp NULL); \
         INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00 00:00:00'), \
           (2, '2026-01-02', '2026-01-02 03:04:05', NULL)",
    );
    let connector = connector_of(&server, "zero_dates", json!({})).await;
    let (session, _) = sessions(&connector).await;
    assert_eq!(
        rows(&session, "SELECT d, at, ts FROM t ORDER BY id").await,
        [
            ["NULL", "NULL", "NULL"],
            ["2026-01-02", "2026-01-02T03:04:05", "NULL"]
        ]
    );
    let refusing = connector_of(&server, "zero_dates", json!({"zeroDates": "Fail"})).await;
    let (session, _) = sessions(&refusing).await;
    for column in ["d", "at", "ts"] {
        let error = failure(&session, &format!("SELECT {column} FROM t")).await;
        assert!(
            error.contains(&format!("shop.zero_dates.t: column \"{column}\""))
                && error.contains("0000-00-00"),
            "{error}"
        );
    }
    // The server filters the row out.
    assert_eq!(
        rows(&session, "SELECT id FROM t WHERE d > date '2000-01-01'").await,
        [["2"]]
    );
    let fields = connector.discover().await.unwrap();
    assert!(fields[0].columns.field(1).is_nullable());
    let fields = refusing.discover().await.unwrap();
    assert!(!fields[0].columns.field(1).is_nullable());
}

#[tokio::test]
async fn what_has_no_exact_form_is_refused() {
    let server = MariaDbServer::shared();
    let cases = [
        ("date", "'2024-00-00'", "a date that does not exist"),
        ("date", "'2018-02-00'", "a date that does not exist"),
        ("datetime", "'2024-00-00 01:00:00'", "a date that does not exist"),
        ("longtext", "REPEAT('x', 64 * 1024 * 1024 + 1)", "ValueTooLarge"),
    ];
    let mut tables = String::new();
    for (number, (sql_type, value, _)) in cases.iter().enumerate() {
        let _ = writeln!(
            tables,
            "CREATE TABLE r{number} (id int, v {sql_type}); INSERT INTO r{number} VALUES (1, {value});"
        );
    }
    tables.push_str(
        "SET sql_mode = 'ALLOW_INVALID_DATES'; \
         CREATE TABLE r9 (id int, v date); INSERT INTO r9 VALUES (1, '2024-02-31');",
    );
    server.database("refused", &tables);
    let connector = connector_of(&server, "refused", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let invalid = (9, "date", "2024-02-31", "a date that does not exist");
    let cases = cases
        .iter()
        .enumerate()
        .map(|(number, (sql_type, value, words))| (number, *sql_type, *value, *words))
        .chain([invalid]);
    for (number, sql_type, value, words) in cases {
        let error = failure(&session, &format!("SELECT v FROM r{number}")).await;
        assert!(error.contains(&format!("shop.refused.r{number}")), "{error}");
        assert!(error.contains("column \"v\""), "{error}");
        assert!(error.contains(words), "{sql_type} {value}: {error}");
        // The rest of the table can be read.
        assert_eq!(
            rows(&session, &format!("SELECT id FROM r{number}")).await,
            [["1"]]
        );
    }
}

#[tokio::test]
async fn large_rows_and_many_rows() {
    let server = MariaDbServer::shared();
    server.database(
        "sizes",
        "CREATE TABLE many (id int); INSERT INTO many SELECT seq FROM seq_1_to_100000; \
         CREATE TABLE wide (id int, v longtext); \
         INSERT INTO wide SELECT seq, REPEAT(CHAR(96 + seq % 26), 1000000) FROM seq_1_to_40; \
         CREATE TABLE pair (a longtext, b longtext); \
         INSERT INTO pair VALUES (REPEAT('x', 60 * 1024 * 1024), REPEAT('y', 60 * 1024 * 1024)); \
         CREATE VIEW huge AS SELECT a, b, a AS c FROM pair",
    );
    let connector = connector_of(&server, "sizes", json!({"limits": {"maxConnections": 1}})).await;
    let (session, _) = sessions(&connector).await;
    let batches = collect(&session, "SELECT id FROM many").await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100_000);
    assert!(batches.iter().all(|batch| batch.num_rows() <= 8192));
    let batches = collect(&session, "SELECT v FROM wide").await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 40);
    assert!(
        batches.iter().all(|batch| batch.num_rows() <= 10),
        "{}",
        batches.len()
    );
    let length = (60 * 1024 * 1024).to_string();
    assert_eq!(
        rows(&session, "SELECT octet_length(a), octet_length(b) FROM pair").await,
        [[length.clone(), length]]
    );
    let error = failure(
        &session,
        "SELECT octet_length(a), octet_length(b), octet_length(c) FROM huge",
    )
    .await;
    assert!(error.contains("shop.sizes.huge: ValueTooLarge"), "{error}");
    // That ended a connection, the only one there may be, and nothing else.
    assert_eq!(rows(&session, "SELECT count(*) FROM many").await, [["100000"]]);
}
