//! Push-down never changes an answer: every query runs with and without it.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::*;
use crate::differential::Harness;

const TYPED: &str = r"
CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE EXTENSION citext;
CREATE TABLE typed (
    id int8 PRIMARY KEY, small int2, num int4, flag bool, price numeric(10,2), big numeric(40,3), real4 float4, real8 float8,
    day date, at timestamp, atz timestamptz, clock time, name text, short varchar(20), padded char(5),
    ci text COLLATE anycase, cit citext, u uuid, doc jsonb, raw bytea, tags text[], free numeric, o oid
);
INSERT INTO typed
SELECT i,
    CASE WHEN i % 7 > 0 THEN i % 5 - 2 END, CASE WHEN i % 5 > 0 THEN i % 11 - 5 END,
    CASE WHEN i % 3 > 0 THEN i % 2 = 0 END, CASE WHEN i % 6 > 0 THEN (i % 9 - 4) * 1.25 END,
    CASE WHEN i % 6 > 0 THEN (i % 9 - 4) * 1.125 END,
    CASE i % 8 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN '-0'::float8 WHEN 3 THEN '0' WHEN 4 THEN 'Infinity' ELSE (i % 4) * 0.1 END,
    CASE i % 8 WHEN 0 THEN NULL WHEN 1 THEN 'NaN' WHEN 2 THEN '-0'::float8 WHEN 3 THEN '0' WHEN 4 THEN '-Infinity' ELSE (i % 4) * 0.1 - 0.1 END,
    CASE WHEN i % 4 > 0 THEN date '1969-12-30' + i % 5 END,
    CASE WHEN i % 4 > 0 THEN timestamp '1969-12-31 23:59:59' + i % 5 * interval '0.5 s' END,
    CASE WHEN i % 4 > 0 THEN timestamptz '1969-12-31 23:59:59+00' + i % 5 * interval '0.5 s' END,
    CASE WHEN i % 4 > 0 THEN time '23:59:58' + i % 3 * interval '0.5 s' END,
    n.texts[i % 9 + 1], n.texts[i % 8 + 1], n.texts[i % 4 + 1],
    n.texts[i % 9 + 1], n.texts[i % 9 + 1],
    CASE WHEN i % 3 > 0 THEN lpad((i % 4)::text, 32, 'a')::uuid END,
    CASE WHEN i % 3 > 0 THEN jsonb_build_object('a', i % 2) END,
    CASE WHEN i % 3 > 0 THEN decode(lpad(to_hex(i % 4), 2, '0'), 'hex') END,
    CASE i % 3 WHEN 0 THEN '{}' WHEN 1 THEN '{a,NULL}' END::text[],
    CASE WHEN i % 3 > 0 THEN round((i % 7 - 3) * 0.50, i % 3) END, i % 3
FROM generate_series(1, 250) i,
    (SELECT ARRAY['a', 'A', '', NULL, 'it''s', 'a\b', 'x LIMIT 5', '😀', 'ß LIMIT é'] AS texts) n;
INSERT INTO typed (id) VALUES (1000);
ANALYZE typed;
";

/// Constants worth comparing each column with, as SQL of the local dialect.
fn constants() -> Vec<(&'static str, Vec<&'static str>)> {
    let texts = vec![
        "'a'",
        "'A'",
        "''",
        "'it''s'",
        "'a\\b'",
        "'x LIMIT 5'",
        "'😀'",
        "'ß LIMIT é'",
        "'a WHERE b'",
        "'a    '",
        "chr(0)",
    ];
    vec![
        ("id", vec!["1", "100", "-1", "9223372036854775807", "18.5"]),
        ("small", vec!["0", "-2", "32767", "70000", "0.5"]),
        ("num", vec!["0", "-5", "2", "3.0"]),
        ("price", vec!["0", "1.25", "-1.25", "1.255", "5"]),
        ("big", vec!["0", "1.125", "-4.5"]),
        (
            "real4",
            vec![
                "0.1",
                "arrow_cast(0.1, 'Float32')",
                "0.0",
                "-0.0",
                "arrow_cast('NaN', 'Float32')",
                "0.3",
            ],
        ),
        (
            "real8",
            vec![
                "0.1",
                "0.0",
                "-0.0",
                "arrow_cast('NaN', 'Float64')",
                "1e300",
                "0.2",
            ],
        ),
        (
            "day",
            vec![
                "date '1970-01-01'",
                "date '1969-12-31'",
                "date '9999-12-31'",
                "date '0001-01-01'",
            ],
        ),
        (
            "at",
            vec![
                "timestamp '1970-01-01 00:00:00'",
                "timestamp '1969-12-31 23:59:59.5'",
                "date '1970-01-01'",
            ],
        ),
        (
            "atz",
            vec![
                "timestamptz '1970-01-01 00:00:00+00'",
                "timestamptz '1970-01-01 09:00:00+09'",
                "timestamptz '1969-12-31 23:59:59.5+00'",
            ],
        ),
        (
            "clock",
            vec!["time '23:59:58'", "time '23:59:58.5'", "time '00:00:00'"],
        ),
        ("name", texts.clone()),
        ("short", texts.clone()),
        ("padded", texts.clone()),
        ("ci", texts.clone()),
        ("cit", texts),
        (
            "u",
            vec![
                "'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaa1'",
                "'AAAAAAAA-AAAA-AAAA-AAAA-AAAAAAAAAAA1'",
                "'zz'",
            ],
        ),
        ("doc", vec!["'{\"a\": 1}'", "'{\"a\":1}'"]),
        ("raw", vec!["X'01'", "X''"]),
        (
            "free",
            vec!["0", "1.5", "-2", "arrow_cast('0.1', 'Decimal128(2, 1)')"],
        ),
        ("o", vec!["0", "1"]),
    ]
}

fn leaf() -> impl Strategy<Value = String> {
    let constants = constants();
    let columns = constants.len();
    let operators = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let compare = (0..columns, operators, any::<prop::sample::Index>(), any::<bool>()).prop_map({
        let constants = constants.clone();
        move |(column, operator, pick, flipped)| {
            let (name, values) = &constants[column];
            let value = values[pick.index(values.len())];
            if flipped {
                format!("{value} {operator} {name}")
            } else {
                format!("{name} {operator} {value}")
            }
        }
    });
    let between = (0..columns, any::<[prop::sample::Index; 2]>(), any::<bool>()).prop_map({
        let constants = constants.clone();
        move |(column, [low, high], negated)| {
            let (name, values) = &constants[column];
            let not = if negated { "NOT " } else { "" };
            let (low, high) = (values[low.index(values.len())], values[high.index(values.len())]);
            format!("{name} {not}BETWEEN {low} AND {high}")
        }
    });
    let inside = (
        0..columns,
        prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        any::<bool>(),
    )
        .prop_map({
            let constants = constants.clone();
            move |(column, picks, negated)| {
                let (name, values) = &constants[column];
                let not = if negated { "NOT " } else { "" };
                let list: Vec<_> = picks
                    .iter()
                    .map(|pick| values[pick.index(values.len())])
                    .collect();
                format!("{name} {not}IN ({})", list.join(", "))
            }
        });
    let null = (0..columns, any::<bool>()).prop_map(move |(column, negated)| {
        let not = if negated { "NOT " } else { "" };
        format!("{} IS {not}NULL", constants[column].0)
    });
    let others = prop::sample::select(vec![
        "flag",
        "NOT flag",
        "flag = true",
        "flag IS TRUE",
        "flag IS NOT FALSE",
        "flag IS UNKNOWN",
        "tags IS NULL",
        "name LIKE 'a%'",
        "name LIKE '_'",
        "name LIKE '%'",
        "name NOT LIKE '%LIMIT _'",
        "short LIKE 'a\\_'",
        "ci LIKE 'a%'",
        "padded LIKE 'a    '",
        "u LIKE 'a%'",
        "name ILIKE 'A%'",
        "lower(ci) = 'a'",
        "padded LIKE '%a'",
        "num + 1 = 2",
        "num = small",
        "CAST(real8 AS int) = 0",
        "CAST(at AS text) LIKE '1970%'",
        "name = NULL",
        "name IN ('a', NULL)",
        "num NOT IN (1, NULL)",
        "date_trunc('day', atz) = timestamptz '1970-01-01 00:00:00+00'",
        "true",
        "1 = 0",
        "name IS NOT DISTINCT FROM 'a'",
        "num IS DISTINCT FROM 1",
    ])
    .prop_map(str::to_owned);
    prop_oneof![4 => compare, 1 => between, 2 => inside, 1 => null, 2 => others]
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
    let server = PostgresServer::shared();
    let admin = server.database("pushdown").await;
    admin.batch_execute(TYPED).await.unwrap();
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
        prop::sample::select(vec!["*", "id", "count(*)", "id, name, real8"]),
    );
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&strategy, |(predicate, columns)| {
            let order = if columns == "count(*)" { "" } else { " ORDER BY id" };
            let sql = format!("SELECT {columns} FROM typed WHERE {predicate}{order}");
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
                Ok(())
            })
        })
    });
    outcome.unwrap();
    // The comparison means something only if most queries have an answer.
    let (asked, kept) = (asked.into_inner(), kept.into_inner());
    assert!(kept * 3 > asked, "{kept} of {asked} queries had rows");
}

/// The traps one by one, where chance might miss them.
#[tokio::test]
async fn every_constant_compares_alike() {
    let server = PostgresServer::shared();
    let admin = server.database("constants").await;
    admin.batch_execute(TYPED).await.unwrap();
    let connector = connector_of(&server, "constants", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    let mut compared = 0;
    for (column, values) in constants() {
        for value in values {
            for operator in ["=", "<"] {
                let sql = format!("SELECT id FROM typed WHERE {column} {operator} {value} ORDER BY id");
                let Ok(here) = try_rows(&raw, &sql).await else {
                    continue;
                };
                assert_eq!(here, rows(&pushing, &sql).await, "{sql}");
                compared += 1;
            }
        }
    }
    assert!(compared > 200, "only {compared} comparisons were possible");
}

#[tokio::test]
async fn what_is_sent_and_what_stays() {
    let server = PostgresServer::shared();
    let admin = server.database("sent").await;
    admin.batch_execute(TYPED).await.unwrap();
    let connector = connector_of(&server, "sent", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let sent = [
        ("id = 5", "(\"id\" = '5'::pg_catalog.int8)"),
        ("small > 1", "(\"small\" > '1'::pg_catalog.int2)"),
        (
            "free > 1",
            "(\"free\" > '1.00000000000000000000000000000000000000'::pg_catalog.numeric)",
        ),
        ("price BETWEEN 1 AND 2.5", "'1.00'::pg_catalog.numeric"),
        ("name IN ('it''s', 'a\\b', 'c', 'd')", "('it''s'::pg_catalog.text"),
        ("short <> 'a'", "(\"short\" <> 'a'::pg_catalog.text)"),
        (
            "day < date '1970-01-01'",
            "(\"day\" < '1970-01-01'::pg_catalog.date)",
        ),
        (
            "atz = timestamptz '1970-01-01 09:00:00+09'",
            "(\"atz\" = '1970-01-01 00:00:00.000000+00'::pg_catalog.timestamptz)",
        ),
        (
            "at >= timestamp '1970-01-01'",
            "(\"at\" >= '1970-01-01 00:00:00.000000'::pg_catalog.timestamp)",
        ),
        ("NOT flag", "(NOT \"flag\")"),
        (
            "name < 'b'",
            "(\"name\" COLLATE pg_catalog.\"C\" < 'b'::pg_catalog.text)",
        ),
        (
            "name NOT LIKE 'a%'",
            "(\"name\" COLLATE pg_catalog.\"C\" NOT LIKE 'a%'::pg_catalog.text)",
        ),
        ("padded = 'a    '", "(\"padded\" = 'a    '::pg_catalog.bpchar)"),
        (
            "u = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaa1'",
            "(\"u\" = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaa1'::pg_catalog.uuid)",
        ),
        ("doc IS NOT NULL", "(\"doc\" IS NOT NULL)"),
        ("real8 > 0.5", "(\"real8\" > '5e-1'::pg_catalog.float8)"),
    ];
    for (predicate, sql) in sent {
        let plan = plan(
            &session,
            &format!("SELECT id FROM typed WHERE {predicate} LIMIT 3"),
        )
        .await;
        assert!(
            plan.contains(&format!("WHERE {sql}")) || plan.contains(sql),
            "{predicate}:\n{plan}"
        );
        assert!(
            plan.contains("LIMIT 3) TO STDOUT (FORMAT binary)"),
            "{predicate}:\n{plan}"
        );
        assert!(!plan.contains("FilterExec"), "{predicate}:\n{plan}");
        assert!(plan.contains("source=shop (postgres)"), "{plan}");
    }
    for predicate in [
        "ci = 'a'",
        "cit = 'a'",
        "padded = 'a'",
        "padded < 'a    '",
        "ci < 'b'",
        "cit LIKE 'a%'",
        "name ILIKE 'a%'",
        "name LIKE 'a\\_%'",
        "u = 'zz'",
        "u > 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaa1'",
        "doc = '{}'",
        "real8 = 0.0",
        "o = 1",
        "name = chr(0)",
        "num + 1 = 2",
    ] {
        let plan = plan(
            &session,
            &format!("SELECT id FROM typed WHERE {predicate} LIMIT 3"),
        )
        .await;
        assert!(plan.contains("FilterExec"), "{predicate}:\n{plan}");
        let physical = plan.split("RemoteScanExec").nth(1).unwrap();
        assert!(!physical.contains("WHERE"), "{predicate}:\n{plan}");
        assert!(!physical.contains(" LIMIT 3"), "{predicate}:\n{plan}");
    }
}

#[tokio::test]
async fn nulls_of_rows_and_texts_of_foreign_tables_stay_here() {
    let server = PostgresServer::shared();
    let admin = server.database("stays").await;
    admin
        .batch_execute(
            "CREATE TYPE pair AS (x int, y text); CREATE TABLE t (id int, v pair); \
             INSERT INTO t VALUES (1, NULL), (2, ROW(NULL, NULL)), (3, ROW(1, NULL)); \
             CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw; \
             CREATE FOREIGN TABLE f (id int, name text) SERVER s",
        )
        .await
        .unwrap();
    let connector = connector_of(&server, "stays", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    for sql in [
        "SELECT id FROM t WHERE v IS NULL ORDER BY id",
        "SELECT id FROM t WHERE v IS NOT NULL ORDER BY id",
    ] {
        assert_eq!(rows(&pushing, sql).await, rows(&raw, sql).await, "{sql}");
    }
    let plan = plan(&pushing, "SELECT id FROM f WHERE name = 'a' AND id = 1").await;
    assert!(
        plan.contains("WHERE (\"id\" = '1'::pg_catalog.int4)) TO"),
        "{plan}"
    );
}

#[tokio::test]
async fn limits_offsets_and_no_columns() {
    let server = PostgresServer::shared();
    let admin = server.database("limits").await;
    admin
        .batch_execute("CREATE TABLE t AS SELECT i AS id, i % 3 AS g FROM generate_series(1, 30) i")
        .await
        .unwrap();
    let connector = connector_of(&server, "limits", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    for (sql, expected) in [
        ("SELECT id FROM t LIMIT 2 OFFSET 1", 2),
        ("SELECT id FROM t LIMIT 0", 0),
        ("SELECT id FROM t OFFSET 29", 1),
        ("SELECT id FROM t WHERE id > 5 LIMIT 100 OFFSET 20", 5),
        ("SELECT id FROM t WHERE id % 2 = 0 LIMIT 7", 7),
        ("SELECT id FROM t WHERE id % 2 = 0 AND id > 20 LIMIT 7", 5),
        ("SELECT 1 FROM t", 30),
        ("SELECT 1 FROM t LIMIT 4", 4),
        ("SELECT 1 FROM t a CROSS JOIN t b WHERE a.g = 0", 300),
        (
            "SELECT * FROM (SELECT * FROM t ORDER BY id LIMIT 3) s WHERE id > 2",
            1,
        ),
        ("SELECT * FROM (SELECT * FROM t LIMIT 3) s WHERE id > 0", 3),
        ("SELECT a.id FROM t a JOIN t b ON a.id = b.id", 30),
        ("SELECT id FROM t UNION ALL SELECT id FROM t", 60),
    ] {
        assert_eq!(rows(&pushing, sql).await.1.len(), expected, "{sql}");
        assert_eq!(rows(&raw, sql).await.1.len(), expected, "{sql}");
    }
    for sql in [
        "SELECT count(*) FROM t",
        "SELECT count(*) FROM t WHERE id > 3 AND g = 1",
        "SELECT g, count(*), sum(id), min(id), avg(id) FROM t GROUP BY g ORDER BY g",
        "SELECT id FROM t ORDER BY id DESC LIMIT 3 OFFSET 2",
    ] {
        assert_eq!(rows(&pushing, sql).await, rows(&raw, sql).await, "{sql}");
    }
    assert_eq!(
        rows(&pushing, "SELECT count(*) FROM t").await.1,
        [[Some("30".to_owned())]]
    );
}

/// Groups, aggregates and first rows: every type, then by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_orders_answer_alike() {
    let server = PostgresServer::shared();
    let admin = server.database("groups").await;
    admin.batch_execute(TYPED).await.unwrap();
    let connector = connector_of(&server, "groups", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    let harness = Harness {
        pushing: &pushing,
        raw: &raw,
        table: "typed",
    };
    let matrix = harness.matrix().await;
    let columns: Vec<String> = constants().iter().map(|(name, _)| (*name).to_owned()).collect();
    let chance = tokio::task::block_in_place(|| harness.by_chance(&columns, predicate()));
    println!("postgres: matrix {matrix:?}, by chance {chance:?}");
    let sent = [
        "SELECT count(*) FILTER (WHERE num > 0), sum(price) FILTER (WHERE num = 2 OR small IS NULL), avg(num) FILTER (WHERE NOT flag), min(name) FILTER (WHERE name LIKE 'a%') FROM typed",
        "SELECT num, max(day) FILTER (WHERE id > 100), count(DISTINCT small) FILTER (WHERE id < 200), bool_or(flag) FILTER (WHERE id > 9) FROM typed GROUP BY num HAVING count(*) FILTER (WHERE id > 100) > 3",
        "SELECT num, count(raw) FILTER (WHERE num BETWEEN -5 AND 2) AS n FROM typed WHERE small IS NOT NULL GROUP BY num ORDER BY n DESC, num LIMIT 3",
        "SELECT sum(id) FILTER (WHERE atz >= timestamptz '1970-01-01 00:00:00+00'), sum(big) FILTER (WHERE real8 > 0.5) FROM typed",
    ];
    let stays = [
        "SELECT count(*) FILTER (WHERE ci = 'a') FROM typed",
        "SELECT count(*) FILTER (WHERE name ILIKE 'a%') FROM typed",
        "SELECT count(*) FILTER (WHERE num + 1 = 2) FROM typed",
        "SELECT sum(real8) FILTER (WHERE num = 2) FROM typed",
    ];
    harness
        .divides("FILTER (WHERE", "AggregateExec", &sent, &stays)
        .await;
    let sent = [
        "SELECT date_trunc('month', at) AS m, count(*), sum(price) FROM typed GROUP BY m",
        "SELECT date_trunc('second', at) AS s, num, max(id) FROM typed WHERE id > 5 GROUP BY s, num ORDER BY s DESC NULLS LAST, num LIMIT 4",
        "SELECT price * 2 AS p, count(*) FROM typed GROUP BY p HAVING count(*) > 3",
        "SELECT price - big AS p, min(name) FROM typed GROUP BY p",
        "SELECT CAST(num AS bigint) + CAST(small AS bigint) AS s, count(*) FROM typed GROUP BY s ORDER BY s NULLS FIRST LIMIT 5",
        "SELECT DISTINCT CAST(small AS int) AS s FROM typed",
    ];
    let stays = [
        "SELECT date_trunc('month', atz) AS m, count(*) FROM typed GROUP BY m",
        "SELECT date_trunc('month', day) AS m, count(*) FROM typed GROUP BY m",
        "SELECT num % 3 AS m, count(*) FROM typed GROUP BY m",
        "SELECT num + num AS m, count(*) FROM typed GROUP BY m",
        "SELECT CAST(num AS double) AS m, count(*) FROM typed GROUP BY m",
        "SELECT day_of AS m, count(*) FROM (SELECT at, extract(day FROM at) AS day_of FROM typed) GROUP BY m",
    ];
    harness.divides("GROUP BY", "AggregateExec", &sent, &stays).await;
    assert!(matrix.cases > 300 && matrix.pushed > 250, "{matrix:?}");
    assert!(chance.cases > 60 && chance.pushed > 20, "{chance:?}");
}
