//! The SQLite connector against real files.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt;
use lakegate_connectors::{Connector, TableKind};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

use crate::common::{columns, connector, failure, lines, plan, rows, sessions, table, try_rows};
use crate::differential::Harness;

pub async fn create(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

async fn over(directory: &Path, sql: &str) -> Arc<dyn Connector> {
    create(&directory.join("shop.db"), sql).await;
    connector(directory, json!({"sqlite": {"path": "shop.db"}}))
        .await
        .unwrap()
}

const ODD: &str = "
    CREATE TABLE odd (
        id INTEGER PRIMARY KEY, n INT, r REAL, t TEXT COLLATE NOCASE, d DECIMAL(10,2), f BOOLEAN, b BLOB, any_thing,
        day DATE);
    INSERT INTO odd VALUES
        (1, 1, 1.5, 'a', 1.10, 1, x'00ff', 1, '2024-01-01'),
        (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
        (3, -5, -0.5, 'A', -0.05, 0, x'', 'x', '20240102'),
        (4, 9223372036854775807, 1e300, 'x LIMIT 5', 7, 1, x'41', 2.5, 1700000000),
        (5, 0, 0.0, 'a WHERE b', 99999999.99, 'false', NULL, '', 'soon'),
        (6, 7, 2, 'it''s', 0, 'TRUE', NULL, 0, NULL),
        (7, 7, 0.1, '', 12, 0, NULL, -1, NULL),
        (8, 3, 3.25, 'ß \u{1F602} LIMIT é', 1, 1, NULL, NULL, NULL),
        (9, -9223372036854775808, 100, 'Z', 2, 0, NULL, NULL, NULL),
        (10, 10, 10, '10', 3, NULL, NULL, NULL, NULL);";

#[tokio::test]
async fn declared_types_and_kinds() {
    let directory = tempfile::tempdir().unwrap();
    let shop = over(
        directory.path(),
        &format!(
            "{ODD}
             CREATE VIEW named AS SELECT id, t, n + 1 AS more FROM odd;
             CREATE VIEW broken AS SELECT x FROM gone;
             CREATE TABLE pair (a TEXT, b INTEGER, \"we\"\"ird\" TEXT, PRIMARY KEY (b, a)) WITHOUT ROWID;
             CREATE TABLE made (a INT, twice INT GENERATED ALWAYS AS (a * 2));"
        ),
    )
    .await;
    assert_eq!(
        columns(&shop, "odd").await,
        [
            "id Int64",
            "n Int64",
            "r Float64",
            "t Utf8",
            "d Decimal128(10, 2)",
            "f Boolean",
            "b Binary",
            "any_thing Utf8",
            "day Utf8"
        ]
    );
    let names: Vec<String> = shop
        .discover()
        .await
        .unwrap()
        .into_iter()
        .map(|table| table.name)
        .collect();
    assert_eq!(
        names,
        ["made", "named", "odd", "pair"],
        "a broken view hides no other table"
    );
    let odd = table(&shop, "odd").await;
    assert_eq!(
        (odd.schema.as_str(), odd.primary_key.as_slice()),
        ("main", ["id".to_owned()].as_slice())
    );
    assert_eq!(odd.rows, Some(10));
    assert_eq!(table(&shop, "pair").await.primary_key, ["b", "a"]);
    assert_eq!(table(&shop, "named").await.kind, TableKind::View);
    assert_eq!(columns(&shop, "made").await, ["a Int64", "twice Int64"]);

    let (session, _) = sessions(&shop).await;
    assert_eq!(
        lines(
            &session,
            "SELECT id, d, f, any_thing, day FROM odd WHERE id < 6 ORDER BY id"
        )
        .await,
        [
            "1|1.10|true|1|2024-01-01",
            "2|NULL|NULL|NULL|NULL",
            "3|-0.05|false|x|20240102",
            "4|7.00|true|2.5|1700000000",
            "5|99999999.99|false||soon",
        ]
    );
    assert_eq!(
        lines(&session, "SELECT more FROM named WHERE id = 1").await,
        ["2"]
    );
    assert!(
        shop.probe()
            .await
            .unwrap()
            .server_version
            .unwrap()
            .starts_with("3.")
    );
}

/// Each query with push-down and without: same rows, order and types.
async fn compare(shop: &Arc<dyn Connector>, queries: &[&str]) {
    let (pushing, raw) = sessions(shop).await;
    for query in queries {
        let pushed = try_rows(&pushing, query)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        let local = try_rows(&raw, query).await.unwrap();
        assert_eq!(pushed, local, "{query}");
    }
}

#[tokio::test]
async fn limits_counts_and_joins() {
    let directory = tempfile::tempdir().unwrap();
    let shop = over(directory.path(), ODD).await;
    compare(
        &shop,
        &[
            "SELECT id FROM odd LIMIT 2 OFFSET 1",
            "SELECT id FROM odd ORDER BY id LIMIT 2 OFFSET 1",
            "SELECT id FROM odd WHERE n > 0 LIMIT 2 OFFSET 1",
            "SELECT id FROM odd WHERE lower(t) = 'a' LIMIT 1 OFFSET 1",
            "SELECT id FROM odd WHERE n > 0 AND lower(t) = 'a' LIMIT 1",
            "SELECT * FROM (SELECT id FROM odd ORDER BY id LIMIT 3) WHERE id > 2",
            "SELECT id FROM odd LIMIT 0",
            "SELECT id FROM odd OFFSET 8",
            "SELECT count(*) FROM odd",
            "SELECT count(*) FROM odd WHERE n > 0",
            "SELECT count(*) FROM (SELECT 1 FROM odd LIMIT 4)",
            "SELECT 1 FROM odd",
            "SELECT count(*) FROM odd a CROSS JOIN odd b",
            "SELECT a.id, b.id FROM odd a JOIN odd b ON a.n = b.n ORDER BY 1, 2",
            "SELECT t, n FROM odd ORDER BY t NULLS FIRST, id DESC LIMIT 3",
        ],
    )
    .await;
    let (session, raw) = sessions(&shop).await;
    assert_eq!(
        rows(&session, "SELECT 1 FROM odd a CROSS JOIN odd b").await.len(),
        100
    );
    let explained = plan(
        &session,
        "SELECT id FROM odd WHERE n > 0 AND lower(t) = 'a' LIMIT 1",
    )
    .await;
    assert!(explained.contains("local=["), "{explained}");
    assert!(!explained.contains("FROM main.\"odd\" AS t WHERE CASE WHEN typeof(t.\"n\") IN ('integer', 'null') THEN t.\"n\" > 0 ELSE 1 END LIMIT"), "{explained}");
    let explained = plan(&session, "SELECT id FROM odd WHERE id = 7 LIMIT 1").await;
    assert!(
        explained.contains("SELECT t.\"id\", t.rowid FROM main.\"odd\" AS t WHERE t.\"id\" = 7 LIMIT 1"),
        "{explained}"
    );
    assert!(
        !plan(&raw, "SELECT id FROM odd WHERE id = 7")
            .await
            .contains("WHERE")
    );
    let analyzed = rows(&session, "EXPLAIN ANALYZE SELECT id FROM odd WHERE id > 7")
        .await
        .concat()
        .join("\n");
    assert!(analyzed.contains("remote_rows=3"), "{analyzed}");
}

/// Predicates of every kind the dialect knows, and some it does not.
fn predicate() -> impl Strategy<Value = String> {
    let comparison = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let integer = prop::sample::select(vec!["-5", "0", "7", "9223372036854775807", "10", "2.5"]);
    let real = prop::sample::select(vec!["0.0", "-0.5", "1.5", "0.1", "1e300", "2", "-0.0"]);
    let text = prop::sample::select(vec![
        "a",
        "A",
        "Z",
        "x LIMIT 5",
        "it''s",
        "",
        "10",
        "a WHERE b",
        "ß 😂 LIMIT é",
        "zz",
    ]);
    let leaf = prop_oneof![
        (
            prop::sample::select(vec!["id", "n"]),
            comparison.clone(),
            integer.clone()
        )
            .prop_map(|(column, operator, value)| format!("{column} {operator} {value}")),
        (comparison.clone(), real).prop_map(|(operator, value)| format!("r {operator} {value}")),
        (comparison.clone(), text.clone()).prop_map(|(operator, value)| format!("t {operator} '{value}'")),
        (text.clone(), text.clone()).prop_map(|(a, b)| format!("t NOT IN ('{a}', '{b}')")),
        (text.clone(), text.clone()).prop_map(|(a, b)| format!("t BETWEEN '{a}' AND '{b}'")),
        (integer.clone(), integer.clone()).prop_map(|(a, b)| format!("n IN ({a}, {b})")),
        (integer.clone(), integer).prop_map(|(a, b)| format!("n NOT BETWEEN {a} AND {b}")),
        prop::sample::select(vec!["id", "n", "r", "t", "d", "f", "b", "any_thing"])
            .prop_map(|column| format!("{column} IS NULL")),
        prop::sample::select(vec![
            "f",
            "NOT f",
            "d > 1.5",
            "any_thing = '1'",
            "day > '2024'",
            "n IS NOT NULL"
        ])
        .prop_map(str::to_owned),
        (comparison, text).prop_map(|(operator, value)| format!("any_thing {operator} '{value}'")),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} AND {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} OR {b})")),
            inner.prop_map(|a| format!("NOT ({a})")),
        ]
    })
}

#[test]
fn push_down_never_changes_an_answer() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (pushing, raw) = runtime.block_on(async {
        let shop = over(directory.path(), ODD).await;
        sessions(&shop).await
    });
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&predicate(), |predicate| {
            let query = format!("SELECT * FROM odd WHERE {predicate} ORDER BY id");
            let (pushed, local) =
                runtime.block_on(async { (try_rows(&pushing, &query).await, try_rows(&raw, &query).await) });
            match (pushed, local) {
                (Ok(pushed), Ok(local)) => prop_assert_eq!(pushed, local, "{}", query),
                (Err(_), Err(_)) => {}
                (pushed, local) => prop_assert!(false, "{query}: {pushed:?} {local:?}"),
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_value_of_another_type_is_named_whatever_is_pushed() {
    let directory = tempfile::tempdir().unwrap();
    let shop = over(
        directory.path(),
        "CREATE TABLE bad (id INTEGER PRIMARY KEY, n INT, t TEXT, d DECIMAL(4,1), r REAL);
         INSERT INTO bad VALUES (1, 5, 'a', 1.5, 1), (2, 'five', x'00', 1.25, 'x'), (3, 6.5, 'b', 2, 2);",
    )
    .await;
    let (pushing, raw) = sessions(&shop).await;
    for session in [&pushing, &raw] {
        for (query, column, row) in [
            ("SELECT n FROM bad", "n", "rowid 2"),
            ("SELECT n FROM bad WHERE n = 5", "n", "rowid 2"),
            ("SELECT n FROM bad WHERE NOT (n > 5)", "n", "rowid 2"),
            ("SELECT t FROM bad WHERE t < 'b'", "t", "rowid 2"),
            ("SELECT d FROM bad", "d", "rowid 2"),
            ("SELECT r FROM bad WHERE r > 1", "r", "rowid 2"),
            // Of a column that is only compared.
            ("SELECT id FROM bad WHERE n = 5", "n", "rowid 2"),
            ("SELECT id, n FROM bad WHERE t <> 'a'", "n", "rowid 2"),
            ("SELECT id FROM bad WHERE t <> 'a' AND id < 3", "t", "rowid 2"),
        ] {
            let message = failure(session, query).await;
            let expected = [format!("shop.main.bad: column \"{column}\" of {row}")];
            assert!(
                expected.iter().all(|part| message.contains(part)),
                "{query}: {message}"
            );
        }
        for (query, column) in [
            ("SELECT count(*) FROM bad WHERE n = 5", "n"),
            ("SELECT max(id) FROM bad WHERE n = 5 OR id = 7", "n"),
            (
                "SELECT id % 2, count(*) FROM bad WHERE r > 0 GROUP BY id % 2",
                "r",
            ),
            ("SELECT id, count(*) FROM bad WHERE r > 0 GROUP BY id", "r"),
            ("SELECT count(*) FILTER (WHERE n = 5) FROM bad", "n"),
            (
                "SELECT count(*) FROM (SELECT 1 FROM bad WHERE n = 5 LIMIT 9)",
                "n",
            ),
        ] {
            let message = failure(session, query).await;
            assert!(
                message.contains(&format!("shop.main.bad: column \"{column}\" of ")),
                "{query}: {message}"
            );
        }
        assert_eq!(lines(session, "SELECT id FROM bad").await, ["1", "2", "3"]);
    }
    let plan = plan(&pushing, "SELECT count(*) FROM bad WHERE n = 5").await;
    assert!(plan.contains("WHERE CASE WHEN"), "{plan}");
}

#[tokio::test]
async fn utf_16_databases_read_the_same() {
    let directory = tempfile::tempdir().unwrap();
    for encoding in ["UTF-16le", "UTF-16be"] {
        let path = directory.path().join(format!("{encoding}.db"));
        create(
            &path,
            &format!(
                "PRAGMA encoding = '{encoding}'; CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT);
                 INSERT INTO t VALUES (1, 'été'), (2, '\u{1F602}'), (3, '\u{ff5e}'), (4, '');"
            ),
        )
        .await;
        let shop = connector(
            directory.path(),
            json!({"sqlite": {"path": format!("{encoding}.db")}}),
        )
        .await
        .unwrap();
        compare(
            &shop,
            &[
                "SELECT id FROM t WHERE s > '~' ORDER BY id",
                "SELECT id FROM t WHERE s = 'été'",
            ],
        )
        .await;
        let (session, _) = sessions(&shop).await;
        assert_eq!(
            lines(&session, "SELECT s FROM t WHERE s <> '' ORDER BY id").await,
            ["été", "😂", "～"]
        );
    }
}

#[tokio::test]
async fn files_are_never_made_and_errors_name_them() {
    let directory = tempfile::tempdir().unwrap();
    let spec = |path: &str| json!({"sqlite": {"path": path}});
    let absent = connector(directory.path(), spec("absent.db")).await.unwrap();
    let message = absent.probe().await.unwrap_err().to_string();
    assert!(
        message.starts_with("shop: there is no file") && message.contains("absent.db"),
        "{message}"
    );
    assert!(absent.discover().await.is_err());
    assert!(!directory.path().join("absent.db").exists());
    std::fs::write(
        directory.path().join("notes.txt"),
        "no database, but long enough to be read as one".repeat(40),
    )
    .unwrap();
    let notes = connector(directory.path(), spec("notes.txt")).await.unwrap();
    let error = notes.probe().await.unwrap_err();
    assert!(
        error.is_terminal() && error.to_string().contains("notes.txt is not a SQLite database"),
        "{error}"
    );
}

#[tokio::test]
async fn a_changed_table_is_an_error_not_a_constant() {
    let directory = tempfile::tempdir().unwrap();
    let shop = over(
        directory.path(),
        "CREATE TABLE t (a TEXT, b TEXT); INSERT INTO t VALUES ('1', '2');",
    )
    .await;
    let (session, _) = sessions(&shop).await;
    create(&directory.path().join("shop.db"), "ALTER TABLE t DROP COLUMN b").await;
    let message = failure(&session, "SELECT b FROM t").await;
    assert!(message.contains("the table changed"), "{message}");
    create(&directory.path().join("shop.db"), "DROP TABLE t").await;
    let message = failure(&session, "SELECT a FROM t").await;
    assert!(
        message.contains("table main.t does not exist any more"),
        "{message}"
    );
}

#[tokio::test]
async fn dropping_the_stream_stops_the_statement() {
    let directory = tempfile::tempdir().unwrap();
    let shop = over(
        directory.path(),
        "CREATE TABLE n (i INTEGER PRIMARY KEY);
         INSERT INTO n WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000) SELECT i FROM c;
         CREATE VIEW endless AS SELECT a.i FROM n a, n b, n c, n d;",
    )
    .await;
    let (session, _) = sessions(&shop).await;
    // 8.1e13 rows: the test ends only because both statements are stopped.
    let mut stream = session
        .sql("SELECT i FROM endless")
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    drop(stream);
    assert_eq!(
        rows(&session, "SELECT i FROM endless LIMIT 20000").await.len(),
        20000
    );
    let mut counting = session
        .sql("SELECT count(*) FROM endless")
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    assert!(futures::poll!(counting.next()).is_pending());
    drop(counting);
}

/// Groups, aggregates and first rows: every type, in a table that SQLite keeps to
/// its types and in one that it does not.
#[tokio::test]
async fn groups_and_orders_answer_alike() {
    let directory = tempfile::tempdir().unwrap();
    let shop = over(
        directory.path(),
        &format!(
            "{ODD}
             CREATE TABLE strict (id INTEGER PRIMARY KEY, n INT, t TEXT COLLATE NOCASE, r REAL, b BLOB) STRICT;
             INSERT INTO strict SELECT id, n, t, r, b FROM odd;
             INSERT INTO strict SELECT id + 20, id % 3, upper(t), r, b FROM odd;"
        ),
    )
    .await;
    let (pushing, raw) = sessions(&shop).await;
    for (table, pushed) in [("odd", 10), ("strict", 40)] {
        let harness = Harness {
            pushing: &pushing,
            raw: &raw,
            table,
        };
        let matrix = harness.matrix().await;
        println!("sqlite {table}: matrix {matrix:?}");
        assert!(matrix.cases > 60 && matrix.pushed > pushed, "{matrix:?}");
    }
    let harness = Harness {
        pushing: &pushing,
        raw: &raw,
        table: "strict",
    };
    let sent = [
        "SELECT count(*) FILTER (WHERE n > 0), sum(n) FILTER (WHERE n BETWEEN -10 AND 10), max(t) FILTER (WHERE id < 25 AND NOT t = 'a') FROM strict",
        "SELECT t, count(DISTINCT n) FILTER (WHERE r > 0.5), min(id) FILTER (WHERE t IS NULL) FROM strict GROUP BY t HAVING count(*) FILTER (WHERE id > 20) > 0",
        "SELECT t, count(b) FILTER (WHERE n IN (7, 3)) AS m FROM strict WHERE id <> 4 GROUP BY t ORDER BY m DESC, t LIMIT 4",
        // The class of n is not enforced in this one.
        "SELECT count(*) FILTER (WHERE n > 0), count(r) FILTER (WHERE t >= 'a') FROM odd WHERE n < 10",
    ];
    let stays = [
        "SELECT count(*) FILTER (WHERE t LIKE 'a%') FROM strict",
        "SELECT sum(r) FILTER (WHERE n = 7) FROM strict",
        "SELECT count(*) FILTER (WHERE f) FROM odd",
    ];
    harness
        .divides("FILTER (WHERE", "AggregateExec", &sent, &stays)
        .await;
}

/// Whole numbers in a NUMERIC column are integers to SQLite, and floats here.
#[tokio::test]
async fn numeric_columns_compare_alike() {
    let directory = tempfile::tempdir().unwrap();
    let shop = over(
        directory.path(),
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x NUMERIC, y NUMBER);
         INSERT INTO t VALUES (1, 5, 1), (2, 5.5, 2.5), (3, 20, NULL), (4, -3, -0.5), (5, NULL, 7), (6, 0, 0);",
    )
    .await;
    compare(
        &shop,
        &[
            "SELECT id, x FROM t WHERE x > 10 ORDER BY id",
            "SELECT id FROM t WHERE x > 10 ORDER BY id",
            "SELECT id FROM t WHERE x = 5 ORDER BY id",
            "SELECT id FROM t WHERE NOT (x <= 5) ORDER BY id",
            "SELECT id FROM t WHERE x NOT IN (5, 20) ORDER BY id",
            "SELECT id FROM t WHERE y BETWEEN -1 AND 2 ORDER BY id",
            "SELECT count(*) FROM t WHERE y < 2",
        ],
    )
    .await;
}

/// Tables of one file joined by SQLite, where it keeps the keys to their types.
#[tokio::test]
async fn joins_answer_alike() {
    let directory = tempfile::tempdir().unwrap();
    let numbers = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000) SELECT i";
    let shop = over(
        directory.path(),
        &format!(
            "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, region INT, score REAL) STRICT;
             CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INT, total INT, name TEXT COLLATE RTRIM, note ANY) STRICT;
             CREATE TABLE names (name TEXT COLLATE NOCASE PRIMARY KEY, rank INT) STRICT;
             CREATE TABLE loose (id INTEGER PRIMARY KEY, customer INT, total INT);
             CREATE VIEW seen AS SELECT * FROM customers;
             INSERT INTO customers
                 SELECT i, CASE WHEN i % 10 > 0 THEN 'C' || i END, CASE WHEN i % 4 > 0 THEN i % 7 END, i / 3.0
                 FROM ({numbers} FROM c) WHERE i <= 300;
             INSERT INTO orders
                 SELECT i, CASE WHEN i % 9 > 0 THEN i % 350 END, i % 50,
                     CASE i % 3 WHEN 0 THEN 'c' || i % 350 WHEN 1 THEN 'C' || i % 350 || ' ' END, NULL
                 FROM ({numbers} FROM c);
             INSERT INTO names SELECT 'c' || i, i FROM ({numbers} FROM c) WHERE i <= 300;
             INSERT INTO loose SELECT id, customer, total FROM orders;"
        ),
    )
    .await;
    let (pushing, raw) = sessions(&shop).await;
    let harness = Harness {
        pushing: &pushing,
        raw: &raw,
        table: "orders",
    };
    let sent = [
        "SELECT c.region, count(*), sum(o.total), min(o.name) FROM orders o JOIN customers c ON o.customer = c.id GROUP BY c.region",
        "SELECT c.region, count(*) FROM orders o JOIN customers c ON o.customer = c.id JOIN loose l ON l.id = c.id WHERE l.total > 7 GROUP BY c.region",
        // By its bytes, whatever the collations say.
        "SELECT count(*), count(DISTINCT o.name) FROM orders o JOIN names n ON o.name = n.name",
        "SELECT count(*) FROM orders o LEFT JOIN names n ON o.name = n.name AND n.rank > 100 WHERE o.id > 7",
    ];
    let stays = [
        // The key may hold anything.
        "SELECT count(*) FROM loose l JOIN customers c ON l.customer = c.id",
        "SELECT count(*) FROM orders o JOIN customers c ON o.customer = c.id WHERE c.name ILIKE 'c1%'",
    ];
    harness.joins(&sent, &stays).await;
}
