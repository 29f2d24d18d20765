//! Replicas: what is read, and what happens while none may be.

use std::time::Duration;

use futures::StreamExt;
use lakegate_crds::conditions::Reason;
use serde_json::json;
use tokio_postgres::Client;

use super::*;
use crate::loopback::free_port;

/// May read everything and see nothing of how the server is.
const READER: &str = "reader";

/// What the tests ask: `server` tells which server answers.
const SCHEMA: &str = "CREATE TABLE t AS SELECT i, i % 7 AS k FROM generate_series(1, 1000) i; \
                      CREATE VIEW server AS SELECT inet_server_port() AS port; \
                      CREATE VIEW wide AS SELECT repeat('x', 10000) AS x FROM generate_series(1, 1000000), \
                      (SELECT 1 FROM t LIMIT 1) one; \
                      CREATE VIEW slow AS SELECT inet_server_port() AS port FROM pg_sleep(0.2)";

struct Cluster {
    primary: PostgresServer,
    replicas: Vec<PostgresServer>,
    /// Of the primary.
    admin: Client,
}

impl Cluster {
    async fn start(replicas: usize, configuration: &str) -> Self {
        let primary = PostgresServer::start_new("log_connections=on");
        let admin = primary.admin("postgres").await;
        admin
            .batch_execute(&format!(
                "CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}'; GRANT pg_read_all_data TO {READER}; {SCHEMA}"
            ))
            .await
            .unwrap();
        let replicas = (0..replicas).map(|_| primary.standby(configuration)).collect();
        // A standby knows the age of what it replayed itself, not of what it was copied from.
        admin.batch_execute("CREATE TABLE followed ()").await.unwrap();
        let cluster = Self {
            primary,
            replicas,
            admin,
        };
        for index in 0..cluster.replicas.len() {
            cluster.caught_up(index).await;
        }
        cluster
    }

    /// Waits until a replica has replayed all there is.
    async fn caught_up(&self, index: usize) {
        let written: String = self
            .admin
            .query_one("SELECT pg_current_wal_flush_lsn()::text", &[])
            .await
            .unwrap()
            .get(0);
        let replica = self.replicas[index].admin("postgres").await;
        let condition = format!(
            "SELECT coalesce(pg_last_wal_receive_lsn() >= '{written}' \
             AND pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn(), false)"
        );
        wait_for(&replica, &condition).await;
    }

    /// A DataSource whose replicas these ports are; `extra` is merged into `spec.postgres`.
    async fn connector_to(&self, ports: &[u16], password: &str, extra: &Value) -> Arc<dyn Connector> {
        let replicas: Vec<Value> = ports
            .iter()
            .map(|port| json!({"host": "127.0.0.1", "port": port}))
            .collect();
        let mut postgres = json!({ "replicas": replicas });
        for (key, value) in extra.as_object().into_iter().flatten() {
            postgres[key] = value.clone();
        }
        let spec = spec("127.0.0.1", self.primary.port, "postgres", &postgres);
        connector(spec, secrets(READER, password)).await.unwrap()
    }

    async fn connector(&self, extra: &Value) -> Arc<dyn Connector> {
        let ports: Vec<u16> = self.replicas.iter().map(|replica| replica.port).collect();
        self.connector_to(&ports, PASSWORD, extra).await
    }

    /// Holds a replica back: it receives what is written from now on, and replays nothing of it.
    async fn hold_back(&self, index: usize) -> Client {
        let replica = self.replicas[index].admin("postgres").await;
        replica
            .batch_execute("SELECT pg_wal_replay_pause()")
            .await
            .unwrap();
        wait_for(&replica, "SELECT pg_get_wal_replay_pause_state() = 'paused'").await;
        self.admin
            .batch_execute("INSERT INTO t SELECT i, 0 FROM generate_series(1, 1000) i")
            .await
            .unwrap();
        wait_for(
            &replica,
            "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn() \
             AND clock_timestamp() - pg_last_xact_replay_timestamp() > '4 s'",
        )
        .await;
        replica
    }

    /// The primary never saw Lakegate.
    fn primary_was_left_alone(&self) {
        let log = self.primary.log();
        assert!(log.contains("connection authorized: user=postgres"), "{log}");
        assert!(
            !log.contains("user=reader") && !log.contains("application_name=lakegate"),
            "{log}"
        );
    }
}

async fn wait_for(admin: &Client, condition: &str) {
    for _ in 0..1200 {
        let holds: Option<bool> = admin.query_one(condition, &[]).await.unwrap().get(0);
        if holds == Some(true) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never became true: {condition}");
}

async fn port(session: &SessionContext) -> u16 {
    let rows = rows(session, "SELECT port FROM server").await.1;
    rows[0][0].as_ref().unwrap().parse().unwrap()
}

async fn count(session: &SessionContext) -> String {
    rows(session, "SELECT count(*) FROM t").await.1[0][0]
        .clone()
        .unwrap()
}

async fn failure_of(session: &SessionContext, sql: &str) -> String {
    match collect(session, sql).await {
        Ok(batches) => panic!("{sql} answered {batches:?}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn reads_go_to_replicas_alone() {
    let cluster = Cluster::start(2, "log_connections=on").await;
    let limits = json!({"limits": {"maxConnections": 3}});
    let connector = cluster.connector(&limits).await;
    let mut addresses: Vec<String> = Vec::new();
    for replica in &cluster.replicas {
        addresses.push(format!("127.0.0.1:{}", replica.port));
    }
    assert_eq!(connector.endpoint(), format!("{}/postgres", addresses.join(",")));
    assert!(connector.probe().await.unwrap().server_version.is_some());
    let (pushing, raw) = sessions(&connector).await;
    for sql in [
        "SELECT count(*), sum(i) FROM t",
        "SELECT i FROM t WHERE i > 990 ORDER BY i",
        "SELECT k, count(*) FROM t GROUP BY k ORDER BY k",
        "SELECT a.k, count(*) FROM t a JOIN t b ON a.i = b.k GROUP BY a.k ORDER BY a.k",
    ] {
        assert_eq!(rows(&pushing, sql).await, rows(&raw, sql).await, "{sql}");
    }

    // Many at once: both replicas serve, and together they hold the limit.
    let (mut one, mut other) = (
        cluster.replicas[0].admin("postgres").await,
        cluster.replicas[1].admin("postgres").await,
    );
    let queries: Vec<_> = (0..50)
        .map(|_| {
            let session = pushing.clone();
            tokio::spawn(async move { rows(&session, "SELECT port FROM slow").await.1 })
        })
        .collect();
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lakegate'";
    let mut most = 0;
    while !queries.iter().all(tokio::task::JoinHandle::is_finished) {
        // Between the two counts a connection may go over to the other server.
        let before: i64 = one.query_one(open, &[]).await.unwrap().get(0);
        let between: i64 = other.query_one(open, &[]).await.unwrap().get(0);
        let after: i64 = one.query_one(open, &[]).await.unwrap().get(0);
        most = most.max(before.min(after) + between);
        std::mem::swap(&mut one, &mut other);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(most, 3);
    let mut served: Vec<String> = Vec::new();
    for query in queries {
        served.extend(query.await.unwrap().into_iter().flatten().flatten());
    }
    served.sort();
    served.dedup();
    assert_eq!(served.len(), 2, "{served:?}");

    for replica in connector.replicas().await {
        assert_eq!(replica.problem, None);
        assert_eq!(replica.lag, Some(Duration::ZERO), "the primary is quiet");
        assert!(addresses.contains(&replica.address));
    }
    for replica in &cluster.replicas {
        assert!(replica.log().contains("application_name=lakegate"));
    }

    // An export keeps to one.
    let pinned = cluster.connector(&json!({})).await;
    pinned.pin();
    let (pushing, raw) = sessions(&pinned).await;
    let first = port(&pushing).await;
    for _ in 0..4 {
        assert_eq!(port(&pushing).await, first);
        assert_eq!(port(&raw).await, first);
    }
    let chosen = cluster
        .replicas
        .iter()
        .find(|replica| replica.port == first)
        .unwrap();
    chosen.kill();
    let error = failure_of(&pushing, "SELECT port FROM server").await;
    assert!(error.contains("no replica can be read"), "{error}");
    cluster.primary_was_left_alone();
}

#[tokio::test]
async fn while_every_replica_lags() {
    let cluster = Cluster::start(1, "").await;
    let lag = |policy: &str, timeout: &str| json!({"maxReplicaLag": "3s", "onReplicaLag": policy, "limits": {"statementTimeout": timeout}});
    let failing = cluster.connector(&lag("Fail", "1m")).await;
    let waiting = cluster.connector(&lag("Wait", "1m")).await;
    let impatient = cluster.connector(&lag("Wait", "1s")).await;
    let falling_back = cluster.connector(&lag("UsePrimary", "1m")).await;
    let (fail, raw) = sessions(&failing).await;
    let (wait, _) = sessions(&waiting).await;
    let (impatient, _) = sessions(&impatient).await;
    let (fall_back, _) = sessions(&falling_back).await;
    cluster.primary_was_left_alone();
    let replica_port = cluster.replicas[0].port;

    let replica = cluster.hold_back(0).await;
    for session in [&fail, &raw] {
        let error = failure_of(session, "SELECT count(*) FROM t").await;
        for words in [
            "shop: no replica is within maxReplicaLag (3 s)",
            &format!("127.0.0.1:{replica_port} is "),
            " behind",
            "onReplicaLag",
        ] {
            assert!(error.contains(words), "{error}");
        }
    }
    let health = failing.replicas().await;
    assert!(health[0].lag > Some(Duration::from_secs(3)), "{health:?}");
    assert!(health[0].problem.is_some());
    let probed = failing.probe().await.unwrap_err();
    assert_eq!(probed.reason(), Reason::ReplicaLagging);
    assert!(!probed.is_terminal());
    let error = failure_of(&impatient, "SELECT count(*) FROM t").await;
    assert!(error.contains("limits.statementTimeout"), "{error}");
    cluster.primary_was_left_alone();

    assert_eq!(port(&fall_back).await, cluster.primary.port);
    assert_eq!(count(&fall_back).await, "2000");

    let waiter = {
        let wait = wait.clone();
        tokio::spawn(async move { count(&wait).await })
    };
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!waiter.is_finished());
    replica
        .batch_execute("SELECT pg_wal_replay_resume()")
        .await
        .unwrap();
    assert_eq!(waiter.await.unwrap(), "2000");
    cluster.caught_up(0).await;
    // What was refused a moment ago is not asked again at once.
    for _ in 0..100 {
        if port(&fall_back).await == replica_port {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(port(&fall_back).await, replica_port);
    assert_eq!(count(&fail).await, "2000");
    // Nothing stays on the primary that is not needed there.
    wait_for(
        &cluster.admin,
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = 'reader'",
    )
    .await;
}

#[tokio::test]
async fn replicas_that_fail() {
    let cluster = Cluster::start(1, "hot_standby_feedback=off\nmax_standby_streaming_delay=0").await;
    let replica = &cluster.replicas[0];
    let nobody = free_port();

    // One that is down from the start does not matter beside one that works.
    let both = cluster
        .connector_to(&[nobody, replica.port], PASSWORD, &json!({}))
        .await;
    let (session, _) = sessions(&both).await;
    for _ in 0..4 {
        assert_eq!(port(&session).await, replica.port);
    }
    let health = both.replicas().await;
    assert!(
        health[0].problem.is_some() && health[1].problem.is_none(),
        "{health:?}"
    );

    // Alone it does; so does a wrong password.
    for (port, password, reason, words) in [
        (nobody, PASSWORD, Reason::ConnectionFailed, "refused"),
        (
            replica.port,
            "wrong-canary",
            Reason::AccessDenied,
            "password authentication failed",
        ),
    ] {
        for policy in ["Fail", "Wait"] {
            let extra = json!({"onReplicaLag": policy, "limits": {"statementTimeout": "1s"}});
            let connector = cluster.connector_to(&[port], password, &extra).await;
            let error = connector.probe().await.unwrap_err();
            assert_eq!(error.reason(), reason, "{error}");
            let text = error.to_string();
            assert!(text.starts_with("shop: no replica"), "{text}");
            assert!(text.contains(words), "{text}");
            assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
    }

    // A replica that has to replay what a query still reads stops the query.
    let connector = cluster.connector(&json!({})).await;
    let (session, _) = sessions(&connector).await;
    let begin = async || {
        let frame = session.sql("SELECT x FROM wide").await.unwrap();
        let mut stream = frame.execute_stream().await.unwrap();
        stream.next().await.unwrap().unwrap();
        stream
    };
    let mut told = Vec::new();
    for attempt in 1..=5 {
        let mut stream = begin().await;
        let sql = format!(
            "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; DELETE FROM t WHERE i = {attempt}; COMMIT"
        );
        cluster.admin.batch_execute(&sql).await.unwrap();
        let error = rest(&mut stream).await;
        assert!(
            error.contains("shop: ") && error.contains("127.0.0.1:"),
            "{error}"
        );
        told.push(error);
        // The server may also end the connection, and then says nothing.
        if told.iter().any(|error| error.contains("hot_standby_feedback")) {
            break;
        }
        cluster.caught_up(0).await;
    }
    assert!(
        told.iter()
            .any(|error| error.contains("shop: the replica 127.0.0.1:")
                && error.contains("hot_standby_feedback")),
        "{told:?}"
    );
    cluster.caught_up(0).await;

    // One that ends in the middle of a query ends the query, too, and serves again when it is back.
    for end in [PostgresServer::kill, PostgresServer::stop] {
        let mut stream = begin().await;
        end(replica);
        let error = rest(&mut stream).await;
        assert!(
            error.contains("shop: ") && error.contains("127.0.0.1:"),
            "{error}"
        );
        let error = failure_of(&session, "SELECT port FROM server").await;
        assert!(error.contains("no replica can be read"), "{error}");
        replica.start();
        cluster.caught_up(0).await;
        assert_eq!(port(&session).await, replica.port);
    }
    cluster.primary_was_left_alone();

    // What follows nobody is no replica, as after a failover.
    let connector = cluster
        .connector_to(&[cluster.primary.port], PASSWORD, &json!({}))
        .await;
    let error = connector.probe().await.unwrap_err().to_string();
    assert!(
        error.contains("is no replica: pg_is_in_recovery() is false"),
        "{error}"
    );
}

/// Reads on until the error that must come.
async fn rest(stream: &mut datafusion::execution::SendableRecordBatchStream) -> String {
    while let Some(batch) = stream.next().await {
        if let Err(error) = batch {
            return error.to_string();
        }
    }
    panic!("the stream ended as if all rows had come");
}
