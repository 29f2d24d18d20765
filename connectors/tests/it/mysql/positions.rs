//! What a server had committed when a snapshot was taken.

use lakegate_connectors::scan::{LogPosition, SourcePosition};
use serde_json::json;

use super::*;
use crate::common::{lines, read_with_positions, sessions};

fn at(gtid: &str, is_replica: bool) -> SourcePosition {
    SourcePosition {
        catalog: "shop".to_owned(),
        position: LogPosition::Gtid(gtid.trim().to_owned()),
        is_replica,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_has_a_position_where_it_is_wanted() {
    let primary = MariaDbServer::start_primary();
    let replica = primary.replica();
    primary.database(
        "shop",
        "CREATE TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (1), (2)",
    );
    let written = primary.sql("", "SELECT @@gtid_binlog_pos");
    let waited = replica.sql("", &format!("SELECT MASTER_GTID_WAIT('{}', 60)", written.trim()));
    assert_eq!(waited.trim(), "0");

    let connector = connector_of(&primary, "shop", json!({})).await;
    let (session, _) = sessions(&connector).await;
    assert_eq!(lines(&session, "SELECT count(*) FROM t").await, ["2"]);
    let asked = |log: String| log.matches("SELECT @@global.gtid").count();
    assert_eq!(asked(primary.general_log()), 0, "nobody wants it");
    for (sql, number) in [
        ("SELECT i FROM t", 0),
        ("SELECT count(*) FROM t", 0),
        ("SELECT i FROM t", 1),
    ] {
        if number > 0 {
            primary.sql("shop", "INSERT INTO t VALUES (3)");
        }
        let now = primary.sql("", "SELECT @@gtid_current_pos");
        let (_, positions) = read_with_positions(&session, sql).await.unwrap();
        assert_eq!(positions, [Some(at(&now, false))], "{sql}");
        assert_eq!(now == written, number == 0, "{now}");
    }
    assert_eq!(asked(primary.general_log()), 3);

    let replicas = json!({"replicas": [{"host": "127.0.0.1", "port": replica.port}]});
    let reader = format!("GRANT REPLICA MONITOR ON *.* TO {USER}");
    replica.sql("", &format!("SET sql_log_bin = 0; {reader}"));
    let connector = connector_of(&primary, "shop", replicas).await;
    let (session, _) = sessions(&connector).await;
    let (batches, positions) = read_with_positions(&session, "SELECT i FROM t").await.unwrap();
    let now = replica.sql("", "SELECT @@gtid_current_pos");
    assert_eq!(positions, [Some(at(&now, true))]);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_log_has_none() {
    let server = MariaDbServer::shared();
    server.database("positions", "CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
    let connector = connector_of(&server, "positions", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let (batches, positions) = read_with_positions(&session, "SELECT i FROM t").await.unwrap();
    assert_eq!((batches[0].num_rows(), positions), (1, vec![None]));
}
