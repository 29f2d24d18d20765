//! Tables of one database joined by the database.

use serde_json::json;

use super::*;
use crate::differential::Harness;

const SHOP: &str = r"
CREATE TABLE regions (id int2 PRIMARY KEY, name text);
CREATE TABLE customers (id int8 PRIMARY KEY, name text UNIQUE, region int2, score float8);
CREATE TABLE orders (id int8 PRIMARY KEY, customer int8, total numeric(10,2), day date, name text);
CREATE TABLE parts (id int8 PRIMARY KEY, customer int8) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100000);
CREATE VIEW seen AS SELECT * FROM customers;
INSERT INTO regions SELECT i, 'r' || i FROM generate_series(1, 5) i;
INSERT INTO customers SELECT i, CASE WHEN i % 10 > 0 THEN 'c' || i END, CASE WHEN i % 4 > 0 THEN i % 7 END, i / 3.0 FROM generate_series(1, 300) i;
INSERT INTO orders SELECT i, CASE WHEN i % 9 > 0 THEN i % 350 END, (i % 50) / 4.0, date '2024-01-01' + i % 30,
    CASE WHEN i % 3 > 0 THEN 'c' || i % 350 END FROM generate_series(1, 3000) i;
INSERT INTO parts SELECT i, i % 300 FROM generate_series(1, 500) i;
ANALYZE;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_answer_alike() {
    let server = PostgresServer::shared();
    let admin = server.database("joins").await;
    admin.batch_execute(SHOP).await.unwrap();
    let connector = connector_of(&server, "joins", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    let harness = Harness {
        pushing: &pushing,
        raw: &raw,
        table: "orders",
    };
    let sent = [
        "SELECT c.region, count(*), sum(o.total), min(o.day) FROM orders o JOIN customers c ON o.customer = c.id GROUP BY c.region",
        "SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id AND c.region > 3 ORDER BY c.name DESC, o.id LIMIT 20",
        "SELECT r.name, sum(o.total) AS s FROM orders o JOIN customers c ON o.customer = c.id JOIN regions r ON r.id = c.region GROUP BY r.name ORDER BY s DESC, r.name LIMIT 3",
        "SELECT DISTINCT c.name FROM orders o JOIN customers c ON o.customer = c.id",
        "SELECT count(DISTINCT o.customer), sum(o.total * 2) FROM orders o LEFT JOIN customers c ON c.id = o.customer AND c.region = 2",
    ];
    let stays = [
        // A condition on rows that have no partner.
        "SELECT count(DISTINCT o.customer), sum(o.total * 2) FROM orders o LEFT JOIN customers c ON c.id = o.customer WHERE c.id IS NULL",
        // The key is no primary key, or not of exact columns, or larger than what it is made of.
        "SELECT count(*) FROM orders o JOIN customers c ON o.customer + 1 = c.id",
        // Not plain tables, or with a filter that is evaluated here.
        "SELECT count(*) FROM parts p JOIN customers c ON p.customer = c.id",
        "SELECT count(*) FROM orders o JOIN customers c ON o.customer = c.id WHERE c.name ILIKE 'c1%'",
        "SELECT count(*) FROM orders o JOIN customers c ON o.customer = c.id AND o.id > c.id",
        "SELECT count(*) FROM orders o WHERE o.customer NOT IN (SELECT id FROM customers)",
    ];
    harness.joins(&sent, &stays).await;
}
