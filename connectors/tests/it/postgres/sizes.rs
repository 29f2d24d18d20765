//! Large values, large rows, many rows.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_huge_row_ends_its_query_only() {
    let server = PostgresServer::shared();
    let admin = server.database("huge").await;
    admin
        .batch_execute(
            "CREATE TABLE huge AS SELECT 1 AS id, repeat('x', 200 * 1024 * 1024) AS v; \
             CREATE TABLE pair AS SELECT repeat('x', 60 * 1024 * 1024) AS a, repeat('y', 60 * 1024 * 1024) AS b",
        )
        .await
        .unwrap();
    let connector = connector_of(&server, "huge", json!({"limits": {"maxConnections": 1}})).await;
    let (session, _) = sessions(&connector).await;
    let error = collect(&session, "SELECT v FROM huge")
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("shop.public.huge: ValueTooLarge"), "{error}");
    let lengths = rows(&session, "SELECT octet_length(a), octet_length(b) FROM pair")
        .await
        .1;
    let length = Some((60 * 1024 * 1024).to_string());
    assert_eq!(lengths, [[length.clone(), length]]);
    assert_eq!(rows(&session, "SELECT id FROM huge").await.1.len(), 1);
}

#[tokio::test]
async fn large_values_and_many_rows_come_in_bounded_batches() {
    let server = PostgresServer::shared();
    let admin = server.database("batches").await;
    admin
        .batch_execute(
            "CREATE TABLE many AS SELECT i AS id FROM generate_series(1, 100000) i; \
             CREATE TABLE wide AS SELECT i AS id, repeat(chr(97 + i % 26), 1000000) AS v FROM generate_series(1, 40) i",
        )
        .await
        .unwrap();
    let connector = connector_of(&server, "batches", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let batches = collect(&session, "SELECT id FROM many").await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100_000);
    assert!(batches.iter().all(|batch| batch.num_rows() <= 8192));
    let batches = collect(&session, "SELECT v FROM wide").await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 40);
    assert!(
        batches.iter().all(|batch| batch.num_rows() <= 10),
        "{}",
        batches.len()
    );
}
