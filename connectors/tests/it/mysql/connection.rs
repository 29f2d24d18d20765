//! Connections: failures in words, limits, cancelling, snapshots, coming back.

use std::fmt::Write as _;
use std::time::Duration;

use futures::StreamExt;
use serde_json::json;

use super::*;
use crate::common::{failure, lines, rows, sessions};
use crate::loopback::{certificates, free_port};

/// Every text an error can show, with its causes.
fn all_texts(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, " {inner} {inner:?}");
        cause = inner.source();
    }
    text
}

async fn probe_failure(spec: Value, secrets: MemoryStore) -> (String, String) {
    let connector = connector(spec, secrets).await.unwrap();
    let error = connector.probe().await.unwrap_err();
    let texts = all_texts(&error);
    assert!(!texts.contains(PASSWORD), "{texts}");
    assert!(!texts.contains("wrong-canary"), "{texts}");
    let debug = format!("{connector:?}");
    assert!(!debug.contains(PASSWORD), "{debug}");
    let variant = format!("{error:?}");
    let variant = variant.split([' ', '{']).next().unwrap_or_default().to_owned();
    (variant, error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_name_the_source_and_the_server() {
    let server = MariaDbServer::shared();
    server.sql(
        "",
        "CREATE OR REPLACE USER socket_only IDENTIFIED VIA unix_socket",
    );
    let port = server.port;
    let nobody = free_port();
    let none = json!({});
    let require = json!({"tls": {"mode": "Require"}});
    let cases = [
        (
            spec("127.0.0.1", nobody, None, &none),
            secrets(USER, PASSWORD),
            "Unreachable",
            "refused",
        ),
        (
            spec("no-such-host.invalid", port, None, &none),
            secrets(USER, PASSWORD),
            "Unreachable",
            "no-such-host.invalid",
        ),
        (
            spec("127.0.0.1", port, None, &none),
            secrets(USER, "wrong-canary"),
            "AccessDenied",
            "Access denied",
        ),
        (
            spec("127.0.0.1", port, Some("no_such_database"), &none),
            secrets(USER, PASSWORD),
            "Unreachable",
            "no_such_database",
        ),
        (
            spec("127.0.0.1", port, None, &require),
            secrets(USER, PASSWORD),
            "TlsFailed",
            "does not support TLS",
        ),
        (
            spec("127.0.0.1", port, None, &none),
            secrets("socket_only", PASSWORD),
            "AccessDenied",
            "Access denied",
        ),
        (
            spec("127.0.0.1", port, None, &none),
            MemoryStore::new(),
            "SecretUnusable",
            "login",
        ),
    ];
    for (spec, secrets, variant, words) in cases {
        let place = format!(
            "{}:{}",
            spec["mysql"]["primary"]["host"].as_str().unwrap(),
            spec["mysql"]["primary"]["port"]
        );
        let (actual, message) = probe_failure(spec, secrets).await;
        assert_eq!(actual, variant, "{message}");
        assert!(message.starts_with("shop: "), "{message}");
        assert!(message.contains(words), "{message}");
        if variant != "SecretUnusable" {
            assert!(message.contains(&place), "{message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_modes() {
    let mut server = MariaDbServer::start_new();
    let authority = server.enable_tls();
    server.sql("", &format!("ALTER USER {USER} REQUIRE SSL"));
    let other_directory = tempfile::tempdir().unwrap();
    let other = certificates(other_directory.path());
    let verify = json!({"tls": {"mode": "VerifyFull", "caSecretRef": {"name": "ca", "key": "ca.crt"}}});
    let with_authority = |pem: &str| {
        let secrets = secrets(USER, PASSWORD);
        secrets.put_secret("default", "ca", "ca.crt", pem);
        secrets
    };
    for (host, extra) in [
        ("127.0.0.1", json!({"tls": {"mode": "Require"}})),
        ("localhost", verify.clone()),
    ] {
        let spec = spec(host, server.port, None, &extra);
        let connector = connector(spec, with_authority(&authority)).await.unwrap();
        assert_eq!(connector.discover().await.unwrap(), []);
    }
    // The user may not come without it.
    let plain = spec("127.0.0.1", server.port, None, &json!({}));
    let (variant, message) = probe_failure(plain, secrets(USER, PASSWORD)).await;
    assert_eq!(variant, "AccessDenied", "{message}");
    for (host, pem, words) in [
        ("localhost", other.as_str(), "invalid peer certificate"),
        // The certificate is for localhost only.
        ("127.0.0.1", authority.as_str(), "127.0.0.1"),
        ("localhost", "not a certificate", "no certificate in it"),
    ] {
        let spec = spec(host, server.port, None, &verify);
        let (variant, message) = probe_failure(spec, with_authority(pem)).await;
        assert_eq!(variant, "TlsFailed", "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_used_again() {
    let server = MariaDbServer::start_new();
    server.database(
        "restart",
        "CREATE TABLE t (i int); INSERT INTO t SELECT seq FROM seq_1_to_10",
    );
    let connector = connector_of(&server, "restart", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let count = "SELECT count(*) FROM t";
    assert_eq!(lines(&session, count).await, ["10"]);
    server.stop();
    let error = failure(&session, count).await;
    assert!(error.contains("cannot connect to 127.0.0.1:"), "{error}");
    server.start();
    assert_eq!(lines(&session, count).await, ["10"]);
    // A connection that died unnoticed while idle: the first query after it
    // does not fail.
    for _ in 0..3 {
        server.sql("", &format!("KILL USER {USER}"));
        assert_eq!(lines(&session, count).await, ["10"]);
    }
}

/// Waits for what the server does in its own time.
async fn wait_for(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never became true: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_stream_stops_the_query() {
    let server = MariaDbServer::shared();
    server.database(
        "cancel",
        "CREATE VIEW wide AS SELECT REPEAT('x', 10000) AS x FROM seq_1_to_1000000; \
         CREATE VIEW silent AS SELECT SLEEP(600) AS x; \
         CREATE VIEW slow AS SELECT seq AS i FROM seq_1_to_1000000 WHERE SLEEP(0.001) = 0",
    );
    let limits = json!({"limits": {"maxConnections": 1}});
    let connector = connector_of(&server, "cancel", limits).await;
    let (session, _) = sessions(&connector).await;

    // While rows flow and nobody takes them.
    let mut stream = session
        .sql("SELECT x FROM wide")
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(server.running("cancel"), 1);
    drop(stream);
    wait_for("wide is stopped", || server.running("cancel") == 0).await;

    // Before the first row.
    let frame = session.sql("SELECT x FROM silent").await.unwrap();
    let task = tokio::spawn(frame.collect());
    wait_for("silent runs", || server.running("cancel") == 1).await;
    task.abort();
    wait_for("silent is stopped", || server.running("cancel") == 0).await;

    // A local LIMIT ends a scan early in the same way; with one connection at
    // most, each query here needs the one before it to be truly over.
    for _ in 0..3 {
        let sql = "SELECT i FROM slow WHERE i % 2 = 0 LIMIT 1";
        assert_eq!(rows(&session, sql).await, [["2"]]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_queries_keep_to_the_limit() {
    let server = MariaDbServer::shared();
    server.database("parallel", "CREATE VIEW v AS SELECT SLEEP(0.2) AS x");
    let limits = json!({"limits": {"maxConnections": 2}});
    let connector = connector_of(&server, "parallel", limits).await;
    let (session, _) = sessions(&connector).await;
    let queries: Vec<_> = (0..10)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { rows(&session, "SELECT x FROM v").await.len() })
        })
        .collect();
    let mut most = 0;
    while !queries.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(server.connections("parallel"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for query in queries {
        assert_eq!(query.await.unwrap(), 1);
    }
    assert_eq!(most, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts_say_which_limit() {
    let server = MariaDbServer::shared();
    server.database(
        "timeouts",
        "CREATE VIEW v AS SELECT seq AS x FROM seq_1_to_1000 WHERE SLEEP(1) = 0; \
         CREATE VIEW wide AS SELECT REPEAT('x', 10000) AS x FROM seq_1_to_100000",
    );
    let limits = json!({"limits": {"maxConnections": 1, "statementTimeout": "1s"}});
    let connector = connector_of(&server, "timeouts", limits).await;
    let (session, _) = sessions(&connector).await;
    let error = failure(&session, "SELECT x FROM v").await;
    assert!(error.contains("limits.statementTimeout"), "{error}");
    assert!(error.contains("shop: ") && error.contains("1000 ms"), "{error}");

    // The only connection is held by a stream nobody reads on.
    let limits = json!({"limits": {"maxConnections": 1, "statementTimeout": "2s"}});
    let connector = connector_of(&server, "timeouts", limits).await;
    let (session, _) = sessions(&connector).await;
    let wide = session.table("wide").await.unwrap();
    let mut held = wide.execute_stream().await.unwrap();
    held.next().await.unwrap().unwrap();
    let error = failure(&session, "SELECT x FROM v").await;
    assert!(error.contains("limits.maxConnections"), "{error}");
    drop(held);
}

/// A scan sees one state of the data, and a session can change nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_snapshot_and_no_writes() {
    let server = MariaDbServer::shared();
    server.database(
        "snapshot",
        "DELIMITER //\n\
         CREATE FUNCTION write_it() RETURNS int MODIFIES SQL DATA \
           BEGIN INSERT INTO t VALUES (-1, 'written'); RETURN 1; END//\n\
         DELIMITER ;\n\
         CREATE TABLE t (id int PRIMARY KEY, v varchar(1000)); \
         INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM seq_1_to_20000",
    );
    let connector = connector_of(&server, "snapshot", json!({})).await;
    let (session, _) = sessions(&connector).await;
    let mut stream = session
        .sql("SELECT id, v FROM t")
        .await
        .unwrap()
        .execute_stream()
        .await
        .unwrap();
    let mut seen = stream.next().await.unwrap().unwrap().num_rows();
    server.sql(
        "snapshot",
        "DELETE FROM t WHERE id > 5; INSERT INTO t SELECT seq, '' FROM seq_30000_to_40000",
    );
    while let Some(batch) = stream.next().await {
        seen += batch.unwrap().num_rows();
    }
    assert_eq!(seen, 20_000);
    server.sql("snapshot", "CREATE VIEW w AS SELECT write_it() AS x");
    // A view that writes cannot be read in a read-only transaction, and is not offered.
    let tables = connector.discover().await.unwrap();
    assert_eq!(tables.len(), 1, "{tables:?}");
    assert_eq!(
        server
            .sql("snapshot", "SELECT COUNT(*) FROM t WHERE id = -1")
            .trim(),
        "0"
    );
}
