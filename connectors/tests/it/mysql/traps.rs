//! What is sent and what stays, and the traps of collations, one by one.

use serde_json::json;

use super::*;
use crate::common::{lines, plan, rows, sessions};

const ITEMS: &str = "
CREATE TABLE items (
    id bigint PRIMARY KEY, num int, unum int unsigned, price decimal(10,2), flag bit(1), made year,
    ratio double, day date, at datetime(6), ts timestamp(6) NULL, raw varbinary(9), doc json, place point,
    ci varchar(20) COLLATE utf8mb4_general_ci, bin varchar(20) COLLATE utf8mb4_bin,
    nopad varchar(20) COLLATE utf8mb4_nopad_bin
);
INSERT INTO items (id, ci, bin, nopad) VALUES
    (1, 'a', 'a', 'a'), (2, 'A', 'A', 'A'), (3, 'a ', 'a ', 'a '), (4, 'e', 'e', 'e'), (5, 'é', 'é', 'é'),
    (6, NULL, NULL, NULL), (7, 'ß', 'ß', 'ß')";

#[tokio::test]
async fn what_is_sent_and_what_stays() {
    let server = MariaDbServer::shared();
    server.database("sent", ITEMS);
    let connector = connector_of(&server, "sent", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let exact = [
        ("id = 5", "(`id` = 5)"),
        ("unum > 3000000000", "(`unum` > 3000000000)"),
        ("price BETWEEN 1 AND 2.5", "1.00"),
        ("flag", "(`flag` = 1)"),
        ("made >= 2000", "(`made` >= 2000)"),
        ("ratio > 0.5", "(`ratio` > 5e-1)"),
        ("day >= date '1970-01-01'", "(`day` >= DATE'1970-01-01')"),
        (
            "at = timestamp '2024-01-01 00:00:00.123456'",
            "(`at` = TIMESTAMP'2024-01-01 00:00:00.123456')",
        ),
        (
            "ts = timestamptz '1970-01-01 09:00:01+09'",
            "(`ts` = TIMESTAMP'1970-01-01 00:00:01.000000')",
        ),
        ("raw = X'00ff'", "(`raw` = x'00ff')"),
        ("nopad <> 'it''s'", "(`nopad` <> 'it''s')"),
        ("nopad > 'a'", "(`nopad` > 'a')"),
        ("doc IS NOT NULL", "(`doc` IS NOT NULL)"),
        ("place IS NULL", "(`place` IS NULL)"),
    ];
    for (predicate, sql) in exact {
        let plan = plan(
            &session,
            &format!("SELECT id FROM items WHERE {predicate} LIMIT 3"),
        )
        .await;
        assert!(plan.contains(sql), "{predicate}:\n{plan}");
        assert!(plan.contains(" LIMIT 3"), "{predicate}:\n{plan}");
        assert!(!plan.contains("FilterExec"), "{predicate}:\n{plan}");
        assert!(plan.contains("source=shop (mysql)"), "{plan}");
    }
    // Sent, but checked here as well: no LIMIT goes with it.
    let inexact = [
        ("ci = 'a'", "(`ci` = 'a')"),
        ("bin IN ('a', 'b', 'c', 'd')", "(`bin` IN ('a', 'b', 'c', 'd'))"),
        ("day < date '1970-01-01'", "(`day` < DATE'1970-01-01')"),
        (
            "at <> timestamp '1970-01-01'",
            "(`at` <> TIMESTAMP'1970-01-01 00:00:00.000000')",
        ),
        ("day IS NOT NULL", "(`day` IS NOT NULL)"),
    ];
    for (predicate, sql) in inexact {
        let plan = plan(
            &session,
            &format!("SELECT id FROM items WHERE {predicate} LIMIT 3"),
        )
        .await;
        let scan = plan.split("RemoteScanExec").nth(1).unwrap();
        assert!(scan.contains(sql), "{predicate}:\n{plan}");
        assert!(plan.contains("FilterExec"), "{predicate}:\n{plan}");
        assert!(!scan.contains(" LIMIT 3"), "{predicate}:\n{plan}");
    }
    for predicate in [
        "ci <> 'a'",
        "ci < 'b'",
        "ci LIKE 'a%'",
        "ci NOT IN ('a', 'b', 'c', 'd')",
        "bin <> 'a'",
        "made = 70",
        "ratio = 0.0",
        "day IS NULL",
        "num + 1 = 2",
        "ci = chr(0)",
    ] {
        let plan = plan(
            &session,
            &format!("SELECT id FROM items WHERE {predicate} LIMIT 3"),
        )
        .await;
        let scan = plan.split("RemoteScanExec").nth(1).unwrap();
        assert!(plan.contains("FilterExec"), "{predicate}:\n{plan}");
        assert!(!scan.contains("WHERE"), "{predicate}:\n{plan}");
        assert!(!scan.contains(" LIMIT 3"), "{predicate}:\n{plan}");
        assert!(scan.contains("local=["), "{predicate}:\n{plan}");
    }
}

/// What the server itself would answer is in the comments.
#[tokio::test]
async fn collations_do_not_leak() {
    let server = MariaDbServer::shared();
    server.database("collations", ITEMS);
    let connector = connector_of(&server, "collations", json!({})).await;
    let (pushing, raw) = sessions(&connector).await;
    let cases: [(&str, &[&str]); 10] = [
        // a, A, 'a '
        ("SELECT id FROM items WHERE ci = 'a' ORDER BY id", &["1"]),
        // a, 'a '
        ("SELECT id FROM items WHERE bin = 'a' ORDER BY id", &["1"]),
        // e, é
        ("SELECT id FROM items WHERE ci = 'e' ORDER BY id", &["4"]),
        // e, é, ß
        (
            "SELECT id FROM items WHERE ci <> 'a' ORDER BY id",
            &["2", "3", "4", "5", "7"],
        ),
        (
            "SELECT id FROM items WHERE ci IN ('A', 'é') ORDER BY id",
            &["2", "5"],
        ),
        ("SELECT id FROM items WHERE nopad = 'a' ORDER BY id", &["1"]),
        (
            "SELECT id FROM items WHERE nopad > 'a' ORDER BY id",
            &["3", "4", "5", "7"],
        ),
        ("SELECT count(DISTINCT ci) FROM items", &["6"]),
        ("SELECT ci FROM items ORDER BY ci LIMIT 2", &["A", "a"]),
        ("SELECT max(ci) FROM items", &["é"]),
    ];
    for (sql, expected) in cases {
        assert_eq!(lines(&pushing, sql).await, expected, "{sql}");
        assert_eq!(lines(&raw, sql).await, expected, "{sql}");
    }
    let joined = "SELECT count(*) FROM items a JOIN items b ON a.ci = b.ci";
    assert_eq!(lines(&pushing, joined).await, ["6"]);
}

#[tokio::test]
async fn limits_offsets_and_no_columns() {
    let server = MariaDbServer::shared();
    server.database(
        "limits",
        "CREATE TABLE t (id int, g int); INSERT INTO t SELECT seq, seq % 3 FROM seq_1_to_30",
    );
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
        ("SELECT 1 FROM t WHERE id > 28 LIMIT 4", 2),
        ("SELECT 1 FROM t a CROSS JOIN t b WHERE a.g = 0", 300),
        (
            "SELECT * FROM (SELECT * FROM t ORDER BY id LIMIT 3) s WHERE id > 2",
            1,
        ),
        ("SELECT * FROM (SELECT * FROM t LIMIT 3) s WHERE id > 0", 3),
        ("SELECT a.id FROM t a JOIN t b ON a.id = b.id", 30),
        ("SELECT id FROM t UNION ALL SELECT id FROM t", 60),
    ] {
        assert_eq!(rows(&pushing, sql).await.len(), expected, "{sql}");
        assert_eq!(rows(&raw, sql).await.len(), expected, "{sql}");
    }
    for sql in [
        "SELECT count(*) FROM t",
        "SELECT count(*) FROM t WHERE id > 3 AND g = 1",
        "SELECT g, count(*), sum(id), min(id), avg(id) FROM t GROUP BY g ORDER BY g",
        "SELECT id FROM t ORDER BY id DESC LIMIT 3 OFFSET 2",
    ] {
        assert_eq!(rows(&pushing, sql).await, rows(&raw, sql).await, "{sql}");
    }
    assert_eq!(lines(&pushing, "SELECT count(*) FROM t").await, ["30"]);
}
