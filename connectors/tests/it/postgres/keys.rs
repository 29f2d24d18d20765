//! The keys of a join's small side reach the store of the other side.

use std::time::{Duration, Instant};

use arrow::datatypes::DataType;
use datafusion::common::TableReference;
use serde_json::json;

use super::*;
use crate::common::{connector as connector_in, pushing, rows as texts, settings};
use crate::sqlite::create;

const BIG: &str = r"
CREATE TABLE big (id int4 PRIMARY KEY, wide int8, price numeric(10,2), name text, ci text COLLATE anycase, day date);
INSERT INTO big
SELECT i, i * 1000, i / 4.0, CASE WHEN i % 7 > 0 THEN 'n' || i END, 'N' || i, date '2020-01-01' + i
FROM generate_series(1, 20000) i;
ANALYZE big;
";

const PICKS: &str = "
CREATE TABLE pick (id INTEGER PRIMARY KEY, k INT, name TEXT, d DECIMAL(10,2));
INSERT INTO pick VALUES (1, 3, 'n3', 0.75), (2, 4711, 'n4711', 1177.75), (3, 19999, 'N19999', 4999.75),
    (4, NULL, NULL, NULL), (5, 3, 'x', 0.75), (6, 5000000000, '', 0.01);
CREATE TABLE many (id INTEGER PRIMARY KEY);
INSERT INTO many WITH RECURSIVE n(i) AS (SELECT 101 UNION ALL SELECT i + 1 FROM n WHERE i < 1100) SELECT i FROM n;
CREATE TABLE none (id INTEGER PRIMARY KEY);
";

/// Sessions over both stores: one that pushes down, one that reads raw rows.
async fn both_stores(
    server: &PostgresServer,
    database: &str,
    directory: &std::path::Path,
) -> (SessionContext, SessionContext) {
    let admin = server.database(database).await;
    admin
        .batch_execute(
            "CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        )
        .await
        .unwrap();
    admin.batch_execute(BIG).await.unwrap();
    create(&directory.join("shop.db"), PICKS).await;
    let (pushed, raw) = (pushing(settings()), SessionContext::new_with_config(settings()));
    let stores = [
        connector_of(server, database, json!({})).await,
        connector_in(directory, json!({"sqlite": {"path": "shop.db"}}))
            .await
            .unwrap(),
    ];
    for store in &stores {
        for table in store.discover().await.unwrap() {
            let provider = store.open(&table).await.unwrap();
            let name = TableReference::bare(table.name);
            pushed
                .register_table(name.clone(), Arc::clone(&provider))
                .unwrap();
            raw.register_table(name, Arc::new(Raw(provider))).unwrap();
        }
    }
    (pushed, raw)
}

/// The request to PostgreSQL as it went out.
async fn sent(session: &SessionContext, sql: &str) -> String {
    let plan = texts(session, &format!("EXPLAIN ANALYZE {sql}"))
        .await
        .concat()
        .join("\n");
    plan.lines()
        .find(|line| line.contains("(postgres)"))
        .unwrap_or_else(|| panic!("{plan}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_sent() {
    let directory = tempfile::tempdir().unwrap();
    let server = PostgresServer::shared();
    let (session, raw) = both_stores(&server, "keys", directory.path()).await;
    let cases = [
        // Three keys, of a wider type there; the one that int4 cannot hold is left out.
        (
            "SELECT b.id, p.id FROM pick p JOIN big b ON b.id = p.k",
            "\"id\" IN (",
        ),
        ("SELECT b.id FROM big b JOIN pick p ON b.id = p.k", "\"id\" IN ("),
        (
            "SELECT b.wide FROM pick p JOIN big b ON b.wide = p.k * 1000",
            "\"wide\" IN (",
        ),
        (
            "SELECT b.id FROM pick p JOIN big b ON b.price = p.d",
            "\"price\" IN (",
        ),
        (
            "SELECT b.id FROM pick p JOIN big b ON b.name = p.name",
            "\"name\" IN (",
        ),
        (
            "SELECT id FROM big WHERE id IN (SELECT k FROM pick)",
            "\"id\" IN (",
        ),
        // Many keys, and many more rows.
        (
            "SELECT b.id FROM many m JOIN big b ON b.id = m.id",
            "WHERE (\"id\" = ANY ('{101,102,103,",
        ),
        (
            "SELECT b.id FROM many m JOIN big b ON b.wide = m.id * 1000",
            "WHERE (\"wide\" = ANY ('{101000,",
        ),
        // So many keys for the rows there are that only their range is sent.
        (
            "SELECT b.id FROM many m JOIN (SELECT * FROM big WHERE price > 7) b ON b.id = m.id",
            "\"id\" >= '101'::pg_catalog.int4",
        ),
        // Both keys of two.
        (
            "SELECT b.id FROM pick p JOIN big b ON b.id = p.k AND b.name = p.name",
            "\"name\" IN (",
        ),
        // Groups of other keys are not made.
        (
            "SELECT g.id, n FROM pick p JOIN (SELECT id, count(*) AS n FROM big GROUP BY id) g ON g.id = p.k",
            "\"id\" IN (",
        ),
    ];
    for (sql, expected) in cases {
        let request = sent(&session, sql).await;
        assert!(request.contains(expected), "{sql}\n{request}");
    }
    let one = sent(&session, "SELECT b.id FROM pick p JOIN big b ON b.id = p.k").await;
    assert!(
        one.contains(
            "WHERE (\"id\" IN ('3'::pg_catalog.int4, '4711'::pg_catalog.int4, '19999'::pg_catalog.int4))"
        ),
        "{one}"
    );
    assert!(one.contains("remote_rows=3"), "{one}");
    // Text under another collation, a range of text, rows after a limit, sides that
    // must keep every row: nothing is sent.
    for sql in [
        "SELECT b.id FROM pick p JOIN big b ON b.ci = p.name",
        "SELECT b.id FROM pick p JOIN (SELECT * FROM big ORDER BY id LIMIT 50) b ON b.id = p.k",
        "SELECT b.id FROM big b LEFT JOIN pick p ON b.id = p.k",
        "SELECT b.id FROM big b WHERE b.id NOT IN (SELECT k FROM pick WHERE k IS NOT NULL)",
    ] {
        let request = sent(&session, sql).await;
        assert!(!request.contains("WHERE"), "{sql}\n{request}");
    }
    for sql in cases.iter().map(|(sql, _)| *sql).chain([
        "SELECT b.id FROM pick p JOIN big b ON b.ci = p.name",
        "SELECT p.id, b.id FROM pick p LEFT JOIN big b ON b.id = p.k",
        "SELECT p.id FROM pick p WHERE p.k NOT IN (SELECT id FROM big)",
        "SELECT b.id FROM none n JOIN big b ON b.id = n.id",
        "SELECT count(*) FROM none n JOIN big b ON b.id = n.id",
        "SELECT p.id, b.id FROM pick p FULL JOIN big b ON b.id = p.k WHERE p.id IS NOT NULL",
        "SELECT p.id, b.id FROM pick p JOIN big b ON b.id = p.k JOIN many m ON m.id = b.id + 97",
    ]) {
        let (types, mut here) = rows(&raw, sql).await;
        let (pushed_types, mut there) = rows(&session, sql).await;
        here.sort();
        there.sort();
        assert_eq!((types, here), (pushed_types, there), "{sql}");
    }
}

/// Nobody waits for keys that come at once, nor for those of a slow side for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_not_waited_for_long() {
    let directory = tempfile::tempdir().unwrap();
    let server = PostgresServer::shared();
    let (session, _) = both_stores(&server, "patience", directory.path()).await;
    let sql = "SELECT b.id FROM pick p JOIN big b ON b.id = p.k";
    texts(&session, sql).await;
    let started = Instant::now();
    assert_eq!(texts(&session, sql).await.len(), 4);
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    // First rows fill a filter of their own, which is never complete: nobody waits.
    let sql = "SELECT b.id + 0 AS x FROM big b ORDER BY x LIMIT 3";
    let started = Instant::now();
    assert_eq!(texts(&session, sql).await, [["1"], ["2"], ["3"]]);
    assert!(
        started.elapsed() < Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    let table = session.table_provider("big").await.unwrap();
    assert_eq!(table.schema().field(0).data_type(), &DataType::Int32);
}
