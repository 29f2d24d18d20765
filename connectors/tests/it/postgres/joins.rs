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
    let grouped = "GROUP BY c.region";
    let sent = [
        format!("SELECT c.region, count(*), sum(o.total), min(o.day) FROM orders o JOIN customers c ON o.customer = c.id {grouped}"),
        format!("SELECT c.region, count(o.id), count(*) FROM orders o LEFT JOIN customers c ON o.customer = c.id {grouped}"),
        format!("SELECT c.region, count(*) FROM customers c JOIN orders o ON o.customer = c.id WHERE o.total > 5 AND c.id < 200 {grouped} HAVING count(*) > 10"),
        "SELECT o.id, c.id FROM orders o JOIN customers c ON o.customer = c.id WHERE c.id = 5".to_owned(),
        "SELECT o.id, o.name, c.name FROM orders o JOIN customers c ON o.customer = c.id ORDER BY o.id DESC LIMIT 7".to_owned(),
        "SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id AND c.region > 3 ORDER BY c.name DESC, o.id LIMIT 20".to_owned(),
        "SELECT r.name, sum(o.total) AS s FROM orders o JOIN customers c ON o.customer = c.id JOIN regions r ON r.id = c.region GROUP BY r.name ORDER BY s DESC, r.name LIMIT 3".to_owned(),
        "SELECT count(*) FROM orders a JOIN orders b ON a.customer = b.id WHERE b.total > 3".to_owned(),
        "SELECT DISTINCT c.name FROM orders o JOIN customers c ON o.customer = c.id".to_owned(),
        "SELECT count(DISTINCT o.customer), sum(o.total * 2) FROM orders o LEFT JOIN customers c ON c.id = o.customer AND c.region = 2".to_owned(),
    ];
    let stays = [
        // A condition on rows that have no partner.
        "SELECT count(DISTINCT o.customer), sum(o.total * 2) FROM orders o LEFT JOIN customers c ON c.id = o.customer WHERE c.id IS NULL",
        // The key is no primary key, or not of exact columns, or larger than what it is made of.
        "SELECT count(*) FROM orders o JOIN customers c ON o.name = c.name",
        "SELECT count(*) FROM orders o JOIN customers c ON o.customer + 1 = c.id",
        "SELECT o.*, c.* FROM orders o JOIN customers c ON o.customer = c.id",
        // Not plain tables, or with a filter that is evaluated here.
        "SELECT count(*) FROM parts p JOIN customers c ON p.customer = c.id",
        "SELECT count(*) FROM orders o JOIN seen s ON o.customer = s.id",
        "SELECT count(*) FROM orders o JOIN customers c ON o.customer = c.id WHERE c.name ILIKE 'c1%'",
        "SELECT count(*) FROM orders o JOIN customers c ON o.customer = c.id WHERE c.score = 0.0",
        "SELECT count(*) FROM orders o JOIN customers c ON o.customer = c.id AND o.id > c.id",
        "SELECT count(*) FROM orders o FULL JOIN customers c ON o.customer = c.id",
        "SELECT count(*) FROM orders o WHERE o.customer NOT IN (SELECT id FROM customers)",
        "SELECT count(*) FROM (SELECT * FROM orders ORDER BY id LIMIT 9) o JOIN customers c ON o.customer = c.id",
    ];
    let joined = |plan: &str| {
        plan.split("request=")
            .skip(1)
            .any(|request| request.contains("JOIN \""))
    };
    for sql in &sent {
        let compared = harness.compare(sql, sql.contains("ORDER BY")).await;
        assert_eq!(compared.map(|compared| compared.cases), Ok(1), "{sql}");
        let plan = plan(&pushing, sql).await;
        assert!(joined(&plan), "{sql}\n{plan}");
        assert!(!plan.contains("HashJoinExec"), "{sql}\n{plan}");
    }
    for sql in stays {
        let compared = harness.compare(sql, false).await;
        assert_eq!(compared.map(|compared| compared.cases), Ok(1), "{sql}");
        let plan = plan(&pushing, sql).await;
        assert!(!joined(&plan), "{sql}\n{plan}");
    }
}
