//! What discovery finds, and how it names it.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use lakegate_connectors::TableKind;
use serde_json::json;

use super::*;

const SCHEMA: &str = r#"
CREATE SCHEMA sales;
CREATE SCHEMA "Odd ""Schema";
CREATE TABLE sales.orders (
    id bigint NOT NULL, line int NOT NULL, total numeric(10,2), note text, gone int,
    PRIMARY KEY (line, id) INCLUDE (total)
);
ALTER TABLE sales.orders DROP COLUMN gone;
COMMENT ON TABLE sales.orders IS 'what people bought';
COMMENT ON COLUMN sales.orders.note IS 'free text';
INSERT INTO sales.orders SELECT i, 1, i, 'x' FROM generate_series(1, 500) i;
ANALYZE sales.orders;
CREATE TABLE sales.never_analyzed (id int);
CREATE TABLE sales.events (id int NOT NULL, day date NOT NULL) PARTITION BY RANGE (day);
CREATE TABLE sales.events_2026 PARTITION OF sales.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW sales.cheap AS SELECT id, total FROM sales.orders WHERE total < 10;
CREATE MATERIALIZED VIEW sales.counts AS SELECT count(*) AS n FROM sales.orders;
CREATE TABLE "Odd ""Schema"."Odd ""Table" ("Select" int, "a""b" text, "ünï" int);
CREATE TABLE public.nothing ();
INSERT INTO public.nothing DEFAULT VALUES;
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw;
CREATE FOREIGN TABLE sales.remote (id int NOT NULL, name text) SERVER elsewhere;
"#;

#[tokio::test]
async fn kinds_keys_comments_and_estimates() {
    let server = PostgresServer::shared();
    let admin = server.database("discovery").await;
    admin.batch_execute(SCHEMA).await.unwrap();
    let connector = connector_of(&server, "discovery", json!({})).await;
    let tables = connector.discover().await.unwrap();
    let summary: Vec<_> = tables
        .iter()
        .map(|table| (table.schema.as_str(), table.name.as_str(), table.kind))
        .collect();
    assert_eq!(
        summary,
        [
            ("Odd \"Schema", "Odd \"Table", TableKind::Table),
            ("public", "nothing", TableKind::Table),
            ("sales", "cheap", TableKind::View),
            ("sales", "counts", TableKind::MaterializedView),
            ("sales", "events", TableKind::PartitionedTable),
            ("sales", "events_2026", TableKind::Table),
            ("sales", "never_analyzed", TableKind::Table),
            ("sales", "orders", TableKind::Table),
            ("sales", "remote", TableKind::Foreign),
        ]
    );
    let table = |name: &str| tables.iter().find(|table| table.name == name).unwrap();
    let orders = table("orders");
    assert_eq!(orders.comment.as_deref(), Some("what people bought"));
    assert_eq!(orders.primary_key, ["line", "id"]);
    assert_eq!(orders.rows, Some(500));
    assert_eq!(table("never_analyzed").rows, None);
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
            ("id", DataType::Int64, false, "bigint", None),
            ("line", DataType::Int32, false, "integer", None),
            ("total", DataType::Decimal128(10, 2), true, "numeric(10,2)", None),
            ("note", DataType::Utf8, true, "text", Some("free text")),
        ]
    );
    assert!(table("remote").columns.field(0).is_nullable());
    assert_eq!(
        connector.endpoint(),
        format!("127.0.0.1:{}/discovery", server.port)
    );
    let version = connector.probe().await.unwrap().server_version.unwrap();
    assert!(
        version.chars().all(|c| c.is_ascii_digit() || c == '.'),
        "{version}"
    );

    // Names are quoted, and a table without columns still has rows.
    let (session, _) = sessions(&connector).await;
    assert_eq!(rows(&session, "SELECT * FROM \"Odd \"\"Table\"").await.1.len(), 0);
    assert_eq!(
        rows(&session, "SELECT count(*) FROM nothing").await.1,
        [[Some("1".to_owned())]]
    );
}

#[tokio::test]
async fn patterns_and_grants() {
    let server = PostgresServer::shared();
    let admin = server.database("discovery_patterns").await;
    admin
        .batch_execute(
            "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.one (x int); CREATE TABLE a.two (x int, y int); \
             CREATE TABLE b.one (x int); CREATE ROLE reader_p LOGIN PASSWORD 'reader-secret'; \
             GRANT USAGE ON SCHEMA a TO reader_p; GRANT SELECT (y) ON a.two TO reader_p",
        )
        .await
        .unwrap();
    let found = async |discovery: Value, user: &str, password: &str| {
        let mut spec = spec("127.0.0.1", server.port, "discovery_patterns", &json!({}));
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
    let all = found(json!({}), USER, PASSWORD).await.1;
    assert_eq!(all, ["a.one(x)", "a.two(x,y)", "b.one(x)"]);
    let included = found(json!({"include": ["a.*"], "exclude": ["*.two"]}), USER, PASSWORD)
        .await
        .1;
    assert_eq!(included, ["a.one(x)"]);

    // Of a table granted in part only that part shows; one granted not at all is
    // there, and its refusal says what to do.
    let (connector, granted) = found(json!({}), "reader_p", "reader-secret").await;
    assert_eq!(granted, ["a.one(x)", "a.two(y)"]);
    let (session, _) = sessions(&connector).await;
    rows(&session, "SELECT * FROM two").await;
    let error = collect(&session, "SELECT * FROM one")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("shop.a.one"), "{error}");
    assert!(
        error.contains("permission denied") && error.contains("grant SELECT"),
        "{error}"
    );
}

#[tokio::test]
async fn a_table_that_changed_since_discovery() {
    let server = PostgresServer::shared();
    let admin = server.database("drift").await;
    admin
        .batch_execute(
            "CREATE TABLE t (id int, name varchar(10), at timestamp); INSERT INTO t VALUES (1, 'abcd', now())",
        )
        .await
        .unwrap();
    let connector = connector_of(&server, "drift", json!({})).await;
    let (session, _) = sessions(&connector).await;
    for (change, query, expected) in [
        (
            "ALTER TABLE t ALTER id TYPE bigint",
            "SELECT id FROM t",
            "\"id\" has become int8",
        ),
        // Four bytes of text are also a valid integer, and a timestamp a valid
        // timestamptz: only the type tells.
        (
            "ALTER TABLE t ALTER at TYPE timestamptz",
            "SELECT at FROM t",
            "\"at\" has become timestamptz",
        ),
        (
            "ALTER TABLE t DROP COLUMN name",
            "SELECT name FROM t",
            "the table changed",
        ),
        ("DROP TABLE t", "SELECT at FROM t", "does not exist any more"),
    ] {
        admin.batch_execute(change).await.unwrap();
        let error = collect(&session, query).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{change}: {error}");
    }
}

#[tokio::test]
async fn column_types() {
    let server = PostgresServer::shared();
    let admin = server.database("column_types").await;
    admin
        .batch_execute(
            "CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE TYPE mood AS ENUM ('sad', 'ok'); \
             CREATE TYPE point2 AS (x int, y int); CREATE DOMAIN price AS numeric(8,2); \
             CREATE DOMAIN cheap AS price CHECK (value < 10); CREATE DOMAIN ints AS int[]; \
             CREATE TABLE t (a price, b cheap, c cheap[], d ints, e ints[], f mood[], g point2, h citext, \
               i hstore, j timetz, k interval, l money, m int4range, n int2vector, o uuid[], p numeric(30,5)[], \
               q timestamptz(3), r varchar(5)[], s \"char\", t name, u bit(3), v regclass, w oid)",
        )
        .await
        .unwrap();
    let connector = connector_of(&server, "column_types", json!({})).await;
    let table = table_of(&connector, "t").await;
    let list = |element: DataType| DataType::new_list(element, true);
    let expected = [
        DataType::Decimal128(8, 2),
        DataType::Decimal128(8, 2),
        list(DataType::Decimal128(8, 2)),
        list(DataType::Int32),
        DataType::Utf8,
        list(DataType::Utf8),
        DataType::Utf8,
        DataType::Utf8,
        DataType::Utf8,
        DataType::Utf8,
        DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Utf8,
        DataType::Utf8,
        DataType::Utf8,
        list(DataType::Utf8),
        list(DataType::Decimal128(30, 5)),
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        list(DataType::Utf8),
        DataType::Utf8,
        DataType::Utf8,
        DataType::Utf8,
        DataType::Utf8,
        DataType::Int64,
    ];
    let types: Vec<_> = table
        .columns
        .fields()
        .iter()
        .map(|field| field.data_type().clone())
        .collect();
    assert_eq!(types, expected);
    // Every one of them can be asked for.
    let (session, _) = sessions(&connector).await;
    assert_eq!(rows(&session, "SELECT * FROM t").await.1.len(), 0);
}
