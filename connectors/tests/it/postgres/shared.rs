//! Scans that several connections share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datafusion::common::TableReference;
use futures::StreamExt;
use serde_json::json;
use tokio_postgres::Client;

use super::*;

/// Enough blocks for three readers: some 7 000 of 35 rows.
const ROWS: u32 = 250_000;
const ANSWER: &str = "SELECT count(*), sum(id), sum(octet_length(pad)) FROM";

async fn big(admin: &Client, table: &str) {
    admin
        .batch_execute(&format!(
            "CREATE TABLE {table} (id int8 NOT NULL, pad text); \
             INSERT INTO {table} SELECT i, CASE WHEN i % 7 > 0 THEN repeat('x', 220 + i % 30) END \
             FROM generate_series(1, {ROWS}) i; ANALYZE {table}"
        ))
        .await
        .unwrap();
}

/// A session over every table of the database that pushes nothing down and computes on
/// three threads.
async fn raw(connector: &Arc<dyn Connector>) -> SessionContext {
    let session = SessionContext::new_with_config(crate::common::settings().with_target_partitions(3));
    for table in connector.discover().await.unwrap() {
        let provider = connector.open(&table).await.unwrap();
        let name = TableReference::bare(table.name);
        session.register_table(name, Arc::new(Raw(provider))).unwrap();
    }
    session
}

async fn analyzed(session: &SessionContext, sql: &str) -> String {
    plan(session, &format!("ANALYZE {sql}")).await
}

/// Answers of the server itself, as text.
async fn expected(admin: &Client, table: &str) -> Vec<Vec<Option<String>>> {
    let row = admin
        .query_one(
            &format!("SELECT a::text, b::text, c::text FROM ({ANSWER} {table}) q(a, b, c)"),
            &[],
        )
        .await
        .unwrap();
    vec![(0..3).map(|column| row.get(column)).collect()]
}

/// Connections of the connector that do something, or have not ended what they did.
async fn busy(admin: &Client, database: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE datname = $1 AND application_name = 'lakegate' AND state <> 'idle'";
    admin.query_one(sql, &[&database]).await.unwrap().get(0)
}

async fn wait_until_idle(admin: &Client, database: &str) {
    for _ in 0..600 {
        if busy(admin, database).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a connection to {database} never became idle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn ranges_together_are_the_table() {
    let server = PostgresServer::shared();
    let admin = server.database("shared").await;
    let names = ["plain", "bloated", "emptied", "tiny", "grown", "moved", "toasted"];
    for table in names {
        big(&admin, table).await;
    }
    let values = "repeat(md5(id::text), 40 * (id % 40)::int)";
    admin
        .batch_execute(&format!(
            "ALTER TABLE toasted ALTER pad SET STORAGE EXTERNAL; \
             UPDATE toasted SET pad = {values} WHERE id % 1000 < 2; ANALYZE toasted"
        ))
        .await
        .unwrap();
    let connector = connector_of(&server, "shared", json!({})).await;
    let session = raw(&connector).await;
    // What the estimate of blocks was made of has changed since.
    admin
        .batch_execute(&format!(
            "DELETE FROM bloated WHERE id BETWEEN 20000 AND 170000 OR id % 3 = 0; \
             TRUNCATE emptied; TRUNCATE tiny; INSERT INTO tiny VALUES (1, 'a'), (2, NULL); \
             INSERT INTO grown SELECT id + {ROWS}, pad FROM grown; \
             UPDATE moved SET id = id + 1 WHERE id % 2 = 0"
        ))
        .await
        .unwrap();
    admin
        .batch_execute("VACUUM (INDEX_CLEANUP off) bloated")
        .await
        .unwrap();
    for table in names {
        let sql = format!("{ANSWER} {table}");
        assert_eq!(
            rows(&session, &sql).await.1,
            expected(&admin, table).await,
            "{table}"
        );
        let plan = analyzed(&session, &sql).await;
        assert!(
            plan.contains("readers=3 (each a part at a time: ctid >= '(first,0)' AND ctid < '(end,0)')"),
            "{plan}"
        );
        assert!(plan.contains("remote_readers=3"), "{plan}");
    }
    let counted = rows(&session, "SELECT count(*) FROM plain").await.1;
    assert_eq!(counted, [[Some(ROWS.to_string())]]);
    // Batches are full wherever a range ends, but for the last one of each reader.
    let batches = collect(&session, "SELECT id FROM plain").await.unwrap();
    assert!(batches.len() <= ROWS as usize / 8192 + 3, "{}", batches.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn all_readers_see_one_snapshot() {
    let server = PostgresServer::shared();
    let admin = server.database("snapshots").await;
    big(&admin, "t").await;
    admin.batch_execute("CREATE INDEX ON t (id)").await.unwrap();
    let before = expected(&admin, "t").await;
    let connector = connector_of(&server, "snapshots", json!({})).await;
    let session = raw(&connector).await;
    let writer = server.admin("snapshots").await;
    let done = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let mut written = 0_i64;
            while !done.load(Ordering::Relaxed) {
                // From the beginning of the table to its end, and new blocks behind it:
                // whoever sees half of it counts wrong.
                let (low, high) = (written % 90_000 + 1, i64::from(ROWS) - written % 90_000);
                writer
                    .batch_execute(&format!(
                        "BEGIN; UPDATE t SET id = id - 1000000 WHERE id = {low}; \
                         UPDATE t SET id = id + 1000000 WHERE id = {high}; \
                         DELETE FROM t WHERE id = {low} - 1000000; \
                         INSERT INTO t SELECT {low} - 1000000, pad FROM t WHERE id = {low} + 1 LIMIT 1; \
                         UPDATE t SET pad = p.pad FROM (SELECT CASE WHEN {low} % 7 > 0 THEN \
                         repeat('x', 220 + {low} % 30) END AS pad) p WHERE id = {low} - 1000000; COMMIT"
                    ))
                    .await
                    .unwrap();
                written += 1;
            }
            written
        }
    });
    for _ in 0..8 {
        assert_eq!(rows(&session, &format!("{ANSWER} t")).await.1, before);
    }
    done.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 8);
    // On a busy machine a connection may not be back from the last reader yet.
    let mut plan = String::new();
    for _ in 0..20 {
        plan = analyzed(&session, &format!("{ANSWER} t")).await;
        if plan.contains("remote_readers=3") {
            return;
        }
    }
    panic!("{plan}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_end_is_the_end_of_all_readers() {
    let server = PostgresServer::shared();
    let admin = server.database("endings").await;
    big(&admin, "t").await;
    admin
        .batch_execute(&format!(
            "CREATE TABLE odd AS SELECT id, pad, \
             CASE WHEN id = {ROWS} - 5 THEN 'infinity' ELSE date '2000-01-01' END AS day FROM t; ANALYZE odd"
        ))
        .await
        .unwrap();
    let connector = connector_of(&server, "endings", json!({})).await;
    let session = raw(&connector).await;

    // Nobody takes rows any more.
    let frame = session.table("t").await.unwrap();
    let mut stream = frame.execute_stream().await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(busy(&admin, "endings").await, 3);
    drop(stream);
    wait_until_idle(&admin, "endings").await;

    // One reader fails: no partial answer, and nothing goes on.
    for _ in 0..3 {
        let error = collect(&session, "SELECT count(day), sum(id) FROM odd")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("odd") && error.contains("\"day\"") && error.contains("infinite date"),
            "{error}"
        );
        wait_until_idle(&admin, "endings").await;
    }

    // One connection is cut from outside.
    let mut stream = session.table("t").await.unwrap().execute_stream().await.unwrap();
    stream.next().await.unwrap().unwrap();
    admin
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = 'endings' AND application_name = 'lakegate' AND state <> 'idle' \
             ORDER BY backend_start DESC LIMIT 1",
        )
        .await
        .unwrap();
    let mut seen = 0;
    let mut failed = None;
    while let Some(batch) = stream.next().await {
        match batch {
            Ok(batch) => seen += batch.num_rows(),
            Err(error) => failed = Some(error.to_string()),
        }
    }
    let failed = failed.unwrap_or_else(|| panic!("{seen} rows were taken for all"));
    assert!(failed.contains("shop: "), "{failed}");
    drop(stream);
    wait_until_idle(&admin, "endings").await;
    assert_eq!(
        rows(&session, &format!("{ANSWER} t")).await.1,
        expected(&admin, "t").await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn readers_keep_to_the_limit() {
    let server = PostgresServer::shared();
    let admin = server.database("readers").await;
    big(&admin, "t").await;
    let answer = expected(&admin, "t").await;
    let sql = format!("{ANSWER} t");
    // One connection is always left to the next query.
    for (limit, planned, taken) in [
        (1, None, None),
        (2, None, None),
        (3, Some(2), Some(2)),
        (4, Some(3), Some(3)),
    ] {
        let limits = json!({"limits": {"maxConnections": limit}});
        let connector = connector_of(&server, "readers", limits).await;
        let session = raw(&connector).await;
        let plan = analyzed(&session, &sql).await;
        for (word, count) in [("readers=", planned), ("remote_readers=", taken)] {
            match count {
                Some(count) => assert!(plan.contains(&format!("{word}{count}")), "{limit}: {plan}"),
                None => assert!(!plan.contains(word), "{limit}: {plan}"),
            }
        }
        let queries: Vec<_> = (0..4)
            .map(|_| {
                let (session, sql) = (session.clone(), sql.clone());
                tokio::spawn(async move { rows(&session, &sql).await.1 })
            })
            .collect();
        let mut most = 0;
        while !queries.iter().all(tokio::task::JoinHandle::is_finished) {
            let open = "SELECT count(*) FROM pg_stat_activity \
                        WHERE datname = 'readers' AND application_name = 'lakegate'";
            most = most.max(admin.query_one(open, &[]).await.unwrap().get::<_, i64>(0));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for query in queries {
            assert_eq!(query.await.unwrap(), answer);
        }
        assert!(most <= limit, "{most} of {limit}");
        drop(session);
        drop(connector);
        let gone = "SELECT count(*) = 0 FROM pg_stat_activity \
                    WHERE datname = 'readers' AND application_name = 'lakegate'";
        while !admin.query_one(gone, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_reader_where_it_is_better() {
    let server = PostgresServer::shared();
    let admin = server.database("alone").await;
    big(&admin, "t").await;
    big(&admin, "parent").await;
    admin
        .batch_execute(
            "CREATE INDEX ON t (id); CREATE TABLE child () INHERITS (parent); \
             INSERT INTO child SELECT id, pad FROM t LIMIT 1000; ANALYZE; \
             DROP ROLE IF EXISTS alone_reader; CREATE ROLE alone_reader LOGIN PASSWORD 'reader-secret'; \
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO alone_reader",
        )
        .await
        .unwrap();
    let connector = connector_of(&server, "alone", json!({})).await;
    let session = crate::common::pushing(crate::common::settings().with_target_partitions(3));
    for table in connector.discover().await.unwrap() {
        let provider = connector.open(&table).await.unwrap();
        session
            .register_table(TableReference::bare(table.name), provider)
            .unwrap();
    }
    // By its index.
    let sql = "SELECT pad FROM t WHERE id BETWEEN 5 AND 70";
    assert_eq!(rows(&session, sql).await.1.len(), 66);
    let found = analyzed(&session, sql).await;
    assert!(found.contains("remote_readers=1"), "{found}");
    // Through the whole table, with a filter there.
    let sql = "SELECT pad FROM t WHERE id > 100";
    assert_eq!(rows(&session, sql).await.1.len(), ROWS as usize - 100);
    let found = analyzed(&session, sql).await;
    assert!(found.contains("remote_readers=3"), "{found}");
    for sql in [
        // Several tables, whose blocks have the same numbers.
        "SELECT * FROM parent",
        "SELECT id FROM t ORDER BY id LIMIT 3",
        "SELECT id, pad FROM t LIMIT 3",
        "SELECT count(*) FROM t",
    ] {
        let found = plan(&session, sql).await;
        assert!(!found.contains("readers="), "{found}");
    }
    assert_eq!(
        rows(&session, "SELECT id FROM parent").await.1.len(),
        ROWS as usize + 1000
    );

    // Who may not export snapshots reads alone.
    admin
        .batch_execute("REVOKE EXECUTE ON FUNCTION pg_catalog.pg_export_snapshot() FROM PUBLIC")
        .await
        .unwrap();
    let spec = spec("127.0.0.1", server.port, "alone", &json!({}));
    let secrets = secrets("alone_reader", "reader-secret");
    let connector = super::connector(spec, secrets).await.unwrap();
    let session = raw(&connector).await;
    let sql = format!("{ANSWER} t");
    assert_eq!(rows(&session, &sql).await.1, expected(&admin, "t").await);
    let found = analyzed(&session, &sql).await;
    assert!(found.contains("remote_readers=1"), "{found}");
    admin
        .batch_execute("DROP OWNED BY alone_reader; DROP ROLE alone_reader")
        .await
        .unwrap();
}
