//! Replicas: what is read, and what happens while none may be.

use std::time::Duration;

use lakegate_crds::conditions::Reason;

use super::*;
use crate::common::{failure, rows, sessions};

struct Pair {
    primary: MariaDbServer,
    replica: MariaDbServer,
}

impl Pair {
    fn start() -> Self {
        let primary = MariaDbServer::start_primary();
        let replica = primary.replica();
        primary.database(
            "shop",
            &format!(
                "CREATE TABLE t (i INT PRIMARY KEY); INSERT INTO t VALUES (1), (2), (3); \
                 CREATE TABLE server (port INT); INSERT INTO server VALUES ({})",
                primary.port
            ),
        );
        let pair = Self { primary, replica };
        pair.caught_up();
        // Tells which server answers.
        pair.replica
            .sql("shop", &format!("UPDATE server SET port = {}", pair.replica.port));
        pair
    }

    /// Waits until the replica has all there is.
    fn caught_up(&self) {
        let written = self.primary.sql("", "SELECT @@gtid_binlog_pos");
        let waited = self
            .replica
            .sql("", &format!("SELECT MASTER_GTID_WAIT('{}', 60)", written.trim()));
        assert_eq!(waited.trim(), "0");
    }

    async fn connector(&self, extra: &Value) -> Arc<dyn Connector> {
        let mut mysql = json!({"replicas": [{"host": "127.0.0.1", "port": self.replica.port}]});
        for (key, value) in extra.as_object().into_iter().flatten() {
            mysql[key] = value.clone();
        }
        connector_of(&self.primary, "shop", mysql).await
    }

    fn primary_was_left_alone(&self) {
        let log = self.primary.general_log();
        assert!(
            log.contains("Connect") && !log.contains(&format!("Connect\t{USER}@")),
            "{log}"
        );
    }
}

#[tokio::test]
async fn a_replica_is_read_while_it_is_close() {
    let pair = Pair::start();
    let lag = |policy: &str| json!({"maxReplicaLag": "3s", "onReplicaLag": policy, "limits": {"statementTimeout": "1m"}});

    // What it may not ask it does not guess.
    let failing = pair.connector(&lag("Fail")).await;
    let error = failing.probe().await.unwrap_err();
    assert_eq!(error.reason(), Reason::ReplicaLagging);
    let text = error.to_string();
    assert!(
        text.starts_with("shop: no replica is within maxReplicaLag"),
        "{text}"
    );
    assert!(text.contains("grant REPLICA MONITOR"), "{text}");
    pair.replica
        .sql("", &format!("GRANT REPLICA MONITOR ON *.* TO {USER}"));

    // Privileges count from the next connection on.
    let failing = pair.connector(&lag("Fail")).await;
    assert!(failing.probe().await.unwrap().server_version.is_some());
    let (pushing, raw) = sessions(&failing).await;
    let port = async |session: &SessionContext| rows(session, "SELECT port FROM server").await[0][0].clone();
    for session in [&pushing, &raw] {
        assert_eq!(rows(session, "SELECT count(*) FROM t").await, [["3"]]);
        assert_eq!(port(session).await, pair.replica.port.to_string());
    }
    let health = failing.replicas().await;
    assert_eq!(health[0].problem, None, "{health:?}");
    let (wait, _) = sessions(&pair.connector(&lag("Wait")).await).await;
    pair.primary_was_left_alone();
    let (fall_back, _) = sessions(&pair.connector(&lag("UsePrimary")).await).await;
    pair.primary_was_left_alone();

    // Far behind.
    pair.replica.sql(
        "",
        "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 3600; START SLAVE",
    );
    pair.primary.sql("shop", "INSERT INTO t VALUES (4)");
    let refused = async |words: &str| {
        for _ in 0..400 {
            if let Err(error) = failing.probe().await
                && error.to_string().contains(words)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never: {words}");
    };
    refused(" s behind").await;
    for session in [&pushing, &raw] {
        let error = failure(session, "SELECT count(*) FROM t").await;
        assert!(
            error.contains("shop: no replica is within maxReplicaLag"),
            "{error}"
        );
    }
    pair.primary_was_left_alone();
    assert_eq!(rows(&fall_back, "SELECT count(*) FROM t").await, [["4"]]);
    assert_eq!(port(&fall_back).await, pair.primary.port.to_string());
    let waiter = tokio::spawn(async move { rows(&wait, "SELECT count(*) FROM t").await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!waiter.is_finished());
    pair.replica
        .sql("", "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 0; START SLAVE");
    pair.caught_up();
    assert_eq!(waiter.await.unwrap(), [["4"]]);

    // Stopped, it does not know.
    pair.replica.sql("", "STOP SLAVE SQL_THREAD");
    refused("its applying thread does not run").await;
    pair.replica.sql("", "STOP SLAVE");
    refused("its receiving thread does not run").await;
    pair.replica.sql("", "RESET SLAVE ALL");
    refused("is no replica").await;

    pair.replica.stop();
    refused("no replica can be read").await;
    let error = failure(&pushing, "SELECT count(*) FROM t").await;
    assert!(
        error.contains(&format!("127.0.0.1:{}", pair.replica.port)),
        "{error}"
    );
}
