//! Queries of TPC-H and others, compared with the server's own answers.

use datafusion::common::TableReference;
use serde_json::json;
use tokio_postgres::SimpleQueryMessage;

use super::*;

const LINEITEM: &str = r"
CREATE TABLE lineitem (
    l_orderkey int8 NOT NULL, l_linenumber int4 NOT NULL, l_quantity numeric(15,2) NOT NULL,
    l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL,
    l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_flag text, l_status varchar(1), l_shipdate date NOT NULL,
    PRIMARY KEY (l_orderkey, l_linenumber)
);
INSERT INTO lineitem
SELECT i / 4, i % 4, i % 50 + 1, (i % 977) * 10.37, (i % 11) / 100.0, (i % 9) / 100.0,
    substr('ANR', i % 3 + 1, 1), substr('OF', i % 2 + 1, 1), substr('ANR', i % 3 + 1, 1),
    CASE WHEN i % 5 > 0 THEN substr('OF', i % 2 + 1, 1) END,
    date '1992-01-02' + i % 2526
FROM generate_series(0, 20000) i;
ANALYZE lineitem;
";

const Q1: &str = "SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, sum(l_extendedprice) AS sum_base_price, \
    sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price, \
    sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, count(*) AS count_order \
    FROM lineitem WHERE l_shipdate <= date '1998-12-01' GROUP BY l_returnflag, l_linestatus \
    ORDER BY l_returnflag, l_linestatus";

const Q6: &str = "SELECT sum(l_extendedprice * l_discount) AS revenue FROM lineitem \
    WHERE l_shipdate >= date '1994-01-01' AND l_shipdate < date '1995-01-01' \
    AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24";

/// Answers of the server itself, as text.
async fn oracle(admin: &tokio_postgres::Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = admin
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(
                (0..row.len())
                    .map(|column| row.get(column).map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_answers_the_same() {
    let server = PostgresServer::shared();
    let admin = server.database("tpch").await;
    admin.batch_execute(LINEITEM).await.unwrap();
    let connector = connector_of(&server, "tpch", json!({})).await;
    let mut config = crate::common::settings();
    // 0.05 is a number of two digits, as in PostgreSQL and in the gateway.
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    let pushing = crate::common::pushing(config);
    for table in connector.discover().await.unwrap() {
        let provider = connector.open(&table).await.unwrap();
        pushing
            .register_table(TableReference::bare(table.name), provider)
            .unwrap();
    }
    let queries = [
        Q1,
        Q6,
        "SELECT l_flag, sum(l_quantity) FROM lineitem GROUP BY l_flag HAVING sum(l_quantity) > 170000 ORDER BY 1",
        "SELECT l_orderkey, sum(l_quantity) AS q FROM lineitem GROUP BY l_orderkey HAVING sum(l_quantity) > 180 \
         ORDER BY q DESC, l_orderkey LIMIT 10",
        "SELECT DISTINCT l_status FROM lineitem ORDER BY l_status",
        "SELECT count(DISTINCT l_shipdate), min(l_shipdate), max(l_status), count(l_status) FROM lineitem",
        "SELECT l_orderkey, l_linenumber, l_status FROM lineitem ORDER BY l_status DESC, l_orderkey, l_linenumber \
         LIMIT 5 OFFSET 7",
        "SELECT count(*) FROM lineitem WHERE l_orderkey = 17",
        "SELECT count(*) FILTER (WHERE l_tax > 0), sum(l_tax) FILTER (WHERE l_orderkey < 50) FROM lineitem",
        "SELECT sum(l_linenumber), min(l_extendedprice) FROM lineitem WHERE l_shipdate > date '2100-01-01'",
    ];
    for sql in queries {
        let answered = rows(&pushing, sql).await.1;
        assert_eq!(answered, oracle(&admin, sql).await, "{sql}");
        let plan = plan(&pushing, sql).await;
        assert!(!plan.contains("AggregateExec"), "{sql}\n{plan}");
    }
    println!("postgres itself: {} queries", queries.len());
    let plan = plan(&pushing, Q1).await;
    for part in [
        "pg_catalog.sum((\"l_extendedprice\" * (",
        "GROUP BY \"l_returnflag\", \"l_linestatus\"",
        "WHERE (\"l_shipdate\" <= '1998-12-01'::pg_catalog.date)",
    ] {
        assert!(plan.contains(part), "{plan}");
    }
    // What stays says why.
    for (sql, reason) in [
        (
            "SELECT stddev(l_quantity) FROM lineitem",
            "to Float64 is computed here",
        ),
        (
            "SELECT count(*) FROM lineitem WHERE l_flag ILIKE 'A%'",
            "is evaluated here",
        ),
        (
            "SELECT sum(l_orderkey * l_orderkey) FROM lineitem",
            "may overflow",
        ),
        (
            "SELECT l_orderkey FROM lineitem ORDER BY l_returnflag LIMIT 3",
            "by its own rules",
        ),
        (
            "SELECT count(*) FILTER (WHERE l_flag ILIKE 'A%') FROM lineitem",
            "ILIKE",
        ),
    ] {
        let plan = super::plan(&pushing, sql).await;
        assert!(plan.contains(reason), "{sql}\n{plan}");
        assert!(plan.contains("local=["), "{sql}\n{plan}");
    }
}
