//! Tables of one server joined by the server.

use serde_json::json;

use super::*;
use crate::common::sessions;
use crate::differential::Harness;

/// Numbers are keys; texts are so only where the collation compares code points.
const SHOP: &str = r"
CREATE TABLE regions (id SMALLINT PRIMARY KEY, name VARCHAR(20));
CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(20), code VARCHAR(20) COLLATE utf8mb4_nopad_bin UNIQUE,
    region SMALLINT, score DOUBLE);
CREATE TABLE orders (id BIGINT PRIMARY KEY, customer BIGINT, total DECIMAL(10,2), day DATE, name VARCHAR(20), small INT UNSIGNED);
CREATE VIEW seen AS SELECT * FROM customers;
INSERT INTO regions SELECT seq, CONCAT('r', seq) FROM seq_1_to_5;
INSERT INTO customers SELECT seq, IF(seq % 10, CONCAT('c', seq), NULL), CONCAT('k', seq), IF(seq % 4, seq % 7, NULL), seq / 3
    FROM seq_1_to_300;
INSERT INTO orders SELECT seq, IF(seq % 9, seq % 350, NULL), (seq % 50) / 4, DATE '2024-01-01' + INTERVAL seq % 30 DAY,
    IF(seq % 3, CONCAT('C', seq % 350), NULL), seq % 350 FROM seq_1_to_3000;
ANALYZE TABLE regions, customers, orders;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_answer_alike() {
    let server = MariaDbServer::shared();
    server.database("joins", SHOP);
    let connector = connector_of(&server, "joins", json!({"zeroDates": "Fail"})).await;
    let (pushing, raw) = sessions(&connector).await;
    let harness = Harness {
        pushing: &pushing,
        raw: &raw,
        table: "orders",
    };
    let sent = [
        "SELECT c.region, count(*), sum(o.total), min(o.day) FROM orders o JOIN customers c ON o.customer = c.id GROUP BY c.region",
        "SELECT r.id, sum(o.total) AS s FROM orders o JOIN customers c ON o.customer = c.id JOIN regions r ON r.id = c.region GROUP BY r.id ORDER BY s DESC, r.id LIMIT 3",
        "SELECT count(*), min(o.small) FROM orders o JOIN customers c ON o.small = c.id",
        "SELECT count(DISTINCT o.customer), sum(o.total * 2) FROM orders o LEFT JOIN customers c ON c.id = o.customer AND c.region = 2",
    ];
    let stays = [
        // A collation calls other texts equal.
        "SELECT count(*) FROM orders o JOIN customers c ON o.name = c.code",
        // Larger than what it is made of, or no plain table.
        "SELECT count(*) FROM orders o JOIN customers c ON o.customer = c.id WHERE c.name = 'C1'",
    ];
    harness.joins(&sent, &stays).await;
}
