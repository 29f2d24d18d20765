//! What discovery finds, and how it names it.

use arrow::datatypes::DataType;
use lakegate_connectors::TableKind;
use serde_json::json;

use super::*;
use crate::common::{failure, rows, sessions};

const SCHEMA: &str = "
CREATE TABLE orders (
    line int NOT NULL, id bigint NOT NULL, total decimal(10,2), note text COMMENT 'free text',
    PRIMARY KEY (id, line)
) COMMENT 'what people bought';
INSERT INTO orders SELECT 1, seq, seq, 'x' FROM seq_1_to_500;
ANALYZE TABLE orders;
CREATE TABLE events (id int NOT NULL, day date NOT NULL) PARTITION BY HASH (id) PARTITIONS 3;
CREATE VIEW cheap AS SELECT id, total FROM orders WHERE total < 10;
CREATE TABLE history (id int, gone int INVISIBLE) WITH SYSTEM VERSIONING;
CREATE TABLE `Odd ``Table` (`Select` int, `a``b` text, `ünï` int, `what?` int);
INSERT INTO `Odd ``Table` VALUES (1, 'x', 2, 3);
CREATE SEQUENCE numbers;
CREATE TABLE base (x int);
CREATE VIEW broken AS SELECT x FROM base;
DROP TABLE base;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_keys_comments_and_estimates() {
    let server = MariaDbServer::shared();
    server.database("discovery", SCHEMA);
    let connector = connector_of(&server, "discovery", json!({})).await;
    let tables = connector.discover().await.unwrap();
    let summary: Vec<_> = tables
        .iter()
        .map(|table| (table.schema.as_str(), table.name.as_str(), table.kind))
        .collect();
    assert_eq!(
        summary,
        [
            ("discovery", "Odd `Table", TableKind::Table),
            ("discovery", "cheap", TableKind::View),
            ("discovery", "events", TableKind::PartitionedTable),
            ("discovery", "history", TableKind::Table),
            ("discovery", "orders", TableKind::Table),
        ]
    );
    let table = |name: &str| tables.iter().find(|table| table.name == name).unwrap();
    let orders = table("orders");
    assert_eq!(orders.comment.as_deref(), Some("what people bought"));
    assert_eq!(orders.primary_key, ["id", "line"]);
    assert!(orders.rows.unwrap() > 100, "{:?}", orders.rows);
    assert_eq!(table("cheap").rows, None);
    assert_eq!(table("cheap").comment, None);
    assert_eq!(table("history").columns.fields().len(), 1);
    let columns: Vec<_> = orders
        .columns
        .fields()
        .iter()
        .zip(&orders.details)
        .map(|(field, details)| {
            (
                field.name().as_str(),
                field.data_type().clone(),
                field.is_nullable(),
                details.declared_type.as_str(),
                details.comment.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        columns,
        [
            ("line", DataType::Int32, false, "int(11)", None),
            ("id", DataType::Int64, false, "bigint(20)", None),
            ("total", DataType::Decimal128(10, 2), true, "decimal(10,2)", None),
            ("note", DataType::Utf8, true, "text", Some("free text")),
        ]
    );
    let collation = &orders.details[3].facts["collation"];
    assert!(collation.starts_with("utf8mb4_"), "{collation}");
    assert_eq!(
        connector.endpoint(),
        format!("127.0.0.1:{}/discovery", server.port)
    );
    let version = connector.probe().await.unwrap().server_version.unwrap();
    assert!(
        version.ends_with("-MariaDB") && version.starts_with('1'),
        "{version}"
    );
    let (session, _) = sessions(&connector).await;
    assert_eq!(
        rows(
            &session,
            "SELECT \"Select\", \"a`b\", \"ünï\", \"what?\" FROM \"Odd `Table\""
        )
        .await,
        [["1", "x", "2", "3"]]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_patterns_and_grants() {
    let server = MariaDbServer::shared();
    for database in ["discovery_a", "discovery_b"] {
        server.database(
            database,
            "CREATE TABLE one (x int); CREATE TABLE two (x int, y int); INSERT INTO two VALUES (1, 2)",
        );
    }
    server.sql(
        "",
        "CREATE OR REPLACE USER partial IDENTIFIED BY 'partial-secret'; \
         GRANT SELECT (y) ON discovery_a.two TO partial; GRANT INSERT ON discovery_a.one TO partial",
    );
    let found = async |database: Option<&str>, discovery: Value, user: &str, password: &str| {
        let mut spec = spec("127.0.0.1", server.port, database, &json!({}));
        spec["discovery"] = discovery;
        let connector = connector(spec, secrets(user, password)).await.unwrap();
        let tables = connector.discover().await.unwrap();
        let names: Vec<String> = tables
            .iter()
            .map(|table| {
                let columns: Vec<&str> = table.columns.fields().iter().map(|f| f.name().as_str()).collect();
                format!("{}.{}({})", table.schema, table.name, columns.join(","))
            })
            .collect();
        (connector, names)
    };
    // Without a database: all but the server's own.
    let (_, all) = found(None, json!({}), USER, PASSWORD).await;
    for name in ["discovery_a.one(x)", "discovery_a.two(x,y)", "discovery_b.one(x)"] {
        assert!(all.iter().any(|found| found == name), "{all:?}");
    }
    let system = ["mysql.", "information_schema.", "performance_schema.", "sys."];
    assert!(
        !all.iter()
            .any(|found| system.iter().any(|prefix| found.starts_with(prefix))),
        "{all:?}"
    );
    let included = json!({"include": ["discovery_a.*", "discovery_b.*"], "exclude": ["*.two"]});
    let (_, included) = found(None, included, USER, PASSWORD).await;
    assert_eq!(included, ["discovery_a.one(x)", "discovery_b.one(x)"]);
    let (_, one) = found(Some("discovery_b"), json!({}), USER, PASSWORD).await;
    assert_eq!(one, ["discovery_b.one(x)", "discovery_b.two(x,y)"]);

    // Of a table granted in part only that part shows; one that may not be read
    // is there, and its refusal says what to do.
    let (connector, granted) = found(None, json!({}), "partial", "partial-secret").await;
    assert_eq!(granted, ["discovery_a.one(x)", "discovery_a.two(y)"]);
    let (session, _) = sessions(&connector).await;
    assert_eq!(rows(&session, "SELECT * FROM two").await, [["2"]]);
    let error = failure(&session, "SELECT * FROM one").await;
    assert!(error.contains("shop.discovery_a.one"), "{error}");
    assert!(
        error.contains("denied") && error.contains("grant SELECT"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_changed_since_discovery() {
    let server = MariaDbServer::shared();
    server.database(
        "drift",
        "CREATE TABLE t (id int, big bigint, name varchar(10), at timestamp NULL, price decimal(10,2), gone int); \
         INSERT INTO t VALUES (1, 1, 'abcd', now(), 1.5, 1)",
    );
    let connector = connector_of(&server, "drift", json!({})).await;
    let (session, _) = sessions(&connector).await;
    for (change, query, expected) in [
        (
            "ALTER TABLE t MODIFY id int unsigned",
            "SELECT id FROM t",
            "\"id\" has another type",
        ),
        (
            "ALTER TABLE t MODIFY big double",
            "SELECT big FROM t",
            "\"big\" has another type",
        ),
        (
            "ALTER TABLE t MODIFY at datetime",
            "SELECT at FROM t",
            "\"at\" has another type",
        ),
        (
            "ALTER TABLE t MODIFY name varbinary(10)",
            "SELECT name FROM t",
            "\"name\" has another type",
        ),
        (
            "ALTER TABLE t MODIFY price decimal(12,4)",
            "SELECT price FROM t",
            "\"price\" has another type",
        ),
        (
            "ALTER TABLE t DROP COLUMN gone",
            "SELECT gone FROM t",
            "the table changed",
        ),
        ("DROP TABLE t", "SELECT at FROM t", "does not exist any more"),
    ] {
        server.sql("drift", change);
        let error = failure(&session, query).await;
        assert!(error.contains(expected), "{change}: {error}");
        assert!(error.contains("shop"), "{error}");
    }
}
