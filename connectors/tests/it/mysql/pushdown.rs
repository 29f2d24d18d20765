//! Push-down never changes an answer: every query runs with and without it.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::patterns::PATTERNS;
use super::*;
use crate::common::{plan, rows, sessions, try_rows};
use crate::differential::Harness;

/// A column, its type, the values its rows take in turn, and the constants it is
/// compared with, as SQL of the local dialect.
struct Column {
    name: &'static str,
    sql_type: &'static str,
    values: &'static [&'static str],
    constants: &'static [&'static str],
}

const TEXTS: &[&str] = &[
    "NULL",
    "'a'",
    "'A'",
    "''",
    "'a '",
    "'it''s'",
    "'a\\\\b'",
    "'x LIMIT 5'",
    "'é'",
    "'e'",
];
const TEXT_CONSTANTS: &[&str] = &[
    "'a'",
    "'A'",
    "''",
    "'a '",
    "'it''s'",
    "'a\\b'",
    "'x LIMIT 5'",
    "'é'",
    "'e'",
    "'😀'",
    "'a WHERE b'",
    "chr(0)",
];

const COLUMNS: &[Column] = &[
    column(
        "tiny",
        "tinyint",
        &["NULL", "-2", "0", "1", "127"],
        &["0", "-2", "200", "0.5"],
    ),
    column(
        "utiny",
        "tinyint unsigned",
        &["NULL", "0", "200", "255"],
        &["0", "-1", "255", "256"],
    ),
    column(
        "usmall",
        "smallint unsigned",
        &["NULL", "0", "65535"],
        &["0", "-1", "65535", "70000"],
    ),
    column(
        "umed",
        "mediumint unsigned",
        &["NULL", "0", "16777215"],
        &["0", "-1", "16777215"],
    ),
    column(
        "num",
        "int",
        &["NULL", "-5", "0", "2", "3"],
        &["0", "-5", "2", "3.0", "2.5"],
    ),
    column(
        "unum",
        "int unsigned",
        &["NULL", "0", "4294967295", "3000000000"],
        &["0", "-1", "3000000000"],
    ),
    column(
        "big",
        "bigint",
        &["NULL", "-9223372036854775808", "0", "9223372036854775807"],
        &["0", "9223372036854775807", "-1"],
    ),
    column(
        "ubig",
        "bigint unsigned",
        &["NULL", "0", "9223372036854775808", "18446744073709551615"],
        &[
            "0",
            "-1",
            "9223372036854775807",
            "arrow_cast('18446744073709551615', 'Decimal128(20, 0)')",
        ],
    ),
    column(
        "bits",
        "bit(10)",
        &["NULL", "0", "5", "1023"],
        &["0", "5", "-1", "1023"],
    ),
    column(
        "wide",
        "bit(64)",
        &["NULL", "0", "18446744073709551615"],
        &["0", "-1"],
    ),
    column(
        "made",
        "year",
        &["NULL", "0", "1970", "2026", "2070"],
        &["70", "0", "1970", "2026", "3000"],
    ),
    column(
        "price",
        "decimal(10,2)",
        &["NULL", "-1.25", "0", "1.25", "99999999.99"],
        &["0", "1.25", "-1.25", "1.255", "5"],
    ),
    column(
        "huge",
        "decimal(50,5)",
        &["NULL", "-4.5", "0", "1.125"],
        &["0", "1.125", "-4.5"],
    ),
    column(
        "real4",
        "float",
        &["NULL", "0.1", "-0e0", "0", "0.3", "16777217"],
        &[
            "0.1",
            "arrow_cast(0.1, 'Float32')",
            "0.0",
            "-0.0",
            "arrow_cast('NaN', 'Float32')",
            "0.3",
        ],
    ),
    column(
        "fixed4",
        "float(7,2)",
        &["NULL", "0.1", "1.01", "-7.5"],
        &["arrow_cast(0.1, 'Float32')", "1.01"],
    ),
    column(
        "real8",
        "double",
        &["NULL", "0.1", "-0e0", "0", "0.2", "-1e300"],
        &[
            "0.1",
            "0.0",
            "-0.0",
            "arrow_cast('NaN', 'Float64')",
            "1e300",
            "0.2",
        ],
    ),
    column(
        "day",
        "date",
        &[
            "NULL",
            "'0000-00-00'",
            "'1970-01-01'",
            "'1969-12-31'",
            "'9999-12-31'",
            "'1000-01-01'",
        ],
        &[
            "date '1970-01-01'",
            "date '1969-12-31'",
            "date '9999-12-31'",
            "date '0001-01-01'",
        ],
    ),
    column(
        "day_nn",
        "date NOT NULL DEFAULT '0000-00-00'",
        &["'0000-00-00'", "'1970-01-01'", "'1969-12-31'"],
        &["date '1970-01-01'", "date '1969-12-31'"],
    ),
    column(
        "at",
        "datetime(6)",
        &["NULL", "'0000-00-00'", "'1970-01-01'", "'1969-12-31 23:59:59.5'"],
        &[
            "timestamp '1970-01-01 00:00:00'",
            "timestamp '1969-12-31 23:59:59.5'",
            "date '1970-01-01'",
        ],
    ),
    column(
        "ts",
        "timestamp(6) NULL",
        &[
            "NULL",
            "'0000-00-00'",
            "'2000-01-01'",
            "'2000-01-01 00:00:00.000001'",
        ],
        &[
            "timestamptz '2000-01-01 00:00:00+00'",
            "timestamptz '2000-01-01 09:00:00+09'",
            "timestamptz '2000-01-01 00:00:00.000001+00'",
        ],
    ),
    column(
        "clock",
        "time(1)",
        &["NULL", "'-01:00:00'", "'24:00:00.5'"],
        &["'24:00:00.5'", "'24:00:00'"],
    ),
    column(
        "ci",
        "varchar(20) COLLATE utf8mb4_general_ci",
        TEXTS,
        TEXT_CONSTANTS,
    ),
    column("bin", "varchar(20) COLLATE utf8mb4_bin", TEXTS, TEXT_CONSTANTS),
    column(
        "nopad",
        "varchar(20) COLLATE utf8mb4_nopad_bin",
        TEXTS,
        TEXT_CONSTANTS,
    ),
    column(
        "padded",
        "char(10) COLLATE utf8mb4_general_ci",
        TEXTS,
        TEXT_CONSTANTS,
    ),
    column(
        "exact_char",
        "char(10) COLLATE utf8mb4_nopad_bin",
        TEXTS,
        TEXT_CONSTANTS,
    ),
    column(
        "body",
        "longtext COLLATE utf8mb4_unicode_ci",
        TEXTS,
        TEXT_CONSTANTS,
    ),
    column("latin", "varchar(20) CHARACTER SET latin1", TEXTS, TEXT_CONSTANTS),
    column(
        "bmp",
        "varchar(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci",
        TEXTS,
        TEXT_CONSTANTS,
    ),
    column(
        "sjis",
        "varchar(20) CHARACTER SET sjis",
        &["NULL", "'a'", "'A'", "''"],
        TEXT_CONSTANTS,
    ),
    column(
        "mood",
        "enum('sad','A','2','a ')",
        &["NULL", "'sad'", "'A'", "'2'", "1"],
        &["'sad'", "'a'", "'2'", "'1'", "''"],
    ),
    column(
        "tags",
        "set('a','b')",
        &["NULL", "''", "'a'", "'b,a'"],
        &["'a'", "'a,b'", "'b,a'", "''"],
    ),
    column(
        "doc",
        "json",
        &["NULL", "'{\"a\": 1}'", "'{\"a\":1}'"],
        &["'{\"a\": 1}'", "'{\"a\":1}'"],
    ),
    column(
        "raw",
        "varbinary(9)",
        &["NULL", "''", "x'01'", "x'0100'"],
        &["X'01'", "X''", "X'0100'"],
    ),
    column(
        "fixed_raw",
        "binary(3)",
        &["NULL", "''", "x'01'"],
        &["X'01'", "X'010000'", "X'000000'"],
    ),
    column(
        "u",
        "uuid",
        &["NULL", "'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaa1'"],
        &[
            "'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaa1'",
            "'AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAA1'",
            "'zz'",
        ],
    ),
    column("place", "point", &["NULL", "POINT(1, 2)"], &["X'01'"]),
];

const fn column(
    name: &'static str,
    sql_type: &'static str,
    values: &'static [&'static str],
    constants: &'static [&'static str],
) -> Column {
    Column {
        name,
        sql_type,
        values,
        constants,
    }
}

const ROWS: usize = 250;

/// The table: row `i` takes the value `i / (position + 1)`, so that columns do
/// not move together.
pub(super) fn typed() -> String {
    let mut sql = "CREATE TABLE typed (id bigint PRIMARY KEY, flag bit(1)".to_owned();
    for column in COLUMNS {
        let _ = write!(sql, ", `{}` {}", column.name, column.sql_type);
    }
    sql.push_str(");\nINSERT IGNORE INTO typed VALUES ");
    for row in 0..ROWS {
        let flag = ["NULL", "0", "1"][row % 3];
        let _ = write!(sql, "{}({row}, {flag}", if row == 0 { "" } else { ", " });
        for (position, column) in COLUMNS.iter().enumerate() {
            let value = column.values[(row + row / (position + 2)) % column.values.len()];
            let _ = write!(sql, ", {value}");
        }
        sql.push(')');
    }
    sql
}

fn leaf() -> impl Strategy<Value = String> {
    let operators = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let any_column = 0..COLUMNS.len();
    let compare = (
        any_column.clone(),
        operators,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(column, operator, pick, flipped)| {
            let column = &COLUMNS[column];
            let (name, value) = (column.name, column.constants[pick.index(column.constants.len())]);
            if flipped {
                format!("{value} {operator} {name}")
            } else {
                format!("{name} {operator} {value}")
            }
        });
    let between = (
        any_column.clone(),
        any::<[prop::sample::Index; 2]>(),
        any::<bool>(),
    )
        .prop_map(|(column, [low, high], negated)| {
            let column = &COLUMNS[column];
            let not = if negated { "NOT " } else { "" };
            let pick = |index: prop::sample::Index| column.constants[index.index(column.constants.len())];
            format!("{} {not}BETWEEN {} AND {}", column.name, pick(low), pick(high))
        });
    let inside = (
        any_column.clone(),
        prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        any::<bool>(),
    )
        .prop_map(|(column, picks, negated)| {
            let column = &COLUMNS[column];
            let not = if negated { "NOT " } else { "" };
            let list: Vec<_> = picks
                .iter()
                .map(|pick| column.constants[pick.index(column.constants.len())])
                .collect();
            format!("{} {not}IN ({})", column.name, list.join(", "))
        });
    let null = (any_column, any::<bool>()).prop_map(|(column, negated)| {
        let not = if negated { "NOT " } else { "" };
        format!("{} IS {not}NULL", COLUMNS[column].name)
    });
    let others = prop::sample::select(vec![
        "flag",
        "NOT flag",
        "flag = true",
        "flag IS TRUE",
        "flag IS NOT FALSE",
        "flag IS UNKNOWN",
        "ci LIKE 'a%'",
        "ci ILIKE 'A%'",
        "lower(ci) = 'a'",
        "padded LIKE '%a'",
        "num + 1 = 2",
        "num = tiny",
        "unum - 1 < 0",
        "CAST(real8 AS int) = 0",
        "CAST(at AS text) LIKE '1970%'",
        "ci = NULL",
        "ci IN ('a', NULL)",
        "num NOT IN (1, NULL)",
        "price / 2 = 0.625",
        "ci || 'x' = 'ax'",
        "date_trunc('day', ts) = timestamptz '2000-01-01 00:00:00+00'",
        "true",
        "1 = 0",
        "ci IS NOT DISTINCT FROM 'a'",
        "num IS DISTINCT FROM 2",
    ])
    .prop_map(str::to_owned);
    let like = (prop::sample::select(PATTERNS), any::<bool>()).prop_map(|(pattern, negated)| {
        let not = if negated { "NOT " } else { "" };
        format!("nopad {not}LIKE {pattern}")
    });
    prop_oneof![4 => compare, 1 => between, 2 => inside, 1 => null, 2 => others, 1 => like]
}

fn predicate() -> impl Strategy<Value = String> {
    leaf().prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" AND "))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" OR "))),
            inner.prop_map(|part| format!("(NOT {part})")),
        ]
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn predicates_keep_the_same_rows() {
    let server = MariaDbServer::shared();
    server.database("pushdown", &typed());
    let connector = connector_of(&server, "pushdown", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    let cases = std::env::var("LAKEGATE_PUSHDOWN_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(150);
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let (asked, kept) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let strategy = (
        predicate(),
        prop::sample::select(vec!["*", "id", "count(*)", "id, ci, real8"]),
    );
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&strategy, |(predicate, columns)| {
            let order = if columns == "count(*)" { "" } else { " ORDER BY id" };
            let sql = format!("SELECT {columns} FROM typed WHERE {predicate}{order}");
            let part = |condition: String| format!("SELECT count(*) FROM typed WHERE {condition}");
            tokio::runtime::Handle::current().block_on(async {
                asked.fetch_add(1, Ordering::Relaxed);
                // An error here says nothing: of rows the server filtered out, none
                // can meet it any more. The other way round is a mistake.
                let Ok(here) = try_rows(&raw, &sql).await else {
                    return Ok(());
                };
                kept.fetch_add(usize::from(!here.1.is_empty()), Ordering::Relaxed);
                let there = try_rows(&pushing, &sql).await.map_err(|error| error.to_string());
                prop_assert_eq!(
                    Ok(&here),
                    there.as_ref(),
                    "{}\n{}",
                    sql,
                    plan(&pushing, &sql).await
                );
                // A condition, its negation and its being unknown part the table.
                let mut parts = 0;
                for condition in [
                    format!("({predicate})"),
                    format!("NOT ({predicate})"),
                    format!("({predicate}) IS NULL"),
                ] {
                    let count = rows(&pushing, &part(condition)).await;
                    parts += count[0][0].parse::<usize>().unwrap();
                }
                prop_assert_eq!(parts, ROWS, "{}", predicate);
                Ok(())
            })
        })
    });
    outcome.unwrap();
    // The comparison means something only if most queries have an answer.
    let (asked, kept) = (asked.into_inner(), kept.into_inner());
    assert!(kept * 3 > asked, "{kept} of {asked} queries had rows");
}

/// Every column with every constant of its own under every operator, where
/// chance might miss one.
#[tokio::test]
async fn every_constant_compares_alike() {
    let server = MariaDbServer::shared();
    server.database("constants", &typed());
    let connector = connector_of(&server, "constants", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    let mut compared = 0;
    for column in COLUMNS {
        for value in column.constants {
            for form in ["= {}", "<> {}", "< {}", ">= {}", "IN ({}, {})", "NOT IN ({})"] {
                let condition = form.replace("{}", value);
                let sql = format!(
                    "SELECT id FROM typed WHERE {} {condition} ORDER BY id",
                    column.name
                );
                let Ok(here) = try_rows(&raw, &sql).await else {
                    continue;
                };
                assert_eq!(
                    here.1,
                    rows(&pushing, &sql).await,
                    "{sql}\n{}",
                    plan(&pushing, &sql).await
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 600, "only {compared} comparisons were possible");
}

/// Groups, aggregates and first rows: every type, then by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_orders_answer_alike() {
    let server = MariaDbServer::shared();
    server.database("groups", &typed());
    let connector = connector_of(&server, "groups", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    let harness = Harness {
        pushing: &pushing,
        raw: &raw,
        table: "typed",
    };
    let matrix = harness.matrix().await;
    let columns: Vec<String> = COLUMNS.iter().map(|column| column.name.to_owned()).collect();
    let chance = tokio::task::block_in_place(|| harness.by_chance(&columns, predicate()));
    println!("mariadb: matrix {matrix:?}, by chance {chance:?}");
    let sent = [
        "SELECT count(*) FILTER (WHERE num > 0), sum(price) FILTER (WHERE num = 2 OR tiny IS NULL), avg(num) FILTER (WHERE NOT flag), min(made) FILTER (WHERE nopad LIKE 'a%') FROM typed",
        "SELECT num, max(nopad) FILTER (WHERE id > 100), count(DISTINCT tiny) FILTER (WHERE id < 200) FROM typed GROUP BY num HAVING count(*) FILTER (WHERE id > 100) > 3",
        "SELECT num, count(raw) FILTER (WHERE num BETWEEN -5 AND 2) AS n FROM typed WHERE unum IS NOT NULL GROUP BY num ORDER BY n DESC, num LIMIT 3",
        "SELECT sum(id) FILTER (WHERE day >= date '1970-01-01'), sum(ubig) FILTER (WHERE ubig > 0) FROM typed",
    ];
    let stays = [
        "SELECT count(*) FILTER (WHERE ci = 'a') FROM typed",
        "SELECT count(*) FILTER (WHERE day < date '1970-01-01') FROM typed",
        "SELECT count(*) FILTER (WHERE num + 1 = 2) FROM typed",
        "SELECT sum(real8) FILTER (WHERE num = 2) FROM typed",
    ];
    harness.divides("CASE WHEN", "AggregateExec", &sent, &stays).await;
    assert!(matrix.cases > 500 && matrix.pushed > 200, "{matrix:?}");
    assert!(chance.cases > 60 && chance.pushed > 20, "{chance:?}");
}
