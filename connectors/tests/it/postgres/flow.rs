//! Rows that flow, pause, end and are not wanted any more.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tokio_postgres::Client;

use super::*;

const ROWS: usize = 30_000;

/// Some 150 bytes a row, so that rows flow between the pauses and a few follow the last one.
async fn views(admin: &Client) {
    let rows = format!("SELECT i, repeat('x', 100 + i % 50) AS pad FROM generate_series(1, {ROWS}) i");
    admin
        .batch_execute(&format!(
            "CREATE VIEW halting AS SELECT r.* FROM ({rows}) r, \
             LATERAL (SELECT CASE WHEN r.i IN (9000, 18000, {ROWS} - 10) THEN pg_sleep(0.3) END) s; \
             CREATE VIEW stuck AS SELECT r.* FROM ({rows}) r, \
             LATERAL (SELECT CASE WHEN r.i = 20000 THEN pg_sleep(600) END) s"
        ))
        .await
        .unwrap();
}

async fn rows_flow_pause_and_end(connector: &Arc<dyn Connector>, admin: &Client) {
    let (_, session) = sessions(connector).await;
    let sql = "SELECT count(*), sum(i), sum(octet_length(pad)) FROM halting";
    let lengths: usize = (1..=ROWS).map(|row| 100 + row % 50).sum();
    let expected = [ROWS, ROWS * (ROWS + 1) / 2, lengths].map(|number| Some(number.to_string()));
    for _ in 0..2 {
        assert_eq!(rows(&session, sql).await.1, [expected.to_vec()]);
    }

    // What came before a pause is had while it lasts.
    let frame = session.table("stuck").await.unwrap();
    let mut stream = frame.execute_stream().await.unwrap();
    for _ in 0..2 {
        let batch = stream.next().await.unwrap().unwrap();
        assert_eq!(batch.num_rows(), 8192);
    }
    let running = "SELECT count(*) FROM pg_stat_activity \
                   WHERE application_name = 'lakegate' AND state = 'active' AND query LIKE 'COPY%stuck%'";
    let count = async || admin.query_one(running, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(count().await, 1);
    // And a pause does not keep a statement from being stopped.
    drop(stream);
    while count().await > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // In the middle of the flow, too.
    let mut stream = session
        .table("halting")
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    assert_eq!(rows(&session, sql).await.1, [expected.to_vec()]);
}

#[tokio::test]
async fn rows_flow_pause_and_end_in_plain() {
    let server = PostgresServer::shared();
    let admin = server.database("flow").await;
    views(&admin).await;
    let connector = connector_of(&server, "flow", json!({"limits": {"maxConnections": 1}})).await;
    rows_flow_pause_and_end(&connector, &admin).await;
}

#[tokio::test]
async fn rows_flow_pause_and_end_in_tls() {
    let server = PostgresServer::start_new("");
    server.enable_tls();
    let admin = server.admin("postgres").await;
    views(&admin).await;
    let extra = json!({"tls": {"mode": "Require"}, "limits": {"maxConnections": 1}});
    let connector = connector_of(&server, "postgres", extra).await;
    rows_flow_pause_and_end(&connector, &admin).await;
}
