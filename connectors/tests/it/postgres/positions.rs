//! Where in the write-ahead log a snapshot was taken.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lakegate_connectors::scan::{LogPosition, SourcePosition};
use serde_json::json;
use tokio_postgres::Client;

use super::*;
use crate::common::{read_with_positions, settings};

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

fn lsn(position: &SourcePosition) -> u64 {
    assert_eq!(position.catalog, "shop");
    let LogPosition::Lsn(lsn) = &position.position else {
        panic!("{position:?}");
    };
    number(lsn)
}

/// `16/B374D848` as the number it is.
fn number(lsn: &str) -> u64 {
    let (high, low) = lsn.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

/// Tables that are read side by side by several connections, each by one, and joined here.
const SCHEMA: &str = "CREATE TABLE t AS SELECT i, repeat('x', 200) AS pad FROM generate_series(1, 250000) i; \
                      CREATE TABLE u AS SELECT i FROM generate_series(1, 10) i; ANALYZE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_has_a_position_where_it_is_wanted() {
    let server = PostgresServer::start_new("log_statement=all");
    let admin = server.database("shop").await;
    admin.batch_execute(SCHEMA).await.unwrap();
    let raw = async |connector: &Arc<dyn Connector>| {
        let session = SessionContext::new_with_config(settings());
        for table in connector.discover().await.unwrap() {
            let provider = connector.open(&table).await.unwrap();
            session
                .register_table(
                    datafusion::common::TableReference::bare(table.name),
                    Arc::new(Raw(provider)),
                )
                .unwrap();
        }
        session
    };
    let connector = connector_of(&server, "shop", json!({})).await;
    let session = raw(&connector).await;
    assert_eq!(
        collect(&session, "SELECT count(pad) FROM t").await.unwrap().len(),
        1
    );
    assert!(!server.log().contains("pg_current_wal_lsn"), "nobody wants it");

    for sql in [
        "SELECT i FROM u",
        "SELECT i, pad FROM t",
        "SELECT count(*) FROM u",
    ] {
        let before = text(&admin, "SELECT pg_current_wal_lsn()::text").await;
        let (_, positions) = read_with_positions(&session, sql).await.unwrap();
        let after = text(&admin, "SELECT pg_current_wal_insert_lsn()::text").await;
        let [Some(position)] = positions.as_slice() else {
            panic!("{sql}: {positions:?}");
        };
        assert!(!position.is_replica);
        let told = lsn(position);
        assert!(
            number(&before) <= told && told <= number(&after),
            "{before} {position:?} {after}"
        );
        admin.batch_execute("INSERT INTO u VALUES (0)").await.unwrap();
    }

    // Tables that are seen at one moment have one position.
    let held = connector_of(&server, "shop", json!({})).await;
    held.hold();
    let session = raw(&held).await;
    let join = "SELECT count(t.pad) FROM t JOIN u ON t.i = u.i + 1";
    let (_, first) = read_with_positions(&session, join).await.unwrap();
    assert!(
        first.len() == 2 && first[0].is_some() && first[0] == first[1],
        "{first:?}"
    );
    admin.batch_execute("INSERT INTO u VALUES (0)").await.unwrap();
    let (_, second) = read_with_positions(&session, join).await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_tell_is_read_all_the_same() {
    let server = PostgresServer::start_new("");
    let admin = server.database("shop").await;
    admin.batch_execute(SCHEMA).await.unwrap();
    admin
        .batch_execute(&format!(
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_current_wal_lsn() FROM PUBLIC; \
             CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO reader"
        ))
        .await
        .unwrap();
    for held in [false, true] {
        let spec = spec("127.0.0.1", server.port, "shop", &json!({}));
        let connector = connector(spec, secrets("reader", PASSWORD)).await.unwrap();
        if held {
            connector.hold();
        }
        let (session, _) = sessions(&connector).await;
        for (sql, rows) in [("SELECT i, pad FROM t", 250_000), ("SELECT i FROM u", 10)] {
            let (batches, positions) = read_with_positions(&session, sql).await.unwrap();
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), rows);
            assert_eq!(positions, [None], "{sql}");
        }
    }
}

/// Every commit whose record ends before the position is there: on the primary of those that the writer had been told
/// of when the read began, for a record is in the log before its rows are seen; on the standby of all. What is later may
/// be there or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn nothing_before_the_position_is_missing() {
    let primary = PostgresServer::start_new("");
    let admin = primary.admin("postgres").await;
    admin.batch_execute("CREATE TABLE t (i int8)").await.unwrap();
    let standby = primary.standby("");
    let done = Arc::new(AtomicBool::new(false));
    let told = Arc::new(AtomicUsize::new(0));
    let writer = tokio::spawn({
        let (done, told) = (Arc::clone(&done), Arc::clone(&told));
        let client = primary.admin("postgres").await;
        async move {
            // Where the log ended after each row.
            let mut ends = Vec::new();
            while !done.load(Ordering::Relaxed) {
                let insert = format!("INSERT INTO t VALUES ({})", ends.len());
                client.batch_execute(&insert).await.unwrap();
                ends.push(number(
                    &text(&client, "SELECT pg_current_wal_insert_lsn()::text").await,
                ));
                told.store(ends.len(), Ordering::SeqCst);
            }
            ends
        }
    });
    let mut reads = Vec::new();
    for server in [&primary, &standby] {
        let connector = connector_of(server, "postgres", json!({})).await;
        let (session, _) = sessions(&connector).await;
        for _ in 0..100 {
            let known = told.load(Ordering::SeqCst);
            let (batches, positions) = read_with_positions(&session, "SELECT i FROM t").await.unwrap();
            let position = positions[0].clone().unwrap();
            assert_eq!(position.is_replica, server.port == standby.port);
            reads.push((
                if position.is_replica { usize::MAX } else { known },
                batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
                lsn(&position),
            ));
        }
    }
    done.store(true, Ordering::Relaxed);
    let ends = writer.await.unwrap();
    for (known, rows, position) in &reads {
        let committed = ends.iter().take(*known).filter(|end| *end <= position).count();
        assert!(
            committed <= *rows,
            "{rows} of {committed} rows before {position:X}"
        );
    }
    assert!(
        reads.first().unwrap().1 < reads.last().unwrap().1,
        "the writer writes"
    );
}
